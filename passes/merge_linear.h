/* passes/merge_linear.h -- the two halves of merge-linear. Private to passes/. */
#ifndef SNL_PASSES_MERGE_LINEAR_H
#define SNL_PASSES_MERGE_LINEAR_H

#include "passes/rewrite.h"

typedef enum SnlConcatWhich {
    SNL_CONCAT_NONE,
    SNL_CONCAT_ATTENTION,
    SNL_CONCAT_ALL
} SnlConcatWhich;

/* Linears of one input become one linear on the concatenated weight, and slices (merge_concat.c).
 */
SnlStatus snl_merge_concat(SnlModule *m, SnlPassContext *ctx, SnlConcatWhich which,
                           bool *inout_changed);

/* Independent operations of one shape become members of one (merge_members.c). kinds[code]: may be
 * merged. True when something changed. */
bool snl_merge_members(SnlFunc *f, SnlArena *scratch, const bool *kinds);
/* A lincomb of all members of a linear becomes `reduce` (merge_reduce.c). */
bool snl_merge_reduce(SnlFunc *f, SnlArena *scratch);

#endif
