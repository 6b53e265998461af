/* compiler/frontend/safetensors.h -- the index of one .safetensors file.
 *
 *     8 bytes  N, little-endian
 *     N bytes  JSON: {"name": {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, ...}
 *     rest     the tensors' elements, little-endian, row-major; offsets count from here
 *
 * Opening maps the file and checks everything the header claims: every tensor's bytes lie in the
 * file, have the length its shape asks for and belong to nobody else. No element is read. Element
 * types that snlpc does not compute with (integers, float8, ...) are indexed, with `known` false.
 * Format: https://github.com/huggingface/safetensors (README, "Format"). */
#ifndef SNL_FRONTEND_SAFETENSORS_H
#define SNL_FRONTEND_SAFETENSORS_H

#include "ir/base/file.h"
#include "ir/type.h"

typedef struct SnlSafetensor {
    const char *name;
    const char *dtype_text; /* as the file spells it */
    const char *shape_text; /* "[64, 48]" */
    bool known;             /* dtype, rank and dim below hold: F32, BF16 or F16 of rank 1 to 4 */
    SnlDtype dtype;
    int rank;
    int64_t dim[SNL_MAX_RANK];
    int64_t elems;
    size_t begin, end; /* bytes from the start of the file */
} SnlSafetensor;

typedef struct SnlSafetensors {
    SnlFile file;
    SnlSafetensor *at; /* sorted by name */
    size_t n;
} SnlSafetensors;

SnlStatus snl_safetensors_open(SnlArena *arena, const char *path, SnlDiag *diag,
                               SnlSafetensors *out);
/* The same for bytes in memory; `file->path` is only a name. For tests and the fuzzer. */
SnlStatus snl_safetensors_index(SnlArena *arena, const SnlFile *file, SnlDiag *diag,
                                SnlSafetensors *out);
void snl_safetensors_close(SnlSafetensors *st);

const SnlSafetensor *snl_safetensors_find(const SnlSafetensors *st, const char *name);
/* Elements [first, first + n) of a known tensor as f32; the range must lie within it. */
void snl_safetensors_read(const SnlSafetensors *st, const SnlSafetensor *tensor, int64_t first,
                          int64_t n, float *out);

#endif
