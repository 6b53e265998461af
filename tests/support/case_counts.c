/* tests/support/case_counts.c -- see case_counts.h. */
#include "tests/support/case_counts.h"

#include "tests/support/support.h"

#include "ir/base/file.h"

#include <stdlib.h>
#include <string.h>

enum { CASES, APPLIES, DOES_NOT_APPLY, REASONS, MAX_CELLS = GOLDEN_MODELS + 2 };

/* ---- reading -------------------------------------------------------------------------------- */

/* The next cell of a row, without blanks and asterisks around it; moves *at to the bar behind
 * it. */
static char *take_cell(SnlArena *arena, const char **at)
{
    const char *begin = *at + strspn(*at, "| *");
    size_t n = strcspn(begin, "|\n");
    if (begin > *at && memchr(*at + 1, '|', (size_t)(begin - *at - 1))) begin = *at, n = 0;
    *at = strpbrk(*at + 1, "|\n");
    while (n && strchr(" *", begin[n - 1])) n--;
    return snl_arena_strndup(arena, begin, n);
}

static size_t take_row(SnlArena *arena, const char *line, char **cell)
{
    size_t n = 0;
    while (line && line[0] == '|' && line[1] != '\n' && line[1] && n < MAX_CELLS)
        cell[n++] = take_cell(arena, &line);
    return n;
}

static int model_named(const char *name)
{
    if (strcmp(name, "all") == 0) return GOLDEN_MODELS;
    for (int i = 0; i < GOLDEN_MODELS; i++) {
        const char *model = golden_models[i], *dash = strchr(model, '-');
        if (strcmp(model, name) == 0 || (dash && strcmp(dash + 1, name) == 0)) return i;
    }
    fail_msg("a column called '%s'", name);
    return -1;
}

static const char *next_line(const char *at)
{
    at = strchr(at, '\n');
    return at ? at + 1 : "";
}

static void check_sums(const char *path, const CaseCounts *c)
{
    for (int m = 0; m <= GOLDEN_MODELS; m++) {
        int64_t reasons = 0;
        for (size_t r = REASONS; r < c->n_rows; r++) reasons += c->n[r][m];
        if (c->n[CASES][m] != c->n[APPLIES][m] + c->n[DOES_NOT_APPLY][m] ||
            reasons != c->n[DOES_NOT_APPLY][m])
            fail_msg("%s: column %d of the counts does not add up", path, m);
    }
    CaseCounts sums = *c;
    case_counts_sum(&sums);
    for (size_t r = 0; r < c->n_rows; r++)
        if (sums.n[r][GOLDEN_MODELS] != c->n[r][GOLDEN_MODELS])
            fail_msg("%s: row '%s' is not its sum", path, c->what[r]);
}

void case_counts_read(SnlArena *arena, const char *path, const char *after, CaseCounts *out)
{
    static const char *const fixed[REASONS] = {"cases", "applies", "does not apply"};
    SnlSource page;
    SnlDiag *diag = snl_diag_create(NULL, 0);
    if (snl_file_read(arena, path, 1 << 22, diag, &page) != SNL_OK)
        fail_msg("%s", snl_diag_text(diag));
    snl_diag_destroy(diag);
    const char *at = strstr(snl_arena_strndup(arena, page.text, page.len), after);
    at = at ? strstr(at, "| | llama |") : NULL;
    if (!at) fail_msg("%s: no table of counts behind '%s'", path, after);
    char *head[MAX_CELLS], *cell[MAX_CELLS];
    size_t n = take_row(arena, at, head);
    *out = (CaseCounts){0};
    for (at = next_line(next_line(at)); *at == '|'; at = next_line(at)) {
        assert_true(out->n_rows < CASE_COUNTS_ROWS);
        if (take_row(arena, at, cell) != n) fail_msg("%s: a row of other length: %.60s", path, at);
        for (size_t i = 1; i < n; i++)
            out->n[out->n_rows][model_named(head[i])] = strtoll(cell[i], NULL, 10);
        out->what[out->n_rows++] = cell[0];
    }
    assert_true(out->n_rows >= REASONS);
    for (size_t r = 0; r < REASONS; r++) assert_string_equal(out->what[r], fixed[r]);
    check_sums(path, out);
}

/* ---- counting ------------------------------------------------------------------------------- */

void case_counts_clear(const CaseCounts *table, CaseCounts *out)
{
    *out = *table;
    memset(out->n, 0, sizeof out->n);
}

void case_counts_note(CaseCounts *counts, int model, const GoldenCase *c)
{
    size_t row = APPLIES;
    if (!c->applies) {
        counts->n[DOES_NOT_APPLY][model]++;
        for (row = REASONS; row < counts->n_rows; row++)
            if (strcmp(counts->what[row], c->why_not) == 0) break;
        if (row == counts->n_rows)
            fail_msg("%s does not apply, for a reason that is not counted: '%s'", c->key,
                     c->why_not);
    }
    counts->n[CASES][model]++;
    counts->n[row][model]++;
}

void case_counts_sum(CaseCounts *c)
{
    for (size_t r = 0; r < c->n_rows; r++) {
        c->n[r][GOLDEN_MODELS] = 0;
        for (int m = 0; m < GOLDEN_MODELS; m++) c->n[r][GOLDEN_MODELS] += c->n[r][m];
    }
}

void case_counts_print(const CaseCounts *c, int model)
{
    print_message("  %lld cases: %lld apply, %lld do not\n", (long long)c->n[CASES][model],
                  (long long)c->n[APPLIES][model], (long long)c->n[DOES_NOT_APPLY][model]);
    for (size_t r = REASONS; r < c->n_rows; r++)
        if (c->n[r][model])
            print_message("  %3lld do not apply: %s\n", (long long)c->n[r][model], c->what[r]);
}

void case_counts_compare(const CaseCounts *found, const CaseCounts *wanted, int model,
                         const char *folder)
{
    print_message("%s: %lld ran\n", folder, (long long)found->n[APPLIES][model]);
    case_counts_print(found, model);
    for (size_t r = 0; r < found->n_rows; r++)
        if (found->n[r][model] != wanted->n[r][model])
            fail_msg("%s: %s: found %lld, wanted %lld by the table", folder, found->what[r],
                     (long long)found->n[r][model], (long long)wanted->n[r][model]);
}

int64_t case_counts_cases(const CaseCounts *c, int model)
{
    return c->n[CASES][model];
}

int case_counts_model(const char *folder)
{
    const char *slash = strrchr(folder, '/');
    return model_named(slash ? slash + 1 : folder);
}
