/* compiler/driver/cmd_opt.c -- `snlpc opt`: IR text in, IR text (or dot) out. What the golden tests
 * use. */
#include "compiler/driver/commands.h"
#include "compiler/driver/ir_file.h"
#include "compiler/driver/pipeline.h"
#include "ir/base/file.h"

#include <errno.h>
#include <string.h>

enum { OPT_EMIT = 0x2000, OPT_RANDOM, OPT_LIST, OPT_PRINT_PIPELINE, OPT_FUNC };

static const struct argp_option options[] = {
    {"output", 'o', "FILE", 0, "Write to FILE instead of stdout", 1},
    {"emit", OPT_EMIT, "KIND", 0, "ir (default), dot (Graphviz), or none: only check", 1},
    {"func", OPT_FUNC, "NAME", 0, "dot: this function (default: all)", 1},
    {"random-weights", OPT_RANDOM, "SEED", 0,
     "Weights are random numbers, not read from the files that the IR names", 1},
    {"list-passes", OPT_LIST, NULL, 0, "Print all passes with their options and end", 1},
    {"print-pipeline", OPT_PRINT_PIPELINE, NULL, 0,
     "Print the pipeline in its canonical form (without --pipeline: the one that compile uses) and "
     "end",
     1},
    {0},
};

static const char doc[] =
    "Run passes over the IR text in FILE (- for stdin) and print the result.\v"
    "Without --pipeline no pass runs: the text is parsed, verified and printed.\n\n"
    "Examples:\n"
    "  snlpc opt tiny.snl --pipeline 'inline-layers,simplify,cse,dce'\n"
    "  snlpc compile model/ --emit ir --pipeline '' | snlpc opt - --emit dot | dot -Tsvg";

typedef enum Emit { EMIT_IR, EMIT_DOT, EMIT_NONE } Emit;

typedef struct Opt {
    const char *path, *out_path, *func;
    Emit emit;
    bool random, list, print_pipeline;
    uint64_t seed;
    SnlPipelineArgs pipeline;
} Opt;

static Emit parse_emit(struct argp_state *state, const char *text)
{
    if (strcmp(text, "ir") == 0) return EMIT_IR;
    if (strcmp(text, "dot") == 0) return EMIT_DOT;
    if (strcmp(text, "none") == 0) return EMIT_NONE;
    argp_error(state, "--emit: found '%s', wanted ir, dot or none", text);
    return EMIT_IR;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    Opt *opt = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &opt->pipeline; return 0;
    case 'o': opt->out_path = arg; return 0;
    case OPT_EMIT: opt->emit = parse_emit(state, arg); return 0;
    case OPT_FUNC: opt->func = arg; return 0;
    case OPT_RANDOM:
        opt->random = true;
        opt->seed = (uint64_t)snl_arg_int(state, "--random-weights", arg, 0, INT64_MAX);
        return 0;
    case OPT_LIST: opt->list = true; return 0;
    case OPT_PRINT_PIPELINE: opt->print_pipeline = true; return 0;
    case ARGP_KEY_ARG:
        if (opt->path) argp_error(state, "found a second FILE '%s'", arg);
        opt->path = arg;
        return 0;
    case ARGP_KEY_END:
        if (opt->out_path && !*opt->out_path)
            argp_error(state, "-o: found '', wanted the name of a file");
        if (!opt->path && !opt->list && !opt->print_pipeline) argp_error(state, "no FILE given");
        if (opt->list && (opt->path || opt->out_path || opt->pipeline.text))
            argp_error(state, "--list-passes takes no FILE, no -o and no --pipeline");
        if (opt->func && opt->emit != EMIT_DOT)
            argp_error(state, "--func is for --emit dot: other output has all functions");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static void list_passes(void)
{
    static const char *const class_text[] = {[SNL_EXACT] = "exact",
                                             [SNL_REORDERS] = "exact up to the order of sums",
                                             [SNL_APPROXIMATE] = "approximate",
                                             [SNL_CHANGES_FUNCTION] = "changes-function",
                                             [SNL_ROUNDS] = "rounds"};
    for (const SnlPass *const *p = snl_passes; *p; p++) {
        printf("%-16s %s (%s)\n", (*p)->name, (*p)->summary, class_text[(*p)->exactness]);
        for (const SnlPassOption *o = (*p)->options; o && o->name; o++)
            printf("    %-12s %s (default %s)\n", o->name, o->help, o->def);
    }
}

static SnlStatus print_pipeline(const Opt *opt, SnlArena *arena, SnlDiag *diag)
{
    SnlPipelineSpec spec = {.kv = "auto", .tail = true};
    const char *text = opt->pipeline.text ? opt->pipeline.text : snl_pipeline_default(arena, &spec);
    char *canonical = snl_pipeline_print(arena, text, diag);
    if (!canonical) return SNL_USAGE;
    puts(canonical);
    return SNL_OK;
}

static SnlStatus print_dot(const Opt *opt, const SnlModule *m, FILE *out, SnlDiag *diag)
{
    if (opt->func) {
        const SnlFunc *func = snl_module_find_func(m, opt->func);
        if (!func)
            return snl_error_at(diag, SNL_E_NAME, "--func", "no function '@%s'", opt->func);
        snl_print_dot(func, out);
        return SNL_OK;
    }
    for (const SnlFunc *f = m->first; f; f = f->next) snl_print_dot(f, out);
    return SNL_OK;
}

static SnlStatus print_result(const Opt *opt, const SnlModule *m, FILE *out, SnlDiag *diag)
{
    if (opt->emit == EMIT_DOT) SNL_TRY(print_dot(opt, m, out, diag));
    if (opt->emit == EMIT_IR) snl_print(m, out);
    if (fflush(out) == 0 && !ferror(out)) return SNL_OK;
    return snl_error_at(diag, SNL_E_MACHINE, opt->out_path ? opt->out_path : "stdout",
                        "cannot write: %s", strerror(errno));
}

static SnlStatus write_result(const Opt *opt, const SnlModule *m, SnlDiag *diag)
{
    if (!opt->out_path) return print_result(opt, m, stdout, diag);
    SnlOutput out;
    SNL_TRY(snl_output_open(opt->out_path, diag, &out));
    SnlStatus status = print_result(opt, m, out.stream, diag);
    if (status == SNL_OK) return snl_output_commit(&out, false, diag);
    snl_output_abort(&out);
    return status;
}

static SnlStatus run_opt(const Opt *opt, SnlArena *arena, SnlDiag *diag)
{
    if (opt->print_pipeline) return print_pipeline(opt, arena, diag);
    SnlIrFile file;
    SNL_TRY(snl_ir_file_open(arena, opt->path, opt->random, opt->seed, diag, &file));
    SnlPipelineOptions passes = opt->pipeline.options;
    passes.source = file.source;
    SnlStatus status = snl_pipeline_run(file.module, opt->pipeline.text ? opt->pipeline.text : "",
                                        &passes, diag);
    if (status == SNL_OK) status = write_result(opt, file.module, diag);
    snl_ir_file_close(&file);
    return status;
}

SnlStatus snl_cmd_opt(int argc, char **argv)
{
    static const struct argp_child children[] = {{&snl_pipeline_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options, parse_option, "FILE", doc, children, NULL, NULL};
    Opt opt = {.pipeline = snl_pipeline_args_init()};
    argp_parse(&argp, argc, argv, 0, NULL, &opt);
    if (opt.list) {
        list_passes();
        return SNL_OK;
    }
    SnlDiag *diag = snl_diag_create(stderr, 0);
    SnlArena *arena = snl_arena_create();
    SnlStatus status = run_opt(&opt, arena, diag);
    snl_arena_destroy(arena);
    snl_diag_destroy(diag);
    return status;
}
