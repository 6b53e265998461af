/* tests/support/support.h -- what unit tests share: cmocka with its prerequisites, close-enough
 * comparisons, an arena with diagnostics per test, scratch files, and where the oracle data is. */
#ifndef SNL_TESTS_SUPPORT_H
#define SNL_TESTS_SUPPORT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/base/diag.h"

#include <stdbool.h>

/* |actual - expected| <= atol + rtol * |expected|; NaN is close to nothing. */
#define assert_close(actual, expected, atol, rtol)                                                 \
    support_close((actual), (expected), (atol), (rtol), -1, __FILE__, __LINE__)
void support_close(double actual, double expected, double atol, double rtol, long index,
                   const char *file, int line);

/* The same for n floats; the message names the first element that is off. */
#define assert_all_close(actual, expected, n, atol, rtol)                                          \
    support_all_close((actual), (expected), (n), (atol), (rtol), __FILE__, __LINE__)
void support_all_close(const float *actual, const float *expected, size_t n, double atol,
                       double rtol, const char *file, int line);

/* The messages reported so far contain `text`. */
#define assert_diag(diag, text) support_diag((diag), (text), __FILE__, __LINE__)
void support_diag(const SnlDiag *diag, const char *text, const char *file, int line);

/* An arena and silent diagnostics for one test:
 * cmocka_unit_test_setup_teardown(test, support_setup, support_teardown); `Support *s = *state;` */
typedef struct Support {
    SnlArena *arena;
    SnlDiag *diag;
    char *dir; /* scratch folder, made by the first support_path; removed with its files */
} Support;
int support_setup(void **state);
int support_teardown(void **state);
#define support_test(function)                                                                     \
    cmocka_unit_test_setup_teardown(function, support_setup, support_teardown)

/* Path of a file in the scratch folder (not created). */
char *support_path(Support *s, const char *name);
/* Writes it. */
char *support_write(Support *s, const char *name, const void *bytes, size_t nbytes);

/* Has this machine what code for `cpu` needs: one of the levels x86-64 to x86-64-v4, or native? If
 * not, says so. */
bool support_runs_here(const char *cpu);

/* Folder of the oracle data: $SNL_SHARED or ../shared beside the repository. NULL, with the reason
 * printed, when it is absent: the caller ends with support_skipped. */
char *support_shared(SnlArena *arena);
enum { support_skipped = 77 };

#endif
