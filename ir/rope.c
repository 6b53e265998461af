/* ir/rope.c -- inverse frequencies of rotary position embeddings, with the published scalings.
 *
 * Base: f_j = theta^(-2j/d). `linear` divides all by `factor`. `llama3` (the rule published with
 * Llama 3.1) looks at each wavelength 2 pi / f_j: shorter than original_context / high_freq_factor
 * stays, longer than original_context / low_freq_factor is divided by `factor`, and between the two
 * the results are blended linearly in original_context / wavelength. Shared by evaluator and
 * emitter. */
#include "ir/eval.h"

#include <math.h>
#include <string.h>

static double llama3(const SnlAttrs *attrs, double f)
{
    double factor = snl_attr_real(attrs, "factor", 8.0);
    double low = snl_attr_real(attrs, "low_freq_factor", 1.0);
    double high = snl_attr_real(attrs, "high_freq_factor", 4.0);
    double context = snl_attr_real(attrs, "original_context", 8192.0);
    double wavelength = 2.0 * acos(-1.0) / f;
    if (wavelength < context / high) return f;
    if (wavelength > context / low) return f / factor;
    double smooth = (context / wavelength - low) / (high - low); /* verified: high > low */
    return (1.0 - smooth) * f / factor + smooth * f;
}

void snl_rope_frequencies(const SnlAttrs *attrs, int64_t width, double *out)
{
    double theta = snl_attr_real(attrs, "theta", 10000.0);
    const char *scaling = snl_attr_text(attrs, "scaling", "none");
    for (int64_t j = 0; j < width / 2; j++) {
        double f = pow(theta, -2.0 * (double)j / (double)width);
        if (strcmp(scaling, "linear") == 0) f /= snl_attr_real(attrs, "factor", 1.0);
        if (strcmp(scaling, "llama3") == 0) f = llama3(attrs, f);
        out[j] = f;
    }
}
