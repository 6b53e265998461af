/* codegen/numbers.c -- finds where a number comes from that cannot be stored. */
#include "codegen/numbers.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* A number of a tensor of the model's files. */
typedef struct Place {
    const SnlWeight *tensor; /* NULL: not found */
    int64_t row, col;
    double number;
} Place;

/* The first number not within `most` in the tensors that `weight` is made of. */
static SnlStatus find_large(const SnlNumbers *x, const SnlWeight *weight, double most, Place *out)
{
    for (size_t i = 0; i < weight->n_arg && !out->tensor; i++)
        SNL_TRY(find_large(x, weight->arg[i], most, out));
    if (weight->code != SNL_WEXPR_SOURCE || out->tensor) return SNL_OK;
    int64_t cols = snl_weight_cols(weight), rows = snl_weight_rows(weight);
    float *row = snl_xrealloc(NULL, (size_t)cols * sizeof *row);
    SnlStatus status = SNL_OK;
    for (int64_t r = 0; r < rows && status == SNL_OK && !out->tensor; r++) {
        status = snl_weight_read(weight, x->source, r, 1, x->diag, row);
        for (int64_t c = 0; c < cols && status == SNL_OK && !out->tensor; c++)
            if (!(fabs((double)row[c]) <= most)) *out = (Place){weight, r, c, (double)row[c]};
    }
    free(row);
    return status;
}

/* Refuses the number, and says where in the model's files it comes from. */
static SnlStatus refuse_number(const SnlNumbers *x, Place at, double most, const char *wanted)
{
    Place found = {0};
    char tensor[512] = "";
    SNL_TRY(find_large(x, x->weight, most, &found));
    if (found.tensor) {
        at = found;
        snprintf(tensor, sizeof tensor, " (tensor '%s' of '%s')", at.tensor->tensor,
                 at.tensor->file);
    }
    /* The sign of a NaN says nothing. */
    double number = isnan(at.number) ? (double)NAN : at.number;
    return snl_error(x->diag, SNL_E_TENSOR, at.tensor->loc,
                     "weight '@%s'%s, row %lld, column %lld: found %g, wanted %s", at.tensor->name,
                     tensor, (long long)at.row, (long long)at.col, number, wanted);
}

/* A number that is none would spread to every result: refused here, where the weights are looked at
 * anyway. */
SnlStatus snl_check_finite(const SnlNumbers *x)
{
    int64_t cols = snl_weight_cols(x->weight);
    for (int64_t i = 0; i < x->n * cols; i++)
        if (!isfinite(x->at[i]))
            return refuse_number(x,
                                 (Place){x->weight, x->row + i / cols, i % cols, (double)x->at[i]},
                                 (double)FLT_MAX,
                                 "a finite number: the file is damaged, or f32 "
                                 "cannot hold what is computed of it");
    return SNL_OK;
}

/* The largest number of a format narrower than f32; a block's scale is an f16. */
static double largest_number(SnlDtype dtype)
{
    const double f16 = 65504;
    return dtype == SNL_F16    ? f16
           : dtype == SNL_Q8_0 ? 127 * f16
           : dtype == SNL_Q4_0 ? 8 * f16
                               : (double)snl_bf16_to_f32(0x7f7f);
}

SnlStatus snl_refuse_large(const SnlNumbers *x, SnlDtype dtype, int64_t i)
{
    double most = largest_number(dtype);
    int64_t cols = snl_weight_cols(x->weight);
    while (fabs((double)x->at[i]) <= most) i++;
    char wanted[160];
    snprintf(wanted, sizeof wanted,
             "numbers within %g, the largest that %s holds: choose another format (--weights, "
             "--weights-head)",
             most, snl_dtype_info[dtype].text);
    Place at = {x->weight, x->row + i / cols, i % cols, (double)x->at[i]};
    return refuse_number(x, at, most, wanted);
}
