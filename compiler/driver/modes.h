/* compiler/driver/modes.h -- the graphs of one program: the plans that the user gave, their names,
 * and the function of the module that each becomes.
 *
 * A program has one mode per plan; all of them read the same weights. The first plan given is the
 * default mode and stays `@forward`; every other mode is a copy of it, `@forward.NAME`. */
#ifndef SNL_DRIVER_MODES_H
#define SNL_DRIVER_MODES_H

#include "passes/plan.h"

enum { SNL_MODE_NAME_MAX = 32 };

/* As the command line gives them. */
typedef struct SnlModeArgs {
    SnlVec(const char *) plans; /* "PLAN" or "NAME=PLAN", in order; none: seq */
    const char *modes;          /* "seq,snlp": which of them the program gets; NULL: all */
} SnlModeArgs;

typedef struct SnlMode {
    const char *name; /* what --mode takes */
    SnlPlan plan;
    const char *text;   /* the plan, canonical */
    const char *func;   /* its function: "forward", "forward.seq" */
    const char *prompt; /* the function its prefill form is taken from; NULL: `func` itself */
} SnlMode;

typedef struct SnlModes {
    SnlVec(SnlMode) list; /* list.at[0]: the default */
} SnlModes;

/* Parses the plans and gives every mode its name: NAME, or "seq" for the plan seq, or "snlp",
 * "snlp2",
 * ... Names are unique. `seq` may be asked for in `modes` without a plan. Knows no model yet. */
SnlStatus snl_modes_parse(SnlArena *arena, const SnlModeArgs *args, SnlDiag *diag, SnlModes *out);
/* Fits every plan to the chain of @forward: says why one does not fit. Files that plans name are
 * looked at in `source`. */
SnlStatus snl_modes_fit(SnlModes *modes, SnlModule *m, SnlWeightSource *source, SnlDiag *diag);
/* Makes the copies of @forward. */
SnlStatus snl_modes_clone(const SnlModes *modes, SnlModule *m, SnlDiag *diag);

#endif
