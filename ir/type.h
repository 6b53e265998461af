/* ir/type.h -- element types and tensor types.
 *
 * A type is `dtype[dim, dim, ...]`; at most one dim is the symbolic T (tokens of this call). Types
 * are interned in their module: equal types are equal pointers. `index` is a scalar, `state` an
 * opaque parameter type. */
#ifndef SNL_IR_TYPE_H
#define SNL_IR_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SNL_DT_FLOAT = 1, SNL_DT_INTEGER = 2, SNL_DT_BLOCKED = 4 };

typedef enum SnlDtype {
#define DTYPE(NAME, text, block, bytes, flags) SNL_##NAME,
#include "ir/dtypes.def"
#undef DTYPE
    SNL_DTYPE_COUNT
} SnlDtype;

typedef struct SnlDtypeInfo {
    const char *text;
    int block_elems, block_bytes;
    unsigned flags;
} SnlDtypeInfo;
extern const SnlDtypeInfo snl_dtype_info[SNL_DTYPE_COUNT];
/* false when `text` (length n) names no dtype */
bool snl_dtype_find(const char *text, size_t n, SnlDtype *out);

enum { SNL_MAX_RANK = 4 };
#define SNL_DIM_T ((int64_t)-1) /* the symbolic dimension */
/* No dimension of a type exceeds this, and neither does the product of the static ones. */
#define SNL_MAX_ELEMS ((int64_t)1 << 40)

typedef struct SnlType {
    SnlDtype dtype;
    int rank; /* 0: scalar */
    int64_t dim[SNL_MAX_RANK];
} SnlType;

/* Product of dims with T replaced by `n_tokens`; rank 0 gives 1. Cannot overflow for verified
 * types. */
int64_t snl_type_elems(const SnlType *type, int64_t n_tokens);
/* Product of all dims after the first (elements per token of a [T, ...] tensor). */
int64_t snl_type_row_elems(const SnlType *type);
/* Bytes of n elements along the last axis (blocks rounded up). */
int64_t snl_dtype_row_bytes(SnlDtype dtype, int64_t n);
static inline bool snl_type_has_t(const SnlType *t)
{
    return t->rank > 0 && t->dim[0] == SNL_DIM_T;
}
/* Last dimension; 1 for rank 0. */
static inline int64_t snl_type_width(const SnlType *t) { return t->rank ? t->dim[t->rank - 1] : 1; }
/* M of [T, M, D]; 1 for [T, D]. */
static inline int64_t snl_type_members(const SnlType *t) { return t->rank == 3 ? t->dim[1] : 1; }

/* One number of format `dtype` (F32, BF16, F16) <-> double. Rounding to nearest even. */
double snl_round_to(SnlDtype dtype, double x);
float snl_bf16_to_f32(uint16_t bits);
uint16_t snl_f32_to_bf16(float x);
float snl_f16_to_f32(uint16_t bits);
uint16_t snl_f32_to_f16(float x);

/* Block formats (ir/blocks.c). One block of n <= 32 numbers: integers into out_q[32], the scale (an
 * f16 number) is the result; the values are q * scale. */
enum { SNL_BLOCK = 32 };
static inline int64_t snl_block_count(int64_t n) { return (n + SNL_BLOCK - 1) / SNL_BLOCK; }
float snl_quantize_block(SnlDtype dtype, const float *x, int n, int8_t *out_q);
/* x / scale is taken this much smaller, 1 - 2^-21, before it is rounded: more than f32's rounding
 * errors on the way there, so that all who compute it agree on what lies between two integers. */
#define SNL_TIES 0x1.fffffp-1f
/* A row of n numbers, rounded in place to what a block format holds. */
void snl_round_blocks(SnlDtype dtype, float *x, int64_t n);
static inline bool snl_dtype_is_blocked(SnlDtype dtype)
{
    return dtype == SNL_Q8_0 || dtype == SNL_Q4_0;
}

#endif
