/* compiler/driver/pipeline.c -- pipeline texts and the options around them. */
#include "compiler/driver/pipeline.h"

#include "ir/base/checked.h"

#include <inttypes.h>
#include <string.h>

static const char *const format_text[] = {[SNL_WEIGHTS_SOURCE] = "source",
                                          [SNL_WEIGHTS_F32] = "f32",
                                          [SNL_WEIGHTS_BF16] = "bf16",
                                          [SNL_WEIGHTS_F16] = "f16"};

bool snl_weight_format_find(const char *text, SnlWeightFormat *out)
{
    for (size_t i = 0; i < sizeof format_text / sizeof *format_text; i++) {
        if (strcmp(text, format_text[i]) != 0) continue;
        *out = (SnlWeightFormat)i;
        return true;
    }
    return false;
}

const char *snl_weight_format_text(SnlWeightFormat format) { return format_text[format]; }

char *snl_pipeline_default(SnlArena *arena, const SnlPipelineSpec *spec)
{
    const char *func = spec->func ? snl_arena_printf(arena, "func=%s ", spec->func) : "";
    const char *block =
        spec->block ? snl_arena_printf(arena, "block=%" PRId64 " ", spec->block) : "";
    const char *weights = spec->weights == SNL_WEIGHTS_SOURCE
                              ? ""
                              : snl_arena_printf(arena, "{weights=%s}",
                                                 snl_weight_format_text(spec->weights));
    const char *redzone =
        spec->redzone ? snl_arena_printf(arena, "{redzone=%" PRId64 "}", spec->redzone) : "";
    return snl_arena_printf(arena,
                            "inline-layers,simplify,cse,dce,merge-linear{kinds=none},fold%s,simplify,"
                            "cse,dce,pack%s,dce,shapes{%s%stail=%s},merge-linear{concat=none},"
                            "schedule,plan-memory%s",
                            weights, weights, func, block, spec->tail ? "true" : "false",
                            redzone);
}

/* ---- options ------------------------------------------------------------------------------------ */

enum { OPT_PIPELINE = 0x1000, OPT_AFTER, OPT_BEFORE, OPT_DUMP, OPT_VERIFY, OPT_NO_VERIFY, OPT_CHECK,
       OPT_TIMING };

static const struct argp_option pipeline_options[] = {
    {NULL, 0, NULL, 0, "Passes:", 50},
    {"pipeline", OPT_PIPELINE, "TEXT", 0,
     "Run these passes, in this order, instead of the usual ones: NAME{OPTION=VALUE ...},NAME,... "
     "The empty text runs none", 50},
    {"print-ir-after", OPT_AFTER, "PASSES", 0,
     "Print the IR after these passes (names with commas between, or all) to stderr", 50},
    {"print-ir-before", OPT_BEFORE, "PASSES", 0, "The same, before them", 50},
    {"dump-dir", OPT_DUMP, "DIR", 0,
     "Write the IR after each pass to a numbered file in DIR; with --print-ir-after and "
     "--print-ir-before, only what they ask for", 50},
    {"verify-each", OPT_VERIFY, NULL, 0,
     "Verify the IR after every pass (the default in debug builds)", 50},
    {"no-verify", OPT_NO_VERIFY, NULL, 0, "Do not", 50},
    {"check-each", OPT_CHECK, "SEED", OPTION_ARG_OPTIONAL,
     "Evaluate the IR before and after every exact pass on random inputs and compare", 50},
    {"timing", OPT_TIMING, NULL, 0, "Print time, size and memory of every pass to stderr", 50},
    {0},
};

int64_t snl_arg_int(struct argp_state *state, const char *option, const char *text, int64_t min,
                    int64_t max)
{
    int64_t value = 0;
    if (!snl_parse_i64(text, min, max, &value))
        argp_error(state, "%s: found '%s', wanted a whole number from %" PRId64 " to %" PRId64,
                   option, text, min, max);
    return value;
}

static error_t parse_pipeline_option(int key, char *arg, struct argp_state *state)
{
    SnlPipelineArgs *args = state->input;
    switch (key) {
    case OPT_PIPELINE: args->text = arg; return 0;
    case OPT_AFTER: args->options.print_after = arg; return 0;
    case OPT_BEFORE: args->options.print_before = arg; return 0;
    case OPT_DUMP: args->options.dump_dir = arg; return 0;
    case OPT_VERIFY: args->options.verify_each = true; return 0;
    case OPT_NO_VERIFY: args->options.verify_each = false; return 0;
    case OPT_CHECK:
        args->options.check_each = true;
        if (arg)
            args->options.check_seed =
                (uint64_t)snl_arg_int(state, "--check-each", arg, 0, INT64_MAX);
        return 0;
    case OPT_TIMING: args->options.timing = true; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp snl_pipeline_argp = {.options = pipeline_options,
                                       .parser = parse_pipeline_option};

SnlPipelineArgs snl_pipeline_args_init(void)
{
    SnlPipelineArgs args = {0};
    args.options.check_seed = 1;
#ifndef NDEBUG
    args.options.verify_each = true;
#endif
    return args;
}
