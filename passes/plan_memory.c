/* passes/plan_memory.c -- a fixed place for every buffer of a scheduled function.
 *
 *   %v = linear %o, @up {grain = 16, split = cols, stage = 2, units = 8} : f32[T, 128]
 * becomes
 *   %v = linear %o, @up {at = 768, grain = 16, split = cols, stage = 2, units = 8} : f32[T, 128]
 * and the function gets attributes {private_bytes = ..., shared_bytes = ...}.
 *
 * Shared memory: a buffer lives from the stage that makes it to the last stage that reads it;
 * inside one stage threads run at their own pace, so stages are the only order there is. Private
 * memory (split = all, scratch): every thread has its own, so the order of ops counts. First fit,
 * in order of definition. Views and results of the function take no place (nor do logits that are
 * capped in their place: snl_op_is_result); a linear's result that goes straight into the op that
 * reads it is marked `registers` instead (passes/registers.c).
 *
 * With `redzone=N` (code built with an address sanitizer) every buffer has its place to itself and
 * N bytes (rounded up to 64) behind it that the step poisons: a store past the end is then seen. */
#include "passes/pass.h"
#include "passes/schedule.h"

enum { ALIGN = 64 };

typedef struct Buffer {
    int64_t from, to; /* stages (shared) or op numbers (private), inclusive */
    int64_t at, nbytes;
} Buffer;

typedef struct Region {
    SnlVec(Buffer) buffers;
    int64_t nbytes;
} Region;

typedef struct Planner {
    SnlModule *module;
    SnlFunc *func;
    SnlPassContext *ctx;
    int64_t tokens, redzone;
    int64_t *number; /* of the op that makes a value, by value id */
    bool *registers; /* by value id: needs no place */
    Region shared, private;
} Planner;

/* Far beyond any machine; sums of sizes below it cannot overflow. */
static const int64_t MOST_BYTES = (int64_t)1 << 50;

/* Gives `b` the lowest offset at which it meets no buffer alive at the same time, and notes it on
 * the op as attribute `key`. */
static SnlStatus region_add(Planner *p, Region *region, Buffer b, SnlOp *op, const char *key)
{
    if (b.nbytes > MOST_BYTES - region->nbytes)
        return snl_error(p->ctx->diag, SNL_E_UNSUPPORTED, op->loc,
                         "plan-memory: buffers of '@%s' take more than %lld bytes for %lld tokens",
                         p->func->name, (long long)MOST_BYTES, (long long)p->tokens);
    b.nbytes = snl_round_up(b.nbytes, ALIGN) + p->redzone;
    if (p->redzone > 0) b.from = 0, b.to = INT64_MAX;
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t i = 0; i < region->buffers.n; i++) {
            const Buffer *o = &region->buffers.at[i];
            bool together = o->from <= b.to && b.from <= o->to;
            if (!together || b.at >= o->at + o->nbytes || o->at >= b.at + b.nbytes) continue;
            b.at = o->at + o->nbytes;
            moved = true;
        }
    }
    SNL_PUSH(p->ctx->scratch, &region->buffers, b);
    if (b.at + b.nbytes > region->nbytes) region->nbytes = b.at + b.nbytes;
    snl_attr_set_int(p->module, &op->attrs, key, b.at);
    return SNL_OK;
}

/* An op without results is as late as the next that has some. */
static int64_t number_of(const Planner *p, const SnlOp *op)
{
    while (op && op->n_out == 0) op = op->next;
    return op ? p->number[op->out[0]->id] : INT64_MAX;
}

/* Last reader of `v`, its views included, by stage or by op number. */
static int64_t last_use(const Planner *p, const SnlValue *v, bool by_stage, int64_t from)
{
    int64_t last = from;
    for (const SnlUse *u = v->uses; u; u = u->next) {
        const SnlOp *op = u->user;
        int64_t when = from;
        if (snl_op_is_view(op))
            when = last_use(p, op->out[0], by_stage, from);
        else if (op->code != SNL_OP_RETURN)
            when = by_stage ? snl_attr_int(&op->attrs, "stage", 0) : number_of(p, op);
        if (when > last) last = when;
    }
    return last;
}

static SnlStatus plan_op(Planner *p, SnlOp *op, int64_t n)
{
    SnlPlacement place;
    if (!snl_placement_read(op, &place))
        return snl_error(p->ctx->diag, SNL_E_STRUCTURE, op->loc,
                         "plan-memory: op '%s' of '@%s' has no stage: run schedule first",
                         snl_op_info[op->code].text, p->func->name);
    int64_t scratch = snl_op_scratch_bytes(op, p->tokens);
    if (scratch > 0)
        SNL_TRY(region_add(p, &p->private, (Buffer){.from = n, .to = n, .nbytes = scratch}, op,
                           "scratch"));
    if (op->n_out == 0 || snl_op_is_view(op) || snl_op_is_result(op)) return SNL_OK;
    if (p->registers[op->out[0]->id]) {
        snl_attr_set_flag(p->module, &op->attrs, "registers");
        return SNL_OK;
    }
    bool own = place.split == SNL_SPLIT_ALL;
    Buffer b = {.from = own ? n : place.stage,
                .nbytes = snl_row_words(op->out[0]->type) * p->tokens * 4};
    b.to = last_use(p, op->out[0], !own, b.from);
    return region_add(p, own ? &p->private : &p->shared, b, op, "at");
}

static SnlStatus plan_func(SnlModule *m, SnlFunc *func, SnlPassContext *ctx)
{
    Planner p = {.module = m,
                 .func = func,
                 .ctx = ctx,
                 .tokens = snl_attr_int(&func->attrs, "tokens", 1),
                 .redzone = snl_round_up(snl_pass_int(ctx, "redzone"), ALIGN),
                 .number = SNL_NEW_ARRAY(ctx->scratch, int64_t, func->n_values + 1),
                 .registers = snl_find_registers(ctx->scratch, func, false)};
    int64_t n = 0;
    for (const SnlOp *op = func->first; op; op = op->next, n++)
        for (size_t i = 0; i < op->n_out; i++) p.number[op->out[i]->id] = n;
    n = 0;
    for (SnlOp *op = func->first; op != func->last; op = op->next, n++) SNL_TRY(plan_op(&p, op, n));
    snl_attr_set_int(m, &func->attrs, "shared_bytes", p.shared.nbytes);
    snl_attr_set_int(m, &func->attrs, "private_bytes", p.private.nbytes);
    if (p.redzone > 0) snl_attr_set_int(m, &func->attrs, "redzone", p.redzone);
    return SNL_OK;
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    bool any = false;
    for (SnlFunc *f = m->first; f; f = f->next) {
        if (!snl_attr_find(&f->attrs, "stages")) continue;
        if (plan_func(m, f, ctx) != SNL_OK) return SNL_PASS_FAILED;
        any = true;
    }
    return any ? SNL_PASS_CHANGED : SNL_PASS_SAME;
}

static const SnlPassOption options[] = {
    {"redzone", SNL_OPTION_INT, "0", 0, 4096,
     "bytes (rounded up to 64) behind each buffer that nothing may touch"},
    {NULL, SNL_OPTION_INT, NULL, 0, 0, NULL},
};

const SnlPass snl_pass_plan_memory = {
    .name = "plan-memory",
    .summary = "fixed offsets for every buffer of the scheduled functions",
    .exactness = SNL_EXACT,
    .options = options,
    .run = run,
};
