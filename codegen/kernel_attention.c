/* codegen/kernel_attention.c -- causal attention over a cache.
 *
 * A tile is a few token rows times the query heads of one kv head. Its queries, scaled, lie packed
 * in private scratch, and so do their results so far; the tile goes through the positions it may
 * see in blocks of SNL_ATTENTION_BLOCK (softmax "online": no buffer grows with the context):
 *
 *     s = q K of the block;  m' = max(m, max s);  e = exp(s - m')
 *     l = l exp(m - m') + sum e;  o = o exp(m - m') + e V;  at the end y = o / l
 *
 * Products run on register tiles of `r` queries: 16 positions of a key panel against r queries, and
 * one position's value against r weights. What a query sees is cut off by -inf, and only in blocks
 * at an edge. Rows of this call are read from the cache when kv_write has put them there (`own =
 * cache`); else they are laid out like a cache in the scratch, rounded to its format, and follow
 * the cached ones as a second segment. How blocks and tiles lie depends on shapes and positions
 * alone: so results do not depend on how tiles were shared out.
 *
 * attention_parts does the same for each part of the positions alone, and leaves o, m and l: a
 * part's row holds o of all heads, then their m, then their l (codegen/kernel_merge.c puts them
 * together). */
#include "codegen/attention.h"

#include <float.h>
#include <math.h>

/* ---- the kernel: queries in, segments, results out ------------------------------------------- */

typedef struct Attention {
    SnlGen *g;
    SnlFlash flash;
    int64_t tile_rows, tokens, window; /* window: -1 without */
    int64_t heads, part;               /* kv heads; positions of a part */
    double scale;
    bool own_cache;
    int64_t q_stride, k_stride, v_stride, y_stride;
    LLVMValueRef q, k, v, y, pos; /* at the kv head at hand */
    LLVMValueRef row, rows;       /* first token row of the tile, how many */
    LLVMValueRef own;             /* own rows, laid out like a cache */
} Attention;

/* Row of query i (an index) of the tile, of a tensor with the tile's heads side by side. */
static LLVMValueRef query_row(const Attention *a, LLVMValueRef base, int64_t stride, LLVMValueRef i)
{
    SnlGen *g = a->g;
    int64_t group = a->flash.group;
    LLVMValueRef row = snl_add(g, a->row, snl_div_const(g, i, group));
    LLVMValueRef head = snl_rem_const(g, i, group);
    return snl_offset(g, snl_offset(g, base, row, stride * 4), head, a->flash.width * 4);
}

/* Queries in, scaled; results and sums at 0, maxima at the bottom. What rounds them up to whole
 * register tiles are copies of the last one, and nobody reads what comes of them. */
static void pack_queries(const Attention *a, LLVMValueRef n, LLVMValueRef tiles)
{
    SnlGen *g = a->g;
    const SnlFlash *f = &a->flash;
    LLVMValueRef padded = snl_mul(g, tiles, snl_i64(g, f->queries));
    int lanes = snl_lanes_for(f->width);
    LLVMValueRef last = snl_sub(g, n, snl_i64(g, 1));
    SnlLoop i, j;
    snl_loop_begin(g, &i, snl_i64(g, 0), padded, 1, 0, NULL);
    LLVMValueRef from = query_row(a, a->q, a->q_stride, snl_min(g, i.i, last));
    LLVMValueRef to = snl_offset(g, f->q, i.i, f->width * 4);
    LLVMValueRef out = snl_offset(g, f->out, i.i, f->width * 4);
    snl_loop_begin(g, &j, snl_i64(g, 0), snl_i64(g, f->width), lanes, 0, NULL);
    LLVMValueRef x = snl_load(g, snl_offset(g, from, j.i, 4), lanes);
    snl_store(g, snl_fmul(g, x, snl_splat_f32(g, a->scale, lanes)), snl_offset(g, to, j.i, 4));
    snl_store(g, snl_splat_f32(g, 0.0, lanes), snl_offset(g, out, j.i, 4));
    snl_loop_end(g, &j, NULL);
    snl_store(g, snl_splat_f32(g, 0.0, SNL_LANES), snl_offset(g, f->sums, i.i, SNL_FLASH_SUMS));
    snl_loop_end(g, &i, NULL);
    snl_loop_begin(g, &i, snl_i64(g, 0), tiles, 1, 0, NULL);
    snl_store(g, snl_splat_f32(g, -FLT_MAX, SNL_LANES),
              snl_offset(g, f->tops, i.i, SNL_FLASH_TOPS));
    snl_loop_end(g, &i, NULL);
}

static void unpack_results(const Attention *a, LLVMValueRef n)
{
    SnlGen *g = a->g;
    const SnlFlash *f = &a->flash;
    int lanes = snl_lanes_for(f->width);
    SnlLoop i, j;
    snl_loop_begin(g, &i, snl_i64(g, 0), n, 1, 0, NULL);
    LLVMValueRef sums = snl_offset(g, f->sums, i.i, SNL_FLASH_SUMS);
    LLVMValueRef sum = snl_reduce_add(g, snl_load(g, sums, SNL_LANES), SNL_LANES);
    LLVMValueRef inverse = snl_splat(g, snl_fdiv(g, snl_f32(g, 1.0), sum), lanes);
    LLVMValueRef from = snl_offset(g, f->out, i.i, f->width * 4);
    LLVMValueRef to = query_row(a, a->y, a->y_stride, i.i);
    snl_loop_begin(g, &j, snl_i64(g, 0), snl_i64(g, f->width), lanes, 0, NULL);
    LLVMValueRef o = snl_load(g, snl_offset(g, from, j.i, 4), lanes);
    snl_store(g, snl_fmul(g, o, inverse), snl_offset(g, to, j.i, 4));
    snl_loop_end(g, &j, NULL);
    snl_loop_end(g, &i, NULL);
}

/* Rows [0, end) of this call's keys and values into the scratch. */
static void lay_out_own_rows(const Attention *a, const SnlCache *own, LLVMValueRef end)
{
    SnlGen *g = a->g;
    SnlLoop t;
    snl_loop_begin(g, &t, snl_i64(g, 0), end, 1, 0, NULL);
    snl_cache_write(own, t.i, snl_offset(g, a->k, t.i, a->k_stride * 4),
                    snl_offset(g, a->v, t.i, a->v_stride * 4));
    snl_loop_end(g, &t, NULL);
}

/* Positions [0, ..) of `cache`, of which `origin` is the one of this call's first row. */
static SnlSight sight_of(const Attention *a, LLVMValueRef origin, LLVMValueRef cap)
{
    SnlGen *g = a->g;
    LLVMValueRef at = snl_add(g, origin, a->row);
    SnlSight s = {.hi = snl_add(g, at, snl_i64(g, 1)), .cap = cap, .lo = snl_i64(g, 0)};
    if (a->window >= 0) s.lo = snl_sub(g, at, snl_i64(g, a->window));
    return s;
}

/* What the tile's rows see of the cache. */
static SnlSight sight_of_cache(const Attention *a)
{
    SnlGen *g = a->g;
    if (a->own_cache)
        return sight_of(a, a->pos, snl_add(g, a->pos, snl_add(g, a->row, a->rows)));
    SnlSight s = sight_of(a, a->pos, a->pos);
    s.hi = a->pos;
    return s;
}

/* Rows of this call that are not in the cache, up to the tile's last. */
static void own_segment(const Attention *a, LLVMValueRef tiles)
{
    SnlGen *g = a->g;
    LLVMValueRef end = snl_add(g, a->row, a->rows);
    SnlCache own = snl_cache_for(a->flash.cache, a->tokens);
    own.head = a->own;
    lay_out_own_rows(a, &own, end);
    SnlSight fresh = sight_of(a, snl_i64(g, 0), end);
    snl_flash_segment(&a->flash, &own, tiles, &fresh);
}

static LLVMValueRef register_tiles(const Attention *a, LLVMValueRef n)
{
    SnlGen *g = a->g;
    return snl_div_const(g, snl_add(g, n, snl_i64(g, a->flash.queries - 1)), a->flash.queries);
}

static void attention_tile(Attention *a)
{
    SnlGen *g = a->g;
    LLVMValueRef n = snl_mul(g, a->rows, snl_i64(g, a->flash.group));
    LLVMValueRef tiles = register_tiles(a, n);
    SnlSight cached = sight_of_cache(a);
    pack_queries(a, n, tiles);
    snl_flash_segment(&a->flash, &a->flash.cache, tiles, &cached);
    if (!a->own_cache) own_segment(a, tiles);
    unpack_results(a, n);
}

static void attention_rows(Attention *a, LLVMValueRef r0, LLVMValueRef r1)
{
    SnlGen *g = a->g;
    SnlLoop t;
    snl_loop_begin(g, &t, r0, r1, a->tile_rows, 0, NULL);
    a->row = t.i;
    a->rows = a->tile_rows == 1
                  ? snl_i64(g, 1)
                  : snl_min(g, snl_sub(g, r1, t.i), snl_i64(g, a->tile_rows));
    attention_tile(a);
    snl_loop_end(g, &t, NULL);
}

/* Parameters: q, k, v, y, cache, scratch, ... */
static void divide_scratch(Attention *a, int64_t queries)
{
    SnlGen *g = a->g;
    SnlFlash *f = &a->flash;
    f->q = snl_param(g, 5);
    f->out = snl_offset_const(g, f->q, queries * f->width * 4);
    f->sums = snl_offset_const(g, f->out, queries * f->width * 4);
    f->tops = snl_offset_const(g, f->sums, queries * SNL_FLASH_SUMS);
    f->scores = snl_offset_const(g, f->sums, queries * SNL_ATTENTION_STATS);
    a->own =
        snl_offset_const(g, f->scores, SNL_ATTENTION_QUERIES * SNL_ATTENTION_BLOCK * 4);
}

/* Makes kv head h the one at hand. */
static void find_head(Attention *a, LLVMValueRef h)
{
    SnlGen *g = a->g;
    SnlFlash *f = &a->flash;
    int64_t row = f->width * 4;
    a->q = snl_offset(g, snl_param(g, 0), h, f->group * row);
    a->k = snl_offset(g, snl_param(g, 1), h, row);
    a->v = snl_offset(g, snl_param(g, 2), h, row);
    a->y = snl_offset(g, snl_param(g, 3), h, f->group * row);
    f->cache.head = snl_offset(
        g, snl_param(g, 4), h, snl_cache_head_bytes(f->cache.dtype, f->cache.padded, f->width));
}

/* Rows [r0, r1) of kv head h. */
static void attention_head(Attention *a, LLVMValueRef h, LLVMValueRef r0, LLVMValueRef r1)
{
    find_head(a, h);
    attention_rows(a, r0, r1);
}

/* ... kv heads [c0, c1), rows [r0, r1), pos. */
static void attention_body(Attention *a)
{
    SnlGen *g = a->g;
    SnlLoop h;
    snl_loop_begin(g, &h, snl_param(g, 6), snl_param(g, 7), 1, 0, NULL);
    attention_head(a, h.i, snl_param(g, 8), snl_param(g, 9));
    snl_loop_end(g, &h, NULL);
}

/* ... this thread, number of threads, rows [r0, r1), pos. Units are (tile of rows, kv head): thread
 * t takes units t, t + n, t + 2n, ..., so that late tiles, which see more positions, are shared out
 * evenly. */
static void attention_tiles(Attention *a, int64_t heads)
{
    SnlGen *g = a->g;
    LLVMValueRef thread = snl_param(g, 6), n_threads = snl_param(g, 7);
    LLVMValueRef r0 = snl_param(g, 8), r1 = snl_param(g, 9), size = snl_i64(g, a->tile_rows);
    LLVMValueRef rows = snl_max(g, snl_sub(g, r1, r0), snl_i64(g, 0));
    LLVMValueRef up = snl_add(g, rows, snl_i64(g, a->tile_rows - 1));
    LLVMValueRef units = snl_mul(g, snl_div_const(g, up, a->tile_rows), snl_i64(g, heads));
    LLVMValueRef ahead = snl_sub(g, snl_add(g, units, n_threads), snl_i64(g, 1));
    LLVMValueRef turns = LLVMBuildUDiv(g->b, snl_sub(g, ahead, thread), n_threads, "");
    SnlLoop turn;
    snl_loop_begin(g, &turn, snl_i64(g, 0), turns, 1, 0, NULL);
    LLVMValueRef unit = snl_add(g, snl_mul(g, turn.i, n_threads), thread);
    LLVMValueRef from = snl_add(g, r0, snl_mul(g, snl_div_const(g, unit, heads), size));
    attention_head(a, snl_rem_const(g, unit, heads), from,
                   snl_min(g, r1, snl_add(g, from, size)));
    snl_loop_end(g, &turn, NULL);
}

/* ---- one token's positions by parts ---------------------------------------------------------- */

/* The part's sums of weighted values, maxima and sums of weights, for the heads of kv head h. */
static void unpack_part(const Attention *a, LLVMValueRef h, LLVMValueRef part)
{
    SnlGen *g = a->g;
    const SnlFlash *f = &a->flash;
    int64_t queries = a->heads * f->group, row = f->width * 4;
    LLVMValueRef y = snl_offset(g, snl_param(g, 3), part, queries * (row + 8));
    LLVMValueRef values = snl_offset(g, y, h, f->group * row);
    LLVMValueRef tops = snl_offset(g, snl_offset_const(g, y, queries * row), h, f->group * 4);
    int lanes = snl_lanes_for(f->width);
    SnlLoop i, j;
    snl_loop_begin(g, &i, snl_i64(g, 0), snl_i64(g, f->group), 1, 0, NULL);
    LLVMValueRef tile = snl_offset(g, f->tops, snl_div_const(g, i.i, f->queries), SNL_FLASH_TOPS);
    LLVMValueRef top = snl_load(g, snl_offset(g, tile, snl_rem_const(g, i.i, f->queries), 4), 1);
    LLVMValueRef sums = snl_load(g, snl_offset(g, f->sums, i.i, SNL_FLASH_SUMS), SNL_LANES);
    LLVMValueRef at = snl_offset(g, tops, i.i, 4);
    snl_store(g, top, at);
    snl_store(g, snl_reduce_add(g, sums, SNL_LANES), snl_offset_const(g, at, queries * 4));
    snl_loop_begin(g, &j, snl_i64(g, 0), snl_i64(g, f->width), lanes, 0, NULL);
    LLVMValueRef o = snl_load(g, snl_offset(g, snl_offset(g, f->out, i.i, row), j.i, 4), lanes);
    snl_store(g, o, snl_offset(g, snl_offset(g, values, i.i, row), j.i, 4));
    snl_loop_end(g, &j, NULL);
    snl_loop_end(g, &i, NULL);
}

/* Kv head h sees `part`; `fresh`: it is the one that the token at hand lies in. */
static void attention_part(Attention *a, LLVMValueRef h, LLVMValueRef part, LLVMValueRef fresh)
{
    SnlGen *g = a->g;
    LLVMValueRef n = snl_i64(g, a->flash.group), tiles = register_tiles(a, n);
    LLVMValueRef begin = snl_mul(g, part, snl_i64(g, a->part));
    find_head(a, h);
    SnlSight cached = sight_of_cache(a);
    cached.lo = snl_max(g, cached.lo, begin);
    cached.cap = snl_min(g, cached.cap, snl_add(g, begin, snl_i64(g, a->part)));
    pack_queries(a, n, tiles);
    snl_flash_segment(&a->flash, &a->flash.cache, tiles, &cached);
    if (!a->own_cache) {
        SnlIf own;
        snl_if_begin(g, &own, fresh);
        own_segment(a, tiles);
        snl_if_end(g, &own);
    }
    unpack_part(a, h, part);
}

void snl_parts_seen(SnlGen *g, LLVMValueRef pos, const SnlParts *p, LLVMValueRef *out_first,
                    LLVMValueRef *out_last)
{
    LLVMValueRef from = snl_sub(g, pos, snl_i64(g, p->window));
    LLVMValueRef most = snl_i64(g, p->count - 1);
    *out_last = snl_min(g, snl_div_const(g, pos, p->size), most);
    *out_first = snl_i64(g, 0);
    if (p->window < 0) return;
    *out_first = snl_div_const(g, snl_max(g, from, *out_first), p->size);
    *out_first = snl_min(g, *out_first, most);
}

/* ... this thread's turn, number of threads, row, pos. Units are (kv head, part), a head's from its
 * last part backwards; taken from the end of the turn, so that memory is read forwards. */
static void attention_parts(Attention *a, const SnlParts *p)
{
    SnlGen *g = a->g;
    LLVMValueRef turn = snl_param(g, 6), n_threads = snl_param(g, 7), one = snl_i64(g, 1);
    LLVMValueRef first, last;
    snl_parts_seen(g, a->pos, p, &first, &last);
    LLVMValueRef seen = snl_add(g, snl_sub(g, last, first), one);
    LLVMValueRef units = snl_mul(g, seen, snl_i64(g, a->heads));
    LLVMValueRef begin = snl_turn_begin(g, units, turn, n_threads);
    LLVMValueRef end = snl_turn_begin(g, units, snl_add(g, turn, one), n_threads);
    LLVMValueRef from_end = snl_sub(g, snl_add(g, begin, end), one);
    a->row = snl_i64(g, 0);
    a->rows = one;
    SnlLoop u;
    snl_loop_begin(g, &u, begin, end, 1, 0, NULL);
    LLVMValueRef unit = snl_sub(g, from_end, u.i);
    LLVMValueRef head = LLVMBuildUDiv(g->b, unit, seen, "");
    LLVMValueRef back = snl_sub(g, unit, snl_mul(g, head, seen));
    LLVMValueRef fresh = LLVMBuildICmp(g->b, LLVMIntEQ, back, snl_i64(g, 0), "");
    attention_part(a, head, snl_sub(g, last, back), fresh);
    snl_loop_end(g, &u, NULL);
}

/* ---- the calls ------------------------------------------------------------------------------- */

static char *kernel_name(const Attention *a, const char *how)
{
    const SnlFlash *f = &a->flash;
    return snl_arena_printf(
        a->g->arena, "%s.%s.%lld.%lld.%lld.w%lld.%a.%s.r%d.t%lld.%lld.%lld.%lld.%lld.%lld", how,
        snl_dtype_info[f->cache.dtype].text, (long long)f->width, (long long)f->group,
        (long long)f->cache.padded, (long long)a->window, a->scale, a->own_cache ? "cache" : "rows",
        f->queries, (long long)a->tile_rows, (long long)a->tokens, (long long)a->q_stride,
        (long long)a->k_stride, (long long)a->v_stride, (long long)a->y_stride);
}

/* Queries of a register tile: what the registers hold, fewer when a tile has fewer. */
static int register_queries(const SnlGen *g, int64_t queries)
{
    int most = g->tile_tokens < SNL_ATTENTION_QUERIES ? g->tile_tokens : SNL_ATTENTION_QUERIES;
    int64_t tiles = (queries + most - 1) / most;
    return (int)((queries + tiles - 1) / tiles);
}

static Attention attention_of(const SnlOpGen *o, size_t member, SnlPlace q, SnlPlace k, SnlPlace v,
                              SnlPlace y)
{
    const SnlAttrs *attrs = &o->op->attrs;
    const SnlType *cache = o->op->sym[0].state[member]->type;
    int64_t group = snl_attention_group(o->op), d = cache->dim[3];
    int64_t rows = snl_attention_tile_rows(o->op, o->tokens);
    int64_t window = snl_attr_int_at(attrs, "window", member, -1);
    return (Attention){.g = o->g,
                       .flash = {.g = o->g,
                                 .cache = snl_cache_of(o->g, cache),
                                 .width = d,
                                 .group = group,
                                 .ranged = window >= 0,
                                 .queries = register_queries(o->g, rows * group)},
                       .tile_rows = rows,
                       .tokens = o->tokens,
                       .window = window,
                       .heads = snl_attention_kv_heads(o->op),
                       .scale = snl_attr_real(attrs, "scale", 1.0 / sqrt((double)d)),
                       .own_cache = snl_attr_find(attrs, "own") != NULL,
                       .q_stride = q.stride,
                       .k_stride = k.stride,
                       .v_stride = v.stride,
                       .y_stride = y.stride};
}

static LLVMValueRef begin_kernel(Attention *a, const SnlOpGen *o, const char *how, bool *out_new)
{
    LLVMValueRef f = snl_kernel_begin(a->g, kernel_name(a, how), 6, 5, out_new);
    if (!*out_new) return f;
    divide_scratch(a, snl_attention_tile_queries(o->op, o->tokens));
    a->pos = snl_param(a->g, 10);
    return f;
}

void snl_kernel_attention(const SnlOpGen *o, size_t member, SnlPlace q, SnlPlace k, SnlPlace v,
                          SnlPlace y, SnlRange r)
{
    SnlGen *g = o->g;
    Attention a = attention_of(o, member, q, k, v, y);
    bool tiles = r.columns == SNL_COLUMNS_THREADS, fresh;
    const char *how = tiles ? snl_arena_printf(g->arena, "attention.tiles%lld", (long long)a.heads)
                            : "attention";
    LLVMValueRef f = begin_kernel(&a, o, how, &fresh);
    if (fresh) {
        if (tiles)
            attention_tiles(&a, a.heads);
        else
            attention_body(&a);
        snl_kernel_end(g);
    }
    SnlAddress at[] = {
        q.base, k.base, v.base, y.base, snl_state_at(o, o->op->sym[0].state[member]), o->scratch};
    snl_call_kernel_at_pos(o, f, at, 6, r);
}

SnlParts snl_parts_of(const SnlOp *op, size_t member)
{
    return (SnlParts){.size = snl_attr_int(&op->attrs, "part", 1),
                      .count = snl_attention_part_count(op),
                      .window = snl_attr_int_at(&op->attrs, "window", member, -1)};
}

void snl_kernel_attention_parts(const SnlOpGen *o, size_t member, SnlPlace q, SnlPlace k,
                                SnlPlace v, SnlPlace y, SnlRange r)
{
    SnlGen *g = o->g;
    Attention a = attention_of(o, member, q, k, v, y);
    SnlParts p = snl_parts_of(o->op, member);
    a.flash.ranged = true;
    a.part = p.size;
    bool fresh;
    const char *how = snl_arena_printf(g->arena, "attention_parts%lld.%lld.%lld",
                                       (long long)a.heads, (long long)p.size, (long long)p.count);
    LLVMValueRef f = begin_kernel(&a, o, how, &fresh);
    if (fresh) {
        attention_parts(&a, &p);
        snl_kernel_end(g);
    }
    SnlAddress at[] = {
        q.base, k.base, v.base, y.base, snl_state_at(o, o->op->sym[0].state[member]), o->scratch};
    snl_call_kernel_at_pos(o, f, at, 6, r);
}
