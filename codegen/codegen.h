/* codegen/codegen.h -- scheduled IR in, object code out.
 *
 * A scheduled function (passes schedule and plan-memory) becomes one SPMD step
 * `void step(SnlrtCtx *ctx, int64_t thread)` (runtime/abi.h) and the kernels it calls: one kernel
 * per distinct (operation, shape, format). */
#ifndef SNL_CODEGEN_CODEGEN_H
#define SNL_CODEGEN_CODEGEN_H

#include "codegen/pack.h"
#include "ir/ir.h"

typedef enum SnlEmitKind { SNL_EMIT_LLVM, SNL_EMIT_ASM, SNL_EMIT_OBJ } SnlEmitKind;
typedef enum SnlSanitizer {
    SNL_SANITIZE_NONE,
    SNL_SANITIZE_ADDRESS,
    SNL_SANITIZE_THREAD
} SnlSanitizer;

typedef struct SnlTargetOptions {
    const char *triple;   /* NULL: the host's */
    const char *cpu;      /* "native", an LLVM cpu name, or NULL: see snl_emit_program */
    const char *features; /* more LLVM features of a named cpu: "+avx512vnni"; NULL: none */
    SnlSanitizer sanitize;
    bool pic;           /* shared object (snlpc run) */
    bool verify;        /* LLVM verifier */
    bool hook_stages;   /* between stages a call of what SnlrtCtx.barrier points to, a function with
                           the type of snlrt_barrier (snlpc run --bench) */
    bool targets_ready; /* snl_gen_init_targets has run */
} SnlTargetOptions;

/* One mode of a program: two scheduled functions over the same states and weights. */
typedef struct SnlGraphSpec {
    const char *name, *plan, *exactness;
    const SnlFunc *decode, *prefill;
    /* As SnlrtGraph's. */
    int64_t state_bytes, layer_evals, steps, decode_bytes, decode_waiting, flags;
} SnlGraphSpec;

typedef struct SnlOutputSpec {
    const char *name;
    int64_t streams, width;
} SnlOutputSpec;

typedef struct SnlProgramSpec {
    const char *name, *family, *weight_format;
    int64_t vocab, context, trained_context, n_params;
    const int64_t *eos;
    size_t n_eos;
    const SnlGraphSpec *graphs;
    size_t n_graphs;
    const SnlOutputSpec *outputs;
    size_t n_outputs;
    uint64_t payload_id;
} SnlProgramSpec;

/* Bytes of a state in the program's memory. */
int64_t snl_state_bytes(const SnlState *state);

/* A program's code: the steps, their kernels and the constant `snlrt_model`. The file at `path` is
 * written whole or not at all. An object for x86-64 without a named cpu holds every level of
 * processors (codegen/levels.c); anything else is for one cpu (x86-64-v3, generic elsewhere). */
SnlStatus snl_emit_program(const SnlModule *m, const SnlPayload *payload,
                           const SnlProgramSpec *spec, const SnlTargetOptions *target,
                           SnlEmitKind kind, const char *path, SnlDiag *diag);

/* What `snlpc run` needs to call one scheduled function in process: bytes of state and workspace.
 */
typedef struct SnlCallInfo {
    int64_t state_bytes, shared_bytes, private_bytes;
} SnlCallInfo;
/* Emits `func` as a C function named `symbol` with the IR function's signature:
 *     void symbol(SnlrtCtx *ctx, int64_t n_tokens, p0, p1, ..., r0, r1, ...)
 * tensors as pointers, index as int64_t; it fills ctx->args and runs the step as thread 0 of 1. The
 * step itself is the SnlrtStep `symbol`.step. */
SnlStatus snl_emit_callable(const SnlModule *m, const SnlFunc *func, const SnlPayload *payload,
                            const char *symbol, const SnlTargetOptions *target, SnlEmitKind kind,
                            const char *path, SnlDiag *diag, SnlCallInfo *out_info);

/* Comma-separated names of the CPUs `--cpu` takes for the triple (for --help and errors). */
char *snl_target_cpus(SnlArena *arena, const char *triple);

#endif
