/* tests/support/golden_eval.c -- see golden_eval.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "golden_eval.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void golden_run_open(GoldenRun *r, const char *folder)
{
    memset(r, 0, sizeof *r);
    golden_open(&r->g, folder);
    r->arena = snl_arena_create();
    r->diag = snl_diag_create(NULL, 0);
    SnlModelOptions options = {0};
    if (snl_model_open(r->arena, r->g.model_dir, &options, r->diag, &r->model) != SNL_OK)
        fail_msg("%s", snl_diag_text(r->diag));
    r->forward = snl_module_find_func(r->model.module, "forward");
    assert_non_null(r->forward);
    r->eval = snl_eval_create(r->model.module, r->model.source, r->diag);
}

void golden_run_close(GoldenRun *r)
{
    snl_eval_destroy(r->eval);
    snl_model_close(&r->model);
    snl_diag_destroy(r->diag);
    snl_arena_destroy(r->arena);
    golden_close(&r->g);
}

const double *golden_run_step(GoldenRun *r, const SnlFunc *func, const int64_t *ids, int64_t first,
                              int64_t n)
{
    double *token = SNL_NEW_ARRAY(r->arena, double, (size_t)n), pos = (double)first;
    for (int64_t i = 0; i < n; i++) token[i] = (double)ids[first + i];
    SnlTensor args[] = {{func->param[0]->type, n, token}, {func->param[1]->type, n, &pos}};
    SnlTensor out;
    r->pos = first;
    if (snl_eval_call(r->eval, func, args, NULL, n, &out) != SNL_OK)
        fail_msg("%s: %s", r->g.name, snl_diag_text(r->diag));
    return out.at;
}

void golden_compare(const GoldenRun *r, const char *what, const GoldenTensor *want, int64_t from,
                    const double *got, int64_t n, double limit, double *worst)
{
    assert_true(from >= 0 && from + n <= want->n);
    for (int64_t i = 0; i < n; i++) {
        double error = fabs(got[i] - golden_at(want, from + i));
        if (!(error <= limit))
            fail_msg("%s: %s: element %lld of '%s': found %.9g, wanted %.9g (limit %g)", r->g.name,
                     what, (long long)(from + i), want->name, got[i], golden_at(want, from + i),
                     limit);
        if (error > *worst) *worst = error;
    }
}

void golden_compare_state(GoldenRun *r, const char *what, const GoldenTensor *want,
                          const SnlTensor *value)
{
    int64_t S = snl_type_members(value->type), D = snl_type_width(value->type);
    for (int64_t t = 0; t < value->n_tokens; t++)
        for (int64_t s = 0; s < S; s++) {
            int64_t row = (want->rank == 3 ? s * want->dim[1] : 0) + r->pos + t;
            golden_compare(r, what, want, row * D, value->at + (t * S + s) * D, D,
                           GOLDEN_STATES_LIMIT, &r->worst_states);
        }
    r->n_states++;
}

int64_t golden_argmax(const double *x, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* Chain state `link` (0: input) against x0 or h.<link-1>. */
static void check_state(void *user, const SnlOp *op, int64_t sweep, size_t link,
                        const SnlTensor *value)
{
    (void)op;
    (void)sweep;
    GoldenRun *r = user;
    char name[32] = "x0";
    GoldenTensor want;
    if (link) snprintf(name, sizeof name, "h.%zu", link - 1);
    if (golden_tensor(&r->g, name, &want)) golden_compare_state(r, "chain state", &want, value);
}

void golden_check_text(GoldenRun *r, const GoldenCase *c, const SnlFunc *func, int64_t block,
                       SnlEvalTrace *trace, void *user)
{
    int64_t n = (int64_t)c->tokens.n, V = c->logits.dim[1];
    assert_true(n > 0 && c->has_logits && c->logits.dim[0] == n);
    assert_int_equal(V, r->model.vocab);
    snl_eval_reset(r->eval);
    snl_eval_set_trace(r->eval, trace, user);
    for (int64_t first = 0; first < n; first += block) {
        int64_t rows = n - first < block ? n - first : block;
        golden_compare(r, c->key, &c->logits, first * V,
                       golden_run_step(r, func, c->tokens.at, first, rows), rows * V,
                       GOLDEN_LOGITS_LIMIT, &r->worst_logits);
    }
    snl_eval_set_trace(r->eval, NULL, NULL);
}

void golden_check_generation(GoldenRun *r, const GoldenCase *c, const SnlFunc *prompt,
                             const SnlFunc *func, SnlEvalTrace *trace, void *user)
{
    size_t n = c->prompt.n + c->generated.n;
    int64_t *ids = SNL_NEW_ARRAY(r->arena, int64_t, n), V = r->model.vocab;
    assert_true(c->prompt.n > 0 && c->generated.n > 0);
    memcpy(ids, c->prompt.at, c->prompt.n * sizeof ids[0]);
    snl_eval_reset(r->eval);
    snl_eval_set_trace(r->eval, trace, user);
    int64_t n_prompt = (int64_t)c->prompt.n;
    const double *row = golden_run_step(r, prompt, ids, 0, n_prompt) + (n_prompt - 1) * V;
    snl_eval_set_trace(r->eval, NULL, NULL);
    for (size_t i = 0; i < c->generated.n; i++) {
        int64_t id = golden_argmax(row, V);
        if (c->has_logits)
            golden_compare(r, c->key, &c->logits, (int64_t)i * V, row, V, GOLDEN_LOGITS_LIMIT,
                           &r->worst_logits);
        if (id != c->generated.at[i])
            fail_msg("%s: %s: token %zu: found %lld, wanted %lld", r->g.name, c->key, i,
                     (long long)id, (long long)c->generated.at[i]);
        ids[c->prompt.n + i] = id;
        if (i + 1 < c->generated.n) row = golden_run_step(r, func, ids, n_prompt + (int64_t)i, 1);
    }
}

void golden_eval_sequential(const char *folder)
{
    static const int64_t blocks[] = {1 << 20, 7, 1};
    GoldenRun r;
    size_t n_generations = 0;
    golden_run_open(&r, folder);
    const GoldenCase *seq = golden_case(&r.g, "seq");
    assert_non_null(seq);
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        golden_check_text(&r, seq, r.forward, blocks[i], check_state, &r);
    assert_true(r.n_states > 0);
    for (size_t i = 0; i < r.g.n_cases; i++)
        if (strncmp(r.g.cases[i].key, "ar_seq", 6) == 0) {
            golden_check_generation(&r, &r.g.cases[i], r.forward, r.forward, NULL, NULL);
            n_generations++;
        }
    assert_true(n_generations > 0);
    print_message("%s: logits within %.2g, chain states within %.2g, %zu generations equal\n",
                  r.g.name, r.worst_logits, r.worst_states, n_generations);
    golden_run_close(&r);
}
