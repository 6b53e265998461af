/* codegen/pack_write.c -- streams weights into the payload, panel by panel.
 *
 * A weight's format in the file is that of its declared type (a `cast` weight expression says bf16
 * or q8_0). Its numbers are rounded to it here, which shows what that does to them; storing rounded
 * numbers is exact. Memory: one block of rows and its image, a few MiB at most for ordinary widths.
 */
#include "codegen/pack.h"

#include "codegen/numbers.h"
#include "ir/base/checked.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
    BLOCK_BYTES = 1 << 20,   /* rows read at once: about this much as f32 */
    RELEASE_BYTES = 16 << 20 /* source pages are given back after so many bytes written */
};

/* ---- layout ---------------------------------------------------------------------------------- */

static uint16_t narrow(SnlDtype dtype, float x)
{
    return dtype == SNL_BF16 ? snl_f32_to_bf16(x) : snl_f32_to_f16(x);
}

/* Block b of row r: its scale, and its 32 integers into the row's bytes of the block's lines. The
 * numbers are of the format already, so quantising them again is exact. */
static void fill_block(SnlDtype dtype, const float *in, int n, int64_t r, int64_t line_bytes,
                       uint16_t *scales, uint8_t *lines)
{
    int8_t q[SNL_BLOCK];
    scales[r] = snl_f32_to_f16(snl_quantize_block(dtype, in, n, q));
    for (int i = 0; i < SNL_BLOCK; i++) {
        if (dtype == SNL_Q8_0) {
            lines[i / 4 * line_bytes + r * 4 + i % 4] = (uint8_t)(q[i] + 128);
        } else {
            int line = i % 16 / 4, shift = i < 16 ? 0 : 4;
            lines[line * line_bytes + r * 4 + i % 4] |= (uint8_t)((q[i] + 8) << shift);
        }
    }
}

static void fill_block_panel(SnlDtype dtype, const float *in, int64_t rows, int64_t cols,
                             int64_t panel_rows, uint8_t *out)
{
    int64_t blocks = snl_block_count(cols), line = panel_rows * 4;
    int64_t block_bytes = snl_block_lines(dtype) * line;
    for (int64_t b = 0; b < blocks; b++) {
        uint8_t *pair = out + b / 2 * (line + 2 * block_bytes);
        int64_t odd = b % 2;
        uint16_t *scales = (uint16_t *)(void *)pair + odd * panel_rows;
        uint8_t *lines = pair + line + odd * block_bytes;
        for (int64_t r = 0; r < panel_rows; r++) {
            int64_t left = r < rows ? cols - b * SNL_BLOCK : 0;
            fill_block(dtype, left ? in + r * cols + b * SNL_BLOCK : in,
                       left < SNL_BLOCK ? (int)left : SNL_BLOCK, r, line, scales, lines);
        }
    }
}

/* One panel of `panel_rows` from `rows` rows of C inputs, no more than those; `out` is zeroed. */
static void fill_panel(SnlDtype dtype, const float *in, int64_t rows, int64_t cols,
                       int64_t panel_rows, uint8_t *out)
{
    if (snl_dtype_is_blocked(dtype)) {
        fill_block_panel(dtype, in, rows, cols, panel_rows, out);
        return;
    }
    for (int64_t r = 0; r < rows; r++) {
        const float *row = in + r * cols;
        if (dtype == SNL_F32) {
            float *lane = (float *)(void *)out + r;
            for (int64_t c = 0; c < cols; c++) lane[c * panel_rows] = row[c];
        } else {
            uint16_t *lane = (uint16_t *)(void *)out + 2 * r;
            for (int64_t c = 0; c < cols; c++)
                lane[c / 2 * 2 * panel_rows + c % 2] = narrow(dtype, row[c]);
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

/* w->rows as the format of `weight` holds them; w->exact keeps what they were. */
static SnlStatus round_rows(Writer *w, const SnlWeight *weight, int64_t row, int64_t n)
{
    int64_t cols = snl_weight_cols(weight);
    w->exact = room_for(w->exact, &w->exact_room, n * cols, sizeof(float));
    memcpy(w->exact, w->rows, (size_t)(n * cols) * sizeof(float));
    snl_weight_round(weight->type->dtype, n, cols, w->rows);
    SnlNumbers exact = {w->source, w->diag, weight->arg[0], row, n, w->exact};
    for (int64_t i = 0; i < n * cols; i++)
        if (!isfinite(w->rows[i])) return snl_refuse_large(&exact, weight->type->dtype, i);
    snl_rounding_add(&w->rounding, w->exact, w->rows, n * cols);
    return SNL_OK;
}

/* Rows [row, row + n) into w->rows. What a cast does to them is done here, so that it can be seen.
 */
static SnlStatus read_rows(Writer *w, const SnlWeight *weight, int64_t row, int64_t n)
{
    bool rounds = weight->code == SNL_WEXPR_CAST && weight->type->dtype != SNL_F32;
    const SnlWeight *from = rounds ? weight->arg[0] : weight;
    SNL_TRY(snl_weight_read(from, w->source, row, n, w->diag, w->rows));
    SNL_TRY(snl_check_finite(&(SnlNumbers){w->source, w->diag, from, row, n, w->rows}));
    return rounds ? round_rows(w, weight, row, n) : SNL_OK;
}

/* n bytes that bring a weight to a whole number of lines. */
static SnlStatus pad(Writer *w, int64_t n)
{
    static const uint8_t zeros[SNL_PACK_ALIGN];
    return n ? emit(w, zeros, n) : SNL_OK;
}

static SnlStatus write_matrix(Writer *w, const SnlPackedWeight *packed)
{
    const SnlWeight *weight = packed->weight;
    int64_t total_rows = snl_weight_rows(weight), cols = snl_weight_cols(weight);
    int64_t size = snl_layout_rows(packed->layout), written = 0, step = block_rows(cols);
    int64_t panel_bytes = snl_panel_bytes(weight->type->dtype, cols) / SNL_PANEL_ROWS * size;
    if (step > total_rows)
        step = (total_rows + SNL_PANEL_ROWS - 1) / SNL_PANEL_ROWS * SNL_PANEL_ROWS;
    w->rows = room_for(w->rows, &w->rows_room, step * cols, sizeof(float));
    w->image = room_for(w->image, &w->image_room, step / size, (size_t)panel_bytes);
    for (int64_t row = 0; row < total_rows; row += step) {
        int64_t n = total_rows - row < step ? total_rows - row : step;
        SNL_TRY(read_rows(w, weight, row, n));
        int64_t panels = (n + size - 1) / size;
        memset(w->image, 0, (size_t)(panels * panel_bytes));
        for (int64_t p = 0; p < panels; p++) {
            int64_t first = p * size, here = n - first < size ? n - first : size;
            fill_panel(weight->type->dtype, w->rows + first * cols, here, cols, size,
                       w->image + p * panel_bytes);
        }
        SNL_TRY(emit(w, w->image, panels * panel_bytes));
        written += panels * panel_bytes;
    }
    return pad(w, packed->nbytes - written);
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
    return pad(w, packed->nbytes - total_rows * cols * 4);
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
        status = packed->layout == SNL_LAYOUT_PLAIN ? write_plain(&w, packed)
                                                    : write_matrix(&w, packed);
        if (out) out[i] = (SnlWritten){XXH3_64bits_digest(w.hash), w.rounding};
    }
    if (source->release) source->release(source);
    XXH3_freeState(w.hash);
    free(w.rows);
    free(w.exact);
    free(w.image);
    return status;
}
