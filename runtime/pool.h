/* runtime/pool.h -- a fixed team of threads and the barrier that they meet at.
 *
 * The team is created once; the thread that creates it is its thread 0 and the only one that may
 * call these functions. Between jobs the others spin for a moment and then sleep, so that the next
 * token starts without a system call while the program is busy and an idle program costs nothing.
 * The barrier spins a bounded time, then yields, then sleeps: with more threads than processors it
 * still goes on, only slower. */
#ifndef SNLRT_POOL_H
#define SNLRT_POOL_H

#include "runtime/abi.h"
#include "runtime/status.h"

enum { SNLRT_MAX_THREADS = 1024 };

typedef struct SnlrtPool SnlrtPool;
typedef struct SnlrtBarrier SnlrtBarrier;
typedef void SnlrtJob(void *user, int64_t thread);

/* 1 <= n_threads <= SNLRT_MAX_THREADS. SNLRT_MACHINE when threads or memory cannot be had. */
SnlrtStatus snlrt_pool_create(int64_t n_threads, SnlrtPool **out_pool, SnlrtError *err);
/* Ends and joins the threads. NULL is fine. */
void snlrt_pool_destroy(SnlrtPool *pool);
int64_t snlrt_pool_threads(const SnlrtPool *pool);
/* What SnlrtCtx.barrier must point to while a job of this team runs. */
SnlrtBarrier *snlrt_pool_barrier(SnlrtPool *pool);

/* Runs job(user, t) on every thread t of the team and returns when all have returned: what the
 * caller wrote before is visible to them, what they wrote is visible to the caller. */
void snlrt_pool_run(SnlrtPool *pool, SnlrtJob *job, void *user);

#endif
