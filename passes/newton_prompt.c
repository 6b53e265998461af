/* passes/newton_prompt.c -- prefill=seq: the prompt runs through the sequential chain.
 *
 * The planned function reads states that this one must fill: all caches of a unit, one for each of
 * its evaluations, get the same keys and values; with `warm` the last row of every unit's input is
 * kept. So the prompt's function is the sequential one with two changes: a unit with several sets
 * of states is called in a form whose writes go to all of them, and the inputs of units are tapped
 * and written. */
#include "passes/newton.h"

#include <string.h>

/* Writes of state parameter p go to p, p + P, p + 2P, ... as well. */
static void write_to_all(SnlFunc *layer, size_t n_params, size_t evals)
{
    for (SnlOp *op = layer->first, *next; op; op = next) {
        next = op->next;
        if (!(snl_op_info[op->code].flags & SNL_EFFECT)) continue;
        for (size_t e = 1; e < evals; e++) {
            SnlOp *copy = snl_op_clone(op, layer, next, NULL);
            for (size_t i = 0; i < copy->sym[0].n; i++)
                copy->sym[0].state[i] = layer->state_param[op->sym[0].state[i]->id + e * n_params];
        }
    }
}

/* The layer of a unit in its filling form. */
static SnlFunc *filling_layer(SnlNewton *nw, const SnlFunc *layer, size_t evals)
{
    const char *kind = snl_arena_printf(nw->arena, "fill%zu", evals);
    SnlFunc *made = snl_func_clone(layer, snl_newton_fresh_func(nw, layer->name, kind));
    size_t n = layer->n_state_param;
    for (size_t e = 1; e < evals; e++)
        for (size_t s = 0; s < n; s++)
            snl_func_state_param(
                made, snl_arena_printf(nw->arena, "%s.s%zu", layer->state_param[s]->name, e + 1));
    write_to_all(made, n, evals);
    snl_func_move(made, nw->chain->func);
    return made;
}

static void bind_links(SnlNewton *nw, SnlOp *chain)
{
    for (size_t i = 0; i < chain->sym[0].n; i++) {
        const SnlUnit *u = &nw->unit[i];
        size_t n = chain->sym[0].bind[i].n_state * u->evals;
        if (u->evals < 2 || n == 0) continue;
        SnlBinding *b = &chain->sym[0].bind[i];
        b->layer = filling_layer(nw, b->layer, u->evals);
        b->state = SNL_NEW_ARRAY(nw->m->arena, SnlState *, n);
        memcpy(b->state, u->binding.state, n * sizeof b->state[0]);
        b->n_state = n;
    }
}

/* Taps the inputs of warm units; appends to the chain's own taps. Returns how many there were. */
static size_t tap_inputs(SnlNewton *nw, SnlOp *chain)
{
    SnlAttrValue taps = {.kind = SNL_ATTR_LIST};
    size_t own = chain->n_out - 1, n = chain->sym[0].n;
    taps.list.at = SNL_NEW_ARRAY(nw->m->arena, SnlAttrValue, own + n);
    for (size_t i = 0; i < own; i++)
        taps.list.at[taps.list.n++] =
            (SnlAttrValue){.kind = SNL_ATTR_INT, .i = snl_attr_int_at(&chain->attrs, "taps", i, 0)};
    for (size_t i = 1; i < n; i++) {
        if (!nw->unit[i].warm) continue;
        taps.list.at[taps.list.n++] = (SnlAttrValue){.kind = SNL_ATTR_INT, .i = (int64_t)i - 1};
        snl_op_add_out(chain, "s", chain->out[0]->type);
    }
    if (taps.list.n > own) snl_attr_set(nw->m, &chain->attrs, "taps", taps);
    return own;
}

static SnlValue *position_of(const SnlFunc *f)
{
    for (size_t i = 0; i < f->n_param; i++)
        if (f->param[i]->type->dtype == SNL_INDEX) return f->param[i];
    return NULL;
}

static SnlStatus keep_inputs(SnlNewton *nw, SnlOp *chain)
{
    size_t next = 1 + tap_inputs(nw, chain);
    SnlValue *pos = position_of(chain->func);
    for (size_t i = 1; i < chain->sym[0].n; i++) {
        if (!nw->unit[i].warm) continue;
        if (!pos)
            return snl_error(nw->ctx->diag, SNL_E_PLAN, nw->unit[i].window->loc,
                             "plan: warm needs a position, but @%s has no parameter of type index",
                             chain->func->name);
        SnlOp *write = snl_op_create(chain->func, chain->next, SNL_OP_ROW_WRITE);
        write->loc = chain->loc;
        snl_op_add_in(write, chain->out[next++]);
        snl_op_add_in(write, pos);
        snl_op_set_states(write, 0, &nw->unit[i].warm, 1, false);
        snl_op_finish(write, NULL);
    }
    return SNL_OK;
}

SnlStatus snl_newton_prompt(SnlNewton *nw)
{
    SnlFunc *planned = nw->chain->func;
    SnlFunc *f = snl_func_clone(planned, snl_newton_fresh_func(nw, planned->name, "prompt"));
    SnlOp *chain = f->first;
    while (chain->code != SNL_OP_CHAIN) chain = chain->next;
    bind_links(nw, chain);
    return keep_inputs(nw, chain);
}
