/* runtime/signal_word.h -- one number that only grows, which one thread raises and others wait for.
 *
 * A waiter spins a bounded number of times and then sleeps in the kernel; who raises the word makes
 * a system call only if somebody sleeps. Numbers are compared modulo 2^32, so waiters may lag by
 * less than 2^31.
 *
 * Raising writes the number and then asks whether anybody sleeps; a sleeper says so and then looks
 * at the number. One of the two must see the other, which takes a full fence on both sides, or
 * (membarrier) a single one on the sleeper's side that the kernel applies to all threads: then
 * raising costs nothing beyond the store. */
#ifndef SNLRT_SIGNAL_WORD_H
#define SNLRT_SIGNAL_WORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct SnlrtSignalWord {
    _Alignas(128) _Atomic uint32_t value;      /* futex word; its own pair of cache lines */
    _Alignas(128) _Atomic uint32_t n_sleepers; /* elsewhere: raising reads what rarely changes */
} SnlrtSignalWord;

typedef enum SnlrtFence {
    SNLRT_FENCE_BOTH,   /* works everywhere */
    SNLRT_FENCE_SLEEPER /* the kernel's membarrier */
} SnlrtFence;

/* What this process can use; all words must be used with the same answer. Cheapest before there are
 * threads. */
SnlrtFence snlrt_signal_fence(void);

/* Sets the word to `value`; what was written before is visible to those who see it. */
void snlrt_signal_raise(SnlrtSignalWord *word, uint32_t value, SnlrtFence fence);

/* How long to look before sleeping, in rounds of about 2 us. */
enum {
    SNLRT_ROUNDS_MEETING = 500, /* longer than any wait inside a step */
    SNLRT_ROUNDS_IDLE = 100     /* between steps: sampling and printing a token */
};

/* Returns when the word has reached `value`: looks for it n_rounds, and then sleeps. After the
 * first few rounds it also offers its processor to other threads, since the one that it waits for
 * may stand behind it on the same one; not before, since who gets the processor may be a stranger
 * and keep it for milliseconds. */
void snlrt_signal_wait(SnlrtSignalWord *word, uint32_t value, uint32_t n_rounds, SnlrtFence fence);

static inline bool snlrt_signal_reached(SnlrtSignalWord *word, uint32_t value)
{
    uint32_t now = atomic_load_explicit(&word->value, memory_order_acquire);
    return (int32_t)(now - value) >= 0;
}

#endif
