/* IR text through all exact passes: whatever parses must stay valid after each of them. */
#include "passes/pass.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char pipeline[] =
    "fuse-layers{plan=\"n2 1xF2\"},newton{plan=\"n2 1xF2\"},lower-newton,inline-layers,simplify,"
    "cancel-residual,simplify,cse,dce,merge-linear{concat=all},fold{weights=f32},simplify,cse,dce,"
    "pack{weights=bf16}";

/* The plan does not fit most texts: then only what does not need one is run. */
static const char without_plan[] =
    "lower-newton,inline-layers,simplify,cancel-residual,simplify,cse,dce,merge-linear,"
    "fold{weights=f32},simplify,cse,dce,pack{weights=f16}";

static void run(const uint8_t *data, size_t size, const char *text, bool may_fail)
{
    SnlArena *arena = snl_arena_create();
    SnlDiag *diag = snl_diag_create(NULL, 0);
    SnlSource source = {"fuzz", (const char *)data, size};
    SnlPipelineOptions options = {.verify_each = true};
    SnlModule *m = NULL;
    if (snl_parse(arena, &source, diag, &m) == SNL_OK) {
        SnlStatus status = snl_pipeline_run(m, text, &options, diag);
        bool refused = status == SNL_BAD_INPUT && (may_fail || snl_diag_errors(diag) > 0);
        if (status != SNL_OK && !refused) abort();
    }
    snl_diag_destroy(diag);
    snl_arena_destroy(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 1 << 16) return 0;
    run(data, size, without_plan, false);
    run(data, size, pipeline, true);
    return 0;
}
