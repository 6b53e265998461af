/* Any bytes as a safetensors file: indexes it and reads every tensor that it accepts. */
#include "compiler/frontend/safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_tensors(const SnlSafetensors *st)
{
    static float out[4096];
    for (size_t i = 0; i < st->n; i++) {
        const SnlSafetensor *t = &st->at[i];
        if (snl_safetensors_find(st, t->name) != t) abort();
        if (!t->known || t->elems == 0) continue;
        int64_t n = t->elems < 4096 ? t->elems : 4096;
        snl_safetensors_read(st, t, 0, n, out);
        snl_safetensors_read(st, t, t->elems - n, n, out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SnlArena *arena = snl_arena_create();
    SnlDiag *diag = snl_diag_create(NULL, 0);
    SnlFile file = {"fuzz.safetensors", data, size};
    SnlSafetensors st;
    SnlStatus status = snl_safetensors_index(arena, &file, diag, &st);
    if (status == SNL_OK) read_tensors(&st);
    if ((status == SNL_OK) != (snl_diag_errors(diag) == 0)) abort();
    snl_diag_destroy(diag);
    snl_arena_destroy(arena);
    return 0;
}
