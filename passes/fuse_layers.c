/* passes/fuse_layers.c -- the chunks of a plan become wider layers.
 *
 *     %h = chain %x, %pos, [@block.0(@kv.0), @block.1(@kv.1), @block.2(@kv.2)] : f32[T, 8]
 *
 * becomes with plan="[1:3] 1xF2 K1"
 *
 *     layer @fused.1_2(%h: f32[T, 8], %pos: index, @kv_0: state, @kv_1: state) -> f32[T, 8]
 *         surrogate identity attributes {layers = 2} {
 *       ...                                            (branches of both layers on one input)
 *       %y = lincomb %h, %o_0, %o_1 : f32[T, 8]
 *       ...
 *       %z = lincomb %y, %d_0, %d_1 : f32[T, 8]
 *       return %z
 *     }
 *     %h = chain %x, %pos, [@block.0(@kv.0), @fused.1_2(@kv.1, @kv.2)] : f32[T, 8]
 *
 * fuse_body.c says how a layer is fused. A chunk of one layer stays that layer, unless the plan
 * says `compat`. A tap inside a chunk becomes the chunk's end, or, when the chunk ends the chain,
 * its input; with compat=reference always the end, with compat=reference-fused the window's input.
 * This changes the function: it runs before the window is formed, so that the chain of fused layers
 * is the definition every later step is checked against. */
#include "passes/fuse.h"

#include <string.h>

typedef struct Fusing {
    SnlModule *m;
    SnlPassContext *ctx;
    SnlPlan plan;
    SnlOp *chain;
    SnlVec(SnlBinding) links; /* of the new chain */
    int64_t *tap_of;          /* old link -> new link that holds its state; -1: the chain's input */
    bool changed;
} Fusing;

static const char *fresh_name(Fusing *fs, int64_t first, int64_t last)
{
    SnlArena *arena = fs->ctx->scratch;
    const char *stem = first == last ? snl_arena_printf(arena, "fused.%lld", (long long)first)
                                     : snl_arena_printf(arena, "fused.%lld_%lld", (long long)first,
                                                        (long long)last);
    const char *name = stem;
    for (int i = 1; snl_module_find_func(fs->m, name) || snl_module_find_weight(fs->m, name) ||
                    snl_module_find_state(fs->m, name);
         i++)
        name = snl_arena_printf(arena, "%s.%d", stem, i);
    return name;
}

static SnlBinding join_states(Fusing *fs, SnlFunc *layer, const SnlBinding *link, size_t n)
{
    SnlBinding out = {.layer = layer};
    for (size_t i = 0; i < n; i++) out.n_state += link[i].n_state;
    out.state = SNL_NEW_ARRAY(fs->m->arena, SnlState *, out.n_state);
    for (size_t i = 0, at = 0; i < n; i++)
        for (size_t s = 0; s < link[i].n_state; s++) out.state[at++] = link[i].state[s];
    return out;
}

/* Links [first, first + n) of the old chain, which begin at layer `layer` of the model. */
static SnlStatus fuse_chunk(Fusing *fs, size_t first, size_t n, int64_t layer, int64_t window_link)
{
    const SnlBinding *link = &fs->chain->sym[0].bind[first];
    int64_t index = (int64_t)fs->links.n, layers = 0;
    for (size_t i = 0; i < n; i++) layers += snl_link_layers(&link[i]);
    bool ends_chain = first + n == fs->chain->sym[0].n;
    bool keep = n == 1 && fs->plan.compat == SNL_COMPAT_NONE;
    for (size_t i = 0; i < n; i++) {
        bool input = fs->plan.compat == SNL_COMPAT_NONE && ends_chain && !keep;
        fs->tap_of[first + i] = fs->plan.compat == SNL_COMPAT_REFERENCE_FUSED ? window_link - 1
                                : input                                       ? index - 1
                                                                              : index;
    }
    if (keep) {
        SNL_PUSH(fs->ctx->scratch, &fs->links, link[0]);
        return SNL_OK;
    }
    SnlFuseHow how = {fs->plan.compat != SNL_COMPAT_NONE, fs->plan.avg};
    SnlFunc *fused;
    SNL_TRY(snl_fuse_links(fs->m, fs->ctx->scratch, fs->ctx->diag, link, n, &how,
                           fresh_name(fs, layer, layer + layers - 1), &fused));
    snl_func_move(fused, fs->chain->func);
    SnlBinding binding = join_states(fs, fused, link, n);
    SNL_PUSH(fs->ctx->scratch, &fs->links, binding);
    fs->changed = true;
    return SNL_OK;
}

static SnlStatus split_chunk(const Fusing *fs, const SnlWindow *w)
{
    return snl_error(fs->ctx->diag, SNL_E_PLAN, w->loc,
                     "plan: a chunk's end lies inside a layer that is fused already");
}

static SnlStatus fuse_window(Fusing *fs, const SnlWindow *w, size_t *inout_link,
                             int64_t *inout_layer)
{
    int64_t window_link = (int64_t)fs->links.n;
    for (size_t c = 0; c < w->n_chunk; c++) {
        size_t n = 0;
        int64_t layers = 0;
        while (layers < w->chunk[c])
            layers += snl_link_layers(&fs->chain->sym[0].bind[*inout_link + n++]);
        if (layers != w->chunk[c]) return split_chunk(fs, w);
        SNL_TRY(fuse_chunk(fs, *inout_link, n, *inout_layer, window_link));
        *inout_link += n;
        *inout_layer += layers;
    }
    return SNL_OK;
}

/* Walks the old links; windows with chunks are fused, everything else is taken over. */
static SnlStatus fuse_all(Fusing *fs)
{
    size_t link = 0, window = 0;
    int64_t layer = 0;
    while (link < fs->chain->sym[0].n) {
        const SnlWindow *w = window < fs->plan.windows.n ? &fs->plan.windows.at[window] : NULL;
        if (w && w->begin == layer) {
            window++;
            if (w->n_chunk) {
                SNL_TRY(fuse_window(fs, w, &link, &layer));
                continue;
            }
        }
        layer += snl_link_layers(&fs->chain->sym[0].bind[link]);
        fs->tap_of[link] = (int64_t)fs->links.n;
        SNL_PUSH(fs->ctx->scratch, &fs->links, fs->chain->sym[0].bind[link]);
        link++;
    }
    return SNL_OK;
}

/* The new chain; taps that are its input now are that value. */
static void replace_chain(Fusing *fs)
{
    SnlOp *old = fs->chain, *op = snl_op_create(old->func, old, SNL_OP_CHAIN);
    SnlAttrValue taps = {.kind = SNL_ATTR_LIST};
    taps.list.at = SNL_NEW_ARRAY(fs->m->arena, SnlAttrValue, old->n_out);
    op->loc = old->loc;
    for (size_t i = 0; i < old->n_in; i++) snl_op_add_in(op, snl_in(old, i));
    snl_op_set_bindings(op, 0, fs->links.at, fs->links.n, true);
    for (size_t i = 1; i < old->n_out; i++) {
        int64_t link = fs->tap_of[snl_attr_int_at(&old->attrs, "taps", i - 1, 0)];
        if (link < 0) continue;
        taps.list.at[taps.list.n++] = (SnlAttrValue){.kind = SNL_ATTR_INT, .i = link};
    }
    if (taps.list.n) snl_attr_set(fs->m, &op->attrs, "taps", taps);
    snl_op_finish(op, NULL);
    size_t next = 1;
    for (size_t i = 0; i < old->n_out; i++) {
        int64_t link = i ? fs->tap_of[snl_attr_int_at(&old->attrs, "taps", i - 1, 0)] : 0;
        SnlValue *by = i == 0 ? op->out[0] : link < 0 ? snl_in(old, 0) : op->out[next++];
        snl_value_replace(old->out[i], by);
    }
    const char *name = old->out[0]->name;
    snl_op_erase(old);
    snl_value_rename(op->out[0], name);
}

static void note(Fusing *fs, SnlFunc *func)
{
    SnlArena *arena = fs->ctx->scratch;
    const char *text = "";
    for (size_t i = 0; i < fs->plan.windows.n; i++)
        if (fs->plan.windows.at[i].n_chunk)
            text = snl_arena_printf(arena, "%s%s", text,
                                    snl_window_chunks(arena, &fs->plan.windows.at[i]));
    const char *compat = fs->plan.compat == SNL_COMPAT_REFERENCE         ? " compat=reference"
                         : fs->plan.compat == SNL_COMPAT_REFERENCE_FUSED ? " compat=reference-fused"
                                                                         : "";
    snl_func_note_exactness(func, snl_arena_printf(arena, "changes-function(fuse-layers%s%s%s)",
                                                   text, compat, fs->plan.avg ? " avg" : ""));
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    Fusing fs = {.m = m, .ctx = ctx};
    if (snl_plan_parse(m->arena, snl_pass_text(ctx, "plan"), ctx->diag, &fs.plan) != SNL_OK)
        return SNL_PASS_FAILED;
    if (fs.plan.windows.n == 0) return SNL_PASS_SAME;
    fs.chain = snl_plan_chain(m, snl_pass_text(ctx, "func"), ctx->diag);
    if (!fs.chain || snl_plan_fit(&fs.plan, fs.chain, ctx->diag) != SNL_OK) return SNL_PASS_FAILED;
    fs.tap_of = SNL_NEW_ARRAY(ctx->scratch, int64_t, fs.chain->sym[0].n);
    if (fuse_all(&fs) != SNL_OK) return SNL_PASS_FAILED;
    if (!fs.changed) return SNL_PASS_SAME;
    SnlFunc *func = fs.chain->func;
    replace_chain(&fs);
    note(&fs, func);
    return SNL_PASS_CHANGED;
}

static const SnlPassOption options[] = {
    {"plan", SNL_OPTION_TEXT, "seq", 0, 0,
     "which layers become windows and chunks (passes/plan.h)"},
    {"func", SNL_OPTION_TEXT, "", 0, 0,
     "the function whose chain it is about (default: the only one)"},
    {0}};

const SnlPass snl_pass_fuse_layers = {
    .name = "fuse-layers",
    .summary = "the chunks of a plan become wider layers with shared input",
    .exactness = SNL_CHANGES_FUNCTION,
    .options = options,
    .run = run,
};
