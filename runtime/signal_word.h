/* runtime/signal_word.h -- one number that only grows, which one thread raises and others wait for.
 *
 * The word has its own pair of cache lines. A waiter spins a bounded number of times, yields a few
 * times, and then sleeps in the kernel; who raises the word makes a system call only if somebody
 * sleeps. Numbers are compared modulo 2^32, so waiters may lag by less than 2^31. */
#ifndef SNLRT_SIGNAL_WORD_H
#define SNLRT_SIGNAL_WORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct SnlrtSignalWord {
    _Alignas(128) _Atomic uint32_t value; /* futex word */
    _Atomic uint32_t n_sleepers;
} SnlrtSignalWord;

/* Sets the word to `value`; what was written before is visible to those who see it. */
void snlrt_signal_raise(SnlrtSignalWord *word, uint32_t value);
/* Returns when the word has reached `value`, after at most `n_spins` looks before giving way. */
void snlrt_signal_wait(SnlrtSignalWord *word, uint32_t value, uint32_t n_spins);

static inline bool snlrt_signal_reached(SnlrtSignalWord *word, uint32_t value)
{
    uint32_t now = atomic_load_explicit(&word->value, memory_order_acquire);
    return (int32_t)(now - value) >= 0;
}

#endif
