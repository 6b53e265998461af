/* codegen/math.c -- exp and its relatives on lanes of f32, without calls.
 *
 * exp: range reduction x = n ln2 + r, |r| <= ln2/2, polynomial of degree 6 for e^r, scaling by 2^n
 * in the exponent field. Largest relative error 1.2e-7 (about 1 ulp) on [-87.3, 88.7], measured
 * over all floats of the range by tests/unit/test_math_bounds.c. Below -87.3 the result is 0,
 * above 88.7 it is the value at 88.7 (2^127.97): never infinity, so that x / (1 + exp(-x)) stays
 * finite. A NaN stays one. exp_down is the same for x <= 0, with fewer instructions. */
#include "codegen/gen.h"

static const double exp_low = -87.3, exp_high = 88.7;

/* e^x = the result times 2^n; n << 23 in *out_shift. x within the bounds. */
static LLVMValueRef exp_parts(SnlGen *g, LLVMValueRef x, int lanes, LLVMValueRef *out_shift)
{
    /* Interpolates e^r at the seven Chebyshev nodes of |r| <= ln2/2: relative error 2.6e-9. */
    static const double poly[] = {1.0,
                                  1.0000000377388718,
                                  0.5000000047146134,
                                  0.16666415414039126,
                                  0.04166635277091083,
                                  0.008375134774762224,
                                  0.0013941118908100758};
    /* n = round(x / ln2) by adding 1.5 * 2^23: the integer appears in the low mantissa bits. */
    LLVMValueRef magic = snl_splat_f32(g, 12582912.0, lanes);
    LLVMValueRef shifted = snl_fma(g, x, snl_splat_f32(g, 1.4426950408889634, lanes), magic);
    LLVMValueRef n = snl_fsub(g, shifted, magic);
    LLVMValueRef r = snl_fma(g, n, snl_splat_f32(g, -0.693145751953125, lanes), x);
    r = snl_fma(g, n, snl_splat_f32(g, -1.42860682030941723e-6, lanes), r);

    LLVMValueRef p = snl_splat_f32(g, poly[6], lanes);
    for (int k = 5; k >= 0; k--) p = snl_fma(g, p, r, snl_splat_f32(g, poly[k], lanes));
    LLVMValueRef shift = snl_splat(g, LLVMConstInt(g->i32, 23, 0), lanes);
    LLVMValueRef bits = snl_bitcast(g, shifted, snl_vec(g->i32, lanes));
    *out_shift = LLVMBuildShl(g->b, bits, shift, "");
    return p;
}

LLVMValueRef snl_exp(SnlGen *g, LLVMValueRef x, int lanes)
{
    LLVMTypeRef ints = snl_vec(g->i32, lanes);
    LLVMValueRef lo = snl_splat_f32(g, exp_low, lanes), hi = snl_splat_f32(g, exp_high, lanes);
    LLVMValueRef too_low = LLVMBuildFCmp(g->b, LLVMRealOLT, x, lo, "");
    LLVMValueRef too_high = LLVMBuildFCmp(g->b, LLVMRealOGT, x, hi, "");
    LLVMValueRef c = LLVMBuildSelect(g->b, too_high, hi, x, "");
    c = LLVMBuildSelect(g->b, too_low, lo, c, "");
    LLVMValueRef shift;
    LLVMValueRef p = exp_parts(g, c, lanes, &shift);
    LLVMValueRef scaled = LLVMBuildAdd(g->b, snl_bitcast(g, p, ints), shift, "");
    LLVMValueRef result = snl_bitcast(g, scaled, snl_vec(g->f32, lanes));
    result = LLVMBuildSelect(g->b, too_low, snl_splat_f32(g, 0.0, lanes), result, "");
    LLVMValueRef nan = LLVMBuildFCmp(g->b, LLVMRealUNO, x, x, "");
    return LLVMBuildSelect(g->b, nan, x, result, "");
}

/* By a product in place of exponent bits: a NaN stays one by itself. */
LLVMValueRef snl_exp_down(SnlGen *g, LLVMValueRef x, int lanes)
{
    LLVMValueRef lo = snl_splat_f32(g, exp_low, lanes);
    LLVMValueRef too_low = LLVMBuildFCmp(g->b, LLVMRealOLT, x, lo, "");
    LLVMValueRef shift;
    LLVMValueRef p = exp_parts(g, LLVMBuildSelect(g->b, too_low, lo, x, ""), lanes, &shift);
    LLVMValueRef one = snl_splat(g, LLVMConstInt(g->i32, 127U << 23, 0), lanes);
    LLVMValueRef power =
        snl_bitcast(g, LLVMBuildAdd(g->b, shift, one, ""), snl_vec(g->f32, lanes));
    LLVMValueRef result = snl_fmul(g, p, power);
    return LLVMBuildSelect(g->b, too_low, snl_splat_f32(g, 0.0, lanes), result, "");
}

/* Largest relative error 1.8e-7 from -87.3 (where the result is the smallest normal number) up. */
LLVMValueRef snl_sigmoid(SnlGen *g, LLVMValueRef x, int lanes)
{
    LLVMValueRef one = snl_splat_f32(g, 1.0, lanes);
    LLVMValueRef e = snl_exp(g, LLVMBuildFNeg(g->b, x, ""), lanes);
    return snl_fdiv(g, one, snl_fadd(g, one, e));
}

/* tanh(x) = 1 - 2 / (exp(2x) + 1) away from zero; the odd Taylor polynomial of degree 9 for
 * |x| < 0.3, where the first form cancels. Largest relative error 5e-7. */
LLVMValueRef snl_tanh(SnlGen *g, LLVMValueRef x, int lanes)
{
    static const double odd[] = {62.0 / 2835.0, -17.0 / 315.0, 2.0 / 15.0, -1.0 / 3.0};
    LLVMValueRef one = snl_splat_f32(g, 1.0, lanes), two = snl_splat_f32(g, 2.0, lanes);
    LLVMValueRef e = snl_exp(g, snl_fmul(g, x, two), lanes);
    LLVMValueRef far = snl_fsub(g, one, snl_fdiv(g, two, snl_fadd(g, e, one)));
    LLVMValueRef x2 = snl_fmul(g, x, x);
    LLVMValueRef p = snl_splat_f32(g, odd[0], lanes);
    for (int k = 1; k < 4; k++) p = snl_fma(g, p, x2, snl_splat_f32(g, odd[k], lanes));
    LLVMValueRef near = snl_fma(g, snl_fmul(g, p, x2), x, x);
    LLVMValueRef size = snl_call_intrinsic(g, "llvm.fabs", LLVMTypeOf(x), &x, 1);
    LLVMValueRef small = LLVMBuildFCmp(g->b, LLVMRealOLT, size, snl_splat_f32(g, 0.3, lanes), "");
    return LLVMBuildSelect(g->b, small, near, far, "");
}
