/* codegen/kernel_gemm_blocks.c -- linear of many tokens on q8_0 and q4_0 panels: integer dots,
 * scaled block by block in order (codegen/kernel_blocks.c says how). */
#include "codegen/linear.h"

/* A register tile of tokens x panels: per block, integer accumulators for each pair. */
void snl_blocks_gemm_tile(const SnlLinear *l, const SnlTile *t)
{
    SnlGen *g = l->g;
    LLVMValueRef acc[SNL_MAX_TILE], dot[SNL_MAX_TILE], rows[4];
    unsigned n = (unsigned)(t->tokens * t->panels);
    for (unsigned i = 0; i < n; i++) acc[i] = snl_splat_f32(g, 0.0, SNL_LANES);
    SnlLoop b;
    snl_loop_begin(g, &b, snl_i64(g, 0), snl_i64(g, snl_block_count(l->inputs)), 1, n, acc);
    SnlBlockInput x[16];
    for (int r = 0; r < t->tokens; r++) {
        x[r] = snl_block_input(l, snl_offset_const(g, t->x, r * l->x_stride * 4), b.i);
        for (int p = 0; p < t->panels; p++) dot[r * t->panels + p] = x[r].start;
    }
    for (int i = 0; i < 8; i++) {
        LLVMValueRef line[4];
        for (int p = 0; p < t->panels; p++)
            line[p] = snl_block_bytes(l, snl_block_at(l, t->panel[p], b.i), i);
        for (int r = 0; r < t->tokens; r++) {
            LLVMValueRef bytes = snl_block_input_bytes(g, &x[r], i);
            for (int p = 0; p < t->panels; p++) {
                LLVMValueRef *d = &dot[r * t->panels + p];
                *d = snl_dot_bytes(g, *d, line[p], bytes);
            }
        }
    }
    for (int p = 0; p < t->panels; p++) rows[p] = snl_block_scales(l, t->panel[p], b.i);
    for (int r = 0; r < t->tokens; r++)
        for (int p = 0; p < t->panels; p++) {
            int k = r * t->panels + p;
            acc[k] = snl_block_scaled(g, dot[k], rows[p], x[r].scale, b.carried[k]);
        }
    snl_loop_end(g, &b, acc);
    for (int r = 0; r < t->tokens; r++)
        for (int p = 0; p < t->panels; p++) {
            LLVMValueRef panel = snl_add(g, t->first_panel, snl_i64(g, p));
            snl_linear_store(l, b.carried[r * t->panels + p],
                             snl_offset_const(g, t->y, r * l->y_stride * 4),
                             snl_mul(g, panel, snl_i64(g, SNL_PANEL_ROWS)));
        }
}
