/* compiler/driver/summary.h -- what was compiled, in a few lines on stderr. */
#ifndef SNL_DRIVER_SUMMARY_H
#define SNL_DRIVER_SUMMARY_H

#include "codegen/codegen.h"

/* The module's exactness record as one text: "exact", or the notes with ", " between. */
const char *snl_exactness_text(SnlArena *arena, const SnlModule *m);
/* Stored format of (by bytes) most of a payload's matrices: "f32", "bf16", ... */
const char *snl_payload_format(const SnlPayload *payload);

typedef struct SnlSummary {
    const char *path;
    int64_t program_bytes, tokenizer_bytes; /* program: without the payload */
    const SnlProgramSpec *spec;
    const SnlPayload *payload;
    int64_t n_layers;
    double seconds;
} SnlSummary;
void snl_summary_print(FILE *out, const SnlSummary *summary);

#endif
