/* Plan and pipeline texts: parse any bytes; what parses must print, and the printed text must parse
 * to the same. The first byte chooses. */
#include "passes/pass.h"
#include "passes/plan.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_plan(SnlArena *arena, SnlDiag *diag, const char *text)
{
    SnlPlan plan, again;
    if (snl_plan_parse(arena, text, diag, &plan) != SNL_OK) {
        if (snl_diag_errors(diag) == 0) abort();
        return;
    }
    const char *printed = snl_plan_print(arena, &plan);
    if (snl_plan_parse(arena, printed, diag, &again) != SNL_OK) abort();
    if (strcmp(snl_plan_print(arena, &again), printed) != 0) abort();
}

static void check_pipeline(SnlArena *arena, SnlDiag *diag, const char *text)
{
    const char *printed = snl_pipeline_print(arena, text, diag);
    if (!printed) {
        if (snl_diag_errors(diag) == 0) abort();
        return;
    }
    const char *again = snl_pipeline_print(arena, printed, diag);
    if (!again || strcmp(again, printed) != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    SnlArena *arena = snl_arena_create();
    SnlDiag *diag = snl_diag_create(NULL, 0);
    const char *text = snl_arena_strndup(arena, (const char *)data + 1, size - 1);
    if (*data & 1)
        check_plan(arena, diag, text);
    else
        check_pipeline(arena, diag, text);
    snl_diag_destroy(diag);
    snl_arena_destroy(arena);
    return 0;
}
