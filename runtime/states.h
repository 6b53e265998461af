/* runtime/states.h -- the extra results of the graph (states of the chain), gathered over a run and
 * written as a safetensors file.
 *
 * Tensor i has the output's name, dtype F32 and the shape [T, width] or, with streams,
 * [T, streams, width], T being the positions processed. Everything is kept in memory until the end:
 * this is a tool for tests. Library form. */
#ifndef SNLRT_STATES_H
#define SNLRT_STATES_H

#include "runtime/output.h"
#include "runtime/session.h"

typedef struct SnlrtStates {
    const SnlrtModel *model;
    float **at; /* [n_outputs] of [cap, row] */
    int64_t n_rows, cap;
} SnlrtStates;

/* SNLRT_USAGE when the program was compiled without them. */
SnlrtStatus snlrt_states_init(const SnlrtModel *model, SnlrtStates *out, SnlrtError *err);
void snlrt_states_deinit(SnlrtStates *states); /* fine on a zeroed one */
SnlrtStatus snlrt_states_append(SnlrtStates *states, const SnlrtBlock *block, SnlrtError *err);
SnlrtStatus snlrt_states_write(const SnlrtStates *states, SnlrtFile *file, SnlrtError *err);

#endif
