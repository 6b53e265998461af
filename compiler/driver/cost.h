/* compiler/driver/cost.h -- what a graph costs: counted from its plan and from its scheduled decode
 * function, and a simple model of the time. */
#ifndef SNL_DRIVER_COST_H
#define SNL_DRIVER_COST_H

#include "codegen/codegen.h"
#include "passes/plan.h"

/* Layers of one token, counted from the plan alone. */
typedef struct SnlPlanCounts {
    int64_t layers; /* of the model: what the sequential program evaluates */
    /* A fused layer counts as the layers in it; that kv = corrected makes keys and values once more
     * is not counted. */
    int64_t layer_evals;
    int64_t steps; /* of these, one after the other */
} SnlPlanCounts;
/* `plan` is fitted (snl_plan_fit), or has no windows. */
SnlPlanCounts snl_plan_counts(const SnlPlan *plan, int64_t layers);

/* What a machine of two threads takes. The numbers are those of the machine on which snlpc's own
 * measurements are made (cost.c). */
enum { SNL_MODEL_THREADS = 2, SNL_COST_LEVELS = 3 };
typedef struct SnlCostModel {
    int64_t most_bytes;             /* that live here: what every token walks through */
    const char *level;              /* name of the memory level */
    double bytes_per_second;        /* that all threads read there together */
    double handed_bytes_per_second; /* that a thread reads of what another has just written */
    double barrier_seconds;         /* a meeting at which nobody is late */
    double call_seconds;            /* one operation of one token, besides what it reads */
    double head_seconds;            /* a head of attention, likewise */
    double score_seconds;           /* a position that a head sees, likewise */
} SnlCostModel;
/* `resident`: bytes that every token walks through. */
const SnlCostModel *snl_cost_model(int64_t resident);

/* One call of a scheduled decode function. */
typedef struct SnlStepCost {
    int64_t barriers;
    int64_t weight_bytes;    /* read, each time it is read */
    int64_t cache_bytes;     /* read with a full context */
    int64_t flops;           /* of matrices */
    int64_t attention_flops; /* with a full context */
    int64_t handed_bytes;    /* that each thread reads of what others made a stage before */
    /* Seconds of kernels with caches half full, for each level of memory that weights and caches
     * may live in: of each stage the largest thread's, and the mean of all, summed over the stages.
     */
    double longest[SNL_COST_LEVELS], mean[SNL_COST_LEVELS];
} SnlStepCost;
SnlStepCost snl_step_cost(const SnlFunc *decode, const SnlPayload *payload, int64_t threads);

/* By id, the states that the functions read or write, also those that they bind to layers. */
bool *snl_func_states(SnlArena *arena, const SnlFunc *const *funcs, size_t n);
/* Bytes of these states. */
int64_t snl_func_state_bytes(const SnlFunc *const *funcs, size_t n);

/* Seconds of one token, caches half full: bytes over bandwidth, calls, what threads hand over, and
 * barriers. Nothing else is known of, and no cache is warmer for one op than for another. */
double snl_cost_seconds(const SnlCostModel *model, const SnlStepCost *cost);
/* Of these, what threads spend at barriers: the meeting itself, and waiting for the slowest. */
double snl_cost_waiting(const SnlCostModel *model, const SnlStepCost *cost);

/* By the model for what the function itself reads: seconds, waiting as a share of them in 1/1000,
 * and by how much the slowest threads' kernels take longer than the mean of all. */
double snl_cost_own_seconds(const SnlStepCost *cost);
int64_t snl_cost_waiting_permille(const SnlStepCost *cost);
double snl_cost_imbalance(const SnlStepCost *cost);

#endif
