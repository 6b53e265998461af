/* tests/numeric/test_data_eval.c -- the reference cases that the repository carries (tests/data),
 * through frontend and evaluator. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/golden.h"
#include "support/golden_eval.h"

#include <stdio.h>

static void sequential(void **state)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%s/%s", golden_data(), (const char *)*state);
    golden_eval_sequential(folder);
}

int main(void)
{
    struct CMUnitTest tests[GOLDEN_MODELS];
    for (int i = 0; i < GOLDEN_MODELS; i++)
        tests[i] =
            (struct CMUnitTest){golden_models[i], sequential, NULL, NULL, (void *)golden_models[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
