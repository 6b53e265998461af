/* ir/eval_internal.h -- what the files of the evaluator share: frames, views, one function per
 * rule.
 *
 * A frame is one running call of a function: its values (by value id), the module states bound to
 * its state parameters, and an arena that dies with it. Nothing here is visible outside ir/eval*.c.
 */
#ifndef SNL_IR_EVAL_INTERNAL_H
#define SNL_IR_EVAL_INTERNAL_H

#include "ir/eval.h"

typedef struct SnlFrame {
    SnlEval *eval;
    const SnlFunc *func;
    SnlArena *arena;
    int64_t n_tokens;
    double **value;          /* by value id; NULL until computed */
    SnlState *const *states; /* module states, parallel to func->state_param */
    bool read_only;          /* effects are skipped: sweeps of a newton with kv = corrected */
    int depth;
} SnlFrame;

/* Passes may drop and renumber weights and states while an evaluator lives: an entry says whose it
 * is. */
typedef struct SnlWeightCache {
    const SnlWeight *of;
    float *at; /* NULL until read */
} SnlWeightCache;

typedef struct SnlStateCache {
    const SnlState *of;
    double *at; /* NULL until touched (all zero) */
    int64_t n;
} SnlStateCache;

struct SnlEval {
    const SnlModule *module;
    SnlWeightSource *source;
    SnlDiag *diag;
    SnlArena *results;      /* frame of the last top-level call */
    SnlWeightCache *weight; /* by weight id */
    size_t n_weight;
    SnlStateCache *state; /* by state id */
    size_t n_state;
    SnlEvalTrace *trace;
    void *trace_user;
};

/* A tensor as T rows of M members of D numbers; one member is shared by all that ask. */
typedef struct SnlView {
    double *at;
    int64_t rows, members, width;
} SnlView;

static inline double *snl_view_row(const SnlView *v, int64_t t, int64_t m)
{
    return v->at + (t * v->members + (v->members == 1 ? 0 : m)) * v->width;
}

SnlView snl_frame_in(const SnlFrame *f, const SnlOp *op, size_t i);
/* Allocates result i and gives its view. */
SnlView snl_frame_out(SnlFrame *f, const SnlOp *op, size_t i);
/* An `index` operand as a number; reports when it is negative. */
SnlStatus snl_frame_index(const SnlFrame *f, const SnlOp *op, size_t i, int64_t *out);
/* The module state behind `state`, which may be a state parameter of the frame's function. */
SnlState *snl_frame_state(const SnlFrame *f, SnlState *state);
/* Elements of a weight, read on first use. Lives as long as the evaluator. */
SnlStatus snl_eval_weight(SnlEval *eval, const SnlWeight *w, const float **out);
/* Weights of a symbol group in an array of max(n, 1); entries are NULL when the group is absent. */
SnlStatus snl_frame_weights(const SnlFrame *f, const SnlOp *op, int group, const float ***out);
/* Of an array of n that members share when n == 1. */
static inline size_t snl_member(size_t n, int64_t m)
{
    return n <= 1 ? 0 : (size_t)m;
}
/* Members an op works on: the largest count among its first operand and its group 0. */
int64_t snl_op_members(const SnlOp *op, const SnlView *x);

/* Runs `func` in a frame of its own. `args` are arrays of its value parameters; results are copied
 * to out[0..n_result). `states` are module states. */
SnlStatus snl_frame_call(SnlFrame *caller, const SnlOp *op, const SnlFunc *func,
                         double *const *args, SnlState *const *states, bool read_only,
                         double *const *out);
void snl_frame_trace(const SnlFrame *f, const SnlOp *op, int64_t sweep, size_t link, double *at);

typedef SnlStatus SnlEvalRule(SnlFrame *f, const SnlOp *op);
#define OP(NAME, text, min_in, max_in, symbols, n_out, flags, rule) SnlEvalRule snl_eval_op_##rule;
#include "ir/ops.def"
#undef OP
/* ir/eval_newton.c; op `chain` and `newton` share a rule, eval_chain.c tells them apart. */
SnlEvalRule snl_eval_newton;

/* The module states that `binding` names, resolved in the frame. */
SnlState **snl_frame_binding(const SnlFrame *f, const SnlBinding *binding);

#endif
