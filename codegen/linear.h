/* codegen/linear.h -- what the float and the block kernels of linear share. Private to codegen/. */
#ifndef SNL_CODEGEN_LINEAR_H
#define SNL_CODEGEN_LINEAR_H

#include "codegen/gen.h"

enum { SNL_MAX_TILE = 36, SNL_MAX_TILE_PANELS = 4 };

/* One kernel y = W x (+ b) under construction. */
typedef struct SnlLinear {
    SnlGen *g;
    SnlDtype dtype;
    int64_t rows, inputs;       /* F, K: what is multiplied */
    int64_t row_inputs;         /* inputs of a row as it lies in memory: K, or more than a part */
    LLVMValueRef first_block;   /* block formats: of the part */
    int64_t groups;             /* lines of a panel: ceil(K / group) (f32, bf16, f16) */
    int group;                  /* inputs of a line: 1 or 2 */
    int64_t x_stride, y_stride; /* 4-byte words from one token row to the next */
    bool bias, accumulate, edges;
    bool pairs; /* rows of x are bf16 (snl_gemm_pairs) */
    LLVMValueRef unpacked; /* room for the bytes of a group of q4_0 panels; null: not unpacked */
    const SnlFinish *finish;    /* what becomes of the sums */
    const LLVMValueRef *others; /* the memory that those read (snl_finish_addresses), op by op */
    LLVMValueRef w, x, y, b, c0, c1, r0, n;
} SnlLinear;

/* A register tile of the prefill kernels. */
typedef struct SnlTile {
    int tokens, panels;
    LLVMValueRef row, x, y; /* first token: its number from r0 on, its rows */
    LLVMValueRef first_panel;
    LLVMValueRef panel[SNL_MAX_TILE_PANELS];
    LLVMValueRef bytes[SNL_MAX_TILE_PANELS]; /* where the panel lies unpacked; null: it does not */
} SnlTile;

/* Where a panel of the weight begins. */
LLVMValueRef snl_linear_panel(const SnlLinear *l, LLVMValueRef panel);

/* Sums of the 16 rows from `first` with their biases. */
LLVMValueRef snl_linear_biased(const SnlLinear *l, LLVMValueRef sum, LLVMValueRef first);
/* Stores the 16 results of the panel whose first row is `first` into the token row at y: adds bias
 * and what is there already where the kernel does, and leaves lanes outside [c0, c1) alone. */
void snl_linear_store(const SnlLinear *l, LLVMValueRef sum, LLVMValueRef y, LLVMValueRef first);

/* The lanes' weights of inputs group * k .. of a line: lanes[0..group). */
void snl_linear_line(const SnlLinear *l, LLVMValueRef line_ptr, LLVMValueRef *lanes);
/* Input k + extra of a row of x, in all lanes. */
LLVMValueRef snl_linear_input(const SnlLinear *l, LLVMValueRef row, LLVMValueRef k, int64_t extra);

/* codegen/kernel_gemm.c: many tokens. */
/* Finishes and stores what the tile has summed for token r and panel p. */
void snl_gemm_store(const SnlLinear *l, const SnlTile *t, int r, int p, LLVMValueRef sum);
void snl_linear_gemm(const SnlLinear *l);
/* Can the target multiply pairs, and does this call of many tokens want it? */
bool snl_gemm_takes_pairs(const SnlOpGen *o);
/* Writes the range's rows of x as bf16 into the op's scratch; their place. */
SnlPlace snl_gemm_pairs(const SnlOpGen *o, SnlPlace x, SnlRange r);

/* codegen/kernel_blocks.c: q8_0 and q4_0. */
/* x of lanes [at, at + 16) of a row of `width`; what lies beyond the row is 0. */
LLVMValueRef snl_load_inside(SnlGen *g, LLVMValueRef row, int64_t at, int64_t width);
void snl_blocks_gemv(const SnlLinear *l, LLVMValueRef panel_index);
/* Quantises the n <= 32 numbers at x to q8_0: integers in 2 x 16 lanes of i32, zeros beyond n. The
 * result is the scale, not yet rounded to f16. */
LLVMValueRef snl_quantize_lanes(SnlGen *g, LLVMValueRef x, int64_t n, LLVMValueRef out_q[2]);

/* Elements [c, c + n) of row `lane` of a panel of `rows`; n is 1, or 16 and divides c. */
LLVMValueRef snl_blocks_elements(SnlGen *g, SnlDtype dtype, int rows, LLVMValueRef panel,
                                 LLVMValueRef lane, LLVMValueRef c, int n);
/* A row's words of n lines of such a panel, from `at` in the first. */
LLVMValueRef snl_panel_words(SnlGen *g, LLVMValueRef at, int rows, int n);

/* What a block needs of a row of activations. */
typedef struct SnlBlockInput {
    LLVMValueRef bytes, scale, start; /* start of the integer accumulator, 16 lanes */
} SnlBlockInput;

SnlBlockInput snl_block_input(const SnlLinear *l, LLVMValueRef x, LLVMValueRef block);
/* Activations 4 i .. 4 i + 3 of the block, in all lanes. */
LLVMValueRef snl_block_input_bytes(SnlGen *g, const SnlBlockInput *x, int i);
/* First line of a panel's block. */
LLVMValueRef snl_block_at(const SnlLinear *l, LLVMValueRef panel, LLVMValueRef block);
/* What is added to a weight to make it unsigned. */
int snl_block_offset(SnlDtype dtype);
/* Unsigned bytes of the inputs 4 i .. 4 i + 3 of 16 rows, i < 8: one line of q8_0, half of one of
 * q4_0. */
LLVMValueRef snl_block_bytes(const SnlLinear *l, LLVMValueRef lines, int i);
/* f16 scales of 16 rows for a block, as f32. */
LLVMValueRef snl_block_scales(const SnlLinear *l, LLVMValueRef panel, LLVMValueRef block);
/* acc + dot * rows * x_scale */
LLVMValueRef snl_block_scaled(SnlGen *g, LLVMValueRef dot, LLVMValueRef rows, LLVMValueRef x_scale,
                              LLVMValueRef acc);

/* codegen/kernel_gemm_blocks.c */
/* Unpacks a q4_0 panel to bytes at `to`: 8 lines for each block, as q8_0 has them. */
void snl_blocks_unpack(const SnlLinear *l, LLVMValueRef panel, LLVMValueRef to);
void snl_blocks_gemm_tile(const SnlLinear *l, const SnlTile *t);

#endif
