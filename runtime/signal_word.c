/* runtime/signal_word.c -- spinning and sleeping (Linux futex and membarrier). */
#include "runtime/signal_word.h"

#include <assert.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LOOKS_PER_ROUND = 64, ROUNDS_BEFORE_YIELD = 3 };

static_assert(sizeof(_Atomic uint32_t) == 4, "the kernel compares 4 bytes");

static inline void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void futex(SnlrtSignalWord *word, int op, uint32_t value)
{
    syscall(SYS_futex, &word->value, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

SnlrtFence snlrt_signal_fence(void)
{
    long done = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    return done == 0 ? SNLRT_FENCE_SLEEPER : SNLRT_FENCE_BOTH;
}

void snlrt_signal_raise(SnlrtSignalWord *word, uint32_t value, SnlrtFence fence)
{
    uint32_t n_sleepers;
    if (fence == SNLRT_FENCE_SLEEPER) {
        atomic_store_explicit(&word->value, value, memory_order_release);
        atomic_signal_fence(memory_order_seq_cst); /* the processor may reorder, the compiler not */
        n_sleepers = atomic_load_explicit(&word->n_sleepers, memory_order_relaxed);
    } else {
        atomic_store_explicit(&word->value, value, memory_order_seq_cst);
        n_sleepers = atomic_load_explicit(&word->n_sleepers, memory_order_seq_cst);
    }
    if (n_sleepers) futex(word, FUTEX_WAKE, INT_MAX);
}

static void sleep_until(SnlrtSignalWord *word, uint32_t value, SnlrtFence fence)
{
    atomic_fetch_add_explicit(&word->n_sleepers, 1, memory_order_seq_cst);
    if (fence == SNLRT_FENCE_SLEEPER)
        syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    for (;;) {
        uint32_t now = atomic_load_explicit(&word->value, memory_order_seq_cst);
        if ((int32_t)(now - value) >= 0) break;
        futex(word, FUTEX_WAIT, now); /* returns at once when the word is no longer `now` */
    }
    atomic_fetch_sub_explicit(&word->n_sleepers, 1, memory_order_relaxed);
}

void snlrt_signal_wait(SnlrtSignalWord *word, uint32_t value, uint32_t n_rounds, SnlrtFence fence)
{
    for (uint32_t round = 0; round < n_rounds; round++) {
        for (int i = 0; i < LOOKS_PER_ROUND; i++) {
            if (snlrt_signal_reached(word, value)) return;
            pause_cpu();
        }
        if (round >= ROUNDS_BEFORE_YIELD) sched_yield();
    }
    sleep_until(word, value, fence);
}
