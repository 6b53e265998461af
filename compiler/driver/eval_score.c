/* compiler/driver/eval_score.c -- what plans and formats make of a text: perplexity, divergence,
 * agreement, and greedy continuations.
 *
 * All rows go through the text together, a block at a time, so that the sequential logits of one
 * block are all that is kept. Default caches give every split of a text the same result; graphs
 * with a prompt function of their own (prefill=seq) go token by token, as in generation. */
#include "compiler/driver/eval_measure.h"

#include "compiler/driver/progress.h"
#include "ir/base/file.h"
#include "runtime/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 64, GREEDY_PROMPT = 32 };

/* ---- the text -------------------------------------------------------------------------------- */

static SnlStatus encode(const SnlEvalProgram *p, const char *path, const char *text, size_t n,
                        unsigned flags, SnlrtIds *out)
{
    int code = snlrt_tokenizer_encode(p->tokenizer, text, n, flags, out);
    if (code == SNLRT_TOKEN_OK) return SNL_OK;
    return snl_error_at(p->c.diag, code == SNLRT_TOKEN_MACHINE ? SNL_E_MACHINE : SNL_E_FORMAT, path,
                        "%s", snlrt_tokenizer_error(p->tokenizer));
}

SnlStatus snl_eval_text_read(const SnlEvalSet *set, const char *path, int64_t max_tokens,
                             SnlEvalText *out)
{
    const SnlEvalProgram *p = set->row[0].program;
    *out = (SnlEvalText){0};
    SnlFile file;
    SNL_TRY(snl_file_map(p->c.arena, path, p->c.diag, &file));
    SnlStatus status = encode(p, path, "", 0, SNLRT_ENCODE_TEMPLATE, &out->ids);
    out->n_begin = (int64_t)out->ids.n;
    if (status == SNL_OK)
        status = encode(p, path, (const char *)file.bytes, file.size, 0, &out->ids);
    snl_file_unmap(&file);
    SNL_TRY(status);
    int64_t context = snlrt_session_context(p->session[0]), n = (int64_t)out->ids.n - out->n_begin;
    if (max_tokens > 0 && n > max_tokens) out->ids.n = (size_t)(out->n_begin + max_tokens);
    if (context < 2 || out->n_begin >= context)
        return snl_error_at(p->c.diag, SNL_E_USAGE, "--context",
                            "found %lld positions, too few to score a token", (long long)context);
    if (n > 0 && out->ids.n >= 2) return SNL_OK;
    return snl_error_at(p->c.diag, SNL_E_FORMAT, path, "found %lld tokens, too few to score one",
                        (long long)n);
}

void snl_eval_text_deinit(SnlEvalText *text)
{
    snlrt_ids_deinit(&text->ids);
}

/* ---- rows of logits -------------------------------------------------------------------------- */

/* ln of the sum of exponentials. */
static double log_sum(const float *row, int64_t n)
{
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        if ((double)row[i] > max) max = (double)row[i];
    for (int64_t i = 0; i < n; i++) sum += exp((double)row[i] - max);
    return log(sum) + max;
}

/* sum p (ln p - ln q), p of `a` and q of `b` */
static double divergence(const float *a, const float *b, double log_a, double log_b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double ln_p = (double)a[i] - log_a, ln_q = (double)b[i] - log_b;
        sum += exp(ln_p) * (ln_p - ln_q);
    }
    return sum;
}

/* ---- windows --------------------------------------------------------------------------------- */

typedef struct Scorer {
    const SnlEvalSet *set;
    int64_t vocab;
    int32_t *window; /* [context] */
    int64_t n_window, first_scored;
    float *sequential; /* [BLOCK, vocab]: rows of the present block */
    double *log_sums;  /* [BLOCK] of them */
    int32_t *best;     /* [BLOCK] of them */
    int64_t block_begin;
    size_t row; /* of the set */
    SnlEvalResult *results;
} Scorer;

static SnlrtStatus score_row(Scorer *s, int64_t row, const float *logits, SnlrtError *err)
{
    SnlEvalResult *r = &s->results[s->row];
    int64_t at = row - s->block_begin;
    const float *sequential = s->sequential + at * s->vocab;
    double sum = log_sum(logits, s->vocab);
    if (!isfinite(sum))
        return snlrt_fail(err, SNLRT_INPUT,
                          "position %lld: the logits are not numbers (NaN or infinite): see to the "
                          "model's weights, or give them another format (--weights f32)",
                          (long long)row);
    int32_t best = snlrt_argmax(logits, s->vocab);
    if (s->row == 0) {
        memcpy(s->sequential + at * s->vocab, logits, (size_t)s->vocab * sizeof *logits);
        s->log_sums[at] = sum;
        s->best[at] = best;
    }
    r->nll += sum - (double)logits[s->window[row + 1]];
    if (s->row != 0) r->kl += divergence(sequential, logits, s->log_sums[at], sum, s->vocab);
    r->agree += best == s->best[at];
    r->n_scored++;
    return SNLRT_OK;
}

static SnlrtStatus take_block(void *user, const SnlrtBlock *block, SnlrtError *err)
{
    Scorer *s = user;
    for (int64_t i = 0; i < block->n_rows; i++)
        if (block->first_row + i >= s->first_scored)
            SNLRT_TRY(score_row(s, block->first_row + i, block->logits + i * s->vocab, err));
    return SNLRT_OK;
}

static SnlStatus score_block(Scorer *s, const SnlEvalRow *row, int64_t n)
{
    SnlrtError err = {""};
    SnlrtStatus status =
        snlrt_session_run(row->session, s->window + s->block_begin, n,
                          SNLRT_RUN_ALL_ROWS | SNLRT_RUN_TEXT, take_block, s, &err);
    return snl_eval_report(status, &err, row->graph->name, s->set->diag);
}

static SnlStatus score_window(Scorer *s)
{
    const SnlEvalSet *set = s->set;
    for (size_t i = 0; i < set->n_rows; i++) {
        snlrt_session_reset(set->row[i].session);
        s->results[i].n_windows++;
    }
    for (int64_t at = 0; at < s->n_window - 1; at += BLOCK) {
        int64_t n = s->n_window - 1 - at < BLOCK ? s->n_window - 1 - at : BLOCK;
        s->block_begin = at;
        for (s->row = 0; s->row < set->n_rows; s->row++)
            SNL_TRY(score_block(s, &set->row[s->row], n));
    }
    return SNL_OK;
}

/* Windows of the context's size, the beginning token in the place of each one's first; the last one
 * is left out when the text does not fill it, unless it is the only one (as --ppl does). */
static SnlStatus score_windows(Scorer *s, const SnlEvalText *text, bool skip_half)
{
    int64_t context = snlrt_session_context(s->set->row[0].session), n = (int64_t)text->ids.n;
    size_t begin_bytes = (size_t)text->n_begin * sizeof *s->window;
    s->n_window = n < context ? n : context;
    s->first_scored = skip_half ? s->n_window / 2 : text->n_begin ? text->n_begin - 1 : 0;
    SnlProgressBar bar = snl_progress_bar("text");
    SnlStatus status = SNL_OK;
    for (int64_t at = 0; status == SNL_OK && at + s->n_window <= n; at += s->n_window) {
        memcpy(s->window, text->ids.at + at, (size_t)s->n_window * sizeof *s->window);
        if (begin_bytes) memcpy(s->window, text->ids.at, begin_bytes);
        status = score_window(s);
        snl_progress_draw(&bar, at + s->n_window, n / s->n_window * s->n_window);
    }
    snl_progress_end(&bar);
    return status;
}

SnlStatus snl_eval_score(const SnlEvalSet *set, const SnlEvalText *text, bool skip_half,
                         SnlEvalResult *results)
{
    size_t context = (size_t)snlrt_session_context(set->row[0].session);
    Scorer s = {.set = set, .vocab = set->row[0].program->model->vocab, .results = results};
    s.window = SNL_NEW_ARRAY(set->arena, int32_t, context);
    s.sequential = SNL_NEW_ARRAY(set->arena, float, (size_t)(BLOCK * s.vocab));
    s.log_sums = SNL_NEW_ARRAY(set->arena, double, BLOCK);
    s.best = SNL_NEW_ARRAY(set->arena, int32_t, BLOCK);
    return score_windows(&s, text, skip_half);
}

/* ---- greedy texts ---------------------------------------------------------------------------- */

typedef struct Greedy {
    const SnlEvalSet *set;
    int32_t *prompt;
    int64_t n_prompt, length;
    int32_t *sequential; /* [length] */
} Greedy;

/* Tokens that a row of the set generates like row 0, at most `length`; row 0 sets them. */
static SnlStatus continue_text(Greedy *y, size_t row, int64_t *out_equal)
{
    SnlrtSession *session = y->set->row[row].session;
    int64_t vocab = y->set->row[row].program->model->vocab;
    SnlrtError err = {""};
    snlrt_session_reset(session);
    SnlrtStatus status = snlrt_session_run(session, y->prompt, y->n_prompt, 0, NULL, NULL, &err);
    *out_equal = 0;
    for (int64_t i = 0; status == SNLRT_OK && i < y->length; i++) {
        int32_t id = snlrt_argmax(snlrt_session_logits(session), vocab);
        if (row == 0) y->sequential[i] = id;
        if (id != y->sequential[i]) break;
        ++*out_equal;
        if (i + 1 < y->length)
            status = snlrt_session_run(session, &id, 1, SNLRT_RUN_TEXT, NULL, NULL, &err);
    }
    return snl_eval_report(status, &err, y->set->row[row].graph->name, y->set->diag);
}

/* The beginning token, then `n - n_begin` tokens of the text from its token `at` on. */
static void fill_prompt(Greedy *y, const SnlEvalText *text, int64_t at)
{
    memcpy(y->prompt, text->ids.at, (size_t)text->n_begin * sizeof *y->prompt);
    memcpy(y->prompt + text->n_begin, text->ids.at + text->n_begin + at,
           (size_t)(y->n_prompt - text->n_begin) * sizeof *y->prompt);
}

SnlStatus snl_eval_greedy(const SnlEvalSet *set, const SnlEvalText *text, int64_t n_prompts,
                          int64_t length, SnlEvalResult *results)
{
    int64_t context = snlrt_session_context(set->row[0].session),
            n = (int64_t)text->ids.n - text->n_begin;
    int64_t own = n < GREEDY_PROMPT ? n : GREEDY_PROMPT;
    if (own > context / 2 - text->n_begin) own = context / 2 - text->n_begin;
    if (own < 1) own = 1;
    Greedy y = {.set = set, .n_prompt = text->n_begin + own, .length = length};
    if (y.length > context - y.n_prompt + 1) y.length = context - y.n_prompt + 1;
    y.prompt = SNL_NEW_ARRAY(set->arena, int32_t, (size_t)y.n_prompt);
    y.sequential = SNL_NEW_ARRAY(set->arena, int32_t, (size_t)y.length);
    SnlProgressBar bar = snl_progress_bar("greedy");
    SnlStatus status = SNL_OK;
    for (int64_t i = 0; i < n_prompts && status == SNL_OK; i++) {
        fill_prompt(&y, text, (n - own) * i / n_prompts);
        for (size_t row = 0; row < set->n_rows && status == SNL_OK; row++) {
            int64_t equal = 0;
            status = continue_text(&y, row, &equal);
            results[row].greedy_equal += equal;
            results[row].greedy_most += y.length;
            results[row].n_greedy++;
        }
        snl_progress_draw(&bar, i + 1, n_prompts);
    }
    snl_progress_end(&bar);
    return status;
}
