/* passes/simplify.c -- local rewrites to a canonical form.
 *
 *     %a = lincomb %x, %y {coef = [2.0, 1.0]} : f32[T, 8]
 *     %b = lincomb %a, %x, %z {coef = [1.0, -2.0, 1.0]} : f32[T, 8]
 *     %c = slice %b {begin = 2, end = 8} : f32[T, 6]
 *     %d = slice %c {begin = 1, end = 3} : f32[T, 2]
 *
 * becomes
 *
 *     %b = lincomb %y, %z : f32[T, 8]
 *     %d = slice %b {begin = 3, end = 5} : f32[T, 2]
 *
 * lincomb: a nested one is merged when this is its only use, or when it has a single term; equal
 * operands are added up, zero terms dropped; one term with factor 1 is its operand. slice: of a
 * slice, of everything. member: of a stack. stack: of all members of one value. cast: of the same
 * cast. linear with a list of one and `reduce`: a plain linear. What costs more than it saves is
 * left: a sum with two readers stays one sum. */
#include "passes/rewrite.h"

#include <string.h>

typedef struct Simplifier {
    SnlArena *arena;
    SnlTerms terms, plain; /* of the op at hand; the memory is used again */
    size_t n_merged;       /* terms so far */
} Simplifier;

/* A text may hold long chains of sums; merging them without end would take the square of their
 * length. */
enum { MAX_TERMS = 4096, MAX_MERGED = 1 << 24 };

/* ---- lincomb -------------------------------------------------------------------------------- */

/* Product of an outer and an inner factor; false when it would need a new weight. */
static bool multiply(const SnlTerm *outer, const SnlTerm *inner, SnlTerm *out)
{
    if (outer->weight && inner->weight) return false;
    *out =
        (SnlTerm){inner->value, outer->r * inner->r, outer->weight ? outer->weight : inner->weight};
    return snl_term_is_plain(out);
}

static bool worth_merging(const Simplifier *s, const SnlValue *nested)
{
    const SnlOp *sum = nested->def;
    if (!sum || sum->code != SNL_OP_LINCOMB) return false;
    if (sum->n_in == 1) return true;
    return snl_value_single_use(nested) && s->terms.n + sum->n_in <= MAX_TERMS &&
           s->n_merged + sum->n_in <= MAX_MERGED;
}

/* Appends the terms of `term`'s own lincomb, or the term itself. True when it was taken apart.
 * Under a factor that is a weight every summand would have to be multiplied: the sum stays whole.
 */
static bool append_flat(Simplifier *s, SnlTerm term)
{
    size_t before = s->terms.n;
    bool flat = worth_merging(s, term.value) && (!term.weight || term.value->def->n_in == 1);
    for (size_t i = 0; flat && i < term.value->def->n_in; i++) {
        SnlTerm inner = snl_lincomb_term(term.value->def, i), product;
        flat = multiply(&term, &inner, &product);
        if (flat) SNL_PUSH(s->arena, &s->terms, product);
    }
    if (flat) {
        s->n_merged += s->terms.n - before;
        return true;
    }
    s->terms.n = before;
    SNL_PUSH(s->arena, &s->terms, term);
    return false;
}

/* Adds up equal operands. */
static bool merge_terms(SnlTerms *terms)
{
    size_t n = 0;
    for (size_t i = 0; i < terms->n; i++) {
        SnlTerm t = terms->at[i];
        size_t j = 0;
        while (j < n && (terms->at[j].value != t.value || terms->at[j].weight != t.weight)) j++;
        /* (1 + 1) * @w cannot be written; (1 - 1) * @w can. */
        if (j < n && t.weight && terms->at[j].r + t.r != 0 && terms->at[j].r + t.r != 1) j = n;
        if (j < n)
            terms->at[j].r += t.r;
        else
            terms->at[n++] = t;
    }
    bool changed = n < terms->n;
    terms->n = n;
    return changed;
}

/* Drops zero terms, but keeps one that gives the sum its type. */
static bool drop_zeros(SnlTerms *terms, const SnlType *type)
{
    size_t n = 0;
    bool typed = false;
    SnlTerm spare = {0};
    for (size_t i = 0; i < terms->n; i++) {
        SnlTerm t = terms->at[i];
        if (t.r != 0) {
            typed |= t.value->type == type;
            terms->at[n++] = t;
        } else if (t.value->type == type) {
            spare = (SnlTerm){t.value, 0.0, NULL};
        }
    }
    if (!typed) terms->at[n++] = spare;
    bool changed = n < terms->n;
    terms->n = n;
    return changed;
}

static bool has_type(const SnlTerms *terms, const SnlType *type)
{
    for (size_t i = 0; i < terms->n; i++)
        if (terms->at[i].value->type == type) return true;
    return false;
}

/* A lincomb that lost its last reader goes at once, so that its operands' use counts are right. */
static void erase_unused(SnlOp *op)
{
    for (size_t i = 0; i < op->n_out; i++)
        if (op->out[i]->uses) return;
    snl_op_erase(op);
}

static bool simplify_lincomb(Simplifier *s, SnlOp *op)
{
    SnlTerms *terms = &s->terms, *plain = &s->plain;
    bool changed = false;
    terms->n = plain->n = 0;
    for (size_t i = 0; i < op->n_in; i++) {
        changed |= append_flat(s, snl_lincomb_term(op, i));
        SNL_PUSH(s->arena, plain, snl_lincomb_term(op, i));
    }
    const SnlType *type = op->out[0]->type;
    if (!has_type(terms, type)) {
        terms->n = 0;
        for (size_t i = 0; i < plain->n; i++) SNL_PUSH(s->arena, terms, plain->at[i]);
        changed = false;
    }
    changed |= merge_terms(terms);
    changed |= drop_zeros(terms, type);
    if (terms->n == 1 && terms->at[0].r == 1.0 && !terms->at[0].weight &&
        terms->at[0].value->type == type) {
        snl_op_replace(op, terms->at[0].value);
        return true;
    }
    const SnlAttrValue *coef = snl_attr_find(&op->attrs, "coef");
    bool all_one = coef != NULL;
    for (size_t i = 0; i < terms->n; i++) all_one &= terms->at[i].r == 1.0 && !terms->at[i].weight;
    if (!changed && !all_one) return false;
    snl_lincomb_set(op, terms->at, terms->n);
    for (size_t i = 0; i < plain->n; i++) {
        SnlOp *nested = plain->at[i].value->def;
        bool again = false; /* the operand may have been named twice */
        for (size_t j = 0; j < i; j++) again |= plain->at[j].value == plain->at[i].value;
        if (!again && nested && nested->code == SNL_OP_LINCOMB) erase_unused(nested);
    }
    return true;
}

/* ---- views ---------------------------------------------------------------------------------- */

static bool simplify_slice(SnlOp *op)
{
    SnlValue *x = snl_in(op, 0);
    if (op->out[0]->type == x->type) {
        snl_op_replace(op, x);
        return true;
    }
    if (!x->def || x->def->code != SNL_OP_SLICE) return false;
    SnlModule *m = op->func->module;
    int64_t base = snl_attr_int(&x->def->attrs, "begin", 0);
    int64_t begin = base + snl_attr_int(&op->attrs, "begin", 0);
    int64_t end = base + snl_attr_int(&op->attrs, "end", 0);
    snl_attr_set_int(m, &op->attrs, "begin", begin);
    snl_attr_set_int(m, &op->attrs, "end", end);
    snl_op_set_in(op, 0, snl_in(x->def, 0));
    return true;
}

static bool simplify_member(SnlOp *op)
{
    const SnlOp *stack = snl_in(op, 0)->def;
    if (!stack || stack->code != SNL_OP_STACK) return false;
    snl_op_replace(op, snl_in(stack, (size_t)snl_attr_int(&op->attrs, "index", 0)));
    return true;
}

/* stack of member 0, 1, ..., M - 1 of one [T, M, D] */
static bool simplify_stack(SnlOp *op)
{
    SnlValue *whole = NULL;
    for (size_t i = 0; i < op->n_in; i++) {
        const SnlOp *member = snl_in(op, i)->def;
        if (!member || member->code != SNL_OP_MEMBER) return false;
        if (snl_attr_int(&member->attrs, "index", -1) != (int64_t)i) return false;
        if (whole && snl_in(member, 0) != whole) return false;
        whole = snl_in(member, 0);
    }
    if (!whole || whole->type != op->out[0]->type) return false;
    snl_op_replace(op, whole);
    return true;
}

/* ---- the rest ------------------------------------------------------------------------------- */

/* Rounding twice is rounding once. (A first cast to f32 stays: the reference evaluator computes in
 * f64.) */
static bool simplify_cast(SnlOp *op)
{
    const char *to = snl_attr_text(&op->attrs, "to", "");
    SnlValue *x = snl_in(op, 0);
    if (!x->def || x->def->code != SNL_OP_CAST) return false;
    if (strcmp(snl_attr_text(&x->def->attrs, "to", ""), to) != 0) return false;
    snl_op_replace(op, x);
    return true;
}

static bool simplify_linear(SnlOp *op)
{
    if (op->sym[0].n != 1 || !op->sym[0].list || !snl_attr_flag(&op->attrs, "reduce")) return false;
    if (snl_in(op, 0)->type->rank != 2) return false;
    op->sym[0].list = false;
    op->sym[1].list = false;
    snl_attr_remove(&op->attrs, "reduce");
    return true;
}

static bool simplify_op(Simplifier *s, SnlOp *op)
{
    switch ((int)op->code) {
    case SNL_OP_LINCOMB:
        return simplify_lincomb(s, op);
    case SNL_OP_SLICE:
        return simplify_slice(op);
    case SNL_OP_MEMBER:
        return simplify_member(op);
    case SNL_OP_STACK:
        return simplify_stack(op);
    case SNL_OP_CAST:
        return simplify_cast(op);
    case SNL_OP_LINEAR:
        return simplify_linear(op);
    default:
        return false;
    }
}

/* Each rewrite removes an op, a term or an attribute, so this ends. */
static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    Simplifier s = {.arena = ctx->scratch};
    bool any = false;
    for (SnlFunc *f = m->first; f; f = f->next)
        for (bool changed = true; changed; any |= changed) {
            changed = false;
            for (SnlOp *op = f->first, *next; op; op = next) {
                next = op->next;
                changed |= simplify_op(&s, op);
            }
        }
    return any ? SNL_PASS_CHANGED : SNL_PASS_SAME;
}

const SnlPass snl_pass_simplify = {
    .name = "simplify",
    .summary = "local rewrites to a canonical form (lincomb, slice, member, stack, cast)",
    .exactness = SNL_REORDERS,
    .run = run,
};
