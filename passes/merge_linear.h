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

/* What tells the search for independent operations that there are none behind (merge_reach.c).
 * Operations count from 1 in the function's order. */
typedef struct SnlReach {
    SnlArena *arena;
    uint32_t *maker;    /* by value id: the op that makes it; 0: a parameter */
    uint32_t *last;     /* by value id: the last op whose latest operand it is; 0: none */
    uint32_t *open;     /* by op: values made so far that are the latest operand of a later op */
    uint32_t last_root; /* the last op that reads nothing but parameters */
    size_t n_values, n_ops;
} SnlReach;
/* Of the function as it is now; again after every change. */
void snl_reach_find(SnlReach *r, const SnlFunc *f);
/* The operand that was made last; NULL: all are parameters. */
SnlValue *snl_reach_latest(const SnlReach *r, const SnlOp *op);

/* Independent operations of one shape become members of one (merge_members.c). kinds[code]: may be
 * merged. True when something changed. */
bool snl_merge_members(SnlFunc *f, SnlArena *scratch, const bool *kinds);
/* A lincomb of all members of a linear becomes `reduce` (merge_reduce.c). */
bool snl_merge_reduce(SnlFunc *f, SnlArena *scratch);

#endif
