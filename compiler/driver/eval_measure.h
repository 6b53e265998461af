/* compiler/driver/eval_measure.h -- what plans and formats cost and keep: the numbers of `snlpc
 * eval`. Results are by row of the set. */
#ifndef SNL_DRIVER_EVAL_MEASURE_H
#define SNL_DRIVER_EVAL_MEASURE_H

#include "compiler/driver/eval_program.h"

typedef struct SnlEvalText {
    SnlrtIds ids;
    int64_t n_begin; /* the first of them are those that the tokenizer puts before a text */
} SnlEvalText;

/* Reads and encodes `path`; keeps at most max_tokens of the text (0: all). Enough to score one. */
SnlStatus snl_eval_text_read(const SnlEvalSet *set, const char *path, int64_t max_tokens,
                             SnlEvalText *out);
void snl_eval_text_deinit(SnlEvalText *text);

/* One row's numbers; "sequential" is row 0. */
typedef struct SnlEvalResult {
    /* text */
    double nll;    /* sum of -ln p(token) */
    double kl;     /* sum of KL(sequential || plan), nats */
    int64_t agree; /* positions with the sequential most probable token */
    int64_t n_scored, n_windows;
    /* greedy texts: tokens until the first one that differs */
    int64_t greedy_equal, greedy_most; /* sum, and what it is at most */
    int64_t n_greedy;
    /* medians of seconds per token; 0: not measured */
    double decode_seconds, prefill_seconds;
    int64_t n_decode, n_prefill; /* tokens of a run */
    int n_runs;
} SnlEvalResult;

/* Perplexity, KL and agreement, over the windows that the program's --ppl has (runtime/ppl.c). */
SnlStatus snl_eval_score(const SnlEvalSet *set, const SnlEvalText *text, bool skip_half,
                         SnlEvalResult *results);
/* Greedy continuations of n_prompts pieces of the text, length tokens each. */
SnlStatus snl_eval_greedy(const SnlEvalSet *set, const SnlEvalText *text, int64_t n_prompts,
                          int64_t length, SnlEvalResult *results);
/* Decode and prefill time: all rows in turn, several rounds, medians. */
SnlStatus snl_eval_time(const SnlEvalSet *set, const SnlEvalText *text,
                        SnlEvalResult *results);

#endif
