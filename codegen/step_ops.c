/* codegen/step_ops.c -- an op of a step as calls: which kernels, on whose columns and rows. */
#include "codegen/step.h"

/* ---- this thread's share of an op ------------------------------------------------------------ */

/* Token rows of the op: all, the tail, or this thread's part of them. */
static SnlRowsKind rows_of(const SnlPlacement *p)
{
    if (p->split == SNL_SPLIT_ONE) return SNL_ROWS_FIRST_THREAD;
    if (p->split == SNL_SPLIT_ROWS) return p->tail ? SNL_ROWS_TAIL_SHARE : SNL_ROWS_ALL_SHARE;
    return p->tail ? SNL_ROWS_TAIL : SNL_ROWS_ALL;
}

/* Of columns [begin, begin + width) of member `m` of `members`, shared out in units of `grain`. */
static SnlRange share_range(SnlStep *s, const SnlPlacement *p, int64_t grain, int64_t begin,
                            int64_t width, size_t m, size_t members)
{
    SnlRange r = {.columns = SNL_COLUMNS_ALL, .rows = rows_of(p), .width = width};
    if (p->split == SNL_SPLIT_INNER || (p->split == SNL_SPLIT_COLS && members == 1)) {
        r.columns = SNL_COLUMNS_SHARE;
        r.share = snl_calls_share(&s->calls, (SnlShare){p->units, grain, width, begin});
    } else if (p->split == SNL_SPLIT_COLS) {
        int64_t all = p->units * (int64_t)members * grain;
        r.columns = SNL_COLUMNS_MEMBER;
        r.share = snl_calls_share(&s->calls, (SnlShare){all / grain, grain, all, 0});
        r.before = (int64_t)m * p->units * grain;
        r.begin = begin;
    } else {
        SNL_ASSERT(begin == 0);
    }
    return r;
}

/* Columns [0, width) of member `m` that are this thread's. */
static SnlRange column_range(SnlStep *s, const SnlPlacement *p, size_t m, size_t members,
                             int64_t width)
{
    return share_range(s, p, p->grain, 0, width, m, members);
}

/* Heads (or groups) [0, heads) of member `m` that are this thread's. */
static SnlRange head_range(SnlStep *s, const SnlPlacement *p, size_t m, size_t members,
                           int64_t heads)
{
    bool cols = p->split == SNL_SPLIT_COLS;
    SNL_ASSERT(!cols || heads % p->units == 0);
    SnlRange r = {.columns = SNL_COLUMNS_ALL, .rows = rows_of(p), .width = heads};
    return cols ? share_range(s, p, heads / p->units, 0, heads, m, members) : r;
}

static void add_call(const SnlOpGen *o, LLVMValueRef kernel, const SnlAddress *ptr, unsigned n_ptr,
                     SnlRange r, int pos)
{
    SnlCall call = {.kernel = kernel, .n_ptr = n_ptr, .range = r, .pos = pos};
    SNL_ASSERT(n_ptr <= SNL_MAX_CALL_POINTERS);
    memcpy(call.ptr, ptr, n_ptr * sizeof *ptr);
    snl_calls_add(o->calls, &call);
}

void snl_call_kernel(const SnlOpGen *o, LLVMValueRef kernel, const SnlAddress *ptr, unsigned n_ptr,
                     SnlRange r)
{
    add_call(o, kernel, ptr, n_ptr, r, -1);
}

void snl_call_kernel_at_pos(const SnlOpGen *o, LLVMValueRef kernel, const SnlAddress *ptr,
                            unsigned n_ptr, SnlRange r)
{
    SNL_ASSERT(o->pos >= 0);
    add_call(o, kernel, ptr, n_ptr, r, o->pos);
}

/* ---- ops ------------------------------------------------------------------------------------- */

static int64_t member_count(const SnlOp *op)
{
    return op->n_out ? snl_type_members(op->out[0]->type) : snl_type_members(snl_in(op, 0)->type);
}

/* Operand i as member m sees it: shared rows as they are. */
static SnlPlace member_place(const SnlValue *v, SnlPlace whole, size_t m)
{
    return snl_type_members(v->type) == 1 ? whole
                                          : snl_place_moved(whole, (int64_t)m * whole.member);
}

static void emit_pieces(SnlStep *s, SnlOpGen *o, size_t m, SnlPlace x, SnlPlace y, bool accumulate,
                        const SnlAttrValue *pieces, size_t members)
{
    int64_t begin = 0;
    for (size_t i = 0; i < pieces->list.n; i++) {
        int64_t end = pieces->list.at[i].i, grain = (end - begin) / o->p.units;
        SnlRange r = share_range(s, &o->p, grain, begin, end - begin, m, members);
        SnlOpGen part = *o;
        part.p.grain =
            begin % SNL_PANEL_ROWS == 0 && grain % SNL_PANEL_ROWS == 0 ? SNL_PANEL_ROWS : 1;
        snl_kernel_linear(&part, m, x, y, r, accumulate);
        begin = end;
    }
}

/* The ops that take the result from registers, one after the other; null: none. */
static SnlFinish *finish_of(SnlStep *s, const SnlOp *op)
{
    if (!snl_op_in_registers(op)) return NULL;
    const SnlValue *v = op->out[0];
    SnlFinish *f = SNL_NEW(s->g->arena, SnlFinish);
    snl_step_describe(s, v->uses->user, &f->op);
    while (snl_in(f->op.op, f->given) != v) f->given++;
    f->next = finish_of(s, f->op.op);
    return f;
}

static SnlPlace finished_place(const SnlFinish *f)
{
    while (f->next) f = f->next;
    return f->op.out;
}

/* Members that are parts of the inputs: a unit is one of them. */
static void emit_linear_parts(SnlStep *s, const SnlOpGen *o)
{
    int64_t n = snl_type_members(o->op->out[0]->type);
    SnlPlacement parts = {.split = o->p.split, .units = n, .grain = 1};
    snl_kernel_linear_parts(o, o->in[0], o->out, column_range(s, &parts, 0, 1, n));
}

static void emit_linear(SnlStep *s, SnlOpGen *o)
{
    const SnlOp *op = o->op;
    if (snl_linear_part(op) > 0) {
        emit_linear_parts(s, o);
        return;
    }
    o->finish = finish_of(s, op);
    if (o->finish) o->out = finished_place(o->finish);
    bool reduce = snl_attr_flag(&op->attrs, "reduce");
    int64_t width = snl_type_width(op->out[0]->type);
    const SnlAttrValue *pieces = snl_attr_find(&op->attrs, "pieces");
    size_t members = op->sym[0].n, apart = reduce ? 1 : members;
    for (size_t m = 0; m < members; m++) {
        SnlPlace x = member_place(snl_in(op, 0), o->in[0], m);
        SnlPlace y = reduce ? o->out : member_place(op->out[0], o->out, m);
        bool accumulate = reduce && m > 0;
        if (pieces)
            emit_pieces(s, o, m, x, y, accumulate, pieces, apart);
        else
            snl_kernel_linear(o, m, x, y, column_range(s, &o->p, reduce ? 0 : m, apart, width),
                              accumulate);
    }
}

static void emit_embed(SnlStep *s, SnlOpGen *o)
{
    snl_kernel_embed(o, column_range(s, &o->p, 0, 1, snl_type_width(o->op->out[0]->type)));
}

static void emit_norm(SnlStep *s, SnlOpGen *o)
{
    const SnlOp *op = o->op;
    int64_t members = member_count(op), heads = snl_attr_int(&op->attrs, "heads", 1);
    for (size_t m = 0; m < (size_t)members; m++)
        snl_kernel_norm(o, m, member_place(snl_in(op, 0), o->in[0], m),
                        member_place(op->out[0], o->out, m),
                        head_range(s, &o->p, m, (size_t)members, heads));
}

static void emit_rope(SnlStep *s, SnlOpGen *o)
{
    const SnlOp *op = o->op;
    int64_t members = member_count(op), heads = snl_attr_int(&op->attrs, "heads", 1);
    for (size_t m = 0; m < (size_t)members; m++) {
        SnlOpGen part = *o;
        part.in[0] = member_place(snl_in(op, 0), o->in[0], m);
        part.out = member_place(op->out[0], o->out, m);
        snl_kernel_rope(&part, head_range(s, &o->p, m, (size_t)members, heads));
    }
}

static void emit_rope_table(SnlStep *s, SnlOpGen *o)
{
    snl_kernel_rope_table(o, column_range(s, &o->p, 0, 1, snl_type_width(o->op->out[0]->type)));
}

static void emit_attention(SnlStep *s, SnlOpGen *o)
{
    const SnlOp *op = o->op;
    size_t members = op->sym[0].n;
    int64_t heads = snl_attention_kv_heads(op);
    for (size_t m = 0; m < members; m++) {
        SnlPlace q = member_place(snl_in(op, 0), o->in[0], m);
        SnlPlace k = member_place(snl_in(op, 1), o->in[1], m);
        SnlPlace v = member_place(snl_in(op, 2), o->in[2], m);
        SnlPlace y = member_place(op->out[0], o->out, m);
        SnlRange r = head_range(s, &o->p, m, members, heads);
        if (o->p.split == SNL_SPLIT_TILES) r.columns = SNL_COLUMNS_THREADS;
        snl_kernel_attention(o, m, q, k, v, y, r);
    }
}

/* Units of member m's `heads` kv heads; its turns begin where those of the member before end. */
static SnlRange turns_range(size_t m, int64_t heads)
{
    return (SnlRange){
        .columns = SNL_COLUMNS_TURNS, .rows = SNL_ROWS_ALL, .before = (int64_t)m * heads};
}

static void emit_attention_parts(SnlStep *s, SnlOpGen *o)
{
    const SnlOp *op = o->op;
    (void)s;
    for (size_t m = 0; m < op->sym[0].n; m++)
        snl_kernel_attention_parts(
            o, m, member_place(snl_in(op, 0), o->in[0], m),
            member_place(snl_in(op, 1), o->in[1], m), member_place(snl_in(op, 2), o->in[2], m),
            member_place(op->out[0], o->out, m), turns_range(m, snl_attention_kv_heads(op)));
}

static void emit_attention_merge(SnlStep *s, SnlOpGen *o)
{
    const SnlOp *op = o->op;
    size_t members = (size_t)member_count(op);
    int64_t heads = snl_attr_int(&snl_in(op, 0)->def->attrs, "heads", 1);
    for (size_t m = 0; m < members; m++)
        snl_kernel_attention_merge(o, m, member_place(snl_in(op, 0), o->in[0], m),
                                   member_place(op->out[0], o->out, m),
                                   head_range(s, &o->p, m, members, heads));
}

static void emit_kv_write(SnlStep *s, SnlOpGen *o)
{
    const SnlOp *op = o->op;
    size_t members = op->sym[0].n;
    for (size_t m = 0; m < members; m++) {
        int64_t heads = op->sym[0].state[m]->type->dim[1];
        snl_kernel_kv_write(o, m, member_place(snl_in(op, 0), o->in[0], m),
                            member_place(snl_in(op, 1), o->in[1], m),
                            o->p.split == SNL_SPLIT_PARTS
                                ? turns_range(m, heads)
                                : head_range(s, &o->p, m, members, heads));
    }
}

static void emit_eltwise(SnlStep *s, SnlOpGen *o)
{
    const SnlOp *op = o->op;
    const SnlType *type = op->out[0]->type;
    size_t members = (size_t)snl_type_members(type);
    SnlPlace *ins = SNL_NEW_ARRAY(s->g->arena, SnlPlace, op->n_in);
    for (size_t m = 0; m < members; m++) {
        SnlOpGen part = *o;
        part.ins = ins;
        for (size_t i = 0; i < op->n_in; i++) ins[i] = member_place(snl_in(op, i), o->ins[i], m);
        if (op->code == SNL_OP_STACK) ins[0] = ins[m];
        part.out = member_place(op->out[0], o->out, m);
        /* Words are columns, but for a stack of rows in blocks, which is copied word by word. */
        snl_kernel_eltwise(&part, m, column_range(s, &o->p, m, members, snl_member_words(type)));
    }
}

/* Blocks of q8_0 lie across columns: whole rows. Everything else is elementwise. */
static void emit_cast(SnlStep *s, SnlOpGen *o)
{
    const SnlValue *y = o->op->out[0];
    if (!snl_dtype_is_blocked(y->type->dtype)) {
        emit_eltwise(s, o);
        return;
    }
    size_t members = (size_t)snl_type_members(y->type);
    for (size_t m = 0; m < members; m++)
        snl_kernel_quantize(o, member_place(snl_in(o->op, 0), o->in[0], m),
                            member_place(y, o->out, m),
                            column_range(s, &o->p, m, members, snl_type_width(y->type)));
}

static void emit_mix(SnlStep *s, SnlOpGen *o)
{
    SNL_ASSERT(o->p.split != SNL_SPLIT_COLS || member_count(o->op) == 1);
    snl_kernel_mix(o, column_range(s, &o->p, 0, 1, snl_type_width(o->op->out[0]->type)));
}

static void emit_shift(SnlStep *s, SnlOpGen *o)
{
    const SnlType *type = o->op->out[0]->type;
    for (size_t m = 0; m < (size_t)snl_type_members(type); m++)
        snl_kernel_shift(o, m, member_place(snl_in(o->op, 0), o->in[0], m),
                         member_place(o->op->out[0], o->out, m),
                         column_range(s, &o->p, 0, 1, snl_type_width(type)));
}

static void emit_row_write(SnlStep *s, SnlOpGen *o)
{
    const SnlValue *x = snl_in(o->op, 0);
    for (size_t m = 0; m < (size_t)snl_type_members(x->type); m++)
        snl_kernel_row_write(o, m, member_place(x, o->in[0], m),
                             column_range(s, &o->p, 0, 1, snl_type_width(x->type)));
}

static void emit_nothing(SnlStep *s, SnlOpGen *o)
{
    (void)s;
    (void)o;
}

/* Calls are gone when code is generated. */
static void emit_impossible(SnlStep *s, SnlOpGen *o)
{
    (void)s;
    (void)o;
    SNL_UNREACHABLE();
}

#define emit_unary emit_eltwise
#define emit_lincomb emit_eltwise
#define emit_mul emit_eltwise
#define emit_scale emit_eltwise
#define emit_stack emit_eltwise
#define emit_slice emit_nothing
#define emit_member emit_nothing
#define emit_control emit_nothing
#define emit_call emit_impossible
#define emit_chain emit_impossible

typedef void EmitOp(SnlStep *s, SnlOpGen *o);
static EmitOp *const emitters[SNL_OP_COUNT] = {
#define OP(NAME, text, min_in, max_in, symbols, n_out, flags, rule) [SNL_OP_##NAME] = emit_##rule,
#include "ir/ops.def"
#undef OP
};

void snl_step_op(SnlStep *s, SnlOpGen *o)
{
    emitters[o->op->code](s, o);
}
