/* compiler/driver/arguments.c -- texts of the command line to tensors. */
#include "compiler/driver/arguments.h"

#include "compiler/driver/npy.h"
#include "ir/base/checked.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- texts ----------------------------------------------------------------------------------- */

static bool is_index(const SnlValue *param) { return param->type->dtype == SNL_INDEX; }

static SnlStatus parse_value(const SnlValue *param, const char *text, SnlDiag *diag,
                             SnlArgument *out)
{
    if (is_index(param)) {
        out->kind = SNL_ARGUMENT_NUMBER;
        if (snl_parse_i64(text, 0, SNL_MAX_ELEMS, &out->number)) return SNL_OK;
        return snl_error_at(diag, SNL_E_USAGE, NULL,
                            "argument of '%%%s': found '%s', wanted a position from 0",
                            param->name, text);
    }
    if (strcmp(text, "random") == 0) {
        out->kind = SNL_ARGUMENT_RANDOM;
        return SNL_OK;
    }
    size_t n = strlen(text);
    out->kind = SNL_ARGUMENT_FILE;
    out->path = text;
    if (n > 4 && strcmp(text + n - 4, ".npy") == 0) return SNL_OK;
    return snl_error_at(diag, SNL_E_USAGE, NULL,
                        "argument of '%%%s': found '%s', wanted random or a .npy file",
                        param->name, text);
}

/* Index of the parameter that `NAME=VALUE` names; -1: the text is a value by position. */
static SnlStatus find_named(const SnlFunc *func, const char *text, SnlDiag *diag, int64_t *out,
                            const char **out_value)
{
    const char *equals = strchr(text, '=');
    *out = -1;
    *out_value = text;
    if (!equals) return SNL_OK;
    if (*text == '%') text++;
    size_t n = (size_t)(equals - text);
    for (size_t i = 0; i < func->n_param; i++) {
        if (strlen(func->param[i]->name) != n || memcmp(func->param[i]->name, text, n) != 0)
            continue;
        *out = (int64_t)i;
        *out_value = equals + 1;
        return SNL_OK;
    }
    return snl_error_at(diag, SNL_E_USAGE, NULL, "'@%s' has no parameter '%%%.*s'", func->name,
                        (int)n, text);
}

SnlStatus snl_arguments_parse(const SnlFunc *func, char *const *text, size_t n, SnlDiag *diag,
                              SnlArgument *out)
{
    size_t next = 0;
    for (size_t i = 0; i < func->n_param; i++)
        out[i] = (SnlArgument){.kind = is_index(func->param[i]) ? SNL_ARGUMENT_NUMBER
                                                                : SNL_ARGUMENT_RANDOM};
    for (size_t i = 0; i < n; i++) {
        int64_t index;
        const char *value;
        SNL_TRY(find_named(func, text[i], diag, &index, &value));
        if (index < 0) index = (int64_t)next++;
        if ((size_t)index >= func->n_param)
            return snl_error_at(diag, SNL_E_USAGE, NULL,
                                "'@%s' takes %zu arguments: found one more, '%s'", func->name,
                                func->n_param, text[i]);
        SNL_TRY(parse_value(func->param[index], value, diag, &out[index]));
    }
    return SNL_OK;
}

/* ---- tensors --------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t *inout_state) /* splitmix64 */
{
    uint64_t z = *inout_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* In (0, 1]. */
static double uniform(uint64_t *inout_state)
{
    return ((double)(mix(inout_state) >> 11) + 1.0) * 0x1p-53;
}

static float normal(uint64_t *inout_state) /* Box-Muller */
{
    const double two_pi = 6.283185307179586;
    double radius = sqrt(-2.0 * log(uniform(inout_state)));
    return (float)(radius * cos(two_pi * uniform(inout_state)));
}

/* Rows of the smallest embedding: every id below it is valid everywhere. */
static int64_t vocabulary(const SnlModule *m)
{
    int64_t least = INT64_MAX;
    for (const SnlFunc *f = m->first; f; f = f->next)
        for (const SnlOp *op = f->first; op; op = op->next)
            if (op->code == SNL_OP_EMBED && snl_op_weight(op, 0)->type->dim[0] < least)
                least = snl_op_weight(op, 0)->type->dim[0];
    return least == INT64_MAX ? 256 : least;
}

static void fill_random(const SnlFunc *func, SnlTensor *t, uint64_t state)
{
    int64_t n = snl_type_elems(t->type, t->n_tokens);
    int64_t ids = t->type->dtype == SNL_I32 ? vocabulary(func->module) : 0;
    for (int64_t i = 0; i < n; i++)
        t->at[i] = ids ? (double)(mix(&state) % (uint64_t)ids) : (double)normal(&state);
}

static bool same_shape(const SnlNpy *npy, const SnlType *type, int64_t n_tokens)
{
    if (npy->rank != type->rank) return false;
    for (int i = 0; i < type->rank; i++)
        if (npy->dim[i] != (type->dim[i] == SNL_DIM_T ? n_tokens : type->dim[i])) return false;
    return true;
}

static char *npy_shape(SnlArena *arena, const SnlNpy *npy)
{
    char *text = snl_arena_strdup(arena, "[");
    for (int i = 0; i < npy->rank; i++)
        text = snl_arena_printf(arena, "%s%s%" PRId64, text, i ? ", " : "", npy->dim[i]);
    return snl_arena_printf(arena, "%s]", text);
}

/* Ids are counted; the evaluator says which of them are none of the model's. */
static SnlStatus check_whole(const SnlValue *param, const SnlNpy *npy, int64_t n, const char *path,
                             SnlDiag *diag)
{
    for (int64_t i = 0; i < n; i++) {
        double x = npy->at[i];
        if (x == floor(x) && fabs(x) <= INT32_MAX) continue;
        return snl_error_at(diag, SNL_E_FORMAT, path,
                            "argument of '%%%s', element %" PRId64 ": found %g, wanted a whole "
                            "number: it is an i32",
                            param->name, i, x);
    }
    return SNL_OK;
}

static SnlStatus read_tensor(SnlArena *arena, const SnlValue *param, const char *path,
                             SnlDiag *diag, SnlTensor *out)
{
    SnlNpy npy;
    SNL_TRY(snl_npy_read(arena, path, diag, &npy));
    if (!same_shape(&npy, out->type, out->n_tokens))
        return snl_error_at(diag, SNL_E_SHAPE, path,
                            "argument of '%%%s': found shape %s, wanted %s with T = %" PRId64,
                            param->name, npy_shape(arena, &npy), snl_type_text(arena, out->type),
                            out->n_tokens);
    if (out->type->dtype == SNL_I32)
        SNL_TRY(check_whole(param, &npy, snl_type_elems(out->type, out->n_tokens), path, diag));
    out->at = npy.at;
    return SNL_OK;
}

SnlStatus snl_arguments_make(SnlArena *arena, const SnlFunc *func, const SnlArgument *argument,
                             int64_t n_tokens, uint64_t seed, int64_t call, SnlDiag *diag,
                             SnlTensor *out)
{
    for (size_t i = 0; i < func->n_param; i++) {
        const SnlType *type = func->param[i]->type;
        int64_t n = snl_type_elems(type, n_tokens);
        out[i] = (SnlTensor){type, n_tokens, NULL};
        if (argument[i].kind == SNL_ARGUMENT_FILE) {
            SNL_TRY(read_tensor(arena, func->param[i], argument[i].path, diag, &out[i]));
            continue;
        }
        out[i].at = SNL_NEW_ARRAY(arena, double, (size_t)n);
        uint64_t state = seed;
        state = mix(&state) + i;
        state = mix(&state) + (uint64_t)call;
        if (argument[i].kind == SNL_ARGUMENT_NUMBER)
            out[i].at[0] = (double)(argument[i].number + call * n_tokens);
        else
            fill_random(func, &out[i], state);
    }
    return SNL_OK;
}

SnlStatus snl_arguments_tokens(const SnlFunc *func, const SnlArgument *argument, int64_t given,
                               SnlDiag *diag, int64_t *out)
{
    SnlArena *scratch = snl_arena_create();
    SnlStatus status = SNL_OK;
    int64_t tokens = given;
    for (size_t i = 0; i < func->n_param && status == SNL_OK; i++) {
        if (argument[i].kind != SNL_ARGUMENT_FILE || !snl_type_has_t(func->param[i]->type))
            continue;
        SnlNpy npy;
        status = snl_npy_read(scratch, argument[i].path, diag, &npy);
        if (status != SNL_OK) break;
        int64_t found = npy.rank ? npy.dim[0] : 0;
        if (tokens && found != tokens)
            status = snl_error_at(diag, SNL_E_SHAPE, argument[i].path,
                                  "argument of '%%%s': found T = %" PRId64 ", wanted %" PRId64
                                  " as elsewhere",
                                  func->param[i]->name, found, tokens);
        tokens = found;
    }
    snl_arena_destroy(scratch);
    *out = tokens ? tokens : 1;
    return status;
}
