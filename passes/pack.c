/* passes/pack.c -- every weight gets the format in which it is stored.
 *
 *     weight @w : f32[4, 8] = source "m.safetensors" "w"
 *     %y = linear %x, @w : f32[T, 4]
 *
 * becomes with weights=bf16
 *
 *     weight @w.bf16 : bf16[4, 8] = cast(@w)
 *     %y = linear %x, @w.bf16 : f32[T, 4]
 *
 * Matrices that linear and embed read are stored as the option says: f32, bf16, f16, or `source`: as in
 * the model's files, where computed ones (products, means) are f32. Everything else (norms, biases,
 * factors, mixing matrices) is f32. The module records `rounds(w=bf16)` only if something is narrowed
 * that was not in that format before. */
#include "passes/rewrite.h"

#include <string.h>

typedef struct Pack {
    SnlModule *m;
    SnlPassContext *ctx;
    bool from_source;
    SnlDtype wanted;
    SnlWeight **by; /* weight id -> stored matrix */
    size_t n_by;
    bool changed, rounded;
    SnlStatus status;
} Pack;

/* Are the elements, as they come out of the expression, numbers of `dtype` already? Leaves are looked up
 * in the source; rearranging keeps formats, computing does not. */
static SnlStatus is_in_format(const Pack *p, const SnlWeight *w, SnlDtype dtype, bool *out)
{
    *out = dtype == SNL_F32 || w->type->dtype == dtype;
    if (*out) return SNL_OK;
    SnlDtype stored = SNL_F32;
    switch (w->code) {
    case SNL_WEXPR_SOURCE:
        SNL_TRY(snl_weight_stored_dtype(w, p->ctx->source, p->ctx->diag, &stored));
        *out = stored == dtype;
        return SNL_OK;
    case SNL_WEXPR_CONCAT:
    case SNL_WEXPR_SLICE:
    case SNL_WEXPR_RESHAPE:
    case SNL_WEXPR_TRANSPOSE:
        *out = true;
        for (size_t i = 0; i < w->n_arg && *out; i++)
            SNL_TRY(is_in_format(p, w->arg[i], dtype, out));
        return SNL_OK;
    default:
        return SNL_OK;
    }
}

static bool has_source(const SnlWeight *w)
{
    if (w->code == SNL_WEXPR_SOURCE) return true;
    for (size_t i = 0; i < w->n_arg; i++)
        if (has_source(w->arg[i])) return true;
    return false;
}

/* The narrowest format that holds every element: the source's, or f32. */
static SnlStatus natural_format(const Pack *p, const SnlWeight *w, SnlDtype *out)
{
    *out = w->type->dtype;
    if (*out != SNL_F32) return SNL_OK;
    static const SnlDtype narrow[] = {SNL_BF16, SNL_F16};
    for (int i = 0; i < 2; i++) {
        bool fits;
        SNL_TRY(is_in_format(p, w, narrow[i], &fits));
        if (fits) *out = narrow[i];
    }
    return SNL_OK;
}

static SnlStatus choose_format(Pack *p, const SnlWeight *w, SnlDtype *out)
{
    if (p->from_source && !p->ctx->source && has_source(w))
        return snl_error(p->ctx->diag, SNL_E_PIPELINE, w->loc,
                         "pack: the stored type of @%s is not known without the model's files; "
                         "give weights=f32, bf16 or f16",
                         w->name);
    if (p->from_source) return natural_format(p, w, out);
    *out = p->wanted;
    bool fits = p->wanted == SNL_F32 || w->type->dtype == p->wanted;
    if (!fits && (p->ctx->source || !has_source(w))) SNL_TRY(is_in_format(p, w, p->wanted, &fits));
    p->rounded |= !fits;
    return SNL_OK;
}

static SnlWeight *cast_weight(Pack *p, SnlWeight *w, SnlDtype dtype)
{
    if (w->type->dtype == dtype) return w;
    SnlModule *m = p->m;
    const SnlType *type = snl_type(m, dtype, w->type->rank, w->type->dim);
    const char *name =
        snl_arena_printf(p->ctx->scratch, "%s.%s", w->name, snl_dtype_info[dtype].text);
    p->changed = true;
    return snl_weight_intern(m, name, type, SNL_WEXPR_CAST, &w, 1, (SnlAttrs){0});
}

/* Which slots hold matrices: group 0 of linear and embed. */
static bool is_matrix_slot(const SnlOp *op, SnlWeight *const *slot)
{
    return op && (op->code == SNL_OP_LINEAR || op->code == SNL_OP_EMBED) &&
           slot >= op->sym[0].weight && slot < op->sym[0].weight + op->sym[0].n;
}

static void pack_slot(void *user, SnlOp *op, SnlWeight **slot)
{
    Pack *p = user;
    SnlWeight *w = *slot;
    if (p->status != SNL_OK) return;
    if (!is_matrix_slot(op, slot)) {
        *slot = cast_weight(p, w, SNL_F32);
        return;
    }
    if (w->id >= p->n_by) return; /* made by this pass */
    if (!p->by[w->id]) {
        SnlDtype dtype = SNL_F32;
        p->status = choose_format(p, w, &dtype);
        if (p->status != SNL_OK) return;
        p->by[w->id] = cast_weight(p, w, dtype);
    }
    *slot = p->by[w->id];
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    const char *text = snl_pass_text(ctx, "weights");
    Pack p = {.m = m, .ctx = ctx, .from_source = strcmp(text, "source") == 0};
    if (!p.from_source && strcmp(text, "f32") != 0 && strcmp(text, "bf16") != 0 &&
        strcmp(text, "f16") != 0) {
        snl_error_at(ctx->diag, SNL_E_PIPELINE, "pack",
                     "weights: found '%s', wanted source, f32, bf16 or f16", text);
        return SNL_PASS_FAILED;
    }
    if (!p.from_source) snl_dtype_find(text, strlen(text), &p.wanted);
    p.n_by = m->weights.n;
    p.by = SNL_NEW_ARRAY(ctx->scratch, SnlWeight *, p.n_by);
    snl_weight_slots(m, pack_slot, &p);
    if (p.status != SNL_OK) return SNL_PASS_FAILED;
    if (p.rounded)
        snl_module_note_exactness(m, snl_arena_printf(ctx->scratch, "rounds(w=%s)", text));
    return p.changed ? SNL_PASS_CHANGED : SNL_PASS_SAME;
}

static const SnlPassOption options[] = {
    {"weights", SNL_OPTION_TEXT, "source", 0, 0,
     "stored format of matrices: source (as in the model's files), f32, bf16, f16"},
    {0}};

const SnlPass snl_pass_pack = {
    .name = "pack",
    .summary = "stored formats of weights",
    .exactness = SNL_ROUNDS,
    .options = options,
    .run = run,
};
