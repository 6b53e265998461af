/* ir/attr_rules.h -- checks attributes against ir/attr_rules.def. Private to ir/. */
#ifndef SNL_IR_ATTR_RULES_H
#define SNL_IR_ATTR_RULES_H

#include "ir/ir.h"

/* Every attribute known, of its kind and in its range, and every required one there. Scheduling
 * keys (ir/IR.md) are accepted on every operation with any value. Reports the first mistake. */
SnlStatus snl_op_check_attrs(const SnlOp *op, SnlDiag *diag);
SnlStatus snl_weight_check_attrs(const SnlWeight *w, SnlDiag *diag);
/* "source", "concat", ... */
const char *snl_wexpr_text(SnlWexprCode code);

#endif
