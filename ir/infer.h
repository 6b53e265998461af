/* ir/infer.h -- what the files of type inference share. Private to ir/.
 *
 * A rule sees an op with the right numbers of operands and groups, and with attributes that passed
 * ir/attr_rules.c; it checks types and fills in the results'. */
#ifndef SNL_IR_INFER_H
#define SNL_IR_INFER_H

#include "ir/ir.h"

typedef struct SnlInfer {
    const SnlOp *op;
    SnlModule *m;
    SnlDiag *diag;
    const SnlType **out;
} SnlInfer;

typedef SnlStatus SnlInferRule(const SnlInfer *x);

/* Reports "<op>: ..." at the op. */
SnlStatus snl_infer_fail(const SnlInfer *x, SnlDiagKind kind, const char *fmt, ...)
    SNL_PRINTF(3, 4);
const char *snl_infer_text(const SnlInfer *x, const SnlType *type);

SnlInferRule snl_infer_call, snl_infer_chain, snl_infer_control; /* infer_call.c */

#endif
