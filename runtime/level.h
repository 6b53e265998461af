/* runtime/level.h -- which of the program's code runs on this processor. */
#ifndef SNLRT_LEVEL_H
#define SNLRT_LEVEL_H

#include "runtime/abi.h"
#include "runtime/status.h"

/* The model with the graphs and features of the highest level that this machine has, or of the
 * level named `forced` (NULL or "": none). SNLRT_MACHINE, naming the missing feature, when there is
 * none; SNLRT_USAGE when no level has that name. */
SnlrtStatus snlrt_level_choose(const SnlrtModel *model, const char *forced, SnlrtModel *out,
                               SnlrtError *err);

#endif
