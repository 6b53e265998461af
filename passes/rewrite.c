/* passes/rewrite.c -- helpers of rewriting passes (rewrite.h). */
#include "passes/rewrite.h"

#include <stdlib.h>
#include <string.h>

/* ---- lincomb -------------------------------------------------------------------------------- */

SnlTerm snl_lincomb_term(const SnlOp *op, size_t i)
{
    SnlTerm term = {snl_in(op, i), 1.0, NULL};
    const SnlAttrValue *coef = snl_attr_find(&op->attrs, "coef");
    if (!coef) return term;
    const SnlAttrValue *c = coef->kind == SNL_ATTR_LIST ? &coef->list.at[i] : coef;
    if (c->kind == SNL_ATTR_WEIGHT)
        term.weight = c->weight;
    else
        term.r = c->kind == SNL_ATTR_INT ? (double)c->i : c->r;
    return term;
}

bool snl_term_is_plain(const SnlTerm *term)
{
    return !term->weight || term->r == 1.0;
}

static void set_coefficients(SnlOp *op, const SnlTerm *term, size_t n)
{
    SnlModule *m = op->func->module;
    bool all_one = true;
    for (size_t i = 0; i < n; i++) all_one &= term[i].r == 1.0 && !term[i].weight;
    snl_attr_remove(&op->attrs, "coef");
    if (all_one) return;
    SnlAttrValue list = {.kind = SNL_ATTR_LIST};
    list.list.n = n;
    list.list.at = SNL_NEW_ARRAY(m->arena, SnlAttrValue, n);
    for (size_t i = 0; i < n; i++) {
        SNL_ASSERT(snl_term_is_plain(&term[i]));
        SnlAttrValue *c = &list.list.at[i];
        c->kind = term[i].weight ? SNL_ATTR_WEIGHT : SNL_ATTR_REAL;
        if (term[i].weight)
            c->weight = term[i].weight;
        else
            c->r = term[i].r;
    }
    snl_attr_set(m, &op->attrs, "coef", list);
}

void snl_lincomb_set(SnlOp *op, const SnlTerm *term, size_t n)
{
    SNL_ASSERT(n > 0);
    SnlValue **value = SNL_NEW_ARRAY(op->func->module->arena, SnlValue *, n);
    for (size_t i = 0; i < n; i++) value[i] = term[i].value;
    snl_op_set_ins(op, value, n);
    set_coefficients(op, term, n);
}

SnlValue *snl_lincomb_build(SnlFunc *func, SnlOp *before, const SnlTerm *term, size_t n,
                            const char *name)
{
    SnlOp *op = snl_op_create(func, before, SNL_OP_LINCOMB);
    snl_lincomb_set(op, term, n);
    return snl_op_finish(op, name);
}

/* ---- weights -------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool snl_weights_equal(const SnlWeight *a, const SnlWeight *b)
{
    if (a == b) return true;
    /* Random numbers depend on the weight's name. */
    if (a->code != b->code || a->type != b->type || a->code == SNL_WEXPR_RANDOM) return false;
    if (a->n_arg != b->n_arg || !same_text(a->file, b->file) || !same_text(a->tensor, b->tensor))
        return false;
    for (size_t i = 0; i < a->n_arg; i++)
        if (a->arg[i] != b->arg[i]) return false;
    return snl_attrs_equal(&a->attrs, &b->attrs);
}

SnlWeight *snl_weight_intern(SnlModule *m, const char *stem, const SnlType *type, SnlWexprCode code,
                             SnlWeight *const *arg, size_t n_arg, SnlAttrs attrs)
{
    SnlWeight wanted = {
        .type = type, .code = code, .arg = (SnlWeight **)arg, .n_arg = n_arg, .attrs = attrs};
    for (size_t i = 0; i < m->weights.n; i++)
        if (snl_weights_equal(m->weights.at[i], &wanted)) return m->weights.at[i];
    SnlWeight *w =
        snl_weight_expr(m, snl_module_fresh_weight_name(m, stem), type, code, arg, n_arg);
    w->attrs = attrs;
    return w;
}

static void visit_attr(SnlAttrValue *value, SnlOp *op, SnlWeightVisit *visit, void *user)
{
    if (value->kind == SNL_ATTR_WEIGHT) visit(user, op, &value->weight);
    if (value->kind != SNL_ATTR_LIST) return;
    for (size_t i = 0; i < value->list.n; i++) visit_attr(&value->list.at[i], op, visit, user);
}

static void visit_op(SnlOp *op, SnlWeightVisit *visit, void *user)
{
    for (int g = 0; g < SNL_MAX_GROUPS; g++)
        for (size_t i = 0; snl_op_group_letter(op->code, g) == 'w' && i < op->sym[g].n; i++)
            visit(user, op, &op->sym[g].weight[i]);
    for (size_t i = 0; i < op->attrs.n; i++) visit_attr(&op->attrs.at[i].value, op, visit, user);
}

void snl_weight_slots(SnlModule *m, SnlWeightVisit *visit, void *user)
{
    for (SnlFunc *f = m->first; f; f = f->next) {
        if (f->surrogate_weight) visit(user, NULL, &f->surrogate_weight);
        for (SnlOp *op = f->first; op; op = op->next) visit_op(op, visit, user);
    }
}

static void count_slot(void *user, SnlOp *op, SnlWeight **slot)
{
    (void)op;
    size_t *uses = user;
    uses[(*slot)->id]++;
}

size_t *snl_weight_uses(SnlModule *m, SnlArena *arena)
{
    size_t *uses = SNL_NEW_ARRAY(arena, size_t, m->weights.n);
    snl_weight_slots(m, count_slot, uses);
    /* Arguments are declared before the expressions that use them. */
    for (size_t i = m->weights.n; i-- > 0;) {
        const SnlWeight *w = m->weights.at[i];
        for (size_t a = 0; uses[w->id] && a < w->n_arg; a++) uses[w->arg[a]->id]++;
    }
    return uses;
}

/* ---- operations ----------------------------------------------------------------------------- */

static bool same_binding(const SnlBinding *a, const SnlBinding *b)
{
    if (a->layer != b->layer || a->n_state != b->n_state) return false;
    for (size_t i = 0; i < a->n_state; i++)
        if (a->state[i] != b->state[i]) return false;
    return true;
}

bool snl_symbols_equal(char letter, const SnlSymbols *a, const SnlSymbols *b)
{
    if (a->n != b->n || a->list != b->list) return false;
    for (size_t i = 0; i < a->n; i++) {
        if (letter == 'w' && a->weight[i] != b->weight[i]) return false;
        if (letter == 's' && a->state[i] != b->state[i]) return false;
        if (letter == 'l' && !same_binding(&a->bind[i], &b->bind[i])) return false;
    }
    return true;
}

bool snl_op_same_shape(const SnlOp *a, const SnlOp *b)
{
    if (a->code != b->code || a->n_in != b->n_in || a->n_out != b->n_out) return false;
    for (int g = 0; g < SNL_MAX_GROUPS; g++)
        if (!snl_symbols_equal(snl_op_group_letter(a->code, g), &a->sym[g], &b->sym[g]))
            return false;
    return snl_attrs_equal(&a->attrs, &b->attrs);
}

bool snl_op_same(const SnlOp *a, const SnlOp *b)
{
    if (a->n_in != b->n_in) return false;
    for (size_t i = 0; i < a->n_in; i++)
        if (snl_in(a, i) != snl_in(b, i)) return false;
    return snl_op_same_shape(a, b);
}

const char *snl_op_member_attr(SnlOpCode code)
{
    return code == SNL_OP_ATTENTION ? "window" : NULL;
}

int64_t snl_op_member_attr_value(const SnlOp *op)
{
    /* No window is one as long as the cache. */
    const SnlType *cache = op->sym[0].state[0]->type;
    int64_t none = cache && cache->rank == 4 ? cache->dim[2] : INT32_MAX;
    return snl_attr_int_at(&op->attrs, "window", 0, none);
}

void snl_op_states(const SnlOp *op, SnlStateVisit *visit, void *user)
{
    bool writes = (snl_op_info[op->code].flags & SNL_EFFECT) != 0;
    for (int g = 0; g < SNL_MAX_GROUPS; g++) {
        char letter = snl_op_group_letter(op->code, g);
        for (size_t i = 0; letter == 's' && i < op->sym[g].n; i++)
            visit(user, op, op->sym[g].state[i], writes);
        for (size_t i = 0; letter == 'l' && i < op->sym[g].n; i++)
            for (size_t s = 0; s < op->sym[g].bind[i].n_state; s++)
                visit(user, op, op->sym[g].bind[i].state[s], true);
    }
}

static bool is_numbered(const char *name)
{
    while (*name >= '0' && *name <= '9') name++;
    return *name == '\0';
}

void snl_op_replace(SnlOp *op, SnlValue *by)
{
    const char *name = op->out[0]->name;
    snl_value_replace(op->out[0], by);
    snl_op_erase(op);
    if (by->def && is_numbered(by->name) && !is_numbered(name)) snl_value_rename(by, name);
}

/* ---- layers --------------------------------------------------------------------------------- */

typedef struct Mark {
    SnlFunc *f;
    bool reached;
} Mark;

/* Only for look-up: no output depends on addresses. */
static int compare_marks(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const Mark *)a)->f, y = (uintptr_t)((const Mark *)b)->f;
    return (x > y) - (x < y);
}

typedef struct Reach {
    Mark *mark;
    size_t n;
    SnlVec(SnlFunc *) todo;
    SnlArena *arena;
} Reach;

static void reach(Reach *r, SnlFunc *f)
{
    Mark key = {f, false}, *found = bsearch(&key, r->mark, r->n, sizeof key, compare_marks);
    if (found->reached) return;
    found->reached = true;
    SNL_PUSH(r->arena, &r->todo, f);
}

static void reach_callees(Reach *r, const SnlFunc *f)
{
    for (const SnlOp *op = f->first; op; op = op->next)
        for (size_t i = 0; snl_op_group_letter(op->code, 0) == 'l' && i < op->sym[0].n; i++)
            reach(r, op->sym[0].bind[i].layer);
}

bool snl_remove_unused_layers(SnlModule *m, SnlArena *scratch)
{
    Reach r = {.arena = scratch};
    bool any_func = false, changed = false;
    for (SnlFunc *f = m->first; f; f = f->next) r.n++;
    r.mark = SNL_NEW_ARRAY(scratch, Mark, r.n);
    r.n = 0;
    for (SnlFunc *f = m->first; f; f = f->next) r.mark[r.n++].f = f;
    if (r.n > 1) qsort(r.mark, r.n, sizeof r.mark[0], compare_marks);
    for (SnlFunc *f = m->first; f; f = f->next) {
        if (f->kind != SNL_FUNC) continue;
        any_func = true;
        reach(&r, f);
    }
    while (r.todo.n) reach_callees(&r, r.todo.at[--r.todo.n]);
    for (size_t i = 0; any_func && i < r.n; i++) {
        if (r.mark[i].reached) continue;
        snl_func_remove(r.mark[i].f);
        changed = true;
    }
    return changed;
}

/* ---- names ---------------------------------------------------------------------------------- */

static size_t common_prefix(const char *const *name, size_t n)
{
    size_t len = strlen(name[0]);
    for (size_t i = 1; i < n; i++) {
        size_t k = 0;
        while (k < len && name[i][k] == name[0][k]) k++;
        len = k;
    }
    return len;
}

/* Of what follows the prefix. */
static size_t common_suffix(const char *const *name, size_t n, size_t prefix)
{
    size_t len = strlen(name[0]) - prefix;
    for (size_t i = 1; i < n; i++) {
        size_t n0 = strlen(name[0]), ni = strlen(name[i]), k = 0;
        while (k < len && k < ni - prefix && name[i][ni - 1 - k] == name[0][n0 - 1 - k]) k++;
        len = k;
    }
    return len;
}

const char *snl_joined_name(SnlArena *arena, const char *const *name, size_t n)
{
    enum { LONGEST_MIDDLE = 24 };
    size_t prefix = common_prefix(name, n), suffix = common_suffix(name, n, prefix);
    const char *text = snl_arena_strndup(arena, name[0], prefix),
               *tail = name[0] + strlen(name[0]) - suffix;
    size_t middle = 0;
    for (size_t i = 0; i < n; i++) middle += strlen(name[i]) - prefix - suffix;
    if (middle > LONGEST_MIDDLE) {
        const char *last = name[n - 1];
        return snl_arena_printf(arena, "%s_%.*s", name[0], (int)(strlen(last) - prefix),
                                last + prefix);
    }
    for (size_t i = 0; i < n; i++)
        text = snl_arena_printf(arena, "%s%.*s", text, (int)(strlen(name[i]) - prefix - suffix),
                                name[i] + prefix);
    return snl_arena_printf(arena, "%s%s", text, tail);
}
