/* compiler/driver/stages.h -- where the time of one function goes: `snlpc run --bench`. */
#ifndef SNL_DRIVER_STAGES_H
#define SNL_DRIVER_STAGES_H

#include "compiler/driver/callable.h"

#include <stdio.h>

/* What one stage of a scheduled function does in a call. */
typedef struct SnlStageWork {
    int64_t stage;
    const char *what; /* its operations: "rms_norm, linear 768x288 q8_0" */
    int64_t weight_bytes; /* as stored; of an embedding the rows that are read */
    int64_t cache_bytes;
    int64_t flops; /* of linears and attention */
} SnlStageWork;

typedef struct SnlStageTable {
    SnlStageWork *at;
    size_t n; /* one more than barriers */
} SnlStageTable;

/* `n_tokens` tokens from position `pos` on. */
SnlStageTable snl_stage_table(SnlArena *arena, const SnlFunc *func, const SnlPayload *payload,
                              int64_t n_tokens, int64_t pos);

/* A row for each stage with its time, GB/s and GFLOP/s, and one for all; `only`: that stage alone,
 * -1: all. */
void snl_stages_print(FILE *out, const SnlStageTable *table, const SnlStageTimes *times,
                      int64_t only);

#endif
