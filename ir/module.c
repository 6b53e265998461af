/* ir/module.c -- a module and its declarations: weights, states, functions. */
#include "ir/names.h"

#include <string.h>

SnlModule *snl_module_create(SnlArena *arena, const char *name)
{
    SnlModule *m = SNL_NEW(arena, SnlModule);
    m->arena = arena;
    m->name = snl_arena_strdup(arena, name);
    m->index = SNL_NEW(arena, struct SnlModuleIndex);
    return m;
}

/* ---- formats --------------------------------------------------------------------------------- */

static bool reads_narrow_matrix(const SnlOp *op)
{
    if (op->code != SNL_OP_LINEAR && op->code != SNL_OP_EMBED) return false;
    for (size_t i = 0; i < op->sym[0].n; i++)
        if (op->sym[0].weight[i]->type->dtype != SNL_F32) return true;
    return false;
}

SnlDtype snl_module_cache_format(const SnlModule *m)
{
    for (const SnlFunc *f = m->first; f; f = f->next)
        for (const SnlOp *op = f->first; op; op = op->next)
            if (reads_narrow_matrix(op)) return SNL_F16;
    return SNL_F32;
}

/* ---- weights and states ---------------------------------------------------------------------- */

static SnlWeight *declare_weight(SnlModule *m, const char *name, const SnlType *type,
                                 SnlWexprCode code)
{
    SnlWeight *w = SNL_NEW(m->arena, SnlWeight);
    w->name = snl_name_set(m, snl_weight_names(m), name, w);
    w->type = type;
    w->code = code;
    w->id = (uint32_t)m->weights.n;
    SNL_PUSH(m->arena, &m->weights, w);
    return w;
}

SnlWeight *snl_weight_source(SnlModule *m, const char *name, const SnlType *type, const char *file,
                             const char *tensor)
{
    SnlWeight *w = declare_weight(m, name, type, SNL_WEXPR_SOURCE);
    w->file = snl_arena_strdup(m->arena, file);
    w->tensor = snl_arena_strdup(m->arena, tensor);
    return w;
}

SnlWeight *snl_weight_expr(SnlModule *m, const char *name, const SnlType *type, SnlWexprCode code,
                           SnlWeight *const *arg, size_t n_arg)
{
    SnlWeight *w = declare_weight(m, name, type, code);
    w->arg = SNL_NEW_ARRAY(m->arena, SnlWeight *, n_arg);
    w->n_arg = n_arg;
    if (n_arg) memcpy(w->arg, arg, n_arg * sizeof arg[0]);
    return w;
}

SnlState *snl_module_state(SnlModule *m, const char *name, const SnlType *type)
{
    SnlState *state = SNL_NEW(m->arena, SnlState);
    state->name = snl_name_set(m, snl_state_names(m), name, state);
    state->type = type;
    state->id = (uint32_t)m->states.n;
    SNL_PUSH(m->arena, &m->states, state);
    return state;
}

SnlWeight *snl_module_find_weight(const SnlModule *m, const char *name)
{
    return snl_name_find(m, snl_weight_names(m), name);
}

SnlState *snl_module_find_state(const SnlModule *m, const char *name)
{
    return snl_name_find(m, snl_state_names(m), name);
}

SnlFunc *snl_module_find_func(const SnlModule *m, const char *name)
{
    return snl_name_find(m, snl_func_names(m), name);
}

const char *snl_module_fresh_weight_name(SnlModule *m, const char *stem)
{
    if (!snl_module_find_weight(m, stem)) return snl_arena_strdup(m->arena, stem);
    return snl_name_fresh(m, snl_weight_names(m), stem);
}

/* ---- functions ------------------------------------------------------------------------------- */

static void link_func(SnlFunc *func, SnlFunc *before)
{
    SnlModule *m = func->module;
    func->next = before;
    func->prev = before ? before->prev : m->last;
    *(func->prev ? &func->prev->next : &m->first) = func;
    *(before ? &before->prev : &m->last) = func;
}

static void unlink_func(SnlFunc *func)
{
    SnlModule *m = func->module;
    *(func->prev ? &func->prev->next : &m->first) = func->next;
    *(func->next ? &func->next->prev : &m->last) = func->prev;
    func->prev = func->next = NULL;
}

SnlFunc *snl_func_create(SnlModule *m, SnlFuncKind kind, const char *name)
{
    SnlFunc *func = SNL_NEW(m->arena, SnlFunc);
    func->kind = kind;
    func->module = m;
    func->name = snl_name_set(m, snl_func_names(m), name, func);
    link_func(func, NULL);
    return func;
}

void snl_func_move(SnlFunc *func, SnlFunc *before)
{
    if (func == before) return;
    unlink_func(func);
    link_func(func, before);
}

void snl_func_remove(SnlFunc *func)
{
    unlink_func(func);
    snl_name_release(func->module, snl_func_names(func->module), func->name);
}
