/* compiler/frontend/build.c -- weights a family asks for, and the sizes it may ask for. */
#include "compiler/frontend/build.h"

#include "ir/base/checked.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

enum { SHOWN = 120, DEFAULT_CONTEXT = 4096 };

const char *snl_build_name(SnlBuild *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *name = snl_arena_vprintf(b->arena, fmt, args);
    va_end(args);
    return name;
}

/* ---- sizes ----------------------------------------------------------------------------------- */

bool snl_build_fits(SnlBuild *b, SnlJson config, const char *what, int64_t rows, int64_t cols)
{
    int64_t elems;
    if (snl_mul_i64(rows, cols, &elems) && elems <= SNL_MAX_ELEMS) return true;
    b->status =
        snl_json_fail(config, SNL_E_CONFIG,
                      "the %s would be %" PRId64 " x %" PRId64 " elements, wanted at most 2^40",
                      what, rows, cols);
    return false;
}

static void set_attributes(SnlBuild *b, const char *family)
{
    SnlModule *m = b->module;
    snl_attr_set_string(m, &m->attrs, "family", family);
    snl_attr_set_int(m, &m->attrs, "vocab", b->model->vocab);
    snl_attr_set_int(m, &m->attrs, "context", b->model->context);
    snl_attr_set_int(m, &m->attrs, "trained_context", b->model->trained_context);
}

SnlStatus snl_build_context(SnlBuild *b, SnlJson config, const char *family, int64_t cache_row)
{
    SnlModel *model = b->model;
    int64_t trained = model->trained_context;
    model->family = family;
    model->context = b->wanted_context;
    if (model->context == 0) model->context = trained < DEFAULT_CONTEXT ? trained : DEFAULT_CONTEXT;
    if (model->context > trained)
        snl_warning(b->diag, SNL_NO_LOC,
                    "a context of %" PRId64 " positions is longer than the %" PRId64
                    " that the model was trained with",
                    model->context, trained);
    if (!snl_build_fits(b, config, "cache of a layer", model->context, cache_row)) return b->status;
    set_attributes(b, family);
    return SNL_OK;
}

/* ---- weights --------------------------------------------------------------------------------- */

static const char *wanted_shape(SnlBuild *b, int rank, const int64_t *dim)
{
    if (rank == 1) return snl_build_name(b, "[%" PRId64 "]", dim[0]);
    return snl_build_name(b, "[%" PRId64 ", %" PRId64 "]", dim[0], dim[1]);
}

static void refuse_tensor(SnlBuild *b, const char *place, const char *tensor, const char *found,
                          int rank, const int64_t *dim)
{
    if (b->status != SNL_OK) return;
    b->status = snl_error_at(b->diag, SNL_E_TENSOR, place, "tensor '%s': found %s, wanted %s",
                             tensor, found, wanted_shape(b, rank, dim));
}

/* The stored element type of `tensor`, after holding its shape against the wanted one. */
static SnlDtype check_tensor(SnlBuild *b, const char *tensor, int rank, const int64_t *dim)
{
    if (!b->files) return b->random_dtype;
    SnlWeightEntry *entry = snl_weight_files_find(b->files, tensor);
    if (!entry) {
        refuse_tensor(b, snl_weight_files_place(b->files), tensor, "none", rank, dim);
        return SNL_F32;
    }
    entry->used = true;
    const SnlSafetensor *found = entry->tensor;
    bool same = found->rank == rank;
    for (int i = 0; i < rank && same; i++) same = found->dim[i] == dim[i];
    const char *what = snl_build_name(b, "%.*s %s", SHOWN, found->dtype_text, found->shape_text);
    if (same && !found->known)
        what = snl_build_name(b,
                              "%s, an element type that snlpc does not read (F32, BF16 and F16 "
                              "are)",
                              what);
    if (!same || !found->known) refuse_tensor(b, entry->path, tensor, what, rank, dim);
    return found->known ? found->dtype : SNL_F32;
}

static SnlWeight *declare(SnlBuild *b, const char *name, const char *tensor, int rank,
                          const int64_t *dim)
{
    SnlDtype dtype = check_tensor(b, tensor, rank, dim);
    const SnlWeightEntry *entry = b->files ? snl_weight_files_find(b->files, tensor) : NULL;
    const SnlType *type = snl_type(b->module, dtype, rank, dim);
    b->model->n_params += snl_type_elems(type, 1);
    return snl_weight_source(b->module, name, type, entry ? entry->file : "model.safetensors",
                             tensor);
}

SnlWeight *snl_build_vector(SnlBuild *b, const char *name, const char *tensor, int64_t n)
{
    return declare(b, name, tensor, 1, &n);
}

SnlWeight *snl_build_matrix(SnlBuild *b, const char *name, const char *tensor, int64_t rows,
                            int64_t cols)
{
    int64_t dim[] = {rows, cols};
    return declare(b, name, tensor, 2, dim);
}

void snl_build_unused(SnlBuild *b, const char *tensor)
{
    SnlWeightEntry *entry = b->files ? snl_weight_files_find(b->files, tensor) : NULL;
    if (entry) entry->used = true;
}

void snl_build_unused_prefix(SnlBuild *b, const char *prefix)
{
    for (size_t i = 0; b->files && i < snl_weight_files_count(b->files); i++) {
        SnlWeightEntry *entry = snl_weight_files_at(b->files, i);
        if (strncmp(entry->tensor->name, prefix, strlen(prefix)) == 0) entry->used = true;
    }
}

SnlStatus snl_build_check_extra(SnlBuild *b)
{
    if (b->status != SNL_OK || !b->files) return b->status;
    const SnlWeightEntry *first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < snl_weight_files_count(b->files); i++) {
        const SnlWeightEntry *entry = snl_weight_files_at(b->files, i);
        if (entry->used) continue;
        if (!first) first = entry;
        n++;
    }
    if (!first) return SNL_OK;
    const char *more = n > 1 ? snl_build_name(b, " (and %zu more)", n - 1) : "";
    b->status =
        snl_error_at(b->diag, SNL_E_TENSOR, first->path,
                     "tensor '%.*s' %s%s: found, but a %s model with this configuration "
                     "has no such tensor",
                     SHOWN, first->tensor->name, first->tensor->shape_text, more, b->model->family);
    return b->status;
}

SnlWeight *snl_build_expr(SnlBuild *b, const char *name, SnlWexprCode code, SnlWeight *arg,
                          int rank, int64_t rows, int64_t cols)
{
    int64_t dim[] = {rows, cols};
    bool rearranges = code == SNL_WEXPR_SLICE || code == SNL_WEXPR_RESHAPE;
    SnlDtype dtype = rearranges ? arg->type->dtype : SNL_F32;
    const SnlType *type = snl_type(b->module, dtype, rank, dim);
    return snl_weight_expr(b->module, name, type, code, &arg, 1);
}

SnlWeight *snl_build_rows(SnlBuild *b, const char *name, SnlWeight *of, int64_t begin, int64_t end)
{
    int64_t cols = of->type->rank == 2 ? of->type->dim[1] : 1;
    SnlWeight *w = snl_build_expr(b, name, SNL_WEXPR_SLICE, of, of->type->rank, end - begin, cols);
    snl_attr_set_int(b->module, &w->attrs, "axis", 0);
    snl_attr_set_int(b->module, &w->attrs, "begin", begin);
    snl_attr_set_int(b->module, &w->attrs, "end", end);
    return w;
}
