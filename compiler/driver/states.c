/* compiler/driver/states.c -- taps for all links of the chain, returned.
 *
 *   %h = chain %x, %pos, [@block.0(@kv.0), @block.1(@kv.1)] : f32[T, 64]
 *   ... return %logits
 * becomes
 *   %h, %h.1 = chain %x, %pos, [@block.0(@kv.0), @block.1(@kv.1)] {taps = [0]} : ...
 *   ... return %logits, %h.1, %h                                                               */
#include "compiler/driver/states.h"

#include <string.h>

static SnlStatus find_chain(SnlFunc *func, SnlDiag *diag, SnlOp **out)
{
    *out = NULL;
    for (SnlOp *op = func->first; op; op = op->next) {
        if (op->code != SNL_OP_CHAIN) continue;
        if (*out)
            return snl_error(diag, SNL_E_UNSUPPORTED, op->loc,
                             "--keep-states: found a second chain in '@%s', wanted one",
                             func->name);
        *out = op;
    }
    if (*out) return SNL_OK;
    return snl_error(diag, SNL_E_UNSUPPORTED, func->loc,
                     "--keep-states: '@%s' has no chain of layers whose states could be kept",
                     func->name);
}

/* The chain's result that taps link i; added when there is none yet. */
static SnlValue *tap(SnlModule *m, SnlOp *chain, int64_t link)
{
    const SnlAttrValue *taps = snl_attr_find(&chain->attrs, "taps");
    size_t n = taps ? taps->list.n : 0;
    for (size_t i = 0; i < n; i++)
        if (taps->list.at[i].i == link) return chain->out[1 + i];
    SnlAttrValue list = {.kind = SNL_ATTR_LIST};
    list.list.at = SNL_NEW_ARRAY(m->arena, SnlAttrValue, n + 1);
    if (n) memcpy(list.list.at, taps->list.at, n * sizeof *list.list.at);
    list.list.at[n] = (SnlAttrValue){.kind = SNL_ATTR_INT, .i = link};
    list.list.n = n + 1;
    snl_attr_set(m, &chain->attrs, "taps", list);
    return snl_op_add_out(chain, chain->out[0]->name, chain->out[0]->type);
}

SnlStatus snl_keep_states(SnlFunc *func, SnlDiag *diag, SnlOutputSpec **out_outputs, size_t *out_n)
{
    SnlModule *m = func->module;
    SnlOp *chain;
    SNL_TRY(find_chain(func, diag, &chain));
    size_t n = chain->sym[0].n;
    SnlOutputSpec *outputs = SNL_NEW_ARRAY(m->arena, SnlOutputSpec, n);
    for (size_t i = 0; i < n; i++) {
        SnlValue *h = i + 1 < n ? tap(m, chain, (int64_t)i) : chain->out[0];
        snl_func_result(func, h->type);
        snl_op_add_in(func->last, h);
        outputs[i] = (SnlOutputSpec){.name = snl_arena_printf(m->arena, "h.%zu", i),
                                     .streams = h->type->rank == 3 ? h->type->dim[1] : 0,
                                     .width = snl_type_width(h->type)};
    }
    *out_outputs = outputs;
    *out_n = n;
    return SNL_OK;
}
