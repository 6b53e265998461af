/* ir/func.c -- parameters and results of a function; whole-function operations. */
#include "ir/names.h"
#include "ir/value.h"

#include <string.h>

/* Parameter lists are short: they grow by one, and the old array stays in the arena. */
static void *append_slot(SnlArena *arena, const void *old, size_t n, size_t size)
{
    void *at = snl_arena_array(arena, n + 1, size);
    if (n) memcpy(at, old, n * size);
    return at;
}

SnlValue *snl_func_param(SnlFunc *func, const char *name, const SnlType *type)
{
    SnlValue *value = snl_value_create(func, NULL, name, type);
    func->param =
        append_slot(func->module->arena, func->param, func->n_param, sizeof func->param[0]);
    func->param[func->n_param++] = value;
    return value;
}

SnlState *snl_func_state_param(SnlFunc *func, const char *name)
{
    SnlArena *arena = func->module->arena;
    SnlState *state = SNL_NEW(arena, SnlState);
    state->name = snl_arena_strdup(arena, name);
    state->id = (uint32_t)func->n_state_param;
    func->state_param =
        append_slot(arena, func->state_param, func->n_state_param, sizeof func->state_param[0]);
    func->state_param[func->n_state_param++] = state;
    return state;
}

void snl_func_result(SnlFunc *func, const SnlType *type)
{
    func->result =
        append_slot(func->module->arena, func->result, func->n_result, sizeof func->result[0]);
    func->result[func->n_result++] = type;
}

void snl_func_renumber(SnlFunc *func)
{
    uint32_t id = 0;
    for (size_t i = 0; i < func->n_param; i++) func->param[i]->id = id++;
    for (SnlOp *op = func->first; op; op = op->next)
        for (size_t i = 0; i < op->n_out; i++) op->out[i]->id = id++;
    func->n_values = id;
}

/* ---- cloning --------------------------------------------------------------------------------- */

static SnlState *clone_state(const SnlFunc *from, const SnlFunc *into, SnlState *state)
{
    if (state->type) return state; /* the module's */
    for (size_t i = 0; i < from->n_state_param; i++)
        if (from->state_param[i] == state) return into->state_param[i];
    SNL_UNREACHABLE();
}

/* snl_op_clone has copied the arrays, so they may be rewritten in place. */
static void rebind_states(SnlOp *op, const SnlFunc *from)
{
    for (int g = 0; g < SNL_MAX_GROUPS; g++) {
        SnlSymbols *sym = &op->sym[g];
        for (size_t i = 0; sym->state && i < sym->n; i++)
            sym->state[i] = clone_state(from, op->func, sym->state[i]);
        for (size_t i = 0; sym->bind && i < sym->n; i++)
            for (size_t s = 0; s < sym->bind[i].n_state; s++)
                sym->bind[i].state[s] = clone_state(from, op->func, sym->bind[i].state[s]);
    }
}

static void clone_signature(const SnlFunc *func, SnlFunc *copy, SnlValue **map)
{
    for (size_t i = 0; i < func->n_param; i++) {
        const SnlValue *param = func->param[i];
        SnlValue *made = snl_func_param(copy, param->name, param->type);
        made->loc = param->loc;
        map[param->id] = made;
    }
    for (size_t i = 0; i < func->n_state_param; i++)
        snl_func_state_param(copy, func->state_param[i]->name)->loc = func->state_param[i]->loc;
    for (size_t i = 0; i < func->n_result; i++) snl_func_result(copy, func->result[i]);
}

SnlFunc *snl_func_clone(const SnlFunc *func, const char *name)
{
    SnlModule *m = func->module;
    SnlFunc *copy = snl_func_create(m, func->kind, name);
    copy->surrogate = func->surrogate;
    copy->surrogate_weight = func->surrogate_weight;
    copy->attrs = snl_attrs_copy(m, &func->attrs);
    copy->loc = func->loc;
    SnlValue **map = SNL_NEW_ARRAY(m->arena, SnlValue *, func->n_values);
    clone_signature(func, copy, map);
    for (const SnlOp *op = func->first; op; op = op->next)
        rebind_states(snl_op_clone(op, copy, NULL, map), func);
    return copy;
}
