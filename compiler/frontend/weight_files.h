/* compiler/frontend/weight_files.h -- the safetensors files of one model, as one table of tensors
 * and as the SnlWeightSource that the packer and the evaluator read.
 *
 * A folder has `model.safetensors` or the shards that `model.safetensors.index.json` names; other
 * files in it are ignored. For an IR text the files are opened when a weight first names them.
 * Pages that were read are given back every few megabytes, so resident memory does not grow with
 * the model. Not thread-safe. */
#ifndef SNL_FRONTEND_WEIGHT_FILES_H
#define SNL_FRONTEND_WEIGHT_FILES_H

#include "compiler/frontend/safetensors.h"
#include "ir/weights.h"

typedef struct SnlWeightFiles SnlWeightFiles;

/* One tensor of a folder. */
typedef struct SnlWeightEntry {
    const SnlSafetensor *tensor;
    const char *file; /* its name in the folder */
    const char *path; /* with the folder, for messages */
    bool used;        /* set by whoever asked for it */
} SnlWeightEntry;

/* No file yet: they are opened on demand, relative to base_dir (NULL: the current folder). */
SnlWeightFiles *snl_weight_files_create(SnlArena *arena, const char *base_dir);
/* Opens all files of a model folder and checks that they hold what the index promises. */
SnlStatus snl_weight_files_open(SnlArena *arena, const char *folder, SnlDiag *diag,
                                SnlWeightFiles **out);
void snl_weight_files_close(SnlWeightFiles *files); /* NULL is fine */

/* Tensors of a folder, sorted by name. */
size_t snl_weight_files_count(const SnlWeightFiles *files);
SnlWeightEntry *snl_weight_files_at(const SnlWeightFiles *files, size_t i);
SnlWeightEntry *snl_weight_files_find(const SnlWeightFiles *files, const char *tensor);
/* The file, or the index, that a message about a missing tensor should name. */
const char *snl_weight_files_place(const SnlWeightFiles *files);
size_t snl_weight_files_file_count(const SnlWeightFiles *files);

/* The files as a source; its destroy closes them. */
SnlWeightSource *snl_weight_files_source(SnlWeightFiles *files);

#endif
