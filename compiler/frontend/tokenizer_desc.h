/* compiler/frontend/tokenizer_desc.h -- a tokenizer between its JSON text and its blob.
 *
 *   tokenizer.c         kinds; the whole way
 *   tokenizer_model.c   vocabulary, merges, added tokens
 *   tokenizer_steps.c   normalizer, pre_tokenizer, decoder
 *   tokenizer_post.c    post_processor
 *   tokenizer_regex.c   patterns: what PCRE2 would read differently is refused
 *   tokenizer_nfc.c     Unicode tables for NFC
 *   tokenizer_blob.c    the bytes (runtime/tokenizer_blob.h)
 *
 * Readers get the JSON value and the description and report through the document
 * (compiler/frontend/json.h). Private to compiler/frontend/tokenizer*.c. */
#ifndef SNL_FRONTEND_TOKENIZER_DESC_H
#define SNL_FRONTEND_TOKENIZER_DESC_H

#include "compiler/frontend/json.h"
#include "runtime/tokenizer_blob.h"

typedef struct SnlTokBytes {
    const char *at;
    uint32_t n;
} SnlTokBytes;

typedef struct SnlTokToken {
    SnlTokBytes name; /* as the JSON spells it */
    SnlTokBytes text; /* as the runtime matches and writes it */
    uint32_t marks;   /* SNLRT_TOK_MARK_* */
} SnlTokToken;

typedef struct SnlTokMerge {
    uint32_t left, right, rank, result;
} SnlTokMerge;

typedef struct SnlTokAdded {
    uint32_t id, marks; /* SNLRT_TOK_ADDED_* */
    SnlTokBytes content;
} SnlTokAdded;

typedef struct SnlTokStep {
    uint32_t kind, a, b; /* SNLRT_TOK_* */
    SnlTokBytes s, t;
} SnlTokStep;

typedef SnlVec(SnlTokStep) SnlTokSteps;
typedef SnlVec(uint32_t) SnlTokIds;
typedef SnlVec(SnlTokMerge) SnlTokMerges;
typedef SnlVec(SnlTokAdded) SnlTokAddeds;

typedef struct SnlTokDesc {
    SnlArena *arena;
    uint32_t max_ids;   /* ids must be below */
    SnlTokToken *token; /* by id, n_ids of them */
    uint32_t n_ids;
    uint32_t unknown, flags; /* SNLRT_TOK_NONE; SNLRT_TOK_BYTE_LEVEL, ... */
    uint32_t bytes[256];
    SnlTokMerges merges;
    SnlTokAddeds added;
    SnlTokIds prefix, suffix;
    SnlTokSteps normalize, pretokenize, decode;
    bool byte_level_text, byte_level_decoder; /* what pre_tokenizer and decoder asked for */
} SnlTokDesc;

static inline SnlTokBytes snl_tok_bytes(const char *text, size_t n)
{
    return (SnlTokBytes){text, (uint32_t)n};
}
bool snl_tok_bytes_equal(SnlTokBytes a, SnlTokBytes b);
/* For messages: quoted, shortened to a line's part. */
const char *snl_tok_shown(SnlArena *arena, SnlTokBytes text);
/* Reports at `value` that `what` is not supported, with the list of what is. */
SnlStatus snl_tok_unsupported(SnlJson value, const char *found, const char *supported);
/* A string of at most `max` bytes. */
SnlTokBytes snl_tok_text(SnlJson value, uint32_t max);

/* The whole way from a text in memory (what fuzzing uses; `source` is only read). */
SnlStatus snl_tok_build_text(SnlArena *arena, const SnlSource *source, uint32_t max_ids,
                             SnlDiag *diag, void **out_blob, size_t *out_nbytes);

/* Steps come first: they decide how vocabulary texts are read. */
void snl_tok_read_normalizer(SnlJson value, SnlTokDesc *desc);
void snl_tok_read_pretokenizer(SnlJson value, SnlTokDesc *desc);
void snl_tok_read_decoder(SnlJson value, SnlTokDesc *desc);
void snl_tok_read_model(SnlJson model, SnlJson added_tokens, SnlTokDesc *desc);
void snl_tok_read_post_processor(SnlJson value, SnlTokDesc *desc);

/* NULL, or why the pattern cannot be taken (in the arena). */
const char *snl_tok_regex_problem(SnlArena *arena, SnlTokBytes pattern);

/* The value of the token name "<0xHH>", -1 for other names. */
int snl_tok_byte_name(SnlTokBytes name);

/* Canonical data of all of Unicode; rows as in runtime/tokenizer_blob.h, as words. */
typedef SnlVec(uint32_t) SnlTokWords;
void snl_tok_nfc_tables(SnlArena *arena, SnlTokWords *classes, SnlTokWords *decompose,
                        SnlTokWords *compose);

/* Fails (one message at `place`) only when the blob would be larger than 4 GiB. */
SnlStatus snl_tok_write_blob(const SnlTokDesc *desc, const char *place, SnlDiag *diag,
                             void **out_blob, size_t *out_nbytes);

#endif
