/* runtime/pool.h -- a fixed team of threads and the barrier that they meet at.
 *
 * The team is created once; the thread that creates it is its thread 0 and the only one that may
 * call these functions. Jobs run on the team or on its first members; the others sleep. Between
 * jobs the members spin for a moment and then sleep, so that the next token starts without a system
 * call while the program is busy and an idle program costs nothing.
 *
 * A team of more threads than processors takes turns: as many threads as there are processors carry
 * the parts of all, and at a barrier a carrier goes on with its next part instead of waiting (a few
 * nanoseconds, where waiting for the kernel to run another thread takes thousands). The others
 * sleep until the process may use more processors. A team that is not pinned takes turns, too,
 * while other programs take processors from it (runtime/crowd.h). */
#ifndef SNLRT_POOL_H
#define SNLRT_POOL_H

#include "runtime/abi.h"
#include "runtime/status.h"

enum { SNLRT_MAX_THREADS = 1024 };
/* Each thread stays on a processor of its own, cores first; the creator until destroy gives it back
 * the processors that it had. */
enum { SNLRT_POOL_PIN = 1 };

typedef struct SnlrtPool SnlrtPool;
typedef void SnlrtJob(void *user, int64_t part);

/* 1 <= n_threads <= SNLRT_MAX_THREADS; `flags`: SNLRT_POOL_*. SNLRT_MACHINE when threads or memory
 * cannot be had, or a thread cannot be pinned. */
SnlrtStatus snlrt_pool_create(int64_t n_threads, unsigned flags, SnlrtPool **out_pool,
                              SnlrtError *err);
/* Ends and joins the threads. NULL is fine. */
void snlrt_pool_destroy(SnlrtPool *pool);
int64_t snlrt_pool_threads(const SnlrtPool *pool);
/* Threads that carry the parts of the next job of n_parts parts. */
int64_t snlrt_pool_carriers(const SnlrtPool *pool, int64_t n_parts);
/* What SnlrtCtx.barrier must point to while a job of this team runs. */
void *snlrt_pool_barrier(SnlrtPool *pool);

/* Runs job(user, p) for all parts 0 <= p < n_parts (at most the team's threads) side by side and
 * returns when all have returned: what the caller wrote before is visible to them, what they wrote
 * is visible to the caller. Every part must meet at the same barriers. */
void snlrt_pool_run(SnlrtPool *pool, int64_t n_parts, SnlrtJob *job, void *user);

#endif
