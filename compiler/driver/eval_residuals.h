/* compiler/driver/eval_residuals.h -- `snlpc eval --residuals`: how the states of a window approach
 * the sequential ones, sweep by sweep. */
#ifndef SNL_DRIVER_EVAL_RESIDUALS_H
#define SNL_DRIVER_EVAL_RESIDUALS_H

#include "compiler/driver/compilation.h"

typedef struct SnlResidualOptions {
    const SnlCompileOptions *compile;
    const char *text; /* file */
    int64_t tokens;   /* of the text's beginning; 0: 64, or the context */
    bool json;
} SnlResidualOptions;

/* For every window of every plan, unit and sweep: the norm of (state - sequential state) over that
 * of the sequential state, over all tokens; states of the reference evaluator, in double precision,
 * from the `newton` op itself. */
SnlStatus snl_eval_residuals(const SnlResidualOptions *options, FILE *out, SnlDiag *diag);

#endif
