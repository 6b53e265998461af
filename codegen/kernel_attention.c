/* codegen/kernel_attention.c -- causal attention over a cache, and the cache's writer.
 *
 * Cache of one head: keys in panels of 16 positions, element (position p, j) at
 * ((p / 16) * d + j) * 16 + p % 16; then values row by row. So scores of 16 positions are one
 * column of multiply-adds, like a GEMV panel, and the weighted sum of values runs along rows.
 *
 * The kernel takes Q queries at once (a few token rows times the query heads of one kv head), in
 * three passes over the positions they may see: scores and their maximum; exp and sum; weighted sum
 * of values. Scores live in private scratch, [Q, positions]; nothing is ever T x T. Rows of this
 * call are read from the cache when kv_write has put them there (`own = cache`), else from k and v
 * themselves: their scores then follow the cached ones. */
#include "codegen/gen.h"

#include <math.h>

enum { MAX_QUERIES = 8, MAX_VALUE_ACCUMULATORS = 16, SHARED_TILE_ROWS = 16 };

static const double MASKED = -1e30; /* a score that exp turns into exactly 0 */

typedef struct Attention {
    SnlGen *g;
    int64_t d, group, padded; /* head width, query heads per kv head, cached positions (padded) */
    int64_t window;           /* -1: none */
    int64_t scratch_stride;   /* positions per query */
    double scale;
    bool own_cache;
    int64_t q_stride, k_stride, v_stride, y_stride;
    LLVMValueRef q, k, v, keys, values, y, scratch, pos; /* at the kv head at hand */
    LLVMValueRef row;                                    /* first token row of the tile */
    int queries;
    LLVMValueRef lo[MAX_QUERIES], hi[MAX_QUERIES]; /* cached positions seen: [lo, hi) */
    LLVMValueRef peak[MAX_QUERIES], inverse_sum[MAX_QUERIES];
} Attention;

/* Token row and query head of query i; its q row and its y row. */
static LLVMValueRef query_row(const Attention *a, int i)
{
    return snl_add(a->g, a->row, snl_i64(a->g, i / a->group));
}
static LLVMValueRef query_at(const Attention *a, LLVMValueRef base, int64_t stride, int i)
{
    LLVMValueRef row = snl_offset(a->g, base, query_row(a, i), stride * 4);
    return snl_offset_const(a->g, row, (i % a->group) * a->d * 4);
}
static LLVMValueRef scores_of(const Attention *a, int i)
{
    return snl_offset_const(a->g, a->scratch, i * a->scratch_stride * 4);
}

/* Cached positions that each query sees. Own rows count as cached when kv_write was there first. */
static void find_limits(Attention *a)
{
    SnlGen *g = a->g;
    for (int i = 0; i < a->queries; i++) {
        LLVMValueRef at = snl_add(g, a->pos, query_row(a, i));
        a->hi[i] = a->own_cache ? snl_add(g, at, snl_i64(g, 1)) : a->pos;
        a->lo[i] = snl_i64(g, 0);
        if (a->window >= 0) a->lo[i] = snl_max(g, a->lo[i], snl_sub(g, at, snl_i64(g, a->window)));
    }
}

/* First own row that query i sees, and one past the last. */
static LLVMValueRef own_from(const Attention *a, int i)
{
    SnlGen *g = a->g;
    if (a->window < 0) return snl_i64(g, 0);
    LLVMValueRef first = snl_sub(g, query_row(a, i), snl_i64(g, a->window));
    return snl_max(g, first, snl_i64(g, 0));
}
static LLVMValueRef own_to(const Attention *a, int i)
{
    return snl_add(a->g, query_row(a, i), snl_i64(a->g, 1));
}
/* Score slot of own row t. */
static LLVMValueRef own_score(const Attention *a, int i, LLVMValueRef t)
{
    SnlGen *g = a->g;
    return snl_offset(g, scores_of(a, i), snl_add(g, t, snl_i64(g, a->padded)), 4);
}

/* ---- pass 1: scores -------------------------------------------------------------------------- */

static void panel_scores(const Attention *a, LLVMValueRef panel, LLVMValueRef *sum)
{
    SnlGen *g = a->g;
    int chains = a->queries >= 4 ? 1 : 4 / a->queries;
    while (a->d % chains != 0) chains /= 2;
    LLVMValueRef acc[MAX_QUERIES * 4];
    unsigned n = (unsigned)(a->queries * chains);
    for (unsigned i = 0; i < n; i++) acc[i] = snl_splat_f32(g, 0.0, SNL_LANES);
    LLVMValueRef base = snl_offset(g, a->keys, panel, a->d * SNL_LANES * 4);
    SnlLoop j;
    snl_loop_begin(g, &j, snl_i64(g, 0), snl_i64(g, a->d), chains, n, acc);
    for (int c = 0; c < chains; c++) {
        LLVMValueRef line = snl_offset_const(g, snl_offset(g, base, j.i, 64), c * 64);
        LLVMValueRef key = snl_load_typed(g, snl_vec(g->f32, SNL_LANES), line, 64);
        for (int i = 0; i < a->queries; i++) {
            LLVMValueRef q = query_at(a, a->q, a->q_stride, i);
            q = snl_load(g, snl_offset_const(g, snl_offset(g, q, j.i, 4), c * 4), 1);
            int k = i * chains + c;
            acc[k] = snl_fma(g, key, snl_splat(g, q, SNL_LANES), j.carried[k]);
        }
    }
    snl_loop_end(g, &j, acc);
    for (int i = 0; i < a->queries; i++) {
        sum[i] = j.carried[i * chains];
        for (int c = 1; c < chains; c++) sum[i] = snl_fadd(g, sum[i], j.carried[i * chains + c]);
    }
}

static LLVMValueRef masked_score(const Attention *a, int i, LLVMValueRef score, LLVMValueRef index)
{
    SnlGen *g = a->g;
    LLVMValueRef above =
        LLVMBuildICmp(g->b, LLVMIntSGE, index, snl_splat(g, a->lo[i], SNL_LANES), "");
    LLVMValueRef below =
        LLVMBuildICmp(g->b, LLVMIntSLT, index, snl_splat(g, a->hi[i], SNL_LANES), "");
    LLVMValueRef seen = LLVMBuildAnd(g->b, above, below, "");
    score = snl_fmul(g, score, snl_splat_f32(g, a->scale, SNL_LANES));
    return LLVMBuildSelect(g->b, seen, score, snl_splat_f32(g, MASKED, SNL_LANES), "");
}

/* Panels that any query of the tile sees: the first query's low end, the last one's high end. */
static void panel_range(const Attention *a, LLVMValueRef *from, LLVMValueRef *to)
{
    SnlGen *g = a->g;
    *from = snl_div_const(g, a->lo[0], SNL_LANES);
    LLVMValueRef up = snl_add(g, a->hi[a->queries - 1], snl_i64(g, SNL_LANES - 1));
    *to = snl_div_const(g, up, SNL_LANES);
}

static void own_scores(Attention *a, int i)
{
    SnlGen *g = a->g;
    int lanes = snl_lanes_for(a->d);
    SnlLoop t, j;
    snl_loop_begin(g, &t, own_from(a, i), own_to(a, i), 1, 1, &a->peak[i]);
    LLVMValueRef k = snl_offset(g, a->k, t.i, a->k_stride * 4),
                 q = query_at(a, a->q, a->q_stride, i);
    LLVMValueRef sum = snl_splat_f32(g, 0.0, lanes);
    snl_loop_begin(g, &j, snl_i64(g, 0), snl_i64(g, a->d), lanes, 1, &sum);
    LLVMValueRef kj = snl_load(g, snl_offset(g, k, j.i, 4), lanes);
    LLVMValueRef qj = snl_load(g, snl_offset(g, q, j.i, 4), lanes);
    LLVMValueRef next = snl_fma(g, kj, qj, j.carried[0]);
    snl_loop_end(g, &j, &next);
    LLVMValueRef score = snl_fmul(g, snl_reduce_add(g, j.carried[0], lanes), snl_f32(g, a->scale));
    snl_store(g, score, own_score(a, i, t.i));
    next = snl_fmax(g, t.carried[0], score);
    snl_loop_end(g, &t, &next);
    a->peak[i] = t.carried[0];
}

static void pass_scores(Attention *a)
{
    SnlGen *g = a->g;
    LLVMValueRef top[MAX_QUERIES], from, to;
    for (int i = 0; i < a->queries; i++) top[i] = snl_splat_f32(g, MASKED, SNL_LANES);
    panel_range(a, &from, &to);
    SnlLoop p;
    snl_loop_begin(g, &p, from, to, 1, (unsigned)a->queries, top);
    LLVMValueRef score[MAX_QUERIES];
    panel_scores(a, p.i, score);
    LLVMValueRef first = snl_mul(g, p.i, snl_i64(g, SNL_LANES)), index = snl_lane_index(g, first);
    for (int i = 0; i < a->queries; i++) {
        score[i] = masked_score(a, i, score[i], index);
        snl_store(g, score[i], snl_offset(g, scores_of(a, i), first, 4));
        top[i] = snl_fmax(g, p.carried[i], score[i]);
    }
    snl_loop_end(g, &p, top);
    for (int i = 0; i < a->queries; i++) {
        a->peak[i] = snl_reduce_max(g, p.carried[i], SNL_LANES);
        if (!a->own_cache) own_scores(a, i);
    }
}

/* ---- pass 2: exp and sum --------------------------------------------------------------------- */

static LLVMValueRef weight_of(const Attention *a, int i, LLVMValueRef score, int lanes)
{
    SnlGen *g = a->g;
    /* Unordered: a NaN score is seen and makes the whole row NaN, as softmax does. */
    LLVMValueRef seen =
        LLVMBuildFCmp(g->b, LLVMRealUGT, score, snl_splat_f32(g, MASKED * 0.5, lanes), "");
    LLVMValueRef e = snl_exp(g, snl_fsub(g, score, snl_splat(g, a->peak[i], lanes)), lanes);
    return LLVMBuildSelect(g->b, seen, e, snl_splat_f32(g, 0.0, lanes), "");
}

static void pass_exp(Attention *a, int i)
{
    SnlGen *g = a->g;
    LLVMValueRef from, to, sum = snl_splat_f32(g, 0.0, SNL_LANES);
    panel_range(a, &from, &to);
    SnlLoop p;
    snl_loop_begin(g, &p, from, to, 1, 1, &sum);
    LLVMValueRef at = snl_offset(g, scores_of(a, i), snl_mul(g, p.i, snl_i64(g, SNL_LANES)), 4);
    LLVMValueRef e = weight_of(a, i, snl_load(g, at, SNL_LANES), SNL_LANES);
    snl_store(g, e, at);
    sum = snl_fadd(g, p.carried[0], e);
    snl_loop_end(g, &p, &sum);
    LLVMValueRef total = snl_reduce_add(g, p.carried[0], SNL_LANES);
    if (!a->own_cache) {
        SnlLoop t;
        snl_loop_begin(g, &t, own_from(a, i), own_to(a, i), 1, 1, &total);
        LLVMValueRef slot = own_score(a, i, t.i);
        e = weight_of(a, i, snl_load(g, slot, 1), 1);
        snl_store(g, e, slot);
        sum = snl_fadd(g, t.carried[0], e);
        snl_loop_end(g, &t, &sum);
        total = t.carried[0];
    }
    a->inverse_sum[i] = snl_fdiv(g, snl_f32(g, 1.0), total);
}

/* ---- pass 3: weighted sum of values ---------------------------------------------------------- */

/* acc[i * chunks + c] += weight of query first + i at slot * value row's chunk c. */
static void add_values(const Attention *a, LLVMValueRef row, LLVMValueRef slot, int first, int n,
                       int64_t chunk0, int chunks, int lanes, const LLVMValueRef *in,
                       LLVMValueRef *out)
{
    SnlGen *g = a->g;
    LLVMValueRef value[MAX_VALUE_ACCUMULATORS];
    for (int c = 0; c < chunks; c++)
        value[c] = snl_load(g, snl_offset_const(g, row, (chunk0 + c) * lanes * 4), lanes);
    for (int i = 0; i < n; i++) {
        LLVMValueRef at = snl_offset(g, scores_of(a, first + i), slot, 4);
        LLVMValueRef w = snl_splat(g, snl_load(g, at, 1), lanes);
        for (int c = 0; c < chunks; c++)
            out[i * chunks + c] = snl_fma(g, w, value[c], in[i * chunks + c]);
    }
}

/* Queries [first, first + n), chunks [chunk0, chunk0 + chunks) of the head's width. */
static void value_block(const Attention *a, int first, int n, int64_t chunk0, int chunks, int lanes)
{
    SnlGen *g = a->g;
    LLVMValueRef acc[MAX_VALUE_ACCUMULATORS], next[MAX_VALUE_ACCUMULATORS];
    unsigned total = (unsigned)(n * chunks);
    for (unsigned i = 0; i < total; i++) acc[i] = snl_splat_f32(g, 0.0, lanes);
    SnlLoop p;
    snl_loop_begin(g, &p, a->lo[first], a->hi[first + n - 1], 1, total, acc);
    LLVMValueRef row = snl_offset(g, a->values, p.i, a->d * 4);
    add_values(a, row, p.i, first, n, chunk0, chunks, lanes, p.carried, next);
    snl_loop_end(g, &p, next);
    for (unsigned i = 0; i < total; i++) acc[i] = p.carried[i];
    if (!a->own_cache) {
        SNL_ASSERT(n == 1);
        SnlLoop t;
        snl_loop_begin(g, &t, own_from(a, first), own_to(a, first), 1, total, acc);
        row = snl_offset(g, a->v, t.i, a->v_stride * 4);
        add_values(a, row, snl_add(g, t.i, snl_i64(g, a->padded)), first, n, chunk0, chunks, lanes,
                   t.carried, next);
        snl_loop_end(g, &t, next);
        for (unsigned i = 0; i < total; i++) acc[i] = t.carried[i];
    }
    for (int i = 0; i < n; i++)
        for (int c = 0; c < chunks; c++) {
            LLVMValueRef by = snl_splat(g, a->inverse_sum[first + i], lanes);
            LLVMValueRef y = query_at(a, a->y, a->y_stride, first + i);
            snl_store(g, snl_fmul(g, acc[i * chunks + c], by),
                      snl_offset_const(g, y, (chunk0 + c) * lanes * 4));
        }
}

static void pass_values(const Attention *a)
{
    int lanes = snl_lanes_for(a->d);
    int64_t chunks = a->d / lanes;
    int at_once = chunks > MAX_VALUE_ACCUMULATORS ? MAX_VALUE_ACCUMULATORS : (int)chunks;
    int queries = a->own_cache ? MAX_VALUE_ACCUMULATORS / at_once : 1;
    for (int first = 0; first < a->queries; first += queries) {
        int n = a->queries - first < queries ? a->queries - first : queries;
        for (int64_t c = 0; c < chunks; c += at_once) {
            int m = chunks - c < at_once ? (int)(chunks - c) : at_once;
            value_block(a, first, n, c, m, lanes);
        }
    }
}

/* ---- the kernel ------------------------------------------------------------------------------ */

static void attention_tile(Attention a, LLVMValueRef row, int64_t rows)
{
    a.row = row;
    a.queries = (int)(rows * a.group);
    find_limits(&a);
    pass_scores(&a);
    for (int i = 0; i < a.queries; i++) pass_exp(&a, i);
    pass_values(&a);
}

/* Rows [r0, r1) of `n` query heads of the kv head, from head `first`. */
static void attention_rows(Attention a, LLVMValueRef first, int64_t n, LLVMValueRef r0,
                           LLVMValueRef r1, int64_t tile)
{
    SnlGen *g = a.g;
    a.group = n;
    a.q = snl_offset(g, a.q, first, a.d * 4);
    a.y = snl_offset(g, a.y, first, a.d * 4);
    LLVMValueRef count = snl_max(g, snl_sub(g, r1, r0), snl_i64(g, 0));
    LLVMValueRef whole = snl_mul(g, snl_div_const(g, count, tile), snl_i64(g, tile));
    LLVMValueRef middle = snl_add(g, r0, whole);
    SnlLoop t;
    snl_loop_begin(g, &t, r0, middle, tile, 0, NULL);
    attention_tile(a, t.i, tile);
    snl_loop_end(g, &t, NULL);
    if (tile == 1) return;
    snl_loop_begin(g, &t, middle, r1, 1, 0, NULL);
    attention_tile(a, t.i, 1);
    snl_loop_end(g, &t, NULL);
}

/* Query heads of a kv head beyond MAX_QUERIES go in portions. */
static void attention_heads(Attention a, int64_t group, LLVMValueRef r0, LLVMValueRef r1,
                            int64_t tile)
{
    SnlGen *g = a.g;
    int64_t rest = group % MAX_QUERIES;
    if (group > MAX_QUERIES) {
        SnlLoop h;
        snl_loop_begin(g, &h, snl_i64(g, 0), snl_i64(g, group - rest), MAX_QUERIES, 0, NULL);
        attention_rows(a, h.i, MAX_QUERIES, r0, r1, tile);
        snl_loop_end(g, &h, NULL);
    } else if (rest == 0) {
        rest = group;
    }
    if (rest > 0) attention_rows(a, snl_i64(g, group - rest), rest, r0, r1, tile);
}

static int64_t cache_head_bytes(const SnlType *state)
{
    return 2 * snl_context_padded(state->dim[2]) * state->dim[3] * 4;
}

/* Rows [r0, r1) of kv head h. Parameters: q, k, v, y, cache, scratch, ... */
static void attention_head(Attention a, const SnlType *state, LLVMValueRef h, LLVMValueRef r0,
                           LLVMValueRef r1, int64_t tile)
{
    SnlGen *g = a.g;
    int64_t group = a.group;
    a.q = snl_offset(g, snl_param(g, 0), h, group * a.d * 4);
    a.k = snl_offset(g, snl_param(g, 1), h, a.d * 4);
    a.v = snl_offset(g, snl_param(g, 2), h, a.d * 4);
    a.y = snl_offset(g, snl_param(g, 3), h, group * a.d * 4);
    a.keys = snl_offset(g, snl_param(g, 4), h, cache_head_bytes(state));
    a.values = snl_offset_const(g, a.keys, a.padded * a.d * 4);
    attention_heads(a, group, r0, r1, tile);
}

/* ... kv heads [c0, c1), rows [r0, r1), pos. */
static void attention_body(Attention a, const SnlType *state, int64_t tile)
{
    SnlGen *g = a.g;
    SnlLoop h;
    snl_loop_begin(g, &h, snl_param(g, 6), snl_param(g, 7), 1, 0, NULL);
    attention_head(a, state, h.i, snl_param(g, 8), snl_param(g, 9), tile);
    snl_loop_end(g, &h, NULL);
}

/* ... this thread, number of threads, rows [r0, r1), pos. Units are (tile of rows, kv head): thread
 * t takes units t, t + n, t + 2n, ..., so that late tiles, which see more positions, are shared out
 * evenly. */
static void attention_tiles(Attention a, const SnlType *state, int64_t heads, int64_t tile)
{
    SnlGen *g = a.g;
    LLVMValueRef thread = snl_param(g, 6), n_threads = snl_param(g, 7);
    LLVMValueRef r0 = snl_param(g, 8), r1 = snl_param(g, 9), size = snl_i64(g, SHARED_TILE_ROWS);
    LLVMValueRef rows = snl_max(g, snl_sub(g, r1, r0), snl_i64(g, 0));
    LLVMValueRef up = snl_add(g, rows, snl_i64(g, SHARED_TILE_ROWS - 1));
    LLVMValueRef units = snl_mul(g, snl_div_const(g, up, SHARED_TILE_ROWS), snl_i64(g, heads));
    LLVMValueRef ahead = snl_sub(g, snl_add(g, units, n_threads), snl_i64(g, 1));
    LLVMValueRef turns = LLVMBuildUDiv(g->b, snl_sub(g, ahead, thread), n_threads, "");
    SnlLoop turn;
    snl_loop_begin(g, &turn, snl_i64(g, 0), turns, 1, 0, NULL);
    LLVMValueRef unit = snl_add(g, snl_mul(g, turn.i, n_threads), thread);
    LLVMValueRef from = snl_add(g, r0, snl_mul(g, snl_div_const(g, unit, heads), size));
    attention_head(a, state, snl_rem_const(g, unit, heads), from,
                   snl_min(g, r1, snl_add(g, from, size)), tile);
    snl_loop_end(g, &turn, NULL);
}

void snl_kernel_attention(const SnlOpGen *o, size_t member, SnlPlace q, SnlPlace k, SnlPlace v,
                          SnlPlace y, SnlRange r)
{
    SnlGen *g = o->g;
    const SnlAttrs *attrs = &o->op->attrs;
    const SnlState *cache = o->op->sym[0].state[member];
    int64_t d = cache->type->dim[3];
    Attention a = {.g = g,
                   .d = d,
                   .group = snl_attention_group(o->op),
                   .padded = snl_context_padded(cache->type->dim[2]),
                   .window = snl_attr_int_at(attrs, "window", member, -1),
                   .scale = snl_attr_real(attrs, "scale", 1.0 / sqrt((double)d)),
                   .own_cache = snl_attr_find(attrs, "own") != NULL,
                   .q_stride = q.stride,
                   .k_stride = k.stride,
                   .v_stride = v.stride,
                   .y_stride = y.stride};
    a.scratch_stride = a.padded + snl_context_padded(o->tokens);
    int64_t tile = snl_attention_tile_rows(o->op, o->tokens);
    bool shared_out = r.columns == SNL_COLUMNS_THREADS;
    const char *by = shared_out ? snl_arena_printf(g->arena, ".tiles%lld",
                                                   (long long)snl_attention_kv_heads(o->op))
                                : "";
    char *name = snl_arena_printf(
        g->arena, "attention.%lld.%lld.%lld.w%lld.%a.%s%s.t%lld.%lld.%lld.%lld.%lld.%lld",
        (long long)d, (long long)a.group, (long long)a.padded, (long long)a.window, a.scale,
        a.own_cache ? "cache" : "rows", by, (long long)tile, (long long)o->tokens,
        (long long)q.stride, (long long)k.stride, (long long)v.stride, (long long)y.stride);
    bool fresh;
    LLVMValueRef f = snl_kernel_begin(g, name, 6, 5, &fresh);
    if (fresh) {
        a.scratch = snl_param(g, 5);
        a.pos = snl_param(g, 10);
        if (shared_out)
            attention_tiles(a, cache->type, snl_attention_kv_heads(o->op), tile);
        else
            attention_body(a, cache->type, tile);
        snl_kernel_end(g);
    }
    SnlAddress at[] = {q.base, k.base, v.base, y.base, snl_state_at(o, cache), o->scratch};
    snl_call_kernel_at_pos(o, f, at, 6, r);
}

/* Rows [r0, r1) of kv heads [c0, c1) into the cache at pos + row. */
void snl_kernel_kv_write(const SnlOpGen *o, size_t member, SnlPlace k, SnlPlace v, SnlRange r)
{
    SnlGen *g = o->g;
    const SnlType *state = o->op->sym[0].state[member]->type;
    int64_t d = state->dim[3], padded = snl_context_padded(state->dim[2]);
    char *name = snl_arena_printf(g->arena, "kv_write.%lld.%lld.%lld.%lld", (long long)d,
                                  (long long)padded, (long long)k.stride, (long long)v.stride);
    bool fresh;
    LLVMValueRef f = snl_kernel_begin(g, name, 3, 5, &fresh);
    if (fresh) {
        SnlLoop t, h, j;
        snl_loop_begin(g, &t, snl_param(g, 5), snl_param(g, 6), 1, 0, NULL);
        LLVMValueRef at = snl_add(g, snl_param(g, 7), t.i);
        LLVMValueRef kt = snl_offset(g, snl_param(g, 0), t.i, k.stride * 4);
        LLVMValueRef vt = snl_offset(g, snl_param(g, 1), t.i, v.stride * 4);
        snl_loop_begin(g, &h, snl_param(g, 3), snl_param(g, 4), 1, 0, NULL);
        LLVMValueRef head = snl_offset(g, snl_param(g, 2), h.i, cache_head_bytes(state));
        LLVMValueRef lane =
            snl_offset(g, snl_offset(g, head, snl_div_const(g, at, SNL_LANES), d * SNL_LANES * 4),
                       snl_rem_const(g, at, SNL_LANES), 4);
        LLVMValueRef row = snl_offset(g, snl_offset_const(g, head, padded * d * 4), at, d * 4);
        LLVMValueRef kh = snl_offset(g, kt, h.i, d * 4), vh = snl_offset(g, vt, h.i, d * 4);
        snl_loop_begin(g, &j, snl_i64(g, 0), snl_i64(g, d), 1, 0, NULL);
        snl_store(g, snl_load(g, snl_offset(g, kh, j.i, 4), 1), snl_offset(g, lane, j.i, 64));
        snl_store(g, snl_load(g, snl_offset(g, vh, j.i, 4), 1), snl_offset(g, row, j.i, 4));
        snl_loop_end(g, &j, NULL);
        snl_loop_end(g, &h, NULL);
        snl_loop_end(g, &t, NULL);
        snl_kernel_end(g);
    }
    SnlAddress at[] = {k.base, v.base, snl_state_at(o, o->op->sym[0].state[member])};
    snl_call_kernel_at_pos(o, f, at, 3, r);
}

bool snl_state_is_cache(const SnlState *s)
{
    return s->type->rank == 4;
}

int64_t snl_state_bytes(const SnlState *s)
{
    if (snl_state_is_cache(s)) return s->type->dim[1] * cache_head_bytes(s->type);
    return (snl_type_elems(s->type, 1) * 4 + 63) / 64 * 64;
}
