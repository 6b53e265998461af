/* codegen/loops.c -- structured control flow and kernel functions; the only place with basic
 * blocks. */
#include "codegen/gen.h"

static LLVMBasicBlockRef new_block(SnlGen *g, const char *name)
{
    return LLVMAppendBasicBlockInContext(g->ctx, g->func, name);
}

void snl_loop_begin(SnlGen *g, SnlLoop *loop, LLVMValueRef from, LLVMValueRef to, int64_t step,
                    unsigned n_carried, const LLVMValueRef *init)
{
    SNL_ASSERT(n_carried <= SNL_MAX_CARRIED);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(g->b);
    loop->head = new_block(g, "loop");
    LLVMBasicBlockRef body = new_block(g, "body");
    loop->exit = new_block(g, "after");
    loop->n_carried = n_carried;
    loop->step = step;
    loop->to = to;
    LLVMBuildBr(g->b, loop->head);

    LLVMPositionBuilderAtEnd(g->b, loop->head);
    loop->i = LLVMBuildPhi(g->b, g->i64, "i");
    LLVMAddIncoming(loop->i, &from, &before, 1);
    for (unsigned k = 0; k < n_carried; k++) {
        LLVMValueRef first = init[k];
        loop->carried[k] = LLVMBuildPhi(g->b, LLVMTypeOf(first), "");
        LLVMAddIncoming(loop->carried[k], &first, &before, 1);
    }
    LLVMValueRef more = LLVMBuildICmp(g->b, LLVMIntSLT, loop->i, to, "");
    LLVMBuildCondBr(g->b, more, body, loop->exit);
    LLVMPositionBuilderAtEnd(g->b, body);
}

void snl_loop_end(SnlGen *g, SnlLoop *loop, const LLVMValueRef *next)
{
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(g->b);
    LLVMValueRef stepped = LLVMBuildNSWAdd(g->b, loop->i, snl_i64(g, loop->step), "");
    LLVMAddIncoming(loop->i, &stepped, &latch, 1);
    for (unsigned k = 0; k < loop->n_carried; k++) {
        LLVMValueRef value = next[k];
        LLVMAddIncoming(loop->carried[k], &value, &latch, 1);
    }
    LLVMBuildBr(g->b, loop->head);
    LLVMPositionBuilderAtEnd(g->b, loop->exit);
}

void snl_if_begin(SnlGen *g, SnlIf *s, LLVMValueRef cond)
{
    LLVMBasicBlockRef then = new_block(g, "then");
    s->exit = new_block(g, "endif");
    LLVMBuildCondBr(g->b, cond, then, s->exit);
    LLVMPositionBuilderAtEnd(g->b, then);
}

void snl_if_end(SnlGen *g, SnlIf *s)
{
    LLVMBuildBr(g->b, s->exit);
    LLVMPositionBuilderAtEnd(g->b, s->exit);
}

/* Attributes that every pointer parameter of a kernel has: kernels never write what they read
 * through another pointer, and keep none. */
static void mark_pointers(SnlGen *g, LLVMValueRef f, unsigned n_ptr)
{
    static const char *const names[] = {"noalias", "nocapture", "noundef"};
    for (unsigned a = 0; a < sizeof names / sizeof names[0]; a++) {
        unsigned kind = LLVMGetEnumAttributeKindForName(names[a], strlen(names[a]));
        LLVMAttributeRef attr = LLVMCreateEnumAttribute(g->ctx, kind, 0);
        for (unsigned i = 0; i < n_ptr; i++) LLVMAddAttributeAtIndex(f, i + 1, attr);
    }
}

void snl_add_attribute(SnlGen *g, LLVMValueRef f, const char *name)
{
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(f, LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(g->ctx, kind, 0));
}

void snl_mark_function(SnlGen *g, LLVMValueRef f)
{
    snl_add_attribute(g, f, "nounwind");
    snl_add_attribute(g, f, "noinline");
    if (g->sanitize == SNL_SANITIZE_NONE) return;
    const char *name = g->sanitize == SNL_SANITIZE_ADDRESS ? "sanitize_address" : "sanitize_thread";
    snl_add_attribute(g, f, name);
}

LLVMValueRef snl_kernel_begin(SnlGen *g, const char *name, unsigned n_ptr, unsigned n_i64,
                              bool *out_new)
{
    LLVMValueRef found = LLVMGetNamedFunction(g->module, name);
    *out_new = !found;
    if (found) return found;
    LLVMTypeRef params[32];
    SNL_ASSERT(n_ptr + n_i64 <= 32);
    for (unsigned i = 0; i < n_ptr; i++) params[i] = g->ptr;
    for (unsigned i = 0; i < n_i64; i++) params[n_ptr + i] = g->i64;
    LLVMTypeRef type = LLVMFunctionType(g->void_, params, n_ptr + n_i64, 0);
    LLVMValueRef f = LLVMAddFunction(g->module, name, type);
    LLVMSetLinkage(f, LLVMInternalLinkage);
    mark_pointers(g, f, n_ptr);
    snl_mark_function(g, f);
    SNL_ASSERT(g->n_suspended < SNL_MAX_SUSPENDED);
    g->suspended[g->n_suspended].func = g->func;
    g->suspended[g->n_suspended++].block = LLVMGetInsertBlock(g->b);
    g->func = f;
    LLVMPositionBuilderAtEnd(g->b, new_block(g, "entry"));
    return f;
}

void snl_kernel_end(SnlGen *g)
{
    LLVMBuildRetVoid(g->b);
    SNL_ASSERT(g->n_suspended > 0);
    g->n_suspended--;
    g->func = g->suspended[g->n_suspended].func;
    if (g->suspended[g->n_suspended].block)
        LLVMPositionBuilderAtEnd(g->b, g->suspended[g->n_suspended].block);
}

LLVMValueRef snl_param(SnlGen *g, unsigned i)
{
    return LLVMGetParam(g->func, i);
}

void snl_call(SnlGen *g, LLVMValueRef func, LLVMValueRef *args, unsigned n)
{
    LLVMBuildCall2(g->b, LLVMGlobalGetValueType(func), func, args, n, "");
}

LLVMValueRef snl_turn_begin(SnlGen *g, LLVMValueRef units, LLVMValueRef turn, LLVMValueRef n)
{
    LLVMValueRef up = snl_add(g, snl_mul(g, units, turn), snl_sub(g, n, snl_i64(g, 1)));
    return LLVMBuildUDiv(g->b, up, n, "");
}
