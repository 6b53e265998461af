/* Sessions over the hand-written model: blocks, threads, rows, outputs, limits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/fake_model.c"

#include "runtime/cpus.h"
#include "runtime/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* In the place of libc's: nobody is told what other programs do. */
int open(const char *path, int flags, ...)
{
    if (strncmp(path, "/proc/", 6) == 0) {
        errno = ENOENT;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0);
}

enum { N_TOKENS = 45 };
static _Alignas(64) const int32_t weights[16] = {3, 70, 71, 72}; /* script of three ids */

static SnlrtSession *create(int64_t n_threads, int64_t block)
{
    SnlrtSessionOptions options = {.model = &snlrt_model,
                                   .weights = (const uint8_t *)weights,
                                   .n_threads = n_threads,
                                   .block = block};
    SnlrtSession *session;
    assert_int_equal(snlrt_session_create(&options, &session, NULL), SNLRT_OK);
    return session;
}

static void fill_tokens(int32_t tokens[N_TOKENS])
{
    for (int i = 0; i < N_TOKENS; i++) tokens[i] = (i * 37 + 11) % FAKE_VOCAB;
}

/* What the model's definition says. */
static float expected_logit(const int32_t *tokens, int64_t pos, int64_t v)
{
    int64_t sum = 0;
    for (int64_t i = 0; i <= pos; i++) sum += tokens[i];
    return (v == weights[1 + (pos + 1) % weights[0]] ? 20.0f : 0.0f) +
           (float)(sum * (v + 1) % 97) / 97.0f;
}

typedef struct Gathered {
    float logits[N_TOKENS][FAKE_VOCAB];
    float h0[N_TOKENS][4], h1[N_TOKENS][6];
    int64_t n_rows, n_tokens, n_blocks, stop_after;
} Gathered;

static SnlrtStatus gather(void *user, const SnlrtBlock *block, SnlrtError *err)
{
    Gathered *g = user;
    (void)err;
    assert_int_equal(block->pos, g->n_tokens);
    assert_int_equal(block->first_row + block->n_rows, block->pos + block->n_tokens);
    memcpy(g->logits[g->n_rows], block->logits, (size_t)block->n_rows * sizeof *g->logits);
    memcpy(g->h0[g->n_tokens], block->outputs[0], (size_t)block->n_tokens * sizeof *g->h0);
    memcpy(g->h1[g->n_tokens], block->outputs[1], (size_t)block->n_tokens * sizeof *g->h1);
    g->n_rows += block->n_rows;
    g->n_tokens += block->n_tokens;
    return ++g->n_blocks == g->stop_after ? SNLRT_STOPPED : SNLRT_OK;
}

static void every_block_and_team_gives_the_same_rows(void **state)
{
    (void)state;
    static const int64_t blocks[] = {1, 3, 7, FAKE_BLOCK, 0};
    int32_t tokens[N_TOKENS];
    fill_tokens(tokens);
    Gathered *g = malloc(sizeof *g);
    for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++) {
        for (int64_t n_threads = 1; n_threads <= 3; n_threads++) {
            SnlrtSession *session = create(n_threads, blocks[b]);
            memset(g, 0, sizeof *g);
            assert_int_equal(
                snlrt_session_run(session, tokens, N_TOKENS, SNLRT_RUN_ALL_ROWS, gather, g, NULL),
                SNLRT_OK);
            assert_int_equal(g->n_rows, N_TOKENS);
            for (int64_t t = 0; t < N_TOKENS; t++) {
                for (int64_t v = 0; v < FAKE_VOCAB; v++)
                    assert_true(g->logits[t][v] == expected_logit(tokens, t, v));
                assert_true(g->h0[t][3] == (float)(10 * t + 3));
                assert_true(g->h1[t][4] == (float)(100 * t + 11));
            }
            assert_true(snlrt_session_logits(session)[9] ==
                        expected_logit(tokens, N_TOKENS - 1, 9));
            snlrt_session_destroy(session);
        }
    }
    free(g);
}

static void count_part(void *user, int64_t part)
{
    atomic_fetch_add((_Atomic int *)user + part, 1);
}

/* On the threads of the token before, also while another number of them is tried. */
static void assert_shared_by_decoders(SnlrtSession *session, int64_t most)
{
    _Atomic int calls[8] = {0};
    snlrt_session_share(session, count_part, calls);
    assert_in_range(snlrt_session_decoders(session), 1, most);
    for (int64_t part = 0; part < 8; part++)
        assert_int_equal(calls[part], part < snlrt_session_decoders(session));
}

/* A session that chooses takes steps on several numbers of threads; nobody sees it. */
static void choice_of_threads_changes_no_row(void **state)
{
    (void)state;
    int32_t tokens[FAKE_CONTEXT];
    for (int i = 0; i < FAKE_CONTEXT; i++) tokens[i] = (i * 37 + 11) % FAKE_VOCAB;
    SnlrtSessionOptions options = {.model = &snlrt_model,
                                   .weights = (const uint8_t *)weights,
                                   .n_threads = 6,
                                   .choose_threads = true};
    SnlrtSession *session;
    assert_int_equal(snlrt_session_create(&options, &session, NULL), SNLRT_OK);
    assert_int_equal(snlrt_session_threads(session), 6);
    for (int64_t t = 0; t < FAKE_CONTEXT; t++) {
        assert_int_equal(
            snlrt_session_run(session, tokens + t, 1, SNLRT_RUN_TEXT, NULL, NULL, NULL), SNLRT_OK);
        for (int64_t v = 0; v < FAKE_VOCAB; v += 17)
            assert_true(snlrt_session_logits(session)[v] == expected_logit(tokens, t, v));
        assert_shared_by_decoders(session, 6);
    }
    assert_in_range(snlrt_session_threads(session), 1, 6);
    assert_int_equal(snlrt_session_max_threads(session), 6);
    snlrt_session_destroy(session);
}

static void jobs_are_shared_by_the_threads_that_decode(void **state)
{
    (void)state;
    for (int64_t n = 1; n <= 6; n++) {
        SnlrtSessionOptions options = {
            .model = &snlrt_model, .weights = (const uint8_t *)weights, .n_threads = n};
        SnlrtSession *session;
        assert_int_equal(snlrt_session_create(&options, &session, NULL), SNLRT_OK);
        assert_shared_by_decoders(session, n);
        assert_int_equal(snlrt_session_decoders(session), n);
        snlrt_session_destroy(session);
    }
}

/* With two threads one trial decides: 16 steps (runtime/chooser.h). */
static void trial_of_threads_ends(void **state)
{
    (void)state;
    int32_t token = 1;
    SnlrtSessionOptions options = {.model = &snlrt_model,
                                   .weights = (const uint8_t *)weights,
                                   .n_threads = 2,
                                   .choose_threads = true};
    SnlrtSession *session;
    if (snlrt_usable_cpus() < 2) skip();
    assert_int_equal(snlrt_session_create(&options, &session, NULL), SNLRT_OK);
    for (int t = 0; t < 16; t++) {
        assert_true(snlrt_session_on_trial(session));
        assert_int_equal(snlrt_session_run(session, &token, 1, SNLRT_RUN_TEXT, NULL, NULL, NULL),
                         SNLRT_OK);
    }
    assert_false(snlrt_session_on_trial(session));
    snlrt_session_destroy(session);
    session = create(2, 0);
    assert_false(snlrt_session_on_trial(session));
    snlrt_session_destroy(session);
}

static void last_row_alone_is_the_last_row(void **state)
{
    (void)state;
    int32_t tokens[N_TOKENS];
    fill_tokens(tokens);
    Gathered *g = calloc(1, sizeof *g);
    SnlrtSession *session = create(2, 0);
    assert_null(snlrt_session_logits(session));
    assert_int_equal(snlrt_session_run(session, tokens, N_TOKENS, 0, gather, g, NULL), SNLRT_OK);
    assert_int_equal(g->n_rows, 1);
    assert_int_equal(g->n_tokens, N_TOKENS);
    for (int64_t v = 0; v < FAKE_VOCAB; v++)
        assert_true(snlrt_session_logits(session)[v] == expected_logit(tokens, N_TOKENS - 1, v));
    snlrt_session_destroy(session);
    free(g);
}

static void reset_begins_again(void **state)
{
    (void)state;
    int32_t tokens[N_TOKENS];
    fill_tokens(tokens);
    SnlrtSession *session = create(2, 4);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(snlrt_session_run(session, tokens, 10, 0, NULL, NULL, NULL), SNLRT_OK);
        assert_int_equal(snlrt_session_pos(session), 10);
        assert_true(snlrt_session_logits(session)[5] == expected_logit(tokens, 9, 5));
        snlrt_session_reset(session);
        assert_int_equal(snlrt_session_pos(session), 0);
        assert_null(snlrt_session_logits(session));
    }
    snlrt_session_destroy(session);
}

static void sink_can_stop(void **state)
{
    (void)state;
    int32_t tokens[N_TOKENS];
    fill_tokens(tokens);
    Gathered *g = calloc(1, sizeof *g);
    g->stop_after = 2;
    SnlrtSession *session = create(1, 8);
    assert_int_equal(snlrt_session_run(session, tokens, N_TOKENS, 0, gather, g, NULL),
                     SNLRT_STOPPED);
    assert_int_equal(snlrt_session_pos(session), 16);
    assert_null(snlrt_session_logits(session)); /* those blocks had none */
    snlrt_session_destroy(session);
    free(g);
}

static void what_does_not_fit_is_refused_before_it_runs(void **state)
{
    (void)state;
    SnlrtError err;
    int32_t tokens[FAKE_CONTEXT + 1] = {0};
    SnlrtSession *session = create(1, 0);
    assert_int_equal(snlrt_session_run(session, tokens, FAKE_CONTEXT + 1, 0, NULL, NULL, &err),
                     SNLRT_INPUT);
    assert_string_equal(err.text,
                        "context full: 201 tokens at position 0, and there are 200 positions");
    assert_int_equal(snlrt_session_run(session, tokens, 0, 0, NULL, NULL, &err), SNLRT_INPUT);
    tokens[3] = FAKE_VOCAB;
    assert_int_equal(snlrt_session_run(session, tokens, 5, 0, NULL, NULL, &err), SNLRT_INPUT);
    assert_string_equal(err.text, "token id 256 (number 4): wanted 0 to 255, the vocabulary");
    tokens[3] = -1;
    assert_int_equal(snlrt_session_run(session, tokens, 5, 0, NULL, NULL, &err), SNLRT_INPUT);
    assert_int_equal(snlrt_session_pos(session), 0);
    tokens[3] = 0;
    assert_int_equal(snlrt_session_run(session, tokens, FAKE_CONTEXT, 0, NULL, NULL, &err),
                     SNLRT_OK);
    assert_int_equal(snlrt_session_run(session, tokens, 1, 0, NULL, NULL, &err), SNLRT_INPUT);
    snlrt_session_destroy(session);
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    SnlrtSession *session;
    SnlrtError err;
    SnlrtSessionOptions good = {
        .model = &snlrt_model, .weights = (const uint8_t *)weights, .n_threads = 1};
    SnlrtSessionOptions bad = good;
    bad.graph = FAKE_MODES;
    assert_int_equal(snlrt_session_create(&bad, &session, &err), SNLRT_USAGE);
    bad = good;
    bad.context = FAKE_CONTEXT + 1;
    assert_int_equal(snlrt_session_create(&bad, &session, &err), SNLRT_USAGE);
    assert_non_null(strstr(err.text, "found 201 positions, wanted 1 to 200"));
    bad = good;
    bad.block = FAKE_BLOCK + 1;
    assert_int_equal(snlrt_session_create(&bad, &session, &err), SNLRT_USAGE);
    bad = good;
    bad.n_threads = 0;
    assert_int_equal(snlrt_session_create(&bad, &session, &err), SNLRT_USAGE);
    assert_null(session);
    snlrt_session_destroy(NULL);
}

static void smaller_context_is_the_limit(void **state)
{
    (void)state;
    int32_t tokens[8] = {1};
    SnlrtSession *session;
    SnlrtSessionOptions options = {
        .model = &snlrt_model, .weights = (const uint8_t *)weights, .n_threads = 1, .context = 7};
    assert_int_equal(snlrt_session_create(&options, &session, NULL), SNLRT_OK);
    assert_int_equal(snlrt_session_context(session), 7);
    assert_int_equal(snlrt_session_run(session, tokens, 8, 0, NULL, NULL, NULL), SNLRT_INPUT);
    assert_int_equal(snlrt_session_run(session, tokens, 7, 0, NULL, NULL, NULL), SNLRT_OK);
    snlrt_session_destroy(session);
}

/* Bias of the logits that a run of n tokens at the current position leaves. */
static float bias_after(SnlrtSession *session, const int32_t *tokens, int64_t n, unsigned flags)
{
    assert_int_equal(snlrt_session_run(session, tokens, n, flags, NULL, NULL, NULL), SNLRT_OK);
    int64_t last = snlrt_session_pos(session) - 1;
    float bias = snlrt_session_logits(session)[3] - expected_logit(tokens - last + n - 1, last, 3);
    return bias > 0.5f ? 1.0f : 0.0f;
}

static void prompts_with_a_function_of_their_own_use_it(void **state)
{
    (void)state;
    int32_t tokens[N_TOKENS];
    fill_tokens(tokens);
    for (int64_t block = 1; block <= FAKE_BLOCK; block += 3) {
        SnlrtSessionOptions options = {.model = &snlrt_model,
                                       .weights = (const uint8_t *)weights,
                                       .graph = FAKE_PROMPT,
                                       .n_threads = 2,
                                       .block = block};
        SnlrtSession *session;
        assert_int_equal(snlrt_session_create(&options, &session, NULL), SNLRT_OK);
        assert_true(bias_after(session, tokens, 1, 0) == 1.0f); /* a prompt of one token */
        assert_true(bias_after(session, tokens + 1, 16, 0) == 1.0f);
        assert_true(bias_after(session, tokens + 17, 1, SNLRT_RUN_TEXT) == 0.0f);
        assert_true(bias_after(session, tokens + 18, 7, SNLRT_RUN_TEXT) == 0.0f);
        assert_true(bias_after(session, tokens + 25, 5, SNLRT_RUN_TEXT | SNLRT_RUN_ALL_ROWS) ==
                    0.0f);
        snlrt_session_destroy(session);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_and_team_gives_the_same_rows),
        cmocka_unit_test(choice_of_threads_changes_no_row),
        cmocka_unit_test(jobs_are_shared_by_the_threads_that_decode),
        cmocka_unit_test(trial_of_threads_ends),
        cmocka_unit_test(last_row_alone_is_the_last_row),
        cmocka_unit_test(reset_begins_again),
        cmocka_unit_test(sink_can_stop),
        cmocka_unit_test(what_does_not_fit_is_refused_before_it_runs),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(smaller_context_is_the_limit),
        cmocka_unit_test(prompts_with_a_function_of_their_own_use_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
