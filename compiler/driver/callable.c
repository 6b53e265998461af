/* compiler/driver/callable.c -- code, weights, states and workspace of one function, in this
 * process. */
#include "compiler/driver/callable.h"

#include "codegen/link.h"
#include "compiler/driver/emergency.h"

#include <dlfcn.h>
#include <errno.h>
#include <ffi.h>
#include <stdlib.h>
#include <string.h>

static const char symbol[] = "snl_called", step_symbol[] = "snl_called.step";

typedef void Code(void);

/* One call's arguments as compiled code takes them. */
typedef struct Call {
    SnlrtCtx *ctx;
    int64_t n_tokens;
    SnlrtArg *memory; /* parameters, then results */
    void **values;    /* of libffi */
} Call;

struct SnlCallable {
    const SnlFunc *func;
    void *library;
    Code *code;
    SnlrtStep *step;
    SnlCallInfo info;
    uint8_t *weights, *state, *work;
    Call prepared; /* what snl_callable_prepare gave out; n_tokens = 0: nothing */
    ffi_cif cif;
    ffi_type **types; /* ctx, n_tokens, parameters, results */
};

/* ---- making it ------------------------------------------------------------------------------- */

/* 64-byte aligned, zeroed, never NULL. */
static void *aligned_zeros(int64_t nbytes)
{
    size_t n = ((size_t)nbytes + 127) / 64 * 64;
    void *memory = aligned_alloc(64, n);
    if (!memory) return snl_xmalloc(SIZE_MAX); /* reports and ends like the arena does */
    return memset(memory, 0, n);
}

typedef struct Fill {
    uint8_t *at;
} Fill;

static SnlStatus fill(void *user, const void *bytes, size_t nbytes)
{
    Fill *f = user;
    memcpy(f->at, bytes, nbytes);
    f->at += nbytes;
    return SNL_OK;
}

static SnlStatus load(SnlCallable *c, const char *path, SnlDiag *diag)
{
    c->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *address = c->library ? dlsym(c->library, symbol) : NULL;
    if (!address)
        return snl_error_at(diag, SNL_E_INTERNAL, NULL, "cannot load the compiled function: %s",
                            dlerror());
    memcpy(&c->code, &address, sizeof address); /* POSIX: a function pointer in a void * */
    address = dlsym(c->library, step_symbol);
    SNL_ASSERT(address);
    memcpy(&c->step, &address, sizeof address);
    return SNL_OK;
}

static SnlStatus compile(SnlCallable *c, SnlArena *arena, const SnlModule *m,
                         const SnlPayload *payload, const SnlTargetOptions *target, SnlDiag *diag)
{
    SnlTargetOptions shared = *target;
    shared.pic = true;
    const char *object = snl_emergency_path(arena, "call.o");
    const char *library = snl_emergency_path(arena, "call.so");
    SNL_TRY(snl_emit_callable(m, c->func, payload, symbol, &shared, SNL_EMIT_OBJ, object, diag,
                              &c->info));
    SNL_TRY(snl_link_shared(object, library, diag));
    SNL_TRY(load(c, library, diag));
    c->state = aligned_zeros(c->info.state_bytes);
    c->work = aligned_zeros(c->info.shared_bytes + c->info.private_bytes);
    return SNL_OK;
}

/* void code(SnlrtCtx *, int64_t n_tokens, p0, p1, ..., r0, r1, ...) */
static SnlStatus prepare_signature(SnlCallable *c, SnlArena *arena, SnlDiag *diag)
{
    const SnlFunc *f = c->func;
    size_t n = 2 + f->n_param + f->n_result;
    c->types = SNL_NEW_ARRAY(arena, ffi_type *, n);
    for (size_t i = 0; i < n; i++) c->types[i] = &ffi_type_pointer;
    c->types[1] = &ffi_type_sint64;
    for (size_t i = 0; i < f->n_param; i++)
        if (f->param[i]->type->dtype == SNL_INDEX) c->types[2 + i] = &ffi_type_sint64;
    if (ffi_prep_cif(&c->cif, FFI_DEFAULT_ABI, (unsigned)n, &ffi_type_void, c->types) == FFI_OK)
        return SNL_OK;
    return snl_error_at(diag, SNL_E_INTERNAL, NULL, "libffi refuses the signature of '@%s'",
                        f->name);
}

static SnlStatus create(SnlCallable *c, SnlArena *arena, const SnlModule *m, SnlFunc *func,
                        SnlWeightSource *source, const SnlTargetOptions *target, SnlDiag *diag)
{
    SnlPayload payload;
    SNL_TRY(snl_payload_plan(arena, m, &func, 1, diag, &payload));
    c->weights = aligned_zeros(payload.nbytes);
    Fill to = {c->weights};
    SNL_TRY(snl_payload_write(&payload, source, diag, fill, &to, NULL, NULL, NULL));
    SNL_TRY(prepare_signature(c, arena, diag));
    SNL_TRY(snl_emergency_make_folder(arena, diag));
    SnlStatus status = compile(c, arena, m, &payload, target, diag);
    snl_emergency_remove_folder();
    return status;
}

SnlStatus snl_callable_create(SnlArena *arena, const SnlModule *m, SnlFunc *func,
                              SnlWeightSource *source, const SnlTargetOptions *target,
                              SnlDiag *diag, SnlCallable **out)
{
    SnlCallable *c = SNL_NEW(arena, SnlCallable);
    c->func = func;
    SnlStatus status = create(c, arena, m, func, source, target, diag);
    if (status != SNL_OK) {
        snl_callable_destroy(c);
        c = NULL;
    }
    *out = c;
    return status;
}

/* ---- calling it ------------------------------------------------------------------------------ */

/* The dense array that compiled code reads: i32 for ids, f32 for everything else. */
static void *dense_from(const SnlTensor *t, int64_t n)
{
    bool ids = t->type->dtype == SNL_I32;
    float *reals = aligned_zeros(n * 4);
    int32_t *ints = (int32_t *)(void *)reals;
    for (int64_t i = 0; i < n; i++) {
        if (ids)
            ints[i] = (int32_t)t->at[i];
        else
            reals[i] = (float)t->at[i];
    }
    return reals;
}

/* `result` came back from compiled code. */
static SnlTensor tensor_from(SnlArena *arena, const SnlType *type, int64_t n_tokens,
                             const float *result)
{
    int64_t n = snl_type_elems(type, n_tokens);
    SnlTensor t = {type, n_tokens, SNL_NEW_ARRAY(arena, double, (size_t)n)};
    for (int64_t i = 0; i < n; i++) t.at[i] = (double)result[i];
    return t;
}

/* What does not write all of its results is found out by the NaNs left in them. */
static void *result_buffer(int64_t n)
{
    float *memory = aligned_zeros(n * 4);
    for (int64_t i = 0; i < n; i++) memory[i] = (float)__builtin_nan("");
    return memory;
}

/* The number or the ids that `v` stands for; NULL: no parameter. */
static const SnlTensor *argument_of(const SnlFunc *f, const SnlValue *v, const SnlTensor *args)
{
    for (size_t i = 0; i < f->n_param; i++)
        if (f->param[i] == v) return &args[i];
    return NULL;
}

static SnlStatus check_ids(const SnlOp *op, const SnlTensor *ids, int64_t n, SnlDiag *diag)
{
    int64_t vocab = snl_op_weight(op, 0)->type->dim[0];
    for (int64_t t = 0; t < n; t++)
        if (!(ids->at[t] >= 0 && ids->at[t] < (double)vocab))
            return snl_error(
                diag, SNL_E_NUMERIC, op->loc,
                "embed: token id of row %lld out of range: found %.17g, wanted 0 to %lld",
                (long long)t, ids->at[t], (long long)(vocab - 1));
    return SNL_OK;
}

static SnlStatus check_position(const SnlOp *op, const SnlTensor *pos, int64_t n, SnlDiag *diag)
{
    int64_t context = op->sym[0].state[0]->type->dim[2];
    if (pos->at[0] >= 0 && pos->at[0] <= (double)(context - n)) return SNL_OK;
    if (n > context)
        return snl_error(diag, SNL_E_NUMERIC, op->loc,
                         "%s: tokens of the call: found %lld, wanted at most %lld, the positions "
                         "that '@%s' holds",
                         snl_op_info[op->code].text, (long long)n, (long long)context,
                         op->sym[0].state[0]->name);
    return snl_error(diag, SNL_E_NUMERIC, op->loc, "%s: position: found %.17g, wanted 0 to %lld",
                     snl_op_info[op->code].text, pos->at[0], (long long)(context - n));
}

/* Compiled code takes its arguments as they are: what would lead it out of a table or a cache is
 * refused here. (The evaluator checks as it goes.) */
static SnlStatus check_arguments(const SnlFunc *f, const SnlTensor *args, int64_t n, SnlDiag *diag)
{
    for (const SnlOp *op = f->first; op; op = op->next) {
        bool writes = op->code == SNL_OP_KV_WRITE, attends = snl_op_attends(op);
        if (op->code == SNL_OP_EMBED)
            SNL_TRY(check_ids(op, argument_of(f, snl_in(op, 0), args), n, diag));
        else if (writes || attends)
            SNL_TRY(check_position(op, argument_of(f, snl_in(op, writes ? 2 : 3), args),
                                   writes ? n : 0, diag));
    }
    return SNL_OK;
}

static SnlStatus check_call(const SnlFunc *f, const SnlTensor *args, int64_t n_tokens,
                            SnlDiag *diag)
{
    int64_t most = snl_attr_int(&f->attrs, "tokens", 1);
    if (n_tokens < 1 || n_tokens > most)
        return snl_error_at(diag, SNL_E_SHAPE, NULL,
                            "'@%s' is compiled for 1 to %lld tokens, called with %lld", f->name,
                            (long long)most, (long long)n_tokens);
    return check_arguments(f, args, n_tokens, diag);
}

/* Fills `call`, whose place must not change, and the context that it points to. */
static void prepare_call(const SnlCallable *c, SnlArena *arena, const SnlTensor *args, Call *call)
{
    const SnlFunc *f = c->func;
    size_t n = f->n_param + f->n_result;
    call->memory = SNL_NEW_ARRAY(arena, SnlrtArg, n);
    for (size_t i = 0; i < f->n_param; i++) {
        if (args[i].type->dtype == SNL_INDEX)
            call->memory[i].index = (int64_t)args[i].at[0];
        else
            call->memory[i].ptr =
                dense_from(&args[i], snl_type_elems(args[i].type, call->n_tokens));
    }
    for (size_t i = 0; i < f->n_result; i++)
        call->memory[f->n_param + i].ptr =
            result_buffer(snl_type_elems(f->result[i], call->n_tokens));
    *call->ctx = (SnlrtCtx){.weights = c->weights,
                            .state = c->state,
                            .work = c->work,
                            .args = SNL_NEW_ARRAY(arena, SnlrtArg, n),
                            .n_tokens = call->n_tokens,
                            .n_threads = 1};
    call->values = SNL_NEW_ARRAY(arena, void *, 2 + n);
    call->values[0] = &call->ctx;
    call->values[1] = &call->n_tokens;
    for (size_t i = 0; i < n; i++) call->values[2 + i] = &call->memory[i];
}

static void free_call(const SnlFunc *f, Call *call)
{
    for (size_t i = 0; i < f->n_param + f->n_result; i++)
        if (i >= f->n_param || f->param[i]->type->dtype != SNL_INDEX) free(call->memory[i].ptr);
}

SnlStatus snl_callable_call(SnlCallable *c, SnlArena *arena, const SnlTensor *args,
                            int64_t n_tokens, SnlDiag *diag, SnlTensor *out_results)
{
    const SnlFunc *f = c->func;
    SnlrtCtx ctx;
    Call call = {.ctx = &ctx, .n_tokens = n_tokens};
    SNL_TRY(check_call(f, args, n_tokens, diag));
    prepare_call(c, arena, args, &call);
    ffi_call(&c->cif, c->code, NULL, call.values);
    for (size_t i = 0; i < f->n_result; i++)
        out_results[i] =
            tensor_from(arena, f->result[i], n_tokens, call.memory[f->n_param + i].ptr);
    free_call(f, &call);
    return SNL_OK;
}

/* ---- for those who time it ------------------------------------------------------------------- */

SnlStatus snl_callable_prepare(SnlCallable *c, SnlArena *arena, const SnlTensor *args,
                               int64_t n_tokens, int64_t n_threads, SnlDiag *diag,
                               SnlrtStep **out_step, SnlrtCtx *out_ctx)
{
    SNL_ASSERT(!c->prepared.n_tokens);
    SNL_TRY(check_call(c->func, args, n_tokens, diag));
    free(c->work);
    c->work = aligned_zeros(c->info.shared_bytes + n_threads * c->info.private_bytes);
    c->prepared = (Call){.ctx = out_ctx, .n_tokens = n_tokens};
    prepare_call(c, arena, args, &c->prepared);
    out_ctx->args = c->prepared.memory;
    out_ctx->n_threads = n_threads;
    *out_step = c->step;
    return SNL_OK;
}

void snl_callable_destroy(SnlCallable *c)
{
    if (!c) return;
    if (c->prepared.n_tokens) free_call(c->func, &c->prepared);
    if (c->library) dlclose(c->library);
    free(c->weights);
    free(c->state);
    free(c->work);
}
