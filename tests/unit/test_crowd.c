/* Threads of a team beside other programs, in made-up seconds: no clock is read. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/crowd.h"

/* A machine, and what its threads have waited for processors. */
typedef struct Machine {
    double n_others; /* programs that never rest; a part of one rests now and then */
    int64_t n_cpus;
    double waited;
} Machine;

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
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
        if (snlrt_crowd_note(c, n_threads, 1e-3)) snlrt_crowd_look(c, n, m->waited);
    }
    return n_all;
}

static void quiet_machine_has_no_limit(void **state)
{
    (void)state;
    SnlrtCrowd c;
    snlrt_crowd_init(&c);
    Machine m = {0, 4, 0}, daemons = {0.2, 4, 0};
    assert_int_equal(run(&c, &m, 4, 10000), 10000);
    assert_int_equal(run(&c, &daemons, 4, 10000), 10000);
}

static void one_neighbour_takes_one_processor(void **state)
{
    (void)state;
    for (int64_t n = 2; n <= 8; n++) {
        SnlrtCrowd c;
        snlrt_crowd_init(&c);
        Machine m = {1, n, 0};
        run(&c, &m, n, 40);
        assert_int_equal(c.limit, n - 1);
    }
}

static void many_neighbours_leave_one(void **state)
{
    (void)state;
    SnlrtCrowd c;
    snlrt_crowd_init(&c);
    Machine m = {100, 4, 0};
    run(&c, &m, 4, 40);
    assert_int_equal(c.limit, 1);
}

/* The first looks are soon, the later ones rare. */
static void looks_without_limit_take_a_few_percent(void **state)
{
    (void)state;
    SnlrtCrowd c;
    snlrt_crowd_init(&c);
    Machine m = {1, 2, 0};
    assert_in_range(run(&c, &m, 2, 1000), 20, 150);
    run(&c, &m, 2, 10000);
    assert_in_range(run(&c, &m, 2, 100000), 500, 2000);
}

static void limit_ends_with_the_neighbour(void **state)
{
    (void)state;
    SnlrtCrowd c;
    snlrt_crowd_init(&c);
    Machine crowded = {1, 2, 0}, quiet = {0, 2, 0};
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
    snlrt_crowd_init(&c);
    for (int i = 0; i < 1000; i++)
        if (snlrt_crowd_note(&c, 16, 1e-3)) snlrt_crowd_look(&c, 16, 0);
    assert_true(c.limit == INT64_MAX);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
