/* codegen/kernel_norm.c -- rms_norm over groups, rotary embedding, its table, and the small state
 * ops. */
#include "codegen/gen.h"

#include "ir/eval.h"

#include <xxhash.h>

/* ---- rms_norm: y = x / sqrt(mean(x^2) + eps) * g, per group of d columns ---- */

/* Sum of squares of d numbers at x: four accumulators in turn, then a tree. */
static LLVMValueRef sum_of_squares(SnlGen *g, LLVMValueRef x, int64_t d, int lanes)
{
    enum { CHAINS = 4 };
    LLVMValueRef zero = snl_splat_f32(g, 0.0, lanes);
    LLVMValueRef acc[CHAINS] = {zero, zero, zero, zero};
    int64_t vectors = d / lanes, rounds = vectors / CHAINS * CHAINS;
    SnlLoop k;
    snl_loop_begin(g, &k, snl_i64(g, 0), snl_i64(g, rounds), CHAINS, CHAINS, acc);
    for (int i = 0; i < CHAINS; i++) {
        LLVMValueRef at = snl_offset_const(g, snl_offset(g, x, k.i, lanes * 4), i * lanes * 4);
        LLVMValueRef v = snl_load(g, at, lanes);
        acc[i] = snl_fma(g, v, v, k.carried[i]);
    }
    snl_loop_end(g, &k, acc);
    for (int i = 0; i < CHAINS; i++) acc[i] = k.carried[i];
    for (int64_t i = rounds; i < vectors; i++) {
        LLVMValueRef v = snl_load(g, snl_offset_const(g, x, i * lanes * 4), lanes);
        acc[i % CHAINS] = snl_fma(g, v, v, acc[i % CHAINS]);
    }
    LLVMValueRef sum = snl_fadd(g, snl_fadd(g, acc[0], acc[1]), snl_fadd(g, acc[2], acc[3]));
    return snl_reduce_add(g, sum, lanes);
}

static void norm_group(SnlGen *g, LLVMValueRef x, LLVMValueRef weight, LLVMValueRef y, int64_t d,
                       double eps)
{
    int lanes = snl_lanes_for(d);
    LLVMValueRef mean = snl_fdiv(g, sum_of_squares(g, x, d, lanes), snl_f32(g, (double)d));
    LLVMValueRef root = snl_sqrt(g, snl_fadd(g, mean, snl_f32(g, eps)));
    LLVMValueRef by = snl_splat(g, snl_fdiv(g, snl_f32(g, 1.0), root), lanes);
    SnlLoop c;
    snl_loop_begin(g, &c, snl_i64(g, 0), snl_i64(g, d), lanes, 0, NULL);
    LLVMValueRef v = snl_fmul(g, snl_load(g, snl_offset(g, x, c.i, 4), lanes), by);
    if (weight) v = snl_fmul(g, v, snl_load(g, snl_offset(g, weight, c.i, 4), lanes));
    snl_store(g, v, snl_offset(g, y, c.i, 4));
    snl_loop_end(g, &c, NULL);
}

/* groups.c0, c1: which of the `heads` groups. */
void snl_kernel_norm(const SnlOpGen *o, size_t member, SnlPlace x, SnlPlace y, SnlRange groups)
{
    SnlGen *g = o->g;
    bool weighted = o->op->sym[0].n > 0;
    double eps = snl_attr_real(&o->op->attrs, "eps", 0.0);
    int64_t d = snl_type_width(o->op->out[0]->type) / snl_attr_int(&o->op->attrs, "heads", 1);
    char *name = snl_arena_printf(g->arena, "rms_norm.%lld.%a%s.%lld.%lld", (long long)d, eps,
                                  weighted ? ".w" : "", (long long)x.stride, (long long)y.stride);
    bool fresh;
    LLVMValueRef f = snl_kernel_begin(g, name, 3, 4, &fresh);
    if (fresh) {
        SnlLoop t, i;
        snl_loop_begin(g, &t, snl_param(g, 5), snl_param(g, 6), 1, 0, NULL);
        snl_loop_begin(g, &i, snl_param(g, 3), snl_param(g, 4), 1, 0, NULL);
        LLVMValueRef xi =
            snl_offset(g, snl_offset(g, snl_param(g, 0), t.i, x.stride * 4), i.i, d * 4);
        LLVMValueRef yi =
            snl_offset(g, snl_offset(g, snl_param(g, 2), t.i, y.stride * 4), i.i, d * 4);
        norm_group(g, xi, weighted ? snl_param(g, 1) : NULL, yi, d, eps);
        snl_loop_end(g, &i, NULL);
        snl_loop_end(g, &t, NULL);
        snl_kernel_end(g);
    }
    SnlAddress at[] = {x.base, snl_member_weight_at(o, member), y.base};
    snl_call_kernel(o, f, at, 3, groups);
}

/* ---- rope ------------------------------------------------------------------------------------ */

static void rope_head(SnlGen *g, LLVMValueRef x, LLVMValueRef table, LLVMValueRef y, int64_t d)
{
    int64_t half = d / 2;
    int lanes = snl_lanes_for(half);
    SnlLoop j;
    snl_loop_begin(g, &j, snl_i64(g, 0), snl_i64(g, half), lanes, 0, NULL);
    LLVMValueRef lo = snl_offset(g, x, j.i, 4), cos_at = snl_offset(g, table, j.i, 4);
    LLVMValueRef x1 = snl_load(g, lo, lanes);
    LLVMValueRef x2 = snl_load(g, snl_offset_const(g, lo, half * 4), lanes);
    LLVMValueRef c = snl_load(g, cos_at, lanes);
    LLVMValueRef s = snl_load(g, snl_offset_const(g, cos_at, half * 4), lanes);
    LLVMValueRef out = snl_offset(g, y, j.i, 4);
    snl_store(g, snl_fsub(g, snl_fmul(g, x1, c), snl_fmul(g, x2, s)), out);
    snl_store(g, snl_fma(g, x2, c, snl_fmul(g, x1, s)), snl_offset_const(g, out, half * 4));
    snl_loop_end(g, &j, NULL);
}

/* heads.c0, c1: which heads of the row (of all members). in[1] is the table. */
void snl_kernel_rope(const SnlOpGen *o, SnlRange heads)
{
    SnlGen *g = o->g;
    int64_t d = snl_type_width(snl_in(o->op, 1)->type);
    char *name = snl_arena_printf(g->arena, "rope.%lld.%lld.%lld.%lld", (long long)d,
                                  (long long)o->in[0].stride, (long long)o->in[1].stride,
                                  (long long)o->out.stride);
    bool fresh;
    LLVMValueRef f = snl_kernel_begin(g, name, 3, 4, &fresh);
    if (fresh) {
        SnlLoop t, h;
        snl_loop_begin(g, &t, snl_param(g, 5), snl_param(g, 6), 1, 0, NULL);
        LLVMValueRef x = snl_offset(g, snl_param(g, 0), t.i, o->in[0].stride * 4);
        LLVMValueRef table = snl_offset(g, snl_param(g, 1), t.i, o->in[1].stride * 4);
        LLVMValueRef y = snl_offset(g, snl_param(g, 2), t.i, o->out.stride * 4);
        snl_loop_begin(g, &h, snl_param(g, 3), snl_param(g, 4), 1, 0, NULL);
        rope_head(g, snl_offset(g, x, h.i, d * 4), table, snl_offset(g, y, h.i, d * 4), d);
        snl_loop_end(g, &h, NULL);
        snl_loop_end(g, &t, NULL);
        snl_kernel_end(g);
    }
    SnlAddress at[] = {o->in[0].base, o->in[1].base, o->out.base};
    snl_call_kernel(o, f, at, 3, heads);
}

/* The frequencies as a constant of the program. */
static LLVMValueRef frequency_table(SnlGen *g, const double *freq, int64_t half)
{
    LLVMValueRef *values = SNL_NEW_ARRAY(g->arena, LLVMValueRef, half + 1);
    for (int64_t j = 0; j < half; j++) values[j] = LLVMConstReal(g->f64, freq[j]);
    return snl_constant_array(g, g->f64, values, (size_t)half, "rope.frequencies");
}

/* The runtime computes sines, in double. */
static void rope_table_rows(SnlGen *g, LLVMValueRef table, int64_t half, bool inverse,
                            int64_t stride)
{
    LLVMValueRef f = LLVMGetNamedFunction(g->module, "snlrt_rope_table");
    if (!f) {
        LLVMTypeRef params[] = {g->ptr, g->i64, g->i64, g->i64, g->i64, g->ptr};
        f = LLVMAddFunction(g->module, "snlrt_rope_table",
                            LLVMFunctionType(g->void_, params, 6, 0));
    }
    LLVMValueRef r0 = snl_param(g, 3), r1 = snl_param(g, 4), pos = snl_param(g, 5);
    LLVMValueRef args[] = {table,
                           snl_i64(g, half),
                           snl_i64(g, inverse),
                           snl_add(g, pos, r0),
                           snl_sub(g, r1, r0),
                           snl_offset(g, snl_param(g, 0), r0, stride * 4)};
    snl_call(g, f, args, 6);
}

/* Whole rows. */
void snl_kernel_rope_table(const SnlOpGen *o, SnlRange r)
{
    SnlGen *g = o->g;
    int64_t width = snl_type_width(o->op->out[0]->type), half = width / 2;
    bool inverse = snl_attr_flag(&o->op->attrs, "inverse"), fresh;
    double *freq = SNL_NEW_ARRAY(g->arena, double, half + 1);
    snl_rope_frequencies(&o->op->attrs, width, freq);
    unsigned long long hash = XXH3_64bits(freq, (size_t)half * sizeof *freq);
    char *name = snl_arena_printf(g->arena, "rope_table.%lld.%016llx%s.%lld", (long long)half, hash,
                                  inverse ? ".inverse" : "", (long long)o->out.stride);
    LLVMValueRef f = snl_kernel_begin(g, name, 1, 5, &fresh);
    if (fresh) {
        rope_table_rows(g, frequency_table(g, freq, half), half, inverse, o->out.stride);
        snl_kernel_end(g);
    }
    snl_call_kernel_at_pos(o, f, &o->out.base, 1, r);
}

/* ---- shift, row_write: the row before this call's first -------------------------------------- */

/* Copies n f32 (columns [c0, c1) of a row). */
static void copy_columns(SnlGen *g, LLVMValueRef from, LLVMValueRef to, LLVMValueRef c0,
                         LLVMValueRef c1)
{
    SnlLoop c;
    snl_loop_begin(g, &c, c0, c1, 1, 0, NULL);
    snl_store(g, snl_load(g, snl_offset(g, from, c.i, 4), 1), snl_offset(g, to, c.i, 4));
    snl_loop_end(g, &c, NULL);
}

/* Where `member` of the row lies in the state. */
static SnlAddress kept_row(const SnlOpGen *o, size_t member)
{
    SnlAddress at = snl_state_at(o, o->op->sym[0].state[0]);
    at.offset += (int64_t)member * snl_type_width(snl_in(o->op, 0)->type) * 4;
    return at;
}

void snl_kernel_shift(const SnlOpGen *o, size_t member, SnlPlace x_at, SnlPlace y_at, SnlRange r)
{
    SnlGen *g = o->g;
    char *name = snl_arena_printf(g->arena, "shift.%lld.%lld", (long long)x_at.stride,
                                  (long long)y_at.stride);
    bool fresh;
    LLVMValueRef f = snl_kernel_begin(g, name, 3, 5, &fresh);
    if (fresh) {
        LLVMValueRef x = snl_param(g, 0), state = snl_param(g, 1), y = snl_param(g, 2);
        LLVMValueRef c0 = snl_param(g, 3), c1 = snl_param(g, 4), pos = snl_param(g, 7);
        LLVMValueRef zero = snl_i64(g, 0);
        SnlLoop t, c;
        snl_loop_begin(g, &t, snl_param(g, 5), snl_param(g, 6), 1, 0, NULL);
        LLVMValueRef out = snl_offset(g, y, t.i, y_at.stride * 4);
        LLVMValueRef is_first = LLVMBuildICmp(g->b, LLVMIntEQ, t.i, zero, "");
        LLVMValueRef is_start =
            LLVMBuildICmp(g->b, LLVMIntEQ, LLVMBuildOr(g->b, t.i, pos, ""), zero, "");
        LLVMValueRef row =
            LLVMBuildSelect(g->b, is_first, zero, snl_sub(g, t.i, snl_i64(g, 1)), "");
        LLVMValueRef before = snl_offset(g, x, row, x_at.stride * 4);
        copy_columns(g, LLVMBuildSelect(g->b, is_first, state, before, ""), out, c0, c1);
        SnlIf s;
        snl_if_begin(g, &s, is_start);
        snl_loop_begin(g, &c, c0, c1, 1, 0, NULL);
        snl_store(g, snl_f32(g, 0.0), snl_offset(g, out, c.i, 4));
        snl_loop_end(g, &c, NULL);
        snl_if_end(g, &s);
        snl_loop_end(g, &t, NULL);
        snl_kernel_end(g);
    }
    SnlAddress at[] = {x_at.base, kept_row(o, member), y_at.base};
    snl_call_kernel_at_pos(o, f, at, 3, r);
}

/* The last of the rows, whole. */
void snl_kernel_row_write(const SnlOpGen *o, size_t member, SnlPlace x, SnlRange r)
{
    SnlGen *g = o->g;
    bool fresh;
    char *name = snl_arena_printf(g->arena, "row_write.%lld", (long long)x.stride);
    LLVMValueRef f = snl_kernel_begin(g, name, 2, 4, &fresh);
    if (fresh) {
        LLVMValueRef r0 = snl_param(g, 4), r1 = snl_param(g, 5);
        SnlIf any;
        snl_if_begin(g, &any, LLVMBuildICmp(g->b, LLVMIntSLT, r0, r1, ""));
        LLVMValueRef last =
            snl_offset(g, snl_param(g, 0), snl_sub(g, r1, snl_i64(g, 1)), x.stride * 4);
        copy_columns(g, last, snl_param(g, 1), snl_param(g, 2), snl_param(g, 3));
        snl_if_end(g, &any);
        snl_kernel_end(g);
    }
    SnlAddress at[] = {x.base, kept_row(o, member)};
    snl_call_kernel(o, f, at, 2, r);
}
