/* compiler/driver/cmd_run.c -- `snlpc run`: calls one IR function through the reference evaluator,
 * compiled, or both and compares. How each kernel is tested alone. */
#include "compiler/driver/commands.h"
#include "compiler/driver/emergency.h"
#include "compiler/driver/run_session.h"

static SnlStatus call_or_time(SnlRunSession *s)
{
    if (s->run->bench) return snl_run_bench(s);
    SnlStatus status = SNL_OK;
    for (int64_t call = 0; call < s->run->repeat && status == SNL_OK; call++)
        status = snl_run_call(s, call);
    return status;
}

SnlStatus snl_cmd_run(int argc, char **argv)
{
    SnlRunOptions run;
    SnlRunSession s;
    snl_run_options_parse(argc, argv, &run);
    SnlDiag *diag = snl_diag_create(stderr, 0);
    SnlStatus status = snl_run_session_open(&s, &run, diag);
    if (status == SNL_OK) status = call_or_time(&s);
    if (status == SNL_INTERNAL) snl_emergency_write_reproducer();
    snl_emergency_set_reproducer(NULL);
    snl_run_session_close(&s);
    snl_diag_destroy(diag);
    return status;
}
