/* codegen/linear.h -- what the float and the block kernels of linear share. Private to codegen/. */
#ifndef SNL_CODEGEN_LINEAR_H
#define SNL_CODEGEN_LINEAR_H

#include "codegen/gen.h"

enum { SNL_MAX_TILE = 36, SNL_MAX_TILE_PANELS = 4 };

/* One kernel y = W x (+ b) under construction. */
typedef struct SnlLinear {
    SnlGen *g;
    SnlDtype dtype;
    int64_t rows, inputs;       /* F, K */
    int64_t groups;             /* lines of a panel: ceil(K / group) (f32, bf16, f16) */
    int group;                  /* inputs of a line: 1 or 2 */
    int64_t x_stride, y_stride; /* 4-byte words from one token row to the next */
    bool bias, accumulate, edges;
    LLVMValueRef w, x, y, b, c0, c1, n;
} SnlLinear;

/* A register tile of the prefill kernels. */
typedef struct SnlTile {
    int tokens, panels;
    LLVMValueRef x, y; /* first token's rows */
    LLVMValueRef first_panel;
    LLVMValueRef panel[SNL_MAX_TILE_PANELS];
} SnlTile;

/* Where a panel of the weight begins. */
LLVMValueRef snl_linear_panel(const SnlLinear *l, LLVMValueRef panel);

/* Stores the 16 results of the panel whose first row is `first` into the token row at y: adds bias
 * and what is there already where the kernel does, and leaves lanes outside [c0, c1) alone. */
void snl_linear_store(const SnlLinear *l, LLVMValueRef sum, LLVMValueRef y, LLVMValueRef first);

/* codegen/kernel_blocks.c: q8_0 and q4_0. */
void snl_blocks_gemv(const SnlLinear *l, LLVMValueRef panel_index);
void snl_blocks_gemm_tile(const SnlLinear *l, const SnlTile *t);
LLVMValueRef snl_blocks_element(SnlGen *g, SnlDtype dtype, int64_t inputs, LLVMValueRef panel,
                                LLVMValueRef lane, LLVMValueRef c);

#endif
