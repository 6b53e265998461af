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

/* One call of a scheduled decode function. */
typedef struct SnlStepCost {
    int64_t barriers;
    int64_t weight_bytes;    /* read, each time it is read */
    int64_t cache_bytes;     /* read with a full context */
    int64_t flops;           /* of matrices */
    int64_t attention_flops; /* with a full context */
    /* Bytes that threads walk through, caches half full, stage by stage: */
    double longest;   /* the sum of the largest shares of all stages */
    double imbalance; /* that, over the sum of the mean shares, minus 1 */
    int64_t threads;  /* that share */
} SnlStepCost;
SnlStepCost snl_step_cost(const SnlFunc *decode, const SnlPayload *payload, int64_t threads);

/* By id, the states that the functions read or write, also those that they bind to layers. */
bool *snl_func_states(SnlArena *arena, const SnlFunc *const *funcs, size_t n);
/* Bytes of these states. */
int64_t snl_func_state_bytes(const SnlFunc *const *funcs, size_t n);

/* Seconds of one token, caches half full: bytes over bandwidth, plus barriers. The numbers are
 * those of the machine on which snlpc's own measurements are made (cost.c), two threads. */
enum { SNL_MODEL_THREADS = 2 };
typedef struct SnlCostModel {
    double barrier_seconds;
    double bytes_per_second; /* of the memory level where weights and caches live */
    const char *level;       /* its name */
} SnlCostModel;
/* `resident`: bytes that every token walks through. */
SnlCostModel snl_cost_model(int64_t resident);
double snl_cost_seconds(const SnlCostModel *model, const SnlStepCost *cost);
/* Of these, what threads spend at barriers: the meeting itself, and waiting for the slowest. */
double snl_cost_waiting(const SnlCostModel *model, const SnlStepCost *cost);
/* The same as a share of the token's time, in 1/1000, by the model for what the function reads. */
int64_t snl_cost_waiting_permille(const SnlStepCost *cost);

#endif
