/* ir/weights_random.c -- numbers for weights that have no file. */
#include "ir/weights.h"

#include <string.h>

/* One step of the SplitMix64 generator (Steele, Lea, Flood 2014), used as a hash of a counter. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static uint64_t sequence_key(uint64_t seed, const char *name)
{
    uint64_t key = mix(seed);
    for (const char *p = name; *p; p++) key = mix(key ^ (unsigned char)*p);
    return key;
}

/* The sum of four uniform 16-bit numbers. */
static int sum_of_four(uint64_t bits)
{
    return (int)((bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48));
}

/* Twelve uniform numbers of variance 1/12 each: their sum is close to normal, and integer
 * arithmetic makes it the same everywhere, which a logarithm and a cosine of the C library would
 * not. */
void snl_random_normals(uint64_t seed, const char *name, int64_t first, int64_t n, float *out)
{
    uint64_t key = sequence_key(seed, name);
    for (int64_t i = 0; i < n; i++) {
        uint64_t counter = key + 3 * (uint64_t)(first + i);
        int sum = sum_of_four(mix(counter)) + sum_of_four(mix(counter + 1)) +
                  sum_of_four(mix(counter + 2));
        out[i] = (float)(sum - 6 * 65535) * 0x1p-16f;
    }
}

typedef struct RandomSource {
    SnlWeightSource base; /* first: the interface is cast back */
    uint64_t seed;
} RandomSource;

static SnlStatus find(SnlWeightSource *self, const char *file, const char *tensor, SnlDiag *diag,
                      SnlTensorInfo *out)
{
    (void)self, (void)file, (void)tensor, (void)diag;
    *out = (SnlTensorInfo){.dtype = SNL_F32};
    return SNL_OK;
}

static SnlStatus read(SnlWeightSource *self, const char *file, const char *tensor, int64_t first,
                      int64_t n, SnlDiag *diag, float *out)
{
    (void)file, (void)diag;
    snl_random_normals(((RandomSource *)self)->seed, tensor, first, n, out);
    return SNL_OK;
}

static void destroy(SnlWeightSource *self)
{
    (void)self; /* the arena's */
}

SnlWeightSource *snl_random_source_create(SnlArena *arena, uint64_t seed)
{
    RandomSource *source = SNL_NEW(arena, RandomSource);
    source->base =
        (SnlWeightSource){.find = find, .read = read, .destroy = destroy, .shapeless = true};
    source->seed = seed;
    return &source->base;
}
