/* compiler/driver/run_options.c -- the command line of `snlpc run`. */
#include "compiler/driver/run_session.h"

#include "ir/base/checked.h"
#include "runtime/pool.h" /* SNLRT_MAX_THREADS */

enum {
    OPT_EVAL = 0x2000,
    OPT_COMPARE,
    OPT_SEED,
    OPT_REPEAT,
    OPT_RANDOM,
    OPT_WEIGHTS,
    OPT_HEAD,
    OPT_KV,
    OPT_BLOCK,
    OPT_LIMIT,
    OPT_CPU,
    OPT_BENCH,
    OPT_STAGE,
    OPT_THREADS,
    OPT_COLD,
    OPT_LAST_ROW,
    OPT_JSON
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What:", 1},
    {"eval", OPT_EVAL, NULL, 0, "Through the reference evaluator (f64) instead of compiled", 1},
    {"compare", OPT_COMPARE, NULL, 0,
     "Both; print the errors of the compiled results, and fail (exit status 1) beyond the limit",
     1},
    {"limit", OPT_LIMIT, "X", 0,
     "With --compare: largest error allowed, relative to the largest element (default: by weight "
     "format, 1e-5 for f32)",
     1},
    {"bench", OPT_BENCH, NULL, 0,
     "Call the compiled function for half a second and print for each of its stages the "
     "time (medians), the weights and caches it reads, its FLOPs, GB/s and GFLOP/s",
     1},
    {"stage", OPT_STAGE, "N", 0, "With --bench: print stage N alone", 1},
    {"threads", OPT_THREADS, "N", 0, "With --bench: on N threads (default 1)", 1},
    {"cold", OPT_COLD, NULL, 0,
     "With --bench: before each call read 128 MiB of other memory, so that weights and caches come "
     "from memory",
     1},
    {"last-row", OPT_LAST_ROW, NULL, 0,
     "With --bench: results of the last token alone are wanted, as programs want them of a prompt "
     "(of a function scheduled for that: `compile --emit ir` writes one, forward.prefill)",
     1},
    {"json", OPT_JSON, NULL, 0, "With --bench: one object of JSON", 1},
    {NULL, 0, NULL, 0, "Arguments:", 2},
    {"tokens", 't', "T", 0,
     "Tokens of the call, at most 65536 without --eval (default: as the .npy files say, or 1)", 2},
    {"seed", OPT_SEED, "N", 0, "Seed of random tensors (default 1)", 2},
    {"repeat", OPT_REPEAT, "N", 0,
     "Call N times: states persist, positions advance by T, random tensors are new each time", 2},
    {"random-weights", OPT_RANDOM, "SEED", 0, "Weights are random numbers", 2},
    {"weights", OPT_WEIGHTS, "FORMAT", 0,
     "Store matrices as f32, bf16, f16, q8_0, q4_0 or source (default); the evaluator uses them "
     "rounded too",
     2},
    {"weights-head", OPT_HEAD, "FORMAT", 0,
     "The same for the matrix that makes result 0 (default: as --weights)", 2},
    {"kv", OPT_KV, "FORMAT", 0,
     "Keep keys and values as f32, f16, q8_0 or auto (as for compile), in the evaluator too "
     "(default: as the states say)",
     2},
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
    "What `snlpc compile --emit ir` writes is taken as well: of a function that is scheduled "
    "already, as forward.decode, the code is made as it stands, without passes, so options that "
    "passes obey (--weights, --weights-head, --kv, --block, --pipeline) are refused.\n\n"
    "Each ARG belongs to a value parameter, by position or as NAME=ARG: random (the default), a "
    ".npy file, or a whole number for an index (default 0).\n\n"
    "Examples:\n"
    "  snlpc run tiny.snl forward --compare --tokens 5 --random-weights 7\n"
    "  snlpc run tiny.snl forward pos=100 --bench --weights q8_0\n"
    "  snlpc run scheduled.snl forward.prefill --tokens 64 --bench --last-row --threads 2 --json\n"
    "  snlpc run tiny.snl forward --eval tokens=ids.npy pos=0 -o logits\n"
    "  snlpc run kernels.snl linear_odd --compare --weights bf16 --block 16 --tokens 9";

static void add_argument(SnlRunOptions *run, char *text, struct argp_state *state)
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

bool snl_run_chose_formats(const SnlRunOptions *run)
{
    return run->chose_weights || run->weights.own_head || run->kv;
}

/* The first option given that means something with --bench alone; NULL: none. */
static const char *option_of_bench(const SnlRunOptions *run)
{
    return run->stage >= 0 ? "--stage"
           : run->threads  ? "--threads"
           : run->cold     ? "--cold"
           : run->last_row ? "--last-row"
           : run->json     ? "--json"
                           : NULL;
}

const char *snl_run_option_of_passes(const SnlRunOptions *run)
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

static void check_options(const SnlRunOptions *run, struct argp_state *state)
{
    if (!run->func) argp_error(state, "wanted FILE and FUNC");
    if (run->bench &&
        (run->eval || run->compare || run->limit > 0 || run->repeat || run->out_prefix))
        argp_error(state, "--bench excludes --eval, --compare, --limit, --repeat and --output");
    const char *of_bench = option_of_bench(run);
    if (of_bench && !run->bench) argp_error(state, "%s needs --bench", of_bench);
    if (run->eval && run->compare) argp_error(state, "--eval and --compare exclude each other");
    if (run->eval && (run->block || run->target.cpu))
        argp_error(state, "--eval compiles nothing: it takes no %s",
                   run->block ? "--block" : "--cpu");
    if (run->limit > 0 && !run->compare) argp_error(state, "--limit needs --compare");
    if (run->pipeline.text && snl_run_chose_formats(run))
        argp_error(state,
                   "--pipeline takes the place of --weights, --weights-head and --kv: name the "
                   "formats in it, as in " SNL_PIPELINE_FORMATS);
}

/* The switch that an option turns on; NULL: it is none. */
static bool *switch_of(SnlRunOptions *run, int key)
{
    switch (key) {
    case OPT_EVAL:
        return &run->eval;
    case OPT_COMPARE:
        return &run->compare;
    case OPT_BENCH:
        return &run->bench;
    case OPT_COLD:
        return &run->cold;
    case OPT_LAST_ROW:
        return &run->last_row;
    case OPT_JSON:
        return &run->json;
    default:
        return NULL;
    }
}

/* Takes an option whose argument is a whole number; false: it is another one. */
static bool parse_number(SnlRunOptions *run, int key, const char *arg, struct argp_state *state)
{
    switch (key) {
    case OPT_STAGE:
        run->stage = snl_arg_int(state, "--stage", arg, 0, 1 << 30);
        return true;
    case OPT_THREADS:
        run->threads = snl_arg_int(state, "--threads", arg, 1, SNLRT_MAX_THREADS);
        return true;
    case 't':
        run->tokens = snl_arg_int(state, "--tokens", arg, 1, 1 << 20);
        return true;
    case OPT_SEED:
        run->seed = (uint64_t)snl_arg_int(state, "--seed", arg, 0, INT64_MAX);
        return true;
    case OPT_REPEAT:
        run->repeat = snl_arg_int(state, "--repeat", arg, 1, 1 << 20);
        return true;
    case OPT_RANDOM:
        run->random = true;
        run->weight_seed = (uint64_t)snl_arg_int(state, "--random-weights", arg, 0, INT64_MAX);
        return true;
    case OPT_BLOCK:
        run->block = snl_arg_int(state, "--block", arg, 2, 1 << 16);
        return true;
    default:
        return false;
    }
}

/* Takes an option that chooses how numbers are stored; false: it is another one. */
static bool parse_format(SnlRunOptions *run, int key, char *arg, struct argp_state *state)
{
    switch (key) {
    case OPT_WEIGHTS:
        run->weights.matrices = snl_arg_format(state, "--weights", arg);
        run->chose_weights = true;
        return true;
    case OPT_HEAD:
        run->weights.head = snl_arg_format(state, "--weights-head", arg);
        run->weights.own_head = true;
        return true;
    case OPT_KV:
        run->kv = snl_arg_kv(state, arg);
        return true;
    default:
        return false;
    }
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    SnlRunOptions *run = state->input;
    bool *turned_on = switch_of(run, key);
    if (turned_on) *turned_on = true;
    if (turned_on || parse_number(run, key, arg, state) || parse_format(run, key, arg, state))
        return 0;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &run->pipeline;
        return 0;
    case OPT_LIMIT:
        run->limit = parse_limit(state, arg);
        return 0;
    case OPT_CPU:
        run->target.cpu = arg;
        return 0;
    case 'o':
        run->out_prefix = arg;
        return 0;
    case ARGP_KEY_ARG:
        add_argument(run, arg, state);
        return 0;
    case ARGP_KEY_END:
        check_options(run, state);
        if (!run->repeat) run->repeat = 1;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

void snl_run_options_parse(int argc, char **argv, SnlRunOptions *out)
{
    static const struct argp_child children[] = {{&snl_pipeline_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options, parse_option, "FILE FUNC [ARG...]", doc, children,
                                     NULL,    NULL};
    *out =
        (SnlRunOptions){.stage = -1, .seed = 1, .pipeline = snl_pipeline_args_init(), .argv = argv};
    argp_parse(&argp, argc, argv, 0, NULL, out);
    out->target.verify = true;
}
