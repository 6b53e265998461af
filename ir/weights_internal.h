/* ir/weights_internal.h -- private to ir/: what the reader of weight expressions and its checks
 * share. */
#ifndef SNL_IR_WEIGHTS_INTERNAL_H
#define SNL_IR_WEIGHTS_INTERNAL_H

#include "ir/weights.h"

/* Elements that one level of an expression may hold in scratch memory. */
enum { SNL_MAX_SCRATCH = SNL_SMALL_WEIGHT / sizeof(float) };

static inline int64_t snl_weight_elems(const SnlWeight *w) { return snl_type_elems(w->type, 1); }

/* The expression is bounded, and its tensors exist in `source` with the declared shape (shapes =
 * true) or as many elements as declared. Everything that reads goes through this first. */
SnlStatus snl_weight_check(const SnlWeight *w, SnlWeightSource *source, bool shapes, SnlDiag *diag);

#endif
