/* compiler/driver/callable.h -- one IR function, compiled, loaded into this process and called through
 * libffi with the signature of the IR function. */
#ifndef SNL_DRIVER_CALLABLE_H
#define SNL_DRIVER_CALLABLE_H

#include "codegen/codegen.h"
#include "ir/eval.h"

typedef struct SnlCallable SnlCallable;

/* Compiles the scheduled function `func` and loads it. Its states start at zero. */
SnlStatus snl_callable_create(SnlArena *arena, const SnlModule *m, SnlFunc *func,
                              SnlWeightSource *source, const SnlTargetOptions *target,
                              SnlDiag *diag, SnlCallable **out);
/* Medians of seconds. */
typedef struct SnlStageTimes {
    int64_t n_calls;
    double whole;    /* of a call */
    double *seconds; /* of each of its stages: one more than barriers */
} SnlStageTimes;

/* Calls it again and again on one thread with the same arguments, for about half a second, and times
 * its stages, of which there are n_stages. It must be made with target->hook_stages. */
SnlStatus snl_callable_time(SnlCallable *callable, SnlArena *arena, const SnlTensor *args,
                            int64_t n_tokens, size_t n_stages, SnlDiag *diag, SnlStageTimes *out);
void snl_callable_destroy(SnlCallable *callable); /* NULL is fine */

/* As snl_eval_call: args per value parameter, results in memory of `arena`. States persist between
 * calls. n_tokens is at most what the function was scheduled for. */
SnlStatus snl_callable_call(SnlCallable *callable, SnlArena *arena, const SnlTensor *args,
                            int64_t n_tokens, SnlDiag *diag, SnlTensor *out_results);

#endif
