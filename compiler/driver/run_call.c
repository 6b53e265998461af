/* compiler/driver/run_call.c -- `snlpc run`: one call, whose results are printed, compared and
 * written. */
#include "compiler/driver/run_session.h"

#include "compiler/driver/compare.h"
#include "compiler/driver/npy.h"

#include <inttypes.h>

static void print_tensor(size_t i, const SnlTensor *t)
{
    enum { SHOWN = 8 };
    int64_t n = snl_type_elems(t->type, t->n_tokens);
    printf("result %zu: ", i);
    snl_print_type(t->type, stdout);
    printf(" T = %" PRId64 ":", t->n_tokens);
    for (int64_t k = 0; k < n && k < SHOWN; k++) printf(" %.6g", t->at[k]);
    puts(n > SHOWN ? " ..." : "");
}

/* Where the code first rounds what it has computed in f32, and to what; NULL: nowhere. */
static const SnlOp *first_rounding(const SnlFunc *f, SnlDtype *out)
{
    for (const SnlOp *op = f->first; op; op = op->next) {
        bool caches = op->code == SNL_OP_KV_WRITE || op->code == SNL_OP_ATTENTION;
        *out = op->code == SNL_OP_CAST ? op->out[0]->type->dtype
               : caches                ? op->sym[0].state[0]->type->dtype
                                       : SNL_F32;
        if (*out != SNL_F32) return op;
    }
    return NULL;
}

static void explain_rounding(const SnlRunSession *s)
{
    SnlDtype dtype;
    const SnlOp *op = first_rounding(s->scheduled, &dtype);
    if (!op) return;
    snl_note(s->diag, op->loc,
             "'@%s' rounds to %s: a number that lies between two of that format moves by a step "
             "when its last bit differs, and what follows moves with it. Errors of this kind come "
             "and go with --seed, and have an nmse below 1e-4; a mistake stays",
             s->scheduled->name, snl_dtype_info[dtype].text);
}

static SnlStatus compare_result(SnlRunSession *s, int64_t call, size_t i, const SnlTensor *found,
                                const SnlTensor *wanted)
{
    SnlErrors e = snl_compare(found, wanted);
    double limit = s->run->limit > 0 ? s->run->limit : snl_compare_limit(s->compiled.module);
    bool good = !e.nan && e.relative <= limit;
    printf("call %" PRId64 " result %zu: ", call, i);
    snl_print_type(wanted->type, stdout);
    printf(" max abs %.3g, relative %.3g (limit %.3g), nmse %.3g%s\n", e.max_abs, e.relative, limit,
           e.nmse, good ? "" : "  FAILED");
    if (good) return SNL_OK;
    SnlStatus status =
        snl_error_at(s->diag, SNL_E_NUMERIC, s->run->path,
                     "'@%s' call %" PRId64 " result %zu, element %" PRId64 " (row %" PRId64
                     "): found %.9g, wanted %.9g (seed %" PRIu64 ")",
                     s->run->func, call, i, e.at, e.at / snl_type_row_elems(wanted->type),
                     found->at[e.at], wanted->at[e.at], s->run->seed);
    explain_rounding(s);
    return status;
}

static SnlStatus write_results(SnlRunSession *s, const SnlTensor *results)
{
    if (!s->run->out_prefix) return SNL_OK;
    for (size_t i = 0; i < s->func->n_result; i++) {
        const SnlType *type = results[i].type;
        int64_t dim[SNL_MAX_RANK];
        for (int k = 0; k < type->rank; k++)
            dim[k] = type->dim[k] == SNL_DIM_T ? s->tokens : type->dim[k];
        const char *path = snl_arena_printf(s->arena, "%s.%zu.npy", s->run->out_prefix, i);
        SNL_TRY(snl_npy_write(path, type->dtype, type->rank, dim, results[i].at, s->diag));
    }
    return SNL_OK;
}

/* Prints or compares what came out; `wanted` is the evaluator's, `found` the compiled code's. */
static SnlStatus show_results(SnlRunSession *s, int64_t call, const SnlTensor *found,
                              const SnlTensor *wanted)
{
    SnlStatus status = SNL_OK;
    for (size_t i = 0; i < s->func->n_result; i++) {
        if (s->run->compare) {
            SnlStatus compared = compare_result(s, call, i, &found[i], &wanted[i]);
            if (compared != SNL_OK) status = compared;
        } else {
            print_tensor(i, s->callable ? &found[i] : &wanted[i]);
        }
    }
    return status;
}

static SnlStatus one_call(SnlRunSession *s, SnlArena *scratch, int64_t call)
{
    const SnlFunc *f = s->func;
    SnlTensor *args = SNL_NEW_ARRAY(scratch, SnlTensor, f->n_param);
    SnlTensor *wanted = SNL_NEW_ARRAY(scratch, SnlTensor, f->n_result);
    SnlTensor *found = SNL_NEW_ARRAY(scratch, SnlTensor, f->n_result);
    SNL_TRY(
        snl_arguments_make(scratch, f, s->argument, s->tokens, s->run->seed, call, s->diag, args));
    if (s->eval) SNL_TRY(snl_eval_call(s->eval, f, args, NULL, s->tokens, wanted));
    if (s->callable)
        SNL_TRY(snl_callable_call(s->callable, scratch, args, s->tokens, s->diag, found));
    SNL_TRY(show_results(s, call, found, wanted));
    bool is_last = call + 1 == s->run->repeat;
    return is_last ? write_results(s, s->callable ? found : wanted) : SNL_OK;
}

SnlStatus snl_run_call(SnlRunSession *s, int64_t call)
{
    SnlArena *scratch = snl_arena_create();
    SnlStatus status = one_call(s, scratch, call);
    snl_arena_destroy(scratch);
    return status;
}
