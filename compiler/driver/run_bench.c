/* compiler/driver/run_bench.c -- `snlpc run --bench`: where the time of a call goes. */
#include "compiler/driver/run_session.h"

#include "compiler/driver/stages.h"
#include "passes/schedule.h"

#include <inttypes.h>

/* The first index parameter is the position that attention starts from. */
static int64_t position_of(const SnlRunSession *s, const SnlTensor *args)
{
    for (size_t i = 0; i < s->func->n_param; i++)
        if (args[i].type->dtype == SNL_INDEX) return (int64_t)args[i].at[0];
    return 0;
}

static SnlStatus check_last_row(const SnlRunSession *s)
{
    if (!s->run->last_row || snl_computes_tail(s->scheduled)) return SNL_OK;
    return snl_error_at(s->diag, SNL_E_USAGE, "--last-row",
                        "'@%s' computes every row of its results; wanted a function that is "
                        "scheduled with `tail`, as forward.prefill of `snlpc compile --emit ir`",
                        s->scheduled->name);
}

static SnlStatus check_stage(const SnlRunSession *s, const SnlStageTable *table)
{
    for (size_t i = 0; i < table->n; i++)
        if (s->run->stage < 0 || table->at[i].stage == s->run->stage) return SNL_OK;
    return snl_error_at(s->diag, SNL_E_USAGE, "--stage",
                        "found %" PRId64 ", wanted 0 to %" PRId64 ", the last of '@%s'",
                        s->run->stage, table->at[table->n - 1].stage, s->scheduled->name);
}

SnlStatus snl_run_bench(SnlRunSession *s)
{
    SnlTensor *args = SNL_NEW_ARRAY(s->arena, SnlTensor, s->func->n_param);
    SnlPayload payload;
    SnlStageReport r = {.func = s->scheduled->name,
                        .only = s->run->stage,
                        .how = {.n_tokens = s->tokens,
                                .n_threads = s->run->threads ? s->run->threads : 1,
                                .last_row = s->run->last_row,
                                .cold = s->run->cold}};
    SNL_TRY(snl_arguments_make(s->arena, s->func, s->argument, s->tokens, s->run->seed, 0, s->diag,
                               args));
    SNL_TRY(snl_payload_plan(s->arena, s->compiled.module, &s->scheduled, 1, s->diag, &payload));
    r.pos = position_of(s, args);
    r.table = snl_stage_table(s->arena, s->scheduled, &payload, &r.how, r.pos);
    SNL_TRY(check_stage(s, &r.table));
    SNL_TRY(check_last_row(s));
    SNL_TRY(snl_stage_times(s->callable, s->arena, args, &r.how, r.table.n, s->diag, &r.times));
    if (s->run->json)
        snl_stages_print_json(stdout, &r);
    else
        snl_stages_print(stdout, &r);
    return SNL_OK;
}
