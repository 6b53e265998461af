/* runtime/fiber.h -- a place where code stands while other code runs on the same thread.
 *
 * Switching costs some nanoseconds and no system call. A fiber may be entered by one thread after
 * another, but its code must not keep what belongs to a thread across a switch.
 * AddressSanitizer and ThreadSanitizer are told of every switch: to them a fiber is a thread. */
#ifndef SNLRT_FIBER_H
#define SNLRT_FIBER_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>

typedef void SnlrtFiberEntry(void *user); /* never returns */

/* Zeroed: stands for a thread on its own stack. */
typedef struct SnlrtFiber {
    jmp_buf place;
    SnlrtFiberEntry *entry;
    void *user;
    void *stack; /* NULL: the thread's own */
    /* For the sanitizers: who switched here last; where this stack lies, and what each of them
     * keeps of it while other code runs. */
    struct SnlrtFiber *entered_from;
    const void *bottom;
    size_t nbytes;
    void *fake_stack, *thread_state;
} SnlrtFiber;

/* Gives the fiber a stack, on which the first switch to it calls entry(user). The fiber must not
 * move afterwards. false: no memory. */
bool snlrt_fiber_init(SnlrtFiber *fiber, SnlrtFiberEntry *entry, void *user);
/* Frees the stack, whatever stands there; fine on a zeroed fiber. */
void snlrt_fiber_deinit(SnlrtFiber *fiber);

/* Leaves the running code in `from` and goes on where `to` was left. */
void snlrt_fiber_switch(SnlrtFiber *from, SnlrtFiber *to);

#endif
