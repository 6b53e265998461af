/* Medians of odd and even counts, in any order. */
#include "tests/support/support.h"

#include "compiler/driver/times.h"

static void medians(void **state)
{
    (void)state;
    double one[] = {4}, two[] = {8, 2}, odd[] = {9, 1, 5}, even[] = {7, 1, 100, 2};
    assert_close(snl_median(one, 1), 4, 0, 0);
    assert_close(snl_median(two, 2), 5, 0, 0);
    assert_close(snl_median(odd, 3), 5, 0, 0);
    assert_close(snl_median(even, 4), 4.5, 0, 0);
}

static void the_clock_does_not_go_back(void **state)
{
    (void)state;
    double begin = snl_seconds();
    for (int i = 0; i < 1000; i++) assert_true(snl_seconds() >= begin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(medians),
                                       cmocka_unit_test(the_clock_does_not_go_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
