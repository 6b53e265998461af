/* ir/verify_weights.c -- weight expressions: arity, attributes, element types and shapes.
 *
 * The limits on depth and size bound what reading one row of a weight can cost. */
#include "ir/verify.h"

#include "ir/attr_rules.h"
#include "ir/base/checked.h"

typedef long long ll;

enum {
    MAX_DEPTH = 32,     /* of an expression: readers recurse */
    MAX_NODES = 1 << 16 /* of an expression written out as a tree */
};

typedef struct Check {
    SnlVerify *v;
    const SnlWeight *w;
} Check;

static void fail(const Check *c, SnlDiagKind kind, const char *fmt, ...) SNL_PRINTF(3, 4);
static void fail(const Check *c, SnlDiagKind kind, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *text = snl_arena_vprintf(c->v->scratch, fmt, args);
    va_end(args);
    snl_verify_fail(c->v, kind, c->w->loc, "weight '@%s': %s: %s", c->w->name,
                    snl_wexpr_text(c->w->code), text);
}

static const char *text_of(const Check *c, const SnlType *t)
{
    return snl_type_text(c->v->scratch, t);
}

static void wanted(const Check *c, SnlType want)
{
    want.dtype = c->w->type->dtype;
    fail(c, SNL_E_SHAPE, "declared %s, the expression gives shape %s", text_of(c, c->w->type),
         text_of(c, &want));
}

static bool same_shape(const SnlType *a, const SnlType *b)
{
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

static const SnlType *arg_type(const Check *c, size_t i)
{
    return c->w->arg[i]->type;
}

static bool arg_rank(const Check *c, size_t i, int rank)
{
    if (arg_type(c, i)->rank == rank) return true;
    fail(c, SNL_E_SHAPE, "'@%s' is %s, wanted %s", c->w->arg[i]->name, text_of(c, arg_type(c, i)),
         rank == 2 ? "a matrix" : "a vector");
    return false;
}

/* ---- shapes, one function per kind of expression --------------------------------------------- */

static void check_leaf(const Check *c)
{
    (void)c;
} /* source, fill, random: any shape */

static void check_same(const Check *c) /* scale, cast, mean */
{
    for (size_t i = 0; i < c->w->n_arg; i++)
        if (!same_shape(arg_type(c, i), c->w->type)) {
            fail(c, SNL_E_SHAPE, "'@%s' is %s, declared %s: wanted one shape", c->w->arg[i]->name,
                 text_of(c, arg_type(c, i)), text_of(c, c->w->type));
            return;
        }
}

static bool axis_of(const Check *c, int *out)
{
    *out = (int)snl_attr_int(&c->w->attrs, "axis", 0);
    if (*out < c->w->type->rank) return true;
    fail(c, SNL_E_SHAPE, "%s has no axis %d, counted from 0", text_of(c, c->w->type), *out);
    return false;
}

static void check_concat(const Check *c)
{
    int axis;
    if (!axis_of(c, &axis)) return;
    const SnlType *t = c->w->type;
    int64_t sum = 0;
    for (size_t i = 0; i < c->w->n_arg; i++) {
        SnlType piece = *arg_type(c, i);
        bool fits = piece.rank == t->rank && snl_add_i64(sum, piece.dim[axis], &sum);
        piece.dim[axis] = t->dim[axis];
        if (fits && same_shape(&piece, t)) continue;
        fail(c, SNL_E_SHAPE, "'@%s' is %s: does not fit into %s along axis %d", c->w->arg[i]->name,
             text_of(c, arg_type(c, i)), text_of(c, t), axis);
        return;
    }
    if (sum != t->dim[axis])
        fail(c, SNL_E_SHAPE, "parts add up to %lld along axis %d, declared %s", (ll)sum, axis,
             text_of(c, t));
}

static void check_slice(const Check *c)
{
    int axis;
    if (!axis_of(c, &axis)) return;
    int64_t begin = snl_attr_int(&c->w->attrs, "begin", 0),
            end = snl_attr_int(&c->w->attrs, "end", 0);
    SnlType want = *arg_type(c, 0);
    if (want.rank != c->w->type->rank || begin >= end || end > want.dim[axis]) {
        fail(c, SNL_E_SHAPE, "[%lld, %lld) of axis %d is no part of %s", (ll)begin, (ll)end, axis,
             text_of(c, arg_type(c, 0)));
        return;
    }
    want.dim[axis] = end - begin;
    if (!same_shape(&want, c->w->type)) wanted(c, want);
}

static void check_reshape(const Check *c)
{
    if (snl_type_elems(c->w->type, 1) != snl_type_elems(arg_type(c, 0), 1))
        fail(c, SNL_E_SHAPE, "'@%s' is %s, declared %s: wanted as many elements",
             c->w->arg[0]->name, text_of(c, arg_type(c, 0)), text_of(c, c->w->type));
}

static void check_matrix(const Check *c, int64_t rows, int64_t cols)
{
    const SnlType *t = c->w->type;
    if (t->rank != 2 || t->dim[0] != rows || t->dim[1] != cols)
        wanted(c, (SnlType){SNL_F32, 2, {rows, cols}});
}

static void check_transpose(const Check *c)
{
    if (arg_rank(c, 0, 2)) check_matrix(c, arg_type(c, 0)->dim[1], arg_type(c, 0)->dim[0]);
}

static void check_colscale(const Check *c)
{
    if (!arg_rank(c, 0, 2) || !arg_rank(c, 1, 1)) return;
    if (arg_type(c, 1)->dim[0] != arg_type(c, 0)->dim[1])
        fail(c, SNL_E_SHAPE, "'@%s' has %lld elements, '@%s' has %lld columns", c->w->arg[1]->name,
             (ll)arg_type(c, 1)->dim[0], c->w->arg[0]->name, (ll)arg_type(c, 0)->dim[1]);
    else
        check_matrix(c, arg_type(c, 0)->dim[0], arg_type(c, 0)->dim[1]);
}

static void check_sinkhorn(const Check *c)
{
    if (!arg_rank(c, 0, 2)) return;
    int64_t rows = arg_type(c, 0)->dim[0];
    if (arg_type(c, 0)->dim[1] != rows)
        fail(c, SNL_E_SHAPE, "'@%s' is %s, wanted a square matrix", c->w->arg[0]->name,
             text_of(c, arg_type(c, 0)));
    else
        check_matrix(c, rows, rows);
}

static void check_softmax(const Check *c)
{
    if (arg_rank(c, 0, 1)) check_same(c);
}

static void check_matmul(const Check *c)
{
    if (!arg_rank(c, 0, 2) || !arg_rank(c, 1, 2)) return;
    const SnlType *a = arg_type(c, 0), *b = arg_type(c, 1);
    if (a->dim[1] != b->dim[0])
        fail(c, SNL_E_SHAPE, "inner sizes differ: '@%s' has %lld columns, '@%s' has %lld rows",
             c->w->arg[0]->name, (ll)a->dim[1], c->w->arg[1]->name, (ll)b->dim[0]);
    else
        check_matrix(c, a->dim[0], b->dim[1]);
}

typedef enum DtypeRule { ANY, LIKE_ARGS, F32_RESULT } DtypeRule;

typedef struct WexprRule {
    void (*shape)(const Check *c);
    DtypeRule dtype;
} WexprRule;

static const WexprRule rule_of[SNL_WEXPR_COUNT] = {
    [SNL_WEXPR_SOURCE] = {check_leaf, ANY},
    [SNL_WEXPR_FILL] = {check_leaf, ANY},
    [SNL_WEXPR_RANDOM] = {check_leaf, ANY},
    [SNL_WEXPR_CONCAT] = {check_concat, LIKE_ARGS},
    [SNL_WEXPR_SLICE] = {check_slice, LIKE_ARGS},
    [SNL_WEXPR_RESHAPE] = {check_reshape, LIKE_ARGS},
    [SNL_WEXPR_TRANSPOSE] = {check_transpose, LIKE_ARGS},
    [SNL_WEXPR_SCALE] = {check_same, F32_RESULT},
    [SNL_WEXPR_COLSCALE] = {check_colscale, F32_RESULT},
    [SNL_WEXPR_MEAN] = {check_same, F32_RESULT},
    [SNL_WEXPR_CAST] = {check_same, ANY},
    [SNL_WEXPR_SINKHORN] = {check_sinkhorn, F32_RESULT},
    [SNL_WEXPR_SOFTMAX] = {check_softmax, F32_RESULT},
    [SNL_WEXPR_MATMUL] = {check_matmul, F32_RESULT},
};

/* ---- what every expression has --------------------------------------------------------------- */

typedef struct WexprInfo {
    size_t min_args, max_args;
    bool streams;
} WexprInfo;

static const WexprInfo info_of[SNL_WEXPR_COUNT] = {
#define WEXPR(NAME, text, min_args, max_args, streams) {min_args, max_args, streams},
#include "ir/wexprs.def"
#undef WEXPR
};

static bool check_type(const Check *c)
{
    const SnlType *t = c->w->type;
    if (t->rank > 0 && !snl_type_has_t(t) && (snl_dtype_info[t->dtype].flags & SNL_DT_FLOAT))
        return true;
    snl_verify_fail(c->v, SNL_E_TYPE, c->w->loc, "weight '@%s': found %s, wanted a tensor of reals",
                    c->w->name, text_of(c, t));
    return false;
}

static bool check_args(const Check *c)
{
    const SnlWeight *w = c->w;
    const WexprInfo *info = &info_of[w->code];
    if (w->n_arg < info->min_args || w->n_arg > info->max_args) {
        fail(c, SNL_E_STRUCTURE, "takes %s%zu weights, found %zu",
             info->max_args > info->min_args ? "at least " : "", info->min_args, w->n_arg);
        return false;
    }
    for (size_t i = 0; i < w->n_arg; i++)
        if (w->arg[i]->id >= w->id || c->v->m->weights.at[w->arg[i]->id] != w->arg[i]) {
            fail(c, SNL_E_STRUCTURE, "'@%s' must be declared before it is used", w->arg[i]->name);
            return false;
        }
    return true;
}

static bool check_dtype(const Check *c)
{
    const SnlWeight *w = c->w;
    DtypeRule rule = rule_of[w->code].dtype;
    for (size_t i = 0; rule == LIKE_ARGS && i < w->n_arg; i++)
        if (w->arg[i]->type->dtype != w->type->dtype) {
            fail(c, SNL_E_TYPE, "'@%s' is %s, declared %s: wanted one element type (see cast)",
                 w->arg[i]->name, text_of(c, w->arg[i]->type), text_of(c, w->type));
            return false;
        }
    if (rule != F32_RESULT || w->type->dtype == SNL_F32) return true;
    fail(c, SNL_E_TYPE, "declared %s, it gives f32 (see cast)", text_of(c, w->type));
    return false;
}

/* Expressions that are evaluated whole: result and arguments are small. */
static bool check_small(const Check *c)
{
    const SnlWeight *w = c->w;
    if (info_of[w->code].streams) return true;
    for (size_t i = 0; i <= w->n_arg; i++) {
        const SnlType *t = i < w->n_arg ? w->arg[i]->type : w->type;
        if (snl_type_elems(t, 1) <= SNL_SMALL_WEIGHT / 4) continue;
        fail(c, SNL_E_SHAPE, "%s is too large to be evaluated whole: at most %lld elements",
             text_of(c, t), (ll)(SNL_SMALL_WEIGHT / 4));
        return false;
    }
    return true;
}

typedef struct Extent {
    uint32_t depth, nodes;
} Extent;

static bool check_extent(const Check *c, Extent *extent)
{
    const SnlWeight *w = c->w;
    Extent e = {1, 1};
    for (size_t i = 0; i < w->n_arg; i++) {
        const Extent *a = &extent[w->arg[i]->id];
        if (a->depth + 1 > e.depth) e.depth = a->depth + 1;
        e.nodes += a->nodes;
        if (e.nodes > MAX_NODES) e.nodes = MAX_NODES + 1;
    }
    extent[w->id] = e;
    if (e.depth <= MAX_DEPTH && e.nodes <= MAX_NODES) return true;
    fail(c, SNL_E_STRUCTURE, "expression of expressions: depth %u, %u parts, at most %d and %d",
         e.depth, e.nodes, MAX_DEPTH, MAX_NODES);
    /* What uses it starts anew: one message is enough. */
    extent[w->id] = (Extent){1, 1};
    return false;
}

void snl_verify_weights(SnlVerify *v)
{
    Extent *extent = SNL_NEW_ARRAY(v->scratch, Extent, v->m->weights.n);
    for (size_t i = 0; i < v->m->weights.n && !snl_verify_full(v); i++) {
        Check c = {v, v->m->weights.at[i]};
        if (!check_type(&c) || !check_args(&c)) continue;
        if (snl_weight_check_attrs(c.w, v->diag) != SNL_OK) {
            v->errors++;
            continue;
        }
        if (check_extent(&c, extent) && check_small(&c) && check_dtype(&c))
            rule_of[c.w->code].shape(&c);
    }
}
