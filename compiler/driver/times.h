/* compiler/driver/times.h -- what repeated measurements of time come to. */
#ifndef SNL_DRIVER_TIMES_H
#define SNL_DRIVER_TIMES_H

#include "ir/base/clock.h"

#include <stddef.h>

/* Of n > 0 numbers; sorts them. */
double snl_median(double *inout, size_t n);

#endif
