/* ir/eval_ops.c -- one function per rule of ops.def for everything but attention, rope and layers.
 *
 * Each works row by row over [T, D] or [T, M, D]; an operand without members is shared by all.
 * Letters as in ops.def. Sums run in double, in index order. */
#include "ir/eval_internal.h"

#include <math.h>
#include <string.h>

SnlStatus snl_eval_op_embed(SnlFrame *f, const SnlOp *op)
{
    SnlView ids = snl_frame_in(f, op, 0), out = snl_frame_out(f, op, 0);
    const float *w;
    SNL_TRY(snl_eval_weight(f->eval, snl_op_weight(op, 0), &w));
    int64_t vocab = snl_weight_rows(snl_op_weight(op, 0));
    for (int64_t t = 0; t < out.rows; t++) {
        double id = ids.at[t];
        if (!(id >= 0 && id < (double)vocab))
            return snl_error(
                f->eval->diag, SNL_E_NUMERIC, op->loc,
                "embed: token id of row %lld out of range: found %.17g, wanted 0 to %lld",
                (long long)t, id, (long long)(vocab - 1));
        for (int64_t i = 0; i < out.width; i++)
            snl_view_row(&out, t, 0)[i] = (double)w[(int64_t)id * out.width + i];
    }
    return SNL_OK;
}

/* y = x / sqrt(mean(x^2) + eps) * g over one group of d elements. */
static void norm_group(const double *x, const float *g, int64_t d, double eps, double *y)
{
    double sum = 0;
    for (int64_t i = 0; i < d; i++) sum += x[i] * x[i];
    double inverse = 1.0 / sqrt(sum / (double)d + eps);
    for (int64_t i = 0; i < d; i++) y[i] = x[i] * inverse * (g ? (double)g[i] : 1.0);
}

SnlStatus snl_eval_op_norm(SnlFrame *f, const SnlOp *op)
{
    SnlView x = snl_frame_in(f, op, 0), out = snl_frame_out(f, op, 0);
    const float **g;
    SNL_TRY(snl_frame_weights(f, op, 0, &g));
    double eps = snl_attr_real(&op->attrs, "eps", 0.0);
    int64_t heads = snl_attr_int(&op->attrs, "heads", 1), d = out.width / heads;
    for (int64_t t = 0; t < out.rows; t++)
        for (int64_t m = 0; m < out.members; m++)
            for (int64_t h = 0; h < heads; h++)
                norm_group(snl_view_row(&x, t, m) + h * d, g[snl_member(op->sym[0].n, m)], d, eps,
                           snl_view_row(&out, t, m) + h * d);
    return SNL_OK;
}

/* y += W x (+ b), W [F, D], by inputs [begin, end) */
static void add_product(const float *w, const float *b, const double *x, int64_t F, int64_t D,
                        int64_t begin, int64_t end, double *y)
{
    for (int64_t r = 0; r < F; r++) {
        double sum = 0;
        for (int64_t i = begin; i < end; i++) sum += (double)w[r * D + i] * x[i];
        y[r] += sum + (b ? (double)b[r] : 0.0);
    }
}

/* Member m: the product of inputs [part m, part (m + 1)). */
static void linear_parts(const SnlView *x, const SnlView *out, const float *w, int64_t part)
{
    for (int64_t t = 0; t < out->rows; t++)
        for (int64_t m = 0; m < out->members; m++) {
            int64_t end = part < x->width - m * part ? (m + 1) * part : x->width;
            add_product(w, NULL, snl_view_row(x, t, 0), out->width, x->width, m * part, end,
                        snl_view_row(out, t, m));
        }
}

SnlStatus snl_eval_op_linear(SnlFrame *f, const SnlOp *op)
{
    SnlView x = snl_frame_in(f, op, 0), out = snl_frame_out(f, op, 0); /* zeroed */
    const float **w, **b;
    SNL_TRY(snl_frame_weights(f, op, 0, &w));
    SNL_TRY(snl_frame_weights(f, op, 1, &b));
    int64_t members = snl_op_members(op, &x), part = snl_attr_int(&op->attrs, "part", 0);
    if (part > 0) {
        linear_parts(&x, &out, w[0], part);
        return SNL_OK;
    }
    for (int64_t t = 0; t < out.rows; t++)
        for (int64_t m = 0; m < members; m++) /* `reduce`: out has one member and sums them */
            add_product(w[snl_member(op->sym[0].n, m)], b[snl_member(op->sym[1].n, m)],
                        snl_view_row(&x, t, m), out.width, x.width, 0, x.width,
                        snl_view_row(&out, t, m));
    return SNL_OK;
}

/* Row x[t-1]; row -1 is the state's, or zeros at the start of the text. */
SnlStatus snl_eval_op_shift(SnlFrame *f, const SnlOp *op)
{
    SnlView x = snl_frame_in(f, op, 0), out = snl_frame_out(f, op, 0);
    int64_t pos, row = x.members * x.width;
    SNL_TRY(snl_frame_index(f, op, 1, &pos));
    const double *last = snl_eval_state(f->eval, snl_frame_state(f, op->sym[0].state[0]));
    size_t bytes = (size_t)row * sizeof(double);
    if (x.rows > 0 && pos > 0) memcpy(out.at, last, bytes);
    if (x.rows > 1) memcpy(out.at + row, x.at, bytes * (size_t)(x.rows - 1));
    return SNL_OK;
}

SnlStatus snl_eval_op_row_write(SnlFrame *f, const SnlOp *op)
{
    SnlView x = snl_frame_in(f, op, 0);
    int64_t row = x.members * x.width;
    if (f->read_only || x.rows == 0) return SNL_OK;
    double *state = snl_eval_state(f->eval, snl_frame_state(f, op->sym[0].state[0]));
    memcpy(state, x.at + (x.rows - 1) * row, (size_t)row * sizeof(double));
    return SNL_OK;
}

/* Coefficient i: 1.0, a number, or the element of a weight. */
static SnlStatus coefficient(SnlFrame *f, const SnlOp *op, size_t i, double *out)
{
    const SnlAttrValue *v = snl_attr_find(&op->attrs, "coef");
    *out = 1.0;
    if (v && v->kind == SNL_ATTR_LIST) v = i < v->list.n ? &v->list.at[i] : NULL;
    if (!v) return SNL_OK;
    if (v->kind == SNL_ATTR_INT) *out = (double)v->i;
    if (v->kind == SNL_ATTR_REAL) *out = v->r;
    if (v->kind == SNL_ATTR_WEIGHT) {
        const float *w;
        SNL_TRY(snl_eval_weight(f->eval, v->weight, &w));
        *out = (double)w[0];
    }
    return SNL_OK;
}

SnlStatus snl_eval_op_lincomb(SnlFrame *f, const SnlOp *op)
{
    SnlView out = snl_frame_out(f, op, 0); /* zeroed */
    for (size_t k = 0; k < op->n_in; k++) {
        SnlView x = snl_frame_in(f, op, k);
        double c;
        SNL_TRY(coefficient(f, op, k, &c));
        for (int64_t t = 0; t < out.rows; t++)
            for (int64_t m = 0; m < out.members; m++)
                for (int64_t i = 0; i < out.width; i++)
                    snl_view_row(&out, t, m)[i] += c * snl_view_row(&x, t, m)[i];
    }
    return SNL_OK;
}

/* b may be narrower: each of its numbers scales width(a) / width(b) neighbours (a head). */
SnlStatus snl_eval_op_mul(SnlFrame *f, const SnlOp *op)
{
    SnlView a = snl_frame_in(f, op, 0), b = snl_frame_in(f, op, 1), out = snl_frame_out(f, op, 0);
    int64_t da = out.width / a.width, db = out.width / b.width;
    for (int64_t t = 0; t < out.rows; t++)
        for (int64_t m = 0; m < out.members; m++)
            for (int64_t i = 0; i < out.width; i++)
                snl_view_row(&out, t, m)[i] =
                    snl_view_row(&a, t, m)[i / da] * snl_view_row(&b, t, m)[i / db];
    return SNL_OK;
}

SnlStatus snl_eval_op_scale(SnlFrame *f, const SnlOp *op)
{
    SnlView x = snl_frame_in(f, op, 0), out = snl_frame_out(f, op, 0);
    const float **w;
    SNL_TRY(snl_frame_weights(f, op, 0, &w));
    for (int64_t t = 0; t < out.rows; t++)
        for (int64_t m = 0; m < out.members; m++)
            for (int64_t i = 0; i < out.width; i++)
                snl_view_row(&out, t, m)[i] =
                    snl_view_row(&x, t, m)[i] * (double)w[snl_member(op->sym[0].n, m)][i];
    return SNL_OK;
}

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double unary(SnlOpCode code, double x, double cap)
{
    if (code == SNL_OP_SILU) return x * sigmoid(x);
    if (code == SNL_OP_SIGMOID) return sigmoid(x);
    if (code == SNL_OP_RELU2) return x > 0 ? x * x : x < 0 ? 0 : x * x; /* a NaN stays one */
    SNL_ASSERT(code == SNL_OP_SOFTCAP);
    return cap * tanh(x / cap);
}

SnlStatus snl_eval_op_unary(SnlFrame *f, const SnlOp *op)
{
    SnlView x = snl_frame_in(f, op, 0), out = snl_frame_out(f, op, 0);
    double cap = snl_attr_real(&op->attrs, "cap", 1.0);
    int64_t n = x.rows * x.members * x.width;
    for (int64_t i = 0; i < n; i++) out.at[i] = unary(op->code, x.at[i], cap);
    return SNL_OK;
}

/* out[r] = sum_s m[r, s] x[s] over the streams of each row. */
SnlStatus snl_eval_op_mix(SnlFrame *f, const SnlOp *op)
{
    SnlView x = snl_frame_in(f, op, 0), out = snl_frame_out(f, op, 0); /* zeroed */
    const float **w;
    SNL_TRY(snl_frame_weights(f, op, 0, &w));
    for (int64_t t = 0; t < out.rows; t++)
        for (int64_t r = 0; r < out.members; r++)
            for (int64_t s = 0; s < x.members; s++)
                for (int64_t i = 0; i < out.width; i++)
                    snl_view_row(&out, t, r)[i] +=
                        (double)w[0][r * x.members + s] * snl_view_row(&x, t, s)[i];
    return SNL_OK;
}

SnlStatus snl_eval_op_slice(SnlFrame *f, const SnlOp *op)
{
    SnlView x = snl_frame_in(f, op, 0), out = snl_frame_out(f, op, 0);
    int64_t begin = snl_attr_int(&op->attrs, "begin", 0);
    for (int64_t t = 0; t < out.rows; t++)
        for (int64_t m = 0; m < out.members; m++)
            memcpy(snl_view_row(&out, t, m), snl_view_row(&x, t, m) + begin,
                   (size_t)out.width * sizeof(double));
    return SNL_OK;
}

SnlStatus snl_eval_op_member(SnlFrame *f, const SnlOp *op)
{
    SnlView x = snl_frame_in(f, op, 0), out = snl_frame_out(f, op, 0);
    int64_t index = snl_attr_int(&op->attrs, "index", 0);
    for (int64_t t = 0; t < out.rows; t++)
        memcpy(snl_view_row(&out, t, 0), snl_view_row(&x, t, index),
               (size_t)out.width * sizeof(double));
    return SNL_OK;
}

SnlStatus snl_eval_op_stack(SnlFrame *f, const SnlOp *op)
{
    SnlView out = snl_frame_out(f, op, 0);
    for (size_t m = 0; m < op->n_in; m++) {
        SnlView x = snl_frame_in(f, op, m);
        for (int64_t t = 0; t < out.rows; t++)
            memcpy(out.at + (t * (int64_t)op->n_in + (int64_t)m) * out.width,
                   snl_view_row(&x, t, 0), (size_t)out.width * sizeof(double));
    }
    return SNL_OK;
}

/* Blocks lie along each row of each member; a float's worth of digits goes in. */
static void cast_blocks(SnlDtype dtype, const SnlView *x, double *out)
{
    float block[SNL_BLOCK];
    for (int64_t row = 0; row < x->rows * x->members; row++)
        for (int64_t c = 0; c < x->width; c += SNL_BLOCK) {
            int64_t at = row * x->width + c;
            int64_t n = x->width - c < SNL_BLOCK ? x->width - c : SNL_BLOCK;
            for (int64_t k = 0; k < n; k++) block[k] = (float)x->at[at + k];
            snl_round_blocks(dtype, block, n);
            for (int64_t k = 0; k < n; k++) out[at + k] = block[k];
        }
}

SnlStatus snl_eval_op_cast(SnlFrame *f, const SnlOp *op)
{
    SnlView x = snl_frame_in(f, op, 0), out = snl_frame_out(f, op, 0);
    const char *to = snl_attr_text(&op->attrs, "to", "f32");
    SnlDtype dtype = SNL_F32;
    bool known = snl_dtype_find(to, strlen(to), &dtype);
    SNL_ASSERT(known);
    int64_t n = x.rows * x.members * x.width;
    if (snl_dtype_is_blocked(dtype))
        cast_blocks(dtype, &x, out.at);
    else
        for (int64_t i = 0; i < n; i++) out.at[i] = snl_round_to(dtype, x.at[i]);
    return SNL_OK;
}
