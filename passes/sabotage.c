/* passes/sabotage.c -- plants one known fault in a scheduled function, so that tests can see that
 * the sanitizers would report it. Never part of a default pipeline.
 *
 *   kind=barrier   the stages `at` and `at + 1` become one: the barrier between them is gone
 *   kind=store     the first shared buffer made in stage `at` or later is written one element too
 * far to the right (plan-memory{redzone=64} must have left a zone behind it) */
#include "passes/pass.h"
#include "passes/schedule.h"

#include <string.h>

static bool drop_barrier(SnlModule *m, SnlFunc *func, int64_t after)
{
    bool any = false;
    for (SnlOp *op = func->first; op; op = op->next) {
        int64_t stage = snl_attr_int(&op->attrs, "stage", 0);
        if (stage <= after) continue;
        snl_attr_set_int(m, &op->attrs, "stage", stage - 1);
        any = true;
    }
    return any;
}

static bool shift_store(SnlModule *m, SnlFunc *func, int64_t stage)
{
    for (SnlOp *op = func->first; op; op = op->next) {
        SnlPlacement p;
        const SnlAttrValue *at = snl_attr_find(&op->attrs, "at");
        if (!at || !snl_placement_read(op, &p) || p.stage < stage || p.split == SNL_SPLIT_ALL)
            continue;
        snl_attr_set_int(m, &op->attrs, "at", at->i + 4);
        return true;
    }
    return false;
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    const char *kind = snl_pass_text(ctx, "kind");
    bool barrier = strcmp(kind, "barrier") == 0, any = false;
    if (!barrier && strcmp(kind, "store") != 0) {
        snl_error_at(ctx->diag, SNL_E_PIPELINE, "sabotage",
                     "found kind=%s, wanted barrier or store", kind);
        return SNL_PASS_FAILED;
    }
    int64_t at = snl_pass_int(ctx, "at");
    for (SnlFunc *f = m->first; f; f = f->next) {
        if (!snl_attr_find(&f->attrs, "stages")) continue;
        any = (barrier ? drop_barrier(m, f, at) : shift_store(m, f, at)) || any;
    }
    if (any) return SNL_PASS_CHANGED;
    snl_error_at(ctx->diag, SNL_E_PIPELINE, "sabotage",
                 "found no scheduled function with a fault to plant at stage %lld, wanted schedule "
                 "and plan-memory before it",
                 (long long)at);
    return SNL_PASS_FAILED;
}

static const SnlPassOption options[] = {
    {"kind", SNL_OPTION_TEXT, "barrier", 0, 0, "barrier or store"},
    {"at", SNL_OPTION_INT, "1", 0, 1000000, "stage"},
    {NULL, SNL_OPTION_INT, NULL, 0, 0, NULL},
};

const SnlPass snl_pass_sabotage = {
    .name = "sabotage",
    .summary = "plants a known fault for the sanitizers' tests",
    .exactness = SNL_CHANGES_FUNCTION,
    .options = options,
    .run = run,
};
