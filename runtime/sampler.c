/* runtime/sampler.c -- greedy and random choice of the next token. */
#include "runtime/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Candidate {
    float logit;
    int32_t id;
    double weight; /* exp(logit / temperature - maximum): not normalised */
} Candidate;

struct SnlrtSampler {
    SnlrtSampling sampling;
    int64_t vocab;
    uint64_t random[4];
    int32_t recent[SNLRT_REPEAT_WINDOW]; /* ring */
    int64_t n_accepted;
    Candidate *candidates; /* [vocab]; NULL when greedy */
};

/* ---- xoshiro256** (Blackman and Vigna), seeded through splitmix64 ---- */

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, int n)
{
    return (x << n) | (x >> (64 - n));
}

static uint64_t random_next(uint64_t s[4])
{
    uint64_t result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* in [0, 1), 53 bits */
static double random_unit(uint64_t s[4])
{
    return (double)(random_next(s) >> 11) * 0x1p-53;
}

/* ---- candidates ---- */

static bool before(const Candidate *a, const Candidate *b)
{
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

/* Restores the heap (best candidate at the root) below position i. */
static void sift_down(Candidate *heap, size_t n, size_t i)
{
    Candidate moved = heap[i];
    for (size_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
        if (child + 1 < n && before(&heap[child + 1], &heap[child])) child++;
        if (!before(&heap[child], &moved)) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moved;
}

/* Moves the best candidates to the end of the array, the best one last, until k of them are there
 * or their weights reach `mass`. The chosen ones are heap[result..n). */
static size_t choose_best(Candidate *heap, size_t n, size_t k, double mass)
{
    for (size_t i = n / 2; i-- > 0;) sift_down(heap, n, i);
    size_t left = n;
    double sum = 0;
    while (left > 0 && n - left < k && (left == n || sum < mass)) {
        Candidate best = heap[0];
        heap[0] = heap[--left];
        heap[left] = best;
        if (left) sift_down(heap, left, 0);
        sum += best.weight;
    }
    return left;
}

static double sum_weights(const Candidate *candidates, size_t first, size_t n)
{
    double sum = 0;
    for (size_t i = first; i < n; i++) sum += candidates[i].weight;
    return sum;
}

/* Softmax weights of everything that min-p leaves; `top` is the most probable. Returns how many;
 * *out_total is their sum. */
static size_t collect(SnlrtSampler *s, const float *logits, int32_t top, double min_p,
                      double *out_total)
{
    double max = (double)logits[top], scale = 1.0 / s->sampling.temperature, total = 0;
    size_t n = 0;
    for (int64_t i = 0; i < s->vocab; i++) {
        double weight = i == top ? 1.0 : exp(((double)logits[i] - max) * scale);
        if (!(weight > 0.0) || weight < min_p) continue; /* NaN goes too */
        s->candidates[n++] = (Candidate){logits[i], (int32_t)i, weight};
        total += weight;
    }
    *out_total = total;
    return n;
}

static int32_t draw(const Candidate *candidates, size_t n, double unit)
{
    double total = sum_weights(candidates, 0, n), sum = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        sum += candidates[i].weight;
        if (unit * total < sum) return candidates[i].id;
    }
    return candidates[n - 1].id;
}

/* Top-k, then top-p as a share of what it left, then min-p. Keeps candidates[result..n). */
static size_t cut(const SnlrtSampling *o, Candidate *candidates, size_t n, double total)
{
    size_t first, k = (size_t)o->top_k;
    if (o->top_k > 0 && k < n) {
        first = choose_best(candidates, n, k, INFINITY);
        double mass = o->top_p < 1.0 ? o->top_p * sum_weights(candidates, first, n) : INFINITY;
        double sum = 0;
        size_t left = n;
        while (left > first && (left == n || sum < mass)) sum += candidates[--left].weight;
        first = left;
    } else {
        first = choose_best(candidates, n, n, o->top_p < 1.0 ? o->top_p * total : INFINITY);
    }
    while (first + 1 < n && candidates[first].weight < o->min_p) first++;
    return first;
}

static int32_t sample(SnlrtSampler *s, const float *logits, int32_t top)
{
    const SnlrtSampling *o = &s->sampling;
    bool ordered = o->top_k > 0 || o->top_p < 1.0;
    double total, unit = random_unit(s->random);
    /* min-p compares with the best one, which stays: without other cuts no order is needed. */
    size_t n = collect(s, logits, top, ordered ? 0.0 : o->min_p, &total);
    size_t first = ordered ? cut(o, s->candidates, n, total) : 0;
    return draw(s->candidates + first, n - first, unit);
}

/* ---- */

static void penalize(const SnlrtSampler *s, float *logits)
{
    float penalty = (float)s->sampling.repeat_penalty;
    int64_t n = s->n_accepted < SNLRT_REPEAT_WINDOW ? s->n_accepted : SNLRT_REPEAT_WINDOW;
    for (int64_t i = 0; i < n; i++) {
        bool seen = false;
        for (int64_t j = 0; j < i && !seen; j++) seen = s->recent[j] == s->recent[i];
        if (seen) continue;
        float *logit = &logits[s->recent[i]];
        *logit = *logit > 0 ? *logit / penalty : *logit * penalty;
    }
}

enum { ARGMAX_LANES = 16, ARGMAX_PART = 512 };

/* The largest of n numbers, NaNs aside; -infinity of none. Lanes do not wait for each other. */
static float largest(const float *x, int64_t n)
{
    float lane[ARGMAX_LANES], most = -INFINITY;
    for (int k = 0; k < ARGMAX_LANES; k++) lane[k] = -INFINITY;
    int64_t whole = n / ARGMAX_LANES * ARGMAX_LANES;
    for (int64_t i = 0; i < whole; i += ARGMAX_LANES)
        for (int k = 0; k < ARGMAX_LANES; k++) lane[k] = x[i + k] > lane[k] ? x[i + k] : lane[k];
    for (int k = 0; k < ARGMAX_LANES; k++) most = lane[k] > most ? lane[k] : most;
    for (int64_t i = whole; i < n; i++) most = x[i] > most ? x[i] : most;
    return most;
}

/* Part by part, so that only the part that holds the maximum is searched for its place. */
int32_t snlrt_argmax(const float *logits, int64_t n)
{
    float most = -INFINITY;
    int64_t from = 0;
    for (int64_t i = 0; i < n; i += ARGMAX_PART) {
        float here = largest(logits + i, n - i < ARGMAX_PART ? n - i : ARGMAX_PART);
        if (here > most) most = here, from = i;
    }
    for (int64_t i = from; i < n; i++)
        if (logits[i] == most) return (int32_t)i;
    return 0;
}

int32_t snlrt_sampler_next(SnlrtSampler *s, float *logits)
{
    if (s->sampling.repeat_penalty != 1.0) penalize(s, logits);
    int32_t top = snlrt_argmax(logits, s->vocab);
    if (s->sampling.temperature == 0.0 || !isfinite(logits[top])) return top;
    return sample(s, logits, top);
}

void snlrt_sampler_accept(SnlrtSampler *s, int32_t token)
{
    if (token >= 0 && token < s->vocab) s->recent[s->n_accepted++ % SNLRT_REPEAT_WINDOW] = token;
}

void snlrt_sampler_reset(SnlrtSampler *s)
{
    uint64_t state = s->sampling.seed;
    for (int i = 0; i < 4; i++) s->random[i] = splitmix(&state);
    s->n_accepted = 0;
}

SnlrtStatus snlrt_sampling_check(const SnlrtSampling *o, SnlrtError *err)
{
    if (!(o->temperature >= 0 && isfinite(o->temperature)))
        return snlrt_fail(err, SNLRT_USAGE, "temperature: found %g, wanted 0 or more",
                          o->temperature);
    if (o->top_k < 0)
        return snlrt_fail(err, SNLRT_USAGE, "top-k: found %lld, wanted 0 or more",
                          (long long)o->top_k);
    if (!(o->top_p > 0 && o->top_p <= 1))
        return snlrt_fail(err, SNLRT_USAGE, "top-p: found %g, wanted more than 0 and at most 1",
                          o->top_p);
    if (!(o->min_p >= 0 && o->min_p <= 1))
        return snlrt_fail(err, SNLRT_USAGE, "min-p: found %g, wanted 0 to 1", o->min_p);
    if (!(o->repeat_penalty > 0 && isfinite(o->repeat_penalty)))
        return snlrt_fail(err, SNLRT_USAGE, "repeat penalty: found %g, wanted more than 0",
                          o->repeat_penalty);
    return SNLRT_OK;
}

SnlrtStatus snlrt_sampler_create(const SnlrtSampling *sampling, int64_t vocab, SnlrtSampler **out,
                                 SnlrtError *err)
{
    *out = NULL;
    SNLRT_TRY(snlrt_sampling_check(sampling, err));
    SnlrtSampler *s = calloc(1, sizeof *s);
    if (s && sampling->temperature > 0) {
        s->candidates = calloc((size_t)vocab, sizeof *s->candidates);
        if (!s->candidates) {
            free(s);
            s = NULL;
        }
    }
    if (!s) return snlrt_fail(err, SNLRT_MACHINE, "out of memory for the sampler");
    s->sampling = *sampling;
    s->vocab = vocab;
    snlrt_sampler_reset(s);
    *out = s;
    return SNLRT_OK;
}

void snlrt_sampler_destroy(SnlrtSampler *sampler)
{
    if (!sampler) return;
    free(sampler->candidates);
    free(sampler);
}
