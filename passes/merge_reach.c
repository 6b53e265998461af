/* passes/merge_reach.c -- where a search for operations that do not depend on one may end.
 *
 * Such an operation reads only values that do not depend on it either, above all the one of them
 * that was made last. So the search follows the values that some later operation reads as its last
 * made operand; when all of them that are left depend, so does everything behind. In a chain of
 * layers that is the end of a layer, where only the chained state goes on. Without it every search
 * would go to the function's end, and all of them together with the square of the layers. What is
 * left of that square is one short walk over the function after each merge (snl_reach_find). */
#include "passes/merge_linear.h"

SnlValue *snl_reach_latest(const SnlReach *r, const SnlOp *op)
{
    SnlValue *latest = NULL;
    for (size_t i = 0; i < op->n_in; i++) {
        SnlValue *v = snl_in(op, i);
        if (r->maker[v->id] && (!latest || r->maker[v->id] > r->maker[latest->id])) latest = v;
    }
    return latest;
}

static void ensure_room(SnlReach *r, size_t n_values, size_t n_ops)
{
    if (n_values > r->n_values) {
        r->n_values = 2 * n_values;
        r->maker = SNL_NEW_ARRAY(r->arena, uint32_t, r->n_values);
        r->last = SNL_NEW_ARRAY(r->arena, uint32_t, r->n_values);
    }
    if (n_ops > r->n_ops) {
        r->n_ops = 2 * n_ops;
        r->open = SNL_NEW_ARRAY(r->arena, uint32_t, r->n_ops);
    }
}

/* Who makes each value, and who reads it last as its latest operand. The number of ops. */
static uint32_t number_ops(SnlReach *r, const SnlFunc *f)
{
    uint32_t n = 0;
    for (const SnlOp *op = f->first; op; op = op->next) {
        n++;
        for (size_t i = 0; i < op->n_out; i++) {
            r->maker[op->out[i]->id] = n;
            r->last[op->out[i]->id] = 0;
        }
        const SnlValue *latest = snl_reach_latest(r, op);
        if (latest)
            r->last[latest->id] = n;
        else
            r->last_root = n;
    }
    return n;
}

void snl_reach_find(SnlReach *r, const SnlFunc *f)
{
    size_t n_ops = 1;
    for (const SnlOp *op = f->first; op; op = op->next) n_ops++;
    ensure_room(r, f->n_values, n_ops);
    r->last_root = 0;
    uint32_t n = number_ops(r, f), open = 0, at = 0;
    SNL_ASSERT(n + 1 == n_ops);
    r->open[0] = 0;
    for (const SnlOp *op = f->first; op; op = op->next) {
        at++;
        const SnlValue *latest = snl_reach_latest(r, op);
        if (latest && r->last[latest->id] == at) open--;
        for (size_t i = 0; i < op->n_out; i++) open += r->last[op->out[i]->id] > at;
        r->open[at] = open;
    }
}
