/* ir/weights_check.c -- what is checked before elements of weights are read: the size of the
 * expression, and that the tensors are there with the declared shapes. */
#include "ir/weights_internal.h"

#include "ir/base/checked.h"

#include <stdlib.h>

/* Limits of one expression, arguments of arguments counted as often as they are named. */
enum { MAX_DEPTH = 64, MAX_NODES = 1 << 16, MAX_SINKHORN_ITERS = 1000 };

typedef struct WexprInfo {
    const char *text;
    bool streams;
} WexprInfo;

static const WexprInfo wexpr_info[SNL_WEXPR_COUNT] = {
#define WEXPR(NAME, text, min_args, max_args, streams) {text, streams},
#include "ir/wexprs.def"
#undef WEXPR
};

/* ---- one expression -------------------------------------------------------------------------- */

typedef struct Check {
    SnlWeightSource *source;
    SnlDiag *diag;
    bool shapes; /* tensors must have the declared shape; without it, as many elements */
    int nodes;
} Check;

void snl_shape_text(int rank, const int64_t *dim, char *out)
{
    size_t n = SNL_SHAPE_TEXT, used = (size_t)snprintf(out, n, "[");
    for (int i = 0; i < rank; i++)
        used += (size_t)snprintf(out + used, n - used, "%s%lld", i ? ", " : "", (long long)dim[i]);
    snprintf(out + used, n - used, "]");
}

static bool same_shape(const SnlTensorInfo *info, const SnlType *type)
{
    bool same = info->rank == type->rank;
    for (int i = 0; same && i < info->rank; i++) same = info->dim[i] == type->dim[i];
    return same;
}

static bool same_elems(const SnlTensorInfo *info, const SnlWeight *w)
{
    int64_t n = 1;
    for (int i = 0; i < info->rank; i++)
        if (!snl_mul_i64(n, info->dim[i], &n)) return false;
    return n == snl_weight_elems(w);
}

static SnlStatus check_source(const Check *check, const SnlWeight *w)
{
    SnlWeightSource *source = check->source;
    if (!source)
        return snl_error(check->diag, SNL_E_TENSOR, w->loc,
                         "weight '@%s': no source of tensors is open, wanted '%s' of '%s'", w->name,
                         w->tensor, w->file);
    SnlTensorInfo info;
    SnlStatus status = source->find(source, w->file, w->tensor, check->diag, &info);
    if (status != SNL_OK) {
        const char *hint = status == SNL_MACHINE ? "; its file is looked for from here" : "";
        if (w->loc.source)
            snl_note(check->diag, w->loc, "weight '@%s' is declared here%s", w->name, hint);
        return status;
    }
    if (source->shapeless) return SNL_OK;
    if (check->shapes ? same_shape(&info, w->type) : same_elems(&info, w)) return SNL_OK;
    char found[SNL_SHAPE_TEXT], wanted[SNL_SHAPE_TEXT];
    snl_shape_text(info.rank, info.dim, found);
    snl_shape_text(w->type->rank, w->type->dim, wanted);
    if (!*w->tensor) /* a file that is one array */
        return snl_error(check->diag, SNL_E_TENSOR, w->loc,
                         "weight '@%s': shape of '%s': found %s, wanted %s", w->name, w->file,
                         found, wanted);
    return snl_error(check->diag, SNL_E_TENSOR, w->loc,
                     "weight '@%s': shape of tensor '%s' in '%s': found %s, wanted %s", w->name,
                     w->tensor, w->file, found, wanted);
}

/* Small enough to be held whole. */
static SnlStatus check_small(const Check *check, const SnlWeight *whole, const SnlWeight *w)
{
    if (snl_weight_elems(w) <= SNL_MAX_SCRATCH) return SNL_OK;
    return snl_error(check->diag, SNL_E_UNSUPPORTED, whole->loc,
                     "weight '@%s': '@%s' has %lld elements, but %s is evaluated whole: wanted at "
                     "most %lld",
                     whole->name, w->name, (long long)snl_weight_elems(w),
                     wexpr_info[whole->code].text, (long long)SNL_MAX_SCRATCH);
}

static SnlStatus check_node(const Check *check, const SnlWeight *w)
{
    bool movable = w->code == SNL_WEXPR_SOURCE || w->code == SNL_WEXPR_CAST;
    if (!movable && snl_dtype_is_blocked(w->type->dtype))
        return snl_error(check->diag, SNL_E_UNSUPPORTED, w->loc,
                         "weight '@%s': %s cannot make blocks of %s, only cast can", w->name,
                         wexpr_info[w->code].text, snl_dtype_info[w->type->dtype].text);
    int64_t iters = snl_attr_int(&w->attrs, "iters", 0);
    if (w->code == SNL_WEXPR_SINKHORN && iters > MAX_SINKHORN_ITERS)
        return snl_error(check->diag, SNL_E_ATTR, w->loc,
                         "sinkhorn: iters: found %lld, wanted at most %d", (long long)iters,
                         MAX_SINKHORN_ITERS);
    if (wexpr_info[w->code].streams) return SNL_OK;
    SNL_TRY(check_small(check, w, w));
    for (size_t i = 0; i < w->n_arg; i++) SNL_TRY(check_small(check, w, w->arg[i]));
    return SNL_OK;
}

static SnlStatus check_expr(Check *check, const SnlWeight *w, int depth)
{
    if (depth > MAX_DEPTH || ++check->nodes > MAX_NODES)
        return snl_error(check->diag, SNL_E_UNSUPPORTED, w->loc,
                         "weight '@%s': the expression around it is too large: wanted at most %d "
                         "levels and %d weights, each counted as often as it is named",
                         w->name, MAX_DEPTH, MAX_NODES);
    SNL_TRY(check_node(check, w));
    if (w->code == SNL_WEXPR_SOURCE) SNL_TRY(check_source(check, w));
    for (size_t i = 0; i < w->n_arg; i++) SNL_TRY(check_expr(check, w->arg[i], depth + 1));
    return SNL_OK;
}

SnlStatus snl_weight_check(const SnlWeight *w, SnlWeightSource *source, bool shapes, SnlDiag *diag)
{
    Check check = {.source = source, .diag = diag, .shapes = shapes};
    return check_expr(&check, w, 0);
}

/* ---- whole modules --------------------------------------------------------------------------- */

static void mark_attr(const SnlAttrValue *value, bool *used)
{
    if (value->kind == SNL_ATTR_WEIGHT) used[value->weight->id] = true;
    if (value->kind == SNL_ATTR_LIST)
        for (size_t i = 0; i < value->list.n; i++) mark_attr(&value->list.at[i], used);
}

static void mark_op(const SnlOp *op, bool *used)
{
    for (int g = 0; g < SNL_MAX_GROUPS; g++)
        for (size_t i = 0; op->sym[g].weight && i < op->sym[g].n; i++)
            used[op->sym[g].weight[i]->id] = true;
    for (size_t i = 0; i < op->attrs.n; i++) mark_attr(&op->attrs.at[i].value, used);
}

/* Weights that functions name; not those that only other weights name. */
static void mark_used(const SnlModule *m, bool *used)
{
    for (const SnlFunc *func = m->first; func; func = func->next) {
        if (func->surrogate_weight) used[func->surrogate_weight->id] = true;
        for (const SnlOp *op = func->first; op; op = op->next) mark_op(op, used);
    }
}

SnlStatus snl_weights_check(const SnlModule *m, SnlWeightSource *source, SnlDiag *diag)
{
    bool *used = snl_xmalloc(m->weights.n);
    for (size_t i = 0; i < m->weights.n; i++) used[i] = false;
    mark_used(m, used);
    SnlStatus first = SNL_OK;
    for (size_t i = 0; i < m->weights.n; i++) {
        if (!used[i]) continue;
        SnlStatus status = snl_weight_check(m->weights.at[i], source, true, diag);
        if (first == SNL_OK) first = status;
        if (status == SNL_MACHINE) break; /* a file that cannot be read: told once, not by weight */
    }
    free(used);
    return first;
}

/* Collects the types of what is declared narrower than f32, which has such numbers wherever they
 * come from (random ones have no other type), and of the other SOURCE leaves; SNL_DTYPE_COUNT: none
 * seen yet. */
static SnlStatus collect_dtype(const SnlWeight *w, SnlWeightSource *source, SnlDiag *diag,
                               SnlDtype *inout_dtype)
{
    SnlTensorInfo info = {.dtype = w->type->dtype};
    if (info.dtype == SNL_F32) {
        for (size_t i = 0; i < w->n_arg; i++)
            SNL_TRY(collect_dtype(w->arg[i], source, diag, inout_dtype));
        if (w->code != SNL_WEXPR_SOURCE) return SNL_OK;
        SNL_TRY(source->find(source, w->file, w->tensor, diag, &info));
    }
    bool agrees = *inout_dtype == SNL_DTYPE_COUNT || *inout_dtype == info.dtype;
    *inout_dtype = agrees ? info.dtype : SNL_F32;
    return SNL_OK;
}

SnlStatus snl_weight_stored_dtype(const SnlWeight *w, SnlWeightSource *source, SnlDiag *diag,
                                  SnlDtype *out)
{
    SNL_TRY(snl_weight_check(w, source, false, diag)); /* bounds the walk below */
    SnlDtype dtype = SNL_DTYPE_COUNT;
    SNL_TRY(collect_dtype(w, source, diag, &dtype));
    *out = dtype == SNL_DTYPE_COUNT ? SNL_F32 : dtype;
    return SNL_OK;
}
