/* compiler/frontend/emit.c -- one short function for each operation that a family writes. */
#include "compiler/frontend/build.h"

static SnlOp *op_of(SnlFunc *f, SnlOpCode code, SnlValue *x)
{
    SnlOp *op = snl_op_create(f, NULL, code);
    snl_op_add_in(op, x);
    return op;
}

static void set_weight(SnlOp *op, int group, SnlWeight *w)
{
    snl_op_set_weights(op, group, &w, 1, false);
}

static void set_int(SnlOp *op, const char *key, int64_t value)
{
    snl_attr_set_int(op->func->module, &op->attrs, key, value);
}

static void set_real(SnlOp *op, const char *key, double value)
{
    snl_attr_set_real(op->func->module, &op->attrs, key, value);
}

static void set_list(SnlOp *op, const char *key, const SnlAttrValue *at, size_t n)
{
    SnlModule *m = op->func->module;
    SnlAttrValue *copy = SNL_NEW_ARRAY(m->arena, SnlAttrValue, n);
    for (size_t i = 0; i < n; i++) copy[i] = at[i];
    SnlAttrValue list = {.kind = SNL_ATTR_LIST, .list = {copy, n}};
    snl_attr_set(m, &op->attrs, key, list);
}

SnlValue *snl_emit_embed(SnlFunc *f, SnlValue *ids, SnlWeight *table, const char *name)
{
    SnlOp *op = op_of(f, SNL_OP_EMBED, ids);
    set_weight(op, 0, table);
    return snl_op_finish(op, name);
}

SnlValue *snl_emit_norm(SnlFunc *f, SnlValue *x, SnlWeight *w, double eps, int64_t heads,
                        const char *name)
{
    SnlOp *op = op_of(f, SNL_OP_RMS_NORM, x);
    if (w) set_weight(op, 0, w);
    set_real(op, "eps", eps);
    if (heads > 1) set_int(op, "heads", heads);
    return snl_op_finish(op, name);
}

SnlValue *snl_emit_linear(SnlFunc *f, SnlValue *x, SnlWeight *w, SnlWeight *bias, const char *name)
{
    SnlOp *op = op_of(f, SNL_OP_LINEAR, x);
    set_weight(op, 0, w);
    if (bias) set_weight(op, 1, bias);
    return snl_op_finish(op, name);
}

SnlValue *snl_emit_unary(SnlFunc *f, SnlOpCode code, SnlValue *x, const char *name)
{
    return snl_op_finish(op_of(f, code, x), name);
}

SnlValue *snl_emit_mul(SnlFunc *f, SnlValue *a, SnlValue *b, const char *name)
{
    SnlOp *op = op_of(f, SNL_OP_MUL, a);
    snl_op_add_in(op, b);
    return snl_op_finish(op, name);
}

SnlValue *snl_emit_add(SnlFunc *f, SnlValue *a, SnlValue *b, const char *name)
{
    SnlOp *op = op_of(f, SNL_OP_LINCOMB, a);
    snl_op_add_in(op, b);
    return snl_op_finish(op, name);
}

SnlAttrValue snl_coef_real(double value)
{
    return (SnlAttrValue){.kind = SNL_ATTR_REAL, .r = value};
}

SnlAttrValue snl_coef_weight(SnlWeight *scalar)
{
    return (SnlAttrValue){.kind = SNL_ATTR_WEIGHT, .weight = scalar};
}

SnlValue *snl_emit_blend(SnlFunc *f, SnlValue *a, SnlAttrValue ca, SnlValue *b, SnlAttrValue cb,
                         const char *name)
{
    SnlOp *op = op_of(f, SNL_OP_LINCOMB, a);
    snl_op_add_in(op, b);
    SnlAttrValue coef[] = {ca, cb};
    set_list(op, "coef", coef, 2);
    return snl_op_finish(op, name);
}

SnlValue *snl_emit_mix(SnlFunc *f, SnlValue *x, SnlWeight *m, const char *name)
{
    SnlOp *op = op_of(f, SNL_OP_MIX, x);
    set_weight(op, 0, m);
    return snl_op_finish(op, name);
}

SnlValue *snl_emit_softcap(SnlFunc *f, SnlValue *x, double cap, const char *name)
{
    SnlOp *op = op_of(f, SNL_OP_SOFTCAP, x);
    set_real(op, "cap", cap);
    return snl_op_finish(op, name);
}

SnlValue *snl_emit_shift(SnlFunc *f, SnlValue *x, SnlValue *pos, SnlState *last, const char *name)
{
    SnlOp *op = op_of(f, SNL_OP_SHIFT, x);
    snl_op_add_in(op, pos);
    snl_op_set_states(op, 0, &last, 1, false);
    SnlValue *shifted = snl_op_finish(op, name);
    SnlOp *write = op_of(f, SNL_OP_ROW_WRITE, x);
    snl_op_add_in(write, pos);
    snl_op_set_states(write, 0, &last, 1, false);
    snl_op_finish(write, NULL);
    return shifted;
}

SnlValue *snl_emit_slice(SnlFunc *f, SnlValue *x, int64_t begin, int64_t end, const char *name)
{
    SnlOp *op = op_of(f, SNL_OP_SLICE, x);
    set_int(op, "begin", begin);
    set_int(op, "end", end);
    return snl_op_finish(op, name);
}

SnlValue *snl_emit_rope_table(SnlFunc *f, SnlValue *pos, const SnlAttrs *attrs, const char *name)
{
    SnlOp *op = op_of(f, SNL_OP_ROPE_TABLE, pos);
    op->attrs = snl_attrs_copy(f->module, attrs);
    return snl_op_finish(op, name);
}

SnlValue *snl_emit_rope(SnlFunc *f, SnlValue *x, SnlValue *table, int64_t heads, const char *name)
{
    SnlOp *op = op_of(f, SNL_OP_ROPE, x);
    snl_op_add_in(op, table);
    set_int(op, "heads", heads);
    return snl_op_finish(op, name);
}

SnlValue *snl_emit_attention(SnlFunc *f, SnlValue *q, SnlValue *k, SnlValue *v, SnlValue *pos,
                             SnlState *kv, const SnlAttention *how, const char *name)
{
    SnlOp *write = op_of(f, SNL_OP_KV_WRITE, k);
    snl_op_add_in(write, v);
    snl_op_add_in(write, pos);
    snl_op_set_states(write, 0, &kv, 1, false);
    snl_op_finish(write, NULL);

    SnlOp *op = op_of(f, SNL_OP_ATTENTION, q);
    snl_op_add_in(op, k);
    snl_op_add_in(op, v);
    snl_op_add_in(op, pos);
    snl_op_set_states(op, 0, &kv, 1, false);
    set_int(op, "heads", how->heads);
    set_int(op, "kv_heads", how->kv_heads);
    if (how->windowed) set_int(op, "window", how->window);
    if (how->scale > 0) set_real(op, "scale", how->scale);
    return snl_op_finish(op, name);
}

void snl_emit_return(SnlFunc *f, SnlValue *value)
{
    snl_func_result(f, value->type);
    snl_op_finish(op_of(f, SNL_OP_RETURN, value), NULL);
}

SnlOp *snl_emit_chain(SnlFunc *f, SnlValue *const *arg, size_t n_arg, const SnlBinding *links,
                      size_t n_links, const int64_t *taps, size_t n_taps, const char *name)
{
    SnlOp *op = snl_op_create(f, NULL, SNL_OP_CHAIN);
    snl_op_set_ins(op, arg, n_arg);
    snl_op_set_bindings(op, 0, links, n_links, true);
    SnlAttrValue *tap = SNL_NEW_ARRAY(f->module->arena, SnlAttrValue, n_taps);
    for (size_t i = 0; i < n_taps; i++) tap[i] = (SnlAttrValue){.kind = SNL_ATTR_INT, .i = taps[i]};
    if (n_taps) set_list(op, "taps", tap, n_taps);
    snl_op_finish(op, name);
    return op;
}

SnlFunc *snl_build_forward(SnlBuild *b, SnlValue **out_tokens, SnlValue **out_pos)
{
    SnlFunc *f = snl_func_create(b->module, SNL_FUNC, "forward");
    int64_t t = SNL_DIM_T;
    *out_tokens = snl_func_param(f, "tokens", snl_type(b->module, SNL_I32, 1, &t));
    *out_pos = snl_func_param(f, "pos", snl_type_index(b->module));
    return f;
}
