/* runtime/tokenizer_encode.c -- text to ids, the whole way:
 *
 *     text -> valid UTF-8 -> cut at added tokens -> normalise -> cut at normalised added tokens
 *          -> pieces -> byte pair encoding -> template around it */
#include "runtime/tokenizer_internal.h"

#include "runtime/utf8.h"

#include <string.h>

typedef struct Encoder {
    SnlrtTokenizer *t;
    unsigned flags;
    SnlrtIds *ids;
    SnlrtText normalized;
    SnlrtTokPieces pieces;
    SnlrtTokBpe bpe;
} Encoder;

/* Copies the text with U+FFFD for what is broken. */
static bool repair(const char *text, size_t nbytes, SnlrtText *out)
{
    for (size_t at = 0, good = 0; at < nbytes; good = at) {
        uint32_t code;
        int n = 1;
        while (at < nbytes && (n = snlrt_utf8_decode(text + at, nbytes - at, &code)) > 0)
            at += (size_t)n;
        if (!snlrt_text_append(out, text + good, at - good)) return false;
        if (at == nbytes) break;
        if (!snlrt_text_append(out, SNLRT_UTF8_REPLACEMENT, 3)) return false;
        at = n == 0 ? nbytes : at + (size_t)-n;
    }
    return true;
}

static int encode_pieces(Encoder *e, const char *text, size_t nbytes, bool starts)
{
    int code = snlrt_pretokenize(e->t, text, nbytes, starts, &e->pieces);
    for (size_t i = 0; i < e->pieces.n && !code; i++)
        code = snlrt_tok_bpe(e->t, e->pieces.text.at + e->pieces.at[i].begin, e->pieces.at[i].n,
                             &e->bpe, e->ids);
    return code;
}

/* What lies between added tokens of the one or the other set. */
typedef int Between(Encoder *e, const char *text, size_t nbytes, bool starts);

static int cut_at_added(Encoder *e, const SnlrtTokAddedSet *set, const char *text, size_t nbytes,
                        bool starts, Between *between)
{
    size_t cut = 0, from = 0;
    SnlrtTokMatch match;
    while (snlrt_tok_added_next(e->t, set, e->flags, text, nbytes, cut, &from, &match)) {
        if (match.begin > cut) {
            int code = between(e, text + cut, match.begin - cut, starts && cut == 0);
            if (code) return code;
        }
        if (!snlrt_ids_push(e->ids, (uint32_t)match.id)) return snlrt_tok_no_memory(e->t);
        cut = match.end;
    }
    return cut < nbytes ? between(e, text + cut, nbytes - cut, starts && cut == 0) : 0;
}

static int encode_between_raw(Encoder *e, const char *text, size_t nbytes, bool starts)
{
    e->normalized.n = 0;
    int code = snlrt_tok_normalize(e->t, text, nbytes, &e->normalized);
    if (code) return code;
    return cut_at_added(e, &e->t->normalized_added, e->normalized.at, e->normalized.n, starts,
                        encode_pieces);
}

static int encode_text(Encoder *e, const char *text, size_t nbytes)
{
    SnlrtText repaired = {0};
    int code = 0;
    if (!snlrt_utf8_valid(text, nbytes)) {
        if (!repair(text, nbytes, &repaired)) code = snlrt_tok_no_memory(e->t);
        text = repaired.at;
        nbytes = repaired.n;
    }
    e->t->limit = 64 * nbytes + (1 << 20);
    if (!code) code = cut_at_added(e, &e->t->raw_added, text, nbytes, true, encode_between_raw);
    snlrt_text_deinit(&repaired);
    return code;
}

static int encode_template(Encoder *e, int section)
{
    if (!(e->flags & SNLRT_ENCODE_TEMPLATE)) return 0;
    for (uint32_t i = 0; i < e->t->section[section].n; i++)
        if (!snlrt_ids_push(e->ids, snlrt_tok_word(e->t, section, i)))
            return snlrt_tok_no_memory(e->t);
    return 0;
}

static int encode_bytes(SnlrtTokenizer *t, const char *text, size_t nbytes, SnlrtIds *ids)
{
    for (size_t i = 0; i < nbytes; i++)
        if (!snlrt_ids_push(ids, (uint8_t)text[i])) return snlrt_tok_no_memory(t);
    return 0;
}

int snlrt_tokenizer_encode(SnlrtTokenizer *t, const char *text, size_t nbytes, unsigned flags,
                           SnlrtIds *ids)
{
    if (t->kind == SNLRT_TOKENIZER_NONE)
        return snlrt_tok_fail(t, SNLRT_TOKEN_BAD_INPUT,
                              "the model has no tokenizer; give token ids");
    if (t->kind == SNLRT_TOKENIZER_BYTE) return encode_bytes(t, text, nbytes, ids);
    if (nbytes > INT32_MAX)
        return snlrt_tok_fail(t, SNLRT_TOKEN_BAD_INPUT, "the text is longer than 2 GiB");
    size_t n_before = ids->n;
    Encoder e = {.t = t, .flags = flags, .ids = ids};
    int code = encode_template(&e, SNLRT_TOK_PREFIX);
    if (!code) code = encode_text(&e, text, nbytes);
    if (!code) code = encode_template(&e, SNLRT_TOK_SUFFIX);
    snlrt_text_deinit(&e.normalized);
    snlrt_tok_pieces_deinit(&e.pieces);
    snlrt_tok_bpe_deinit(&e.bpe);
    if (code) ids->n = n_before;
    return code;
}
