/* codegen/kernel_gemm.c -- linear of many tokens (prefill), on the same panels as decode.
 *
 * A register tile of tile_tokens x tile_panels accumulators, each summing over the inputs in order;
 * the sum for one output does not depend on how columns or rows were shared out. */
#include "codegen/linear.h"

/* acc[t * panels + p] += line of inputs `group * k ..` */
static void gemm_line(const SnlLinear *l, const SnlTile *t, LLVMValueRef k, int used,
                      LLVMValueRef *acc)
{
    SnlGen *g = l->g;
    LLVMValueRef lanes[SNL_MAX_TILE_PANELS][2];
    for (int p = 0; p < t->panels; p++)
        snl_linear_line(l, snl_offset(g, t->panel[p], k, 64), lanes[p]);
    LLVMValueRef first = snl_mul(g, k, snl_i64(g, l->group));
    for (int i = 0; i < used; i++)
        for (int r = 0; r < t->tokens; r++) {
            LLVMValueRef x = snl_linear_input(l, t->x, first, r * l->x_stride + i);
            for (int p = 0; p < t->panels; p++) {
                LLVMValueRef *a = &acc[r * t->panels + p];
                *a = snl_fma(g, lanes[p][i], x, *a);
            }
        }
}

static void gemm_tile(const SnlLinear *l, const SnlTile *t)
{
    SnlGen *g = l->g;
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
        for (int p = 0; p < t->panels; p++) {
            LLVMValueRef y = snl_offset_const(g, t->y, r * l->y_stride * 4);
            LLVMValueRef panel = snl_add(g, t->first_panel, snl_i64(g, p));
            snl_linear_store(l, acc[r * t->panels + p], y,
                             snl_mul(g, panel, snl_i64(g, SNL_PANEL_ROWS)));
        }
}

/* Token rows [from, to) in tiles of `tokens`. */
static void gemm_tokens(const SnlLinear *l, SnlTile t, int tokens, LLVMValueRef from,
                        LLVMValueRef to)
{
    SnlGen *g = l->g;
    SnlLoop r;
    snl_loop_begin(g, &r, from, to, tokens, 0, NULL);
    t.tokens = tokens;
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
    snl_loop_begin(g, &p, from, to, panels, 0, NULL);
    SnlTile t = {.panels = panels, .first_panel = p.i};
    for (int i = 0; i < panels; i++)
        t.panel[i] = snl_linear_panel(l, snl_add(g, p.i, snl_i64(g, i)));
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
