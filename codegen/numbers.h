/* codegen/numbers.h -- numbers that cannot be stored are refused, with their place in the model's
 * files. Private to codegen/. */
#ifndef SNL_CODEGEN_NUMBERS_H
#define SNL_CODEGEN_NUMBERS_H

#include "ir/weights.h"

/* Rows [row, row + n) of a weight, before they are rounded to a format. */
typedef struct SnlNumbers {
    SnlWeightSource *source;
    SnlDiag *diag;
    const SnlWeight *weight;
    int64_t row, n;
    const float *at;
} SnlNumbers;

/* Refuses a number that is none, or infinite. */
SnlStatus snl_check_finite(const SnlNumbers *numbers);
/* Refuses element i, or one after it in its block: `dtype` cannot hold it. */
SnlStatus snl_refuse_large(const SnlNumbers *numbers, SnlDtype dtype, int64_t i);

#endif
