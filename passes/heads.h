/* passes/heads.h -- which weights make the logits. */
#ifndef SNL_PASSES_HEADS_H
#define SNL_PASSES_HEADS_H

#include "ir/ir.h"

/* By weight id: matrices of the linears whose results reach result 0 of a function through
 * elementwise operations alone. A tied embedding is one of them. */
bool *snl_head_weights(SnlArena *arena, const SnlModule *m);

#endif
