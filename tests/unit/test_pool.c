/* Thread team and barrier: everyone meets, everything written before is seen after, also with more
 * threads than processors and after sleeping. Meant for ThreadSanitizer as well. */
#define _GNU_SOURCE /* affinity */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/cpus.h"
#include "runtime/meeting.h"
#include "runtime/pool.h"
#include "runtime/signal_word.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

enum { MAX_TEAM = 16 };

/* In the place of libc's: a test may be told of other processors than there are; its workers are
 * not. */
static _Thread_local const cpu_set_t *pretended;

int sched_getaffinity(pid_t pid, size_t nbytes, cpu_set_t *set)
{
    memset(set, 0, nbytes);
    if (pretended) {
        *set = *pretended;
        return 0;
    }
    return syscall(SYS_sched_getaffinity, pid, nbytes, set) < 0 ? -1 : 0;
}

/* A clock, waits of threads for processors and a machine's load that a test makes up, too. Nobody
 * is told of the load that there is. */
static double pretended_seconds, seconds_per_look;
static const char *pretended_waits, *pretended_load = "/nowhere";

int clock_gettime(clockid_t clock, struct timespec *out)
{
    if (seconds_per_look <= 0)
        return syscall(SYS_clock_gettime, clock, out) < 0 ? -1 : 0;
    pretended_seconds += seconds_per_look;
    out->tv_sec = (time_t)pretended_seconds;
    out->tv_nsec = (long)(1e9 * (pretended_seconds - (double)out->tv_sec));
    return 0;
}

int open(const char *path, int flags, ...)
{
    const char *name = strrchr(path, '/');
    if (pretended_waits && name && strcmp(name, "/schedstat") == 0) path = pretended_waits;
    if (strcmp(path, "/proc/loadavg") == 0) path = pretended_load;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
}

typedef struct Shared {
    SnlrtCtx ctx;
    int64_t rounds;
    int64_t values[MAX_TEAM]; /* plain memory: only the barrier orders it */
    int64_t failures[MAX_TEAM];
} Shared;

/* Round r: everyone writes r, then reads what all others wrote. */
static void write_and_read(void *user, int64_t thread)
{
    Shared *s = user;
    for (int64_t r = 1; r <= s->rounds; r++) {
        s->values[thread] = r * (thread + 1);
        snlrt_barrier(&s->ctx, thread);
        for (int64_t t = 0; t < s->ctx.n_threads; t++)
            if (s->values[t] != r * (t + 1)) s->failures[thread]++;
        snlrt_barrier(&s->ctx, thread);
    }
}

static void run_team(int64_t n_threads, int64_t n_jobs, int64_t n_rounds)
{
    SnlrtPool *pool;
    SnlrtError err;
    assert_int_equal(snlrt_pool_create(n_threads, 0, &pool, &err), SNLRT_OK);
    assert_int_equal(snlrt_pool_threads(pool), n_threads);
    Shared shared = {.rounds = n_rounds};
    shared.ctx.n_threads = n_threads;
    shared.ctx.barrier = snlrt_pool_barrier(pool);
    for (int64_t j = 0; j < n_jobs; j++) {
        snlrt_pool_run(pool, n_threads, write_and_read, &shared);
        for (int64_t t = 0; t < n_threads; t++) {
            assert_int_equal(shared.values[t], n_rounds * (t + 1));
            assert_int_equal(shared.failures[t], 0);
            shared.values[t] = -1; /* the next job must see it gone */
        }
    }
    snlrt_pool_destroy(pool);
}

static void team_meets_at_every_barrier(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 5; n++) run_team(n, 20, 20);
}

static void crowded_team_goes_on(void **state)
{
    (void)state;
    run_team(MAX_TEAM, 5, 10);
}

/* Runs a job on the first n_parts threads of the team, which meet at every barrier. */
static void run_parts(SnlrtPool *pool, Shared *shared, int64_t n_parts)
{
    shared->ctx.n_threads = n_parts;
    for (int64_t t = 0; t < MAX_TEAM; t++) shared->values[t] = -1;
    snlrt_pool_run(pool, n_parts, write_and_read, shared);
    for (int64_t t = 0; t < MAX_TEAM; t++) {
        assert_int_equal(shared->values[t], t < n_parts ? shared->rounds * (t + 1) : -1);
        assert_int_equal(shared->failures[t], 0);
    }
}

static void jobs_of_changing_size(unsigned flags, int64_t n_threads)
{
    SnlrtPool *pool;
    Shared shared = {.rounds = 5};
    assert_int_equal(snlrt_pool_create(n_threads, flags, &pool, NULL), SNLRT_OK);
    shared.ctx.barrier = snlrt_pool_barrier(pool);
    uint32_t random = 1;
    for (int i = 0; i < 600; i++) {
        random = random * 1664525 + 1013904223;
        run_parts(pool, &shared, 1 + (int64_t)(random >> 16) % n_threads);
    }
    snlrt_pool_destroy(pool);
}

static void parts_may_be_fewer_than_threads(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 7; n++) jobs_of_changing_size(0, n);
}

static void expect_cpus(const SnlrtCpuSet *wanted)
{
    SnlrtCpuSet found;
    assert_true(snlrt_cpus_get(&found));
    assert_memory_equal(&found, wanted, sizeof found);
}

static void pinned_team_meets_and_gives_its_creator_back(void **state)
{
    (void)state;
    SnlrtPool *pool;
    SnlrtCpuSet before;
    assert_true(snlrt_cpus_get(&before));
    assert_int_equal(snlrt_pool_create(2, SNLRT_POOL_PIN, &pool, NULL), SNLRT_OK);
    assert_int_equal(snlrt_usable_cpus(), 1);
    snlrt_pool_destroy(pool);
    expect_cpus(&before);
    jobs_of_changing_size(SNLRT_POOL_PIN, 2);
    jobs_of_changing_size(SNLRT_POOL_PIN, 5);
    expect_cpus(&before);
}

/* The last processor that a set can name is hardly there: a worker cannot have it. */
static void worker_that_cannot_be_pinned_is_told(void **state)
{
    (void)state;
    SnlrtPool *pool;
    SnlrtError err;
    SnlrtCpuSet before;
    cpu_set_t set;
    assert_true(snlrt_cpus_get(&before));
    int first = 0;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    if (CPU_ISSET(CPU_SETSIZE - 1, &set)) skip();
    while (!CPU_ISSET((size_t)first, &set)) first++;
    CPU_ZERO(&set);
    CPU_SET((size_t)first, &set);
    CPU_SET(CPU_SETSIZE - 1, &set);
    pretended = &set;
    SnlrtStatus status = snlrt_pool_create(2, SNLRT_POOL_PIN, &pool, &err);
    pretended = NULL;
    assert_int_equal(status, SNLRT_MACHINE);
    assert_null(pool);
    assert_string_equal(err.text, "cannot pin a thread to processor 1023: Invalid argument");
    expect_cpus(&before);
}

/* Beginning at the thread's own processor is the same round, begun elsewhere. */
static void order_from_here_is_a_rotation(void **state)
{
    (void)state;
    enum { MAX_CPUS = 4096 };
    static int order[MAX_CPUS], from_here[MAX_CPUS];
    int64_t n = snlrt_usable_cpus(), begin = 0;
    assert_true(n <= MAX_CPUS);
    snlrt_cpu_order(order, n, false);
    snlrt_cpu_order(from_here, n, true);
    while (begin < n && order[begin] != from_here[0]) begin++;
    assert_true(begin < n);
    for (int64_t i = 0; i < n; i++) assert_int_equal(from_here[i], order[(begin + i) % n]);
}

/* Visiting binds a thread to nothing; a processor that does not exist changes nothing. */
static void visits_leave_threads_free(void **state)
{
    (void)state;
    int64_t n = snlrt_usable_cpus();
    int cpus[2];
    snlrt_cpu_order(cpus, 2, false);
    for (int i = 0; i < 2; i++) {
        snlrt_cpu_visit(cpus[i]);
        assert_int_equal(snlrt_usable_cpus(), n);
    }
    snlrt_cpu_visit(-1);
    assert_int_equal(snlrt_usable_cpus(), n);
}

/* A thread that joins after others met often must not take old meetings for new ones. */
static void team_grows_after_many_meetings(void **state)
{
    (void)state;
    SnlrtPool *pool;
    Shared shared = {.rounds = 1};
    assert_int_equal(snlrt_pool_create(4, 0, &pool, NULL), SNLRT_OK);
    shared.ctx.barrier = snlrt_pool_barrier(pool);
    for (int i = 0; i < 20; i++) {
        run_parts(pool, &shared, 2);
        run_parts(pool, &shared, 4);
        run_parts(pool, &shared, 3);
        run_parts(pool, &shared, 1);
        run_parts(pool, &shared, 4);
    }
    snlrt_pool_destroy(pool);
}

/* Words that were left alone for half the range of numbers would look ahead of their time. */
static void long_absence_is_no_presence(void **state)
{
    (void)state;
    SnlrtMeetingPlace place;
    uint32_t meeting = 0x80000005;
    assert_int_equal(snlrt_meeting_init(&place, 4, NULL), SNLRT_OK);
    for (int i = 2; i < 8; i++) assert_true(snlrt_signal_reached(&place.words[i], meeting + 1));
    snlrt_meeting_grow(&place, 1, 4, meeting);
    for (int i = 0; i < 8; i++) assert_false(snlrt_signal_reached(&place.words[i], meeting + 1));
    snlrt_meeting_deinit(&place);
}

static void pretend_cpus(cpu_set_t *set, int64_t n)
{
    CPU_ZERO(set);
    for (int64_t i = 0; i < n; i++) CPU_SET((size_t)i, set);
    pretended = set;
}

static void more_parts_than_processors_take_turns(void **state)
{
    (void)state;
    SnlrtPool *pool;
    Shared shared = {.rounds = 5};
    cpu_set_t set;
    pretend_cpus(&set, 3);
    assert_int_equal(snlrt_pool_create(MAX_TEAM, 0, &pool, NULL), SNLRT_OK);
    shared.ctx.barrier = snlrt_pool_barrier(pool);
    assert_int_equal(snlrt_pool_carriers(pool, 1), 1);
    assert_in_range(snlrt_pool_carriers(pool, MAX_TEAM), 1, 3);
    for (int64_t n = 1; n <= MAX_TEAM; n++) run_parts(pool, &shared, n);
    snlrt_pool_destroy(pool);
    pretended = NULL;
}

/* More than the team runs before it looks for processors again. */
static void run_some_jobs(SnlrtPool *pool, Shared *shared, uint32_t *random)
{
    int64_t n = snlrt_pool_threads(pool);
    for (int j = 0; j < 270; j++) {
        *random = *random * 1664525 + 1013904223;
        run_parts(pool, shared, j % 4 ? n : 1 + (int64_t)(*random >> 16) % n);
    }
}

/* A part whose thread comes and goes stands now on a stack of its own, now on its thread's. */
static void jobs_while_processors_change(int64_t n_threads, const int64_t *n_cpus, int n)
{
    SnlrtPool *pool;
    Shared shared = {.rounds = 2};
    cpu_set_t set;
    uint32_t random = 1;
    pretend_cpus(&set, n_cpus[0]);
    assert_int_equal(snlrt_pool_create(n_threads, 0, &pool, NULL), SNLRT_OK);
    shared.ctx.barrier = snlrt_pool_barrier(pool);
    for (int i = 0; i < n; i++) {
        pretend_cpus(&set, n_cpus[i]);
        run_some_jobs(pool, &shared, &random);
    }
    snlrt_pool_destroy(pool);
    pretended = NULL;
}

static void processors_may_come_and_go(void **state)
{
    (void)state;
    const int64_t some[] = {1, 2, 1, 2, 1}, many[] = {3, 1, 5, 2, 8, 4, 7, 1, 6, 3, 1};
    jobs_while_processors_change(4, some, 5);
    for (int64_t n = 2; n <= 8; n += 3) jobs_while_processors_change(n, many, 11);
}

/* The same with the processors that there are. */
static void affinity_may_change(void **state)
{
    (void)state;
    SnlrtPool *pool;
    Shared shared = {.rounds = 2};
    SnlrtCpuSet before;
    uint32_t random = 1;
    assert_true(snlrt_cpus_get(&before));
    assert_int_equal(snlrt_pool_create(8, 0, &pool, NULL), SNLRT_OK);
    shared.ctx.barrier = snlrt_pool_barrier(pool);
    for (int i = 0; i < 12; i++) {
        SnlrtCpuSet some = before;
        for (int w = 0; w < 16; w++) some.words[w] &= (uint64_t)(random >> 16) * 0x00010001;
        snlrt_cpus_set(i % 2 ? &before : &some); /* none in common: refused */
        run_some_jobs(pool, &shared, &random);
    }
    snlrt_pool_destroy(pool);
    assert_true(snlrt_cpus_set(&before));
}

/* What the system says of each thread: it waited for `nanoseconds`. */
static void write_waits(const char *path, int64_t nanoseconds)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "1000 %lld 10\n", (long long)nanoseconds);
    assert_int_equal(fclose(file), 0);
}

static void write_load(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "%s\n", text);
    assert_int_equal(fclose(file), 0);
}

/* A file of that name, X replaced. */
static void make_file(char *path)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
}

/* Jobs of 5 ms each, of which each thread waits for `waits` nanoseconds. */
static int64_t carriers_after(SnlrtPool *pool, const char *path, int n_jobs, int64_t waits)
{
    static int64_t waited;
    Shared shared = {.rounds = 2};
    shared.ctx.barrier = snlrt_pool_barrier(pool);
    for (int j = 0; j < n_jobs; j++) {
        write_waits(path, waited += waits);
        run_parts(pool, &shared, 2);
    }
    return snlrt_pool_carriers(pool, 2);
}

static void crowded_threads_take_turns(void **state)
{
    (void)state;
    SnlrtPool *pool;
    cpu_set_t set;
    char path[] = "/tmp/snlrt-waits-XXXXXX";
    make_file(path);
    pretend_cpus(&set, 2);
    pretended_waits = path, seconds_per_look = 5e-3;
    write_waits(path, 0);
    assert_int_equal(snlrt_pool_create(2, 0, &pool, NULL), SNLRT_OK);
    assert_int_equal(carriers_after(pool, path, 40, 0), 2);
    assert_int_equal(carriers_after(pool, path, 6, 2000000), 1);
    assert_int_equal(carriers_after(pool, path, 40, 0), 2);
    snlrt_pool_destroy(pool);
    unlink(path);
    pretended = NULL, pretended_waits = NULL, seconds_per_look = 0;
}

static SnlrtLoad load_of(const char *path, const char *text)
{
    write_load(path, text);
    return snlrt_machine_load();
}

static void load_is_read(void **state)
{
    (void)state;
    char path[] = "/tmp/snlrt-load-XXXXXX";
    assert_int_equal(snlrt_machine_load().n_running, 0);
    make_file(path);
    pretended_load = path;
    SnlrtLoad load = load_of(path, "2.50 1.00 0.25 17/345 6789");
    assert_int_equal(load.n_running, 17);
    assert_float_equal(load.recent, 2.5, 0);
    const char *const strange[] = {"", "1", "/", "0.10 0.20", "a b c d/e f", "-/- / 0"};
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++)
        assert_int_equal(load_of(path, strange[i]).n_running, 0);
    unlink(path);
    pretended_load = "/nowhere";
}

static int64_t carriers_beside(const char *load_path, const char *load, unsigned flags)
{
    SnlrtPool *pool;
    Shared shared = {.rounds = 2};
    write_load(load_path, load);
    assert_int_equal(snlrt_pool_create(2, flags, &pool, NULL), SNLRT_OK);
    shared.ctx.barrier = snlrt_pool_barrier(pool);
    int64_t n = snlrt_pool_carriers(pool, 2);
    run_parts(pool, &shared, 2);
    snlrt_pool_destroy(pool);
    return n;
}

/* More threads run than any machine has processors: the team begins on one, unless it is pinned or
 * the others have just begun. */
static void loaded_machine_is_seen_before_the_first_job(void **state)
{
    (void)state;
    cpu_set_t set;
    char path[] = "/tmp/snlrt-load-XXXXXX";
    make_file(path);
    pretend_cpus(&set, 2);
    pretended_load = path;
    assert_int_equal(carriers_beside(path, "99.00 9.00 9.00 99999/99999 1", 0), 1);
    assert_int_equal(carriers_beside(path, "0.00 9.00 9.00 99999/99999 1", 0), 2);
    assert_int_equal(carriers_beside(path, "99.00 9.00 9.00 1/99999 1", 0),
                     snlrt_machine_cpus() > 1 ? 2 : 1);
    if (snlrt_usable_cpus() == 2 && snlrt_machine_cpus() > 1)
        assert_int_equal(carriers_beside(path, "99.00 9.00 9.00 99999/99999 1", SNLRT_POOL_PIN), 2);
    unlink(path);
    pretended = NULL, pretended_load = "/nowhere";
}

/* No memory for stacks: then every part has a thread, for good, and the team says so. */
static void team_without_stacks_does_not_take_turns(void **state)
{
    (void)state;
    SnlrtPool *pool;
    Shared shared = {.rounds = 2};
    cpu_set_t set;
    struct rlimit limit, none;
    if (SANITIZED) skip(); /* they want memory all the time */
    pretend_cpus(&set, 1);
    assert_int_equal(snlrt_pool_create(4, 0, &pool, NULL), SNLRT_OK);
    shared.ctx.barrier = snlrt_pool_barrier(pool);
    assert_int_equal(snlrt_pool_carriers(pool, 4), 1);
    assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
    none = (struct rlimit){0, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    run_parts(pool, &shared, 4);
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    for (int64_t n = 4; n >= 1; n--) {
        assert_int_equal(snlrt_pool_carriers(pool, n), n);
        run_parts(pool, &shared, n);
    }
    snlrt_pool_destroy(pool);
    pretended = NULL;
}

static void count_call(void *user, int64_t thread)
{
    ((int64_t *)user)[thread]++;
}

static void job_after_sleep_starts(void **state)
{
    (void)state;
    SnlrtPool *pool;
    int64_t calls[2] = {0};
    assert_int_equal(snlrt_pool_create(2, 0, &pool, NULL), SNLRT_OK);
    for (int i = 1; i <= 3; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* long after spinning ends */
        snlrt_pool_run(pool, 2, count_call, calls);
        assert_int_equal(calls[0], i);
        assert_int_equal(calls[1], i);
    }
    snlrt_pool_destroy(pool);
}

static void team_without_jobs_ends(void **state)
{
    (void)state;
    SnlrtPool *pool;
    assert_int_equal(snlrt_pool_create(3, 0, &pool, NULL), SNLRT_OK);
    snlrt_pool_destroy(pool);
    snlrt_pool_destroy(NULL);
}

static void bad_number_of_threads_is_refused(void **state)
{
    (void)state;
    SnlrtPool *pool;
    SnlrtError err;
    assert_int_equal(snlrt_pool_create(0, 0, &pool, &err), SNLRT_USAGE);
    assert_null(pool);
    assert_string_equal(err.text, "number of threads: found 0, wanted 1 to 1024");
    assert_int_equal(snlrt_pool_create(SNLRT_MAX_THREADS + 1, 0, &pool, &err), SNLRT_USAGE);
}

typedef struct Raiser {
    SnlrtSignalWord *word;
    SnlrtFence fence;
} Raiser;

static void *raise_later(void *user)
{
    Raiser *raiser = user;
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    snlrt_signal_raise(raiser->word, 7, raiser->fence);
    return NULL;
}

static void wake_a_sleeper(SnlrtFence fence)
{
    SnlrtSignalWord word = {.value = UINT32_MAX - 1}; /* the count wraps on the way to 7 */
    Raiser raiser = {&word, fence};
    pthread_t thread;
    assert_false(snlrt_signal_reached(&word, 7));
    assert_int_equal(pthread_create(&thread, NULL, raise_later, &raiser), 0);
    snlrt_signal_wait(&word, 7, 0, fence);
    assert_true(snlrt_signal_reached(&word, 7));
    assert_true(snlrt_signal_reached(&word, UINT32_MAX));
    pthread_join(thread, NULL);
}

static void sleeper_is_woken(void **state)
{
    (void)state;
    wake_a_sleeper(SNLRT_FENCE_BOTH);
    wake_a_sleeper(snlrt_signal_fence());
}

/* Two threads hand a number to and fro without spinning: every wait may become a sleep, and a lost
 * wake-up hangs. */
typedef struct Court {
    SnlrtSignalWord words[2];
    SnlrtFence fence;
} Court;
enum { N_STROKES = 3000 };

static void *play_back(void *user)
{
    Court *court = user;
    for (uint32_t i = 1; i <= N_STROKES; i++) {
        snlrt_signal_wait(&court->words[0], i, 0, court->fence);
        snlrt_signal_raise(&court->words[1], i, court->fence);
    }
    return NULL;
}

static void no_wake_up_is_lost(void **state)
{
    (void)state;
    SnlrtFence fences[] = {SNLRT_FENCE_BOTH, snlrt_signal_fence()};
    for (int f = 0; f < 2; f++) {
        Court court = {.fence = fences[f]};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, play_back, &court), 0);
        for (uint32_t i = 1; i <= N_STROKES; i++) {
            snlrt_signal_raise(&court.words[0], i, court.fence);
            snlrt_signal_wait(&court.words[1], i, 0, court.fence);
        }
        pthread_join(thread, NULL);
    }
}

static void usable_cores_are_some_and_not_more_than_processors(void **state)
{
    (void)state;
    assert_in_range(snlrt_usable_cores(), 1, snlrt_usable_cpus());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(team_meets_at_every_barrier),
        cmocka_unit_test(crowded_team_goes_on),
        cmocka_unit_test(parts_may_be_fewer_than_threads),
        cmocka_unit_test(pinned_team_meets_and_gives_its_creator_back),
        cmocka_unit_test(worker_that_cannot_be_pinned_is_told),
        cmocka_unit_test(order_from_here_is_a_rotation),
        cmocka_unit_test(visits_leave_threads_free),
        cmocka_unit_test(team_grows_after_many_meetings),
        cmocka_unit_test(long_absence_is_no_presence),
        cmocka_unit_test(more_parts_than_processors_take_turns),
        cmocka_unit_test(processors_may_come_and_go),
        cmocka_unit_test(affinity_may_change),
        cmocka_unit_test(crowded_threads_take_turns),
        cmocka_unit_test(load_is_read),
        cmocka_unit_test(loaded_machine_is_seen_before_the_first_job),
        cmocka_unit_test(team_without_stacks_does_not_take_turns),
        cmocka_unit_test(job_after_sleep_starts),
        cmocka_unit_test(team_without_jobs_ends),
        cmocka_unit_test(bad_number_of_threads_is_refused),
        cmocka_unit_test(sleeper_is_woken),
        cmocka_unit_test(no_wake_up_is_lost),
        cmocka_unit_test(usable_cores_are_some_and_not_more_than_processors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
