/* passes/merge_linear.c -- operations that could run side by side become one.
 *
 * 1. Linears of one input (query, key and value) become one, on a concatenated weight:
 *
 *      %q = linear %n, @l0.wq : f32[T, 8]
 *      %k = linear %n, @l0.wk : f32[T, 4]
 *      %v = linear %n, @l0.wv : f32[T, 4]
 *
 *    becomes
 *
 *      weight @l0.wqkv : f32[16, 8] = concat(@l0.wq, @l0.wk, @l0.wv) {axis = 0}
 *      %qkv = linear %n, @l0.wqkv : f32[T, 16]
 *      %q = slice %qkv {begin = 0, end = 8} : f32[T, 8]
 *      %k = slice %qkv {begin = 8, end = 12} : f32[T, 4]
 *      %v = slice %qkv {begin = 12, end = 16} : f32[T, 4]
 *
 *    only when no weight has another use (it would be stored twice) and the stored types agree.
 *
 * 2. Independent operations of one shape and role become members of one:
 *
 *      %a = linear %x, @w8 : f32[T, 8]
 *      %b = linear %x, @w9 : f32[T, 8]
 *      %y = lincomb %x, %a, %b : f32[T, 8]
 *
 *    becomes
 *
 *      %ab = linear %x, [@w8, @w9] {reduce} : f32[T, 8]
 *      %y = lincomb %x, %ab : f32[T, 8]
 *
 *    bottom-up, so that norms, attentions, cache writes and elementwise operations follow their
 *    inputs. The sum of all members of a linear becomes `reduce` when nobody else reads them.
 *
 * No weight is read twice, none is stored twice. */
#include "passes/merge_linear.h"

#include <string.h>

typedef struct Kind {
    const char *name;
    SnlOpCode code;
} Kind;
static const Kind kind_table[] = {
    {"linear", SNL_OP_LINEAR},     {"norm", SNL_OP_RMS_NORM},
    {"rope", SNL_OP_ROPE},         {"attention", SNL_OP_ATTENTION},
    {"kv_write", SNL_OP_KV_WRITE}, {"lincomb", SNL_OP_LINCOMB},
    {"mul", SNL_OP_MUL},           {"unary", SNL_OP_SILU},
    {"unary", SNL_OP_RELU2},       {"unary", SNL_OP_SIGMOID},
    {"unary", SNL_OP_SOFTCAP},     {"slice", SNL_OP_SLICE},
    {"cast", SNL_OP_CAST},
};
enum { N_KINDS = sizeof kind_table / sizeof kind_table[0] };

/* "all", "none", or names joined by '+'. */
static SnlStatus parse_kinds(const char *text, SnlDiag *diag, bool *kinds)
{
    bool all = strcmp(text, "all") == 0;
    for (int i = 0; all && i < N_KINDS; i++) kinds[kind_table[i].code] = true;
    if (all || strcmp(text, "none") == 0) return SNL_OK;
    for (const char *p = text, *end;; p = end + 1) {
        end = p + strcspn(p, "+");
        bool found = false;
        for (int i = 0; i < N_KINDS; i++) {
            if (strlen(kind_table[i].name) != (size_t)(end - p)) continue;
            if (memcmp(kind_table[i].name, p, (size_t)(end - p)) != 0) continue;
            kinds[kind_table[i].code] = found = true;
        }
        if (!found)
            return snl_error_at(
                diag, SNL_E_PIPELINE, "merge-linear",
                "kinds: found '%.*s', wanted all, none, or some of linear, norm, "
                "rope, attention, kv_write, lincomb, mul, unary, slice, cast joined by '+'",
                (int)(end - p), p);
        if (!*end) return SNL_OK;
    }
}

static SnlStatus parse_concat(const char *text, SnlDiag *diag, SnlConcatWhich *out)
{
    if (strcmp(text, "none") == 0)
        *out = SNL_CONCAT_NONE;
    else if (strcmp(text, "attention") == 0)
        *out = SNL_CONCAT_ATTENTION;
    else if (strcmp(text, "all") == 0)
        *out = SNL_CONCAT_ALL;
    else
        return snl_error_at(diag, SNL_E_PIPELINE, "merge-linear",
                            "concat: found '%s', wanted none, attention or all", text);
    return SNL_OK;
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    bool kinds[SNL_OP_COUNT] = {false}, changed = false;
    SnlConcatWhich which = SNL_CONCAT_NONE;
    if (parse_kinds(snl_pass_text(ctx, "kinds"), ctx->diag, kinds) != SNL_OK)
        return SNL_PASS_FAILED;
    if (parse_concat(snl_pass_text(ctx, "concat"), ctx->diag, &which) != SNL_OK)
        return SNL_PASS_FAILED;
    if (snl_merge_concat(m, ctx, which, &changed) != SNL_OK) return SNL_PASS_FAILED;
    for (SnlFunc *f = m->first; f; f = f->next) {
        /* Prefill goes depth-first: members would only hold more memory at a time. */
        if (snl_attr_int(&f->attrs, "tokens", 1) > 1) continue;
        changed |= snl_merge_members(f, ctx->scratch, kinds);
        if (kinds[SNL_OP_LINEAR]) changed |= snl_merge_reduce(f, ctx->scratch);
    }
    return changed ? SNL_PASS_CHANGED : SNL_PASS_SAME;
}

static const SnlPassOption options[] = {
    {"concat", SNL_OPTION_TEXT, "attention", 0, 0,
     "linears of one input to concatenate: attention (query, key, value), all, none"},
    {"kinds", SNL_OPTION_TEXT, "all", 0, 0,
     "operations that become members: all, none, or names joined by '+'"},
    {0}};

const SnlPass snl_pass_merge_linear = {
    .name = "merge-linear",
    .summary = "linears of one input become one; independent operations become members of one",
    .exactness = SNL_REORDERS,
    .options = options,
    .run = run,
};
