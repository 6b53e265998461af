/* passes/merge_concat.c -- linears of one input become one linear on a concatenated weight.
 *
 * Linears form a group when they read one value (and, unless all are wanted, feed one attention).
 * Two weights of a group are concatenated only if they are companions everywhere: every place that
 * names one is a group that holds the other. Else something would be stored twice. Groups are
 * collected over the whole module first, so that several functions, or several uses of one layer,
 * agree. */
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
    SnlVec(size_t) * seen_in; /* by weight id: the groups that name it */
} Concat;

/* ---- which linears -------------------------------------------------------------------------- */

static bool passes_through(const SnlOp *op)
{
    return op->code == SNL_OP_ROPE || op->code == SNL_OP_RMS_NORM || op->code == SNL_OP_SLICE ||
           (snl_op_info[op->code].flags & SNL_ELTWISE);
}

/* feeds[id]: the attention that the value is a query, key or value of, on its way there; a cache
 * write where there is no attention. */
static const SnlOp **find_attentions(const SnlFunc *f, SnlArena *arena)
{
    const SnlOp **feeds = SNL_NEW_ARRAY(arena, const SnlOp *, f->n_values);
    for (const SnlOp *op = f->last; op; op = op->prev) {
        bool sink = op->code == SNL_OP_ATTENTION || op->code == SNL_OP_KV_WRITE;
        const SnlOp *to = sink ? op : passes_through(op) ? feeds[op->out[0]->id] : NULL;
        for (size_t i = 0; to && i < op->n_in; i++) {
            const SnlOp **at = &feeds[snl_in(op, i)->id];
            if (!*at || to->code == SNL_OP_ATTENTION) *at = to;
        }
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

/* The linears that read what `op` reads and belong with it, in order of definition. */
static Group group_of(Concat *c, SnlOp *op, const SnlOp *const *feeds)
{
    Group g = {0};
    SNL_PUSH(c->arena, &g.op, op);
    for (const SnlUse *use = snl_in(op, 0)->uses; use; use = use->next) {
        SnlOp *b = use->user;
        if (b == op || !fits_group(op, b)) continue;
        if (c->which == SNL_CONCAT_ATTENTION && feeds[b->out[0]->id] != feeds[op->out[0]->id])
            continue;
        SNL_PUSH(c->arena, &g.op, b);
        for (size_t i = g.op.n - 1; i > 0 && g.op.at[i - 1]->out[0]->id > b->out[0]->id; i--) {
            g.op.at[i] = g.op.at[i - 1];
            g.op.at[i - 1] = b;
        }
    }
    return g;
}

static void collect_groups(Concat *c, SnlFunc *f)
{
    snl_func_renumber(f); /* ids in order of definition */
    const SnlOp **feeds = find_attentions(f, c->arena);
    bool *taken = SNL_NEW_ARRAY(c->arena, bool, f->n_values);
    for (SnlOp *op = f->first; op; op = op->next) {
        if (!is_plain_linear(op) || taken[op->out[0]->id]) continue;
        if (c->which == SNL_CONCAT_ATTENTION && !feeds[op->out[0]->id]) continue;
        Group g = group_of(c, op, feeds);
        for (size_t i = 0; i < g.op.n; i++) taken[g.op.at[i]->out[0]->id] = true;
        if (g.op.n > 1) SNL_PUSH(c->arena, &c->groups, g);
    }
}

/* ---- which weights -------------------------------------------------------------------------- */

static void note_groups(Concat *c)
{
    c->seen_in = snl_arena_array(c->arena, c->m->weights.n, sizeof c->seen_in[0]);
    for (size_t i = 0; i < c->groups.n; i++)
        for (size_t j = 0; j < c->groups.at[i].op.n; j++) {
            uint32_t id = snl_op_weight(c->groups.at[i].op.at[j], 0)->id;
            SNL_PUSH(c->arena, &c->seen_in[id], i);
        }
}

/* Every place that names one is a group that names the other. */
static bool are_companions(const Concat *c, const SnlWeight *a, const SnlWeight *b,
                           const size_t *uses)
{
    size_t n = c->seen_in[a->id].n;
    if (uses[a->id] != n || uses[b->id] != n || c->seen_in[b->id].n != n) return false;
    for (size_t i = 0; i < n; i++)
        if (c->seen_in[a->id].at[i] != c->seen_in[b->id].at[i]) return false;
    return true;
}

static SnlStatus stored_types_agree(const Concat *c, SnlWeight *a, SnlWeight *b, bool *out)
{
    SnlDtype x = SNL_F32, y = SNL_F32;
    if (c->ctx->source) {
        SNL_TRY(snl_weight_stored_dtype(a, c->ctx->source, c->ctx->diag, &x));
        SNL_TRY(snl_weight_stored_dtype(b, c->ctx->source, c->ctx->diag, &y));
    }
    *out = x == y;
    return SNL_OK;
}

/* ---- rewriting ------------------------------------------------------------------------------ */

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

/* Splits a group into parts of companions; parts of one are left out. */
static SnlStatus split_group(Concat *c, const Group *g, const size_t *uses, bool *inout_changed)
{
    bool *taken = SNL_NEW_ARRAY(c->arena, bool, g->op.n);
    for (size_t i = 0; i < g->op.n; i++) {
        Group part = {0};
        if (taken[i]) continue;
        SNL_PUSH(c->arena, &part.op, g->op.at[i]);
        for (size_t j = i + 1; j < g->op.n; j++) {
            SnlWeight *a = snl_op_weight(g->op.at[i], 0), *b = snl_op_weight(g->op.at[j], 0);
            bool fits = !taken[j] && are_companions(c, a, b, uses);
            if (fits) SNL_TRY(stored_types_agree(c, a, b, &fits));
            if (!fits) continue;
            taken[j] = true;
            SNL_PUSH(c->arena, &part.op, g->op.at[j]);
        }
        if (part.op.n < 2) continue;
        rewrite_group(c, &part);
        *inout_changed = true;
    }
    return SNL_OK;
}

SnlStatus snl_merge_concat(SnlModule *m, SnlPassContext *ctx, SnlConcatWhich which,
                           bool *inout_changed)
{
    if (which == SNL_CONCAT_NONE) return SNL_OK;
    Concat c = {.m = m, .arena = ctx->scratch, .ctx = ctx, .which = which};
    const size_t *uses = snl_weight_uses(m, c.arena);
    for (SnlFunc *f = m->first; f; f = f->next) collect_groups(&c, f);
    note_groups(&c);
    /* Uses are counted once: what is rewritten are groups whose weights have no other use. */
    for (size_t i = 0; i < c.groups.n; i++)
        SNL_TRY(split_group(&c, &c.groups.at[i], uses, inout_changed));
    return SNL_OK;
}
