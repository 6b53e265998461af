/* compiler/driver/callable.h -- one IR function, compiled, loaded into this process and called
 * through libffi with the signature of the IR function. */
#ifndef SNL_DRIVER_CALLABLE_H
#define SNL_DRIVER_CALLABLE_H

#include "codegen/codegen.h"
#include "ir/eval.h"
#include "runtime/abi.h"

typedef struct SnlCallable SnlCallable;

/* Compiles the scheduled function `func` and loads it. Its states start at zero. */
SnlStatus snl_callable_create(SnlArena *arena, const SnlModule *m, SnlFunc *func,
                              SnlWeightSource *source, const SnlTargetOptions *target,
                              SnlDiag *diag, SnlCallable **out);
void snl_callable_destroy(SnlCallable *callable); /* NULL is fine */

/* As snl_eval_call: args per value parameter, results in memory of `arena`. States persist between
 * calls. n_tokens is at most what the function was scheduled for. */
SnlStatus snl_callable_call(SnlCallable *callable, SnlArena *arena, const SnlTensor *args,
                            int64_t n_tokens, SnlDiag *diag, SnlTensor *out_results);

/* One call with these arguments, to be made by hand any number of times: n_threads threads t run
 * (*out_step)(out_ctx, t). Whoever does so sets out_ctx->barrier, and tail_row if it is not 0. Once
 * for a callable; its memory lives as long. */
SnlStatus snl_callable_prepare(SnlCallable *callable, SnlArena *arena, const SnlTensor *args,
                               int64_t n_tokens, int64_t n_threads, SnlDiag *diag,
                               SnlrtStep **out_step, SnlrtCtx *out_ctx);

#endif
