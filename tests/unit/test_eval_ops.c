/* tests/unit/test_eval_ops.c -- every op of ir/eval_ops.c against numbers worked out by hand or by
 * a formula written out here. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/ir_text.h"

#include <math.h>
#include <string.h>

#define ARGS(...) ((double *[]){__VA_ARGS__})
#define D(...) ((double[]){__VA_ARGS__})
#define F(...) ((float[]){__VA_ARGS__})

static const double exactly = 0.0, closely = 1e-14;

static void embed_takes_rows(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "weight @e : f32[3, 2] = source \"m\" \"e\"\n"
                     "func @one(%ids: i32[T]) -> f32[T, 2] {\n"
                     "  %x = embed %ids, @e : f32[T, 2]\n"
                     "  return %x\n}\n");
    ir_text_weight(&t, "e", F(1, 2, 3, 4, 5, 6), 6);
    assert_near(ir_text_call(&t, "one", 3, ARGS(D(2, 0, 2)), 0), D(5, 6, 1, 2, 5, 6), 6, exactly);
    ir_text_call_fails(&t, "one", 2, ARGS(D(0, 3)),
                       "token id of row 1 out of range: found 3, wanted 0 to 2");
    ir_text_call_fails(&t, "one", 1, ARGS(D(-1)), "found -1");
    ir_text_close(&t);
}

static void embed_of_bf16_weight_rounds(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "weight @e : f32[1, 2] = source \"m\" \"e\"\n"
                     "weight @h : bf16[1, 2] = cast(@e)\n"
                     "func @f(%ids: i32[T]) -> f32[T, 2] {\n"
                     "  %x = embed %ids, @h : f32[T, 2]\n"
                     "  return %x\n}\n");
    /* bf16 has 8 significant bits: 1 + 2^-9 is below the tie 1 + 2^-8 and goes to 1; 1 + 3 * 2^-8
     * is a tie between 1 + 2^-7 and 1 + 2^-6 and goes to the even 1 + 2^-6. */
    ir_text_weight(&t, "e", F(0x1.008p0f, 0x1.03p0f), 2);
    assert_near(ir_text_call(&t, "f", 1, ARGS(D(0)), 0), D(1.0, 0x1.04p0), 2, exactly);
    ir_text_close(&t);
}

static void rms_norm_by_hand(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "weight @g : f32[2] = source \"m\" \"g\"\n"
                     "weight @h : f32[2] = source \"m\" \"h\"\n"
                     "func @plain(%x: f32[T, 2]) -> f32[T, 2] {\n"
                     "  %n = rms_norm %x {eps = 0.5} : f32[T, 2]\n"
                     "  return %n\n}\n"
                     "func @weighted(%x: f32[T, 2]) -> f32[T, 2] {\n"
                     "  %n = rms_norm %x, @g {eps = 0.5} : f32[T, 2]\n"
                     "  return %n\n}\n"
                     "func @heads(%x: f32[T, 4]) -> f32[T, 4] {\n"
                     "  %n = rms_norm %x, @g {eps = 0.5, heads = 2} : f32[T, 4]\n"
                     "  return %n\n}\n"
                     "func @members(%x: f32[T, 2]) -> f32[T, 2, 2] {\n"
                     "  %n = rms_norm %x, [@g, @h] {eps = 0.5} : f32[T, 2, 2]\n"
                     "  return %n\n}\n"
                     "func @own(%x: f32[T, 2, 2]) -> f32[T, 2, 2] {\n"
                     "  %n = rms_norm %x, [@g, @h] {eps = 0.5} : f32[T, 2, 2]\n"
                     "  return %n\n}\n");
    ir_text_weight(&t, "g", F(10, 1), 2);
    ir_text_weight(&t, "h", F(1, -1), 2);
    /* (1, 4): mean of squares 17/2, + 1/2 = 9, root 3. (2, 0): 2 + 1/2. (0, 0): only eps remains.
     */
    double r = 1 / sqrt(2.5);
    assert_near(ir_text_call(&t, "plain", 3, ARGS(D(1, 4, 2, 0, 0, 0)), 0),
                D(1 / 3., 4 / 3., 2 * r, 0, 0, 0), 6, closely);
    assert_near(ir_text_call(&t, "weighted", 1, ARGS(D(1, 4)), 0), D(10 / 3., 4 / 3.), 2, closely);
    assert_near(ir_text_call(&t, "heads", 1, ARGS(D(1, 4, 2, 0)), 0), D(10 / 3., 4 / 3., 20 * r, 0),
                4, closely);
    assert_near(ir_text_call(&t, "members", 1, ARGS(D(1, 4)), 0),
                D(10 / 3., 4 / 3., 1 / 3., -4 / 3.), 4, closely);
    assert_near(ir_text_call(&t, "own", 1, ARGS(D(1, 4, 2, 0)), 0), D(10 / 3., 4 / 3., 2 * r, 0), 4,
                closely);
    ir_text_close(&t);
}

static void linear_with_bias_and_members(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "weight @a : f32[3, 2] = source \"m\" \"a\"\n"
                     "weight @b : f32[3, 2] = source \"m\" \"b\"\n"
                     "weight @p : f32[3] = source \"m\" \"p\"\n"
                     "weight @q : f32[3] = source \"m\" \"q\"\n"
                     "func @plain(%x: f32[T, 2]) -> f32[T, 3] {\n"
                     "  %y = linear %x, @a : f32[T, 3]\n"
                     "  return %y\n}\n"
                     "func @bias(%x: f32[T, 2]) -> f32[T, 3] {\n"
                     "  %y = linear %x, @a, @p : f32[T, 3]\n"
                     "  return %y\n}\n"
                     "func @shared(%x: f32[T, 2]) -> f32[T, 2, 3] {\n"
                     "  %y = linear %x, [@a, @b], [@p, @q] : f32[T, 2, 3]\n"
                     "  return %y\n}\n"
                     "func @own(%x: f32[T, 2, 2]) -> f32[T, 2, 3] {\n"
                     "  %y = linear %x, [@a, @b] : f32[T, 2, 3]\n"
                     "  return %y\n}\n"
                     "func @reduce(%x: f32[T, 2, 2]) -> f32[T, 3] {\n"
                     "  %y = linear %x, [@a, @b] {reduce} : f32[T, 3]\n"
                     "  return %y\n}\n");
    ir_text_weight(&t, "a", F(1, 2, 3, 4, 5, 6), 6);
    ir_text_weight(&t, "b", F(-1, 0, 0, -1, 1, 1), 6);
    ir_text_weight(&t, "p", F(100, 200, 300), 3);
    ir_text_weight(&t, "q", F(10, 20, 30), 3);
    assert_near(ir_text_call(&t, "plain", 2, ARGS(D(1, 1, 2, -1)), 0), D(3, 7, 11, 0, 2, 4), 6,
                exactly);
    assert_near(ir_text_call(&t, "bias", 1, ARGS(D(1, 1)), 0), D(103, 207, 311), 3, exactly);
    assert_near(ir_text_call(&t, "shared", 1, ARGS(D(1, 1)), 0), D(103, 207, 311, 9, 19, 32), 6,
                exactly);
    double *x = D(1, 1, 2, -1, 0, 1, 1, 0); /* two tokens, two members */
    assert_near(ir_text_call(&t, "own", 2, ARGS(x), 0), D(3, 7, 11, -2, 1, 1, 2, 4, 6, -1, 0, 1),
                12, exactly);
    assert_near(ir_text_call(&t, "reduce", 2, ARGS(x), 0), D(1, 8, 12, 1, 4, 7), 6, exactly);
    ir_text_close(&t);
}

static void shift_and_row_write_carry_one_row(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "state @last : f32[2]\n"
                     "func @f(%x: f32[T, 2], %pos: index) -> f32[T, 2] {\n"
                     "  %y = shift %x, %pos, @last : f32[T, 2]\n"
                     "  row_write %x, %pos, @last\n"
                     "  return %y\n}\n");
    ir_text_state(&t, "last")[0] = 77; /* must not be seen at position 0 */
    assert_near(ir_text_call(&t, "f", 2, ARGS(D(1, 2, 3, 4), D(0)), 0), D(0, 0, 1, 2), 4, exactly);
    assert_near(ir_text_state(&t, "last"), D(3, 4), 2, exactly);
    assert_near(ir_text_call(&t, "f", 1, ARGS(D(5, 6), D(2)), 0), D(3, 4), 2, exactly);
    assert_near(ir_text_call(&t, "f", 2, ARGS(D(7, 8, 9, 10), D(3)), 0), D(5, 6, 7, 8), 4, exactly);
    snl_eval_reset(t.eval);
    assert_near(ir_text_state(&t, "last"), D(0, 0), 2, exactly);
    ir_text_call_fails(&t, "f", 1, ARGS(D(5, 6), D(-1)), "position out of range: found -1");
    ir_text_close(&t);
}

static void lincomb_coefficients_and_broadcast(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "weight @c : f32[1] = source \"m\" \"c\"\n"
                     "func @sum(%a: f32[T, 2], %b: f32[T, 2]) -> f32[T, 2] {\n"
                     "  %y = lincomb %a, %b : f32[T, 2]\n"
                     "  return %y\n}\n"
                     "func @coef(%a: f32[T, 2], %b: f32[T, 2]) -> f32[T, 2] {\n"
                     "  %y = lincomb %a, %b, %a {coef = [2, @c, -0.5]} : f32[T, 2]\n"
                     "  return %y\n}\n"
                     "func @members(%a: f32[T, 2], %b: f32[T, 2, 2]) -> f32[T, 2, 2] {\n"
                     "  %y = lincomb %a, %b {coef = [1.0, -1.0]} : f32[T, 2, 2]\n"
                     "  return %y\n}\n");
    ir_text_weight(&t, "c", F(0.25f), 1);
    double *a = D(1, 2, 3, 4), *b = D(10, 20, 30, 40);
    assert_near(ir_text_call(&t, "sum", 2, ARGS(a, b), 0), D(11, 22, 33, 44), 4, exactly);
    assert_near(ir_text_call(&t, "coef", 2, ARGS(a, b), 0), D(4, 8, 12, 16), 4, exactly);
    assert_near(ir_text_call(&t, "members", 1, ARGS(a, b), 0), D(-9, -18, -29, -38), 4, exactly);
    ir_text_close(&t);
}

static void mul_scales_heads(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "weight @w : f32[4] = source \"m\" \"w\"\n"
                     "func @same(%a: f32[T, 4], %b: f32[T, 4]) -> f32[T, 4] {\n"
                     "  %y = mul %a, %b : f32[T, 4]\n"
                     "  return %y\n}\n"
                     "func @heads(%a: f32[T, 4], %b: f32[T, 2]) -> f32[T, 4] {\n"
                     "  %y = mul %a, %b : f32[T, 4]\n"
                     "  return %y\n}\n"
                     "func @vector(%a: f32[T, 4]) -> f32[T, 4] {\n"
                     "  %y = scale %a, @w : f32[T, 4]\n"
                     "  return %y\n}\n");
    ir_text_weight(&t, "w", F(1, 0, -1, 2), 4);
    double *a = D(1, 2, 3, 4);
    assert_near(ir_text_call(&t, "same", 1, ARGS(a, D(2, 3, 4, 5)), 0), D(2, 6, 12, 20), 4,
                exactly);
    assert_near(ir_text_call(&t, "heads", 1, ARGS(a, D(10, -1)), 0), D(10, 20, -3, -4), 4, exactly);
    assert_near(ir_text_call(&t, "vector", 1, ARGS(a), 0), D(1, 0, -3, 8), 4, exactly);
    ir_text_close(&t);
}

static void unary_functions(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "func @f(%x: f32[T, 3]) -> f32[T, 3], f32[T, 3], f32[T, 3], f32[T, 3] {\n"
                     "  %a = silu %x : f32[T, 3]\n"
                     "  %b = sigmoid %x : f32[T, 3]\n"
                     "  %c = relu2 %x : f32[T, 3]\n"
                     "  %d = softcap %x {cap = 15.0} : f32[T, 3]\n"
                     "  return %a, %b, %c, %d\n}\n");
    double *x = D(-3, 0, 2);
    double e3 = exp(3), e2 = exp(-2);
    ir_text_call(&t, "f", 1, ARGS(x), 0);
    assert_near(t.result[0].at, D(-3 / (1 + e3), 0, 2 / (1 + e2)), 3, closely);
    assert_near(t.result[1].at, D(1 / (1 + e3), 0.5, 1 / (1 + e2)), 3, closely);
    assert_near(t.result[2].at, D(0, 0, 4), 3, exactly);
    assert_near(t.result[3].at, D(15 * tanh(-0.2), 0, 15 * tanh(2. / 15)), 3, closely);
    assert_true(isnan(ir_text_call(&t, "f", 1, ARGS(D(NAN, 0, 0)), 2)[0]));
    ir_text_close(&t);
}

static void mix_over_streams(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "weight @m : f32[2, 2] = source \"m\" \"m\"\n"
                     "weight @row : f32[1, 2] = source \"m\" \"row\"\n"
                     "weight @col : f32[2, 1] = source \"m\" \"col\"\n"
                     "func @square(%x: f32[T, 2, 3]) -> f32[T, 2, 3] {\n"
                     "  %y = mix %x, @m : f32[T, 2, 3]\n"
                     "  return %y\n}\n"
                     "func @narrow(%x: f32[T, 2, 3]) -> f32[T, 3] {\n"
                     "  %y = mix %x, @row : f32[T, 3]\n"
                     "  return %y\n}\n"
                     "func @spread(%x: f32[T, 3]) -> f32[T, 2, 3] {\n"
                     "  %y = mix %x, @col : f32[T, 2, 3]\n"
                     "  return %y\n}\n");
    ir_text_weight(&t, "m", F(1, 2, 0, -1), 4);
    ir_text_weight(&t, "row", F(0.5f, 2), 2);
    ir_text_weight(&t, "col", F(3, -1), 2);
    double *x = D(1, 2, 3, 10, 20, 30);
    assert_near(ir_text_call(&t, "square", 1, ARGS(x), 0), D(21, 42, 63, -10, -20, -30), 6,
                exactly);
    assert_near(ir_text_call(&t, "narrow", 1, ARGS(x), 0), D(20.5, 41, 61.5), 3, exactly);
    assert_near(ir_text_call(&t, "spread", 2, ARGS(x), 0),
                D(3, 6, 9, -1, -2, -3, 30, 60, 90, -10, -20, -30), 12, exactly);
    ir_text_close(&t);
}

static void slice_member_stack(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "func @slice(%x: f32[T, 4]) -> f32[T, 2] {\n"
                     "  %y = slice %x {begin = 1, end = 3} : f32[T, 2]\n"
                     "  return %y\n}\n"
                     "func @sliced(%x: f32[T, 2, 2]) -> f32[T, 2, 1] {\n"
                     "  %y = slice %x {begin = 1, end = 2} : f32[T, 2, 1]\n"
                     "  return %y\n}\n"
                     "func @member(%x: f32[T, 2, 2]) -> f32[T, 2] {\n"
                     "  %y = member %x {index = 1} : f32[T, 2]\n"
                     "  return %y\n}\n"
                     "func @stack(%x: f32[T, 2], %y: f32[T, 2]) -> f32[T, 3, 2] {\n"
                     "  %z = stack %x, %y, %x : f32[T, 3, 2]\n"
                     "  return %z\n}\n");
    double *x = D(1, 2, 3, 4, 5, 6, 7, 8);
    assert_near(ir_text_call(&t, "slice", 2, ARGS(x), 0), D(2, 3, 6, 7), 4, exactly);
    assert_near(ir_text_call(&t, "sliced", 2, ARGS(x), 0), D(2, 4, 6, 8), 4, exactly);
    assert_near(ir_text_call(&t, "member", 2, ARGS(x), 0), D(3, 4, 7, 8), 4, exactly);
    assert_near(ir_text_call(&t, "stack", 2, ARGS(x, D(-1, -2, -3, -4)), 0),
                D(1, 2, -1, -2, 1, 2, 3, 4, -3, -4, 3, 4), 12, exactly);
    ir_text_close(&t);
}

static void cast_rounds_and_nothing_else_does(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "func @f(%x: f32[T, 2]) -> bf16[T, 2], f16[T, 2], f32[T, 2], f32[T, 2] {\n"
                     "  %a = cast %x {to = bf16} : bf16[T, 2]\n"
                     "  %b = cast %x {to = f16} : f16[T, 2]\n"
                     "  %c = cast %x {to = f32} : f32[T, 2]\n"
                     "  %d = lincomb %x : f32[T, 2]\n"
                     "  return %a, %b, %c, %d\n}\n");
    /* f16 keeps 11 significant bits, bf16 8, f32 24; 65519 is the largest that f16 rounds to 65504.
     */
    ir_text_call(&t, "f", 1, ARGS(D(1 + 0x1p-9 + 0x1p-30, 65519)), 0);
    assert_near(t.result[0].at, D(1, 65536), 2, exactly);
    assert_near(t.result[1].at, D(1 + 0x1p-9, 65504), 2, exactly);
    assert_near(t.result[2].at, D(1 + 0x1p-9, 65519), 2, exactly);
    assert_near(t.result[3].at, D(1 + 0x1p-9 + 0x1p-30, 65519), 2, exactly);
    ir_text_close(&t);
}

static void call_checks_its_arguments(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "func @f(%x: f32[T, 2]) -> f32[T, 2] {\n"
                     "  %y = lincomb %x : f32[T, 2]\n"
                     "  return %y\n}\n"
                     "layer @l(%h: f32[T, 2], @s: state) -> f32[T, 2] {\n"
                     "  %y = lincomb %h : f32[T, 2]\n"
                     "  return %y\n}\n");
    ir_text_call_fails(&t, "f", 0, ARGS(D(1, 2)), "number of tokens: found 0");
    ir_text_call_fails(&t, "l", 1, ARGS(D(1, 2)), "'@s' is not bound");
    const SnlFunc *f = snl_module_find_func(t.module, "f");
    SnlTensor x = {snl_type_rows(t.module, 3), 1, D(1, 2, 3)}, y;
    assert_int_not_equal(snl_eval_call(t.eval, f, &x, NULL, 1, &y), SNL_OK);
    assert_non_null(strstr(snl_diag_text(t.diag), "wanted f32[T, 2]"));
    ir_text_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embed_takes_rows),
        cmocka_unit_test(embed_of_bf16_weight_rounds),
        cmocka_unit_test(rms_norm_by_hand),
        cmocka_unit_test(linear_with_bias_and_members),
        cmocka_unit_test(shift_and_row_write_carry_one_row),
        cmocka_unit_test(lincomb_coefficients_and_broadcast),
        cmocka_unit_test(mul_scales_heads),
        cmocka_unit_test(unary_functions),
        cmocka_unit_test(mix_over_streams),
        cmocka_unit_test(slice_member_stack),
        cmocka_unit_test(cast_rounds_and_nothing_else_does),
        cmocka_unit_test(call_checks_its_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
