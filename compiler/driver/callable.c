/* compiler/driver/callable.c -- code, weights, states and workspace of one function, in this process. */
#include "compiler/driver/callable.h"

#include "codegen/link.h"
#include "compiler/driver/emergency.h"
#include "compiler/driver/times.h"
#include "runtime/abi.h"

#include <dlfcn.h>
#include <errno.h>
#include <ffi.h>
#include <stdlib.h>
#include <string.h>

static const char symbol[] = "snl_called";

typedef void Code(void);
typedef void StageHook(SnlrtCtx *ctx, int64_t thread);

struct SnlCallable {
    const SnlFunc *func;
    void *library;
    Code *code;
    uint8_t *weights, *state, *work;
    ffi_cif cif;
    ffi_type **types; /* ctx, n_tokens, parameters, results */
};

/* ---- making it ---------------------------------------------------------------------------------- */

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
    return SNL_OK;
}

static SnlStatus compile(SnlCallable *c, SnlArena *arena, const SnlModule *m,
                         const SnlPayload *payload, const SnlTargetOptions *target, SnlDiag *diag)
{
    SnlTargetOptions shared = *target;
    shared.pic = true;
    SnlCallInfo info = {0};
    const char *object = snl_emergency_path(arena, "call.o");
    const char *library = snl_emergency_path(arena, "call.so");
    SNL_TRY(snl_emit_callable(m, c->func, payload, symbol, &shared, SNL_EMIT_OBJ, object, diag,
                              &info));
    SNL_TRY(snl_link_shared(object, library, diag));
    SNL_TRY(load(c, library, diag));
    c->state = aligned_zeros(info.state_bytes);
    c->work = aligned_zeros(info.shared_bytes + info.private_bytes);
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
    if (!snl_emergency_folder(arena))
        return snl_error_at(diag, SNL_E_MACHINE, "$TMPDIR",
                            "cannot make a folder for temporary files: %s", strerror(errno));
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

void snl_callable_destroy(SnlCallable *c)
{
    if (!c) return;
    if (c->library) dlclose(c->library);
    free(c->weights);
    free(c->state);
    free(c->work);
}

/* ---- calling it --------------------------------------------------------------------------------- */

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
            return snl_error(diag, SNL_E_NUMERIC, op->loc,
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
                         "%s: tokens of the call: found %lld, wanted at most %lld, the positions that "
                         "'@%s' holds",
                         snl_op_info[op->code].text, (long long)n, (long long)context,
                         op->sym[0].state[0]->name);
    return snl_error(diag, SNL_E_NUMERIC, op->loc, "%s: position: found %.17g, wanted 0 to %lld",
                     snl_op_info[op->code].text, pos->at[0], (long long)(context - n));
}

/* Compiled code takes its arguments as they are: what would lead it out of a table or a cache is refused
 * here. (The evaluator checks as it goes.) */
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

/* One call's arguments as compiled code takes them. */
typedef struct Call {
    SnlrtCtx *ctx;
    int64_t n_tokens;
    SnlrtArg *memory; /* parameters, then results */
    void **values;    /* of libffi */
} Call;

static SnlStatus check_call(const SnlFunc *f, const SnlTensor *args, int64_t n_tokens, SnlDiag *diag)
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
            call->memory[i].ptr = dense_from(&args[i], snl_type_elems(args[i].type, call->n_tokens));
    }
    for (size_t i = 0; i < f->n_result; i++)
        call->memory[f->n_param + i].ptr = result_buffer(snl_type_elems(f->result[i], call->n_tokens));
    *call->ctx = (SnlrtCtx){.weights = c->weights, .state = c->state, .work = c->work,
                            .args = SNL_NEW_ARRAY(arena, SnlrtArg, n), .n_tokens = call->n_tokens,
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
        out_results[i] = tensor_from(arena, f->result[i], n_tokens, call.memory[f->n_param + i].ptr);
    free_call(f, &call);
    return SNL_OK;
}

/* ---- timing it ---------------------------------------------------------------------------------- */

enum { WARM_CALLS = 3, MIN_CALLS = 7, MAX_CALLS = 2001 };
static const double most_seconds = 0.5; /* for all calls, if MIN_CALLS allow it */

/* What compiled code calls between stages finds it behind the context. */
typedef struct Clock {
    SnlrtCtx ctx;
    double *stamp; /* [most] ends of stages */
    size_t n, most;
} Clock;

static void stage_ends(SnlrtCtx *ctx, int64_t thread)
{
    (void)thread;
    Clock *clock = (Clock *)ctx;
    if (clock->n < clock->most) clock->stamp[clock->n++] = snl_seconds();
}

/* times[s * MAX_CALLS + k]: stage s of call k; row n_stages: the whole call. */
static int64_t time_calls(SnlCallable *c, Call *call, Clock *clock, size_t n_stages, double *times)
{
    int64_t k = -WARM_CALLS;
    for (double start = snl_seconds(); k < MAX_CALLS; k++) {
        clock->n = 0;
        double begin = snl_seconds(), last = begin;
        ffi_call(&c->cif, c->code, NULL, call->values);
        stage_ends(call->ctx, 0);
        for (size_t s = 0; k >= 0 && s < n_stages; last = clock->stamp[s++])
            times[s * MAX_CALLS + (size_t)k] = clock->stamp[s] - last;
        if (k >= 0) times[n_stages * MAX_CALLS + (size_t)k] = clock->stamp[n_stages - 1] - begin;
        if (k + 1 >= MIN_CALLS && snl_seconds() - start > most_seconds) return k + 1;
    }
    return k;
}

SnlStatus snl_callable_time(SnlCallable *c, SnlArena *arena, const SnlTensor *args,
                            int64_t n_tokens, size_t n_stages, SnlDiag *diag, SnlStageTimes *out)
{
    SNL_TRY(check_call(c->func, args, n_tokens, diag));
    Clock clock = {.stamp = SNL_NEW_ARRAY(arena, double, n_stages), .most = n_stages};
    Call call = {.ctx = &clock.ctx, .n_tokens = n_tokens};
    prepare_call(c, arena, args, &call);
    StageHook *hook = stage_ends;
    memcpy(&clock.ctx.barrier, &hook, sizeof hook); /* POSIX: a function pointer in a void * */
    double *times = SNL_NEW_ARRAY(arena, double, (n_stages + 1) * MAX_CALLS);
    out->n_calls = time_calls(c, &call, &clock, n_stages, times);
    SNL_ASSERT(clock.n == n_stages);
    out->seconds = SNL_NEW_ARRAY(arena, double, n_stages);
    for (size_t s = 0; s < n_stages; s++)
        out->seconds[s] = snl_median(times + s * MAX_CALLS, (size_t)out->n_calls);
    out->whole = snl_median(times + n_stages * MAX_CALLS, (size_t)out->n_calls);
    free_call(c->func, &call);
    return SNL_OK;
}
