/* compiler/driver/ir_file.h -- a `.snl` file opened by itself, with whatever functions it has
 * (`opt` and `run`; a model is opened by compiler/frontend/model.h). */
#ifndef SNL_DRIVER_IR_FILE_H
#define SNL_DRIVER_IR_FILE_H

#include "ir/weights.h"

typedef struct SnlIrFile {
    SnlModule *module;
    SnlWeightSource *source;
} SnlIrFile;

/* Parses `path` ("-": stdin). Weights come from `seed` when `random`, else from the files that the
 * text names, relative to its folder, opened when one is read. */
SnlStatus snl_ir_file_open(SnlArena *arena, const char *path, bool random, uint64_t seed,
                           SnlDiag *diag, SnlIrFile *out);
void snl_ir_file_close(SnlIrFile *file);

#endif
