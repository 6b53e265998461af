/* ir/eval.h -- the reference evaluator: slow, obvious, f64. The oracle of everything.
 *
 * Runs any function of a module at any stage of the pipeline (chains, newton windows, calls,
 * inlined and scheduled bodies). Values and accumulations are doubles; `cast`/`quantize` ops round,
 * nothing else does. */
#ifndef SNL_IR_EVAL_H
#define SNL_IR_EVAL_H

#include "ir/weights.h"

typedef struct SnlTensor {
    const SnlType *type; /* dims with T still symbolic */
    int64_t n_tokens;    /* value of T */
    double *at; /* snl_type_elems(type, n_tokens) doubles; ids and indices as doubles too */
} SnlTensor;

typedef struct SnlEval SnlEval;

/* Weights are read through `source` on first use and cached; states start at zero. */
SnlEval *snl_eval_create(const SnlModule *m, SnlWeightSource *source, SnlDiag *diag);
void snl_eval_destroy(SnlEval *eval);
/* States back to zero. */
void snl_eval_reset(SnlEval *eval);

/* Calls `func`. args: one per value parameter, types must match, all with the same n_tokens. States
 * of the module persist between calls. Results live until the next call or destroy. A layer's state
 * parameters are bound to `states` (NULL for funcs). */
SnlStatus snl_eval_call(SnlEval *eval, const SnlFunc *func, const SnlTensor *args,
                        SnlState *const *states, int64_t n_tokens, SnlTensor *out_results);
/* The double array of a state (its type's elements, in logical order). */
double *snl_eval_state(SnlEval *eval, const SnlState *state);

/* If set, every chain/newton state is reported as it is computed: `link` counts states of the op
 * from 0 (its input) to n (its output). chain: sweep = 0. newton: all states after each sweep, with
 * the sweep's number 1..min(K, n) (later sweeps change nothing); n == 0: link 0 only. */
typedef void SnlEvalTrace(void *user, const SnlOp *op, int64_t sweep, size_t link,
                          const SnlTensor *value);
void snl_eval_set_trace(SnlEval *eval, SnlEvalTrace *trace, void *user);

/* ---- newton: which states a binding carries -----------------------------------------------------
 *
 * Unit j (from 0) of a `newton` op with K sweeps is evaluated snl_newton_evals() times: in sweeps
 * 1..min(K, j+1), or, with init = batch_fwd, in the extra first sweep and sweeps 1..min(K, j);
 * after that its input no longer changes and its output is kept. Its layer has P state parameters.
 *
 *   kv = sweep      the binding lists P states for the first evaluation (batch_fwd's is the first),
 *                   then P for the second, ...: evals * P states in all.
 *   kv = corrected  the binding lists P states. Sweeps read them and write nothing; after the last
 *                   sweep every unit runs once more on its corrected input, and only that run
 *                   writes.
 *   init = warm     units j >= 1 list one state more, the last: the row(s) of s_j at the previous
 *                   token (type: that of h without T). Read as s_j before the first sweep, written
 *                   after the last one. One token per call (T = 1).
 *
 * So `[@f(@a.1), @g(@b.1, @b.2)] {sweeps = 2, init = h0, kv = sweep}`: unit 1 has a cache for each
 * of its two evaluations. call and chain always bind exactly P states. */
size_t snl_newton_evals(int64_t sweeps, bool batch_fwd, size_t unit);
/* Number of states that the binding of `unit` of this newton op must list, by the rules above. */
size_t snl_newton_n_states(const SnlOp *newton, size_t unit);

/* Inverse frequencies of a rope_table, f64: out[j], j < width/2, with its `scaling` applied
 * (none, linear {factor}, llama3 {factor, low, high, original}). Shared with the emitter. */
void snl_rope_frequencies(const SnlAttrs *attrs, int64_t width, double *out);

#endif
