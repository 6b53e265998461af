/* passes/merge_members.c -- independent operations of one shape become members of one operation.
 *
 * Bottom-up along the function: for each operation the later ones are collected that have the same
 * shape and the same role and do not depend on it or on each other. They become one operation with
 * a list of weights or states; `member` ops give each its result back. What depended on a member
 * moves behind the merged operation, so the function stays a valid straight line and becomes
 * breadth-first.
 *
 * Role: the ways by which a result reaches the next linear, attention or second sum. It tells gate
 * from up and query from key, which may have one shape but belong to different groups.
 *
 * Operands: one value that all share; or the members of one earlier result in order; or else a
 * `stack` of them, where the operation is worth a copy of its inputs. */
#include "passes/merge_linear.h"

#include <string.h>

/* Each group costs a walk to where all depends on it, at worst the function's end; texts with very
 * many operations stop merging there. */
enum { MAX_PATHS = 12, MAX_MEMBERS = 4096, MAX_VISITS = 1 << 30 };

typedef struct Paths {
    uint64_t at[MAX_PATHS]; /* sorted */
    int n;
} Paths;

typedef struct Members {
    SnlFunc *f;
    SnlArena *arena;
    const bool *kinds;
    Paths *paths; /* by value id of the function as it was at the start; ids are in its order */
    size_t n_paths;
    /* of the scan in progress */
    uint32_t *tainted; /* by value id: scan that reached it */
    size_t n_tainted;
    uint32_t *read_by, *written_by; /* by state slot */
    uint32_t scan;
    size_t n_visits;
    SnlReach reach;
    uint32_t open; /* values that the scan has passed, later read as latest operand, not tainted */
    SnlVec(SnlOp *) member, dependent;
    SnlOp *last; /* of the members, in the order of the function */
} Members;

/* ---- roles ---------------------------------------------------------------------------------- */

static uint64_t mix_hash(uint64_t a, uint64_t b)
{
    uint64_t x = (a ^ (b + 0x9e3779b97f4a7c15u + (a << 6) + (a >> 2))) * 0xff51afd7ed558ccdu;
    return x ^ (x >> 32);
}

static bool is_sum(const SnlOp *op)
{
    return op->code == SNL_OP_LINCOMB && op->n_in > 1;
}

static bool ends_path(const SnlOp *op)
{
    return op->code == SNL_OP_LINEAR || op->code == SNL_OP_ATTENTION || op->n_out != 1 ||
           op->code == SNL_OP_STACK;
}

static void add_path(Paths *p, uint64_t path)
{
    int i = 0;
    while (i < p->n && p->at[i] < path) i++;
    if ((i < p->n && p->at[i] == path) || p->n == MAX_PATHS) return;
    memmove(&p->at[i + 1], &p->at[i], (size_t)(p->n - i) * sizeof p->at[0]);
    p->at[i] = path;
    p->n++;
}

/* The ways on from result `from` of `op` (NULL: the op ends them), with the step in front. */
static void add_steps(Paths *to, const SnlOp *op, size_t operand, const Paths *from)
{
    /* Operands of a sum are interchangeable. */
    uint64_t step = mix_hash((uint64_t)op->code, op->code == SNL_OP_LINCOMB ? 0 : operand);
    if (!from || from->n == 0) add_path(to, step);
    for (int j = 0; from && j < from->n; j++) add_path(to, mix_hash(step, from->at[j]));
}

/* Two rounds in one walk backwards: ways up to the first sum, and through it up to the second. */
static void find_paths(Members *mm)
{
    mm->n_paths = mm->f->n_values;
    mm->paths = SNL_NEW_ARRAY(mm->arena, Paths, mm->n_paths);
    Paths *to_sum = SNL_NEW_ARRAY(mm->arena, Paths, mm->n_paths);
    for (const SnlOp *op = mm->f->last; op; op = op->prev)
        for (size_t i = 0; i < op->n_in; i++) {
            uint32_t id = snl_in(op, i)->id, out = op->n_out ? op->out[0]->id : 0;
            bool end = ends_path(op);
            add_steps(&to_sum[id], op, i, end || is_sum(op) ? NULL : &to_sum[out]);
            add_steps(&mm->paths[id], op, i,
                      end          ? NULL
                      : is_sum(op) ? &to_sum[out]
                                   : &mm->paths[out]);
        }
}

static bool roles_meet(const Members *mm, const SnlOp *a, const SnlOp *b)
{
    if (a->n_out == 0) return true;
    const Paths *p = &mm->paths[a->out[0]->id], *q = &mm->paths[b->out[0]->id];
    for (int i = 0, j = 0; i < p->n && j < q->n;) {
        if (p->at[i] == q->at[j]) return true;
        if (p->at[i] < q->at[j])
            i++;
        else
            j++;
    }
    return p->n == 0 && q->n == 0;
}

/* ---- candidates ----------------------------------------------------------------------------- */

static bool is_candidate(const Members *mm, const SnlOp *op)
{
    if (!mm->kinds[op->code]) return false;
    /* Made by this pass, or members already. */
    if (op->n_out && (op->out[0]->id >= mm->n_paths || op->out[0]->type->rank != 2)) return false;
    for (size_t i = 0; i < op->n_in; i++)
        if (snl_in(op, i)->type->rank > 2) return false;
    for (int g = 0; g < SNL_MAX_GROUPS; g++)
        if (op->sym[g].n > 1 || op->sym[g].list) return false;
    return true;
}

static bool attrs_fit(const SnlOp *a, const SnlOp *b)
{
    SnlAttrs x = snl_attrs_copy(a->func->module, &a->attrs);
    SnlAttrs y = snl_attrs_copy(a->func->module, &b->attrs);
    const char *own = snl_op_member_attr(a->code);
    if (own) {
        snl_attr_remove(&x, own);
        snl_attr_remove(&y, own);
    }
    return snl_attrs_equal(&x, &y);
}

static const SnlType *symbol_type(const SnlOp *op, int g)
{
    if (op->sym[g].n == 0) return NULL;
    return snl_op_group_letter(op->code, g) == 'w' ? op->sym[g].weight[0]->type
                                                   : op->sym[g].state[0]->type;
}

/* Operands that every member has to share: positions, the rope's table. */
static bool must_share(const SnlOp *op, size_t i)
{
    return snl_in(op, i)->type->rank != 2 || (op->code == SNL_OP_ROPE && i == 1);
}

/* Operations whose work is worth a copy of their inputs. */
static bool may_stack(SnlOpCode code)
{
    return code == SNL_OP_LINEAR || code == SNL_OP_ATTENTION || code == SNL_OP_KV_WRITE ||
           code == SNL_OP_RMS_NORM || code == SNL_OP_ROPE;
}

/* Do `a` and `b` lie side by side in one [T, M, D] that exists already? */
static bool side_by_side(const SnlValue *a, const SnlValue *b)
{
    if (a->def && b->def && a->def->code == SNL_OP_MEMBER && b->def->code == SNL_OP_MEMBER)
        return snl_in(a->def, 0) == snl_in(b->def, 0);
    for (const SnlUse *use = a->uses; use; use = use->next)
        for (size_t j = 0; use->user->code == SNL_OP_STACK && j < use->user->n_in; j++)
            if (snl_in(use->user, j) == b) return true;
    return false;
}

/* May `b` be in one group with `a`, by its operands? */
static bool operands_join(const SnlOp *a, const SnlOp *b)
{
    for (size_t i = 0; i < a->n_in; i++) {
        const SnlValue *x = snl_in(a, i), *y = snl_in(b, i);
        if (x->type != y->type) return false;
        if (x == y) continue;
        if (must_share(a, i)) return false;
        if (!may_stack(a->code) && !side_by_side(x, y)) return false;
    }
    return true;
}

static bool fits(const Members *mm, const SnlOp *a, const SnlOp *b)
{
    if (a->code != b->code || !is_candidate(mm, b) || a->n_in != b->n_in) return false;
    if (!operands_join(a, b)) return false;
    for (int g = 0; g < SNL_MAX_GROUPS; g++)
        if (symbol_type(a, g) != symbol_type(b, g)) return false;
    if (a->n_out && a->out[0]->type != b->out[0]->type) return false;
    return roles_meet(mm, a, b) && attrs_fit(a, b);
}

/* ---- dependence ----------------------------------------------------------------------------- */

static void ensure_taint_room(Members *mm)
{
    if (mm->f->n_values <= mm->n_tainted) return;
    size_t n = 2 * (size_t)mm->f->n_values;
    uint32_t *larger = SNL_NEW_ARRAY(mm->arena, uint32_t, n);
    if (mm->n_tainted) memcpy(larger, mm->tainted, mm->n_tainted * sizeof larger[0]);
    mm->tainted = larger;
    mm->n_tainted = n;
}

static void taint_state(void *user, const SnlOp *op, SnlState *state, bool writes)
{
    Members *mm = user;
    size_t slot = snl_state_slot(op->func, state);
    if (writes)
        mm->written_by[slot] = mm->scan;
    else
        mm->read_by[slot] = mm->scan;
}

static void taint(Members *mm, const SnlOp *op)
{
    for (size_t i = 0; i < op->n_out; i++) mm->tainted[op->out[i]->id] = mm->scan;
    snl_op_states(op, taint_state, mm);
}

typedef struct StateTaint {
    const Members *mm;
    bool found;
} StateTaint;

static void look_at_state(void *user, const SnlOp *op, SnlState *state, bool writes)
{
    StateTaint *t = user;
    size_t slot = snl_state_slot(op->func, state);
    t->found |= t->mm->written_by[slot] == t->mm->scan;
    t->found |= writes && t->mm->read_by[slot] == t->mm->scan;
}

static bool is_tainted(const Members *mm, const SnlOp *op)
{
    for (size_t i = 0; i < op->n_in; i++)
        if (mm->tainted[snl_in(op, i)->id] == mm->scan) return true;
    StateTaint t = {mm, false};
    snl_op_states(op, look_at_state, &t);
    return t.found;
}

/* Where an op without result stood is told by its first operand. */
static uint32_t place_of(const SnlOp *op)
{
    return op->n_out ? op->out[0]->id : snl_in(op, 0)->id;
}

/* In the order in which the function had them at the start, so that all groups of a level have
 * their members in one order and can hand them on without copies. */
static void sort_members(Members *mm)
{
    for (size_t i = 1; i < mm->member.n; i++) {
        SnlOp *op = mm->member.at[i];
        size_t j = i;
        for (; j > 0 && place_of(mm->member.at[j - 1]) > place_of(op); j--)
            mm->member.at[j] = mm->member.at[j - 1];
        mm->member.at[j] = op;
    }
}

/* Keeps `open` behind the op numbered `at`, whose results are tainted or not by now. */
static void pass_by(Members *mm, const SnlOp *op, uint32_t at)
{
    const SnlReach *r = &mm->reach;
    const SnlValue *latest = snl_reach_latest(r, op);
    bool closes = latest && r->last[latest->id] == at;
    if (closes && mm->tainted[latest->id] != mm->scan) mm->open--;
    for (size_t i = 0; i < op->n_out; i++) {
        uint32_t id = op->out[i]->id;
        if (r->last[id] > at && mm->tainted[id] != mm->scan) mm->open++;
    }
}

/* May an op from the one numbered `at` on be independent of the members? */
static bool goes_on(const Members *mm, uint32_t at)
{
    return mm->open > 0 || at <= mm->reach.last_root;
}

/* Members of the group of `first`, the op numbered `at`, and the ops between its ends that depend
 * on one of them. */
static void collect(Members *mm, SnlOp *first, uint32_t at)
{
    mm->scan++;
    mm->member.n = mm->dependent.n = 0;
    mm->last = first;
    ensure_taint_room(mm);
    SNL_PUSH(mm->arena, &mm->member, first);
    taint(mm, first);
    mm->open = at > 1 ? mm->reach.open[at - 1] : 0;
    pass_by(mm, first, at);
    size_t n_dependent = 0;
    for (SnlOp *op = first->next; op && mm->member.n < MAX_MEMBERS; op = op->next) {
        if (!goes_on(mm, ++at)) break;
        mm->n_visits++;
        bool depends = is_tainted(mm, op), joins = !depends && fits(mm, first, op);
        if (depends || joins) taint(mm, op);
        pass_by(mm, op, at);
        if (depends) {
            SNL_PUSH(mm->arena, &mm->dependent, op);
        } else if (joins) {
            SNL_PUSH(mm->arena, &mm->member, op);
            mm->last = op;
            n_dependent = mm->dependent.n;
        }
    }
    mm->dependent.n = n_dependent; /* what comes after the last member may stay where it is */
    sort_members(mm);
}

/* ---- operands ------------------------------------------------------------------------------- */

static bool all_share(const Members *mm, size_t i)
{
    for (size_t j = 1; j < mm->member.n; j++)
        if (snl_in(mm->member.at[j], i) != snl_in(mm->member.at[0], i)) return false;
    return true;
}

/* [T, M, D] whose members are the group's operands in order; NULL: there is none yet. */
static SnlValue *whole_of(const Members *mm, size_t i)
{
    SnlValue *whole = NULL;
    for (size_t j = 0; j < mm->member.n; j++) {
        const SnlOp *def = snl_in(mm->member.at[j], i)->def;
        if (!def || def->code != SNL_OP_MEMBER) return NULL;
        if (snl_attr_int(&def->attrs, "index", -1) != (int64_t)j) return NULL;
        if (whole && snl_in(def, 0) != whole) return NULL;
        whole = snl_in(def, 0);
    }
    return whole && snl_type_members(whole->type) == (int64_t)mm->member.n ? whole : NULL;
}

/* A stack of just these values that was made before. */
static SnlValue *stack_of(const Members *mm, size_t i)
{
    const SnlValue *first = snl_in(mm->member.at[0], i);
    for (const SnlUse *use = first->uses; use; use = use->next) {
        const SnlOp *op = use->user;
        bool same = op->code == SNL_OP_STACK && op->n_in == mm->member.n;
        for (size_t j = 0; same && j < op->n_in; j++)
            same = snl_in(op, j) == snl_in(mm->member.at[j], i);
        if (same) return op->out[0];
    }
    return NULL;
}

/* May stay [T, D] when all members share it. */
static bool may_share(const SnlOp *op, size_t i)
{
    if (op->code == SNL_OP_LINEAR || op->code == SNL_OP_RMS_NORM) return op->sym[0].n > 0;
    return op->code == SNL_OP_LINCOMB || must_share(op, i);
}

static bool operands_fit(const Members *mm)
{
    const SnlOp *first = mm->member.at[0];
    bool own = false;
    for (size_t i = 0; i < first->n_in; i++) {
        bool shared = all_share(mm, i);
        if (must_share(first, i) && !shared) return false;
        if (shared && may_share(first, i)) continue;
        own = true;
        if (!may_stack(first->code) && !whole_of(mm, i) && !stack_of(mm, i)) return false;
    }
    return own || first->sym[0].n > 0; /* all the same: cse's business */
}

static SnlValue *merged_operand(Members *mm, size_t i, SnlOp *before)
{
    const SnlOp *first = mm->member.at[0];
    if (all_share(mm, i) && may_share(first, i)) return snl_in(first, i);
    SnlValue *whole = whole_of(mm, i);
    if (!whole) whole = stack_of(mm, i);
    if (whole) return whole;
    SnlOp *stack = snl_op_create(mm->f, before, SNL_OP_STACK);
    stack->loc = first->loc;
    for (size_t j = 0; j < mm->member.n; j++) snl_op_add_in(stack, snl_in(mm->member.at[j], i));
    return snl_op_finish(stack, NULL);
}

/* ---- merging -------------------------------------------------------------------------------- */

static void merge_symbols(Members *mm, SnlOp *into)
{
    size_t n = mm->member.n;
    for (int g = 0; g < SNL_MAX_GROUPS; g++) {
        if (mm->member.at[0]->sym[g].n == 0) continue;
        SnlWeight **weight = SNL_NEW_ARRAY(mm->arena, SnlWeight *, n);
        SnlState **state = SNL_NEW_ARRAY(mm->arena, SnlState *, n);
        bool weights = snl_op_group_letter(into->code, g) == 'w';
        for (size_t j = 0; j < n; j++) {
            if (weights)
                weight[j] = mm->member.at[j]->sym[g].weight[0];
            else
                state[j] = mm->member.at[j]->sym[g].state[0];
        }
        if (weights)
            snl_op_set_weights(into, g, weight, n, true);
        else
            snl_op_set_states(into, g, state, n, true);
    }
}

/* The attribute that members may have each their own of: left alone when they agree, else a list.
 */
static void merge_own_attr(Members *mm, SnlOp *into)
{
    SnlModule *m = mm->f->module;
    const char *key = snl_op_member_attr(into->code);
    bool differ = false;
    SnlAttrValue list = {.kind = SNL_ATTR_LIST};
    list.list.n = mm->member.n;
    list.list.at = SNL_NEW_ARRAY(m->arena, SnlAttrValue, mm->member.n);
    for (size_t j = 0; key && j < mm->member.n; j++) {
        int64_t value = snl_op_member_attr_value(mm->member.at[j]);
        list.list.at[j] = (SnlAttrValue){.kind = SNL_ATTR_INT, .i = value};
        differ |= !snl_attr_find(&mm->member.at[j]->attrs, key) !=
                      !snl_attr_find(&mm->member.at[0]->attrs, key) ||
                  value != list.list.at[0].i;
    }
    if (differ) snl_attr_set(m, &into->attrs, key, list);
}

static SnlOp *build(Members *mm, SnlOp *before)
{
    const SnlOp *first = mm->member.at[0];
    SnlValue **in = SNL_NEW_ARRAY(mm->arena, SnlValue *, first->n_in);
    for (size_t i = 0; i < first->n_in; i++) in[i] = merged_operand(mm, i, before);
    SnlOp *op = snl_op_create(mm->f, before, first->code);
    op->loc = first->loc;
    op->attrs = snl_attrs_copy(mm->f->module, &first->attrs);
    for (size_t i = 0; i < first->n_in; i++) snl_op_add_in(op, in[i]);
    merge_symbols(mm, op);
    merge_own_attr(mm, op);
    const char *name = NULL;
    if (first->n_out) {
        const SnlOp *last = mm->member.at[mm->member.n - 1];
        name = snl_joined_name(mm->arena, (const char *[]){first->out[0]->name, last->out[0]->name},
                               2);
    }
    snl_op_finish(op, name);
    return op;
}

static void merge(Members *mm)
{
    SnlOp *after = mm->last->next; /* there is one: the return */
    SnlOp *op = build(mm, after);
    for (size_t j = 0; j < mm->member.n; j++) {
        SnlOp *old = mm->member.at[j];
        if (op->n_out == 0) {
            snl_op_erase(old);
            continue;
        }
        SnlOp *member = snl_op_create(mm->f, after, SNL_OP_MEMBER);
        member->loc = old->loc;
        snl_op_add_in(member, op->out[0]);
        snl_attr_set_int(mm->f->module, &member->attrs, "index", (int64_t)j);
        snl_op_finish(member, NULL);
        snl_op_replace(old, member->out[0]);
    }
    for (size_t i = 0; i < mm->dependent.n; i++) snl_op_move(mm->dependent.at[i], after);
}

static void remove_unused_views(SnlFunc *f)
{
    for (SnlOp *op = f->last, *prev; op; op = prev) {
        prev = op->prev;
        if ((op->code == SNL_OP_MEMBER || op->code == SNL_OP_STACK) && !op->out[0]->uses)
            snl_op_erase(op);
    }
}

bool snl_merge_members(SnlFunc *f, SnlArena *scratch, const bool *kinds)
{
    Members mm = {.f = f, .arena = scratch, .kinds = kinds};
    mm.read_by = SNL_NEW_ARRAY(scratch, uint32_t, snl_state_slots(f));
    mm.written_by = SNL_NEW_ARRAY(scratch, uint32_t, snl_state_slots(f));
    snl_func_renumber(f); /* ids in order of definition */
    find_paths(&mm);
    mm.reach.arena = scratch;
    snl_reach_find(&mm.reach, f);
    bool changed = false;
    uint32_t at = 1;
    for (SnlOp *op = f->first, *next; op; op = next, at++) {
        SnlOp *prev = op->prev;
        next = op->next;
        if (!is_candidate(&mm, op) || mm.n_visits > MAX_VISITS) continue;
        collect(&mm, op, at);
        if (mm.member.n < 2 || !operands_fit(&mm)) continue;
        merge(&mm);
        snl_reach_find(&mm.reach, f);
        changed = true;
        next = prev ? prev->next : f->first;
        at--; /* that one stands where `op` stood */
    }
    if (changed) remove_unused_views(f);
    return changed;
}
