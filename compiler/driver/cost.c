/* compiler/driver/cost.c -- counting. */
#include "compiler/driver/cost.h"

#include "ir/eval.h" /* snl_newton_evals */
#include "passes/schedule.h"

enum { MAX_THREADS = 64 };

/* ---- the plan
 * ------------------------------------------------------------------------------------- */

static void count_window(const SnlWindow *w, SnlPlanCounts *counts)
{
    size_t units = snl_window_units(w), last = 0;
    for (size_t j = 0; j < units; j++) {
        int64_t layers = w->n_chunk ? w->chunk[j] : 1;
        last = snl_newton_evals(snl_window_sweeps(w), w->init == SNL_INIT_BATCH_FWD, j);
        counts->layer_evals += (int64_t)last * layers;
    }
    counts->steps += (int64_t)last; /* the last unit is evaluated in every sweep there is */
    counts->layer_evals -= w->end - w->begin;
    counts->steps -= w->end - w->begin;
}

SnlPlanCounts snl_plan_counts(const SnlPlan *plan, int64_t layers)
{
    SnlPlanCounts counts = {layers, layers, layers};
    for (size_t i = 0; i < plan->windows.n; i++) count_window(&plan->windows.at[i], &counts);
    return counts;
}

/* ---- the machine ----------------------------------------------------------------------------- */

/* Two threads on the two virtual cores of a Zen 4 guest with 1 MiB of L2 each and 32 MiB of L3; all
 * were measured there: what both read together; what a thread gets of lines that the other has just
 * written; a barrier that finds both awake; a call of a kernel for one row, one more head of
 * attention and one more position of a head, each without what it reads. */
static const SnlCostModel models[SNL_COST_LEVELS] = {
    {(int64_t)3 << 19, "the L2 caches", 175e9, 8e9, 65e-9, 25e-9, 30e-9, 0.4e-9},
    {(int64_t)28 << 20, "the L3 cache", 133e9, 8e9, 65e-9, 25e-9, 30e-9, 0.4e-9},
    {INT64_MAX, "memory", 40e9, 8e9, 65e-9, 25e-9, 30e-9, 0.4e-9},
};

const SnlCostModel *snl_cost_model(int64_t resident)
{
    size_t i = 0;
    while (resident > models[i].most_bytes) i++;
    return &models[i];
}

/* ---- one call of a function ------------------------------------------------------------------ */

/* What an op takes of those who share it. */
typedef struct Work {
    int64_t bytes;         /* that it reads */
    int64_t heads, scores; /* of attention */
} Work;

typedef struct Count {
    const SnlPayload *payload;
    int64_t threads;
    SnlStepCost *out;
    double load[SNL_COST_LEVELS][MAX_THREADS]; /* seconds of the present stage */
} Count;

static int64_t weight_bytes(const Count *c, const SnlWeight *w)
{
    int64_t index = c->payload->index_of_weight[w->id];
    return index < 0 ? 0 : c->payload->at[index].nbytes;
}

/* Positions of a full context that member m of an attention sees. */
static int64_t seen_positions(const SnlOp *op, size_t member)
{
    int64_t context = op->sym[0].state[member]->type->dim[2];
    int64_t window = snl_attr_int_at(&op->attrs, "window", member, context - 1);
    return window < context - 1 ? window + 1 : context;
}

/* Work: with caches half full. */
static void count_attention(Count *c, const SnlOp *op, Work *work)
{
    int64_t bytes = 0, heads = snl_attr_int(&op->attrs, "heads", 1);
    for (size_t m = 0; m < op->sym[0].n; m++) {
        const SnlType *state = op->sym[0].state[m]->type;
        int64_t seen = seen_positions(op, m), width = state->dim[3];
        bytes += state->dim[1] * (snl_cache_head_bytes(state->dtype, 64, width) * seen / 64);
        c->out->attention_flops += 4 * heads * width * seen;
        work->heads += heads;
        work->scores += heads * seen / 2;
    }
    c->out->cache_bytes += bytes;
    work->bytes += bytes / 2;
}

static int64_t count_weights(Count *c, const SnlOp *op)
{
    int64_t bytes = 0;
    for (int g = 0; g < SNL_MAX_GROUPS; g++) {
        if (snl_op_group_letter(op->code, g) != 'w') continue;
        for (size_t i = 0; i < op->sym[g].n; i++) {
            const SnlWeight *w = op->sym[g].weight[i];
            int64_t nbytes = weight_bytes(c, w);
            if (op->code == SNL_OP_EMBED) nbytes /= snl_weight_rows(w); /* one row */
            bytes += nbytes;
            if (op->code == SNL_OP_LINEAR && g == 0)
                c->out->flops += 2 * snl_type_elems(w->type, 1);
        }
    }
    c->out->weight_bytes += bytes;
    return bytes;
}

/* What the units before number `unit` are of all, where units of `grain` divide each of `members`
 * rows of `width` and the last of a row may be short. */
static double part_before(int64_t unit, int64_t units, int64_t grain, int64_t width,
                          int64_t members)
{
    int64_t column = unit % units * grain;
    if (column > width) column = width;
    return ((double)(unit / units) + (double)column / (double)width) / (double)members;
}

/* Units in which threads share the op out; 0: they do not. */
static int64_t shared_units(const SnlOp *op, const SnlPlacement *p)
{
    switch (p->split) {
    case SNL_SPLIT_COLS:
    case SNL_SPLIT_INNER:
        return p->units;
    case SNL_SPLIT_TILES:
        return snl_attention_kv_heads(op) * (int64_t)op->sym[0].n;
    case SNL_SPLIT_PARTS:
        return op->code == SNL_OP_ATTENTION_PARTS
                   ? snl_attention_kv_heads(op) * (int64_t)op->sym[0].n *
                         snl_attention_part_count(op)
                   : p->units;
    case SNL_SPLIT_ROWS:
    case SNL_SPLIT_ALL:
    case SNL_SPLIT_ONE:
    case SNL_SPLIT_VIEW:
    case SNL_SPLIT_COUNT:
        break;
    }
    return 0;
}

/* The part of `op` that is thread t's, as the emitted step divides it: units [P t / n, P (t + 1) /
 * n).
 */
static double share_of(const Count *c, const SnlOp *op, const SnlPlacement *p, int64_t t)
{
    if (p->split == SNL_SPLIT_ALL) return 1;
    if (p->split == SNL_SPLIT_ONE || p->split == SNL_SPLIT_ROWS)
        return t == c->threads - 1 ? 1 : 0; /* one row: one thread has it */
    int64_t units = shared_units(op, p), grain = 1, width = units, members = 1;
    if (units <= 0) return 0;
    if (snl_linear_part(op) > 0) { /* a member is the product of one part */
        units = snl_type_members(op->out[0]->type);
        grain = snl_linear_part(op);
        width = snl_type_width(snl_in(op, 0)->type);
    } else if (p->split == SNL_SPLIT_COLS && op->n_out) {
        members = snl_type_members(op->out[0]->type);
        bool pieces = snl_attr_find(&op->attrs, "pieces") != NULL;
        if (!pieces) width = snl_type_width(op->out[0]->type), grain = p->grain;
    }
    int64_t all = units * members, n = c->threads;
    return part_before(all * (t + 1) / n, units, grain, width, members) -
           part_before(all * t / n, units, grain, width, members);
}

static void add_load(Count *c, const SnlOp *op, const SnlPlacement *p, const Work *work)
{
    for (int64_t t = 0; t < c->threads; t++) {
        double share = share_of(c, op, p, t);
        for (size_t i = 0; i < SNL_COST_LEVELS && share > 0; i++) {
            const SnlCostModel *m = &models[i];
            double seconds = (double)(c->threads * work->bytes) / m->bytes_per_second +
                             (double)work->heads * m->head_seconds +
                             (double)work->scores * m->score_seconds;
            c->load[i][t] += share * seconds + m->call_seconds;
        }
    }
}

static void end_stage(Count *c)
{
    for (size_t i = 0; i < SNL_COST_LEVELS; i++) {
        double most = 0;
        for (int64_t t = 0; t < c->threads; t++) {
            if (c->load[i][t] > most) most = c->load[i][t];
            c->out->mean[i] += c->load[i][t] / (double)c->threads;
            c->load[i][t] = 0;
        }
        c->out->longest[i] += most;
    }
}

/* Does an op of a later stage than `stage` read columns of `v` that its thread may not have made?
 * Through views. */
static bool is_handed_over(const SnlValue *v, int64_t stage)
{
    for (const SnlUse *u = v->uses; u; u = u->next) {
        const SnlOp *op = u->user;
        SnlPlacement p;
        if (!snl_placement_read(op, &p)) continue;
        bool whole = p.split == SNL_SPLIT_ALL || op->code == SNL_OP_LINEAR || snl_op_attends(op);
        if (snl_op_is_view(op) ? is_handed_over(op->out[0], stage) : whole && p.stage > stage)
            return true;
    }
    return false;
}

static void count_handed_over(Count *c, const SnlOp *op, const SnlPlacement *p)
{
    bool shared = op->n_out && p->split != SNL_SPLIT_ALL;
    if (!shared || !is_handed_over(op->out[0], p->stage)) return;
    int64_t words = snl_row_words(op->out[0]->type);
    c->out->handed_bytes += words * 4 * (c->threads - 1) / c->threads;
}

SnlStepCost snl_step_cost(const SnlFunc *decode, const SnlPayload *payload, int64_t threads)
{
    SnlStepCost cost = {.barriers = snl_attr_int(&decode->attrs, "stages", 1) - 1};
    Count c = {payload, threads < MAX_THREADS ? threads : MAX_THREADS, &cost, {{0}}};
    int64_t stage = 0;
    for (const SnlOp *op = decode->first; op; op = op->next) {
        SnlPlacement p;
        if (!snl_placement_read(op, &p) || p.split == SNL_SPLIT_VIEW) continue;
        if (p.stage != stage) end_stage(&c);
        stage = p.stage;
        Work work = {.bytes = count_weights(&c, op)};
        if (snl_op_attends(op)) count_attention(&c, op, &work);
        add_load(&c, op, &p, &work);
        count_handed_over(&c, op, &p);
    }
    end_stage(&c);
    if (cost.barriers < 0) cost.barriers = 0;
    return cost;
}

static void note_states(const SnlOp *op, int group, bool *used)
{
    char letter = snl_op_group_letter(op->code, group);
    const SnlSymbols *sym = &op->sym[group];
    for (size_t i = 0; letter == 's' && i < sym->n; i++) used[sym->state[i]->id] = true;
    for (size_t i = 0; letter == 'l' && i < sym->n; i++)
        for (size_t k = 0; k < sym->bind[i].n_state; k++) used[sym->bind[i].state[k]->id] = true;
}

bool *snl_func_states(SnlArena *arena, const SnlFunc *const *funcs, size_t n)
{
    bool *used = SNL_NEW_ARRAY(arena, bool, funcs[0]->module->states.n + 1);
    for (size_t i = 0; i < n; i++)
        for (const SnlOp *op = funcs[i]->first; op; op = op->next)
            for (int g = 0; g < SNL_MAX_GROUPS; g++) note_states(op, g, used);
    return used;
}

int64_t snl_func_state_bytes(const SnlFunc *const *funcs, size_t n)
{
    const SnlModule *m = funcs[0]->module;
    SnlArena *scratch = snl_arena_create();
    const bool *used = snl_func_states(scratch, funcs, n);
    int64_t bytes = 0;
    for (size_t i = 0; i < m->states.n; i++)
        if (used[m->states.at[i]->id]) bytes += snl_state_bytes(m->states.at[i]);
    snl_arena_destroy(scratch);
    return bytes;
}

/* ---- the time -------------------------------------------------------------------------------- */

static const SnlCostModel *own_model(const SnlStepCost *cost)
{
    return snl_cost_model(cost->weight_bytes + cost->cache_bytes / 2);
}

double snl_cost_seconds(const SnlCostModel *model, const SnlStepCost *cost)
{
    return cost->longest[model - models] +
           (double)cost->handed_bytes / model->handed_bytes_per_second +
           (double)cost->barriers * model->barrier_seconds;
}

double snl_cost_waiting(const SnlCostModel *model, const SnlStepCost *cost)
{
    size_t level = (size_t)(model - models);
    return cost->longest[level] - cost->mean[level] +
           (double)cost->barriers * model->barrier_seconds;
}

double snl_cost_imbalance(const SnlStepCost *cost)
{
    size_t level = (size_t)(own_model(cost) - models);
    bool uneven = cost->longest[level] > cost->mean[level] && cost->mean[level] > 0;
    return uneven ? cost->longest[level] / cost->mean[level] - 1 : 0;
}

double snl_cost_own_seconds(const SnlStepCost *cost)
{
    return snl_cost_seconds(own_model(cost), cost);
}

int64_t snl_cost_waiting_permille(const SnlStepCost *cost)
{
    double seconds = snl_cost_own_seconds(cost);
    return seconds > 0 ? (int64_t)(1000.0 * snl_cost_waiting(own_model(cost), cost) / seconds + 0.5)
                       : 0;
}
