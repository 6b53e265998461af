/* runtime/sampler.h -- from a row of logits to the next token.
 *
 * Temperature 0 (the default) takes the largest logit; of equal ones, the lowest id. Otherwise, in
 * this order: repeat penalty, temperature, softmax, top-k, top-p, min-p, draw. Candidates are
 * ordered by descending logit, then ascending id, and the generator is our own (xoshiro256**), so
 * the same seed and the same logits give the same tokens everywhere. NaN counts as minus
 * infinity. */
#ifndef SNLRT_SAMPLER_H
#define SNLRT_SAMPLER_H

#include "runtime/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SNLRT_REPEAT_WINDOW = 64 }; /* the penalty looks at this many latest tokens */

typedef struct SnlrtSampling {
    double temperature; /* >= 0; 0: greedy */
    int64_t top_k;      /* the k most probable; 0: all */
    double top_p;       /* the fewest that together reach p; 1: all */
    double min_p;       /* at least this fraction of the most probable; 0: all */
    /* > 0; logits of recent tokens are divided by it if positive, else multiplied */
    double repeat_penalty;
    uint64_t seed;
} SnlrtSampling;

/* Greedy. */
#define SNLRT_SAMPLING_DEFAULT ((SnlrtSampling){.top_p = 1.0, .repeat_penalty = 1.0})

/* SNLRT_USAGE when a value is outside its range. */
SnlrtStatus snlrt_sampling_check(const SnlrtSampling *sampling, SnlrtError *err);

typedef struct SnlrtSampler SnlrtSampler;

SnlrtStatus snlrt_sampler_create(const SnlrtSampling *sampling, int64_t vocab, SnlrtSampler **out,
                                 SnlrtError *err);
void snlrt_sampler_destroy(SnlrtSampler *sampler); /* NULL is fine */
/* Notes a token of the text (prompt or generated) for the repeat penalty. */
void snlrt_sampler_accept(SnlrtSampler *sampler, int32_t token);
/* The next token; `logits` [vocab] are changed by the repeat penalty. Does not accept it. */
int32_t snlrt_sampler_next(SnlrtSampler *sampler, float *logits);
/* Forgets the tokens and starts the generator again from the seed. */
void snlrt_sampler_reset(SnlrtSampler *sampler);

/* Lowest id among the largest logits. */
int32_t snlrt_argmax(const float *logits, int64_t n);

#endif
