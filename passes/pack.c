/* passes/pack.c -- every weight gets the format in which it is stored.
 *
 *     weight @w : f32[4, 8] = source "m.safetensors" "w"
 *     %y = linear %x, @w : f32[T, 4]
 *
 * becomes with weights=bf16
 *
 *     weight @w.bf16 : bf16[4, 8] = cast(@w)
 *     %x.bf16 = cast %x {to = bf16} : bf16[T, 8]
 *     %y = linear %x.bf16, @w.bf16 : f32[T, 4]
 *
 * Matrices that linear and embed read are stored as the option says: f32, bf16, f16, q8_0, q4_0, or
 * `source`: as in the model's files, where computed ones (products, means) are f32. `head` is the
 * format of the matrix that makes the logits (tied: the embedding, too). Everything else (norms,
 * biases, factors, mixing matrices) is f32. Dot products take both sides in one kind of number, so
 * the input of a linear is rounded to bf16 beside bf16, as above, and quantised beside block
 * formats (integer dots):
 *
 *     %x.q8_0 = cast %x {to = q8_0} : q8_0[T, 8]
 *     %y = linear %x.q8_0, @w.q4_0 : f32[T, 4]
 *
 * Members of one linear have one format: f32 where their own would differ.
 *
 * The module records `rounds(w=bf16)` only if something is narrowed that was not in that format
 * before. */
#include "passes/heads.h"
#include "passes/rewrite.h"

#include <string.h>

typedef struct Pack {
    SnlModule *m;
    SnlPassContext *ctx;
    const char *weights, *head; /* options */
    const bool *is_head;        /* by weight id: makes logits */
    SnlWeight **by;             /* weight id -> stored matrix */
    SnlDtype *format;           /* weight id -> its format, for matrices */
    size_t n_by;
    bool changed, rounded[SNL_DTYPE_COUNT], input_rounded[SNL_DTYPE_COUNT];
    SnlStatus status;
} Pack;

/* Are the elements, as they come out of the expression, numbers of `dtype` already? Leaves are
 * looked up in the source; rearranging keeps formats, computing does not. */
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
    const char *wanted = p->is_head[w->id] && *p->head ? p->head : p->weights;
    bool from_source = strcmp(wanted, "source") == 0;
    if (from_source && !p->ctx->source && snl_weight_has_source(w))
        return snl_error(p->ctx->diag, SNL_E_PIPELINE, w->loc,
                         "pack: the stored type of @%s is not known without the model's files; "
                         "give weights=f32, bf16, f16, q8_0 or q4_0",
                         w->name);
    if (from_source) return natural_format(p, w, out);
    snl_dtype_find(wanted, strlen(wanted), out);
    return SNL_OK;
}

static SnlStatus note_narrowed(Pack *p, const SnlWeight *w, SnlDtype dtype)
{
    bool fits = dtype == SNL_F32 || w->type->dtype == dtype;
    if (!fits && (p->ctx->source || !snl_weight_has_source(w)))
        SNL_TRY(is_in_format(p, w, dtype, &fits));
    p->rounded[dtype] |= !fits;
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

static void choose_slot(void *user, SnlOp *op, SnlWeight **slot)
{
    Pack *p = user;
    if (p->status == SNL_OK && is_matrix_slot(op, slot))
        p->status = choose_format(p, *slot, &p->format[(*slot)->id]);
}

/* Members have one format: where they would differ, they are all f32, which holds them all. */
static bool widen_members(Pack *p, const SnlOp *op)
{
    const SnlSymbols *sym = &op->sym[0];
    bool differ = false;
    for (size_t i = 1; i < sym->n; i++)
        differ |= p->format[sym->weight[i]->id] != p->format[sym->weight[0]->id];
    for (size_t i = 0; differ && i < sym->n; i++) p->format[sym->weight[i]->id] = SNL_F32;
    return differ;
}

/* What is widened may stand in another list, too: until nothing changes. */
static void agree_members(Pack *p)
{
    bool again;
    do {
        again = false;
        for (const SnlFunc *f = p->m->first; f; f = f->next)
            for (const SnlOp *op = f->first; op; op = op->next)
                if (op->code == SNL_OP_LINEAR) again |= widen_members(p, op);
    } while (again);
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
        p->status = note_narrowed(p, w, p->format[w->id]);
        if (p->status != SNL_OK) return;
        p->by[w->id] = cast_weight(p, w, p->format[w->id]);
    }
    *slot = p->by[w->id];
}

/* ---- inputs of dot products ------------------------------------------------------------------ */

/* What a linear's input is cast to, by the format of its matrix; f32: nothing. */
static SnlDtype input_format(SnlDtype matrix)
{
    if (snl_dtype_is_blocked(matrix)) return SNL_Q8_0;
    return matrix == SNL_BF16 ? SNL_BF16 : SNL_F32;
}

static bool stands_before(const SnlOp *a, const SnlOp *b)
{
    while (a && a != b) a = a->next;
    return a != NULL;
}

/* The input of `reader` in `dtype`: cast right behind its definition, once for all readers. */
static SnlValue *in_format(Pack *p, SnlFunc *f, const SnlOp *reader, SnlDtype dtype)
{
    SnlValue *value = snl_in(reader, 0);
    for (SnlUse *u = value->uses; u; u = u->next)
        if (u->user->code == SNL_OP_CAST && u->user->out[0]->type->dtype == dtype &&
            stands_before(u->user, reader))
            return u->user->out[0];
    const char *text = snl_dtype_info[dtype].text;
    SnlOp *cast = snl_op_create(f, value->def ? value->def->next : f->first, SNL_OP_CAST);
    snl_op_add_in(cast, value);
    snl_attr_set_word(p->m, &cast->attrs, "to", text);
    p->changed = true;
    return snl_op_finish(cast, snl_arena_printf(p->ctx->scratch, "%s.%s", value->name, text));
}

static void round_inputs(Pack *p)
{
    for (SnlFunc *f = p->m->first; f; f = f->next)
        for (SnlOp *op = f->first; op; op = op->next) {
            if (op->code != SNL_OP_LINEAR) continue;
            SnlDtype wanted = input_format(snl_op_weight(op, 0)->type->dtype);
            if (wanted == SNL_F32 || snl_in(op, 0)->type->dtype == wanted) continue;
            snl_op_set_in(op, 0, in_format(p, f, op, wanted));
            p->input_rounded[wanted] = true;
        }
}

/* ---- the pass -------------------------------------------------------------------------------- */

static bool known_format(const char *text)
{
    static const char *const formats[] = {"source", "f32", "bf16", "f16", "q8_0", "q4_0"};
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (strcmp(text, formats[i]) == 0) return true;
    return false;
}

static void note_rounding(Pack *p)
{
    for (int d = 0; d < SNL_DTYPE_COUNT; d++)
        if (p->rounded[d])
            snl_module_note_exactness(
                p->m, snl_arena_printf(p->ctx->scratch, "rounds(w=%s)", snl_dtype_info[d].text));
    for (int d = 0; d < SNL_DTYPE_COUNT; d++)
        if (p->input_rounded[d])
            snl_module_note_exactness(
                p->m, snl_arena_printf(p->ctx->scratch, "rounds(a=%s)", snl_dtype_info[d].text));
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    Pack p = {.m = m,
              .ctx = ctx,
              .weights = snl_pass_text(ctx, "weights"),
              .head = snl_pass_text(ctx, "head")};
    const char *bad = !known_format(p.weights)           ? p.weights
                      : *p.head && !known_format(p.head) ? p.head
                                                         : NULL;
    if (bad) {
        snl_error_at(ctx->diag, SNL_E_PIPELINE, "pack",
                     "format: found '%s', wanted source, f32, bf16, f16, q8_0 or q4_0", bad);
        return SNL_PASS_FAILED;
    }
    p.n_by = m->weights.n;
    p.by = SNL_NEW_ARRAY(ctx->scratch, SnlWeight *, p.n_by);
    p.is_head = snl_head_weights(ctx->scratch, m);
    p.format = SNL_NEW_ARRAY(ctx->scratch, SnlDtype, p.n_by);
    snl_weight_slots(m, choose_slot, &p);
    if (p.status != SNL_OK) return SNL_PASS_FAILED;
    agree_members(&p);
    snl_weight_slots(m, pack_slot, &p);
    if (p.status != SNL_OK) return SNL_PASS_FAILED;
    round_inputs(&p);
    note_rounding(&p);
    return p.changed ? SNL_PASS_CHANGED : SNL_PASS_SAME;
}

static const SnlPassOption options[] = {
    {"weights", SNL_OPTION_TEXT, "source", 0, 0,
     "stored format of matrices: source (as in the model's files), f32, bf16, f16, q8_0, q4_0"},
    {"head", SNL_OPTION_TEXT, "", 0, 0, "the same for the matrix of the logits (default: weights)"},
    {0}};

const SnlPass snl_pass_pack = {
    .name = "pack",
    .summary = "stored formats of weights",
    .exactness = SNL_ROUNDS,
    .options = options,
    .run = run,
};
