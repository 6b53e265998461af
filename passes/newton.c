/* passes/newton.c -- a plan's windows are cut out of the chain.
 *
 *     %h = chain %x, %pos, [@block.0(@kv.0), @block.1(@kv.1), @block.2(@kv.2)] : f32[T, 8]
 *
 * becomes with plan="n2 K2 h0"
 *
 *     state @kv.2.s1 : f32[2, 1, 16, 8]
 *     %h.1 = chain %x, %pos, [@block.0(@kv.0)] : f32[T, 8]
 *     %h = newton %h.1, %pos, [@block.1(@kv.1), @block.2(@kv.2.s1, @kv.2)]
 *                 {damping = 0.0, init = h0, kv = sweep, sweeps = 2} : f32[T, 8]
 *
 * Layers outside of windows stay chains. Every evaluation of a unit gets states of its own
 * (kv = sweep): the layer's for the last, new ones for those before. With kv = corrected units keep
 * their states. `warm` adds the state of each unit's input at the previous token.
 *
 * prefill=seq adds a second function, `@<func>.prompt`: the sequential chain, which fills the
 * states that the planned function reads. The canonical plan is kept as the function's attribute
 * `plan`.
 *
 * Exact when every window has as many sweeps as units, approximate otherwise. */
#include "passes/newton.h"

#include <string.h>

/* ---- states --------------------------------------------------------------------------------- */

static SnlState *fresh_state(SnlNewton *nw, const char *stem, const SnlType *type)
{
    const char *name = stem;
    for (int i = 1; snl_module_find_func(nw->m, name) || snl_module_find_weight(nw->m, name) ||
                    snl_module_find_state(nw->m, name);
         i++)
        name = snl_arena_printf(nw->arena, "%s.%d", stem, i);
    return snl_module_state(nw->m, name, type);
}

/* h's type without T. */
static const SnlType *row_type(SnlNewton *nw)
{
    const SnlType *h = snl_in(nw->chain, 0)->type;
    return snl_type(nw->m, SNL_F32, h->rank - 1, h->dim + 1);
}

static void bind_unit(SnlNewton *nw, const SnlWindow *w, size_t link, size_t unit)
{
    const SnlBinding *b = &nw->chain->sym[0].bind[link];
    bool sweep = !nw->plan.kv_corrected;
    size_t evals =
        sweep ? snl_newton_evals(snl_window_sweeps(w), w->init == SNL_INIT_BATCH_FWD, unit) : 1;
    bool warm = w->init == SNL_INIT_WARM && unit > 0;
    SnlUnit *u = &nw->unit[link];
    *u = (SnlUnit){.binding.layer = b->layer, .evals = evals, .window = w, .index = unit};
    u->binding.n_state = evals * b->n_state + (warm ? 1 : 0);
    u->binding.state = SNL_NEW_ARRAY(nw->m->arena, SnlState *, u->binding.n_state);
    size_t at = 0;
    for (size_t e = 0; e < evals; e++)
        for (size_t s = 0; s < b->n_state; s++) {
            const char *stem = snl_arena_printf(nw->arena, "%s.s%zu", b->state[s]->name, e + 1);
            u->binding.state[at++] =
                e + 1 < evals ? fresh_state(nw, stem, b->state[s]->type) : b->state[s];
        }
    if (!warm) return;
    u->warm = fresh_state(nw, snl_arena_printf(nw->arena, "warm.%zu", link), row_type(nw));
    u->binding.state[at] = u->warm;
}

/* ---- segments ------------------------------------------------------------------------------- */

static void set_window_attrs(SnlNewton *nw, SnlOp *op, const SnlWindow *w)
{
    snl_attr_set_int(nw->m, &op->attrs, "sweeps", snl_window_sweeps(w));
    snl_attr_set_real(nw->m, &op->attrs, "damping", w->damping);
    snl_attr_set_word(nw->m, &op->attrs, "init", snl_init_text[w->init]);
    snl_attr_set_word(nw->m, &op->attrs, "kv", nw->plan.kv_corrected ? "corrected" : "sweep");
    if (w->surrogate == SNL_PLAN_IDENTITY)
        snl_attr_set_word(nw->m, &op->attrs, "surrogate", "identity");
    if (w->surrogate == SNL_PLAN_ZERO) snl_attr_set_word(nw->m, &op->attrs, "surrogate", "zero");
}

/* The old chain's taps that lie in [first, end), counted from first. The last link's is result 0.
 */
static void set_taps(SnlNewton *nw, SnlOp *op, size_t first, size_t end)
{
    const SnlOp *old = nw->chain;
    SnlAttrValue taps = {.kind = SNL_ATTR_LIST};
    taps.list.at = SNL_NEW_ARRAY(nw->m->arena, SnlAttrValue, old->n_out);
    for (size_t i = 1; i < old->n_out; i++) {
        int64_t tap = snl_attr_int_at(&old->attrs, "taps", i - 1, 0);
        if (tap < (int64_t)first || tap + 1 >= (int64_t)end) continue;
        taps.list.at[taps.list.n++] =
            (SnlAttrValue){.kind = SNL_ATTR_INT, .i = tap - (int64_t)first};
    }
    if (taps.list.n) snl_attr_set(nw->m, &op->attrs, "taps", taps);
}

static void replace_taps(const SnlNewton *nw, const SnlOp *op, size_t first, size_t end)
{
    const SnlOp *old = nw->chain;
    for (size_t i = 1, next = 1; i < old->n_out; i++) {
        int64_t tap = snl_attr_int_at(&old->attrs, "taps", i - 1, 0);
        if (tap < (int64_t)first || tap >= (int64_t)end) continue;
        snl_value_replace(old->out[i], tap + 1 == (int64_t)end ? op->out[0] : op->out[next++]);
    }
}

/* Links [first, end) as a chain (w NULL) or as a window, on *inout_h. */
static void emit_segment(SnlNewton *nw, size_t first, size_t end, const SnlWindow *w,
                         SnlValue **inout_h)
{
    SnlOp *old = nw->chain;
    SnlOp *op = snl_op_create(old->func, old, w ? SNL_OP_NEWTON : SNL_OP_CHAIN);
    SnlBinding *link = SNL_NEW_ARRAY(nw->arena, SnlBinding, end - first);
    op->loc = old->loc;
    snl_op_add_in(op, *inout_h);
    for (size_t i = 1; i < old->n_in; i++) snl_op_add_in(op, snl_in(old, i));
    for (size_t i = first; i < end; i++)
        link[i - first] = w ? nw->unit[i].binding : old->sym[0].bind[i];
    snl_op_set_bindings(op, 0, link, end - first, true);
    set_taps(nw, op, first, end);
    if (w) set_window_attrs(nw, op, w);
    *inout_h = snl_op_finish(op, old->out[0]->name);
    replace_taps(nw, op, first, end);
}

/* The link at which layer `layer` of the model begins. */
static size_t link_of_layer(const SnlOp *chain, int64_t layer)
{
    size_t link = 0;
    for (int64_t at = 0; at < layer; link++) at += snl_link_layers(&chain->sym[0].bind[link]);
    return link;
}

static void split_chain(SnlNewton *nw)
{
    SnlValue *h = snl_in(nw->chain, 0);
    size_t at = 0;
    for (size_t i = 0; i < nw->plan.windows.n; i++) {
        const SnlWindow *w = &nw->plan.windows.at[i];
        size_t first = link_of_layer(nw->chain, w->begin), end = link_of_layer(nw->chain, w->end);
        if (at < first) emit_segment(nw, at, first, NULL, &h);
        emit_segment(nw, first, end, w, &h);
        at = end;
    }
    if (at < nw->chain->sym[0].n) emit_segment(nw, at, nw->chain->sym[0].n, NULL, &h);
    const char *name = nw->chain->out[0]->name;
    snl_value_replace(nw->chain->out[0], h);
    snl_op_erase(nw->chain);
    nw->chain = NULL;
    snl_value_rename(h, name);
}

/* ---- windows -------------------------------------------------------------------------------- */

/* A window's chunks must have been fused before. */
static SnlStatus check_units(const SnlNewton *nw, const SnlWindow *w)
{
    size_t first = link_of_layer(nw->chain, w->begin), end = link_of_layer(nw->chain, w->end);
    bool fits = end - first == snl_window_units(w);
    for (size_t i = first; fits && w->n_chunk && i < end; i++)
        fits = snl_link_layers(&nw->chain->sym[0].bind[i]) == w->chunk[i - first];
    if (fits) return SNL_OK;
    return snl_error(
        nw->ctx->diag, SNL_E_PLAN, w->loc,
        "plan: the window's links are not its %zu units: run fuse-layers with the same "
        "plan before",
        snl_window_units(w));
}

/* Row `row` of `all` as a vector. */
static SnlWeight *diagonal_of(SnlNewton *nw, SnlWeight *all, int64_t row, size_t link)
{
    int64_t width = all->type->dim[1];
    const char *name = snl_arena_printf(nw->arena, "diag.%zu.row", link);
    SnlWeight *slice = snl_weight_expr(nw->m, snl_module_fresh_weight_name(nw->m, name),
                                       snl_type(nw->m, SNL_F32, 2, (int64_t[]){1, width}),
                                       SNL_WEXPR_SLICE, &all, 1);
    snl_attr_set_int(nw->m, &slice->attrs, "axis", 0);
    snl_attr_set_int(nw->m, &slice->attrs, "begin", row);
    snl_attr_set_int(nw->m, &slice->attrs, "end", row + 1);
    name = snl_arena_printf(nw->arena, "diag.%zu", link);
    return snl_weight_expr(nw->m, snl_module_fresh_weight_name(nw->m, name),
                           snl_type(nw->m, SNL_F32, 1, &width), SNL_WEXPR_RESHAPE, &slice, 1);
}

/* surrogate=diag:FILE: row j of the file is the surrogate of unit j, on a copy of its layer. */
static void set_diagonals(SnlNewton *nw, const SnlWindow *w, size_t first, size_t n)
{
    int64_t width = snl_type_width(snl_in(nw->chain, 0)->type);
    SnlWeight *all =
        snl_weight_source(nw->m, snl_module_fresh_weight_name(nw->m, "diag"),
                          snl_type(nw->m, SNL_F32, 2, (int64_t[]){(int64_t)n, width}),
                          snl_plan_diag_path(nw->m->arena, w), "");
    for (size_t i = 0; i < n; i++) {
        SnlUnit *u = &nw->unit[first + i];
        const SnlFunc *layer = u->binding.layer;
        SnlFunc *own = snl_func_clone(layer, snl_newton_fresh_func(nw, layer->name, "diag"));
        own->surrogate = SNL_SURROGATE_DIAG;
        own->surrogate_weight = diagonal_of(nw, all, (int64_t)i, first + i);
        snl_func_move(own, nw->chain->func);
        u->binding.layer = own;
    }
}

const char *snl_newton_fresh_func(SnlNewton *nw, const char *layer, const char *kind)
{
    const char *stem = snl_arena_printf(nw->arena, "%s.%s", layer, kind), *name = stem;
    for (int i = 1; snl_module_find_func(nw->m, name) || snl_module_find_weight(nw->m, name) ||
                    snl_module_find_state(nw->m, name);
         i++)
        name = snl_arena_printf(nw->arena, "%s.%d", stem, i);
    return name;
}

static SnlStatus check_surrogates(const SnlNewton *nw, const SnlWindow *w, size_t first, size_t end)
{
    for (size_t i = first; w->surrogate == SNL_PLAN_OWN && i < end; i++) {
        const SnlFunc *layer = nw->chain->sym[0].bind[i].layer;
        if (layer->surrogate == SNL_SURROGATE_NONE)
            return snl_error(
                nw->ctx->diag, SNL_E_PLAN, w->loc,
                "plan: layer @%s has no surrogate of its own: give surrogate=identity, "
                "zero or diag:FILE.npy",
                layer->name);
    }
    return SNL_OK;
}

/* Every evaluation is a copy of the layer once it is inlined, and a cache. */
static SnlStatus check_evals(const SnlNewton *nw, const SnlWindow *w)
{
    enum { MAX_EVALS = 1 << 16 };
    size_t sum = 0;
    for (size_t j = 0; j < snl_window_units(w); j++)
        sum += snl_newton_evals(snl_window_sweeps(w), w->init == SNL_INIT_BATCH_FWD, j);
    if (sum <= MAX_EVALS) return SNL_OK;
    return snl_error(
        nw->ctx->diag, SNL_E_PLAN, w->loc,
        "plan: the window evaluates layers %zu times per token, at most %d: give fewer "
        "sweeps or a smaller window",
        sum, MAX_EVALS);
}

static SnlStatus prepare_window(SnlNewton *nw, const SnlWindow *w)
{
    SNL_TRY(check_units(nw, w));
    SNL_TRY(check_evals(nw, w));
    size_t first = link_of_layer(nw->chain, w->begin), end = link_of_layer(nw->chain, w->end);
    SNL_TRY(check_surrogates(nw, w, first, end));
    for (size_t i = first; i < end; i++) bind_unit(nw, w, i, i - first);
    if (w->surrogate == SNL_PLAN_DIAG) set_diagonals(nw, w, first, end - first);
    return SNL_OK;
}

static void note_window(SnlNewton *nw, SnlFunc *f, const SnlWindow *w)
{
    int64_t sweeps = snl_window_sweeps(w), units = (int64_t)snl_window_units(w);
    if (sweeps >= units || (w->init == SNL_INIT_BATCH_FWD && sweeps + 1 >= units)) return;
    const char *range = w->last ? snl_arena_printf(nw->arena, "n=%lld", (long long)w->last)
                                : snl_arena_printf(nw->arena, "[%lld:%lld]", (long long)w->begin,
                                                   (long long)w->end);
    snl_func_note_exactness(
        f, snl_arena_printf(nw->arena, "approximate(newton %s K=%lld)", range, (long long)sweeps));
}

/* ---- the pass ------------------------------------------------------------------------------- */

static SnlStatus transform(SnlNewton *nw)
{
    SnlFunc *f = nw->chain->func;
    nw->unit = SNL_NEW_ARRAY(nw->arena, SnlUnit, nw->chain->sym[0].n);
    for (size_t i = 0; i < nw->plan.windows.n; i++)
        SNL_TRY(prepare_window(nw, &nw->plan.windows.at[i]));
    bool warm = false;
    for (size_t i = 0; i < nw->plan.windows.n; i++)
        warm |= nw->plan.windows.at[i].init == SNL_INIT_WARM;
    if (nw->plan.prefill_seq) SNL_TRY(snl_newton_prompt(nw));
    split_chain(nw);
    for (size_t i = 0; i < nw->plan.windows.n; i++) note_window(nw, f, &nw->plan.windows.at[i]);
    snl_attr_set_string(nw->m, &f->attrs, "plan", snl_plan_print(nw->m->arena, &nw->plan));
    if (warm) snl_attr_set_int(nw->m, &f->attrs, "tokens", 1); /* the previous token's state */
    return SNL_OK;
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    SnlNewton nw = {.m = m, .ctx = ctx, .arena = ctx->scratch};
    if (snl_plan_parse(m->arena, snl_pass_text(ctx, "plan"), ctx->diag, &nw.plan) != SNL_OK)
        return SNL_PASS_FAILED;
    if (nw.plan.windows.n == 0) return SNL_PASS_SAME;
    nw.chain = snl_plan_chain(m, snl_pass_text(ctx, "func"), ctx->diag);
    if (!nw.chain || snl_plan_fit(&nw.plan, nw.chain, ctx->diag) != SNL_OK) return SNL_PASS_FAILED;
    if (ctx->source &&
        snl_plan_check_files(&nw.plan, nw.chain, ctx->source, ctx->diag) != SNL_OK)
        return SNL_PASS_FAILED;
    return transform(&nw) == SNL_OK ? SNL_PASS_CHANGED : SNL_PASS_FAILED;
}

static const SnlPassOption options[] = {
    {"plan", SNL_OPTION_TEXT, "seq", 0, 0, "which layers become windows, and how (passes/plan.h)"},
    {"func", SNL_OPTION_TEXT, "", 0, 0,
     "the function whose chain it is about (default: the only one)"},
    {0}};

const SnlPass snl_pass_newton = {
    .name = "newton",
    .summary = "cuts a plan's windows out of the chain",
    .exactness = SNL_APPROXIMATE,
    .options = options,
    .run = run,
};
