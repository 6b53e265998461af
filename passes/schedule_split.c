/* passes/schedule_split.c -- who computes what: the split of each op, decided op by op.
 *
 * Columns of a linear go by panels, or by kv heads when attention follows and the heads share out
 * well enough to save the barrier in between; what a linear takes in parts (linear-parts) goes by
 * these parts. Ops that need only their own columns or rows take over the split of their latest
 * operand. What needs whole rows of little data (norms, small linears of one token), or is wanted
 * whole by attention in parts, every thread does for itself. */
#include "passes/schedule_internal.h"

#include <string.h>

/* ---- hints: units that attention wants of the values on the way to it ------------------------ */

static void hint_value(SnlScheduler *s, SnlValue *v, int64_t units)
{
    if (units == SNL_HINT_ALL || snl_type_width(v->type) % units == 0) s->hint[v->id] = units;
}

/* Columns of a part that some linear takes, on the way to what makes them. */
static void pass_part_on(SnlScheduler *s, const SnlOp *op)
{
    int64_t part = snl_linear_part(op);
    bool local = snl_op_info[op->code].flags & SNL_ELTWISE;
    if (local && op->n_out == 1) part = s->part[op->out[0]->id];
    for (size_t i = 0; i < op->n_in && part > 0; i++)
        if (!local || snl_type_width(snl_in(op, i)->type) == snl_type_width(op->out[0]->type))
            s->part[snl_in(op, i)->id] = part;
}

/* Units in which attention of one token is shared out: its kv heads, or those that go together into
 * a part of a linear. */
static int64_t attention_units(const SnlScheduler *s, const SnlOp *op)
{
    int64_t heads = snl_attention_kv_heads(op), part = s->part[op->out[0]->id];
    int64_t width = snl_type_width(op->out[0]->type);
    bool fits = part > 0 && width % part == 0 && heads % (width / part) == 0;
    return fits ? width / part : heads;
}

void snl_collect_hints(SnlScheduler *s)
{
    for (SnlOp *op = s->func->last; op; op = op->prev) {
        pass_part_on(s, op);
        int64_t units = op->n_out == 1 ? s->hint[op->out[0]->id] : 0;
        bool attention = snl_op_attends(op);
        if (attention) units = attention_units(s, op);
        if (op->code == SNL_OP_ATTENTION_PARTS) units = SNL_HINT_ALL;
        bool passes_on = attention || op->code == SNL_OP_ROPE || op->code == SNL_OP_RMS_NORM ||
                         (snl_op_info[op->code].flags & SNL_ELTWISE);
        if (!units || !passes_on) continue;
        size_t n = attention ? 3 : op->code == SNL_OP_ROPE ? 1 : op->n_in;
        for (size_t i = 0; i < n; i++) hint_value(s, snl_in(op, i), units);
    }
}

/* ---- one op at a time ------------------------------------------------------------------------ */

SnlPlacement snl_split_by_grain(int64_t width, int64_t grain, bool inner)
{
    return (SnlPlacement){.split = inner ? SNL_SPLIT_INNER : SNL_SPLIT_COLS,
                          .units = (width + grain - 1) / grain,
                          .grain = grain};
}

static SnlPlacement by_units(int64_t width, int64_t units, bool inner)
{
    return (SnlPlacement){
        .split = inner ? SNL_SPLIT_INNER : SNL_SPLIT_COLS, .units = units, .grain = width / units};
}

static SnlPlacement whole(const SnlScheduler *s)
{
    return (SnlPlacement){.split = snl_is_decode(s) ? SNL_SPLIT_ALL : SNL_SPLIT_ROWS};
}

/* A cast to blocks, which lie across columns. */
static bool is_quantize(const SnlOp *op)
{
    return op->code == SNL_OP_CAST && snl_dtype_is_blocked(op->out[0]->type->dtype);
}

static bool needs_whole_row(const SnlOp *op)
{
    return op->code == SNL_OP_LINEAR || is_quantize(op) ||
           (op->code == SNL_OP_RMS_NORM && snl_attr_int(&op->attrs, "heads", 1) == 1);
}

/* Does some consumer, through cheap ops, read whole rows? */
static bool feeds_whole_row(const SnlValue *v, int depth)
{
    for (const SnlUse *u = v->uses; u; u = u->next) {
        if (needs_whole_row(u->user)) return true;
        bool cheap = snl_op_is_view(u->user) || (snl_op_info[u->user->code].flags & SNL_ELTWISE);
        if (cheap && depth > 0 && feeds_whole_row(u->user->out[0], depth - 1)) return true;
    }
    return false;
}

/* Multiply-adds up to which every thread computes the op for itself, of floats and of integers: a
 * barrier, and fetching what the others made, take as long as these (0.1 to 0.2 us). */
enum { SMALL_LINEAR = 4096, SMALL_LINEAR_OF_BLOCKS = 3 * SMALL_LINEAR };

static int64_t linear_work(const SnlOp *op)
{
    const SnlType *w = snl_op_weight(op, 0)->type;
    return w->dim[0] * w->dim[1] * (int64_t)op->sym[0].n;
}

bool snl_linear_is_small(const SnlOp *op)
{
    bool blocks = snl_dtype_is_blocked(snl_op_weight(op, 0)->type->dtype);
    return linear_work(op) <= (blocks ? SMALL_LINEAR_OF_BLOCKS : SMALL_LINEAR);
}

/* ns that the slowest thread loses when `units` are shared out among the threads. */
static double imbalance_ns(const SnlScheduler *s, const SnlOp *op, int64_t units)
{
    const double bytes_per_ns = 50.0;
    const SnlType *w = snl_op_weight(op, 0)->type;
    double bytes = (double)linear_work(op) * (double)snl_dtype_row_bytes(w->dtype, 32) / 32.0;
    int64_t largest = (units + s->threads - 1) / s->threads;
    double share = (double)largest / (double)units - 1.0 / (double)s->threads;
    return share * bytes / bytes_per_ns;
}

/* Ends of the slices that tile the result of `op` and all want `units`; 0 when they do not. */
static size_t hinted_pieces(const SnlScheduler *s, const SnlOp *op, int64_t *out_units,
                            SnlAttrValue *out_end, size_t max)
{
    SnlValue *v = op->out[0];
    int64_t width = snl_type_width(v->type), reached = 0;
    size_t n = 0;
    if (s->hint[v->id] > 0) {
        *out_units = s->hint[v->id];
        return 1;
    }
    while (reached < width) {
        const SnlOp *next = NULL;
        for (SnlUse *u = v->uses; u; u = u->next) {
            if (u->user->code != SNL_OP_SLICE) return 0;
            if (snl_attr_int(&u->user->attrs, "begin", -1) == reached) next = u->user;
        }
        if (!next || n == max) return 0;
        int64_t units = s->hint[next->out[0]->id];
        if (units <= 0 || (n > 0 && units != *out_units)) return 0;
        *out_units = units;
        reached = snl_attr_int(&next->attrs, "end", 0);
        out_end[n++] = (SnlAttrValue){.kind = SNL_ATTR_INT, .i = reached};
    }
    return n;
}

static SnlPlacement split_linear(SnlScheduler *s, SnlOp *op)
{
    enum { MAX_PIECES = 8 };
    const double barrier_ns = 100.0;
    SnlPlacement p = whole(s);
    int64_t width = snl_type_width(op->out[0]->type), units = 0, part = s->part[op->out[0]->id];
    if (snl_linear_part(op) > 0) return snl_split_by_grain(width, width, false); /* members */
    if (part > 0) return snl_split_by_grain(width, part, false);
    if (snl_linear_is_small(op)) return p;
    SnlAttrValue ends[MAX_PIECES];
    size_t n = snl_is_decode(s) ? hinted_pieces(s, op, &units, ends, MAX_PIECES) : 0;
    int64_t members = snl_type_members(op->out[0]->type);
    if (n == 0 || imbalance_ns(s, op, units * members) > barrier_ns)
        return snl_split_by_grain(width, SNL_PANEL_GRAIN, false);
    if (n > 1) {
        SnlAttrValue list = {.kind = SNL_ATTR_LIST};
        list.list.at = SNL_NEW_ARRAY(s->module->arena, SnlAttrValue, n);
        list.list.n = n;
        memcpy(list.list.at, ends, n * sizeof ends[0]);
        snl_attr_set(s->module, &op->attrs, "pieces", list);
    }
    return by_units(width, units, false);
}

/* The first stage in which every thread could make `op` for itself. */
static int64_t whole_stage(const SnlScheduler *s, const SnlOp *op)
{
    SnlPlacement p = whole(s);
    return snl_earliest_stage(op, &p);
}

/* The operand, made in the latest stage, whose division of work a local op can take over: one that
 * was made before the op can begin gains nothing by it. */
static bool adopt(const SnlScheduler *s, const SnlOp *op, SnlPlacement *out)
{
    const SnlType *type = op->out[0]->type;
    int64_t latest = snl_is_decode(s) ? whole_stage(s, op) - 1 : -1;
    bool found = false;
    for (size_t i = 0; i < op->n_in; i++) {
        const SnlOp *def = snl_storage_op(snl_in(op, i));
        SnlPlacement d;
        if (!def || !snl_placement_read(def, &d) || d.stage < latest) continue;
        SnlPlacement p = d;
        if (d.split == SNL_SPLIT_COLS || d.split == SNL_SPLIT_INNER) {
            int64_t members = snl_type_members(snl_in(op, i)->type);
            bool inner = d.split == SNL_SPLIT_INNER || members != snl_type_members(type);
            if (snl_type_members(type) == 1) inner = false;
            p.split = inner ? SNL_SPLIT_INNER : SNL_SPLIT_COLS;
            int64_t width = snl_type_width(type);
            if (snl_attr_find(&def->attrs, "pieces")) p.grain = width / (p.units ? p.units : 1);
            if (p.grain * p.units < width || p.grain * (p.units - 1) >= width) continue;
        } else if (d.split != SNL_SPLIT_ROWS) {
            continue;
        }
        if (d.split == SNL_SPLIT_ROWS && snl_op_is_tail(def) != snl_op_is_tail(op)) continue;
        if (snl_ready_stage(snl_in(op, i), op, &p) != d.stage) continue;
        latest = d.stage;
        found = true;
        *out = p;
    }
    return found;
}

/* Row elements up to which repeating a column-local op in every thread is cheaper than the barrier
 * that sharing it out may cost its readers. */
enum { SMALL_ROW = 1024 };

/* Elementwise and other column-local ops. */
static SnlPlacement split_local(SnlScheduler *s, SnlOp *op)
{
    SnlPlacement p;
    const SnlType *type = op->out[0]->type;
    if (snl_dtype_is_blocked(type->dtype)) return whole(s); /* a stack: blocks lie across columns */
    if (adopt(s, op, &p)) return p;
    bool cheap = op->code != SNL_OP_EMBED && snl_type_row_elems(type) <= SMALL_ROW;
    if (!snl_is_decode(s) || cheap || feeds_whole_row(op->out[0], 2)) return whole(s);
    int64_t width = snl_type_width(type), units = s->hint[op->out[0]->id];
    if (units == SNL_HINT_ALL) units = 0;
    bool inner = op->code == SNL_OP_MIX || op->code == SNL_OP_STACK;
    inner = inner && snl_type_members(type) > 1;
    return units ? by_units(width, units, inner)
                 : snl_split_by_grain(width, SNL_PANEL_GRAIN, inner);
}

/* Row elements up to which every thread norms all members for itself; beyond, threads share the
 * members out and meet at a barrier (about 100 ns). */
enum { SMALL_MEMBERS = 4096 };

/* Ops that need whole rows, one for each member. */
static SnlPlacement split_rows_of_members(const SnlScheduler *s, const SnlOp *op)
{
    const SnlType *type = op->out[0]->type;
    bool shared_out =
        snl_is_decode(s) && snl_type_members(type) > 1 && snl_type_row_elems(type) > SMALL_MEMBERS;
    return shared_out ? snl_split_by_grain(snl_type_width(type), snl_type_width(type), false)
                      : whole(s);
}

static SnlPlacement split_quantize(const SnlScheduler *s, const SnlOp *op)
{
    int64_t part = s->part[op->out[0]->id]; /* whole blocks */
    return part > 0 ? snl_split_by_grain(snl_type_width(op->out[0]->type), part, false)
                    : split_rows_of_members(s, op);
}

/* Ops that work head by head. */
static SnlPlacement split_heads(const SnlScheduler *s, const SnlOp *op)
{
    if (!snl_is_decode(s)) return (SnlPlacement){.split = SNL_SPLIT_ROWS};
    int64_t heads = snl_attr_int(&op->attrs, "heads", 1);
    int64_t units = s->hint[op->out[0]->id];
    if (units == SNL_HINT_ALL && snl_type_row_elems(op->out[0]->type) <= SMALL_MEMBERS)
        return whole(s);
    if (units <= 0 || heads % units != 0) units = heads;
    return by_units(snl_type_width(op->out[0]->type), units, false);
}

static SnlPlacement split_attention(const SnlScheduler *s, const SnlOp *op)
{
    if (!snl_is_decode(s)) return (SnlPlacement){.split = SNL_SPLIT_TILES};
    return by_units(snl_type_width(op->out[0]->type), attention_units(s, op), false);
}

/* Does attention by parts read these caches at the position of the write? */
static bool is_read_by_parts(const SnlScheduler *s, const SnlOp *write)
{
    const SnlTouching *of = snl_touching(s, write, 0);
    for (size_t k = 0; k < of->n; k++)
        if (of->at[k]->code == SNL_OP_ATTENTION_PARTS && snl_same_rows_of_caches(of->at[k], write))
            return true;
    return false;
}

static SnlPlacement split_kv_write(const SnlScheduler *s, const SnlOp *op)
{
    if (!snl_is_decode(s)) return (SnlPlacement){.split = SNL_SPLIT_ROWS};
    if (is_read_by_parts(s, op)) return (SnlPlacement){.split = SNL_SPLIT_PARTS};
    int64_t heads = op->sym[0].state[0]->type->dim[1], units = s->hint[snl_in(op, 0)->id];
    if (units <= 0 || heads % units != 0) units = heads;
    return by_units(snl_type_width(snl_in(op, 0)->type), units, false);
}

SnlPlacement snl_choose_split(SnlScheduler *s, SnlOp *op)
{
    switch (op->code) {
    case SNL_OP_SLICE:
    case SNL_OP_MEMBER:
        return (SnlPlacement){.split = SNL_SPLIT_VIEW};
    case SNL_OP_LINEAR:
        return split_linear(s, op);
    case SNL_OP_ROPE:
        return split_heads(s, op);
    case SNL_OP_RMS_NORM:
        return needs_whole_row(op) ? split_rows_of_members(s, op) : split_heads(s, op);
    case SNL_OP_ATTENTION:
        return split_attention(s, op);
    case SNL_OP_ATTENTION_PARTS:
        return (SnlPlacement){.split = SNL_SPLIT_PARTS};
    case SNL_OP_ATTENTION_MERGE:
        return whole(s);
    case SNL_OP_KV_WRITE:
        return split_kv_write(s, op);
    case SNL_OP_ROPE_TABLE:
    case SNL_OP_SHIFT:
        return whole(s);
    case SNL_OP_CAST:
        return is_quantize(op) ? split_quantize(s, op) : split_local(s, op);
    case SNL_OP_ROW_WRITE:
        return (SnlPlacement){.split = SNL_SPLIT_ONE};
    default:
        return split_local(s, op);
    }
}

bool snl_result_stays_private(const SnlOp *op)
{
    bool small = op->code == SNL_OP_LINEAR && snl_linear_is_small(op);
    return small || feeds_whole_row(op->out[0], 2);
}
