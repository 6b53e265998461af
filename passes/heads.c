/* passes/heads.c -- from the logits back to their matrix. */
#include "passes/heads.h"

bool *snl_head_weights(SnlArena *arena, const SnlModule *m)
{
    bool *is_head = SNL_NEW_ARRAY(arena, bool, m->weights.n);
    for (const SnlFunc *f = m->first; f; f = f->next) {
        const SnlOp *ret = f->last;
        if (f->kind != SNL_FUNC || !ret || ret->n_in == 0) continue;
        const SnlOp *op = snl_in(ret, 0)->def;
        while (op && op->n_in == 1 && (snl_op_info[op->code].flags & SNL_ELTWISE))
            op = snl_in(op, 0)->def;
        if (!op || op->code != SNL_OP_LINEAR) continue;
        for (size_t i = 0; i < op->sym[0].n; i++) is_head[op->sym[0].weight[i]->id] = true;
    }
    return is_head;
}
