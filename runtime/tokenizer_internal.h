/* runtime/tokenizer_internal.h -- what the files of the tokenizer know of each other.
 *
 *   tokenizer.c            the blob: checked once, then read through the spans below
 *   tokenizer_text.c       growing texts and ids; replacement
 *   tokenizer_normalize.c  NORMALIZE steps, NFC
 *   tokenizer_added.c      added tokens written out in the text
 *   pretokenize.c          PRETOKENIZE steps: text to pieces (PCRE2)
 *   tokenizer_bpe.c        piece to ids
 *   tokenizer_encode.c     the whole way
 *   tokenizer_decode.c     ids to text */
#ifndef SNLRT_TOKENIZER_INTERNAL_H
#define SNLRT_TOKENIZER_INTERNAL_H

#include "runtime/tokenizer.h"
#include "runtime/tokenizer_blob.h"

/* Not only on little-endian machines, and at any address. */
static inline uint32_t snlrt_tok_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Elements of one section; `n` elements of the section's size. */
typedef struct SnlrtTokSpan {
    const uint8_t *at;
    uint32_t n;
} SnlrtTokSpan;

typedef struct SnlrtTokString {
    const char *at;
    uint32_t n;
} SnlrtTokString;

typedef struct SnlrtTokStep {
    uint32_t kind, a, b;
    SnlrtTokString s, t;
    void *regex; /* pcre2_code of SPLIT_REGEX */
} SnlrtTokStep;

typedef struct SnlrtTokSteps {
    SnlrtTokStep *at;
    uint32_t n;
} SnlrtTokSteps;

typedef struct SnlrtTokAdded {
    int32_t id;
    uint32_t marks;      /* SNLRT_TOK_ADDED_* */
    SnlrtTokString text; /* as it is looked for */
} SnlrtTokAdded;

/* Added tokens ascending by text, and the bytes that one may begin with. */
typedef struct SnlrtTokAddedSet {
    SnlrtTokAdded *at;
    uint32_t n;
    bool begins[256];
    SnlrtText normalized; /* storage of texts that normalisation changed */
} SnlrtTokAddedSet;

struct SnlrtTokenizer {
    SnlrtTokenizerKind kind;
    uint32_t n_ids, unknown, flags;
    SnlrtTokSpan section[SNLRT_TOK_SECTION_COUNT];
    SnlrtTokSteps normalize, pretokenize, decode;
    SnlrtTokAddedSet raw_added, normalized_added; /* looked for before and after normalisation */
    void *word_character; /* pcre2_code, only where a token wants to be a single word */
    void *match;          /* pcre2_match_data for all patterns */
    void *match_context;
    size_t limit; /* bytes that normalisation may make of the text at hand */
    const char *error;
};

static inline uint32_t snlrt_tok_word(const SnlrtTokenizer *t, int section, uint32_t i)
{
    return snlrt_tok_u32(t->section[section].at + 4 * (size_t)i);
}
static inline uint32_t snlrt_tok_marks(const SnlrtTokenizer *t, uint32_t id)
{
    return t->section[SNLRT_TOK_MARKS].at[id];
}
SnlrtTokString snlrt_tok_text(const SnlrtTokenizer *t, uint32_t id);

/* ---- growing arrays; false: out of memory -------------------------------------------------- */
bool snlrt_ids_push(SnlrtIds *ids, uint32_t id);
bool snlrt_text_append(SnlrtText *text, const char *bytes, size_t nbytes);
/* Room for `n` elements of `size` bytes in *inout_at with capacity *inout_cap. */
bool snlrt_tok_reserve(void **inout_at, size_t *inout_cap, size_t n, size_t size);
/* Appends text[0, nbytes) with each `s` replaced by `t`; an empty `s` replaces nothing. Stops once
 * `out` is longer than `limit`. */
bool snlrt_text_replace(SnlrtText *out, const char *text, size_t nbytes, SnlrtTokString s,
                        SnlrtTokString t, size_t limit);
/* First place of `s` in text[from, nbytes), nbytes if there is none. */
size_t snlrt_text_find(const char *text, size_t nbytes, size_t from, SnlrtTokString s);

/* ---- stages; 0 or a code of tokenizer.h, message in t->error ------------------------------- */
int snlrt_tok_fail(SnlrtTokenizer *t, int code, const char *message);
int snlrt_tok_no_memory(SnlrtTokenizer *t);
int snlrt_tok_too_long(SnlrtTokenizer *t); /* beyond t->limit */

/* Appends the normalised text. */
int snlrt_tok_normalize(SnlrtTokenizer *t, const char *text, size_t nbytes, SnlrtText *out);

/* Sorts the added tokens into their two sets; normalises where wanted. */
int snlrt_tok_added_create(SnlrtTokenizer *t);
void snlrt_tok_added_destroy(SnlrtTokenizer *t);
typedef struct SnlrtTokMatch {
    size_t begin, end;
    int32_t id;
} SnlrtTokMatch;
/* The next added token in text[*inout_from, nbytes), leftmost and longest; `cut` is where the
 * last one ended. false: none. *inout_from moves on. */
bool snlrt_tok_added_next(const SnlrtTokenizer *t, const SnlrtTokAddedSet *set, unsigned flags,
                          const char *text, size_t nbytes, size_t cut, size_t *inout_from,
                          SnlrtTokMatch *out);

/* Pieces of a text, in order; together they need not cover it. */
typedef struct SnlrtTokPiece {
    size_t begin, n;
} SnlrtTokPiece;
typedef struct SnlrtTokPieces {
    SnlrtText text;
    SnlrtTokPiece *at;
    size_t n, cap;
} SnlrtTokPieces;
void snlrt_tok_pieces_deinit(SnlrtTokPieces *pieces);
/* Compiles the patterns of the steps; `error` for the message on failure. */
int snlrt_pretokenize_create(SnlrtTokenizer *t);
void snlrt_pretokenize_destroy(SnlrtTokenizer *t);
/* `starts`: the text begins here (for PREPEND_FIRST). Storage of `out` is reused. */
int snlrt_pretokenize(SnlrtTokenizer *t, const char *text, size_t nbytes, bool starts,
                      SnlrtTokPieces *out);
/* Whether the character is one of a word (\w of Unicode). */
bool snlrt_tok_is_word(const SnlrtTokenizer *t, const char *text, size_t nbytes);

/* Appends the ids of one piece. `scratch` is kept between pieces. */
typedef struct SnlrtTokSymbol {
    uint32_t id;
    uint32_t prev, next; /* NONE at the ends */
    bool gone;
} SnlrtTokSymbol;
typedef struct SnlrtTokCandidate {
    uint32_t rank, at, result;
} SnlrtTokCandidate;
typedef struct SnlrtTokBpe {
    SnlrtTokSymbol *symbol;
    size_t n_symbols, symbol_cap;
    SnlrtTokCandidate *heap; /* least (rank, at) first */
    size_t n_heap, heap_cap;
} SnlrtTokBpe;
void snlrt_tok_bpe_deinit(SnlrtTokBpe *scratch);
int snlrt_tok_bpe(SnlrtTokenizer *t, const char *piece, size_t nbytes, SnlrtTokBpe *scratch,
                  SnlrtIds *out);
/* The id of mark MODEL with this text, or NONE. */
uint32_t snlrt_tok_lookup(const SnlrtTokenizer *t, const char *text, size_t nbytes);

#endif
