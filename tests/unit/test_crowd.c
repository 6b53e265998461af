/* Threads of a team beside other programs, in made-up seconds: no clock is read. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/crowd.h"

#include <stdbool.h>

/* A machine, and what its threads have waited for processors. */
typedef struct Machine {
    double n_others; /* programs that never rest; a part of one rests now and then */
    int64_t n_cpus;
    double waited;
    bool tells; /* how many threads run */
} Machine;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t free_cpus(const Machine *m)
{
    int64_t n = m->n_cpus - (int64_t)m->n_others;
    return !m->tells ? SNLRT_FREE_UNKNOWN : n > 1 ? n : 1;
}

static void begin(SnlrtCrowd *c)
{
    snlrt_crowd_init(c, 2, SNLRT_FREE_UNKNOWN, false);
}

/* Jobs for n_threads of 1 ms each; what they lose to others they wait for. Returns how many ran on
 * all threads. */
static int64_t run(SnlrtCrowd *c, Machine *m, int64_t n_threads, int64_t n_jobs)
{
    int64_t n_all = 0;
    for (int64_t i = 0; i < n_jobs; i++) {
        int64_t n = least(n_threads, c->limit);
        double too_many = (double)n + m->n_others - (double)m->n_cpus;
        n_all += n == n_threads;
        if (too_many > 0) m->waited += 1e-3 * too_many / 2;
        if (snlrt_crowd_wonders(c, 1e-3)) snlrt_crowd_glance(c, n_threads, free_cpus(m));
        if (snlrt_crowd_note(c, n_threads, 1e-3))
            snlrt_crowd_look(c, n_threads, n, m->waited, free_cpus(m));
    }
    return n_all;
}

static void quiet_machine_has_no_limit(void **state)
{
    (void)state;
    SnlrtCrowd c;
    begin(&c);
    Machine m = {0, 4, 0, true}, daemons = {0.2, 4, 0, true};
    assert_int_equal(run(&c, &m, 4, 10000), 10000);
    assert_int_equal(run(&c, &daemons, 4, 10000), 10000);
}

static void one_neighbour_takes_one_processor(void **state)
{
    (void)state;
    for (int64_t n = 2; n <= 8; n++) {
        SnlrtCrowd c;
        begin(&c);
        Machine m = {1, n, 0, false};
        run(&c, &m, n, 40);
        assert_int_equal(c.limit, n - 1);
    }
}

static void many_neighbours_leave_one(void **state)
{
    (void)state;
    SnlrtCrowd c;
    begin(&c);
    Machine m = {100, 4, 0, false};
    run(&c, &m, 4, 40);
    assert_int_equal(c.limit, 1);
}

/* The first looks are soon, the later ones rare. */
static void looks_without_limit_take_a_few_percent(void **state)
{
    (void)state;
    SnlrtCrowd c;
    begin(&c);
    Machine m = {1, 2, 0, false};
    assert_in_range(run(&c, &m, 2, 1000), 20, 150);
    run(&c, &m, 2, 10000);
    assert_in_range(run(&c, &m, 2, 100000), 500, 2000);
}

static void limit_ends_with_the_neighbour(void **state)
{
    (void)state;
    SnlrtCrowd c;
    begin(&c);
    Machine crowded = {1, 2, 0, false}, quiet = {0, 2, 0, false};
    run(&c, &crowded, 2, 100000);
    quiet.waited = crowded.waited;
    run(&c, &quiet, 2, 2200);
    assert_int_equal(run(&c, &quiet, 2, 1000), 1000);
    crowded.waited = quiet.waited; /* and is found again as soon as at first */
    run(&c, &crowded, 2, 40);
    assert_int_equal(c.limit, 1);
    assert_in_range(run(&c, &quiet, 2, 150), 80, 149);
}

/* What a system does not tell is no evidence. */
static void without_waits_there_is_no_limit(void **state)
{
    (void)state;
    SnlrtCrowd c;
    begin(&c);
    for (int i = 0; i < 1000; i++)
        if (snlrt_crowd_note(&c, 16, 1e-3)) snlrt_crowd_look(&c, 16, 16, 0, SNLRT_FREE_UNKNOWN);
    assert_true(c.limit == INT64_MAX);
}

/* Before anything was waited for; what ran for a while is believed at once. */
static void neighbour_is_seen_before_it_takes_anything(void **state)
{
    (void)state;
    SnlrtCrowd c;
    for (int64_t n = 2; n <= 8; n++) {
        snlrt_crowd_init(&c, n, n - 1, true);
        assert_int_equal(c.limit, n - 1);
        snlrt_crowd_init(&c, n, n - 1, false);
        assert_true(c.limit == INT64_MAX);
        Machine m = {1, n, 0, true};
        assert_int_equal(run(&c, &m, n, 10), 1);
        assert_int_equal(c.limit, n - 1);
    }
}

/* The programs before and behind a pipe, and whoever starts this one. */
static void what_starts_and_ends_is_no_neighbour(void **state)
{
    (void)state;
    SnlrtCrowd c;
    Machine quiet = {0, 2, 0, true}, crowded = {1, 2, 0, true};
    snlrt_crowd_init(&c, 2, 1, false);
    assert_int_equal(run(&c, &quiet, 2, 1000), 1000);
    snlrt_crowd_init(&c, 2, 1, true);
    assert_int_equal(run(&c, &quiet, 2, 1000), 999);
    snlrt_crowd_init(&c, 2, 2, false);
    for (int i = 0; i < 100; i++) assert_int_equal(run(&c, i % 2 ? &quiet : &crowded, 2, 1), 1);
}

/* Running beside the team is not yet taking from it: programs of low priority, other processors. */
static void who_takes_nothing_is_no_neighbour_for_long(void **state)
{
    (void)state;
    SnlrtCrowd c;
    snlrt_crowd_init(&c, 4, 2, true);
    int64_t n_limited = 0;
    for (int i = 0; i < 1000; i++) {
        n_limited += c.limit != INT64_MAX;
        if (snlrt_crowd_wonders(&c, 1e-3)) snlrt_crowd_glance(&c, 4, 2);
        if (snlrt_crowd_note(&c, 4, 1e-3)) snlrt_crowd_look(&c, 4, 4, 0, 2);
    }
    assert_in_range(n_limited, 60, 130);
}

/* Where the machine tells, a confirmed limit holds, and ends with the neighbour. */
static void machine_that_tells_needs_few_looks_without_limit(void **state)
{
    (void)state;
    SnlrtCrowd c;
    Machine crowded = {1, 2, 0, true}, quiet = {0, 2, 0, true};
    snlrt_crowd_init(&c, 2, 1, true);
    assert_in_range(run(&c, &crowded, 2, 1000), 15, 45);
    assert_in_range(run(&c, &crowded, 2, 100000), 500, 1200);
    assert_int_equal(c.limit, 1);
    quiet.waited = crowded.waited;
    assert_in_range(run(&c, &quiet, 2, 100), 40, 80);
    assert_int_equal(run(&c, &quiet, 2, 1000), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quiet_machine_has_no_limit),
        cmocka_unit_test(one_neighbour_takes_one_processor),
        cmocka_unit_test(many_neighbours_leave_one),
        cmocka_unit_test(looks_without_limit_take_a_few_percent),
        cmocka_unit_test(limit_ends_with_the_neighbour),
        cmocka_unit_test(without_waits_there_is_no_limit),
        cmocka_unit_test(neighbour_is_seen_before_it_takes_anything),
        cmocka_unit_test(what_starts_and_ends_is_no_neighbour),
        cmocka_unit_test(who_takes_nothing_is_no_neighbour_for_long),
        cmocka_unit_test(machine_that_tells_needs_few_looks_without_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
