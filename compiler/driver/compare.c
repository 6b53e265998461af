/* compiler/driver/compare.c -- errors between two tensors. */
#include "compiler/driver/compare.h"

#include <math.h>

static const struct {
    SnlDtype dtype;
    double limit;
} limits[] = {{SNL_F32, 1e-5}, {SNL_BF16, 2e-5}, {SNL_F16, 2e-5}};

double snl_compare_limit(const SnlModule *m)
{
    double largest = limits[0].limit;
    for (size_t i = 0; i < m->weights.n; i++)
        for (size_t k = 0; k < sizeof limits / sizeof *limits; k++)
            if (m->weights.at[i]->type->dtype == limits[k].dtype && limits[k].limit > largest)
                largest = limits[k].limit;
    return largest;
}

SnlErrors snl_compare(const SnlTensor *found, const SnlTensor *wanted)
{
    SnlErrors e = {.at = -1};
    double largest = 0, squares = 0, error_squares = 0;
    int64_t n = snl_type_elems(wanted->type, wanted->n_tokens);
    for (int64_t i = 0; i < n; i++) {
        double error = fabs(found->at[i] - wanted->at[i]);
        if (isnan(found->at[i]) || isnan(wanted->at[i])) {
            bool both = isnan(found->at[i]) && isnan(wanted->at[i]);
            if (!both && !e.nan) e.at = i;
            e.nan = e.nan || !both;
            continue;
        }
        if (found->at[i] == wanted->at[i]) error = 0; /* equal infinities */
        if (!e.nan && error > e.max_abs) e.at = i;
        if (error > e.max_abs) e.max_abs = error;
        if (fabs(wanted->at[i]) > largest) largest = fabs(wanted->at[i]);
        squares += wanted->at[i] * wanted->at[i];
        error_squares += error * error;
    }
    e.relative = e.max_abs > 0 ? e.max_abs / (largest > 0 ? largest : 1.0) : 0.0;
    e.nmse = error_squares > 0 ? error_squares / (squares > 0 ? squares : 1.0) : 0.0;
    return e;
}
