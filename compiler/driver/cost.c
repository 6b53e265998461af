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

/* ---- one call of a function
 * ----------------------------------------------------------------------- */

typedef struct Count {
    const SnlPayload *payload;
    int64_t threads;
    SnlStepCost *out;
    double load[MAX_THREADS]; /* of the present stage */
    double longest, total;    /* of all stages */
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

static int64_t count_attention(Count *c, const SnlOp *op)
{
    int64_t bytes = 0, heads = snl_attr_int(&op->attrs, "heads", 1);
    for (size_t m = 0; m < op->sym[0].n; m++) {
        const SnlType *state = op->sym[0].state[m]->type;
        int64_t seen = seen_positions(op, m), width = state->dim[3];
        bytes += state->dim[1] * (snl_cache_head_bytes(state->dtype, 64, width) * seen / 64);
        c->out->attention_flops += 4 * heads * width * seen;
    }
    c->out->cache_bytes += bytes;
    return bytes;
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

/* Shares of `bytes` as the emitted step divides them: units [P t / n, P (t + 1) / n). */
static void share_out(Count *c, const SnlOp *op, const SnlPlacement *p, int64_t bytes)
{
    int64_t members = op->n_out ? snl_type_members(op->out[0]->type) : 1, units = p->units;
    if (p->split == SNL_SPLIT_COLS) units *= members;
    if (p->split == SNL_SPLIT_PARTS && op->code == SNL_OP_ATTENTION_PARTS)
        units = snl_attention_kv_heads(op) * (int64_t)op->sym[0].n * snl_attention_part_count(op);
    if (p->split == SNL_SPLIT_TILES) units = snl_attention_kv_heads(op) * (int64_t)op->sym[0].n;
    bool shared = p->split == SNL_SPLIT_COLS || p->split == SNL_SPLIT_INNER ||
                  p->split == SNL_SPLIT_TILES || p->split == SNL_SPLIT_PARTS;
    for (int64_t t = 0; t < c->threads; t++) {
        if (p->split == SNL_SPLIT_ALL) c->load[t] += (double)bytes;
        if (p->split == SNL_SPLIT_ONE || p->split == SNL_SPLIT_ROWS)
            c->load[t] +=
                t == c->threads - 1 ? (double)bytes : 0.0; /* one row: one thread has it */
        if (!shared || units <= 0) continue;
        int64_t mine = units * (t + 1) / c->threads - units * t / c->threads;
        c->load[t] += (double)bytes * (double)mine / (double)units;
    }
}

static void end_stage(Count *c)
{
    double most = 0;
    for (int64_t t = 0; t < c->threads; t++) {
        if (c->load[t] > most) most = c->load[t];
        c->total += c->load[t];
        c->load[t] = 0;
    }
    c->longest += most;
}

SnlStepCost snl_step_cost(const SnlFunc *decode, const SnlPayload *payload, int64_t threads)
{
    SnlStepCost cost = {.barriers = snl_attr_int(&decode->attrs, "stages", 1) - 1};
    Count c = {payload, threads < MAX_THREADS ? threads : MAX_THREADS, &cost, {0}, 0, 0};
    int64_t stage = 0;
    for (const SnlOp *op = decode->first; op; op = op->next) {
        SnlPlacement p;
        if (!snl_placement_read(op, &p) || p.split == SNL_SPLIT_VIEW) continue;
        if (p.stage != stage) end_stage(&c);
        stage = p.stage;
        int64_t bytes = count_weights(&c, op);
        if (snl_op_attends(op)) bytes += count_attention(&c, op) / 2;
        share_out(&c, op, &p, bytes);
    }
    end_stage(&c);
    cost.longest = c.longest;
    cost.threads = c.threads;
    if (c.total > 0) cost.imbalance = c.longest * (double)c.threads / c.total - 1.0;
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

/* ---- the time
 * ------------------------------------------------------------------------------------- */

/* Two threads on two virtual cores of a Zen 5 server: a spinning barrier between them, and what
 * they read together from their L2 caches (1 MiB each), from the L3 cache (32 MiB) and from memory.
 */
static const double barrier_seconds = 65e-9;
static const struct {
    int64_t most_bytes;
    double bytes_per_second;
    const char *name;
} level_table[] = {
    {(int64_t)3 << 19, 365e9, "the L2 caches"},
    {(int64_t)28 << 20, 133e9, "the L3 cache"},
    {INT64_MAX, 40e9, "memory"},
};

SnlCostModel snl_cost_model(int64_t resident)
{
    size_t i = 0;
    while (resident > level_table[i].most_bytes) i++;
    return (SnlCostModel){barrier_seconds, level_table[i].bytes_per_second, level_table[i].name};
}

double snl_cost_seconds(const SnlCostModel *model, const SnlStepCost *cost)
{
    return cost->longest * (double)cost->threads / model->bytes_per_second +
           (double)cost->barriers * model->barrier_seconds;
}

double snl_cost_waiting(const SnlCostModel *model, const SnlStepCost *cost)
{
    double bytes = cost->longest * (double)cost->threads;
    double idle = bytes - bytes / (1.0 + cost->imbalance);
    return idle / model->bytes_per_second + (double)cost->barriers * model->barrier_seconds;
}

int64_t snl_cost_waiting_permille(const SnlStepCost *cost)
{
    SnlCostModel model = snl_cost_model(cost->weight_bytes + cost->cache_bytes / 2);
    double seconds = snl_cost_seconds(&model, cost);
    return seconds > 0 ? (int64_t)(1000.0 * snl_cost_waiting(&model, cost) / seconds + 0.5) : 0;
}
