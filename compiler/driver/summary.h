/* compiler/driver/summary.h -- what was compiled, in a few lines on stderr. */
#ifndef SNL_DRIVER_SUMMARY_H
#define SNL_DRIVER_SUMMARY_H

#include "compiler/driver/compilation.h"

/* What was done to the function of a scheduled graph as one text: "exact", or its notes with ", "
 * between: its own, and those of the module that are about every function. */
const char *snl_graph_exactness(SnlArena *arena, const SnlFunc *func);
/* Stored format of (by bytes) most of a payload's matrices, and that of the logits' matrix when it
 * is another: "f32", "q4_0, head q8_0", ... */
const char *snl_payload_format(SnlArena *arena, const SnlModule *m, const SnlPayload *payload);
/* "6.1 MiB": a unit that leaves 1 to 4 digits. */
const char *snl_bytes_text(SnlArena *arena, int64_t nbytes);
/* "1.5 MiB (12 of 128.0 KiB + 1 of 512 bytes)": the states of these functions, added up. */
const char *snl_state_sum_text(SnlArena *arena, const SnlFunc *const *funcs, size_t n);

typedef struct SnlSummary {
    const SnlCompilation *compilation;
    const char *path;
    int64_t program_bytes;     /* without the payload */
    const SnlWritten *written; /* for each weight of the payload */
    bool each_tensor;          /* lists them all */
    const SnlStepCost
        *sequential; /* of the sequential graph, when no mode is it; NULL: not known */
    double seconds;
} SnlSummary;
void snl_summary_print(FILE *out, const SnlSummary *summary);

#endif
