/* runtime/cpus.c -- affinity, cores, control-group quotas and waits (Linux). */
#define _GNU_SOURCE /* affinity, sched_getcpu */
#include "runtime/cpus.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The file's first bytes as a string; false: it cannot be read. */
static bool read_small(const char *path, char *text, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, text, room - 1);
    close(fd);
    if (n < 0) return false;
    text[n] = 0;
    return true;
}

static bool get_affinity(cpu_set_t *set)
{
    CPU_ZERO(set);
    return sched_getaffinity(0, sizeof *set, set) == 0 && CPU_COUNT(set) > 0;
}

int64_t snlrt_usable_cpus(void)
{
    cpu_set_t set;
    if (get_affinity(&set)) return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN); /* more processors than a cpu_set_t holds */
    return n > 0 ? n : 1;
}

/* Is an earlier processor of the set on the same core? `siblings` is a list such as "0,64" or
 * "0-1". */
static bool shares_core(const cpu_set_t *set, int cpu, const char *siblings)
{
    for (const char *s = siblings; *s >= '0' && *s <= '9';) {
        char *end;
        long first = strtol(s, &end, 10), last = first;
        if (*end == '-') last = strtol(end + 1, &end, 10);
        for (long i = first; i <= last && i < cpu; i++)
            if (CPU_ISSET((size_t)i, set)) return true;
        s = *end == ',' ? end + 1 : end;
    }
    return false;
}

/* Is this usable processor the first one of its core? */
static bool leads_core(const cpu_set_t *set, int cpu)
{
    char text[256], path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    return !read_small(path, text, sizeof text) || !shares_core(set, cpu, text);
}

static bool cores_have_siblings(void)
{
    char text[16];
    return !read_small("/sys/devices/system/cpu/smt/active", text, sizeof text) || text[0] != '0';
}

static int64_t count_cores(void)
{
    cpu_set_t set;
    if (!get_affinity(&set)) return snlrt_usable_cpus();
    if (!cores_have_siblings()) return CPU_COUNT(&set);
    int64_t n = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET((size_t)cpu, &set) && leads_core(&set, cpu)) n++;
    return n;
}

/* Lowers *n to what "QUOTA PERIOD" (microseconds; "max": none) allows. */
static void apply_quota(const char *quota, const char *period, int64_t *n)
{
    long long q = strtoll(quota, NULL, 10), p = strtoll(period, NULL, 10);
    if (q <= 0 || p <= 0) return; /* "max" and -1 end here too */
    int64_t cpus = q / p > 0 ? q / p : 1;
    if (cpus < *n) *n = cpus;
}

static void apply_group(const char *root, const char *group, int64_t *n)
{
    char path[PATH_MAX], quota[64], period[64];
    snprintf(path, sizeof path, "%s%s/cpu.max", root, group);
    if (read_small(path, quota, sizeof quota)) {
        char *space = strchr(quota, ' ');
        if (space) apply_quota(quota, space + 1, n);
        return;
    }
    snprintf(path, sizeof path, "%s/cpu%s/cpu.cfs_quota_us", root, group);
    if (!read_small(path, quota, sizeof quota)) return;
    snprintf(path, sizeof path, "%s/cpu%s/cpu.cfs_period_us", root, group);
    if (read_small(path, period, sizeof period)) apply_quota(quota, period, n);
}

/* Every group from the process's own up to the root limits. Line of version 2: "0::/a/b"; of
 * version 1: "4:cpu,cpuacct:/a/b". */
static void apply_groups(char *group, int64_t *n)
{
    for (;;) {
        apply_group("/sys/fs/cgroup", group, n);
        char *slash = strrchr(group, '/');
        if (!slash) return;
        *slash = 0;
    }
}

int64_t snlrt_cpu_quota(void)
{
    int64_t n = INT64_MAX;
    char text[PATH_MAX], *state = NULL;
    if (!read_small("/proc/self/cgroup", text, sizeof text)) return n;
    for (char *line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state)) {
        char *colon = strchr(line, ':'), *path = colon ? strchr(colon + 1, ':') : NULL;
        if (path && (path == colon + 1 || strstr(colon, "cpu"))) apply_groups(path + 1, &n);
    }
    return n;
}

int64_t snlrt_usable_cores(void)
{
    int64_t n = count_cores(), quota = n > 1 ? snlrt_cpu_quota() : n;
    if (quota < n) n = quota;
    return n > 0 ? n : 1;
}

/* All usable processors, one of each core before their siblings; returns how many. */
static int64_t list_cpus(int list[CPU_SETSIZE])
{
    cpu_set_t set;
    int second[CPU_SETSIZE];
    int64_t n = 0, n_second = 0;
    if (!get_affinity(&set)) return 0;
    bool siblings = cores_have_siblings();
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &set)) continue;
        if (!siblings || leads_core(&set, cpu))
            list[n++] = cpu;
        else
            second[n_second++] = cpu;
    }
    memcpy(list + n, second, (size_t)n_second * sizeof *second);
    return n + n_second;
}

void snlrt_cpu_order(int *cpus, int64_t n, bool from_here)
{
    int list[CPU_SETSIZE], here = from_here ? sched_getcpu() : -1;
    int64_t count = list_cpus(list), begin = 0;
    for (int64_t i = 0; i < count; i++)
        if (list[i] == here) begin = i;
    for (int64_t i = 0; i < n; i++) cpus[i] = count ? list[(begin + i) % count] : (int)i;
}

int snlrt_cpu_pin(pthread_t thread, int cpu)
{
    cpu_set_t set;
    if (cpu < 0 || cpu >= CPU_SETSIZE) return EINVAL;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return pthread_setaffinity_np(thread, sizeof set, &set);
}

int snlrt_thread_id(void)
{
    return (int)syscall(SYS_gettid);
}

/* The file: nanoseconds that it ran, nanoseconds that it waited, times that it ran. */
double snlrt_thread_waited(int thread_id)
{
    char text[96], path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/schedstat", thread_id);
    if (!read_small(path, text, sizeof text)) return 0;
    char *space = strchr(text, ' ');
    return space ? 1e-9 * (double)strtoll(space, NULL, 10) : 0;
}

/* The file: averages over 1, 5 and 15 minutes, threads that run "/" threads, the newest process. */
SnlrtLoad snlrt_machine_load(void)
{
    SnlrtLoad load = {0};
    char text[96];
    if (!read_small("/proc/loadavg", text, sizeof text)) return load;
    char *slash = strchr(text, '/');
    while (slash && slash > text && slash[-1] != ' ') slash--;
    if (!slash) return load;
    load.n_running = strtoll(slash, NULL, 10);
    load.recent = strtod(text, NULL);
    return load;
}

int64_t snlrt_machine_cpus(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? n : 1;
}

_Static_assert(sizeof(SnlrtCpuSet) == sizeof(cpu_set_t), "a set holds what the system's holds");

bool snlrt_cpus_get(SnlrtCpuSet *out_set)
{
    cpu_set_t set;
    if (!get_affinity(&set)) return false;
    memcpy(out_set, &set, sizeof set);
    return true;
}

bool snlrt_cpus_set(const SnlrtCpuSet *in_set)
{
    cpu_set_t set;
    memcpy(&set, in_set, sizeof set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

void snlrt_cpu_visit(int cpu)
{
    cpu_set_t usable;
    if (!get_affinity(&usable) || snlrt_cpu_pin(pthread_self(), cpu) != 0) return;
    sched_setaffinity(0, sizeof usable, &usable);
}
