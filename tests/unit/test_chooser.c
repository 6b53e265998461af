/* The choice of threads, on made-up machines: no clock is read. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/chooser.h"

/* Seconds of a step on n threads; index n. */
typedef const double *Machine;

static int64_t run(SnlrtChooser *c, Machine machine, int64_t n_steps)
{
    int64_t n_slow = 0; /* steps on another number than the one that is fastest in the end */
    for (int64_t i = 0; i < n_steps; i++) {
        int64_t n = snlrt_chooser_threads(c);
        n_slow += n != c->chosen;
        snlrt_chooser_note(c, snlrt_chooser_listens(c) ? machine[n] : 1e9);
    }
    return n_slow;
}

static const double scales[] = {0, 8e-3, 4e-3, 3e-3, 2e-3, 2e-3, 2e-3, 2e-3, 1e-3};
static const double latency[] = {0, 1e-5, 2e-5, 3e-5, 4e-5, 5e-5, 6e-5, 7e-5, 8e-5};
static const double close_race[] = {0, 1.1e-3, 1e-3};
static const double best_at_2[] = {0, 2e-5, 1e-5, 2e-5, 2e-5, 3e-5, 3e-5, 3e-5, 3e-5};

static void one_thread_is_never_tried(void **state)
{
    (void)state;
    SnlrtChooser c;
    snlrt_chooser_init(&c, 1);
    assert_false(snlrt_chooser_listens(&c));
    run(&c, scales, 100);
    assert_int_equal(snlrt_chooser_threads(&c), 1);
}

static void sixteen_steps_decide_between_all_and_half(void **state)
{
    (void)state;
    SnlrtChooser c;
    snlrt_chooser_init(&c, 2);
    assert_int_equal(snlrt_chooser_threads(&c), 2);
    assert_int_equal(run(&c, close_race, 16), 8);
    assert_false(c.on_trial);
    assert_int_equal(c.chosen, 2);
    snlrt_chooser_init(&c, 2);
    run(&c, latency, 16);
    assert_false(c.on_trial);
    assert_int_equal(c.chosen, 1);
}

/* Half of the threads, at half of the speed, has two of the first 64 tokens. */
static void clearly_slower_trials_end_early(void **state)
{
    (void)state;
    SnlrtChooser c;
    snlrt_chooser_init(&c, 2);
    assert_int_equal(run(&c, scales, 64), 2);
    assert_int_equal(c.chosen, 2);
}

static void halves_as_long_as_that_is_faster(void **state)
{
    (void)state;
    SnlrtChooser c;
    snlrt_chooser_init(&c, 8);
    run(&c, latency, 48);
    assert_int_equal(c.chosen, 1);
    snlrt_chooser_init(&c, 8);
    run(&c, best_at_2, 48);
    assert_int_equal(c.chosen, 2);
    assert_false(c.on_trial);
    snlrt_chooser_init(&c, 7); /* 7, 3, 1 */
    run(&c, latency, 32);
    assert_int_equal(c.chosen, 1);
}

static void a_single_interruption_decides_nothing(void **state)
{
    (void)state;
    SnlrtChooser c;
    for (int64_t late = 0; late < 16; late++) {
        snlrt_chooser_init(&c, 2);
        for (int64_t i = 0; i < 16; i++)
            snlrt_chooser_note(&c, i == late ? 1.0 : scales[snlrt_chooser_threads(&c)]);
        assert_int_equal(c.chosen, 2);
        snlrt_chooser_init(&c, 2);
        for (int64_t i = 0; i < 16; i++)
            snlrt_chooser_note(&c, i == late ? 1.0 : latency[snlrt_chooser_threads(&c)]);
        assert_int_equal(c.chosen, 1);
    }
}

/* A first trial that went wrong altogether is put right within a few lengths of it. */
static void a_wrong_beginning_is_soon_put_right(void **state)
{
    (void)state;
    static const double disturbed[] = {0, 1e-3, 1.2e-3}, quiet[] = {0, 1.8e-3, 1e-3};
    SnlrtChooser c;
    snlrt_chooser_init(&c, 2);
    run(&c, disturbed, 16);
    assert_int_equal(c.chosen, 1);
    run(&c, quiet, 300);
    assert_int_equal(c.chosen, 2);
}

/* A clock that jumps in a trial does not end trials for ever. */
static void one_jump_of_the_clock_is_outlived(void **state)
{
    (void)state;
    SnlrtChooser c;
    snlrt_chooser_init(&c, 2);
    run(&c, latency, 16);
    while (!c.on_trial) run(&c, latency, 1);
    run(&c, latency, 20);
    while (snlrt_chooser_threads(&c) == 1) run(&c, latency, 1);
    snlrt_chooser_note(&c, 1e6);
    assert_int_equal(c.chosen, 1);
    run(&c, scales, 300000);
    assert_int_equal(c.chosen, 2);
}

static void follows_a_machine_that_changes(void **state)
{
    (void)state;
    SnlrtChooser c;
    snlrt_chooser_init(&c, 8);
    run(&c, scales, 100000);
    assert_int_equal(c.chosen, 8);
    run(&c, latency, 1000000);
    assert_int_equal(c.chosen, 1);
    run(&c, scales, 1000000);
    assert_int_equal(c.chosen, 8);
}

static void trials_take_a_few_percent(void **state)
{
    (void)state;
    static const Machine machines[] = {scales, latency, best_at_2};
    for (int i = 0; i < 3; i++) {
        SnlrtChooser c;
        snlrt_chooser_init(&c, 8);
        run(&c, machines[i], 1000);
        assert_in_range(run(&c, machines[i], 1000000), 1, 1000000 / 40);
    }
}

/* Seconds that n_steps take, on whatever number of threads. */
static double run_seconds(SnlrtChooser *c, Machine machine, int64_t n_steps)
{
    double sum = 0;
    for (int64_t i = 0; i < n_steps; i++) {
        double step = machine[snlrt_chooser_threads(c)];
        snlrt_chooser_note(c, step);
        sum += step;
    }
    return sum;
}

/* A second thread that is a hundred times slower costs a few percent of the time as well, from the
 * second trial on. */
static void hopeless_trials_end_early(void **state)
{
    (void)state;
    static const double crowded[] = {0, 1e-5, 1e-3};
    SnlrtChooser c;
    snlrt_chooser_init(&c, 2);
    run(&c, crowded, 16);
    assert_int_equal(c.chosen, 1);
    assert_true(run_seconds(&c, crowded, 2000) <= 1.15 * 2000 * 1e-5);
    assert_true(run_seconds(&c, crowded, 1000000) <= 1.05 * 1000000 * 1e-5);
    assert_int_equal(c.chosen, 1);
    run(&c, scales, 1000000); /* and are made again */
    assert_int_equal(c.chosen, 2);
}

/* Clocks may stand still, or be wrong. */
static void strange_times_do_no_harm(void **state)
{
    (void)state;
    static const double still[] = {0, 0, 0}, backwards[] = {0, -1, -2}, slow[] = {0, 1e9, 1e12};
    static const Machine machines[] = {still, backwards, slow};
    for (int i = 0; i < 3; i++) {
        SnlrtChooser c;
        snlrt_chooser_init(&c, 2);
        run(&c, machines[i], 10000);
        assert_in_range(snlrt_chooser_threads(&c), 1, 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_thread_is_never_tried),
        cmocka_unit_test(sixteen_steps_decide_between_all_and_half),
        cmocka_unit_test(clearly_slower_trials_end_early),
        cmocka_unit_test(halves_as_long_as_that_is_faster),
        cmocka_unit_test(a_single_interruption_decides_nothing),
        cmocka_unit_test(a_wrong_beginning_is_soon_put_right),
        cmocka_unit_test(one_jump_of_the_clock_is_outlived),
        cmocka_unit_test(follows_a_machine_that_changes),
        cmocka_unit_test(trials_take_a_few_percent),
        cmocka_unit_test(hopeless_trials_end_early),
        cmocka_unit_test(strange_times_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
