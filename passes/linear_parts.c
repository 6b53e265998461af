/* passes/linear_parts.c -- narrow layers: products of parts of the inputs, where they were made.
 *
 *   func @f.decode(...) -> ... attributes {tokens = 1} {
 *     %e = relu2 %u : f32[T, 256]
 *     %d = linear %e, @down : f32[T, 64]
 *     %z = lincomb %y, %d : f32[T, 64]
 * becomes
 *     %e = relu2 %u : f32[T, 256]
 *     %parts = linear %e, @down {part = 64} : f32[T, 4, 64]
 *     %d.0 = member %parts {index = 0} : f32[T, 64]
 *     ...
 *     %z = lincomb %y, %d.0, %d.1, %d.2, %d.3 : f32[T, 64]
 *
 * A whole product reads all of %e, so threads meet before it, and once more before anybody may
 * norm %z. A part is multiplied by the thread that made it, and whoever wants %z adds the parts up
 * for himself: one barrier instead of two, on each side of a layer (columns first, then rows:
 * Megatron's division of a layer). It costs every thread parts x width additions and the reading of
 * what others have made, so it is done only where these numbers are at most `most`: matrices of so
 * few rows are narrow, and a barrier is much of their time.
 *
 * Inputs are parted where the scheduler can divide what makes them alike: attention by groups of kv
 * heads, elementwise results of linears by panels.
 *
 * Exact but for the order of sums: parts lie at fixed places, whatever the number of threads. */
#include "passes/pass.h"
#include "passes/rewrite.h"
#include "passes/schedule.h"

enum { MOST_STEPS = 6 }; /* elementwise ops, one after the other, that are looked through */

static SnlValue *behind_casts(SnlValue *v)
{
    while (v->def && v->def->code == SNL_OP_CAST) v = snl_in(v->def, 0);
    return v;
}

/* A product of rows without members, by one matrix. */
static bool is_plain_linear(const SnlOp *op)
{
    return op->code == SNL_OP_LINEAR && !op->sym[0].list && snl_linear_part(op) == 0 &&
           snl_in(op, 0)->type->rank == 2;
}

/* Is `v` of plain linears and elementwise ops, so that its columns can be made in any portions?
 * What every thread makes for itself needs no barrier as it is. */
static bool is_of_linears(const SnlValue *v, int depth)
{
    const SnlOp *def = v->def;
    if (!def || is_plain_linear(def)) return def && !snl_linear_is_small(def);
    bool local = (snl_op_info[def->code].flags & SNL_ELTWISE) && v->type->dtype != SNL_Q8_0;
    for (size_t i = 0; i < def->n_in && local; i++)
        local = depth > 0 && snl_type_width(snl_in(def, i)->type) == snl_type_width(v->type) &&
                is_of_linears(snl_in(def, i), depth - 1);
    return local;
}

/* Does an op that wants whole rows read `v`, or what elementwise ops make of it? Results of the
 * function wait for nobody. */
static bool is_read_whole(const SnlValue *v, int depth)
{
    for (const SnlUse *u = v->uses; u; u = u->next) {
        const SnlOp *user = u->user;
        bool local = snl_op_info[user->code].flags & SNL_ELTWISE;
        bool whole = local ? depth > 0 && is_read_whole(user->out[0], depth - 1)
                           : user->code != SNL_OP_RETURN;
        if (whole) return true;
    }
    return false;
}

static int64_t part_count(int64_t width, int64_t part)
{
    return (width + part - 1) / part;
}

/* Of two threads that share out parts of `width` inputs, what the busier one multiplies. */
static int64_t larger_half(int64_t width, int64_t part)
{
    int64_t half = part_count(width, part) / 2 * part;
    return half > width - half ? half : width - half;
}

/* About `parts` parts of whole panels or blocks: one less in each where that makes up to `most`
 * parts that two threads share out more evenly by a tenth (172 inputs in blocks: 96 and 76, not
 * 64 and 108). */
static int64_t part_of_columns(int64_t width, int64_t parts, int64_t whole, int64_t most)
{
    int64_t part = snl_round_up(part_count(width, parts), whole), less = part - whole;
    bool evener = less > 0 && part_count(width, less) <= most &&
                  10 * larger_half(width, less) <= 9 * larger_half(width, part);
    return evener ? less : part;
}

/* Inputs of a part of `x`; 0: it cannot be parted. */
static int64_t part_of(const SnlValue *x, int64_t parts, int64_t whole, int64_t most)
{
    int64_t width = snl_type_width(x->type), part = 0;
    if (x->type->rank != 2 || !x->def) return 0;
    if (x->def->code == SNL_OP_ATTENTION) {
        int64_t heads = snl_attention_kv_heads(x->def), n = parts < heads ? parts : heads;
        if (heads % n == 0) part = width / n; /* groups of one size */
    } else if (is_of_linears(x, MOST_STEPS)) {
        part = part_of_columns(width, parts, whole, most);
    }
    return part > 0 && part % whole == 0 && part < width ? part : 0;
}

/* What a part of this linear's inputs is a multiple of: panels of what makes them, and blocks. */
static int64_t whole_of(const SnlOp *op, const SnlValue *x)
{
    if (snl_dtype_is_blocked(snl_op_weight(op, 0)->type->dtype)) return SNL_BLOCK;
    return x->def && x->def->code == SNL_OP_ATTENTION ? 2 : SNL_PANEL_GRAIN;
}

/* `members` in place of term i of the sum. */
static void extend_sum(SnlOp *sum, const SnlValue *old, SnlValue *const *member, size_t n,
                       SnlArena *scratch)
{
    SnlTerms terms = {0};
    for (size_t i = 0; i < sum->n_in; i++) {
        SnlTerm term = snl_lincomb_term(sum, i);
        for (size_t m = 0; m < (term.value == old ? n : 1); m++) {
            SnlTerm one = term;
            if (term.value == old) one.value = member[m];
            SNL_PUSH(scratch, &terms, one);
        }
    }
    snl_lincomb_set(sum, terms.at, terms.n);
}

static void add_members(SnlOp *op, SnlValue *parts, SnlArena *scratch)
{
    SnlModule *m = op->func->module;
    size_t n = (size_t)snl_type_members(parts->type);
    SnlValue *y = op->out[0], **member = SNL_NEW_ARRAY(scratch, SnlValue *, n);
    for (size_t i = 0; i < n; i++) {
        SnlOp *view = snl_op_create(op->func, op, SNL_OP_MEMBER);
        snl_op_add_in(view, parts);
        snl_attr_set_int(m, &view->attrs, "index", (int64_t)i);
        member[i] = snl_op_finish(view, snl_arena_printf(scratch, "%s.%zu", y->name, i));
    }
    if (y->uses && !y->uses->next && y->uses->user->code == SNL_OP_LINCOMB) {
        extend_sum(y->uses->user, y, member, n, scratch);
        snl_op_erase(op);
        return;
    }
    SnlTerm *terms = SNL_NEW_ARRAY(scratch, SnlTerm, n);
    for (size_t i = 0; i < n; i++) terms[i] = (SnlTerm){member[i], 1.0, NULL};
    const char *name = y->name;
    SnlValue *sum = snl_lincomb_build(op->func, op, terms, n, name);
    snl_op_replace(op, sum);
    snl_value_rename(sum, name);
}

static bool take_apart(SnlPassContext *ctx, SnlOp *op)
{
    bool plain = is_plain_linear(op) && op->sym[1].n == 0;
    if (!plain || !is_read_whole(op->out[0], MOST_STEPS)) return false;
    const SnlValue *x = behind_casts(snl_in(op, 0));
    int64_t most = snl_pass_int(ctx, "most") / snl_type_width(op->out[0]->type);
    int64_t part = part_of(x, snl_pass_int(ctx, "parts"), whole_of(op, x), most);
    if (part == 0 || part_count(snl_type_width(x->type), part) > most) return false;
    SnlModule *m = op->func->module;
    SnlOp *parts = snl_op_create(op->func, op, SNL_OP_LINEAR);
    snl_op_add_in(parts, snl_in(op, 0));
    snl_op_set_weights(parts, 0, op->sym[0].weight, 1, false);
    snl_attr_set_int(m, &parts->attrs, "part", part);
    add_members(op, snl_op_finish(parts, "parts"), ctx->scratch);
    return true;
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    bool changed = false;
    for (SnlFunc *f = m->first; f; f = f->next) {
        if (snl_attr_int(&f->attrs, "tokens", 0) != 1) continue;
        for (SnlOp *op = f->first, *next; op; op = next) {
            next = op->next;
            changed = take_apart(ctx, op) || changed;
        }
    }
    return changed ? SNL_PASS_CHANGED : SNL_PASS_SAME;
}

static const SnlPassOption options[] = {
    {"parts", SNL_OPTION_INT, "4", 2, 64, "parts of a linear's inputs, about"},
    {"most", SNL_OPTION_INT, "512", 0, INT32_MAX, "parts x rows of a matrix that is taken apart"},
    {NULL, SNL_OPTION_INT, NULL, 0, 0, NULL},
};

const SnlPass snl_pass_linear_parts = {
    .name = "linear-parts",
    .summary = "products of one token in parts of the inputs, each where they were made",
    .exactness = SNL_REORDERS,
    .options = options,
    .run = run,
};
