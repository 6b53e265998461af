/* compiler/driver/build.h -- the whole way from a model to a file: what `snlpc compile` does once
 * its options are read. */
#ifndef SNL_DRIVER_BUILD_H
#define SNL_DRIVER_BUILD_H

#include "compiler/driver/compilation.h"

typedef enum SnlBuildKind {
    SNL_BUILD_IR,
    SNL_BUILD_LLVM,
    SNL_BUILD_ASM,
    SNL_BUILD_OBJ,
    SNL_BUILD_EXE
} SnlBuildKind;

typedef struct SnlBuildOptions {
    SnlCompileOptions compile;
    const char *out_path; /* NULL: stdout (not for OBJ and EXE) */
    SnlBuildKind kind;
    bool quiet, each_tensor;
} SnlBuildOptions;

/* The output appears whole or not at all. Memory does not grow with the weights. */
SnlStatus snl_build(const SnlBuildOptions *options, SnlDiag *diag);

#endif
