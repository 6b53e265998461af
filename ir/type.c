/* ir/type.c -- element types, tensor sizes, and the 16-bit formats' conversions. */
#include "ir/type.h"

#include "ir/base/checked.h"
#include "ir/base/status.h"

#include <math.h>
#include <string.h>

const SnlDtypeInfo snl_dtype_info[SNL_DTYPE_COUNT] = {
#define DTYPE(NAME, text, block, bytes, flags) {text, block, bytes, flags},
#include "ir/dtypes.def"
#undef DTYPE
};

bool snl_dtype_find(const char *text, size_t n, SnlDtype *out)
{
    for (int d = 0; d < SNL_DTYPE_COUNT; d++) {
        const char *name = snl_dtype_info[d].text;
        if (strlen(name) == n && memcmp(name, text, n) == 0) {
            *out = (SnlDtype)d;
            return true;
        }
    }
    return false;
}

/* Product of dims [first, rank); verified types cannot overflow, anything else is a bug here. */
static int64_t product(const SnlType *type, int first, int64_t n_tokens)
{
    int64_t n = 1;
    for (int i = first; i < type->rank; i++) {
        bool fits = snl_mul_i64(n, type->dim[i] == SNL_DIM_T ? n_tokens : type->dim[i], &n);
        SNL_ASSERT(fits);
    }
    return n;
}

int64_t snl_type_elems(const SnlType *type, int64_t n_tokens)
{
    return product(type, 0, n_tokens);
}

int64_t snl_type_row_elems(const SnlType *type)
{
    return product(type, 1, 1);
}

int64_t snl_dtype_row_bytes(SnlDtype dtype, int64_t n)
{
    const SnlDtypeInfo *info = &snl_dtype_info[dtype];
    return (n + info->block_elems - 1) / info->block_elems * info->block_bytes;
}

/* ---- conversions ----------------------------------------------------------------------------- */

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

float snl_bf16_to_f32(uint16_t bits)
{
    return float_of((uint32_t)bits << 16);
}

uint16_t snl_f32_to_bf16(float x)
{
    uint32_t bits = bits_of(x);
    if (isnan(x)) return (uint16_t)(bits >> 16 | 0x40); /* quiet, so that no NaN becomes infinity */
    uint32_t odd = bits >> 16 & 1;
    return (uint16_t)((bits + 0x7fff + odd) >> 16);
}

float snl_f16_to_f32(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    uint32_t exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
    if (exponent == 0x1f) return float_of(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) {
        float magnitude = (float)fraction * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    return float_of(sign | (exponent + 127 - 15) << 23 | fraction << 13);
}

/* value / 2^shift to nearest even, 1 <= shift <= 31. */
static uint32_t shift_round(uint32_t value, int shift)
{
    uint32_t odd = value >> shift & 1;
    return (uint32_t)(((uint64_t)value + (1U << (shift - 1)) - 1 + odd) >> shift);
}

uint16_t snl_f32_to_f16(float x)
{
    uint32_t bits = bits_of(x);
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (isnan(x)) return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    int exponent = (int)(magnitude >> 23) - 127;
    if (exponent > 15) return (uint16_t)(sign | 0x7c00);
    if (exponent < -25) return (uint16_t)sign;
    if (exponent < -14) { /* subnormal in f16: a multiple of 2^-24 */
        uint32_t significand = (magnitude & 0x7fffff) | 0x800000;
        return (uint16_t)(sign | shift_round(significand, -1 - exponent));
    }
    /* A carry out of the fraction moves into the exponent, and from 65504 to infinity: both right.
     */
    uint32_t rebased = magnitude - ((uint32_t)(127 - 15) << 23);
    return (uint16_t)(sign | shift_round(rebased, 13));
}

/* x to `precision` significant bits with exponents from emin to emax. Straight from the double:
 * going through float would round twice. */
static double round_binary(double x, int precision, int emin, int emax)
{
    if (x == 0 || !isfinite(x)) return x;
    int exponent = ilogb(x);
    int last_bit = (exponent > emin ? exponent : emin) - (precision - 1);
    double rounded = ldexp(nearbyint(ldexp(x, -last_bit)), last_bit);
    return fabs(rounded) >= ldexp(1, emax + 1) ? copysign(INFINITY, x) : rounded;
}

double snl_round_to(SnlDtype dtype, double x)
{
    switch (dtype) {
    case SNL_F32:
        return (double)(float)x;
    case SNL_BF16:
        return round_binary(x, 8, -126, 127);
    case SNL_F16:
        return round_binary(x, 11, -14, 15);
    default:
        SNL_UNREACHABLE();
    }
}
