/* passes/check.h -- does a pass keep what the functions compute? Private to passes/.
 *
 * Every `func` of the module is called by the reference evaluator on seeded random inputs, twice in
 * a row with the states kept, for a few lengths; results and states of before and after are
 * compared. */
#ifndef SNL_PASSES_CHECK_H
#define SNL_PASSES_CHECK_H

#include "passes/pass.h"

typedef struct SnlCheckResult SnlCheckResult;

/* Evaluates. `source` NULL: random weights from the seed. A function that cannot be evaluated is an
 * error. */
SnlStatus snl_check_evaluate(SnlArena *arena, const SnlModule *m, SnlWeightSource *source,
                             uint64_t seed, SnlDiag *diag, SnlCheckResult **out);

typedef struct SnlCheckError {
    double error;      /* largest |after - before| / largest |before| of one result; NaN: 1e300 */
    const char *where; /* function, result and call it belongs to */
    size_t n_compared; /* tensors */
} SnlCheckError;

/* Results of functions, and contents of states, that exist on both sides. */
SnlCheckError snl_check_compare(SnlArena *arena, const SnlCheckResult *before,
                                const SnlCheckResult *after);

#endif
