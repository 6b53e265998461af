/* runtime/tokenizer_decode.c -- ids to text, one id at a time.
 *
 *     id -> bytes of the token -> whole characters -> leading and trailing strip -> text
 *
 * With byte tokens (<0xHH>) a broken sequence gives one U+FFFD for each of its bytes, in a
 * byte-level vocabulary one for each maximal broken sequence. Characters that are whole before a
 * broken one in the same run of byte tokens are kept: a stream cannot take them back. */
#include "runtime/tokenizer_internal.h"

#include "runtime/utf8.h"

#include <string.h>

enum { MAX_TOKEN_TEXT = 1 << 22 };

static const SnlrtTokStep *find_step(const SnlrtTokenizer *t, uint32_t kind)
{
    for (uint32_t i = 0; i < t->decode.n; i++)
        if (t->decode.at[i].kind == kind) return &t->decode.at[i];
    return NULL;
}

void snlrt_decoder_init(SnlrtDecoder *d, const SnlrtTokenizer *tokenizer, unsigned flags)
{
    *d = (SnlrtDecoder){.tokenizer = tokenizer, .flags = flags};
    d->begun = flags & SNLRT_DECODE_CONTINUE;
    const SnlrtTokStep *strip = find_step(tokenizer, SNLRT_TOK_STRIP);
    if (strip && !d->begun) d->strip_start = strip->a;
}

/* ---- characters out ------------------------------------------------------------------------ */

static bool put_held(SnlrtDecoder *d, const SnlrtTokStep *strip, uint32_t keep, SnlrtText *out)
{
    for (; d->held_stop > keep; d->held_stop--)
        if (!snlrt_text_append(out, strip->s.at, strip->s.n)) return false;
    return true;
}

/* Strips `s` at the beginning; at the end by holding back as many as might have to go. */
static bool put_character(SnlrtDecoder *d, const char *text, size_t n, SnlrtText *out)
{
    const SnlrtTokStep *strip = find_step(d->tokenizer, SNLRT_TOK_STRIP);
    if (!strip) return snlrt_text_append(out, text, n);
    bool same = n == strip->s.n && memcmp(text, strip->s.at, n) == 0;
    if (same && d->strip_start) {
        d->strip_start--;
        return true;
    }
    d->strip_start = 0;
    if (same && strip->b) {
        d->held_stop++;
        return put_held(d, strip, strip->b, out);
    }
    return put_held(d, strip, 0, out) && snlrt_text_append(out, text, n);
}

static bool put_broken(SnlrtDecoder *d, unsigned n_bytes, SnlrtText *out)
{
    bool each = find_step(d->tokenizer, SNLRT_TOK_BYTE_TOKENS) != NULL;
    for (unsigned i = 0; i < (each ? n_bytes : 1); i++)
        if (!put_character(d, SNLRT_UTF8_REPLACEMENT, 3, out)) return false;
    return true;
}

static bool put_pending(SnlrtDecoder *d, SnlrtText *out)
{
    bool ok = d->n_pending == 0 || put_broken(d, d->n_pending, out);
    d->n_pending = 0;
    return ok;
}

/* Takes bytes one by one into `pending` until they are a character or cannot become one. */
static bool put_bytes(SnlrtDecoder *d, const char *bytes, size_t n, SnlrtText *out)
{
    for (size_t i = 0; i < n; i++) {
        d->pending[d->n_pending++] = (uint8_t)bytes[i];
        while (d->n_pending) {
            uint32_t code;
            int length = snlrt_utf8_decode((const char *)d->pending, d->n_pending, &code);
            if (length == 0) break;
            unsigned used = (unsigned)(length > 0 ? length : -length);
            bool ok = length > 0 ? put_character(d, (const char *)d->pending, used, out)
                                 : put_broken(d, used, out);
            if (!ok) return false;
            d->n_pending -= used;
            memmove(d->pending, d->pending + used, d->n_pending);
        }
    }
    return true;
}

/* ---- tokens -------------------------------------------------------------------------------- */

/* The per-token steps on a token's text, into `text`. */
static bool token_text(const SnlrtDecoder *d, uint32_t id, SnlrtText *text)
{
    const SnlrtTokenizer *t = d->tokenizer;
    SnlrtTokString token = snlrt_tok_text(t, id);
    SnlrtText next = {0};
    bool ok = snlrt_text_append(text, token.at, token.n);
    for (uint32_t i = 0; i < t->decode.n && ok; i++) {
        const SnlrtTokStep *step = &t->decode.at[i];
        bool drops = step->kind == SNLRT_TOK_DROP_FIRST && !d->begun;
        if (!drops && step->kind != SNLRT_TOK_REPLACE) continue;
        next.n = 0;
        SnlrtTokString into = drops ? (SnlrtTokString){"", 0} : step->t;
        ok = snlrt_text_replace(&next, text->at, text->n, step->s, into, MAX_TOKEN_TEXT);
        SnlrtText swap = *text;
        *text = next;
        next = swap;
    }
    snlrt_text_deinit(&next);
    return ok;
}

static bool put_token(SnlrtDecoder *d, uint32_t id, SnlrtText *out)
{
    const SnlrtTokenizer *t = d->tokenizer;
    const SnlrtTokStep *separate = find_step(t, SNLRT_TOK_SEPARATE);
    if (separate && d->begun && !put_bytes(d, separate->s.at, separate->s.n, out)) return false;
    if (t->decode.n == 0 || (t->flags & SNLRT_TOK_BYTE_LEVEL)) {
        SnlrtTokString token = snlrt_tok_text(t, id);
        return put_bytes(d, token.at, token.n, out);
    }
    SnlrtText text = {0};
    bool ok = token_text(d, id, &text) && put_pending(d, out) && put_bytes(d, text.at, text.n, out);
    snlrt_text_deinit(&text);
    return ok;
}

/* The value of two hexadecimal digits, -1 if they are none. */
static int hex_byte(const char *digits)
{
    int value = 0;
    for (int i = 0; i < 2; i++) {
        char c = digits[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                           : -1;
        if (digit < 0) return -1;
        value = 16 * value + digit;
    }
    return value;
}

/* The byte that token `id` stands for, -1: it is an ordinary token. */
static int byte_of_token(const SnlrtTokenizer *t, uint32_t id)
{
    if (!(snlrt_tok_marks(t, id) & SNLRT_TOK_MARK_BYTE) || !find_step(t, SNLRT_TOK_BYTE_TOKENS))
        return -1;
    SnlrtTokString text = snlrt_tok_text(t, id);
    return text.n == 6 ? hex_byte(text.at + 3) : -1;
}

int snlrt_decoder_push(SnlrtDecoder *d, int32_t id, SnlrtText *out)
{
    const SnlrtTokenizer *t = d->tokenizer;
    if (id < 0 || (uint32_t)id >= t->n_ids) return 0;
    uint32_t token = (uint32_t)id;
    bool ok;
    if (t->kind == SNLRT_TOKENIZER_BYTE) {
        char byte = (char)token;
        ok = token > 255 || put_bytes(d, &byte, 1, out);
    } else {
        uint32_t marks = snlrt_tok_marks(t, token);
        if (!(marks & SNLRT_TOK_MARK_PRESENT) ||
            ((marks & SNLRT_TOK_MARK_SPECIAL) && !(d->flags & SNLRT_DECODE_SPECIAL)))
            return 0;
        int value = byte_of_token(t, token);
        char byte = (char)value;
        ok = value >= 0 ? put_bytes(d, &byte, 1, out) : put_token(d, token, out);
    }
    d->begun = true;
    return ok ? 0 : SNLRT_TOKEN_MACHINE;
}

int snlrt_decoder_finish(SnlrtDecoder *d, SnlrtText *out)
{
    bool ok = put_pending(d, out);
    const SnlrtTokStep *strip = find_step(d->tokenizer, SNLRT_TOK_STRIP);
    if (strip) d->held_stop = d->held_stop > strip->b ? d->held_stop - strip->b : 0;
    if (strip) ok = ok && put_held(d, strip, 0, out);
    return ok ? 0 : SNLRT_TOKEN_MACHINE;
}

int snlrt_tokenizer_decode(const SnlrtTokenizer *t, const int32_t *ids, size_t n, unsigned flags,
                           SnlrtText *out)
{
    SnlrtDecoder decoder;
    snlrt_decoder_init(&decoder, t, flags);
    for (size_t i = 0; i < n; i++) {
        int code = snlrt_decoder_push(&decoder, ids[i], out);
        if (code) return code;
    }
    return snlrt_decoder_finish(&decoder, out);
}
