/* passes/manager.c -- runs a pipeline over a module: verification, dumps, timing, check-each.
 *
 * It decides nothing about the graph. A pass that leaves an invalid module, or says SAME after a
 * change (looked at in debug builds), or is called exact and is not (check-each), is an internal
 * error that names the pass. */
#include "passes/check.h"
#include "passes/pipeline.h"

#include "ir/base/clock.h"
#include "ir/base/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* f64 on both sides: what is left is the order of sums, and nothing where a pass leaves that as it
 * is. Weights computed by new weight expressions are stored as f32. */
static const double limit_exact = 0, limit_reorders = 1e-9, limit_new_weights = 2e-5;

typedef struct Timing {
    double seconds;
    size_t ops_before, ops_after, bytes;
    SnlPassResult result;
    double error; /* check-each; < 0: not checked */
} Timing;

typedef struct Manager {
    SnlModule *module;
    const SnlPipelineOptions *options;
    SnlPipeline pipeline;
    SnlArena *arena; /* lives as long as the run */
    SnlDiag *diag;
    FILE *log;
    Timing *timing;
} Manager;

static size_t count_ops(const SnlModule *m)
{
    size_t n = 0;
    for (const SnlFunc *f = m->first; f; f = f->next)
        for (const SnlOp *op = f->first; op; op = op->next) n++;
    return n;
}

/* Is `name` in the comma-separated list (or the list "all")? */
static bool list_has(const char *list, const char *name)
{
    if (!list) return false;
    if (strcmp(list, "all") == 0) return true;
    size_t n = strlen(name);
    for (const char *p = list; *p;) {
        const char *end = strchr(p, ',');
        size_t len = end ? (size_t)(end - p) : strlen(p);
        if (len == n && memcmp(p, name, n) == 0) return true;
        p += len + (end ? 1 : 0);
    }
    return false;
}

static SnlStatus check_list(const Manager *mg, const char *list, const char *option)
{
    char *copy = snl_arena_strdup(mg->arena, list ? list : "all");
    for (char *p = copy, *end; *p; p = end) {
        end = p + strcspn(p, ",");
        if (*end) *end++ = '\0';
        if (strcmp(p, "all") != 0 && !snl_pass_find(p))
            return snl_error_at(mg->diag, SNL_E_PIPELINE, option, "there is no pass '%s'", p);
    }
    return SNL_OK;
}

static SnlStatus dump(const Manager *mg, size_t i, const char *when)
{
    const char *name = mg->pipeline.elements.at[i].pass->name;
    const char *dir = mg->options->dump_dir;
    if (!dir) {
        fprintf(stderr, "// ---- %s %s (pass %zu of %zu)\n", when, name, i + 1,
                mg->pipeline.elements.n);
        snl_print(mg->module, stderr);
        return SNL_OK;
    }
    bool before = strcmp(when, "before") == 0;
    const char *file =
        snl_arena_printf(mg->arena, "%02zu-%s%s.snl", i + 1, before ? "before-" : "", name);
    SnlOutput out;
    SNL_TRY(snl_output_open(snl_path_join(mg->arena, dir, file), mg->diag, &out));
    snl_print(mg->module, out.stream);
    return snl_output_commit(&out, false, mg->diag);
}

/* In debug builds SAME must mean the same text. */
static char *text_for_claim(const Manager *mg, SnlArena *arena)
{
#ifdef NDEBUG
    (void)mg, (void)arena;
    return NULL;
#else
    return snl_print_to_string(arena, mg->module);
#endif
}

static SnlStatus check_claim(const Manager *mg, SnlArena *arena, const SnlPass *pass,
                             const char *text_before, SnlPassResult result)
{
    if (!text_before || result != SNL_PASS_SAME) return SNL_OK;
    if (strcmp(text_before, snl_print_to_string(arena, mg->module)) == 0) return SNL_OK;
    return snl_error_at(mg->diag, SNL_E_INTERNAL, "pipeline",
                        "pass %s says it changed nothing, but the module's text is another one; "
                        "please report this",
                        pass->name);
}

/* How many weights are computed: their elements are rounded to f32, functions of them are not. */
static size_t count_computed_weights(const SnlModule *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->weights.n; i++) {
        SnlWexprCode code = m->weights.at[i]->code;
        n += code == SNL_WEXPR_COLSCALE || code == SNL_WEXPR_SCALE || code == SNL_WEXPR_MEAN ||
             code == SNL_WEXPR_MATMUL;
    }
    return n;
}

static size_t notes_of(const SnlAttrs *attrs)
{
    const SnlAttrValue *notes = snl_attr_find(attrs, "exactness");
    return notes && notes->kind == SNL_ATTR_LIST ? notes->list.n : 0;
}

/* Of the module and its functions: a second plan may repeat a note that the module has already. */
static size_t count_notes(const SnlModule *m)
{
    size_t n = notes_of(&m->attrs);
    for (const SnlFunc *f = m->first; f; f = f->next) n += notes_of(&f->attrs);
    return n;
}

typedef struct Snapshot {
    SnlCheckResult *results;
    size_t n_computed, n_notes;
    char *text;
} Snapshot;

static SnlStatus take_snapshot(const Manager *mg, SnlArena *arena, Snapshot *out)
{
    *out = (Snapshot){.text = text_for_claim(mg, arena)};
    if (!mg->options->check_each) return SNL_OK;
    out->n_computed = count_computed_weights(mg->module);
    out->n_notes = count_notes(mg->module);
    return snl_check_evaluate(arena, mg->module, mg->options->source, mg->options->check_seed,
                              mg->diag, &out->results);
}

/* Does it promise the same function? */
static bool is_exact(const SnlPass *pass)
{
    return pass->exactness == SNL_EXACT || pass->exactness == SNL_REORDERS;
}

static double limit_of(const SnlPass *pass)
{
    return pass->exactness == SNL_EXACT ? limit_exact : limit_reorders;
}

/* A pass that is not exact in general is checked too when it recorded nothing. */
static SnlStatus check_results(const Manager *mg, SnlArena *arena, const SnlPass *pass,
                               const Snapshot *before, Timing *timing)
{
    if (!mg->options->check_each) return SNL_OK;
    if (!is_exact(pass) && count_notes(mg->module) != before->n_notes) {
        fprintf(mg->log, "check-each: %-16s not exact by itself, skipped\n", pass->name);
        return SNL_OK;
    }
    SnlCheckResult *after;
    SNL_TRY(snl_check_evaluate(arena, mg->module, mg->options->source, mg->options->check_seed,
                               mg->diag, &after));
    SnlCheckError e = snl_check_compare(arena, before->results, after);
    bool new_weights = count_computed_weights(mg->module) > before->n_computed;
    double limit = new_weights ? limit_new_weights : limit_of(pass);
    timing->error = e.error;
    fprintf(mg->log, "check-each: %-16s largest error %.2e (limit %.0e, %zu tensors)\n", pass->name,
            e.error, limit, e.n_compared);
    if (e.error <= limit) return SNL_OK;
    return snl_error_at(mg->diag, SNL_E_NUMERIC, "pipeline",
                        "pass %s is exact, but changes the answer: %s: error %.3g of the largest "
                        "element, wanted at most %.0e (seed %llu)",
                        pass->name, e.where, e.error, limit,
                        (unsigned long long)mg->options->check_seed);
}

static SnlStatus verify_after(const Manager *mg, const SnlPass *pass)
{
    if (!mg->options->verify_each || snl_verify(mg->module, mg->diag) == SNL_OK) return SNL_OK;
    return snl_error_at(mg->diag, SNL_E_INTERNAL, "pipeline",
                        "pass %s leaves a module that is not valid; please report this",
                        pass->name);
}

static SnlStatus run_element(Manager *mg, size_t i, SnlArena *scratch)
{
    const SnlPipelineElement *element = &mg->pipeline.elements.at[i];
    const SnlPass *pass = element->pass;
    Timing *timing = &mg->timing[i];
    if (list_has(mg->options->print_before, pass->name)) SNL_TRY(dump(mg, i, "before"));
    Snapshot before;
    SNL_TRY(take_snapshot(mg, scratch, &before));
    SnlPassContext ctx = {scratch, mg->diag, mg->options->source, element->option, pass};
    size_t used = snl_arena_used(mg->module->arena);
    timing->ops_before = count_ops(mg->module);
    double start = snl_seconds();
    timing->result = pass->run(mg->module, &ctx);
    timing->seconds = snl_seconds() - start;
    timing->ops_after = count_ops(mg->module);
    timing->bytes = snl_arena_used(mg->module->arena) - used;
    if (timing->result == SNL_PASS_FAILED) return SNL_BAD_INPUT;
    /* The dump comes first: it is what one wants to see when a check below fails. */
    bool to_dir = mg->options->dump_dir && !mg->options->print_after;
    if (to_dir || list_has(mg->options->print_after, pass->name)) SNL_TRY(dump(mg, i, "after"));
    SNL_TRY(verify_after(mg, pass));
    SNL_TRY(check_claim(mg, scratch, pass, before.text, timing->result));
    return check_results(mg, scratch, pass, &before, timing);
}

static void print_timing(const Manager *mg, size_t n)
{
    double total = 0;
    fprintf(mg->log, "%-18s %10s %8s %8s %12s  %s\n", "pass", "ms", "ops", "ops out", "arena bytes",
            "result");
    for (size_t i = 0; i < n; i++) {
        const Timing *t = &mg->timing[i];
        total += t->seconds;
        fprintf(mg->log, "%-18s %10.3f %8zu %8zu %12zu  %s\n",
                mg->pipeline.elements.at[i].pass->name, 1e3 * t->seconds, t->ops_before,
                t->ops_after, t->bytes, t->result == SNL_PASS_CHANGED ? "changed" : "same");
    }
    fprintf(mg->log, "%-18s %10.3f\n", "total", 1e3 * total);
}

static SnlStatus make_dump_dir(const Manager *mg)
{
    const char *dir = mg->options->dump_dir;
    if (!dir || snl_path_is_dir(dir) || mkdir(dir, 0777) == 0) return SNL_OK;
    return snl_error_at(mg->diag, SNL_E_MACHINE, dir, "cannot make the folder for dumps: %s",
                        strerror(errno));
}

static void tell_progress(const Manager *mg, size_t done, size_t n)
{
    const SnlPipelineOptions *o = mg->options;
    if (o->progress) o->progress(o->progress_user, (int64_t)done, (int64_t)n);
}

static SnlStatus run_all(Manager *mg, const char *text)
{
    SNL_TRY(snl_pipeline_parse(mg->arena, text, mg->diag, &mg->pipeline));
    SNL_TRY(check_list(mg, mg->options->print_after, "--print-ir-after"));
    SNL_TRY(check_list(mg, mg->options->print_before, "--print-ir-before"));
    SNL_TRY(make_dump_dir(mg));
    size_t n = mg->pipeline.elements.n, done = 0;
    mg->timing = SNL_NEW_ARRAY(mg->arena, Timing, n);
    SnlStatus status = SNL_OK;
    while (done < n && status == SNL_OK) {
        SnlArena *scratch = snl_arena_create();
        tell_progress(mg, done, n);
        status = run_element(mg, done++, scratch);
        snl_arena_destroy(scratch);
    }
    if (status == SNL_OK) tell_progress(mg, done, n);
    if (mg->options->timing) print_timing(mg, done);
    return status;
}

SnlStatus snl_pipeline_run(SnlModule *module, const char *text, const SnlPipelineOptions *options,
                           SnlDiag *diag)
{
    static const SnlPipelineOptions none = {0};
    Manager mg = {.module = module, .options = options ? options : &none, .diag = diag};
    mg.log = mg.options->log ? mg.options->log : stderr;
    mg.arena = snl_arena_create();
    SnlStatus status = run_all(&mg, text);
    snl_arena_destroy(mg.arena);
    return status;
}
