/* codegen/kernel_gemm.c -- linear of many tokens (prefill), on the same panels as decode.
 *
 * A register tile of tile_tokens x tile_panels accumulators, each summing over the inputs in order
 * (of a pair of bf16 or f16, the second first: codegen/dot.c), so the sum for one output does not
 * depend on the tile it lies in, nor on how columns or rows were shared out. */
#include "codegen/linear.h"

/* ---- pairs of bf16 --------------------------------------------------------------------------- */

bool snl_gemm_takes_pairs(const SnlOpGen *o)
{
    return !o->decode && snl_linear_takes_pairs(o->op) && snl_has_dot_pairs(o->g);
}

static void store_bf16(SnlGen *g, LLVMValueRef x, LLVMValueRef ptr)
{
    LLVMTypeRef halves = snl_vec(LLVMBFloatTypeInContext(g->ctx), SNL_LANES);
    snl_store(g, LLVMBuildFPTrunc(g->b, x, halves, ""), ptr);
}

/* A row of numbers that are bf16 already, held as f32. The last 16 are filled up with zeros. */
static void pack_row(SnlGen *g, LLVMValueRef x, LLVMValueRef y, int64_t width)
{
    int64_t whole = width / SNL_LANES * SNL_LANES;
    SnlLoop c;
    snl_loop_begin(g, &c, snl_i64(g, 0), snl_i64(g, whole), SNL_LANES, 0, NULL);
    store_bf16(g, snl_load(g, snl_offset(g, x, c.i, 4), SNL_LANES), snl_offset(g, y, c.i, 2));
    snl_loop_end(g, &c, NULL);
    if (whole == width) return;
    LLVMValueRef rest = snl_load_inside(g, snl_offset_const(g, x, whole * 4), 0, width - whole);
    store_bf16(g, rest, snl_offset_const(g, y, whole * 2));
}

SnlPlace snl_gemm_pairs(const SnlOpGen *o, SnlPlace x, SnlRange r)
{
    SnlGen *g = o->g;
    int64_t width = snl_type_width(snl_in(o->op, 0)->type), row = snl_pairs_row_bytes(width);
    char *name =
        snl_arena_printf(g->arena, "pairs.%lld.%lld", (long long)width, (long long)x.stride);
    bool fresh;
    LLVMValueRef f = snl_kernel_begin(g, name, 2, 4, &fresh);
    if (fresh) {
        SnlIf any; /* a thread without columns needs no rows */
        SnlLoop t;
        LLVMValueRef columns =
            LLVMBuildICmp(g->b, LLVMIntSLT, snl_param(g, 2), snl_param(g, 3), "");
        snl_if_begin(g, &any, columns);
        snl_loop_begin(g, &t, snl_param(g, 4), snl_param(g, 5), 1, 0, NULL);
        pack_row(g, snl_offset(g, snl_param(g, 0), t.i, x.stride * 4),
                 snl_offset(g, snl_param(g, 1), t.i, row), width);
        snl_loop_end(g, &t, NULL);
        snl_if_end(g, &any);
        snl_kernel_end(g);
    }
    SnlAddress at[] = {x.base, o->scratch};
    snl_call_kernel(o, f, at, 2, r);
    return (SnlPlace){.base = o->scratch, .stride = row / 4};
}

/* ---- a register tile ------------------------------------------------------------------------- */

/* acc[t * panels + p] += line k of pairs */
static void gemm_line_of_pairs(const SnlLinear *l, const SnlTile *t, LLVMValueRef k,
                               LLVMValueRef *acc)
{
    SnlGen *g = l->g;
    LLVMValueRef line[SNL_MAX_TILE_PANELS];
    for (int p = 0; p < t->panels; p++)
        line[p] =
            snl_load_typed(g, snl_vec(g->i32, SNL_LANES), snl_offset(g, t->panel[p], k, 64), 64);
    for (int r = 0; r < t->tokens; r++) {
        LLVMValueRef x = snl_linear_input(l, t->x, k, r * l->x_stride);
        for (int p = 0; p < t->panels; p++) {
            LLVMValueRef *a = &acc[r * t->panels + p];
            *a = snl_dot_pairs(g, *a, line[p], x);
        }
    }
}

/* acc[t * panels + p] += line of inputs `group * k ..` */
static void gemm_line(const SnlLinear *l, const SnlTile *t, LLVMValueRef k, int used,
                      LLVMValueRef *acc)
{
    SnlGen *g = l->g;
    if (l->pairs) {
        gemm_line_of_pairs(l, t, k, acc);
        return;
    }
    LLVMValueRef lanes[SNL_MAX_TILE_PANELS][2];
    for (int p = 0; p < t->panels; p++)
        snl_linear_line(l, snl_offset(g, t->panel[p], k, 64), lanes[p]);
    LLVMValueRef first = snl_mul(g, k, snl_i64(g, l->group));
    for (int i = used - 1; i >= 0; i--)
        for (int r = 0; r < t->tokens; r++) {
            LLVMValueRef x = snl_linear_input(l, t->x, first, r * l->x_stride + i);
            for (int p = 0; p < t->panels; p++) {
                LLVMValueRef *a = &acc[r * t->panels + p];
                *a = snl_fma(g, lanes[p][i], x, *a);
            }
        }
}

static LLVMValueRef first_column(const SnlLinear *l, const SnlTile *t, int p)
{
    SnlGen *g = l->g;
    return snl_mul(g, snl_add(g, t->first_panel, snl_i64(g, p)), snl_i64(g, SNL_PANEL_ROWS));
}
static LLVMValueRef row_number(const SnlLinear *l, const SnlTile *t, int r)
{
    SnlGen *g = l->g;
    return snl_add(g, snl_add(g, l->r0, t->row), snl_i64(g, r));
}

/* Where the memory begins that the op behind `f` reads; `others`: that of `f`. */
static const LLVMValueRef *others_behind(const SnlFinish *f, const LLVMValueRef *others)
{
    SnlAddress at[SNL_MAX_FINISH];
    return others + snl_finish_addresses(f, at);
}

/* Asks early for what storing the tile will touch: rows far apart, which no prefetcher foresees. */
static void prefetch_results(const SnlLinear *l, const SnlTile *t)
{
    SnlGen *g = l->g;
    for (int r = 0; r < t->tokens; r++)
        for (int p = 0; p < t->panels; p++) {
            LLVMValueRef c = first_column(l, t, p);
            const LLVMValueRef *others = l->others;
            for (const SnlFinish *f = l->finish; f; f = f->next) {
                snl_finish_prefetch(f, others, row_number(l, t, r), c);
                others = others_behind(f, others);
            }
            snl_prefetch(g, snl_offset(g, snl_offset_const(g, t->y, r * l->y_stride * 4), c, 4),
                         true);
        }
}

void snl_gemm_store(const SnlLinear *l, const SnlTile *t, int r, int p, LLVMValueRef sum)
{
    SnlGen *g = l->g;
    LLVMValueRef c = first_column(l, t, p), row = row_number(l, t, r);
    const LLVMValueRef *others = l->others;
    if (l->finish) sum = snl_linear_biased(l, sum, c);
    for (const SnlFinish *f = l->finish; f; f = f->next) {
        sum = snl_finish_value(f, others, sum, row, c);
        others = others_behind(f, others);
    }
    LLVMValueRef y = snl_offset_const(g, t->y, r * l->y_stride * 4);
    if (l->finish)
        snl_store(g, sum, snl_offset(g, y, c, 4));
    else
        snl_linear_store(l, sum, y, c);
}

static void gemm_tile(const SnlLinear *l, const SnlTile *t)
{
    SnlGen *g = l->g;
    prefetch_results(l, t);
    if (snl_dtype_is_blocked(l->dtype)) {
        snl_blocks_gemm_tile(l, t);
        return;
    }
    LLVMValueRef acc[SNL_MAX_TILE];
    unsigned n = (unsigned)(t->tokens * t->panels);
    SNL_ASSERT(n <= SNL_MAX_TILE && n <= SNL_MAX_CARRIED);
    for (unsigned i = 0; i < n; i++) acc[i] = snl_splat_f32(g, 0.0, SNL_LANES);
    SnlLoop k;
    snl_loop_begin(g, &k, snl_i64(g, 0), snl_i64(g, l->inputs / l->group), 1, n, acc);
    for (unsigned i = 0; i < n; i++) acc[i] = k.carried[i];
    gemm_line(l, t, k.i, l->group, acc);
    snl_loop_end(g, &k, acc);
    for (unsigned i = 0; i < n; i++) acc[i] = k.carried[i];
    if (l->inputs % l->group != 0) gemm_line(l, t, snl_i64(g, l->inputs / l->group), 1, acc);
    for (int r = 0; r < t->tokens; r++)
        for (int p = 0; p < t->panels; p++) snl_gemm_store(l, t, r, p, acc[r * t->panels + p]);
}

/* Token rows [from, to) in tiles of `tokens`. */
static void gemm_tokens(const SnlLinear *l, SnlTile t, int tokens, LLVMValueRef from,
                        LLVMValueRef to)
{
    SnlGen *g = l->g;
    SnlLoop r;
    snl_loop_begin(g, &r, from, to, tokens, 0, NULL);
    t.tokens = tokens;
    t.row = r.i;
    t.x = snl_offset(g, l->x, r.i, l->x_stride * 4);
    t.y = snl_offset(g, l->y, r.i, l->y_stride * 4);
    gemm_tile(l, &t);
    snl_loop_end(g, &r, NULL);
}

/* Panels [from, to) in groups of `panels`; the weights of a group stay in cache for all tokens. */
static void gemm_panels(const SnlLinear *l, int panels, LLVMValueRef from, LLVMValueRef to)
{
    SnlGen *g = l->g;
    SnlLoop p;
    SNL_ASSERT(!l->unpacked || panels <= SNL_UNPACKED_PANELS); /* snl_op_scratch_bytes */
    snl_loop_begin(g, &p, from, to, panels, 0, NULL);
    SnlTile t = {.panels = panels, .first_panel = p.i};
    for (int i = 0; i < panels; i++) {
        t.panel[i] = snl_linear_panel(l, snl_add(g, p.i, snl_i64(g, i)));
        if (!l->unpacked) continue;
        t.bytes[i] = snl_offset_const(g, l->unpacked, i * snl_unpacked_panel_bytes(l->inputs));
        snl_blocks_unpack(l, t.panel[i], t.bytes[i]);
    }
    /* Blocks need an integer accumulator beside each float one. */
    bool blocks = snl_dtype_is_blocked(l->dtype);
    const int sizes[] = {blocks ? g->tile_tokens / 2 : g->tile_tokens, blocks ? 2 : 4, 1};
    LLVMValueRef done = snl_i64(g, 0);
    for (int i = 0; i < 3; i++) {
        LLVMValueRef left = snl_sub(g, l->n, done);
        LLVMValueRef whole = snl_mul(g, snl_div_const(g, left, sizes[i]), snl_i64(g, sizes[i]));
        LLVMValueRef to_row = snl_add(g, done, whole);
        gemm_tokens(l, t, sizes[i], done, to_row);
        done = to_row;
    }
    snl_loop_end(g, &p, NULL);
}

void snl_linear_gemm(const SnlLinear *l)
{
    SnlGen *g = l->g;
    LLVMValueRef first = snl_div_const(g, l->c0, SNL_PANEL_ROWS);
    LLVMValueRef up = snl_add(g, l->c1, snl_i64(g, SNL_PANEL_ROWS - 1));
    LLVMValueRef last = snl_div_const(g, up, SNL_PANEL_ROWS);
    LLVMValueRef count = snl_max(g, snl_sub(g, last, first), snl_i64(g, 0));
    LLVMValueRef grouped =
        snl_mul(g, snl_div_const(g, count, g->tile_panels), snl_i64(g, g->tile_panels));
    LLVMValueRef middle = snl_add(g, first, grouped);
    gemm_panels(l, g->tile_panels, first, middle);
    if (g->tile_panels > 1) gemm_panels(l, 1, middle, last);
}
