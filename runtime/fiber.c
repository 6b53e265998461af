/* runtime/fiber.c -- makecontext gives a fiber its stack; from then on it is left and entered by
 * setjmp and longjmp, which keep the signal mask and so need no system call. */
#define _GNU_SOURCE /* MAP_ANONYMOUS, MAP_STACK */
/* The fortified longjmp takes a jump to another stack for one to a frame that is gone, and
 * aborts. */
#undef _FORTIFY_SOURCE
#include "runtime/fiber.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>

/* Multiples of every page size. Only what is used of a stack takes memory; what grows beyond it
 * meets the guard. */
enum { STACK_NBYTES = 512 * 1024, GUARD_NBYTES = 64 * 1024 };

typedef struct Birth {
    SnlrtFiber *fiber;
    ucontext_t creator;
} Birth;

/* First on the fiber's stack: notes the place and goes back to the creator. Whoever switches here
 * later begins with the entry. makecontext passes integers, so the pointer comes in two halves. */
static void be_born(unsigned low, unsigned high)
{
    Birth *birth = (Birth *)((uintptr_t)low | (uintptr_t)high << 16 << 16);
    SnlrtFiber *fiber = birth->fiber;
    if (!_setjmp(fiber->place)) setcontext(&birth->creator);
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
    Birth birth = {.fiber = fiber};
    ucontext_t start;
    getcontext(&start);
    start.uc_stack.ss_sp = stack + GUARD_NBYTES;
    start.uc_stack.ss_size = STACK_NBYTES;
    start.uc_link = NULL;
    uintptr_t at = (uintptr_t)&birth;
    makecontext(&start, (void (*)(void))be_born, 2, (unsigned)at, (unsigned)(at >> 16 >> 16));
    swapcontext(&birth.creator, &start);
    return true;
}

void snlrt_fiber_deinit(SnlrtFiber *fiber)
{
    if (fiber->stack) munmap(fiber->stack, GUARD_NBYTES + STACK_NBYTES);
    fiber->stack = NULL;
}

void snlrt_fiber_switch(SnlrtFiber *from, SnlrtFiber *to)
{
    if (!_setjmp(from->place)) _longjmp(to->place, 1);
}
