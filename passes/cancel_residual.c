/* passes/cancel_residual.c -- differences of sums that share a summand.
 *
 *     %y = lincomb %h, %p : f32[T, 8]
 *     %z = lincomb %y, %e : f32[T, 8]
 *     %d = lincomb %z, %h {coef = [1.0, -1.0]} : f32[T, 8]
 *
 * becomes
 *
 *     %d = lincomb %p, %e : f32[T, 8]
 *
 * A lincomb that subtracts something takes its operands apart, if these are sums in which the
 * subtracted value occurs: it cancels, or its factors become one. Unlike in simplify an operand may
 * have other readers: it stays for them. Operands without the subtracted value are left whole. */
#include "passes/rewrite.h"

#include <math.h>

/* Sums of sums can be looked at in very many ways: the search is bounded, for an op and in all. */
enum { MAX_DEPTH = 6, MAX_TERMS = 4096, MAX_LOOKS_OP = 1 << 18, MAX_LOOKS = 1 << 28 };

typedef struct Canceller {
    SnlArena *arena;
    size_t *place; /* by value id: order of definition */
    size_t looks_op, looks;
} Canceller;

static const SnlOp *sum_of(const SnlValue *v)
{
    return v->def && v->def->code == SNL_OP_LINCOMB ? v->def : NULL;
}

/* Is `wanted` a summand of v, at most `depth` sums deep? Only factors without weights are looked
 * through: others cannot cancel. */
static bool contains(Canceller *c, const SnlValue *v, const SnlValue *wanted, int depth)
{
    const SnlOp *sum = sum_of(v);
    for (size_t i = 0; sum && depth > 0 && i < sum->n_in; i++) {
        if (++c->looks_op > MAX_LOOKS_OP || ++c->looks > MAX_LOOKS) return false;
        SnlTerm t = snl_lincomb_term(sum, i);
        if (t.weight) continue;
        if (t.value == wanted || contains(c, t.value, wanted, depth - 1)) return true;
    }
    return false;
}

/* Pushes `term`, taken apart along the ways to `wanted`; not under a factor that is a weight, where
 * nothing can cancel. False when a factor cannot be written. */
static bool expand(Canceller *c, SnlTerms *terms, SnlTerm term, const SnlValue *wanted)
{
    if (terms->n > MAX_TERMS) return false;
    if (term.weight || !contains(c, term.value, wanted, MAX_DEPTH)) {
        SNL_PUSH(c->arena, terms, term);
        return true;
    }
    const SnlOp *sum = sum_of(term.value);
    for (size_t i = 0; i < sum->n_in; i++) {
        SnlTerm inner = snl_lincomb_term(sum, i);
        SnlTerm t = {inner.value, inner.r * term.r, inner.weight};
        if (!snl_term_is_plain(&t) || !expand(c, terms, t, wanted)) return false;
    }
    return true;
}

/* Adds up what has one value and no weight; drops what is zero. 1 - (1 - d) + ... should be zero
 * but for rounding of the factors. */
static void add_up(SnlTerms *terms)
{
    size_t n = 0;
    for (size_t i = 0; i < terms->n; i++) {
        size_t j = 0;
        while (j < n && (terms->at[j].value != terms->at[i].value || terms->at[j].weight ||
                         terms->at[i].weight))
            j++;
        if (j < n)
            terms->at[j].r += terms->at[i].r;
        else
            terms->at[n++] = terms->at[i];
    }
    terms->n = 0;
    for (size_t i = 0; i < n; i++)
        if (terms->at[i].weight || fabs(terms->at[i].r) > 1e-14)
            terms->at[terms->n++] = terms->at[i];
}

static void find_places(Canceller *c, const SnlFunc *f)
{
    size_t n = 0;
    c->place = SNL_NEW_ARRAY(c->arena, size_t, f->n_values);
    for (size_t i = 0; i < f->n_param; i++) c->place[f->param[i]->id] = n++;
    for (const SnlOp *op = f->first; op; op = op->next)
        for (size_t i = 0; i < op->n_out; i++) c->place[op->out[i]->id] = n++;
}

/* In order of definition: what was nested inside out reads like a sum again. Insertion, to be
 * stable. */
static void sort_terms(const Canceller *c, SnlTerms *terms)
{
    for (size_t i = 1; i < terms->n; i++) {
        SnlTerm t = terms->at[i];
        size_t j = i;
        for (; j > 0 && c->place[terms->at[j - 1].value->id] > c->place[t.value->id]; j--)
            terms->at[j] = terms->at[j - 1];
        terms->at[j] = t;
    }
}

static bool has_type(const SnlTerms *terms, const SnlType *type)
{
    for (size_t i = 0; i < terms->n; i++)
        if (terms->at[i].value->type == type) return true;
    return false;
}

/* Tries to cancel the subtracted operand number `which`. */
static bool cancel(Canceller *c, SnlOp *op, size_t which)
{
    const SnlTerm subtracted = snl_lincomb_term(op, which);
    SnlTerms terms = {0};
    bool found = false;
    for (size_t i = 0; i < op->n_in; i++) {
        SnlTerm t = snl_lincomb_term(op, i);
        c->looks_op++;
        c->looks++;
        found |= i != which && !t.weight && contains(c, t.value, subtracted.value, MAX_DEPTH);
        if (!expand(c, &terms, t, subtracted.value)) return false;
    }
    if (!found) return false;
    add_up(&terms);
    /* Taking long sums apart for one summand would cost more than it saves. */
    if (terms.n > 2 * op->n_in || !has_type(&terms, op->out[0]->type)) return false;
    sort_terms(c, &terms);
    snl_lincomb_set(op, terms.at, terms.n);
    return true;
}

static bool run_op(Canceller *c, SnlOp *op)
{
    bool changed = false;
    c->looks_op = 0;
    for (size_t i = 0; op->code == SNL_OP_LINCOMB && i < op->n_in; i++) {
        if (c->looks_op > MAX_LOOKS_OP || c->looks > MAX_LOOKS) break;
        SnlTerm t = snl_lincomb_term(op, i);
        if (t.weight || t.r >= 0 || !cancel(c, op, i)) continue;
        changed = true;
        i = (size_t)-1;
    }
    return changed;
}

/* Terms only ever go deeper into earlier sums, so this ends. Sums that are read by what was taken
 * apart come first in the function: one walk finds everything. */
static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    Canceller c = {.arena = ctx->scratch};
    bool changed = false;
    for (SnlFunc *f = m->first; f; f = f->next) {
        find_places(&c, f);
        for (SnlOp *op = f->first; op; op = op->next) changed |= run_op(&c, op);
    }
    return changed ? SNL_PASS_CHANGED : SNL_PASS_SAME;
}

const SnlPass snl_pass_cancel_residual = {
    .name = "cancel-residual",
    .summary = "a sum minus one of its summands becomes the other summands",
    .exactness = SNL_REORDERS,
    .run = run,
};
