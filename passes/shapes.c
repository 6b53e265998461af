/* passes/shapes.c -- one function becomes two: one token at a time, and a block of tokens.
 *
 *     func @forward(%tokens: i32[T], %pos: index) -> f32[T, 8] { ... }
 * becomes, beside it,
 *     func @forward.decode(...) -> ... attributes {tokens = 1} { ... }
 *     func @forward.prefill(...) -> ... attributes {tail, tokens = 64} { ... }
 *
 * From here on the two go separate ways: decode runs breadth-first through independent layers
 * (members), prefill depth-first. `prefill=NAME` takes the prefill form from another function of
 * the same signature: a plan that processes its prompt sequentially. `tail` says that only the
 * asked-for rows of result 0 (logits) matter in prefill. The function itself stays as it is. */
#include "passes/pass.h"
#include "passes/schedule.h"

static SnlFunc *find(SnlModule *m, SnlPassContext *ctx, const char *name)
{
    SnlFunc *f = snl_module_find_func(m, name);
    if (!f)
        snl_error_at(ctx->diag, SNL_E_PIPELINE, "shapes", "no function '@%s' in module '@%s'", name,
                     m->name);
    return f;
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    const char *name = snl_pass_text(ctx, "func"), *prompt = snl_pass_text(ctx, "prefill");
    SnlFunc *func = find(m, ctx, name);
    if (!func) return SNL_PASS_FAILED;
    SnlFunc *source = *prompt ? find(m, ctx, prompt) : func;
    if (!source) return SNL_PASS_FAILED;
    SnlFunc *decode = snl_func_clone(func, snl_arena_printf(m->arena, "%s.decode", name));
    SnlFunc *prefill = snl_func_clone(source, snl_arena_printf(m->arena, "%s.prefill", name));
    snl_attr_set_int(m, &decode->attrs, "tokens", 1);
    snl_attr_set_int(m, &prefill->attrs, "tokens", snl_pass_int(ctx, "block"));
    if (snl_pass_bool(ctx, "tail")) snl_attr_set_flag(m, &prefill->attrs, "tail");
    return SNL_PASS_CHANGED;
}

static const SnlPassOption options[] = {
    {"func", SNL_OPTION_TEXT, "forward", 0, 0, "the function"},
    {"prefill", SNL_OPTION_TEXT, "", 0, 0, "function that the prefill form is taken from"},
    {"block", SNL_OPTION_INT, "64", 2, SNL_MAX_BLOCK, "most tokens of a prefill call"},
    {"tail", SNL_OPTION_BOOL, "false", 0, 0,
     "prefill computes only the asked-for rows of result 0"},
    {NULL, SNL_OPTION_INT, NULL, 0, 0, NULL},
};

const SnlPass snl_pass_shapes = {
    .name = "shapes",
    .summary = "a function's decode and prefill forms",
    .exactness = SNL_EXACT,
    .options = options,
    .run = run,
};
