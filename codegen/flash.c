/* codegen/flash.c -- one segment of positions for packed queries, block by block: scores, softmax
 * so far, weighted values (codegen/kernel_attention.c says how they belong together). A function of
 * its own, called for the cache and for rows beside it. */
#include "codegen/attention.h"

#include <math.h>

typedef struct Segment {
    const SnlFlash *f;
    SnlGen *g;
    SnlCache cache;
    LLVMValueRef q, out, sums, tops, scores, lo, hi, cap, tiles;
    /* The register tile at hand: its first query; positions [begin, end) of the block that one of
     * its queries sees, begin in steps of 16; panels that hold them. */
    LLVMValueRef first, tile_tops, begin, end, panels;
} Segment;

static LLVMValueRef query_sums(const Segment *s, LLVMValueRef i)
{
    return snl_offset(s->g, s->sums, snl_add(s->g, s->first, i), SNL_FLASH_SUMS);
}
static LLVMValueRef tile_factors(const Segment *s)
{
    return snl_offset_const(s->g, s->tile_tops, SNL_FLASH_FACTORS);
}
static LLVMValueRef query_scores(const Segment *s, LLVMValueRef i)
{
    return snl_offset(s->g, s->scores, i, SNL_ATTENTION_BLOCK * 4);
}
/* Row of the tile's query i, counted from the first row of all. */
static LLVMValueRef row_of(const Segment *s, LLVMValueRef i)
{
    return snl_div_const(s->g, snl_add(s->g, s->first, i), s->f->group);
}
static LLVMValueRef seen_from(const Segment *s, LLVMValueRef row)
{
    return snl_max(s->g, snl_add(s->g, s->lo, row), snl_i64(s->g, 0));
}
static LLVMValueRef seen_to(const Segment *s, LLVMValueRef row)
{
    return snl_min(s->g, snl_add(s->g, s->hi, row), s->cap);
}
static LLVMValueRef panel_start(SnlGen *g, LLVMValueRef position)
{
    return snl_mul(g, snl_div_const(g, position, SNL_LANES), snl_i64(g, SNL_LANES));
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* Elements [from, to) of the panel's keys times the queries'; sum[i * chains + c] takes every
 * chains-th. */
static void add_products(const Segment *s, const SnlKeys *keys, LLVMValueRef from, LLVMValueRef to,
                         int chains, LLVMValueRef *sum)
{
    SnlGen *g = s->g;
    int n = s->f->queries;
    LLVMValueRef q = snl_offset(g, s->q, s->first, s->f->width * 4);
    SnlLoop j;
    snl_loop_begin(g, &j, from, to, chains, (unsigned)(n * chains), sum);
    LLVMValueRef at = snl_offset(g, q, j.i, 4);
    for (int c = 0; c < chains; c++) {
        LLVMValueRef key = snl_cache_key(&s->cache, keys, j.i, c);
        for (int i = 0; i < n; i++) {
            LLVMValueRef x = snl_load(g, snl_offset_const(g, at, (i * s->f->width + c) * 4), 1);
            int k = i * chains + c;
            sum[k] = snl_fma(g, key, snl_splat(g, x, SNL_LANES), j.carried[k]);
        }
    }
    snl_loop_end(g, &j, sum);
    for (int k = 0; k < n * chains; k++) sum[k] = j.carried[k];
}

/* q8_0: block by block, each with its scales. */
static void add_blocks(const Segment *s, LLVMValueRef panel, int chains, LLVMValueRef *sum)
{
    SnlGen *g = s->g;
    int64_t d = s->f->width, whole = d / SNL_BLOCK;
    unsigned n = (unsigned)(s->f->queries * chains);
    SnlLoop b;
    snl_loop_begin(g, &b, snl_i64(g, 0), snl_i64(g, whole), 1, n, sum);
    LLVMValueRef from = snl_mul(g, b.i, snl_i64(g, SNL_BLOCK));
    SnlKeys keys = snl_cache_keys(&s->cache, panel, b.i);
    for (unsigned k = 0; k < n; k++) sum[k] = b.carried[k];
    add_products(s, &keys, from, snl_add(g, from, snl_i64(g, SNL_BLOCK)), chains, sum);
    snl_loop_end(g, &b, sum);
    for (unsigned k = 0; k < n; k++) sum[k] = b.carried[k];
    if (d % SNL_BLOCK == 0) return;
    keys = snl_cache_keys(&s->cache, panel, snl_i64(g, whole));
    add_products(s, &keys, snl_i64(g, whole * SNL_BLOCK), snl_i64(g, d), chains, sum);
}

static void panel_scores(const Segment *s, LLVMValueRef p)
{
    SnlGen *g = s->g;
    int n = s->f->queries, chains = n >= 4 ? 1 : 4 / n;
    while (s->f->width % chains != 0) chains /= 2;
    LLVMValueRef sum[SNL_ATTENTION_QUERIES];
    for (int k = 0; k < n * chains; k++) sum[k] = snl_splat_f32(g, 0.0, SNL_LANES);
    LLVMValueRef panel = snl_add(g, snl_div_const(g, s->begin, SNL_LANES), p);
    if (s->cache.dtype == SNL_Q8_0) {
        add_blocks(s, panel, chains, sum);
    } else {
        SnlKeys keys = snl_cache_keys(&s->cache, panel, snl_i64(g, 0));
        add_products(s, &keys, snl_i64(g, 0), snl_i64(g, s->f->width), chains, sum);
    }
    LLVMValueRef to = snl_offset(g, s->scores, p, SNL_LANES * 4);
    for (int i = 0; i < n; i++) {
        LLVMValueRef score = sum[i * chains];
        for (int c = 1; c < chains; c++) score = snl_fadd(g, score, sum[i * chains + c]);
        snl_store(g, score, snl_offset_const(g, to, i * SNL_ATTENTION_BLOCK * 4));
    }
}

static void all_scores(const Segment *s)
{
    SnlGen *g = s->g;
    SnlLoop p;
    snl_loop_begin(g, &p, snl_i64(g, 0), s->panels, 1, 0, NULL);
    panel_scores(s, p.i);
    snl_loop_end(g, &p, NULL);
}

/* ---- what a query does not see --------------------------------------------------------------- */

/* lane index - `from` as u32 against `count`: one comparison for both ends. */
static LLVMValueRef lanes_inside(SnlGen *g, LLVMValueRef from, LLVMValueRef count)
{
    LLVMValueRef iota[SNL_LANES];
    for (unsigned i = 0; i < SNL_LANES; i++) iota[i] = LLVMConstInt(g->i32, i, 0);
    LLVMValueRef start = snl_splat(g, LLVMBuildTrunc(g->b, from, g->i32, ""), SNL_LANES);
    LLVMValueRef n = snl_splat(g, LLVMBuildTrunc(g->b, count, g->i32, ""), SNL_LANES);
    LLVMValueRef at = LLVMBuildSub(g->b, LLVMConstVector(iota, SNL_LANES), start, "");
    return LLVMBuildICmp(g->b, LLVMIntULT, at, n, "");
}

static void mask_query(const Segment *s, LLVMValueRef i, LLVMValueRef first_panel)
{
    SnlGen *g = s->g;
    LLVMValueRef row = row_of(s, i), zero = snl_i64(g, 0);
    LLVMValueRef from = s->f->ranged ? seen_from(s, row) : zero;
    LLVMValueRef count = snl_max(g, snl_sub(g, seen_to(s, row), from), zero);
    from = snl_sub(g, from, s->begin);
    SnlLoop p;
    snl_loop_begin(g, &p, first_panel, s->panels, 1, 0, NULL);
    LLVMValueRef at = snl_offset(g, query_scores(s, i), p.i, SNL_LANES * 4);
    LLVMValueRef ahead = snl_sub(g, from, snl_mul(g, p.i, snl_i64(g, SNL_LANES)));
    LLVMValueRef score = LLVMBuildSelect(g->b, lanes_inside(g, ahead, count),
                                         snl_load(g, at, SNL_LANES),
                                         snl_splat_f32(g, -INFINITY, SNL_LANES), "");
    snl_store(g, score, at);
    snl_loop_end(g, &p, NULL);
}

/* Only where some query does not see all panels. */
static void mask_edges(const Segment *s)
{
    SnlGen *g = s->g;
    LLVMValueRef last = row_of(s, snl_i64(g, s->f->queries - 1));
    LLVMValueRef above = snl_add(g, s->begin, snl_mul(g, s->panels, snl_i64(g, SNL_LANES)));
    LLVMValueRef first_end = seen_to(s, row_of(s, snl_i64(g, 0)));
    LLVMValueRef edge = LLVMBuildICmp(g->b, LLVMIntSGT, above, first_end, "");
    if (s->f->ranged) {
        LLVMValueRef below = LLVMBuildICmp(g->b, LLVMIntSLT, s->begin, seen_from(s, last), "");
        edge = LLVMBuildOr(g->b, edge, below, "");
    }
    /* Without a lower end all queries see what lies before the first one's end. */
    LLVMValueRef whole = snl_max(g, snl_sub(g, first_end, s->begin), snl_i64(g, 0));
    LLVMValueRef from = s->f->ranged ? snl_i64(g, 0) : snl_div_const(g, whole, SNL_LANES);
    SnlIf masked;
    SnlLoop i;
    snl_if_begin(g, &masked, edge);
    snl_loop_begin(g, &i, snl_i64(g, 0), snl_i64(g, s->f->queries), 1, 0, NULL);
    mask_query(s, i.i, from);
    snl_loop_end(g, &i, NULL);
    snl_if_end(g, &masked);
}

/* ---- softmax so far -------------------------------------------------------------------------- */

static LLVMValueRef block_max(const Segment *s, LLVMValueRef row)
{
    SnlGen *g = s->g;
    LLVMValueRef top = snl_splat_f32(g, -INFINITY, SNL_LANES);
    SnlLoop p;
    snl_loop_begin(g, &p, snl_i64(g, 0), s->panels, 1, 1, &top);
    LLVMValueRef score = snl_load(g, snl_offset(g, row, p.i, SNL_LANES * 4), SNL_LANES);
    top = snl_fmax(g, p.carried[0], score);
    snl_loop_end(g, &p, &top);
    return snl_reduce_max(g, p.carried[0], SNL_LANES);
}

/* The block's maximum of every query, one to a lane. Those of a few stay in registers: stores that
 * a wider load follows are slow. */
static LLVMValueRef block_tops(const Segment *s)
{
    enum { FEW = 4 };
    SnlGen *g = s->g;
    LLVMValueRef found = tile_factors(s), tops = snl_splat_f32(g, 0.0, SNL_LANES);
    if (s->f->queries <= FEW) {
        for (int i = 0; i < s->f->queries; i++)
            tops = LLVMBuildInsertElement(g->b, tops,
                                          block_max(s, query_scores(s, snl_i64(g, i))),
                                          LLVMConstInt(g->i32, (unsigned)i, 0), "");
        return tops;
    }
    SnlLoop i;
    snl_loop_begin(g, &i, snl_i64(g, 0), snl_i64(g, s->f->queries), 1, 0, NULL);
    snl_store(g, block_max(s, query_scores(s, i.i)), snl_offset(g, found, i.i, 4));
    snl_loop_end(g, &i, NULL);
    return snl_load(g, found, SNL_LANES);
}

/* For all queries at once: the maxima so far, and the factors by which what was there before
 * shrinks. */
static void raise_tops(const Segment *s)
{
    SnlGen *g = s->g;
    LLVMValueRef old = snl_load(g, s->tile_tops, SNL_LANES);
    LLVMValueRef top = snl_fmax(g, block_tops(s), old);
    snl_store(g, top, s->tile_tops);
    snl_store(g, snl_exp_down(g, snl_fsub(g, old, top), SNL_LANES), tile_factors(s));
}

/* Scores to weights; their sum. */
static void weigh_query(const Segment *s, LLVMValueRef i)
{
    SnlGen *g = s->g;
    LLVMValueRef row = query_scores(s, i), sums = query_sums(s, i);
    LLVMValueRef top = snl_splat(g, snl_load(g, snl_offset(g, s->tile_tops, i, 4), 1), SNL_LANES);
    LLVMValueRef factor = snl_load(g, snl_offset(g, tile_factors(s), i, 4), 1);
    LLVMValueRef sum = snl_fmul(g, snl_load(g, sums, SNL_LANES), snl_splat(g, factor, SNL_LANES));
    SnlLoop p;
    snl_loop_begin(g, &p, snl_i64(g, 0), s->panels, 1, 1, &sum);
    LLVMValueRef at = snl_offset(g, row, p.i, SNL_LANES * 4);
    LLVMValueRef e = snl_exp_down(g, snl_fsub(g, snl_load(g, at, SNL_LANES), top), SNL_LANES);
    snl_store(g, e, at);
    sum = snl_fadd(g, p.carried[0], e);
    snl_loop_end(g, &p, &sum);
    snl_store(g, p.carried[0], sums);
}

static void all_weights(const Segment *s)
{
    SnlGen *g = s->g;
    SnlLoop i;
    raise_tops(s);
    snl_loop_begin(g, &i, snl_i64(g, 0), snl_i64(g, s->f->queries), 1, 0, NULL);
    weigh_query(s, i.i);
    snl_loop_end(g, &i, NULL);
}

/* ---- weighted values ------------------------------------------------------------------------- */

enum { VALUE_POINTERS = 2 };

/* Chunks [chunk, chunk + chunks) of the head's width, `lanes` each, in `ways` sums apart; where the
 * weights lie, for chunks in turn. */
typedef struct Columns {
    int64_t chunk;
    int chunks, lanes, ways;
    LLVMValueRef weights[VALUE_POINTERS];
} Columns;

/* sum[(i * chunks + c) * ways + w] += weight of query i at begin + at + w * that position's
 * value */
static void add_positions(const Segment *s, const Columns *c, LLVMValueRef at, int ways,
                          const LLVMValueRef *in, LLVMValueRef *out)
{
    SnlGen *g = s->g;
    LLVMValueRef value[SNL_MAX_CARRIED];
    for (int w = 0; w < ways; w++) {
        LLVMValueRef position = snl_add(g, snl_add(g, s->begin, at), snl_i64(g, w));
        for (int k = 0; k < c->chunks; k++)
            value[k] =
                snl_cache_value(&s->cache, position, (c->chunk + k) * c->lanes, c->lanes);
        for (int i = 0; i < s->f->queries; i++)
            for (int k = 0; k < c->chunks; k++) {
                int n = (i * c->chunks + k) * c->ways + w;
                LLVMValueRef from = snl_offset(g, c->weights[k % VALUE_POINTERS], at, 4);
                from = snl_offset_const(g, from, (i * SNL_ATTENTION_BLOCK + w) * 4);
                LLVMValueRef x = snl_splat(g, snl_load(g, from, 1), c->lanes);
                out[n] = snl_fma(g, x, value[k], in[n]);
            }
    }
    for (int n = 0; n < s->f->queries * c->chunks * c->ways; n++)
        if (n % c->ways >= ways) out[n] = in[n];
}

static LLVMValueRef result_at(const Segment *s, const Columns *c, int i, int k)
{
    SnlGen *g = s->g;
    LLVMValueRef first = snl_offset(g, s->out, s->first, s->f->width * 4);
    return snl_offset_const(g, first, (i * s->f->width + (c->chunk + k) * c->lanes) * 4);
}

static void load_results(const Segment *s, const Columns *c, LLVMValueRef *sum)
{
    SnlGen *g = s->g;
    for (int i = 0; i < s->f->queries; i++) {
        LLVMValueRef factor = snl_load(g, snl_offset_const(g, tile_factors(s), i * 4), 1);
        for (int k = 0; k < c->chunks; k++) {
            LLVMValueRef *at = &sum[(i * c->chunks + k) * c->ways];
            LLVMValueRef before = snl_load(g, result_at(s, c, i, k), c->lanes);
            at[0] = snl_fmul(g, before, snl_splat(g, factor, c->lanes));
            for (int w = 1; w < c->ways; w++) at[w] = snl_splat_f32(g, 0.0, c->lanes);
        }
    }
}

static void store_results(const Segment *s, const Columns *c, const LLVMValueRef *sum)
{
    SnlGen *g = s->g;
    for (int i = 0; i < s->f->queries; i++)
        for (int k = 0; k < c->chunks; k++) {
            const LLVMValueRef *at = &sum[(i * c->chunks + k) * c->ways];
            LLVMValueRef total = at[0];
            for (int w = 1; w < c->ways; w++) total = snl_fadd(g, total, at[w]);
            snl_store(g, total, result_at(s, c, i, k));
        }
}

static void column_values(const Segment *s, const Columns *c)
{
    SnlGen *g = s->g;
    LLVMValueRef sum[SNL_MAX_CARRIED], next[SNL_MAX_CARRIED];
    unsigned n = (unsigned)(s->f->queries * c->chunks * c->ways);
    LLVMValueRef count = snl_sub(g, s->end, s->begin), zero = snl_i64(g, 0);
    LLVMValueRef whole =
        snl_mul(g, snl_div_const(g, count, c->ways), snl_i64(g, c->ways));
    load_results(s, c, sum);
    SnlLoop p;
    snl_loop_begin(g, &p, zero, whole, c->ways, n, sum);
    add_positions(s, c, p.i, c->ways, p.carried, next);
    snl_loop_end(g, &p, next);
    for (unsigned k = 0; k < n; k++) sum[k] = p.carried[k];
    if (c->ways > 1) {
        snl_loop_begin(g, &p, whole, count, 1, n, sum);
        add_positions(s, c, p.i, 1, p.carried, next);
        snl_loop_end(g, &p, next);
        for (unsigned k = 0; k < n; k++) sum[k] = p.carried[k];
    }
    store_results(s, c, sum);
}

/* A weight for two chunks is one load, broadcast into a register; with two pointers it is an
 * operand in memory of both products (AVX-512). Then widening the values, which takes the unit of
 * broadcasts, costs the multipliers nothing: 10 % of the loop. */
static void find_weights(const Segment *s, Columns *c)
{
    bool full = c->chunks > 1 && c->ways == 1; /* products enough to be what takes the time */
    bool apart = full && s->g->tile_panels > 1 && s->cache.dtype != SNL_F32;
    c->weights[0] = s->scores;
    c->weights[1] = apart ? snl_another_pointer(s->g, s->scores) : s->scores;
}

static void all_values(const Segment *s)
{
    int lanes = snl_lanes_for(s->f->width), n = s->f->queries;
    int registers = s->g->tile_tokens * s->g->tile_panels;
    if (registers > SNL_MAX_CARRIED) registers = SNL_MAX_CARRIED;
    int64_t chunks = s->f->width / lanes;
    int at_once = registers / n > 1 ? registers / n : 1;
    if (at_once > chunks) at_once = (int)chunks;
    for (int64_t k = 0; k < chunks; k += at_once) {
        Columns c = {.chunk = k, .lanes = lanes};
        c.chunks = chunks - k < at_once ? (int)(chunks - k) : at_once;
        c.ways = n * c.chunks * 2 <= registers ? 2 : 1;
        find_weights(s, &c);
        column_values(s, &c);
    }
}

/* ---- the segment ----------------------------------------------------------------------------- */

/* The register tile's part of the block that starts at `block`. */
static void register_tile(Segment *s, LLVMValueRef tile, LLVMValueRef block)
{
    SnlGen *g = s->g;
    s->first = snl_mul(g, tile, snl_i64(g, s->f->queries));
    s->tile_tops = snl_offset(g, s->tops, tile, SNL_FLASH_TOPS);
    LLVMValueRef last = row_of(s, snl_i64(g, s->f->queries - 1));
    s->end = snl_min(g, snl_add(g, block, snl_i64(g, SNL_ATTENTION_BLOCK)), seen_to(s, last));
    s->begin = block;
    if (s->f->ranged) {
        LLVMValueRef from = panel_start(g, seen_from(s, row_of(s, snl_i64(g, 0))));
        s->begin = snl_max(g, block, from);
    }
    SnlIf any;
    snl_if_begin(g, &any, LLVMBuildICmp(g->b, LLVMIntSLT, s->begin, s->end, ""));
    LLVMValueRef count = snl_sub(g, s->end, s->begin);
    s->panels = snl_div_const(g, snl_add(g, count, snl_i64(g, SNL_LANES - 1)), SNL_LANES);
    all_scores(s);
    mask_edges(s);
    all_weights(s);
    all_values(s);
    snl_if_end(g, &any);
}

/* Parameters: q, out, sums, tops, scores, head; lo, hi, cap, tiles. */
static void segment_body(const SnlFlash *f, const SnlCache *cache)
{
    SnlGen *g = f->g;
    Segment s = {.f = f,
                 .g = g,
                 .cache = *cache,
                 .q = snl_param(g, 0),
                 .out = snl_param(g, 1),
                 .sums = snl_param(g, 2),
                 .tops = snl_param(g, 3),
                 .scores = snl_param(g, 4),
                 .lo = snl_param(g, 6),
                 .hi = snl_param(g, 7),
                 .cap = snl_param(g, 8),
                 .tiles = snl_param(g, 9)};
    s.cache.head = snl_param(g, 5);
    LLVMValueRef zero = snl_i64(g, 0);
    LLVMValueRef from = f->ranged ? panel_start(g, seen_from(&s, zero)) : zero;
    SnlLoop block, tile;
    snl_loop_begin(g, &block, from, s.cap, SNL_ATTENTION_BLOCK, 0, NULL);
    snl_loop_begin(g, &tile, zero, s.tiles, 1, 0, NULL);
    register_tile(&s, tile.i, block.i);
    snl_loop_end(g, &tile, NULL);
    snl_loop_end(g, &block, NULL);
}

void snl_flash_segment(const SnlFlash *f, const SnlCache *cache, LLVMValueRef tiles,
                       const SnlSight *sight)
{
    SnlGen *g = f->g;
    bool fresh;
    char *name = snl_arena_printf(g->arena, "flash.%s.%lld.%lld.%lld.%s.r%d",
                                  snl_dtype_info[cache->dtype].text, (long long)f->width,
                                  (long long)f->group, (long long)cache->padded,
                                  f->ranged ? "range" : "all", f->queries);
    LLVMValueRef func = snl_kernel_begin(g, name, 6, 4, &fresh);
    if (fresh) {
        segment_body(f, cache);
        snl_kernel_end(g);
    }
    LLVMValueRef args[] = {f->q,        f->out,    f->sums,   f->tops,    f->scores,
                           cache->head, sight->lo, sight->hi, sight->cap, tiles};
    snl_call(g, func, args, 10);
}
