/* passes/rewrite.h -- what several rewriting passes need: terms of a lincomb, comparing operations,
 * walking the places that name a weight, states as table indices. Private to passes/. */
#ifndef SNL_PASSES_REWRITE_H
#define SNL_PASSES_REWRITE_H

#include "passes/pass.h"

/* ---- lincomb -------------------------------------------------------------------------------- */

/* One summand: value * r * weight (weight NULL: 1). The text form holds a real or a weight, so a
 * term with both needs a scaled weight before it is written. */
typedef struct SnlTerm {
    SnlValue *value;
    double r;
    SnlWeight *weight;
} SnlTerm;
typedef SnlVec(SnlTerm) SnlTerms;

SnlTerm snl_lincomb_term(const SnlOp *op, size_t i);
/* r == 1 or no weight: can be written as it is. */
bool snl_term_is_plain(const SnlTerm *term);
/* Replaces operands and coefficients; all terms plain, at least one. The result's type must stay.
 */
void snl_lincomb_set(SnlOp *op, const SnlTerm *term, size_t n);
/* A new lincomb before `before`. */
SnlValue *snl_lincomb_build(SnlFunc *func, SnlOp *before, const SnlTerm *term, size_t n,
                            const char *name);

/* ---- weights -------------------------------------------------------------------------------- */

/* An expression that exists already (same code, type, arguments, attributes), or a new one called
 * `stem` (or stem.1, ...). Takes `attrs` over. */
SnlWeight *snl_weight_intern(SnlModule *m, const char *stem, const SnlType *type, SnlWexprCode code,
                             SnlWeight *const *arg, size_t n_arg, SnlAttrs attrs);
bool snl_weights_equal(const SnlWeight *a, const SnlWeight *b); /* the same elements for sure */

/* Every place in functions that names a weight: symbols of ops, weight attributes, surrogates. `op`
 * is NULL for a surrogate. Expressions' own arguments are not visited. */
typedef void SnlWeightVisit(void *user, SnlOp *op, SnlWeight **slot);
void snl_weight_slots(SnlModule *m, SnlWeightVisit *visit, void *user);

/* uses[id]: places in functions, plus places in expressions that are themselves used. */
size_t *snl_weight_uses(SnlModule *m, SnlArena *arena);

/* ---- operations ----------------------------------------------------------------------------- */

/* Same code, symbols and attributes; operands are not looked at. */
bool snl_op_same_shape(const SnlOp *a, const SnlOp *b);
/* ... and the same operands. */
bool snl_op_same(const SnlOp *a, const SnlOp *b);
bool snl_symbols_equal(char letter, const SnlSymbols *a, const SnlSymbols *b);

/* The integer attribute of which each member of an op may have its own (attention: window); NULL:
 * there is none. Its value for an op with one member; absent gives the number that means the same.
 */
const char *snl_op_member_attr(SnlOpCode code);
int64_t snl_op_member_attr_value(const SnlOp *op);

/* States as dense indices of one function: the module's first, then the function's parameters. */
static inline size_t snl_state_slot(const SnlFunc *f, const SnlState *state)
{
    return state->type ? state->id : f->module->states.n + state->id;
}
static inline size_t snl_state_slots(const SnlFunc *f)
{
    return f->module->states.n + f->n_state_param;
}
/* Calls `visit` for every state the op touches; `writes` says how. Calls count as writing. */
typedef void SnlStateVisit(void *user, const SnlOp *op, SnlState *state, bool writes);
void snl_op_states(const SnlOp *op, SnlStateVisit *visit, void *user);

/* Replaces op's only result by `by`, which takes over its name when it has only a number, and
 * erases op. */
void snl_op_replace(SnlOp *op, SnlValue *by);

/* Removes layers that no function reaches; without any `func` in the module all stay. */
bool snl_remove_unused_layers(SnlModule *m, SnlArena *scratch);
/* One name for several things that belong together: l0.wq, l0.wk, l0.wv -> l0.wqkv. */
const char *snl_joined_name(SnlArena *arena, const char *const *name, size_t n);

static inline bool snl_op_is_pure(const SnlOp *op)
{
    return (snl_op_info[op->code].flags & SNL_PURE) != 0;
}

#endif
