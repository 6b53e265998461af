/* passes/plan_memory.c -- a fixed place for every buffer of a scheduled function.
 *
 *   %u = linear %n, @w {grain = 16, split = cols, stage = 1, units = 8} : f32[T, 128]
 * becomes
 *   %u = linear %n, @w {at = 4096, grain = 16, split = cols, stage = 1, units = 8} : f32[T, 128]
 * and the function gets attributes {private_bytes = ..., shared_bytes = ...}.
 *
 * Shared memory: a buffer lives from the stage that makes it to the last stage that reads it;
 * inside one stage threads run at their own pace, so stages are the only order there is. Private
 * memory (split = all, scratch): every thread has its own, so the order of ops counts. First fit,
 * in order of definition. Views and results of the function take no place.
 *
 * With `redzone=N` (code built with an address sanitizer) every buffer has its place to itself and
 * N bytes behind it that the step poisons: a store past the end is then seen. */
#include "passes/pass.h"
#include "passes/schedule.h"

enum { ALIGN = 64 };

typedef struct Buffer {
    int64_t from, to; /* stages (shared) or op numbers (private), inclusive */
    int64_t at, nbytes;
} Buffer;

typedef struct Region {
    SnlVec(Buffer) buffers;
    int64_t nbytes, redzone;
} Region;

static int64_t round_up(int64_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* Lowest offset at which [at, at + nbytes) meets no buffer alive at the same time. */
static int64_t region_add(SnlArena *arena, Region *region, Buffer b)
{
    b.nbytes = round_up(b.nbytes) + region->redzone;
    b.at = 0;
    if (region->redzone > 0) b.from = 0, b.to = INT64_MAX;
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
    SNL_PUSH(arena, &region->buffers, b);
    if (b.at + b.nbytes > region->nbytes) region->nbytes = b.at + b.nbytes;
    return b.at;
}

/* Last reader of `v`, its views included, by stage or by op number. */
static int64_t last_use(const SnlValue *v, const int64_t *number, bool by_stage, int64_t from)
{
    int64_t last = from;
    for (const SnlUse *u = v->uses; u; u = u->next) {
        const SnlOp *op = u->user;
        int64_t when = from;
        if (snl_op_is_view(op))
            when = last_use(op->out[0], number, by_stage, from);
        else if (op->code != SNL_OP_RETURN)
            when = by_stage ? snl_attr_int(&op->attrs, "stage", 0)
                            : (op->n_out ? number[op->out[0]->id] : INT64_MAX);
        if (when > last) last = when;
    }
    return last;
}

static SnlStatus plan_func(SnlModule *m, SnlFunc *func, SnlPassContext *ctx)
{
    int64_t redzone = snl_pass_int(ctx, "redzone");
    int64_t tokens = snl_attr_int(&func->attrs, "tokens", 1);
    int64_t *number = SNL_NEW_ARRAY(ctx->scratch, int64_t, func->n_values + 1);
    int64_t n = 0;
    for (SnlOp *op = func->first; op; op = op->next, n++)
        for (size_t i = 0; i < op->n_out; i++) number[op->out[i]->id] = n;
    Region shared = {.redzone = redzone}, private = {.redzone = redzone};
    n = 0;
    for (SnlOp *op = func->first; op != func->last; op = op->next, n++) {
        SnlPlacement p;
        if (!snl_placement_read(op, &p))
            return snl_error(ctx->diag, SNL_E_STRUCTURE, op->loc,
                             "plan-memory: op '%s' of '@%s' has no stage: run schedule first",
                             snl_op_info[op->code].text, func->name);
        int64_t scratch = snl_op_scratch_bytes(op, tokens);
        if (scratch > 0) {
            Buffer b = {.from = n, .to = n, .nbytes = scratch};
            snl_attr_set_int(m, &op->attrs, "scratch", region_add(ctx->scratch, &private, b));
        }
        if (op->n_out == 0 || snl_op_is_view(op) || snl_op_is_result(op)) continue;
        int64_t nbytes = snl_row_words(op->out[0]->type) * tokens * 4;
        bool own = p.split == SNL_SPLIT_ALL;
        int64_t from = own ? n : p.stage;
        Buffer b = {.from = from, .to = last_use(op->out[0], number, !own, from), .nbytes = nbytes};
        snl_attr_set_int(m, &op->attrs, "at",
                         region_add(ctx->scratch, own ? &private : &shared, b));
    }
    snl_attr_set_int(m, &func->attrs, "shared_bytes", shared.nbytes);
    snl_attr_set_int(m, &func->attrs, "private_bytes", private.nbytes);
    if (redzone > 0) snl_attr_set_int(m, &func->attrs, "redzone", redzone);
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
    {"redzone", SNL_OPTION_INT, "0", 0, 4096, "bytes behind each buffer that nothing may touch"},
    {NULL, SNL_OPTION_INT, NULL, 0, 0, NULL},
};

const SnlPass snl_pass_plan_memory = {
    .name = "plan-memory",
    .summary = "fixed offsets for every buffer of the scheduled functions",
    .exactness = SNL_EXACT,
    .options = options,
    .run = run,
};
