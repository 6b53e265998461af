/* ir/infer.c -- result types of operations: one function per `rule` of ops.def. The equations and
 * shapes are in ir/IR.md.
 *
 * Letters: T tokens, D width, F output width, M members, H heads, G key/value heads, d head width,
 * C context, S and R streams. Results are f32 but for `cast` (its `to`) and the ops that only move
 * numbers (slice, member, stack: as the operand). */
#include "ir/infer.h"

#include "ir/attr_rules.h"
#include "ir/base/checked.h"

#include <string.h>

typedef long long ll;

/* ---- helpers --------------------------------------------------------------------------------- */

SnlStatus snl_infer_fail(const SnlInfer *x, SnlDiagKind kind, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *text = snl_arena_vprintf(x->m->arena, fmt, args);
    va_end(args);
    return snl_error(x->diag, kind, x->op->loc, "%s: %s", snl_op_info[x->op->code].text, text);
}

const char *snl_infer_text(const SnlInfer *x, const SnlType *type)
{
    return snl_type_text(x->m->arena, type);
}

static bool is_float(const SnlType *t)
{
    return (snl_dtype_info[t->dtype].flags & (SNL_DT_FLOAT | SNL_DT_BLOCKED)) == SNL_DT_FLOAT;
}

/* Operand i as a tensor of rows: [T, D], or [T, M, D] where members are allowed. */
static SnlStatus rows(const SnlInfer *x, size_t i, bool members, const SnlType **out)
{
    const SnlType *t = snl_in(x->op, i)->type;
    *out = t;
    if (is_float(t) && snl_type_has_t(t) && (t->rank == 2 || (members && t->rank == 3)))
        return SNL_OK;
    return snl_infer_fail(x, SNL_E_TYPE, "operand %zu ('%%%s'): found %s, wanted f32[T, D]%s", i,
                          snl_in(x->op, i)->name, snl_infer_text(x, t),
                          members ? " or f32[T, M, D]" : "");
}

static SnlStatus index_operand(const SnlInfer *x, size_t i)
{
    const SnlType *t = snl_in(x->op, i)->type;
    if (t->dtype == SNL_INDEX) return SNL_OK;
    return snl_infer_fail(x, SNL_E_TYPE, "operand %zu ('%%%s'): found %s, wanted index", i,
                          snl_in(x->op, i)->name, snl_infer_text(x, t));
}

/* dtype[T, D] or dtype[T, M, D] into result 0. */
static SnlStatus result(const SnlInfer *x, SnlDtype dtype, bool members, int64_t M, int64_t width)
{
    int64_t elems;
    if (!snl_mul_i64(M, width, &elems) || elems > SNL_MAX_ELEMS)
        return snl_infer_fail(x, SNL_E_SHAPE,
                              "result has %lld x %lld elements per token, at most %lld", (ll)M,
                              (ll)width, (ll)SNL_MAX_ELEMS);
    const int64_t with[3] = {SNL_DIM_T, M, width}, without[2] = {SNL_DIM_T, width};
    x->out[0] = members ? snl_type(x->m, dtype, 3, with) : snl_type(x->m, dtype, 2, without);
    return SNL_OK;
}

static SnlStatus like(const SnlInfer *x, const SnlType *t, int64_t width)
{
    return result(x, SNL_F32, t->rank == 3, snl_type_members(t), width);
}

/* Members of group 0 against those of rows `t`: a list of M gives M members, whether `t` is shared
 * or brings M of its own; a single symbol serves all members of `t`. */
static SnlStatus members(const SnlInfer *x, const SnlType *t, bool *out_members, int64_t *out_M)
{
    const SnlSymbols *sym = &x->op->sym[0];
    int64_t M = snl_type_members(t);
    *out_members = sym->list || t->rank == 3;
    *out_M = sym->list ? (int64_t)sym->n : M;
    if (sym->list && t->rank == 3 && M != *out_M)
        return snl_infer_fail(x, SNL_E_SHAPE, "members differ: operand has %lld, the list %lld",
                              (ll)M, (ll)*out_M);
    return SNL_OK;
}

/* Every weight of a group has shape [a] (b == 0) or [a, b]. */
static SnlStatus weights_are(const SnlInfer *x, int group, int64_t a, int64_t b)
{
    const SnlSymbols *sym = &x->op->sym[group];
    for (size_t i = 0; i < sym->n; i++) {
        const SnlType *t = sym->weight[i]->type;
        bool fits = b ? t->rank == 2 && t->dim[1] == b : t->rank == 1;
        if (fits && t->dim[0] == a) continue;
        return b ? snl_infer_fail(x, SNL_E_SHAPE, "'@%s': found %s, wanted shape [%lld, %lld]",
                                  sym->weight[i]->name, snl_infer_text(x, t), (ll)a, (ll)b)
                 : snl_infer_fail(x, SNL_E_SHAPE, "'@%s': found %s, wanted shape [%lld]",
                                  sym->weight[i]->name, snl_infer_text(x, t), (ll)a);
    }
    return SNL_OK;
}

/* A kernel takes its members in one format. */
static SnlStatus same_format(const SnlInfer *x, const char *name, const SnlType *t,
                             const char *first_name, const SnlType *first)
{
    if (t->dtype == first->dtype) return SNL_OK;
    return snl_infer_fail(x, SNL_E_TYPE,
                          "'@%s': found %s, wanted %s as in '@%s': members have one format",
                          name, snl_dtype_info[t->dtype].text, snl_dtype_info[first->dtype].text,
                          first_name);
}

static SnlStatus weights_in_one_format(const SnlInfer *x)
{
    const SnlSymbols *sym = &x->op->sym[0];
    for (size_t i = 1; i < sym->n; i++)
        SNL_TRY(same_format(x, sym->weight[i]->name, sym->weight[i]->type, sym->weight[0]->name,
                            sym->weight[0]->type));
    return SNL_OK;
}

/* A layer's parameters have no types: verify_calls.c looks at what is bound to them. */
static SnlStatus states_in_one_format(const SnlInfer *x)
{
    const SnlSymbols *sym = &x->op->sym[0];
    const SnlState *first = sym->state[0];
    for (size_t i = 1; i < sym->n && first->type; i++)
        if (sym->state[i]->type)
            SNL_TRY(same_format(x, sym->state[i]->name, sym->state[i]->type, first->name,
                                first->type));
    return SNL_OK;
}

static SnlStatus one_symbol(const SnlInfer *x)
{
    if (!x->op->sym[0].list) return SNL_OK;
    return snl_infer_fail(x, SNL_E_STRUCTURE, "takes one symbol here, not a list");
}

static SnlStatus divides(const SnlInfer *x, const char *what, int64_t n, const char *of,
                         int64_t width)
{
    if (width % n == 0) return SNL_OK;
    return snl_infer_fail(x, SNL_E_SHAPE, "%s = %lld does not divide the %s %lld", what, (ll)n, of,
                          (ll)width);
}

/* ---- rows and weights ------------------------------------------------------------------------ */

/* i32[T], [V, D] -> f32[T, D] */
static SnlStatus infer_embed(const SnlInfer *x)
{
    const SnlType *ids = snl_in(x->op, 0)->type, *w = snl_op_weight(x->op, 0)->type;
    if (ids->dtype != SNL_I32 || ids->rank != 1 || !snl_type_has_t(ids))
        return snl_infer_fail(x, SNL_E_TYPE, "operand 0: found %s, wanted i32[T]",
                              snl_infer_text(x, ids));
    SNL_TRY(one_symbol(x));
    if (w->rank != 2)
        return snl_infer_fail(x, SNL_E_SHAPE, "'@%s': found %s, wanted shape [V, D]",
                              snl_op_weight(x->op, 0)->name, snl_infer_text(x, w));
    return result(x, SNL_F32, false, 1, w->dim[1]);
}

/* [T, (M,) H*d], [d]* -> [T, (M,) H*d] */
static SnlStatus infer_norm(const SnlInfer *x)
{
    const SnlType *t;
    bool rank3;
    int64_t M, heads = snl_attr_int(&x->op->attrs, "heads", 1);
    SNL_TRY(rows(x, 0, true, &t));
    SNL_TRY(divides(x, "heads", heads, "width", snl_type_width(t)));
    SNL_TRY(members(x, t, &rank3, &M));
    SNL_TRY(weights_are(x, 0, snl_type_width(t) / heads, 0));
    return result(x, SNL_F32, rank3, M, snl_type_width(t));
}

/* Rows, or rows in blocks (q8_0): what a linear takes, and what carries members to it. */
static SnlStatus rows_or_blocks(const SnlInfer *x, size_t i, bool members, const SnlType **out)
{
    const SnlType *t = snl_in(x->op, i)->type;
    *out = t;
    bool blocks = t->dtype == SNL_Q8_0 && snl_type_has_t(t);
    if (blocks && (t->rank == 2 || (members && t->rank == 3))) return SNL_OK;
    return rows(x, i, members, out);
}

/* Products of parts of the inputs, ceil(D / part) members: one weight, numbers that lie
 * together. */
static SnlStatus infer_linear_parts(const SnlInfer *x, int64_t part)
{
    const SnlOp *op = x->op;
    const SnlType *t = snl_in(op, 0)->type, *w = snl_op_weight(op, 0)->type;
    int64_t width = snl_type_width(t);
    bool blocks = snl_dtype_is_blocked(w->dtype) || snl_dtype_is_blocked(t->dtype);
    int64_t whole = blocks ? SNL_BLOCK : 2;
    if (op->sym[0].list || t->rank == 3 || op->sym[1].n > 0)
        return snl_infer_fail(x, SNL_E_STRUCTURE,
                              "'part' takes one weight without bias, and rows without members");
    if (part % whole != 0)
        return snl_infer_fail(x, SNL_E_ATTR, "part: found %lld, wanted a multiple of %lld",
                              (ll)part, (ll)whole);
    return result(x, SNL_F32, true, (width + part - 1) / part, w->dim[0]);
}

/* [T, (M,) D], [F, D]* -> [T, (M,) F] */
static SnlStatus infer_linear(const SnlInfer *x)
{
    const SnlOp *op = x->op;
    const SnlType *t, *w = snl_op_weight(op, 0)->type;
    bool rank3, reduce = snl_attr_flag(&op->attrs, "reduce");
    int64_t M;
    SNL_TRY(rows_or_blocks(x, 0, true, &t));
    if (w->rank != 2)
        return snl_infer_fail(x, SNL_E_SHAPE, "'@%s': found %s, wanted shape [F, D]",
                              snl_op_weight(op, 0)->name, snl_infer_text(x, w));
    if (w->dim[1] != snl_type_width(t))
        return snl_infer_fail(
            x, SNL_E_SHAPE, "inner sizes differ: '%%%s' has width %lld, '@%s' has %lld",
            snl_in(op, 0)->name, (ll)snl_type_width(t), snl_op_weight(op, 0)->name, (ll)w->dim[1]);
    SNL_TRY(weights_are(x, 0, w->dim[0], w->dim[1]));
    SNL_TRY(weights_in_one_format(x));
    SNL_TRY(members(x, t, &rank3, &M));
    if (op->sym[1].n > 0) {
        if (op->sym[1].n != op->sym[0].n || op->sym[1].list != op->sym[0].list)
            return snl_infer_fail(x, SNL_E_STRUCTURE, "%zu biases for %zu weights: one for each",
                                  op->sym[1].n, op->sym[0].n);
        SNL_TRY(weights_are(x, 1, w->dim[0], 0));
    }
    if (reduce && !rank3)
        return snl_infer_fail(x, SNL_E_ATTR, "'reduce' sums members: wanted a list of weights");
    int64_t part = snl_attr_int(&op->attrs, "part", 0);
    if (part > 0) return infer_linear_parts(x, part);
    return result(x, SNL_F32, rank3 && !reduce, M, w->dim[0]);
}

/* [T, (M,) D], [D]* -> [T, (M,) D] */
static SnlStatus infer_scale(const SnlInfer *x)
{
    const SnlType *t;
    bool rank3;
    int64_t M;
    SNL_TRY(rows(x, 0, true, &t));
    SNL_TRY(members(x, t, &rank3, &M));
    SNL_TRY(weights_are(x, 0, snl_type_width(t), 0));
    return result(x, SNL_F32, rank3, M, snl_type_width(t));
}

/* [T, (S,) D], [R, S] -> [T, (R,) D] */
static SnlStatus infer_mix(const SnlInfer *x)
{
    const SnlType *t, *w = snl_op_weight(x->op, 0)->type;
    SNL_TRY(rows(x, 0, true, &t));
    SNL_TRY(one_symbol(x));
    SNL_TRY(weights_are(x, 0, w->dim[0], snl_type_members(t)));
    if (w->dim[0] >= SNL_MANY)
        return snl_infer_fail(x, SNL_E_SHAPE, "%lld streams, at most %d", (ll)w->dim[0], SNL_MANY);
    return result(x, SNL_F32, w->dim[0] > 1, w->dim[0], snl_type_width(t));
}

/* ---- positions and attention ----------------------------------------------------------------- */

static SnlStatus needs_keys(const SnlInfer *x, const char *scaling, const char *const *key,
                            size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!snl_attr_find(&x->op->attrs, key[i]))
            return snl_infer_fail(x, SNL_E_ATTR, "scaling = %s needs attribute '%s'", scaling,
                                  key[i]);
    return SNL_OK;
}

/* index -> [T, d] */
static SnlStatus infer_rope_table(const SnlInfer *x)
{
    static const char *const key[] = {"factor", "high_freq_factor", "low_freq_factor",
                                      "original_context"};
    const SnlAttrs *a = &x->op->attrs;
    int64_t d = snl_attr_int(a, "width", 2);
    const char *scaling = snl_attr_text(a, "scaling", "none");
    SNL_TRY(index_operand(x, 0));
    if (d % 2 != 0)
        return snl_infer_fail(x, SNL_E_ATTR, "width: found %lld, wanted an even number", (ll)d);
    if (strcmp(scaling, "linear") == 0) SNL_TRY(needs_keys(x, scaling, key, 1));
    if (strcmp(scaling, "llama3") == 0) {
        SNL_TRY(needs_keys(x, scaling, key, 4));
        if (!(snl_attr_real(a, "high_freq_factor", 0) > snl_attr_real(a, "low_freq_factor", 0)))
            return snl_infer_fail(x, SNL_E_ATTR, "high_freq_factor must exceed low_freq_factor");
    }
    return result(x, SNL_F32, false, 1, d);
}

/* [T, (M,) H*d], [T, d] -> [T, (M,) H*d] */
static SnlStatus infer_rope(const SnlInfer *x)
{
    const SnlType *t, *table;
    int64_t heads = snl_attr_int(&x->op->attrs, "heads", 1);
    SNL_TRY(rows(x, 0, true, &t));
    SNL_TRY(rows(x, 1, false, &table));
    SNL_TRY(divides(x, "heads", heads, "width", snl_type_width(t)));
    int64_t d = snl_type_width(t) / heads;
    if (d % 2 != 0 || snl_type_width(table) != d)
        return snl_infer_fail(x, SNL_E_SHAPE, "table width %lld, wanted the head width %lld, even",
                              (ll)snl_type_width(table), (ll)d);
    return like(x, t, snl_type_width(t));
}

static SnlStatus same_width(const SnlInfer *x, size_t i, const SnlType *t, int rank, int64_t M,
                            int64_t width)
{
    if (t->rank == rank && snl_type_members(t) == M && snl_type_width(t) == width) return SNL_OK;
    return rank == 3
               ? snl_infer_fail(x, SNL_E_SHAPE, "operand %zu: found %s, wanted f32[T, %lld, %lld]",
                                i, snl_infer_text(x, t), (ll)M, (ll)width)
               : snl_infer_fail(x, SNL_E_SHAPE, "operand %zu: found %s, wanted f32[T, %lld]", i,
                                snl_infer_text(x, t), (ll)width);
}

/* One state for [T, D], a list of M in one format for [T, M, D]. */
static SnlStatus state_members(const SnlInfer *x, const SnlType *t)
{
    const SnlSymbols *s = &x->op->sym[0];
    if (s->list == (t->rank == 3) && (int64_t)s->n == snl_type_members(t))
        return states_in_one_format(x);
    return snl_infer_fail(x, SNL_E_SHAPE, "%zu states%s for %lld members of '%%%s'", s->n,
                          s->list ? " in a list" : "", (ll)snl_type_members(t),
                          snl_in(x->op, 0)->name);
}

static SnlStatus check_window(const SnlInfer *x, int64_t M)
{
    const SnlAttrValue *w = snl_attr_find(&x->op->attrs, "window");
    if (!w || w->kind != SNL_ATTR_LIST || (int64_t)w->list.n == M) return SNL_OK;
    return snl_infer_fail(x, SNL_E_ATTR, "window lists %zu numbers for %lld members", w->list.n,
                          (ll)M);
}

/* Operands of q [T, (M,) H*d], k and v [T, (M,) G*d], index. */
static SnlStatus attention_operands(const SnlInfer *x)
{
    const SnlType *q, *k, *v;
    int64_t H = snl_attr_int(&x->op->attrs, "heads", 1);
    int64_t G = snl_attr_int(&x->op->attrs, "kv_heads", H);
    SNL_TRY(rows(x, 0, true, &q));
    SNL_TRY(rows(x, 1, true, &k));
    SNL_TRY(rows(x, 2, true, &v));
    SNL_TRY(index_operand(x, 3));
    SNL_TRY(divides(x, "heads", H, "width", snl_type_width(q)));
    SNL_TRY(divides(x, "kv_heads", G, "number of heads", H));
    int64_t d = snl_type_width(q) / H;
    SNL_TRY(same_width(x, 1, k, q->rank, snl_type_members(q), G * d));
    SNL_TRY(same_width(x, 2, v, q->rank, snl_type_members(q), G * d));
    SNL_TRY(state_members(x, q));
    return check_window(x, snl_type_members(q));
}

/* -> [T, (M,) H*d] */
static SnlStatus infer_attention(const SnlInfer *x)
{
    SNL_TRY(attention_operands(x));
    const SnlType *q = snl_in(x->op, 0)->type;
    return like(x, q, snl_type_width(q));
}

/* Positions that all states have room for. */
static SnlStatus context_of(const SnlInfer *x, int64_t *out)
{
    const SnlSymbols *s = &x->op->sym[0];
    for (size_t i = 0; i < s->n; i++) {
        const SnlType *type = s->state[i]->type;
        if (!type || type->rank != 4)
            return snl_infer_fail(x, SNL_E_TYPE, "state '@%s': found %s, wanted a cache's state",
                                  s->state[i]->name,
                                  type ? snl_infer_text(x, type) : "a layer's parameter");
        if (i > 0 && type->dim[2] != *out)
            return snl_infer_fail(x, SNL_E_SHAPE,
                                  "state '@%s': found a context of %lld, wanted %lld as in '@%s'",
                                  s->state[i]->name, (ll)type->dim[2], (ll)*out, s->state[0]->name);
        *out = type->dim[2];
    }
    return SNL_OK;
}

/* -> [T, (M,) P*H*(d + 2)], P parts of the context */
static SnlStatus infer_attention_parts(const SnlInfer *x)
{
    int64_t H = snl_attr_int(&x->op->attrs, "heads", 1), context = 1, width;
    int64_t part = snl_attr_int(&x->op->attrs, "part", 1);
    SNL_TRY(attention_operands(x));
    SNL_TRY(context_of(x, &context));
    if (part % 16 != 0)
        return snl_infer_fail(x, SNL_E_ATTR, "part: found %lld, wanted a multiple of 16", (ll)part);
    const SnlType *q = snl_in(x->op, 0)->type;
    int64_t parts = context / part + (context % part != 0);
    if (!snl_mul_i64(parts, snl_type_width(q) + 2 * H, &width)) width = INT64_MAX;
    return like(x, q, width);
}

/* [T, (M,) P*H*(d + 2)], index -> [T, (M,) H*d] */
static SnlStatus infer_attention_merge(const SnlInfer *x)
{
    const SnlOp *parts = snl_in(x->op, 0)->def;
    SNL_TRY(index_operand(x, 1));
    if (!parts || parts->code != SNL_OP_ATTENTION_PARTS)
        return snl_infer_fail(x, SNL_E_STRUCTURE,
                              "operand 0 ('%%%s'): wanted the result of attention_parts",
                              snl_in(x->op, 0)->name);
    if (snl_in(parts, 3) != snl_in(x->op, 1))
        return snl_infer_fail(x, SNL_E_STRUCTURE,
                              "found position '%%%s', wanted '%%%s' of the parts",
                              snl_in(x->op, 1)->name, snl_in(parts, 3)->name);
    const SnlType *q = snl_in(parts, 0)->type;
    return like(x, q, snl_type_width(q));
}

static SnlStatus infer_kv_write(const SnlInfer *x)
{
    const SnlType *k, *v;
    SNL_TRY(rows(x, 0, true, &k));
    SNL_TRY(rows(x, 1, true, &v));
    SNL_TRY(index_operand(x, 2));
    SNL_TRY(same_width(x, 1, v, k->rank, snl_type_members(k), snl_type_width(k)));
    return state_members(x, k);
}

/* [T, (S,) D], index -> [T, (S,) D] */
static SnlStatus infer_shift(const SnlInfer *x)
{
    const SnlType *t;
    SNL_TRY(rows(x, 0, true, &t));
    SNL_TRY(index_operand(x, 1));
    SNL_TRY(one_symbol(x));
    return like(x, t, snl_type_width(t));
}

static SnlStatus infer_row_write(const SnlInfer *x)
{
    const SnlType *t;
    SNL_TRY(rows(x, 0, true, &t));
    SNL_TRY(index_operand(x, 1));
    return one_symbol(x);
}

/* ---- elementwise ----------------------------------------------------------------------------- */

/* [T, D] operands are shared by the members of [T, M, D] ones. */
static SnlStatus infer_lincomb(const SnlInfer *x)
{
    const SnlOp *op = x->op;
    const SnlType *t, *wide;
    SNL_TRY(rows(x, 0, true, &wide));
    for (size_t i = 1; i < op->n_in; i++) {
        SNL_TRY(rows(x, i, true, &t));
        if (snl_type_width(t) != snl_type_width(wide))
            return snl_infer_fail(x, SNL_E_SHAPE, "operand %zu has width %lld, operand 0 has %lld",
                                  i, (ll)snl_type_width(t), (ll)snl_type_width(wide));
        if (t->rank == 3 && wide->rank == 3 && snl_type_members(t) != snl_type_members(wide))
            return snl_infer_fail(x, SNL_E_SHAPE,
                                  "operand %zu has %lld members, earlier ones have %lld", i,
                                  (ll)snl_type_members(t), (ll)snl_type_members(wide));
        if (t->rank > wide->rank) wide = t;
    }
    const SnlAttrValue *coef = snl_attr_find(&op->attrs, "coef");
    if (coef && coef->list.n != op->n_in)
        return snl_infer_fail(x, SNL_E_ATTR, "%zu coefficients for %zu operands", coef->list.n,
                              op->n_in);
    return like(x, wide, snl_type_width(wide));
}

/* a [T, (M,) D] times b of the same shape, or b [T, (M,) H] with D = H*d: one factor for each
 * head. */
static SnlStatus infer_mul(const SnlInfer *x)
{
    const SnlType *a, *b;
    SNL_TRY(rows(x, 0, true, &a));
    SNL_TRY(rows(x, 1, true, &b));
    if (a->rank != b->rank || snl_type_members(a) != snl_type_members(b) ||
        snl_type_width(a) % snl_type_width(b) != 0)
        return snl_infer_fail(x, SNL_E_SHAPE,
                              "operand 1 is %s, wanted the shape of operand 0, %s, or a width that "
                              "divides it",
                              snl_infer_text(x, b), snl_infer_text(x, a));
    return like(x, a, snl_type_width(a));
}

static SnlStatus infer_unary(const SnlInfer *x)
{
    const SnlType *t;
    SNL_TRY(rows(x, 0, true, &t));
    return like(x, t, snl_type_width(t));
}

static SnlStatus infer_cast(const SnlInfer *x)
{
    const SnlType *t;
    const char *to = snl_attr_text(&x->op->attrs, "to", "f32");
    SnlDtype dtype = SNL_F32;
    SNL_TRY(rows(x, 0, true, &t));
    bool known = snl_dtype_find(to, strlen(to), &dtype);
    SNL_ASSERT(known); /* attr_rules.def lists dtypes only */
    return result(x, dtype, t->rank == 3, snl_type_members(t), snl_type_width(t));
}

/* ---- moving ---------------------------------------------------------------------------------- */

static SnlStatus infer_slice(const SnlInfer *x)
{
    const SnlType *t;
    int64_t begin = snl_attr_int(&x->op->attrs, "begin", 0);
    int64_t end = snl_attr_int(&x->op->attrs, "end", 0);
    SNL_TRY(rows(x, 0, true, &t));
    if (begin >= end || end > snl_type_width(t))
        return snl_infer_fail(x, SNL_E_ATTR, "[%lld, %lld) is no part of the width %lld", (ll)begin,
                              (ll)end, (ll)snl_type_width(t));
    return result(x, t->dtype, t->rank == 3, snl_type_members(t), end - begin);
}

/* [T, M, D] -> [T, D] */
static SnlStatus infer_member(const SnlInfer *x)
{
    const SnlType *t;
    int64_t index = snl_attr_int(&x->op->attrs, "index", 0);
    SNL_TRY(rows_or_blocks(x, 0, true, &t));
    if (t->rank != 3)
        return snl_infer_fail(x, SNL_E_TYPE, "operand 0: found %s, wanted f32[T, M, D]",
                              snl_infer_text(x, t));
    if (index >= snl_type_members(t))
        return snl_infer_fail(x, SNL_E_ATTR, "index %lld: there are %lld members, counted from 0",
                              (ll)index, (ll)snl_type_members(t));
    return result(x, t->dtype, false, 1, snl_type_width(t));
}

/* M times [T, D] -> [T, M, D] */
static SnlStatus infer_stack(const SnlInfer *x)
{
    const SnlType *t, *first;
    SNL_TRY(rows_or_blocks(x, 0, false, &first));
    for (size_t i = 1; i < x->op->n_in; i++) {
        SNL_TRY(rows_or_blocks(x, i, false, &t));
        if (t != first)
            return snl_infer_fail(x, SNL_E_SHAPE, "operand %zu is %s, operand 0 is %s", i,
                                  snl_infer_text(x, t), snl_infer_text(x, first));
    }
    return result(x, first->dtype, true, (int64_t)x->op->n_in, snl_type_width(first));
}

/* ---- the table ------------------------------------------------------------------------------- */

#define infer_call snl_infer_call
#define infer_chain snl_infer_chain
#define infer_control snl_infer_control

static SnlInferRule *const rule_of[SNL_OP_COUNT] = {
#define OP(NAME, text, min_in, max_in, symbols, n_out, flags, rule) [SNL_OP_##NAME] = infer_##rule,
#include "ir/ops.def"
#undef OP
};

static bool group_optional(SnlOpCode code, int g)
{
    const char *s = snl_op_info[code].symbols;
    for (; *s; s++)
        if (*s != '?' && g-- == 0) return s[1] == '?';
    return true; /* there is no such group: it must be absent */
}

static SnlStatus check_counts(const SnlInfer *x)
{
    const SnlOp *op = x->op;
    const SnlOpInfo *info = &snl_op_info[op->code];
    if (op->n_in < (size_t)info->min_in || op->n_in > (size_t)info->max_in)
        return info->min_in == info->max_in
                   ? snl_infer_fail(x, SNL_E_STRUCTURE, "takes %d values, found %zu", info->min_in,
                                    op->n_in)
                   : snl_infer_fail(x, SNL_E_STRUCTURE, "takes at least %d values, found %zu",
                                    info->min_in, op->n_in);
    for (int g = 0; g < SNL_MAX_GROUPS; g++) {
        char letter = snl_op_group_letter(op->code, g);
        const char *kind = letter == 'w'   ? "a weight is"
                           : letter == 's' ? "a state is"
                                           : "bound layers are";
        if (op->sym[g].n == 0 && !group_optional(op->code, g))
            return snl_infer_fail(x, SNL_E_STRUCTURE, "%s missing after the values", kind);
        if (op->sym[g].n > 0 && !letter)
            return snl_infer_fail(x, SNL_E_STRUCTURE, "too many symbol operands");
    }
    return SNL_OK;
}

SnlStatus snl_op_infer(const SnlOp *op, SnlDiag *diag, const SnlType **out_types)
{
    SnlInfer x = {op, op->func->module, diag, out_types};
    SNL_TRY(check_counts(&x));
    SNL_TRY(snl_op_check_attrs(op, diag));
    return rule_of[op->code](&x);
}

size_t snl_op_result_count(const SnlOp *op)
{
    int n = snl_op_info[op->code].n_out;
    if (n >= 0) return (size_t)n;
    if (op->code == SNL_OP_CALL) return op->sym[0].n ? op->sym[0].bind[0].layer->n_result : 0;
    const SnlAttrValue *taps = snl_attr_find(&op->attrs, "taps");
    return 1 + (taps && taps->kind == SNL_ATTR_LIST ? taps->list.n : 0);
}
