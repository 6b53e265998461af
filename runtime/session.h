/* runtime/session.h -- one sequence in the making: threads, caches, workspace, position.
 *
 * Library form: never prints, never exits. All memory is taken in create (the caches' pages when
 * they are first used), except room for the logits of several rows, which the first call that wants
 * them takes. One thread at a time per session. */
#ifndef SNLRT_SESSION_H
#define SNLRT_SESSION_H

#include "runtime/abi.h"
#include "runtime/pool.h"
#include "runtime/status.h"

#include <stdbool.h>

typedef struct SnlrtSession SnlrtSession;

typedef struct SnlrtSessionOptions {
    const SnlrtModel *model; /* checked (snlrt_model_check); must outlive the session */
    const uint8_t *weights;  /* 64-byte aligned */
    int64_t graph;           /* index of the mode */
    int64_t n_threads;
    bool choose_threads; /* decode on fewer of them where that is faster (runtime/chooser.h), and
                          * everything where others have the processors (runtime/crowd.h) */
    bool pin_threads;    /* the caller's thread, too, until the session ends */
    int64_t context; /* positions, up to the compiled ones; 0: those */
    int64_t block;   /* tokens per prefill call, up to the compiled block; 0: that; 1: one by one */
} SnlrtSessionOptions;

SnlrtStatus snlrt_session_create(const SnlrtSessionOptions *options, SnlrtSession **out,
                                 SnlrtError *err);
void snlrt_session_destroy(SnlrtSession *session); /* NULL is fine */

/* What one call of a step computed. Valid until the sink returns. */
typedef struct SnlrtBlock {
    int64_t pos, n_tokens;     /* positions [pos, pos + n_tokens) */
    int64_t first_row, n_rows; /* logits of positions [first_row, first_row + n_rows) */
    const float *logits;       /* [n_rows, vocab] */
    float *const *outputs;     /* [n_outputs] of [n_tokens, (streams,) width] */
} SnlrtBlock;
/* Anything but SNLRT_OK ends the run with that status. */
typedef SnlrtStatus SnlrtBlockSink(void *user, const SnlrtBlock *block, SnlrtError *err);

enum {
    SNLRT_RUN_ALL_ROWS = 1, /* logits of every token, not only of the last one */
    /* The tokens are text whose every token counts (generated, or scored), not a prompt. The same
     * unless the mode has another function for prompts (SNLRT_GRAPH_PROMPT): then they go one by
     * one. */
    SNLRT_RUN_TEXT = 2
};

/* Processes n >= 1 tokens at the current position, block by block, each followed by sink (may be
 * NULL); `flags`: SNLRT_RUN_*. Ids must be below vocab. SNLRT_INPUT, before anything runs, when
 * they do not fit into the context or an id is out of range. */
SnlrtStatus snlrt_session_run(SnlrtSession *session, const int32_t *tokens, int64_t n,
                              unsigned flags, SnlrtBlockSink *sink, void *user, SnlrtError *err);

/* Logits [vocab] of the last token processed; NULL before the first. They may be written to until
 * the next run. */
float *snlrt_session_logits(SnlrtSession *session);
int64_t snlrt_session_pos(const SnlrtSession *session);     /* tokens processed */
int64_t snlrt_session_context(const SnlrtSession *session); /* positions there are */
int64_t snlrt_session_block(const SnlrtSession *session);
int64_t snlrt_session_threads(const SnlrtSession *session);     /* that decode, as of now */
int64_t snlrt_session_max_threads(const SnlrtSession *session); /* that there are */
/* Threads that the last token alone ran on: during trials, and beside other programs, they are not
 * those above. */
int64_t snlrt_session_decoders(const SnlrtSession *session);
/* Calls job(user, part), parts from 0 to snlrt_session_decoders - 1, on those threads. */
void snlrt_session_share(SnlrtSession *session, SnlrtJob *job, void *user);
/* Does a trial of the number of threads go on (runtime/chooser.h)? Not while it waits for
 * processors that other programs have. */
bool snlrt_session_on_trial(const SnlrtSession *session);
/* Bytes of caches and of workspace. */
int64_t snlrt_session_state_bytes(const SnlrtSession *session);
int64_t snlrt_session_work_bytes(const SnlrtSession *session);
/* Begins a new sequence. Caches are not cleared: at position 0 a step reads nothing from them. */
void snlrt_session_reset(SnlrtSession *session);

#endif
