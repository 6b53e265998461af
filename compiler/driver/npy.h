/* compiler/driver/npy.h -- NumPy's .npy files: tensors in and out of `snlpc run`.
 *
 * Read: format versions 1 to 3; little-endian f2, f4, f8, i4, i8 and u1; row-major only. Values
 * become doubles. Written: version 1, `<f4` or `<i4`. */
#ifndef SNL_DRIVER_NPY_H
#define SNL_DRIVER_NPY_H

#include "ir/base/diag.h"
#include "ir/type.h"

enum { SNL_NPY_MAX_RANK = 8 };

typedef struct SnlNpy {
    int rank; /* 0: one number */
    int64_t dim[SNL_NPY_MAX_RANK];
    int64_t n; /* product of dims */
    double *at;
} SnlNpy;

/* `place` names the bytes in messages. Data lives in the arena. */
SnlStatus snl_npy_parse(SnlArena *arena, const uint8_t *bytes, size_t nbytes, const char *place,
                        SnlDiag *diag, SnlNpy *out);
SnlStatus snl_npy_read(SnlArena *arena, const char *path, SnlDiag *diag, SnlNpy *out);
/* `dtype`: SNL_I32 writes integers, everything else f32. The file appears whole or not at all. */
SnlStatus snl_npy_write(const char *path, SnlDtype dtype, int rank, const int64_t *dim,
                        const double *at, SnlDiag *diag);

#endif
