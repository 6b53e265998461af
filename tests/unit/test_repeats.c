/* codegen/repeats.c: loops of a list of calls do what the list said, in its order. */
#include "tests/support/support.h"

#include "codegen/calls.h"

/* Kernels are told apart by address only. */
static int kernels[8];

static void add(SnlCalls *calls, int kernel, int64_t number)
{
    if (kernel < 0) {
        snl_calls_barrier(calls);
        return;
    }
    SnlCall call = {.kernel = (LLVMValueRef)(void *)&kernels[kernel], .n_ptr = 1, .pos = -1};
    call.ptr[0] = (SnlAddress){SNL_IN_SHARED, number};
    snl_calls_add(calls, &call);
}

typedef struct Seen {
    const SnlCall *call[8192];
    size_t n;
} Seen;

static void run(Seen *seen, const SnlItem *item, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (item[i].body)
            run(seen, item[i].body, item[i].period * item[i].count);
        else
            seen->call[seen->n++] = item[i].call;
}

/* Folds; the order of calls must not change. */
static void fold_and_compare(SnlCalls *calls)
{
    static Seen before, after;
    before.n = after.n = 0;
    run(&before, calls->items.at, calls->items.n);
    snl_calls_fold(calls);
    run(&after, calls->items.at, calls->items.n);
    assert_int_equal(before.n, after.n);
    assert_memory_equal(before.call, after.call, before.n * sizeof before.call[0]);
}

static void a_layer_is_a_loop_and_its_members_another(void **state)
{
    (void)state;
    SnlArena *arena = snl_arena_create();
    SnlCalls calls = {.arena = arena};
    for (int layer = 0; layer < 5; layer++) {
        for (int m = 0; m < 4; m++) add(&calls, 0, 16 * m);
        add(&calls, -1, 0);
        add(&calls, 1, layer);
    }
    fold_and_compare(&calls);
    assert_int_equal(calls.items.n, 1);
    const SnlItem *layers = &calls.items.at[0];
    assert_int_equal(layers->count, 5);
    assert_int_equal(layers->period, 3);
    assert_int_equal(layers->body[0].count, 4);
    assert_null(layers->body[1].call);
    snl_arena_destroy(arena);
}

static void sweeps_over_fewer_and_fewer_units_are_one_loop(void **state)
{
    (void)state;
    SnlArena *arena = snl_arena_create();
    SnlCalls calls = {.arena = arena};
    for (int units = 8; units >= 3; units--) {
        for (int m = 0; m < units; m++) add(&calls, 0, m);
        add(&calls, -1, 0);
    }
    fold_and_compare(&calls);
    assert_int_equal(calls.items.n, 1);
    for (size_t i = 0; i < 6; i++) assert_int_equal(calls.items.at[0].body[2 * i].count, 8 - i);
    snl_arena_destroy(arena);
}

static void other_memory_is_another_shape(void **state)
{
    (void)state;
    SnlArena *arena = snl_arena_create();
    SnlCalls calls = {.arena = arena};
    for (int i = 0; i < 6; i++) {
        SnlCall call = {.kernel = (LLVMValueRef)(void *)&kernels[0], .n_ptr = 1, .pos = -1};
        call.ptr[0].region = i < 3 ? SNL_IN_SHARED : SNL_IN_PRIVATE;
        snl_calls_add(&calls, &call);
    }
    fold_and_compare(&calls);
    assert_int_equal(calls.items.n, 2);
    snl_arena_destroy(arena);
}

/* Few kernels, many repeats, in every nesting. */
static void any_list_keeps_its_order(void **state)
{
    (void)state;
    uint32_t seed = 12345;
    for (int round = 0; round < 500; round++) {
        SnlArena *arena = snl_arena_create();
        SnlCalls calls = {.arena = arena};
        for (int piece = 0; piece < 6; piece++) {
            int kernel[6], n = 1 + (int)((seed = seed * 1664525u + 1013904223u) >> 16) % 6;
            for (int i = 0; i < n; i++)
                kernel[i] = (int)((seed = seed * 1664525u + 1013904223u) >> 16) % 4 - 1;
            int times = 1 + (int)((seed = seed * 1664525u + 1013904223u) >> 16) % 9;
            for (int t = 0; t < times * n; t++) add(&calls, kernel[t % n], t);
        }
        fold_and_compare(&calls);
        snl_arena_destroy(arena);
    }
}

static void equal_shares_are_one(void **state)
{
    (void)state;
    SnlArena *arena = snl_arena_create();
    SnlCalls calls = {.arena = arena};
    SnlShare a = {8, 16, 128, 0}, b = {8, 16, 128, 128};
    assert_int_equal(snl_calls_share(&calls, a), 0);
    assert_int_equal(snl_calls_share(&calls, b), 1);
    assert_int_equal(snl_calls_share(&calls, a), 0);
    snl_arena_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_layer_is_a_loop_and_its_members_another),
        cmocka_unit_test(sweeps_over_fewer_and_fewer_units_are_one_loop),
        cmocka_unit_test(other_memory_is_another_shape),
        cmocka_unit_test(any_list_keeps_its_order),
        cmocka_unit_test(equal_shares_are_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
