/* tests/unit/test_rope.c -- inverse frequencies of rope_table: plain, linear, and the published
 * llama3 rule, against numbers worked out apart from the code (40-digit decimal arithmetic). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/ir_text.h"

#include <math.h>

/* Attributes of a one-op function, as the frontend would write them. */
static void frequencies(const char *attrs, int64_t width, double *out)
{
    IrText t;
    char text[512];
    snprintf(text, sizeof text,
             "module @m\n"
             "func @f(%%pos: index) -> f32[T, %lld] {\n"
             "  %%a = rope_table %%pos {%s, width = %lld} : f32[T, %lld]\n"
             "  return %%a\n}\n",
             (long long)width, attrs, (long long)width, (long long)width);
    ir_text_open(&t, text);
    snl_rope_frequencies(&snl_module_find_func(t.module, "f")->first->attrs, width, out);
    ir_text_close(&t);
}

static void assert_relative(double got, double want, double limit)
{
    if (!(fabs(got - want) <= limit * fabs(want))) fail_msg("found %.17g, wanted %.17g", got, want);
}

/* theta^(-2j/d) with theta = 10000, d = 8: 1, 1/10, 1/100, 1/1000. */
static void plain_frequencies(void **state)
{
    (void)state;
    double f[4];
    frequencies("theta = 10000.0", 8, f);
    for (int j = 0; j < 4; j++) assert_relative(f[j], pow(10, -j), 1e-15);
    frequencies("scaling = none, theta = 10000.0", 8, f);
    for (int j = 0; j < 4; j++) assert_relative(f[j], pow(10, -j), 1e-15);
}

static void linear_divides_all(void **state)
{
    (void)state;
    double f[4];
    frequencies("factor = 4.0, scaling = linear, theta = 10000.0", 8, f);
    for (int j = 0; j < 4; j++) assert_relative(f[j], pow(10, -j) / 4, 1e-15);
}

/* Llama 3.1's own numbers: theta 500000, width 128, factor 8, low 1, high 4, original context 8192.
 * f = 500000^(-j/64); turns = 8192 f / 2 pi = original context / wavelength. Public rule:
 *   turns > 4 (wavelength shorter than 8192/4): f
 *   turns < 1 (wavelength longer than 8192/1):  f / 8
 *   between: s = (turns - 1) / (4 - 1);  (1 - s) f / 8 + s f
 *
 *   j    f                        turns      s                result
 *   0    1                        1303.80    -                f
 *   28   3.2114459947525909e-03   4.18707    -                f
 *   29   2.6160992529250353e-03   3.41086    0.803621042100   2.1665707635033587e-03
 *   31   1.7360467021768657e-03   2.26345    0.421150997408   8.5675141291963208e-04
 *   35   7.6449698831717466e-04   0.99675    -                f / 8 = 9.5562123539646833e-05
 *   63   2.4551407911316089e-06   0.00320    -                f / 8 = 3.0689259889145111e-07 */
static const struct {
    int j;
    double want;
} llama31[] = {
    {0, 1.0},
    {28, 3.2114459947525909e-03},
    {29, 2.1665707635033587e-03},
    {31, 8.5675141291963208e-04},
    {35, 9.5562123539646833e-05},
    {63, 3.0689259889145111e-07},
};

static void llama3_equals_public_definition(void **state)
{
    (void)state;
    double f[64];
    frequencies("factor = 8.0, high_freq_factor = 4.0, low_freq_factor = 1.0, "
                "original_context = 8192, scaling = llama3, theta = 500000.0",
                128, f);
    for (size_t i = 0; i < sizeof llama31 / sizeof llama31[0]; i++)
        assert_relative(f[llama31[i].j], llama31[i].want, 1e-14);
    for (int j = 1; j < 64; j++) assert_true(f[j] < f[j - 1]); /* the blend keeps the order */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_frequencies),
        cmocka_unit_test(linear_divides_all),
        cmocka_unit_test(llama3_equals_public_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
