/* codegen/step.h -- a step under construction, as its parts share it. Private to codegen/. */
#ifndef SNL_CODEGEN_STEP_H
#define SNL_CODEGEN_STEP_H

#include "codegen/gen.h"

typedef struct SnlStep {
    SnlGen *g;
    const SnlFunc *func;
    const SnlPayload *payload;
    const int64_t *state_offset;
    int64_t tokens;
    bool decode;
    int64_t *result_of; /* per value id: index of the function result it is, -1 */
    SnlCalls calls;
} SnlStep;

/* `p` so many 4-byte words further on. */
SnlPlace snl_place_moved(SnlPlace p, int64_t words);

/* What there is to know of one op; results in registers have no place. */
void snl_step_describe(SnlStep *s, const SnlOp *op, SnlOpGen *o);

/* codegen/step_ops.c: adds the calls of one op, whose operands and result have their places. */
void snl_step_op(SnlStep *s, SnlOpGen *o);

/* codegen/frame.c: what calls need, loaded at the start of the step's function. */
SnlFrame snl_load_frame(const SnlStep *s);

#endif
