/* codegen/kernel_linear.c -- y = W x (+ b) on panels of 16 rows, one token (GEMV); embed reads
 * single rows of the same. Many tokens: codegen/kernel_gemm.c.
 *
 * Panel format (codegen/pack.h): one 64-byte line holds one input group of 16 output rows. A line
 * of f32 is 16 weights of input k; a line of bf16 or f16 is 16 pairs of inputs 2k, 2k+1.
 *
 * Per panel four accumulators take the lines in turn, (a0 + a1) + (a2 + a3) at the end, so the sum
 * for one output does not depend on how columns were shared out. */
#include "codegen/linear.h"

void snl_linear_line(const SnlLinear *l, LLVMValueRef line_ptr, LLVMValueRef *lanes)
{
    SnlGen *g = l->g;
    LLVMTypeRef floats = snl_vec(g->f32, SNL_LANES), ints = snl_vec(g->i32, SNL_LANES);
    if (l->dtype == SNL_F32) {
        lanes[0] = snl_load_typed(g, floats, line_ptr, 64);
        return;
    }
    LLVMValueRef pairs = snl_load_typed(g, ints, line_ptr, 64);
    LLVMValueRef sixteen = snl_splat(g, LLVMConstInt(g->i32, 16, 0), SNL_LANES);
    if (l->dtype == SNL_BF16) {
        LLVMValueRef mask = snl_splat(g, LLVMConstInt(g->i32, 0xffff0000u, 0), SNL_LANES);
        lanes[0] = snl_bitcast(g, LLVMBuildShl(g->b, pairs, sixteen, ""), floats);
        lanes[1] = snl_bitcast(g, LLVMBuildAnd(g->b, pairs, mask, ""), floats);
        return;
    }
    LLVMTypeRef shorts = snl_vec(g->i16, SNL_LANES);
    LLVMTypeRef halves = snl_vec(LLVMHalfTypeInContext(g->ctx), SNL_LANES);
    LLVMValueRef high = LLVMBuildLShr(g->b, pairs, sixteen, "");
    LLVMValueRef part[2] = {pairs, high};
    for (int i = 0; i < 2; i++) {
        LLVMValueRef bits = LLVMBuildTrunc(g->b, part[i], shorts, "");
        lanes[i] = LLVMBuildFPExt(g->b, snl_bitcast(g, bits, halves), floats, "");
    }
}

LLVMValueRef snl_linear_panel(const SnlLinear *l, LLVMValueRef panel)
{
    return snl_offset(l->g, l->w, panel, snl_panel_bytes(l->dtype, l->row_inputs));
}

LLVMValueRef snl_linear_input(const SnlLinear *l, LLVMValueRef row, LLVMValueRef k, int64_t extra)
{
    SnlGen *g = l->g;
    LLVMValueRef at = snl_offset_const(g, snl_offset(g, row, k, 4), extra * 4);
    return snl_splat(g, snl_load(g, at, 1), SNL_LANES);
}

/* ---- storing a panel's 16 results ------------------------------------------------------------ */

static LLVMValueRef lane_mask(const SnlLinear *l, LLVMValueRef first)
{
    SnlGen *g = l->g;
    LLVMValueRef at = snl_lane_index(g, first);
    LLVMValueRef above = LLVMBuildICmp(g->b, LLVMIntSGE, at, snl_splat(g, l->c0, SNL_LANES), "");
    LLVMValueRef below = LLVMBuildICmp(g->b, LLVMIntSLT, at, snl_splat(g, l->c1, SNL_LANES), "");
    return LLVMBuildAnd(g->b, above, below, "");
}

static LLVMValueRef masked(SnlGen *g, const char *name, LLVMTypeRef vec, LLVMValueRef *args,
                           unsigned n)
{
    LLVMTypeRef types[2] = {vec, g->ptr};
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMValueRef f = LLVMGetIntrinsicDeclaration(g->module, id, types, 2);
    return LLVMBuildCall2(g->b, LLVMIntrinsicGetType(g->ctx, id, types, 2), f, args, n, "");
}

/* The lanes of a masked access, for the thread sanitizer: neighbours from max(first, c0). */
static void note_masked(const SnlLinear *l, LLVMValueRef y, LLVMValueRef first)
{
    SnlGen *g = l->g;
    LLVMValueRef from = snl_max(g, first, l->c0);
    LLVMValueRef to = snl_min(g, snl_add(g, first, snl_i64(g, SNL_LANES)), l->c1);
    LLVMValueRef n = snl_max(g, snl_sub(g, to, from), snl_i64(g, 0));
    snl_note_access(g, snl_offset(g, y, from, 4), snl_mul(g, n, snl_i64(g, 4)), true);
}

LLVMValueRef snl_linear_biased(const SnlLinear *l, LLVMValueRef sum, LLVMValueRef first)
{
    SnlGen *g = l->g;
    if (!l->bias) return sum;
    return snl_fadd(g, sum, snl_load(g, snl_offset(g, l->b, first, 4), SNL_LANES));
}

void snl_linear_store(const SnlLinear *l, LLVMValueRef sum, LLVMValueRef y, LLVMValueRef first)
{
    SnlGen *g = l->g;
    LLVMTypeRef vec = snl_vec(g->f32, SNL_LANES);
    LLVMValueRef align = LLVMConstInt(g->i32, 4, 0);
    LLVMValueRef ptr = snl_offset(g, y, first, 4);
    LLVMValueRef mask = l->edges ? lane_mask(l, first) : NULL;
    sum = snl_linear_biased(l, sum, first);
    if (l->accumulate) {
        LLVMValueRef args[] = {ptr, align, mask, LLVMConstNull(vec)};
        LLVMValueRef old =
            mask ? masked(g, "llvm.masked.load", vec, args, 4) : snl_load(g, ptr, SNL_LANES);
        sum = snl_fadd(g, old, sum);
    }
    if (!mask) {
        snl_store(g, sum, ptr);
        return;
    }
    note_masked(l, y, first);
    LLVMValueRef args[] = {sum, ptr, align, mask};
    masked(g, "llvm.masked.store", vec, args, 4);
}

/* ---- GEMV ------------------------------------------------------------------------------------ */

enum { ACCUMULATORS = 4, LINES_A_ROUND = 8 };

/* One line into accumulator(s): inputs group * (k + extra) .. */
static LLVMValueRef gemv_line(const SnlLinear *l, LLVMValueRef panel, LLVMValueRef k, int extra,
                              int used, LLVMValueRef acc)
{
    SnlGen *g = l->g;
    LLVMValueRef lanes[2];
    snl_linear_line(l, snl_offset_const(g, snl_offset(g, panel, k, 64), extra * 64), lanes);
    LLVMValueRef first = snl_mul(g, k, snl_i64(g, l->group));
    for (int i = 0; i < used; i++)
        acc = snl_fma(g, lanes[i], snl_linear_input(l, l->x, first, extra * l->group + i), acc);
    return acc;
}

static void gemv_panel(const SnlLinear *l, LLVMValueRef panel_index)
{
    SnlGen *g = l->g;
    if (snl_dtype_is_blocked(l->dtype)) {
        snl_blocks_gemv(l, panel_index);
        return;
    }
    LLVMValueRef zero = snl_splat_f32(g, 0.0, SNL_LANES);
    LLVMValueRef panel = snl_linear_panel(l, panel_index);
    LLVMValueRef acc[ACCUMULATORS] = {zero, zero, zero, zero};
    int64_t whole = l->inputs / l->group; /* lines all of whose inputs exist */
    int64_t rounds = whole / LINES_A_ROUND * LINES_A_ROUND;
    SnlLoop k;
    snl_loop_begin(g, &k, snl_i64(g, 0), snl_i64(g, rounds), LINES_A_ROUND, ACCUMULATORS, acc);
    for (int a = 0; a < ACCUMULATORS; a++) acc[a] = k.carried[a];
    for (int i = 0; i < LINES_A_ROUND; i++)
        acc[i % ACCUMULATORS] = gemv_line(l, panel, k.i, i, l->group, acc[i % ACCUMULATORS]);
    snl_loop_end(g, &k, acc);
    for (int a = 0; a < ACCUMULATORS; a++) acc[a] = k.carried[a];
    for (int64_t i = rounds; i < l->groups; i++)
        acc[i % ACCUMULATORS] =
            gemv_line(l, panel, snl_i64(g, i), 0, i < whole ? l->group : 1, acc[i % ACCUMULATORS]);
    LLVMValueRef sum = snl_fadd(g, snl_fadd(g, acc[0], acc[1]), snl_fadd(g, acc[2], acc[3]));
    snl_linear_store(l, sum, l->y, snl_mul(g, panel_index, snl_i64(g, SNL_PANEL_ROWS)));
}

static void gemv(const SnlLinear *l)
{
    SnlGen *g = l->g;
    SnlLoop p;
    LLVMValueRef up = snl_add(g, l->c1, snl_i64(g, SNL_PANEL_ROWS - 1));
    snl_loop_begin(g, &p, snl_div_const(g, l->c0, SNL_PANEL_ROWS),
                   snl_div_const(g, up, SNL_PANEL_ROWS), 1, 0, NULL);
    gemv_panel(l, p.i);
    snl_loop_end(g, &p, NULL);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static bool unpacks(const SnlOpGen *o)
{
    return !o->decode && snl_linear_unpacks(o->op, o->tokens);
}

/* Weight, x, y, bias, then room for unpacked panels, then what the ops read that finish the
 * sums. */
static unsigned linear_addresses(const SnlOpGen *o, size_t member, SnlPlace x, SnlPlace y,
                                 SnlAddress *at)
{
    unsigned n = 0;
    at[n++] = snl_weight_at(o, snl_op_weight(o->op, member));
    at[n++] = x.base;
    at[n++] = y.base;
    at[n++] = o->op->sym[1].n > 0 ? snl_weight_at(o, o->op->sym[1].weight[member])
                                  : (SnlAddress){SNL_IN_NULL, 0};
    if (unpacks(o)) at[n++] = o->scratch;
    for (const SnlFinish *f = o->finish; f; f = f->next) {
        SNL_ASSERT(n + SNL_MAX_FINISH <= SNL_MAX_CALL_POINTERS);
        n += snl_finish_addresses(f, at + n);
    }
    return n;
}

/* The kernel's parameters: those addresses, n_ptr of them, and c0, c1, r0, r1. */
static void read_params(SnlLinear *l, const SnlOpGen *o, unsigned n_ptr, LLVMValueRef *others)
{
    SnlGen *g = l->g;
    unsigned first = unpacks(o) ? 5 : 4;
    l->w = snl_param(g, 0), l->b = snl_param(g, 3);
    l->c0 = snl_param(g, n_ptr), l->c1 = snl_param(g, n_ptr + 1), l->r0 = snl_param(g, n_ptr + 2);
    l->x = snl_offset(g, snl_param(g, 1), l->r0, l->x_stride * 4);
    l->y = snl_offset(g, snl_param(g, 2), l->r0, l->y_stride * 4);
    l->n = snl_sub(g, snl_param(g, n_ptr + 3), l->r0);
    if (unpacks(o)) l->unpacked = snl_param(g, 4);
    for (unsigned i = first; i < n_ptr; i++) others[i - first] = snl_param(g, i);
    l->finish = o->finish;
    l->others = others;
}

/* The matrix; edges as its rows make them. */
static SnlLinear linear_by(SnlGen *g, const SnlWeight *w)
{
    SnlLinear l = {.g = g,
                   .dtype = w->type->dtype,
                   .rows = w->type->dim[0],
                   .inputs = w->type->dim[1],
                   .row_inputs = w->type->dim[1],
                   .group = snl_panel_group(w->type->dtype),
                   .edges = w->type->dim[0] % SNL_PANEL_ROWS != 0};
    l.groups = (l.inputs + l.group - 1) / l.group;
    return l;
}

void snl_kernel_linear(const SnlOpGen *o, size_t member, SnlPlace x, SnlPlace y, SnlRange r,
                       bool accumulate)
{
    SnlGen *g = o->g;
    bool bias = o->op->sym[1].n > 0, pairs = snl_gemm_takes_pairs(o), unpack = unpacks(o);
    if (pairs) x = snl_gemm_pairs(o, x, r);
    SnlLinear l = linear_by(g, snl_op_weight(o->op, member));
    l.x_stride = x.stride, l.y_stride = y.stride;
    l.bias = bias, l.accumulate = accumulate, l.pairs = pairs;
    l.edges |= o->p.split == SNL_SPLIT_COLS && o->p.grain % SNL_PANEL_ROWS != 0;
    /* One row has no strides: members of any count share a decode kernel. */
    const char *form = o->decode
                           ? "decode"
                           : snl_arena_printf(g->arena, "prefill.%lld.%lld%s", (long long)x.stride,
                                              (long long)y.stride,
                                              pairs ? ".pairs" : unpack ? ".unpack" : "");
    char *name =
        snl_arena_printf(g->arena, "linear.%s.%lldx%lld.%s%s%s%s", snl_dtype_info[l.dtype].text,
                         (long long)l.rows, (long long)l.inputs, form, bias ? ".bias" : "",
                         accumulate ? ".acc" : "", l.edges ? ".edges" : "");
    for (const SnlFinish *i = o->finish; i; i = i->next)
        name = snl_arena_printf(g->arena, "%s%s", name, snl_finish_name(i));
    SNL_ASSERT(!o->finish || !l.edges);
    SnlAddress at[SNL_MAX_CALL_POINTERS];
    unsigned n_ptr = linear_addresses(o, member, x, y, at);
    bool fresh;
    LLVMValueRef f = snl_kernel_begin(g, name, n_ptr, 4, &fresh);
    if (fresh) {
        LLVMValueRef others[SNL_MAX_CALL_POINTERS];
        read_params(&l, o, n_ptr, others);
        if (o->decode)
            gemv(&l);
        else
            snl_linear_gemm(&l);
        snl_kernel_end(g);
    }
    snl_call_kernel(o, f, at, n_ptr, r);
}

/* ---- parts of the inputs, each by itself ----------------------------------------------------- */

/* One panel by part `m`, which has `n` inputs, of parts of `part`. */
static void gemv_part(const SnlLinear *whole, LLVMValueRef panel, LLVMValueRef m, int64_t part,
                      int64_t n)
{
    SnlGen *g = whole->g;
    SnlLinear l = *whole;
    l.inputs = n;
    l.groups = (n + l.group - 1) / l.group;
    l.y = snl_offset(g, whole->y, m, l.rows * 4);
    if (snl_dtype_is_blocked(l.dtype)) {
        l.first_block = snl_mul(g, m, snl_i64(g, part / SNL_BLOCK));
    } else {
        l.w = snl_offset(g, whole->w, m, part / l.group * 64);
        l.x = snl_offset(g, whole->x, m, part * 4);
    }
    gemv_panel(&l, panel);
}

/* Parts [c0, c1), panel by panel: so a thread reads what is its own of a panel in one go. The last
 * part may be short, and has code of its own then. */
static void gemv_parts(const SnlLinear *l, int64_t part, LLVMValueRef c0, LLVMValueRef c1)
{
    SnlGen *g = l->g;
    int64_t full = l->inputs / part, rest = l->inputs % part;
    int64_t panels = (l->rows + SNL_PANEL_ROWS - 1) / SNL_PANEL_ROWS;
    LLVMValueRef end = snl_min(g, c1, snl_i64(g, full));
    SnlLoop p, m;
    snl_loop_begin(g, &p, snl_i64(g, 0), snl_i64(g, panels), 1, 0, NULL);
    snl_loop_begin(g, &m, c0, end, 1, 0, NULL);
    gemv_part(l, p.i, m.i, part, part);
    snl_loop_end(g, &m, NULL);
    if (rest > 0) {
        snl_loop_begin(g, &m, snl_max(g, c0, snl_i64(g, full)), c1, 1, 0, NULL);
        gemv_part(l, p.i, m.i, part, rest);
        snl_loop_end(g, &m, NULL);
    }
    snl_loop_end(g, &p, NULL);
}

void snl_kernel_linear_parts(const SnlOpGen *o, SnlPlace x, SnlPlace y, SnlRange r)
{
    SnlGen *g = o->g;
    const SnlWeight *w = snl_op_weight(o->op, 0);
    int64_t part = snl_linear_part(o->op);
    SnlLinear l = linear_by(g, w);
    char *name = snl_arena_printf(g->arena, "linear.parts.%s.%lldx%lld.%lld",
                                  snl_dtype_info[l.dtype].text, (long long)l.rows,
                                  (long long)l.inputs, (long long)part);
    bool fresh;
    LLVMValueRef f = snl_kernel_begin(g, name, 3, 4, &fresh);
    if (fresh) {
        l.w = snl_param(g, 0), l.x = snl_param(g, 1), l.y = snl_param(g, 2);
        l.c0 = snl_i64(g, 0), l.c1 = snl_i64(g, l.rows);
        gemv_parts(&l, part, snl_param(g, 3), snl_param(g, 4));
        snl_kernel_end(g);
    }
    SnlAddress at[] = {snl_weight_at(o, w), x.base, y.base};
    snl_call_kernel(o, f, at, 3, r);
}

/* ---- embed ----------------------------------------------------------------------------------- */

LLVMValueRef snl_panel_words(SnlGen *g, LLVMValueRef at, int rows, int n)
{
    if (rows == 1) return snl_load_typed(g, snl_vec(g->i32, n), at, 4);
    LLVMValueRef words = LLVMGetUndef(snl_vec(g->i32, n));
    for (int i = 0; i < n; i++) {
        LLVMValueRef word = snl_load_typed(g, g->i32, snl_offset_const(g, at, i * rows * 4), 4);
        words = LLVMBuildInsertElement(g->b, words, word, LLVMConstInt(g->i32, (unsigned)i, 0), "");
    }
    return words;
}

/* Elements [c, c + n) of row `lane` of a panel of f32, bf16 or f16; n is 1, or 16 and divides c. */
static LLVMValueRef panel_elements(SnlGen *g, SnlDtype dtype, int rows, LLVMValueRef panel,
                                   LLVMValueRef lane, LLVMValueRef c, int n)
{
    int group = snl_panel_group(dtype);
    LLVMValueRef at = snl_offset(g, panel, snl_div_const(g, c, group), rows * 4);
    at = snl_offset(g, snl_offset(g, at, lane, 4), snl_rem_const(g, c, group), 4 / group);
    LLVMTypeRef floats = n == 1 ? g->f32 : snl_vec(g->f32, n);
    if (dtype == SNL_F32) {
        LLVMValueRef words = n == 1 ? snl_load(g, at, 1) : snl_panel_words(g, at, rows, n);
        return snl_bitcast(g, words, floats);
    }
    LLVMTypeRef half =
        dtype == SNL_F16 ? LLVMHalfTypeInContext(g->ctx) : LLVMBFloatTypeInContext(g->ctx);
    LLVMValueRef bits =
        n == 1 ? snl_load_typed(g, g->i16, at, 2)
               : snl_bitcast(g, snl_panel_words(g, at, rows, n / 2), snl_vec(g->i16, n));
    if (dtype == SNL_F16)
        return LLVMBuildFPExt(g->b, snl_bitcast(g, bits, n == 1 ? half : snl_vec(half, n)), floats,
                              "");
    LLVMValueRef wide = LLVMBuildZExt(g->b, bits, n == 1 ? g->i32 : snl_vec(g->i32, n), "");
    LLVMValueRef sixteen = snl_splat(g, LLVMConstInt(g->i32, 16, 0), n);
    return snl_bitcast(g, LLVMBuildShl(g->b, wide, sixteen, ""), floats);
}

/* Columns [from, to) of a row of the table, n at a time. */
static void embed_columns(SnlGen *g, SnlDtype dtype, int rows, LLVMValueRef panel,
                          LLVMValueRef lane, LLVMValueRef row, LLVMValueRef from, LLVMValueRef to,
                          int n)
{
    SnlLoop c;
    snl_loop_begin(g, &c, from, to, n, 0, NULL);
    LLVMValueRef value =
        snl_dtype_is_blocked(dtype) ? snl_blocks_elements(g, dtype, rows, panel, lane, c.i, n)
                                    : panel_elements(g, dtype, rows, panel, lane, c.i, n);
    snl_store(g, value, snl_offset(g, row, c.i, 4));
    snl_loop_end(g, &c, NULL);
}

/* Columns [c0, c1) of row ids[t], 16 together between multiples of 16. */
void snl_kernel_embed(const SnlOpGen *o, SnlRange r)
{
    SnlGen *g = o->g;
    const SnlWeight *w = snl_op_weight(o->op, 0);
    SnlDtype dtype = w->type->dtype;
    int rows = snl_layout_rows(snl_payload_layout(o->payload, w));
    int64_t row_bytes = snl_panel_bytes(dtype, w->type->dim[1]) / SNL_PANEL_ROWS;
    char *name = snl_arena_printf(g->arena, "embed.%s.of%d.%lld.%lld", snl_dtype_info[dtype].text,
                                  rows, (long long)w->type->dim[1], (long long)o->out.stride);
    bool fresh;
    LLVMValueRef f = snl_kernel_begin(g, name, 3, 4, &fresh);
    if (fresh) {
        LLVMValueRef ids = snl_param(g, 0), table = snl_param(g, 1), y = snl_param(g, 2);
        LLVMValueRef c0 = snl_param(g, 3), c1 = snl_param(g, 4), lanes = snl_i64(g, SNL_LANES);
        LLVMValueRef up = snl_add(g, c0, snl_i64(g, SNL_LANES - 1));
        LLVMValueRef first = snl_min(g, c1, snl_mul(g, snl_div_const(g, up, SNL_LANES), lanes));
        LLVMValueRef count = snl_max(g, snl_sub(g, c1, first), snl_i64(g, 0));
        LLVMValueRef last =
            snl_add(g, first, snl_mul(g, snl_div_const(g, count, SNL_LANES), lanes));
        SnlLoop t;
        snl_loop_begin(g, &t, snl_param(g, 5), snl_param(g, 6), 1, 0, NULL);
        LLVMValueRef id = snl_load_typed(g, g->i32, snl_offset(g, ids, t.i, 4), 4);
        id = LLVMBuildZExt(g->b, id, g->i64, "");
        LLVMValueRef panel = snl_offset(g, table, snl_div_const(g, id, rows), rows * row_bytes);
        LLVMValueRef lane = snl_rem_const(g, id, rows);
        LLVMValueRef row = snl_offset(g, y, t.i, o->out.stride * 4);
        embed_columns(g, dtype, rows, panel, lane, row, c0, first, 1);
        embed_columns(g, dtype, rows, panel, lane, row, first, last, SNL_LANES);
        embed_columns(g, dtype, rows, panel, lane, row, last, c1, 1);
        snl_loop_end(g, &t, NULL);
        snl_kernel_end(g);
    }
    SnlAddress at[] = {o->in[0].base, snl_weight_at(o, w), o->out.base};
    snl_call_kernel(o, f, at, 3, r);
}
