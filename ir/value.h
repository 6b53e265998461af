/* ir/value.h -- private to ir/: making values. */
#ifndef SNL_IR_VALUE_H
#define SNL_IR_VALUE_H

#include "ir/ir.h"

/* A value of `func` with the next id; a taken name gets a suffix, NULL a fresh number. */
SnlValue *snl_value_create(SnlFunc *func, SnlOp *def, const char *name, const SnlType *type);

#endif
