/* ir/eval.c -- the evaluator's driver: creation, calls, frames, and the caches of weights and
 * states.
 *
 * Ops are dispatched through a table made from ops.def; the rules are in eval_ops.c,
 * eval_attention.c, eval_chain.c and eval_newton.c. */
#include "ir/eval_internal.h"

#include <stdlib.h>
#include <string.h>

/* Layers call layers at most this deep; the verifier forbids recursion, this bounds unverified IR.
 */
enum { MAX_DEPTH = 64, ROWS_AT_ONCE = 64 };

static SnlEvalRule *const rules[SNL_OP_COUNT] = {
#define OP(NAME, text, min_in, max_in, symbols, n_out, flags, rule) snl_eval_op_##rule,
#include "ir/ops.def"
#undef OP
};

SnlEval *snl_eval_create(const SnlModule *m, SnlWeightSource *source, SnlDiag *diag)
{
    SnlEval *eval = snl_xmalloc(sizeof *eval);
    *eval = (SnlEval){.module = m, .source = source, .diag = diag};
    return eval;
}

void snl_eval_destroy(SnlEval *eval)
{
    if (!eval) return;
    for (size_t i = 0; i < eval->n_weight; i++) free(eval->weight[i].at);
    for (size_t i = 0; i < eval->n_state; i++) free(eval->state[i].at);
    free(eval->weight);
    free(eval->state);
    snl_arena_destroy(eval->results);
    free(eval);
}

void snl_eval_reset(SnlEval *eval)
{
    for (size_t i = 0; i < eval->n_state; i++)
        if (eval->state[i].at)
            memset(eval->state[i].at, 0, (size_t)eval->state[i].n * sizeof(double));
}

void snl_eval_set_trace(SnlEval *eval, SnlEvalTrace *trace, void *user)
{
    eval->trace = trace;
    eval->trace_user = user;
}

/* The table `at` of `size`-byte entries grown to hold index `id`; new entries are zero. */
static void *grow(void *at, size_t *n, size_t size, uint32_t id)
{
    if (id < *n) return at;
    size_t want = (size_t)id + 1;
    at = snl_xrealloc(at, want * size);
    memset((char *)at + *n * size, 0, (want - *n) * size);
    *n = want;
    return at;
}

double *snl_eval_state(SnlEval *eval, const SnlState *state)
{
    SNL_ASSERT(state->type != NULL);
    eval->state = grow(eval->state, &eval->n_state, sizeof *eval->state, state->id);
    SnlStateCache *entry = &eval->state[state->id];
    if (entry->of != state) {
        free(entry->at);
        *entry = (SnlStateCache){state, NULL, snl_type_elems(state->type, 0)};
        entry->at = snl_xmalloc((size_t)entry->n * sizeof(double));
        memset(entry->at, 0, (size_t)entry->n * sizeof(double));
    }
    return entry->at;
}

static SnlStatus read_weight(SnlEval *eval, const SnlWeight *w, float *at)
{
    int64_t rows = snl_weight_rows(w), cols = snl_weight_cols(w);
    for (int64_t row = 0; row < rows; row += ROWS_AT_ONCE) {
        int64_t n = rows - row < ROWS_AT_ONCE ? rows - row : ROWS_AT_ONCE;
        SNL_TRY(snl_weight_read(w, eval->source, row, n, eval->diag, at + row * cols));
    }
    if (eval->source && eval->source->release) eval->source->release(eval->source);
    return SNL_OK;
}

SnlStatus snl_eval_weight(SnlEval *eval, const SnlWeight *w, const float **out)
{
    eval->weight = grow(eval->weight, &eval->n_weight, sizeof *eval->weight, w->id);
    SnlWeightCache *entry = &eval->weight[w->id];
    if (entry->of != w) {
        free(entry->at);
        *entry = (SnlWeightCache){NULL, NULL};
        float *at = snl_xmalloc((size_t)snl_type_elems(w->type, 0) * sizeof(float));
        SnlStatus status = read_weight(eval, w, at);
        if (status != SNL_OK) {
            free(at);
            return status;
        }
        *entry = (SnlWeightCache){w, at};
    }
    *out = entry->at;
    return SNL_OK;
}

/* ---- frames ---------------------------------------------------------------------------------- */

static SnlView view_of(const SnlType *type, int64_t n_tokens, double *at)
{
    SnlView v = {at, snl_type_elems(type, n_tokens), 1, 1};
    if (type->rank >= 2) {
        v.members = snl_type_members(type);
        v.width = snl_type_width(type);
        v.rows /= v.members * v.width; /* dims of a verified type are positive */
    }
    return v;
}

SnlView snl_frame_in(const SnlFrame *f, const SnlOp *op, size_t i)
{
    const SnlValue *value = snl_in(op, i);
    SNL_ASSERT(f->value[value->id] != NULL);
    return view_of(value->type, f->n_tokens, f->value[value->id]);
}

SnlView snl_frame_out(SnlFrame *f, const SnlOp *op, size_t i)
{
    const SnlValue *value = op->out[i];
    int64_t n = snl_type_elems(value->type, f->n_tokens);
    f->value[value->id] = SNL_NEW_ARRAY(f->arena, double, (size_t)n);
    return view_of(value->type, f->n_tokens, f->value[value->id]);
}

SnlStatus snl_frame_index(const SnlFrame *f, const SnlOp *op, size_t i, int64_t *out)
{
    double x = snl_frame_in(f, op, i).at[0];
    if (!(x >= 0 && x <= (double)SNL_MAX_ELEMS))
        return snl_error(f->eval->diag, SNL_E_NUMERIC, op->loc,
                         "%s: position out of range: found %.17g, wanted 0 or more",
                         snl_op_info[op->code].text, x);
    *out = (int64_t)x;
    return SNL_OK;
}

SnlState *snl_frame_state(const SnlFrame *f, SnlState *state)
{
    if (state->type) return state;
    SNL_ASSERT(f->states != NULL && state->id < f->func->n_state_param);
    return f->states[state->id];
}

SnlState **snl_frame_binding(const SnlFrame *f, const SnlBinding *binding)
{
    SnlState **out = SNL_NEW_ARRAY(f->arena, SnlState *, binding->n_state);
    for (size_t i = 0; i < binding->n_state; i++) out[i] = snl_frame_state(f, binding->state[i]);
    return out;
}

SnlStatus snl_frame_weights(const SnlFrame *f, const SnlOp *op, int group, const float ***out)
{
    const SnlSymbols *sym = &op->sym[group];
    *out = SNL_NEW_ARRAY(f->arena, const float *, sym->n ? sym->n : 1);
    for (size_t i = 0; i < sym->n; i++)
        SNL_TRY(snl_eval_weight(f->eval, sym->weight[i], &(*out)[i]));
    return SNL_OK;
}

int64_t snl_op_members(const SnlOp *op, const SnlView *x)
{
    int64_t n = (int64_t)op->sym[0].n;
    return n > x->members ? n : x->members;
}

void snl_frame_trace(const SnlFrame *f, const SnlOp *op, int64_t sweep, size_t link, double *at)
{
    if (!f->eval->trace) return;
    SnlTensor value = {snl_in(op, 0)->type, f->n_tokens, at};
    f->eval->trace(f->eval->trace_user, op, sweep, link, &value);
}

/* Binds `args` by pointer: ops never write their operands. */
static SnlStatus run_body(SnlFrame *f, double *const *args)
{
    const SnlFunc *func = f->func;
    f->value = SNL_NEW_ARRAY(f->arena, double *, func->n_values);
    for (size_t i = 0; i < func->n_param; i++) f->value[func->param[i]->id] = args[i];
    for (const SnlOp *op = func->first; op; op = op->next) SNL_TRY(rules[op->code](f, op));
    SNL_ASSERT(func->last && func->last->code == SNL_OP_RETURN);
    SNL_ASSERT(func->last->n_in == func->n_result);
    return SNL_OK;
}

SnlStatus snl_frame_call(SnlFrame *caller, const SnlOp *op, const SnlFunc *func,
                         double *const *args, SnlState *const *states, bool read_only,
                         double *const *out)
{
    SnlEval *eval = caller->eval;
    if (caller->depth >= MAX_DEPTH)
        return snl_error(eval->diag, SNL_E_STRUCTURE, op->loc,
                         "call of '@%s': calls nest deeper than %d; a layer must not call itself",
                         func->name, MAX_DEPTH);
    SnlFrame f = {.eval = eval,
                  .func = func,
                  .arena = snl_arena_create(),
                  .n_tokens = caller->n_tokens,
                  .states = states,
                  .read_only = caller->read_only || read_only,
                  .depth = caller->depth + 1};
    SnlStatus status = run_body(&f, args);
    for (size_t i = 0; status == SNL_OK && i < func->n_result; i++) {
        int64_t n = snl_type_elems(func->result[i], f.n_tokens);
        memcpy(out[i], f.value[snl_in(func->last, i)->id], (size_t)n * sizeof(double));
    }
    snl_arena_destroy(f.arena);
    return status;
}

/* ---- top-level calls ------------------------------------------------------------------------- */

static bool same_type(const SnlType *a, const SnlType *b)
{
    if (a->dtype != b->dtype || a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

static SnlStatus check_args(SnlEval *eval, const SnlFunc *func, const SnlTensor *args,
                            SnlState *const *states, int64_t n_tokens)
{
    if (n_tokens < 1)
        return snl_error(eval->diag, SNL_E_SHAPE, func->loc,
                         "call of '@%s': number of tokens: found %lld, wanted 1 or more",
                         func->name, (long long)n_tokens);
    for (size_t i = 0; i < func->n_param; i++) {
        const SnlType *want = func->param[i]->type;
        if (!same_type(args[i].type, want) ||
            (snl_type_has_t(want) && args[i].n_tokens != n_tokens))
            return snl_error(
                eval->diag, SNL_E_TYPE, func->param[i]->loc,
                "call of '@%s': argument %zu: found %s of %lld tokens, wanted %s of %lld",
                func->name, i + 1, snl_type_text(eval->results, args[i].type),
                (long long)args[i].n_tokens, snl_type_text(eval->results, want),
                (long long)n_tokens);
    }
    for (size_t i = 0; i < func->n_state_param; i++)
        if (!states || !states[i] || !states[i]->type)
            return snl_error(eval->diag, SNL_E_STRUCTURE, func->loc,
                             "call of '@%s': state parameter '@%s' is not bound to a module state",
                             func->name, func->state_param[i]->name);
    return SNL_OK;
}

SnlStatus snl_eval_call(SnlEval *eval, const SnlFunc *func, const SnlTensor *args,
                        SnlState *const *states, int64_t n_tokens, SnlTensor *out_results)
{
    snl_arena_destroy(eval->results);
    eval->results = snl_arena_create();
    SNL_TRY(check_args(eval, func, args, states, n_tokens));
    SnlFrame f = {
        .eval = eval, .func = func, .arena = eval->results, .n_tokens = n_tokens, .states = states};
    double **arg = SNL_NEW_ARRAY(f.arena, double *, func->n_param);
    for (size_t i = 0; i < func->n_param; i++) arg[i] = args[i].at;
    SNL_TRY(run_body(&f, arg));
    for (size_t i = 0; i < func->n_result; i++)
        out_results[i] = (SnlTensor){func->result[i], n_tokens, f.value[snl_in(func->last, i)->id]};
    return SNL_OK;
}
