/* passes/registers.c -- results of linear that stay in registers.
 *
 *     %u = linear %x, @up {registers, split = cols, stage = 9, ...}
 *     %a = relu2 %u {at = 0, split = cols, stage = 9, ...}
 *
 * Of many tokens, a linear's result is larger than the caches that it would wait in for the
 * elementwise op that reads it. Where that op does the same columns in the same stage, and nobody
 * else reads the result, the kernel of linear applies the op to its sums before it stores them, and
 * the result needs no memory. The op's other operands must be there when linear runs. */
#include "passes/schedule.h"

enum { MOST_OPS = 2 };

typedef struct Finder {
    int64_t *made;   /* by value id: number of the op in whose place it is computed */
    bool *registers; /* by value id: found */
} Finder;

static bool is_plain(const SnlType *t)
{
    return snl_type_members(t) == 1 && !snl_dtype_is_blocked(t->dtype);
}

/* Does the op compute every element of its result from the same element of its operands, one or
 * two? Not lincomb: residual rows are few columns wide, and a pass over them reads them in
 * order. */
static bool is_elementwise(const SnlOp *op)
{
    switch (op->code) {
    case SNL_OP_RELU2:
    case SNL_OP_SILU:
    case SNL_OP_SIGMOID:
    case SNL_OP_SCALE:
    case SNL_OP_CAST:
    case SNL_OP_MUL:
        break;
    default:
        return false;
    }
    if (!is_plain(op->out[0]->type)) return false;
    for (size_t i = 0; i < op->n_in; i++) {
        const SnlType *t = snl_in(op, i)->type;
        if (!is_plain(t) || snl_type_width(t) != snl_type_width(op->out[0]->type)) return false;
    }
    return true;
}

static bool same_share(const SnlOp *a, const SnlOp *b)
{
    SnlPlacement p, q;
    return snl_placement_read(a, &p) && snl_placement_read(b, &q) && p.stage == q.stage &&
           p.split == q.split && p.tail == q.tail &&
           (p.split == SNL_SPLIT_ROWS ||
            (p.split == SNL_SPLIT_COLS && p.units == q.units && p.grain == q.grain &&
             p.grain % SNL_PANEL_GRAIN == 0));
}

/* The op that alone reads `v` and can take it from registers where op number `n` is; null: none. */
static SnlOp *next_op(const Finder *f, const SnlValue *v, int64_t n)
{
    const SnlUse *use = v->uses;
    if (!use || use->next || snl_op_is_result(v->def)) return NULL;
    SnlOp *op = use->user;
    if (!is_elementwise(op) || !same_share(v->def, op) || snl_op_is_result(op)) return NULL;
    for (size_t i = 0; i < op->n_in; i++) {
        const SnlOp *other = snl_storage_op(snl_in(op, i));
        if (other && other != v->def && f->made[other->out[0]->id] >= n) return NULL;
    }
    return op;
}

static bool is_finishable(const SnlOp *op)
{
    return op->code == SNL_OP_LINEAR && op->sym[0].n == 1 && is_plain(op->out[0]->type) &&
           !snl_attr_find(&op->attrs, "pieces") &&
           snl_type_width(op->out[0]->type) % SNL_PANEL_GRAIN == 0;
}

bool *snl_find_registers(SnlArena *arena, const SnlFunc *func, bool marked)
{
    Finder f = {.made = SNL_NEW_ARRAY(arena, int64_t, func->n_values + 1),
                .registers = SNL_NEW_ARRAY(arena, bool, func->n_values + 1)};
    int64_t n = 1;
    for (SnlOp *op = func->first; op; op = op->next, n++)
        for (size_t i = 0; i < op->n_out; i++) f.made[op->out[i]->id] = n;
    if (snl_attr_int(&func->attrs, "tokens", 1) == 1) return f.registers;
    n = 1;
    for (SnlOp *op = func->first; op; op = op->next, n++) {
        const SnlOp *at = op;
        for (int i = 0; i < MOST_OPS && is_finishable(op); i++) {
            const SnlOp *next = next_op(&f, at->out[0], n);
            if (!next || (marked && !snl_op_in_registers(at))) break;
            f.registers[at->out[0]->id] = true;
            f.made[next->out[0]->id] = n;
            at = next;
        }
    }
    return f.registers;
}

bool snl_op_in_registers(const SnlOp *op)
{
    return snl_attr_flag(&op->attrs, "registers");
}

bool snl_op_takes_registers(const SnlOp *op)
{
    for (size_t i = 0; i < op->n_in; i++) {
        const SnlOp *def = snl_in(op, i)->def;
        if (def && snl_op_in_registers(def)) return true;
    }
    return false;
}
