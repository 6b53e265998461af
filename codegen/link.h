/* codegen/link.h -- objects and the runtime archive -> executable, objects alone -> shared object,
 * by posix_spawn (argument vectors, never a shell); then the payload is appended (runtime/abi.h,
 * trailer). */
#ifndef SNL_CODEGEN_LINK_H
#define SNL_CODEGEN_LINK_H

#include "codegen/codegen.h"

/* Links `object` with the runtime into a static executable (with a sanitizer: a dynamic one). */
SnlStatus snl_link_program(const char *object, SnlSanitizer sanitize, const char *out_path,
                           SnlDiag *diag);
/* Joins objects into one object. */
SnlStatus snl_link_objects(const char *const *objects, size_t n, const char *out_path,
                           SnlDiag *diag);
/* Links `object` into a shared object for this process, whose own runtime serves it (CMakeLists.txt
 * lists what executables with snl_driver export). */
SnlStatus snl_link_shared(const char *object, const char *out_path, SnlDiag *diag);

typedef struct SnlTrailer {
    const SnlPayload *payload;
    SnlWeightSource *source;
    const void *tokenizer; /* blob; NULL with 0 bytes: none */
    size_t tokenizer_nbytes;
    uint64_t payload_id;
    const char *path;    /* what errors call the stream */
    SnlWritten *written; /* filled for each weight of the payload; NULL: not wanted */
} SnlTrailer;
/* The id depends on names, formats and places of the weights, the tokenizer, and nothing else: it
 * is known before the code is emitted. */
uint64_t snl_trailer_id(const SnlPayload *payload, const void *tokenizer, size_t nbytes);
/* Appends padding, weights, tokenizer, manifest and footer to the stream (positioned at its end).
 */
SnlStatus snl_trailer_append(FILE *stream, const SnlTrailer *trailer, SnlDiag *diag,
                             SnlProgress *progress, void *progress_user);

#endif
