/* ir/weights.h -- the elements of a weight, a few rows at a time.
 *
 * A weight of type [R, C] has R rows of C elements; a vector [C] is one row; a scalar [1] likewise.
 * (Rank 3 and more: all but the last dim count as rows.) Rows are produced on request by walking
 * the weight expression, so that the packer never holds a whole matrix. */
#ifndef SNL_IR_WEIGHTS_H
#define SNL_IR_WEIGHTS_H

#include "ir/ir.h"

/* Where `source "file" "tensor"` bytes come from. Implemented by the frontend (safetensors, GGUF)
 * and by ir/weights_random.c. All functions report through the diag given at open. */
typedef struct SnlTensorInfo {
    SnlDtype dtype;
    int rank;
    int64_t dim[SNL_MAX_RANK];
} SnlTensorInfo;

typedef struct SnlWeightSource SnlWeightSource;
struct SnlWeightSource {
    /* Shape and stored type; BAD_INPUT when the file or tensor is missing. */
    SnlStatus (*find)(SnlWeightSource *self, const char *file, const char *tensor, SnlDiag *diag,
                      SnlTensorInfo *out);
    /* Elements [first, first + n) in row-major order as f32. */
    SnlStatus (*read)(SnlWeightSource *self, const char *file, const char *tensor, int64_t first,
                      int64_t n, SnlDiag *diag, float *out);
    /* Bytes read so far are not needed again. May be NULL. */
    void (*release)(SnlWeightSource *self);
    void (*destroy)(SnlWeightSource *self);
    /* Any tensor exists, has no shape or type of its own, and reads as standard normal numbers; the
     * reader gives them mean and deviation by the declared shape, and rounds them to the declared
     * type (snl_random_source_create). */
    bool shapeless;
};

/* Normal numbers with a standard deviation that keeps activations sane (1/sqrt(columns) for
 * matrices, around 1 for vectors), a pure function of (seed, weight tensor name, element index). */
SnlWeightSource *snl_random_source_create(SnlArena *arena, uint64_t seed);
/* Elements [first, first + n) of the endless sequence of (nearly) standard normal numbers that
 * belongs to (seed, name). The same on every machine; |x| < 6. */
void snl_random_normals(uint64_t seed, const char *name, int64_t first, int64_t n, float *out);

/* "[2, 3]" into out[SNL_SHAPE_TEXT]. */
enum { SNL_SHAPE_TEXT = 128 };
void snl_shape_text(int rank, const int64_t *dim, char *out);

int64_t snl_weight_rows(const SnlWeight *w);
int64_t snl_weight_cols(const SnlWeight *w);

/* Does any of its elements come from a SOURCE? */
bool snl_weight_has_source(const SnlWeight *w);

/* Rows [row, row + n) of `w` into out[n * cols]. `scratch` memory is bounded by a few rows per
 * level of the expression, and by SNL_SMALL_WEIGHT for whole-evaluated ones. */
SnlStatus snl_weight_read(const SnlWeight *w, SnlWeightSource *source, int64_t row, int64_t n,
                          SnlDiag *diag, float *out);
/* Rows of `cols` numbers, rounded in place to what `dtype` holds: what a cast does to them. */
void snl_weight_round(SnlDtype dtype, int64_t rows, int64_t cols, float *inout);
/* Checks that every weight that `m` uses exists in `source` with the declared shape. */
SnlStatus snl_weights_check(const SnlModule *m, SnlWeightSource *source, SnlDiag *diag);
/* The dtype that a weight's numbers have before anything is stored: the declared one where that is
 * narrower than F32; else that of its SOURCE leaves (of parts that are declared narrower) when they
 * agree; else F32. */
SnlStatus snl_weight_stored_dtype(const SnlWeight *w, SnlWeightSource *source, SnlDiag *diag,
                                  SnlDtype *out);

#endif
