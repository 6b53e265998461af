/* codegen/kernel_blocks.c -- q8_0 and q4_0: quantising activations, linear as integer dots, embed.
 *
 * Weights are unsigned in their panels (+ 128, + 8), activations signed bytes, so that one
 * instruction multiplies and adds four of each. Where that instruction does not take the offset
 * back itself (codegen/dot.c), it is done per block: the integer accumulator starts at
 * -offset * (sum of the block's activations), which the quantiser has stored. Then
 *
 *     y[r] = sum over blocks b of  w_scale[r, b] * x_scale[b] * (integer dot of block b)
 *
 * with the floats added block by block in order (two chains, even and odd blocks, in decode). */
#include "codegen/linear.h"

#include <float.h>

/* ---- a row of q8_0 activations: bytes, scales, minus sums (passes/schedule.h) ---------------- */

static LLVMValueRef half_round(SnlGen *g, LLVMValueRef x)
{
    LLVMTypeRef half = LLVMHalfTypeInContext(g->ctx);
    return LLVMBuildFPExt(g->b, LLVMBuildFPTrunc(g->b, x, half, ""), g->f32, "");
}

LLVMValueRef snl_load_inside(SnlGen *g, LLVMValueRef row, int64_t at, int64_t width)
{
    if (at + SNL_LANES <= width) return snl_load(g, snl_offset_const(g, row, at * 4), SNL_LANES);
    LLVMValueRef v = snl_splat_f32(g, 0.0, SNL_LANES);
    for (int64_t i = at; i < width; i++)
        v = LLVMBuildInsertElement(g->b, v, snl_load(g, snl_offset_const(g, row, i * 4), 1),
                                   LLVMConstInt(g->i32, (unsigned)(i - at), 0), "");
    return v;
}

/* x * inverse to the nearest integers. */
static LLVMValueRef to_integers(SnlGen *g, LLVMValueRef x, LLVMValueRef inverse)
{
    LLVMValueRef scaled = snl_fmul(g, x, snl_splat(g, inverse, SNL_LANES));
    /* A NaN has no integer; its block's scale, a NaN or infinite, says it all. */
    LLVMValueRef number = LLVMBuildFCmp(g->b, LLVMRealORD, scaled, scaled, "");
    scaled = LLVMBuildSelect(g->b, number, scaled, snl_splat_f32(g, 0.0, SNL_LANES), "");
    LLVMValueRef whole = snl_call_intrinsic(g, "llvm.rint", LLVMTypeOf(scaled), &scaled, 1);
    return LLVMBuildFPToSI(g->b, whole, snl_vec(g->i32, SNL_LANES), "");
}

static void store_bytes(SnlGen *g, LLVMValueRef q, LLVMValueRef out)
{
    LLVMValueRef bytes = LLVMBuildTrunc(g->b, q, snl_vec(g->i8, SNL_LANES), "");
    LLVMSetAlignment(LLVMBuildStore(g->b, bytes, out), 1);
}

/* Size of the largest of 32 numbers. As integers sizes are ordered as they are as floats, NaNs
 * above all: one NaN makes the block's scale one. */
static LLVMValueRef largest_size(SnlGen *g, const LLVMValueRef v[2])
{
    LLVMTypeRef ints = snl_vec(g->i32, SNL_LANES);
    LLVMValueRef mask = snl_splat(g, LLVMConstInt(g->i32, 0x7fffffff, 0), SNL_LANES), bits[2];
    for (int i = 0; i < 2; i++) bits[i] = LLVMBuildAnd(g->b, snl_bitcast(g, v[i], ints), mask, "");
    LLVMValueRef more = LLVMBuildICmp(g->b, LLVMIntSGT, bits[0], bits[1], "");
    LLVMValueRef most = LLVMBuildSelect(g->b, more, bits[0], bits[1], "");
    most = snl_call_intrinsic(g, "llvm.vector.reduce.smax", ints, &most, 1);
    return snl_bitcast(g, most, g->f32);
}

LLVMValueRef snl_quantize_lanes(SnlGen *g, LLVMValueRef x, int64_t n, LLVMValueRef out_q[2])
{
    LLVMValueRef v[2];
    for (int i = 0; i < 2; i++) v[i] = snl_load_inside(g, x, i * SNL_LANES, n);
    LLVMValueRef scale = snl_fdiv(g, largest_size(g, v), snl_f32(g, 127.0));
    /* A scale below the normal numbers rounds to 0 as f16, and its inverse would be infinite. */
    LLVMValueRef normal = LLVMBuildFCmp(g->b, LLVMRealOGE, scale, snl_f32(g, FLT_MIN), "");
    LLVMValueRef finite = snl_fdiv(g, snl_f32(g, SNL_TIES), scale);
    LLVMValueRef inverse = LLVMBuildSelect(g->b, normal, finite, snl_f32(g, 0.0), "");
    for (int i = 0; i < 2; i++) out_q[i] = to_integers(g, v[i], inverse);
    return scale;
}

static void quantize_block(SnlGen *g, LLVMValueRef x, LLVMValueRef y, LLVMValueRef block,
                           int64_t blocks, int64_t width_here)
{
    LLVMValueRef part[2], scale = snl_quantize_lanes(g, x, width_here, part);
    LLVMValueRef bytes = snl_offset(g, y, block, SNL_BLOCK);
    for (int i = 0; i < 2; i++)
        store_bytes(g, part[i], snl_offset_const(g, bytes, i * SNL_LANES));
    LLVMValueRef q = LLVMBuildAdd(g->b, part[0], part[1], "");
    LLVMValueRef sum = snl_call_intrinsic(g, "llvm.vector.reduce.add", LLVMTypeOf(q), &q, 1);
    LLVMValueRef scales = snl_offset_const(g, y, blocks * SNL_BLOCK);
    snl_store(g, half_round(g, scale), snl_offset(g, scales, block, 4));
    snl_store(g, LLVMBuildNeg(g->b, sum, ""),
              snl_offset(g, snl_offset_const(g, scales, blocks * 4), block, 4));
}

/* Rows [r0, r1) of one member, the blocks of columns [c0, c1). */
void snl_kernel_quantize(const SnlOpGen *o, SnlPlace x, SnlPlace y, SnlRange r)
{
    SnlGen *g = o->g;
    int64_t width = snl_type_width(o->op->out[0]->type), blocks = snl_block_count(width);
    char *name = snl_arena_printf(g->arena, "quantize.%lld.%lld.%lld", (long long)width,
                                  (long long)x.stride, (long long)y.stride);
    bool fresh;
    LLVMValueRef f = snl_kernel_begin(g, name, 2, 4, &fresh);
    if (fresh) {
        SnlIf last; /* a short block is his whose columns it is among */
        SnlLoop t, b;
        int64_t whole = width / SNL_BLOCK;
        LLVMValueRef end = snl_div_const(g, snl_param(g, 3), SNL_BLOCK);
        snl_loop_begin(g, &t, snl_param(g, 4), snl_param(g, 5), 1, 0, NULL);
        LLVMValueRef xt = snl_offset(g, snl_param(g, 0), t.i, x.stride * 4);
        LLVMValueRef yt = snl_offset(g, snl_param(g, 1), t.i, y.stride * 4);
        snl_loop_begin(g, &b, snl_div_const(g, snl_param(g, 2), SNL_BLOCK), end, 1, 0, NULL);
        quantize_block(g, snl_offset(g, xt, b.i, SNL_BLOCK * 4), yt, b.i, blocks, SNL_BLOCK);
        snl_loop_end(g, &b, NULL);
        if (whole < blocks) {
            LLVMValueRef all = snl_i64(g, width);
            LLVMValueRef some = LLVMBuildICmp(g->b, LLVMIntSLT, snl_param(g, 2), all, "");
            LLVMValueRef to_end = LLVMBuildICmp(g->b, LLVMIntEQ, snl_param(g, 3), all, "");
            snl_if_begin(g, &last, LLVMBuildAnd(g->b, some, to_end, ""));
            quantize_block(g, snl_offset_const(g, xt, whole * SNL_BLOCK * 4), yt, snl_i64(g, whole),
                           blocks, width % SNL_BLOCK);
            snl_if_end(g, &last);
        }
        snl_loop_end(g, &t, NULL);
        snl_kernel_end(g);
    }
    SnlAddress at[] = {x.base, y.base};
    snl_call_kernel(o, f, at, 2, r);
}

/* ---- linear ---------------------------------------------------------------------------------- */

/* Where the scales of a panel's block lie: half a line at the head of its pair. */
static LLVMValueRef scales_at(const SnlLinear *l, LLVMValueRef panel, LLVMValueRef block)
{
    SnlGen *g = l->g;
    LLVMValueRef pair =
        snl_offset(g, panel, snl_div_const(g, block, 2), snl_block_pair_bytes(l->dtype));
    return snl_offset(g, pair, snl_rem_const(g, block, 2), SNL_PANEL_ROWS * 2);
}

LLVMValueRef snl_block_scales(const SnlLinear *l, LLVMValueRef panel, LLVMValueRef block)
{
    SnlGen *g = l->g;
    LLVMTypeRef halves = snl_vec(LLVMHalfTypeInContext(g->ctx), SNL_LANES);
    LLVMValueRef at = scales_at(l, panel, block);
    return LLVMBuildFPExt(g->b, snl_load_typed(g, halves, at, 32), snl_vec(g->f32, SNL_LANES), "");
}

LLVMValueRef snl_block_bytes(const SnlLinear *l, LLVMValueRef lines, int i)
{
    SnlGen *g = l->g;
    LLVMTypeRef words = snl_vec(g->i32, SNL_LANES);
    if (l->dtype == SNL_Q8_0)
        return snl_load_typed(g, words, snl_offset_const(g, lines, i * 64), 64);
    LLVMValueRef line = snl_load_typed(g, words, snl_offset_const(g, lines, i % 4 * 64), 64);
    LLVMValueRef mask = snl_splat(g, LLVMConstInt(g->i32, 0x0f0f0f0f, 0), SNL_LANES);
    LLVMValueRef four = snl_splat(g, LLVMConstInt(g->i32, 4, 0), SNL_LANES);
    return LLVMBuildAnd(g->b, i < 4 ? line : LLVMBuildLShr(g->b, line, four, ""), mask, "");
}

LLVMValueRef snl_block_at(const SnlLinear *l, LLVMValueRef panel, LLVMValueRef block)
{
    SnlGen *g = l->g;
    int64_t block_bytes = (int64_t)snl_block_lines(l->dtype) * 64;
    LLVMValueRef pair =
        snl_offset(g, panel, snl_div_const(g, block, 2), snl_block_pair_bytes(l->dtype));
    return snl_offset(g, snl_offset_const(g, pair, 64), snl_rem_const(g, block, 2), block_bytes);
}

int snl_block_offset(SnlDtype dtype)
{
    return dtype == SNL_Q8_0 ? 128 : 8;
}

static LLVMValueRef block_start(const SnlLinear *l, LLVMValueRef sums, LLVMValueRef block)
{
    SnlGen *g = l->g;
    int offset = snl_block_offset(l->dtype);
    if (snl_dot_takes_offset(g, offset)) return LLVMConstNull(snl_vec(g->i32, SNL_LANES));
    LLVMValueRef minus = snl_load_typed(g, g->i32, snl_offset(g, sums, block, 4), 4);
    LLVMValueRef by = LLVMConstInt(g->i32, (unsigned)offset, 0);
    return snl_splat(g, LLVMBuildMul(g->b, minus, by, ""), SNL_LANES);
}

SnlBlockInput snl_block_input(const SnlLinear *l, LLVMValueRef x, LLVMValueRef block)
{
    SnlGen *g = l->g;
    int64_t blocks = snl_block_count(l->row_inputs);
    LLVMValueRef scales = snl_offset_const(g, x, blocks * SNL_BLOCK);
    LLVMValueRef sums = snl_offset_const(g, scales, blocks * 4);
    return (SnlBlockInput){.bytes = snl_offset(g, x, block, SNL_BLOCK),
                           .scale = snl_load(g, snl_offset(g, scales, block, 4), 1),
                           .start = block_start(l, sums, block)};
}

LLVMValueRef snl_block_input_bytes(SnlGen *g, const SnlBlockInput *x, int i)
{
    LLVMValueRef four = snl_load_typed(g, g->i32, snl_offset_const(g, x->bytes, i * 4), 4);
    return snl_splat(g, four, SNL_LANES);
}

LLVMValueRef snl_block_scaled(SnlGen *g, LLVMValueRef dot, LLVMValueRef rows, LLVMValueRef x_scale,
                              LLVMValueRef acc)
{
    LLVMValueRef real = LLVMBuildSIToFP(g->b, dot, snl_vec(g->f32, SNL_LANES), "");
    return snl_fma(g, real, snl_fmul(g, rows, snl_splat(g, x_scale, SNL_LANES)), acc);
}

/* The upper nibbles of a block's line i where they lie: 16 times their numbers. */
static LLVMValueRef upper_nibbles(SnlGen *g, LLVMValueRef lines, int i)
{
    LLVMTypeRef words = snl_vec(g->i32, SNL_LANES);
    LLVMValueRef line = snl_load_typed(g, words, snl_offset_const(g, lines, i * 64), 64);
    LLVMValueRef mask = snl_splat(g, LLVMConstInt(g->i32, 0xf0f0f0f0u, 0), SNL_LANES);
    return LLVMBuildAnd(g->b, line, mask, "");
}

/* q4_0 where dots take all bytes: upper nibbles are not shifted down one by one, their sum is,
 * exactly, since every product in it is a multiple of 16 (of at most 16 * 240 * 127 together). */
static LLVMValueRef nibble_dot(const SnlLinear *l, LLVMValueRef lines, const SnlBlockInput *x)
{
    enum { LINES = 4 };
    SnlGen *g = l->g;
    int offset = snl_block_offset(l->dtype);
    LLVMValueRef low = x->start, high = LLVMConstNull(snl_vec(g->i32, SNL_LANES));
    for (int i = 0; i < LINES; i++) {
        low = snl_dot_bytes(g, low, snl_block_bytes(l, lines, i), snl_block_input_bytes(g, x, i),
                            offset);
        high = snl_dot_bytes(g, high, upper_nibbles(g, lines, i),
                             snl_block_input_bytes(g, x, LINES + i), offset);
    }
    LLVMValueRef four = snl_splat(g, LLVMConstInt(g->i32, 4, 0), SNL_LANES);
    return LLVMBuildAdd(g->b, low, LLVMBuildAShr(g->b, high, four, ""), "");
}

/* The eight dots of a block, in two chains. */
static LLVMValueRef block_dot(const SnlLinear *l, LLVMValueRef lines, const SnlBlockInput *x)
{
    SnlGen *g = l->g;
    if (l->dtype == SNL_Q4_0 && snl_dot_takes_bytes(g)) return nibble_dot(l, lines, x);
    LLVMValueRef dot[2] = {x->start, LLVMConstNull(snl_vec(g->i32, SNL_LANES))};
    for (int i = 0; i < 8; i++)
        dot[i % 2] = snl_dot_bytes(g, dot[i % 2], snl_block_bytes(l, lines, i),
                                   snl_block_input_bytes(g, x, i), snl_block_offset(l->dtype));
    return LLVMBuildAdd(g->b, dot[0], dot[1], "");
}

/* Block `at` of those from `pair` on, with input block `block`. */
static LLVMValueRef gemv_block(const SnlLinear *l, LLVMValueRef pair, LLVMValueRef at,
                               LLVMValueRef block, LLVMValueRef acc)
{
    SnlGen *g = l->g;
    SnlBlockInput x = snl_block_input(l, l->x, block);
    LLVMValueRef sum = block_dot(l, snl_block_at(l, pair, at), &x);
    return snl_block_scaled(g, sum, snl_block_scales(l, pair, at), x.scale, acc);
}

/* The blocks of a part, which may begin in the middle of a pair. */
static void part_gemv(const SnlLinear *l, LLVMValueRef panel_index)
{
    SnlGen *g = l->g;
    int64_t blocks = snl_block_count(l->inputs);
    LLVMValueRef panel = snl_linear_panel(l, panel_index), zero = snl_splat_f32(g, 0.0, SNL_LANES);
    LLVMValueRef acc[2] = {zero, zero};
    SnlLoop p;
    snl_loop_begin(g, &p, snl_i64(g, 0), snl_i64(g, blocks / 2 * 2), 2, 2, acc);
    for (int i = 0; i < 2; i++) {
        LLVMValueRef block = snl_add(g, l->first_block, snl_add(g, p.i, snl_i64(g, i)));
        acc[i] = gemv_block(l, panel, block, block, p.carried[i]);
    }
    snl_loop_end(g, &p, acc);
    acc[0] = p.carried[0];
    LLVMValueRef last = snl_add(g, l->first_block, snl_i64(g, blocks - 1));
    if (blocks % 2) acc[0] = gemv_block(l, panel, last, last, acc[0]);
    snl_linear_store(l, snl_fadd(g, acc[0], p.carried[1]), l->y,
                     snl_mul(g, panel_index, snl_i64(g, SNL_PANEL_ROWS)));
}

void snl_blocks_gemv(const SnlLinear *l, LLVMValueRef panel_index)
{
    if (l->first_block) {
        part_gemv(l, panel_index);
        return;
    }
    SnlGen *g = l->g;
    int64_t blocks = snl_block_count(l->inputs), pairs = blocks / 2;
    int64_t pair_bytes = snl_block_pair_bytes(l->dtype);
    LLVMValueRef panel = snl_linear_panel(l, panel_index), zero = snl_splat_f32(g, 0.0, SNL_LANES);
    LLVMValueRef acc[2] = {zero, zero};
    SnlLoop p;
    snl_loop_begin(g, &p, snl_i64(g, 0), snl_i64(g, pairs), 1, 2, acc);
    LLVMValueRef pair = snl_offset(g, panel, p.i, pair_bytes);
    LLVMValueRef block = snl_mul(g, p.i, snl_i64(g, 2));
    acc[0] = gemv_block(l, pair, snl_i64(g, 0), block, p.carried[0]);
    acc[1] = gemv_block(l, pair, snl_i64(g, 1), snl_add(g, block, snl_i64(g, 1)), p.carried[1]);
    snl_loop_end(g, &p, acc);
    acc[0] = p.carried[0];
    if (blocks % 2)
        acc[0] = gemv_block(l, snl_offset_const(g, panel, pairs * pair_bytes), snl_i64(g, 0),
                            snl_i64(g, blocks - 1), acc[0]);
    snl_linear_store(l, snl_fadd(g, acc[0], p.carried[1]), l->y,
                     snl_mul(g, panel_index, snl_i64(g, SNL_PANEL_ROWS)));
}

/* ---- embed ----------------------------------------------------------------------------------- */

LLVMValueRef snl_blocks_elements(SnlGen *g, SnlDtype dtype, int rows, LLVMValueRef panel,
                                 LLVMValueRef lane, LLVMValueRef c, int n)
{
    bool q8 = dtype == SNL_Q8_0;
    int64_t line_bytes = rows * 4, block_bytes = snl_block_lines(dtype) * line_bytes;
    LLVMValueRef block = snl_div_const(g, c, SNL_BLOCK), i = snl_rem_const(g, c, SNL_BLOCK);
    LLVMValueRef odd = snl_rem_const(g, block, 2);
    LLVMValueRef pair = snl_offset(g, panel, snl_div_const(g, block, 2),
                                   line_bytes + 2 * block_bytes);
    LLVMValueRef at = snl_offset(g, snl_offset(g, pair, odd, rows * 2), lane, 2);
    LLVMValueRef scale = snl_load_typed(g, LLVMHalfTypeInContext(g->ctx), at, 2);
    LLVMValueRef low = q8 ? i : snl_rem_const(g, i, 16);
    LLVMValueRef line = snl_offset(g, snl_offset_const(g, pair, line_bytes), odd, block_bytes);
    line = snl_offset(g, snl_offset(g, line, snl_div_const(g, low, 4), line_bytes), lane, 4);
    LLVMTypeRef bytes = n == 1 ? g->i8 : snl_vec(g->i8, n),
                ints = n == 1 ? g->i32 : snl_vec(g->i32, n);
    LLVMValueRef byte =
        n == 1 ? snl_load_typed(g, g->i8, snl_offset(g, line, snl_rem_const(g, low, 4), 1), 1)
               : snl_bitcast(g, snl_panel_words(g, line, rows, n / 4), bytes);
    byte = LLVMBuildZExt(g->b, byte, ints, "");
    if (!q8) {
        LLVMValueRef high = LLVMBuildICmp(g->b, LLVMIntSGE, i, snl_i64(g, 16), "");
        LLVMValueRef by =
            LLVMBuildSelect(g->b, high, LLVMConstInt(g->i32, 4, 0), LLVMConstInt(g->i32, 0, 0), "");
        byte = LLVMBuildLShr(g->b, byte, snl_splat(g, by, n), "");
        byte = LLVMBuildAnd(g->b, byte, snl_splat(g, LLVMConstInt(g->i32, 15, 0), n), "");
    }
    unsigned by = (unsigned)snl_block_offset(dtype);
    LLVMValueRef offset = snl_splat(g, LLVMConstInt(g->i32, by, 0), n);
    LLVMTypeRef floats = n == 1 ? g->f32 : snl_vec(g->f32, n);
    LLVMValueRef q = LLVMBuildSIToFP(g->b, LLVMBuildSub(g->b, byte, offset, ""), floats, "");
    return snl_fmul(g, q, snl_splat(g, LLVMBuildFPExt(g->b, scale, g->f32, ""), n));
}
