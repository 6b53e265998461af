/* passes/lower_newton.c -- sweeps become calls and corrections, straight from the definition.
 *
 *     %y = newton %h, %pos, [@f(@kv.0), @g(@kv.1)] {init = h0, sweeps = 1} : f32[T, 8]
 *
 * becomes
 *
 *     %o0 = call %h, %pos, [@f(@kv.0)] : f32[T, 8]
 *     %o1 = call %h, %pos, [@g(@kv.1)] : f32[T, 8]
 *     %c1 = lincomb %o0, %h {coef = [1.0, -1.0]} : f32[T, 8]
 *     %s2 = lincomb %o1, %c1 : f32[T, 8]
 *
 * Units f_0..f_{N-1}, states s_0 = h, s_1..s_N. One sweep evaluates o_j = f_j(s_j), then
 *
 *     s'_1 = o_0,   s'_{j+1} = o_j + (1 - damping) A_j (s'_j - s_j)
 *
 * with A_j the surrogate of unit j's layer: nothing (identity), `scale` (diag), `mix` (streams);
 * with zero the correction is left out, and so it is where s'_j is s_j itself. Calls of a sweep do
 * not depend on each other. Unit j is called in sweeps 1..min(K, j + 1) only: afterwards its input
 * does not change (with batch_fwd: once before, then in sweeps 1..min(K, j)).
 *
 * kv = corrected: sweeps call the layers in a form that writes nothing; at the end each unit is
 * called once more on its corrected input, for its writes. warm: states come from `shift` (one
 * token a call) and go to `row_write`. */
#include "ir/eval.h"
#include "passes/rewrite.h"

#include <string.h>

typedef struct Lower {
    SnlModule *m;
    SnlArena *arena;
    SnlDiag *diag;
    SnlOp *op;
    size_t n;
    int64_t sweeps;
    bool batch_fwd, warm, corrected;
    double keep;         /* 1 - damping */
    SnlValue **s;        /* n + 1 states */
    SnlValue **o;        /* n outputs */
    SnlFunc **read_only; /* kv = corrected: by unit */
} Lower;

static bool attr_is(const SnlOp *op, const char *key, const char *def, const char *word)
{
    return strcmp(snl_attr_text(&op->attrs, key, def), word) == 0;
}

/* ---- calls ---------------------------------------------------------------------------------- */

/* The layer without its writes. */
static SnlFunc *without_writes(Lower *lw, const SnlFunc *layer)
{
    const char *stem = snl_arena_printf(lw->arena, "%s.read", layer->name), *name = stem;
    SnlFunc *found = snl_module_find_func(lw->m, stem);
    if (found && snl_attr_flag(&found->attrs, "read_only")) return found;
    for (int i = 1; snl_module_find_func(lw->m, name) || snl_module_find_weight(lw->m, name) ||
                    snl_module_find_state(lw->m, name);
         i++)
        name = snl_arena_printf(lw->arena, "%s.%d", stem, i);
    SnlFunc *f = snl_func_clone(layer, name);
    snl_attr_set_flag(lw->m, &f->attrs, "read_only");
    for (SnlOp *op = f->first, *next; op; op = next) {
        next = op->next;
        if (snl_op_info[op->code].flags & SNL_EFFECT) snl_op_erase(op);
    }
    snl_func_move(f, lw->op->func);
    return f;
}

/* Evaluation e of unit j on s_j. */
static SnlValue *call_unit(Lower *lw, size_t j, size_t e, bool writes)
{
    const SnlBinding *b = &lw->op->sym[0].bind[j];
    size_t n = b->layer->n_state_param;
    SnlBinding bound = {.layer = b->layer, .n_state = n};
    bound.state = b->state + (lw->corrected ? 0 : e * n);
    if (!writes) bound.layer = lw->read_only[j];
    SnlOp *call = snl_op_create(lw->op->func, lw->op, SNL_OP_CALL);
    call->loc = lw->op->loc;
    snl_op_add_in(call, lw->s[j]);
    for (size_t i = 1; i < lw->op->n_in; i++) snl_op_add_in(call, snl_in(lw->op, i));
    snl_op_set_bindings(call, 0, &bound, 1, true);
    return snl_op_finish(call, snl_arena_printf(lw->arena, "o%zu", j));
}

/* ---- corrections ---------------------------------------------------------------------------- */

static SnlSurrogateKind surrogate_of(const Lower *lw, size_t j)
{
    const char *word = snl_attr_text(&lw->op->attrs, "surrogate", "");
    if (strcmp(word, "identity") == 0) return SNL_SURROGATE_IDENTITY;
    if (strcmp(word, "zero") == 0) return SNL_SURROGATE_ZERO;
    return lw->op->sym[0].bind[j].layer->surrogate;
}

/* A_j x */
static SnlValue *apply_surrogate(Lower *lw, size_t j, SnlSurrogateKind kind, SnlValue *x)
{
    if (kind == SNL_SURROGATE_IDENTITY) return x;
    SnlWeight *w = lw->op->sym[0].bind[j].layer->surrogate_weight;
    SnlOpCode code = kind == SNL_SURROGATE_DIAG ? SNL_OP_SCALE : SNL_OP_MIX;
    SnlOp *op = snl_op_create(lw->op->func, lw->op, code);
    op->loc = lw->op->loc;
    snl_op_add_in(op, x);
    snl_op_set_weights(op, 0, &w, 1, false);
    return snl_op_finish(op, snl_arena_printf(lw->arena, "a%zu", j));
}

/* s'_{j+1} from o_j, s'_j = moved and s_j. */
static SnlValue *correct(Lower *lw, size_t j, SnlValue *moved)
{
    SnlSurrogateKind kind = surrogate_of(lw, j);
    if (kind == SNL_SURROGATE_ZERO || moved == lw->s[j] || lw->keep == 0) return lw->o[j];
    SnlFunc *f = lw->op->func;
    SnlTerm delta[] = {{moved, 1.0, NULL}, {lw->s[j], -1.0, NULL}};
    SnlValue *c = snl_lincomb_build(f, lw->op, delta, 2, snl_arena_printf(lw->arena, "c%zu", j));
    SnlTerm sum[] = {{lw->o[j], 1.0, NULL}, {apply_surrogate(lw, j, kind, c), lw->keep, NULL}};
    return snl_lincomb_build(f, lw->op, sum, 2, snl_arena_printf(lw->arena, "s%zu", j + 1));
}

static void sweep(Lower *lw, int64_t k)
{
    size_t e = (size_t)(lw->batch_fwd ? k : k - 1);
    SnlValue **next = SNL_NEW_ARRAY(lw->arena, SnlValue *, lw->n + 1);
    for (size_t j = 0; j < lw->n; j++)
        if (e < snl_newton_evals(lw->sweeps, lw->batch_fwd, j))
            lw->o[j] = call_unit(lw, j, e, !lw->corrected);
    next[0] = lw->s[0];
    for (size_t j = 0; j < lw->n; j++) next[j + 1] = correct(lw, j, next[j]);
    lw->s = next;
}

/* ---- first states, last writes -------------------------------------------------------------- */

static SnlValue *position_of(const Lower *lw)
{
    for (size_t i = 0; i < lw->op->n_in; i++)
        if (snl_in(lw->op, i)->type->dtype == SNL_INDEX) return snl_in(lw->op, i);
    return NULL;
}

static SnlState *warm_state(const Lower *lw, size_t j)
{
    const SnlBinding *b = &lw->op->sym[0].bind[j];
    return b->state[b->n_state - 1];
}

/* One token a call: row 0 of the shifted input is the state's row. */
static SnlValue *read_row(Lower *lw, size_t j, SnlValue *pos)
{
    SnlOp *op = snl_op_create(lw->op->func, lw->op, SNL_OP_SHIFT);
    SnlState *state = warm_state(lw, j);
    op->loc = lw->op->loc;
    snl_op_add_in(op, lw->s[0]);
    snl_op_add_in(op, pos);
    snl_op_set_states(op, 0, &state, 1, false);
    return snl_op_finish(op, snl_arena_printf(lw->arena, "s%zu", j));
}

static void write_row(Lower *lw, size_t j, SnlValue *pos)
{
    SnlOp *op = snl_op_create(lw->op->func, lw->op, SNL_OP_ROW_WRITE);
    SnlState *state = warm_state(lw, j);
    op->loc = lw->op->loc;
    snl_op_add_in(op, lw->s[j]);
    snl_op_add_in(op, pos);
    snl_op_set_states(op, 0, &state, 1, false);
    snl_op_finish(op, NULL);
}

static void start(Lower *lw)
{
    for (size_t j = 0; j <= lw->n; j++) lw->s[j] = snl_in(lw->op, 0);
    for (size_t j = 1; lw->warm && j < lw->n; j++) lw->s[j] = read_row(lw, j, position_of(lw));
    for (size_t j = 0; lw->batch_fwd && j < lw->n; j++)
        lw->o[j] = call_unit(lw, j, 0, !lw->corrected);
    for (size_t j = 0; lw->batch_fwd && j < lw->n; j++) lw->s[j + 1] = lw->o[j];
}

static void finish(Lower *lw)
{
    for (size_t j = 0; lw->corrected && j < lw->n; j++) call_unit(lw, j, 0, true);
    for (size_t j = 1; lw->warm && j < lw->n; j++) write_row(lw, j, position_of(lw));
    const char *name = lw->op->out[0]->name;
    for (size_t i = 0; i < lw->op->n_out; i++) {
        int64_t link = i ? snl_attr_int_at(&lw->op->attrs, "taps", i - 1, 0) : (int64_t)lw->n - 1;
        snl_value_replace(lw->op->out[i], lw->s[link + 1]);
    }
    SnlValue *last = lw->s[lw->n];
    bool own = last->def && last->def->code == SNL_OP_LINCOMB;
    snl_op_erase(lw->op);
    if (own) snl_value_rename(last, name);
}

/* ---- the pass ------------------------------------------------------------------------------- */

static SnlStatus check(const Lower *lw)
{
    for (size_t j = 1; j < lw->n; j++)
        if (surrogate_of(lw, j) == SNL_SURROGATE_NONE)
            return snl_error(lw->diag, SNL_E_STRUCTURE, lw->op->loc,
                             "newton: @%s has no surrogate; write `surrogate identity` (or zero, "
                             "diag, streams) on the layer",
                             lw->op->sym[0].bind[j].layer->name);
    if (lw->warm && !position_of(lw))
        return snl_error(lw->diag, SNL_E_STRUCTURE, lw->op->loc,
                         "newton: init = warm needs a position among the operands");
    return SNL_OK;
}

static SnlStatus lower(Lower *lw)
{
    SNL_TRY(check(lw));
    lw->s = SNL_NEW_ARRAY(lw->arena, SnlValue *, lw->n + 1);
    lw->o = SNL_NEW_ARRAY(lw->arena, SnlValue *, lw->n);
    lw->read_only = SNL_NEW_ARRAY(lw->arena, SnlFunc *, lw->n);
    for (size_t j = 0; lw->corrected && j < lw->n; j++)
        lw->read_only[j] = without_writes(lw, lw->op->sym[0].bind[j].layer);
    start(lw);
    int64_t last = lw->sweeps < (int64_t)lw->n ? lw->sweeps : (int64_t)lw->n;
    for (int64_t k = 1; k <= last; k++) sweep(lw, k);
    finish(lw);
    return SNL_OK;
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    bool changed = false;
    for (SnlFunc *f = m->first; f; f = f->next)
        for (SnlOp *op = f->first, *next; op; op = next) {
            next = op->next;
            if (op->code != SNL_OP_NEWTON) continue;
            Lower lw = {.m = m, .arena = ctx->scratch, .diag = ctx->diag, .op = op};
            lw.n = op->sym[0].n;
            lw.sweeps = snl_attr_int(&op->attrs, "sweeps", 1);
            lw.keep = 1.0 - snl_attr_real(&op->attrs, "damping", 0.0);
            lw.batch_fwd = attr_is(op, "init", "h0", "batch_fwd");
            lw.warm = attr_is(op, "init", "h0", "warm");
            lw.corrected = attr_is(op, "kv", "sweep", "corrected");
            if (lower(&lw) != SNL_OK) return SNL_PASS_FAILED;
            changed = true;
        }
    return changed ? SNL_PASS_CHANGED : SNL_PASS_SAME;
}

const SnlPass snl_pass_lower_newton = {
    .name = "lower-newton",
    .summary = "newton becomes calls on the current states and corrections",
    .exactness = SNL_REORDERS,
    .run = run,
};
