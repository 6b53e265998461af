/* ir/base/file.h -- mapped input files, whole small files, and outputs that appear whole or not. */
#ifndef SNL_BASE_FILE_H
#define SNL_BASE_FILE_H

#include "ir/base/diag.h"

#include <stdbool.h>

/* A read-only mapping. Pages that were read can be given back with snl_file_release, so that
 * resident memory does not grow with the file. */
typedef struct SnlFile {
    const char *path; /* owned by the arena given to map */
    const uint8_t *bytes;
    size_t size;
} SnlFile;

/* Empty files map to size 0, bytes non-NULL. Directories and unreadable files: located error. */
SnlStatus snl_file_map(SnlArena *arena, const char *path, SnlDiag *diag, SnlFile *out_file);
void snl_file_unmap(SnlFile *file);
/* Tells the system that [offset, offset+nbytes) is not needed any more. */
void snl_file_release(const SnlFile *file, size_t offset, size_t nbytes);

/* A whole text file into the arena, NUL-terminated; larger than max_bytes is an error. */
SnlStatus snl_file_read(SnlArena *arena, const char *path, size_t max_bytes, SnlDiag *diag,
                        SnlSource *out_source);

/* Output through a temporary file beside `path`; it takes its name in commit and vanishes in
 * abort. */
typedef struct SnlOutput {
    FILE *stream;
    char *temp_path, *path;
} SnlOutput;
SnlStatus snl_output_open(const char *path, SnlDiag *diag, SnlOutput *out);
SnlStatus snl_output_commit(SnlOutput *out, bool executable, SnlDiag *diag);
void snl_output_abort(SnlOutput *out);

bool snl_path_exists(const char *path);
bool snl_path_is_dir(const char *path);
/* dir + "/" + name; `name` itself when it is absolute. */
char *snl_path_join(SnlArena *arena, const char *dir, const char *name);
/* Do both name one file that exists, by whatever way? */
bool snl_path_same_file(const char *a, const char *b);
/* Folder part of a path ("." when there is none). */
char *snl_path_dir(SnlArena *arena, const char *path);

#endif
