/* codegen/cache.c -- reading and writing one head's keys and values; the kernel of kv_write. */
#include "codegen/cache.h"

#include "codegen/linear.h"

SnlCache snl_cache_of(SnlGen *g, const SnlType *state)
{
    return (SnlCache){.g = g,
                      .dtype = state->dtype,
                      .width = state->dim[3],
                      .padded = snl_context_padded(state->dim[2])};
}

SnlCache snl_cache_for(SnlCache c, int64_t positions)
{
    c.padded = snl_context_padded(positions);
    return c;
}

/* ---- places ---------------------------------------------------------------------------------- */

static int64_t elem_bytes(const SnlCache *c)
{
    return c->dtype == SNL_F32 ? 4 : c->dtype == SNL_F16 ? 2 : 1;
}
static bool has_blocks(const SnlCache *c)
{
    return c->dtype == SNL_Q8_0;
}
static int64_t scale_count(const SnlCache *c)
{
    return has_blocks(c) ? snl_block_count(c->width) : 0;
}
static int64_t half_bytes(const SnlCache *c) /* keys with their scales; values take the same */
{
    return c->padded * (c->width * elem_bytes(c) + scale_count(c) * 2);
}
static LLVMValueRef key_scales(const SnlCache *c)
{
    return snl_offset_const(c->g, c->head, c->padded * c->width * elem_bytes(c));
}
static LLVMValueRef values(const SnlCache *c)
{
    return snl_offset_const(c->g, c->head, half_bytes(c));
}
static LLVMValueRef value_scales(const SnlCache *c)
{
    return snl_offset_const(c->g, values(c), c->padded * c->width * elem_bytes(c));
}
static LLVMValueRef value_row(const SnlCache *c, LLVMValueRef position)
{
    return snl_offset(c->g, values(c), position, c->width * elem_bytes(c));
}

/* ---- f16 -> f32 ------------------------------------------------------------------------------ */

static LLVMValueRef int_lanes(SnlGen *g, unsigned x, int lanes)
{
    return snl_splat(g, LLVMConstInt(g->i32, x, 0), lanes);
}

/* In integer arithmetic: x86-64 processors before F16C would take a call for each number. */
static LLVMValueRef widen_by_bits(SnlGen *g, LLVMValueRef bits, int lanes)
{
    LLVMTypeRef ints = snl_vec(g->i32, lanes), floats = snl_vec(g->f32, lanes);
    LLVMValueRef x = LLVMBuildZExt(g->b, bits, ints, "");
    LLVMValueRef size = LLVMBuildAnd(g->b, x, int_lanes(g, 0x7fff, lanes), "");
    LLVMValueRef sign = LLVMBuildShl(g->b, LLVMBuildXor(g->b, x, size, ""),
                                     int_lanes(g, 16, lanes), "");
    LLVMValueRef shifted = LLVMBuildShl(g->b, size, int_lanes(g, 13, lanes), "");
    LLVMValueRef normal =
        LLVMBuildAdd(g->b, shifted, int_lanes(g, (unsigned)(127 - 15) << 23, lanes), "");
    LLVMValueRef tiny = snl_fmul(g, LLVMBuildSIToFP(g->b, size, floats, ""),
                                 snl_splat_f32(g, 0x1p-24, lanes));
    LLVMValueRef special = LLVMBuildOr(g->b, shifted, int_lanes(g, 0x7f800000u, lanes), "");
    LLVMValueRef is_tiny =
        LLVMBuildICmp(g->b, LLVMIntULT, size, int_lanes(g, 0x0400, lanes), "");
    LLVMValueRef is_special =
        LLVMBuildICmp(g->b, LLVMIntUGE, size, int_lanes(g, 0x7c00, lanes), "");
    LLVMValueRef y = LLVMBuildSelect(g->b, is_tiny, snl_bitcast(g, tiny, ints), normal, "");
    y = LLVMBuildSelect(g->b, is_special, special, y, "");
    return snl_bitcast(g, LLVMBuildOr(g->b, y, sign, ""), floats);
}

/* `lanes` f16 numbers at ptr as f32. */
static LLVMValueRef load_halves(SnlGen *g, LLVMValueRef ptr, int lanes)
{
    LLVMValueRef bits = snl_load_typed(g, snl_vec(g->i16, lanes), ptr, 2);
    if (snl_gen_lacks_halves(g)) return widen_by_bits(g, bits, lanes);
    LLVMTypeRef halves = snl_vec(LLVMHalfTypeInContext(g->ctx), lanes);
    return LLVMBuildFPExt(g->b, snl_bitcast(g, bits, halves), snl_vec(g->f32, lanes), "");
}

/* `lanes` elements at ptr as f32, bytes not scaled. */
static LLVMValueRef load_elements(const SnlCache *c, LLVMValueRef ptr, int lanes)
{
    SnlGen *g = c->g;
    if (c->dtype == SNL_F32) return snl_load(g, ptr, lanes);
    if (c->dtype == SNL_F16) return load_halves(g, ptr, lanes);
    LLVMValueRef bytes = snl_load_typed(g, snl_vec(g->i8, lanes), ptr, 1);
    LLVMValueRef whole = LLVMBuildSExt(g->b, bytes, snl_vec(g->i32, lanes), "");
    return LLVMBuildSIToFP(g->b, whole, snl_vec(g->f32, lanes), "");
}

/* ---- reading --------------------------------------------------------------------------------- */

SnlKeys snl_cache_keys(const SnlCache *c, LLVMValueRef panel, LLVMValueRef block)
{
    SnlGen *g = c->g;
    SnlKeys keys = {snl_offset(g, c->head, panel, c->width * SNL_LANES * elem_bytes(c)), NULL};
    if (!has_blocks(c)) return keys;
    LLVMValueRef at = snl_add(g, snl_mul(g, panel, snl_i64(g, scale_count(c))), block);
    keys.scales = load_halves(g, snl_offset(g, key_scales(c), at, SNL_LANES * 2), SNL_LANES);
    return keys;
}

LLVMValueRef snl_cache_key(const SnlCache *c, const SnlKeys *keys, LLVMValueRef j, int64_t extra)
{
    SnlGen *g = c->g;
    int64_t line = SNL_LANES * elem_bytes(c);
    LLVMValueRef at = snl_offset_const(g, snl_offset(g, keys->lines, j, line), extra * line);
    LLVMValueRef key = load_elements(c, at, SNL_LANES);
    return keys->scales ? snl_fmul(g, key, keys->scales) : key;
}

LLVMValueRef snl_cache_value(const SnlCache *c, LLVMValueRef position, int64_t first, int lanes)
{
    SnlGen *g = c->g;
    LLVMValueRef row = value_row(c, position);
    LLVMValueRef v = load_elements(c, snl_offset_const(g, row, first * elem_bytes(c)), lanes);
    if (!has_blocks(c)) return v;
    LLVMValueRef at = snl_mul(g, position, snl_i64(g, scale_count(c)));
    at = snl_add(g, at, snl_i64(g, first / SNL_BLOCK));
    LLVMValueRef scale = load_halves(g, snl_offset(g, value_scales(c), at, 2), 1);
    return snl_fmul(g, v, snl_splat(g, scale, lanes));
}

/* ---- writing --------------------------------------------------------------------------------- */

static void store_narrow(SnlGen *g, LLVMValueRef value, LLVMValueRef ptr, unsigned align)
{
    LLVMSetAlignment(LLVMBuildStore(g->b, value, ptr), align);
}

/* The first `lanes` elements of `v`, a number or a vector, `stride` bytes apart. */
static void scatter(const SnlCache *c, LLVMValueRef v, int lanes, LLVMValueRef at, int64_t stride)
{
    SnlGen *g = c->g;
    bool vector = LLVMGetTypeKind(LLVMTypeOf(v)) == LLVMVectorTypeKind;
    for (int i = 0; i < lanes; i++) {
        LLVMValueRef lane = LLVMConstInt(g->i32, (unsigned)i, 0);
        LLVMValueRef x = vector ? LLVMBuildExtractElement(g->b, v, lane, "") : v;
        store_narrow(g, x, snl_offset_const(g, at, i * stride), (unsigned)elem_bytes(c));
    }
}

static LLVMValueRef narrowed(const SnlCache *c, LLVMValueRef x, int lanes)
{
    SnlGen *g = c->g;
    if (c->dtype == SNL_F32) return x;
    return LLVMBuildFPTrunc(g->b, x, snl_vec(LLVMHalfTypeInContext(g->ctx), lanes), "");
}

/* f32 and f16: element j of a row to `to` + j * stride bytes. */
static void write_elements(const SnlCache *c, LLVMValueRef row, LLVMValueRef to, int64_t stride)
{
    SnlGen *g = c->g;
    int lanes = snl_lanes_for(c->width);
    SnlLoop j;
    snl_loop_begin(g, &j, snl_i64(g, 0), snl_i64(g, c->width), lanes, 0, NULL);
    LLVMValueRef x = narrowed(c, snl_load(g, snl_offset(g, row, j.i, 4), lanes), lanes);
    LLVMValueRef at = snl_offset(g, to, j.i, stride);
    if (stride == elem_bytes(c))
        store_narrow(g, x, at, (unsigned)elem_bytes(c));
    else
        scatter(c, x, lanes, at, stride);
    snl_loop_end(g, &j, NULL);
}

/* One block of n numbers: bytes `stride` apart from `to`, the scale to `scale`. */
static void write_block(const SnlCache *c, LLVMValueRef x, int64_t n, LLVMValueRef to,
                        int64_t stride, LLVMValueRef scale)
{
    SnlGen *g = c->g;
    LLVMValueRef q[2];
    LLVMValueRef real = snl_quantize_lanes(g, x, n, q);
    LLVMValueRef half = LLVMBuildFPTrunc(g->b, real, LLVMHalfTypeInContext(g->ctx), "");
    store_narrow(g, half, scale, 2);
    for (int i = 0; i < 2 && i * SNL_LANES < n; i++) {
        LLVMValueRef bytes = LLVMBuildTrunc(g->b, q[i], snl_vec(g->i8, SNL_LANES), "");
        LLVMValueRef at = snl_offset_const(g, to, i * SNL_LANES * stride);
        int here = n - i * SNL_LANES < SNL_LANES ? (int)(n - i * SNL_LANES) : SNL_LANES;
        if (stride == 1 && here == SNL_LANES)
            store_narrow(g, bytes, at, 1);
        else
            scatter(c, bytes, here, at, stride);
    }
}

/* q8_0: the row's blocks; the scale of block b to `scales` + b * scale_stride. */
static void write_blocks(const SnlCache *c, LLVMValueRef row, LLVMValueRef to, int64_t stride,
                         LLVMValueRef scales, int64_t scale_stride)
{
    SnlGen *g = c->g;
    int64_t whole = c->width / SNL_BLOCK, rest = c->width % SNL_BLOCK;
    SnlLoop b;
    snl_loop_begin(g, &b, snl_i64(g, 0), snl_i64(g, whole), 1, 0, NULL);
    write_block(c, snl_offset(g, row, b.i, SNL_BLOCK * 4), SNL_BLOCK,
                snl_offset(g, to, b.i, SNL_BLOCK * stride), stride,
                snl_offset(g, scales, b.i, scale_stride));
    snl_loop_end(g, &b, NULL);
    if (rest > 0)
        write_block(c, snl_offset_const(g, row, whole * SNL_BLOCK * 4), rest,
                    snl_offset_const(g, to, whole * SNL_BLOCK * stride), stride,
                    snl_offset_const(g, scales, whole * scale_stride));
}

static LLVMValueRef key_panel(const SnlCache *c, LLVMValueRef panel)
{
    return snl_offset(c->g, c->head, panel, c->width * SNL_LANES * elem_bytes(c));
}

static void write_key(const SnlCache *c, LLVMValueRef position, LLVMValueRef key)
{
    SnlGen *g = c->g;
    int64_t e = elem_bytes(c), line = SNL_LANES * e, blocks = scale_count(c);
    LLVMValueRef panel = snl_div_const(g, position, SNL_LANES);
    LLVMValueRef lane = snl_rem_const(g, position, SNL_LANES);
    LLVMValueRef keys = snl_offset(g, key_panel(c, panel), lane, e);
    if (!has_blocks(c)) {
        write_elements(c, key, keys, line);
        return;
    }
    LLVMValueRef scales = snl_offset(g, key_scales(c), panel, blocks * SNL_LANES * 2);
    write_blocks(c, key, keys, line, snl_offset(g, scales, lane, 2), SNL_LANES * 2);
}

static void write_value(const SnlCache *c, LLVMValueRef position, LLVMValueRef value)
{
    SnlGen *g = c->g;
    int64_t blocks = scale_count(c);
    if (!has_blocks(c))
        write_elements(c, value, value_row(c, position), elem_bytes(c));
    else
        write_blocks(c, value, value_row(c, position), 1,
                     snl_offset(g, value_scales(c), position, blocks * 2), 2);
}

void snl_cache_write(const SnlCache *c, LLVMValueRef position, LLVMValueRef key, LLVMValueRef value)
{
    write_key(c, position, key);
    write_value(c, position, value);
}

/* ---- a panel of keys at once ----------------------------------------------------------------- */

/* v[i][j] <-> v[j][i]: squares of `step` change places across the diagonal, 8 to 1. */
static void transpose(SnlGen *g, LLVMValueRef v[SNL_LANES])
{
    for (int step = SNL_LANES / 2; step > 0; step /= 2) {
        LLVMValueRef low[SNL_LANES], high[SNL_LANES];
        for (int i = 0; i < SNL_LANES; i++) {
            bool right = i & step;
            low[i] = LLVMConstInt(g->i32, (unsigned)(right ? SNL_LANES + i - step : i), 0);
            high[i] = LLVMConstInt(g->i32, (unsigned)(right ? SNL_LANES + i : i + step), 0);
        }
        for (int i = 0; i < SNL_LANES; i++) {
            if (i & step) continue;
            LLVMValueRef a = v[i], b = v[i + step];
            v[i] = LLVMBuildShuffleVector(g->b, a, b, LLVMConstVector(low, SNL_LANES), "");
            v[i + step] = LLVMBuildShuffleVector(g->b, a, b, LLVMConstVector(high, SNL_LANES), "");
        }
    }
}

/* Keys of 16 positions, `stride` elements apart: loaded along rows, stored along positions, where
 * one by one every number would be a store of its own. */
static void write_key_panel(const SnlCache *c, LLVMValueRef panel, LLVMValueRef key, int64_t stride)
{
    SnlGen *g = c->g;
    int64_t line = SNL_LANES * elem_bytes(c);
    SnlLoop j;
    snl_loop_begin(g, &j, snl_i64(g, 0), snl_i64(g, c->width), SNL_LANES, 0, NULL);
    LLVMValueRef v[SNL_LANES], from = snl_offset(g, key, j.i, 4);
    LLVMValueRef to = snl_offset(g, key_panel(c, panel), j.i, line);
    for (int i = 0; i < SNL_LANES; i++)
        v[i] = snl_load(g, snl_offset_const(g, from, i * stride * 4), SNL_LANES);
    transpose(g, v);
    for (int i = 0; i < SNL_LANES; i++)
        snl_store(g, narrowed(c, v[i], SNL_LANES), snl_offset_const(g, to, i * line));
    snl_loop_end(g, &j, NULL);
}

/* For each kv head of the kernel's columns: [c0, c1), or those of turn c0 of c1. */
static void heads_begin(SnlGen *g, int64_t turns_of, SnlLoop *h)
{
    LLVMValueRef c0 = snl_param(g, 3), c1 = snl_param(g, 4), all = snl_i64(g, turns_of);
    if (turns_of == 0) {
        snl_loop_begin(g, h, c0, c1, 1, 0, NULL);
        return;
    }
    LLVMValueRef end = snl_turn_begin(g, all, snl_add(g, c0, snl_i64(g, 1)), c1);
    snl_loop_begin(g, h, snl_turn_begin(g, all, c0, c1), end, 1, 0, NULL);
}

/* One kv_write under construction. */
typedef struct Writing {
    SnlGen *g;
    SnlCache cache;
    int64_t k_stride, v_stride, turns_of;
    bool panels; /* so many rows that whole panels of positions are among them */
} Writing;

/* The rows [from, to) of kv head h, key by key and value by value. */
static void write_rows(const Writing *w, LLVMValueRef h, LLVMValueRef from, LLVMValueRef to,
                       bool keys)
{
    SnlGen *g = w->g;
    int64_t stride = keys ? w->k_stride : w->v_stride;
    SnlLoop t;
    snl_loop_begin(g, &t, from, to, 1, 0, NULL);
    LLVMValueRef row = snl_offset(g, snl_param(g, keys ? 0 : 1), t.i, stride * 4);
    LLVMValueRef at = snl_offset(g, row, h, w->cache.width * 4);
    LLVMValueRef position = snl_add(g, snl_param(g, 7), t.i);
    if (keys)
        write_key(&w->cache, position, at);
    else
        write_value(&w->cache, position, at);
    snl_loop_end(g, &t, NULL);
}

/* The rows [from, to), whose positions are of one panel: together when that is all of it. */
static void write_panel(const Writing *w, LLVMValueRef h, LLVMValueRef panel, LLVMValueRef from,
                        LLVMValueRef to)
{
    SnlGen *g = w->g;
    LLVMValueRef whole =
        LLVMBuildICmp(g->b, LLVMIntEQ, snl_sub(g, to, from), snl_i64(g, SNL_LANES), "");
    LLVMValueRef row = snl_offset(g, snl_param(g, 0), from, w->k_stride * 4);
    SnlIf all;
    snl_if_begin(g, &all, whole);
    write_key_panel(&w->cache, panel, snl_offset(g, row, h, w->cache.width * 4), w->k_stride);
    snl_if_end(g, &all);
    write_rows(w, h, from, LLVMBuildSelect(g->b, whole, from, to, ""), true);
    write_rows(w, h, from, to, false);
}

static void begin_head(Writing *w, SnlLoop *h)
{
    const SnlCache *c = &w->cache;
    heads_begin(w->g, w->turns_of, h);
    w->cache.head = snl_offset(w->g, snl_param(w->g, 2), h->i,
                               snl_cache_head_bytes(c->dtype, c->padded, c->width));
}

/* Rows [r0, r1) of the thread's kv heads into the cache at pos + row. */
static void write_all(Writing *w)
{
    SnlGen *g = w->g;
    LLVMValueRef r0 = snl_param(g, 5), r1 = snl_param(g, 6), pos = snl_param(g, 7);
    LLVMValueRef lanes = snl_i64(g, SNL_LANES);
    SnlLoop p, h;
    if (!w->panels) {
        begin_head(w, &h);
        write_rows(w, h.i, r0, r1, true);
        write_rows(w, h.i, r0, r1, false);
        snl_loop_end(g, &h, NULL);
        return;
    }
    LLVMValueRef up = snl_add(g, snl_add(g, pos, r1), snl_i64(g, SNL_LANES - 1));
    snl_loop_begin(g, &p, snl_div_const(g, snl_add(g, pos, r0), SNL_LANES),
                   snl_div_const(g, up, SNL_LANES), 1, 0, NULL);
    LLVMValueRef first = snl_sub(g, snl_mul(g, p.i, lanes), pos);
    LLVMValueRef from = snl_max(g, first, r0), to = snl_min(g, snl_add(g, first, lanes), r1);
    begin_head(w, &h);
    write_panel(w, h.i, p.i, from, to);
    snl_loop_end(g, &h, NULL);
    snl_loop_end(g, &p, NULL);
}

void snl_kernel_kv_write(const SnlOpGen *o, size_t member, SnlPlace k, SnlPlace v, SnlRange r)
{
    SnlGen *g = o->g;
    const SnlType *state = o->op->sym[0].state[member]->type;
    Writing w = {.g = g,
                 .cache = snl_cache_of(g, state),
                 .k_stride = k.stride,
                 .v_stride = v.stride,
                 .turns_of = r.columns == SNL_COLUMNS_TURNS ? state->dim[1] : 0};
    const SnlCache *c = &w.cache;
    /* Software's conversion to f16 is long code, too long to be repeated for each row of a
     * panel. */
    bool short_code = c->dtype != SNL_F16 || !snl_gen_lacks_halves(g);
    w.panels = o->tokens >= SNL_LANES && !has_blocks(c) && c->width % SNL_LANES == 0 && short_code;
    char *name = snl_arena_printf(g->arena, "kv_write.%s.%lld.%lld.h%lld.%lld.%lld%s",
                                  snl_dtype_info[c->dtype].text, (long long)c->width,
                                  (long long)c->padded, (long long)w.turns_of, (long long)k.stride,
                                  (long long)v.stride, w.panels ? ".panels" : "");
    bool fresh;
    LLVMValueRef f = snl_kernel_begin(g, name, 3, 5, &fresh);
    if (fresh) {
        write_all(&w);
        snl_kernel_end(g);
    }
    SnlAddress at[] = {k.base, v.base, snl_state_at(o, o->op->sym[0].state[member])};
    snl_call_kernel_at_pos(o, f, at, 3, r);
}

/* ---- states ---------------------------------------------------------------------------------- */

bool snl_state_is_cache(const SnlState *s)
{
    return s->type->rank == 4;
}

int64_t snl_state_bytes(const SnlState *s)
{
    const SnlType *t = s->type;
    if (snl_state_is_cache(s))
        return t->dim[1] *
               snl_cache_head_bytes(t->dtype, snl_context_padded(t->dim[2]), t->dim[3]);
    return (snl_type_elems(t, 1) * 4 + 63) / 64 * 64;
}
