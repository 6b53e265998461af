/* codegen/scheduled.c -- is a function what the step emitter takes for granted?
 *
 * Scheduled IR is text like any other: half a pipeline, or a hand, may have left something out.
 * What is checked is what the emitters would otherwise assert or believe: placements, places and
 * shares that fit. Not checked is whether threads keep out of each other's way: that is the
 * scheduler's word. */
#include "codegen/gen.h"
#include "ir/base/checked.h"

typedef struct Check {
    const SnlFunc *func;
    SnlDiag *diag;
    int64_t tokens, shared_bytes, private_bytes;
    int64_t stage; /* of the op before */
    const bool *registers; /* by value id: the result can stay there */
} Check;

static SnlStatus fail(const Check *c, const SnlOp *op, const char *what)
{
    return snl_error(
        c->diag, SNL_E_STRUCTURE, op->loc,
        "code generation: '%s' of '@%s': %s: run schedule and plan-memory, and nothing "
        "that rewrites ops after them",
        snl_op_info[op->code].text, c->func->name, what);
}

/* Attribute `key` is the offset of `nbytes` of a region. */
static bool lies_in(const SnlOp *op, const char *key, int64_t nbytes, int64_t region)
{
    const SnlAttrValue *at = snl_attr_find(&op->attrs, key);
    return at && at->kind == SNL_ATTR_INT && at->i >= 0 && at->i % 4 == 0 && nbytes <= region &&
           at->i <= region - nbytes;
}

static SnlStatus check_place(const Check *c, const SnlOp *op, const SnlPlacement *p)
{
    int64_t scratch = snl_op_scratch_bytes(op, c->tokens);
    if (scratch > 0 && !lies_in(op, "scratch", scratch, c->private_bytes))
        return fail(c, op, "no place for its scratch");
    if (op->n_out == 0) return SNL_OK;
    if (snl_op_in_registers(op))
        return c->registers[op->out[0]->id]
                   ? SNL_OK
                   : fail(c, op, "a result in registers that nobody can take from there");
    bool private = p->split == SNL_SPLIT_ALL;
    if (snl_op_is_result(op)) return private ? fail(c, op, "a result in private memory") : SNL_OK;
    int64_t nbytes = snl_row_words(op->out[0]->type) * c->tokens * 4;
    return lies_in(op, "at", nbytes, private ? c->private_bytes : c->shared_bytes)
               ? SNL_OK
               : fail(c, op, "no place for its result");
}

/* Heads that an op works by; 0: it does not. */
static int64_t heads_of(const SnlOp *op)
{
    if (op->code == SNL_OP_ATTENTION) return snl_attention_kv_heads(op);
    if (op->code == SNL_OP_ATTENTION_MERGE)
        return snl_attr_int(&snl_in(op, 0)->def->attrs, "heads", 1);
    if (op->code == SNL_OP_KV_WRITE) return op->sym[0].state[0]->type->dim[1];
    bool heads = op->code == SNL_OP_ROPE || op->code == SNL_OP_RMS_NORM;
    return heads ? snl_attr_int(&op->attrs, "heads", 1) : 0;
}

static bool pieces_fit(const SnlOp *op, const SnlPlacement *p, int64_t width)
{
    const SnlAttrValue *pieces = snl_attr_find(&op->attrs, "pieces");
    if (!pieces) return true;
    int64_t begin = 0;
    if (op->code != SNL_OP_LINEAR || p->split != SNL_SPLIT_COLS || pieces->kind != SNL_ATTR_LIST)
        return false;
    for (size_t i = 0; i < pieces->list.n; i++) {
        const SnlAttrValue *end = &pieces->list.at[i];
        if (end->kind != SNL_ATTR_INT || end->i <= begin || (end->i - begin) % p->units != 0)
            return false;
        begin = end->i;
    }
    return begin == width;
}

/* units x grain columns cover a row, and only the last unit may be short. */
static bool columns_fit(const SnlOp *op, const SnlPlacement *p)
{
    const SnlType *type = op->n_out ? op->out[0]->type : snl_in(op, 0)->type;
    int64_t width = snl_type_width(type), all;
    if (p->units < 1 || p->grain < 1 || !snl_mul_i64(p->units, p->grain, &all)) return false;
    if (all < width || all - p->grain >= width || !pieces_fit(op, p, width)) return false;
    if (snl_linear_part(op) > 0) return p->split == SNL_SPLIT_COLS && p->units == 1;
    bool blocks = op->code == SNL_OP_CAST && snl_dtype_is_blocked(type->dtype);
    if (blocks && p->units > 1 && p->grain % SNL_BLOCK != 0) return false;
    bool inner = p->split == SNL_SPLIT_INNER;
    if (heads_of(op) > 0 && (inner || heads_of(op) % p->units != 0)) return false;
    return inner || op->code != SNL_OP_MIX || snl_type_members(type) == 1;
}

static bool split_fits(const Check *c, const SnlOp *op, const SnlPlacement *p)
{
    bool parts = op->code == SNL_OP_ATTENTION_PARTS;
    if (snl_linear_part(op) > 0 && (c->tokens > 1 || p->split == SNL_SPLIT_ROWS)) return false;
    if (parts || p->split == SNL_SPLIT_PARTS)
        return c->tokens == 1 && p->split == SNL_SPLIT_PARTS &&
               (parts || op->code == SNL_OP_KV_WRITE);
    switch (p->split) {
    case SNL_SPLIT_COLS:
    case SNL_SPLIT_INNER:
        return columns_fit(op, p);
    case SNL_SPLIT_TILES:
        return op->code == SNL_OP_ATTENTION;
    case SNL_SPLIT_ONE:
        return op->code == SNL_OP_ROW_WRITE;
    case SNL_SPLIT_ROWS:
    case SNL_SPLIT_ALL:
        return op->code != SNL_OP_ROW_WRITE;
    case SNL_SPLIT_PARTS:
    case SNL_SPLIT_VIEW:
    case SNL_SPLIT_COUNT:
        break;
    }
    return false;
}

static SnlStatus check_op(Check *c, const SnlOp *op)
{
    SnlPlacement p;
    if (snl_op_is_view(op)) return SNL_OK;
    if (snl_op_info[op->code].flags & SNL_CALLS) return fail(c, op, "a call of layers");
    if (!snl_placement_read(op, &p)) return fail(c, op, "no stage");
    if (p.stage < c->stage) return fail(c, op, "a stage before that of the op before it");
    c->stage = p.stage;
    if (!split_fits(c, op, &p)) return fail(c, op, "a split that does not fit it");
    return check_place(c, op, &p);
}

static SnlStatus check_ops(Check *c)
{
    SnlArena *arena = snl_arena_create();
    SnlStatus status = SNL_OK;
    c->registers = snl_find_registers(arena, c->func, true);
    for (const SnlOp *op = c->func->first; op != c->func->last && status == SNL_OK; op = op->next)
        status = check_op(c, op);
    snl_arena_destroy(arena);
    return status;
}

SnlStatus snl_check_scheduled(const SnlFunc *func, SnlDiag *diag)
{
    const SnlAttrs *attrs = &func->attrs;
    Check c = {.func = func,
               .diag = diag,
               .tokens = snl_attr_int(attrs, "tokens", 0),
               .shared_bytes = snl_attr_int(attrs, "shared_bytes", -1),
               .private_bytes = snl_attr_int(attrs, "private_bytes", -1)};
    if (c.tokens < 1 || c.tokens > SNL_MAX_BLOCK || c.shared_bytes < 0 || c.private_bytes < 0)
        return snl_error(
            diag, SNL_E_STRUCTURE, func->loc,
            "code generation: '@%s' is not planned: run shapes, schedule and plan-memory",
            func->name);
    SNL_TRY(check_ops(&c));
    for (size_t i = 0; i < func->last->n_in; i++) {
        const SnlOp *def = snl_in(func->last, i)->def;
        bool again = false;
        for (size_t k = 0; k < i; k++) again = again || snl_in(func->last, k)->def == def;
        if (!def || snl_op_is_view(def) || again)
            return fail(&c, func->last, "a result that no op of its own makes");
    }
    return SNL_OK;
}
