/* ir/prune.c -- taking declarations out of a module, and renaming values. */
#include "ir/names.h"

void snl_module_keep_weights(SnlModule *m, const bool *keep)
{
    size_t n = 0;
    for (size_t i = 0; i < m->weights.n; i++) {
        SnlWeight *w = m->weights.at[i];
        if (!keep[w->id])
            snl_name_release(m, snl_weight_names(m), w->name);
        else
            m->weights.at[n++] = w;
    }
    m->weights.n = n;
    for (size_t i = 0; i < n; i++) m->weights.at[i]->id = (uint32_t)i;
}

void snl_module_keep_states(SnlModule *m, const bool *keep)
{
    size_t n = 0;
    for (size_t i = 0; i < m->states.n; i++) {
        SnlState *state = m->states.at[i];
        if (!keep[state->id])
            snl_name_release(m, snl_state_names(m), state->name);
        else
            m->states.at[n++] = state;
    }
    m->states.n = n;
    for (size_t i = 0; i < n; i++) m->states.at[i]->id = (uint32_t)i;
}

void snl_value_rename(SnlValue *value, const char *name)
{
    SNL_ASSERT(value->def && "parameters keep their names");
    SnlFunc *func = value->def->func;
    SnlModule *m = func->module;
    snl_name_release(m, func, value->name);
    if (snl_name_find(m, func, name)) name = snl_name_fresh(m, func, name);
    value->name = snl_name_set(m, func, name, value);
}
