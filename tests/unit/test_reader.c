/* tests/unit/test_reader.c -- the reader reads every word once, whatever the number of lines. */
#include "tests/support/support.h"

#include "runtime/reader.h"

#include <stdlib.h>

enum { STEPS = 5, WORDS = SNLRT_READER_STEP / 8 };

static void sum_is_that_of_all_words(void **state)
{
    (void)state;
    uint64_t *words = aligned_alloc(SNLRT_READER_ALIGN, (size_t)STEPS * SNLRT_READER_STEP);
    assert_non_null(words);
    for (uint64_t i = 0; i < (uint64_t)STEPS * WORDS; i++)
        words[i] =
            (i + 1) * 0x9e3779b97f4a7c15u; /* odd: no two sets of words have one sum by chance */
    uint64_t wanted = 0;
    for (int64_t n = 0; n <= STEPS; n++) {
        assert_true(snlrt_read_streams(words, n * SNLRT_READER_STEP) == wanted);
        for (int64_t i = n * WORDS; n < STEPS && i < (n + 1) * WORDS; i++) wanted += words[i];
    }
    free(words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sum_is_that_of_all_words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
