/* Fibers, built the way distributions build: the checks of _FORTIFY_SOURCE must not take a switch
 * for a jump to a frame that is gone. The source is part of this file for that, and the team of the
 * last test takes its fibers from here as well. */
#undef _FORTIFY_SOURCE
#define _FORTIFY_SOURCE 2
#include "runtime/fiber.c"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/pool.h"

static bool refuse_guard;

/* In the place of libc's: the system may refuse to split a mapping. */
int mprotect(void *at, size_t nbytes, int access)
{
    if (refuse_guard) {
        errno = ENOMEM;
        return -1;
    }
    return (int)syscall(SYS_mprotect, at, nbytes, access);
}

typedef struct Path {
    SnlrtFiber home, fiber;
    char text[16];
} Path;

static void write_words(void *user)
{
    Path *path = user;
    for (;;) {
        strcat(path->text, "b");
        snlrt_fiber_switch(&path->fiber, &path->home);
    }
}

static void fiber_goes_on_where_it_was_left(void **state)
{
    (void)state;
    Path path = {.text = ""};
    assert_true(snlrt_fiber_init(&path.fiber, write_words, &path));
    for (int i = 0; i < 3; i++) {
        strcat(path.text, "a");
        snlrt_fiber_switch(&path.home, &path.fiber);
    }
    assert_string_equal(path.text, "ababab");
    snlrt_fiber_deinit(&path.fiber);
    snlrt_fiber_deinit(&path.home);
}

static int64_t count_mappings(void)
{
    int64_t n = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    for (int c; (c = getc(maps)) != EOF;) n += c == '\n';
    fclose(maps);
    return n;
}

static void no_fiber_without_a_guard(void **state)
{
    (void)state;
    Path path = {.text = ""};
    count_mappings(); /* the first call may map something for itself */
    int64_t n = count_mappings();
    refuse_guard = true;
    bool made = snlrt_fiber_init(&path.fiber, write_words, &path);
    refuse_guard = false;
    assert_false(made);
    assert_null(path.fiber.stack);
    assert_int_equal(count_mappings(), n);
}

typedef struct Shared {
    SnlrtCtx ctx;
    int64_t values[16];
} Shared;

static void add_left(void *user, int64_t part)
{
    Shared *s = user;
    int64_t n = s->ctx.n_threads, left = (part + n - 1) % n;
    s->values[part] = part;
    snlrt_barrier(&s->ctx, part);
    int64_t sum = s->values[part] + s->values[left];
    snlrt_barrier(&s->ctx, part);
    s->values[part] = sum;
}

static void team_takes_turns(void **state)
{
    (void)state;
    SnlrtPool *pool;
    Shared s = {.ctx.n_threads = 16};
    assert_int_equal(snlrt_pool_create(16, 0, &pool, NULL), SNLRT_OK);
    s.ctx.barrier = snlrt_pool_barrier(pool);
    for (int i = 0; i < 10; i++) {
        snlrt_pool_run(pool, 16, add_left, &s);
        for (int64_t p = 0; p < 16; p++) assert_int_equal(s.values[p], p + (p + 15) % 16);
    }
    snlrt_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fiber_goes_on_where_it_was_left),
        cmocka_unit_test(no_fiber_without_a_guard),
        cmocka_unit_test(team_takes_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
