/* runtime/generate.c -- prompt in, text out: the program's main task. */
#include "runtime/program.h"

#include "runtime/output.h"
#include "runtime/states.h"
#include "runtime/stats.h"
#include "runtime/stop.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_PROMPT_NBYTES ((size_t)64 * 1024 * 1024)

/* All that one run of the program needs; zeroed parts may be closed. */
typedef struct Run {
    SnlrtProgram *program;
    SnlrtSession *session;
    SnlrtSampler *sampler;
    SnlrtFile logits, states_file; /* fd -1: not wanted */
    SnlrtStates states;            /* at NULL: not wanted */
    SnlrtIds prompt;
    double asked; /* snlrt_seconds when the answer began to be waited for */
    SnlrtDecoder decoder;
    SnlrtStopper stopper;
    SnlrtText decoded, shown; /* scratch */
    bool at_line_start;       /* nothing, or a line end, was shown last */
    SnlrtStats stats;
} Run;

/* ---- what comes out ---- */

static SnlrtStatus show(Run *run, const char *text, size_t nbytes, SnlrtError *err)
{
    if (nbytes) run->at_line_start = text[nbytes - 1] == '\n';
    return snlrt_program_print(text, nbytes, err);
}

/* Shows what the stopper lets through. */
static SnlrtStatus show_decoded(Run *run, bool last, SnlrtError *err)
{
    run->shown.n = 0;
    SNLRT_TRY(snlrt_stopper_push(&run->stopper, run->decoded.at, run->decoded.n, &run->shown, err));
    if (last) SNLRT_TRY(snlrt_stopper_finish(&run->stopper, &run->shown, err));
    return show(run, run->shown.at, run->shown.n, err);
}

static SnlrtStatus decoder_failed(SnlrtError *err)
{
    return snlrt_fail(err, SNLRT_MACHINE, "out of memory for the text");
}

static SnlrtStatus show_token(Run *run, int32_t id, SnlrtError *err)
{
    if (run->program->options.ids) {
        char text[16];
        int n = snprintf(text, sizeof text, "%s%d", run->stats.n_generated > 1 ? " " : "", id);
        return show(run, text, (size_t)n, err);
    }
    run->decoded.n = 0;
    if (snlrt_decoder_push(&run->decoder, id, &run->decoded)) return decoder_failed(err);
    return show_decoded(run, false, err);
}

/* What was held back; and a line end where a person or a script would miss it. */
static SnlrtStatus show_end(Run *run, SnlrtError *err)
{
    bool ids = run->program->options.ids != NULL;
    if (!ids) {
        run->decoded.n = 0;
        if (snlrt_decoder_finish(&run->decoder, &run->decoded)) return decoder_failed(err);
        SNLRT_TRY(show_decoded(run, true, err));
    }
    if (!run->at_line_start && (ids || isatty(STDOUT_FILENO))) return show(run, "\n", 1, err);
    return SNLRT_OK;
}

/* After every block: logits and states to their files; Ctrl-C. */
static SnlrtStatus block_done(void *user, const SnlrtBlock *block, SnlrtError *err)
{
    Run *run = user;
    size_t row = (size_t)run->program->model->vocab * sizeof(float);
    if (run->logits.fd >= 0)
        SNLRT_TRY(snlrt_file_write(&run->logits, block->logits, (size_t)block->n_rows * row, err));
    if (run->states.at) SNLRT_TRY(snlrt_states_append(&run->states, block, err));
    return snlrt_interrupted() ? SNLRT_STOPPED : SNLRT_OK;
}

static SnlrtStatus process(Run *run, const int32_t *tokens, size_t n, unsigned flags,
                           SnlrtError *err)
{
    if (run->logits.fd >= 0) flags |= SNLRT_RUN_ALL_ROWS;
    for (size_t i = 0; i < n; i++) snlrt_sampler_accept(run->sampler, tokens[i]);
    return snlrt_session_run(run->session, tokens, (int64_t)n, flags, block_done, run, err);
}

/* ---- one text ---- */

static bool is_eos(const SnlrtModel *model, int32_t id)
{
    for (int64_t i = 0; i < model->n_eos; i++)
        if (model->eos[i] == id) return true;
    return false;
}

/* Why the text ends after this token (SNLRT_END_NONE: it does not). */
static SnlrtEnd end_after(const Run *run, int64_t n_predict)
{
    if (snlrt_interrupted()) return SNLRT_END_INTERRUPTED;
    if (run->stopper.stopped) return SNLRT_END_STOP_TEXT;
    if (n_predict >= 0 && run->stats.n_generated >= n_predict) return SNLRT_END_LENGTH;
    if (snlrt_session_pos(run->session) == snlrt_session_context(run->session))
        return SNLRT_END_CONTEXT;
    return SNLRT_END_NONE;
}

/* The chosen token's logit speaks for all: a NaN before the last norm reaches every one of them. */
static SnlrtStatus next_token(Run *run, int32_t *out, SnlrtError *err)
{
    float *logits = snlrt_session_logits(run->session);
    *out = snlrt_sampler_next(run->sampler, logits);
    if (isfinite(logits[*out])) return SNLRT_OK;
    return snlrt_program_not_numbers(snlrt_session_pos(run->session) - 1, err);
}

static SnlrtStatus generate_tokens(Run *run, SnlrtError *err)
{
    const SnlrtOptions *o = &run->program->options;
    SnlrtStats *stats = &run->stats;
    if (o->n_predict == 0) {
        stats->end = SNLRT_END_LENGTH;
        return SNLRT_OK;
    }
    for (;;) {
        int32_t id;
        SNLRT_TRY(next_token(run, &id, err));
        if (!o->ignore_eos && is_eos(run->program->model, id)) {
            stats->end = SNLRT_END_EOS;
            return SNLRT_OK;
        }
        stats->n_generated++;
        SNLRT_TRY(show_token(run, id, err));
        if (stats->n_generated == 1) stats->first_token = snlrt_seconds() - run->asked;
        stats->end = end_after(run, o->n_predict);
        if (stats->end != SNLRT_END_NONE) return SNLRT_OK;
        SNLRT_TRY(process(run, &id, 1, SNLRT_RUN_TEXT, err));
        stats->n_steps++;
    }
}

static SnlrtStatus check_prompt(const Run *run, SnlrtError *err)
{
    int64_t context = snlrt_session_context(run->session);
    if (!run->prompt.n)
        return snlrt_fail(
            err, SNLRT_USAGE,
            "the prompt is empty%s: give one with -p TEXT, -f FILE or --ids \"1 2 3\"",
            run->program->options.ids ? "" : ", and the model has no beginning token");
    if (run->prompt.n > (size_t)context)
        return snlrt_fail(err, SNLRT_INPUT,
                          "the prompt is longer than the context: found %zu tokens, wanted at most "
                          "%lld",
                          run->prompt.n, (long long)context);
    return SNLRT_OK;
}

/* Prompt and continuation; the prompt's ids are in run->prompt. */
static SnlrtStatus run_text(Run *run, bool begins_text, SnlrtError *err)
{
    const SnlrtOptions *o = &run->program->options;
    SNLRT_TRY(check_prompt(run, err));
    snlrt_session_reset(run->session);
    snlrt_decoder_init(&run->decoder, run->program->tokenizer,
                       begins_text ? 0 : SNLRT_DECODE_CONTINUE);
    snlrt_stopper_deinit(&run->stopper);
    snlrt_stopper_init(&run->stopper, o->stops, o->n_stops);
    run->at_line_start = true;
    run->stats = (SnlrtStats){.n_prompt = (int64_t)run->prompt.n};
    double begin = snlrt_seconds();
    SnlrtStatus status = process(run, run->prompt.at, run->prompt.n, 0, err);
    double between = snlrt_seconds();
    run->stats.prompt_seconds = between - begin;
    if (status == SNLRT_OK) status = generate_tokens(run, err);
    run->stats.decode_seconds = snlrt_seconds() - between;
    if (status == SNLRT_STOPPED) {
        run->stats.end = SNLRT_END_INTERRUPTED;
        status = SNLRT_OK;
    }
    SNLRT_TRY(status);
    SNLRT_TRY(show_end(run, err));
    return snlrt_stats_print(run->program, run->session, &run->stats, err);
}

/* ---- where prompts come from ---- */

static SnlrtStatus push_id(SnlrtIds *ids, int32_t id, SnlrtError *err)
{
    if (ids->n == ids->cap) {
        size_t cap = ids->cap ? 2 * ids->cap : 64;
        int32_t *at = realloc(ids->at, cap * sizeof *at);
        if (!at) return snlrt_fail(err, SNLRT_MACHINE, "out of memory for the prompt");
        ids->at = at;
        ids->cap = cap;
    }
    ids->at[ids->n++] = id;
    return SNLRT_OK;
}

/* "1 2 3", also with commas. */
static SnlrtStatus parse_ids(const char *text, SnlrtIds *out, SnlrtError *err)
{
    for (const char *at = text; *(at += strspn(at, " ,\t\r\n"));) {
        char *end;
        errno = 0;
        long long id = strtoll(at, &end, 10);
        if (end == at || errno || id < 0 || id > INT32_MAX || (*end && !strchr(" ,\t\r\n", *end)))
            return snlrt_fail(err, SNLRT_USAGE, "--ids: found '%.40s', wanted token ids", at);
        SNLRT_TRY(push_id(out, (int32_t)id, err));
        at = end;
    }
    return SNLRT_OK;
}

static SnlrtStatus run_prompt_text(Run *run, const char *text, size_t nbytes, SnlrtError *err)
{
    run->prompt.n = 0;
    SNLRT_TRY(
        snlrt_program_encode(run->program, text, nbytes, SNLRT_ENCODE_DEFAULT, &run->prompt, err));
    return run_text(run, nbytes == 0, err);
}

/* With path NULL, of standard input: who writes it may take any time. */
static SnlrtStatus run_prompt_file(Run *run, const char *path, SnlrtError *err)
{
    SnlrtText text = {0};
    SnlrtStatus status = snlrt_read_text(path, MAX_PROMPT_NBYTES, &text, err);
    if (!path) run->asked = snlrt_seconds();
    if (status == SNLRT_OK) status = run_prompt_text(run, text.at, text.n, err);
    snlrt_text_deinit(&text);
    return status;
}

/* At a terminal: each line is a prompt of its own, until Ctrl-D or Ctrl-C. */
static SnlrtStatus run_lines(Run *run, SnlrtError *err)
{
    char *line = NULL;
    size_t cap = 0;
    SnlrtStatus status = SNLRT_OK;
    while (status == SNLRT_OK && !snlrt_interrupted()) {
        fputs("> ", stderr);
        ssize_t n = getline(&line, &cap, stdin);
        if (n < 0) break;
        run->asked = snlrt_seconds();
        if (n && line[n - 1] == '\n') n--;
        if (n) status = run_prompt_text(run, line, (size_t)n, err);
        if (status == SNLRT_INPUT) { /* the next line may be better */
            fprintf(stderr, "%s: %s\n", run->program->name, err->text);
            status = SNLRT_OK;
        }
    }
    fputc('\n', stderr);
    free(line);
    return status;
}

static SnlrtStatus run_prompts(Run *run, SnlrtError *err)
{
    const SnlrtOptions *o = &run->program->options;
    if (o->ids) {
        SNLRT_TRY(parse_ids(o->ids, &run->prompt, err));
        return run_text(run, false, err);
    }
    if (o->prompt) return run_prompt_text(run, o->prompt, strlen(o->prompt), err);
    if (o->prompt_file) return run_prompt_file(run, o->prompt_file, err);
    if (isatty(STDIN_FILENO)) return run_lines(run, err);
    return run_prompt_file(run, NULL, err);
}

/* ---- */

static SnlrtStatus open_run(Run *run, SnlrtError *err)
{
    SnlrtOptions *o = &run->program->options;
    if (o->idle_sampling_option)
        snlrt_program_note(run->program, "--%s changes nothing without --temp above 0",
                           o->idle_sampling_option);
    if (!o->seeded) o->sampling.seed = (uint64_t)(snlrt_seconds() * 1e9);
    if (o->states_file) SNLRT_TRY(snlrt_states_init(run->program->model, &run->states, err));
    SNLRT_TRY(snlrt_program_session(run->program, &run->session, err));
    SNLRT_TRY(snlrt_sampler_create(&o->sampling, run->program->model->vocab, &run->sampler, err));
    if (o->logits_file) SNLRT_TRY(snlrt_file_create(o->logits_file, &run->logits, err));
    if (o->states_file) SNLRT_TRY(snlrt_file_create(o->states_file, &run->states_file, err));
    return SNLRT_OK;
}

static SnlrtStatus close_files(Run *run, SnlrtError *err)
{
    if (run->logits.fd >= 0) SNLRT_TRY(snlrt_file_commit(&run->logits, err));
    if (run->states_file.fd < 0) return SNLRT_OK;
    SNLRT_TRY(snlrt_states_write(&run->states, &run->states_file, err));
    return snlrt_file_commit(&run->states_file, err);
}

static void free_run(Run *run)
{
    snlrt_file_abort(&run->logits);
    snlrt_file_abort(&run->states_file);
    snlrt_states_deinit(&run->states);
    snlrt_stopper_deinit(&run->stopper);
    snlrt_ids_deinit(&run->prompt);
    snlrt_text_deinit(&run->decoded);
    snlrt_text_deinit(&run->shown);
    snlrt_sampler_destroy(run->sampler);
    snlrt_session_destroy(run->session);
}

SnlrtStatus snlrt_program_generate(SnlrtProgram *program, SnlrtError *err)
{
    Run run = {.program = program,
               .logits = {.fd = -1},
               .states_file = {.fd = -1},
               .asked = program->started};
    snlrt_interrupt_catch();
    SnlrtStatus status = open_run(&run, err);
    if (status == SNLRT_OK) status = run_prompts(&run, err);
    if (status == SNLRT_OK) status = close_files(&run, err);
    free_run(&run);
    return status;
}
