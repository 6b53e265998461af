/* runtime/pool.c -- thread team and barrier.
 *
 * The barrier is a dissemination barrier: in round r thread t raises its word r and waits for word
 * r of thread t - 2^r. After ceil(log2 n) rounds everyone has, directly or through others, heard
 * from everyone. Two threads need one round: each writes one line and reads the other's, which is
 * as fast as two cores can exchange anything. Words count meetings and are never reset. */
#include "runtime/pool.h"

#include "runtime/cpus.h"
#include "runtime/signal_word.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Rounds of about 2 us before a waiting thread sleeps. */
enum {
    ROUNDS_WORKING = 500, /* longer than any wait inside a step */
    ROUNDS_IDLE = 100,    /* between steps: sampling and printing a token */
    ROUNDS_CROWDED = 1    /* more threads than processors: who waits is in the way */
};

typedef struct Member {
    _Alignas(128) uint32_t n_meetings; /* only this thread's */
} Member;

struct SnlrtBarrier {
    int64_t n_threads, n_rounds;
    uint32_t n_rounds_working, n_rounds_idle;
    SnlrtFence fence;
    Member *members;        /* [n_threads] */
    SnlrtSignalWord *words; /* [n_threads][n_rounds] */
};

typedef struct Worker {
    pthread_t handle;
    SnlrtPool *pool;
    int64_t thread;
} Worker;

struct SnlrtPool {
    SnlrtSignalWord start; /* number of the current job */
    SnlrtBarrier barrier;
    SnlrtJob *job; /* NULL: leave */
    void *user;
    uint32_t n_jobs;
    int64_t n_threads, n_started;
    Worker *workers; /* [n_threads], the first unused */
};

static void meet(SnlrtBarrier *barrier, int64_t thread)
{
    int64_t n = barrier->n_threads;
    uint32_t meeting = ++barrier->members[thread].n_meetings;
    SnlrtSignalWord *own = barrier->words + thread * barrier->n_rounds;
    for (int64_t r = 0, distance = 1; r < barrier->n_rounds; r++, distance *= 2) {
        int64_t from = thread - distance % n;
        if (from < 0) from += n;
        snlrt_signal_raise(own + r, meeting, barrier->fence);
        snlrt_signal_wait(barrier->words + from * barrier->n_rounds + r, meeting,
                          barrier->n_rounds_working, barrier->fence);
    }
}

void snlrt_barrier(SnlrtCtx *ctx, int64_t thread)
{
    if (ctx->n_threads > 1) meet(ctx->barrier, thread);
}

static void *work(void *user)
{
    Worker *worker = user;
    SnlrtPool *pool = worker->pool;
    SnlrtBarrier *barrier = &pool->barrier;
    for (uint32_t n = 1;; n++) {
        snlrt_signal_wait(&pool->start, n, barrier->n_rounds_idle, barrier->fence);
        if (!pool->job) return NULL;
        pool->job(pool->user, worker->thread);
        meet(barrier, worker->thread);
    }
}

void snlrt_pool_run(SnlrtPool *pool, SnlrtJob *job, void *user)
{
    if (pool->n_threads > 1) {
        pool->job = job;
        pool->user = user;
        snlrt_signal_raise(&pool->start, ++pool->n_jobs, pool->barrier.fence);
    }
    job(user, 0);
    if (pool->n_threads > 1) meet(&pool->barrier, 0);
}

static void *alloc_lines(size_t n, size_t size)
{
    void *p = aligned_alloc(128, n * size);
    if (p) memset(p, 0, n * size);
    return p;
}

static SnlrtStatus barrier_init(SnlrtBarrier *barrier, int64_t n, SnlrtError *err)
{
    *barrier = (SnlrtBarrier){.n_threads = n};
    if (n == 1) return SNLRT_OK;
    barrier->fence = snlrt_signal_fence();
    while (((int64_t)1 << barrier->n_rounds) < n) barrier->n_rounds++;
    barrier->members = alloc_lines((size_t)n, sizeof(Member));
    barrier->words = alloc_lines((size_t)(n * barrier->n_rounds), sizeof(SnlrtSignalWord));
    if (!barrier->members || !barrier->words)
        return snlrt_fail(err, SNLRT_MACHINE, "out of memory for %lld threads", (long long)n);
    bool crowded = n > snlrt_usable_cpus();
    barrier->n_rounds_working = crowded ? ROUNDS_CROWDED : ROUNDS_WORKING;
    barrier->n_rounds_idle = crowded ? ROUNDS_CROWDED : ROUNDS_IDLE;
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
        pool->workers[t] = (Worker){.pool = pool, .thread = t};
        error = pthread_create(&pool->workers[t].handle, NULL, work, &pool->workers[t]);
        if (!error) pool->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error)
        return snlrt_fail(err, SNLRT_MACHINE, "cannot start %lld threads: %s",
                          (long long)pool->n_threads, strerror(error));
    return SNLRT_OK;
}

static SnlrtStatus pool_init(SnlrtPool *pool, SnlrtError *err)
{
    pool->workers = calloc((size_t)pool->n_threads, sizeof *pool->workers);
    if (!pool->workers) return snlrt_fail(err, SNLRT_MACHINE, "out of memory");
    SNLRT_TRY(barrier_init(&pool->barrier, pool->n_threads, err));
    return start_workers(pool, err);
}

SnlrtStatus snlrt_pool_create(int64_t n_threads, SnlrtPool **out_pool, SnlrtError *err)
{
    *out_pool = NULL;
    if (n_threads < 1 || n_threads > SNLRT_MAX_THREADS)
        return snlrt_fail(err, SNLRT_USAGE, "number of threads: found %lld, wanted 1 to %d",
                          (long long)n_threads, SNLRT_MAX_THREADS);
    SnlrtPool *pool = alloc_lines(1, sizeof *pool);
    if (!pool) return snlrt_fail(err, SNLRT_MACHINE, "out of memory");
    pool->n_threads = n_threads;
    SnlrtStatus status = pool_init(pool, err);
    if (status != SNLRT_OK) {
        snlrt_pool_destroy(pool);
        return status;
    }
    *out_pool = pool;
    return SNLRT_OK;
}

void snlrt_pool_destroy(SnlrtPool *pool)
{
    if (!pool) return;
    pool->job = NULL;
    if (pool->n_started) snlrt_signal_raise(&pool->start, ++pool->n_jobs, pool->barrier.fence);
    for (int64_t t = 1; t <= pool->n_started; t++) pthread_join(pool->workers[t].handle, NULL);
    free(pool->barrier.members);
    free(pool->barrier.words);
    free(pool->workers);
    free(pool);
}

int64_t snlrt_pool_threads(const SnlrtPool *pool)
{
    return pool->n_threads;
}

SnlrtBarrier *snlrt_pool_barrier(SnlrtPool *pool)
{
    return &pool->barrier;
}
