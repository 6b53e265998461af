/* compiler/driver/stage_times.h -- how long each stage of a compiled function takes. */
#ifndef SNL_DRIVER_STAGE_TIMES_H
#define SNL_DRIVER_STAGE_TIMES_H

#include "compiler/driver/callable.h"

/* How the function is called. */
typedef struct SnlTiming {
    int64_t n_tokens, n_threads;
    bool last_row; /* results of the last token alone: what programs want of a prompt */
    bool cold;     /* before each call other memory is read, so that nothing is in caches */
} SnlTiming;

enum { SNL_COLD_MIB = 128 }; /* of other memory */

/* Medians of seconds. */
typedef struct SnlStageTimes {
    int64_t n_calls;
    double whole;    /* of a call */
    double *seconds; /* of each of its stages: one more than barriers */
    double *waiting; /* of these, what a thread spends at the barrier behind the stage (mean) */
} SnlStageTimes;

/* Calls it again and again with the same arguments, for about half a second, and times its stages,
 * of which there are n_stages, in the order of the program: a clock is read between them. The
 * callable must be made with target->hook_stages, and is timed once. */
SnlStatus snl_stage_times(SnlCallable *callable, SnlArena *arena, const SnlTensor *args,
                          const SnlTiming *how, size_t n_stages, SnlDiag *diag, SnlStageTimes *out);

#endif
