/* compiler/driver/run_session.c -- opens the function that `snlpc run` calls and makes ready what
 * calls it: the reference evaluator, compiled code, or both. */
#include "compiler/driver/run_session.h"

#include "compiler/driver/emergency.h"
#include "compiler/driver/reproducer.h"
#include "passes/schedule.h"

#include <inttypes.h>
#include <string.h>

static SnlStatus find_func(SnlRunSession *s, const SnlModule *m, const char *name, SnlFunc **out)
{
    *out = snl_module_find_func(m, name);
    if (!*out)
        return snl_error_at(s->diag, SNL_E_NAME, s->run->path, "no function '@%s' in module '@%s'",
                            name, m->name);
    if ((*out)->kind == SNL_FUNC) return SNL_OK;
    return snl_error(s->diag, SNL_E_UNSUPPORTED, (*out)->loc,
                     "'@%s' is a layer: its states are bound by a call; run a func that calls it",
                     name);
}

/* Opens the file and leaves FUNC alone in it (with the layers): what the others name is not
 * wanted. */
static SnlStatus open_func(SnlRunSession *s, SnlIrFile *out, SnlFunc **out_func)
{
    const SnlRunOptions *run = s->run;
    SNL_TRY(snl_ir_file_open(s->arena, run->path, run->random, run->weight_seed, s->diag, out));
    SNL_TRY(find_func(s, out->module, run->func, out_func));
    for (SnlFunc *f = out->module->first, *next; f; f = next) {
        next = f->next;
        if (f->kind == SNL_FUNC && f != *out_func) snl_func_remove(f);
    }
    return SNL_OK;
}

static const char *pipeline_text(SnlRunSession *s)
{
    const SnlRunOptions *run = s->run;
    bool prefill = s->tokens > 1 || run->block;
    int64_t block = run->block > s->tokens ? run->block : s->tokens;
    SnlPipelineSpec spec = {
        .weights = run->weights, .kv = run->kv, .func = run->func, .block = prefill ? block : 0};
    return run->pipeline.text ? run->pipeline.text : snl_pipeline_default(s->arena, &spec);
}

static bool is_element(const char *element, const char *end, const char *name)
{
    size_t n = strlen(name);
    return strncmp(element, name, n) == 0 && (element[n] == '{' || element + n == end);
}

/* The elements of a pipeline up to those that choose formats, its last `pack` or `caches`; NULL
 * when it has none. */
static char *until_formats(SnlArena *arena, const char *text)
{
    bool quoted = false;
    int depth = 0;
    char *found = NULL;
    const char *element = text, *at = text;
    for (;; at++) {
        if (*at == '"') quoted = !quoted;
        if (!quoted) depth += (*at == '{') - (*at == '}');
        if (*at && (quoted || depth || *at != ',')) continue;
        if (is_element(element, at, "pack") || is_element(element, at, "caches"))
            found = snl_arena_printf(arena, "%.*s", (int)(at - text), text);
        if (!*at) return found;
        element = at + 1;
    }
}

/* Rounding to a chosen format is not an error of the code: the evaluator gets the same numbers.
 * Which ones are rounded depends on what was folded into them before. */
static SnlStatus prepare_eval(SnlRunSession *s)
{
    bool rounds = snl_run_chose_formats(s->run) || s->run->pipeline.text;
    char *text = rounds ? until_formats(s->arena, pipeline_text(s)) : NULL;
    if (text) {
        SnlPipelineOptions none = {.source = s->original.source};
        SNL_TRY(snl_pipeline_run(s->original.module, text, &none, s->diag));
    }
    s->eval = snl_eval_create(s->original.module, s->original.source, s->diag);
    return SNL_OK;
}

static bool is_scheduled(const SnlFunc *func)
{
    return snl_attr_find(&func->attrs, "stages") != NULL;
}

/* Nothing would come of it. */
static SnlStatus refuse_options_of_passes(const SnlRunSession *s, const SnlFunc *func)
{
    const char *option = snl_run_option_of_passes(s->run);
    if (!option || !is_scheduled(func)) return SNL_OK;
    return snl_error_at(s->diag, SNL_E_USAGE, option,
                        "'@%s' is scheduled already and runs as it stands, without passes: leave "
                        "the option out, or give it to what makes the IR",
                        func->name);
}

/* Passes that make a scheduled function of `func`, found under its new name. */
static SnlStatus schedule(SnlRunSession *s, SnlFunc **func)
{
    const SnlRunOptions *run = s->run;
    SnlModule *m = s->compiled.module;
    bool prefill = s->tokens > 1 || run->block;
    if (s->tokens > SNL_MAX_BLOCK && !run->pipeline.text)
        return snl_error_at(s->diag, SNL_E_USAGE, "--tokens",
                            "found %" PRId64
                            ", wanted at most %d for compiled code (--eval takes more)",
                            s->tokens, SNL_MAX_BLOCK);
    const char *text = pipeline_text(s);
    snl_emergency_set_reproducer(snl_reproducer_text(s->arena, m, run->argv, text));
    SnlPipelineOptions passes = run->pipeline.options;
    passes.source = s->compiled.source;
    SNL_TRY(snl_pipeline_run(m, text, &passes, s->diag));
    return find_func(
        s, m, snl_arena_printf(s->arena, "%s.%s", run->func, prefill ? "prefill" : "decode"), func);
}

static SnlStatus prepare_code(SnlRunSession *s)
{
    SnlTargetOptions target = s->run->target;
    target.hook_stages = s->run->bench;
    SNL_TRY(open_func(s, &s->compiled, &s->scheduled));
    if (!is_scheduled(s->scheduled)) SNL_TRY(schedule(s, &s->scheduled));
    return snl_callable_create(s->arena, s->compiled.module, s->scheduled, s->compiled.source,
                               &target, s->diag, &s->callable);
}

static SnlStatus prepare(SnlRunSession *s)
{
    const SnlRunOptions *run = s->run;
    SnlFunc *func;
    SNL_TRY(open_func(s, &s->original, &func));
    s->func = func;
    SNL_TRY(refuse_options_of_passes(s, func));
    s->argument = SNL_NEW_ARRAY(s->arena, SnlArgument, func->n_param);
    SNL_TRY(snl_arguments_parse(func, run->arg, run->n_arg, s->diag, s->argument));
    SNL_TRY(snl_arguments_tokens(func, s->argument, run->tokens, s->diag, &s->tokens));
    if (run->eval || run->compare) SNL_TRY(prepare_eval(s));
    return run->eval ? SNL_OK : prepare_code(s);
}

SnlStatus snl_run_session_open(SnlRunSession *s, const SnlRunOptions *run, SnlDiag *diag)
{
    *s = (SnlRunSession){.run = run, .arena = snl_arena_create(), .diag = diag};
    return prepare(s);
}

void snl_run_session_close(SnlRunSession *s)
{
    if (s->eval) snl_eval_destroy(s->eval);
    snl_callable_destroy(s->callable);
    snl_ir_file_close(&s->compiled);
    snl_ir_file_close(&s->original);
    snl_arena_destroy(s->arena);
}
