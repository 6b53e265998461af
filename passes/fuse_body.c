/* passes/fuse_body.c -- builds one fused layer.
 *
 * A layer is a trunk with branches. The trunk is the chained state h and what sums (lincomb with a
 * trunk operand) and stream mixes make of it; everything else is branch: it reads the trunk through
 * a norm and comes back as a term of the next trunk operation. The layers are walked in step: all
 * branches up to the next trunk operation are copied, each with its own weights and states, then
 * that operation is built once, on the sum of the layers' branches. Factors and mixing matrices of
 * the trunk, which the layers have to share now, are replaced by their means. So
 *
 *     x = input;   y = x + sum_l Attn_l(norm_l(x));   out = y + sum_l MLP_l(norm_l(y))
 *
 * falls out of the layers' own text, for any family whose layers are built this way. */
#include "passes/fuse.h"

#include <string.h>

typedef struct Source {
    const SnlFunc *f;
    bool *trunk;                 /* by value id */
    const SnlOp *next;           /* first op that is not copied yet */
    SnlValue **map;              /* by value id: the value in the fused layer */
    SnlState **state;            /* its state parameters in the fused layer */
    SnlVec(const SnlOp *) norms; /* rms_norms with weights, in order (compat) */
    size_t n_norms_done;
} Source;

typedef struct Fuser {
    SnlModule *m;
    SnlArena *arena;
    SnlDiag *diag;
    const SnlFuseHow *how;
    Source *src;
    size_t n;
    SnlFunc *out;
} Fuser;

/* ---- trunk ---------------------------------------------------------------------------------- */

static bool is_trunk_op(const Source *s, const SnlOp *op)
{
    if (op->code == SNL_OP_MIX) return true;
    if (op->code != SNL_OP_LINCOMB) return false;
    for (size_t i = 0; i < op->n_in; i++)
        if (s->trunk[snl_in(op, i)->id]) return true;
    return false;
}

static void prepare_source(Fuser *fu, Source *s, const SnlFunc *f)
{
    *s = (Source){.f = f, .next = f->first};
    s->trunk = SNL_NEW_ARRAY(fu->arena, bool, f->n_values);
    s->map = SNL_NEW_ARRAY(fu->arena, SnlValue *, f->n_values);
    s->state = SNL_NEW_ARRAY(fu->arena, SnlState *, f->n_state_param);
    s->trunk[f->param[0]->id] = true;
    for (const SnlOp *op = f->first; op; op = op->next) {
        if (is_trunk_op(s, op)) s->trunk[op->out[0]->id] = true;
        if (op->code == SNL_OP_RMS_NORM && op->sym[0].n) SNL_PUSH(fu->arena, &s->norms, op);
    }
}

static SnlStatus differ(const Fuser *fu, size_t l, SnlLoc loc, const char *what)
{
    return snl_error(fu->diag, SNL_E_UNSUPPORTED, loc,
                     "fuse-layers: layers @%s and @%s cannot share a trunk: %s", fu->src[0].f->name,
                     fu->src[l].f->name, what);
}

/* ---- weights that are shared now ------------------------------------------------------------ */

SnlWeight *snl_mean_weight(SnlModule *m, SnlArena *scratch, SnlWeight *const *w, size_t n)
{
    bool same = true;
    const char **name = SNL_NEW_ARRAY(scratch, const char *, n);
    for (size_t i = 0; i < n; i++) {
        same &= w[i] == w[0];
        name[i] = w[i]->name;
    }
    if (same) return w[0];
    const char *stem = snl_arena_printf(scratch, "%s.mean", snl_joined_name(scratch, name, n));
    return snl_weight_intern(m, stem, w[0]->type, SNL_WEXPR_MEAN, w, n, (SnlAttrs){0});
}

/* Surrogates of products are products of means: J = mean(Hres_mlp) mean(Hres_attn). */
static SnlWeight *mean_surrogate(Fuser *fu)
{
    SnlWeight **a = SNL_NEW_ARRAY(fu->arena, SnlWeight *, fu->n);
    SnlWeight **b = SNL_NEW_ARRAY(fu->arena, SnlWeight *, fu->n);
    SnlWeight **whole = SNL_NEW_ARRAY(fu->arena, SnlWeight *, fu->n);
    bool products = true;
    for (size_t l = 0; l < fu->n; l++) {
        whole[l] = fu->src[l].f->surrogate_weight;
        products &= whole[l]->code == SNL_WEXPR_MATMUL;
        a[l] = products ? whole[l]->arg[0] : NULL;
        b[l] = products ? whole[l]->arg[1] : NULL;
    }
    if (!products || fu->n == 1) return snl_mean_weight(fu->m, fu->arena, whole, fu->n);
    SnlWeight *arg[2] = {snl_mean_weight(fu->m, fu->arena, a, fu->n),
                         snl_mean_weight(fu->m, fu->arena, b, fu->n)};
    return snl_weight_intern(fu->m, snl_arena_printf(fu->arena, "%s.jacobian", fu->out->name),
                             whole[0]->type, SNL_WEXPR_MATMUL, arg, 2, (SnlAttrs){0});
}

static SnlStatus set_surrogate(Fuser *fu)
{
    fu->out->surrogate = fu->src[0].f->surrogate;
    for (size_t l = 0; l < fu->n; l++) {
        const SnlFunc *f = fu->src[l].f;
        if (f->surrogate != fu->out->surrogate) return differ(fu, l, f->loc, "other surrogates");
        if (f->surrogate == SNL_SURROGATE_DIAG)
            return snl_error(fu->diag, SNL_E_UNSUPPORTED, f->loc,
                             "fuse-layers: @%s has a diagonal surrogate of its own, which says "
                             "nothing about the fused layer",
                             f->name);
    }
    if (fu->out->surrogate == SNL_SURROGATE_STREAMS) fu->out->surrogate_weight = mean_surrogate(fu);
    return SNL_OK;
}

/* ---- branches ------------------------------------------------------------------------------- */

static bool comes_from_embed(const SnlValue *v, int depth)
{
    if (!v->def || depth == 0) return false;
    if (v->def->code == SNL_OP_EMBED) return true;
    if (v->def->code != SNL_OP_MUL && v->def->code != SNL_OP_LINCOMB) return false;
    for (size_t i = 0; i < v->def->n_in; i++)
        if (comes_from_embed(snl_in(v->def, i), depth - 1)) return true;
    return false;
}

/* compat: terms that look up an embedding are left out of a branch's sum. */
static void drop_value_embeddings(Fuser *fu, Source *s, const SnlOp *op, SnlOp *copy)
{
    enum { DEPTH = 4 };
    SnlTerms terms = {0};
    for (size_t i = 0; i < op->n_in; i++) {
        SnlTerm t = snl_lincomb_term(op, i);
        if (comes_from_embed(t.value, DEPTH)) continue;
        t.value = s->map[t.value->id];
        SNL_PUSH(fu->arena, &terms, t);
    }
    if (terms.n && terms.n < op->n_in) snl_lincomb_set(copy, terms.at, terms.n);
}

/* compat: all layers of a chunk use the mean of their norm weights, q and k norms included. */
static SnlStatus share_norm(Fuser *fu, Source *s, SnlOp *copy)
{
    size_t which = s->n_norms_done++;
    SnlWeight **w = SNL_NEW_ARRAY(fu->arena, SnlWeight *, fu->n);
    for (size_t l = 0; l < fu->n; l++) {
        if (fu->src[l].norms.n != s->norms.n)
            return differ(fu, l, fu->src[l].f->loc, "another number of norm weights");
        w[l] = snl_op_weight(fu->src[l].norms.at[which], 0);
        if (w[l]->type != copy->sym[0].weight[0]->type)
            return differ(fu, l, fu->src[l].f->loc, "norm weights of other shapes");
    }
    SnlWeight *mean = snl_mean_weight(fu->m, fu->arena, w, fu->n);
    snl_op_set_weights(copy, 0, &mean, 1, copy->sym[0].list);
    return SNL_OK;
}

static SnlStatus copy_branch_op(Fuser *fu, size_t l, const SnlOp *op)
{
    Source *s = &fu->src[l];
    SnlOp *copy = snl_op_clone(op, fu->out, NULL, s->map);
    for (int g = 0; g < SNL_MAX_GROUPS; g++)
        for (size_t i = 0; snl_op_group_letter(op->code, g) == 's' && i < op->sym[g].n; i++)
            copy->sym[g].state[i] = s->state[op->sym[g].state[i]->id];
    for (size_t i = 0; i < copy->n_out; i++)
        snl_value_rename(copy->out[i], snl_arena_printf(fu->arena, "%s_%zu", op->out[i]->name, l));
    if (!fu->how->reference) return SNL_OK;
    if (op->code == SNL_OP_ATTENTION) snl_attr_remove(&copy->attrs, "window");
    if (op->code == SNL_OP_LINCOMB) drop_value_embeddings(fu, s, op, copy);
    if (op->code == SNL_OP_RMS_NORM && op->sym[0].n) return share_norm(fu, s, copy);
    return SNL_OK;
}

/* Copies layer l's operations up to its next trunk operation, which is returned (NULL: the end). */
static SnlStatus copy_branches(Fuser *fu, size_t l, const SnlOp **out_trunk)
{
    Source *s = &fu->src[l];
    *out_trunk = NULL;
    for (; s->next && s->next->code != SNL_OP_RETURN; s->next = s->next->next) {
        if (is_trunk_op(s, s->next)) {
            *out_trunk = s->next;
            s->next = s->next->next;
            return SNL_OK;
        }
        if (snl_op_info[s->next->code].flags & SNL_CALLS)
            return snl_error(fu->diag, SNL_E_UNSUPPORTED, s->next->loc,
                             "fuse-layers: @%s calls other layers: inline them first", s->f->name);
        SNL_TRY(copy_branch_op(fu, l, s->next));
    }
    return SNL_OK;
}

/* ---- trunk operations ----------------------------------------------------------------------- */

/* Is operand i the same thing for all layers (a trunk value, a parameter)? Else each has its own.
 */
static SnlStatus is_shared(const Fuser *fu, const SnlOp *const *op, size_t i, bool *out)
{
    for (size_t l = 0; l < fu->n; l++) {
        const SnlValue *v = snl_in(op[l], i);
        bool shared = fu->src[l].trunk[v->id] || !v->def;
        if (l == 0) *out = shared;
        if (shared != *out ||
            (shared && fu->src[l].map[v->id] != fu->src[0].map[snl_in(op[0], i)->id]))
            return differ(fu, l, op[l]->loc, "sums of different things");
    }
    return SNL_OK;
}

/* The factor of a shared operand: the mean over the layers. */
static SnlStatus mean_factor(Fuser *fu, const SnlOp *const *op, size_t i, SnlTerm *out)
{
    SnlWeight **w = SNL_NEW_ARRAY(fu->arena, SnlWeight *, fu->n);
    double sum = 0;
    bool equal = true;
    for (size_t l = 0; l < fu->n; l++) {
        SnlTerm t = snl_lincomb_term(op[l], i);
        if (!t.weight != !snl_lincomb_term(op[0], i).weight)
            return differ(fu, l, op[l]->loc, "a factor that is a weight in one of them only");
        w[l] = t.weight;
        sum += t.r;
        equal &= t.r == snl_lincomb_term(op[0], i).r;
    }
    out->value = fu->src[0].map[snl_in(op[0], i)->id];
    out->r = w[0] ? 1.0 : equal ? snl_lincomb_term(op[0], i).r : sum / (double)fu->n;
    out->weight = w[0] ? snl_mean_weight(fu->m, fu->arena, w, fu->n) : NULL;
    return SNL_OK;
}

/* r * @w, as a weight of its own when both are there. */
static SnlTerm plain_term(Fuser *fu, SnlTerm t)
{
    if (snl_term_is_plain(&t)) return t;
    SnlAttrs attrs = {0};
    snl_attr_set_real(fu->m, &attrs, "by", t.r);
    const char *stem = snl_arena_printf(fu->arena, "%s.scaled", t.weight->name);
    t.weight = snl_weight_intern(fu->m, stem, t.weight->type, SNL_WEXPR_SCALE, &t.weight, 1, attrs);
    t.r = 1.0;
    return t;
}

/* One term for each layer's branch. */
static void push_branches(Fuser *fu, const SnlOp *const *op, size_t i, SnlTerms *terms)
{
    for (size_t l = 0; l < fu->n; l++) {
        SnlTerm t = op[l]->code == SNL_OP_LINCOMB ? snl_lincomb_term(op[l], i)
                                                  : (SnlTerm){snl_in(op[l], i), 1.0, NULL};
        t.value = fu->src[l].map[t.value->id];
        if (fu->how->avg) t.r /= (double)fu->n;
        t = plain_term(fu, t);
        SNL_PUSH(fu->arena, terms, t);
    }
}

static SnlStatus build_sum(Fuser *fu, const SnlOp *const *op, SnlValue **out)
{
    SnlTerms terms = {0};
    for (size_t i = 0; i < op[0]->n_in; i++) {
        bool shared;
        SNL_TRY(is_shared(fu, op, i, &shared));
        SnlTerm t;
        if (shared) {
            SNL_TRY(mean_factor(fu, op, i, &t));
            SNL_PUSH(fu->arena, &terms, t);
        } else {
            push_branches(fu, op, i, &terms);
        }
    }
    *out = snl_lincomb_build(fu->out, NULL, terms.at, terms.n, op[0]->out[0]->name);
    return SNL_OK;
}

static SnlStatus build_mix(Fuser *fu, const SnlOp *const *op, SnlValue **out)
{
    bool shared;
    SNL_TRY(is_shared(fu, op, 0, &shared));
    SnlValue *x = fu->src[0].map[snl_in(op[0], 0)->id];
    if (!shared && (fu->n > 1 || fu->how->avg)) {
        SnlTerms terms = {0};
        push_branches(fu, op, 0, &terms);
        x = snl_lincomb_build(fu->out, NULL, terms.at, terms.n, NULL);
    }
    SnlWeight **w = SNL_NEW_ARRAY(fu->arena, SnlWeight *, fu->n);
    for (size_t l = 0; l < fu->n; l++) w[l] = snl_op_weight(op[l], 0);
    SnlWeight *mean = snl_mean_weight(fu->m, fu->arena, w, fu->n);
    SnlOp *mix = snl_op_create(fu->out, NULL, SNL_OP_MIX);
    snl_op_add_in(mix, x);
    snl_op_set_weights(mix, 0, &mean, 1, false);
    *out = snl_op_finish(mix, op[0]->out[0]->name);
    return SNL_OK;
}

/* The next trunk operation of all layers; *out_more: there was one. */
static SnlStatus build_next(Fuser *fu, bool *out_more)
{
    const SnlOp **op = SNL_NEW_ARRAY(fu->arena, const SnlOp *, fu->n);
    for (size_t l = 0; l < fu->n; l++) {
        SNL_TRY(copy_branches(fu, l, &op[l]));
        if (!op[l] != !op[0]) return differ(fu, l, fu->src[l].f->loc, "another number of sums");
        if (op[l] && (op[l]->code != op[0]->code || op[l]->n_in != op[0]->n_in ||
                      op[l]->out[0]->type != op[0]->out[0]->type))
            return differ(fu, l, op[l]->loc, "sums of another shape");
        if (op[l] && op[l]->code == SNL_OP_MIX &&
            snl_op_weight(op[l], 0)->type != snl_op_weight(op[0], 0)->type)
            return differ(fu, l, op[l]->loc, "mixing matrices of another shape");
    }
    *out_more = op[0] != NULL;
    if (!op[0]) return SNL_OK;
    SnlValue *value;
    SNL_TRY(op[0]->code == SNL_OP_MIX ? build_mix(fu, op, &value) : build_sum(fu, op, &value));
    for (size_t l = 0; l < fu->n; l++) fu->src[l].map[op[l]->out[0]->id] = value;
    return SNL_OK;
}

/* ---- the layer ------------------------------------------------------------------------------ */

static void make_parameters(Fuser *fu)
{
    const SnlFunc *first = fu->src[0].f;
    for (size_t i = 0; i < first->n_param; i++) {
        SnlValue *p = snl_func_param(fu->out, first->param[i]->name, first->param[i]->type);
        for (size_t l = 0; l < fu->n; l++) fu->src[l].map[fu->src[l].f->param[i]->id] = p;
    }
    for (size_t l = 0; l < fu->n; l++)
        for (size_t s = 0; s < fu->src[l].f->n_state_param; s++)
            fu->src[l].state[s] = snl_func_state_param(
                fu->out,
                snl_arena_printf(fu->arena, "%s_%zu", fu->src[l].f->state_param[s]->name, l));
    snl_func_result(fu->out, first->result[0]);
}

static SnlStatus build_return(Fuser *fu)
{
    SnlValue *result = NULL;
    for (size_t l = 0; l < fu->n; l++) {
        const SnlFunc *f = fu->src[l].f;
        SnlValue *v = snl_in(f->last, 0);
        if (!fu->src[l].trunk[v->id] || (result && fu->src[l].map[v->id] != result))
            return differ(fu, l, f->last->loc, "the result is not the trunk's");
        result = fu->src[l].map[v->id];
    }
    SnlOp *ret = snl_op_create(fu->out, NULL, SNL_OP_RETURN);
    snl_op_add_in(ret, result);
    snl_op_finish(ret, NULL);
    return SNL_OK;
}

SnlStatus snl_fuse_links(SnlModule *m, SnlArena *scratch, SnlDiag *diag, const SnlBinding *link,
                         size_t n, const SnlFuseHow *how, const char *name, SnlFunc **out)
{
    Fuser fu = {.m = m, .arena = scratch, .diag = diag, .how = how, .n = n};
    fu.src = SNL_NEW_ARRAY(scratch, Source, n);
    fu.out = *out = snl_func_create(m, SNL_LAYER, name);
    int64_t layers = 0;
    for (size_t l = 0; l < n; l++) {
        prepare_source(&fu, &fu.src[l], link[l].layer);
        layers += snl_link_layers(&link[l]);
    }
    fu.out->loc = link[0].layer->loc;
    make_parameters(&fu);
    SNL_TRY(set_surrogate(&fu));
    for (bool more = true; more;) SNL_TRY(build_next(&fu, &more));
    SNL_TRY(build_return(&fu));
    snl_attr_set_int(m, &fu.out->attrs, "layers", layers);
    return SNL_OK;
}
