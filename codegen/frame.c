/* codegen/frame.c -- what the calls of a step find in its function: regions of memory, indices,
 * this thread's rows. */
#include "codegen/step.h"

#include "runtime/abi.h"

enum {
#define SNLRT_FIELD(type, name, kind) CTX_##name,
    SNLRT_CTX_FIELDS(SNLRT_FIELD)
#undef SNLRT_FIELD
};

static LLVMValueRef ctx_field(SnlGen *g, LLVMValueRef ctx, int index, LLVMTypeRef type)
{
    return snl_load_typed(g, type, snl_offset_const(g, ctx, index * 8), 8);
}

/* Parameters and results of the IR function. */
static void load_args(const SnlStep *s, SnlFrame *f, LLVMValueRef tail_row)
{
    SnlGen *g = s->g;
    const SnlFunc *func = s->func;
    LLVMValueRef args = ctx_field(g, f->ctx, CTX_args, g->ptr);
    size_t n = func->n_param + func->n_result;
    for (size_t i = 0; i < n; i++) {
        bool index = i < func->n_param && func->param[i]->type->dtype == SNL_INDEX;
        LLVMValueRef slot = snl_offset_const(g, args, (int64_t)i * 8);
        LLVMValueRef arg = snl_load_typed(g, index ? g->i64 : g->ptr, slot, 8);
        *(index ? &f->index[i] : &f->region[SNL_IN_ARGS + i]) = arg;
    }
    LLVMValueRef back = snl_sub(g, snl_i64(g, 0), tail_row);
    for (size_t i = 0; i < func->n_result; i++) {
        int64_t row_bytes = snl_row_words(snl_in(func->last, i)->type) * 4;
        size_t at = SNL_IN_ARGS + func->n_param + i;
        f->region[at + func->n_result] = snl_offset(g, f->region[at], back, row_bytes);
    }
}

static void load_rows(const SnlStep *s, SnlFrame *f, LLVMValueRef n_tokens, LLVMValueRef tail_row)
{
    SnlGen *g = s->g;
    LLVMValueRef zero = snl_i64(g, 0);
    for (int tail = 0; tail < 2; tail++) {
        LLVMValueRef first = tail ? tail_row : zero;
        LLVMValueRef count = snl_sub(g, n_tokens, first);
        LLVMValueRef *all = f->rows[SNL_ROWS_ALL + tail];
        LLVMValueRef *share = f->rows[SNL_ROWS_ALL_SHARE + tail];
        all[0] = first;
        all[1] = n_tokens;
        for (int k = 0; k < 2; k++) share[k] = snl_add(g, first, snl_share_end(g, f, count, k));
    }
    LLVMValueRef is_first = LLVMBuildICmp(g->b, LLVMIntEQ, f->thread, zero, "");
    f->rows[SNL_ROWS_FIRST_THREAD][0] = zero;
    f->rows[SNL_ROWS_FIRST_THREAD][1] = LLVMBuildSelect(g->b, is_first, n_tokens, zero, "");
}

SnlFrame snl_load_frame(const SnlStep *s)
{
    SnlGen *g = s->g;
    const SnlFunc *func = s->func;
    SnlFrame f = {.ctx = snl_param(g, 0), .thread = snl_param(g, 1)};
    f.region =
        SNL_NEW_ARRAY(g->arena, LLVMValueRef, SNL_IN_ARGS + func->n_param + 2 * func->n_result);
    f.index = SNL_NEW_ARRAY(g->arena, LLVMValueRef, func->n_param);
    f.region[SNL_IN_WEIGHTS] = ctx_field(g, f.ctx, CTX_weights, g->ptr);
    f.region[SNL_IN_STATE] = ctx_field(g, f.ctx, CTX_state, g->ptr);
    f.region[SNL_IN_SHARED] = ctx_field(g, f.ctx, CTX_work, g->ptr);
    int64_t shared = snl_attr_int(&func->attrs, "shared_bytes", 0);
    int64_t private = snl_attr_int(&func->attrs, "private_bytes", 0);
    f.region[SNL_IN_PRIVATE] =
        snl_offset(g, snl_offset_const(g, f.region[SNL_IN_SHARED], shared), f.thread, private);
    f.n_threads = ctx_field(g, f.ctx, CTX_n_threads, g->i64);
    LLVMValueRef n_tokens = s->decode ? snl_i64(g, 1) : ctx_field(g, f.ctx, CTX_n_tokens, g->i64);
    LLVMValueRef tail_row = s->decode ? snl_i64(g, 0) : ctx_field(g, f.ctx, CTX_tail_row, g->i64);
    load_args(s, &f, tail_row);
    load_rows(s, &f, n_tokens, tail_row);
    return f;
}
