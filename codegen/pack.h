/* codegen/pack.h -- the payload: which weights the generated code reads, where, in which layout;
 * and the streaming writer that fills it.
 *
 * PANELS (2-D weights read by linear, and by embed too): rows [R, C] in panels of 16; inputs in
 * groups of 4 bytes per row (f32: g = 1 input, bf16/f16: g = 2). Element (r, c) of a panel
 * format lies at
 *
 *     ((r / 16) * ceil(C / g) + c / g) * 64  +  (r % 16) * 4  +  (c % g) * (4 / g)      bytes
 *
 * so one 64-byte line holds one input group of 16 rows; rows beyond R and inputs beyond C are zero.
 *
 * PANELS of q8_0 and q4_0: pair by pair of blocks, so that a panel is one stream, read front to
 * back. A pair is a line of scales, f16, 16 rows for the even block, 16 for the odd one (zero where
 * there is none), then the lines of the even block, then those of the odd one. A line holds 4 bytes
 * of each row:
 *
 *     q8_0, line l of 8    inputs 32 b + 4 l + (0..3), stored + 128 (so unsigned)
 *     q4_0, line l of 4    inputs 32 b + 4 l + (0..3) + 8 in the low halves of the bytes,
 *                          inputs 32 b + 16 + 4 l + (0..3) + 8 in the high halves
 *
 * Missing inputs and rows are zero (+ 128, + 8).
 *
 * ROWS (2-D weights that only embed reads): panels of one row each, of lines of 4 bytes instead of
 * 64. So a row is one stream, and reading one costs its bytes, not those of 16.
 *
 * PLAIN (norms, biases, scalars, mixing matrices): f32, row-major, zero-padded to 64 bytes.
 *
 * Every weight starts at a multiple of 64. Order: first use in the functions given, so a token's
 * weights are read front to back; after them the tables of which a token reads a row (embed). */
#ifndef SNL_CODEGEN_PACK_H
#define SNL_CODEGEN_PACK_H

#include "codegen/rounding.h"
#include "ir/base/progress.h"
#include "ir/weights.h"

typedef enum SnlLayout { SNL_LAYOUT_PLAIN, SNL_LAYOUT_PANELS, SNL_LAYOUT_ROWS } SnlLayout;

enum { SNL_PANEL_ROWS = 16, SNL_PACK_ALIGN = 64 };

typedef struct SnlPackedWeight {
    const SnlWeight *weight;
    SnlLayout layout;
    int64_t offset, nbytes;
} SnlPackedWeight;

typedef struct SnlPayload {
    SnlPackedWeight *at;
    size_t n;
    int64_t nbytes;
    int64_t swept_nbytes;     /* of these, all but the tables: what every token reads */
    int64_t *index_of_weight; /* weight id -> index in `at`, -1: not packed */
    size_t n_weights;
} SnlPayload;

/* Inputs of a line per row (f32, bf16, f16). */
static inline int snl_panel_group(SnlDtype dtype)
{
    return dtype == SNL_F32 ? 1 : 2;
}
/* q8_0, q4_0: lines of a block, and bytes of a pair with its scales. */
static inline int snl_block_lines(SnlDtype dtype)
{
    return dtype == SNL_Q8_0 ? 8 : 4;
}
static inline int64_t snl_block_pair_bytes(SnlDtype dtype)
{
    return 64 + 2 * 64 * (int64_t)snl_block_lines(dtype);
}
/* Bytes of a panel of 16 rows of `cols` inputs. */
int64_t snl_panel_bytes(SnlDtype dtype, int64_t cols);
/* Bytes of one row of `cols` inputs in ROWS. */
int64_t snl_row_bytes(SnlDtype dtype, int64_t cols);
/* Rows that lie interleaved in a layout of matrices. */
static inline int snl_layout_rows(SnlLayout layout)
{
    return layout == SNL_LAYOUT_ROWS ? 1 : SNL_PANEL_ROWS;
}

/* Collects the weights that the ops of `funcs` use. */
SnlStatus snl_payload_plan(SnlArena *arena, const SnlModule *m, SnlFunc *const *funcs,
                           size_t n_funcs, SnlDiag *diag, SnlPayload *out);
/* Offset of a weight; it must be in the payload. */
int64_t snl_payload_offset(const SnlPayload *payload, const SnlWeight *weight);
SnlLayout snl_payload_layout(const SnlPayload *payload, const SnlWeight *weight);

/* Receives consecutive bytes. */
typedef SnlStatus SnlByteSink(void *user, const void *bytes, size_t nbytes);

/* What is known of a weight once it is written. */
typedef struct SnlWritten {
    uint64_t hash;        /* XXH3-64 of its bytes */
    /* What its format did to its numbers; zeros when they were of it before. */
    SnlRounding rounding;
} SnlWritten;

/* Streams all packed weights in order. Numbers that are none, and those that the format cannot
 * hold, are refused. `out`: room for n; may be NULL. Memory: a few panels. */
SnlStatus snl_payload_write(const SnlPayload *payload, SnlWeightSource *source, SnlDiag *diag,
                            SnlByteSink *sink, void *user, SnlProgress *progress,
                            void *progress_user, SnlWritten *out);

#endif
