/* compiler/driver/tensors.h -- how the weights of a program are stored, and what that does to
 * them. */
#ifndef SNL_DRIVER_TENSORS_H
#define SNL_DRIVER_TENSORS_H

#include "codegen/pack.h"

#include <stdio.h>

/* The tensors of one role in all layers: "l*.wqkv". What is stored as f32 elementwise (norms,
 * biases, factors) is one class, the last. */
typedef struct SnlTensorClass {
    const char *name;
    bool head; /* makes logits; `embed`: rows are read from it, too */
    bool embed;
    int64_t n, nbytes;
    SnlDtype dtype; /* the same for all */
    SnlRounding rounding;
    const SnlPackedWeight *worst; /* with the largest relative error; NULL: nothing was rounded */
    double worst_error;
} SnlTensorClass;

typedef struct SnlTensorClasses {
    SnlTensorClass *at;
    size_t n;
} SnlTensorClasses;

/* Classes in order of the payload. written[i] belongs to weight i. */
SnlTensorClasses snl_tensor_classes(SnlArena *arena, const SnlModule *m, const SnlPayload *payload,
                                    const SnlWritten *written);

/* A few lines for the summary: size, format, error of each class; `each`: and of each tensor. */
void snl_tensors_print(FILE *out, const SnlModule *m, const SnlPayload *payload,
                       const SnlWritten *written, bool each);

#endif
