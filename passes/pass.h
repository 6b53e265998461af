/* passes/pass.h -- what a pass is, and the manager that runs pipelines of them.
 *
 * A pass is one file with one `const SnlPass snl_pass_<name>`, listed in passes.def. It keeps no
 * static state, never exits, reports users' mistakes to ctx->diag and returns FAILED.
 *
 *     pipeline ::= element (',' element)*
 *     element  ::= name options?
 *     options  ::= '{' key '=' value (' ' key '=' value)* '}'          value: word or "text" */
#ifndef SNL_PASSES_PASS_H
#define SNL_PASSES_PASS_H

#include "ir/base/progress.h"
#include "ir/ir.h"
#include "ir/weights.h"

typedef enum SnlPassResult { SNL_PASS_FAILED = -1, SNL_PASS_SAME = 0, SNL_PASS_CHANGED = 1 }
    SnlPassResult;

/* What a pass does to the answer (PASSES.md has the promises). */
typedef enum SnlExactness {
    SNL_EXACT,    /* nothing, bit by bit */
    SNL_REORDERS, /* the same function: other orders of sums, places of factors, round otherwise */
    SNL_APPROXIMATE,
    SNL_CHANGES_FUNCTION,
    SNL_ROUNDS
} SnlExactness;

typedef enum SnlOptionKind { SNL_OPTION_INT, SNL_OPTION_TEXT, SNL_OPTION_BOOL } SnlOptionKind;

typedef struct SnlPassOption {
    const char *name;
    SnlOptionKind kind;
    const char *def;      /* default, as text */
    int64_t min, max;     /* INT */
    const char *help;
} SnlPassOption;

typedef struct SnlPassContext {
    SnlArena *scratch;       /* dies after the pass */
    SnlDiag *diag;
    SnlWeightSource *source; /* NULL in `snlpc opt` without weights: passes that must look say so */
    const char **option; /* value texts, parallel to pass->options (checked, defaults filled in) */
    const struct SnlPass *pass;
} SnlPassContext;

typedef struct SnlPass {
    const char *name;
    const char *summary;
    SnlExactness exactness;
    const SnlPassOption *options; /* ends with name == NULL; NULL: none */
    SnlPassResult (*run)(SnlModule *module, SnlPassContext *ctx);
} SnlPass;

int64_t snl_pass_int(const SnlPassContext *ctx, const char *option);
const char *snl_pass_text(const SnlPassContext *ctx, const char *option);
bool snl_pass_bool(const SnlPassContext *ctx, const char *option);

const SnlPass *snl_pass_find(const char *name);
extern const SnlPass *const snl_passes[]; /* in pipeline order, ends with NULL */

typedef struct SnlPipelineOptions {
    bool verify_each;
    bool check_each;          /* evaluate before and after each exact pass on random inputs */
    uint64_t check_seed;
    bool timing;
    const char *print_after;  /* NULL, "all", or comma-separated pass names: dumps to stderr */
    const char *print_before;
    const char *dump_dir;     /* one numbered file per dump instead: 03-simplify.snl */
    SnlWeightSource *source;
    FILE *log;                /* timing and check-each reports; NULL: stderr */
    SnlProgress *progress;    /* of passes; NULL: nobody asks */
    void *progress_user;
} SnlPipelineOptions;

/* Runs `text` over `module`; an empty text is the empty pipeline. */
SnlStatus snl_pipeline_run(SnlModule *module, const char *text, const SnlPipelineOptions *options,
                           SnlDiag *diag);
/* The canonical text of a pipeline (round-trips), or NULL after reporting. */
char *snl_pipeline_print(SnlArena *arena, const char *text, SnlDiag *diag);

/* Adds to the module's record of what was done to its meaning: attribute
 * `exactness = ["approximate(newton n=24 K=1)", ...]`; absent means exact, up to the order
 * of sums. */
void snl_module_note_exactness(SnlModule *module, const char *note);
/* The same for a note that is about one function only: it is also kept as that function's attribute
 * `exactness` (a program may hold several forms of one model). */
void snl_func_note_exactness(SnlFunc *func, const char *note);

#endif
