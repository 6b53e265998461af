/* tests/support/plan_ir.h -- a plan without fusion turned into IR by the shortest way: the chain of
 * a copy of @forward cut into chain and `newton` ops. For tests of the evaluator, apart from the
 * product's passes. */
#ifndef SNL_TESTS_PLAN_IR_H
#define SNL_TESTS_PLAN_IR_H

#include "ir/ir.h"

enum { PLAN_WINDOWS = 8 };

typedef struct PlanWindow {
    int64_t begin, end, sweeps;
    double damping;
    const char *init, *surrogate; /* surrogate: "" is the layers' own */
    const SnlOp *op;              /* once built */
    SnlState **warm;              /* states of s_1.. (init = warm), by j - 1 */
} PlanWindow;

typedef struct PlanIr {
    PlanWindow window[PLAN_WINDOWS];
    size_t n_windows;
    bool prefill_seq, corrected;
    SnlFunc *func;
} PlanIr;

/* false: a plan this does not build (fusion, avg, compat, diag); `n_links` is the chain's length.
 */
bool plan_parse(SnlArena *arena, const char *text, int64_t n_links, PlanIr *out);
/* Adds a function to the module of `forward`. Units of kv = corrected share the chain's own states,
 * those of kv = sweep have their own. */
void plan_build(const SnlFunc *forward, PlanIr *plan);

#endif
