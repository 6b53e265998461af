/* ir/eval_chain.c -- layers in a frame: call, chain, and the choice between chain and newton. */
#include "ir/eval_internal.h"

#include <string.h>

static SnlStatus check_binding(const SnlFrame *f, const SnlOp *op, const SnlBinding *b)
{
    if (b->n_state != b->layer->n_state_param)
        return snl_error(f->eval->diag, SNL_E_STRUCTURE, op->loc,
                         "%s: states of '@%s': found %zu, wanted %zu", snl_op_info[op->code].text,
                         b->layer->name, b->n_state, b->layer->n_state_param);
    if (op->n_in != b->layer->n_param)
        return snl_error(f->eval->diag, SNL_E_STRUCTURE, op->loc,
                         "%s: values for '@%s': found %zu, wanted %zu", snl_op_info[op->code].text,
                         b->layer->name, op->n_in, b->layer->n_param);
    return SNL_OK;
}

SnlStatus snl_eval_op_call(SnlFrame *f, const SnlOp *op)
{
    const SnlBinding *b = &op->sym[0].bind[0];
    SNL_TRY(check_binding(f, op, b));
    double **args = SNL_NEW_ARRAY(f->arena, double *, op->n_in);
    double **out = SNL_NEW_ARRAY(f->arena, double *, op->n_out);
    for (size_t i = 0; i < op->n_in; i++) args[i] = snl_frame_in(f, op, i).at;
    for (size_t i = 0; i < op->n_out; i++) out[i] = snl_frame_out(f, op, i).at;
    return snl_frame_call(f, op, b->layer, args, snl_frame_binding(f, b), false, out);
}

static SnlStatus eval_chain(SnlFrame *f, const SnlOp *op)
{
    size_t n = op->sym[0].n;
    int64_t elems = snl_type_elems(snl_in(op, 0)->type, f->n_tokens);
    double **h = SNL_NEW_ARRAY(f->arena, double *, n + 1);
    double **args = SNL_NEW_ARRAY(f->arena, double *, op->n_in);
    for (size_t i = 0; i < op->n_in; i++) args[i] = snl_frame_in(f, op, i).at;
    h[0] = args[0];
    snl_frame_trace(f, op, 0, 0, h[0]);
    for (size_t i = 0; i < n; i++) {
        const SnlBinding *b = &op->sym[0].bind[i];
        SNL_TRY(check_binding(f, op, b));
        args[0] = h[i];
        h[i + 1] = SNL_NEW_ARRAY(f->arena, double, (size_t)elems);
        SNL_TRY(snl_frame_call(f, op, b->layer, args, snl_frame_binding(f, b), false, &h[i + 1]));
        snl_frame_trace(f, op, 0, i + 1, h[i + 1]);
    }
    f->value[op->out[0]->id] = h[n];
    for (size_t i = 1; i < op->n_out; i++) {
        int64_t link = snl_attr_int_at(&op->attrs, "taps", i - 1, -1);
        SNL_ASSERT(link >= 0 && (size_t)link < n);
        f->value[op->out[i]->id] = h[link + 1];
    }
    return SNL_OK;
}

SnlStatus snl_eval_op_chain(SnlFrame *f, const SnlOp *op)
{
    return op->code == SNL_OP_NEWTON ? snl_eval_newton(f, op) : eval_chain(f, op);
}

/* `return`: the driver fetches the operands. */
SnlStatus snl_eval_op_control(SnlFrame *f, const SnlOp *op)
{
    (void)f;
    (void)op;
    return SNL_OK;
}
