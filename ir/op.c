/* ir/op.c -- operations and values: creation, operands and use lists, cloning, erasing, moving. */
#include "ir/names.h"
#include "ir/value.h"

#include <string.h>

/* ---- values ---------------------------------------------------------------------------------- */

/* The stem a suffix is put on: `h.3` gives `h`, `12` gives nothing, so that cloning a clone does
 * not pile up suffixes. */
static const char *name_stem(SnlArena *arena, const char *name)
{
    size_t n = strlen(name), end = n;
    while (end > 0 && name[end - 1] >= '0' && name[end - 1] <= '9') end--;
    if (end == 0) return "";
    bool suffixed = end < n && name[end - 1] == '.' && end > 1;
    return suffixed ? snl_arena_strndup(arena, name, end - 1) : name;
}

static const char *free_value_name(SnlFunc *func, const char *name)
{
    SnlModule *m = func->module;
    if (!name) return snl_name_fresh(m, func, "");
    if (!snl_name_find(m, func, name)) return name;
    return snl_name_fresh(m, func, name_stem(m->arena, name));
}

SnlValue *snl_value_create(SnlFunc *func, SnlOp *def, const char *name, const SnlType *type)
{
    SnlValue *value = SNL_NEW(func->module->arena, SnlValue);
    value->type = type;
    value->def = def;
    value->id = func->n_values++;
    value->name = snl_name_set(func->module, func, free_value_name(func, name), value);
    return value;
}

bool snl_value_single_use(const SnlValue *value)
{
    return value->uses && !value->uses->next;
}

size_t snl_value_use_count(const SnlValue *value)
{
    size_t n = 0;
    for (const SnlUse *use = value->uses; use; use = use->next) n++;
    return n;
}

/* ---- use lists ------------------------------------------------------------------------------- */

static void link_use(SnlUse *use, SnlValue *value)
{
    use->value = value;
    use->next = value->uses;
    use->link = &value->uses;
    if (use->next) use->next->link = &use->next;
    value->uses = use;
}

static void unlink_use(SnlUse *use)
{
    *use->link = use->next;
    if (use->next) use->next->link = use->link;
}

/* The use was copied to another address: its neighbours follow. */
static void relink_moved_use(SnlUse *use)
{
    *use->link = use;
    if (use->next) use->next->link = &use->next;
}

void snl_value_replace(SnlValue *old, SnlValue *by)
{
    SNL_ASSERT(old != by);
    while (old->uses) {
        SnlUse *use = old->uses;
        unlink_use(use);
        link_use(use, by);
    }
}

/* ---- creation -------------------------------------------------------------------------------- */

static void link_op(SnlOp *op, SnlOp *before)
{
    SnlFunc *func = op->func;
    op->next = before;
    op->prev = before ? before->prev : func->last;
    *(op->prev ? &op->prev->next : &func->first) = op;
    *(before ? &before->prev : &func->last) = op;
}

static void unlink_op(SnlOp *op)
{
    SnlFunc *func = op->func;
    *(op->prev ? &op->prev->next : &func->first) = op->next;
    *(op->next ? &op->next->prev : &func->last) = op->prev;
    op->prev = op->next = NULL;
}

SnlOp *snl_op_create(SnlFunc *func, SnlOp *before, SnlOpCode code)
{
    SNL_ASSERT(!before || before->func == func);
    SnlOp *op = SNL_NEW(func->module->arena, SnlOp);
    op->code = code;
    op->func = func;
    link_op(op, before);
    return op;
}

/* Operand arrays have room for the next power of two, at least 4: no capacity need be stored. */
static size_t operand_capacity(size_t n)
{
    size_t cap = 4;
    while (cap < n) cap *= 2;
    return cap;
}

void snl_op_add_in(SnlOp *op, SnlValue *value)
{
    size_t cap = operand_capacity(op->n_in);
    if (!op->in || op->n_in == cap) {
        SnlUse *in = SNL_NEW_ARRAY(op->func->module->arena, SnlUse, op->in ? cap * 2 : cap);
        for (size_t i = 0; i < op->n_in; i++) {
            in[i] = op->in[i];
            relink_moved_use(&in[i]);
        }
        op->in = in;
    }
    SnlUse *use = &op->in[op->n_in++];
    use->user = op;
    link_use(use, value);
}

void snl_op_set_in(SnlOp *op, size_t i, SnlValue *value)
{
    SNL_ASSERT(i < op->n_in);
    unlink_use(&op->in[i]);
    link_use(&op->in[i], value);
}

void snl_op_set_ins(SnlOp *op, SnlValue *const *value, size_t n)
{
    for (size_t i = 0; i < op->n_in; i++) unlink_use(&op->in[i]);
    op->in = NULL;
    op->n_in = 0;
    for (size_t i = 0; i < n; i++) snl_op_add_in(op, value[i]);
}

static void *copy_array(const SnlOp *op, const void *at, size_t n, size_t size)
{
    void *copy = snl_arena_array(op->func->module->arena, n, size);
    if (n) memcpy(copy, at, n * size);
    return copy;
}

void snl_op_set_weights(SnlOp *op, int group, SnlWeight *const *w, size_t n, bool list)
{
    SNL_ASSERT(snl_op_group_letter(op->code, group) == 'w');
    op->sym[group] = (SnlSymbols){.n = n, .list = list};
    op->sym[group].weight = copy_array(op, w, n, sizeof w[0]);
}

void snl_op_set_states(SnlOp *op, int group, SnlState *const *s, size_t n, bool list)
{
    SNL_ASSERT(snl_op_group_letter(op->code, group) == 's');
    op->sym[group] = (SnlSymbols){.n = n, .list = list};
    op->sym[group].state = copy_array(op, s, n, sizeof s[0]);
}

void snl_op_set_bindings(SnlOp *op, int group, const SnlBinding *b, size_t n, bool list)
{
    SNL_ASSERT(snl_op_group_letter(op->code, group) == 'l');
    op->sym[group] = (SnlSymbols){.n = n, .list = list};
    SnlBinding *bind = copy_array(op, b, n, sizeof b[0]);
    for (size_t i = 0; i < n; i++)
        bind[i].state = copy_array(op, b[i].state, b[i].n_state, sizeof b[i].state[0]);
    op->sym[group].bind = bind;
}

SnlValue *snl_op_add_out(SnlOp *op, const char *name, const SnlType *type)
{
    SnlValue *value = snl_value_create(op->func, op, name, type);
    SnlValue **out = snl_arena_array(op->func->module->arena, op->n_out + 1, sizeof out[0]);
    if (op->n_out) memcpy(out, op->out, op->n_out * sizeof out[0]);
    out[op->n_out++] = value;
    op->out = out;
    value->loc = op->loc;
    return value;
}

SnlValue *snl_op_finish(SnlOp *op, const char *name)
{
    SnlArena *arena = op->func->module->arena;
    size_t n = snl_op_result_count(op);
    const SnlType **type = SNL_NEW_ARRAY(arena, const SnlType *, n);
    SnlDiag *diag = snl_diag_create(stderr, 0);
    SnlStatus status = snl_op_infer(op, diag, type);
    snl_diag_destroy(diag);
    SNL_ASSERT(status == SNL_OK && "a built operation must be valid");
    for (size_t i = 0; i < n; i++) {
        bool suffix = name && i > 0;
        snl_op_add_out(op, suffix ? snl_arena_printf(arena, "%s.%zu", name, i) : name, type[i]);
    }
    return n ? op->out[0] : NULL;
}

/* ---- cloning, erasing, moving ---------------------------------------------------------------- */

static void clone_symbols(const SnlOp *op, SnlOp *copy)
{
    for (int g = 0; g < SNL_MAX_GROUPS; g++) {
        const SnlSymbols *sym = &op->sym[g];
        if (sym->n == 0) continue;
        if (sym->weight) snl_op_set_weights(copy, g, sym->weight, sym->n, sym->list);
        if (sym->state) snl_op_set_states(copy, g, sym->state, sym->n, sym->list);
        if (sym->bind) snl_op_set_bindings(copy, g, sym->bind, sym->n, sym->list);
    }
}

static SnlValue *mapped(const SnlOp *op, const SnlFunc *into, SnlValue *value, SnlValue **map)
{
    SnlValue *found = map ? map[value->id] : NULL;
    if (found) return found;
    SNL_ASSERT(op->func == into && "an operand of another function must be mapped");
    return value;
}

SnlOp *snl_op_clone(const SnlOp *op, SnlFunc *into, SnlOp *before, SnlValue **map)
{
    SnlOp *copy = snl_op_create(into, before, op->code);
    copy->loc = op->loc;
    copy->attrs = snl_attrs_copy(into->module, &op->attrs);
    clone_symbols(op, copy);
    for (size_t i = 0; i < op->n_in; i++) snl_op_add_in(copy, mapped(op, into, snl_in(op, i), map));
    for (size_t i = 0; i < op->n_out; i++) {
        SnlValue *out = snl_op_add_out(copy, op->out[i]->name, op->out[i]->type);
        out->loc = op->out[i]->loc;
        if (map) map[op->out[i]->id] = out;
    }
    return copy;
}

void snl_op_erase(SnlOp *op)
{
    for (size_t i = 0; i < op->n_out; i++) {
        SNL_ASSERT(!op->out[i]->uses && "an erased operation's results must be unused");
        snl_name_release(op->func->module, op->func, op->out[i]->name);
    }
    for (size_t i = 0; i < op->n_in; i++) unlink_use(&op->in[i]);
    op->n_in = 0;
    unlink_op(op);
}

void snl_op_move(SnlOp *op, SnlOp *before)
{
    SNL_ASSERT(!before || before->func == op->func);
    if (op == before) return;
    unlink_op(op);
    link_op(op, before);
}
