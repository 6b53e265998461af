/* Errors between two tensors: sizes, places, and numbers that are none. */
#include "tests/support/support.h"

#include "compiler/driver/compare.h"

#include <math.h>
#include <string.h>

static SnlType vector = {SNL_F32, 2, {SNL_DIM_T, 2}};

static SnlTensor tensor(double *at) { return (SnlTensor){&vector, 2, at}; }

static void equal_tensors_have_no_error(void **state)
{
    (void)state;
    double a[] = {1, -2, 0, INFINITY}, b[] = {1, -2, 0, INFINITY};
    SnlTensor ta = tensor(a), tb = tensor(b);
    SnlErrors e = snl_compare(&ta, &tb);
    assert_true(e.max_abs == 0 && e.relative == 0 && e.nmse == 0 && !e.nan);
    assert_int_equal(e.at, -1);
}

static void the_largest_error_is_found(void **state)
{
    (void)state;
    double found[] = {1, 2.5, 3, 4.25}, wanted[] = {1, 2, 3, 4};
    SnlTensor tf = tensor(found), tw = tensor(wanted);
    SnlErrors e = snl_compare(&tf, &tw);
    assert_int_equal(e.at, 1);
    assert_close(e.max_abs, 0.5, 0, 0);
    assert_close(e.relative, 0.125, 0, 0);
    assert_close(e.nmse, (0.25 + 0.0625) / 30.0, 1e-15, 0);
}

static void errors_against_zeros_are_absolute(void **state)
{
    (void)state;
    double found[] = {0, 0.25, 0, 0}, wanted[] = {0, 0, 0, 0};
    SnlTensor tf = tensor(found), tw = tensor(wanted);
    SnlErrors e = snl_compare(&tf, &tw);
    assert_close(e.relative, 0.25, 0, 0);
}

static void a_nan_is_an_error_unless_both_have_it(void **state)
{
    (void)state;
    double found[] = {0, NAN, 9, NAN}, wanted[] = {0, NAN, 1, 2};
    SnlTensor tf = tensor(found), tw = tensor(wanted);
    SnlErrors e = snl_compare(&tf, &tw);
    assert_true(e.nan);
    assert_int_equal(e.at, 3);
    double same[] = {0, NAN, 1, 2};
    SnlTensor ts = tensor(same);
    assert_false(snl_compare(&ts, &tw).nan);
    assert_true(snl_compare(&tw, &tf).nan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_tensors_have_no_error),
        cmocka_unit_test(the_largest_error_is_found),
        cmocka_unit_test(errors_against_zeros_are_absolute),
        cmocka_unit_test(a_nan_is_an_error_unless_both_have_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
