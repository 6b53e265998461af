/* runtime/tokenizer_blob.h -- the bytes between compiler/frontend/tokenizer_blob.c, which writes
 * them, and runtime/tokenizer.c, which checks and reads them. Private to those two.
 *
 *     "SNLTOK01" | u32 kind, n_ids, unknown id, flags | u32 offset, bytes of each section |
 *     sections
 *
 * All numbers are little-endian u32 unless said; sections start at multiples of 8 from the
 * beginning of the blob, in the order of the table, and do not overlap. Kind BYTE has empty
 * sections.
 *
 * Pieces of text (tokens, patterns) are byte strings. In a byte-level tokenizer the token texts
 * are already the bytes that a token stands for, not their printable stand-ins. */
#ifndef SNLRT_TOKENIZER_BLOB_H
#define SNLRT_TOKENIZER_BLOB_H

#include <stdint.h>

#define SNLRT_TOK_MAGIC "SNLTOK01"
enum { SNLRT_TOK_MAGIC_BYTES = 8, SNLRT_TOK_ALIGN = 8 };

#define SNLRT_TOK_NONE UINT32_MAX /* no id, an empty slot */

/* Limits that both sides know: a blob beyond them is refused by either. */
enum { SNLRT_TOK_MAX_IDS = 1 << 24, SNLRT_TOK_MAX_TOKEN_BYTES = 1 << 16, SNLRT_TOK_MAX_STEPS = 64 };

enum { SNLRT_TOK_KIND_BYTE = 1, SNLRT_TOK_KIND_BPE = 2 };

/* Words of the header after the magic. */
enum {
    SNLRT_TOK_WORD_KIND,
    SNLRT_TOK_WORD_N_IDS,
    SNLRT_TOK_WORD_UNKNOWN, /* id for what has no token, or NONE: dropped */
    SNLRT_TOK_WORD_FLAGS,
    SNLRT_TOK_WORDS
};
enum {
    SNLRT_TOK_BYTE_LEVEL = 1,    /* the first symbols are bytes, else characters */
    SNLRT_TOK_BYTE_FALLBACK = 2, /* a character without a token is spelt with byte tokens */
    SNLRT_TOK_FUSE_UNKNOWN = 4,  /* neighbouring unknowns become one */
    SNLRT_TOK_IGNORE_MERGES = 8  /* a piece that is a token stays whole */
};

/* SECTION(NAME, bytes per element, "content") */
#define SNLRT_TOK_SECTIONS(SECTION)                                                                \
    SECTION(TEXT_AT, 4, "n_ids + 1 offsets into TEXT: token i is TEXT[at[i], at[i + 1])")          \
    SECTION(TEXT, 1, "token texts")                                                                \
    SECTION(MARKS, 1, "SNLRT_TOK_MARK_* of each id, u8")                                           \
    SECTION(HASH, 4, "ids of mark MODEL by hash of their text; 2^k slots, open addressing")        \
    SECTION(BYTES, 4, "256 ids: token of a byte (byte level or fallback), or NONE")                \
    SECTION(MERGE_AT, 4, "n_ids + 1 indices into MERGES: merges whose left token is i")            \
    SECTION(MERGES, 12, "right id, rank, result; ascending right id within a left token")          \
    SECTION(ADDED, 16, "id, SNLRT_TOK_ADDED_*, offset and bytes of the content in STRINGS")        \
    SECTION(PREFIX, 4, "ids before every text")                                                    \
    SECTION(SUFFIX, 4, "ids after every text")                                                     \
    SECTION(NORMALIZE, 28, "steps")                                                                \
    SECTION(PRETOKENIZE, 28, "steps")                                                              \
    SECTION(DECODE, 28, "steps")                                                                   \
    SECTION(NFC_CLASS, 8, "code point, combining class != 0; ascending")                           \
    SECTION(NFC_DECOMPOSE, 24, "code point, length, its 1 to 4 parts in full; ascending")          \
    SECTION(NFC_COMPOSE, 12, "first, second, composed; ascending")                                 \
    SECTION(STRINGS, 1, "texts of steps and added tokens")

enum {
#define SECTION(NAME, size, content) SNLRT_TOK_##NAME,
    SNLRT_TOK_SECTIONS(SECTION)
#undef SECTION
    SNLRT_TOK_SECTION_COUNT
};

enum {
    SNLRT_TOK_HEADER_BYTES =
        SNLRT_TOK_MAGIC_BYTES + 4 * (SNLRT_TOK_WORDS + 2 * SNLRT_TOK_SECTION_COUNT)
};

enum {
    SNLRT_TOK_MARK_PRESENT = 1, /* the id has a token */
    SNLRT_TOK_MARK_SPECIAL = 2, /* left out of decoded text unless asked for */
    SNLRT_TOK_MARK_MODEL = 4,   /* the text may be looked up: it is in HASH */
    SNLRT_TOK_MARK_BYTE = 8     /* decodes to the byte that its text <0xHH> names */
};

enum {
    SNLRT_TOK_ADDED_SPECIAL = 1,
    SNLRT_TOK_ADDED_NORMALIZED = 2, /* looked for after normalisation */
    SNLRT_TOK_ADDED_LSTRIP = 4,
    SNLRT_TOK_ADDED_RSTRIP = 8,
    SNLRT_TOK_ADDED_SINGLE_WORD = 16
};

/* A step: kind, a, b, offset and bytes of text s, offset and bytes of text t (in STRINGS). */
enum { SNLRT_TOK_STEP_WORDS = 7 };
enum {
    /* NORMALIZE */
    SNLRT_TOK_PREPEND = 1, /* s before a text that is not empty */
    SNLRT_TOK_REPLACE,     /* each s by t (also in PRETOKENIZE, and in DECODE per token) */
    SNLRT_TOK_NFC,
    /* PRETOKENIZE */
    SNLRT_TOK_PREPEND_UNLESS, /* s before a piece that does not begin with it; a: when (below) */
    SNLRT_TOK_SPLIT_REGEX,    /* matches of pattern s; a: behaviour, b: 1 = what does not match */
    SNLRT_TOK_SPLIT_LITERAL,  /* the same, s literally */
    /* DECODE */
    SNLRT_TOK_DROP_FIRST,   /* s vanishes from the first token of a text (before any REPLACE) */
    SNLRT_TOK_BYTE_TOKENS,  /* tokens of mark BYTE are bytes */
    SNLRT_TOK_STRIP,        /* up to a leading and b trailing characters s of the whole text */
    SNLRT_TOK_SEPARATE,     /* s between tokens */
    SNLRT_TOK_STEP_KIND_COUNT
};
enum { SNLRT_TOK_PREPEND_ALWAYS, SNLRT_TOK_PREPEND_FIRST /* only where the text begins */ };

/* What becomes of the matches of a split. */
#define SNLRT_TOK_BEHAVIOURS(B)                                                                    \
    B(REMOVED, "Removed")                                                                          \
    B(ISOLATED, "Isolated")                                                                        \
    B(MERGED_WITH_PREVIOUS, "MergedWithPrevious")                                                  \
    B(MERGED_WITH_NEXT, "MergedWithNext")                                                          \
    B(CONTIGUOUS, "Contiguous")
enum {
#define B(NAME, text) SNLRT_TOK_##NAME,
    SNLRT_TOK_BEHAVIOURS(B)
#undef B
    SNLRT_TOK_BEHAVIOUR_COUNT
};

/* The hash of HASH: FNV-1a, 32 bits; slot = hash & (slots - 1), then the next ones. */
static inline uint32_t snlrt_tok_hash(const char *text, uint32_t nbytes)
{
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < nbytes; i++) hash = (hash ^ (uint8_t)text[i]) * 16777619u;
    return hash;
}

#endif
