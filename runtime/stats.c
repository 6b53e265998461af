/* runtime/stats.c -- statistics on standard error, as text or one line of JSON. */
#include "runtime/stats.h"

#include "runtime/output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const end_words[] = {
#define X(NAME, word, text) word,
    SNLRT_ENDS(X)
#undef X
};
static const char *const end_texts[] = {
#define X(NAME, word, text) text,
    SNLRT_ENDS(X)
#undef X
};

static double rate(int64_t n, double seconds)
{
    return seconds > 0 ? (double)n / seconds : 0.0;
}

static void print_json(FILE *out, const SnlrtProgram *p, const SnlrtSession *session,
                       const SnlrtStats *s)
{
    fputs("{\"model\": ", out);
    snlrt_json_string(out, p->model->name);
    fputs(", \"mode\": ", out);
    snlrt_json_string(out, p->model->graphs[p->graph].name);
    fprintf(out,
            ", \"threads\": %" PRId64 ", \"max_threads\": %" PRId64 ", \"block\": %" PRId64
            ", \"context\": %" PRId64 ", \"seed\": %" PRIu64 ", \"prompt_tokens\": %" PRId64
            ", \"prompt_seconds\": %.6f, "
            "\"prompt_tokens_per_second\": %.2f, \"generated_tokens\": %" PRId64
            ", \"decode_steps\": %" PRId64 ", \"decode_seconds\": %.6f, "
            "\"decode_tokens_per_second\": %.2f, \"first_token_seconds\": %.6f, \"end\": \"%s\", "
            "\"state_bytes\": %" PRId64 ", \"work_bytes\": %" PRId64 "}\n",
            snlrt_session_threads(session), snlrt_session_max_threads(session),
            snlrt_session_block(session), snlrt_session_context(session), p->options.sampling.seed,
            s->n_prompt, s->prompt_seconds, rate(s->n_prompt, s->prompt_seconds), s->n_generated,
            s->n_steps, s->decode_seconds, rate(s->n_steps, s->decode_seconds), s->first_token,
            end_words[s->end], snlrt_session_state_bytes(session),
            snlrt_session_work_bytes(session));
}

/* A result, so one that cannot be written is a failure. */
static SnlrtStatus write_json(const SnlrtProgram *p, const SnlrtSession *session,
                              const SnlrtStats *s, SnlrtError *err)
{
    char *text = NULL;
    size_t nbytes = 0;
    FILE *out = open_memstream(&text, &nbytes);
    if (!out) return snlrt_fail(err, SNLRT_MACHINE, "out of memory");
    print_json(out, p, session, s);
    SnlrtStatus status = fclose(out) == 0
                             ? snlrt_write(STDERR_FILENO, "standard error", text, nbytes, err)
                             : snlrt_fail(err, SNLRT_MACHINE, "out of memory");
    free(text);
    return status;
}

static void print_threads(const SnlrtSession *session)
{
    int64_t n = snlrt_session_threads(session), max = snlrt_session_max_threads(session);
    fprintf(stderr, "%" PRId64 " %s", max, max == 1 ? "thread" : "threads");
    if (n < max) fprintf(stderr, ", decode on %" PRId64 " of them (faster)", n);
}

static void print_memory(const SnlrtSession *session)
{
    fprintf(stderr, "; memory: states %.1f MiB, workspace %.1f MiB",
            (double)snlrt_session_state_bytes(session) / (1 << 20),
            (double)snlrt_session_work_bytes(session) / (1 << 20));
}

static void print_text(const SnlrtProgram *p, const SnlrtSession *session, const SnlrtStats *s)
{
    fprintf(stderr, "prompt: %" PRId64 " tokens, %.3f s, %.1f tokens/s\n", s->n_prompt,
            s->prompt_seconds, rate(s->n_prompt, s->prompt_seconds));
    fprintf(stderr, "generated: %" PRId64 " tokens, %.3f s, %.1f tokens/s; ended: %s\n",
            s->n_generated, s->decode_seconds, rate(s->n_steps, s->decode_seconds),
            end_texts[s->end]);
    if (s->n_generated) fprintf(stderr, "first token after %.1f ms; ", 1e3 * s->first_token);
    print_threads(session);
    if (p->options.sampling.temperature > 0)
        fprintf(stderr, "; seed %" PRIu64, p->options.sampling.seed);
    print_memory(session);
    fputc('\n', stderr);
}

SnlrtStatus snlrt_stats_print(const SnlrtProgram *program, const SnlrtSession *session,
                              const SnlrtStats *stats, SnlrtError *err)
{
    if (stats->end == SNLRT_END_CONTEXT)
        fprintf(stderr, "%s: context full: all %" PRId64 " positions are used; stopped\n",
                program->name, snlrt_session_context(session));
    if (program->options.json) return write_json(program, session, stats, err);
    print_text(program, session, stats);
    return SNLRT_OK;
}
