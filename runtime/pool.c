/* runtime/pool.c -- team of threads, their jobs, and parts that take turns.
 *
 * The first n_carriers threads run a job of n_parts parts: part p is carried by thread p modulo
 * n_carriers. Its first part runs on the thread's own stack, the others on fibers. A part that
 * comes to a barrier leaves its thread to the next one in the circle, and the last one of the
 * circle meets the other carriers; it goes on with the next stage at once, and the circle turns on
 * from there. So every part that is entered finds the barrier it stood at already met. */
#include "runtime/pool.h"

#include "runtime/clock.h"
#include "runtime/cpus.h"
#include "runtime/crowd.h"
#include "runtime/fiber.h"
#include "runtime/meeting.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* After so many jobs a team that takes turns looks how many processors it may use now. */
enum { JOBS_PER_LOOK = 256 };
/* On average over a minute: then somebody who runs now may well have done so for a while. */
static const double many_threads_recently = 0.5;

typedef struct Carrier {
    _Alignas(128) uint32_t n_meetings;
    int64_t n_arrived, n_done; /* of its parts: at this barrier; with this job */
} Carrier;

typedef struct Part {
    SnlrtPool *pool;
    int64_t index;
    SnlrtFiber own;   /* place on the thread of the same number, while that one is a carrier */
    SnlrtFiber fiber; /* place on a stack of its own, while it is none */
} Part;

typedef struct Worker {
    pthread_t handle;
    SnlrtPool *pool;
    int64_t thread;
    SnlrtSignalWord *enter; /* how often it became a carrier */
    uint32_t first_job;     /* since then */
    int cpu;                /* to begin on, or to stay on; -1: any */
    int id;                 /* in the system; told by the thread before its first job */
} Worker;

/* Written by the first thread while nobody runs a job. */
typedef struct Task {
    SnlrtJob *job; /* NULL: the threads end */
    void *user;
    int64_t n_parts, n_carriers;
    int64_t n_staying; /* carriers from this one on are none after the job */
} Task;

struct SnlrtPool {
    SnlrtSignalWord start; /* number of the current job */
    Task task;
    uint32_t n_jobs;
    int64_t n_threads, n_started;
    int64_t n_cpus, cpu_quota; /* that the process may use */
    int64_t machine_cpus;
    int64_t n_entered;         /* threads that wait for the next job */
    int64_t n_known;           /* threads that have ever waited for a job */
    SnlrtCrowd crowd;
    bool takes_turns;          /* false: every part has a thread; so too once memory was short */
    SnlrtMeetingPlace place;
    Carrier *carriers; /* these four [n_threads] */
    Part *parts;
    Worker *workers; /* of the first only cpu and id */
    SnlrtSignalWord *enter;
    bool pins; /* threads stay where they begin */
    SnlrtCpuSet creator_cpus;  /* before it was pinned */
    bool creator_pinned;
};

/* ---- barriers ---- */

static int64_t min_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void meet_carriers(SnlrtPool *pool, int64_t n_carriers, int64_t thread)
{
    if (n_carriers > 1)
        snlrt_meet(&pool->place, n_carriers, thread, ++pool->carriers[thread].n_meetings);
}

static int64_t parts_of(const Task *task, int64_t thread)
{
    return (task->n_parts - thread + task->n_carriers - 1) / task->n_carriers;
}

/* Where the part stands in this task. A part that had a stack of its own in one task may be the
 * first of a thread's circle in the next, and its fiber must keep its place meanwhile. */
static SnlrtFiber *place_of(SnlrtPool *pool, int64_t part)
{
    Part *p = &pool->parts[part];
    return part < pool->task.n_carriers ? &p->own : &p->fiber;
}

/* Leaves the part for the next one of its thread's circle. */
static void pass_turn(SnlrtPool *pool, int64_t part, int64_t thread)
{
    int64_t next = part + pool->task.n_carriers;
    if (next >= pool->task.n_parts) next = thread;
    snlrt_fiber_switch(place_of(pool, part), place_of(pool, next));
}

static void arrive(SnlrtPool *pool, int64_t part)
{
    int64_t thread = part % pool->task.n_carriers;
    Carrier *carrier = &pool->carriers[thread];
    if (++carrier->n_arrived < parts_of(&pool->task, thread)) {
        pass_turn(pool, part, thread);
    } else {
        carrier->n_arrived = 0;
        meet_carriers(pool, pool->task.n_carriers, thread);
    }
}

void snlrt_barrier(SnlrtCtx *ctx, int64_t part)
{
    SnlrtPool *pool = ctx->barrier;
    if (ctx->n_threads == 1) return;
    if (pool->task.n_carriers == pool->task.n_parts)
        meet_carriers(pool, pool->task.n_carriers, part);
    else
        arrive(pool, part);
}

void *snlrt_pool_barrier(SnlrtPool *pool)
{
    return pool;
}

/* ---- a job on one thread ---- */

/* On a fiber: this part of every job that it takes turns in. The last part to end gives the thread
 * back to its first one. */
static void run_part_forever(void *user)
{
    Part *part = user;
    SnlrtPool *pool = part->pool;
    for (;;) {
        pool->task.job(pool->task.user, part->index);
        int64_t thread = part->index % pool->task.n_carriers;
        if (++pool->carriers[thread].n_done < parts_of(&pool->task, thread))
            pass_turn(pool, part->index, thread);
        else
            snlrt_fiber_switch(&part->fiber, &pool->parts[thread].own);
    }
}

static void carry(SnlrtPool *pool, int64_t thread)
{
    Carrier *carrier = &pool->carriers[thread];
    carrier->n_arrived = carrier->n_done = 0;
    pool->task.job(pool->task.user, thread);
    carrier->n_done++;
    while (carrier->n_done < parts_of(&pool->task, thread)) pass_turn(pool, thread, thread);
}

/* Jobs from number n on, until it is no carrier any more. The task may change as soon as the first
 * thread has met this one, so what is needed later is read before. */
static bool work_from(SnlrtPool *pool, int64_t thread, uint32_t n)
{
    for (bool stays = true; stays; n++) {
        snlrt_signal_wait(&pool->start, n, SNLRT_ROUNDS_IDLE, pool->place.fence);
        int64_t n_carriers = pool->task.n_carriers;
        stays = thread < pool->task.n_staying;
        if (!pool->task.job) return false;
        carry(pool, thread);
        meet_carriers(pool, n_carriers, thread);
    }
    return true;
}

static void *work(void *user)
{
    Worker *worker = user;
    SnlrtPool *pool = worker->pool;
    if (worker->cpu >= 0 && !pool->pins) snlrt_cpu_visit(worker->cpu);
    worker->id = snlrt_thread_id();
    uint32_t n_entered = 0;
    do snlrt_signal_wait(worker->enter, ++n_entered, SNLRT_ROUNDS_IDLE, pool->place.fence);
    while (work_from(pool, worker->thread, worker->first_job));
    return NULL;
}

/* ---- the first thread ---- */

static void run_task(SnlrtPool *pool, Task task)
{
    pool->task = task;
    pool->n_jobs++;
    if (task.n_carriers > 1) snlrt_signal_raise(&pool->start, pool->n_jobs, pool->place.fence);
    carry(pool, 0);
    meet_carriers(pool, task.n_carriers, 0);
}

static void do_nothing(void *user, int64_t part)
{
    (void)user, (void)part;
}

static void enter_one(SnlrtPool *pool, int64_t thread)
{
    Worker *worker = &pool->workers[thread];
    worker->first_job = pool->n_jobs + 1;
    pool->carriers[thread].n_meetings = pool->carriers[0].n_meetings;
    uint32_t n = atomic_load_explicit(&worker->enter->value, memory_order_relaxed);
    snlrt_signal_raise(worker->enter, n + 1, pool->place.fence);
}

/* Makes the first n threads those that wait for the next job. */
static void enter_carriers(SnlrtPool *pool, int64_t n)
{
    int64_t n_old = pool->n_entered;
    pool->n_entered = n;
    if (n < n_old) {
        run_task(pool, (Task){do_nothing, NULL, n_old, n_old, n});
    } else {
        atomic_store_explicit(&pool->start.value, pool->n_jobs, memory_order_relaxed);
        snlrt_meeting_grow(&pool->place, n_old, n, pool->carriers[0].n_meetings);
        for (int64_t t = n_old; t < n; t++) enter_one(pool, t);
        if (n > pool->n_known) pool->n_known = n;
    }
}

/* Stacks for the parts that take turns; false: no memory. */
static bool init_fibers(SnlrtPool *pool, int64_t n_carriers, int64_t n_parts)
{
    for (int64_t p = n_carriers; p < n_parts; p++) {
        Part *part = &pool->parts[p];
        if (!part->fiber.stack && !snlrt_fiber_init(&part->fiber, run_part_forever, part))
            return false;
    }
    return true;
}

int64_t snlrt_pool_carriers(const SnlrtPool *pool, int64_t n_parts)
{
    return pool->takes_turns ? min_of(n_parts, min_of(pool->n_cpus, pool->crowd.limit)) : n_parts;
}

static void look_for_cpus(SnlrtPool *pool)
{
    if (!pool->pins) pool->n_cpus = min_of(snlrt_usable_cpus(), pool->cpu_quota);
}

static double waited_by_team(const SnlrtPool *pool)
{
    double sum = 0;
    for (int64_t t = 0; t < pool->n_known; t++) sum += snlrt_thread_waited(pool->workers[t].id);
    return sum;
}

/* Between jobs: threads that do not sleep. */
static int64_t threads_awake(SnlrtPool *pool)
{
    int64_t n = 1 + pool->n_started;
    n -= (int64_t)atomic_load_explicit(&pool->start.n_sleepers, memory_order_relaxed);
    for (int64_t t = 1; t <= pool->n_started; t++)
        n -= (int64_t)atomic_load_explicit(&pool->enter[t].n_sleepers, memory_order_relaxed);
    return n;
}

/* Processors that no thread of another program has right now. */
static int64_t free_cpus(SnlrtPool *pool, int64_t n_running)
{
    if (!n_running) return SNLRT_FREE_UNKNOWN;
    int64_t n = pool->machine_cpus - (n_running - threads_awake(pool));
    return n > 1 ? n : 1;
}

/* Threads that could run side by side. */
static int64_t most_carriers(const SnlrtPool *pool)
{
    return min_of(pool->n_threads, pool->n_cpus);
}

/* A task of a team that could have several carriers, and whether those find processors. */
static void run_watched(SnlrtPool *pool, Task task)
{
    bool young = snlrt_crowd_is_young(&pool->crowd);
    double begin = young ? snlrt_seconds() : snlrt_seconds_coarse();
    run_task(pool, task);
    double seconds = (young ? snlrt_seconds() : snlrt_seconds_coarse()) - begin;
    int64_t n = most_carriers(pool);
    if (snlrt_crowd_wonders(&pool->crowd, seconds))
        snlrt_crowd_glance(&pool->crowd, n, free_cpus(pool, snlrt_machine_load().n_running));
    if (snlrt_crowd_note(&pool->crowd, pool->n_known, seconds))
        snlrt_crowd_look(&pool->crowd, n, task.n_carriers, waited_by_team(pool),
                         free_cpus(pool, snlrt_machine_load().n_running));
}

void snlrt_pool_run(SnlrtPool *pool, int64_t n_parts, SnlrtJob *job, void *user)
{
    assert(n_parts >= 1 && n_parts <= pool->n_threads);
    bool due = pool->n_jobs % JOBS_PER_LOOK == JOBS_PER_LOOK - 1;
    if (due && pool->n_threads > 1) look_for_cpus(pool);
    if (!init_fibers(pool, snlrt_pool_carriers(pool, n_parts), n_parts)) pool->takes_turns = false;
    int64_t n_carriers = snlrt_pool_carriers(pool, n_parts);
    if (n_carriers != pool->n_entered) enter_carriers(pool, n_carriers);
    Task task = {job, user, n_parts, n_carriers, n_carriers};
    if (pool->takes_turns && !pool->pins && most_carriers(pool) > 1)
        run_watched(pool, task);
    else
        run_task(pool, task);
}

/* ---- creation ---- */

static void *alloc_lines(int64_t n, size_t size)
{
    void *p = aligned_alloc(128, (size_t)n * size);
    if (p) memset(p, 0, (size_t)n * size);
    return p;
}

static SnlrtStatus alloc_team(SnlrtPool *pool, SnlrtError *err)
{
    int64_t n = pool->n_threads;
    pool->carriers = alloc_lines(n, sizeof *pool->carriers);
    pool->enter = alloc_lines(n, sizeof *pool->enter);
    pool->workers = calloc((size_t)n, sizeof *pool->workers);
    pool->parts = calloc((size_t)n, sizeof *pool->parts);
    if (!pool->carriers || !pool->enter || !pool->workers || !pool->parts)
        return snlrt_fail(err, SNLRT_MACHINE, "out of memory for %lld threads", (long long)n);
    for (int64_t t = 0; t < n; t++) {
        pool->parts[t] = (Part){.pool = pool, .index = t};
        pool->workers[t] = (Worker){.pool = pool, .thread = t, .enter = &pool->enter[t], .cpu = -1};
    }
    return SNLRT_OK;
}

/* Signals are the first thread's: workers start with all of them blocked. */
static SnlrtStatus start_workers(SnlrtPool *pool, SnlrtError *err)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = 0;
    for (int64_t t = 1; t < pool->n_threads && !error; t++) {
        error = pthread_create(&pool->workers[t].handle, NULL, work, &pool->workers[t]);
        if (!error) pool->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error)
        return snlrt_fail(err, SNLRT_MACHINE, "cannot start %lld threads: %s",
                          (long long)pool->n_threads, strerror(error));
    return SNLRT_OK;
}

/* Systems like to start a thread on its creator's processor and to leave it there for many
 * milliseconds, so each is told where to begin. Threads beyond the processors are left to the
 * system. */
static SnlrtStatus place_threads(SnlrtPool *pool, SnlrtError *err)
{
    int64_t n = pool->pins ? pool->n_threads : min_of(pool->n_threads, pool->n_cpus);
    if (n < 2 && !pool->pins) return SNLRT_OK;
    int *cpus = calloc((size_t)n, sizeof *cpus);
    if (!cpus)
        return snlrt_fail(err, SNLRT_MACHINE, "out of memory for %lld threads", (long long)n);
    snlrt_cpu_order(cpus, n, !pool->pins);
    for (int64_t t = 0; t < n; t++) pool->workers[t].cpu = cpus[t];
    free(cpus);
    return SNLRT_OK;
}

static SnlrtStatus pin_one(pthread_t thread, int cpu, SnlrtError *err)
{
    int error = snlrt_cpu_pin(thread, cpu);
    if (error)
        return snlrt_fail(err, SNLRT_MACHINE, "cannot pin a thread to processor %d: %s", cpu,
                          strerror(error));
    return SNLRT_OK;
}

static SnlrtStatus pin_team(SnlrtPool *pool, SnlrtError *err)
{
    for (int64_t t = 1; t < pool->n_threads; t++)
        SNLRT_TRY(pin_one(pool->workers[t].handle, pool->workers[t].cpu, err));
    pool->creator_pinned = snlrt_cpus_get(&pool->creator_cpus);
    return pin_one(pthread_self(), pool->workers[0].cpu, err);
}

/* Before there are other threads. */
static void look_around(SnlrtPool *pool)
{
    bool watches = !pool->pins && most_carriers(pool) > 1;
    SnlrtLoad load = watches ? snlrt_machine_load() : (SnlrtLoad){0};
    pool->machine_cpus = snlrt_machine_cpus();
    snlrt_crowd_init(&pool->crowd, most_carriers(pool), free_cpus(pool, load.n_running),
                     load.recent > many_threads_recently);
}

static SnlrtStatus pool_init(SnlrtPool *pool, unsigned flags, SnlrtError *err)
{
    pool->pins = flags & SNLRT_POOL_PIN;
    SNLRT_TRY(alloc_team(pool, err));
    SNLRT_TRY(snlrt_meeting_init(&pool->place, pool->n_threads, err));
    pool->n_entered = pool->n_known = 1;
    pool->workers[0].id = snlrt_thread_id();
    pool->takes_turns = true;
    pool->cpu_quota = pool->n_threads > 1 ? snlrt_cpu_quota() : 1;
    pool->n_cpus = min_of(snlrt_usable_cpus(), pool->cpu_quota);
    look_around(pool);
    SNLRT_TRY(place_threads(pool, err));
    SNLRT_TRY(start_workers(pool, err));
    return pool->pins ? pin_team(pool, err) : SNLRT_OK;
}

SnlrtStatus snlrt_pool_create(int64_t n_threads, unsigned flags, SnlrtPool **out_pool,
                              SnlrtError *err)
{
    *out_pool = NULL;
    if (n_threads < 1 || n_threads > SNLRT_MAX_THREADS)
        return snlrt_fail(err, SNLRT_USAGE, "number of threads: found %lld, wanted 1 to %d",
                          (long long)n_threads, SNLRT_MAX_THREADS);
    SnlrtPool *pool = alloc_lines(1, sizeof *pool);
    if (!pool) return snlrt_fail(err, SNLRT_MACHINE, "out of memory");
    pool->n_threads = n_threads;
    SnlrtStatus status = pool_init(pool, flags, err);
    if (status != SNLRT_OK) {
        snlrt_pool_destroy(pool);
        return status;
    }
    *out_pool = pool;
    return SNLRT_OK;
}

static void end_workers(SnlrtPool *pool)
{
    pool->task = (Task){0};
    atomic_store_explicit(&pool->start.value, pool->n_jobs, memory_order_relaxed);
    for (int64_t t = pool->n_entered; t <= pool->n_started; t++) enter_one(pool, t);
    snlrt_signal_raise(&pool->start, ++pool->n_jobs, pool->place.fence);
    for (int64_t t = 1; t <= pool->n_started; t++) pthread_join(pool->workers[t].handle, NULL);
}

void snlrt_pool_destroy(SnlrtPool *pool)
{
    if (!pool) return;
    if (pool->n_started) end_workers(pool);
    if (pool->creator_pinned) snlrt_cpus_set(&pool->creator_cpus);
    for (int64_t p = 0; pool->parts && p < pool->n_threads; p++)
        snlrt_fiber_deinit(&pool->parts[p].fiber);
    snlrt_meeting_deinit(&pool->place);
    free(pool->carriers);
    free(pool->enter);
    free(pool->workers);
    free(pool->parts);
    free(pool);
}

int64_t snlrt_pool_threads(const SnlrtPool *pool)
{
    return pool->n_threads;
}
