/* tests/numeric/test_golden_plans.c -- the plan passes against the stored cases.
 *
 * For each case that applies: fuse-layers and newton make the planned module from the plan's text;
 * it is evaluated as it is (states after the last sweep too) and once more after lower-newton and
 * all passes that follow it before scheduling. Logits, states and generated tokens are the stored
 * ones. Always on tests/data; with SNL_FULL=1 on the full set and its own/ part, where the number
 * of cases must be that of the table in REFERENCE.md. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "passes/pass.h"
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

typedef struct Totals {
    size_t cases, checked;
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

static void check_text(Check *k, int64_t block)
{
    GoldenRun *r = &k->r;
    const GoldenCase *c = k->c;
    int64_t n = (int64_t)c->tokens.n, V = r->model.vocab;
    snl_eval_reset(r->eval);
    if (*c->hs_prefix) snl_eval_set_trace(r->eval, check_states, k);
    for (int64_t first = 0; first < n; first += block) {
        int64_t rows = n - first < block ? n - first : block;
        golden_compare(r, c->key, &c->logits, first * V,
                       golden_run_step(r, r->forward, c->tokens.at, first, rows), rows * V,
                       GOLDEN_LOGITS_LIMIT, &r->worst_logits);
    }
    snl_eval_set_trace(r->eval, NULL, NULL);
}

static void check_generation(Check *k)
{
    GoldenRun *r = &k->r;
    const GoldenCase *c = k->c;
    int64_t V = r->model.vocab, n_prompt = (int64_t)c->prompt.n;
    int64_t *ids = SNL_NEW_ARRAY(r->arena, int64_t, c->prompt.n + c->generated.n);
    const SnlFunc *prompt = snl_module_find_func(r->model.module, "forward.prompt");
    memcpy(ids, c->prompt.at, c->prompt.n * sizeof ids[0]);
    snl_eval_reset(r->eval);
    const double *row =
        golden_run_step(r, prompt ? prompt : r->forward, ids, 0, n_prompt) + (n_prompt - 1) * V;
    for (int64_t i = 0; i < (int64_t)c->generated.n; i++) {
        int64_t id = golden_argmax(row, V);
        if (c->has_logits)
            golden_compare(r, c->key, &c->logits, i * V, row, V, GOLDEN_LOGITS_LIMIT,
                           &r->worst_logits);
        if (id != c->generated.at[i])
            fail_msg("%s: %s: token %lld: found %lld, wanted %lld", r->g.name, c->key, (long long)i,
                     (long long)id, (long long)c->generated.at[i]);
        ids[n_prompt + i] = id;
        row = golden_run_step(r, r->forward, ids, n_prompt + i, 1);
    }
}

static void check_module(Check *k)
{
    if (k->c->generated.n) {
        check_generation(k);
    } else {
        check_text(k, 1 << 20);
        check_text(k, 7);
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

static void check_case(Check *k, const char *folder, size_t i, Totals *totals)
{
    golden_run_open(&k->r, folder);
    k->c = &k->r.g.cases[i];
    totals->cases++;
    bool sequential = strcmp(plan_text(k), "seq") == 0;
    if (k->c->applies && (k->c->has_logits || k->c->generated.n) && !sequential) {
        const char *plan = plan_text(k);
        run_passes(k, snl_arena_printf(k->r.arena, "fuse-layers{plan=\"%s\"},newton{plan=\"%s\"}",
                                       plan, plan));
        find_windows(k);
        check_module(k);
        run_passes(k, lowering);
        k->n_windows = 0;
        check_module(k);
        totals->checked++;
    }
    if (k->r.worst_logits > totals->logits) totals->logits = k->r.worst_logits;
    if (k->r.worst_states > totals->states) totals->states = k->r.worst_states;
    totals->n_states += k->r.n_states;
    golden_run_close(&k->r);
}

static void folder_of_cases(void **state)
{
    static Check k;
    Golden g;
    Totals totals = {0};
    golden_open(&g, *state);
    size_t n = g.n_cases;
    golden_close(&g);
    for (size_t i = 0; i < n; i++) {
        memset(&k, 0, sizeof k);
        check_case(&k, *state, i, &totals);
    }
    print_message("%s: %zu of %zu cases, logits within %.2g, %zu states within %.2g\n",
                  (const char *)*state, totals.checked, totals.cases, totals.logits,
                  totals.n_states, totals.states);
    assert_true(totals.checked > 0);
}

/* ---- the table of REFERENCE.md -------------------------------------------------------------- */

typedef struct Count {
    const char *what;
    size_t n;
} Count;

/* Cases and how many of them apply, in the order of golden_models. */
static const size_t wanted_cases[GOLDEN_MODELS][2] = {{39, 38},  {54, 38}, {39, 38},  {136, 81},
                                                      {106, 68}, {81, 66}, {161, 81}, {9, 7}};
static const Count wanted_reasons[] = {
    {"DiagN (estimated diagonal surrogate)", 22},
    {"ExactNewton", 8},
    {"Fused K>1 (repeated application)", 9},
    {"Fused+split", 16},
    {"IDN over a layer whose window bites (reference ignores it)", 2},
    {"ar_chunk_* (chunk caches, chunk-composition prefill)", 48},
    {"deer_* (full or diagonal Jacobian, Kalman)", 15},
    {"generation with the reference's lambda bug (no_x0_resid)", 25},
    {"init preheat", 6},
    {"init warm_pos0", 6},
    {"self-speculative decoding", 22},
    {"training objective", 29},
};
enum { N_REASONS = sizeof wanted_reasons / sizeof wanted_reasons[0] };

static void count_reasons(const Golden *g, size_t *count, size_t *out_applies)
{
    json_t *list = json_object_get(g->root, "cases");
    *out_applies = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *c = json_array_get(list, i);
        if (json_is_true(json_object_get(c, "applies"))) {
            ++*out_applies;
            continue;
        }
        const char *why = json_string_value(json_object_get(c, "why_not"));
        size_t r = 0;
        while (r < N_REASONS && strcmp(wanted_reasons[r].what, why) != 0) r++;
        if (r == N_REASONS) fail_msg("%s: an unknown reason: %s", g->name, why);
        count[r]++;
    }
}

static void counts_are_those_of_the_reference(void **state)
{
    (void)state;
    size_t count[N_REASONS] = {0};
    for (int i = 0; i < GOLDEN_MODELS; i++) {
        char path[4096];
        Golden g;
        size_t applies;
        snprintf(path, sizeof path, "%.2000s/%s", golden_shared(), golden_models[i]);
        golden_open(&g, path);
        count_reasons(&g, count, &applies);
        print_message("%-16s %3zu cases, %2zu apply\n", golden_models[i], g.n_cases, applies);
        assert_int_equal(g.n_cases, wanted_cases[i][0]);
        assert_int_equal(applies, wanted_cases[i][1]);
        golden_close(&g);
    }
    for (size_t r = 0; r < N_REASONS; r++) {
        print_message("does not apply: %2zu %s\n", count[r], wanted_reasons[r].what);
        assert_int_equal(count[r], wanted_reasons[r].n);
    }
}

int main(void)
{
    static char path[3 * GOLDEN_MODELS][4096];
    struct CMUnitTest tests[3 * GOLDEN_MODELS + 1];
    bool full = golden_shared() && getenv("SNL_FULL");
    const char *parent[3] = {golden_data(), full ? golden_shared() : NULL,
                             full ? golden_shared() : NULL};
    const char *part[3] = {"", "", "own/"};
    size_t n = 0;
    for (int set = 0; set < 3; set++)
        for (int i = 0; parent[set] && i < GOLDEN_MODELS; i++) {
            if (set == 2 && strcmp(golden_models[i], "nanochat-nox0ve") == 0)
                continue; /* not in own/ */
            snprintf(path[n], sizeof path[n], "%.2000s/%s%s", parent[set], part[set],
                     golden_models[i]);
            const char *only =
                getenv("SNL_FOLDER"); /* part of the path, when looking for a mistake */
            if (only && !strstr(path[n], only)) continue;
            tests[n] = (struct CMUnitTest){golden_models[i], folder_of_cases, NULL, NULL, path[n]};
            n++;
        }
    if (full)
        tests[n++] = (struct CMUnitTest)cmocka_unit_test(counts_are_those_of_the_reference);
    else
        printf("note: only tests/data is checked; SNL_FULL=1 checks the full reference set\n");
    return _cmocka_run_group_tests("golden_plans", tests, n, NULL, NULL);
}
