/* compiler/driver/cmd_run.c -- `snlpc run`: calls one IR function through the reference evaluator,
 * compiled, or both and compares. How each kernel is tested alone. */
#include "compiler/driver/arguments.h"
#include "compiler/driver/callable.h"
#include "compiler/driver/commands.h"
#include "compiler/driver/compare.h"
#include "compiler/driver/emergency.h"
#include "compiler/driver/ir_file.h"
#include "compiler/driver/npy.h"
#include "compiler/driver/pipeline.h"
#include "compiler/driver/reproducer.h"
#include "compiler/driver/stages.h"
#include "ir/base/checked.h"
#include "passes/schedule.h"
#include "runtime/pool.h" /* SNLRT_MAX_THREADS */

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { OPT_EVAL = 0x2000, OPT_COMPARE, OPT_SEED, OPT_REPEAT, OPT_RANDOM, OPT_WEIGHTS, OPT_HEAD, OPT_KV, OPT_BLOCK,
       OPT_LIMIT, OPT_CPU, OPT_BENCH, OPT_STAGE, OPT_THREADS, OPT_COLD, OPT_LAST_ROW, OPT_JSON };

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What:", 1},
    {"eval", OPT_EVAL, NULL, 0, "Through the reference evaluator (f64) instead of compiled", 1},
    {"compare", OPT_COMPARE, NULL, 0,
     "Both; print the errors of the compiled results, and fail (exit status 1) beyond the limit", 1},
    {"limit", OPT_LIMIT, "X", 0,
     "With --compare: largest error allowed, relative to the largest element (default: by weight format, "
     "1e-5 for f32)",
     1},
    {"bench", OPT_BENCH, NULL, 0,
     "Call the compiled function for half a second and print for each of its stages the "
     "time (medians), the weights and caches it reads, its FLOPs, GB/s and GFLOP/s", 1},
    {"stage", OPT_STAGE, "N", 0, "With --bench: print stage N alone", 1},
    {"threads", OPT_THREADS, "N", 0, "With --bench: on N threads (default 1)", 1},
    {"cold", OPT_COLD, NULL, 0,
     "With --bench: before each call read 128 MiB of other memory, so that weights and caches come from "
     "memory", 1},
    {"last-row", OPT_LAST_ROW, NULL, 0,
     "With --bench: results of the last token alone are wanted, as programs want them of a prompt "
     "(of a function scheduled for that: `compile --emit ir` writes one, forward.prefill)", 1},
    {"json", OPT_JSON, NULL, 0, "With --bench: one object of JSON", 1},
    {NULL, 0, NULL, 0, "Arguments:", 2},
    {"tokens", 't', "T", 0, "Tokens of the call, at most 65536 without --eval (default: as the .npy files say, or 1)", 2},
    {"seed", OPT_SEED, "N", 0, "Seed of random tensors (default 1)", 2},
    {"repeat", OPT_REPEAT, "N", 0,
     "Call N times: states persist, positions advance by T, random tensors are new each time", 2},
    {"random-weights", OPT_RANDOM, "SEED", 0, "Weights are random numbers", 2},
    {"weights", OPT_WEIGHTS, "FORMAT", 0,
     "Store matrices as f32, bf16, f16, q8_0, q4_0 or source (default); the evaluator uses them "
     "rounded too", 2},
    {"weights-head", OPT_HEAD, "FORMAT", 0,
     "The same for the matrix that makes result 0 (default: as --weights)", 2},
    {"kv", OPT_KV, "FORMAT", 0,
     "Keep keys and values as f32, f16, q8_0 or auto (as for compile), in the evaluator too (default: as the "
     "states say)", 2},
    {NULL, 0, NULL, 0, "Code:", 3},
    {"block", OPT_BLOCK, "N", 0,
     "Call the prefill form, compiled for up to N tokens (default: the decode form for T = 1, else "
     "the prefill form for T)",
     3},
    {"cpu", OPT_CPU, "NAME", 0, "As for compile", 3},
    {NULL, 0, NULL, 0, "Output:", 4},
    {"output", 'o', "PREFIX", 0,
     "Write result i of the last call to PREFIX.i.npy (with --compare the compiled one)", 4},
    {0},
};

static const char doc[] =
    "Call function FUNC of the IR text in FILE.\v"
    "What `snlpc compile --emit ir` writes is taken as well: of a function that is scheduled already, "
    "as forward.decode, the code is made as it stands, without passes, so options that "
    "passes obey (--weights, --weights-head, --kv, --block, --pipeline) are refused.\n\n"
    "Each ARG belongs to a value parameter, by position or as NAME=ARG: random (the default), a .npy "
    "file, or a whole number for an index (default 0).\n\n"
    "Examples:\n"
    "  snlpc run tiny.snl forward --compare --tokens 5 --random-weights 7\n"
    "  snlpc run tiny.snl forward pos=100 --bench --weights q8_0\n"
    "  snlpc run scheduled.snl forward.prefill --tokens 64 --bench --last-row --threads 2 --json\n"
    "  snlpc run tiny.snl forward --eval tokens=ids.npy pos=0 -o logits\n"
    "  snlpc run kernels.snl linear_odd --compare --weights bf16 --block 16 --tokens 9";

typedef struct Run {
    const char *path, *func, *out_prefix;
    char **arg;
    size_t n_arg;
    bool eval, compare, random, bench, chose_weights, cold, last_row, json;
    int64_t stage; /* -1: all */
    int64_t threads; /* 0: not given */
    uint64_t weight_seed, seed;
    int64_t tokens, block, repeat; /* 0: not given */
    double limit; /* 0: by format */
    SnlWeightFormats weights;
    const char *kv; /* NULL: as declared */
    SnlTargetOptions target;
    SnlPipelineArgs pipeline;
    char *const *argv;
} Run;

/* ---- command line ------------------------------------------------------------------------------- */

static void add_argument(Run *run, char *text, struct argp_state *state)
{
    if (!run->path)
        run->path = text;
    else if (!run->func)
        run->func = *text == '@' ? text + 1 : text;
    else {
        /* The rest of argv is arguments of the function, mixed with options that argp has moved to
         * the front already. */
        if (!run->arg) run->arg = &state->argv[state->next - 1];
        run->n_arg++;
    }
}

static double parse_limit(struct argp_state *state, const char *text)
{
    double value = 0;
    if (!snl_parse_real(text, &value) || value <= 0)
        argp_error(state, "--limit: found '%s', wanted a number above 0", text);
    return value;
}

static bool chose_formats(const Run *run)
{
    return run->chose_weights || run->weights.own_head || run->kv;
}

/* The first option given that means something with --bench alone; NULL: none. */
static const char *option_of_bench(const Run *run)
{
    return run->stage >= 0 ? "--stage"
           : run->threads  ? "--threads"
           : run->cold     ? "--cold"
           : run->last_row ? "--last-row"
           : run->json     ? "--json"
                           : NULL;
}

static void check_options(const Run *run, struct argp_state *state)
{
    if (!run->func) argp_error(state, "wanted FILE and FUNC");
    if (run->bench && (run->eval || run->compare || run->limit > 0 || run->repeat || run->out_prefix))
        argp_error(state, "--bench excludes --eval, --compare, --limit, --repeat and --output");
    const char *of_bench = option_of_bench(run);
    if (of_bench && !run->bench) argp_error(state, "%s needs --bench", of_bench);
    if (run->eval && run->compare) argp_error(state, "--eval and --compare exclude each other");
    if (run->eval && (run->block || run->target.cpu))
        argp_error(state, "--eval compiles nothing: it takes no %s",
                   run->block ? "--block" : "--cpu");
    if (run->limit > 0 && !run->compare) argp_error(state, "--limit needs --compare");
    if (run->pipeline.text && chose_formats(run))
        argp_error(state, "--pipeline takes the place of --weights, --weights-head and --kv: name the "
                          "formats in it, as in " SNL_PIPELINE_FORMATS);
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    Run *run = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &run->pipeline; return 0;
    case OPT_EVAL: run->eval = true; return 0;
    case OPT_COMPARE: run->compare = true; return 0;
    case OPT_BENCH: run->bench = true; return 0;
    case OPT_STAGE: run->stage = snl_arg_int(state, "--stage", arg, 0, 1 << 30); return 0;
    case OPT_THREADS: run->threads = snl_arg_int(state, "--threads", arg, 1, SNLRT_MAX_THREADS); return 0;
    case OPT_COLD: run->cold = true; return 0;
    case OPT_LAST_ROW: run->last_row = true; return 0;
    case OPT_JSON: run->json = true; return 0;
    case OPT_LIMIT: run->limit = parse_limit(state, arg); return 0;
    case 't': run->tokens = snl_arg_int(state, "--tokens", arg, 1, 1 << 20); return 0;
    case OPT_SEED: run->seed = (uint64_t)snl_arg_int(state, "--seed", arg, 0, INT64_MAX); return 0;
    case OPT_REPEAT: run->repeat = snl_arg_int(state, "--repeat", arg, 1, 1 << 20); return 0;
    case OPT_RANDOM:
        run->random = true;
        run->weight_seed = (uint64_t)snl_arg_int(state, "--random-weights", arg, 0, INT64_MAX);
        return 0;
    case OPT_KV:
        run->kv = snl_arg_kv(state, arg);
        return 0;
    case OPT_WEIGHTS:
        run->weights.matrices = snl_arg_format(state, "--weights", arg);
        run->chose_weights = true;
        return 0;
    case OPT_HEAD:
        run->weights.head = snl_arg_format(state, "--weights-head", arg);
        run->weights.own_head = true;
        return 0;
    case OPT_BLOCK: run->block = snl_arg_int(state, "--block", arg, 2, 1 << 16); return 0;
    case OPT_CPU: run->target.cpu = arg; return 0;
    case 'o': run->out_prefix = arg; return 0;
    case ARGP_KEY_ARG: add_argument(run, arg, state); return 0;
    case ARGP_KEY_END:
        check_options(run, state);
        if (!run->repeat) run->repeat = 1;
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- the two ways to call ----------------------------------------------------------------------- */

typedef struct Session {
    const Run *run;
    SnlArena *arena;
    SnlDiag *diag;
    SnlIrFile original, compiled; /* one text, parsed twice: passes change theirs */
    const SnlFunc *func;          /* of the original */
    int64_t tokens;
    SnlEval *eval;
    SnlFunc *scheduled; /* of the compiled */
    SnlCallable *callable;
    SnlArgument *argument;
} Session;

static SnlStatus find_func(Session *s, const SnlModule *m, const char *name, SnlFunc **out)
{
    *out = snl_module_find_func(m, name);
    if (!*out)
        return snl_error_at(s->diag, SNL_E_NAME, s->run->path, "no function '@%s' in module '@%s'",
                            name, m->name);
    if ((*out)->kind == SNL_FUNC) return SNL_OK;
    return snl_error(s->diag, SNL_E_UNSUPPORTED, (*out)->loc,
                     "'@%s' is a layer: its states are bound by a call; run a func that calls it",
                     name);
}

/* Opens the file and leaves FUNC alone in it (with the layers): what the others name is not wanted. */
static SnlStatus open_func(Session *s, SnlIrFile *out, SnlFunc **out_func)
{
    const Run *run = s->run;
    SNL_TRY(snl_ir_file_open(s->arena, run->path, run->random, run->weight_seed, s->diag, out));
    SNL_TRY(find_func(s, out->module, run->func, out_func));
    for (SnlFunc *f = out->module->first, *next; f; f = next) {
        next = f->next;
        if (f->kind == SNL_FUNC && f != *out_func) snl_func_remove(f);
    }
    return SNL_OK;
}

static const char *pipeline_text(Session *s)
{
    const Run *run = s->run;
    bool prefill = s->tokens > 1 || run->block;
    int64_t block = run->block > s->tokens ? run->block : s->tokens;
    SnlPipelineSpec spec = {.weights = run->weights, .kv = run->kv, .func = run->func,
                            .block = prefill ? block : 0};
    return run->pipeline.text ? run->pipeline.text : snl_pipeline_default(s->arena, &spec);
}

static bool is_element(const char *element, const char *end, const char *name)
{
    size_t n = strlen(name);
    return strncmp(element, name, n) == 0 && (element[n] == '{' || element + n == end);
}

/* The elements of a pipeline up to those that choose formats, its last `pack` or `caches`; NULL when
 * it has none. */
static char *until_formats(SnlArena *arena, const char *text)
{
    bool quoted = false;
    int depth = 0;
    char *found = NULL;
    const char *element = text, *at = text;
    for (;; at++) {
        if (*at == '"') quoted = !quoted;
        if (!quoted) depth += (*at == '{') - (*at == '}');
        if (*at && (quoted || depth || *at != ',')) continue;
        if (is_element(element, at, "pack") || is_element(element, at, "caches"))
            found = snl_arena_printf(arena, "%.*s", (int)(at - text), text);
        if (!*at) return found;
        element = at + 1;
    }
}

/* Rounding to a chosen format is not an error of the code: the evaluator gets the same numbers. Which
 * ones are rounded depends on what was folded into them before. */
static SnlStatus prepare_eval(Session *s)
{
    bool rounds = chose_formats(s->run) || s->run->pipeline.text;
    char *text = rounds ? until_formats(s->arena, pipeline_text(s)) : NULL;
    if (text) {
        SnlPipelineOptions none = {.source = s->original.source};
        SNL_TRY(snl_pipeline_run(s->original.module, text, &none, s->diag));
    }
    s->eval = snl_eval_create(s->original.module, s->original.source, s->diag);
    return SNL_OK;
}

static bool is_scheduled(const SnlFunc *func)
{
    return snl_attr_find(&func->attrs, "stages") != NULL;
}

/* The first option given that says what passes do; NULL: none. */
static const char *option_of_passes(const Run *run)
{
    const SnlPipelineOptions *passes = &run->pipeline.options;
    const struct {
        const char *name;
        bool given;
    } option[] = {{"--weights", run->chose_weights},
                  {"--weights-head", run->weights.own_head},
                  {"--kv", run->kv},
                  {"--block", run->block},
                  {"--pipeline", run->pipeline.text},
                  {"--print-ir-after", passes->print_after},
                  {"--print-ir-before", passes->print_before},
                  {"--dump-dir", passes->dump_dir},
                  {"--check-each", passes->check_each},
                  {"--timing", passes->timing}};
    for (size_t i = 0; i < sizeof option / sizeof *option; i++)
        if (option[i].given) return option[i].name;
    return NULL;
}

/* Nothing would come of it. */
static SnlStatus refuse_options_of_passes(const Session *s, const SnlFunc *func)
{
    const char *option = option_of_passes(s->run);
    if (!option || !is_scheduled(func)) return SNL_OK;
    return snl_error_at(s->diag, SNL_E_USAGE, option,
                        "'@%s' is scheduled already and runs as it stands, without passes: leave the "
                        "option out, or give it to what makes the IR",
                        func->name);
}

/* Passes that make a scheduled function of `func`, found under its new name. */
static SnlStatus schedule(Session *s, SnlFunc **func)
{
    const Run *run = s->run;
    SnlModule *m = s->compiled.module;
    bool prefill = s->tokens > 1 || run->block;
    if (s->tokens > SNL_MAX_BLOCK && !run->pipeline.text)
        return snl_error_at(s->diag, SNL_E_USAGE, "--tokens",
                            "found %" PRId64 ", wanted at most %d for compiled code (--eval takes more)",
                            s->tokens, SNL_MAX_BLOCK);
    const char *text = pipeline_text(s);
    snl_emergency_set_reproducer(snl_reproducer_text(s->arena, m, run->argv, text));
    SnlPipelineOptions passes = run->pipeline.options;
    passes.source = s->compiled.source;
    SNL_TRY(snl_pipeline_run(m, text, &passes, s->diag));
    return find_func(s, m,
                     snl_arena_printf(s->arena, "%s.%s", run->func,
                                      prefill ? "prefill" : "decode"),
                     func);
}

static SnlStatus prepare_code(Session *s)
{
    SnlTargetOptions target = s->run->target;
    target.hook_stages = s->run->bench;
    SNL_TRY(open_func(s, &s->compiled, &s->scheduled));
    if (!is_scheduled(s->scheduled)) SNL_TRY(schedule(s, &s->scheduled));
    return snl_callable_create(s->arena, s->compiled.module, s->scheduled, s->compiled.source,
                               &target, s->diag, &s->callable);
}

/* ---- results ------------------------------------------------------------------------------------ */

static void print_tensor(size_t i, const SnlTensor *t)
{
    enum { SHOWN = 8 };
    int64_t n = snl_type_elems(t->type, t->n_tokens);
    printf("result %zu: ", i);
    snl_print_type(t->type, stdout);
    printf(" T = %" PRId64 ":", t->n_tokens);
    for (int64_t k = 0; k < n && k < SHOWN; k++) printf(" %.6g", t->at[k]);
    puts(n > SHOWN ? " ..." : "");
}

/* Where the code first rounds what it has computed in f32, and to what; NULL: nowhere. */
static const SnlOp *first_rounding(const SnlFunc *f, SnlDtype *out)
{
    for (const SnlOp *op = f->first; op; op = op->next) {
        bool caches = op->code == SNL_OP_KV_WRITE || op->code == SNL_OP_ATTENTION;
        *out = op->code == SNL_OP_CAST ? op->out[0]->type->dtype
               : caches                ? op->sym[0].state[0]->type->dtype
                                       : SNL_F32;
        if (*out != SNL_F32) return op;
    }
    return NULL;
}

static void explain_rounding(const Session *s)
{
    SnlDtype dtype;
    const SnlOp *op = first_rounding(s->scheduled, &dtype);
    if (!op) return;
    snl_note(s->diag, op->loc,
             "'@%s' rounds to %s: a number that lies between two of that format moves by a step when its "
             "last bit differs, and what follows moves with it. Errors of this kind come and go with --seed, "
             "and have an nmse below 1e-4; a mistake stays",
             s->scheduled->name, snl_dtype_info[dtype].text);
}

static SnlStatus compare_result(Session *s, int64_t call, size_t i, const SnlTensor *found,
                                const SnlTensor *wanted)
{
    SnlErrors e = snl_compare(found, wanted);
    double limit = s->run->limit > 0 ? s->run->limit : snl_compare_limit(s->compiled.module);
    bool good = !e.nan && e.relative <= limit;
    printf("call %" PRId64 " result %zu: ", call, i);
    snl_print_type(wanted->type, stdout);
    printf(" max abs %.3g, relative %.3g (limit %.3g), nmse %.3g%s\n", e.max_abs, e.relative,
           limit, e.nmse, good ? "" : "  FAILED");
    if (good) return SNL_OK;
    SnlStatus status =
        snl_error_at(s->diag, SNL_E_NUMERIC, s->run->path,
                     "'@%s' call %" PRId64 " result %zu, element %" PRId64 " (row %" PRId64
                     "): found %.9g, wanted %.9g (seed %" PRIu64 ")",
                     s->run->func, call, i, e.at, e.at / snl_type_row_elems(wanted->type),
                     found->at[e.at], wanted->at[e.at], s->run->seed);
    explain_rounding(s);
    return status;
}

static SnlStatus write_results(Session *s, const SnlTensor *results)
{
    if (!s->run->out_prefix) return SNL_OK;
    for (size_t i = 0; i < s->func->n_result; i++) {
        const SnlType *type = results[i].type;
        int64_t dim[SNL_MAX_RANK];
        for (int k = 0; k < type->rank; k++)
            dim[k] = type->dim[k] == SNL_DIM_T ? s->tokens : type->dim[k];
        const char *path = snl_arena_printf(s->arena, "%s.%zu.npy", s->run->out_prefix, i);
        SNL_TRY(snl_npy_write(path, type->dtype, type->rank, dim, results[i].at, s->diag));
    }
    return SNL_OK;
}

static SnlStatus one_call(Session *s, SnlArena *scratch, int64_t call)
{
    const SnlFunc *f = s->func;
    SnlTensor *args = SNL_NEW_ARRAY(scratch, SnlTensor, f->n_param);
    SnlTensor *wanted = SNL_NEW_ARRAY(scratch, SnlTensor, f->n_result);
    SnlTensor *found = SNL_NEW_ARRAY(scratch, SnlTensor, f->n_result);
    SNL_TRY(snl_arguments_make(scratch, f, s->argument, s->tokens, s->run->seed, call, s->diag,
                               args));
    if (s->eval) SNL_TRY(snl_eval_call(s->eval, f, args, NULL, s->tokens, wanted));
    if (s->callable)
        SNL_TRY(snl_callable_call(s->callable, scratch, args, s->tokens, s->diag, found));
    SnlStatus status = SNL_OK;
    for (size_t i = 0; i < f->n_result; i++) {
        if (s->run->compare) {
            SnlStatus compared = compare_result(s, call, i, &found[i], &wanted[i]);
            if (compared != SNL_OK) status = compared;
        } else {
            print_tensor(i, s->callable ? &found[i] : &wanted[i]);
        }
    }
    if (status == SNL_OK && call + 1 == s->run->repeat)
        status = write_results(s, s->callable ? found : wanted);
    return status;
}

/* ---- timing ------------------------------------------------------------------------------------- */

/* The first index parameter is the position that attention starts from. */
static int64_t position_of(const Session *s, const SnlTensor *args)
{
    for (size_t i = 0; i < s->func->n_param; i++)
        if (args[i].type->dtype == SNL_INDEX) return (int64_t)args[i].at[0];
    return 0;
}

static SnlStatus check_last_row(const Session *s)
{
    if (!s->run->last_row || snl_attr_find(&s->scheduled->attrs, "tail")) return SNL_OK;
    return snl_error_at(s->diag, SNL_E_USAGE, "--last-row",
                        "'@%s' computes every row of its results; wanted a function that is scheduled with "
                        "`tail`, as forward.prefill of `snlpc compile --emit ir`",
                        s->scheduled->name);
}

static SnlStatus check_stage(const Session *s, const SnlStageTable *table)
{
    for (size_t i = 0; i < table->n; i++)
        if (s->run->stage < 0 || table->at[i].stage == s->run->stage) return SNL_OK;
    return snl_error_at(s->diag, SNL_E_USAGE, "--stage",
                        "found %" PRId64 ", wanted 0 to %" PRId64 ", the last of '@%s'",
                        s->run->stage, table->at[table->n - 1].stage, s->scheduled->name);
}

static SnlStatus bench(Session *s)
{
    SnlTensor *args = SNL_NEW_ARRAY(s->arena, SnlTensor, s->func->n_param);
    SnlPayload payload;
    SnlStageReport r = {.func = s->scheduled->name, .only = s->run->stage,
                        .how = {.n_tokens = s->tokens, .n_threads = s->run->threads ? s->run->threads : 1,
                                .last_row = s->run->last_row, .cold = s->run->cold}};
    SNL_TRY(snl_arguments_make(s->arena, s->func, s->argument, s->tokens, s->run->seed, 0, s->diag,
                               args));
    SNL_TRY(snl_payload_plan(s->arena, s->compiled.module, &s->scheduled, 1, s->diag, &payload));
    r.pos = position_of(s, args);
    r.table = snl_stage_table(s->arena, s->scheduled, &payload, &r.how, r.pos);
    SNL_TRY(check_stage(s, &r.table));
    SNL_TRY(check_last_row(s));
    SNL_TRY(snl_stage_times(s->callable, s->arena, args, &r.how, r.table.n, s->diag, &r.times));
    if (s->run->json)
        snl_stages_print_json(stdout, &r);
    else
        snl_stages_print(stdout, &r);
    return SNL_OK;
}

static SnlStatus run_session(Session *s)
{
    const Run *run = s->run;
    SnlFunc *func;
    SNL_TRY(open_func(s, &s->original, &func));
    s->func = func;
    SNL_TRY(refuse_options_of_passes(s, func));
    s->argument = SNL_NEW_ARRAY(s->arena, SnlArgument, func->n_param);
    SNL_TRY(snl_arguments_parse(func, run->arg, run->n_arg, s->diag, s->argument));
    SNL_TRY(snl_arguments_tokens(func, s->argument, run->tokens, s->diag, &s->tokens));
    if (run->eval || run->compare) SNL_TRY(prepare_eval(s));
    if (!run->eval) SNL_TRY(prepare_code(s));
    if (run->bench) return bench(s);
    SnlStatus status = SNL_OK;
    for (int64_t call = 0; call < run->repeat && status == SNL_OK; call++) {
        SnlArena *scratch = snl_arena_create();
        status = one_call(s, scratch, call);
        snl_arena_destroy(scratch);
    }
    return status;
}

SnlStatus snl_cmd_run(int argc, char **argv)
{
    static const struct argp_child children[] = {{&snl_pipeline_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options, parse_option, "FILE FUNC [ARG...]", doc, children,
                                     NULL, NULL};
    Run run = {.stage = -1, .seed = 1, .pipeline = snl_pipeline_args_init(), .argv = argv};
    argp_parse(&argp, argc, argv, 0, NULL, &run);
    run.target.verify = true;
    SnlDiag *diag = snl_diag_create(stderr, 0);
    Session s = {.run = &run, .arena = snl_arena_create(), .diag = diag};
    SnlStatus status = run_session(&s);
    if (status == SNL_INTERNAL) snl_emergency_write_reproducer();
    snl_emergency_set_reproducer(NULL);
    if (s.eval) snl_eval_destroy(s.eval);
    snl_callable_destroy(s.callable);
    snl_ir_file_close(&s.compiled);
    snl_ir_file_close(&s.original);
    snl_arena_destroy(s.arena);
    snl_diag_destroy(diag);
    return status;
}
