/* runtime/tokenizer.h -- text to token ids and back, from the blob that snlpc made.
 *
 * The blob (runtime/tokenizer_blob.h) is read in place: it must stay where it is, unchanged, for
 * as long as the tokenizer lives; it may lie at any address. It is checked once, in create; after
 * that no text and no id can lead out of it. Encoding and decoding give what Hugging Face's
 * tokenizers give for the same tokenizer.json (decoding of broken sequences: tokenizer_decode.c).
 *
 * Functions that can fail return 0 or one of the codes below (exit codes of the program); the
 * message is a static string. Nothing is printed and nothing exits. One thread at a time per
 * tokenizer; a SnlrtDecoder belongs to its stream. C11, libc and PCRE2. */
#ifndef SNLRT_TOKENIZER_H
#define SNLRT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SNLRT_TOKEN_OK = 0,
    SNLRT_TOKEN_BAD_INPUT = 1, /* broken blob; a text that the tokenizer cannot take */
    SNLRT_TOKEN_MACHINE = 4    /* out of memory */
};

typedef enum SnlrtTokenizerKind {
    SNLRT_TOKENIZER_NONE, /* no blob: ids only; encode fails, decode writes nothing */
    SNLRT_TOKENIZER_BYTE, /* id = byte */
    SNLRT_TOKENIZER_BPE
} SnlrtTokenizerKind;

typedef struct SnlrtTokenizer SnlrtTokenizer;

/* Growing arrays that callers own; {0} is empty, n = 0 empties for reuse, deinit frees. */
typedef struct SnlrtIds {
    int32_t *at;
    size_t n, cap;
} SnlrtIds;
typedef struct SnlrtText {
    char *at; /* UTF-8, not NUL-terminated */
    size_t n, cap;
} SnlrtText;
void snlrt_ids_deinit(SnlrtIds *ids);
void snlrt_text_deinit(SnlrtText *text);

/* `blob` NULL or nbytes 0 gives a tokenizer of kind NONE. On failure *out is NULL and *out_error
 * says what is wrong. */
int snlrt_tokenizer_create(const void *blob, size_t nbytes, SnlrtTokenizer **out,
                           const char **out_error);
void snlrt_tokenizer_destroy(SnlrtTokenizer *tokenizer); /* NULL is fine */

SnlrtTokenizerKind snlrt_tokenizer_kind(const SnlrtTokenizer *tokenizer);
/* One more than the largest id; 0 for kind NONE. */
int32_t snlrt_tokenizer_n_ids(const SnlrtTokenizer *tokenizer);
bool snlrt_tokenizer_is_special(const SnlrtTokenizer *tokenizer, int32_t id);
/* What went wrong in the last failed encode. */
const char *snlrt_tokenizer_error(const SnlrtTokenizer *tokenizer);

enum {
    /* Add the ids that the model's template puts around a text (beginning and end tokens). */
    SNLRT_ENCODE_TEMPLATE = 1,
    /* Special tokens written out in the text ("<|im_end|>") become their ids; without it they are
     * ordinary text. Added tokens that are not special are always found. */
    SNLRT_ENCODE_SPECIAL = 2,
    SNLRT_ENCODE_DEFAULT = SNLRT_ENCODE_TEMPLATE | SNLRT_ENCODE_SPECIAL
};
/* Appends the ids of `text` to `ids`. Broken UTF-8 is read as U+FFFD, one for each maximal broken
 * sequence (not by kind BYTE, which takes any bytes). An empty text gives the template's ids
 * only. */
int snlrt_tokenizer_encode(SnlrtTokenizer *tokenizer, const char *text, size_t nbytes,
                           unsigned flags, SnlrtIds *ids);

enum {
    SNLRT_DECODE_SPECIAL = 1, /* write special tokens too; they are left out otherwise */
    SNLRT_DECODE_CONTINUE = 2 /* text came before: the first token is not the beginning of a text,
                                 so that its leading space stays */
};
/* A stream of ids becoming text. Only whole UTF-8 characters come out; the bytes of an unfinished
 * one are held back. Broken sequences become U+FFFD. */
typedef struct SnlrtDecoder {
    const SnlrtTokenizer *tokenizer;
    unsigned flags;
    uint32_t strip_start; /* leading characters still to drop */
    uint32_t held_stop;   /* characters held back because the text may end after them */
    bool begun;           /* a token has been seen */
    uint8_t pending[4];   /* beginning of an unfinished character */
    unsigned n_pending;
} SnlrtDecoder;

void snlrt_decoder_init(SnlrtDecoder *decoder, const SnlrtTokenizer *tokenizer, unsigned flags);
/* Appends the text that `id` completes. Ids without a token add nothing. */
int snlrt_decoder_push(SnlrtDecoder *decoder, int32_t id, SnlrtText *out);
/* Ends the text: what was held back. The decoder must be initialised again to be used again. */
int snlrt_decoder_finish(SnlrtDecoder *decoder, SnlrtText *out);

/* All at once: the same text as pushing each id and finishing. */
int snlrt_tokenizer_decode(const SnlrtTokenizer *tokenizer, const int32_t *ids, size_t n,
                           unsigned flags, SnlrtText *out);

#endif
