/* runtime/session.c -- memory of a session, and tokens through the steps. */
#include "runtime/session.h"

#include "runtime/chooser.h"
#include "runtime/clock.h"
#include "runtime/memory.h"
#include "runtime/rows.h"

#include <stdlib.h>

enum { PARAM_TOKENS, PARAM_POS, RESULT_LOGITS, RESULT_OUTPUTS };

/* Logits of all rows are taken in blocks of at most this many bytes. */
#define ALL_ROWS_BYTES ((int64_t)64 * 1024 * 1024)

enum { SINGLE_LOOKS = 8 };

struct SnlrtSession {
    const SnlrtModel *model;
    const SnlrtGraph *graph;
    SnlrtPool *pool;
    bool chooses; /* the number of threads that decode */
    SnlrtChooser chooser;
    SnlrtCtx ctx;
    int64_t n_decoders; /* threads that the last token alone ran on */
    int64_t context, block, pos;
    int64_t work_bytes;
    int64_t single_looks; /* left for missing rows of a token alone */
    float *logits; /* [logits_rows, vocab] */
    int64_t logits_rows;
    float *last_logits; /* a row of logits; NULL: none yet */
    float **outputs;    /* [n_outputs] of [block, streams, width] */
};

static SnlrtStatus out_of_memory(SnlrtError *err, const char *what)
{
    return snlrt_fail(err, SNLRT_MACHINE, "out of memory for the %s", what);
}

static SnlrtStatus check_options(const SnlrtSessionOptions *o, SnlrtError *err)
{
    const SnlrtModel *m = o->model;
    if (o->graph < 0 || o->graph >= m->n_graphs)
        return snlrt_fail(err, SNLRT_USAGE, "mode: found number %lld, wanted 0 to %lld",
                          (long long)o->graph, (long long)m->n_graphs - 1);
    if (o->context < 0 || o->context > m->context)
        return snlrt_fail(err, SNLRT_USAGE,
                          "context: found %lld positions, wanted 1 to %lld (compile with a larger "
                          "--context for more)",
                          (long long)o->context, (long long)m->context);
    int64_t block = m->graphs[o->graph].prefill_block;
    if (o->block < 0 || o->block > block)
        return snlrt_fail(err, SNLRT_USAGE, "prefill block: found %lld tokens, wanted 1 to %lld",
                          (long long)o->block, (long long)block);
    return SNLRT_OK;
}

static SnlrtStatus alloc_outputs(SnlrtSession *s, SnlrtError *err)
{
    const SnlrtModel *m = s->model;
    s->ctx.args = calloc((size_t)(RESULT_OUTPUTS + m->n_outputs), sizeof *s->ctx.args);
    s->outputs = calloc((size_t)(m->n_outputs ? m->n_outputs : 1), sizeof *s->outputs);
    if (!s->ctx.args || !s->outputs) return out_of_memory(err, "session");
    for (int64_t i = 0; i < m->n_outputs; i++) {
        const SnlrtOutput *o = &m->outputs[i];
        size_t row = (size_t)(o->streams ? o->streams : 1) * (size_t)o->width;
        s->outputs[i] = calloc((size_t)s->block * row, sizeof(float));
        if (!s->outputs[i]) return out_of_memory(err, "states");
        s->ctx.args[RESULT_OUTPUTS + i].ptr = s->outputs[i];
    }
    return SNLRT_OK;
}

static SnlrtStatus reserve_logits(SnlrtSession *s, int64_t n_rows, SnlrtError *err)
{
    if (n_rows <= s->logits_rows) return SNLRT_OK;
    float *logits = malloc((size_t)n_rows * (size_t)s->model->vocab * sizeof *logits);
    if (!logits) return out_of_memory(err, "logits");
    free(s->logits);
    s->logits = logits;
    s->logits_rows = n_rows;
    s->last_logits = NULL;
    s->ctx.args[RESULT_LOGITS].ptr = logits;
    return SNLRT_OK;
}

static SnlrtStatus alloc_memory(SnlrtSession *s, int64_t n_threads, SnlrtError *err)
{
    const SnlrtGraph *g = s->graph;
    void *region;
    if (g->private_bytes > (INT64_MAX - g->shared_bytes) / n_threads)
        return out_of_memory(err, "workspace");
    SNLRT_TRY(alloc_outputs(s, err));
    SNLRT_TRY(reserve_logits(s, 1, err));
    SNLRT_TRY(snlrt_region_create(s->model->state_bytes, "caches", &region, err));
    s->ctx.state = region;
    s->work_bytes = g->shared_bytes + n_threads * g->private_bytes;
    SNLRT_TRY(snlrt_region_create(s->work_bytes, "workspace", &region, err));
    s->ctx.work = region;
    return SNLRT_OK;
}

static SnlrtStatus session_init(SnlrtSession *s, const SnlrtSessionOptions *o, SnlrtError *err)
{
    s->model = o->model;
    s->graph = &o->model->graphs[o->graph];
    s->context = o->context ? o->context : o->model->context;
    s->block = o->block ? o->block : s->graph->prefill_block;
    SNLRT_TRY(
        snlrt_pool_create(o->n_threads, o->pin_threads ? SNLRT_POOL_PIN : 0, &s->pool, err));
    s->single_looks = SINGLE_LOOKS;
    s->chooses = o->choose_threads;
    s->n_decoders = o->n_threads;
    snlrt_chooser_init(&s->chooser, s->chooses ? o->n_threads : 1);
    s->ctx.weights = o->weights;
    s->ctx.barrier = snlrt_pool_barrier(s->pool);
    return alloc_memory(s, o->n_threads, err);
}

SnlrtStatus snlrt_session_create(const SnlrtSessionOptions *options, SnlrtSession **out,
                                 SnlrtError *err)
{
    *out = NULL;
    SNLRT_TRY(check_options(options, err));
    SnlrtSession *s = calloc(1, sizeof *s);
    if (!s) return out_of_memory(err, "session");
    SnlrtStatus status = session_init(s, options, err);
    if (status == SNLRT_OK)
        *out = s;
    else
        snlrt_session_destroy(s);
    return status;
}

void snlrt_session_destroy(SnlrtSession *s)
{
    if (!s) return;
    snlrt_pool_destroy(s->pool);
    snlrt_region_destroy(s->ctx.state, s->model->state_bytes);
    snlrt_region_destroy(s->ctx.work, s->work_bytes);
    for (int64_t i = 0; s->outputs && i < s->model->n_outputs; i++) free(s->outputs[i]);
    free(s->outputs);
    free(s->ctx.args);
    free(s->logits);
    free(s);
}

typedef struct Call {
    SnlrtStep *step;
    SnlrtCtx *ctx;
} Call;

static void call_step(void *user, int64_t thread)
{
    Call *call = user;
    call->step(call->ctx, thread);
}

static void run_call(SnlrtSession *s, Call *call, int64_t n_threads)
{
    s->ctx.n_threads = n_threads;
    snlrt_pool_run(s->pool, n_threads, call_step, call);
}

/* Nothing but results goes from one step to the next in memory that belongs to a thread, so each
 * may have a team of another size. What other programs take from it is no choice of ours, and the
 * trial waits until they are gone. */
static void run_chosen(SnlrtSession *s, Call *call)
{
    int64_t wanted = snlrt_chooser_threads(&s->chooser);
    int64_t n_threads = snlrt_pool_carriers(s->pool, wanted);
    if (n_threads < wanted && s->chooser.chosen < n_threads) n_threads = s->chooser.chosen;
    bool listens = n_threads == wanted && snlrt_chooser_listens(&s->chooser);
    double begin = listens ? snlrt_seconds() : 0;
    run_call(s, call, n_threads);
    s->n_decoders = n_threads;
    if (n_threads == wanted)
        snlrt_chooser_note(&s->chooser, listens ? snlrt_seconds() - begin : 0);
}

/* With a number of threads that is ours to choose, nobody takes turns. */
static int64_t prompt_threads(const SnlrtSession *s)
{
    int64_t n = snlrt_pool_threads(s->pool);
    return s->chooses ? snlrt_pool_carriers(s->pool, n) : n;
}

typedef struct Rows {
    const SnlrtSession *session;
    const int32_t *tokens;
    int64_t n, n_parts;
} Rows;

static void ask_for_part(void *user, int64_t part)
{
    const Rows *r = user;
    const SnlrtSession *s = r->session;
    snlrt_rows_ask(s->model, s->ctx.weights, r->tokens, r->n, part, r->n_parts);
}

/* From a file that is not in memory the rows of all tokens come together. For a token alone it is
 * looked only as long as some were missing lately. */
static void fetch_rows(SnlrtSession *s, const int32_t *tokens, int64_t n)
{
    if (n == 1 && s->single_looks == 0) return;
    if (!snlrt_rows_missing(s->model, s->ctx.weights, tokens, n)) {
        if (n == 1) s->single_looks--;
        return;
    }
    s->single_looks = SINGLE_LOOKS;
    Rows rows = {s, tokens, n, prompt_threads(s)};
    snlrt_pool_run(s->pool, rows.n_parts, ask_for_part, &rows);
}

/* One token alone is the decode step's, unless prompts have a function of their own and this is
 * one. */
static SnlrtStep *step_for(const SnlrtGraph *graph, int64_t n, unsigned flags)
{
    bool prompt = (graph->flags & SNLRT_GRAPH_PROMPT) && !(flags & SNLRT_RUN_TEXT);
    return n == 1 && !prompt ? graph->decode : graph->prefill;
}

/* One call of a step: T = n tokens, logits of rows [tail_row, n). */
static void run_block(SnlrtSession *s, const int32_t *tokens, int64_t n, int64_t tail_row,
                      unsigned flags)
{
    fetch_rows(s, tokens, n);
    s->ctx.args[PARAM_TOKENS].ptr = (void *)(uintptr_t)tokens; /* steps only read them */
    s->ctx.args[PARAM_POS].index = s->pos;
    s->ctx.n_tokens = n;
    s->ctx.tail_row = tail_row;
    Call call = {step_for(s->graph, n, flags), &s->ctx};
    if (s->chooses && n == 1)
        run_chosen(s, &call);
    else
        run_call(s, &call, prompt_threads(s));
    int64_t n_rows = n - tail_row;
    s->last_logits = n_rows ? s->logits + (n_rows - 1) * s->model->vocab : NULL;
}

static SnlrtStatus check_tokens(const SnlrtSession *s, const int32_t *tokens, int64_t n,
                                SnlrtError *err)
{
    if (n < 1) return snlrt_fail(err, SNLRT_INPUT, "no tokens to process");
    if (n > s->context - s->pos)
        return snlrt_fail(
            err, SNLRT_INPUT,
            "context full: %lld tokens at position %lld, and there are %lld positions",
            (long long)n, (long long)s->pos, (long long)s->context);
    for (int64_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= s->model->vocab)
            return snlrt_fail(
                err, SNLRT_INPUT, "token id %lld (number %lld): wanted 0 to %lld, the vocabulary",
                (long long)tokens[i], (long long)i + 1, (long long)s->model->vocab - 1);
    return SNLRT_OK;
}

/* Tokens per call. */
static int64_t block_of_run(const SnlrtSession *s, int64_t n, unsigned flags)
{
    int64_t block = s->block < n ? s->block : n;
    if ((s->graph->flags & SNLRT_GRAPH_PROMPT) && (flags & SNLRT_RUN_TEXT)) return 1;
    if (!(flags & SNLRT_RUN_ALL_ROWS)) return block;
    int64_t fits = ALL_ROWS_BYTES / (s->model->vocab * (int64_t)sizeof(float));
    if (fits < 1) fits = 1;
    return fits < block ? fits : block;
}

SnlrtStatus snlrt_session_run(SnlrtSession *s, const int32_t *tokens, int64_t n, unsigned flags,
                              SnlrtBlockSink *sink, void *user, SnlrtError *err)
{
    SNLRT_TRY(check_tokens(s, tokens, n, err));
    bool all = flags & SNLRT_RUN_ALL_ROWS;
    int64_t block = block_of_run(s, n, flags);
    if (all) SNLRT_TRY(reserve_logits(s, block, err));
    for (int64_t i = 0; i < n;) {
        int64_t n_tokens = n - i < block ? n - i : block;
        int64_t tail = all ? 0 : i + n_tokens == n ? n_tokens - 1 : n_tokens;
        run_block(s, tokens + i, n_tokens, tail, flags);
        SnlrtBlock done = {.pos = s->pos,
                           .n_tokens = n_tokens,
                           .first_row = s->pos + tail,
                           .n_rows = n_tokens - tail,
                           .logits = s->logits,
                           .outputs = s->outputs};
        s->pos += n_tokens;
        i += n_tokens;
        if (sink) SNLRT_TRY(sink(user, &done, err));
    }
    return SNLRT_OK;
}

float *snlrt_session_logits(SnlrtSession *session)
{
    return session->last_logits;
}

int64_t snlrt_session_pos(const SnlrtSession *session)
{
    return session->pos;
}

int64_t snlrt_session_context(const SnlrtSession *session)
{
    return session->context;
}

int64_t snlrt_session_block(const SnlrtSession *session)
{
    return session->block;
}

int64_t snlrt_session_threads(const SnlrtSession *session)
{
    return session->chooses ? session->chooser.chosen : snlrt_pool_threads(session->pool);
}

int64_t snlrt_session_decoders(const SnlrtSession *session)
{
    return session->n_decoders;
}

void snlrt_session_share(SnlrtSession *session, SnlrtJob *job, void *user)
{
    snlrt_pool_run(session->pool, session->n_decoders, job, user);
}

int64_t snlrt_session_max_threads(const SnlrtSession *session)
{
    return snlrt_pool_threads(session->pool);
}

bool snlrt_session_on_trial(const SnlrtSession *session)
{
    int64_t n = snlrt_chooser_threads(&session->chooser);
    return session->chooser.on_trial && snlrt_pool_carriers(session->pool, n) == n;
}

int64_t snlrt_session_state_bytes(const SnlrtSession *session)
{
    return session->model->state_bytes;
}

int64_t snlrt_session_work_bytes(const SnlrtSession *session)
{
    return session->work_bytes;
}

void snlrt_session_reset(SnlrtSession *session)
{
    session->pos = 0;
    session->last_logits = NULL;
}
