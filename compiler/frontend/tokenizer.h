/* compiler/frontend/tokenizer.h -- tokenizer description in, blob for the emitted program out.
 *
 * The blob's format is private to this file's implementation and runtime/tokenizer.c, which reads
 * it (and which `snlpc tokenize` links, so that both sides are one code). */
#ifndef SNL_FRONTEND_TOKENIZER_H
#define SNL_FRONTEND_TOKENIZER_H

#include "compiler/frontend/model.h"

/* SNL_TOKENIZER_NONE gives no blob (NULL, 0). `vocab`: ids must be below it. */
SnlStatus snl_tokenizer_build(SnlArena *arena, SnlTokenizerKind kind, const char *json_path,
                              int64_t vocab, SnlDiag *diag, void **out_blob, size_t *out_nbytes);

#endif
