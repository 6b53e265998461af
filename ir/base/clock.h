/* ir/base/clock.h -- how much time passes, for what the compiler reports. */
#ifndef SNL_BASE_CLOCK_H
#define SNL_BASE_CLOCK_H

/* Seconds of the system's monotonic clock. */
double snl_seconds(void);

#endif
