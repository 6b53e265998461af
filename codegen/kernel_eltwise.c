/* codegen/kernel_eltwise.c -- ops whose element (t, c) needs only elements (t, c) of its operands,
 * and mix, whose element (t, s, c) needs only column c of the streams.
 *
 * A kernel works on one member: plain rows [T, W]; the caller adds the member's offset to the
 * places of operands that have members. Columns go 16 at a time, the rest one by one. */
#include "codegen/gen.h"

enum { MAX_OPERANDS = 8 };

/* What the kernel computes for `lanes` columns from c. */
typedef struct Eltwise {
    const SnlOpGen *o;
    size_t first, n; /* operands [first, first + n) of the op */
    bool accumulate; /* lincomb's later parts add to what is there */
    bool in_place;   /* the only operand lies where the result goes */
    bool coef_is_param[MAX_OPERANDS];
    double coef[MAX_OPERANDS];
    int64_t head_width; /* mul by one number per head: its width; 0: elementwise */
    LLVMValueRef in[MAX_OPERANDS], coef_ptr[MAX_OPERANDS], out; /* rows at hand */
    LLVMValueRef weight;                                        /* scale */
    LLVMValueRef given[MAX_OPERANDS];                           /* operands in registers */
} Eltwise;

static LLVMValueRef operand(const Eltwise *e, size_t i, LLVMValueRef c, int lanes)
{
    SnlGen *g = e->o->g;
    if (e->given[i]) return e->given[i];
    return snl_load(g, snl_offset(g, e->in[i], c, 4), lanes);
}

static LLVMValueRef lincomb_value(const Eltwise *e, LLVMValueRef c, int lanes)
{
    SnlGen *g = e->o->g;
    LLVMValueRef sum = e->accumulate ? snl_load(g, snl_offset(g, e->out, c, 4), lanes) : NULL;
    for (size_t i = 0; i < e->n; i++) {
        LLVMValueRef x = operand(e, i, c, lanes);
        if (e->coef_is_param[i]) {
            LLVMValueRef by = snl_splat(g, snl_load(g, e->coef_ptr[i], 1), lanes);
            sum = sum ? snl_fma(g, by, x, sum) : snl_fmul(g, by, x);
        } else if (e->coef[i] == 1.0) {
            sum = sum ? snl_fadd(g, sum, x) : x;
        } else if (e->coef[i] == -1.0 && sum) {
            sum = snl_fsub(g, sum, x);
        } else {
            LLVMValueRef by = snl_splat_f32(g, e->coef[i], lanes);
            sum = sum ? snl_fma(g, by, x, sum) : snl_fmul(g, by, x);
        }
    }
    return sum;
}

static LLVMValueRef mul_value(const Eltwise *e, LLVMValueRef c, int lanes)
{
    SnlGen *g = e->o->g;
    LLVMValueRef a = operand(e, 0, c, lanes);
    if (!e->head_width) return snl_fmul(g, a, operand(e, 1, c, lanes));
    LLVMValueRef head = snl_div_const(g, c, e->head_width);
    return snl_fmul(g, a, snl_splat(g, operand(e, 1, head, 1), lanes));
}

/* Rounds to bf16 (nearest even) and back; infinities stay, NaN stays NaN. */
static LLVMValueRef round_bf16(SnlGen *g, LLVMValueRef x, int lanes)
{
    LLVMTypeRef ints = snl_vec(g->i32, lanes);
    LLVMValueRef bits = snl_bitcast(g, x, ints);
    LLVMValueRef sixteen = snl_splat(g, LLVMConstInt(g->i32, 16, 0), lanes);
    LLVMValueRef one = snl_splat(g, LLVMConstInt(g->i32, 1, 0), lanes);
    LLVMValueRef odd = LLVMBuildAnd(g->b, LLVMBuildLShr(g->b, bits, sixteen, ""), one, "");
    LLVMValueRef bias = snl_splat(g, LLVMConstInt(g->i32, 0x7fff, 0), lanes);
    LLVMValueRef up = LLVMBuildAdd(g->b, bits, LLVMBuildAdd(g->b, odd, bias, ""), "");
    LLVMValueRef mask = snl_splat(g, LLVMConstInt(g->i32, 0xffff0000u, 0), lanes);
    LLVMValueRef rounded = snl_bitcast(g, LLVMBuildAnd(g->b, up, mask, ""), LLVMTypeOf(x));
    LLVMValueRef nan = LLVMBuildFCmp(g->b, LLVMRealUNO, x, x, "");
    return LLVMBuildSelect(g->b, nan, x, rounded, "");
}

static LLVMValueRef cast_value(const Eltwise *e, LLVMValueRef x, int lanes)
{
    SnlGen *g = e->o->g;
    const char *to = snl_attr_text(&e->o->op->attrs, "to", "f32");
    if (strcmp(to, "bf16") == 0) return round_bf16(g, x, lanes);
    if (strcmp(to, "f16") != 0) return x;
    LLVMTypeRef half = snl_vec(LLVMHalfTypeInContext(g->ctx), lanes);
    return LLVMBuildFPExt(g->b, LLVMBuildFPTrunc(g->b, x, half, ""), LLVMTypeOf(x), "");
}

static LLVMValueRef softcap_value(const Eltwise *e, LLVMValueRef x, int lanes)
{
    SnlGen *g = e->o->g;
    double cap = snl_attr_real(&e->o->op->attrs, "cap", 1.0);
    LLVMValueRef y = snl_fdiv(g, x, snl_splat_f32(g, cap, lanes));
    return snl_fmul(g, snl_tanh(g, y, lanes), snl_splat_f32(g, cap, lanes));
}

static LLVMValueRef value(const Eltwise *e, LLVMValueRef c, int lanes)
{
    SnlGen *g = e->o->g;
    SnlOpCode code = e->o->op->code;
    if (code == SNL_OP_MUL) return mul_value(e, c, lanes);
    if (code == SNL_OP_LINCOMB || code == SNL_OP_STACK) return lincomb_value(e, c, lanes);
    LLVMValueRef x = operand(e, 0, c, lanes);
    switch (code) {
    case SNL_OP_SILU:
        return snl_fmul(g, x, snl_sigmoid(g, x, lanes));
    case SNL_OP_SIGMOID:
        return snl_sigmoid(g, x, lanes);
    case SNL_OP_RELU2: {
        LLVMValueRef zero = snl_splat_f32(g, 0.0, lanes);
        LLVMValueRef less = LLVMBuildFCmp(g->b, LLVMRealOLT, x, zero, "");
        LLVMValueRef y = LLVMBuildSelect(g->b, less, zero, x, ""); /* keeps NaN */
        return snl_fmul(g, y, y);
    }
    case SNL_OP_SOFTCAP:
        return softcap_value(e, x, lanes);
    case SNL_OP_SCALE:
        return snl_fmul(g, x, snl_load(g, snl_offset(g, e->weight, c, 4), lanes));
    case SNL_OP_CAST:
        return cast_value(e, x, lanes);
    default:
        SNL_UNREACHABLE();
    }
}

static LLVMValueRef columns(const Eltwise *e, LLVMValueRef from, LLVMValueRef to, int lanes)
{
    SnlGen *g = e->o->g;
    LLVMValueRef span = snl_max(g, snl_sub(g, to, from), snl_i64(g, 0));
    LLVMValueRef end =
        snl_add(g, from, snl_mul(g, snl_div_const(g, span, lanes), snl_i64(g, lanes)));
    SnlLoop c;
    snl_loop_begin(g, &c, from, end, lanes, 0, NULL);
    snl_store(g, value(e, c.i, lanes), snl_offset(g, e->out, c.i, 4));
    snl_loop_end(g, &c, NULL);
    return end;
}

/* Parameters: n operands, n coefficient pointers, weight, out; c0, c1, r0, r1. */
static void eltwise_body(Eltwise *e, const SnlPlace *in, SnlPlace out, int lanes)
{
    SnlGen *g = e->o->g;
    unsigned n = (unsigned)e->n, at = 2 * n + 2;
    SnlLoop t;
    snl_loop_begin(g, &t, snl_param(g, at + 2), snl_param(g, at + 3), 1, 0, NULL);
    for (unsigned i = 0; i < n; i++) {
        e->in[i] = snl_offset(g, snl_param(g, i), t.i, in[i].stride * 4);
        e->coef_ptr[i] = snl_param(g, n + i);
    }
    e->weight = snl_param(g, 2 * n);
    e->out = snl_offset(g, snl_param(g, 2 * n + 1), t.i, out.stride * 4);
    if (e->in_place)
        e->in[0] = e->out; /* kernels read nothing through two pointers that they write */
    LLVMValueRef rest = columns(e, snl_param(g, at), snl_param(g, at + 1), lanes);
    if (lanes > 1) columns(e, rest, snl_param(g, at + 1), 1);
    snl_loop_end(g, &t, NULL);
}

static const SnlAttrValue *coefficient(const SnlOp *op, size_t i)
{
    const SnlAttrValue *list = snl_attr_find(&op->attrs, "coef");
    return list ? &list->list.at[i] : NULL;
}

static char *eltwise_name(const Eltwise *e, const SnlPlace *in, SnlPlace out, int lanes)
{
    SnlGen *g = e->o->g;
    const SnlOp *op = e->o->op;
    char *name =
        snl_arena_printf(g->arena, "%s%s%s.%d.%s%a.h%lld.%lld", snl_op_info[op->code].text,
                         e->accumulate ? ".acc" : "", e->in_place ? ".in_place" : "", lanes,
                         snl_attr_text(&op->attrs, "to", ""), snl_attr_real(&op->attrs, "cap", 0.0),
                         (long long)e->head_width, (long long)out.stride);
    for (size_t i = 0; i < e->n; i++)
        name = e->coef_is_param[i]
                   ? snl_arena_printf(g->arena, "%s.p_%lld", name, (long long)in[i].stride)
                   : snl_arena_printf(g->arena, "%s.%a_%lld", name, e->coef[i],
                                      (long long)in[i].stride);
    return name;
}

static bool op_is_in_place(const SnlOpGen *o, const SnlPlace *in, SnlPlace out)
{
    return o->op->n_in == 1 && in[0].base.region == out.base.region &&
           in[0].base.offset == out.base.offset;
}

static void emit_part(Eltwise *e, size_t member, SnlPlace out, SnlRange r)
{
    const SnlOpGen *o = e->o;
    SnlGen *g = o->g;
    const SnlPlace *in = o->ins + e->first;
    int lanes = SNL_LANES;
    if (e->head_width) {
        int64_t grain = o->p.grain ? o->p.grain : e->head_width;
        int by_grain = snl_lanes_for(grain), by_head = snl_lanes_for(e->head_width);
        lanes = by_grain < by_head ? by_grain : by_head;
    }
    unsigned n = (unsigned)e->n;
    e->in_place = op_is_in_place(o, in, out);
    bool fresh;
    LLVMValueRef f = snl_kernel_begin(g, eltwise_name(e, in, out, lanes), 2 * n + 2, 4, &fresh);
    if (fresh) {
        eltwise_body(e, in, out, lanes);
        snl_kernel_end(g);
    }
    SnlAddress at[2 * MAX_OPERANDS + 2] = {{0}};
    for (unsigned i = 0; i < n; i++) {
        const SnlAttrValue *coef = coefficient(o->op, e->first + i);
        at[i] = in[i].base;
        if (e->coef_is_param[i]) at[n + i] = snl_weight_at(o, coef->weight);
    }
    at[2 * n] = snl_member_weight_at(o, member);
    at[2 * n + 1] = out.base;
    snl_call_kernel(o, f, at, 2 * n + 2, r);
}

static void read_coefficients(Eltwise *e)
{
    const SnlOp *op = e->o->op;
    for (size_t i = 0; i < e->n; i++) {
        const SnlAttrValue *c = op->code == SNL_OP_LINCOMB ? coefficient(op, e->first + i) : NULL;
        e->coef_is_param[i] = c && c->kind == SNL_ATTR_WEIGHT;
        bool known = c && !e->coef_is_param[i];
        e->coef[i] = !known ? 1.0 : c->kind == SNL_ATTR_INT ? (double)c->i : c->r;
    }
}

void snl_kernel_eltwise(const SnlOpGen *o, size_t member, SnlRange r)
{
    const SnlOp *op = o->op;
    size_t total = op->code == SNL_OP_STACK ? 1 : op->n_in;
    int64_t width = snl_type_width(op->out[0]->type);
    for (size_t first = 0; first < total; first += MAX_OPERANDS) {
        Eltwise e = {.o = o, .first = first, .accumulate = first > 0};
        e.n = total - first < MAX_OPERANDS ? total - first : MAX_OPERANDS;
        read_coefficients(&e);
        if (op->code == SNL_OP_MUL && snl_type_width(snl_in(op, 1)->type) != width)
            e.head_width = width / snl_type_width(snl_in(op, 1)->type);
        emit_part(&e, member, o->out, r);
    }
}

/* ---- finishing what is in registers ---------------------------------------------------------- */

static Eltwise finishing(const SnlFinish *f)
{
    Eltwise e = {.o = &f->op, .n = f->op.op->n_in};
    SNL_ASSERT(e.n <= MAX_OPERANDS);
    read_coefficients(&e);
    return e;
}

char *snl_finish_name(const SnlFinish *f)
{
    Eltwise e = finishing(f);
    return snl_arena_printf(f->op.g->arena, ".%s.%zu",
                            eltwise_name(&e, f->op.ins, f->op.out, SNL_LANES), f->given);
}

unsigned snl_finish_addresses(const SnlFinish *f, SnlAddress *out)
{
    Eltwise e = finishing(f);
    unsigned n = 0;
    for (size_t i = 0; i < e.n; i++) {
        if (i != f->given) out[n++] = f->op.ins[i].base;
        if (e.coef_is_param[i]) out[n++] = snl_weight_at(&f->op, coefficient(f->op.op, i)->weight);
    }
    if (f->op.op->code == SNL_OP_SCALE) out[n++] = snl_member_weight_at(&f->op, 0);
    SNL_ASSERT(n <= SNL_MAX_FINISH);
    return n;
}

void snl_finish_prefetch(const SnlFinish *f, const LLVMValueRef *at, LLVMValueRef row,
                         LLVMValueRef c)
{
    SnlGen *g = f->op.g;
    Eltwise e = finishing(f);
    for (size_t i = 0; i < e.n; i++) {
        if (i != f->given)
            snl_prefetch(
                g, snl_offset(g, snl_offset(g, *at++, row, f->op.ins[i].stride * 4), c, 4), false);
        if (e.coef_is_param[i]) at++;
    }
}

LLVMValueRef snl_finish_value(const SnlFinish *f, const LLVMValueRef *at, LLVMValueRef x,
                              LLVMValueRef row, LLVMValueRef c)
{
    SnlGen *g = f->op.g;
    Eltwise e = finishing(f);
    for (size_t i = 0; i < e.n; i++) {
        if (i == f->given)
            e.given[i] = x;
        else
            e.in[i] = snl_offset(g, *at++, row, f->op.ins[i].stride * 4);
        if (e.coef_is_param[i]) e.coef_ptr[i] = *at++;
    }
    if (f->op.op->code == SNL_OP_SCALE) e.weight = *at;
    return value(&e, c, SNL_LANES);
}

/* ---- mix: out[r, c] = sum_s m[r, s] x[s, c] -------------------------------------------------- */

typedef struct Mix {
    SnlGen *g;
    int64_t streams_out, streams_in;
    int64_t x_member, y_member; /* elements from one stream to the next */
    bool few;                   /* so few streams that loops over them are written out */
    LLVMValueRef x, m, y;
} Mix;

/* sum + m[r, s] * x[s] at column c; sum NULL: 0. */
static LLVMValueRef add_stream(const Mix *k, LLVMValueRef c, LLVMValueRef m_row, LLVMValueRef s,
                               LLVMValueRef sum, int lanes)
{
    SnlGen *g = k->g;
    LLVMValueRef by = snl_splat(g, snl_load(g, snl_offset(g, m_row, s, 4), 1), lanes);
    LLVMValueRef x = snl_offset(g, snl_offset(g, k->x, c, 4), s, k->x_member * 4);
    LLVMValueRef v = snl_load(g, x, lanes);
    return sum ? snl_fma(g, by, v, sum) : snl_fmul(g, by, v);
}

/* Stream r of the result at column c. */
static void mix_stream(const Mix *k, LLVMValueRef c, LLVMValueRef r, int lanes)
{
    SnlGen *g = k->g;
    LLVMValueRef row = snl_offset(g, k->m, r, k->streams_in * 4);
    LLVMValueRef sum = add_stream(k, c, row, snl_i64(g, 0), NULL, lanes);
    if (k->few) {
        for (int64_t s = 1; s < k->streams_in; s++)
            sum = add_stream(k, c, row, snl_i64(g, s), sum, lanes);
    } else {
        SnlLoop s;
        snl_loop_begin(g, &s, snl_i64(g, 1), snl_i64(g, k->streams_in), 1, 1, &sum);
        sum = add_stream(k, c, row, s.i, s.carried[0], lanes);
        snl_loop_end(g, &s, &sum);
        sum = s.carried[0];
    }
    snl_store(g, sum, snl_offset(g, snl_offset(g, k->y, c, 4), r, k->y_member * 4));
}

static LLVMValueRef mix_columns(const Mix *k, LLVMValueRef from, LLVMValueRef to, int lanes)
{
    SnlGen *g = k->g;
    LLVMValueRef span = snl_max(g, snl_sub(g, to, from), snl_i64(g, 0));
    LLVMValueRef end =
        snl_add(g, from, snl_mul(g, snl_div_const(g, span, lanes), snl_i64(g, lanes)));
    SnlLoop c;
    snl_loop_begin(g, &c, from, end, lanes, 0, NULL);
    if (k->few) {
        for (int64_t r = 0; r < k->streams_out; r++) mix_stream(k, c.i, snl_i64(g, r), lanes);
    } else {
        SnlLoop r;
        snl_loop_begin(g, &r, snl_i64(g, 0), snl_i64(g, k->streams_out), 1, 0, NULL);
        mix_stream(k, c.i, r.i, lanes);
        snl_loop_end(g, &r, NULL);
    }
    snl_loop_end(g, &c, NULL);
    return end;
}

void snl_kernel_mix(const SnlOpGen *o, SnlRange r)
{
    SnlGen *g = o->g;
    const SnlWeight *w = snl_op_weight(o->op, 0);
    Mix k = {.g = g,
             .streams_out = w->type->dim[0],
             .streams_in = w->type->dim[1],
             .few = w->type->dim[0] <= MAX_OPERANDS && w->type->dim[1] <= MAX_OPERANDS,
             .x_member = o->in[0].member,
             .y_member = o->out.member};
    char *name =
        snl_arena_printf(g->arena, "mix.%lldx%lld.%lld.%lld.%lld.%lld", (long long)k.streams_out,
                         (long long)k.streams_in, (long long)k.x_member, (long long)k.y_member,
                         (long long)o->in[0].stride, (long long)o->out.stride);
    bool fresh;
    LLVMValueRef f = snl_kernel_begin(g, name, 3, 4, &fresh);
    if (fresh) {
        SnlLoop t;
        snl_loop_begin(g, &t, snl_param(g, 5), snl_param(g, 6), 1, 0, NULL);
        k.x = snl_offset(g, snl_param(g, 0), t.i, o->in[0].stride * 4);
        k.m = snl_param(g, 1);
        k.y = snl_offset(g, snl_param(g, 2), t.i, o->out.stride * 4);
        LLVMValueRef rest = mix_columns(&k, snl_param(g, 3), snl_param(g, 4), SNL_LANES);
        mix_columns(&k, rest, snl_param(g, 4), 1);
        snl_loop_end(g, &t, NULL);
        snl_kernel_end(g);
    }
    SnlAddress at[] = {o->in[0].base, snl_weight_at(o, w), o->out.base};
    snl_call_kernel(o, f, at, 3, r);
}
