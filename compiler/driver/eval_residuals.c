/* compiler/driver/eval_residuals.c -- traces of the evaluator, compared.
 *
 * Three functions run over the same tokens: @forward (the model's own chain: what is right), for
 * fused plans the chain of fused units (what the sweeps converge to), and the planned function with
 * its `newton` ops as the pass left them. */
#include "compiler/driver/eval_residuals.h"

#include "compiler/driver/cost.h"
#include "compiler/driver/eval_report.h"
#include "compiler/driver/summary.h"
#include "ir/base/file.h"
#include "compiler/frontend/tokenizer.h"
#include "ir/eval.h"
#include "runtime/tokenizer.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { DEFAULT_TOKENS = 64 };

typedef struct Residuals {
    const SnlResidualOptions *o;
    FILE *out;
    SnlArena *arena;
    SnlDiag *diag;
    SnlModel model;
    SnlModes modes;
    SnlEval *eval;
    double *ids;
    int64_t n_tokens;
    double **right;  /* state before layer l of the model, l = 0..n_layers */
    bool first_plan; /* JSON: no comma yet */
} Residuals;

/* Errors of one window: by unit and sweep. */
typedef struct WindowErrors {
    const SnlWindow *window;
    const SnlOp *op; /* its newton op */
    size_t n_units, n_sweeps;
    int64_t *after; /* layers of the model done after unit j */
    double *error;  /* [n_units][n_sweeps + 1]; the last: of the units one after the other */
} WindowErrors;

typedef struct Tracer {
    Residuals *r;
    WindowErrors *window;
    size_t n_windows;
    const SnlOp
        *chain; /* of the function that runs; its states go to `right` or into the last column */
} Tracer;

/* ---- traces ---------------------------------------------------------------------------------- */

static double relative_error(const double *found, const double *right, int64_t n)
{
    double difference = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        difference += (found[i] - right[i]) * (found[i] - right[i]);
        size += right[i] * right[i];
    }
    return size > 0 ? sqrt(difference / size) : sqrt(difference);
}

static void keep_state(void *user, const SnlOp *op, int64_t sweep, size_t link,
                       const SnlTensor *value)
{
    Tracer *t = user;
    (void)sweep;
    if (op != t->chain) return;
    int64_t n = snl_type_elems(value->type, value->n_tokens);
    t->r->right[link] = SNL_NEW_ARRAY(t->r->arena, double, (size_t)n);
    memcpy(t->r->right[link], value->at, (size_t)n * sizeof(double));
}

static double *error_of(WindowErrors *w, size_t unit, size_t column)
{
    return &w->error[unit * (w->n_sweeps + 1) + column];
}

static void compare_sweep(void *user, const SnlOp *op, int64_t sweep, size_t link,
                          const SnlTensor *value)
{
    Tracer *t = user;
    for (size_t i = 0; i < t->n_windows; i++) {
        WindowErrors *w = &t->window[i];
        if (w->op != op || link == 0 || sweep < 1 || (size_t)sweep > w->n_sweeps) continue;
        *error_of(w, link - 1, (size_t)sweep - 1) =
            relative_error(value->at, t->r->right[w->after[link - 1]],
                           snl_type_elems(value->type, value->n_tokens));
    }
}

/* The chain of units: link `link` of it has done so many layers of the model. */
static void compare_chain(void *user, const SnlOp *op, int64_t sweep, size_t link,
                          const SnlTensor *value)
{
    Tracer *t = user;
    int64_t layers = 0;
    (void)sweep;
    if (op != t->chain) return;
    for (size_t i = 0; i < link; i++) layers += snl_link_layers(&op->sym[0].bind[i]);
    for (size_t i = 0; i < t->n_windows; i++)
        for (size_t j = 0; j < t->window[i].n_units; j++)
            if (t->window[i].after[j] == layers)
                *error_of(&t->window[i], j, t->window[i].n_sweeps) = relative_error(
                    value->at, t->r->right[layers], snl_type_elems(value->type, value->n_tokens));
}

static SnlStatus run_func(Residuals *r, const char *name, SnlEvalTrace *trace, Tracer *tracer)
{
    const SnlFunc *f = snl_module_find_func(r->model.module, name);
    double position = 0;
    SnlTensor *args = SNL_NEW_ARRAY(r->arena, SnlTensor, f->n_param);
    SnlTensor *results = SNL_NEW_ARRAY(r->arena, SnlTensor, f->n_result);
    for (size_t i = 0; i < f->n_param; i++)
        args[i] = (SnlTensor){f->param[i]->type, r->n_tokens,
                              f->param[i]->type->dtype == SNL_INDEX ? &position : r->ids};
    snl_eval_reset(r->eval);
    snl_eval_set_trace(r->eval, trace, tracer);
    SnlStatus status = snl_eval_call(r->eval, f, args, NULL, r->n_tokens, results);
    snl_eval_set_trace(r->eval, NULL, NULL);
    return status;
}

static const SnlOp *find_chain(const SnlModule *m, const char *func)
{
    const SnlOp *op = snl_module_find_func(m, func)->first;
    while (op && op->code != SNL_OP_CHAIN) op = op->next;
    return op;
}

/* ---- windows --------------------------------------------------------------------------------- */

static void prepare_window(Residuals *r, const SnlWindow *window, const SnlOp *op, WindowErrors *w)
{
    int64_t sweeps = snl_window_sweeps(window), layers = window->begin;
    *w = (WindowErrors){.window = window, .op = op, .n_units = snl_window_units(window)};
    w->n_sweeps = sweeps < (int64_t)w->n_units ? (size_t)sweeps : w->n_units;
    w->after = SNL_NEW_ARRAY(r->arena, int64_t, w->n_units);
    w->error = SNL_NEW_ARRAY(r->arena, double, w->n_units *(w->n_sweeps + 1));
    for (size_t j = 0; j < w->n_units; j++) {
        layers += window->n_chunk ? window->chunk[j] : 1;
        w->after[j] = layers;
    }
}

static void prepare_windows(Residuals *r, const SnlMode *mode, const char *func, Tracer *t)
{
    const SnlOp *op = snl_module_find_func(r->model.module, func)->first;
    t->window = SNL_NEW_ARRAY(r->arena, WindowErrors, mode->plan.windows.n);
    for (; op; op = op->next)
        if (op->code == SNL_OP_NEWTON && t->n_windows < mode->plan.windows.n) {
            prepare_window(r, &mode->plan.windows.at[t->n_windows], op, &t->window[t->n_windows]);
            t->n_windows++;
        }
}

/* ---- printing -------------------------------------------------------------------------------- */

static const char *layers_text(Residuals *r, const WindowErrors *w, size_t unit)
{
    int64_t first = unit ? w->after[unit - 1] : w->window->begin, last = w->after[unit] - 1;
    return first == last ? snl_arena_printf(r->arena, "%" PRId64, first)
                         : snl_arena_printf(r->arena, "%" PRId64 "-%" PRId64, first, last);
}

static void print_window(Residuals *r, WindowErrors *w)
{
    bool fused = w->window->n_chunk > 0;
    fprintf(r->out, "  %-8s", "layers");
    for (size_t k = 0; k < w->n_sweeps; k++) fprintf(r->out, "   sweep %-3zu", k + 1);
    fprintf(r->out, "%s\n", fused ? "   in sequence" : "");
    for (size_t j = 0; j < w->n_units; j++) {
        fprintf(r->out, "  %-8s", layers_text(r, w, j));
        for (size_t k = 0; k < w->n_sweeps + (fused ? 1 : 0); k++)
            fprintf(r->out, "   %9.3e", *error_of(w, j, k));
        fputc('\n', r->out);
    }
}

static void print_json_window(Residuals *r, WindowErrors *w)
{
    fputs("{\"units\": [", r->out);
    for (size_t j = 0; j < w->n_units; j++) {
        fprintf(r->out, "%s{\"layers\": \"%s\", \"sweeps\": [", j ? ", " : "",
                layers_text(r, w, j));
        for (size_t k = 0; k < w->n_sweeps; k++)
            fprintf(r->out, "%s%.6e", k ? ", " : "", *error_of(w, j, k));
        fputc(']', r->out);
        if (w->window->n_chunk)
            fprintf(r->out, ", \"in_sequence\": %.6e", *error_of(w, j, w->n_sweeps));
        fputc('}', r->out);
    }
    fputs("]}", r->out);
}

static void print_plan(Residuals *r, const SnlMode *mode, Tracer *t)
{
    if (!r->o->json) fprintf(r->out, "%s\n", mode->text);
    if (r->o->json) {
        fputs(r->first_plan ? "" : ", ", r->out);
        fputs("{\"plan\": ", r->out);
        snl_json_string(r->out, mode->text);
        fputs(", \"windows\": [", r->out);
    }
    for (size_t i = 0; i < t->n_windows; i++) {
        if (r->o->json) {
            fputs(i ? ", " : "", r->out);
            print_json_window(r, &t->window[i]);
        } else {
            print_window(r, &t->window[i]);
        }
    }
    if (r->o->json) fputs("]}", r->out);
    r->first_plan = false;
}

static void print_all(Residuals *r, Tracer *t)
{
    if (r->o->json)
        fprintf(r->out, "{\"tokens\": %" PRId64 ", \"plans\": [", r->n_tokens);
    else
        fprintf(r->out,
                "relative error of the states after each layer, against the sequential ones; "
                "%" PRId64 " tokens\n",
                r->n_tokens);
    for (size_t i = 0; i < r->modes.list.n; i++)
        if (r->modes.list.at[i].plan.windows.n) print_plan(r, &r->modes.list.at[i], &t[i]);
    if (r->o->json) fputs("]}\n", r->out);
}

/* ---- plans ----------------------------------------------------------------------------------- */

static SnlStatus run_passes(Residuals *r, const char *text)
{
    SnlPipelineOptions options = {.source = r->model.source};
    return snl_pipeline_run(r->model.module, text, &options, r->diag);
}

/* The chain of the plan's units; with its windows. */
static const char *units_name(Residuals *r, const SnlMode *mode)
{
    return snl_arena_printf(r->arena, "residuals.units.%s", mode->name);
}
static const char *planned_name(Residuals *r, const SnlMode *mode)
{
    return snl_arena_printf(r->arena, "residuals.plan.%s", mode->name);
}

/* Nothing is compiled: the caches are the evaluator's, whose numbers are f64 whatever a program's
 * are. */
static SnlStatus check_memory(Residuals *r, const SnlMode *mode, const SnlFunc *func)
{
    const SnlModule *m = r->model.module;
    const bool *used = snl_func_states(r->arena, &func, 1);
    int64_t bytes = 0, most = snl_most_caches(r->o->compile);
    for (size_t i = 0; i < m->states.n; i++)
        if (used[m->states.at[i]->id])
            bytes += snl_type_elems(m->states.at[i]->type, 0) * (int64_t)sizeof(double);
    if (bytes <= most) return SNL_OK;
    return snl_error_at(
        r->diag, SNL_E_PLAN, "--max-state",
        "mode '%s' (plan %s) keeps %s of caches in the evaluator, 8 bytes a number, "
        "wanted at most %s: take a smaller --context or fewer sweeps, or raise "
        "--max-state",
        mode->name, mode->text, snl_bytes_text(r->arena, bytes), snl_bytes_text(r->arena, most));
}

static SnlStatus build_plan(Residuals *r, const SnlMode *mode)
{
    SnlModule *m = r->model.module;
    const SnlFunc *forward = snl_module_find_func(m, "forward");
    const char *units = units_name(r, mode), *planned = planned_name(r, mode);
    const char *plan = snl_pipeline_quoted(r->arena, mode->text);
    snl_func_clone(forward, units);
    snl_func_clone(forward, planned);
    SNL_TRY(
        run_passes(r, snl_arena_printf(r->arena,
                                       "fuse-layers{func=%s plan=%s},fuse-layers{func=%s plan=%s},"
                                       "newton{func=%s plan=%s}",
                                       units, plan, planned, plan, planned, plan)));
    return check_memory(r, mode, snl_module_find_func(m, planned));
}

static SnlStatus compare_plan(Residuals *r, const SnlMode *mode, Tracer *t)
{
    const char *units = units_name(r, mode), *planned = planned_name(r, mode);
    t->r = r;
    prepare_windows(r, mode, planned, t);
    SNL_TRY(run_func(r, planned, compare_sweep, t));
    t->chain = find_chain(r->model.module, units);
    return run_func(r, units, compare_chain, t);
}

/* ---- the command ----------------------------------------------------------------------------- */

static SnlStatus encode(Residuals *r, const SnlFile *file, SnlrtIds *out)
{
    void *blob;
    size_t nbytes;
    const char *text = NULL;
    SnlrtTokenizer *tokenizer;
    SNL_TRY(snl_tokenizer_build(r->arena, r->model.tokenizer, r->model.tokenizer_path,
                                r->model.vocab, r->diag, &blob, &nbytes));
    if (!blob)
        return snl_error_at(r->diag, SNL_E_UNSUPPORTED, r->model.path,
                            "the model has no tokenizer, so a text means nothing to it");
    if (snlrt_tokenizer_create(blob, nbytes, &tokenizer, &text) != SNLRT_TOKEN_OK)
        return snl_error_at(r->diag, SNL_E_TOKENIZER, r->model.path, "tokenizer: %s", text);
    int code = snlrt_tokenizer_encode(tokenizer, (const char *)file->bytes, file->size,
                                      SNLRT_ENCODE_TEMPLATE, out);
    SnlStatus status = SNL_OK;
    if (code != SNLRT_TOKEN_OK)
        status =
            snl_error_at(r->diag, SNL_E_FORMAT, r->o->text, "%s", snlrt_tokenizer_error(tokenizer));
    snlrt_tokenizer_destroy(tokenizer);
    return status;
}

static SnlStatus read_tokens(Residuals *r)
{
    SnlFile file;
    SnlrtIds ids = {0};
    int64_t most = r->o->tokens ? r->o->tokens : DEFAULT_TOKENS;
    if (r->o->tokens > r->model.context)
        return snl_error_at(r->diag, SNL_E_USAGE, "--tokens",
                            "found %" PRId64 ", wanted at most the context of %" PRId64
                            " positions: residuals are about one text; give a larger --context",
                            most, r->model.context);
    if (most > r->model.context) most = r->model.context;
    SNL_TRY(snl_file_map(r->arena, r->o->text, r->diag, &file));
    SnlFile head = file;
    if (head.size > (size_t)most * 64 + 4096) head.size = (size_t)most * 64 + 4096;
    SnlStatus status = encode(r, &head, &ids);
    r->n_tokens = (int64_t)ids.n < most ? (int64_t)ids.n : most;
    r->ids = SNL_NEW_ARRAY(r->arena, double, (size_t)r->n_tokens + 1);
    for (int64_t i = 0; i < r->n_tokens; i++) r->ids[i] = (double)ids.at[i];
    if (status == SNL_OK && r->n_tokens == 0)
        status = snl_error_at(r->diag, SNL_E_FORMAT, r->o->text, "found no token");
    snlrt_ids_deinit(&ids);
    snl_file_unmap(&file);
    return status;
}

static SnlStatus run_sequential(Residuals *r)
{
    const SnlOp *chain = snl_plan_chain(r->model.module, "forward", r->diag);
    if (!chain) return SNL_BAD_INPUT;
    Tracer t = {.r = r, .chain = chain};
    r->right = SNL_NEW_ARRAY(r->arena, double *, chain->sym[0].n + 1);
    r->eval = snl_eval_create(r->model.module, r->model.source, r->diag);
    return run_func(r, "forward", keep_state, &t);
}

static SnlStatus all_plans(Residuals *r)
{
    const SnlCompileOptions *c = r->o->compile;
    SnlModelOptions model = {c->context, c->random_weights, c->seed};
    SNL_TRY(snl_modes_parse(r->arena, &c->modes, r->diag, &r->modes));
    SNL_TRY(snl_model_open(r->arena, c->model, &model, r->diag, &r->model));
    SNL_TRY(snl_modes_fit(&r->modes, r->model.module, r->model.source, r->diag));
    SNL_TRY(read_tokens(r));
    size_t n = r->modes.list.n;
    const SnlMode *mode = r->modes.list.at;
    for (size_t i = 0; i < n; i++)
        if (mode[i].plan.windows.n) SNL_TRY(build_plan(r, &mode[i]));
    SNL_TRY(run_sequential(r));
    Tracer *t = SNL_NEW_ARRAY(r->arena, Tracer, n);
    for (size_t i = 0; i < n; i++)
        if (mode[i].plan.windows.n) SNL_TRY(compare_plan(r, &mode[i], &t[i]));
    print_all(r, t);
    return SNL_OK;
}

SnlStatus snl_eval_residuals(const SnlResidualOptions *options, FILE *out, SnlDiag *diag)
{
    Residuals r = {
        .o = options, .out = out, .arena = snl_arena_create(), .diag = diag, .first_plan = true};
    SnlStatus status = all_plans(&r);
    snl_eval_destroy(r.eval);
    if (r.model.module) snl_model_close(&r.model);
    snl_arena_destroy(r.arena);
    return status;
}
