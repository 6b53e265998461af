/* runtime/options.c -- getopt_long over the table options.def, and the checks between options. */
#include "runtime/options.h"

#include "runtime/pool.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_ID = 256, /* above the letters */
#define GROUP(heading)
#define OPTION(ID, long_name, letter, tasks, argument, help) OPT_##ID,
#include "runtime/options.def"
#undef OPTION
    OPT_END
};

#define TASK(name) (1u << SNLRT_TASK_##name)
enum {
    TEXT = TASK(GENERATE),
    SCORE = TASK(PPL),
    RUNS = TEXT | SCORE | TASK(BENCH),
    REPORTS = RUNS | TASK(ABOUT),
    EVERY = REPORTS | TASK(VERIFY) | TASK(HELP)
};

typedef struct OptionInfo {
    int id; /* 0: a heading */
    const char *name;
    int letter;
    unsigned tasks; /* it has a use with these */
    const char *argument, *help;
} OptionInfo;

#undef GROUP
static const OptionInfo option_info[] = {
#define GROUP(heading) {.name = heading},
#define OPTION(ID, long_name, letter, tasks, argument, help)                                       \
    {OPT_##ID, long_name, letter, tasks, argument, help},
#include "runtime/options.def"
#undef OPTION
#undef GROUP
};
enum { N_INFO = sizeof option_info / sizeof *option_info };

/* The options that name a task. */
static const int task_options[] = {[SNLRT_TASK_PPL] = OPT_PPL,
                                   [SNLRT_TASK_BENCH] = OPT_BENCH,
                                   [SNLRT_TASK_ABOUT] = OPT_ABOUT,
                                   [SNLRT_TASK_VERIFY] = OPT_VERIFY};

static const OptionInfo *find_option(int id)
{
    for (size_t i = 0; i < N_INFO; i++)
        if (id && (option_info[i].id == id || option_info[i].letter == id)) return &option_info[i];
    return NULL;
}

/* ---- values ---- */

static SnlrtStatus bad_value(SnlrtError *err, int id, const char *text, const char *wanted)
{
    return snlrt_fail(err, SNLRT_USAGE, "--%s: found '%.100s', wanted %s", find_option(id)->name,
                      text, wanted);
}

static SnlrtStatus parse_int(int id, const char *text, int64_t min, const char *wanted,
                             int64_t *out, SnlrtError *err)
{
    char *end, at_most[32];
    errno = 0;
    long long value = strtoll(text, &end, 10),
              max = id == OPT_THREADS ? SNLRT_MAX_THREADS : INT32_MAX;
    snprintf(at_most, sizeof at_most, "at most %lld", max);
    if (end == text || *end || value < min) return bad_value(err, id, text, wanted);
    if (value > max) return bad_value(err, id, text, at_most); /* strtoll saturates */
    *out = value;
    return SNLRT_OK;
}

static SnlrtStatus parse_real(int id, const char *text, double *out, SnlrtError *err)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value)) return bad_value(err, id, text, "a number");
    *out = value;
    return SNLRT_OK;
}

static SnlrtStatus parse_seed(const char *text, uint64_t *out, SnlrtError *err)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *text < '0' || *text > '9' || *end)
        return bad_value(err, OPT_SEED, text, "a whole number from 0 to 2^64 - 1");
    *out = value;
    return SNLRT_OK;
}

/* ---- one option at a time ---- */

static SnlrtStatus set_task(SnlrtOptions *o, SnlrtTask task, SnlrtError *err)
{
    if (o->task != SNLRT_TASK_GENERATE && o->task != task)
        return snlrt_fail(err, SNLRT_USAGE,
                          "only one of --ppl, --bench, --about, --verify can be done at a time");
    o->task = task;
    return SNLRT_OK;
}

static SnlrtStatus set_prompt(SnlrtOptions *o, const char **field, const char *text,
                              SnlrtError *err)
{
    if (o->prompt || o->prompt_file || o->ids)
        return snlrt_fail(err, SNLRT_USAGE, "only one prompt: -p TEXT, -f FILE or --ids \"1 2 3\"");
    *field = text;
    return SNLRT_OK;
}

static SnlrtStatus add_stop(SnlrtOptions *o, const char *text, SnlrtError *err)
{
    if (!*text) return bad_value(err, OPT_STOP, text, "a text that is not empty");
    o->stops[o->n_stops++] = text;
    return SNLRT_OK;
}

static SnlrtStatus set_option(SnlrtOptions *o, int id, const char *arg, SnlrtError *err)
{
    switch (id) {
    /* clang-format off */
    case OPT_PROMPT: return set_prompt(o, &o->prompt, arg, err);
    case OPT_FILE: return set_prompt(o, &o->prompt_file, arg, err);
    case OPT_IDS: return set_prompt(o, &o->ids, arg, err);
    case OPT_PREDICT:
        return parse_int(id, arg, -1, "a number of tokens, or -1", &o->n_predict, err);
    case OPT_TEMP: return parse_real(id, arg, &o->sampling.temperature, err);
    case OPT_TOP_K: return parse_int(id, arg, 0, "0 or more", &o->sampling.top_k, err);
    case OPT_TOP_P: return parse_real(id, arg, &o->sampling.top_p, err);
    case OPT_MIN_P: return parse_real(id, arg, &o->sampling.min_p, err);
    case OPT_REPEAT_PENALTY: return parse_real(id, arg, &o->sampling.repeat_penalty, err);
    case OPT_SEED: o->seeded = true; return parse_seed(arg, &o->sampling.seed, err);
    case OPT_STOP: return add_stop(o, arg, err);
    case OPT_IGNORE_EOS: o->ignore_eos = true; return SNLRT_OK;
    case OPT_THREADS: return parse_int(id, arg, 1, "1 or more threads", &o->n_threads, err);
    case OPT_PIN: o->pin = true; return SNLRT_OK;
    case OPT_HUGE_PAGES: o->huge_pages = true; return SNLRT_OK;
    case OPT_CONTEXT: return parse_int(id, arg, 1, "1 or more positions", &o->context, err);
    case OPT_BLOCK: return parse_int(id, arg, 1, "1 or more tokens", &o->block, err);
    case OPT_MODE: o->mode = arg; return SNLRT_OK;
    case OPT_LOGITS: o->logits_file = arg; return SNLRT_OK;
    case OPT_STATES: o->states_file = arg; return SNLRT_OK;
    case OPT_PPL: o->ppl_file = arg; return set_task(o, SNLRT_TASK_PPL, err);
    case OPT_PPL_SKIP_HALF: o->skip_half = true; return SNLRT_OK;
    case OPT_BENCH: return set_task(o, SNLRT_TASK_BENCH, err);
    case OPT_JSON: o->json = true; return SNLRT_OK;
    case OPT_ABOUT: return set_task(o, SNLRT_TASK_ABOUT, err);
    case OPT_VERIFY: return set_task(o, SNLRT_TASK_VERIFY, err);
    /* clang-format on */
    default:
        return snlrt_fail(err, SNLRT_INTERNAL, "option %d has no meaning", id);
    }
}

/* ---- all of them ---- */

static SnlrtStatus unknown_option(int code, char **argv, SnlrtError *err)
{
    const OptionInfo *info = find_option(optopt);
    if (code == ':' && info)
        return snlrt_fail(err, SNLRT_USAGE, "--%s needs an argument: %s", info->name,
                          info->argument);
    const char *text = argv[optind - 1];
    if (info && !info->argument)
        return snlrt_fail(err, SNLRT_USAGE, "--%s takes no argument: found '%.100s'", info->name,
                          text);
    if (optopt > 0 && optopt < FIRST_ID && !info)
        return snlrt_fail(err, SNLRT_USAGE, "unknown option '-%c'; --help lists them", optopt);
    return snlrt_fail(err, SNLRT_USAGE, "unknown option '%.100s'; --help lists them", text);
}

/* given[i]: the command line has option_info[i]. */
static SnlrtStatus check_together(const SnlrtOptions *o, const bool given[], SnlrtError *err)
{
    if (o->skip_half && o->task != SNLRT_TASK_PPL)
        return snlrt_fail(err, SNLRT_USAGE, "--ppl-skip-half needs --ppl FILE");
    for (size_t i = 0; i < N_INFO; i++)
        if (given[i] && !(option_info[i].tasks & 1u << o->task))
            return snlrt_fail(err, SNLRT_USAGE, "--%s has no use with --%s", option_info[i].name,
                              find_option(task_options[o->task])->name);
    if (o->ids && o->n_stops)
        return snlrt_fail(err, SNLRT_USAGE, "--stop looks at text, and --ids gives none");
    return SNLRT_OK;
}

/* The tables that getopt_long wants. */
static void fill_getopt(struct option *long_options, char *letters)
{
    *letters++ = ':'; /* a missing argument is told apart from an unknown option */
    for (size_t i = 0; i < N_INFO; i++) {
        const OptionInfo *info = &option_info[i];
        if (!info->id) continue;
        *long_options++ = (struct option){
            info->name, info->argument ? required_argument : no_argument, NULL, info->id};
        if (!info->letter) continue;
        *letters++ = (char)info->letter;
        if (info->argument) *letters++ = ':';
    }
    *long_options = (struct option){0};
    *letters = 0;
}

static SnlrtStatus parse_all(int argc, char **argv, SnlrtOptions *o, SnlrtError *err)
{
    struct option long_options[N_INFO + 1];
    char letters[2 * N_INFO + 2];
    bool given[N_INFO] = {false};
    fill_getopt(long_options, letters);
    opterr = 0;
    optind = 1;
    for (int code; (code = getopt_long(argc, argv, letters, long_options, NULL)) != -1;) {
        if (code == '?' || code == ':') return unknown_option(code, argv, err);
        const OptionInfo *info = find_option(code);
        int id = info->id;
        given[info - option_info] = true;
        if (id == OPT_HELP) {
            o->task = SNLRT_TASK_HELP;
            return SNLRT_OK;
        }
        if (!o->idle_sampling_option &&
            (id == OPT_TOP_K || id == OPT_TOP_P || id == OPT_MIN_P || id == OPT_SEED))
            o->idle_sampling_option = info->name;
        SNLRT_TRY(set_option(o, id, optarg, err));
    }
    if (optind < argc)
        return snlrt_fail(err, SNLRT_USAGE,
                          "unexpected argument '%.100s'; a prompt is given with -p", argv[optind]);
    if (o->sampling.temperature > 0) o->idle_sampling_option = NULL;
    SNLRT_TRY(snlrt_sampling_check(&o->sampling, err));
    return check_together(o, given, err);
}

SnlrtStatus snlrt_options_parse(int argc, char **argv, SnlrtOptions *out, SnlrtError *err)
{
    *out = (SnlrtOptions){.n_predict = SNLRT_DEFAULT_PREDICT, .sampling = SNLRT_SAMPLING_DEFAULT};
    out->stops = calloc((size_t)argc + 1, sizeof *out->stops);
    if (!out->stops) return snlrt_fail(err, SNLRT_MACHINE, "out of memory");
    SnlrtStatus status = parse_all(argc, argv, out, err);
    if (status != SNLRT_OK) snlrt_options_deinit(out);
    return status;
}

void snlrt_options_deinit(SnlrtOptions *options)
{
    free(options->stops);
    options->stops = NULL;
    options->n_stops = 0;
}

/* ---- help ---- */

static void print_option(FILE *out, const OptionInfo *info)
{
    char left[64], letter[8] = "   ";
    if (info->letter) snprintf(letter, sizeof letter, "-%c,", info->letter);
    snprintf(left, sizeof left, "%s --%s %s", letter, info->name,
             info->argument ? info->argument : "");
    fprintf(out, "  %-26s %s\n", left, info->help);
}

char *snlrt_options_help(const char *program)
{
    char *text = NULL;
    size_t nbytes = 0;
    FILE *out = open_memstream(&text, &nbytes);
    if (!out) return NULL;
    fprintf(
        out,
        "Usage: %s [-p TEXT | -f FILE | --ids IDS] [OPTIONS]\n"
        "Continues a text. Without a prompt option the prompt is what is piped in, byte by byte;\n"
        "at a terminal each line typed is a prompt of its own (Ctrl-D ends).\n"
        "The generated text goes to standard output and nothing else does; statistics go to\n"
        "standard error. The time to the first token is from the start of the program, or from\n"
        "the end of a prompt that is piped in or typed. Ctrl-C ends the text, with statistics.\n",
        program);
    for (size_t i = 0; i < N_INFO; i++) {
        if (option_info[i].id)
            print_option(out, &option_info[i]);
        else
            fprintf(out, "\n%s:\n", option_info[i].name);
    }
    fputs("\nExit status: 0 ok, 1 bad input, 2 usage, 3 internal error, 4 machine (cannot open,\n"
          "disk full, out of memory, processor lacks a feature).\n",
          out);
    if (fclose(out) == 0) return text;
    free(text);
    return NULL;
}
