/* compiler/driver/compile_options.c -- the options that `snlpc compile` and `snlpc eval` share. */
#include "compiler/driver/compilation.h"

#include "ir/base/checked.h"

#include <string.h>

enum {
    OPT_PLAN = 0x3000,
    OPT_WEIGHTS,
    OPT_HEAD,
    OPT_KV,
    OPT_CONTEXT,
    OPT_RANDOM,
    OPT_MAX_STATE,
    OPT_CPU,
    OPT_CORES
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "Model:", 12},
    {"weights", OPT_WEIGHTS, "FORMAT", 0,
     "Stored format of the matrices: f32, bf16, f16, q8_0, q4_0 or source (default: as in the "
     "model's files). Activations are f32; products with bf16 matrices round them to bf16, with "
     "q8_0 and q4_0 matrices to 8 bits",
     12},
    {"weights-head", OPT_HEAD, "FORMAT", 0,
     "The same for the matrix that makes the logits (default: as --weights). A model that ties it "
     "to the embedding has one matrix for both, which is stored in this format",
     12},
    {"kv", OPT_KV, "FORMAT", 0,
     "Format of the caches, where keys and values are kept: f32, f16, q8_0 or auto (default: "
     "f32 if all matrices are stored as f32, else f16)",
     12},
    {"context", OPT_CONTEXT, "N", 0,
     "Positions the program can hold (default: the trained length, at most 4096)", 12},
    {"random-weights", OPT_RANDOM, "SEED", 0,
     "Fill the weights with random numbers; no weight file is needed", 12},
    {NULL, 0, NULL, 0, "Plans:", 13},
    {"plan", OPT_PLAN, "[NAME=]PLAN", 0,
     "Which layers are evaluated side by side, and how often (below); may be given several times. "
     "NAME is what --mode calls it; without NAME it is seq for the plan seq, else snlp, snlp2, ... "
     "Without any plan the model runs layer by layer",
     13},
    {"max-state", OPT_MAX_STATE, "BYTES", 0,
     "Refuse plans whose caches need more (a number, with K, M or G; default: half of the memory "
     "here)",
     13},
    {NULL, 0, NULL, 0, "Target:", 14},
    {"cpu", OPT_CPU, "NAME", 0,
     "native, or a name LLVM knows. Without it a program for x86-64 carries code for several "
     "levels of processors (v2, v3, v4+vnni; with q8_0 or q4_0 also v3+avxvnni, with bf16 also "
     "v4+vnni+bf16) and takes the highest that the machine has; SNL_LEVEL=NAME in its environment, "
     "with one of these names, forces one. A machine without any gets one line that says what is "
     "missing",
     14},
    {"cores", OPT_CORES, "N", 0,
     "Cores that the program will mostly run on (default 2): work is shared out so that as many "
     "threads have equal parts of it, attention of a long context in parts of positions where it "
     "has fewer heads of keys than that. It runs on any number all the same, with the same results "
     "on each",
     14},
    {0},
};

int64_t snl_arg_bytes(struct argp_state *state, const char *option, const char *text)
{
    static const char letters[] = "KMGT";
    size_t n = strlen(text);
    const char *letter = n > 1 ? strchr(letters, text[n - 1]) : NULL;
    double value = 0, unit = 1;
    char number[32] = "";
    if (letter && n <= sizeof number) {
        memcpy(number, text, n - 1);
        for (const char *l = letters; l <= letter; l++) unit *= 1024;
    }
    if (!snl_parse_real(letter ? number : text, &value) || value * unit < 1 ||
        value * unit > 0x1p60)
        argp_error(state, "%s: found '%s', wanted a number of bytes, as in 4096, 512K, 8M or 1.5G",
                   option, text);
    return (int64_t)(value * unit);
}

/* A --weights-head before all --weights is for each of them. */
static void add_format(SnlCompileOptions *o, SnlWeightFormat matrices)
{
    SnlWeightFormats formats = o->weights;
    formats.matrices = matrices;
    SNL_PUSH(o->arena, &o->formats, formats);
}

/* Of the --weights before it. */
static void set_head(SnlCompileOptions *o, SnlWeightFormat head)
{
    SnlWeightFormats *formats = o->formats.n ? &o->formats.at[o->formats.n - 1] : &o->weights;
    formats->head = head;
    formats->own_head = true;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    SnlCompileOptions *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->pipeline;
        return 0;
    case OPT_WEIGHTS:
        o->chose_weights = true;
        add_format(o, snl_arg_format(state, "--weights", arg));
        return 0;
    case OPT_HEAD:
        o->chose_weights = true;
        set_head(o, snl_arg_format(state, "--weights-head", arg));
        return 0;
    case OPT_KV:
        o->kv = snl_arg_kv(state, arg);
        return 0;
    case OPT_CONTEXT:
        o->context = snl_arg_int(state, "--context", arg, 1, 1 << 24);
        return 0;
    case OPT_RANDOM:
        o->random_weights = true;
        o->seed = (uint64_t)snl_arg_int(state, "--random-weights", arg, 0, INT64_MAX);
        return 0;
    case OPT_PLAN:
        SNL_PUSH(o->arena, &o->modes.plans, arg);
        return 0;
    case OPT_MAX_STATE:
        o->max_state = snl_arg_bytes(state, "--max-state", arg);
        return 0;
    case OPT_CPU:
        o->target.cpu = arg;
        return 0;
    case OPT_CORES:
        o->cores = snl_arg_int(state, "--cores", arg, 1, 1024);
        return 0;
    case ARGP_KEY_END:
        if (!o->formats.n) SNL_PUSH(o->arena, &o->formats, o->weights);
        o->weights = o->formats.at[0];
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&snl_pipeline_argp, 0, NULL, 0}, {0}};
const struct argp snl_compile_argp = {
    .options = options, .parser = parse_option, .children = children};

SnlCompileOptions snl_compile_options_init(char *const *argv)
{
    return (SnlCompileOptions){
        .arena = snl_arena_create(), .pipeline = snl_pipeline_args_init(), .argv = argv};
}

void snl_compile_options_deinit(SnlCompileOptions *o)
{
    snl_arena_destroy(o->arena);
    o->arena = NULL;
}
