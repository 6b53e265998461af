/* compiler/driver/states.h -- `compile --keep-states`: the chain's states as results of the
 * program. */
#ifndef SNL_DRIVER_STATES_H
#define SNL_DRIVER_STATES_H

#include "codegen/codegen.h"

/* Makes every state of the one chain in `func` a result of it, behind the logits; h.i is the output
 * of layer i. Before any pass. The outputs live in the module's arena. Without exactly one chain:
 * error. */
SnlStatus snl_keep_states(SnlFunc *func, SnlDiag *diag, SnlOutputSpec **out_outputs,
                          size_t *out_n);

#endif
