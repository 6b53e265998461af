/* Any bytes as config.json: builds the model with random weights, or reports. What is built must
 * also print and parse back. */
#include "compiler/frontend/open.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(SnlArena *arena, SnlDiag *diag, const SnlModule *m)
{
    const char *text = snl_print_to_string(arena, m);
    SnlSource source = {"config.snl", text, strlen(text)};
    SnlModule *again;
    if (snl_parse(arena, &source, diag, &again) != SNL_OK) {
        fputs(snl_diag_text(diag), stderr);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SnlArena *arena = snl_arena_create();
    SnlDiag *diag = snl_diag_create(NULL, 0);
    SnlSource source = {"config.json", (const char *)data, size};
    SnlModel model;
    SnlStatus status = snl_config_open(arena, &source, diag, &model);
    if (status != SNL_OK && snl_diag_errors(diag) == 0) abort();
    /* Deep models repeat one layer: parsing them back would only cost time. */
    if (status == SNL_OK && model.n_layers <= 4) check_text(arena, diag, model.module);
    snl_diag_destroy(diag);
    snl_arena_destroy(arena);
    return 0;
}
