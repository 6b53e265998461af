/* compiler/frontend/npy_index.h -- a NumPy .npy file as a source of one weight.
 *
 *     6 bytes "\x93NUMPY", 2 bytes version, header length (2 bytes in version 1, else 4), header
 * text
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (6, 64), }, then the elements
 *
 * The file becomes an index with one tensor, whose name is "". Only what a weight can be: '<f4' or
 * '<f2', row-major, 1 to 4 dimensions; anything else is a located error. */
#ifndef SNL_FRONTEND_NPY_INDEX_H
#define SNL_FRONTEND_NPY_INDEX_H

#include "compiler/frontend/safetensors.h"

#include <stdbool.h>

bool snl_npy_named(const char *path); /* ends in .npy */
SnlStatus snl_npy_index_open(SnlArena *arena, const char *path, SnlDiag *diag, SnlSafetensors *out);
/* The same for bytes in memory. For tests. */
SnlStatus snl_npy_index(SnlArena *arena, const SnlFile *file, SnlDiag *diag, SnlSafetensors *out);

#endif
