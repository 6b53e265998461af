/* codegen/step.c -- a scheduled function as one SPMD step.
 *
 * For every op, this thread's share of it as calls of kernels (codegen/calls.h); between stages, a
 * barrier. The list of calls becomes code when it is complete. */
#include "codegen/gen.h"

#include "runtime/abi.h"

typedef struct Step {
    SnlGen *g;
    const SnlFunc *func;
    const SnlPayload *payload;
    const int64_t *state_offset;
    int64_t tokens;
    bool decode;
    int64_t *result_of; /* per value id: index of the function result it is, -1 */
    SnlCalls calls;
} Step;

/* ---- where values lie ------------------------------------------------------------------------ */

static int param_index(const Step *s, const SnlValue *v)
{
    for (size_t i = 0; i < s->func->n_param; i++)
        if (s->func->param[i] == v) return (int)i;
    SNL_UNREACHABLE();
}

static SnlPlace place_in(const Step *s, const SnlValue *v, int region, int64_t offset)
{
    return (SnlPlace){.base = {region, offset},
                      .stride = s->decode ? 0 : snl_row_words(v->type),
                      .member = snl_member_words(v->type)};
}

static SnlPlace moved(SnlPlace p, int64_t words)
{
    p.base.offset += words * 4;
    return p;
}

static SnlPlace place_of(const Step *s, const SnlValue *v)
{
    const SnlOp *op = v->def;
    if (!op) return place_in(s, v, SNL_IN_ARGS + param_index(s, v), 0);
    if (snl_op_is_view(op)) {
        SnlPlace whole = place_of(s, snl_in(op, 0));
        return moved(whole, op->code == SNL_OP_SLICE
                                ? snl_attr_int(&op->attrs, "begin", 0)
                                : snl_attr_int(&op->attrs, "index", 0) * whole.member);
    }
    SnlPlacement p;
    SNL_ASSERT(snl_placement_read(op, &p));
    int64_t result = s->result_of[v->id];
    if (result >= 0) {
        size_t at = s->func->n_param + (size_t)result;
        if (p.tail && !s->decode) at += s->func->n_result;
        return place_in(s, v, SNL_IN_ARGS + (int)at, 0);
    }
    const SnlAttrValue *at = snl_attr_find(&op->attrs, "at");
    SNL_ASSERT(at);
    return place_in(s, v, p.split == SNL_SPLIT_ALL ? SNL_IN_PRIVATE : SNL_IN_SHARED, at->i);
}

SnlAddress snl_weight_at(const SnlOpGen *o, const SnlWeight *w)
{
    return (SnlAddress){SNL_IN_WEIGHTS, snl_payload_offset(o->payload, w)};
}

SnlAddress snl_member_weight_at(const SnlOpGen *o, size_t member)
{
    const SnlSymbols *weights = &o->op->sym[0];
    if (weights->n == 0) return (SnlAddress){SNL_IN_NULL, 0};
    return snl_weight_at(o, weights->weight[weights->n > 1 ? member : 0]);
}

SnlAddress snl_state_at(const SnlOpGen *o, const SnlState *state)
{
    return (SnlAddress){SNL_IN_STATE, o->state_offset[state->id]};
}

/* ---- this thread's share of an op ------------------------------------------------------------ */

/* Token rows of the op: all, the tail, or this thread's part of them. */
static SnlRowsKind rows_of(const SnlPlacement *p)
{
    if (p->split == SNL_SPLIT_ONE) return SNL_ROWS_FIRST_THREAD;
    if (p->split == SNL_SPLIT_ROWS) return p->tail ? SNL_ROWS_TAIL_SHARE : SNL_ROWS_ALL_SHARE;
    return p->tail ? SNL_ROWS_TAIL : SNL_ROWS_ALL;
}

/* Of columns [begin, begin + width) of member `m` of `members`, shared out in units of `grain`. */
static SnlRange share_range(Step *s, const SnlPlacement *p, int64_t grain, int64_t begin,
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
static SnlRange column_range(Step *s, const SnlPlacement *p, size_t m, size_t members,
                             int64_t width)
{
    return share_range(s, p, p->grain, 0, width, m, members);
}

/* Heads (or groups) [0, heads) of member `m` that are this thread's. */
static SnlRange head_range(Step *s, const SnlPlacement *p, size_t m, size_t members, int64_t heads)
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
    return snl_type_members(v->type) == 1 ? whole : moved(whole, (int64_t)m * whole.member);
}

static void emit_pieces(Step *s, SnlOpGen *o, size_t m, SnlPlace x, SnlPlace y, bool accumulate,
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

/* Fills in what there is to know of one op; results in registers have no place. */
static void describe_op(Step *s, const SnlOp *op, SnlOpGen *o)
{
    SnlGen *g = s->g;
    *o = (SnlOpGen){.g = g,
                    .calls = &s->calls,
                    .op = op,
                    .decode = s->decode,
                    .tokens = s->tokens,
                    .pos = -1,
                    .payload = s->payload,
                    .state_offset = s->state_offset};
    bool scheduled = snl_placement_read(op, &o->p);
    SNL_ASSERT(scheduled);
    o->ins = op->n_in <= 8 ? o->in : SNL_NEW_ARRAY(g->arena, SnlPlace, op->n_in);
    for (size_t i = 0; i < op->n_in; i++) {
        const SnlValue *v = snl_in(op, i);
        if (v->type->dtype == SNL_INDEX)
            o->pos = param_index(s, v);
        else if (!v->def || !snl_op_in_registers(v->def))
            o->ins[i] = place_of(s, v);
    }
    if (op->n_out && !snl_op_in_registers(op)) o->out = place_of(s, op->out[0]);
    const SnlAttrValue *scratch = snl_attr_find(&op->attrs, "scratch");
    if (scratch) o->scratch = (SnlAddress){SNL_IN_PRIVATE, scratch->i};
}

/* The ops that take the result from registers, one after the other; null: none. */
static SnlFinish *finish_of(Step *s, const SnlOp *op)
{
    if (!snl_op_in_registers(op)) return NULL;
    const SnlValue *v = op->out[0];
    SnlFinish *f = SNL_NEW(s->g->arena, SnlFinish);
    describe_op(s, v->uses->user, &f->op);
    while (snl_in(f->op.op, f->given) != v) f->given++;
    f->next = finish_of(s, f->op.op);
    return f;
}

static SnlPlace finished_place(const SnlFinish *f)
{
    while (f->next) f = f->next;
    return f->op.out;
}

static void emit_linear(Step *s, SnlOpGen *o)
{
    const SnlOp *op = o->op;
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

static void emit_embed(Step *s, SnlOpGen *o)
{
    snl_kernel_embed(o, column_range(s, &o->p, 0, 1, snl_type_width(o->op->out[0]->type)));
}

static void emit_norm(Step *s, SnlOpGen *o)
{
    const SnlOp *op = o->op;
    int64_t members = member_count(op), heads = snl_attr_int(&op->attrs, "heads", 1);
    for (size_t m = 0; m < (size_t)members; m++)
        snl_kernel_norm(o, m, member_place(snl_in(op, 0), o->in[0], m),
                        member_place(op->out[0], o->out, m),
                        head_range(s, &o->p, m, (size_t)members, heads));
}

static void emit_rope(Step *s, SnlOpGen *o)
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

static void emit_rope_table(Step *s, SnlOpGen *o)
{
    snl_kernel_rope_table(o, column_range(s, &o->p, 0, 1, snl_type_width(o->op->out[0]->type)));
}

static void emit_attention(Step *s, SnlOpGen *o)
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

static void emit_attention_parts(Step *s, SnlOpGen *o)
{
    const SnlOp *op = o->op;
    (void)s;
    for (size_t m = 0; m < op->sym[0].n; m++)
        snl_kernel_attention_parts(o, m, member_place(snl_in(op, 0), o->in[0], m),
                                   member_place(snl_in(op, 1), o->in[1], m),
                                   member_place(snl_in(op, 2), o->in[2], m),
                                   member_place(op->out[0], o->out, m),
                                   turns_range(m, snl_attention_kv_heads(op)));
}

static void emit_attention_merge(Step *s, SnlOpGen *o)
{
    const SnlOp *op = o->op;
    size_t members = (size_t)member_count(op);
    int64_t heads = snl_attr_int(&snl_in(op, 0)->def->attrs, "heads", 1);
    for (size_t m = 0; m < members; m++)
        snl_kernel_attention_merge(o, m, member_place(snl_in(op, 0), o->in[0], m),
                                   member_place(op->out[0], o->out, m),
                                   head_range(s, &o->p, m, members, heads));
}

static void emit_kv_write(Step *s, SnlOpGen *o)
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

static void emit_eltwise(Step *s, SnlOpGen *o)
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
static void emit_cast(Step *s, SnlOpGen *o)
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

static void emit_mix(Step *s, SnlOpGen *o)
{
    SNL_ASSERT(o->p.split != SNL_SPLIT_COLS || member_count(o->op) == 1);
    snl_kernel_mix(o, column_range(s, &o->p, 0, 1, snl_type_width(o->op->out[0]->type)));
}

static void emit_shift(Step *s, SnlOpGen *o)
{
    const SnlType *type = o->op->out[0]->type;
    for (size_t m = 0; m < (size_t)snl_type_members(type); m++)
        snl_kernel_shift(o, m, member_place(snl_in(o->op, 0), o->in[0], m),
                         member_place(o->op->out[0], o->out, m),
                         column_range(s, &o->p, 0, 1, snl_type_width(type)));
}

static void emit_row_write(Step *s, SnlOpGen *o)
{
    const SnlValue *x = snl_in(o->op, 0);
    for (size_t m = 0; m < (size_t)snl_type_members(x->type); m++)
        snl_kernel_row_write(o, m, member_place(x, o->in[0], m),
                             column_range(s, &o->p, 0, 1, snl_type_width(x->type)));
}

static void emit_nothing(Step *s, SnlOpGen *o)
{
    (void)s;
    (void)o;
}

/* Calls are gone when code is generated. */
static void emit_impossible(Step *s, SnlOpGen *o)
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

typedef void EmitOp(Step *s, SnlOpGen *o);
static EmitOp *const emitters[SNL_OP_COUNT] = {
#define OP(NAME, text, min_in, max_in, symbols, n_out, flags, rule) [SNL_OP_##NAME] = emit_##rule,
#include "ir/ops.def"
#undef OP
};

static void emit_op(Step *s, const SnlOp *op)
{
    if (op->code == SNL_OP_RETURN || snl_op_is_view(op) || snl_op_takes_registers(op)) return;
    SnlOpGen o;
    describe_op(s, op, &o);
    emitters[op->code](s, &o);
}

/* All ops in order; how many barriers stand between them. */
static int64_t collect_calls(Step *s)
{
    int64_t stage = 0, barriers = 0;
    for (const SnlOp *op = s->func->first; op != s->func->last; op = op->next) {
        if (!snl_op_is_view(op)) {
            int64_t next = snl_attr_int(&op->attrs, "stage", 0);
            if (next != stage) {
                snl_calls_barrier(&s->calls);
                barriers++;
            }
            stage = next;
        }
        emit_op(s, op);
    }
    return barriers;
}

/* ---- the function ---------------------------------------------------------------------------- */

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
static void load_args(Step *s, SnlFrame *f, LLVMValueRef tail_row)
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

static void load_rows(Step *s, SnlFrame *f, LLVMValueRef n_tokens, LLVMValueRef tail_row)
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

static SnlFrame load_frame(Step *s)
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

static void find_results(Step *s)
{
    const SnlOp *ret = s->func->last;
    s->result_of = SNL_NEW_ARRAY(s->g->arena, int64_t, s->func->n_values + 1);
    for (uint32_t i = 0; i < s->func->n_values; i++) s->result_of[i] = -1;
    for (size_t i = 0; i < ret->n_in; i++) {
        const SnlValue *v = snl_in(ret, i);
        s->result_of[v->id] = (int64_t)i;
        if (!v->def || v->def->code != SNL_OP_SOFTCAP) continue;
        const SnlValue *x = snl_in(v->def, 0);
        if (x->def && snl_op_is_result(x->def)) s->result_of[x->id] = (int64_t)i;
    }
}

LLVMValueRef snl_emit_step(SnlGen *g, const SnlFunc *func, const SnlPayload *payload,
                           const int64_t *state_offset, const char *name, int64_t *out_barriers)
{
    int64_t tokens = snl_attr_int(&func->attrs, "tokens", 1);
    Step s = {.g = g,
              .func = func,
              .payload = payload,
              .state_offset = state_offset,
              .tokens = tokens,
              .decode = tokens == 1,
              .calls = {.arena = g->arena}};
    find_results(&s);
    *out_barriers = collect_calls(&s);
    snl_calls_fold(&s.calls);

    LLVMTypeRef params[] = {g->ptr, g->i64};
    LLVMValueRef f = LLVMAddFunction(g->module, name, LLVMFunctionType(g->void_, params, 2, 0));
    LLVMSetLinkage(f, LLVMInternalLinkage);
    snl_mark_function(g, f);
    snl_add_attribute(g, f, "optsize"); /* calls and loops of calls: the time is in the kernels */
    g->func = f;
    LLVMPositionBuilderAtEnd(g->b, LLVMAppendBasicBlockInContext(g->ctx, f, "entry"));
    SnlFrame frame = load_frame(&s);
    snl_emit_redzones(g, func, &frame);
    snl_emit_calls(g, &s.calls, &frame);
    LLVMBuildRetVoid(g->b);
    g->func = NULL;
    return f;
}
