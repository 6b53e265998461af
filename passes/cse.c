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
 * Pure ops are equal when code, operands, symbols and attributes are. An op that reads a state is
 * equal only to one that reads it before the same writes. Calls are never merged: they may write.
 * Weights are equal when their expressions are; random ones depend on their name and are not. */
#include "passes/rewrite.h"

/* ---- weights -------------------------------------------------------------------------------- */

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

static uint64_t hash_text(uint64_t h, const char *text)
{
    for (; text && *text; text++) h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return h;
}

static uint64_t hash_weight(const SnlWeight *w)
{
    uint64_t h = 0xcbf29ce484222325u ^ (uint64_t)w->code;
    for (size_t i = 0; i < w->n_arg; i++) h = (h ^ w->arg[i]->id) * 0x100000001b3u;
    return hash_text(hash_text(h, w->file), w->tensor);
}

/* A table for n entries: chains that are only searched, so nothing depends on their order. */
static size_t table_size(size_t n)
{
    size_t size = 16;
    while (size < n) size *= 2;
    return size;
}

typedef struct SeenWeight {
    SnlWeight *weight;
    struct SeenWeight *next;
} SeenWeight;

static SnlWeight *find_or_add_weight(SeenWeight **chain, SnlArena *arena, SnlWeight *w)
{
    for (SeenWeight *s = *chain; s; s = s->next)
        if (snl_weights_equal(s->weight, w)) return s->weight;
    SeenWeight *s = SNL_NEW(arena, SeenWeight);
    *s = (SeenWeight){w, *chain};
    *chain = s;
    return w;
}

/* Arguments come first, so they are leaders already when their expression is looked at. */
static bool merge_weights(SnlModule *m, SnlArena *arena)
{
    WeightMap map = {SNL_NEW_ARRAY(arena, SnlWeight *, m->weights.n), false};
    size_t size = table_size(m->weights.n);
    SeenWeight **table = SNL_NEW_ARRAY(arena, SeenWeight *, size);
    for (size_t i = 0; i < m->weights.n; i++) {
        SnlWeight *w = m->weights.at[i];
        for (size_t a = 0; a < w->n_arg; a++) use_leader(&map, NULL, &w->arg[a]);
        map.leader[i] = find_or_add_weight(&table[hash_weight(w) & (size - 1)], arena, w);
    }
    snl_weight_slots(m, use_leader, &map);
    return map.changed;
}

/* ---- operations ----------------------------------------------------------------------------- */

typedef struct Seen {
    SnlOp *op;
    size_t epoch; /* of the states it reads */
    struct Seen *next;
} Seen;

typedef struct Cse {
    SnlArena *arena;
    const SnlFunc *f;
    size_t *writes; /* per state slot: writes so far */
    Seen **seen;
    size_t n_seen; /* a power of two */
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

static uint64_t hash_op(const SnlOp *op)
{
    uint64_t h = 0xcbf29ce484222325u ^ (uint64_t)op->code;
    for (size_t i = 0; i < op->n_in; i++) h = (h ^ snl_in(op, i)->id) * 0x100000001b3u;
    for (int g = 0; g < SNL_MAX_GROUPS; g++)
        for (size_t i = 0; snl_op_group_letter(op->code, g) == 'w' && i < op->sym[g].n; i++)
            h = (h ^ op->sym[g].weight[i]->id) * 0x100000001b3u;
    return h ^ h >> 32;
}

/* The earlier op that computes the same; NULL: this is the first. */
static SnlOp *find_or_add(Cse *c, SnlOp *op)
{
    Epoch e = {c, 0};
    snl_op_states(op, add_epoch, &e);
    Seen **chain = &c->seen[hash_op(op) & (c->n_seen - 1)];
    for (Seen *s = *chain; s; s = s->next)
        if (s->epoch == e.sum && snl_op_same(s->op, op)) return s->op;
    Seen *s = SNL_NEW(c->arena, Seen);
    *s = (Seen){op, e.sum, *chain};
    *chain = s;
    return NULL;
}

static bool merge_ops(SnlFunc *f, SnlArena *arena)
{
    Cse c = {.arena = arena, .f = f};
    c.writes = SNL_NEW_ARRAY(arena, size_t, snl_state_slots(f));
    c.n_seen = table_size(f->n_values);
    c.seen = SNL_NEW_ARRAY(arena, Seen *, c.n_seen);
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
