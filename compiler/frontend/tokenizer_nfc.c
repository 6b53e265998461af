/* compiler/frontend/tokenizer_nfc.c -- the Unicode data of canonical composition, asked of
 * utf8proc code point by code point. Only tokenizers with an NFC normalizer carry it, so that the
 * runtime needs no Unicode library. Hangul is left out: it is computed. */
#include "compiler/frontend/tokenizer_desc.h"

#include <utf8proc.h>

enum { N_CODE_POINTS = 0x110000, SURROGATES = 0xD800, AFTER_SURROGATES = 0xE000 };

static bool is_hangul(utf8proc_int32_t code)
{
    return code >= 0xAC00 && code < 0xAC00 + 11172;
}

/* The single code point that `codes` compose to, or 0. */
static utf8proc_int32_t composed(const utf8proc_int32_t *codes, int n)
{
    utf8proc_int32_t buffer[4];
    for (int i = 0; i < n; i++) buffer[i] = codes[i];
    utf8proc_ssize_t left = utf8proc_normalize_utf32(buffer, n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    return left == 1 ? buffer[0] : 0;
}

static void push_words(SnlArena *arena, SnlTokWords *words, const uint32_t *row, size_t n)
{
    for (size_t i = 0; i < n; i++) SNL_PUSH(arena, words, row[i]);
}

typedef struct Pair {
    uint32_t first, second, whole;
} Pair;
typedef SnlVec(Pair) Pairs;

/* A composite's decomposition is another code point and one mark; the pair composes back unless
 * the composite is excluded from composition. */
static void push_pair(SnlArena *arena, Pairs *pairs, utf8proc_int32_t code,
                      const utf8proc_int32_t *parts, int n)
{
    if (n < 2) return;
    utf8proc_int32_t first = n == 2 ? parts[0] : composed(parts, n - 1);
    if (!first) return;
    utf8proc_int32_t two[2] = {first, parts[n - 1]};
    if (composed(two, 2) != code) return;
    Pair pair = {(uint32_t)first, (uint32_t)parts[n - 1], (uint32_t)code};
    SNL_PUSH(arena, pairs, pair);
}

static int compare_pairs(const void *left, const void *right)
{
    const Pair *a = left, *b = right;
    if (a->first != b->first) return a->first < b->first ? -1 : 1;
    return a->second < b->second ? -1 : a->second > b->second;
}

void snl_tok_nfc_tables(SnlArena *arena, SnlTokWords *classes, SnlTokWords *decompose,
                        SnlTokWords *compose)
{
    Pairs pairs = {0};
    for (utf8proc_int32_t code = 0xC0; code < N_CODE_POINTS; code++) {
        if ((code >= SURROGATES && code < AFTER_SURROGATES) || is_hangul(code)) continue;
        const utf8proc_property_t *property = utf8proc_get_property(code);
        if (property->combining_class > 0) {
            uint32_t row[2] = {(uint32_t)code, (uint32_t)property->combining_class};
            push_words(arena, classes, row, 2);
        }
        utf8proc_int32_t parts[4] = {0};
        int boundary = 0;
        utf8proc_ssize_t n = utf8proc_decompose_char(
            code, parts, 4, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &boundary);
        if (n < 1 || n > 4 || (n == 1 && parts[0] == code)) continue;
        uint32_t row[6] = {(uint32_t)code,     (uint32_t)n,        (uint32_t)parts[0],
                           (uint32_t)parts[1], (uint32_t)parts[2], (uint32_t)parts[3]};
        push_words(arena, decompose, row, 6);
        push_pair(arena, &pairs, code, parts, (int)n);
    }
    qsort(pairs.at, pairs.n, sizeof *pairs.at, compare_pairs);
    for (size_t i = 0; i < pairs.n; i++) {
        uint32_t row[3] = {pairs.at[i].first, pairs.at[i].second, pairs.at[i].whole};
        push_words(arena, compose, row, 3);
    }
}
