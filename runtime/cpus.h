/* runtime/cpus.h -- how many threads make sense on this machine, and where they run. */
#ifndef SNLRT_CPUS_H
#define SNLRT_CPUS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Logical processors that this process may run on. At least 1; one system call. */
int64_t snlrt_usable_cpus(void);
/* Whole processors that the CPU quota of the control groups allows; INT64_MAX: no quota. At
 * least 1. Reads a few small files of /proc and /sys; what is not there does not limit. */
int64_t snlrt_cpu_quota(void);
/* Threads worth starting: the processors above counted as cores, and no more than the quota. At
 * least 1. */
int64_t snlrt_usable_cores(void);

/* Fills cpus[0..n) with usable processors, one of each core before their siblings, again from the
 * beginning when there are fewer than n. `from_here`: the round begins at the processor that the
 * calling thread is on. */
void snlrt_cpu_order(int *cpus, int64_t n, bool from_here);
/* Lets the thread run on that processor only. 0, or why the system refuses (errno.h). */
int snlrt_cpu_pin(pthread_t thread, int cpu);
/* Moves the calling thread to that processor, from where the system may move it on. */
void snlrt_cpu_visit(int cpu);

/* Number of the calling thread in the system. */
int snlrt_thread_id(void);
/* Seconds that a thread of this process has stood ready to run without a processor; 0: the system
 * does not say. Reads a small file of /proc. */
double snlrt_thread_waited(int thread_id);

/* Threads of the whole machine, as it is now. */
typedef struct SnlrtLoad {
    int64_t n_running; /* that run or could; 0: the system does not say */
    double recent;     /* how many they were on average over the last minute */
} SnlrtLoad;
/* Reads a small file of /proc. */
SnlrtLoad snlrt_machine_load(void);
/* Processors that run threads, whoever may use them. At least 1. */
int64_t snlrt_machine_cpus(void);

typedef struct SnlrtCpuSet {
    uint64_t words[16];
} SnlrtCpuSet;

/* The processors that the calling thread may run on. false: there are more than a set holds, or the
 * system refuses. */
bool snlrt_cpus_get(SnlrtCpuSet *out_set);
bool snlrt_cpus_set(const SnlrtCpuSet *set);

#endif
