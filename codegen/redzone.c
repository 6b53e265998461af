/* codegen/redzone.c -- red zones of the workspace, under the address sanitizer.
 *
 * A function planned with red zones (plan-memory) has unused bytes behind every value; its step
 * begins by poisoning them, so that a kernel that runs past its value is found. */
#include "codegen/gen.h"

static void set_poison(SnlGen *g, const char *name, LLVMValueRef at, int64_t nbytes)
{
    LLVMValueRef f = LLVMGetNamedFunction(g->module, name);
    if (!f) {
        LLVMTypeRef params[] = {g->ptr, g->i64};
        f = LLVMAddFunction(g->module, name, LLVMFunctionType(g->void_, params, 2, 0));
    }
    LLVMValueRef args[] = {at, snl_i64(g, nbytes)};
    snl_call(g, f, args, 2);
}

/* Nothing may touch what lies behind the `nbytes` planned at `at`, to its zone's end. */
static void poison_behind(SnlGen *g, LLVMValueRef region, int64_t at, int64_t nbytes,
                          int64_t redzone)
{
    int64_t begin = at / SNL_PACK_ALIGN * SNL_PACK_ALIGN; /* as planned: sabotage shifts it */
    int64_t end = (nbytes + SNL_PACK_ALIGN - 1) / SNL_PACK_ALIGN * SNL_PACK_ALIGN + redzone;
    set_poison(g, "__asan_poison_memory_region", snl_offset_const(g, region, begin + nbytes),
               end - nbytes);
}

static void poison_region(SnlGen *g, const SnlFunc *func, LLVMValueRef region, bool private,
                          int64_t redzone)
{
    const char *key = private ? "private_bytes" : "shared_bytes";
    int64_t tokens = snl_attr_int(&func->attrs, "tokens", 1);
    set_poison(g, "__asan_unpoison_memory_region", region, snl_attr_int(&func->attrs, key, 0));
    for (const SnlOp *op = func->first; op; op = op->next) {
        const SnlAttrValue *at = snl_attr_find(&op->attrs, "at");
        const SnlAttrValue *scratch = snl_attr_find(&op->attrs, "scratch");
        SnlPlacement p;
        if (!snl_placement_read(op, &p)) continue;
        if (scratch && private)
            poison_behind(g, region, scratch->i, snl_op_scratch_bytes(op, tokens), redzone);
        if (at && (p.split == SNL_SPLIT_ALL) == private)
            poison_behind(g, region, at->i, snl_row_words(op->out[0]->type) * tokens * 4, redzone);
    }
}

void snl_emit_redzones(SnlGen *g, const SnlFunc *func, const SnlFrame *frame)
{
    int64_t redzone = snl_attr_int(&func->attrs, "redzone", 0);
    if (redzone == 0 || g->sanitize != SNL_SANITIZE_ADDRESS) return;
    poison_region(g, func, frame->region[SNL_IN_PRIVATE], true, redzone);
    SnlIf first;
    snl_if_begin(g, &first, LLVMBuildICmp(g->b, LLVMIntEQ, frame->thread, snl_i64(g, 0), ""));
    poison_region(g, func, frame->region[SNL_IN_SHARED], false, redzone);
    snl_if_end(g, &first);
    snl_emit_barrier(g, frame);
}
