/* ir/eval_attention.c -- attention over cached and own rows, the cache's writer, and rope.
 *
 * State layout f32[2, G, C, d]: keys then values, per kv head, per position. Attention reads rows
 * [0, pos) and never writes; kv_write is the only op that does. Keys and values are numbers of the
 * state's format, own ones as well: so the split of a text into calls never shows. */
#include "ir/eval_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Cache {
    double *at;
    int64_t heads, context, width;
    SnlDtype dtype;
} Cache;

static SnlStatus cache_of(SnlFrame *f, const SnlOp *op, int64_t m, int64_t heads, int64_t width,
                          Cache *out)
{
    SnlState *state = snl_frame_state(f, op->sym[0].state[snl_member(op->sym[0].n, m)]);
    const SnlType *type = state->type;
    if (type->rank != 4 || type->dim[0] != 2 || type->dim[1] != heads || type->dim[3] != width)
        return snl_error(f->eval->diag, SNL_E_SHAPE, op->loc,
                         "%s: state '@%s': found %s, wanted f32[2, %lld, context, %lld]",
                         snl_op_info[op->code].text, state->name, snl_type_text(f->arena, type),
                         (long long)heads, (long long)width);
    *out = (Cache){snl_eval_state(f->eval, state), heads, type->dim[2], width, type->dtype};
    return SNL_OK;
}

static double *cache_row(const Cache *c, int64_t value, int64_t head, int64_t position)
{
    return c->at + ((value * c->heads + head) * c->context + position) * c->width;
}

/* One head's key or value as the cache's format holds it. */
static void round_head(SnlArena *scratch, SnlDtype dtype, double *x, int64_t n)
{
    if (!snl_dtype_is_blocked(dtype)) {
        for (int64_t i = 0; i < n; i++) x[i] = dtype == SNL_F32 ? x[i] : snl_round_to(dtype, x[i]);
        return;
    }
    float *row = SNL_NEW_ARRAY(scratch, float, (size_t)n);
    for (int64_t i = 0; i < n; i++) row[i] = (float)x[i];
    snl_round_blocks(dtype, row, n);
    for (int64_t i = 0; i < n; i++) x[i] = (double)row[i];
}

/* Member `m` of the keys or values of this call, as the cache would hold them. */
static SnlView rounded(SnlFrame *f, const Cache *c, const SnlView *x, int64_t m)
{
    if (c->dtype == SNL_F32) return *x;
    int64_t row = c->heads * c->width;
    SnlView out = {SNL_NEW_ARRAY(f->arena, double, (size_t)(x->rows * row)), x->rows, 1, row};
    for (int64_t t = 0; t < x->rows; t++) {
        double *to = snl_view_row(&out, t, 0);
        memcpy(to, snl_view_row(x, t, m), (size_t)row * sizeof *to);
        for (int64_t g = 0; g < c->heads; g++)
            round_head(f->arena, c->dtype, to + g * c->width, c->width);
    }
    return out;
}

/* What one query head of one row sees. */
typedef struct Sight {
    const SnlView *k, *v;
    const Cache *cache;
    int64_t m, g, d, pos;
    double scale;
    double *score; /* room for pos + T numbers */
} Sight;

static const double *key_or_value(const Sight *s, int64_t value, int64_t j)
{
    if (j < s->pos) return cache_row(s->cache, value, s->g, j);
    return snl_view_row(value ? s->v : s->k, j - s->pos, s->m) + s->g * s->d;
}

/* What softmax needs of positions lo..hi: the largest score, the sum of exp(score - largest). */
typedef struct Weights {
    double most, sum;
} Weights;

static Weights weigh(const Sight *s, const double *q, int64_t lo, int64_t hi)
{
    double most = -INFINITY, sum = 0;
    for (int64_t j = lo; j <= hi; j++) {
        const double *k = key_or_value(s, 0, j);
        double dot = 0;
        for (int64_t i = 0; i < s->d; i++) dot += q[i] * k[i];
        s->score[j] = dot * s->scale;
        most = fmax(most, s->score[j]);
    }
    for (int64_t j = lo; j <= hi; j++) sum += s->score[j] = exp(s->score[j] - most);
    return (Weights){most, sum};
}

/* out += weight / sum * v_j over j = lo..hi */
static void add_values(const Sight *s, int64_t lo, int64_t hi, double sum, double *out)
{
    for (int64_t j = lo; j <= hi; j++) {
        const double *v = key_or_value(s, 1, j);
        for (int64_t i = 0; i < s->d; i++) out[i] += s->score[j] / sum * v[i];
    }
}

/* One query head sees positions lo..hi: the head's result in `row`, or in attention_parts what
 * every part gives of it. */
static void attend(const Sight *s, const SnlOp *op, int64_t h, const double *q, int64_t lo,
                   int64_t hi, double *row)
{
    if (op->code == SNL_OP_ATTENTION) {
        add_values(s, lo, hi, weigh(s, q, lo, hi).sum, row + h * s->d);
        return;
    }
    int64_t part = snl_attr_int(&op->attrs, "part", 1),
            heads = snl_attr_int(&op->attrs, "heads", 1);
    int64_t words = heads * (s->d + 2), n = snl_type_width(op->out[0]->type) / words;
    for (int64_t p = 0; p < n; p++, row += words) {
        int64_t from = lo > p * part ? lo : p * part;
        int64_t to = p == n - 1 || hi < (p + 1) * part ? hi : (p + 1) * part - 1;
        Weights w = weigh(s, q, from, to);
        add_values(s, from, to, 1.0, row + h * s->d);
        row[heads * s->d + h] = w.most;
        row[heads * (s->d + 1) + h] = w.sum;
    }
}

static SnlStatus attention_member(SnlFrame *f, const SnlOp *op, int64_t m, int64_t pos)
{
    SnlView q = snl_frame_in(f, op, 0), k = snl_frame_in(f, op, 1), v = snl_frame_in(f, op, 2);
    const SnlType *type = op->out[0]->type;
    SnlView out = {f->value[op->out[0]->id], q.rows, snl_type_members(type), snl_type_width(type)};
    int64_t H = snl_attr_int(&op->attrs, "heads", 1);
    int64_t G = snl_attr_int(&op->attrs, "kv_heads", H), d = q.width / H;
    int64_t window = snl_attr_int_at(&op->attrs, "window", (size_t)m, -1);
    Cache cache;
    SNL_TRY(cache_of(f, op, m, G, d, &cache));
    if (pos > cache.context)
        return snl_error(f->eval->diag, SNL_E_NUMERIC, op->loc,
                         "%s: position beyond the context: found %lld, wanted at most %lld",
                         snl_op_info[op->code].text, (long long)pos, (long long)cache.context);
    k = rounded(f, &cache, &k, m);
    v = rounded(f, &cache, &v, m);
    double *score = snl_xmalloc((size_t)(pos + out.rows) * sizeof(double));
    Sight s = {&k, &v, &cache, m, 0, d, pos, 0, score};
    s.scale = snl_attr_real(&op->attrs, "scale", 1.0 / sqrt((double)d));
    for (int64_t t = 0; t < out.rows; t++)
        for (int64_t h = 0; h < H; h++) {
            int64_t hi = pos + t, lo = window >= 0 && hi > window ? hi - window : 0;
            s.g = h / (H / G);
            attend(&s, op, h, snl_view_row(&q, t, m) + h * d, lo, hi, snl_view_row(&out, t, m));
        }
    free(score);
    return SNL_OK;
}

SnlStatus snl_eval_op_attention(SnlFrame *f, const SnlOp *op)
{
    SnlView out = snl_frame_out(f, op, 0); /* zeroed */
    int64_t pos;
    SNL_TRY(snl_frame_index(f, op, 3, &pos));
    for (int64_t m = 0; m < out.members; m++) SNL_TRY(attention_member(f, op, m, pos));
    return SNL_OK;
}

SnlStatus snl_eval_op_attention_parts(SnlFrame *f, const SnlOp *op)
{
    return snl_eval_op_attention(f, op);
}

/* Head h of one row: parts weighted by how their largest scores compare, in order. */
static void merge_head(const double *parts, int64_t n, int64_t heads, int64_t h, int64_t d,
                       double *out)
{
    int64_t words = heads * (d + 2);
    const double *most = parts + heads * d + h, *sums = most + heads;
    double top = -INFINITY, sum = 0;
    for (int64_t p = 0; p < n; p++) top = fmax(top, most[p * words]);
    for (int64_t p = 0; p < n; p++) {
        double weight = exp(most[p * words] - top);
        sum += weight * sums[p * words];
        for (int64_t i = 0; i < d; i++) out[i] += weight * parts[p * words + h * d + i];
    }
    for (int64_t i = 0; i < d; i++) out[i] /= sum;
}

SnlStatus snl_eval_op_attention_merge(SnlFrame *f, const SnlOp *op)
{
    SnlView in = snl_frame_in(f, op, 0), out = snl_frame_out(f, op, 0); /* zeroed */
    int64_t heads = snl_attr_int(&snl_in(op, 0)->def->attrs, "heads", 1), d = out.width / heads;
    for (int64_t t = 0; t < out.rows; t++)
        for (int64_t m = 0; m < out.members; m++)
            for (int64_t h = 0; h < heads; h++)
                merge_head(snl_view_row(&in, t, m), in.width / (heads * (d + 2)), heads, h, d,
                           snl_view_row(&out, t, m) + h * d);
    return SNL_OK;
}

static SnlStatus write_member(SnlFrame *f, const SnlOp *op, int64_t m, int64_t pos)
{
    SnlView k = snl_frame_in(f, op, 0), v = snl_frame_in(f, op, 1);
    const SnlState *state = snl_frame_state(f, op->sym[0].state[snl_member(op->sym[0].n, m)]);
    int64_t G = state->type->rank == 4 ? state->type->dim[1] : 1;
    Cache cache;
    SNL_TRY(cache_of(f, op, m, G, k.width / G, &cache));
    if (k.rows > cache.context || pos > cache.context - k.rows)
        return snl_error(f->eval->diag, SNL_E_NUMERIC, op->loc,
                         "kv_write: context full: found %lld positions, wanted at most %lld",
                         (long long)(pos + k.rows), (long long)cache.context);
    for (int64_t t = 0; t < k.rows; t++)
        for (int64_t g = 0; g < G; g++)
            for (int64_t value = 0; value < 2; value++) {
                double *row = cache_row(&cache, value, g, pos + t);
                memcpy(row, snl_view_row(value ? &v : &k, t, m) + g * cache.width,
                       (size_t)cache.width * sizeof(double));
                round_head(f->arena, cache.dtype, row, cache.width);
            }
    return SNL_OK;
}

SnlStatus snl_eval_op_kv_write(SnlFrame *f, const SnlOp *op)
{
    int64_t pos;
    SNL_TRY(snl_frame_index(f, op, 2, &pos));
    if (f->read_only) return SNL_OK;
    for (size_t m = 0; m < op->sym[0].n; m++) SNL_TRY(write_member(f, op, (int64_t)m, pos));
    return SNL_OK;
}

/* ---- rope ------------------------------------------------------------------------------------ */

SnlStatus snl_eval_op_rope_table(SnlFrame *f, const SnlOp *op)
{
    SnlView out = snl_frame_out(f, op, 0);
    int64_t pos, half = out.width / 2;
    SNL_TRY(snl_frame_index(f, op, 0, &pos));
    double *freq = SNL_NEW_ARRAY(f->arena, double, (size_t)half);
    double sign = snl_attr_flag(&op->attrs, "inverse") ? -1.0 : 1.0;
    snl_rope_frequencies(&op->attrs, out.width, freq);
    for (int64_t t = 0; t < out.rows; t++)
        for (int64_t j = 0; j < half; j++) {
            double angle = (double)(pos + t) * freq[j];
            snl_view_row(&out, t, 0)[j] = cos(angle);
            snl_view_row(&out, t, 0)[half + j] = sign * sin(angle);
        }
    return SNL_OK;
}

/* (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin), x1 and x2 the halves of a head. */
SnlStatus snl_eval_op_rope(SnlFrame *f, const SnlOp *op)
{
    SnlView x = snl_frame_in(f, op, 0), table = snl_frame_in(f, op, 1);
    SnlView out = snl_frame_out(f, op, 0);
    int64_t heads = snl_attr_int(&op->attrs, "heads", 1), d = out.width / heads, half = d / 2;
    for (int64_t t = 0; t < out.rows; t++)
        for (int64_t m = 0; m < out.members; m++)
            for (int64_t h = 0; h < heads; h++)
                for (int64_t j = 0; j < half; j++) {
                    const double *in = snl_view_row(&x, t, m) + h * d;
                    const double *cs = snl_view_row(&table, t, m);
                    double *y = snl_view_row(&out, t, m) + h * d;
                    y[j] = in[j] * cs[j] - in[half + j] * cs[half + j];
                    y[half + j] = in[half + j] * cs[j] + in[j] * cs[half + j];
                }
    return SNL_OK;
}
