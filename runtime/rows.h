/* runtime/rows.h -- rows of the model's tables, asked for together.
 *
 * Nothing is read ahead in tables (runtime/model.c): from a file that is not in memory the rows of
 * a prompt would come one after the other, each with a page fault of its own. Asking first lets the
 * disk see them all. It is advice: results do not depend on it. */
#ifndef SNLRT_ROWS_H
#define SNLRT_ROWS_H

#include "runtime/abi.h"

#include <stdbool.h>

/* Are there rows of these tokens to be read from the disk? Looks at a few of them, by reading them,
 * which costs next to nothing when they are in memory. Where one of many is missing, it may say
 * no. */
bool snlrt_rows_missing(const SnlrtModel *model, const uint8_t *weights, const int32_t *tokens,
                        int64_t n);
/* Asks for part `part` of n_parts of the rows that n tokens read, and does not wait for them. Ids
 * that a table has no row for are passed over. */
void snlrt_rows_ask(const SnlrtModel *model, const uint8_t *weights, const int32_t *tokens,
                    int64_t n, int64_t part, int64_t n_parts);

#endif
