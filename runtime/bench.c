/* runtime/bench.c -- --bench: how fast this program is on this machine.
 *
 * Decode: 128 tokens, each the most probable one, after a short prompt. Prefill: 512 tokens at
 * once, logits of the last one. Each is run several times after a first look at all weights and the
 * first choice of threads (unless that takes too long), and the median counts.
 *
 * Memory: what decode reads of the weights in a second, beside what a plain reader reads of them on
 * the same threads. Other programs change what memory gives by up to two times within seconds, so
 * the two take turns, token by token. */
#include "runtime/program.h"

#include "runtime/clock.h"
#include "runtime/reader.h"
#include "runtime/sampler.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { N_PROMPT = 4, N_DECODE = 128, N_PREFILL = 512 };
enum { MIN_WARM = 40, MIN_RUNS = 3, MAX_RUNS = 64 };
static const double enough_seconds = 0.3, too_many_seconds = 3.0, turns_seconds = 0.6;

typedef struct Measure {
    int64_t n_tokens;
    int n_runs;
    double seconds[MAX_RUNS]; /* sorted when done */
} Measure;

/* Decode and a reader of the weights in turns. */
typedef struct Turns {
    int64_t n; /* tokens, and readings */
    double decode_seconds, reader_seconds, reader_nbytes;
} Turns;

typedef struct Results {
    Measure decode, prefill;
    Turns turns;
} Results;

typedef struct Bench {
    const SnlrtProgram *program;
    SnlrtSession *session;
    int32_t tokens[N_PREFILL];
    int64_t n_prompt;
} Bench;

/* Measures one run over n tokens. */
typedef SnlrtStatus RunOnce(Bench *bench, int64_t n, double *out_seconds, SnlrtError *err);

static SnlrtStatus begin_decode(Bench *b, SnlrtError *err)
{
    snlrt_session_reset(b->session);
    return snlrt_session_run(b->session, b->tokens, b->n_prompt, 0, NULL, NULL, err);
}

static SnlrtStatus decode_token(Bench *b, SnlrtError *err)
{
    int32_t token = snlrt_argmax(snlrt_session_logits(b->session), b->program->model->vocab);
    SNLRT_TRY(snlrt_session_run(b->session, &token, 1, SNLRT_RUN_TEXT, NULL, NULL, err));
    return snlrt_interrupted() ? SNLRT_STOPPED : SNLRT_OK;
}

static SnlrtStatus decode_once(Bench *b, int64_t n, double *out_seconds, SnlrtError *err)
{
    SNLRT_TRY(begin_decode(b, err));
    double begin = snlrt_seconds();
    for (int64_t i = 0; i < n; i++) SNLRT_TRY(decode_token(b, err));
    *out_seconds = snlrt_seconds() - begin;
    return SNLRT_OK;
}

/* Until the number of threads is chosen, which takes the more steps the more threads there are; n
 * tokens fit into the context. */
static SnlrtStatus warm_up(Bench *b, int64_t n, SnlrtError *err)
{
    double begin = snlrt_seconds();
    for (int64_t i = 0; i < MIN_WARM || snlrt_session_on_trial(b->session); i++) {
        if (i && snlrt_seconds() - begin >= too_many_seconds) break;
        if (i % n == 0) SNLRT_TRY(begin_decode(b, err));
        SNLRT_TRY(decode_token(b, err));
    }
    return SNLRT_OK;
}

static SnlrtStatus stop_if_interrupted(void *user, const SnlrtBlock *block, SnlrtError *err)
{
    (void)user, (void)block, (void)err;
    return snlrt_interrupted() ? SNLRT_STOPPED : SNLRT_OK;
}

static SnlrtStatus prefill_once(Bench *b, int64_t n, double *out_seconds, SnlrtError *err)
{
    snlrt_session_reset(b->session);
    double begin = snlrt_seconds();
    SNLRT_TRY(snlrt_session_run(b->session, b->tokens, n, 0, stop_if_interrupted, NULL, err));
    *out_seconds = snlrt_seconds() - begin;
    return SNLRT_OK;
}

static int compare_seconds(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static SnlrtStatus measure(Bench *b, RunOnce *run, int64_t n, Measure *out, SnlrtError *err)
{
    *out = (Measure){.n_tokens = n};
    double total = 0;
    while (out->n_runs < MAX_RUNS && total < too_many_seconds &&
           (out->n_runs < MIN_RUNS || total < enough_seconds)) {
        double *seconds = &out->seconds[out->n_runs];
        SNLRT_TRY(run(b, n, seconds, err));
        total += *seconds;
        out->n_runs++;
    }
    qsort(out->seconds, (size_t)out->n_runs, sizeof *out->seconds, compare_seconds);
    return SNLRT_OK;
}

/* ---- decode beside a reader ------------------------------------------------------------------ */

/* One reading of what every token reads, in equal parts. */
typedef struct Reading {
    const uint8_t *weights;
    int64_t part_nbytes;
} Reading;

static void read_part(void *user, int64_t part)
{
    const Reading *r = user;
    volatile uint64_t sum = snlrt_read_streams(r->weights + part * r->part_nbytes, r->part_nbytes);
    (void)sum; /* volatile: it is read for its own sake */
}

/* The number of threads that decode may be another after every token. */
static void read_weights(Bench *b, Turns *inout)
{
    int64_t n = snlrt_session_decoders(b->session), nbytes = b->program->model->swept_bytes;
    Reading reading = {b->program->payload.weights,
                       nbytes / n / SNLRT_READER_STEP * SNLRT_READER_STEP};
    snlrt_session_share(b->session, read_part, &reading);
    inout->reader_nbytes += (double)(reading.part_nbytes * n);
}

static SnlrtStatus take_turn(Bench *b, Turns *inout, SnlrtError *err)
{
    double begin = snlrt_seconds();
    SNLRT_TRY(decode_token(b, err));
    double middle = snlrt_seconds();
    read_weights(b, inout);
    inout->decode_seconds += middle - begin;
    inout->reader_seconds += snlrt_seconds() - middle;
    inout->n++;
    return SNLRT_OK;
}

/* Over the same positions as decode alone, again and again; a pass is left unfinished only where it
 * takes too long. */
static SnlrtStatus take_turns(Bench *b, int64_t n, Turns *out, SnlrtError *err)
{
    *out = (Turns){0};
    double begin = snlrt_seconds();
    do {
        SNLRT_TRY(begin_decode(b, err));
        for (int64_t i = 0; i < n; i++) {
            SNLRT_TRY(take_turn(b, out, err));
            if (snlrt_seconds() - begin > too_many_seconds) return SNLRT_OK;
        }
    } while (snlrt_seconds() - begin < turns_seconds);
    return SNLRT_OK;
}

static double gb_per_second(double nbytes, double seconds)
{
    return seconds > 0 ? 1e-9 * nbytes / seconds : 0;
}

/* Of the weights that a token reads. */
static double decode_rate(const Bench *b, const Turns *t)
{
    int64_t nbytes = b->program->model->graphs[b->program->graph].decode_bytes;
    return gb_per_second((double)(nbytes * t->n), t->decode_seconds);
}

/* 0: too small a model. */
static double reader_rate(const Turns *t)
{
    return gb_per_second(t->reader_nbytes, t->reader_seconds);
}

/* ---- results --------------------------------------------------------------------------------- */

static double tokens_per_second(const Measure *m, int i_run)
{
    double seconds = m->seconds[i_run];
    return seconds > 0 ? (double)m->n_tokens / seconds : 0;
}

static double median(const Measure *m)
{
    return tokens_per_second(m, m->n_runs / 2);
}

static void print_measure(FILE *out, const char *name, const Measure *m, int64_t n_barriers)
{
    fprintf(out,
            "\"%s\": {\"tokens\": %" PRId64 ", \"runs\": %d, \"tokens_per_second\": %.3f, "
            "\"slowest\": %.3f, \"fastest\": %.3f, \"barriers_per_call\": %" PRId64 "}",
            name, m->n_tokens, m->n_runs, median(m), tokens_per_second(m, m->n_runs - 1),
            tokens_per_second(m, 0), n_barriers);
}

static void print_turns(FILE *out, const Bench *b, const Turns *t)
{
    int64_t nbytes = b->program->model->graphs[b->program->graph].decode_bytes;
    fprintf(out,
            "\"memory\": {\"turns\": %" PRId64 ", \"weight_bytes_per_token\": %" PRId64
            ", \"decode_gb_per_second\": %.3f, \"reader_gb_per_second\": %.3f}",
            t->n, nbytes, decode_rate(b, t), reader_rate(t));
}

static void print_json(FILE *out, const Bench *b, const Results *r)
{
    const SnlrtProgram *p = b->program;
    const SnlrtGraph *graph = &p->model->graphs[p->graph];
    fputs("{\"model\": ", out);
    snlrt_json_string(out, p->model->name);
    fputs(", \"mode\": ", out);
    snlrt_json_string(out, graph->name);
    fputs(", \"weight_format\": ", out);
    snlrt_json_string(out, p->model->weight_format);
    fprintf(out,
            ", \"threads\": %" PRId64 ", \"max_threads\": %" PRId64 ", \"context\": %" PRId64
            ", \"block\": %" PRId64 ", \"weight_bytes\": %" PRIu64 ", \"state_bytes\": %" PRId64
            ", \"work_bytes\": %" PRId64 ", \"huge_page_bytes\": %zu, ",
            snlrt_session_threads(b->session), snlrt_session_max_threads(b->session),
            snlrt_session_context(b->session), snlrt_session_block(b->session),
            p->payload.footer.weights_bytes, snlrt_session_state_bytes(b->session),
            snlrt_session_work_bytes(b->session), p->payload.copied_nbytes);
    print_measure(out, "decode", &r->decode, graph->decode_barriers);
    fputs(", ", out);
    print_measure(out, "prefill", &r->prefill, graph->prefill_barriers);
    fputs(", ", out);
    print_turns(out, b, &r->turns);
    fputs("}\n", out);
}

static void print_text(FILE *out, const Bench *b, const Results *r)
{
    fprintf(out, "decode %.2f tokens/s\nprefill %.2f tokens/s\n", median(&r->decode),
            median(&r->prefill));
    double decode = decode_rate(b, &r->turns), reader = reader_rate(&r->turns);
    if (reader <= 0) return;
    fprintf(out,
            "memory %.1f GB/s of weights in decode; a plain reader of them, in turns: %.1f GB/s "
            "(%.0f %%)\n",
            decode, reader, 100 * decode / reader);
}

static SnlrtStatus print_results(const Bench *b, const Results *r, SnlrtError *err)
{
    char *text = NULL;
    size_t nbytes = 0;
    FILE *out = open_memstream(&text, &nbytes);
    if (!out) return snlrt_fail(err, SNLRT_MACHINE, "out of memory");
    if (b->program->options.json)
        print_json(out, b, r);
    else
        print_text(out, b, r);
    SnlrtStatus status = fclose(out) == 0 ? snlrt_program_print(text, nbytes, err)
                                          : snlrt_fail(err, SNLRT_MACHINE, "out of memory");
    free(text);
    return status;
}

static SnlrtStatus run_bench(Bench *b, SnlrtError *err)
{
    int64_t context = snlrt_session_context(b->session);
    if (context < 2)
        return snlrt_fail(err, SNLRT_USAGE,
                          "--bench: found a context of 1 position, wanted 2 or more");
    b->n_prompt = context - 1 < N_PROMPT ? context - 1 : N_PROMPT;
    int64_t n_decode = context - b->n_prompt < N_DECODE ? context - b->n_prompt : N_DECODE;
    int64_t n_prefill = context < N_PREFILL ? context : N_PREFILL;
    if (n_decode < N_DECODE || n_prefill < N_PREFILL)
        snlrt_program_note(b->program,
                           "the context of %lld positions allows %lld tokens of decode and %lld of "
                           "prefill",
                           (long long)context, (long long)n_decode, (long long)n_prefill);
    for (int64_t i = 0; i < N_PREFILL; i++)
        b->tokens[i] = (int32_t)((1 + i * 7919) % b->program->model->vocab);
    SNLRT_TRY(warm_up(b, n_decode, err));
    Results results;
    SNLRT_TRY(measure(b, decode_once, n_decode, &results.decode, err));
    SNLRT_TRY(take_turns(b, n_decode, &results.turns, err));
    SNLRT_TRY(measure(b, prefill_once, n_prefill, &results.prefill, err));
    return print_results(b, &results, err);
}

SnlrtStatus snlrt_program_bench(SnlrtProgram *program, SnlrtError *err)
{
    Bench bench = {.program = program};
    snlrt_interrupt_catch();
    SNLRT_TRY(snlrt_program_session(program, &bench.session, err));
    SnlrtStatus status = run_bench(&bench, err);
    snlrt_session_destroy(bench.session);
    return status;
}
