/* tests/numeric/test_golden_plans.c -- the plan passes against the stored cases.
 *
 * For each case that applies: fuse-layers and newton make the planned module from the plan's text;
 * it is evaluated as it is (states after the last sweep too) and once more after lower-newton and
 * all passes that follow it before scheduling. Logits, states and generated tokens are the stored
 * ones. Always on tests/data; with SNL_FULL=1 on the full set and its own/ part. Every case that
 * applies must run, and how many ran and how many do not apply by reason must be what the table
 * says: that of REFERENCE.md, or of tests/data/case_counts.md. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "passes/pass.h"
#include "support/case_counts.h"
#include "support/golden.h"
#include "support/golden_eval.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char lowering[] =
    "lower-newton,inline-layers,simplify,cancel-residual,simplify,cse,dce,merge-linear,"
    "fold{weights=f32},simplify,cse,dce";

typedef struct Check {
    GoldenRun r;
    const GoldenCase *c;
    const SnlOp *window[16];
    size_t n_windows;
} Check;

typedef struct Folder {
    char path[4096];
    const CaseCounts *wanted;
} Folder;

typedef struct Totals {
    double logits, states;
    size_t n_states;
} Totals;

/* ---- states --------------------------------------------------------------------------------- */

static void find_windows(Check *k)
{
    k->n_windows = 0;
    for (const SnlOp *op = k->r.forward->first; op; op = op->next)
        if (op->code == SNL_OP_NEWTON) {
            assert_true(k->n_windows < 16);
            k->window[k->n_windows++] = op;
        }
}

/* Units are counted through all windows of the plan. */
static void check_states(void *user, const SnlOp *op, int64_t sweep, size_t link,
                         const SnlTensor *value)
{
    Check *k = user;
    size_t first = 0;
    for (size_t i = 0; i < k->n_windows; i++) {
        int64_t n = (int64_t)k->window[i]->sym[0].n;
        int64_t sweeps = snl_attr_int(&k->window[i]->attrs, "sweeps", 1);
        if (k->window[i] == op && sweep == (sweeps < n ? sweeps : n) && link > 0) {
            char name[128];
            GoldenTensor want;
            snprintf(name, sizeof name, "%s%zu", k->c->hs_prefix, first + link - 1);
            if (golden_tensor(&k->r.g, name, &want))
                golden_compare_state(&k->r, k->c->key, &want, value);
        }
        first += (size_t)n;
    }
}

/* ---- one case ------------------------------------------------------------------------------- */

static void check_module(Check *k)
{
    GoldenRun *r = &k->r;
    const SnlFunc *prompt = snl_module_find_func(r->model.module, "forward.prompt");
    SnlEvalTrace *trace = *k->c->hs_prefix ? check_states : NULL;
    if (k->c->generated.n) {
        golden_check_generation(r, k->c, prompt ? prompt : r->forward, r->forward, NULL, NULL);
    } else {
        golden_check_text(r, k->c, r->forward, 1 << 20, trace, k);
        golden_check_text(r, k->c, r->forward, 7, trace, k);
    }
}

static void run_passes(Check *k, const char *text)
{
    SnlPipelineOptions options = {.verify_each = true, .source = k->r.model.source};
    if (snl_pipeline_run(k->r.model.module, text, &options, k->r.diag) != SNL_OK)
        fail_msg("%s: %s: %s", k->r.g.name, k->c->key, snl_diag_text(k->r.diag));
}

/* The plan with `diag:` files of the case's folder. */
static const char *plan_text(const Check *k)
{
    const char *plan = k->c->plan, *diag = strstr(plan, "diag:");
    if (!*plan) return "seq";
    if (!diag) return plan;
    size_t head = (size_t)(diag - plan) + strlen("diag:");
    return snl_arena_printf(k->r.arena, "%.*s%s/%s", (int)head, plan, k->r.g.folder, plan + head);
}

static void run_case(Check *k)
{
    const char *plan = plan_text(k);
    if (!k->c->has_logits && !k->c->generated.n)
        fail_msg("%s: %s applies, but has neither logits nor tokens", k->r.g.name, k->c->key);
    run_passes(k, snl_arena_printf(k->r.arena, "fuse-layers{plan=\"%s\"},newton{plan=\"%s\"}", plan,
                                   plan));
    find_windows(k);
    check_module(k);
    run_passes(k, lowering);
    k->n_windows = 0;
    check_module(k);
}

static void check_case(Check *k, const char *folder, size_t i, Totals *totals, CaseCounts *found)
{
    golden_run_open(&k->r, folder);
    k->c = &k->r.g.cases[i];
    if (k->c->applies) run_case(k);
    case_counts_note(found, case_counts_model(folder), k->c);
    if (k->r.worst_logits > totals->logits) totals->logits = k->r.worst_logits;
    if (k->r.worst_states > totals->states) totals->states = k->r.worst_states;
    totals->n_states += k->r.n_states;
    golden_run_close(&k->r);
}

static void folder_of_cases(void **state)
{
    static Check k;
    const Folder *folder = *state;
    Golden g;
    Totals totals = {0};
    CaseCounts found;
    case_counts_clear(folder->wanted, &found);
    golden_open(&g, folder->path);
    size_t n = g.n_cases;
    golden_close(&g);
    for (size_t i = 0; i < n; i++) {
        memset(&k, 0, sizeof k);
        check_case(&k, folder->path, i, &totals, &found);
    }
    case_counts_compare(&found, folder->wanted, case_counts_model(folder->path), folder->path);
    print_message("  logits within %.2g, %zu states within %.2g\n", totals.logits, totals.n_states,
                  totals.states);
}

/* ---- the tables ----------------------------------------------------------------------------- */

static SnlArena *arena;

static CaseCounts stored_counts(const char *part)
{
    CaseCounts out;
    case_counts_read(arena, snl_arena_printf(arena, "%s/case_counts.md", golden_data()), part,
                     &out);
    return out;
}

/* That of the reference where it is there, else the copy. */
static CaseCounts reference_counts(void)
{
    CaseCounts out;
    if (!golden_shared()) return stored_counts("## golden\n");
    case_counts_read(arena, snl_arena_printf(arena, "%s/REFERENCE.md", golden_shared()), "", &out);
    return out;
}

static void the_copy_is_the_table_of_the_reference(void **state)
{
    (void)state;
    CaseCounts copy = stored_counts("## golden\n"), right = reference_counts();
    assert_int_equal(copy.n_rows, right.n_rows);
    for (size_t r = 0; r < right.n_rows; r++) assert_string_equal(copy.what[r], right.what[r]);
    assert_memory_equal(copy.n, right.n, sizeof right.n);
}

static void the_table_counts_the_full_set(void **state)
{
    CaseCounts right = reference_counts(), found;
    (void)state;
    case_counts_clear(&right, &found);
    for (int i = 0; i < GOLDEN_MODELS; i++) {
        Golden g;
        golden_open(&g, snl_arena_printf(arena, "%s/%s", golden_shared(), golden_models[i]));
        for (size_t c = 0; c < g.n_cases; c++) case_counts_note(&found, i, &g.cases[c]);
        golden_close(&g);
    }
    case_counts_sum(&found);
    print_message("the full set, by its cases.json:\n");
    case_counts_print(&found, GOLDEN_MODELS);
    assert_memory_equal(found.n, right.n, sizeof right.n);
}

static size_t add_folders(const char *parent, const CaseCounts *wanted, Folder *folder)
{
    const char *only = getenv("SNL_FOLDER"); /* part of the path, when looking for a mistake */
    size_t n = 0;
    for (int i = 0; i < GOLDEN_MODELS; i++) {
        if (!case_counts_cases(wanted, i)) continue;
        snprintf(folder[n].path, sizeof folder[n].path, "%s/%s", parent, golden_models[i]);
        folder[n].wanted = wanted;
        if (!only || strstr(folder[n].path, only)) n++;
    }
    return n;
}

int main(void)
{
    static Folder folder[3 * GOLDEN_MODELS];
    static CaseCounts small, reference, own;
    struct CMUnitTest tests[3 * GOLDEN_MODELS + 2];
    arena = snl_arena_create();
    small = stored_counts("## tests/data\n");
    size_t n = add_folders(golden_data(), &small, folder), n_tests = 0;
    if (golden_shared() && getenv("SNL_FULL")) {
        reference = reference_counts();
        own = stored_counts("## own\n");
        n += add_folders(golden_shared(), &reference, folder + n);
        n += add_folders(snl_arena_printf(arena, "%s/own", golden_shared()), &own, folder + n);
    } else {
        printf("note: only tests/data is checked; SNL_FULL=1 checks the full reference set\n");
    }
    for (size_t i = 0; i < n; i++)
        tests[n_tests++] =
            (struct CMUnitTest){folder[i].path, folder_of_cases, NULL, NULL, &folder[i]};
    if (golden_shared()) {
        tests[n_tests++] =
            (struct CMUnitTest)cmocka_unit_test(the_copy_is_the_table_of_the_reference);
        tests[n_tests++] = (struct CMUnitTest)cmocka_unit_test(the_table_counts_the_full_set);
    }
    int failed = _cmocka_run_group_tests("golden_plans", tests, n_tests, NULL, NULL);
    snl_arena_destroy(arena);
    return failed;
}
