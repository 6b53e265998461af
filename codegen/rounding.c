/* codegen/rounding.c -- sums of squares. */
#include "codegen/rounding.h"

#include <math.h>

void snl_rounding_add(SnlRounding *inout, const float *number, const float *stored, int64_t n)
{
    double error = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        double x = (double)number[i], e = (double)stored[i] - x;
        error += e * e;
        size += x * x;
    }
    inout->error_squares += error;
    inout->squares += size;
}

void snl_rounding_join(SnlRounding *inout, const SnlRounding *other)
{
    inout->error_squares += other->error_squares;
    inout->squares += other->squares;
}

double snl_rounding_relative(const SnlRounding *rounding)
{
    return rounding->squares > 0 ? sqrt(rounding->error_squares / rounding->squares) : 0.0;
}
