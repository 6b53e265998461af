/* tests/fuzz/fuzz_npy.c -- any bytes as a .npy file: an error or a tensor, never more memory than
 * the bytes account for. */
#include "compiler/driver/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SnlArena *arena = snl_arena_create();
    SnlDiag *diag = snl_diag_create(NULL, 0);
    SnlNpy npy;
    if (snl_npy_parse(arena, data, size, "fuzz.npy", diag, &npy) == SNL_OK)
        SNL_ASSERT((size_t)npy.n <= size);
    else
        SNL_ASSERT(snl_diag_errors(diag) == 1);
    snl_diag_destroy(diag);
    snl_arena_destroy(arena);
    return 0;
}
