/* compiler/driver/pipeline.c -- pipeline texts and the options around them. */
#include "compiler/driver/pipeline.h"

#include "ir/base/checked.h"

#include <inttypes.h>
#include <string.h>

static const char *const format_text[] = {
    [SNL_WEIGHTS_SOURCE] = "source", [SNL_WEIGHTS_F32] = "f32",   [SNL_WEIGHTS_BF16] = "bf16",
    [SNL_WEIGHTS_F16] = "f16",       [SNL_WEIGHTS_Q8_0] = "q8_0", [SNL_WEIGHTS_Q4_0] = "q4_0"};

bool snl_weight_format_find(const char *text, SnlWeightFormat *out)
{
    for (size_t i = 0; i < sizeof format_text / sizeof *format_text; i++) {
        if (strcmp(text, format_text[i]) != 0) continue;
        *out = (SnlWeightFormat)i;
        return true;
    }
    return false;
}

const char *snl_weight_format_text(SnlWeightFormat format)
{
    return format_text[format];
}

static const char *caches_text(SnlArena *arena, const char *kv)
{
    if (!kv) return "";
    return strcmp(kv, "auto") == 0 ? "caches," : snl_arena_printf(arena, "caches{kv=%s},", kv);
}

const char *snl_pipeline_quoted(SnlArena *arena, const char *text)
{
    char *out = SNL_NEW_ARRAY(arena, char, 2 * strlen(text) + 3), *at = out;
    *at++ = '"';
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') *at++ = '\\';
        *at++ = *text;
    }
    *at = '"';
    return out;
}

static bool has_chunks(const SnlPlan *plan)
{
    for (size_t i = 0; i < plan->windows.n; i++)
        if (plan->windows.at[i].n_chunk) return true;
    return false;
}

/* The passes that make windows of the modes' chains and calls of the windows; "" for seq alone. */
static const char *windows_text(SnlArena *arena, const SnlModes *modes)
{
    const char *text = "";
    for (size_t i = 0; modes && i < modes->list.n; i++) {
        const SnlMode *mode = &modes->list.at[i];
        if (mode->plan.windows.n == 0) continue;
        const char *plan = snl_pipeline_quoted(arena, mode->text);
        if (has_chunks(&mode->plan))
            text =
                snl_arena_printf(arena, "%sfuse-layers{func=%s plan=%s},", text, mode->func, plan);
        text = snl_arena_printf(arena, "%snewton{func=%s plan=%s},", text, mode->func, plan);
    }
    return *text ? snl_arena_printf(arena, "%slower-newton,", text) : "";
}

/* `shapes` for one function; `prompt` NULL: its own prefill form. */
static const char *shapes_text(SnlArena *arena, const SnlPipelineSpec *spec, const char *func,
                               const char *prompt)
{
    const char *name = func ? snl_arena_printf(arena, "func=%s ", func) : "";
    const char *from = prompt ? snl_arena_printf(arena, "prefill=%s ", prompt) : "";
    const char *block =
        spec->block ? snl_arena_printf(arena, "block=%" PRId64 " ", spec->block) : "";
    return snl_arena_printf(arena, "shapes{%s%s%stail=%s},", name, from, block,
                            spec->tail ? "true" : "false");
}

static const char *all_shapes_text(SnlArena *arena, const SnlPipelineSpec *spec)
{
    const char *text = "";
    if (!spec->modes) return shapes_text(arena, spec, spec->func, NULL);
    for (size_t i = 0; i < spec->modes->list.n; i++) {
        const SnlMode *mode = &spec->modes->list.at[i];
        text = snl_arena_printf(arena, "%s%s", text,
                                shapes_text(arena, spec, mode->func, mode->prompt));
    }
    return text;
}

/* The options of `fold` and `pack`; "" for the source's formats. */
static const char *formats_text(SnlArena *arena, const SnlWeightFormats *formats)
{
    const char *matrices = snl_weight_format_text(formats->matrices);
    if (formats->own_head && formats->head != formats->matrices)
        return snl_arena_printf(arena, "{weights=%s head=%s}", matrices,
                                snl_weight_format_text(formats->head));
    return formats->matrices == SNL_WEIGHTS_SOURCE
               ? ""
               : snl_arena_printf(arena, "{weights=%s}", matrices);
}

/* Passes that share work out. Attention is shared out by heads where there are as many as cores. */
static const char *shares_text(SnlArena *arena, int64_t cores)
{
    if (!cores) return "attention-parts,linear-parts,schedule";
    return snl_arena_printf(
        arena, "attention-parts{kv_heads=%" PRId64 "},linear-parts,schedule{threads=%" PRId64 "}",
        cores - 1, cores);
}

char *snl_pipeline_default(SnlArena *arena, const SnlPipelineSpec *spec)
{
    const char *windows = windows_text(arena, spec->modes);
    const char *weights = formats_text(arena, &spec->weights);
    const char *redzone =
        spec->redzone ? snl_arena_printf(arena, "{redzone=%" PRId64 "}", spec->redzone) : "";
    return snl_arena_printf(arena,
                            "%sinline-layers,simplify,%scse,dce,merge-linear{kinds=none},fold%s,"
                            "simplify,cse,dce,pack%s,%sdce,%smerge-linear{concat=none},"
                            "%s,plan-memory%s",
                            windows, *windows ? "cancel-residual,simplify," : "", weights, weights,
                            caches_text(arena, spec->kv), all_shapes_text(arena, spec),
                            shares_text(arena, spec->cores), redzone);
}

/* ---- options --------------------------------------------------------------------------------- */

enum {
    OPT_PIPELINE = 0x1000,
    OPT_AFTER,
    OPT_BEFORE,
    OPT_DUMP,
    OPT_VERIFY,
    OPT_NO_VERIFY,
    OPT_CHECK,
    OPT_TIMING
};

static const struct argp_option pipeline_options[] = {
    {NULL, 0, NULL, 0, "Passes:", 50},
    {"pipeline", OPT_PIPELINE, "TEXT", 0,
     "Run these passes, in this order, instead of the usual ones, with plans and formats named in "
     "it: NAME{OPTION=VALUE ...},NAME,... "
     "The empty text runs none",
     50},
    {"print-ir-after", OPT_AFTER, "PASSES", 0,
     "Print the IR after these passes (names with commas between, or all) to stderr", 50},
    {"print-ir-before", OPT_BEFORE, "PASSES", 0, "The same, before them", 50},
    {"dump-dir", OPT_DUMP, "DIR", 0,
     "Write the IR after each pass to a numbered file in DIR; with --print-ir-after and "
     "--print-ir-before, only what they ask for",
     50},
    {"verify-each", OPT_VERIFY, NULL, 0,
     "Verify the IR after every pass (the default in debug builds)", 50},
    {"no-verify", OPT_NO_VERIFY, NULL, 0, "Do not verify the IR between passes", 50},
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

const char *snl_arg_kv(struct argp_state *state, const char *text)
{
    static const char *const formats[] = {"auto", "f32", "f16", "q8_0"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(text, formats[i]) == 0) return formats[i];
    argp_error(state, "--kv: found '%s', wanted auto, f32, f16 or q8_0", text);
    return NULL;
}

SnlWeightFormat snl_arg_format(struct argp_state *state, const char *option, const char *text)
{
    SnlWeightFormat format = SNL_WEIGHTS_SOURCE;
    if (!snl_weight_format_find(text, &format))
        argp_error(state, "%s: found '%s', wanted f32, bf16, f16, q8_0, q4_0 or source", option,
                   text);
    return format;
}

static error_t parse_pipeline_option(int key, char *arg, struct argp_state *state)
{
    SnlPipelineArgs *args = state->input;
    switch (key) {
    case OPT_PIPELINE:
        args->text = arg;
        return 0;
    case OPT_AFTER:
        args->options.print_after = arg;
        return 0;
    case OPT_BEFORE:
        args->options.print_before = arg;
        return 0;
    case OPT_DUMP:
        args->options.dump_dir = arg;
        return 0;
    case OPT_VERIFY:
        args->options.verify_each = true;
        return 0;
    case OPT_NO_VERIFY:
        args->options.verify_each = false;
        return 0;
    case OPT_CHECK:
        args->options.check_each = true;
        if (arg)
            args->options.check_seed =
                (uint64_t)snl_arg_int(state, "--check-each", arg, 0, INT64_MAX);
        return 0;
    case OPT_TIMING:
        args->options.timing = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
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
