/* compiler/driver/compilation.c -- the steps that every command that makes a program takes. */
#include "compiler/driver/compilation.h"

#include "codegen/link.h"
#include "compiler/driver/emergency.h"
#include "compiler/driver/progress.h"
#include "compiler/driver/reproducer.h"
#include "compiler/driver/states.h"
#include "compiler/driver/summary.h"
#include "compiler/frontend/tokenizer.h"
#include "passes/schedule.h"
#include "runtime/abi.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* ---- memory of caches ------------------------------------------------------------------------ */

static int64_t half_of_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (int64_t)pages / 2 * size : INT64_MAX;
}

int64_t snl_most_caches(const SnlCompileOptions *o)
{
    return o->max_state ? o->max_state : half_of_memory();
}

SnlStatus snl_check_caches(const SnlCompileOptions *o, const char *mode, const char *plan,
                           const SnlFunc *const *funcs, size_t n, SnlDiag *diag)
{
    int64_t most = snl_most_caches(o);
    if (snl_func_state_bytes(funcs, n) <= most) return SNL_OK;
    return snl_error_at(
        diag, SNL_E_PLAN, "--max-state",
        "mode '%s' (plan %s) keeps %s of caches, wanted at most %s%s: compile with a "
        "smaller --context or fewer sweeps, or raise --max-state",
        mode, plan, snl_state_sum_text(o->arena, funcs, n), snl_bytes_text(o->arena, most),
        o->max_state ? "" : " (half of the memory here)");
}

/* With a pipeline of the user's own, the plan is what its passes have noted. */
static const char *plan_of(const SnlCompilation *c, const SnlMode *mode, const SnlFunc *func)
{
    return c->options->pipeline.text ? snl_attr_text(&func->attrs, "plan", "seq") : mode->text;
}

static const char *name_of(const SnlMode *mode, const char *plan)
{
    return mode->plan.windows.n || strcmp(plan, "seq") == 0 ? mode->name : "snlp";
}

/* The mode's functions, whatever the pipeline has left: its two forms, or the one of both. */
static SnlStatus check_mode_caches(const SnlCompilation *c, const SnlMode *mode)
{
    const char *name[] = {snl_arena_printf(c->arena, "%s.decode", mode->func),
                          snl_arena_printf(c->arena, "%s.prefill", mode->func), mode->func,
                          mode->prompt};
    const SnlFunc *func[sizeof name / sizeof *name];
    size_t n = 0;
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        const SnlFunc *f = name[i] ? snl_module_find_func(c->model.module, name[i]) : NULL;
        if (f) func[n++] = f;
    }
    if (n == 0) return SNL_OK;
    const char *plan = plan_of(c, mode, func[0]);
    return snl_check_caches(c->options, name_of(mode, plan), plan, func, n, c->diag);
}

/* ---- IR -------------------------------------------------------------------------------------- */

/* What a pipeline of the user's own would not heed. */
static SnlStatus check_pipeline(const SnlCompileOptions *o, SnlDiag *diag)
{
    if (!o->pipeline.text) return SNL_OK;
    if (o->modes.plans.n || o->modes.modes)
        return snl_error_at(
            diag, SNL_E_USAGE, "--pipeline",
            "takes the place of --plan and --modes: name the plan in the pipeline, as "
            "in newton{plan=\"n8 K1\"},lower-newton,...");
    if (o->chose_weights || o->kv)
        return snl_error_at(
            diag, SNL_E_USAGE, "--pipeline",
            "takes the place of --weights, --weights-head and --kv: name the formats "
            "in the pipeline, as in " SNL_PIPELINE_FORMATS);
    if (o->cores)
        return snl_error_at(diag, SNL_E_USAGE, "--pipeline",
                            "takes the place of --cores: name the number in the pipeline, as in "
                            "schedule{threads=4}");
    return SNL_OK;
}

static SnlStatus open_model(SnlCompilation *c)
{
    const SnlCompileOptions *o = c->options;
    SnlModelOptions options = {o->context, o->random_weights, o->seed};
    SNL_TRY(snl_modes_parse(c->arena, &o->modes, c->diag, &c->modes));
    SNL_TRY(check_pipeline(o, c->diag));
    SNL_TRY(snl_model_open(c->arena, o->model, &options, c->diag, &c->model));
    if (!o->keep_states) return SNL_OK;
    SnlFunc *forward = snl_module_find_func(c->model.module, "forward");
    if (!forward) return snl_error_at(c->diag, SNL_E_STRUCTURE, o->model, "no function '@forward'");
    return snl_keep_states(forward, c->diag, &c->outputs, &c->n_outputs);
}

/* With a bar, but where passes print what is to be read. */
static SnlStatus run_passes(SnlCompilation *c, const char *text)
{
    SnlPipelineOptions options = c->options->pipeline.options;
    options.source = c->model.source;
    bool prints =
        options.print_before || options.print_after || options.timing || options.check_each;
    if (!c->shows_progress || prints)
        return snl_pipeline_run(c->model.module, text, &options, c->diag);
    SnlProgressBar bar = snl_progress_bar("passes");
    options.progress = snl_progress_draw;
    options.progress_user = &bar;
    SnlStatus status = snl_pipeline_run(c->model.module, text, &options, c->diag);
    snl_progress_end(&bar);
    return status;
}

SnlStatus snl_compilation_rewrite(SnlCompilation *c)
{
    const SnlCompileOptions *o = c->options;
    SNL_TRY(open_model(c));
    SnlModule *m = c->model.module;
    SnlPipelineSpec spec = {.weights = o->weights,
                            .kv = o->kv ? o->kv : "auto",
                            .modes = &c->modes,
                            .cores = o->cores,
                            .tail = true,
                            .redzone = o->target.sanitize == SNL_SANITIZE_ADDRESS ? 64 : 0};
    const char *text = o->pipeline.text ? o->pipeline.text : snl_pipeline_default(c->arena, &spec);
    SNL_TRY(snl_modes_fit(&c->modes, m, c->model.source, c->diag));
    snl_emergency_set_reproducer(snl_reproducer_text(c->arena, m, o->argv, text));
    if (!o->pipeline.text) SNL_TRY(snl_modes_clone(&c->modes, m, c->diag));
    SNL_TRY(run_passes(c, text));
    for (size_t i = 0; i < c->modes.list.n; i++)
        SNL_TRY(check_mode_caches(c, &c->modes.list.at[i]));
    return SNL_OK;
}

/* ---- graphs ---------------------------------------------------------------------------------- */

static SnlStatus find_scheduled(SnlCompilation *c, const char *func, const char *form,
                                SnlFunc **out)
{
    const char *name = snl_arena_printf(c->arena, "%s.%s", func, form);
    *out = snl_module_find_func(c->model.module, name);
    if (*out) return SNL_OK;
    return snl_error_at(c->diag, SNL_E_PIPELINE, "--pipeline",
                        "no function '@%s' after the passes: a program needs `schedule` and "
                        "`plan-memory` at the end of the pipeline",
                        name);
}

/* A program asks its prefill form for a block's last logits alone, and has room for no others. */
static SnlStatus check_tail(const SnlCompilation *c, const SnlFunc *prefill)
{
    if (snl_computes_tail(prefill)) return SNL_OK;
    return snl_error_at(c->diag, SNL_E_PIPELINE, "--pipeline",
                        "'@%s' computes every row of its results: a program needs "
                        "`shapes{tail=true}`",
                        prefill->name);
}

static int64_t graph_flags(const SnlMode *mode)
{
    int64_t flags = mode->prompt ? SNLRT_GRAPH_PROMPT : 0;
    for (size_t i = 0; i < mode->plan.windows.n; i++)
        if (mode->plan.windows.at[i].init == SNL_INIT_WARM) flags |= SNLRT_GRAPH_WARM;
    return flags;
}

/* What a mode becomes. */
static void describe_graph(SnlCompilation *c, size_t i, const SnlFunc *decode,
                           const SnlFunc *prefill)
{
    const SnlMode *mode = &c->modes.list.at[i];
    const char *plan = plan_of(c, mode, decode);
    c->counts[i] = snl_plan_counts(&mode->plan, c->options->pipeline.text ? 0 : c->model.n_layers);
    const SnlFunc *both[] = {decode, prefill};
    c->graphs[i] = (SnlGraphSpec){.name = name_of(mode, plan),
                                  .plan = plan,
                                  .exactness = snl_graph_exactness(c->arena, decode),
                                  .decode = decode,
                                  .prefill = prefill,
                                  .state_bytes = snl_func_state_bytes(both, 2),
                                  .layer_evals = c->counts[i].layer_evals,
                                  .steps = c->counts[i].steps,
                                  .flags = graph_flags(mode)};
}

static SnlStatus describe_graphs(SnlCompilation *c)
{
    size_t n = c->modes.list.n;
    SnlFunc **funcs = SNL_NEW_ARRAY(c->arena, SnlFunc *, 2 * n);
    c->graphs = SNL_NEW_ARRAY(c->arena, SnlGraphSpec, n);
    c->counts = SNL_NEW_ARRAY(c->arena, SnlPlanCounts, n);
    for (size_t i = 0; i < n; i++) {
        const char *func = c->modes.list.at[i].func;
        SNL_TRY(find_scheduled(c, func, "decode", &funcs[2 * i]));
        SNL_TRY(find_scheduled(c, func, "prefill", &funcs[2 * i + 1]));
        SNL_TRY(check_tail(c, funcs[2 * i + 1]));
        describe_graph(c, i, funcs[2 * i], funcs[2 * i + 1]);
    }
    SNL_TRY(snl_payload_plan(c->arena, c->model.module, funcs, 2 * n, c->diag, &c->payload));
    for (size_t i = 0; i < n; i++) {
        SnlStepCost cost = snl_step_cost(funcs[2 * i], &c->payload, SNL_MODEL_THREADS);
        c->graphs[i].decode_bytes = cost.weight_bytes;
        c->graphs[i].decode_waiting = snl_cost_waiting_permille(&cost);
    }
    return SNL_OK;
}

/* ---- the program ----------------------------------------------------------------------------- */

SnlStatus snl_compilation_describe(SnlCompilation *c)
{
    const SnlModel *model = &c->model;
    SNL_TRY(describe_graphs(c));
    SNL_TRY(snl_tokenizer_build(c->arena, model->tokenizer, model->tokenizer_path, model->vocab,
                                c->diag, &c->tokenizer, &c->tokenizer_nbytes));
    c->spec =
        (SnlProgramSpec){.name = model->name,
                         .family = model->family,
                         .weight_format = snl_payload_format(c->arena, model->module, &c->payload),
                         .vocab = model->vocab,
                         .context = model->context,
                         .trained_context = model->trained_context,
                         .n_params = model->n_params,
                         .eos = model->eos,
                         .n_eos = model->n_eos,
                         .graphs = c->graphs,
                         .n_graphs = c->modes.list.n,
                         .outputs = c->outputs,
                         .n_outputs = c->n_outputs};
    c->spec.payload_id = snl_trailer_id(&c->payload, c->tokenizer, c->tokenizer_nbytes);
    return SNL_OK;
}

SnlStatus snl_compilation_emit(SnlCompilation *c, const SnlTargetOptions *target, SnlEmitKind kind,
                               const char *path)
{
    SnlProgressBar bar = snl_progress_bar("code");
    SnlStatus status =
        snl_emit_program(c->model.module, &c->payload, &c->spec, target, kind, path, c->diag);
    snl_progress_end(&bar);
    return status;
}

void snl_compilation_close(SnlCompilation *c)
{
    if (c->model.module) snl_model_close(&c->model);
    c->model.module = NULL;
}

bool snl_sequential_cost(const SnlCompileOptions *options, SnlStepCost *out)
{
    SnlCompileOptions plain = *options;
    plain.modes = (SnlModeArgs){0};
    plain.keep_states = false;
    plain.pipeline.options = (SnlPipelineOptions){0};
    SnlCompilation c = {
        .options = &plain, .arena = snl_arena_create(), .diag = snl_diag_create(NULL, 0)};
    bool good = snl_compilation_rewrite(&c) == SNL_OK && describe_graphs(&c) == SNL_OK;
    if (good) *out = snl_step_cost(c.graphs[0].decode, &c.payload, SNL_MODEL_THREADS);
    snl_emergency_set_reproducer(NULL); /* its text dies with the arena */
    snl_compilation_close(&c);
    snl_diag_destroy(c.diag);
    snl_arena_destroy(c.arena);
    return good;
}
