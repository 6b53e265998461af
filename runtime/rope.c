/* runtime/rope.c -- the table of rotary angles (declared in runtime/abi.h). */
#include "runtime/abi.h"

#include <math.h>

void snlrt_rope_table(const double *freq, int64_t half, int64_t inverse, int64_t pos, int64_t rows,
                      float *out)
{
    for (int64_t t = 0; t < rows; t++) {
        float *row = out + t * 2 * half;
        for (int64_t j = 0; j < half; j++) {
            double angle = (double)(pos + t) * freq[j];
            row[j] = (float)cos(angle);
            row[half + j] = (float)(inverse ? -sin(angle) : sin(angle));
        }
    }
}
