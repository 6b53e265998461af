/* ir/blocks.c -- block formats: 32 numbers share one f16 scale.
 *
 *   q8_0   scale = max|x| / 127, q = x / scale to the nearest integer (ties toward 0), -127..127
 *   q4_0   scale = (the x of largest size) / -8, q = floor(x / scale + 8.5) - 8 kept within -8..7
 *
 * The values are q * scale with the scale rounded to f16, as GGUF's blocks of these names mean
 * them. Quantising values that are of the format already gives them back. A last block of fewer
 * than 32 numbers is one padded with zeros. A block with a NaN or an infinity in it is NaN or
 * infinite throughout: no number of it can be told.
 *
 * Ties are no rarity: half of the largest number is 63.5 steps, and a block of q4_0 (an
 * embedding's, normed) holds numbers of half the largest size. Whoever computes in f32 gets 63.5
 * give or take a few units in the last place; SNL_TIES makes it a little less for everybody. */
#include "ir/type.h"

#include <math.h>

/* The x of largest size; a NaN, if there is one. */
static float largest(const float *x, int n)
{
    float most = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(most) || isnan(x[i])) most = x[i];
    return most;
}

/* A NaN becomes `low`: its block's scale is NaN as well. */
static int8_t clamp(float x, float low, float high)
{
    return (int8_t)(x > high ? high : x > low ? x : low);
}

float snl_quantize_block(SnlDtype dtype, const float *x, int n, int8_t *out_q)
{
    float most = largest(x, n);
    float scale = dtype == SNL_Q8_0 ? fabsf(most) / 127.0f : most / -8.0f;
    float one = dtype == SNL_Q8_0 ? SNL_TIES : 1.0f;
    float inverse = scale != 0 ? one / scale : 0.0f;
    for (int i = 0; i < n; i++)
        out_q[i] = dtype == SNL_Q8_0 ? clamp(rintf(x[i] * inverse), -127, 127)
                                     : clamp(floorf(x[i] * inverse + 8.5f) - 8.0f, -8, 7);
    for (int i = n; i < SNL_BLOCK; i++) out_q[i] = 0;
    return snl_f16_to_f32(snl_f32_to_f16(scale));
}

void snl_round_blocks(SnlDtype dtype, float *x, int64_t n)
{
    int8_t q[SNL_BLOCK];
    for (int64_t i = 0; i < n; i += SNL_BLOCK) {
        int here = n - i < SNL_BLOCK ? (int)(n - i) : SNL_BLOCK;
        float scale = snl_quantize_block(dtype, x + i, here, q);
        for (int k = 0; k < here; k++) x[i + k] = (float)q[k] * scale;
    }
}
