/* passes/newton.h -- what the files of the newton pass share. Private to passes/. */
#ifndef SNL_PASSES_NEWTON_H
#define SNL_PASSES_NEWTON_H

#include "ir/eval.h" /* snl_newton_evals: which states a binding lists */
#include "passes/plan.h"
#include "passes/rewrite.h"

typedef struct SnlUnit {
    SnlBinding binding;      /* as the newton op lists it */
    size_t evals;            /* sets of states that are kept apart */
    const SnlWindow *window; /* NULL: outside of windows */
    size_t index;            /* in its window */
    SnlState *warm;          /* the last bound state, for init = warm and index > 0 */
} SnlUnit;

typedef struct SnlNewton {
    SnlModule *m;
    SnlPassContext *ctx;
    SnlArena *arena;
    SnlPlan plan;
    SnlOp *chain;
    SnlUnit *unit; /* by link of the chain */
} SnlNewton;

/* `@<func>.prompt`: the sequential function that fills every state of the planned one
 * (newton_prompt.c). Called before the chain is split. */
SnlStatus snl_newton_prompt(SnlNewton *nw);
/* A function name `<layer>.<kind>` that is free. */
const char *snl_newton_fresh_func(SnlNewton *nw, const char *layer, const char *kind);

#endif
