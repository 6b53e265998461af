/* passes/cse.c -- equal computations are done once.
 *
 *     weight @a : f32[4, 8] = source "m.safetensors" "t"
 *     weight @b : f32[4, 8] = source "m.safetensors" "t"
 *     func @f(%x: f32[T, 8]) -> f32[T, 4] {
 *       %n = rms_norm %x {eps = 1e-05} : f32[T, 8]
 *       %m = rms_norm %x {eps = 1e-05} : f32[T, 8]
 *       %p = linear %n, @a : f32[T, 4]
 *       %q = linear %m, @b : f32[T, 4]
 *       %y = lincomb %p, %q : f32[T, 4]
 *       return %y
 *     }
 *
 * becomes (dce removes what is left over)
 *
 *       %n = rms_norm %x {eps = 1e-05} : f32[T, 8]
 *       %p = linear %n, @a : f32[T, 4]
 *       %y = lincomb %p, %p : f32[T, 4]
 *
 * Pure ops are equal when code, operands, symbols and attributes are. An op that reads a state is equal
 * only to one that reads it before the same writes. Calls are never merged: they may write. Weights
 * are equal when their expressions are; random ones depend on their name and are not. */
#include "passes/rewrite.h"

/* ---- weights --------------------------------------------------------------------------------------- */

typedef struct WeightMap {
    SnlWeight **leader; /* by id */
    bool changed;
} WeightMap;

static void use_leader(void *user, SnlOp *op, SnlWeight **slot)
{
    WeightMap *map = user;
    (void)op;
    map->changed |= map->leader[(*slot)->id] != *slot;
    *slot = map->leader[(*slot)->id];
}

/* Arguments come first, so they are leaders already when their expression is looked at. */
static bool merge_weights(SnlModule *m, SnlArena *arena)
{
    WeightMap map = {SNL_NEW_ARRAY(arena, SnlWeight *, m->weights.n), false};
    for (size_t i = 0; i < m->weights.n; i++) {
        SnlWeight *w = m->weights.at[i];
        for (size_t a = 0; a < w->n_arg; a++) use_leader(&map, NULL, &w->arg[a]);
        map.leader[i] = w;
        for (size_t j = 0; j < i && map.leader[i] == w; j++)
            if (map.leader[j] == m->weights.at[j] && snl_weights_equal(m->weights.at[j], w))
                map.leader[i] = m->weights.at[j];
    }
    snl_weight_slots(m, use_leader, &map);
    return map.changed;
}

/* ---- operations ------------------------------------------------------------------------------------ */

typedef struct Seen {
    SnlOp *op;
    size_t epoch; /* of the states it reads */
    struct Seen *next;
} Seen;

typedef struct Cse {
    SnlArena *arena;
    const SnlFunc *f;
    size_t *writes; /* per state slot: writes so far */
    Seen *seen[SNL_OP_COUNT];
} Cse;

typedef struct Epoch {
    const Cse *c;
    size_t sum;
} Epoch;

static void add_epoch(void *user, const SnlOp *op, SnlState *state, bool writes)
{
    Epoch *e = user;
    (void)op, (void)writes;
    /* Counters only grow: equal sums over the same states mean equal counters. */
    e->sum += e->c->writes[snl_state_slot(e->c->f, state)];
}

static void note_write(void *user, const SnlOp *op, SnlState *state, bool writes)
{
    Cse *c = user;
    (void)op;
    if (writes) c->writes[snl_state_slot(c->f, state)]++;
}

/* The earlier op that computes the same; NULL: this is the first. */
static SnlOp *find_or_add(Cse *c, SnlOp *op)
{
    Epoch e = {c, 0};
    snl_op_states(op, add_epoch, &e);
    for (Seen *s = c->seen[op->code]; s; s = s->next)
        if (s->epoch == e.sum && snl_op_same(s->op, op)) return s->op;
    Seen *s = SNL_NEW(c->arena, Seen);
    *s = (Seen){op, e.sum, c->seen[op->code]};
    c->seen[op->code] = s;
    return NULL;
}

static bool merge_ops(SnlFunc *f, SnlArena *arena)
{
    Cse c = {.arena = arena, .f = f};
    c.writes = SNL_NEW_ARRAY(arena, size_t, snl_state_slots(f));
    bool changed = false;
    for (SnlOp *op = f->first, *next; op; op = next) {
        next = op->next;
        if (!snl_op_is_pure(op)) {
            snl_op_states(op, note_write, &c);
            continue;
        }
        SnlOp *leader = find_or_add(&c, op);
        if (!leader) continue;
        snl_op_replace(op, leader->out[0]);
        changed = true;
    }
    return changed;
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    bool changed = merge_weights(m, ctx->scratch);
    for (SnlFunc *f = m->first; f; f = f->next) changed |= merge_ops(f, ctx->scratch);
    return changed ? SNL_PASS_CHANGED : SNL_PASS_SAME;
}

const SnlPass snl_pass_cse = {
    .name = "cse",
    .summary = "equal computations and equal weights become one",
    .exactness = SNL_EXACT,
    .run = run,
};
