/* compiler/driver/cmd_inspect.c -- `snlpc inspect`: what a model is and whether it compiles. */
#include "compiler/driver/commands.h"
#include "compiler/driver/pipeline.h"
#include "compiler/frontend/model.h"

enum { OPT_CONTEXT = 0x2000, OPT_RANDOM };

static const struct argp_option options[] = {
    {"context", OPT_CONTEXT, "N", 0,
     "Positions to count memory for (default: the trained length, at most 4096)", 0},
    {"random-weights", OPT_RANDOM, "SEED", 0, "As for compile: do not look at weight files", 0},
    {0},
};

static const char doc[] =
    "Print what MODEL is (family, shapes, parameters, tensors, memory) and whether it compiles.\v"
    "The exit status is 0 when it does, and 1 when it does not: the reasons are on stderr.\n\n"
    "Example:\n"
    "  snlpc inspect models/story";

typedef struct Inspect {
    const char *model;
    SnlModelOptions options;
} Inspect;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    Inspect *inspect = state->input;
    switch (key) {
    case OPT_CONTEXT:
        inspect->options.context = snl_arg_int(state, "--context", arg, 1, 1 << 24);
        return 0;
    case OPT_RANDOM:
        inspect->options.random_weights = true;
        inspect->options.seed =
            (uint64_t)snl_arg_int(state, "--random-weights", arg, 0, INT64_MAX);
        return 0;
    case ARGP_KEY_ARG:
        if (inspect->model) argp_error(state, "found a second MODEL '%s'", arg);
        inspect->model = arg;
        return 0;
    case ARGP_KEY_END:
        if (!inspect->model) argp_error(state, "no MODEL given");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

SnlStatus snl_cmd_inspect(int argc, char **argv)
{
    static const struct argp argp = {options, parse_option, "MODEL", doc, NULL, NULL, NULL};
    Inspect inspect = {0};
    argp_parse(&argp, argc, argv, 0, NULL, &inspect);
    SnlDiag *diag = snl_diag_create(stderr, 0);
    SnlStatus status = snl_model_inspect(inspect.model, &inspect.options, diag, stdout);
    snl_diag_destroy(diag);
    return status;
}
