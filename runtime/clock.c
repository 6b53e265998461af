/* runtime/clock.c -- the system's monotonic clock. */
#include "runtime/clock.h"

#include <time.h>

double snlrt_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
