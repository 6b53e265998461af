/* codegen/pack.c -- plans the payload: which weights, in which layout, where. */
#include "codegen/pack.h"

#include "ir/base/checked.h"

enum { LINE_BYTES = 64 };

typedef struct Planner {
    SnlArena *arena;
    SnlDiag *diag;
    SnlPayload *payload;
    size_t cap;
} Planner;

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static bool panel_dtype(SnlDtype dtype)
{
    return dtype == SNL_F32 || dtype == SNL_BF16 || dtype == SNL_F16 || snl_dtype_is_blocked(dtype);
}

int64_t snl_panel_bytes(SnlDtype dtype, int64_t cols)
{
    if (snl_dtype_is_blocked(dtype)) {
        int64_t blocks = snl_block_count(cols), scale_lines = (blocks + 1) / 2;
        return (scale_lines + blocks * snl_block_lines(dtype)) * LINE_BYTES;
    }
    int g = snl_panel_group(dtype);
    return (cols + g - 1) / g * LINE_BYTES;
}

int64_t snl_row_bytes(SnlDtype dtype, int64_t cols)
{
    return snl_panel_bytes(dtype, cols) / SNL_PANEL_ROWS;
}

/* Cannot overflow: a type has at most SNL_MAX_ELEMS elements, padding at most 32 times as many
 * bytes as that. */
static int64_t packed_bytes(const SnlWeight *w, SnlLayout layout)
{
    if (layout == SNL_LAYOUT_PLAIN)
        return round_up(snl_weight_rows(w) * snl_weight_cols(w) * 4, SNL_PACK_ALIGN);
    int64_t rows = snl_layout_rows(layout), panels = (snl_weight_rows(w) + rows - 1) / rows;
    return round_up(panels * rows * snl_row_bytes(w->type->dtype, snl_weight_cols(w)),
                    SNL_PACK_ALIGN);
}

static SnlStatus check_format(Planner *p, const SnlWeight *w, SnlLayout layout, SnlLoc use)
{
    if (layout == SNL_LAYOUT_PLAIN) return SNL_OK;
    if (w->type->rank != 2)
        return snl_error(p->diag, SNL_E_SHAPE, use,
                         "weight '@%s' of rank %d cannot be stored in panels: wanted a matrix",
                         w->name, w->type->rank);
    if (!panel_dtype(w->type->dtype))
        return snl_error(
            p->diag, SNL_E_UNSUPPORTED, use,
            "weight '@%s' has element type %s: panels hold f32, bf16, f16, q8_0 or q4_0", w->name,
            snl_dtype_info[w->type->dtype].text);
    return SNL_OK;
}

static SnlStatus add_weight(Planner *p, const SnlWeight *w, SnlLayout layout, SnlLoc use)
{
    SnlPayload *payload = p->payload;
    int64_t index = payload->index_of_weight[w->id];
    if (index >= 0) {
        SnlLayout *before = &payload->at[index].layout;
        if (*before == layout) return SNL_OK;
        if (*before != SNL_LAYOUT_PLAIN && layout != SNL_LAYOUT_PLAIN) {
            *before = SNL_LAYOUT_PANELS; /* linear reads it too */
            return SNL_OK;
        }
        return snl_error(p->diag, SNL_E_UNSUPPORTED, use,
                         "weight '@%s' is used both as a matrix of linear or embed and "
                         "elementwise: declare it twice",
                         w->name);
    }
    SNL_TRY(check_format(p, w, layout, use));
    if (payload->n == p->cap)
        payload->at =
            snl_arena_grow(p->arena, payload->at, payload->n, &p->cap, sizeof *payload->at);
    SnlPackedWeight *at = &payload->at[payload->n];
    *at = (SnlPackedWeight){w, layout, 0, 0};
    payload->index_of_weight[w->id] = (int64_t)payload->n++;
    return SNL_OK;
}

/* Weights inside attributes: the scalars of `coef = [1.0, @s]`. */
static SnlStatus add_attr(Planner *p, const SnlAttrValue *value, SnlLoc use)
{
    if (value->kind == SNL_ATTR_WEIGHT)
        return add_weight(p, value->weight, SNL_LAYOUT_PLAIN, use);
    if (value->kind != SNL_ATTR_LIST) return SNL_OK;
    for (size_t i = 0; i < value->list.n; i++) SNL_TRY(add_attr(p, &value->list.at[i], use));
    return SNL_OK;
}

static SnlLayout layout_of_group(SnlOpCode code, int group)
{
    if (group != 0) return SNL_LAYOUT_PLAIN;
    return code == SNL_OP_LINEAR  ? SNL_LAYOUT_PANELS
           : code == SNL_OP_EMBED ? SNL_LAYOUT_ROWS
                                  : SNL_LAYOUT_PLAIN;
}

static SnlStatus add_op(Planner *p, const SnlOp *op)
{
    if (snl_op_info[op->code].flags & SNL_CALLS)
        return snl_error(p->diag, SNL_E_STRUCTURE, op->loc,
                         "%s: layers must be inlined before weights are packed "
                         "(pass inline-layers)",
                         snl_op_info[op->code].text);
    for (int g = 0; g < SNL_MAX_GROUPS; g++) {
        if (snl_op_group_letter(op->code, g) != 'w') continue;
        for (size_t i = 0; i < op->sym[g].n; i++)
            SNL_TRY(add_weight(p, op->sym[g].weight[i], layout_of_group(op->code, g), op->loc));
    }
    for (size_t i = 0; i < op->attrs.n; i++) SNL_TRY(add_attr(p, &op->attrs.at[i].value, op->loc));
    return SNL_OK;
}

/* Appends the tables, or what is none, to `at` in their order. */
static SnlStatus place_kind(Planner *p, const SnlPackedWeight *from, bool tables, size_t *n)
{
    SnlPayload *payload = p->payload;
    for (size_t i = 0; i < payload->n; i++) {
        if ((from[i].layout == SNL_LAYOUT_ROWS) != tables) continue;
        SnlPackedWeight *at = &payload->at[*n];
        *at = from[i];
        at->offset = payload->nbytes;
        at->nbytes = packed_bytes(at->weight, at->layout);
        if (!snl_add_i64(payload->nbytes, at->nbytes, &payload->nbytes))
            return snl_error_at(p->diag, SNL_E_UNSUPPORTED, NULL, "the weights exceed 2^63 bytes");
        payload->index_of_weight[at->weight->id] = (int64_t)(*n)++;
    }
    return SNL_OK;
}

/* Gives each weight its place, tables behind the others. */
static SnlStatus place_weights(Planner *p)
{
    SnlPayload *payload = p->payload;
    const SnlPackedWeight *found = payload->at;
    size_t n = 0;
    payload->at = SNL_NEW_ARRAY(p->arena, SnlPackedWeight, payload->n + 1);
    SNL_TRY(place_kind(p, found, false, &n));
    payload->swept_nbytes = payload->nbytes;
    return place_kind(p, found, true, &n);
}

SnlStatus snl_payload_plan(SnlArena *arena, const SnlModule *m, SnlFunc *const *funcs,
                           size_t n_funcs, SnlDiag *diag, SnlPayload *out)
{
    *out = (SnlPayload){.n_weights = m->weights.n};
    out->index_of_weight = SNL_NEW_ARRAY(arena, int64_t, m->weights.n);
    for (size_t i = 0; i < m->weights.n; i++) out->index_of_weight[i] = -1;
    Planner planner = {arena, diag, out, 0};
    for (size_t i = 0; i < n_funcs; i++)
        for (const SnlOp *op = funcs[i]->first; op; op = op->next) SNL_TRY(add_op(&planner, op));
    return place_weights(&planner);
}

static const SnlPackedWeight *packed(const SnlPayload *payload, const SnlWeight *weight)
{
    SNL_ASSERT(weight->id < payload->n_weights && payload->index_of_weight[weight->id] >= 0);
    return &payload->at[payload->index_of_weight[weight->id]];
}

int64_t snl_payload_offset(const SnlPayload *payload, const SnlWeight *weight)
{
    return packed(payload, weight)->offset;
}

SnlLayout snl_payload_layout(const SnlPayload *payload, const SnlWeight *weight)
{
    return packed(payload, weight)->layout;
}
