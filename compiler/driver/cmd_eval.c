/* compiler/driver/cmd_eval.c -- the command line of `snlpc eval`. */
#include "compiler/driver/commands.h"
#include "compiler/driver/eval_measure.h"
#include "compiler/driver/eval_report.h"
#include "compiler/driver/eval_residuals.h"

#include "ir/base/file.h"
#include "runtime/cpus.h"
#include "runtime/pool.h"

#include <stdlib.h>
#include <string.h>

enum {
    OPT_TEXT = 0x2000,
    OPT_TOKENS,
    OPT_SKIP_HALF,
    OPT_JSON,
    OPT_RESIDUALS,
    OPT_NO_TIME,
    OPT_GREEDY,
    OPT_PROMPTS
};

typedef struct Eval {
    SnlCompileOptions compile;
    const char *text;
    int64_t tokens, threads, greedy, prompts;
    bool skip_half, json, residuals, no_time;
    const char *of_programs; /* the last option given that --residuals would not heed */
} Eval;

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "Text:", 1},
    {"text", OPT_TEXT, "FILE", 0, "The text that plans and formats are judged by (needed)", 1},
    {"tokens", OPT_TOKENS, "N", 0, "Only its first N tokens (default: all; with --residuals 64)",
     1},
    {"ppl-skip-half", OPT_SKIP_HALF, NULL, 0, "Score only the second half of each window", 1},
    {"greedy", OPT_GREEDY, "N", 0,
     "Length of the greedy texts that are compared (default 96; 0: none)", 1},
    {"prompts", OPT_PROMPTS, "N", 0, "How many of them (default 4)", 1},
    {NULL, 0, NULL, 0, "What to print:", 2},
    {"json", OPT_JSON, NULL, 0, "JSON instead of a table", 2},
    {"residuals", OPT_RESIDUALS, NULL, 0,
     "Instead: how far every state of every window is from the sequential one after each sweep, by "
     "the reference evaluator, in the model's own numbers (no --weights, --weights-head, --kv, and "
     "nothing that scores or times programs); --max-state is about the evaluator's caches",
     2},
    {NULL, 0, NULL, 0, "Running:", 3},
    {"threads", 't', "N", 0, "Threads (default: the cores this process may use)", 3},
    {"no-time", OPT_NO_TIME, NULL, 0, "Do not measure decode and prefill time", 3},
    {0},
};

static const char doc[] =
    "Judge plans and formats on a text: how close they stay to the sequential model, and what they "
    "cost.\v"
    "Compiles a temporary program with the sequential graph and all plans, one for each --weights, "
    "and runs them in this process. The first row is the sequential graph in the first format: all "
    "other rows are compared with it, so give --weights f32 first to see what formats cost. A "
    "--weights-head belongs to the --weights before it; before all of them, to each. The memory "
    "that the plans' caches take is printed first.\n\n"
    "Columns: perplexity (windows of --context tokens that do not overlap, caches reset, the "
    "beginning token first when the tokenizer adds one, every next token scored), its change "
    "against sequential, KL(sequential || plan) in nats per token, how often the most probable "
    "token is the same, tokens of a greedy text until the first other one, layers evaluated per "
    "token, how many of these evaluations wait for each other, barriers per decoded token, decode "
    "and prefill speed and how many times faster than sequential they are (interleaved runs, "
    "medians).\n\n"
    "Plans with init=warm have no perplexity of their own (a token's result depends on the states "
    "of the token before) and are refused. Plans with prefill=seq are scored token by "
    "token.\n\n" SNL_PLAN_HELP "Examples:\n"
    "  snlpc eval models/story --text book.txt --plan 'n8 K1' --plan 'n8 K2'\n"
    "  snlpc eval models/story --text book.txt --plan 'n8 4xF2' --context 256 --json\n"
    "  snlpc eval models/story --text book.txt --plan 'n8 K4' --residuals\n"
    "  snlpc eval models/story --text book.txt --weights f32 --weights q8_0 --weights q4_0 "
    "--weights-head q8_0\n\n"
    "Exit status: as of snlpc compile.";

static void check_options(const Eval *e, struct argp_state *state)
{
    if (!e->compile.model) argp_error(state, "no MODEL given");
    if (!e->text) argp_error(state, "no text given: add --text FILE");
    if (e->compile.pipeline.text)
        argp_error(state,
                   "eval takes no --pipeline: it judges what --plan, --weights, --weights-head and "
                   "--kv choose");
    if (e->residuals && (e->compile.chose_weights || e->compile.kv))
        argp_error(state,
                   "--residuals takes no --weights, --weights-head or --kv: states are those of "
                   "the model's own numbers");
    const char *other = strcmp(e->compile.target.cpu, "native") != 0 ? "--cpu" : e->of_programs;
    if (e->residuals && other)
        argp_error(state,
                   "--residuals takes no %s, which is about compiled programs: the reference "
                   "evaluator runs, on one thread, and scores and times nothing",
                   other);
}

/* Takes an option that says what is scored or timed of programs, and notes that it was given;
 * false: it is another one. */
static bool parse_of_programs(Eval *e, int key, const char *arg, struct argp_state *state)
{
    switch (key) {
    case OPT_SKIP_HALF:
        e->of_programs = "--ppl-skip-half";
        e->skip_half = true;
        return true;
    case OPT_GREEDY:
        e->of_programs = "--greedy";
        e->greedy = snl_arg_int(state, "--greedy", arg, 0, 1 << 20);
        return true;
    case OPT_PROMPTS:
        e->of_programs = "--prompts";
        e->prompts = snl_arg_int(state, "--prompts", arg, 1, 1 << 16);
        return true;
    case OPT_NO_TIME:
        e->of_programs = "--no-time";
        e->no_time = true;
        return true;
    case 't':
        e->of_programs = "--threads";
        e->threads = snl_arg_int(state, "--threads", arg, 1, SNLRT_MAX_THREADS);
        return true;
    default:
        return false;
    }
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    Eval *e = state->input;
    if (parse_of_programs(e, key, arg, state)) return 0;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &e->compile;
        return 0;
    case OPT_TEXT:
        e->text = arg;
        return 0;
    case OPT_TOKENS:
        e->tokens = snl_arg_int(state, "--tokens", arg, 2, INT64_C(1) << 40);
        return 0;
    case OPT_JSON:
        e->json = true;
        return 0;
    case OPT_RESIDUALS:
        e->residuals = true;
        return 0;
    case ARGP_KEY_ARG:
        if (e->compile.model) argp_error(state, "found a second MODEL '%s'", arg);
        e->compile.model = arg;
        return 0;
    case ARGP_KEY_END:
        check_options(e, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- plans ----------------------------------------------------------------------------------- */

static SnlStatus refuse_warm(const SnlMode *mode, SnlDiag *diag)
{
    for (size_t i = 0; i < mode->plan.windows.n; i++)
        if (mode->plan.windows.at[i].init == SNL_INIT_WARM)
            return snl_error(diag, SNL_E_PLAN, mode->plan.windows.at[i].loc,
                             "eval: with warm a token's result depends on the states of the token "
                             "before, so a text has no perplexity of its own: use h0 or batch_fwd");
    return SNL_OK;
}

/* Refuses what cannot be judged; puts the sequential plan first unless it is there. */
static SnlStatus check_plans(Eval *e, SnlDiag *diag)
{
    SnlModes modes;
    SnlModeArgs with_seq = {0};
    SNL_TRY(snl_modes_parse(e->compile.arena, &e->compile.modes, diag, &modes));
    SNL_PUSH(e->compile.arena, &with_seq.plans, "seq");
    for (size_t i = 0; i < modes.list.n; i++) {
        const SnlMode *mode = &modes.list.at[i];
        SNL_TRY(refuse_warm(mode, diag));
        if (mode->plan.windows.n)
            SNL_PUSH(e->compile.arena, &with_seq.plans, e->compile.modes.plans.at[i]);
    }
    e->compile.modes = with_seq;
    if (with_seq.plans.n > 1 || !e->residuals) return SNL_OK;
    return snl_error_at(diag, SNL_E_USAGE, "--residuals",
                        "no plan with a window: add --plan 'n8 K2'");
}

/* ---- measuring ------------------------------------------------------------------------------- */

static SnlStatus measure(const Eval *e, const SnlEvalSet *set, const SnlEvalText *text)
{
    SnlEvalResult *results = SNL_NEW_ARRAY(set->arena, SnlEvalResult, set->n_rows);
    if (!e->json) {
        snl_eval_print_caches(stdout, set);
        fflush(stdout);
    }
    SNL_TRY(snl_eval_score(set, text, e->skip_half, results));
    if (e->greedy > 0) SNL_TRY(snl_eval_greedy(set, text, e->prompts, e->greedy, results));
    if (!e->no_time) SNL_TRY(snl_eval_time(set, text, results));
    SnlEvalReport report = {set, text, results, e->text, e->skip_half};
    if (e->json)
        snl_eval_print_json(stdout, &report);
    else
        snl_eval_print_table(stdout, &report);
    return SNL_OK;
}

/* A text that is not there is found out before anything is compiled. */
static SnlStatus check_text(const Eval *e, SnlDiag *diag)
{
    SnlFile file;
    SNL_TRY(snl_file_map(e->compile.arena, e->text, diag, &file));
    snl_file_unmap(&file);
    return SNL_OK;
}

static SnlStatus run(const Eval *e, SnlDiag *diag)
{
    SNL_TRY(check_text(e, diag));
    SnlEvalSet set;
    SnlEvalText text = {0};
    int64_t threads = e->threads ? e->threads : snlrt_usable_cores();
    SnlStatus status = snl_eval_set_open(&e->compile, threads, diag, &set);
    if (status == SNL_OK) status = snl_eval_text_read(&set, e->text, e->tokens, &text);
    if (status == SNL_OK) status = measure(e, &set, &text);
    snl_eval_text_deinit(&text);
    snl_eval_set_close(&set);
    return status;
}

SnlStatus snl_cmd_eval(int argc, char **argv)
{
    static const struct argp_child children[] = {{&snl_compile_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options, parse_option, "MODEL --text FILE", doc, children,
                                     NULL,    NULL};
    Eval e = {.compile = snl_compile_options_init(argv), .greedy = 96, .prompts = 4};
    e.compile.target.cpu = "native"; /* it runs here */
    argp_parse(&argp, argc, argv, 0, NULL, &e);
    e.compile.target.verify = e.compile.pipeline.options.verify_each;
    SnlDiag *diag = snl_diag_create(stderr, 0);
    SnlStatus status = check_plans(&e, diag);
    SnlResidualOptions residuals = {&e.compile, e.text, e.tokens, e.json};
    if (status == SNL_OK)
        status = e.residuals ? snl_eval_residuals(&residuals, stdout, diag) : run(&e, diag);
    snl_diag_destroy(diag);
    snl_compile_options_deinit(&e.compile);
    return status;
}
