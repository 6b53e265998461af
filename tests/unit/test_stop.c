/* Stop texts in a stream, however it is cut into pieces. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/stop.h"

#include <string.h>

/* Pushes `text` in pieces of n bytes; what came out must be `wanted`. */
static void assert_shown(const char *const *stops, size_t n_stops, const char *text,
                         const char *wanted, bool stopped)
{
    for (size_t n = 1; n <= strlen(text); n++) {
        SnlrtStopper stopper;
        SnlrtText out = {0};
        snlrt_stopper_init(&stopper, stops, n_stops);
        for (size_t at = 0; at < strlen(text); at += n) {
            size_t left = strlen(text) - at;
            assert_int_equal(
                snlrt_stopper_push(&stopper, text + at, left < n ? left : n, &out, NULL), SNLRT_OK);
        }
        assert_int_equal(snlrt_stopper_finish(&stopper, &out, NULL), SNLRT_OK);
        assert_int_equal(stopper.stopped, stopped);
        assert_int_equal(out.n, strlen(wanted));
        if (out.n) assert_memory_equal(out.at, wanted, out.n);
        snlrt_text_deinit(&out);
        snlrt_stopper_deinit(&stopper);
    }
}

static void without_stops_everything_passes(void **state)
{
    (void)state;
    assert_shown(NULL, 0, "abc", "abc", false);
}

static void text_is_cut_before_the_stop(void **state)
{
    (void)state;
    static const char *const stops[] = {"\n\n", "END"};
    assert_shown(stops, 2, "one\ntwo\n\nthree", "one\ntwo", true);
    assert_shown(stops, 2, "a EN END b", "a EN ", true);
    assert_shown(stops, 2, "END", "", true);
}

static void what_only_looked_like_a_stop_comes_out(void **state)
{
    (void)state;
    static const char *const stops[] = {"aab", "abcX"};
    assert_shown(stops, 2, "aaaa", "aaaa", false);
    assert_shown(stops, 2, "aaaab", "aa", true);
    assert_shown(stops, 2, "xabc", "xabc", false);
}

static void stop_inside_the_beginning_of_another_counts(void **state)
{
    (void)state;
    static const char *const stops[] = {"abcX", "bc"};
    assert_shown(stops, 2, "zabcd", "za", true);
    assert_shown(stops, 2, "zabcX", "z", true);
    assert_shown(stops, 2, "zabc", "za", true);
}

static void held_text_is_shown_as_soon_as_it_can_be(void **state)
{
    (void)state;
    static const char *const stops[] = {"xy"};
    SnlrtStopper stopper;
    SnlrtText out = {0};
    snlrt_stopper_init(&stopper, stops, 1);
    assert_int_equal(snlrt_stopper_push(&stopper, "abx", 3, &out, NULL), SNLRT_OK);
    assert_int_equal(out.n, 2);
    assert_int_equal(snlrt_stopper_push(&stopper, "z", 1, &out, NULL), SNLRT_OK);
    assert_int_equal(out.n, 4);
    snlrt_text_deinit(&out);
    snlrt_stopper_deinit(&stopper);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_stops_everything_passes),
        cmocka_unit_test(text_is_cut_before_the_stop),
        cmocka_unit_test(what_only_looked_like_a_stop_comes_out),
        cmocka_unit_test(stop_inside_the_beginning_of_another_counts),
        cmocka_unit_test(held_text_is_shown_as_soon_as_it_can_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
