/* compiler/driver/stages.h -- where the time of one function goes: `snlpc run --bench`. */
#ifndef SNL_DRIVER_STAGES_H
#define SNL_DRIVER_STAGES_H

#include "compiler/driver/stage_times.h"

#include <stdio.h>

/* The unit of the processor that multiplies matrices, slowest last; where it has none for a format,
 * f32. */
typedef enum SnlDotUnit { SNL_DOT_NONE, SNL_DOT_INT8, SNL_DOT_BF16, SNL_DOT_F32 } SnlDotUnit;

/* What one stage of a scheduled function does in a call. */
typedef struct SnlStageWork {
    int64_t stage;
    const char *what;     /* its operations: "rms_norm, linear 768x288 q8_0" */
    int64_t rows;         /* of tokens: 1 where only the last one's result is wanted */
    int64_t weight_bytes; /* as stored; of an embedding the rows that are read */
    int64_t cache_bytes;
    int64_t flops;           /* of linears and attention */
    int64_t attention_flops; /* of these, in f32 */
    SnlDotUnit dot;          /* of its linears: the slowest */
} SnlStageWork;

typedef struct SnlStageTable {
    SnlStageWork *at;
    size_t n; /* one more than barriers */
} SnlStageTable;

/* Called as `how` says, from position `pos` on. */
SnlStageTable snl_stage_table(SnlArena *arena, const SnlFunc *func, const SnlPayload *payload,
                              const SnlTiming *how, int64_t pos);

typedef struct SnlStageReport {
    const char *func;
    SnlTiming how;
    int64_t pos;
    SnlStageTable table;
    SnlStageTimes times;
    int64_t only; /* that stage alone; -1: all */
} SnlStageReport;

/* A row for each stage with its time, GB/s and GFLOP/s, and one for all. */
void snl_stages_print(FILE *out, const SnlStageReport *report);
/* The same as one object of JSON. */
void snl_stages_print_json(FILE *out, const SnlStageReport *report);

#endif
