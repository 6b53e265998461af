/* tests/support/tokenizer_fixture.h -- tokenizers for tests: from files, from JSON texts and from
 * JSON texts with one thing changed. */
#ifndef SNL_TESTS_TOKENIZER_FIXTURE_H
#define SNL_TESTS_TOKENIZER_FIXTURE_H

#include "tests/support/support.h"

#include "runtime/tokenizer.h"

/* tests/data/tokenizer/byte_level.json. */
const char *tokenizer_byte_level_path(Support *s);

/* A SentencePiece-style tokenizer.json with a dozen tokens; see tokenizer_fixture.c. */
extern const char *const tokenizer_pieces_json;

/* `text` with its only occurrence of `from` replaced. */
const char *tokenizer_patch(Support *s, const char *text, const char *from, const char *to);

/* Builds the blob of a file, or NULL with the messages in s->diag. */
void *tokenizer_blob(Support *s, const char *path, int64_t vocab, size_t *out_nbytes);
/* Writes the JSON to a scratch file and builds its blob. */
void *tokenizer_blob_of(Support *s, const char *json, size_t *out_nbytes);

/* Opens a blob; fails the test when it is refused. The caller destroys it. */
SnlrtTokenizer *tokenizer_open(const void *blob, size_t nbytes);
SnlrtTokenizer *tokenizer_open_file(Support *s, const char *path);
SnlrtTokenizer *tokenizer_open_json(Support *s, const char *json);

/* `wanted`: ids separated by spaces. */
#define assert_encodes(tokenizer, flags, text, nbytes, wanted)                                     \
    tokenizer_encodes((tokenizer), (flags), (text), (nbytes), (wanted), __FILE__, __LINE__)
void tokenizer_encodes(SnlrtTokenizer *tokenizer, unsigned flags, const char *text, size_t nbytes,
                       const char *wanted, const char *file, int line);

/* Decodes at once and id by id; both must give `wanted`, and each piece of the stream whole
 * UTF-8. */
#define assert_decodes(tokenizer, flags, ids, wanted)                                              \
    tokenizer_decodes((tokenizer), (flags), (ids), (wanted), __FILE__, __LINE__)
void tokenizer_decodes(const SnlrtTokenizer *tokenizer, unsigned flags, const char *ids,
                       const char *wanted, const char *file, int line);

#endif
