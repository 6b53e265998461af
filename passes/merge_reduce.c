/* passes/merge_reduce.c -- the sum of all members of a linear is computed by the linear itself.
 *
 *     %e = linear %g, [@a, @b] : f32[T, 2, 8]
 *     %e0 = member %e {index = 0} : f32[T, 8]
 *     %e1 = member %e {index = 1} : f32[T, 8]
 *     %y = lincomb %h, %e0, %e1 : f32[T, 8]
 *
 * becomes, when nobody else reads the members,
 *
 *     %e = linear %g, [@a, @b] {reduce} : f32[T, 8]
 *     %y = lincomb %h, %e : f32[T, 8] */
#include "passes/merge_linear.h"

/* The terms of `sum` that are members of `wide`, all with one factor and each member once; false
 * otherwise. */
static bool find_terms(const SnlOp *sum, const SnlOp *wide, SnlTerm *out_factor, bool *in_terms)
{
    size_t members = (size_t)snl_type_members(wide->out[0]->type), found = 0;
    for (size_t i = 0; i < sum->n_in; i++) {
        SnlTerm t = snl_lincomb_term(sum, i);
        const SnlOp *def = t.value->def;
        in_terms[i] = def && def->code == SNL_OP_MEMBER && snl_in(def, 0) == wide->out[0];
        if (!in_terms[i]) continue;
        if (!snl_value_single_use(t.value)) return false; /* so no member is found twice */
        if (found++ == 0)
            *out_factor = t;
        else if (t.r != out_factor->r || t.weight != out_factor->weight)
            return false;
    }
    return found == members;
}

static bool only_members(const SnlValue *value)
{
    for (const SnlUse *use = value->uses; use; use = use->next)
        if (use->user->code != SNL_OP_MEMBER) return false;
    return true;
}

static bool reduce_into(SnlOp *sum, SnlOp *wide, SnlArena *arena)
{
    SnlFunc *f = sum->func;
    bool *in_terms = SNL_NEW_ARRAY(arena, bool, sum->n_in);
    SnlTerm factor = {0};
    SnlTerms terms = {0};
    if (!only_members(wide->out[0]) || sum->out[0]->type->rank != 2) return false;
    if (snl_value_use_count(wide->out[0]) != (size_t)snl_type_members(wide->out[0]->type))
        return false;
    if (!find_terms(sum, wide, &factor, in_terms)) return false;
    SnlOp *reduced = snl_op_create(f, wide, SNL_OP_LINEAR);
    reduced->loc = wide->loc;
    snl_op_add_in(reduced, snl_in(wide, 0));
    for (int g = 0; g < 2 && wide->sym[g].n; g++)
        snl_op_set_weights(reduced, g, wide->sym[g].weight, wide->sym[g].n, true);
    reduced->attrs = snl_attrs_copy(f->module, &wide->attrs);
    snl_attr_set_flag(f->module, &reduced->attrs, "reduce");
    const char *name = wide->out[0]->name;
    SnlTerm total = {snl_op_finish(reduced, NULL), factor.r, factor.weight};
    bool placed = false;
    for (size_t i = 0; i < sum->n_in; i++) {
        if (!in_terms[i])
            SNL_PUSH(arena, &terms, snl_lincomb_term(sum, i));
        else if (!placed)
            SNL_PUSH(arena, &terms, total);
        placed |= in_terms[i];
    }
    snl_lincomb_set(sum, terms.at, terms.n);
    while (wide->out[0]->uses) snl_op_erase(wide->out[0]->uses->user);
    snl_op_erase(wide);
    snl_value_rename(total.value, name);
    return true;
}

bool snl_merge_reduce(SnlFunc *f, SnlArena *scratch)
{
    bool changed = false;
    for (SnlOp *op = f->first; op; op = op->next) {
        if (op->code != SNL_OP_LINCOMB) continue;
        for (size_t i = 0; i < op->n_in; i++) {
            SnlOp *member = snl_in(op, i)->def;
            SnlOp *wide = member && member->code == SNL_OP_MEMBER ? snl_in(member, 0)->def : NULL;
            if (!wide || wide->code != SNL_OP_LINEAR || !reduce_into(op, wide, scratch)) continue;
            changed = true;
            i = (size_t)-1; /* the operands are others now */
        }
    }
    return changed;
}
