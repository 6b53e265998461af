/* runtime/fiber.h -- a place where code stands while other code runs on the same thread.
 *
 * Switching costs some nanoseconds and no system call. A fiber may be entered by one thread after
 * another, but its code must not keep what belongs to a thread across a switch. Not under
 * AddressSanitizer and ThreadSanitizer, which know one stack per thread:
 * there SNLRT_FIBERS is 0. */
#ifndef SNLRT_FIBER_H
#define SNLRT_FIBER_H

#include <setjmp.h>
#include <stdbool.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SNLRT_FIBERS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SNLRT_FIBERS 0
#endif
#endif
#ifndef SNLRT_FIBERS
#define SNLRT_FIBERS 1
#endif

typedef void SnlrtFiberEntry(void *user); /* never returns */

/* Zeroed: stands for a thread on its own stack. */
typedef struct SnlrtFiber {
    jmp_buf place;
    SnlrtFiberEntry *entry;
    void *user;
    void *stack; /* NULL: the thread's own */
} SnlrtFiber;

/* Gives the fiber a stack, on which the first switch to it calls entry(user). The fiber must not
 * move afterwards. false: no memory. */
bool snlrt_fiber_init(SnlrtFiber *fiber, SnlrtFiberEntry *entry, void *user);
/* Frees the stack, whatever stands there; fine on a zeroed fiber. */
void snlrt_fiber_deinit(SnlrtFiber *fiber);

/* Leaves the running code in `from` and goes on where `to` was left. */
void snlrt_fiber_switch(SnlrtFiber *from, SnlrtFiber *to);

#endif
