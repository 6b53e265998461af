/* passes/shapes.c -- one function becomes two: one token at a time, and a block of tokens.
 *
 *     func @forward(%tokens: i32[T], %pos: index) -> f32[T, 8] { ... }
 * becomes, beside it,
 *     func @forward.decode(...) -> ... attributes {tokens = 1} { ... }
 *     func @forward.prefill(...) -> ... attributes {tail, tokens = 64} { ... }
 *
 * The block has 64 tokens by default. Each reads every matrix once, so where they lie beyond the
 * caches a larger one is better, up to 256, as long as its widest row of activations for all its
 * tokens stays in them.
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
    if (!f || f->kind == SNL_FUNC) return f;
    snl_error(ctx->diag, SNL_E_PIPELINE, f->loc,
              "shapes: '@%s' is a layer, wanted a func, whose states are the module's", name);
    return NULL;
}

/* The two forms take one call's arguments and give one call's results. */
static bool same_signature(const SnlFunc *a, const SnlFunc *b)
{
    if (a->n_param != b->n_param || a->n_result != b->n_result) return false;
    for (size_t i = 0; i < a->n_param; i++)
        if (a->param[i]->type != b->param[i]->type) return false;
    for (size_t i = 0; i < a->n_result; i++)
        if (a->result[i] != b->result[i]) return false;
    return true;
}

/* A copy of `func` named `@name.form`; NULL after reporting that the name is taken. */
static SnlFunc *make_form(SnlPassContext *ctx, const SnlFunc *func, const char *name,
                          const char *form)
{
    SnlModule *m = func->module;
    const char *full = snl_arena_printf(m->arena, "%s.%s", name, form);
    bool taken = snl_module_find_func(m, full) || snl_module_find_weight(m, full) ||
                 snl_module_find_state(m, full);
    if (!taken) return snl_func_clone(func, full);
    snl_error_at(ctx->diag, SNL_E_PIPELINE, "shapes", "'@%s' exists already in module '@%s'", full,
                 m->name);
    return NULL;
}

/* ---- tokens of a block ----------------------------------------------------------------------- */

enum { SMALLEST_BLOCK = 64, LARGEST_BLOCK = 256 };
/* What a large cache holds: all matrices of a small model, or the activations of one op. */
static const int64_t CACHED_WEIGHTS = 32 << 20, CACHED_ACTIVATIONS = 8 << 20;

/* As they are packed, but for padding. */
static int64_t matrix_bytes(const SnlType *type)
{
    int64_t elems = snl_type_elems(type, 1);
    switch (type->dtype) {
    case SNL_Q8_0:
        return elems / 32 * 34;
    case SNL_Q4_0:
        return elems / 32 * 18;
    case SNL_F32:
        return elems * 4;
    default:
        return elems * 2;
    }
}

static int64_t block_for(const SnlFunc *func)
{
    int64_t weights = 0, row = 1, block = SMALLEST_BLOCK;
    for (const SnlOp *op = func->first; op; op = op->next) {
        for (size_t i = 0; op->code == SNL_OP_LINEAR && i < op->sym[0].n; i++)
            weights += matrix_bytes(op->sym[0].weight[i]->type);
        if (op->n_out == 0 || snl_op_is_result(op)) continue;
        int64_t words = snl_row_words(op->out[0]->type);
        if (words > row) row = words;
    }
    if (weights <= CACHED_WEIGHTS) return block;
    while (block < LARGEST_BLOCK && row <= CACHED_ACTIVATIONS / 4 / (2 * block)) block *= 2;
    return block;
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    int64_t block = snl_pass_int(ctx, "block");
    if (block == 1) {
        snl_error_at(ctx->diag, SNL_E_PIPELINE, "shapes",
                     "block: found 1, wanted 2 to %d tokens, or 0 for what suits the function",
                     SNL_MAX_BLOCK);
        return SNL_PASS_FAILED;
    }
    const char *name = snl_pass_text(ctx, "func"), *prompt = snl_pass_text(ctx, "prefill");
    SnlFunc *func = find(m, ctx, name);
    if (!func) return SNL_PASS_FAILED;
    SnlFunc *source = *prompt ? find(m, ctx, prompt) : func;
    if (!source) return SNL_PASS_FAILED;
    if (!same_signature(func, source)) {
        snl_error_at(ctx->diag, SNL_E_PIPELINE, "shapes",
                     "prefill=%s: found other parameters or results than those of '@%s'", prompt,
                     name);
        return SNL_PASS_FAILED;
    }
    SnlFunc *decode = make_form(ctx, func, name, "decode");
    SnlFunc *prefill = decode ? make_form(ctx, source, name, "prefill") : NULL;
    if (!prefill) return SNL_PASS_FAILED;
    snl_attr_set_int(m, &decode->attrs, "tokens", 1);
    snl_attr_set_int(m, &prefill->attrs, "tokens", block ? block : block_for(prefill));
    if (snl_pass_bool(ctx, "tail")) snl_attr_set_flag(m, &prefill->attrs, "tail");
    return SNL_PASS_CHANGED;
}

static const SnlPassOption options[] = {
    {"func", SNL_OPTION_TEXT, "forward", 0, 0, "the function"},
    {"prefill", SNL_OPTION_TEXT, "", 0, 0, "function that the prefill form is taken from"},
    {"block", SNL_OPTION_INT, "0", 0, SNL_MAX_BLOCK,
     "most tokens of a prefill call, 2 or more; 0: 64, up to 256 where matrices exceed caches"},
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
