/* Numbers from text: whole, in range, decimal; sums and products that notice overflow. */
#include "tests/support/support.h"

#include "ir/base/checked.h"

static void integers(void **state)
{
    (void)state;
    int64_t x = 7;
    assert_true(snl_parse_i64("0", 0, 0, &x));
    assert_int_equal(x, 0);
    assert_true(snl_parse_i64("-12", -100, 100, &x));
    assert_int_equal(x, -12);
    assert_true(snl_parse_i64("9223372036854775807", INT64_MIN, INT64_MAX, &x));
    assert_true(x == INT64_MAX);
    assert_true(snl_parse_i64("-9223372036854775808", INT64_MIN, INT64_MAX, &x));
    assert_true(x == INT64_MIN);
}

static void not_integers(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1x",
                                      "0x10",
                                      "1.0",
                                      "--1",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999999999"};
    int64_t x = 7;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(snl_parse_i64(bad[i], INT64_MIN, INT64_MAX, &x));
    assert_false(snl_parse_i64("5", 0, 4, &x));
    assert_false(snl_parse_i64("-1", 0, 4, &x));
    assert_int_equal(x, 7);
}

static void reals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0", 0},  {"-1.5", -1.5}, {"1e-05", 1e-05}, {".5", 0.5},
                {"2.", 2}, {"1E+3", 1000}, {"3e2", 300},     {"1e-400", 0}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        double x = 7;
        assert_true(snl_parse_real(good[i].text, &x));
        assert_true(x == good[i].value);
    }
}

static void not_reals(void **state)
{
    (void)state;
    static const char *const bad[] = {"",   ".",  "-",  "e5",  "1e",  "1e+",   "inf",  "nan",
                                      "+1", " 1", "1 ", "0x1", "1,5", "1e999", "1.2.3"};
    double x = 7;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(snl_parse_real(bad[i], &x));
    assert_true(x == 7);
}

static void overflow(void **state)
{
    (void)state;
    int64_t x;
    size_t n;
    assert_true(snl_mul_i64((int64_t)1 << 31, (int64_t)1 << 31, &x));
    assert_true(x == (int64_t)1 << 62);
    assert_false(snl_mul_i64((int64_t)1 << 32, (int64_t)1 << 31, &x));
    assert_false(snl_add_i64(INT64_MAX, 1, &x));
    assert_true(snl_add_i64(INT64_MAX, -1, &x));
    assert_false(snl_mul_size(SIZE_MAX, 2, &n));
    assert_false(snl_add_size(SIZE_MAX, 1, &n));
    assert_true(snl_add_size(SIZE_MAX, 0, &n));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),  cmocka_unit_test(not_integers), cmocka_unit_test(reals),
        cmocka_unit_test(not_reals), cmocka_unit_test(overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
