/* passes/schedule_internal.h -- what the files of the schedule pass share. */
#ifndef SNL_PASSES_SCHEDULE_INTERNAL_H
#define SNL_PASSES_SCHEDULE_INTERNAL_H

#include "passes/rewrite.h"
#include "passes/schedule.h"

typedef SnlVec(SnlOp *) SnlTouching;

typedef struct SnlScheduler {
    SnlModule *module;
    SnlFunc *func;
    int64_t tokens;  /* most rows of a call; 1: decode */
    int64_t threads; /* what splits are balanced for */
    int64_t *hint;   /* per value id: units its consumers want (kv heads), 0: none, SNL_HINT_ALL */
    int64_t *part;   /* per value id: columns that a linear takes as one part; 0: none does */
    int64_t stage;   /* prefill: stage of the op before */
    SnlTouching *touching; /* per state slot: the ops that touch the state, in order */
} SnlScheduler;

/* Every thread reads all of the value: attention by parts. */
enum { SNL_HINT_ALL = -1 };

/* Only rows [tail_row, T) are wanted. */
static inline bool snl_op_is_tail(const SnlOp *op)
{
    return snl_attr_find(&op->attrs, "rows") != NULL;
}

static inline bool snl_is_decode(const SnlScheduler *s)
{
    return s->tokens == 1;
}

/* ---- schedule_ready.c: when may an op read a value ------------------------------------------- */

/* First stage in which an op placed as `p` (stage ignored) may read `v`. */
int64_t snl_ready_stage(const SnlValue *v, const SnlOp *reader, const SnlPlacement *p);
/* The same for all its operands. */
int64_t snl_earliest_stage(const SnlOp *op, const SnlPlacement *p);

/* ---- schedule.c ------------------------------------------------------------------------------ */

/* The ops of the function that touch state `i` of `op`. */
static inline const SnlTouching *snl_touching(const SnlScheduler *s, const SnlOp *op, size_t i)
{
    return &s->touching[snl_state_slot(s->func, op->sym[0].state[i])];
}

/* Do two of attention and kv_write name the same caches, in order, at one position? */
bool snl_same_rows_of_caches(const SnlOp *a, const SnlOp *b);

/* ---- schedule_split.c: who computes what ----------------------------------------------------- */

/* Fills s->hint: what attention wants of the values on the way to it. */
void snl_collect_hints(SnlScheduler *s);
/* The split of one op; its stage is not set yet. Linears may get `pieces`. */
SnlPlacement snl_choose_split(SnlScheduler *s, SnlOp *op);
/* Columns shared out in portions of `grain`. */
SnlPlacement snl_split_by_grain(int64_t width, int64_t grain, bool inner);
/* Would the op's result be made by every thread for itself, or read by ops that want whole rows? */
bool snl_result_stays_private(const SnlOp *op);

#endif
