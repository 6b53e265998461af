/* compiler/driver/stage_times.c -- a team of the runtime's threads runs the step; what compiled
 * code calls between stages reads the clock before and after the threads meet. */
#include "compiler/driver/stage_times.h"

#include "compiler/driver/times.h"
#include "runtime/pool.h"

#include <stdlib.h>
#include <string.h>

enum { WARM_CALLS = 3, MIN_CALLS = 7, MAX_CALLS = 2001 };
static const double most_seconds = 0.5; /* for all calls, if MIN_CALLS allow it */

typedef void StageHook(SnlrtCtx *ctx, int64_t thread);

/* Of one thread. */
typedef struct Member {
    double *arrived; /* [n_stages] at the ends of stages */
    size_t n;
    char apart[112]; /* from what the next thread writes */
} Member;

/* What compiled code calls between stages finds it behind the context. */
typedef struct Clock {
    SnlrtCtx ctx;
    SnlrtCtx team; /* with the runtime's own barrier, whose place the hook has taken */
    SnlrtStep *step;
    size_t n_stages;
    Member *member;
    double begin, *ended; /* [n_stages]; by thread 0, when all have met */
    unsigned char *other; /* SNL_COLD_MIB of memory; NULL: caches are left as they are */
} Clock;

static void stage_ends(SnlrtCtx *ctx, int64_t thread)
{
    Clock *c = (Clock *)ctx;
    size_t stage = c->member[thread].n++;
    if (stage < c->n_stages) c->member[thread].arrived[stage] = snl_seconds();
    snlrt_barrier(&c->team, thread);
    if (thread == 0 && stage < c->n_stages) c->ended[stage] = snl_seconds();
}

/* This thread's part of the other memory, through its own caches. */
static void read_other(const Clock *c, int64_t thread)
{
    const int64_t part = ((int64_t)SNL_COLD_MIB << 20) / c->team.n_threads;
    const volatile unsigned char *from = c->other + part * thread;
    unsigned sum = 0;
    for (int64_t i = 0; i < part; i += 64) sum += from[i];
    (void)sum;
}

static void run_part(void *user, int64_t thread)
{
    Clock *c = user;
    c->member[thread].n = 0;
    if (c->other) read_other(c, thread);
    snlrt_barrier(&c->team, thread);
    if (thread == 0) c->begin = snl_seconds();
    c->step(&c->ctx, thread);
    stage_ends(&c->ctx, thread);
}

/* Times of all calls: [stage][MAX_CALLS], and of whole calls behind the last stage. */
typedef struct Samples {
    double *seconds, *waiting;
} Samples;

static void take(const Clock *c, const Samples *to, size_t call)
{
    double last = c->begin;
    for (size_t s = 0; s < c->n_stages; last = c->ended[s++]) {
        double waiting = 0;
        for (int64_t t = 0; t < c->team.n_threads; t++)
            waiting += c->ended[s] - c->member[t].arrived[s];
        to->seconds[s * MAX_CALLS + call] = c->ended[s] - last;
        to->waiting[s * MAX_CALLS + call] = waiting / (double)c->team.n_threads;
    }
    to->seconds[c->n_stages * MAX_CALLS + call] = last - c->begin;
}

static int64_t time_calls(Clock *c, SnlrtPool *pool, const Samples *to)
{
    int64_t k = -WARM_CALLS;
    for (double start = snl_seconds(); k < MAX_CALLS; k++) {
        snlrt_pool_run(pool, c->team.n_threads, run_part, c);
        SNL_ASSERT(c->member[0].n == c->n_stages);
        if (k >= 0) take(c, to, (size_t)k);
        if (k + 1 >= MIN_CALLS && snl_seconds() - start > most_seconds) return k + 1;
    }
    return k;
}

static void measure(Clock *c, SnlrtPool *pool, SnlArena *arena, SnlStageTimes *out)
{
    const size_t n = c->n_stages, n_samples = n * MAX_CALLS;
    Samples all;
    all.seconds = SNL_NEW_ARRAY(arena, double, n_samples + MAX_CALLS);
    all.waiting = SNL_NEW_ARRAY(arena, double, n_samples);
    out->n_calls = time_calls(c, pool, &all);
    out->seconds = SNL_NEW_ARRAY(arena, double, n);
    out->waiting = SNL_NEW_ARRAY(arena, double, n);
    for (size_t s = 0; s < n; s++) {
        out->seconds[s] = snl_median(all.seconds + s * MAX_CALLS, (size_t)out->n_calls);
        out->waiting[s] = snl_median(all.waiting + s * MAX_CALLS, (size_t)out->n_calls);
    }
    out->whole = snl_median(all.seconds + n * MAX_CALLS, (size_t)out->n_calls);
}

static void init_clock(Clock *c, SnlArena *arena, const SnlTiming *how, SnlrtPool *pool)
{
    StageHook *hook = stage_ends;
    memcpy(&c->ctx.barrier, &hook, sizeof hook); /* POSIX: a function pointer in a void * */
    if (how->last_row) c->ctx.tail_row = how->n_tokens - 1;
    c->team = (SnlrtCtx){.n_threads = how->n_threads, .barrier = snlrt_pool_barrier(pool)};
    c->member = SNL_NEW_ARRAY(arena, Member, (size_t)how->n_threads);
    for (int64_t t = 0; t < how->n_threads; t++)
        c->member[t].arrived = SNL_NEW_ARRAY(arena, double, c->n_stages);
    c->ended = SNL_NEW_ARRAY(arena, double, c->n_stages);
    if (!how->cold) return;
    c->other = snl_xmalloc((size_t)SNL_COLD_MIB << 20);
    /* Pages that nobody wrote are all the same one. */
    memset(c->other, 1, (size_t)SNL_COLD_MIB << 20);
}

SnlStatus snl_stage_times(SnlCallable *callable, SnlArena *arena, const SnlTensor *args,
                          const SnlTiming *how, size_t n_stages, SnlDiag *diag, SnlStageTimes *out)
{
    Clock clock = {.n_stages = n_stages};
    SnlrtPool *pool;
    SnlrtError err = {""};
    SNL_TRY(snl_callable_prepare(callable, arena, args, how->n_tokens, how->n_threads, diag,
                                 &clock.step, &clock.ctx));
    if (snlrt_pool_create(how->n_threads, 0, &pool, &err) != SNLRT_OK)
        return snl_error_at(diag, SNL_E_MACHINE, "--threads", "%s", err.text);
    init_clock(&clock, arena, how, pool);
    measure(&clock, pool, arena, out);
    snlrt_pool_destroy(pool);
    free(clock.other);
    return SNL_OK;
}
