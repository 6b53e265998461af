/* tests/support/plan_ir.c -- see plan_ir.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "plan_ir.h"

#include "ir/eval.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ------------------------------------------------------------------------------------ */

static bool parse_word(char *word, int64_t n_links, PlanIr *p, PlanWindow *w)
{
    if (sscanf(word, "[%" SCNd64 ":%" SCNd64 "]", &w->begin, &w->end) == 2) return true;
    if (word[0] == 'n' && sscanf(word + 1, "%" SCNd64, &w->begin) == 1) {
        w->begin = n_links - w->begin;
        w->end = n_links;
    } else if (strcmp(word, "K=exact") == 0) {
        w->sweeps = w->end - w->begin;
    } else if (word[0] == 'K') {
        w->sweeps = strtoll(word + 1, NULL, 10);
    } else if (strcmp(word, "h0") == 0 || strcmp(word, "batch_fwd") == 0 ||
               strcmp(word, "warm") == 0) {
        w->init = word;
    } else if (strncmp(word, "damping=", 8) == 0) {
        w->damping = strtod(word + 8, NULL);
    } else if (strncmp(word, "surrogate=", 10) == 0 && !strchr(word, ':')) {
        w->surrogate = word + 10;
    } else if (strcmp(word, "prefill=seq") == 0) {
        p->prefill_seq = true;
    } else if (strcmp(word, "kv=corrected") == 0) {
        p->corrected = true;
    } else {
        return false;
    }
    return true;
}

bool plan_parse(SnlArena *arena, const char *text, int64_t n_links, PlanIr *out)
{
    *out = (PlanIr){0};
    char *save_window, *copy = snl_arena_strdup(arena, text);
    for (char *part = strtok_r(copy, ";", &save_window); part;
         part = strtok_r(NULL, ";", &save_window)) {
        char *save_word;
        assert_true(out->n_windows < PLAN_WINDOWS);
        PlanWindow *w = &out->window[out->n_windows++];
        *w = (PlanWindow){.sweeps = 1, .init = "h0", .surrogate = ""};
        for (char *word = strtok_r(part, " ", &save_word); word;
             word = strtok_r(NULL, " ", &save_word))
            if (!parse_word(word, n_links, out, w)) return false;
    }
    return out->n_windows > 0;
}

/* ---- building -------------------------------------------------------------------------------- */

typedef struct Cut {
    SnlModule *m;
    SnlFunc *func;
    SnlOp *chain;
    const PlanIr *plan;
    SnlValue *h;
} Cut;

static SnlState *state_named(SnlModule *m, const char *name, const SnlType *type)
{
    SnlState *found = snl_module_find_state(m, name);
    return found ? found : snl_module_state(m, name, type);
}

/* The binding of one unit; for kv = sweep a set of states for each evaluation, shared by all plans.
 */
static SnlBinding bind_unit(const Cut *c, const PlanWindow *w, const SnlOp *newton, int64_t link)
{
    const SnlBinding *own = &c->chain->sym[0].bind[link];
    size_t unit = (size_t)(link - w->begin), n = snl_newton_n_states(newton, unit);
    size_t P = own->n_state;
    SnlBinding b = {own->layer, SNL_NEW_ARRAY(c->m->arena, SnlState *, n), n};
    bool warm = strcmp(w->init, "warm") == 0 && unit > 0;
    for (size_t i = 0; i < n - warm; i++) {
        const char *name = snl_arena_printf(c->m->arena, "%s.e%zu", own->state[i % P]->name, i / P);
        b.state[i] =
            c->plan->corrected ? own->state[i] : state_named(c->m, name, own->state[i % P]->type);
    }
    if (warm) {
        const SnlType *h = c->h->type;
        const SnlType *row = snl_type(c->m, SNL_F32, h->rank - 1, h->dim + 1);
        b.state[n - 1] =
            state_named(c->m, snl_arena_printf(c->m->arena, "warm.%lld", (long long)link), row);
        w->warm[unit - 1] = b.state[n - 1];
    }
    return b;
}

/* Taps of the chain that lie in [begin, end) become taps of `op`. */
static void move_taps(const Cut *c, SnlOp *op, int64_t begin, int64_t end)
{
    SnlAttrValue list = {.kind = SNL_ATTR_LIST};
    list.list.at = SNL_NEW_ARRAY(c->m->arena, SnlAttrValue, c->chain->n_out);
    for (size_t i = 1; i < c->chain->n_out; i++) {
        int64_t tap = snl_attr_int_at(&c->chain->attrs, "taps", i - 1, -1);
        if (tap < begin || tap >= end) continue;
        list.list.at[list.list.n++] = (SnlAttrValue){.kind = SNL_ATTR_INT, .i = tap - begin};
        snl_value_replace(c->chain->out[i], snl_op_add_out(op, NULL, c->h->type));
    }
    if (list.list.n) snl_attr_set(c->m, &op->attrs, "taps", list);
}

static SnlOp *add_op(Cut *c, SnlOpCode code)
{
    SnlOp *op = snl_op_create(c->func, c->chain, code);
    snl_op_add_in(op, c->h);
    for (size_t i = 1; i < c->chain->n_in; i++) snl_op_add_in(op, snl_in(c->chain, i));
    return op;
}

static void finish_op(Cut *c, SnlOp *op, const SnlBinding *b, int64_t begin, int64_t end)
{
    snl_op_set_bindings(op, 0, b, (size_t)(end - begin), true);
    SnlValue *out = snl_op_add_out(op, NULL, c->h->type);
    move_taps(c, op, begin, end);
    c->h = out;
}

static void add_chain(Cut *c, int64_t begin, int64_t end)
{
    if (begin == end) return;
    finish_op(c, add_op(c, SNL_OP_CHAIN), c->chain->sym[0].bind + begin, begin, end);
}

static void add_newton(Cut *c, PlanWindow *w)
{
    SnlOp *op = add_op(c, SNL_OP_NEWTON);
    size_t n = (size_t)(w->end - w->begin);
    SnlBinding *b = SNL_NEW_ARRAY(c->m->arena, SnlBinding, n);
    snl_attr_set_int(c->m, &op->attrs, "sweeps", w->sweeps);
    snl_attr_set_real(c->m, &op->attrs, "damping", w->damping);
    snl_attr_set_word(c->m, &op->attrs, "init", w->init);
    snl_attr_set_word(c->m, &op->attrs, "kv", c->plan->corrected ? "corrected" : "sweep");
    if (strcmp(w->surrogate, "zero") == 0 || strcmp(w->surrogate, "identity") == 0)
        snl_attr_set_word(c->m, &op->attrs, "surrogate", w->surrogate);
    w->warm = SNL_NEW_ARRAY(c->m->arena, SnlState *, n);
    /* snl_newton_n_states looks at the layers bound */
    snl_op_set_bindings(op, 0, c->chain->sym[0].bind + w->begin, n, true);
    for (size_t j = 0; j < n; j++) b[j] = bind_unit(c, w, op, w->begin + (int64_t)j);
    finish_op(c, op, b, w->begin, w->end);
    w->op = op;
}

void plan_build(const SnlFunc *forward, PlanIr *plan)
{
    SnlModule *m = forward->module;
    char name[64] = "plan";
    for (int i = 1; snl_module_find_func(m, name); i++) snprintf(name, sizeof name, "plan.%d", i);
    plan->func = snl_func_clone(forward, name);
    Cut c = {.m = m, .func = plan->func, .plan = plan};
    for (SnlOp *op = plan->func->first; op; op = op->next)
        if (op->code == SNL_OP_CHAIN) c.chain = op;
    assert_non_null(c.chain);
    c.h = snl_in(c.chain, 0);
    int64_t at = 0, n_links = (int64_t)c.chain->sym[0].n;
    for (size_t i = 0; i < plan->n_windows; i++) {
        PlanWindow *w = &plan->window[i];
        assert_true(at <= w->begin && w->begin < w->end && w->end <= n_links);
        add_chain(&c, at, w->begin);
        add_newton(&c, w);
        at = w->end;
    }
    add_chain(&c, at, n_links);
    snl_value_replace(c.chain->out[0], c.h);
    snl_op_erase(c.chain);
}
