/* ir/infer_call.c -- types of the ops that name layers, and of `return`. */
#include "ir/infer.h"

/* Operands against the parameters of a layer. */
static SnlStatus check_args(const SnlInfer *x, const SnlFunc *layer)
{
    const SnlOp *op = x->op;
    if (layer->kind != SNL_LAYER)
        return snl_infer_fail(x, SNL_E_NAME, "'@%s' is a func, wanted a layer", layer->name);
    if (op->n_in != layer->n_param)
        return snl_infer_fail(x, SNL_E_TYPE, "'@%s' takes %zu values, found %zu", layer->name,
                              layer->n_param, op->n_in);
    for (size_t i = 0; i < op->n_in; i++)
        if (snl_in(op, i)->type != layer->param[i]->type)
            return snl_infer_fail(x, SNL_E_TYPE, "operand %zu of '@%s': found %s, wanted %s", i,
                                  layer->name, snl_infer_text(x, snl_in(op, i)->type),
                                  snl_infer_text(x, layer->param[i]->type));
    return SNL_OK;
}

SnlStatus snl_infer_call(const SnlInfer *x)
{
    const SnlSymbols *layers = &x->op->sym[0];
    if (layers->n != 1)
        return snl_infer_fail(x, SNL_E_STRUCTURE, "one bound layer, found %zu", layers->n);
    const SnlFunc *layer = layers->bind[0].layer;
    SNL_TRY(check_args(x, layer));
    for (size_t i = 0; i < layer->n_result; i++) x->out[i] = layer->result[i];
    return SNL_OK;
}

/* A link maps h and the side inputs to the next h. */
static SnlStatus check_link(const SnlInfer *x, const SnlFunc *layer, const SnlType *h)
{
    SNL_TRY(check_args(x, layer));
    if (layer->n_result != 1 || layer->result[0] != h)
        return snl_infer_fail(x, SNL_E_TYPE,
                              "'@%s' cannot be a link: it gives %zu results (first %s), wanted one "
                              "of its first parameter's type %s",
                              layer->name, layer->n_result,
                              layer->n_result ? snl_infer_text(x, layer->result[0]) : "none",
                              snl_infer_text(x, h));
    return SNL_OK;
}

SnlStatus snl_infer_chain(const SnlInfer *x)
{
    const SnlSymbols *layers = &x->op->sym[0];
    const SnlType *h = snl_in(x->op, 0)->type;
    for (size_t i = 0; i < layers->n; i++) SNL_TRY(check_link(x, layers->bind[i].layer, h));
    x->out[0] = h;
    const SnlAttrValue *taps = snl_attr_find(&x->op->attrs, "taps");
    for (size_t i = 0; taps && i < taps->list.n; i++) {
        if ((size_t)taps->list.at[i].i >= layers->n)
            return snl_infer_fail(x, SNL_E_ATTR, "tap %lld: there are %zu links, counted from 0",
                                  (long long)taps->list.at[i].i, layers->n);
        x->out[1 + i] = h;
    }
    return SNL_OK;
}

SnlStatus snl_infer_control(const SnlInfer *x)
{
    const SnlOp *op = x->op;
    const SnlFunc *f = op->func;
    if (op->n_in != f->n_result)
        return snl_infer_fail(x, SNL_E_TYPE, "found %zu values, '@%s' gives %zu", op->n_in, f->name,
                              f->n_result);
    for (size_t i = 0; i < op->n_in; i++)
        if (snl_in(op, i)->type != f->result[i])
            return snl_infer_fail(x, SNL_E_TYPE, "value %zu: found %s, '@%s' gives %s", i,
                                  snl_infer_text(x, snl_in(op, i)->type), f->name,
                                  snl_infer_text(x, f->result[i]));
    return SNL_OK;
}
