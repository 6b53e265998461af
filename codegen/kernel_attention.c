/* codegen/kernel_attention.c -- causal attention over a cache.
 *
 * A tile is a few token rows times the query heads of one kv head. Its queries, scaled, lie packed
 * in private scratch, and so do their results so far; the tile goes through the positions it may see
 * in blocks of SNL_ATTENTION_BLOCK (softmax "online": no buffer grows with the context):
 *
 *     s = q K of the block;  m' = max(m, max s);  e = exp(s - m')
 *     l = l exp(m - m') + sum e;  o = o exp(m - m') + e V;  at the end y = o / l
 *
 * Products run on register tiles of `r` queries: 16 positions of a key panel against r queries, and
 * one position's value against r weights. What a query sees is cut off by -inf, and only in blocks
 * at an edge. Rows of this call are read from the cache when kv_write has put them there (`own =
 * cache`); else they are laid out like a cache in the scratch, rounded to its format, and follow the
 * cached ones as a second segment. How blocks and tiles lie depends on shapes and positions alone:
 * so results do not depend on how tiles were shared out. */
#include "codegen/attention.h"

#include <float.h>
#include <math.h>

/* ---- the kernel: queries in, segments, results out ------------------------------------------- */

typedef struct Attention {
    SnlGen *g;
    SnlFlash flash;
    int64_t tile_rows, tokens;
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
    if (a->flash.window >= 0) s.lo = snl_sub(g, at, snl_i64(g, a->flash.window));
    return s;
}

static void attention_tile(Attention *a)
{
    SnlGen *g = a->g;
    SnlFlash *f = &a->flash;
    LLVMValueRef n = snl_mul(g, a->rows, snl_i64(g, f->group));
    LLVMValueRef tiles =
        snl_div_const(g, snl_add(g, n, snl_i64(g, f->queries - 1)), f->queries);
    pack_queries(a, n, tiles);
    LLVMValueRef end = snl_add(g, a->row, a->rows);
    LLVMValueRef cap = a->own_cache ? snl_add(g, a->pos, end) : a->pos;
    SnlSight cached = sight_of(a, a->pos, cap);
    if (!a->own_cache) cached.hi = a->pos;
    snl_flash_segment(f, &f->cache, tiles, &cached);
    if (!a->own_cache) {
        SnlCache own = snl_cache_for(f->cache, a->tokens);
        own.head = a->own;
        lay_out_own_rows(a, &own, end);
        SnlSight fresh = sight_of(a, snl_i64(g, 0), end);
        snl_flash_segment(f, &own, tiles, &fresh);
    }
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

/* Rows [r0, r1) of kv head h. */
static void attention_head(Attention *a, LLVMValueRef h, LLVMValueRef r0, LLVMValueRef r1)
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

static char *kernel_name(const Attention *a, int64_t tiles_of_heads)
{
    const SnlFlash *f = &a->flash;
    return snl_arena_printf(
        a->g->arena, "attention.%s.%lld.%lld.%lld.w%lld.%a.%s.h%lld.r%d.t%lld.%lld.%lld.%lld.%lld.%lld",
        snl_dtype_info[f->cache.dtype].text, (long long)f->width, (long long)f->group,
        (long long)f->cache.padded, (long long)f->window, a->scale, a->own_cache ? "cache" : "rows",
        (long long)tiles_of_heads, f->queries, (long long)a->tile_rows, (long long)a->tokens, (long long)a->q_stride,
        (long long)a->k_stride, (long long)a->v_stride, (long long)a->y_stride);
}

/* Queries of a register tile: what the registers hold, fewer when a tile has fewer. */
static int register_queries(const SnlGen *g, int64_t queries)
{
    int most = g->tile_tokens < SNL_ATTENTION_QUERIES ? g->tile_tokens : SNL_ATTENTION_QUERIES;
    int64_t tiles = (queries + most - 1) / most;
    return (int)((queries + tiles - 1) / tiles);
}

void snl_kernel_attention(const SnlOpGen *o, size_t member, SnlPlace q, SnlPlace k, SnlPlace v,
                          SnlPlace y, SnlRange r)
{
    SnlGen *g = o->g;
    const SnlAttrs *attrs = &o->op->attrs;
    const SnlState *cache = o->op->sym[0].state[member];
    int64_t group = snl_attention_group(o->op), d = cache->type->dim[3];
    int64_t rows = snl_attention_tile_rows(o->op, o->tokens);
    Attention a = {.g = g,
                   .flash = {.g = g,
                             .cache = snl_cache_of(g, cache->type),
                             .width = d,
                             .group = group,
                             .window = snl_attr_int_at(attrs, "window", member, -1),
                             .queries = register_queries(g, rows * group)},
                   .tile_rows = rows,
                   .tokens = o->tokens,
                   .scale = snl_attr_real(attrs, "scale", 1.0 / sqrt((double)d)),
                   .own_cache = snl_attr_find(attrs, "own") != NULL,
                   .q_stride = q.stride,
                   .k_stride = k.stride,
                   .v_stride = v.stride,
                   .y_stride = y.stride};
    int64_t heads = r.columns == SNL_COLUMNS_THREADS ? snl_attention_kv_heads(o->op) : 0;
    bool fresh;
    LLVMValueRef f = snl_kernel_begin(g, kernel_name(&a, heads), 6, 5, &fresh);
    if (fresh) {
        divide_scratch(&a, snl_attention_tile_queries(o->op, o->tokens));
        a.pos = snl_param(g, 10);
        if (heads)
            attention_tiles(&a, heads);
        else
            attention_body(&a);
        snl_kernel_end(g);
    }
    SnlAddress at[] = {q.base, k.base, v.base, y.base, snl_state_at(o, cache), o->scratch};
    snl_call_kernel_at_pos(o, f, at, 6, r);
}
