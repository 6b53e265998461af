/* runtime/clock.c -- the system's monotonic clock. */
#define _GNU_SOURCE /* CLOCK_MONOTONIC_COARSE */
#include "runtime/clock.h"

#include <time.h>

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double snlrt_seconds(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double snlrt_seconds_coarse(void)
{
    return seconds_of(CLOCK_MONOTONIC_COARSE);
}
