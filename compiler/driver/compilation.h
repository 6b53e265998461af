/* compiler/driver/compilation.h -- a model on its way to code: opened, planned, rewritten,
 * described.
 *
 * What `snlpc compile` and `snlpc eval` have in common; what becomes of the code is theirs. */
#ifndef SNL_DRIVER_COMPILATION_H
#define SNL_DRIVER_COMPILATION_H

#include "codegen/codegen.h"
#include "compiler/driver/cost.h"
#include "compiler/driver/pipeline.h"
#include "compiler/frontend/model.h"

typedef struct SnlCompileOptions {
    SnlArena *arena;   /* of lists and texts in here */
    const char *model; /* folder or .snl */
    SnlModeArgs modes;
    SnlWeightFormats weights; /* the first of `formats` */
    SnlVec(SnlWeightFormats) formats; /* one for each --weights, at least one */
    bool chose_weights; /* --weights or --weights-head was given */
    const char *kv; /* format of the caches; NULL: auto */
    SnlTargetOptions target;
    int64_t cores;   /* that work is shared out for; 0: the passes' default, 2 */
    int64_t context; /* 0: the model's default */
    bool random_weights, keep_states;
    uint64_t seed;
    int64_t max_state; /* bytes of caches that a mode may need; 0: half of the machine's memory */
    SnlPipelineArgs pipeline;
    char *const *argv; /* the command, for the reproducer; ends with NULL */
} SnlCompileOptions;

typedef struct SnlCompilation {
    const SnlCompileOptions *options;
    SnlArena *arena;
    SnlDiag *diag;
    bool shows_progress; /* on a terminal */
    SnlModel model;
    SnlModes modes;
    SnlOutputSpec *outputs; /* --keep-states */
    size_t n_outputs;
    SnlPayload payload;
    void *tokenizer;
    size_t tokenizer_nbytes;
    SnlGraphSpec *graphs;
    SnlPlanCounts *counts; /* parallel to graphs; without --pipeline only */
    SnlProgramSpec spec;
} SnlCompilation;

/* `c` has options, arena, diag and shows_progress. Opens the model, runs the passes, and refuses
 * modes whose caches are too large. */
SnlStatus snl_compilation_rewrite(SnlCompilation *c);
/* options->max_state, or half of the machine's memory. */
int64_t snl_most_caches(const SnlCompileOptions *options);
/* Refuses functions whose caches need more than that. */
SnlStatus snl_check_caches(const SnlCompileOptions *options, const char *mode, const char *plan,
                           const SnlFunc *const *funcs, size_t n, SnlDiag *diag);
/* Payload, tokenizer, graphs and spec. */
SnlStatus snl_compilation_describe(SnlCompilation *c);
/* The program's code into the file at `path`, for `target`. */
SnlStatus snl_compilation_emit(SnlCompilation *c, const SnlTargetOptions *target, SnlEmitKind kind,
                               const char *path);
void snl_compilation_close(SnlCompilation *c);
/* Cost of the sequential graph that these options give without their plans, for comparison; false
 * when it cannot be had. Prints nothing. */
bool snl_sequential_cost(const SnlCompileOptions *options, SnlStepCost *out);

/* --plan, --weights, --weights-head, --kv, --context, --random-weights, --max-state, --cpu and the
 * options of passes. The state's input of this child parser is a SnlCompileOptions *;
 * snl_compile_options_init before. */
extern const struct argp snl_compile_argp;
/* What a plan is, for --help. */
#define SNL_PLAN_HELP                                                                              \
    "PLAN says which layers become a window of layer-parallel sweeps:\n"                           \
    "  seq                  no window: layer by layer\n"                                           \
    "  n8 K1                the last 8 layers at once on the window's input, once\n"               \
    "  [4:12] K2 batch_fwd  layers 4 to 11, two sweeps, after one batched forward\n"               \
    "  n8 4xF2 K1           fused into 4 layers twice as wide: another function\n"                 \
    "  n6 F(4,2) K1         the same, uneven\n"                                                    \
    "  [2:4] K1; [6:8] K1   several windows\n"                                                     \
    "  n8 K=exact           as many sweeps as units: the sequential function\n"                    \
    "Words of a window: K1, K=exact; h0 (default), batch_fwd, warm; damping=0.1; "                 \
    "surrogate=identity, streams, zero or diag:FILE.npy. After all windows: prefill=snlp or seq, " \
    "kv=sweep or corrected, compat=reference or reference-fused, avg. examples/plans.md explains " \
    "them.\n\n"
SnlCompileOptions snl_compile_options_init(char *const *argv);
void snl_compile_options_deinit(SnlCompileOptions *o);
/* "4096", "512K", "8M", "1.5G" as bytes, or argp's usage error. */
int64_t snl_arg_bytes(struct argp_state *state, const char *option, const char *text);

#endif
