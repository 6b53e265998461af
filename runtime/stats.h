/* runtime/stats.h -- what a generated text cost, for standard error. */
#ifndef SNLRT_STATS_H
#define SNLRT_STATS_H

#include "runtime/program.h"

/* Why a text ended: X(NAME, "word for JSON", "sentence part") */
#define SNLRT_ENDS(X)                                                                              \
    X(NONE, "none", "not ended")                                                                   \
    X(LENGTH, "length", "the number of tokens asked for")                                          \
    X(EOS, "eos", "end of sequence")                                                               \
    X(STOP_TEXT, "stop", "a stop text")                                                            \
    X(CONTEXT, "context", "context full")                                                          \
    X(INTERRUPTED, "interrupted", "interrupted")
typedef enum SnlrtEnd {
#define X(NAME, word, text) SNLRT_END_##NAME,
    SNLRT_ENDS(X)
#undef X
} SnlrtEnd;

typedef struct SnlrtStats {
    int64_t n_prompt, n_generated;
    int64_t n_steps;       /* generated tokens that were processed in turn */
    double prompt_seconds; /* processing the prompt */
    double decode_seconds; /* everything after it */
    double first_token;    /* seconds from the program's start, or from the end of a prompt from
                              standard input, to the first token shown */
    SnlrtEnd end;
} SnlrtStats;

/* Fails when JSON cannot be written; the text may be lost. */
SnlrtStatus snlrt_stats_print(const SnlrtProgram *program, const SnlrtSession *session,
                              const SnlrtStats *stats, SnlrtError *err);

#endif
