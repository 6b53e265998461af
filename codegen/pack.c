/* codegen/pack.c -- plans the payload and streams weights into it, panel by panel.
 *
 * A weight's format in the file is that of its declared type (a `cast` weight expression says bf16
 * or q8_0). Its numbers are rounded to it here, which shows what that does to them; storing rounded
 * numbers is exact. Memory: one block of rows and its image, a few MiB at most for ordinary
 * widths. */
#include "codegen/pack.h"

#include "ir/base/checked.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
    LINE_BYTES = 64,
    BLOCK_BYTES = 1 << 20,   /* rows read at once: about this much as f32 */
    RELEASE_BYTES = 16 << 20 /* source pages are given back after so many bytes written */
};

/* ---- plan ------------------------------------------------------------------------------------ */

typedef struct Planner {
    SnlArena *arena;
    SnlDiag *diag;
    SnlPayload *payload;
    size_t cap;
} Planner;

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static bool panel_dtype(SnlDtype dtype)
{
    return dtype == SNL_F32 || dtype == SNL_BF16 || dtype == SNL_F16 || snl_dtype_is_blocked(dtype);
}

int64_t snl_panel_bytes(SnlDtype dtype, int64_t cols)
{
    if (snl_dtype_is_blocked(dtype)) {
        int64_t blocks = snl_block_count(cols), scale_lines = (blocks + 1) / 2;
        return (scale_lines + blocks * snl_block_lines(dtype)) * LINE_BYTES;
    }
    int g = snl_panel_group(dtype);
    return (cols + g - 1) / g * LINE_BYTES;
}

/* Cannot overflow: a type has at most SNL_MAX_ELEMS elements, padding at most 32 times as many
 * bytes as that. */
static int64_t packed_bytes(const SnlWeight *w, SnlLayout layout)
{
    if (layout == SNL_LAYOUT_PLAIN)
        return round_up(snl_weight_rows(w) * snl_weight_cols(w) * 4, SNL_PACK_ALIGN);
    int64_t panels = (snl_weight_rows(w) + SNL_PANEL_ROWS - 1) / SNL_PANEL_ROWS;
    return panels * snl_panel_bytes(w->type->dtype, snl_weight_cols(w));
}

static SnlStatus check_format(Planner *p, const SnlWeight *w, SnlLayout layout, SnlLoc use)
{
    if (layout == SNL_LAYOUT_PLAIN) return SNL_OK;
    if (w->type->rank != 2)
        return snl_error(p->diag, SNL_E_SHAPE, use,
                         "weight '@%s' of rank %d cannot be stored in panels: wanted a matrix",
                         w->name, w->type->rank);
    if (!panel_dtype(w->type->dtype))
        return snl_error(
            p->diag, SNL_E_UNSUPPORTED, use,
            "weight '@%s' has element type %s: panels hold f32, bf16, f16, q8_0 or q4_0", w->name,
            snl_dtype_info[w->type->dtype].text);
    return SNL_OK;
}

static SnlStatus add_weight(Planner *p, const SnlWeight *w, SnlLayout layout, bool is_table,
                            SnlLoc use)
{
    SnlPayload *payload = p->payload;
    int64_t index = payload->index_of_weight[w->id];
    if (index >= 0) {
        payload->at[index].is_table &= is_table;
        if (payload->at[index].layout == layout) return SNL_OK;
        return snl_error(p->diag, SNL_E_UNSUPPORTED, use,
                         "weight '@%s' is used both as a matrix of linear or embed and "
                         "elementwise: declare it twice",
                         w->name);
    }
    SNL_TRY(check_format(p, w, layout, use));
    if (payload->n == p->cap)
        payload->at =
            snl_arena_grow(p->arena, payload->at, payload->n, &p->cap, sizeof *payload->at);
    SnlPackedWeight *at = &payload->at[payload->n];
    *at = (SnlPackedWeight){w, layout, is_table, 0, packed_bytes(w, layout)};
    if (!snl_add_i64(payload->nbytes, at->nbytes, &payload->nbytes))
        return snl_error(p->diag, SNL_E_UNSUPPORTED, use, "the weights exceed 2^63 bytes");
    payload->index_of_weight[w->id] = (int64_t)payload->n++;
    return SNL_OK;
}

/* Weights inside attributes: the scalars of `coef = [1.0, @s]`. */
static SnlStatus add_attr(Planner *p, const SnlAttrValue *value, SnlLoc use)
{
    if (value->kind == SNL_ATTR_WEIGHT)
        return add_weight(p, value->weight, SNL_LAYOUT_PLAIN, false, use);
    if (value->kind != SNL_ATTR_LIST) return SNL_OK;
    for (size_t i = 0; i < value->list.n; i++) SNL_TRY(add_attr(p, &value->list.at[i], use));
    return SNL_OK;
}

static SnlLayout layout_of_group(SnlOpCode code, int group)
{
    bool matrix = (code == SNL_OP_LINEAR || code == SNL_OP_EMBED) && group == 0;
    return matrix ? SNL_LAYOUT_PANELS : SNL_LAYOUT_PLAIN;
}

static SnlStatus add_op(Planner *p, const SnlOp *op)
{
    if (snl_op_info[op->code].flags & SNL_CALLS)
        return snl_error(p->diag, SNL_E_STRUCTURE, op->loc,
                         "%s: layers must be inlined before weights are packed "
                         "(pass inline-layers)",
                         snl_op_info[op->code].text);
    for (int g = 0; g < SNL_MAX_GROUPS; g++) {
        if (snl_op_group_letter(op->code, g) != 'w') continue;
        for (size_t i = 0; i < op->sym[g].n; i++)
            SNL_TRY(add_weight(p, op->sym[g].weight[i], layout_of_group(op->code, g),
                               op->code == SNL_OP_EMBED, op->loc));
    }
    for (size_t i = 0; i < op->attrs.n; i++) SNL_TRY(add_attr(p, &op->attrs.at[i].value, op->loc));
    return SNL_OK;
}

/* Appends the weights of one kind to `at` in their order. */
static size_t place_kind(SnlPayload *payload, const SnlPackedWeight *from, bool is_table, size_t n)
{
    for (size_t i = 0; i < payload->n; i++) {
        if (from[i].is_table != is_table) continue;
        payload->at[n] = from[i];
        payload->at[n].offset =
            n ? payload->at[n - 1].offset + payload->at[n - 1].nbytes : 0;
        payload->index_of_weight[from[i].weight->id] = (int64_t)n++;
    }
    return n;
}

/* Gives each weight its place, tables behind the others. */
static void place_weights(Planner *p)
{
    SnlPayload *payload = p->payload;
    if (!payload->n) return;
    const SnlPackedWeight *found = payload->at;
    payload->at = SNL_NEW_ARRAY(p->arena, SnlPackedWeight, payload->n);
    size_t n_swept = place_kind(payload, found, false, 0);
    if (n_swept)
        payload->swept_nbytes = payload->at[n_swept - 1].offset + payload->at[n_swept - 1].nbytes;
    place_kind(payload, found, true, n_swept);
}

SnlStatus snl_payload_plan(SnlArena *arena, const SnlModule *m, SnlFunc *const *funcs,
                           size_t n_funcs, SnlDiag *diag, SnlPayload *out)
{
    *out = (SnlPayload){.n_weights = m->weights.n};
    out->index_of_weight = SNL_NEW_ARRAY(arena, int64_t, m->weights.n);
    for (size_t i = 0; i < m->weights.n; i++) out->index_of_weight[i] = -1;
    Planner planner = {arena, diag, out, 0};
    for (size_t i = 0; i < n_funcs; i++)
        for (const SnlOp *op = funcs[i]->first; op; op = op->next) SNL_TRY(add_op(&planner, op));
    place_weights(&planner);
    return SNL_OK;
}

int64_t snl_payload_offset(const SnlPayload *payload, const SnlWeight *weight)
{
    SNL_ASSERT(weight->id < payload->n_weights && payload->index_of_weight[weight->id] >= 0);
    return payload->at[payload->index_of_weight[weight->id]].offset;
}

/* ---- layout ---------------------------------------------------------------------------------- */

static uint16_t narrow(SnlDtype dtype, float x)
{
    return dtype == SNL_BF16 ? snl_f32_to_bf16(x) : snl_f32_to_f16(x);
}

/* Block b of one row: its scale, and its 32 integers into the row's bytes of the block's lines. The
 * numbers are of the format already, so quantising them again is exact. */
static void fill_block(SnlDtype dtype, const float *in, int n, int64_t r, uint16_t *scales,
                       uint8_t *lines)
{
    int8_t q[SNL_BLOCK];
    scales[r] = snl_f32_to_f16(snl_quantize_block(dtype, in, n, q));
    for (int i = 0; i < SNL_BLOCK; i++) {
        if (dtype == SNL_Q8_0) {
            lines[i / 4 * LINE_BYTES + r * 4 + i % 4] = (uint8_t)(q[i] + 128);
        } else {
            int line = i % 16 / 4, shift = i < 16 ? 0 : 4;
            lines[line * LINE_BYTES + r * 4 + i % 4] |= (uint8_t)((q[i] + 8) << shift);
        }
    }
}

static void fill_block_panel(SnlDtype dtype, const float *in, int64_t rows, int64_t cols,
                             uint8_t *out)
{
    int64_t blocks = snl_block_count(cols);
    int64_t block_bytes = (int64_t)snl_block_lines(dtype) * LINE_BYTES;
    for (int64_t b = 0; b < blocks; b++) {
        uint8_t *pair = out + b / 2 * snl_block_pair_bytes(dtype);
        int64_t odd = b % 2;
        uint16_t *scales = (uint16_t *)(void *)pair + odd * SNL_PANEL_ROWS;
        uint8_t *lines = pair + LINE_BYTES + odd * block_bytes;
        for (int64_t r = 0; r < SNL_PANEL_ROWS; r++) {
            int64_t left = r < rows ? cols - b * SNL_BLOCK : 0;
            fill_block(dtype, left ? in + r * cols + b * SNL_BLOCK : in,
                       left < SNL_BLOCK ? (int)left : SNL_BLOCK, r, scales, lines);
        }
    }
}

/* One panel from `rows` (1..16) rows of C inputs; `out` is zeroed. */
static void fill_panel(SnlDtype dtype, const float *in, int64_t rows, int64_t cols, uint8_t *out)
{
    if (snl_dtype_is_blocked(dtype)) {
        fill_block_panel(dtype, in, rows, cols, out);
        return;
    }
    for (int64_t r = 0; r < rows; r++) {
        const float *row = in + r * cols;
        if (dtype == SNL_F32) {
            float *lane = (float *)(void *)out + r;
            for (int64_t c = 0; c < cols; c++) lane[c * SNL_PANEL_ROWS] = row[c];
        } else {
            uint16_t *lane = (uint16_t *)(void *)out + 2 * r;
            for (int64_t c = 0; c < cols; c++)
                lane[c / 2 * 2 * SNL_PANEL_ROWS + c % 2] = narrow(dtype, row[c]);
        }
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct Writer {
    SnlWeightSource *source;
    SnlDiag *diag;
    SnlByteSink *sink;
    void *user;
    SnlProgress *progress;
    void *progress_user;
    int64_t done, total, since_release;
    XXH3_state_t *hash;
    SnlRounding rounding; /* of the present weight */
    float *rows, *exact;
    uint8_t *image;
    size_t rows_room, exact_room, image_room;
} Writer;

static SnlStatus emit(Writer *w, const void *bytes, int64_t nbytes)
{
    XXH3_64bits_update(w->hash, bytes, (size_t)nbytes);
    SNL_TRY(w->sink(w->user, bytes, (size_t)nbytes));
    w->done += nbytes;
    w->since_release += nbytes;
    if (w->since_release >= RELEASE_BYTES && w->source->release) {
        w->source->release(w->source);
        w->since_release = 0;
    }
    if (w->progress) w->progress(w->progress_user, w->done, w->total);
    return SNL_OK;
}

static void *room_for(void *buffer, size_t *inout_room, int64_t n, size_t size)
{
    size_t nbytes = 0;
    bool fits = snl_mul_size((size_t)n, size, &nbytes);
    SNL_ASSERT(fits);
    if (nbytes <= *inout_room) return buffer;
    *inout_room = nbytes;
    return snl_xrealloc(buffer, nbytes);
}

/* Rows to read at once: a multiple of a panel, about BLOCK_BYTES. */
static int64_t block_rows(int64_t cols)
{
    int64_t rows = BLOCK_BYTES / 4 / (cols ? cols : 1) / SNL_PANEL_ROWS * SNL_PANEL_ROWS;
    return rows < SNL_PANEL_ROWS ? SNL_PANEL_ROWS : rows;
}

/* A number of a tensor of the model's files. */
typedef struct Place {
    const SnlWeight *tensor; /* NULL: not found */
    int64_t row, col;
    double number;
} Place;

/* The first number not within `most` in the tensors that `weight` is made of. */
static SnlStatus find_large(Writer *w, const SnlWeight *weight, double most, Place *out)
{
    for (size_t i = 0; i < weight->n_arg && !out->tensor; i++)
        SNL_TRY(find_large(w, weight->arg[i], most, out));
    if (weight->code != SNL_WEXPR_SOURCE || out->tensor) return SNL_OK;
    int64_t cols = snl_weight_cols(weight), rows = snl_weight_rows(weight);
    float *row = snl_xrealloc(NULL, (size_t)cols * sizeof *row);
    SnlStatus status = SNL_OK;
    for (int64_t r = 0; r < rows && status == SNL_OK && !out->tensor; r++) {
        status = snl_weight_read(weight, w->source, r, 1, w->diag, row);
        for (int64_t c = 0; c < cols && status == SNL_OK && !out->tensor; c++)
            if (!(fabs((double)row[c]) <= most)) *out = (Place){weight, r, c, (double)row[c]};
    }
    free(row);
    return status;
}

/* Refuses `number` of `weight`, and says where in the model's files it comes from. */
static SnlStatus refuse_number(Writer *w, const SnlWeight *weight, Place at, double most,
                               const char *wanted)
{
    Place found = {0};
    char tensor[512] = "";
    SNL_TRY(find_large(w, weight, most, &found));
    if (found.tensor) {
        at = found;
        snprintf(tensor, sizeof tensor, " (tensor '%s' of '%s')", at.tensor->tensor,
                 at.tensor->file);
    }
    /* The sign of a NaN says nothing. */
    double number = isnan(at.number) ? (double)NAN : at.number;
    return snl_error(w->diag, SNL_E_TENSOR, at.tensor->loc,
                     "weight '@%s'%s, row %lld, column %lld: found %g, wanted %s", at.tensor->name,
                     tensor, (long long)at.row, (long long)at.col, number, wanted);
}

/* A number that is none would spread to every result: refused here, where the weights are looked at
 * anyway. */
static SnlStatus check_numbers(Writer *w, const SnlWeight *weight, int64_t row, int64_t n)
{
    int64_t cols = snl_weight_cols(weight);
    for (int64_t i = 0; i < n * cols; i++)
        if (!isfinite(w->rows[i]))
            return refuse_number(w, weight,
                                 (Place){weight, row + i / cols, i % cols, (double)w->rows[i]},
                                 (double)FLT_MAX, "a finite number: the file is damaged, or f32 "
                                                  "cannot hold what is computed of it");
    return SNL_OK;
}

/* The largest number of a format narrower than f32; a block's scale is an f16. */
static double largest_number(SnlDtype dtype)
{
    const double f16 = 65504;
    return dtype == SNL_F16    ? f16
           : dtype == SNL_Q8_0 ? 127 * f16
           : dtype == SNL_Q4_0 ? 8 * f16
                               : (double)snl_bf16_to_f32(0x7f7f);
}

/* Element `at` of w->exact, or one in its block, is what did not fit. */
static SnlStatus refuse_large(Writer *w, const SnlWeight *weight, int64_t row, int64_t at)
{
    SnlDtype dtype = weight->type->dtype;
    const SnlWeight *from = weight->arg[0];
    double most = largest_number(dtype);
    int64_t cols = snl_weight_cols(weight);
    while (fabs((double)w->exact[at]) <= most) at++;
    char wanted[160];
    snprintf(wanted, sizeof wanted,
             "numbers within %g, the largest that %s holds: choose another format (--weights, "
             "--weights-head)",
             most, snl_dtype_info[dtype].text);
    return refuse_number(w, from, (Place){from, row + at / cols, at % cols, (double)w->exact[at]},
                         most, wanted);
}

/* w->rows as the format of `weight` holds them; w->exact keeps what they were. */
static SnlStatus round_rows(Writer *w, const SnlWeight *weight, int64_t row, int64_t n)
{
    int64_t cols = snl_weight_cols(weight);
    w->exact = room_for(w->exact, &w->exact_room, n * cols, sizeof(float));
    memcpy(w->exact, w->rows, (size_t)(n * cols) * sizeof(float));
    snl_weight_round(weight->type->dtype, n, cols, w->rows);
    for (int64_t i = 0; i < n * cols; i++)
        if (!isfinite(w->rows[i])) return refuse_large(w, weight, row, i);
    snl_rounding_add(&w->rounding, w->exact, w->rows, n * cols);
    return SNL_OK;
}

/* Rows [row, row + n) into w->rows. What a cast does to them is done here, so that it can be
 * seen. */
static SnlStatus read_rows(Writer *w, const SnlWeight *weight, int64_t row, int64_t n)
{
    bool rounds = weight->code == SNL_WEXPR_CAST && weight->type->dtype != SNL_F32;
    const SnlWeight *from = rounds ? weight->arg[0] : weight;
    SNL_TRY(snl_weight_read(from, w->source, row, n, w->diag, w->rows));
    SNL_TRY(check_numbers(w, from, row, n));
    return rounds ? round_rows(w, weight, row, n) : SNL_OK;
}

static SnlStatus write_panels(Writer *w, const SnlWeight *weight)
{
    int64_t total_rows = snl_weight_rows(weight), cols = snl_weight_cols(weight);
    int64_t panel_bytes = snl_panel_bytes(weight->type->dtype, cols), step = block_rows(cols);
    if (step > total_rows) step = round_up(total_rows, SNL_PANEL_ROWS);
    w->rows = room_for(w->rows, &w->rows_room, step * cols, sizeof(float));
    w->image = room_for(w->image, &w->image_room, step / SNL_PANEL_ROWS, (size_t)panel_bytes);
    for (int64_t row = 0; row < total_rows; row += step) {
        int64_t n = total_rows - row < step ? total_rows - row : step;
        SNL_TRY(read_rows(w, weight, row, n));
        int64_t panels = (n + SNL_PANEL_ROWS - 1) / SNL_PANEL_ROWS;
        memset(w->image, 0, (size_t)(panels * panel_bytes));
        for (int64_t p = 0; p < panels; p++) {
            int64_t first = p * SNL_PANEL_ROWS;
            int64_t here = n - first < SNL_PANEL_ROWS ? n - first : SNL_PANEL_ROWS;
            fill_panel(weight->type->dtype, w->rows + first * cols, here, cols,
                       w->image + p * panel_bytes);
        }
        SNL_TRY(emit(w, w->image, panels * panel_bytes));
    }
    return SNL_OK;
}

static SnlStatus write_plain(Writer *w, const SnlPackedWeight *packed)
{
    const SnlWeight *weight = packed->weight;
    int64_t total_rows = snl_weight_rows(weight), cols = snl_weight_cols(weight);
    int64_t step = block_rows(cols);
    if (step > total_rows) step = total_rows;
    w->rows = room_for(w->rows, &w->rows_room, step * cols, sizeof(float));
    for (int64_t row = 0; row < total_rows; row += step) {
        int64_t n = total_rows - row < step ? total_rows - row : step;
        SNL_TRY(read_rows(w, weight, row, n));
        SNL_TRY(emit(w, w->rows, n * cols * 4));
    }
    static const uint8_t zeros[SNL_PACK_ALIGN];
    int64_t padding = packed->nbytes - total_rows * cols * 4;
    return padding ? emit(w, zeros, padding) : SNL_OK;
}

SnlStatus snl_payload_write(const SnlPayload *payload, SnlWeightSource *source, SnlDiag *diag,
                            SnlByteSink *sink, void *user, SnlProgress *progress,
                            void *progress_user, SnlWritten *out)
{
    Writer w = {.source = source,
                .diag = diag,
                .sink = sink,
                .user = user,
                .progress = progress,
                .progress_user = progress_user,
                .total = payload->nbytes};
    w.hash = XXH3_createState();
    if (!w.hash) return snl_error_at(diag, SNL_E_MACHINE, NULL, "out of memory");
    SnlStatus status = SNL_OK;
    for (size_t i = 0; i < payload->n && status == SNL_OK; i++) {
        const SnlPackedWeight *packed = &payload->at[i];
        XXH3_64bits_reset(w.hash);
        w.rounding = (SnlRounding){0};
        status = packed->layout == SNL_LAYOUT_PANELS ? write_panels(&w, packed->weight)
                                                     : write_plain(&w, packed);
        if (out) out[i] = (SnlWritten){XXH3_64bits_digest(w.hash), w.rounding};
    }
    if (source->release) source->release(source);
    XXH3_freeState(w.hash);
    free(w.rows);
    free(w.exact);
    free(w.image);
    return status;
}
