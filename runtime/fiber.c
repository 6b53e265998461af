/* runtime/fiber.c -- makecontext gives a fiber its stack; from then on it is left and entered by
 * setjmp and longjmp, which keep the signal mask and so need no system call. */
#define _GNU_SOURCE /* MAP_ANONYMOUS, MAP_STACK */
/* The fortified longjmp takes a jump to another stack for one to a frame that is gone, and
 * aborts. */
#undef _FORTIFY_SOURCE
#include "runtime/fiber.h"

#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifdef __has_feature
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
#define IF_ASAN(...) __VA_ARGS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define IF_ASAN(...)
#endif
#if defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer)
#define IF_TSAN(...) __VA_ARGS__
#include <sanitizer/tsan_interface.h>
#else
#define IF_TSAN(...)
#endif

/* Multiples of every page size. Only what is used of a stack takes memory; what grows beyond it
 * meets the guard. */
enum { STACK_NBYTES = 512 * 1024, GUARD_NBYTES = 64 * 1024 };

/* ---- what the sanitizers are told ---- */

static void tell_init(SnlrtFiber *fiber)
{
    fiber->bottom = (char *)fiber->stack + GUARD_NBYTES;
    fiber->nbytes = STACK_NBYTES;
    IF_TSAN(fiber->thread_state = __tsan_create_fiber(0);)
}

static void tell_deinit(SnlrtFiber *fiber)
{
    (void)fiber;
    IF_TSAN(__tsan_destroy_fiber(fiber->thread_state);)
    /* Whoever gets this address next must not find what was forbidden here. */
    IF_ASAN(__asan_unpoison_memory_region(fiber->bottom, fiber->nbytes);)
}

static void tell_leave(SnlrtFiber *from, SnlrtFiber *to)
{
    (void)from;
    to->entered_from = from;
    IF_ASAN(__sanitizer_start_switch_fiber(&from->fake_stack, to->bottom, to->nbytes);)
    IF_TSAN(from->thread_state = __tsan_get_current_fiber();)
    IF_TSAN(__tsan_switch_to_fiber(to->thread_state, 0);)
}

/* The bounds of a thread's own stack are known to who comes from there. */
static void tell_arrive(SnlrtFiber *here)
{
    (void)here;
    IF_ASAN(__sanitizer_finish_switch_fiber(here->fake_stack, &here->entered_from->bottom,
                                            &here->entered_from->nbytes);)
}

/* ---- fibers ---- */

/* First on the fiber's stack: goes back to the creator. Whoever switches here later begins with the
 * entry. makecontext passes integers, so the pointer comes in two halves. */
static void be_born(unsigned low, unsigned high)
{
    SnlrtFiber *fiber = (SnlrtFiber *)((uintptr_t)low | (uintptr_t)high << 16 << 16);
    tell_arrive(fiber);
    snlrt_fiber_switch(fiber, fiber->entered_from);
    fiber->entry(fiber->user);
}

/* NULL: no memory, or no guard. */
static char *map_stack(void)
{
    char *stack = mmap(NULL, GUARD_NBYTES + STACK_NBYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED) return NULL;
    if (mprotect(stack, GUARD_NBYTES, PROT_NONE) == 0) return stack;
    munmap(stack, GUARD_NBYTES + STACK_NBYTES);
    return NULL;
}

bool snlrt_fiber_init(SnlrtFiber *fiber, SnlrtFiberEntry *entry, void *user)
{
    char *stack = map_stack();
    if (!stack) return false;
    *fiber = (SnlrtFiber){.entry = entry, .user = user, .stack = stack};
    tell_init(fiber);
    SnlrtFiber creator = {.stack = NULL};
    ucontext_t start;
    getcontext(&start);
    start.uc_stack.ss_sp = stack + GUARD_NBYTES;
    start.uc_stack.ss_size = STACK_NBYTES;
    start.uc_link = NULL;
    uintptr_t at = (uintptr_t)fiber;
    makecontext(&start, (void (*)(void))be_born, 2, (unsigned)at, (unsigned)(at >> 16 >> 16));
    if (!_setjmp(creator.place)) {
        tell_leave(&creator, fiber);
        setcontext(&start);
    }
    tell_arrive(&creator);
    return true;
}

void snlrt_fiber_deinit(SnlrtFiber *fiber)
{
    if (!fiber->stack) return;
    tell_deinit(fiber);
    munmap(fiber->stack, GUARD_NBYTES + STACK_NBYTES);
    fiber->stack = NULL;
}

void snlrt_fiber_switch(SnlrtFiber *from, SnlrtFiber *to)
{
    /* The place is noted before the switch is told: ThreadSanitizer keeps it with the thread. */
    if (!_setjmp(from->place)) {
        tell_leave(from, to);
        _longjmp(to->place, 1);
    }
    tell_arrive(from);
}
