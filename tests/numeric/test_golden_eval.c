/* tests/numeric/test_golden_eval.c -- every sequential case of the full reference set, through
 * frontend and evaluator. Skipped when the set is not there; test_data_eval.c always runs on the
 * small copies. */
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
    snprintf(folder, sizeof folder, "%s/%s", golden_shared(), (const char *)*state);
    golden_eval_sequential(folder);
}

int main(void)
{
    struct CMUnitTest tests[GOLDEN_MODELS];
    if (!golden_shared()) {
        printf(
            "skipped: the reference set is not there (../shared/golden, or $SNL_SHARED/golden)\n");
        return 77;
    }
    for (int i = 0; i < GOLDEN_MODELS; i++)
        tests[i] =
            (struct CMUnitTest){golden_models[i], sequential, NULL, NULL, (void *)golden_models[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
