/* runtime/clock.h -- monotonic seconds. */
#ifndef SNLRT_CLOCK_H
#define SNLRT_CLOCK_H

double snlrt_seconds(void);
/* The same as of some milliseconds ago at most; costs a few nanoseconds. */
double snlrt_seconds_coarse(void);

#endif
