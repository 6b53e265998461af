/* compiler/driver/eval_time.c -- how long rows take, side by side: every round runs each of them
 * once, so that what the machine does meanwhile meets all of them; the median of the rounds counts.
 */
#include "compiler/driver/eval_measure.h"

#include "compiler/driver/progress.h"
#include "compiler/driver/times.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_PROMPT = 8, N_DECODE = 96, N_PREFILL = 512, MIN_ROUNDS = 3, MAX_ROUNDS = 25 };
static const double most_seconds = 8.0; /* for all rounds, if MIN_ROUNDS allow it */

typedef struct Timer {
    const SnlEvalSet *set;
    const int32_t *ids;
    int64_t n_prompt, n_decode, n_prefill;
    double (*decode)[MAX_ROUNDS], (*prefill)[MAX_ROUNDS]; /* by row */
} Timer;

/* The threads of the row before give up waiting for work. */
static void let_others_sleep(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static SnlrtStatus run(Timer *t, size_t row, int64_t n, unsigned flags, SnlrtError *err)
{
    SnlrtSession *session = t->set->row[row].session;
    return snlrt_session_run(session, t->ids + snlrt_session_pos(session), n, flags, NULL, NULL,
                             err);
}

/* The same tokens for every row: those of the text. */
static SnlrtStatus decode(Timer *t, size_t row, double *out, SnlrtError *err)
{
    snlrt_session_reset(t->set->row[row].session);
    SNLRT_TRY(run(t, row, t->n_prompt, 0, err));
    double begin = snl_seconds();
    for (int64_t i = 0; i < t->n_decode; i++) SNLRT_TRY(run(t, row, 1, SNLRT_RUN_TEXT, err));
    *out = (snl_seconds() - begin) / (double)t->n_decode;
    return SNLRT_OK;
}

static SnlrtStatus prefill(Timer *t, size_t row, double *out, SnlrtError *err)
{
    snlrt_session_reset(t->set->row[row].session);
    double begin = snl_seconds();
    SNLRT_TRY(run(t, row, t->n_prefill, 0, err));
    *out = (snl_seconds() - begin) / (double)t->n_prefill;
    return SNLRT_OK;
}

static SnlStatus round_of_all(Timer *t, int round)
{
    for (size_t row = 0; row < t->set->n_rows; row++) {
        SnlrtError err = {""};
        let_others_sleep();
        SnlrtStatus status = decode(t, row, &t->decode[row][round], &err);
        if (status == SNLRT_OK) status = prefill(t, row, &t->prefill[row][round], &err);
        SNL_TRY(snl_eval_report(status, &err, t->set->row[row].graph->name, t->set->diag));
    }
    return SNL_OK;
}

static SnlStatus all_rounds(Timer *t, int *out_rounds)
{
    SnlProgressBar bar = snl_progress_bar("time");
    SnlStatus status = round_of_all(t, 0); /* brings in pages; forgotten */
    double begin = snl_seconds();
    int n = 0;
    while (status == SNL_OK && n < MAX_ROUNDS) {
        double spent = snl_seconds() - begin;
        if (n >= MIN_ROUNDS && spent + spent / n > most_seconds) break;
        status = round_of_all(t, n++);
        snl_progress_draw(&bar, n, MAX_ROUNDS);
    }
    snl_progress_end(&bar);
    *out_rounds = n;
    return status;
}

/* Tokens to run over, repeated when the text is short. */
static const int32_t *tokens_of(const SnlEvalSet *set, const SnlEvalText *text, int64_t n)
{
    int32_t *ids = SNL_NEW_ARRAY(set->arena, int32_t, (size_t)n);
    for (int64_t i = 0; i < n; i++) ids[i] = text->ids.at[(size_t)i % text->ids.n];
    return ids;
}

SnlStatus snl_eval_time(const SnlEvalSet *set, const SnlEvalText *text, SnlEvalResult *results)
{
    int64_t context = snlrt_session_context(set->row[0].session);
    Timer t = {.set = set, .ids = tokens_of(set, text, context)};
    t.n_prompt = context - 1 < N_PROMPT ? context - 1 : N_PROMPT;
    t.n_decode = context - t.n_prompt < N_DECODE ? context - t.n_prompt : N_DECODE;
    t.n_prefill = context < N_PREFILL ? context : N_PREFILL;
    t.decode = snl_arena_array(set->arena, set->n_rows, sizeof *t.decode);
    t.prefill = snl_arena_array(set->arena, set->n_rows, sizeof *t.prefill);
    int rounds = 0;
    SNL_TRY(all_rounds(&t, &rounds));
    for (size_t row = 0; row < set->n_rows; row++) {
        results[row].decode_seconds = snl_median(t.decode[row], (size_t)rounds);
        results[row].prefill_seconds = snl_median(t.prefill[row], (size_t)rounds);
        results[row].n_decode = t.n_decode;
        results[row].n_prefill = t.n_prefill;
        results[row].n_runs = rounds;
    }
    return SNL_OK;
}
