/* passes/attention_parts.c -- long contexts, few heads: positions in parts that threads share out.
 *
 *   func @f.decode(...) -> ... attributes {tokens = 1} {
 *     %a = attention %q, %k, %v, %pos, @kv {heads = 4, kv_heads = 1} : f32[T, 256]
 * becomes, where @kv is f32[2, 1, 4096, 64],
 *     %parts = attention_parts %q, %k, %v, %pos, @kv {heads = 4, kv_heads = 1, part = 256} : ...
 *     %a = attention_merge %parts, %pos : f32[T, 256]
 *
 * Decode shares attention out by kv heads, so threads beyond kv heads x members have nothing to do,
 * and with a long context that is what a token's time goes to. Parts make units of equal size of
 * it; they cost a row in memory for each part, its merge, and a barrier. So: only where kv heads x
 * members are at most `kv_heads`, and a token may see `context` positions or more. One by default:
 * two heads already are work for the two threads that plans and costs are reckoned for, and parts
 * of them only cost (decode of models with 2 to 4 kv heads: 0.92 times as fast). --cores of the
 * command line sets it to one head less than there are cores.
 *
 * Exact: parts lie at fixed positions, whatever the number of threads. */
#include "passes/pass.h"
#include "passes/rewrite.h"
#include "passes/schedule.h"

/* No more parts than this, which a merge reads; where they are larger for it, blocks of the
 * kernel. */
enum { MOST_PARTS = 32, STEP = SNL_ATTENTION_BLOCK };

/* Positions that a token may see at most. */
static int64_t seen_at_most(const SnlOp *op)
{
    int64_t most = 0;
    for (size_t m = 0; m < op->sym[0].n; m++) {
        int64_t context = op->sym[0].state[m]->type->dim[2];
        int64_t window = snl_attr_int_at(&op->attrs, "window", m, context);
        int64_t seen = window < context ? window + 1 : context;
        if (seen > most) most = seen;
    }
    return most;
}

/* One division serves all members. */
static bool same_contexts(const SnlOp *op)
{
    const SnlSymbols *s = &op->sym[0];
    for (size_t m = 1; m < s->n; m++)
        if (s->state[m]->type->dim[2] != s->state[0]->type->dim[2]) return false;
    return true;
}

static bool is_worth_it(const SnlPassContext *ctx, const SnlOp *op)
{
    int64_t heads = snl_attention_kv_heads(op) * (int64_t)op->sym[0].n;
    return heads <= snl_pass_int(ctx, "kv_heads") && same_contexts(op) &&
           seen_at_most(op) >= snl_pass_int(ctx, "context");
}

static int64_t part_size(const SnlPassContext *ctx, const SnlOp *op)
{
    int64_t wanted = snl_pass_int(ctx, "part"), context = op->sym[0].state[0]->type->dim[2];
    bool few = (context + wanted - 1) / wanted <= MOST_PARTS;
    return few ? wanted : (context / MOST_PARTS + STEP - 1) / STEP * STEP;
}

static void take_apart(SnlPassContext *ctx, SnlOp *op)
{
    SnlModule *m = op->func->module;
    SnlOp *parts = snl_op_create(op->func, op, SNL_OP_ATTENTION_PARTS);
    for (size_t i = 0; i < op->n_in; i++) snl_op_add_in(parts, snl_in(op, i));
    snl_op_set_states(parts, 0, op->sym[0].state, op->sym[0].n, op->sym[0].list);
    for (size_t i = 0; i < op->attrs.n; i++)
        snl_attr_set(m, &parts->attrs, op->attrs.at[i].key, op->attrs.at[i].value);
    snl_attr_set_int(m, &parts->attrs, "part", part_size(ctx, op));
    SnlOp *merge = snl_op_create(op->func, op, SNL_OP_ATTENTION_MERGE);
    snl_op_add_in(merge, snl_op_finish(parts, "parts"));
    snl_op_add_in(merge, snl_in(op, 3));
    const char *name = op->out[0]->name;
    SnlValue *y = snl_op_finish(merge, name);
    snl_op_replace(op, y);
    snl_value_rename(y, name);
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    bool changed = false;
    if (snl_pass_int(ctx, "part") % 16 != 0) {
        snl_error_at(ctx->diag, SNL_E_PIPELINE, "attention-parts",
                     "part: found %lld, wanted a multiple of 16",
                     (long long)snl_pass_int(ctx, "part"));
        return SNL_PASS_FAILED;
    }
    for (SnlFunc *f = m->first; f; f = f->next) {
        if (snl_attr_int(&f->attrs, "tokens", 0) != 1) continue;
        for (SnlOp *op = f->first, *next; op; op = next) {
            next = op->next;
            if (op->code != SNL_OP_ATTENTION || !is_worth_it(ctx, op)) continue;
            take_apart(ctx, op);
            changed = true;
        }
    }
    return changed ? SNL_PASS_CHANGED : SNL_PASS_SAME;
}

static const SnlPassOption options[] = {
    {"kv_heads", SNL_OPTION_INT, "1", 0, 65536, "most kv heads x members that are taken apart"},
    {"context", SNL_OPTION_INT, "2048", 1, INT32_MAX, "fewest positions that a token may see"},
    {"part", SNL_OPTION_INT, "256", 16, INT32_MAX, "positions of a part, a multiple of 16"},
    {NULL, SNL_OPTION_INT, NULL, 0, 0, NULL},
};

const SnlPass snl_pass_attention_parts = {
    .name = "attention-parts",
    .summary = "attention of one token in parts of positions that threads share out",
    .exactness = SNL_REORDERS,
    .options = options,
    .run = run,
};
