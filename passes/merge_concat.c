/* passes/merge_concat.c -- linears of one input become one linear on a concatenated weight.
 *
 * A weight may be concatenated only if every place that names it is such a group with the same
 * companions: else it would be stored twice. Groups are collected over the whole module first, so
 * that several functions, or several uses of one layer, agree on the same concatenation. */
#include "passes/merge_linear.h"

typedef struct Group {
    SnlVec(SnlOp *) op; /* in order of the function; op->sym[0].weight[0] is its weight */
} Group;

typedef struct Concat {
    SnlModule *m;
    SnlArena *arena;
    SnlPassContext *ctx;
    SnlConcatWhich which;
    SnlVec(Group) groups;
    size_t *owner;   /* by weight id: 1 + first group that names it */
    size_t *matched; /* uses in groups with the owner's companions */
    bool *conflict;
} Concat;

/* ---- which linears ---------------------------------------------------------------------------------- */

static bool passes_through(const SnlOp *op)
{
    return op->code == SNL_OP_ROPE || op->code == SNL_OP_RMS_NORM || op->code == SNL_OP_SLICE ||
           (snl_op_info[op->code].flags & SNL_ELTWISE);
}

/* feeds[id]: the value is a query, key or value on its way to an attention. */
static bool *mark_attention_inputs(const SnlFunc *f, SnlArena *arena)
{
    bool *feeds = SNL_NEW_ARRAY(arena, bool, f->n_values);
    for (const SnlOp *op = f->last; op; op = op->prev) {
        bool sink = op->code == SNL_OP_ATTENTION || op->code == SNL_OP_KV_WRITE;
        if (!sink && !(passes_through(op) && op->n_out == 1 && feeds[op->out[0]->id])) continue;
        for (size_t i = 0; i < op->n_in; i++) feeds[snl_in(op, i)->id] = true;
    }
    return feeds;
}

static bool is_plain_linear(const SnlOp *op)
{
    return op->code == SNL_OP_LINEAR && op->sym[0].n == 1 && !op->sym[0].list &&
           snl_in(op, 0)->type->rank == 2 && op->attrs.n == 0;
}

static bool fits_group(const SnlOp *a, const SnlOp *b)
{
    if (!is_plain_linear(b) || snl_in(a, 0) != snl_in(b, 0) || a->sym[1].n != b->sym[1].n)
        return false;
    return snl_op_weight(a, 0) != snl_op_weight(b, 0) &&
           snl_op_weight(a, 0)->type->dtype == snl_op_weight(b, 0)->type->dtype;
}

static void collect_groups(Concat *c, SnlFunc *f)
{
    const bool *feeds = mark_attention_inputs(f, c->arena);
    bool *taken = SNL_NEW_ARRAY(c->arena, bool, f->n_values);
    for (SnlOp *op = f->first; op; op = op->next) {
        if (!is_plain_linear(op) || taken[op->out[0]->id]) continue;
        if (c->which == SNL_CONCAT_ATTENTION && !feeds[op->out[0]->id]) continue;
        Group g = {0};
        SNL_PUSH(c->arena, &g.op, op);
        for (SnlOp *b = op->next; b; b = b->next) {
            if (!fits_group(op, b)) continue;
            if (c->which == SNL_CONCAT_ATTENTION && !feeds[b->out[0]->id]) continue;
            taken[b->out[0]->id] = true;
            SNL_PUSH(c->arena, &g.op, b);
        }
        if (g.op.n > 1) SNL_PUSH(c->arena, &c->groups, g);
    }
}

/* ---- which weights --------------------------------------------------------------------------------- */

static bool same_companions(const Group *a, const Group *b)
{
    if (a->op.n != b->op.n) return false;
    for (size_t i = 0; i < a->op.n; i++)
        for (int s = 0; s < 2; s++)
            if (!snl_symbols_equal('w', &a->op.at[i]->sym[s], &b->op.at[i]->sym[s])) return false;
    return true;
}

static void note_companions(Concat *c)
{
    for (size_t i = 0; i < c->groups.n; i++) {
        const Group *g = &c->groups.at[i];
        for (size_t j = 0; j < g->op.n; j++) {
            uint32_t id = snl_op_weight(g->op.at[j], 0)->id;
            if (!c->owner[id]) c->owner[id] = i + 1;
            if (same_companions(g, &c->groups.at[c->owner[id] - 1]))
                c->matched[id]++;
            else
                c->conflict[id] = true;
        }
    }
}

static SnlStatus stored_types_agree(const Concat *c, const Group *g, bool *out)
{
    *out = true;
    SnlDtype first = SNL_F32, other;
    for (size_t j = 0; c->ctx->source && j < g->op.n; j++) {
        SNL_TRY(snl_weight_stored_dtype(snl_op_weight(g->op.at[j], 0), c->ctx->source, c->ctx->diag,
                                        j ? &other : &first));
        if (j && other != first) *out = false;
    }
    return SNL_OK;
}

static SnlStatus is_eligible(const Concat *c, const Group *g, const size_t *uses, bool *out)
{
    *out = false;
    for (size_t j = 0; j < g->op.n; j++) {
        uint32_t id = snl_op_weight(g->op.at[j], 0)->id;
        if (c->conflict[id] || uses[id] != c->matched[id]) return SNL_OK;
    }
    return stored_types_agree(c, g, out);
}

/* ---- rewriting ------------------------------------------------------------------------------------- */

static SnlWeight *concat_weights(Concat *c, const Group *g, int group)
{
    size_t n = g->op.n;
    SnlWeight **arg = SNL_NEW_ARRAY(c->arena, SnlWeight *, n);
    const char **name = SNL_NEW_ARRAY(c->arena, const char *, n);
    SnlType type = *g->op.at[0]->sym[group].weight[0]->type;
    type.dim[0] = 0;
    for (size_t i = 0; i < n; i++) {
        arg[i] = g->op.at[i]->sym[group].weight[0];
        name[i] = arg[i]->name;
        type.dim[0] += arg[i]->type->dim[0];
    }
    SnlAttrs attrs = {0};
    snl_attr_set_int(c->m, &attrs, "axis", 0);
    return snl_weight_intern(c->m, snl_joined_name(c->arena, name, n),
                             snl_type(c->m, type.dtype, type.rank, type.dim), SNL_WEXPR_CONCAT, arg,
                             n, attrs);
}

static void rewrite_group(Concat *c, const Group *g)
{
    SnlOp *first = g->op.at[0];
    SnlFunc *f = first->func;
    const char **name = SNL_NEW_ARRAY(c->arena, const char *, g->op.n);
    for (size_t i = 0; i < g->op.n; i++) name[i] = g->op.at[i]->out[0]->name;
    SnlOp *wide = snl_op_create(f, first, SNL_OP_LINEAR);
    wide->loc = first->loc;
    snl_op_add_in(wide, snl_in(first, 0));
    for (int s = 0; s < 2 && first->sym[s].n; s++)
        snl_op_set_weights(wide, s, (SnlWeight *[]){concat_weights(c, g, s)}, 1, false);
    SnlValue *all = snl_op_finish(wide, snl_joined_name(c->arena, name, g->op.n));
    int64_t begin = 0;
    for (size_t i = 0; i < g->op.n; i++) {
        SnlOp *old = g->op.at[i], *slice = snl_op_create(f, old, SNL_OP_SLICE);
        int64_t end = begin + snl_type_width(old->out[0]->type);
        slice->loc = old->loc;
        snl_op_add_in(slice, all);
        snl_attr_set_int(c->m, &slice->attrs, "begin", begin);
        snl_attr_set_int(c->m, &slice->attrs, "end", end);
        snl_op_replace(old, snl_op_finish(slice, NULL));
        begin = end;
    }
}

SnlStatus snl_merge_concat(SnlModule *m, SnlPassContext *ctx, SnlConcatWhich which,
                           bool *inout_changed)
{
    if (which == SNL_CONCAT_NONE) return SNL_OK;
    Concat c = {.m = m, .arena = ctx->scratch, .ctx = ctx, .which = which};
    const size_t *uses = snl_weight_uses(m, c.arena);
    c.owner = SNL_NEW_ARRAY(c.arena, size_t, m->weights.n);
    c.matched = SNL_NEW_ARRAY(c.arena, size_t, m->weights.n);
    c.conflict = SNL_NEW_ARRAY(c.arena, bool, m->weights.n);
    for (SnlFunc *f = m->first; f; f = f->next) collect_groups(&c, f);
    note_companions(&c);
    bool *eligible = SNL_NEW_ARRAY(c.arena, bool, c.groups.n);
    for (size_t i = 0; i < c.groups.n; i++)
        SNL_TRY(is_eligible(&c, &c.groups.at[i], uses, &eligible[i]));
    for (size_t i = 0; i < c.groups.n; i++) {
        if (!eligible[i]) continue;
        rewrite_group(&c, &c.groups.at[i]);
        *inout_changed = true;
    }
    return SNL_OK;
}
