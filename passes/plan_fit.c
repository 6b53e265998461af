/* passes/plan_fit.c -- plans printed canonically, and fitted to the chain of a model. */
#include "passes/plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- printing ------------------------------------------------------------------------------- */

/* The shortest text that reads back as the same number. */
static const char *real_text(SnlArena *arena, double x)
{
    const char *text = "";
    for (int digits = 1; digits <= 17; digits++) {
        double back;
        text = snl_arena_printf(arena, "%.*g", digits, x);
        if (sscanf(text, "%lf", &back) == 1 && back == x) break;
    }
    return text;
}

const char *snl_window_chunks(SnlArena *arena, const SnlWindow *w)
{
    bool equal = true;
    for (size_t i = 1; i < w->n_chunk; i++) equal &= w->chunk[i] == w->chunk[0];
    if (w->n_chunk == 0) return "";
    if (equal) return snl_arena_printf(arena, " %zuxF%" PRId64, w->n_chunk, w->chunk[0]);
    const char *text = " F(";
    for (size_t i = 0; i < w->n_chunk; i++)
        text = snl_arena_printf(arena, "%s%s%" PRId64, text, i ? "," : "", w->chunk[i]);
    return snl_arena_printf(arena, "%s)", text);
}

static const char *surrogate_text(SnlArena *arena, const SnlWindow *w)
{
    switch (w->surrogate) {
    case SNL_PLAN_OWN:
        return "";
    case SNL_PLAN_IDENTITY:
        return " surrogate=identity";
    case SNL_PLAN_STREAMS:
        return " surrogate=streams";
    case SNL_PLAN_ZERO:
        return " surrogate=zero";
    case SNL_PLAN_DIAG:
        return snl_arena_printf(arena, " surrogate=diag:%s", w->diag_file);
    }
    SNL_UNREACHABLE();
}

static const char *window_text(SnlArena *arena, const SnlWindow *w)
{
    const char *text = w->last
                           ? snl_arena_printf(arena, "n%" PRId64, w->last)
                           : snl_arena_printf(arena, "[%" PRId64 ":%" PRId64 "]", w->begin, w->end);
    text = snl_arena_printf(arena, "%s%s", text, snl_window_chunks(arena, w));
    text = w->sweeps ? snl_arena_printf(arena, "%s K%" PRId64, text, w->sweeps)
                     : snl_arena_printf(arena, "%s K=exact", text);
    text = snl_arena_printf(arena, "%s %s", text, snl_init_text[w->init]);
    if (w->damping != 0)
        text = snl_arena_printf(arena, "%s damping=%s", text, real_text(arena, w->damping));
    return snl_arena_printf(arena, "%s%s", text, surrogate_text(arena, w));
}

char *snl_plan_print(SnlArena *arena, const SnlPlan *plan)
{
    static const char *const compat[] = {"", " compat=reference", " compat=reference-fused"};
    if (plan->windows.n == 0) return snl_arena_strdup(arena, "seq");
    const char *text = "";
    for (size_t i = 0; i < plan->windows.n; i++)
        text = snl_arena_printf(arena, "%s%s%s", text, i ? "; " : "",
                                window_text(arena, &plan->windows.at[i]));
    return snl_arena_printf(arena, "%s%s%s%s%s", text, plan->prefill_seq ? " prefill=seq" : "",
                            plan->kv_corrected ? " kv=corrected" : "", compat[plan->compat],
                            plan->avg ? " avg" : "");
}

/* ---- fitting -------------------------------------------------------------------------------- */

int64_t snl_link_layers(const SnlBinding *link)
{
    return snl_attr_int(&link->layer->attrs, "layers", 1);
}

size_t snl_window_units(const SnlWindow *w)
{
    return w->n_chunk ? w->n_chunk : (size_t)(w->end - w->begin);
}

int64_t snl_window_sweeps(const SnlWindow *w)
{
    return w->sweeps ? w->sweeps : (int64_t)snl_window_units(w);
}

static SnlStatus check_surrogate(const SnlWindow *w, const SnlOp *chain, SnlDiag *diag)
{
    const SnlFunc *layer = chain->sym[0].bind[0].layer;
    const SnlType *h = snl_in(chain, 0)->type;
    if (w->surrogate == SNL_PLAN_STREAMS && layer->surrogate != SNL_SURROGATE_STREAMS)
        return snl_error(diag, SNL_E_PLAN, w->loc,
                         "plan: surrogate=streams needs a model with hyper-connections: this one's "
                         "layers have none");
    if (w->surrogate == SNL_PLAN_DIAG && h->rank != 2)
        return snl_error(diag, SNL_E_PLAN, w->loc,
                         "plan: surrogate=diag is for one stream per token: this model has %lld",
                         (long long)snl_type_members(h));
    return SNL_OK;
}

static SnlStatus fit_window(SnlWindow *w, int64_t layers, int64_t free_from, SnlDiag *diag)
{
    if (w->last > layers)
        return snl_error(diag, SNL_E_PLAN, w->loc,
                         "plan: n%lld is more than the chain has: %lld layers", (long long)w->last,
                         (long long)layers);
    if (w->last) {
        w->end = layers;
        w->begin = layers - w->last;
    }
    if (w->end > layers)
        return snl_error(diag, SNL_E_PLAN, w->loc,
                         "plan: [%lld:%lld] goes beyond the chain, which has %lld layers",
                         (long long)w->begin, (long long)w->end, (long long)layers);
    if (w->begin < free_from)
        return snl_error(diag, SNL_E_PLAN, w->loc,
                         "plan: the window begins at layer %lld, the one before ends at %lld",
                         (long long)w->begin, (long long)free_from);
    return SNL_OK;
}

/* With chunks that were fused, a window's boundaries must still be links. */
static SnlStatus check_boundary(const SnlWindow *w, int64_t layer, const SnlOp *chain,
                                SnlDiag *diag)
{
    int64_t at = 0;
    for (size_t i = 0; i < chain->sym[0].n && at < layer; i++)
        at += snl_link_layers(&chain->sym[0].bind[i]);
    if (at == layer) return SNL_OK;
    return snl_error(diag, SNL_E_PLAN, w->loc, "plan: layer %lld lies inside a fused layer",
                     (long long)layer);
}

SnlStatus snl_plan_fit(SnlPlan *plan, const SnlOp *chain, SnlDiag *diag)
{
    int64_t layers = 0, free_from = 0;
    for (size_t i = 0; i < chain->sym[0].n; i++) layers += snl_link_layers(&chain->sym[0].bind[i]);
    for (size_t i = 0; i < plan->windows.n; i++) {
        SnlWindow *w = &plan->windows.at[i];
        SNL_TRY(fit_window(w, layers, free_from, diag));
        SNL_TRY(check_boundary(w, w->begin, chain, diag));
        SNL_TRY(check_boundary(w, w->end, chain, diag));
        SNL_TRY(check_surrogate(w, chain, diag));
        free_from = w->end;
    }
    return SNL_OK;
}

/* ---- files -------------------------------------------------------------------------------- */

const char *snl_plan_diag_path(SnlArena *arena, const SnlWindow *w)
{
    char *path = realpath(w->diag_file, NULL);
    const char *name = snl_arena_strdup(arena, path ? path : w->diag_file);
    free(path);
    return name;
}

static SnlStatus check_rows(const SnlWindow *w, int64_t width, const char *path,
                            SnlWeightSource *source, SnlDiag *diag)
{
    SnlTensorInfo info;
    char found[SNL_SHAPE_TEXT];
    int64_t units = (int64_t)snl_window_units(w);
    SnlStatus status = source->find(source, path, "", diag, &info);
    if (status != SNL_OK) {
        snl_note(diag, w->diag_loc, "the plan names it here");
        return status;
    }
    if (info.rank == 2 && info.dim[0] == units && info.dim[1] == width) return SNL_OK;
    snl_shape_text(info.rank, info.dim, found);
    return snl_error(diag, SNL_E_PLAN, w->diag_loc,
                     "plan: '%s': found %s, wanted [%lld, %lld]: a row for every unit of the "
                     "window, a column for every element of the state",
                     w->diag_file, found, (long long)units, (long long)width);
}

static SnlStatus check_file(const SnlWindow *w, int64_t width, SnlWeightSource *source,
                            SnlDiag *diag)
{
    char *path = realpath(w->diag_file, NULL);
    if (!path)
        return snl_error(diag, SNL_E_MACHINE, w->diag_loc, "plan: cannot open '%s': %s",
                         w->diag_file, strerror(errno));
    SnlStatus status = SNL_OK;
    if (!source->shapeless) status = check_rows(w, width, path, source, diag);
    free(path);
    return status;
}

SnlStatus snl_plan_check_files(const SnlPlan *plan, const SnlOp *chain, SnlWeightSource *source,
                               SnlDiag *diag)
{
    int64_t width = snl_type_width(snl_in(chain, 0)->type);
    for (size_t i = 0; i < plan->windows.n; i++)
        if (plan->windows.at[i].surrogate == SNL_PLAN_DIAG)
            SNL_TRY(check_file(&plan->windows.at[i], width, source, diag));
    return SNL_OK;
}

/* ---- the chain ------------------------------------------------------------------------------ */

static SnlOp *only_chain(const SnlFunc *f, size_t *inout_count)
{
    SnlOp *found = NULL;
    for (SnlOp *op = f->first; op; op = op->next)
        if (op->code == SNL_OP_CHAIN) found = op, (*inout_count)++;
    return found;
}

SnlOp *snl_plan_chain(SnlModule *m, const char *func, SnlDiag *diag)
{
    bool named = func && *func;
    size_t count = 0;
    SnlOp *chain = NULL;
    for (const SnlFunc *f = m->first; f; f = f->next) {
        if (f->kind != SNL_FUNC || (named && strcmp(f->name, func) != 0)) continue;
        SnlOp *found = only_chain(f, &count);
        if (found) chain = found;
    }
    if (count == 1 && chain->sym[0].n > 0) return chain;
    snl_error_at(diag, SNL_E_PLAN, "plan",
                 "a plan is about one chain of layers: found %zu%s%s; name the function with func=",
                 count, named ? " in @" : "", named ? func : "");
    return NULL;
}
