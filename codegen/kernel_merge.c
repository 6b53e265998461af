/* codegen/kernel_merge.c -- what attention_parts found in each part becomes attention's result.
 *
 *     m = max m_p;   y = (sum_p exp(m_p - m) o_p) / (sum_p exp(m_p - m) l_p)
 *
 * over the parts that the token sees, in order: the same sum whoever made the parts, and whoever
 * adds them up. Cheap next to a barrier, so every thread does it for itself. */
#include "codegen/attention.h"

#include <float.h>

typedef struct Merge {
    SnlGen *g;
    int64_t heads, width; /* query heads; of a head */
    LLVMValueRef tops;    /* the head's maximum in part 0; its sum of weights is `heads` further */
    LLVMValueRef values;  /* the head's sum of weighted values in part 0 */
    LLVMValueRef first, end; /* parts that are seen */
} Merge;

static LLVMValueRef of_part(const Merge *m, LLVMValueRef at, LLVMValueRef part)
{
    return snl_offset(m->g, at, part, m->heads * (m->width + 2) * 4);
}

static LLVMValueRef largest_top(const Merge *m)
{
    SnlGen *g = m->g;
    LLVMValueRef top = snl_f32(g, -FLT_MAX);
    SnlLoop p;
    snl_loop_begin(g, &p, m->first, m->end, 1, 1, &top);
    top = snl_fmax(g, p.carried[0], snl_load(g, of_part(m, m->tops, p.i), 1));
    snl_loop_end(g, &p, &top);
    return p.carried[0];
}

/* Elements [at, at + n * lanes) of the head's result. */
static void merge_elements(const Merge *m, LLVMValueRef top, LLVMValueRef y, int64_t at, int n,
                           int lanes)
{
    SnlGen *g = m->g;
    LLVMValueRef sum[SNL_MAX_CARRIED];
    for (int k = 0; k <= n; k++) sum[k] = snl_splat_f32(g, 0.0, lanes);
    SnlLoop p;
    snl_loop_begin(g, &p, m->first, m->end, 1, (unsigned)n + 1, sum);
    LLVMValueRef mine = of_part(m, m->tops, p.i), values = of_part(m, m->values, p.i);
    LLVMValueRef less = snl_splat(g, snl_fsub(g, snl_load(g, mine, 1), top), lanes);
    LLVMValueRef weight = snl_exp_down(g, less, lanes);
    LLVMValueRef l = snl_load(g, snl_offset_const(g, mine, m->heads * 4), 1);
    sum[n] = snl_fma(g, weight, snl_splat(g, l, lanes), p.carried[n]);
    for (int k = 0; k < n; k++) {
        LLVMValueRef o = snl_load(g, snl_offset_const(g, values, (at + k * lanes) * 4), lanes);
        sum[k] = snl_fma(g, weight, o, p.carried[k]);
    }
    snl_loop_end(g, &p, sum);
    LLVMValueRef inverse = snl_fdiv(g, snl_splat_f32(g, 1.0, lanes), p.carried[n]);
    for (int k = 0; k < n; k++)
        snl_store(g, snl_fmul(g, p.carried[k], inverse),
                  snl_offset_const(g, y, (at + k * lanes) * 4));
}

/* Parameters: parts, y; heads [c0, c1), row, pos. */
static void merge_body(SnlGen *g, int64_t heads, int64_t width, const SnlParts *parts)
{
    enum { AT_ONCE = 8 };
    Merge m = {.g = g, .heads = heads, .width = width};
    LLVMValueRef last, tops = snl_offset_const(g, snl_param(g, 0), heads * width * 4);
    snl_parts_seen(g, snl_param(g, 6), parts, &m.first, &last);
    m.end = snl_add(g, last, snl_i64(g, 1));
    int lanes = snl_lanes_for(width);
    SnlLoop h;
    snl_loop_begin(g, &h, snl_param(g, 2), snl_param(g, 3), 1, 0, NULL);
    m.tops = snl_offset(g, tops, h.i, 4);
    m.values = snl_offset(g, snl_param(g, 0), h.i, width * 4);
    LLVMValueRef top = largest_top(&m), y = snl_offset(g, snl_param(g, 1), h.i, width * 4);
    for (int64_t at = 0; at < width; at += AT_ONCE * lanes) {
        int64_t left = (width - at) / lanes;
        merge_elements(&m, top, y, at, left < AT_ONCE ? (int)left : AT_ONCE, lanes);
    }
    snl_loop_end(g, &h, NULL);
}

void snl_kernel_attention_merge(const SnlOpGen *o, size_t member, SnlPlace parts, SnlPlace y,
                                SnlRange r)
{
    SnlGen *g = o->g;
    const SnlOp *made = snl_in(o->op, 0)->def;
    SnlParts p = snl_parts_of(made, member);
    int64_t heads = snl_attr_int(&made->attrs, "heads", 1);
    int64_t width = snl_type_width(o->op->out[0]->type) / heads;
    bool fresh;
    char *name = snl_arena_printf(g->arena, "attention_merge.%lld.%lld.%lld.%lld.w%lld",
                                  (long long)heads, (long long)width, (long long)p.size,
                                  (long long)p.count, (long long)p.window);
    LLVMValueRef f = snl_kernel_begin(g, name, 2, 5, &fresh);
    if (fresh) {
        merge_body(g, heads, width, &p);
        snl_kernel_end(g);
    }
    SnlAddress at[] = {parts.base, y.base};
    snl_call_kernel_at_pos(o, f, at, 2, r);
}
