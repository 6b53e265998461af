/* compiler/driver/cmd_compile.c -- the command line of `snlpc compile`. */
#include "compiler/driver/build.h"
#include "compiler/driver/commands.h"

#include <string.h>

enum { OPT_EMIT = 0x2000, OPT_TARGET, OPT_SANITIZE, OPT_STATES, OPT_MODES, OPT_TENSORS };

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "Output:", 1},
    {"output", 'o', "FILE", 0, "Write the result to FILE; it appears whole or not at all", 1},
    {"emit", OPT_EMIT, "KIND", 0,
     "exe (default): the program; obj, asm, llvm: its code without runtime and weights; ir: the IR "
     "after the passes (with --pipeline '' as the frontend made it). All but exe and obj may go to "
     "stdout",
     1},
    {"quiet", 'q', NULL, 0, "No summary on stderr", 1},
    {"tensors", OPT_TENSORS, NULL, 0,
     "List every stored tensor in the summary: shape, format, bytes, and the relative error (root "
     "of the mean square) that its format makes. Without it they are listed by class",
     1},
    {"keep-states", OPT_STATES, NULL, 0,
     "Let the program write the output of every layer (its option --states), for tests", 12},
    {"modes", OPT_MODES, "NAMES", 0,
     "Which plans the program gets, by name, with commas between (default: all that --plan gives). "
     "seq is always known: --plan 'n8 K1' --modes seq,snlp gives both graphs over one set of "
     "weights. The first plan given is the default of the program's --mode",
     13},
    {"target", OPT_TARGET, "TRIPLE", 0, "Target triple (default: this machine's)", 14},
    {"sanitize", OPT_SANITIZE, "WHAT", 0,
     "address or thread: instrument the generated code; the program is then linked dynamically",
     14},
    {0},
};

static const char doc[] =
    "Turn MODEL into one standalone native program.\v"
    "MODEL is a Hugging Face folder (config.json, model.safetensors or the shards that "
    "model.safetensors.index.json names, tokenizer.json) or a .snl file (IR text with a function "
    "@forward).\n\n" SNL_PLAN_HELP "Examples:\n"
    "  snlpc compile models/story -o story && ./story -p 'Once upon a time'\n"
    "  snlpc compile models/story -o story --weights bf16 --context 1024\n"
    "  snlpc compile models/story -o story --weights q4_0 --weights-head q8_0\n"
    "  snlpc compile models/story -o story --plan 'n12 K1' --modes seq,snlp\n"
    "  ./story --mode seq --bench\n"
    "  snlpc compile models/story --emit ir --print-ir-after simplify\n\n"
    "Environment: TMPDIR (temporary files), SNLPC_LLD (another ld.lld).\n"
    "After an internal error (exit status 3) a file snlpc-reproducer-*.snl in the current folder "
    "replays it.";

static SnlBuildKind parse_kind(struct argp_state *state, const char *text)
{
    static const char *const names[] = {"ir", "llvm", "asm", "obj", "exe"};
    for (int i = 0; i < 5; i++)
        if (strcmp(text, names[i]) == 0) return (SnlBuildKind)i;
    argp_error(state, "--emit: found '%s', wanted exe, obj, asm, llvm or ir", text);
    return SNL_BUILD_EXE;
}

static SnlSanitizer parse_sanitizer(struct argp_state *state, const char *text)
{
    if (strcmp(text, "address") == 0) return SNL_SANITIZE_ADDRESS;
    if (strcmp(text, "thread") == 0) return SNL_SANITIZE_THREAD;
    argp_error(state, "--sanitize: found '%s', wanted address or thread", text);
    return SNL_SANITIZE_NONE;
}

static void check_arguments(struct argp_state *state, const SnlBuildOptions *o)
{
    if (!o->compile.model) argp_error(state, "no MODEL given");
    if (o->compile.formats.n > 1)
        argp_error(state, "found a second --weights: a program has one format; snlpc eval compares "
                          "several");
    if (o->out_path && !*o->out_path) argp_error(state, "-o: found '', wanted the name of a file");
    if (o->each_tensor && o->kind != SNL_BUILD_EXE)
        argp_error(state, "--tensors is about the summary of a program: it takes no --emit");
    const char *triple = o->compile.target.triple;
    if (o->kind == SNL_BUILD_EXE && triple && strchr(triple, '-') && !strstr(triple, "linux"))
        argp_error(state,
                   "--target: found '%s', wanted a triple of Linux, for which programs are; code "
                   "for others: --emit obj",
                   triple);
    bool needs_file = o->kind == SNL_BUILD_EXE || o->kind == SNL_BUILD_OBJ;
    if (needs_file && !o->out_path) argp_error(state, "no output file given: add -o FILE");
    if (needs_file && strcmp(o->out_path, "-") == 0)
        argp_error(state,
                   "-o: found '-', wanted the name of a file: programs and objects do not go "
                   "to stdout");
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    SnlBuildOptions *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->compile;
        return 0;
    case 'o':
        o->out_path = arg;
        return 0;
    case 'q':
        o->quiet = true;
        return 0;
    case OPT_EMIT:
        o->kind = parse_kind(state, arg);
        return 0;
    case OPT_TENSORS:
        o->each_tensor = true;
        return 0;
    case OPT_TARGET:
        o->compile.target.triple = arg;
        return 0;
    case OPT_SANITIZE:
        o->compile.target.sanitize = parse_sanitizer(state, arg);
        return 0;
    case OPT_STATES:
        o->compile.keep_states = true;
        return 0;
    case OPT_MODES:
        o->compile.modes.modes = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (o->compile.model) argp_error(state, "found a second MODEL '%s'", arg);
        o->compile.model = arg;
        return 0;
    case ARGP_KEY_END:
        check_arguments(state, o);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

SnlStatus snl_cmd_compile(int argc, char **argv)
{
    static const struct argp_child children[] = {{&snl_compile_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options, parse_option, "MODEL", doc, children, NULL, NULL};
    SnlBuildOptions build = {.kind = SNL_BUILD_EXE, .compile = snl_compile_options_init(argv)};
    argp_parse(&argp, argc, argv, 0, NULL, &build);
    build.compile.target.verify = build.compile.pipeline.options.verify_each;
    SnlDiag *diag = snl_diag_create(stderr, 0);
    SnlStatus status = snl_build(&build, diag);
    snl_diag_destroy(diag);
    snl_compile_options_deinit(&build.compile);
    return status;
}
