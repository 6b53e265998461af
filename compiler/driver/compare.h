/* compiler/driver/compare.h -- how far compiled results are from the evaluator's, and how far they
 * may be. */
#ifndef SNL_DRIVER_COMPARE_H
#define SNL_DRIVER_COMPARE_H

#include "ir/eval.h"

typedef struct SnlErrors {
    double max_abs;  /* largest |found - wanted| */
    double relative; /* that, over the largest |wanted| */
    double nmse;     /* sum of squared errors over sum of squares of wanted */
    int64_t at;      /* element of the largest error */
    bool nan;        /* one side is not a number where the other is */
} SnlErrors;

SnlErrors snl_compare(const SnlTensor *found, const SnlTensor *wanted);

/* The limits of `relative`, one row per stored format of weights: kernels accumulate in f32
 * whatever the weights' format; the evaluator reads the same rounded weights, so that a format's
 * own rounding is not in the error. */
double snl_compare_limit(const SnlModule *m);

#endif
