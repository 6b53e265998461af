/* Arena: zeroed, aligned, growing, and an end without memory. */
#include "tests/support/support.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void zeroed_and_aligned(void **state)
{
    Support *s = *state;
    for (size_t n = 0; n < 300; n++) {
        unsigned char *p = snl_arena_alloc(s->arena, n);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++) assert_int_equal(p[i], 0);
        memset(p, 0xab, n);
    }
}

static void blocks_do_not_overlap(void **state)
{
    Support *s = *state;
    enum { N = 2000 };
    unsigned char *block[N];
    for (int i = 0; i < N; i++) {
        block[i] = snl_arena_alloc(s->arena, 100 + (size_t)(i % 7) * 1000);
        memset(block[i], i & 0xff, 100);
    }
    for (int i = 0; i < N; i++)
        for (int k = 0; k < 100; k++) assert_int_equal(block[i][k], i & 0xff);
}

static void large_blocks(void **state)
{
    Support *s = *state;
    char *small = snl_arena_strdup(s->arena, "before");
    char *large = snl_arena_alloc(s->arena, 10 << 20);
    large[0] = large[(10 << 20) - 1] = 1;
    char *after = snl_arena_strdup(s->arena, "after");
    assert_string_equal(small, "before");
    assert_string_equal(after, "after");
    assert_int_equal(snl_arena_used(s->arena), (10 << 20) + 7 + 6);
}

static void texts(void **state)
{
    Support *s = *state;
    assert_string_equal(snl_arena_strndup(s->arena, "abcdef", 3), "abc");
    assert_string_equal(snl_arena_strndup(s->arena, NULL, 0), "");
    assert_string_equal(snl_arena_printf(s->arena, "%s.%d", "h", 12), "h.12");
}

static void vectors_grow(void **state)
{
    Support *s = *state;
    SnlVec(int) v = {0};
    for (int i = 0; i < 1000; i++) SNL_PUSH(s->arena, &v, i);
    assert_int_equal(v.n, 1000);
    for (int i = 0; i < 1000; i++) assert_int_equal(v.at[i], i);
}

/* Runs in a child: the process ends with the machine status instead of returning NULL. (A leak
 * checker must find the arena at that exit, whatever the compiler keeps in registers.) */
static void overflow_ends_the_process(void **state)
{
    static SnlArena *volatile arena;
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(99);
        arena = snl_arena_create();
        snl_arena_array(arena, SIZE_MAX / 2, 3);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), SNL_MACHINE);
}

static void nothing_to_destroy(void **state)
{
    (void)state;
    snl_arena_destroy(NULL);
    snl_arena_destroy(snl_arena_create());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(zeroed_and_aligned),     support_test(blocks_do_not_overlap),
        support_test(large_blocks),           support_test(texts),
        support_test(vectors_grow),           cmocka_unit_test(overflow_ends_the_process),
        cmocka_unit_test(nothing_to_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
