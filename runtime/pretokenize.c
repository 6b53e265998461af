/* runtime/pretokenize.c -- the PRETOKENIZE steps: a text becomes pieces that are encoded one by
 * one.
 *
 * Patterns run through PCRE2, with its just-in-time compiler where the machine allows it; a
 * pattern that needs more steps than the limit on some text makes encoding fail instead of
 * hanging. Look-around does not see beyond the piece that a step splits. */
#include "runtime/tokenizer_internal.h"

#include "runtime/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

enum { MATCH_LIMIT = 10 * 1000 * 1000, HEAP_LIMIT_KIB = 256 * 1024 };

/* \w of Unicode: Alphabetic, marks, digits, connectors, joiners. */
static const char word_pattern[] =
    "[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200C}\\x{200D}\\x{24B6}-\\x{24E9}]";

/* ---- patterns ------------------------------------------------------------------------------ */

/* In the patterns' own dialect ^ and $ match at every line. */
static pcre2_code *compile(const char *pattern, size_t nbytes)
{
    int error;
    PCRE2_SIZE place;
    pcre2_code *regex = pcre2_compile(
        (PCRE2_SPTR)pattern, nbytes,
        PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &place, NULL);
    if (regex)
        pcre2_jit_compile(regex, PCRE2_JIT_COMPLETE); /* without it matching is only slower */
    return regex;
}

static bool wants_single_words(const SnlrtTokenizer *t)
{
    for (uint32_t i = 0; i < t->raw_added.n; i++)
        if (t->raw_added.at[i].marks & SNLRT_TOK_ADDED_SINGLE_WORD) return true;
    for (uint32_t i = 0; i < t->normalized_added.n; i++)
        if (t->normalized_added.at[i].marks & SNLRT_TOK_ADDED_SINGLE_WORD) return true;
    return false;
}

static int create_matching(SnlrtTokenizer *t)
{
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    t->match_context = context;
    t->match = pcre2_match_data_create(1, NULL);
    if (!context || !t->match) return snlrt_tok_no_memory(t);
    pcre2_set_match_limit(context, MATCH_LIMIT);
    pcre2_set_heap_limit(context, HEAP_LIMIT_KIB);
    return 0;
}

int snlrt_pretokenize_create(SnlrtTokenizer *t)
{
    bool any = wants_single_words(t);
    if (any && !(t->word_character = compile(word_pattern, sizeof word_pattern - 1)))
        return snlrt_tok_no_memory(t);
    for (uint32_t i = 0; i < t->pretokenize.n; i++) {
        SnlrtTokStep *step = &t->pretokenize.at[i];
        if (step->kind != SNLRT_TOK_SPLIT_REGEX) continue;
        any = true;
        if (!(step->regex = compile(step->s.at, step->s.n)))
            return snlrt_tok_fail(t, SNLRT_TOKEN_BAD_INPUT,
                                  "tokenizer: a pattern of the pre-tokenizer does not compile");
    }
    return any ? create_matching(t) : 0;
}

void snlrt_pretokenize_destroy(SnlrtTokenizer *t)
{
    for (uint32_t i = 0; i < t->pretokenize.n; i++) pcre2_code_free(t->pretokenize.at[i].regex);
    pcre2_code_free(t->word_character);
    pcre2_match_data_free(t->match);
    pcre2_match_context_free(t->match_context);
}

/* The next match from `from`: 1 and its range, 0: none, -1: the limits were not enough. */
static int next_match(const SnlrtTokenizer *t, const pcre2_code *regex, const char *text,
                      size_t nbytes, size_t from, size_t *out_begin, size_t *out_end)
{
    pcre2_match_data *data = t->match;
    int found = pcre2_match(regex, (PCRE2_SPTR)text, nbytes, from, PCRE2_NO_UTF_CHECK, data,
                            t->match_context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT)
        found = pcre2_match(regex, (PCRE2_SPTR)text, nbytes, from,
                            PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, t->match_context);
    if (found == PCRE2_ERROR_NOMATCH) return 0;
    if (found < 0) return -1;
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(data);
    *out_begin = range[0];
    *out_end = range[1];
    return range[0] >= from && range[1] >= range[0] ? 1 : -1; /* \K could turn the range round */
}

bool snlrt_tok_is_word(const SnlrtTokenizer *t, const char *text, size_t nbytes)
{
    uint32_t code;
    size_t begin, end;
    int n = nbytes ? snlrt_utf8_decode(text, nbytes, &code) : 0;
    return n > 0 && next_match(t, t->word_character, text, (size_t)n, 0, &begin, &end) == 1;
}

/* ---- pieces -------------------------------------------------------------------------------- */

void snlrt_tok_pieces_deinit(SnlrtTokPieces *pieces)
{
    snlrt_text_deinit(&pieces->text);
    free(pieces->at);
    *pieces = (SnlrtTokPieces){0};
}

static bool push_piece(SnlrtTokPieces *pieces, size_t begin, size_t n)
{
    void *at = pieces->at;
    bool ok = snlrt_tok_reserve(&at, &pieces->cap, pieces->n + 1, sizeof *pieces->at);
    pieces->at = at;
    if (ok) pieces->at[pieces->n++] = (SnlrtTokPiece){begin, n};
    return ok;
}

/* Steps that change the text write it anew, piece by piece. */
static int rewrite(SnlrtTokenizer *t, const SnlrtTokStep *step, bool starts,
                   const SnlrtTokPieces *in, SnlrtTokPieces *out)
{
    for (size_t i = 0; i < in->n; i++) {
        const char *piece = in->text.at + in->at[i].begin;
        size_t n = in->at[i].n, begin = out->text.n;
        bool ok = true;
        if (step->kind == SNLRT_TOK_REPLACE) {
            ok = snlrt_text_replace(&out->text, piece, n, step->s, step->t, t->limit);
        } else {
            bool here = step->a == SNLRT_TOK_PREPEND_ALWAYS || (starts && in->at[i].begin == 0);
            bool has = n >= step->s.n && memcmp(piece, step->s.at, step->s.n) == 0;
            if (here && !has) ok = snlrt_text_append(&out->text, step->s.at, step->s.n);
            ok = ok && snlrt_text_append(&out->text, piece, n);
        }
        if (ok && out->text.n > begin) ok = push_piece(out, begin, out->text.n - begin);
        if (!ok) return snlrt_tok_no_memory(t);
        if (out->text.n > t->limit) return snlrt_tok_too_long(t);
    }
    return 0;
}

/* ---- splits -------------------------------------------------------------------------------- */

/* Collects the parts of one piece. Parts come in order and alternate between matches and the
 * rest, with two matches in a row where nothing lies between; `behaviour` says which of them grow
 * together. */
typedef struct Splitter {
    const SnlrtTokStep *step;
    SnlrtTokPieces *out;
    size_t first;      /* number of pieces of `out` before this one's */
    bool last_matched; /* the part before was a match */
    bool open_match;   /* MERGED_WITH_NEXT: the last piece is a match waiting for the rest */
} Splitter;

static bool emit(Splitter *s, size_t begin, size_t n, bool grow)
{
    if (grow && s->out->n > s->first) {
        SnlrtTokPiece *last = &s->out->at[s->out->n - 1];
        last->n = begin + n - last->begin;
        return true;
    }
    return push_piece(s->out, begin, n);
}

static bool add_part(Splitter *s, size_t begin, size_t n, bool match)
{
    if (s->step->b) match = !match;
    bool last = s->last_matched, ok = true;
    s->last_matched = match;
    switch (s->step->a) {
    case SNLRT_TOK_REMOVED:
        return match || emit(s, begin, n, false);
    case SNLRT_TOK_MERGED_WITH_PREVIOUS:
        return emit(s, begin, n, match && !last);
    case SNLRT_TOK_CONTIGUOUS:
        return emit(s, begin, n, match == last);
    case SNLRT_TOK_MERGED_WITH_NEXT:
        ok = emit(s, begin, n, !match && s->open_match);
        s->open_match = match;
        return ok;
    default:
        return emit(s, begin, n, false);
    }
}

static int find_part(const SnlrtTokenizer *t, const SnlrtTokStep *step, const char *text, size_t n,
                     size_t from, size_t *out_begin, size_t *out_end)
{
    if (step->kind == SNLRT_TOK_SPLIT_REGEX)
        return next_match(t, step->regex, text, n, from, out_begin, out_end);
    *out_begin = snlrt_text_find(text, n, from, step->s);
    *out_end = *out_begin + step->s.n;
    return *out_begin < n;
}

/* An empty match right where the last match ended does not count; the search goes on one character
 * further. Any other empty match still cuts the rest in two. */
static int split_piece(SnlrtTokenizer *t, Splitter *s, SnlrtTokPiece piece, const char *base)
{
    const char *text = base + piece.begin;
    size_t done = 0, from = 0, last_end = SIZE_MAX;
    while (from <= piece.n) {
        size_t begin, end;
        int found = find_part(t, s->step, text, piece.n, from, &begin, &end);
        if (found < 0)
            return snlrt_tok_fail(t, SNLRT_TOKEN_BAD_INPUT,
                                  "the tokenizer's pattern needs too many steps on this text");
        if (!found) break;
        if (begin == end && end == last_end) {
            uint32_t code;
            int n = from < piece.n ? snlrt_utf8_decode(text + from, piece.n - from, &code) : 1;
            from += n > 0 ? (size_t)n : 1;
            continue;
        }
        if (begin > done && !add_part(s, piece.begin + done, begin - done, false))
            return snlrt_tok_no_memory(t);
        if (!add_part(s, piece.begin + begin, end - begin, true)) return snlrt_tok_no_memory(t);
        done = from = last_end = end;
    }
    if (done < piece.n && !add_part(s, piece.begin + done, piece.n - done, false))
        return snlrt_tok_no_memory(t);
    return 0;
}

static int split(SnlrtTokenizer *t, const SnlrtTokStep *step, const SnlrtTokPieces *in,
                 SnlrtTokPieces *out)
{
    if (!snlrt_text_append(&out->text, in->text.at, in->text.n)) return snlrt_tok_no_memory(t);
    for (size_t i = 0; i < in->n; i++) {
        Splitter splitter = {.step = step, .out = out, .first = out->n};
        int code = split_piece(t, &splitter, in->at[i], out->text.at);
        if (code) return code;
        size_t kept = splitter.first;
        for (size_t k = splitter.first; k < out->n; k++)
            if (out->at[k].n) out->at[kept++] = out->at[k];
        out->n = kept;
    }
    return 0;
}

int snlrt_pretokenize(SnlrtTokenizer *t, const char *text, size_t nbytes, bool starts,
                      SnlrtTokPieces *out)
{
    SnlrtTokPieces other = {0};
    int code = 0;
    out->n = out->text.n = 0;
    if (!snlrt_text_append(&out->text, text, nbytes) || (nbytes && !push_piece(out, 0, nbytes)))
        code = snlrt_tok_no_memory(t);
    for (uint32_t i = 0; i < t->pretokenize.n && !code; i++) {
        const SnlrtTokStep *step = &t->pretokenize.at[i];
        SnlrtTokPieces in = *out;
        *out = other;
        other = in;
        out->n = out->text.n = 0;
        bool changes = step->kind == SNLRT_TOK_REPLACE || step->kind == SNLRT_TOK_PREPEND_UNLESS;
        code = changes ? rewrite(t, step, starts, &in, out) : split(t, step, &in, out);
    }
    snlrt_tok_pieces_deinit(&other);
    return code;
}
