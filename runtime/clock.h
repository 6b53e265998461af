/* runtime/clock.h -- monotonic seconds. */
#ifndef SNLRT_CLOCK_H
#define SNLRT_CLOCK_H

double snlrt_seconds(void);

#endif
