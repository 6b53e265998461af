/* ir/verify.h -- what the files of the verifier share. Private to ir/. */
#ifndef SNL_IR_VERIFY_H
#define SNL_IR_VERIFY_H

#include "ir/ir.h"

enum { SNL_VERIFY_MAX_ERRORS = 20 };

typedef struct SnlVerify {
    const SnlModule *m;
    SnlDiag *diag;
    SnlArena *scratch;
    unsigned errors; /* at the first SNL_VERIFY_MAX_ERRORS the verifier gives up */
} SnlVerify;

void snl_verify_fail(SnlVerify *v, SnlDiagKind kind, SnlLoc loc, const char *fmt, ...)
    SNL_PRINTF(4, 5);
static inline bool snl_verify_full(const SnlVerify *v)
{
    return v->errors >= SNL_VERIFY_MAX_ERRORS;
}

/* Weight expressions: arity, arguments, attributes, shapes, depth (verify_weights.c). */
void snl_verify_weights(SnlVerify *v);

/* Limits on what calls may add up to: both keep evaluation and inlining finite and small. */
enum { SNL_MAX_CALL_DEPTH = 64, SNL_MAX_EXPANDED_OPS = 1 << 22 };

/* Calls between functions: recursion, depth, expanded size, and whether the states that are bound
 * have the shapes the layers need (verify_calls.c). Functions must be sound one by one. */
void snl_verify_calls(SnlVerify *v);

#endif
