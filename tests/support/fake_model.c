/* tests/support/fake_model.c -- the hand-written model of fake_model.h. Linked with the runtime's
 * archive it is a program that lacks only its payload (fake_payload.c appends one). */
#include "fake_model.h"

#include <math.h>
#include <stddef.h>
#include <time.h>

#ifndef FAKE_FEATURES
#define FAKE_FEATURES ""
#endif
#ifndef FAKE_OUTPUTS
#define FAKE_OUTPUTS 2
#endif

enum { SHARED_BYTES = 1024, PRIVATE_BYTES = 64 };

static int64_t share(int64_t n, int64_t part, int64_t n_parts)
{
    return n * part / n_parts;
}

/* Rows of this thread: tokens into the cache, states to the outputs. */
static void write_rows(SnlrtCtx *ctx, int64_t thread)
{
    const int32_t *tokens = ctx->args[0].ptr;
    int64_t pos = ctx->args[1].index;
    float *cache = (float *)ctx->state;
    for (int64_t t = share(ctx->n_tokens, thread, ctx->n_threads);
         t < share(ctx->n_tokens, thread + 1, ctx->n_threads); t++) {
        cache[pos + t] = (float)tokens[t];
        if (FAKE_OUTPUTS == 0) continue;
        for (int64_t i = 0; i < 4; i++)
            ((float *)ctx->args[3].ptr)[t * 4 + i] = (float)(10 * (pos + t) + i);
        for (int64_t i = 0; i < 6; i++)
            ((float *)ctx->args[4].ptr)[t * 6 + i] =
                (float)(100 * (pos + t) + 10 * (i / 3) + i % 3);
    }
}

/* Workspace row t: sum of all tokens up to it. Each thread adds up in its private part first. */
static void sum_rows(SnlrtCtx *ctx, int64_t thread)
{
    const float *cache = (const float *)ctx->state;
    double *own = (double *)(void *)(ctx->work + SHARED_BYTES + thread * PRIVATE_BYTES);
    double *sums = (double *)(void *)ctx->work;
    for (int64_t t = thread; t < ctx->n_tokens; t += ctx->n_threads) {
        *own = 0;
        for (int64_t i = 0; i <= ctx->args[1].index + t; i++) *own += (double)cache[i];
        sums[t] = *own;
    }
}

static void write_logits(SnlrtCtx *ctx, int64_t thread, float bias)
{
    const double *sums = (const double *)(const void *)ctx->work;
    const int32_t *weights = (const int32_t *)(const void *)ctx->weights;
    float *logits = ctx->args[2].ptr;
    for (int64_t t = ctx->tail_row; t < ctx->n_tokens; t++) {
        int32_t wanted = weights[1 + (ctx->args[1].index + t + 1) % weights[0]];
        for (int64_t v = share(FAKE_VOCAB, thread, ctx->n_threads);
             v < share(FAKE_VOCAB, thread + 1, ctx->n_threads); v++) {
            int64_t mixed = (int64_t)sums[t] * (v + 1) % 97;
            logits[(t - ctx->tail_row) * FAKE_VOCAB + v] =
                (v == wanted ? 20.0f : 0.0f) + (float)mixed / 97.0f + bias;
        }
    }
}

static void step(SnlrtCtx *ctx, int64_t thread, float bias)
{
    write_rows(ctx, thread);
    snlrt_barrier(ctx, thread);
    sum_rows(ctx, thread);
    snlrt_barrier(ctx, thread);
    write_logits(ctx, thread, bias);
}

static void seq_step(SnlrtCtx *ctx, int64_t thread)
{
    step(ctx, thread, 0.0f);
}

static void alt_step(SnlrtCtx *ctx, int64_t thread)
{
    step(ctx, thread, 1.0f);
}

static void slow_step(SnlrtCtx *ctx, int64_t thread)
{
    if (thread == 0) nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    step(ctx, thread, 0.0f);
}

static void nan_step(SnlrtCtx *ctx, int64_t thread)
{
    step(ctx, thread, ctx->args[1].index < FAKE_BLOCK ? 0.0f : NAN);
}

static const SnlrtGraph graphs[FAKE_MODES] = {
#define GRAPH(mode, decode_step, prefill_step, what, bits)                                         \
    {                                                                                              \
        .name = mode, .plan = "seq", .exactness = what, .decode = decode_step,                     \
        .prefill = prefill_step, .prefill_block = FAKE_BLOCK, .shared_bytes = SHARED_BYTES,        \
        .private_bytes = PRIVATE_BYTES, .decode_barriers = 2, .prefill_barriers = 2, .flags = bits \
    }
    [FAKE_SEQ] = GRAPH("seq", seq_step, seq_step, "exact", 0),
    [FAKE_ALT] = GRAPH("alt", alt_step, alt_step, "rounds(\"test\")", 0),
    [FAKE_SLOW] = GRAPH("slow", slow_step, slow_step, "exact", 0),
    [FAKE_PROMPT] = GRAPH("prompt", seq_step, alt_step, "exact", SNLRT_GRAPH_PROMPT),
    [FAKE_WARM] = GRAPH("warm", seq_step, alt_step, "exact", SNLRT_GRAPH_PROMPT | SNLRT_GRAPH_WARM),
    [FAKE_NAN] = GRAPH("nan", nan_step, nan_step, "exact", 0),
};

static const SnlrtOutput outputs[] = {{.name = "h.0", .streams = 0, .width = 4},
                                      {.name = "h.1", .streams = 2, .width = 3}};
static const int64_t eos[] = {0, 3};

extern const SnlrtModel snlrt_model;
const SnlrtModel snlrt_model = {.abi_version = SNLRT_ABI_VERSION,
                                .name = "fake \"model\"",
                                .family = "test",
                                .compiler = "by hand",
                                .target = "this machine",
                                .cpu_features = FAKE_FEATURES,
                                .weight_format = "script",
                                .vocab = FAKE_VOCAB,
                                .context = FAKE_CONTEXT,
                                .trained_context = 1000,
                                .n_params = 1,
                                .n_eos = 2,
                                .eos = eos,
                                .state_bytes = (FAKE_CONTEXT * 4 + 63) / 64 * 64,
                                .n_graphs = FAKE_MODES,
                                .graphs = graphs,
                                .n_outputs = FAKE_OUTPUTS,
                                .outputs = FAKE_OUTPUTS ? outputs : NULL,
                                .payload_id = FAKE_ID};
