/* runtime/ppl.c -- --ppl: perplexity of a text under the compiled program.
 *
 * The text's tokens, behind the beginning-of-sequence token when the tokenizer adds one, are cut
 * into windows of C tokens (the context) that do not overlap; the beginning token takes the place
 * of each window's first token. Caches are reset between windows, and every token of a window but
 * its first is scored, so that
 *
 *     perplexity = exp(- mean over scored tokens of ln p(token | the window before it))
 *
 * --ppl-skip-half scores the second half of each window only. Tokens that do not fill a last window
 * are left out, unless it is the only one. These are the windows of llama.cpp's perplexity tool,
 * and with --ppl-skip-half its numbers. */
#include "runtime/program.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT_NBYTES ((size_t)1024 * 1024 * 1024)

typedef struct Score {
    const SnlrtProgram *program;
    SnlrtSession *session;
    SnlrtIds begin;  /* ids that the tokenizer puts before a text */
    int32_t *window; /* [context] */
    int64_t n_window;
    int64_t first_scored; /* rows [first_scored, n_window - 1) are scored */
    double nll;
    int64_t n_scored, n_windows, n_tokens;
} Score;

/* -ln softmax(logits)[target] */
static double row_nll(const float *logits, int64_t vocab, int32_t target)
{
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < vocab; i++)
        if ((double)logits[i] > max) max = (double)logits[i];
    for (int64_t i = 0; i < vocab; i++) sum += exp((double)logits[i] - max);
    return log(sum) + max - (double)logits[target];
}

static SnlrtStatus score_block(void *user, const SnlrtBlock *block, SnlrtError *err)
{
    Score *s = user;
    int64_t vocab = s->program->model->vocab;
    for (int64_t i = 0; i < block->n_rows; i++) {
        int64_t row = block->first_row + i;
        if (row < s->first_scored) continue;
        double nll = row_nll(block->logits + i * vocab, vocab, s->window[row + 1]);
        if (!isfinite(nll)) /* windows are of one length */
            return snlrt_program_not_numbers((s->n_windows - 1) * s->n_window + row, err);
        s->nll += nll;
        s->n_scored++;
    }
    return snlrt_interrupted() ? SNLRT_STOPPED : SNLRT_OK;
}

/* Scores the window of n tokens that begins at `tokens`. */
static SnlrtStatus score_window(Score *s, const int32_t *tokens, int64_t n, SnlrtError *err)
{
    int64_t n_begin = (int64_t)s->begin.n;
    memcpy(s->window, tokens, (size_t)n * sizeof *s->window);
    if (n_begin) memcpy(s->window, s->begin.at, s->begin.n * sizeof *s->window);
    s->n_window = n;
    s->first_scored = s->program->options.skip_half ? n / 2 : n_begin ? n_begin - 1 : 0;
    s->n_windows++;
    snlrt_session_reset(s->session);
    return snlrt_session_run(s->session, s->window, n - 1, SNLRT_RUN_ALL_ROWS | SNLRT_RUN_TEXT,
                             score_block, s, err);
}

static SnlrtStatus score_tokens(Score *s, const SnlrtIds *ids, SnlrtError *err)
{
    int64_t context = snlrt_session_context(s->session), n_begin = (int64_t)s->begin.n;
    if (context < 2 || n_begin >= context)
        return snlrt_fail(err, SNLRT_USAGE, "--ppl: a context of %" PRId64 " is too small",
                          context);
    s->window = malloc((size_t)context * sizeof *s->window);
    if (!s->window) return snlrt_fail(err, SNLRT_MACHINE, "out of memory");
    s->n_tokens = (int64_t)ids->n;
    int64_t n = s->n_tokens < context ? s->n_tokens : context;
    for (int64_t at = 0; n >= 2 && n > n_begin && at + n <= s->n_tokens; at += n)
        SNLRT_TRY(score_window(s, ids->at + at, n, err));
    if (!s->n_scored)
        return snlrt_fail(err, SNLRT_INPUT, "%s: found %" PRId64 " tokens, too few to score one",
                          s->program->options.ppl_file, s->n_tokens - n_begin);
    return SNLRT_OK;
}

static SnlrtStatus print_score(const Score *s, SnlrtError *err)
{
    double mean = s->nll / (double)s->n_scored;
    char text[512];
    int n;
    if (s->program->options.json)
        n = snprintf(text, sizeof text,
                     "{\"perplexity\": %.9g, \"mean_nll\": %.9g, \"scored\": %" PRId64
                     ", \"tokens\": %" PRId64 ", \"windows\": %" PRId64 ", \"window\": %" PRId64
                     ", \"skip_half\": %s}\n",
                     exp(mean), mean, s->n_scored, s->n_tokens, s->n_windows, s->n_window,
                     s->program->options.skip_half ? "true" : "false");
    else
        n = snprintf(text, sizeof text, "perplexity %.4f\n", exp(mean));
    SNLRT_TRY(snlrt_program_print(text, (size_t)n, err));
    if (!s->program->options.json)
        fprintf(stderr,
                "%" PRId64 " windows of %" PRId64 " tokens, %" PRId64 " of %" PRId64
                " tokens scored%s, mean negative log-likelihood %.6f\n",
                s->n_windows, s->n_window, s->n_scored, s->n_tokens,
                s->program->options.skip_half ? " (second halves)" : "", mean);
    return SNLRT_OK;
}

static SnlrtStatus run_ppl(Score *s, SnlrtText *text, SnlrtIds *ids, SnlrtError *err)
{
    const SnlrtProgram *p = s->program;
    if (p->model->graphs[p->graph].flags & SNLRT_GRAPH_WARM)
        return snlrt_fail(err, SNLRT_USAGE,
                          "--ppl: mode %s starts each token from the states of the one before "
                          "(init = warm), so a text has no perplexity of its own under it",
                          p->model->graphs[p->graph].name);
    SNLRT_TRY(snlrt_read_text(p->options.ppl_file, MAX_TEXT_NBYTES, text, err));
    SNLRT_TRY(snlrt_program_session(p, &s->session, err));
    SNLRT_TRY(snlrt_program_encode(p, "", 0, SNLRT_ENCODE_TEMPLATE, &s->begin, err));
    SNLRT_TRY(snlrt_program_encode(p, "", 0, SNLRT_ENCODE_TEMPLATE, ids, err));
    SNLRT_TRY(snlrt_program_encode(p, text->at, text->n, 0, ids, err));
    snlrt_text_deinit(text);
    *text = (SnlrtText){0};
    SNLRT_TRY(score_tokens(s, ids, err));
    return print_score(s, err);
}

SnlrtStatus snlrt_program_ppl(SnlrtProgram *program, SnlrtError *err)
{
    Score score = {.program = program};
    SnlrtText text = {0};
    SnlrtIds ids = {0};
    snlrt_interrupt_catch();
    SnlrtStatus status = run_ppl(&score, &text, &ids, err);
    if (status == SNLRT_STOPPED)
        snlrt_program_note(program, "interrupted after %lld windows", (long long)score.n_windows);
    snlrt_text_deinit(&text);
    snlrt_ids_deinit(&ids);
    snlrt_ids_deinit(&score.begin);
    free(score.window);
    snlrt_session_destroy(score.session);
    return status;
}
