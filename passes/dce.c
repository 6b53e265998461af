/* passes/dce.c -- what nobody needs goes.
 *
 *     weight @g : f32[8] = fill {value = 1.0}
 *     func @f(%x: f32[T, 8]) -> f32[T, 8] {
 *       %n = rms_norm %x, @g {eps = 1e-05} : f32[T, 8]
 *       %y = silu %x : f32[T, 8]
 *       return %y
 *     }
 *
 * becomes
 *
 *     func @f(%x: f32[T, 8]) -> f32[T, 8] {
 *       %y = silu %x : f32[T, 8]
 *       return %y
 *     }
 *
 * Pure operations without a reader; layers that no function reaches (in a module without functions
 * all layers stay); then weights and states that nothing names. Writes to states and calls always
 * stay. */
#include "passes/rewrite.h"

static bool is_unused(const SnlOp *op)
{
    if (!snl_op_is_pure(op)) return false;
    for (size_t i = 0; i < op->n_out; i++)
        if (op->out[i]->uses) return false;
    return true;
}

/* Backwards, so that one walk also finds the operands of what it removed. */
static bool remove_ops(SnlFunc *f)
{
    bool changed = false;
    for (SnlOp *op = f->last, *prev; op; op = prev) {
        prev = op->prev;
        if (!is_unused(op)) continue;
        snl_op_erase(op);
        changed = true;
    }
    return changed;
}

static bool remove_weights(SnlModule *m, SnlArena *arena)
{
    const size_t *uses = snl_weight_uses(m, arena);
    bool *keep = SNL_NEW_ARRAY(arena, bool, m->weights.n), all = true;
    for (size_t i = 0; i < m->weights.n; i++) all &= keep[i] = uses[i] > 0;
    if (!all) snl_module_keep_weights(m, keep);
    return !all;
}

static void mark_state(void *user, const SnlOp *op, SnlState *state, bool writes)
{
    bool *keep = user;
    (void)op, (void)writes;
    if (state->type) keep[state->id] = true;
}

static bool remove_states(SnlModule *m, SnlArena *arena)
{
    bool *keep = SNL_NEW_ARRAY(arena, bool, m->states.n), all = true;
    for (const SnlFunc *f = m->first; f; f = f->next)
        for (const SnlOp *op = f->first; op; op = op->next) snl_op_states(op, mark_state, keep);
    for (size_t i = 0; i < m->states.n; i++) all &= keep[i];
    if (!all) snl_module_keep_states(m, keep);
    return !all;
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    bool changed = false;
    for (SnlFunc *f = m->first; f; f = f->next) changed |= remove_ops(f);
    changed |= snl_remove_unused_layers(m, ctx->scratch);
    changed |= remove_weights(m, ctx->scratch);
    changed |= remove_states(m, ctx->scratch);
    return changed ? SNL_PASS_CHANGED : SNL_PASS_SAME;
}

const SnlPass snl_pass_dce = {
    .name = "dce",
    .summary = "removes operations, layers, weights and states that nothing needs",
    .exactness = SNL_EXACT,
    .run = run,
};
