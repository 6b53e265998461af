/* Choice of the next token: greedy, cuts, penalty, seeds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/sampler.h"

#include <math.h>
#include <string.h>

enum { VOCAB = 8, N_DRAWS = 4000 };

static SnlrtSampler *create(SnlrtSampling sampling)
{
    SnlrtSampler *sampler;
    SnlrtError err = {""};
    SnlrtStatus status = snlrt_sampler_create(&sampling, VOCAB, &sampler, &err);
    if (status != SNLRT_OK) print_error("%s\n", err.text);
    assert_int_equal(status, SNLRT_OK);
    return sampler;
}

/* Probabilities 0.4, 0.3, 0.2, 0.1 of ids 5, 1, 7, 2; the others impossible. */
static void fill_logits(float logits[VOCAB])
{
    for (int i = 0; i < VOCAB; i++) logits[i] = -INFINITY;
    logits[5] = logf(0.4f);
    logits[1] = logf(0.3f);
    logits[7] = logf(0.2f);
    logits[2] = logf(0.1f);
}

static void count_draws(SnlrtSampling sampling, int counts[VOCAB])
{
    SnlrtSampler *sampler = create(sampling);
    float logits[VOCAB];
    memset(counts, 0, VOCAB * sizeof *counts);
    for (int i = 0; i < N_DRAWS; i++) {
        fill_logits(logits);
        counts[snlrt_sampler_next(sampler, logits)]++;
    }
    snlrt_sampler_destroy(sampler);
}

static void assert_share(int count, double share)
{
    double deviation = sqrt(share * (1 - share) / (double)N_DRAWS);
    if (fabs(count / (double)N_DRAWS - share) > 4 * deviation + 1e-12)
        fail_msg("found a share of %g, wanted %g", count / (double)N_DRAWS, share);
}

static void greedy_takes_lowest_id_of_equal_logits(void **state)
{
    (void)state;
    float logits[VOCAB] = {1, 3, 2, 3, NAN, 3, 0, -1};
    SnlrtSampler *sampler = create(SNLRT_SAMPLING_DEFAULT);
    assert_int_equal(snlrt_sampler_next(sampler, logits), 1);
    snlrt_sampler_destroy(sampler);
}

/* Wherever the largest logit stands, and the first of equals. */
static void argmax_looks_everywhere(void **state)
{
    (void)state;
    enum { N = 1235 };
    static float logits[N];
    for (int i = 0; i < N; i++) logits[i] = -2 - (float)(i % 7);
    for (int i = N - 1; i >= 0; i--) {
        logits[i] = -1;
        assert_int_equal(snlrt_argmax(logits, N), i);
        if (i % 3 == 0) logits[i] = -2;
    }
    assert_int_equal(snlrt_argmax(logits, N), 1);
}

static void nan_never_wins(void **state)
{
    (void)state;
    float logits[3] = {NAN, -5, NAN}, all[2] = {NAN, NAN};
    assert_int_equal(snlrt_argmax(logits, 3), 1);
    assert_int_equal(snlrt_argmax(all, 2), 0);
    float hopeless[3] = {NAN, -INFINITY, -INFINITY};
    assert_int_equal(snlrt_argmax(hopeless, 3), 1);
    float row[VOCAB] = {NAN, 1, NAN, NAN, NAN, NAN, NAN, NAN};
    SnlrtSampler *sampler =
        create((SnlrtSampling){.temperature = 1, .top_p = 1, .repeat_penalty = 1});
    assert_int_equal(snlrt_sampler_next(sampler, row), 1);
    snlrt_sampler_destroy(sampler);
}

static void rows_without_a_number_still_give_an_id(void **state)
{
    (void)state;
    SnlrtSampler *sampler =
        create((SnlrtSampling){.temperature = 1, .top_p = 0.5, .repeat_penalty = 1});
    float logits[VOCAB];
    for (int i = 0; i < VOCAB; i++) logits[i] = -INFINITY;
    assert_int_equal(snlrt_sampler_next(sampler, logits), 0);
    logits[3] = INFINITY;
    assert_int_equal(snlrt_sampler_next(sampler, logits), 3);
    snlrt_sampler_destroy(sampler);
}

static void temperature_one_draws_the_distribution(void **state)
{
    (void)state;
    int counts[VOCAB];
    count_draws((SnlrtSampling){.temperature = 1, .top_p = 1, .repeat_penalty = 1, .seed = 1},
                counts);
    assert_share(counts[5], 0.4);
    assert_share(counts[1], 0.3);
    assert_share(counts[7], 0.2);
    assert_share(counts[2], 0.1);
}

static void low_temperature_sharpens(void **state)
{
    (void)state;
    int counts[VOCAB]; /* squares: 16, 9, 4, 1 of 30 */
    count_draws((SnlrtSampling){.temperature = 0.5, .top_p = 1, .repeat_penalty = 1, .seed = 2},
                counts);
    assert_share(counts[5], 16.0 / 30);
    assert_share(counts[2], 1.0 / 30);
}

static void top_k_keeps_the_best(void **state)
{
    (void)state;
    int counts[VOCAB];
    count_draws((SnlrtSampling){.temperature = 1, .top_k = 2, .top_p = 1, .repeat_penalty = 1},
                counts);
    assert_share(counts[5], 0.4 / 0.7);
    assert_share(counts[1], 0.3 / 0.7);
    assert_int_equal(counts[7] + counts[2], 0);
    count_draws((SnlrtSampling){.temperature = 1, .top_k = 100, .top_p = 1, .repeat_penalty = 1},
                counts);
    assert_share(counts[2], 0.1);
}

static void top_k_one_is_greedy_and_ties_go_to_the_lowest_id(void **state)
{
    (void)state;
    SnlrtSampler *sampler =
        create((SnlrtSampling){.temperature = 2, .top_k = 1, .top_p = 1, .repeat_penalty = 1});
    for (int i = 0; i < 50; i++) {
        float logits[VOCAB] = {0, 4, 1, 4, 4, 2, 4, 3};
        assert_int_equal(snlrt_sampler_next(sampler, logits), 1);
    }
    snlrt_sampler_destroy(sampler);
}

static void top_p_keeps_the_fewest_that_reach_it(void **state)
{
    (void)state;
    int counts[VOCAB];
    count_draws((SnlrtSampling){.temperature = 1, .top_p = 0.65, .repeat_penalty = 1}, counts);
    assert_share(counts[5], 0.4 / 0.7);
    assert_int_equal(counts[7] + counts[2], 0);
    count_draws((SnlrtSampling){.temperature = 1, .top_p = 0.01, .repeat_penalty = 1}, counts);
    assert_int_equal(counts[5], N_DRAWS);
}

static void top_p_is_a_share_of_what_top_k_left(void **state)
{
    (void)state;
    int counts[VOCAB]; /* of 0.4 and 0.3: the first alone is 0.57 */
    count_draws((SnlrtSampling){.temperature = 1, .top_k = 2, .top_p = 0.55, .repeat_penalty = 1},
                counts);
    assert_int_equal(counts[5], N_DRAWS);
}

static void min_p_compares_with_the_best(void **state)
{
    (void)state;
    int counts[VOCAB];
    count_draws((SnlrtSampling){.temperature = 1, .top_p = 1, .min_p = 0.6, .repeat_penalty = 1},
                counts);
    assert_share(counts[1], 0.3 / 0.7);
    assert_int_equal(counts[7] + counts[2], 0);
    count_draws(
        (SnlrtSampling){
            .temperature = 1, .top_k = 3, .top_p = 1, .min_p = 0.6, .repeat_penalty = 1},
        counts);
    assert_share(counts[1], 0.3 / 0.7);
    assert_int_equal(counts[7], 0);
}

static void penalty_makes_recent_tokens_less_likely(void **state)
{
    (void)state;
    SnlrtSampling sampling = SNLRT_SAMPLING_DEFAULT;
    sampling.repeat_penalty = 2;
    SnlrtSampler *sampler = create(sampling);
    float logits[VOCAB] = {4, 3, -1, -3, 0, 0, 0, 0};
    snlrt_sampler_accept(sampler, 0);
    snlrt_sampler_accept(sampler, 0); /* twice counts once */
    snlrt_sampler_accept(sampler, 3);
    snlrt_sampler_accept(sampler, 1000); /* not an id */
    assert_int_equal(snlrt_sampler_next(sampler, logits), 1);
    assert_true(logits[0] == 2.0f && logits[3] == -6.0f && logits[1] == 3.0f);
    for (int i = 0; i < SNLRT_REPEAT_WINDOW; i++) snlrt_sampler_accept(sampler, 7);
    logits[0] = 4;
    assert_int_equal(snlrt_sampler_next(sampler, logits), 0); /* forgotten */
    snlrt_sampler_destroy(sampler);
}

static void draw_many(SnlrtSampler *sampler, int32_t ids[100])
{
    float logits[VOCAB];
    for (int i = 0; i < 100; i++) {
        fill_logits(logits);
        ids[i] = snlrt_sampler_next(sampler, logits);
    }
}

static void same_seed_same_tokens_other_seed_others(void **state)
{
    (void)state;
    SnlrtSampling sampling = {.temperature = 1, .top_p = 0.95, .repeat_penalty = 1, .seed = 42};
    int32_t a[100], b[100], c[100];
    SnlrtSampler *first = create(sampling), *second = create(sampling);
    sampling.seed = 43;
    SnlrtSampler *third = create(sampling);
    draw_many(first, a);
    draw_many(second, b);
    draw_many(third, c);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
    snlrt_sampler_reset(first);
    draw_many(first, b);
    assert_memory_equal(a, b, sizeof a);
    snlrt_sampler_destroy(first);
    snlrt_sampler_destroy(second);
    snlrt_sampler_destroy(third);
}

static void values_out_of_range_are_refused(void **state)
{
    (void)state;
    static const struct {
        SnlrtSampling sampling;
        const char *message;
    } cases[] = {
        {{.temperature = -1, .top_p = 1, .repeat_penalty = 1},
         "temperature: found -1, wanted 0 or more"},
        {{.top_k = -1, .top_p = 1, .repeat_penalty = 1}, "top-k: found -1, wanted 0 or more"},
        {{.top_p = 0, .repeat_penalty = 1}, "top-p: found 0, wanted more than 0 and at most 1"},
        {{.top_p = 1.5, .repeat_penalty = 1}, "top-p: found 1.5, wanted more than 0 and at most 1"},
        {{.top_p = 1, .min_p = 2, .repeat_penalty = 1}, "min-p: found 2, wanted 0 to 1"},
        {{.top_p = 1, .repeat_penalty = 0}, "repeat penalty: found 0, wanted more than 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SnlrtSampler *sampler;
        SnlrtError err;
        assert_int_equal(snlrt_sampler_create(&cases[i].sampling, VOCAB, &sampler, &err),
                         SNLRT_USAGE);
        assert_null(sampler);
        assert_string_equal(err.text, cases[i].message);
    }
}

/* The definition: the lowest id among the largest, NaN aside; 0 when there is nothing else. */
static int32_t slow_argmax(const float *x, int64_t n)
{
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(x[i]) && (best < 0 || x[i] > x[best])) best = i;
    return (int32_t)(best < 0 ? 0 : best);
}

static void argmax_is_the_first_of_the_largest(void **state)
{
    (void)state;
    static const float odd[] = {NAN, -INFINITY, INFINITY, 0.0f, -0.0f, 3.0f, -7.0f, 3.0f};
    enum { LONGEST = 2100 };
    float x[LONGEST];
    uint32_t random = 7;
    for (int64_t n = 1; n <= LONGEST; n += n < 80 ? 1 : 97) {
        for (uint32_t n_kinds = 1; n_kinds <= 8; n_kinds++) {
            for (int64_t i = 0; i < n; i++) {
                random = random * 1664525 + 1013904223;
                x[i] = odd[(random >> 20) % n_kinds];
            }
            assert_int_equal(snlrt_argmax(x, n), slow_argmax(x, n));
            x[n - 1] = 5.0f;
            assert_int_equal(snlrt_argmax(x, n), slow_argmax(x, n));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(argmax_is_the_first_of_the_largest),
        cmocka_unit_test(greedy_takes_lowest_id_of_equal_logits),
        cmocka_unit_test(argmax_looks_everywhere),
        cmocka_unit_test(nan_never_wins),
        cmocka_unit_test(rows_without_a_number_still_give_an_id),
        cmocka_unit_test(temperature_one_draws_the_distribution),
        cmocka_unit_test(low_temperature_sharpens),
        cmocka_unit_test(top_k_keeps_the_best),
        cmocka_unit_test(top_k_one_is_greedy_and_ties_go_to_the_lowest_id),
        cmocka_unit_test(top_p_keeps_the_fewest_that_reach_it),
        cmocka_unit_test(top_p_is_a_share_of_what_top_k_left),
        cmocka_unit_test(min_p_compares_with_the_best),
        cmocka_unit_test(penalty_makes_recent_tokens_less_likely),
        cmocka_unit_test(same_seed_same_tokens_other_seed_others),
        cmocka_unit_test(values_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
