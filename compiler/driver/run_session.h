/* compiler/driver/run_session.h -- what the files of `snlpc run` share: its options, and the
 * function that it calls with what calls it. */
#ifndef SNL_DRIVER_RUN_SESSION_H
#define SNL_DRIVER_RUN_SESSION_H

#include "compiler/driver/arguments.h"
#include "compiler/driver/callable.h"
#include "compiler/driver/ir_file.h"
#include "compiler/driver/pipeline.h"

typedef struct SnlRunOptions {
    const char *path, *func, *out_prefix;
    char **arg; /* [n_arg] of the function */
    size_t n_arg;
    bool eval, compare, random, bench, chose_weights, cold, last_row, json;
    int64_t stage;   /* -1: all */
    int64_t threads; /* 0: not given */
    uint64_t weight_seed, seed;
    int64_t tokens, block; /* 0: not given */
    int64_t repeat;
    double limit; /* 0: by format */
    SnlWeightFormats weights;
    const char *kv; /* NULL: as declared */
    SnlTargetOptions target;
    SnlPipelineArgs pipeline;
    char *const *argv;
} SnlRunOptions;

typedef struct SnlRunSession {
    const SnlRunOptions *run;
    SnlArena *arena;
    SnlDiag *diag;
    SnlIrFile original, compiled; /* one text, parsed twice: passes change theirs */
    const SnlFunc *func;          /* of the original */
    SnlArgument *argument;        /* [n_param] */
    int64_t tokens;
    SnlEval *eval;         /* NULL: not wanted */
    SnlCallable *callable; /* NULL: not wanted */
    SnlFunc *scheduled;    /* of the compiled */
} SnlRunSession;

/* ---- run_options.c --------------------------------------------------------------------------- */

/* Does not come back after --help or a mistake. */
void snl_run_options_parse(int argc, char **argv, SnlRunOptions *out);
/* Are numbers stored in other formats than the IR says? */
bool snl_run_chose_formats(const SnlRunOptions *run);
/* The first option given that says what passes do; NULL: none. */
const char *snl_run_option_of_passes(const SnlRunOptions *run);

/* ---- run_session.c --------------------------------------------------------------------------- */

/* Opens FUNC and makes what the options call it with. To be closed in any case. */
SnlStatus snl_run_session_open(SnlRunSession *s, const SnlRunOptions *run, SnlDiag *diag);
void snl_run_session_close(SnlRunSession *s);

/* ---- run_call.c ------------------------------------------------------------------------------ */

/* Call number `call`: prints the results or, with --compare, their errors, and fails beyond the
 * limit. The last call's results are written where --output says. */
SnlStatus snl_run_call(SnlRunSession *s, int64_t call);

/* ---- run_bench.c ----------------------------------------------------------------------------- */

/* Times the compiled function and prints what each stage takes. */
SnlStatus snl_run_bench(SnlRunSession *s);

#endif
