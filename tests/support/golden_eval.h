/* tests/support/golden_eval.h -- golden folders through frontend and evaluator. */
#ifndef SNL_TESTS_GOLDEN_EVAL_H
#define SNL_TESTS_GOLDEN_EVAL_H

#include "compiler/frontend/model.h"
#include "golden.h"
#include "ir/eval.h"

/* Tolerances of REFERENCE.md for a float32 implementation. */
#define GOLDEN_LOGITS_LIMIT 1e-4
#define GOLDEN_STATES_LIMIT 3e-5

typedef struct GoldenRun {
    Golden g;
    SnlArena *arena;
    SnlDiag *diag;
    SnlModel model;
    const SnlFunc *forward;
    SnlEval *eval;
    int64_t pos;                       /* of the call in progress */
    double worst_logits, worst_states; /* largest differences seen */
    size_t n_states;                   /* states compared */
} GoldenRun;

void golden_run_open(GoldenRun *r, const char *folder);
void golden_run_close(GoldenRun *r);
/* Calls func(tokens, pos) on ids[first, first + n) at position `first`; gives the logits, [n,
 * vocab]. */
const double *golden_run_step(GoldenRun *r, const SnlFunc *func, const int64_t *ids, int64_t first,
                              int64_t n);
/* got[0..n) against elements from.. of `want`; ends the test on a difference. */
void golden_compare(const GoldenRun *r, const char *what, const GoldenTensor *want, int64_t from,
                    const double *got, int64_t n, double limit, double *worst);
/* A traced state [T, D] or [T, S, D] at r->pos against a whole stored one, [T, D] (every stream) or
 * [S, T, D]. */
void golden_compare_state(GoldenRun *r, const char *what, const GoldenTensor *want,
                          const SnlTensor *value);
int64_t golden_argmax(const double *x, int64_t n);

/* The case's text in calls of up to `block` tokens, from fresh states: logits within
 * GOLDEN_LOGITS_LIMIT. `trace` (NULL: none) sees what is evaluated. */
void golden_check_text(GoldenRun *r, const GoldenCase *c, const SnlFunc *func, int64_t block,
                       SnlEvalTrace *trace, void *user);
/* Greedy, the prompt by `prompt` in one call (traced), then one token a call: tokens, and logits
 * where stored. */
void golden_check_generation(GoldenRun *r, const GoldenCase *c, const SnlFunc *prompt,
                             const SnlFunc *func, SnlEvalTrace *trace, void *user);

/* Opens the folder's model and checks its `seq` case (logits, chain states, in several splits into
 * calls) and all its `ar_seq*` cases (tokens, and logits where stored). Ends the test on a
 * difference. */
void golden_eval_sequential(const char *folder);

#endif
