/* compiler/driver/times.c -- what repeated measurements of time come to. */
#include "compiler/driver/times.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double snl_median(double *inout, size_t n)
{
    qsort(inout, n, sizeof *inout, compare);
    return n % 2 ? inout[n / 2] : (inout[n / 2 - 1] + inout[n / 2]) / 2;
}
