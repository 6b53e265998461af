/* tests/numeric/test_golden_newton.c -- the evaluator's `newton` against the stored cases: every
 * case whose plan does not fuse layers. Always on tests/data; on the full set and its own/ part
 * when they are there. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/golden.h"
#include "support/golden_eval.h"
#include "support/plan_ir.h"

#include <stdio.h>
#include <string.h>

typedef struct Check {
    GoldenRun r;
    const GoldenCase *c;
    PlanIr plan;
    const SnlOp *chain; /* of @forward */
} Check;

/* ---- states ---------------------------------------------------------------------------------- */

/* After the last sweep s_{j+1} is `<hs_prefix>j`; units are counted through all windows of the
 * plan. */
static void check_states(void *user, const SnlOp *op, int64_t sweep, size_t link,
                         const SnlTensor *value)
{
    Check *k = user;
    size_t first = 0;
    for (size_t i = 0; i < k->plan.n_windows; i++) {
        const PlanWindow *w = &k->plan.window[i];
        int64_t n = w->end - w->begin;
        if (w->op == op && sweep == (w->sweeps < n ? w->sweeps : n) && link > 0) {
            char name[128];
            GoldenTensor want;
            snprintf(name, sizeof name, "%s%zu", k->c->hs_prefix, first + link - 1);
            if (golden_tensor(&k->r.g, name, &want))
                golden_compare_state(&k->r, k->c->key, &want, value);
        }
        first += (size_t)n;
    }
}

/* The prompt's last sequential states are where `warm` starts. */
static void fill_warm(void *user, const SnlOp *op, int64_t sweep, size_t link,
                      const SnlTensor *value)
{
    Check *k = user;
    (void)sweep;
    if (op != k->chain) return;
    for (size_t i = 0; i < k->plan.n_windows; i++) {
        const PlanWindow *w = &k->plan.window[i];
        int64_t j = (int64_t)link - w->begin;
        if (j < 1 || j >= w->end - w->begin || !w->warm[j - 1]) continue;
        int64_t row = snl_type_row_elems(value->type);
        memcpy(snl_eval_state(k->r.eval, w->warm[j - 1]), value->at + (value->n_tokens - 1) * row,
               (size_t)row * sizeof(double));
    }
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void check_case(Check *k)
{
    plan_build(k->r.forward, &k->plan);
    if (snl_verify(k->r.model.module, k->r.diag) != SNL_OK)
        fail_msg("%s: %s: %s", k->r.g.name, k->c->key, snl_diag_text(k->r.diag));
    GoldenRun *r = &k->r;
    const SnlFunc *func = k->plan.func, *prompt = k->plan.prefill_seq ? r->forward : func;
    SnlEvalTrace *trace = *k->c->hs_prefix ? check_states : NULL;
    if (k->c->generated.n) {
        golden_check_generation(r, k->c, prompt, func, fill_warm, k);
    } else {
        golden_check_text(r, k->c, func, 1 << 20, trace, k);
        golden_check_text(r, k->c, func, 7, trace, k);
    }
}

static void folder_of_cases(void **state)
{
    static Check k;
    memset(&k, 0, sizeof k);
    golden_run_open(&k.r, *state);
    for (SnlOp *op = k.r.forward->first; op; op = op->next)
        if (op->code == SNL_OP_CHAIN) k.chain = op;
    int64_t n_links = (int64_t)k.chain->sym[0].n;
    size_t done = 0;
    for (size_t i = 0; i < k.r.g.n_cases; i++) {
        k.c = &k.r.g.cases[i];
        if (!k.c->applies || !plan_parse(k.r.arena, k.c->plan, n_links, &k.plan)) continue;
        check_case(&k);
        done++;
    }
    print_message("%s: %zu cases, logits within %.2g, %zu states within %.2g\n", k.r.g.name, done,
                  k.r.worst_logits, k.r.n_states, k.r.worst_states);
    assert_true(done > 0);
    golden_run_close(&k.r);
}

int main(void)
{
    static char path[3 * GOLDEN_MODELS][4096];
    struct CMUnitTest tests[3 * GOLDEN_MODELS];
    const char *parent[3] = {golden_data(), golden_shared(), golden_shared()};
    const char *part[3] = {"", "", "own/"};
    size_t n = 0;
    for (int set = 0; set < 3; set++)
        for (int i = 0; parent[set] && i < GOLDEN_MODELS; i++) {
            if (set == 2 && strcmp(golden_models[i], "nanochat-nox0ve") == 0)
                continue; /* not in own/ */
            snprintf(path[n], sizeof path[n], "%.2000s/%s%s", parent[set], part[set],
                     golden_models[i]);
            tests[n] = (struct CMUnitTest){golden_models[i], folder_of_cases, NULL, NULL, path[n]};
            n++;
        }
    if (!golden_shared())
        printf("note: the full reference set is not there; only tests/data is checked\n");
    return _cmocka_run_group_tests("golden_newton", tests, n, NULL, NULL);
}
