/* codegen/kernel_gemm_blocks.c -- linear of many tokens on q8_0 and q4_0 panels: integer dots,
 * scaled block by block in order (codegen/kernel_blocks.c says how). */
#include "codegen/linear.h"

enum { LINE_BYTES = 64, BLOCK_BYTES = 8 * LINE_BYTES };

void snl_blocks_unpack(const SnlLinear *l, LLVMValueRef panel, LLVMValueRef to)
{
    SnlGen *g = l->g;
    SnlLoop b;
    snl_loop_begin(g, &b, snl_i64(g, 0), snl_i64(g, snl_block_count(l->inputs)), 1, 0, NULL);
    LLVMValueRef from = snl_block_at(l, panel, b.i), at = snl_offset(g, to, b.i, BLOCK_BYTES);
    for (int i = 0; i < 8; i++)
        snl_store(g, snl_block_bytes(l, from, i), snl_offset_const(g, at, i * LINE_BYTES));
    snl_loop_end(g, &b, NULL);
}

/* Line i of block b of the tile's panel p, as bytes. */
static LLVMValueRef tile_line(const SnlLinear *l, const SnlTile *t, int p, LLVMValueRef b, int i)
{
    SnlGen *g = l->g;
    if (!t->bytes[p]) return snl_block_bytes(l, snl_block_at(l, t->panel[p], b), i);
    LLVMValueRef at = snl_offset(g, t->bytes[p], b, BLOCK_BYTES);
    LLVMValueRef line = snl_offset_const(g, at, i * LINE_BYTES);
    return snl_load_typed(g, snl_vec(g->i32, SNL_LANES), line, 4);
}

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
        for (int p = 0; p < t->panels; p++) line[p] = tile_line(l, t, p, b.i, i);
        for (int r = 0; r < t->tokens; r++) {
            LLVMValueRef bytes = snl_block_input_bytes(g, &x[r], i);
            for (int p = 0; p < t->panels; p++) {
                LLVMValueRef *d = &dot[r * t->panels + p];
                *d = snl_dot_bytes(g, *d, line[p], bytes, snl_block_offset(l->dtype));
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
        for (int p = 0; p < t->panels; p++)
            snl_gemm_store(l, t, r, p, b.carried[r * t->panels + p]);
}
