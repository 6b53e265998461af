/* runtime/output.h -- bytes out, every failure noticed. Library form: never prints messages. */
#ifndef SNLRT_OUTPUT_H
#define SNLRT_OUTPUT_H

#include "runtime/status.h"

#include <stdbool.h>
#include <stddef.h>

/* A descriptor 0, 1 or 2 that was closed would be given to the next file that is opened, and text
 * would end up in it. Something that can be opened everywhere, and neither read nor written, takes
 * the place. To be called first. */
void snlrt_fill_standard_descriptors(void);
/* Nothing can be read from standard input: it was closed (or is a directory). */
bool snlrt_input_closed(void);
/* Why a write failed, of errno. */
const char *snlrt_write_error(void);

/* Writes all bytes to a descriptor now; `name` is for the message. */
SnlrtStatus snlrt_write(int fd, const char *name, const void *bytes, size_t nbytes,
                        SnlrtError *err);

/* A file that appears whole or not at all: written beside its place and moved there by commit. What
 * is not a plain file (a pipe, a device) is written directly. */
typedef struct SnlrtFile {
    int fd;             /* -1: closed */
    const char *path;   /* as given; must outlive the file */
    char *place, *temp; /* temp NULL: written directly */
    char *buffer;
    size_t n_buffered;
} SnlrtFile;

SnlrtStatus snlrt_file_create(const char *path, SnlrtFile *out, SnlrtError *err);
SnlrtStatus snlrt_file_write(SnlrtFile *file, const void *bytes, size_t nbytes, SnlrtError *err);
/* Writes the rest and puts the file in its place. The file is closed, whatever the result. */
SnlrtStatus snlrt_file_commit(SnlrtFile *file, SnlrtError *err);
/* Drops what was written. Fine after commit and on a zeroed file with fd -1. */
void snlrt_file_abort(SnlrtFile *file);

#endif
