/* passes/schedule.c -- ops -> stages, for a step that all threads run together.
 *
 *   func @f.decode(...) -> ... attributes {tokens = 1} {
 *     %n = rms_norm %x, @g {eps = 1e-05} : f32[T, 64]
 *     %u = linear %n, @up : f32[T, 128]
 *     %r = relu2 %u : f32[T, 128]
 *     %e = linear %r, @down : f32[T, 64]
 *     ...
 * becomes
 *   func @f.decode(...) -> ... attributes {stages = 2, tokens = 1} {
 *     %n = rms_norm %x, @g {eps = 1e-05, split = all, stage = 0} : f32[T, 64]
 *     %u = linear %n, @up {grain = 16, split = cols, stage = 0, units = 8} : f32[T, 128]
 *     %r = relu2 %u {grain = 16, split = cols, stage = 0, units = 8} : f32[T, 128]
 *     %e = linear %r, @down {grain = 16, split = cols, stage = 1, units = 4} : f32[T, 64]
 *     ...
 * for every function that has `tokens` (pass shapes).
 *
 * A consumer joins its producer's stage when each thread needs only what it made itself (the same
 * columns, the same rows) or what every thread has made for itself (`all`: norms of one token,
 * cheap next to a barrier). Everything else waits for the next stage, and so do ops on one state
 * for each other. Exact: attributes, order, and sums taken apart without changing their order.
 *
 * Decode is breadth-first: an op stands in the first stage that can have it, so layers that do not
 * wait for each other share stages. Prefill is depth-first: stages keep the order of the ops, and a
 * long sum (of a window's branches) is built up as its terms arrive, so that memory holds one layer
 * at a time. The vocabulary of the attributes is in schedule.h. */
#include "ir/base/checked.h"
#include "passes/pass.h"
#include "passes/schedule_internal.h"

#include <string.h>

const char *const snl_split_text[SNL_SPLIT_COUNT] = {"cols",  "inner", "rows", "tiles",
                                                     "parts", "all",   "one",  "view"};

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

bool snl_computes_tail(const SnlFunc *func)
{
    const SnlOp *def = snl_in(func->last, 0)->def;
    SnlPlacement p;
    return def && snl_placement_read(def, &p) && p.tail;
}

int64_t snl_member_words(const SnlType *type)
{
    int64_t width = snl_type_width(type);
    if (type->rank == 1) return 1; /* ids */
    if (!snl_dtype_is_blocked(type->dtype)) return width;
    int64_t blocks = snl_block_count(width);
    return (blocks * (SNL_BLOCK + 8) + 63) / 64 * 16;
}

int64_t snl_attention_kv_heads(const SnlOp *op)
{
    return snl_attr_int(&op->attrs, "kv_heads", snl_attr_int(&op->attrs, "heads", 1));
}

int64_t snl_attention_group(const SnlOp *op)
{
    return snl_attr_int(&op->attrs, "heads", 1) / snl_attention_kv_heads(op);
}

int64_t snl_attention_part_count(const SnlOp *op)
{
    int64_t context = op->sym[0].state[0]->type->dim[2], part = snl_attr_int(&op->attrs, "part", 1);
    return (context + part - 1) / part;
}

/* Keys and values are read once for a tile: enough queries to pay for that, few enough to share
 * out. */
int64_t snl_attention_tile_rows(const SnlOp *op, int64_t tokens)
{
    enum { QUERIES = 24 };
    int64_t group = snl_attention_group(op);
    int64_t rows = group >= QUERIES ? 1 : QUERIES / group;
    return rows < tokens ? rows : tokens;
}

int64_t snl_attention_tile_queries(const SnlOp *op, int64_t tokens)
{
    int64_t queries = snl_attention_tile_rows(op, tokens) * snl_attention_group(op);
    return (queries + 2 * SNL_ATTENTION_QUERIES - 1) / SNL_ATTENTION_QUERIES *
           SNL_ATTENTION_QUERIES;
}

int64_t snl_cache_head_bytes(SnlDtype dtype, int64_t padded, int64_t width)
{
    int64_t element = dtype == SNL_F32 ? 4 : dtype == SNL_F16 ? 2 : 1, nbytes;
    int64_t scales = dtype == SNL_Q8_0 ? snl_block_count(width) * 2 : 0;
    if (!snl_mul_i64(2 * (width * element + scales), padded, &nbytes)) return INT64_MAX;
    return nbytes > INT64_MAX - 63 ? INT64_MAX : (nbytes + 63) / 64 * 64;
}

bool snl_linear_takes_pairs(const SnlOp *op)
{
    return op->code == SNL_OP_LINEAR && snl_in(op, 0)->type->dtype == SNL_BF16 &&
           snl_op_weight(op, 0)->type->dtype == SNL_BF16;
}

bool snl_linear_unpacks(const SnlOp *op, int64_t tokens)
{
    enum { FEW = 16 };
    return op->code == SNL_OP_LINEAR && tokens >= FEW && !snl_op_is_tail(op) &&
           snl_op_weight(op, 0)->type->dtype == SNL_Q4_0;
}

static int64_t attention_scratch_bytes(const SnlOp *op, int64_t tokens)
{
    const SnlType *state = op->sym[0].state[0]->type;
    int64_t row = 2 * state->dim[3] * 4 + SNL_ATTENTION_STATS, nbytes, own = 0;
    if (!snl_mul_i64(snl_attention_tile_queries(op, tokens), row, &nbytes)) return INT64_MAX;
    /* Rows that are not in the cache are rounded and laid out like it. */
    if (!snl_attr_find(&op->attrs, "own"))
        own = snl_cache_head_bytes(state->dtype, snl_context_padded(tokens), state->dim[3]);
    bool fits = snl_add_i64(nbytes, SNL_ATTENTION_QUERIES * SNL_ATTENTION_BLOCK * 4, &nbytes) &&
                snl_add_i64(nbytes, own, &nbytes);
    return fits ? nbytes : INT64_MAX;
}

int64_t snl_op_scratch_bytes(const SnlOp *op, int64_t tokens)
{
    if (snl_op_attends(op)) return attention_scratch_bytes(op, tokens);
    if (snl_linear_unpacks(op, tokens))
        return SNL_UNPACKED_PANELS * snl_unpacked_panel_bytes(snl_type_width(snl_in(op, 0)->type));
    if (tokens == 1 || !snl_linear_takes_pairs(op)) return 0;
    int64_t row = snl_pairs_row_bytes(snl_type_width(snl_in(op, 0)->type)), nbytes;
    return snl_mul_i64(row, tokens, &nbytes) ? nbytes : INT64_MAX;
}

static void place(SnlScheduler *s, SnlOp *op, SnlPlacement p)
{
    SnlModule *m = s->module;
    snl_attr_set_int(m, &op->attrs, "stage", p.stage);
    snl_attr_set_word(m, &op->attrs, "split", snl_split_text[p.split]);
    if (p.split == SNL_SPLIT_COLS || p.split == SNL_SPLIT_INNER) {
        snl_attr_set_int(m, &op->attrs, "units", p.units);
        snl_attr_set_int(m, &op->attrs, "grain", p.grain);
    }
}

/* ---- rows nobody asks for -------------------------------------------------------------------- */

/* Marks the ops whose results are needed only for the rows of result 0 (logits). */
static void mark_tail(SnlScheduler *s)
{
    for (SnlOp *op = s->func->last->prev; op; op = op->prev) {
        bool rowwise = op->code == SNL_OP_ATTENTION || (snl_op_info[op->code].flags & SNL_ROWWISE);
        bool wanted = op->n_out == 1 && rowwise && op->out[0]->uses;
        for (SnlUse *u = wanted ? op->out[0]->uses : NULL; u && wanted; u = u->next) {
            bool last_rows = u->user->code == SNL_OP_RETURN
                                 ? u == &u->user->in[0]
                                 : snl_op_is_tail(u->user) &&
                                       !(u->user->code == SNL_OP_ATTENTION && u != &u->user->in[0]);
            wanted = last_rows;
        }
        if (wanted) snl_attr_set_word(s->module, &op->attrs, "rows", "tail");
    }
}

/* ---- effects --------------------------------------------------------------------------------- */

static bool shares_state(const SnlOp *a, const SnlOp *b)
{
    for (size_t i = 0; i < a->sym[0].n; i++)
        for (size_t k = 0; k < b->sym[0].n; k++)
            if (a->sym[0].state[i] == b->sym[0].state[k]) return true;
    return false;
}

static const SnlValue *position_of(const SnlOp *op)
{
    return snl_in(op, snl_op_attends(op) ? 3 : op->code == SNL_OP_KV_WRITE ? 2 : 1);
}

static bool same_states(const SnlOp *a, const SnlOp *b)
{
    const SnlSymbols *s = &a->sym[0], *t = &b->sym[0];
    return s->n == t->n && memcmp(s->state, t->state, s->n * sizeof *s->state) == 0;
}

bool snl_same_rows_of_caches(const SnlOp *a, const SnlOp *b)
{
    return same_states(a, b) && position_of(a) == position_of(b);
}

static bool is_effect(const SnlOp *op)
{
    return snl_op_info[op->code].flags & SNL_EFFECT;
}

/* Must `op`, placed as `p`, wait for `earlier`, because one writes what the other reads or
 * writes? Attention reads rows before a position and kv_write writes rows from it on, but in one
 * panel of 16 positions. So they share a stage only where the panel's reader is its writer: one
 * token, the same caches, shared out by the same rule. */
static bool must_wait(const SnlScheduler *s, const SnlOp *op, const SnlPlacement *p,
                      const SnlOp *earlier)
{
    SnlPlacement before;
    if ((!is_effect(op) && !is_effect(earlier)) || !shares_state(op, earlier)) return false;
    bool attention = snl_op_attends(op) || snl_op_attends(earlier);
    bool same_rule = snl_placement_read(earlier, &before) && before.split == p->split &&
                     before.units == p->units;
    return !(attention && same_rule && snl_is_decode(s) && snl_same_rows_of_caches(op, earlier));
}

static bool touches_state(const SnlOp *op)
{
    return op->n_in > 0 && snl_op_group_letter(op->code, 0) == 's';
}

static void collect_touching(SnlScheduler *s, SnlArena *scratch)
{
    s->touching = SNL_NEW_ARRAY(scratch, SnlTouching, snl_state_slots(s->func));
    for (SnlOp *op = s->func->first; op; op = op->next)
        for (size_t i = 0; touches_state(op) && i < op->sym[0].n; i++) {
            SnlTouching *of = &s->touching[snl_state_slot(s->func, op->sym[0].state[i])];
            SNL_PUSH(scratch, of, op);
        }
}

/* First stage after all that `op` must wait for because of the states it touches. */
static int64_t after_effects(const SnlScheduler *s, const SnlOp *op, const SnlPlacement *p)
{
    int64_t stage = 0;
    for (size_t i = 0; touches_state(op) && i < op->sym[0].n; i++) {
        const SnlTouching *of = snl_touching(s, op, i);
        for (size_t k = 0; of->at[k] != op; k++) {
            if (!must_wait(s, op, p, of->at[k])) continue;
            int64_t next = snl_attr_int(&of->at[k]->attrs, "stage", 0) + 1;
            if (next > stage) stage = next;
        }
    }
    return stage;
}

static bool is_only_writer(const SnlScheduler *s, const SnlOp *write)
{
    for (size_t i = 0; i < write->sym[0].n; i++) {
        const SnlTouching *of = snl_touching(s, write, i);
        for (size_t k = 0; k < of->n; k++)
            if (of->at[k] != write && of->at[k]->code == SNL_OP_KV_WRITE) return false;
    }
    return true;
}

/* Attention may read its own rows from the cache when kv_write of the same rows is done by then,
 * and nobody writes others. */
static void mark_own_rows(SnlScheduler *s, SnlOp *attention)
{
    int64_t stage = snl_attr_int(&attention->attrs, "stage", 0);
    for (const SnlOp *op = attention->prev; op; op = op->prev) {
        if (op->code != SNL_OP_KV_WRITE || !shares_state(op, attention)) continue;
        bool same_rows = snl_in(op, 0) == snl_in(attention, 1) &&
                         snl_in(op, 1) == snl_in(attention, 2) &&
                         position_of(op) == position_of(attention);
        int64_t written = snl_attr_int(&op->attrs, "stage", 0);
        bool in_time = written < stage || (written == stage && snl_is_decode(s));
        if (same_states(op, attention) && same_rows && in_time && is_only_writer(s, op))
            snl_attr_set_word(s->module, &attention->attrs, "own", "cache");
        return;
    }
}

/* ---- one op at a time ------------------------------------------------------------------------ */

bool snl_op_is_result(const SnlOp *op)
{
    const SnlUse *uses = op->n_out ? op->out[0]->uses : NULL;
    for (const SnlUse *u = uses; u; u = u->next)
        if (u->user->code == SNL_OP_RETURN) return true;
    bool capped =
        op->code == SNL_OP_LINEAR && uses && !uses->next && uses->user->code == SNL_OP_SOFTCAP;
    return capped && snl_op_is_result(uses->user);
}

static void schedule_op(SnlScheduler *s, SnlOp *op)
{
    SnlPlacement p = snl_choose_split(s, op);
    if (p.split == SNL_SPLIT_VIEW) {
        const SnlOp *def = snl_storage_op(snl_in(op, 0));
        p.stage = def ? snl_attr_int(&def->attrs, "stage", 0) : 0;
        place(s, op, p);
        return;
    }
    if (p.split == SNL_SPLIT_ALL && snl_op_is_result(op)) {
        /* The caller's memory is not private: columns are shared out, whoever else reads them. */
        const SnlType *type = op->out[0]->type;
        p = snl_split_by_grain(snl_type_width(type), SNL_PANEL_GRAIN, snl_type_members(type) > 1);
    }
    int64_t effects = after_effects(s, op, &p);
    p.stage = snl_earliest_stage(op, &p);
    if (p.stage < effects) p.stage = effects;
    if (!snl_is_decode(s)) {
        if (p.stage < s->stage) p.stage = s->stage;
        s->stage = p.stage;
    }
    place(s, op, p);
}

/* ---- whole functions ------------------------------------------------------------------------- */

/* A copy of `v` before `ret`. Rounded numbers are rounded once more, which changes none of them and
 * keeps their type. */
static SnlValue *copy_result(SnlScheduler *s, SnlOp *ret, SnlValue *v)
{
    bool rounded = v->type->dtype != SNL_F32;
    SnlOp *copy = snl_op_create(s->func, ret, rounded ? SNL_OP_CAST : SNL_OP_LINCOMB);
    snl_op_add_in(copy, v);
    if (rounded)
        snl_attr_set_word(s->module, &copy->attrs, "to", snl_dtype_info[v->type->dtype].text);
    return snl_op_finish(copy, "result");
}

/* Every result gets an op of its own that writes it straight into the caller's buffer. */
static void own_results(SnlScheduler *s)
{
    SnlOp *ret = s->func->last;
    for (size_t i = 0; i < ret->n_in; i++) {
        SnlValue *v = snl_in(ret, i);
        bool repeated = false;
        for (size_t k = 0; k < i; k++) repeated = repeated || snl_in(ret, k) == v;
        bool direct = v->def && !snl_op_is_view(v->def) && !repeated &&
                      (v->def->code == SNL_OP_LINEAR || v->def->code == SNL_OP_LINCOMB ||
                       v->def->code == SNL_OP_SOFTCAP);
        if (direct && !snl_result_stays_private(v->def)) continue;
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
static SnlValue *partial_sum(SnlScheduler *s, SnlOp *before, SnlValue *a, SnlAttrValue ca,
                             SnlValue *b, SnlAttrValue cb)
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

/* The terms of `op` added up in order, each as soon as it and the sum before it are there: behind
 * `latest`, or at the function's start while all are parameters. */
static void take_apart(SnlScheduler *s, SnlOp *op, const int64_t *number)
{
    SnlValue *acc = snl_in(op, 0);
    SnlAttrValue coef = term_coef(op, 0);
    SnlOp *latest = acc->def;
    int64_t when = latest ? number[acc->id] : -1;
    for (size_t i = 1; i < op->n_in; i++) {
        SnlValue *term = snl_in(op, i);
        if (term->def && number[term->id] > when) latest = term->def, when = number[term->id];
        acc = partial_sum(s, latest ? latest->next : s->func->first, acc, coef, term,
                          term_coef(op, i));
        latest = acc->def;
        coef = one;
    }
    snl_value_replace(op->out[0], acc);
    snl_op_erase(op);
}

static void sum_as_terms_arrive(SnlScheduler *s)
{
    for (SnlOp *op = s->func->first, *next; op; op = next) {
        next = op->next;
        if (op->code != SNL_OP_LINCOMB || op->n_in <= 3) continue;
        SnlArena *scratch = snl_arena_create();
        take_apart(s, op, number_ops(s->func, scratch));
        snl_arena_destroy(scratch);
    }
}

/* Stable order by stage; stages are renumbered without gaps. Returns how many there are. */
static int64_t order_by_stage(SnlScheduler *s, SnlArena *scratch)
{
    size_t n = 0;
    int64_t top = 0, next = 0;
    for (SnlOp *op = s->func->first; op != s->func->last; op = op->next) {
        int64_t stage = snl_attr_int(&op->attrs, "stage", 0);
        if (stage > top) top = stage;
        n++;
    }
    size_t *begin = SNL_NEW_ARRAY(scratch, size_t, (size_t)top + 2);
    for (SnlOp *op = s->func->first; op != s->func->last; op = op->next)
        begin[snl_attr_int(&op->attrs, "stage", 0) + 1]++;
    for (int64_t stage = 0; stage <= top; stage++) begin[stage + 1] += begin[stage];
    SnlOp **all = SNL_NEW_ARRAY(scratch, SnlOp *, n + 1);
    for (SnlOp *op = s->func->first; op != s->func->last; op = op->next)
        all[begin[snl_attr_int(&op->attrs, "stage", 0)]++] = op;
    for (size_t i = 0; i < n; i++) snl_op_move(all[i], s->func->last);
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
    SnlScheduler s = {.module = m, .func = func, .tokens = tokens, .threads = threads};
    own_results(&s);
    snl_func_renumber(func);
    if (tokens > 1) sum_as_terms_arrive(&s);
    snl_func_renumber(func);
    s.hint = SNL_NEW_ARRAY(scratch, int64_t, func->n_values + 1);
    s.part = SNL_NEW_ARRAY(scratch, int64_t, func->n_values + 1);
    snl_collect_hints(&s);
    collect_touching(&s, scratch);
    if (snl_attr_flag(&func->attrs, "tail")) mark_tail(&s);
    for (SnlOp *op = func->first; op != func->last; op = op->next) schedule_op(&s, op);
    for (SnlOp *op = func->first; op != func->last; op = op->next)
        if (snl_op_attends(op)) mark_own_rows(&s, op);
    int64_t stages = order_by_stage(&s, scratch);
    snl_attr_set_int(m, &func->attrs, "stages", stages);
}

/* Whatever an earlier schedule, or the author of the text, has left on the ops. */
static void forget_placements(SnlFunc *func)
{
    for (SnlOp *op = func->first; op; op = op->next)
        for (const char *const *key = snl_scheduling_keys; *key; key++)
            snl_attr_remove(&op->attrs, *key);
}

static SnlStatus check_func(const SnlFunc *func, SnlDiag *diag)
{
    const SnlAttrValue *tokens = snl_attr_find(&func->attrs, "tokens");
    if (tokens->kind != SNL_ATTR_INT || tokens->i < 1 || tokens->i > SNL_MAX_BLOCK)
        return snl_error(diag, SNL_E_ATTR, func->loc,
                         "schedule: `tokens` of '@%s': wanted a number from 1 to %d", func->name,
                         SNL_MAX_BLOCK);
    for (size_t i = 0; i < func->n_result; i++)
        if (func->result[i]->rank < 2)
            return snl_error(
                diag, SNL_E_UNSUPPORTED, func->loc,
                "schedule: result %zu of '@%s' is a position or token ids, wanted rows "
                "f32[T, D]",
                i, func->name);
    for (SnlOp *op = func->first; op; op = op->next) {
        if (op->code == SNL_OP_ATTENTION_PARTS && tokens->i > 1)
            return snl_error(diag, SNL_E_STRUCTURE, op->loc,
                             "schedule: found attention_parts in '@%s' of up to %lld tokens, "
                             "wanted attention: parts are for one token",
                             func->name, (long long)tokens->i);
        if (snl_linear_part(op) > 0 && tokens->i > 1)
            return snl_error(diag, SNL_E_STRUCTURE, op->loc,
                             "schedule: found linear with 'part' in '@%s' of up to %lld tokens, "
                             "wanted whole products: parts are for one token",
                             func->name, (long long)tokens->i);
        if (snl_op_info[op->code].flags & SNL_CALLS)
            return snl_error(diag, SNL_E_STRUCTURE, op->loc,
                             "schedule: found '%s' in '@%s', wanted a function without calls: run "
                             "inline-layers first",
                             snl_op_info[op->code].text, func->name);
    }
    return SNL_OK;
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    bool any = false;
    for (SnlFunc *f = m->first; f; f = f->next) {
        if (!snl_attr_find(&f->attrs, "tokens")) continue;
        if (check_func(f, ctx->diag) != SNL_OK) return SNL_PASS_FAILED;
        forget_placements(f);
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
