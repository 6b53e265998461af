/* passes/plan.h -- plans: which layers become windows of layer-parallel sweeps, and how.
 *
 *     plan   := "seq" | window { ";" window } { option }
 *     window := ( "n"INT | "["INT":"INT"]" ) [ INT"xF"INT | "F("INT{","INT}")" ]
 *               { "K"INT | "K=exact" | "h0" | "batch_fwd" | "warm" | "damping="REAL
 *                 | "surrogate="NAME }
 *     option := "prefill="( snlp | seq ) | "kv="( sweep | corrected )
 *             | "compat="( reference | reference-fused ) | "avg"
 *     NAME   := identity | streams | zero | diag:FILE.npy
 *
 * Parsing also refuses what no model can have: chunks that do not add up, windows that overlap,
 * combinations of prefill, kv and init that mean nothing. Fitting a plan to a chain resolves `nINT`
 * and checks its windows against the chain's layers. Nothing here changes a module. */
#ifndef SNL_PASSES_PLAN_H
#define SNL_PASSES_PLAN_H

#include "ir/weights.h"

typedef enum SnlInit { SNL_INIT_H0, SNL_INIT_BATCH_FWD, SNL_INIT_WARM, SNL_INIT_COUNT } SnlInit;
typedef enum SnlPlanSurrogate {
    SNL_PLAN_OWN,
    SNL_PLAN_IDENTITY,
    SNL_PLAN_STREAMS,
    SNL_PLAN_ZERO,
    SNL_PLAN_DIAG
} SnlPlanSurrogate;
typedef enum SnlCompat {
    SNL_COMPAT_NONE,
    SNL_COMPAT_REFERENCE,
    SNL_COMPAT_REFERENCE_FUSED
} SnlCompat;

extern const char *const snl_init_text[SNL_INIT_COUNT]; /* "h0", "batch_fwd", "warm" */

typedef struct SnlWindow {
    int64_t last;       /* n24: 24 until it is fitted; 0 for [a:b) */
    int64_t begin, end; /* layers of the chain; valid for [a:b), and after fitting */
    int64_t *chunk; /* layers of each chunk, n_chunk of them; n_chunk = 0: every layer is a unit */
    size_t n_chunk;
    int64_t sweeps; /* K; 0: exact */
    SnlInit init;
    double damping;
    SnlPlanSurrogate surrogate;
    const char *diag_file;
    SnlLoc loc, diag_loc; /* of the range, of surrogate=diag:FILE */
} SnlWindow;

typedef struct SnlPlan {
    SnlVec(SnlWindow) windows; /* none: seq */
    bool prefill_seq, kv_corrected, avg;
    SnlCompat compat;
    const SnlSource *source; /* the text, for later messages */
} SnlPlan;

/* The plan lives in `arena`, as does everything it points to. */
SnlStatus snl_plan_parse(SnlArena *arena, const char *text, SnlDiag *diag, SnlPlan *out);
/* Canonical text: parses back to the same plan. */
char *snl_plan_print(SnlArena *arena, const SnlPlan *plan);
/* " 12xF2", " F(4,2)", or "" without chunks. */
const char *snl_window_chunks(SnlArena *arena, const SnlWindow *window);

/* Layers that link i of a chain stands for: 1, or as many as were fused into it. */
int64_t snl_link_layers(const SnlBinding *link);
/* Resolves the windows against a chain: begin and end are set (still counted in layers), and
 * checked to lie in the chain, in order, with boundaries at links. */
SnlStatus snl_plan_fit(SnlPlan *plan, const SnlOp *chain, SnlDiag *diag);
/* The files of diag: surrogates are there, and each has a row for every unit of its window and a
 * column for every element of the chained state. `plan` is fitted to `chain`; with random weights
 * the files' contents are not looked at. */
SnlStatus snl_plan_check_files(const SnlPlan *plan, const SnlOp *chain, SnlWeightSource *source,
                               SnlDiag *diag);
/* What weights call the file of a diag: surrogate: its whole path, because the plan's file is the
 * user's, from the current folder, and other sources are the model's. */
const char *snl_plan_diag_path(SnlArena *arena, const SnlWindow *window);
/* Units of a window: chunks, or layers. */
size_t snl_window_units(const SnlWindow *window);
/* K as a number: `exact` is the number of units. */
int64_t snl_window_sweeps(const SnlWindow *window);

/* The chain that a plan is about: the only one of the function named `func` (NULL or "": of the
 * only function that has one). NULL after reporting. */
SnlOp *snl_plan_chain(SnlModule *m, const char *func, SnlDiag *diag);

#endif
