/* codegen/step.c -- a scheduled function as one SPMD step.
 *
 * The step is straight-line: for every op, this thread's share of it as calls of kernels; between
 * stages, a barrier. Shares are computed once per distinct number of units, in the entry block. */
#include "codegen/gen.h"

#include "runtime/abi.h"

enum { MAX_SHARES = 64, ATTENTION_TILE_ROWS = 16 };

typedef struct Share {
    int64_t units;
    LLVMValueRef from, to;
} Share;

typedef struct Step {
    SnlGen *g;
    const SnlFunc *func;
    const SnlPayload *payload;
    const int64_t *state_offset;
    int64_t tokens;
    bool decode;
    LLVMValueRef ctx, thread, n_threads, n_tokens, tail_row, weights, state, work, private, args;
    Share share[MAX_SHARES];
    size_t n_shares;
    LLVMValueRef *arg;  /* parameters, then results: pointer or index */
    int64_t *result_of; /* per value id: index of the function result it is, -1 */
} Step;

/* ---- fields of the context ------------------------------------------------------------------- */

enum {
#define SNLRT_FIELD(type, name, kind) CTX_##name,
    SNLRT_CTX_FIELDS(SNLRT_FIELD)
#undef SNLRT_FIELD
};

static LLVMValueRef ctx_field(Step *s, int index, LLVMTypeRef type)
{
    return snl_load_typed(s->g, type, snl_offset_const(s->g, s->ctx, index * 8), 8);
}

static void load_context(Step *s)
{
    SnlGen *g = s->g;
    s->ctx = snl_param(g, 0);
    s->thread = snl_param(g, 1);
    s->weights = ctx_field(s, CTX_weights, g->ptr);
    s->state = ctx_field(s, CTX_state, g->ptr);
    s->work = ctx_field(s, CTX_work, g->ptr);
    s->args = ctx_field(s, CTX_args, g->ptr);
    s->n_threads = ctx_field(s, CTX_n_threads, g->i64);
    s->n_tokens = s->decode ? snl_i64(g, 1) : ctx_field(s, CTX_n_tokens, g->i64);
    s->tail_row = s->decode ? snl_i64(g, 0) : ctx_field(s, CTX_tail_row, g->i64);
    int64_t shared = snl_attr_int(&s->func->attrs, "shared_bytes", 0);
    int64_t private = snl_attr_int(&s->func->attrs, "private_bytes", 0);
    s->private = snl_offset(g, snl_offset_const(g, s->work, shared), s->thread, private);
    size_t n = s->func->n_param + s->func->n_result;
    s->arg = SNL_NEW_ARRAY(g->arena, LLVMValueRef, n + 1);
    for (size_t i = 0; i < n; i++) {
        bool index = i < s->func->n_param && s->func->param[i]->type->dtype == SNL_INDEX;
        LLVMValueRef slot = snl_offset_const(g, s->args, (int64_t)i * 8);
        s->arg[i] = snl_load_typed(g, index ? g->i64 : g->ptr, slot, 8);
    }
}

/* floor(units * (thread + k) / n_threads) */
static LLVMValueRef share_end(Step *s, LLVMValueRef units, int64_t k)
{
    SnlGen *g = s->g;
    LLVMValueRef at = snl_mul(g, units, snl_add(g, s->thread, snl_i64(g, k)));
    return LLVMBuildUDiv(g->b, at, s->n_threads, "");
}

static Share share_of(Step *s, int64_t units)
{
    for (size_t i = 0; i < s->n_shares; i++)
        if (s->share[i].units == units) return s->share[i];
    Share new = {.units = units,
                 .from = share_end(s, snl_i64(s->g, units), 0),
                 .to = share_end(s, snl_i64(s->g, units), 1)};
    /* The step has no branches around ops but loops of its own, so what was built once dominates
     * everything after it, unless it stands inside such a loop: those never ask for new shares. */
    if (s->n_shares < MAX_SHARES) s->share[s->n_shares++] = new;
    return new;
}

/* ---- where values lie ------------------------------------------------------------------------ */

static SnlPlace place_of(Step *s, const SnlValue *v)
{
    SnlGen *g = s->g;
    int64_t stride = snl_row_words(v->type), width = snl_member_words(v->type);
    if (!v->def) {
        for (size_t i = 0; i < s->func->n_param; i++)
            if (s->func->param[i] == v) return (SnlPlace){s->arg[i], stride, width};
        SNL_UNREACHABLE();
    }
    const SnlOp *op = v->def;
    if (snl_op_is_view(op)) {
        SnlPlace whole = place_of(s, snl_in(op, 0));
        int64_t begin = op->code == SNL_OP_SLICE
                            ? snl_attr_int(&op->attrs, "begin", 0)
                            : snl_attr_int(&op->attrs, "index", 0) * whole.member;
        return (SnlPlace){snl_offset_const(g, whole.base, begin * 4), whole.stride, whole.member};
    }
    SnlPlacement p;
    SNL_ASSERT(snl_placement_read(op, &p));
    int64_t result = s->result_of[v->id];
    if (result >= 0) {
        LLVMValueRef base = s->arg[s->func->n_param + (size_t)result];
        if (p.tail && !s->decode) {
            LLVMValueRef back = snl_sub(g, snl_i64(g, 0), s->tail_row);
            base = snl_offset(g, base, back, stride * 4);
        }
        return (SnlPlace){base, stride, width};
    }
    LLVMValueRef region = p.split == SNL_SPLIT_ALL ? s->private : s->work;
    const SnlAttrValue *at = snl_attr_find(&op->attrs, "at");
    SNL_ASSERT(at);
    return (SnlPlace){snl_offset_const(g, region, at->i), stride, width};
}

LLVMValueRef snl_weight_ptr(const SnlOpGen *o, const SnlWeight *w)
{
    return snl_offset_const(o->g, o->weights, snl_payload_offset(o->payload, w));
}

LLVMValueRef snl_member_weight_ptr(const SnlOpGen *o, size_t member)
{
    const SnlSymbols *weights = &o->op->sym[0];
    if (weights->n == 0) return LLVMConstNull(o->g->ptr);
    return snl_weight_ptr(o, weights->weight[weights->n > 1 ? member : 0]);
}

LLVMValueRef snl_state_ptr(const SnlOpGen *o, const SnlState *state)
{
    return snl_offset_const(o->g, o->state, o->state_offset[state->id]);
}

/* ---- this thread's share of an op ------------------------------------------------------------ */

/* Token rows of the op: all, the tail, or this thread's part of them. */
static void row_range(Step *s, const SnlPlacement *p, SnlRange *r)
{
    SnlGen *g = s->g;
    LLVMValueRef first = p->tail && !s->decode ? s->tail_row : snl_i64(g, 0);
    if (p->split != SNL_SPLIT_ROWS) {
        r->r0 = first;
        r->r1 = s->n_tokens;
        return;
    }
    LLVMValueRef count = snl_sub(g, s->n_tokens, first);
    r->r0 = snl_add(g, first, share_end(s, count, 0));
    r->r1 = snl_add(g, first, share_end(s, count, 1));
}

/* Units of member `m` of `members` that are this thread's, of `units` per member. */
static void unit_range(Step *s, const SnlPlacement *p, size_t m, size_t members, int64_t units,
                       LLVMValueRef *from, LLVMValueRef *to)
{
    SnlGen *g = s->g;
    if (p->split == SNL_SPLIT_INNER || (p->split == SNL_SPLIT_COLS && members == 1)) {
        Share share = share_of(s, units);
        *from = share.from;
        *to = share.to;
        return;
    }
    *from = snl_i64(g, 0);
    *to = snl_i64(g, units);
    if (p->split != SNL_SPLIT_COLS) return;
    Share share = share_of(s, units * (int64_t)members);
    LLVMValueRef before = snl_i64(g, (int64_t)m * units), zero = snl_i64(g, 0);
    LLVMValueRef top = snl_i64(g, units);
    *from = snl_min(g, snl_max(g, snl_sub(g, share.from, before), zero), top);
    *to = snl_min(g, snl_max(g, snl_sub(g, share.to, before), zero), top);
}

/* Columns [0, width) of member `m` that are this thread's. */
static SnlRange column_range(Step *s, const SnlPlacement *p, size_t m, size_t members,
                             int64_t width)
{
    SnlGen *g = s->g;
    SnlRange r;
    row_range(s, p, &r);
    r.c0 = snl_i64(g, 0);
    r.c1 = snl_i64(g, width);
    if (p->split != SNL_SPLIT_COLS && p->split != SNL_SPLIT_INNER) return r;
    unit_range(s, p, m, members, p->units, &r.c0, &r.c1);
    r.c0 = snl_mul(g, r.c0, snl_i64(g, p->grain));
    r.c1 = snl_mul(g, r.c1, snl_i64(g, p->grain));
    if (p->units * p->grain != width) {
        r.c0 = snl_min(g, r.c0, snl_i64(g, width));
        r.c1 = snl_min(g, r.c1, snl_i64(g, width));
    }
    return r;
}

/* Heads (or groups) [0, heads) of member `m` that are this thread's. */
static SnlRange head_range(Step *s, const SnlPlacement *p, size_t m, size_t members, int64_t heads)
{
    SnlGen *g = s->g;
    SnlRange r;
    row_range(s, p, &r);
    r.c0 = snl_i64(g, 0);
    r.c1 = snl_i64(g, heads);
    if (p->split != SNL_SPLIT_COLS) return r;
    SNL_ASSERT(heads % p->units == 0);
    unit_range(s, p, m, members, p->units, &r.c0, &r.c1);
    r.c0 = snl_mul(g, r.c0, snl_i64(g, heads / p->units));
    r.c1 = snl_mul(g, r.c1, snl_i64(g, heads / p->units));
    return r;
}

/* ---- ops ------------------------------------------------------------------------------------- */

static int64_t member_count(const SnlOp *op)
{
    return op->n_out ? snl_type_members(op->out[0]->type) : snl_type_members(snl_in(op, 0)->type);
}

/* Operand i as member m sees it: shared rows as they are. */
static SnlPlace member_place(const SnlOpGen *o, const SnlValue *v, SnlPlace whole, size_t m)
{
    if (snl_type_members(v->type) == 1) return whole;
    int64_t begin = (int64_t)m * whole.member;
    return (SnlPlace){snl_offset_const(o->g, whole.base, begin * 4), whole.stride, whole.member};
}

static void emit_pieces(Step *s, SnlOpGen *o, size_t m, SnlPlace x, SnlPlace y, bool accumulate,
                        const SnlAttrValue *pieces, size_t members)
{
    SnlGen *g = s->g;
    int64_t begin = 0;
    for (size_t i = 0; i < pieces->list.n; i++) {
        int64_t end = pieces->list.at[i].i, grain = (end - begin) / o->p.units;
        SnlRange r;
        row_range(s, &o->p, &r);
        unit_range(s, &o->p, m, members, o->p.units, &r.c0, &r.c1);
        r.c0 = snl_add(g, snl_i64(g, begin), snl_mul(g, r.c0, snl_i64(g, grain)));
        r.c1 = snl_add(g, snl_i64(g, begin), snl_mul(g, r.c1, snl_i64(g, grain)));
        SnlOpGen part = *o;
        part.p.grain =
            begin % SNL_PANEL_ROWS == 0 && grain % SNL_PANEL_ROWS == 0 ? SNL_PANEL_ROWS : 1;
        snl_kernel_linear(&part, m, x, y, r, accumulate);
        begin = end;
    }
}

static void emit_linear(Step *s, SnlOpGen *o)
{
    const SnlOp *op = o->op;
    bool reduce = snl_attr_flag(&op->attrs, "reduce");
    int64_t width = snl_type_width(op->out[0]->type);
    const SnlAttrValue *pieces = snl_attr_find(&op->attrs, "pieces");
    size_t members = op->sym[0].n, apart = reduce ? 1 : members;
    for (size_t m = 0; m < members; m++) {
        SnlPlace x = member_place(o, snl_in(op, 0), o->in[0], m);
        SnlPlace y = reduce ? o->out : member_place(o, op->out[0], o->out, m);
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
        snl_kernel_norm(o, m, member_place(o, snl_in(op, 0), o->in[0], m),
                        member_place(o, op->out[0], o->out, m),
                        head_range(s, &o->p, m, (size_t)members, heads));
}

static void emit_rope(Step *s, SnlOpGen *o)
{
    const SnlOp *op = o->op;
    int64_t members = member_count(op), heads = snl_attr_int(&op->attrs, "heads", 1);
    for (size_t m = 0; m < (size_t)members; m++) {
        SnlOpGen part = *o;
        part.in[0] = member_place(o, snl_in(op, 0), o->in[0], m);
        part.out = member_place(o, op->out[0], o->out, m);
        snl_kernel_rope(&part, head_range(s, &o->p, m, (size_t)members, heads));
    }
}

static void emit_rope_table(Step *s, SnlOpGen *o)
{
    SnlRange r;
    row_range(s, &o->p, &r);
    snl_kernel_rope_table(o, r.r0, r.r1);
}

/* Attention by (tile of rows, kv head): thread t takes units t, t + n, t + 2n, ..., so that late
 * tiles, which see more positions, are shared out evenly. */
static void attention_tiles(Step *s, SnlOpGen *o, size_t m, SnlPlace q, SnlPlace k, SnlPlace v,
                            SnlPlace y)
{
    SnlGen *g = s->g;
    int64_t heads = snl_attention_kv_heads(o->op);
    SnlRange r;
    row_range(s, &o->p, &r);
    LLVMValueRef rows = snl_max(g, snl_sub(g, r.r1, r.r0), snl_i64(g, 0));
    LLVMValueRef tiles = snl_div_const(g, snl_add(g, rows, snl_i64(g, ATTENTION_TILE_ROWS - 1)),
                                       ATTENTION_TILE_ROWS);
    LLVMValueRef units = snl_mul(g, tiles, snl_i64(g, heads));
    LLVMValueRef ahead = snl_sub(g, snl_add(g, units, s->n_threads), snl_i64(g, 1));
    LLVMValueRef turns = LLVMBuildUDiv(g->b, snl_sub(g, ahead, s->thread), s->n_threads, "");
    SnlLoop turn;
    snl_loop_begin(g, &turn, snl_i64(g, 0), turns, 1, 0, NULL);
    LLVMValueRef unit = snl_add(g, snl_mul(g, turn.i, s->n_threads), s->thread);
    LLVMValueRef tile = snl_div_const(g, unit, heads), head = snl_rem_const(g, unit, heads);
    SnlRange part = {.c0 = head, .c1 = snl_add(g, head, snl_i64(g, 1))};
    part.r0 = snl_add(g, r.r0, snl_mul(g, tile, snl_i64(g, ATTENTION_TILE_ROWS)));
    part.r1 = snl_min(g, r.r1, snl_add(g, part.r0, snl_i64(g, ATTENTION_TILE_ROWS)));
    snl_kernel_attention(o, m, q, k, v, y, part);
    snl_loop_end(g, &turn, NULL);
}

static void emit_attention(Step *s, SnlOpGen *o)
{
    const SnlOp *op = o->op;
    size_t members = op->sym[0].n;
    int64_t heads = snl_attention_kv_heads(op);
    for (size_t m = 0; m < members; m++) {
        SnlPlace q = member_place(o, snl_in(op, 0), o->in[0], m);
        SnlPlace k = member_place(o, snl_in(op, 1), o->in[1], m);
        SnlPlace v = member_place(o, snl_in(op, 2), o->in[2], m);
        SnlPlace y = member_place(o, op->out[0], o->out, m);
        if (o->p.split == SNL_SPLIT_TILES)
            attention_tiles(s, o, m, q, k, v, y);
        else
            snl_kernel_attention(o, m, q, k, v, y, head_range(s, &o->p, m, members, heads));
    }
}

static void emit_kv_write(Step *s, SnlOpGen *o)
{
    const SnlOp *op = o->op;
    size_t members = op->sym[0].n;
    for (size_t m = 0; m < members; m++) {
        int64_t heads = op->sym[0].state[m]->type->dim[1];
        snl_kernel_kv_write(o, m, member_place(o, snl_in(op, 0), o->in[0], m),
                            member_place(o, snl_in(op, 1), o->in[1], m),
                            head_range(s, &o->p, m, members, heads));
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
        for (size_t i = 0; i < op->n_in; i++) ins[i] = member_place(o, snl_in(op, i), o->ins[i], m);
        if (op->code == SNL_OP_STACK) ins[0] = ins[m];
        part.out = member_place(o, op->out[0], o->out, m);
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
    SnlGen *g = s->g;
    size_t members = (size_t)snl_type_members(y->type);
    for (size_t m = 0; m < members; m++) {
        SnlRange r = column_range(s, &o->p, m, members, snl_type_width(y->type));
        LLVMValueRef mine =
            LLVMBuildICmp(g->b, LLVMIntSLT, r.c0, r.c1, ""); /* all columns or none */
        r.r1 = LLVMBuildSelect(g->b, mine, r.r1, r.r0, "");
        snl_kernel_quantize(o, member_place(o, snl_in(o->op, 0), o->in[0], m),
                            member_place(o, y, o->out, m), r);
    }
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
        snl_kernel_shift(o, m, member_place(o, snl_in(o->op, 0), o->in[0], m),
                         member_place(o, o->op->out[0], o->out, m),
                         column_range(s, &o->p, 0, 1, snl_type_width(type)));
}

static void emit_row_write(Step *s, SnlOpGen *o)
{
    SnlGen *g = s->g;
    const SnlValue *x = snl_in(o->op, 0);
    SnlIf first;
    snl_if_begin(g, &first, LLVMBuildICmp(g->b, LLVMIntEQ, s->thread, snl_i64(g, 0), ""));
    for (size_t m = 0; m < (size_t)snl_type_members(x->type); m++)
        snl_kernel_row_write(o, m, member_place(o, x, o->in[0], m));
    snl_if_end(g, &first);
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
    SnlGen *g = s->g;
    SnlOpGen o = {.g = g,
                  .op = op,
                  .decode = s->decode,
                  .tokens = s->tokens,
                  .weights = s->weights,
                  .state = s->state,
                  .n_tokens = s->n_tokens,
                  .payload = s->payload,
                  .state_offset = s->state_offset};
    if (op->code == SNL_OP_RETURN || snl_op_is_view(op)) return;
    bool scheduled = snl_placement_read(op, &o.p);
    SNL_ASSERT(scheduled);
    o.ins = op->n_in <= 8 ? o.in : SNL_NEW_ARRAY(g->arena, SnlPlace, op->n_in);
    for (size_t i = 0; i < op->n_in; i++) {
        const SnlValue *v = snl_in(op, i);
        if (v->type->dtype == SNL_INDEX)
            o.pos = place_of(s, v).base;
        else
            o.ins[i] = place_of(s, v);
    }
    if (op->n_out) o.out = place_of(s, op->out[0]);
    const SnlAttrValue *scratch = snl_attr_find(&op->attrs, "scratch");
    if (scratch) o.scratch = snl_offset_const(g, s->private, scratch->i);
    emitters[op->code](s, &o);
}

static void emit_barrier(Step *s)
{
    SnlGen *g = s->g;
    LLVMValueRef f = LLVMGetNamedFunction(g->module, "snlrt_barrier");
    if (!f) {
        LLVMTypeRef params[] = {g->ptr, g->i64};
        f = LLVMAddFunction(g->module, "snlrt_barrier", LLVMFunctionType(g->void_, params, 2, 0));
    }
    LLVMValueRef args[] = {s->ctx, s->thread};
    snl_call(g, f, args, 2);
}

/* ---- red zones (address sanitizer) ----------------------------------------------------------- */

static void set_poison(Step *s, const char *name, LLVMValueRef at, int64_t nbytes)
{
    SnlGen *g = s->g;
    LLVMValueRef f = LLVMGetNamedFunction(g->module, name);
    if (!f) {
        LLVMTypeRef params[] = {g->ptr, g->i64};
        f = LLVMAddFunction(g->module, name, LLVMFunctionType(g->void_, params, 2, 0));
    }
    LLVMValueRef args[] = {at, snl_i64(g, nbytes)};
    snl_call(g, f, args, 2);
}

/* Nothing may touch what lies behind the `nbytes` planned at `at`, to its zone's end. */
static void poison_behind(Step *s, LLVMValueRef region, int64_t at, int64_t nbytes, int64_t redzone)
{
    int64_t begin = at / SNL_PACK_ALIGN * SNL_PACK_ALIGN; /* as planned: sabotage shifts it */
    int64_t end = (nbytes + SNL_PACK_ALIGN - 1) / SNL_PACK_ALIGN * SNL_PACK_ALIGN + redzone;
    set_poison(s, "__asan_poison_memory_region", snl_offset_const(s->g, region, begin + nbytes),
               end - nbytes);
}

static void poison_region(Step *s, LLVMValueRef region, bool private, int64_t redzone)
{
    const char *key = private ? "private_bytes" : "shared_bytes";
    set_poison(s, "__asan_unpoison_memory_region", region, snl_attr_int(&s->func->attrs, key, 0));
    for (const SnlOp *op = s->func->first; op; op = op->next) {
        const SnlAttrValue *at = snl_attr_find(&op->attrs, "at");
        const SnlAttrValue *scratch = snl_attr_find(&op->attrs, "scratch");
        SnlPlacement p;
        if (!snl_placement_read(op, &p)) continue;
        if (scratch && private)
            poison_behind(s, region, scratch->i, snl_op_scratch_bytes(op, s->tokens), redzone);
        if (at && (p.split == SNL_SPLIT_ALL) == private)
            poison_behind(s, region, at->i, snl_row_words(op->out[0]->type) * s->tokens * 4,
                          redzone);
    }
}

/* For functions planned with red zones. The shared region is thread 0's to prepare: the others
 * wait. */
static void poison_redzones(Step *s)
{
    SnlGen *g = s->g;
    int64_t redzone = snl_attr_int(&s->func->attrs, "redzone", 0);
    if (redzone == 0 || g->sanitize != SNL_SANITIZE_ADDRESS) return;
    poison_region(s, s->private, true, redzone);
    SnlIf first;
    snl_if_begin(g, &first, LLVMBuildICmp(g->b, LLVMIntEQ, s->thread, snl_i64(g, 0), ""));
    poison_region(s, s->work, false, redzone);
    snl_if_end(g, &first);
    emit_barrier(s);
}

static void find_results(Step *s)
{
    const SnlOp *ret = s->func->last;
    s->result_of = SNL_NEW_ARRAY(s->g->arena, int64_t, s->func->n_values + 1);
    for (uint32_t i = 0; i < s->func->n_values; i++) s->result_of[i] = -1;
    for (size_t i = 0; i < ret->n_in; i++) s->result_of[snl_in(ret, i)->id] = (int64_t)i;
}

LLVMValueRef snl_emit_step(SnlGen *g, const SnlFunc *func, const SnlPayload *payload,
                           const int64_t *state_offset, const char *name, int64_t *out_barriers)
{
    LLVMTypeRef params[] = {g->ptr, g->i64};
    LLVMValueRef f = LLVMAddFunction(g->module, name, LLVMFunctionType(g->void_, params, 2, 0));
    LLVMSetLinkage(f, LLVMInternalLinkage);
    snl_mark_function(g, f);
    int64_t tokens = snl_attr_int(&func->attrs, "tokens", 1);
    Step s = {.g = g,
              .func = func,
              .payload = payload,
              .state_offset = state_offset,
              .tokens = tokens,
              .decode = tokens == 1};
    g->func = f;
    LLVMPositionBuilderAtEnd(g->b, LLVMAppendBasicBlockInContext(g->ctx, f, "entry"));
    find_results(&s);
    load_context(&s);
    poison_redzones(&s);
    int64_t stage = 0;
    *out_barriers = 0;
    for (const SnlOp *op = func->first; op != func->last; op = op->next) {
        if (!snl_op_is_view(op)) {
            int64_t next = snl_attr_int(&op->attrs, "stage", 0);
            if (next != stage) {
                emit_barrier(&s);
                ++*out_barriers;
            }
            stage = next;
        }
        emit_op(&s, op);
    }
    LLVMBuildRetVoid(g->b);
    g->func = NULL;
    return f;
}
