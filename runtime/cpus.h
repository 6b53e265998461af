/* runtime/cpus.h -- how many threads make sense on this machine. */
#ifndef SNLRT_CPUS_H
#define SNLRT_CPUS_H

#include <stdint.h>

/* Logical processors that this process may run on. At least 1; one system call. */
int64_t snlrt_usable_cpus(void);
/* Threads worth starting: those processors counted as cores, and no more than the CPU quota of the
 * control groups allows. At least 1. Reads a few small files of /proc and /sys; what is not there
 * does not limit. */
int64_t snlrt_usable_cores(void);

#endif
