/* ir/verify_calls.c -- what shows only across calls: recursion, depth, expanded size, and whether
 * the states that are bound fit what the layers do with them.
 *
 * Each function is visited once, callees first. What a layer needs of a state parameter is
 * collected from its body (a Need) and then compared with every state that is bound to it. */
#include "ir/verify.h"

#include "ir/eval.h"

#include "ir/base/checked.h"

#include <stdlib.h>
#include <string.h>

typedef long long ll;

typedef enum NeedKind { NOTHING, CACHE, SHAPE } NeedKind;

/* CACHE: [2, G, C, d] with G*d = width (heads = 0: any G). SHAPE: exactly `shape`. */
typedef struct Need {
    NeedKind kind;
    int64_t heads, width;
    SnlType shape;
} Need;

typedef struct Visit {
    const SnlFunc *func;
    enum { NEW, ACTIVE, DONE } phase;
    int depth;        /* of the calls below it, itself included */
    int64_t expanded; /* operations with all calls written out */
    Need *need;       /* per state parameter */
    size_t *alike;    /* per state parameter: those of one number have one format */
} Visit;

typedef struct Calls {
    SnlVerify *v;
    Visit *visit; /* sorted by address: for look-up only */
    size_t n;
} Calls;

static int compare_visits(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const Visit *)a)->func, y = (uintptr_t)((const Visit *)b)->func;
    return (x > y) - (x < y);
}

static Visit *visit_of(const Calls *c, const SnlFunc *f)
{
    Visit key = {.func = f};
    Visit *found = bsearch(&key, c->visit, c->n, sizeof key, compare_visits);
    SNL_ASSERT(found); /* verify.c has looked */
    return found;
}

/* ---- needs ----------------------------------------------------------------------------------- */

static const char *need_text(const Calls *c, const Need *n)
{
    if (n->kind == SHAPE) return snl_type_text(c->v->scratch, &n->shape);
    if (n->heads == 0)
        return snl_arena_printf(c->v->scratch, "f32[2, G, C, d] with G*d = %lld", (ll)n->width);
    return snl_arena_printf(c->v->scratch, "f32[2, %lld, C, %lld]", (ll)n->heads,
                            (ll)(n->width / n->heads));
}

static bool same_dims(const SnlType *a, const SnlType *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]) == 0;
}

static bool fits(const SnlType *t, const Need *n)
{
    if (n->kind == NOTHING) return true;
    if (n->kind == SHAPE) return same_dims(t, &n->shape);
    return t->rank == 4 && t->dim[0] == 2 && (n->heads == 0 || t->dim[1] == n->heads) &&
           t->dim[1] * t->dim[3] == n->width;
}

/* Both needs in one; false when they exclude each other. */
static bool merge(Need *into, const Need *n)
{
    if (into->kind == NOTHING) {
        *into = *n;
        return true;
    }
    if (n->kind == NOTHING) return true;
    if (into->kind != n->kind) return false;
    if (n->kind == SHAPE) return same_dims(&into->shape, &n->shape);
    if (into->heads == 0) into->heads = n->heads;
    return into->width == n->width && (n->heads == 0 || n->heads == into->heads);
}

/* `state`, named by `op` in the function of `at`, must satisfy `n`; `layer` is the callee that
 * asks. */
static bool require(const Calls *c, Visit *at, const SnlOp *op, const SnlState *state,
                    const Need *n, const SnlFunc *layer)
{
    const char *who = layer ? layer->name : "";
    if (state->type ? fits(state->type, n) : merge(&at->need[state->id], n)) return true;
    const char *found = state->type ? snl_type_text(c->v->scratch, state->type)
                                    : need_text(c, &at->need[state->id]);
    snl_verify_fail(c->v, SNL_E_SHAPE, op->loc, "%s: state '@%s': found %s%s, wanted %s%s%s",
                    snl_op_info[op->code].text, state->name, found,
                    state->type ? "" : " by another use", need_text(c, n), layer ? " for @" : "",
                    who);
    return false;
}

/* Members `a` and `b` of a list in the function of `at` have one format: known of a module's states
 * (a list of them is checked with its operation), asked of what is bound to parameters. */
static bool require_alike(const Calls *c, Visit *at, const SnlOp *op, const SnlState *a,
                          const SnlState *b)
{
    if (!a->type && !b->type) {
        size_t from = at->alike[b->id], to = at->alike[a->id];
        for (size_t i = 0; i < at->func->n_state_param; i++)
            if (at->alike[i] == from) at->alike[i] = to;
        return true;
    }
    if (a->type->dtype == b->type->dtype) return true;
    snl_verify_fail(c->v, SNL_E_TYPE, op->loc,
                    "%s: state '@%s': found %s, wanted %s as in '@%s': members have one format",
                    snl_op_info[op->code].text, b->name, snl_dtype_info[b->type->dtype].text,
                    snl_dtype_info[a->type->dtype].text, a->name);
    return false;
}

static bool require_set_alike(const Calls *c, Visit *at, const SnlOp *op, const Visit *layer,
                              SnlState *const *set)
{
    for (size_t i = 0; i < layer->func->n_state_param; i++)
        for (size_t j = 0; j < i; j++)
            if (layer->alike[i] == layer->alike[j] && !require_alike(c, at, op, set[j], set[i]))
                return false;
    return true;
}

static bool require_group(const Calls *c, Visit *at, const SnlOp *op, const Need *n)
{
    for (size_t i = 0; i < op->sym[0].n; i++)
        if (!require(c, at, op, op->sym[0].state[i], n, NULL) ||
            !require_alike(c, at, op, op->sym[0].state[0], op->sym[0].state[i]))
            return false;
    return true;
}

/* What an operation itself asks of its states. */
static bool check_states(const Calls *c, Visit *at, const SnlOp *op)
{
    Need n = {NOTHING, 0, 0, {0}};
    if (snl_op_attends(op)) {
        int64_t heads = snl_attr_int(&op->attrs, "heads", 1);
        n = (Need){CACHE,
                   snl_attr_int(&op->attrs, "kv_heads", heads),
                   snl_type_width(snl_in(op, 1)->type),
                   {0}};
    } else if (op->code == SNL_OP_KV_WRITE) {
        n = (Need){CACHE, 0, snl_type_width(snl_in(op, 0)->type), {0}};
    } else if (op->code == SNL_OP_SHIFT || op->code == SNL_OP_ROW_WRITE) {
        const SnlType *t = snl_in(op, 0)->type; /* the state is one row of it */
        n = (Need){SHAPE, 0, 0, {SNL_F32, t->rank - 1, {t->dim[1], t->rank > 2 ? t->dim[2] : 0}}};
    } else {
        return true;
    }
    return require_group(c, at, op, &n);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static bool visit(Calls *c, Visit *at, int depth);

/* States of a unit: sets of the layer's P parameters, and for `warm` one row of h at the end. */
static bool check_binding(Calls *c, Visit *at, const SnlOp *op, size_t unit)
{
    const SnlBinding *b = &op->sym[0].bind[unit];
    const Visit *layer = visit_of(c, b->layer);
    size_t P = b->layer->n_state_param;
    size_t wanted = op->code == SNL_OP_NEWTON ? snl_newton_n_states(op, unit) : P;
    if (b->n_state != wanted) {
        snl_verify_fail(c->v, SNL_E_STRUCTURE, op->loc,
                        "%s: '@%s' is bound to %zu states, wanted %zu", snl_op_info[op->code].text,
                        b->layer->name, b->n_state, wanted);
        return false;
    }
    size_t n_sets = P ? wanted / P * P : 0;
    if (op->code == SNL_OP_NEWTON && unit > 0 &&
        strcmp(snl_attr_text(&op->attrs, "init", "h0"), "warm") == 0) {
        Need row = {SHAPE, 0, 0, *snl_in(op, 0)->type};
        row.shape.rank--;
        memmove(row.shape.dim, row.shape.dim + 1, (size_t)row.shape.rank * sizeof row.shape.dim[0]);
        if (!require(c, at, op, b->state[wanted - 1], &row, b->layer)) return false;
        n_sets = wanted - 1;
    }
    for (size_t i = 0; i < n_sets; i++)
        if (!require(c, at, op, b->state[i], &layer->need[i % P], b->layer)) return false;
    for (size_t i = 0; i < n_sets; i += P)
        if (!require_set_alike(c, at, op, layer, b->state + i)) return false;
    return true;
}

static int64_t evaluations(const SnlOp *op, size_t unit)
{
    if (op->code != SNL_OP_NEWTON) return 1;
    bool batch_fwd = strcmp(snl_attr_text(&op->attrs, "init", "h0"), "batch_fwd") == 0;
    int64_t sweeps = snl_attr_int(&op->attrs, "sweeps", 1);
    return (int64_t)snl_newton_evals(sweeps, batch_fwd, unit) + 1; /* + 1: kv = corrected */
}

static void expand(int64_t *total, int64_t ops, int64_t times)
{
    int64_t product;
    if (!snl_mul_i64(ops, times, &product) || !snl_add_i64(*total, product, total) ||
        *total > SNL_MAX_EXPANDED_OPS)
        *total = (int64_t)SNL_MAX_EXPANDED_OPS + 1;
}

static bool visit_call(Calls *c, Visit *at, const SnlOp *op, size_t unit, int depth)
{
    Visit *layer = visit_of(c, op->sym[0].bind[unit].layer);
    if (layer->phase == ACTIVE) {
        snl_verify_fail(c->v, SNL_E_STRUCTURE, op->loc, "%s: '@%s' calls itself, by way of '@%s'",
                        snl_op_info[op->code].text, layer->func->name, at->func->name);
        return false;
    }
    if (!visit(c, layer, depth + 1) || !check_binding(c, at, op, unit)) return false;
    if (layer->depth + 1 > at->depth) at->depth = layer->depth + 1;
    expand(&at->expanded, layer->expanded, evaluations(op, unit));
    return true;
}

static bool too_deep(Calls *c, const Visit *at)
{
    snl_verify_fail(c->v, SNL_E_STRUCTURE, at->func->loc, "'@%s': calls nest deeper than %d",
                    at->func->name, SNL_MAX_CALL_DEPTH);
    return false;
}

/* `depth` bounds this walk itself. False: something was reported, and what depends on it is not
 * looked at. */
static bool visit(Calls *c, Visit *at, int depth)
{
    if (at->phase == DONE) return true;
    if (depth > SNL_MAX_CALL_DEPTH) return too_deep(c, at);
    at->phase = ACTIVE;
    at->depth = 1;
    at->need = SNL_NEW_ARRAY(c->v->scratch, Need, at->func->n_state_param);
    at->alike = SNL_NEW_ARRAY(c->v->scratch, size_t, at->func->n_state_param);
    for (size_t i = 0; i < at->func->n_state_param; i++) at->alike[i] = i;
    for (const SnlOp *op = at->func->first; op; op = op->next) {
        bool calls = snl_op_info[op->code].flags & SNL_CALLS;
        expand(&at->expanded, 1, 1);
        if (!check_states(c, at, op)) return false;
        for (size_t i = 0; calls && i < op->sym[0].n; i++)
            if (!visit_call(c, at, op, i, depth)) return false;
    }
    at->phase = DONE;
    if (at->depth > SNL_MAX_CALL_DEPTH) return too_deep(c, at);
    if (at->expanded <= SNL_MAX_EXPANDED_OPS) return true;
    snl_verify_fail(c->v, SNL_E_STRUCTURE, at->func->loc,
                    "'@%s' amounts to more than %d operations with its calls written out",
                    at->func->name, SNL_MAX_EXPANDED_OPS);
    return false;
}

void snl_verify_calls(SnlVerify *v)
{
    Calls c = {v, NULL, 0};
    for (const SnlFunc *f = v->m->first; f; f = f->next) c.n++;
    c.visit = SNL_NEW_ARRAY(v->scratch, Visit, c.n);
    size_t i = 0;
    for (const SnlFunc *f = v->m->first; f; f = f->next) c.visit[i++].func = f;
    if (c.n > 1) qsort(c.visit, c.n, sizeof *c.visit, compare_visits);
    for (const SnlFunc *f = v->m->first; f; f = f->next)
        if (!visit(&c, visit_of(&c, f), 1)) return;
}
