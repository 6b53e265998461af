/* tests/support/case_counts.h -- how many stored cases there are, apply, and do not apply by
 * reason: the table of REFERENCE.md, and those of tests/data/case_counts.md (a copy of it, and the
 * same for own/ and for the small copies). A test counts the cases that it ran and compares.
 *
 *     | | llama | full | gqa | ... | all |
 *     |---|---|---|---|...|---|
 *     | cases | 39 | 136 | 106 | ... | 625 |
 *     | **applies** | 38 | 81 | 68 | ... | 417 |
 *     | ExactNewton |  | 4 |  | ... | 8 |                                                       */
#ifndef SNL_TESTS_CASE_COUNTS_H
#define SNL_TESTS_CASE_COUNTS_H

#include "tests/support/golden.h"

enum { CASE_COUNTS_ROWS = 32 };

typedef struct CaseCounts {
    size_t n_rows;
    const char *what[CASE_COUNTS_ROWS]; /* "cases", "applies", "does not apply", then the reasons */
    int64_t n[CASE_COUNTS_ROWS][GOLDEN_MODELS + 1]; /* in the order of golden_models; then all */
} CaseCounts;

/* The first table of `path` behind the text `after` ("": of the page). Ends the test when there is
 * none, or when its sums are wrong. */
void case_counts_read(SnlArena *arena, const char *path, const char *after, CaseCounts *out);
/* Rows and counts of a table as `table` has them, all zero. */
void case_counts_clear(const CaseCounts *table, CaseCounts *out);
/* Counts one case of a model; one that does not apply needs a reason that the table knows. */
void case_counts_note(CaseCounts *counts, int model, const GoldenCase *c);
/* The last column: sums over the models. */
void case_counts_sum(CaseCounts *counts);
/* What ran and what does not apply by reason; model GOLDEN_MODELS: all. */
void case_counts_print(const CaseCounts *counts, int model);
/* Prints them, and ends the test where the column of a model differs. */
void case_counts_compare(const CaseCounts *found, const CaseCounts *wanted, int model,
                         const char *folder);
int64_t case_counts_cases(const CaseCounts *counts, int model);
/* The model that a folder is about. */
int case_counts_model(const char *folder);

#endif
