/* codegen/calls.h -- what a step does, before it is code: calls of kernels, and barriers, in order.
 *
 * A call is a kernel plus numbers: where in which memory its operands lie, which columns and rows
 * it works on. Two calls of one kernel over the same kinds of memory have the same *shape* and
 * differ in numbers only. Models repeat themselves -- member after member, layer after layer, sweep
 * after sweep -- so most of a step is one sequence of shapes over and over: such repeats become
 * loops whose numbers are constants, progressions or rows of a table (codegen/repeats.c), and the
 * step's code grows with what is different in a plan, not with its length.
 *
 * Private to codegen/. */
#ifndef SNL_CODEGEN_CALLS_H
#define SNL_CODEGEN_CALLS_H

#include "ir/base/arena.h"

#include <llvm-c/Types.h>

#include <stdbool.h>
#include <stdint.h>

/* ---- numbers of a call ----------------------------------------------------------------------- */

/* Memory that an address is in. From SNL_IN_ARGS on: parameter or result i of the step, then the
 * results again, as their tail row 0 would begin. */
enum { SNL_IN_NULL, SNL_IN_WEIGHTS, SNL_IN_STATE, SNL_IN_SHARED, SNL_IN_PRIVATE, SNL_IN_ARGS };

typedef struct SnlAddress {
    int region;
    int64_t offset; /* bytes */
} SnlAddress;

/* Columns [c0, c1) of a call (units of heads where the kernel works by heads). */
typedef enum SnlColumnsKind {
    SNL_COLUMNS_ALL,    /* [0, width) */
    SNL_COLUMNS_SHARE,  /* this thread's share */
    SNL_COLUMNS_MEMBER, /* what of this thread's share of all members falls on this one:
                           begin + ([from, to) of the share - before, cut to [0, width)) */
    SNL_COLUMNS_THREADS, /* c0 = thread, c1 = number of threads: the kernel shares out */
    SNL_COLUMNS_TURNS    /* the same, but turn 0 is that of thread `before`: c0 = this thread's */
} SnlColumnsKind;

typedef enum SnlRowsKind {
    SNL_ROWS_ALL,
    SNL_ROWS_TAIL,
    SNL_ROWS_ALL_SHARE, /* this thread's share of them */
    SNL_ROWS_TAIL_SHARE,
    SNL_ROWS_FIRST_THREAD, /* all for thread 0, none for others */
    SNL_ROWS_COUNT
} SnlRowsKind;

typedef struct SnlRange {
    SnlColumnsKind columns;
    SnlRowsKind rows;
    int64_t share; /* SHARE, MEMBER: from snl_calls_share */
    int64_t before, width, begin;
} SnlRange;

enum { SNL_MAX_CALL_POINTERS = 18 };

/* kernel(pointers..., c0, c1, r0, r1 [, pos]) */
typedef struct SnlCall {
    LLVMValueRef kernel;
    unsigned n_ptr;
    SnlAddress ptr[SNL_MAX_CALL_POINTERS];
    SnlRange range;
    int pos; /* index parameter of the step that comes last; -1: none */
} SnlCall;

/* ---- the list -------------------------------------------------------------------------------- */

/* A call, a barrier (neither call nor body), or a loop. Items of one shape have the same code. */
typedef struct SnlItem {
    uint32_t shape;
    const SnlCall *call;
    const struct SnlItem *body; /* count rounds of `period` items, row by row */
    size_t period, count;
} SnlItem;

/* min(units * grain, limit) columns from `begin`, in units that threads share out. */
typedef struct SnlShare {
    int64_t units, grain, limit, begin;
} SnlShare;

typedef struct SnlShape {
    const SnlCall *call;  /* of any item of the shape */
    const uint32_t *body; /* shapes of a loop's `period` items */
    size_t period;
} SnlShape;

typedef struct SnlCalls {
    SnlArena *arena;
    SnlVec(SnlItem) items;
    SnlVec(SnlShape) shapes;
    SnlVec(SnlShare) shares;
} SnlCalls;

void snl_calls_add(SnlCalls *calls, const SnlCall *call);
void snl_calls_barrier(SnlCalls *calls);
/* Index of the share, equal ones once. */
int64_t snl_calls_share(SnlCalls *calls, SnlShare share);
/* codegen/repeats.c: makes loops of what repeats. What is executed stays the same. */
void snl_calls_fold(SnlCalls *calls);

/* The numbers of a call that are not part of its shape. */
enum { SNL_MAX_NUMBERS = SNL_MAX_CALL_POINTERS + 4 };
unsigned snl_call_numbers(const SnlCall *call, int64_t *out);

#endif
