/* ir/weights.c -- walks weight expressions and produces the elements that are asked for.
 *
 * Every expression answers for a range of elements in row-major order, so that a slice of a
 * concatenation of mapped tensors touches only the bytes it needs. Modules are verified: shapes
 * fit. What a verified module can still hold is an expression that is too large to walk;
 * ir/weights_check.c refuses that before anything is read. */
#include "ir/weights_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Reader {
    SnlWeightSource *source;
    SnlDiag *diag;
} Reader;

int64_t snl_weight_cols(const SnlWeight *w)
{
    return snl_type_width(w->type);
}

int64_t snl_weight_rows(const SnlWeight *w)
{
    return snl_weight_elems(w) / snl_weight_cols(w);
}

bool snl_weight_has_source(const SnlWeight *w)
{
    if (w->code == SNL_WEXPR_SOURCE) return true;
    for (size_t i = 0; i < w->n_arg; i++)
        if (snl_weight_has_source(w->arg[i])) return true;
    return false;
}

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static float *scratch(int64_t n)
{
    return snl_xmalloc((size_t)n * sizeof(float));
}

/* Elements [first, first + n) of w. */
static SnlStatus read_range(const Reader *r, const SnlWeight *w, int64_t first, int64_t n,
                            float *out);

/* ---- leaves ---------------------------------------------------------------------------------- */

static SnlStatus read_source(const Reader *r, const SnlWeight *w, int64_t first, int64_t n,
                             float *out)
{
    SNL_TRY(r->source->read(r->source, w->file, w->tensor, first, n, r->diag, out));
    if (!r->source->shapeless) return SNL_OK;
    bool vector = w->type->rank < 2;
    float mean = vector ? 1.0f : 0.0f;
    float deviation = vector ? 0.1f : (float)(1 / sqrt((double)snl_weight_cols(w)));
    for (int64_t i = 0; i < n; i++) out[i] = mean + deviation * out[i];
    return SNL_OK;
}

static void read_fill(const SnlWeight *w, int64_t n, float *out)
{
    float value = (float)snl_attr_real(&w->attrs, "value", 0);
    for (int64_t i = 0; i < n; i++) out[i] = value;
}

static void scale_by(double factor, int64_t n, float *out)
{
    for (int64_t i = 0; i < n; i++) out[i] = (float)(out[i] * factor);
}

static void read_random(const SnlWeight *w, int64_t first, int64_t n, float *out)
{
    snl_random_normals((uint64_t)snl_attr_int(&w->attrs, "seed", 0), w->name, first, n, out);
    scale_by(snl_attr_real(&w->attrs, "scale", 1), n, out);
}

/* ---- elements that move ---------------------------------------------------------------------- */

/* Elements below one index of `axis`: the product of the later dims. */
static int64_t elems_below(const SnlType *type, int64_t axis)
{
    int64_t n = 1;
    for (int64_t i = axis + 1; i < type->rank; i++) n *= type->dim[i];
    return n;
}

/* {axis}; the caller uses it as an index. */
static int64_t axis_of(const SnlWeight *w)
{
    int64_t axis = snl_attr_int(&w->attrs, "axis", 0);
    SNL_ASSERT(axis >= 0 && axis < w->type->rank);
    return axis;
}

/* Elements of one argument below one index of the dims before `axis`. */
static int64_t slab_elems(const SnlWeight *w, int64_t axis)
{
    SNL_ASSERT(axis < w->type->rank);
    return w->type->dim[axis] * elems_below(w->type, axis);
}

static SnlStatus read_concat(const Reader *r, const SnlWeight *w, int64_t first, int64_t n,
                             float *out)
{
    int64_t axis = axis_of(w), slab = slab_elems(w, axis);
    while (n > 0) {
        int64_t outer = first / slab, offset = first % slab, part = 0;
        size_t k = 0;
        for (;; k++) {
            SNL_ASSERT(k < w->n_arg);
            part = slab_elems(w->arg[k], axis);
            if (offset < part) break;
            offset -= part;
        }
        int64_t take = min_i64(n, part - offset);
        SNL_TRY(read_range(r, w->arg[k], outer * part + offset, take, out));
        first += take, n -= take, out += take;
    }
    return SNL_OK;
}

static SnlStatus read_slice(const Reader *r, const SnlWeight *w, int64_t first, int64_t n,
                            float *out)
{
    int64_t axis = axis_of(w), slab = slab_elems(w, axis), from = slab_elems(w->arg[0], axis);
    int64_t skipped = snl_attr_int(&w->attrs, "begin", 0) * elems_below(w->type, axis);
    while (n > 0) {
        int64_t outer = first / slab, offset = first % slab;
        int64_t take = min_i64(n, slab - offset);
        SNL_TRY(read_range(r, w->arg[0], outer * from + skipped + offset, take, out));
        first += take, n -= take, out += take;
    }
    return SNL_OK;
}

/* Result rows [row, row + n) of the transpose of a large matrix [from_rows, from_cols]: a strip of
 * n columns, read row by row. */
static SnlStatus read_columns(const Reader *r, const SnlWeight *from, int64_t row, int64_t n,
                              float *out)
{
    int64_t from_cols = snl_weight_cols(from), from_rows = snl_weight_rows(from);
    float *strip = scratch(n);
    SnlStatus status = SNL_OK;
    for (int64_t i = 0; i < from_rows && status == SNL_OK; i++) {
        status = read_range(r, from, i * from_cols + row, n, strip);
        for (int64_t j = 0; j < n && status == SNL_OK; j++) out[j * from_rows + i] = strip[j];
    }
    free(strip);
    return status;
}

static SnlStatus read_large_transpose(const Reader *r, const SnlWeight *from, int64_t first,
                                      int64_t n, float *out)
{
    int64_t from_cols = snl_weight_cols(from), from_rows = snl_weight_rows(from);
    while (n > 0) {
        int64_t row = first / from_rows, i = first % from_rows, take = n / from_rows * from_rows;
        if (i == 0 && take > 0) {
            SNL_TRY(read_columns(r, from, row, take / from_rows, out));
        } else {
            take = 1;
            SNL_TRY(read_range(r, from, i * from_cols + row, 1, out));
        }
        first += take, n -= take, out += take;
    }
    return SNL_OK;
}

static SnlStatus read_transpose(const Reader *r, const SnlWeight *w, int64_t first, int64_t n,
                                float *out)
{
    const SnlWeight *from = w->arg[0];
    if (snl_weight_elems(from) > SNL_MAX_SCRATCH)
        return read_large_transpose(r, from, first, n, out);
    int64_t from_cols = snl_weight_cols(from), from_rows = snl_weight_rows(from);
    float *whole = scratch(snl_weight_elems(from));
    SnlStatus status = read_range(r, from, 0, snl_weight_elems(from), whole);
    for (int64_t k = 0; k < n && status == SNL_OK; k++) {
        int64_t row = (first + k) / from_rows, i = (first + k) % from_rows;
        out[k] = whole[i * from_cols + row];
    }
    free(whole);
    return status;
}

/* ---- elementwise arithmetic ------------------------------------------------------------------ */

static SnlStatus read_scale(const Reader *r, const SnlWeight *w, int64_t first, int64_t n,
                            float *out)
{
    SNL_TRY(read_range(r, w->arg[0], first, n, out));
    scale_by(snl_attr_real(&w->attrs, "by", 1), n, out);
    return SNL_OK;
}

static SnlStatus read_colscale(const Reader *r, const SnlWeight *w, int64_t first, int64_t n,
                               float *out)
{
    int64_t cols = snl_weight_cols(w);
    SNL_TRY(read_range(r, w->arg[0], first, n, out));
    float *factor = scratch(cols);
    SnlStatus status = read_range(r, w->arg[1], 0, cols, factor);
    for (int64_t i = 0; i < n && status == SNL_OK; i++) out[i] *= factor[(first + i) % cols];
    free(factor);
    return status;
}

/* Mean of at most SNL_MAX_SCRATCH elements; `sum` and `term` are scratch of that size. */
static SnlStatus mean_of_chunk(const Reader *r, const SnlWeight *w, int64_t first, int64_t n,
                               double *sum, float *term, float *out)
{
    for (int64_t i = 0; i < n; i++) sum[i] = 0;
    for (size_t k = 0; k < w->n_arg; k++) {
        SNL_TRY(read_range(r, w->arg[k], first, n, term));
        for (int64_t i = 0; i < n; i++) sum[i] += term[i];
    }
    for (int64_t i = 0; i < n; i++) out[i] = (float)(sum[i] / (double)w->n_arg);
    return SNL_OK;
}

static SnlStatus read_mean(const Reader *r, const SnlWeight *w, int64_t first, int64_t n,
                           float *out)
{
    int64_t chunk = min_i64(n, SNL_MAX_SCRATCH);
    double *sum = snl_xmalloc((size_t)chunk * sizeof *sum);
    float *term = scratch(chunk);
    SnlStatus status = SNL_OK;
    while (n > 0 && status == SNL_OK) {
        int64_t take = min_i64(n, chunk);
        status = mean_of_chunk(r, w, first, take, sum, term, out);
        first += take, n -= take, out += take;
    }
    free(term);
    free(sum);
    return status;
}

/* ---- small weights, evaluated whole ---------------------------------------------------------- */

/* All elements of a small weight as doubles; the caller frees them. */
static SnlStatus read_whole(const Reader *r, const SnlWeight *w, double **out)
{
    int64_t n = snl_weight_elems(w);
    float *at = scratch(n);
    SnlStatus status = read_range(r, w, 0, n, at);
    if (status == SNL_OK) {
        *out = snl_xmalloc((size_t)n * sizeof **out);
        for (int64_t i = 0; i < n; i++) (*out)[i] = at[i];
    }
    free(at);
    return status;
}

/* log sum_i exp(z[i * stride] + add[i]), shifted by the largest term. */
static double logsumexp(const double *z, int64_t stride, const double *add, int64_t n)
{
    double largest = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, z[i * stride] + add[i]);
    for (int64_t i = 0; i < n; i++) sum += exp(z[i * stride] + add[i] - largest);
    return largest + log(sum);
}

/* Projects exp(z) towards matrices whose rows and columns sum to 1, in log space, ending with the
 * columns: z becomes exp(z + u + v). */
static void sinkhorn(double *z, int64_t rows, int64_t cols, int64_t iters)
{
    double *u = snl_xmalloc((size_t)(rows + cols) * sizeof *u), *v = u + rows;
    for (int64_t i = 0; i < rows + cols; i++) u[i] = 0;
    for (int64_t it = 0; it < iters; it++) {
        for (int64_t i = 0; i < rows; i++) u[i] = -logsumexp(z + i * cols, 1, v, cols);
        for (int64_t j = 0; j < cols; j++) v[j] = -logsumexp(z + j, cols, u, rows);
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) z[i * cols + j] = exp(z[i * cols + j] + u[i] + v[j]);
    free(u);
}

static SnlStatus read_sinkhorn(const Reader *r, const SnlWeight *w, int64_t first, int64_t n,
                               float *out)
{
    double tau = snl_attr_real(&w->attrs, "tau", 0.05), *z;
    SNL_TRY(read_whole(r, w->arg[0], &z));
    for (int64_t i = 0; i < snl_weight_elems(w); i++) z[i] /= tau;
    sinkhorn(z, snl_weight_rows(w), snl_weight_cols(w), snl_attr_int(&w->attrs, "iters", 10));
    for (int64_t i = 0; i < n; i++) out[i] = (float)z[first + i];
    free(z);
    return SNL_OK;
}

static SnlStatus read_softmax(const Reader *r, const SnlWeight *w, int64_t first, int64_t n,
                              float *out)
{
    int64_t all = snl_weight_elems(w);
    double *z, largest = -INFINITY, sum = 0;
    SNL_TRY(read_whole(r, w->arg[0], &z));
    for (int64_t i = 0; i < all; i++) largest = fmax(largest, z[i]);
    for (int64_t i = 0; i < all; i++) sum += exp(z[i] - largest);
    for (int64_t i = 0; i < n; i++) out[i] = (float)(exp(z[first + i] - largest) / sum);
    free(z);
    return SNL_OK;
}

static SnlStatus read_matmul(const Reader *r, const SnlWeight *w, int64_t first, int64_t n,
                             float *out)
{
    int64_t inner = snl_weight_cols(w->arg[0]), cols = snl_weight_cols(w);
    double *a, *b;
    SNL_TRY(read_whole(r, w->arg[0], &a));
    SnlStatus status = read_whole(r, w->arg[1], &b);
    if (status == SNL_OK) {
        for (int64_t k = 0; k < n; k++) {
            int64_t i = (first + k) / cols, j = (first + k) % cols;
            double sum = 0;
            for (int64_t m = 0; m < inner; m++) sum += a[i * inner + m] * b[m * cols + j];
            out[k] = (float)sum;
        }
        free(b);
    }
    free(a);
    return status;
}

/* ---- one expression -------------------------------------------------------------------------- */

static SnlStatus read_expr(const Reader *r, const SnlWeight *w, int64_t first, int64_t n,
                           float *out)
{
    switch (w->code) {
    case SNL_WEXPR_SOURCE:
        return read_source(r, w, first, n, out);
    case SNL_WEXPR_FILL:
        read_fill(w, n, out);
        return SNL_OK;
    case SNL_WEXPR_RANDOM:
        read_random(w, first, n, out);
        return SNL_OK;
    case SNL_WEXPR_CONCAT:
        return read_concat(r, w, first, n, out);
    case SNL_WEXPR_SLICE:
        return read_slice(r, w, first, n, out);
    case SNL_WEXPR_RESHAPE:
    case SNL_WEXPR_CAST:
        return read_range(r, w->arg[0], first, n, out);
    case SNL_WEXPR_TRANSPOSE:
        return read_transpose(r, w, first, n, out);
    case SNL_WEXPR_SCALE:
        return read_scale(r, w, first, n, out);
    case SNL_WEXPR_COLSCALE:
        return read_colscale(r, w, first, n, out);
    case SNL_WEXPR_MEAN:
        return read_mean(r, w, first, n, out);
    case SNL_WEXPR_SINKHORN:
        return read_sinkhorn(r, w, first, n, out);
    case SNL_WEXPR_SOFTMAX:
        return read_softmax(r, w, first, n, out);
    case SNL_WEXPR_MATMUL:
        return read_matmul(r, w, first, n, out);
    case SNL_WEXPR_COUNT:
        break;
    }
    SNL_UNREACHABLE();
}

/* A weight has numbers of its declared type, whichever way they were made. */
static void round_elements(SnlDtype dtype, int64_t n, float *out)
{
    if (dtype == SNL_BF16)
        for (int64_t i = 0; i < n; i++) out[i] = snl_bf16_to_f32(snl_f32_to_bf16(out[i]));
    if (dtype == SNL_F16)
        for (int64_t i = 0; i < n; i++) out[i] = snl_f16_to_f32(snl_f32_to_f16(out[i]));
}

void snl_weight_round(SnlDtype dtype, int64_t rows, int64_t cols, float *inout)
{
    if (!snl_dtype_is_blocked(dtype)) {
        round_elements(dtype, rows * cols, inout);
        return;
    }
    for (int64_t r = 0; r < rows; r++) snl_round_blocks(dtype, inout + r * cols, cols);
}

/* Blocks are cut from the start of a row: whole rows are made, and the asked-for part of them
 * taken. */
static SnlStatus read_blocks(const Reader *r, const SnlWeight *w, int64_t first, int64_t n,
                             float *out)
{
    int64_t cols = snl_weight_cols(w);
    float *row = scratch(cols);
    SnlStatus status = SNL_OK;
    while (n > 0 && status == SNL_OK) {
        int64_t skip = first % cols, take = min_i64(n, cols - skip);
        status = read_expr(r, w, first - skip, cols, row);
        if (status == SNL_OK) {
            snl_round_blocks(w->type->dtype, row, cols);
            memcpy(out, row + skip, (size_t)take * sizeof *out);
        }
        first += take, n -= take, out += take;
    }
    free(row);
    return status;
}

static SnlStatus read_range(const Reader *r, const SnlWeight *w, int64_t first, int64_t n,
                            float *out)
{
    SNL_ASSERT(first >= 0 && n >= 0 && n <= snl_weight_elems(w) - first);
    bool made_here = w->code != SNL_WEXPR_SOURCE && snl_dtype_is_blocked(w->type->dtype);
    if (made_here) return read_blocks(r, w, first, n, out);
    SNL_TRY(read_expr(r, w, first, n, out));
    round_elements(w->type->dtype, n, out);
    return SNL_OK;
}

SnlStatus snl_weight_read(const SnlWeight *w, SnlWeightSource *source, int64_t row, int64_t n,
                          SnlDiag *diag, float *out)
{
    SNL_TRY(snl_weight_check(w, source, false, diag));
    Reader reader = {source, diag};
    int64_t cols = snl_weight_cols(w);
    return read_range(&reader, w, row * cols, n * cols, out);
}
