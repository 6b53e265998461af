/* codegen/rounding.h -- what a stored format does to the numbers of a weight. */
#ifndef SNL_CODEGEN_ROUNDING_H
#define SNL_CODEGEN_ROUNDING_H

#include <stdint.h>

/* Sums over elements, to be added up over the weights of a class. */
typedef struct SnlRounding {
    double error_squares; /* of (stored - number) */
    double squares;       /* of the numbers */
} SnlRounding;

void snl_rounding_add(SnlRounding *inout, const float *number, const float *stored, int64_t n);
void snl_rounding_join(SnlRounding *inout, const SnlRounding *other);
/* Root of the mean square error over that of the numbers; 0 without any. */
double snl_rounding_relative(const SnlRounding *rounding);

#endif
