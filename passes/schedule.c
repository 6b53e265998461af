/* passes/schedule.c -- ops -> stages, for a step that all threads run together.
 *
 *   func @f.decode(...) -> ... attributes {tokens = 1} {
 *     %n = rms_norm %x, @g {eps = 1e-05} : f32[T, 64]
 *     %u = linear %n, @w : f32[T, 128]
 *     ...
 * becomes
 *   func @f.decode(...) -> ... attributes {stages = 13, tokens = 1} {
 *     %n = rms_norm %x, @g {eps = 1e-05, split = all, stage = 1} : f32[T, 64]
 *     %u = linear %n, @w {grain = 16, split = cols, stage = 1, units = 8} : f32[T, 128]
 *     ...
 * for every function that has `tokens` (pass shapes).
 *
 * A consumer joins its producer's stage when each thread needs only what it made itself (the same
 * columns, the same rows) or what every thread has made for itself (`all`: norms of one token, cheap
 * next to a barrier). Everything else waits for the next stage. Exact: attributes, order, and sums taken
 * apart without changing their order.
 *
 * Decode is breadth-first: an op stands in the first stage that can have it, so layers that do not wait
 * for each other share stages. Prefill is depth-first: stages keep the order of the ops, and a long sum
 * (of a window's branches) is built up as its terms arrive, so that memory holds one layer at a time.
 * The vocabulary of the attributes is in schedule.h. */
#include "passes/schedule.h"

#include "passes/pass.h"

#include <stdlib.h>
#include <string.h>

const char *const snl_split_text[SNL_SPLIT_COUNT] = {"cols", "inner", "rows", "tiles",
                                                     "all",  "one",   "view"};

bool snl_placement_read(const SnlOp *op, SnlPlacement *out)
{
    const char *split = snl_attr_text(&op->attrs, "split", NULL);
    if (!split) return false;
    for (int s = 0; s < SNL_SPLIT_COUNT; s++) {
        if (strcmp(split, snl_split_text[s]) != 0) continue;
        *out = (SnlPlacement){.stage = snl_attr_int(&op->attrs, "stage", 0),
                              .split = (SnlSplit)s,
                              .units = snl_attr_int(&op->attrs, "units", 0),
                              .grain = snl_attr_int(&op->attrs, "grain", 0),
                              .tail = snl_attr_find(&op->attrs, "rows") != NULL};
        return true;
    }
    return false;
}

int64_t snl_attention_kv_heads(const SnlOp *op)
{
    return snl_attr_int(&op->attrs, "kv_heads", snl_attr_int(&op->attrs, "heads", 1));
}

int64_t snl_attention_group(const SnlOp *op)
{
    return snl_attr_int(&op->attrs, "heads", 1) / snl_attention_kv_heads(op);
}

int64_t snl_attention_tile_rows(const SnlOp *op, int64_t tokens)
{
    int64_t group = snl_attention_group(op);
    int64_t rows = group >= 8 ? 1 : 8 / group;
    return rows < tokens ? rows : tokens;
}

int64_t snl_op_scratch_bytes(const SnlOp *op, int64_t tokens)
{
    if (op->code != SNL_OP_ATTENTION) return 0;
    const SnlType *state = op->sym[0].state[0]->type;
    int64_t group = snl_attention_group(op);
    /* One row of scores per query of a tile; own rows may not be in the cache: room for them too. */
    int64_t positions = snl_context_padded(state->dim[2]) + snl_context_padded(tokens);
    return snl_attention_tile_rows(op, tokens) * group * positions * 4;
}

/* ---- the pass's view of a function ---------------------------------------------------------------- */

typedef struct Scheduler {
    SnlModule *module;
    SnlFunc *func;
    int64_t tokens;  /* most rows of a call; 1: decode */
    int64_t threads; /* what splits are balanced for */
    int64_t *hint;   /* per value id: units its consumers want (kv heads), 0: none */
    int64_t stage;   /* prefill: stage of the op before */
} Scheduler;

static bool is_decode(const Scheduler *s) { return s->tokens == 1; }

static void place(Scheduler *s, SnlOp *op, SnlPlacement p)
{
    SnlModule *m = s->module;
    snl_attr_set_int(m, &op->attrs, "stage", p.stage);
    snl_attr_set_word(m, &op->attrs, "split", snl_split_text[p.split]);
    if (p.split == SNL_SPLIT_COLS || p.split == SNL_SPLIT_INNER) {
        snl_attr_set_int(m, &op->attrs, "units", p.units);
        snl_attr_set_int(m, &op->attrs, "grain", p.grain);
    }
}

static bool is_tail(const SnlOp *op) { return snl_attr_find(&op->attrs, "rows") != NULL; }

/* The op whose memory `v` lies in, through views; NULL for parameters. */
static const SnlOp *storage_op(const SnlValue *v)
{
    while (v->def && snl_op_is_view(v->def)) v = snl_in(v->def, 0);
    return v->def;
}

/* Is the view chain from `v` down to its storage such that the storage's column units are, one for one,
 * units of `units` x `grain` columns of `v`? */
static bool view_keeps_units(const SnlValue *v, const SnlPlacement *base, int64_t units,
                             int64_t grain)
{
    const SnlOp *op = v->def;
    if (!op || !snl_op_is_view(op)) return base->units == units && base->grain == grain;
    if (op->code == SNL_OP_MEMBER)
        return base->split == SNL_SPLIT_INNER && view_keeps_units(snl_in(op, 0), base, units, grain);
    const SnlValue *whole = snl_in(op, 0);
    const SnlAttrValue *pieces =
        whole->def ? snl_attr_find(&whole->def->attrs, "pieces") : NULL;
    if (!pieces || base->units != units) return false;
    int64_t begin = snl_attr_int(&op->attrs, "begin", 0), end = snl_attr_int(&op->attrs, "end", 0);
    int64_t piece_begin = 0;
    for (size_t i = 0; i < pieces->list.n; i++) {
        int64_t piece_end = pieces->list.at[i].i;
        if (piece_begin == begin && piece_end == end) return end - begin == units * grain;
        piece_begin = piece_end;
    }
    return false;
}

/* First stage in which an op placed as `p` (stage ignored) may read `v`. */
static int64_t ready_stage(const SnlValue *v, const SnlOp *reader, const SnlPlacement *p)
{
    const SnlOp *def = storage_op(v);
    SnlPlacement d;
    if (!def || !snl_placement_read(def, &d)) return 0;
    bool joins = false;
    switch (d.split) {
    case SNL_SPLIT_ALL: joins = true; break;
    case SNL_SPLIT_ONE: joins = p->split == SNL_SPLIT_ONE; break;
    case SNL_SPLIT_ROWS:
        joins = p->split == SNL_SPLIT_ROWS && is_tail(reader) == is_tail(def) &&
                (reader->code == SNL_OP_KV_WRITE ||
                 (snl_op_info[reader->code].flags & SNL_ROWWISE));
        break;
    case SNL_SPLIT_COLS:
    case SNL_SPLIT_INNER: {
        bool heads = reader->code == SNL_OP_ROPE || reader->code == SNL_OP_ATTENTION ||
                     reader->code == SNL_OP_KV_WRITE || reader->code == SNL_OP_RMS_NORM;
        bool local = heads || reader->code == SNL_OP_MIX || reader->code == SNL_OP_STACK ||
                     (snl_op_info[reader->code].flags & SNL_ELTWISE);
        bool columns = p->split == SNL_SPLIT_COLS || p->split == SNL_SPLIT_INNER;
        if (!local || !columns || is_tail(reader) != is_tail(def)) break;
        bool same_width = reader->n_out == 1 &&
                          snl_type_width(v->type) == snl_type_width(reader->out[0]->type);
        int64_t grain =
            heads || !same_width ? snl_type_width(v->type) / p->units : p->grain;
        int64_t members = snl_type_members(v->type);
        bool same_kind = p->split == d.split ||
                         (members == 1 && p->split == SNL_SPLIT_INNER) ||
                         (d.split == SNL_SPLIT_INNER && p->split == SNL_SPLIT_COLS);
        if (p->split == SNL_SPLIT_COLS && reader->n_out == 1 &&
            snl_type_members(reader->out[0]->type) != members)
            same_kind = false; /* a shared row read by members split apart */
        if (reader->code == SNL_OP_MIX && members > 1 && d.split != SNL_SPLIT_INNER)
            same_kind = false; /* a column of all streams is wanted */
        joins = same_kind && view_keeps_units(v, &d, p->units, grain);
        break;
    }
    case SNL_SPLIT_TILES:
    case SNL_SPLIT_VIEW:
    case SNL_SPLIT_COUNT: break;
    }
    return joins ? d.stage : d.stage + 1;
}

static int64_t earliest(const SnlOp *op, const SnlPlacement *p)
{
    int64_t stage = 0;
    for (size_t i = 0; i < op->n_in; i++) {
        int64_t r = ready_stage(snl_in(op, i), op, p);
        if (r > stage) stage = r;
    }
    return stage;
}

/* ---- hints: units that attention wants of the values on the way to it ------------------------------ */

static void hint_value(Scheduler *s, SnlValue *v, int64_t units)
{
    if (snl_type_width(v->type) % units == 0) s->hint[v->id] = units;
}

static void collect_hints(Scheduler *s)
{
    for (SnlOp *op = s->func->last; op; op = op->prev) {
        int64_t units = op->n_out == 1 ? s->hint[op->out[0]->id] : 0;
        bool attention = op->code == SNL_OP_ATTENTION;
        if (attention) units = snl_attention_kv_heads(op);
        bool passes_on = attention || op->code == SNL_OP_ROPE || op->code == SNL_OP_RMS_NORM ||
                         (snl_op_info[op->code].flags & SNL_ELTWISE);
        if (!units || !passes_on) continue;
        size_t n = attention ? 3 : op->code == SNL_OP_ROPE ? 1 : op->n_in;
        for (size_t i = 0; i < n; i++) hint_value(s, snl_in(op, i), units);
    }
}

/* ---- rows nobody asks for ---------------------------------------------------------------------------- */

/* Marks the ops whose results are needed only for the rows of result 0 (logits). */
static void mark_tail(Scheduler *s)
{
    for (SnlOp *op = s->func->last->prev; op; op = op->prev) {
        bool rowwise = op->code == SNL_OP_ATTENTION || (snl_op_info[op->code].flags & SNL_ROWWISE);
        bool wanted = op->n_out == 1 && rowwise && op->out[0]->uses;
        for (SnlUse *u = wanted ? op->out[0]->uses : NULL; u && wanted; u = u->next) {
            bool last_rows = u->user->code == SNL_OP_RETURN
                                 ? u == &u->user->in[0]
                                 : is_tail(u->user) && !(u->user->code == SNL_OP_ATTENTION &&
                                                         u != &u->user->in[0]);
            wanted = last_rows;
        }
        if (wanted) snl_attr_set_word(s->module, &op->attrs, "rows", "tail");
    }
}

/* ---- one op at a time ---------------------------------------------------------------------------------- */

static SnlPlacement by_grain(int64_t width, int64_t grain, bool inner)
{
    return (SnlPlacement){.split = inner ? SNL_SPLIT_INNER : SNL_SPLIT_COLS,
                          .units = (width + grain - 1) / grain,
                          .grain = grain};
}

static SnlPlacement by_units(int64_t width, int64_t units, bool inner)
{
    return (SnlPlacement){.split = inner ? SNL_SPLIT_INNER : SNL_SPLIT_COLS,
                          .units = units,
                          .grain = width / units};
}

static SnlPlacement whole(const Scheduler *s)
{
    return (SnlPlacement){.split = is_decode(s) ? SNL_SPLIT_ALL : SNL_SPLIT_ROWS};
}

static bool needs_whole_row(const SnlOp *op)
{
    return op->code == SNL_OP_LINEAR ||
           (op->code == SNL_OP_RMS_NORM && snl_attr_int(&op->attrs, "heads", 1) == 1);
}

/* Does some consumer, through cheap ops, read whole rows? */
static bool feeds_whole_row(const SnlValue *v, int depth)
{
    for (const SnlUse *u = v->uses; u; u = u->next) {
        if (needs_whole_row(u->user)) return true;
        bool cheap = snl_op_is_view(u->user) ||
                     (snl_op_info[u->user->code].flags & SNL_ELTWISE);
        if (cheap && depth > 0 && feeds_whole_row(u->user->out[0], depth - 1)) return true;
    }
    return false;
}

/* Multiply-adds below which every thread computes the op for itself. */
enum { SMALL_LINEAR = 4096 };

static int64_t linear_work(const SnlOp *op)
{
    const SnlType *w = snl_op_weight(op, 0)->type;
    return w->dim[0] * w->dim[1] * (int64_t)op->sym[0].n;
}

/* ns that the slowest thread loses when `units` are shared out among the threads. */
static double imbalance_ns(const Scheduler *s, const SnlOp *op, int64_t units)
{
    const double bytes_per_ns = 50.0;
    const SnlType *w = snl_op_weight(op, 0)->type;
    double bytes = (double)linear_work(op) * (double)snl_dtype_row_bytes(w->dtype, 32) / 32.0;
    int64_t largest = (units + s->threads - 1) / s->threads;
    double share = (double)largest / (double)units - 1.0 / (double)s->threads;
    return share * bytes / bytes_per_ns;
}

/* Ends of the slices that tile the result of `op` and all want `units`; 0 when they do not. */
static size_t hinted_pieces(const Scheduler *s, const SnlOp *op, int64_t *out_units,
                            SnlAttrValue *out_end, size_t max)
{
    SnlValue *v = op->out[0];
    int64_t width = snl_type_width(v->type), reached = 0;
    size_t n = 0;
    if (s->hint[v->id]) {
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
        if (!units || (n > 0 && units != *out_units)) return 0;
        *out_units = units;
        reached = snl_attr_int(&next->attrs, "end", 0);
        out_end[n++] = (SnlAttrValue){.kind = SNL_ATTR_INT, .i = reached};
    }
    return n;
}

static SnlPlacement split_linear(Scheduler *s, SnlOp *op)
{
    enum { MAX_PIECES = 8 };
    const double barrier_ns = 100.0;
    SnlPlacement p = whole(s);
    if (linear_work(op) <= SMALL_LINEAR) return p;
    int64_t width = snl_type_width(op->out[0]->type), units = 0;
    SnlAttrValue ends[MAX_PIECES];
    size_t n = is_decode(s) ? hinted_pieces(s, op, &units, ends, MAX_PIECES) : 0;
    int64_t members = snl_type_members(op->out[0]->type);
    if (n == 0 || imbalance_ns(s, op, units * members) > barrier_ns)
        return by_grain(width, SNL_PANEL_GRAIN, false);
    if (n > 1) {
        SnlAttrValue list = {.kind = SNL_ATTR_LIST};
        list.list.at = SNL_NEW_ARRAY(s->module->arena, SnlAttrValue, n);
        list.list.n = n;
        memcpy(list.list.at, ends, n * sizeof ends[0]);
        snl_attr_set(s->module, &op->attrs, "pieces", list);
    }
    return by_units(width, units, false);
}

/* The operand, made in the latest stage, whose division of work a local op can take over. */
static bool adopt(const SnlOp *op, SnlPlacement *out)
{
    const SnlType *type = op->out[0]->type;
    int64_t latest = -1;
    for (size_t i = 0; i < op->n_in; i++) {
        const SnlOp *def = storage_op(snl_in(op, i));
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
        if (d.split == SNL_SPLIT_ROWS && is_tail(def) != is_tail(op)) continue;
        if (ready_stage(snl_in(op, i), op, &p) != d.stage) continue;
        latest = d.stage;
        *out = p;
    }
    return latest >= 0;
}

/* Row elements up to which repeating a column-local op in every thread is cheaper than the barrier that
 * sharing it out may cost its readers. */
enum { SMALL_ROW = 1024 };

/* Elementwise and other column-local ops. */
static SnlPlacement split_local(Scheduler *s, SnlOp *op)
{
    SnlPlacement p;
    const SnlType *type = op->out[0]->type;
    if (adopt(op, &p)) return p;
    bool cheap = op->code != SNL_OP_EMBED && snl_type_row_elems(type) <= SMALL_ROW;
    if (!is_decode(s) || cheap || feeds_whole_row(op->out[0], 2)) return whole(s);
    int64_t width = snl_type_width(type), units = s->hint[op->out[0]->id];
    bool inner = op->code == SNL_OP_MIX || op->code == SNL_OP_STACK;
    inner = inner && snl_type_members(type) > 1;
    return units ? by_units(width, units, inner) : by_grain(width, SNL_PANEL_GRAIN, inner);
}

/* Ops that work head by head. */
static SnlPlacement split_heads(const Scheduler *s, const SnlOp *op)
{
    if (!is_decode(s)) return (SnlPlacement){.split = SNL_SPLIT_ROWS};
    int64_t heads = snl_attr_int(&op->attrs, "heads", 1);
    int64_t units = s->hint[op->out[0]->id];
    if (!units || heads % units != 0) units = heads;
    return by_units(snl_type_width(op->out[0]->type), units, false);
}

static SnlPlacement split_attention(const Scheduler *s, const SnlOp *op)
{
    if (!is_decode(s)) return (SnlPlacement){.split = SNL_SPLIT_TILES};
    return by_units(snl_type_width(op->out[0]->type), snl_attention_kv_heads(op), false);
}

static SnlPlacement split_kv_write(const Scheduler *s, const SnlOp *op)
{
    if (!is_decode(s)) return (SnlPlacement){.split = SNL_SPLIT_ROWS};
    int64_t heads = op->sym[0].state[0]->type->dim[1];
    return by_units(snl_type_width(snl_in(op, 0)->type), heads, false);
}

static SnlPlacement choose_split(Scheduler *s, SnlOp *op)
{
    switch (op->code) {
    case SNL_OP_SLICE:
    case SNL_OP_MEMBER: return (SnlPlacement){.split = SNL_SPLIT_VIEW};
    case SNL_OP_LINEAR: return split_linear(s, op);
    case SNL_OP_ROPE: return split_heads(s, op);
    case SNL_OP_RMS_NORM: return needs_whole_row(op) ? whole(s) : split_heads(s, op);
    case SNL_OP_ATTENTION: return split_attention(s, op);
    case SNL_OP_KV_WRITE: return split_kv_write(s, op);
    case SNL_OP_ROPE_TABLE:
    case SNL_OP_SHIFT: return whole(s);
    case SNL_OP_ROW_WRITE: return (SnlPlacement){.split = SNL_SPLIT_ONE};
    default: return split_local(s, op);
    }
}

/* A state's old row must have been read by everybody before it is written. */
static int64_t after_readers(const SnlOp *write)
{
    int64_t stage = 0;
    for (const SnlOp *op = write->prev; op; op = op->prev) {
        if (op->code != SNL_OP_SHIFT || op->sym[0].state[0] != write->sym[0].state[0]) continue;
        int64_t next = snl_attr_int(&op->attrs, "stage", 0) + 1;
        if (next > stage) stage = next;
    }
    return stage;
}

static void schedule_op(Scheduler *s, SnlOp *op)
{
    SnlPlacement p = choose_split(s, op);
    if (p.split == SNL_SPLIT_VIEW) {
        const SnlOp *def = storage_op(snl_in(op, 0));
        p.stage = def ? snl_attr_int(&def->attrs, "stage", 0) : 0;
    } else {
        p.stage = earliest(op, &p);
    }
    if (op->code == SNL_OP_ROW_WRITE) {
        int64_t stage = after_readers(op);
        if (stage > p.stage) p.stage = stage;
    }
    if (!is_decode(s) && p.split != SNL_SPLIT_VIEW) {
        if (p.stage < s->stage) p.stage = s->stage;
        s->stage = p.stage;
    }
    place(s, op, p);
}

/* Attention may read its own rows from the cache when kv_write of the same rows is done by then. */
static void mark_own_rows(Scheduler *s, SnlOp *attention)
{
    int64_t stage = snl_attr_int(&attention->attrs, "stage", 0);
    for (SnlOp *op = attention->prev; op; op = op->prev) {
        if (op->code != SNL_OP_KV_WRITE || op->sym[0].n != attention->sym[0].n) continue;
        if (memcmp(op->sym[0].state, attention->sym[0].state,
                   op->sym[0].n * sizeof(SnlState *)) != 0)
            continue;
        if (snl_in(op, 0) != snl_in(attention, 1) || snl_in(op, 1) != snl_in(attention, 2)) return;
        int64_t written = snl_attr_int(&op->attrs, "stage", 0);
        if (written < stage || (written == stage && is_decode(s)))
            snl_attr_set_word(s->module, &attention->attrs, "own", "cache");
        return;
    }
}

/* ---- whole functions -------------------------------------------------------------------------------------- */

/* A copy of `v` before `ret`. Rounded numbers are rounded once more, which changes none of them and keeps
 * their type. */
static SnlValue *copy_result(Scheduler *s, SnlOp *ret, SnlValue *v)
{
    bool rounded = v->type->dtype != SNL_F32;
    SnlOp *copy = snl_op_create(s->func, ret, rounded ? SNL_OP_CAST : SNL_OP_LINCOMB);
    snl_op_add_in(copy, v);
    if (rounded)
        snl_attr_set_word(s->module, &copy->attrs, "to", snl_dtype_info[v->type->dtype].text);
    return snl_op_finish(copy, "result");
}

/* Every result gets an op of its own that writes it straight into the caller's buffer. */
static void own_results(Scheduler *s)
{
    SnlOp *ret = s->func->last;
    for (size_t i = 0; i < ret->n_in; i++) {
        SnlValue *v = snl_in(ret, i);
        bool repeated = false;
        for (size_t k = 0; k < i; k++) repeated = repeated || snl_in(ret, k) == v;
        bool direct = v->def && !snl_op_is_view(v->def) && !repeated &&
                      (v->def->code == SNL_OP_LINEAR || v->def->code == SNL_OP_LINCOMB ||
                       v->def->code == SNL_OP_SOFTCAP);
        if (direct && (v->def->code != SNL_OP_LINEAR || linear_work(v->def) > SMALL_LINEAR) &&
            !feeds_whole_row(v, 2))
            continue;
        snl_op_set_in(ret, i, copy_result(s, ret, v));
    }
}

/* Position of every op, for questions of order. */
static int64_t *number_ops(const SnlFunc *func, SnlArena *scratch)
{
    int64_t *number = SNL_NEW_ARRAY(scratch, int64_t, func->n_values + 1), n = 0;
    for (const SnlOp *op = func->first; op; op = op->next, n++)
        for (size_t i = 0; i < op->n_out; i++) number[op->out[i]->id] = n;
    return number;
}

static const SnlAttrValue one = {.kind = SNL_ATTR_REAL, .r = 1.0};

static SnlAttrValue term_coef(const SnlOp *sum, size_t i)
{
    const SnlAttrValue *list = snl_attr_find(&sum->attrs, "coef");
    return list ? list->list.at[i] : one;
}

/* a * ca + b * cb, in front of `before`. */
static SnlValue *partial_sum(Scheduler *s, SnlOp *before, SnlValue *a, SnlAttrValue ca, SnlValue *b,
                             SnlAttrValue cb)
{
    SnlOp *sum = snl_op_create(s->func, before, SNL_OP_LINCOMB);
    snl_op_add_in(sum, a);
    snl_op_add_in(sum, b);
    SnlAttrValue list = {.kind = SNL_ATTR_LIST};
    list.list.at = SNL_NEW_ARRAY(s->module->arena, SnlAttrValue, 2);
    list.list.n = 2;
    list.list.at[0] = ca;
    list.list.at[1] = cb;
    snl_attr_set(s->module, &sum->attrs, "coef", list);
    return snl_op_finish(sum, "sum");
}

/* The terms of `op` added up in order, each as soon as it and the sum before it are there. */
static void take_apart(Scheduler *s, SnlOp *op, const int64_t *number)
{
    SnlValue *acc = snl_in(op, 0);
    SnlAttrValue coef = term_coef(op, 0);
    SnlOp *latest = acc->def;
    int64_t when = latest ? number[acc->id] : -1;
    for (size_t i = 1; i < op->n_in; i++) {
        SnlValue *term = snl_in(op, i);
        if (term->def && number[term->id] > when) latest = term->def, when = number[term->id];
        acc = partial_sum(s, latest ? latest->next : op, acc, coef, term, term_coef(op, i));
        if (latest) latest = acc->def;
        coef = one;
    }
    snl_value_replace(op->out[0], acc);
    snl_op_erase(op);
}

static void sum_as_terms_arrive(Scheduler *s)
{
    for (SnlOp *op = s->func->first, *next; op; op = next) {
        next = op->next;
        if (op->code != SNL_OP_LINCOMB || op->n_in <= 3) continue;
        SnlArena *scratch = snl_arena_create();
        take_apart(s, op, number_ops(s->func, scratch));
        snl_arena_destroy(scratch);
    }
}

/* A result must not be private memory: the copy in front of the return is made by columns. */
static void settle_results(Scheduler *s)
{
    SnlOp *ret = s->func->last;
    for (size_t i = 0; i < ret->n_in; i++) {
        SnlOp *def = snl_in(ret, i)->def;
        SnlPlacement p;
        if (!snl_placement_read(def, &p) || p.split != SNL_SPLIT_ALL) continue;
        p = by_grain(snl_type_width(def->out[0]->type), SNL_PANEL_GRAIN,
                     snl_type_members(def->out[0]->type) > 1);
        p.stage = earliest(def, &p);
        place(s, def, p);
    }
}

/* Stable order by stage; stages are renumbered without gaps. Returns how many there are. */
static int64_t order_by_stage(Scheduler *s, SnlArena *scratch)
{
    size_t n = 0;
    int64_t top = 0, next = 0;
    for (SnlOp *op = s->func->first; op != s->func->last; op = op->next) {
        int64_t stage = snl_attr_int(&op->attrs, "stage", 0);
        if (stage > top) top = stage;
        n++;
    }
    SnlOp **all = SNL_NEW_ARRAY(scratch, SnlOp *, n + 1);
    n = 0;
    for (SnlOp *op = s->func->first; op != s->func->last; op = op->next) all[n++] = op;
    for (int64_t stage = 0; stage <= top; stage++)
        for (size_t i = 0; i < n; i++)
            if (snl_attr_int(&all[i]->attrs, "stage", 0) == stage) snl_op_move(all[i], s->func->last);
    /* Gaps: a stage that only holds views costs no barrier. */
    int64_t *number = SNL_NEW_ARRAY(scratch, int64_t, (size_t)top + 1);
    for (size_t i = 0; i < n; i++)
        if (!snl_op_is_view(all[i])) number[snl_attr_int(&all[i]->attrs, "stage", 0)] = 1;
    for (int64_t stage = 0; stage <= top; stage++) {
        int64_t real = number[stage];
        number[stage] = next;
        next += real;
    }
    for (size_t i = 0; i < n; i++) {
        int64_t stage = number[snl_attr_int(&all[i]->attrs, "stage", 0)];
        snl_attr_set_int(s->module, &all[i]->attrs, "stage", stage);
    }
    return next;
}

static void schedule_func(SnlModule *m, SnlFunc *func, int64_t threads, SnlArena *scratch)
{
    int64_t tokens = snl_attr_int(&func->attrs, "tokens", 1);
    Scheduler s = {.module = m, .func = func, .tokens = tokens, .threads = threads};
    own_results(&s);
    snl_func_renumber(func);
    if (tokens > 1) sum_as_terms_arrive(&s);
    snl_func_renumber(func);
    s.hint = SNL_NEW_ARRAY(scratch, int64_t, func->n_values + 1);
    collect_hints(&s);
    if (snl_attr_flag(&func->attrs, "tail")) mark_tail(&s);
    for (SnlOp *op = func->first; op != func->last; op = op->next) schedule_op(&s, op);
    settle_results(&s);
    for (SnlOp *op = func->first; op != func->last; op = op->next)
        if (op->code == SNL_OP_ATTENTION) mark_own_rows(&s, op);
    int64_t stages = order_by_stage(&s, scratch);
    snl_attr_set_int(m, &func->attrs, "stages", stages);
}

static SnlStatus check_no_calls(const SnlFunc *func, SnlDiag *diag)
{
    for (SnlOp *op = func->first; op; op = op->next)
        if (snl_op_info[op->code].flags & SNL_CALLS)
            return snl_error(diag, SNL_E_STRUCTURE, op->loc,
                             "schedule: found '%s' in '@%s', wanted a function without calls: run "
                             "inline-layers first",
                             snl_op_info[op->code].text, func->name);
    return SNL_OK;
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    bool any = false;
    for (SnlFunc *f = m->first; f; f = f->next) {
        if (!snl_attr_find(&f->attrs, "tokens")) continue;
        if (check_no_calls(f, ctx->diag) != SNL_OK) return SNL_PASS_FAILED;
        schedule_func(m, f, snl_pass_int(ctx, "threads"), ctx->scratch);
        any = true;
    }
    if (any) return SNL_PASS_CHANGED;
    snl_error_at(ctx->diag, SNL_E_PIPELINE, "schedule",
                 "found no function with `tokens`, wanted shapes before schedule");
    return SNL_PASS_FAILED;
}

static const SnlPassOption options[] = {
    {"threads", SNL_OPTION_INT, "2", 1, 1024, "threads that splits are balanced for"},
    {NULL, SNL_OPTION_INT, NULL, 0, 0, NULL},
};

const SnlPass snl_pass_schedule = {
    .name = "schedule",
    .summary = "ops to stages; who computes what",
    .exactness = SNL_EXACT,
    .options = options,
    .run = run,
};
