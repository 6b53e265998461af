/* runtime/tokenizer.c -- opens a tokenizer blob: every offset, id and order that the other files
 * rely on is checked here, once. */
#include "runtime/tokenizer_internal.h"

#include "runtime/utf8.h"

#include <stdlib.h>
#include <string.h>

static const uint32_t element_bytes[SNLRT_TOK_SECTION_COUNT] = {
#define SECTION(NAME, size, content) size,
    SNLRT_TOK_SECTIONS(SECTION)
#undef SECTION
};

int snlrt_tok_fail(SnlrtTokenizer *t, int code, const char *message)
{
    t->error = message;
    return code;
}

int snlrt_tok_no_memory(SnlrtTokenizer *t)
{
    return snlrt_tok_fail(t, SNLRT_TOKEN_MACHINE, "out of memory in the tokenizer");
}

int snlrt_tok_too_long(SnlrtTokenizer *t)
{
    return snlrt_tok_fail(t, SNLRT_TOKEN_BAD_INPUT,
                          "the tokenizer's normaliser makes the text more than 64 times as long");
}

static int broken(SnlrtTokenizer *t, const char *message)
{
    return snlrt_tok_fail(t, SNLRT_TOKEN_BAD_INPUT, message);
}

SnlrtTokString snlrt_tok_text(const SnlrtTokenizer *t, uint32_t id)
{
    uint32_t begin = snlrt_tok_word(t, SNLRT_TOK_TEXT_AT, id);
    uint32_t end = snlrt_tok_word(t, SNLRT_TOK_TEXT_AT, id + 1);
    return (SnlrtTokString){(const char *)t->section[SNLRT_TOK_TEXT].at + begin, end - begin};
}

/* ---- checks -------------------------------------------------------------------------------- */

static int check_header(SnlrtTokenizer *t, const uint8_t *blob, size_t nbytes)
{
    if (nbytes < SNLRT_TOK_HEADER_BYTES ||
        memcmp(blob, SNLRT_TOK_MAGIC, SNLRT_TOK_MAGIC_BYTES) != 0)
        return broken(t, "tokenizer: no blob of this version");
    const uint8_t *words = blob + SNLRT_TOK_MAGIC_BYTES;
    uint32_t kind = snlrt_tok_u32(words + 4 * SNLRT_TOK_WORD_KIND);
    if (kind != SNLRT_TOK_KIND_BYTE && kind != SNLRT_TOK_KIND_BPE)
        return broken(t, "tokenizer: unknown kind");
    t->kind = kind == SNLRT_TOK_KIND_BYTE ? SNLRT_TOKENIZER_BYTE : SNLRT_TOKENIZER_BPE;
    t->n_ids = snlrt_tok_u32(words + 4 * SNLRT_TOK_WORD_N_IDS);
    t->unknown = snlrt_tok_u32(words + 4 * SNLRT_TOK_WORD_UNKNOWN);
    t->flags = snlrt_tok_u32(words + 4 * SNLRT_TOK_WORD_FLAGS);
    if (t->n_ids > SNLRT_TOK_MAX_IDS || (t->unknown != SNLRT_TOK_NONE && t->unknown >= t->n_ids))
        return broken(t, "tokenizer: ids out of range");
    words += 4 * SNLRT_TOK_WORDS;
    for (int i = 0; i < SNLRT_TOK_SECTION_COUNT; i++, words += 8) {
        uint32_t offset = snlrt_tok_u32(words), size = snlrt_tok_u32(words + 4);
        if (offset > nbytes || size > nbytes - offset || size % element_bytes[i] != 0)
            return broken(t, "tokenizer: a section reaches beyond the blob");
        t->section[i] = (SnlrtTokSpan){blob + offset, size / element_bytes[i]};
    }
    return 0;
}

/* n + 1 ascending indices from 0 to the length of `target`, none further than `step` from the
 * last. */
static bool is_index(const SnlrtTokenizer *t, int section, int target, uint32_t step)
{
    if (t->section[section].n != t->n_ids + 1) return false;
    uint32_t last = 0;
    for (uint32_t i = 0; i <= t->n_ids; i++) {
        uint32_t at = snlrt_tok_word(t, section, i);
        if (at < last || at - last > step || (i == 0 && at != 0)) return false;
        last = at;
    }
    return last == t->section[target].n;
}

/* Words of a section are ids (or NONE, where that may be). */
static bool are_ids(const SnlrtTokenizer *t, int section, bool none_may_be, uint32_t *out_none)
{
    uint32_t none = 0;
    for (uint32_t i = 0; i < t->section[section].n; i++) {
        uint32_t id = snlrt_tok_word(t, section, i);
        if (id == SNLRT_TOK_NONE && none_may_be)
            none++;
        else if (id >= t->n_ids)
            return false;
    }
    if (out_none) *out_none = none;
    return true;
}

static int check_vocabulary(SnlrtTokenizer *t)
{
    if (!is_index(t, SNLRT_TOK_TEXT_AT, SNLRT_TOK_TEXT, SNLRT_TOK_MAX_TOKEN_BYTES) ||
        t->section[SNLRT_TOK_MARKS].n != t->n_ids)
        return broken(t, "tokenizer: broken vocabulary");
    uint32_t slots = t->section[SNLRT_TOK_HASH].n, free_slots = 0;
    /* A free slot ends every search. */
    if (slots == 0 || (slots & (slots - 1)) != 0 ||
        !are_ids(t, SNLRT_TOK_HASH, true, &free_slots) || free_slots == 0)
        return broken(t, "tokenizer: broken index of the vocabulary");
    if (t->section[SNLRT_TOK_BYTES].n != 256 || !are_ids(t, SNLRT_TOK_BYTES, true, NULL))
        return broken(t, "tokenizer: broken table of bytes");
    if (!are_ids(t, SNLRT_TOK_PREFIX, false, NULL) || !are_ids(t, SNLRT_TOK_SUFFIX, false, NULL))
        return broken(t, "tokenizer: broken template");
    return 0;
}

static int check_merges(SnlrtTokenizer *t)
{
    if (!is_index(t, SNLRT_TOK_MERGE_AT, SNLRT_TOK_MERGES, UINT32_MAX))
        return broken(t, "tokenizer: broken merges");
    for (uint32_t left = 0; left < t->n_ids; left++) {
        uint32_t begin = snlrt_tok_word(t, SNLRT_TOK_MERGE_AT, left);
        uint32_t end = snlrt_tok_word(t, SNLRT_TOK_MERGE_AT, left + 1);
        for (uint32_t i = begin, last = 0; i < end; i++) {
            const uint8_t *merge = t->section[SNLRT_TOK_MERGES].at + 12 * (size_t)i;
            uint32_t right = snlrt_tok_u32(merge);
            if (right >= t->n_ids || snlrt_tok_u32(merge + 8) >= t->n_ids ||
                (i > begin && right <= last))
                return broken(t, "tokenizer: broken merges");
            last = right;
        }
    }
    return 0;
}

/* Texts of steps and added tokens go into the text that patterns run over, which must stay UTF-8:
 * PCRE2 is told not to check it again. */
static bool string_at(const SnlrtTokenizer *t, const uint8_t *words, SnlrtTokString *out)
{
    SnlrtTokSpan strings = t->section[SNLRT_TOK_STRINGS];
    uint32_t offset = snlrt_tok_u32(words), n = snlrt_tok_u32(words + 4);
    if (offset > strings.n || n > strings.n - offset || n > SNLRT_TOK_MAX_TOKEN_BYTES) return false;
    *out = (SnlrtTokString){(const char *)strings.at + offset, n};
    return snlrt_utf8_valid(out->at, n);
}

static bool step_fits(const SnlrtTokStep *step, int section)
{
    uint32_t code;
    switch (step->kind) {
    case SNLRT_TOK_PREPEND:
    case SNLRT_TOK_NFC:
        return section == SNLRT_TOK_NORMALIZE;
    case SNLRT_TOK_REPLACE:
        return true;
    case SNLRT_TOK_PREPEND_UNLESS:
        return section == SNLRT_TOK_PRETOKENIZE && step->a <= SNLRT_TOK_PREPEND_FIRST;
    case SNLRT_TOK_SPLIT_REGEX:
    case SNLRT_TOK_SPLIT_LITERAL:
        return section == SNLRT_TOK_PRETOKENIZE && step->a < SNLRT_TOK_BEHAVIOUR_COUNT &&
               step->b <= 1;
    case SNLRT_TOK_DROP_FIRST:
    case SNLRT_TOK_BYTE_TOKENS:
    case SNLRT_TOK_SEPARATE:
        return section == SNLRT_TOK_DECODE;
    case SNLRT_TOK_STRIP: /* s: one character */
        return section == SNLRT_TOK_DECODE && step->s.n > 0 &&
               snlrt_utf8_decode(step->s.at, step->s.n, &code) == (int)step->s.n;
    default:
        return false;
    }
}

static int read_steps(SnlrtTokenizer *t, int section, SnlrtTokSteps *out)
{
    SnlrtTokSpan span = t->section[section];
    if (span.n > SNLRT_TOK_MAX_STEPS) return broken(t, "tokenizer: too many steps");
    out->at = calloc(span.n ? span.n : 1, sizeof *out->at);
    if (!out->at) return snlrt_tok_no_memory(t);
    for (uint32_t i = 0; i < span.n; i++) {
        const uint8_t *words = span.at + 4 * SNLRT_TOK_STEP_WORDS * (size_t)i;
        SnlrtTokStep *step = &out->at[out->n++];
        step->kind = snlrt_tok_u32(words);
        step->a = snlrt_tok_u32(words + 4);
        step->b = snlrt_tok_u32(words + 8);
        if (!string_at(t, words + 12, &step->s) || !string_at(t, words + 20, &step->t) ||
            !step_fits(step, section))
            return broken(t, "tokenizer: broken step");
    }
    return 0;
}

static int check_added(SnlrtTokenizer *t)
{
    SnlrtTokSpan added = t->section[SNLRT_TOK_ADDED];
    SnlrtTokString text;
    for (uint32_t i = 0; i < added.n; i++) {
        const uint8_t *words = added.at + 16 * (size_t)i;
        if (snlrt_tok_u32(words) >= t->n_ids || !string_at(t, words + 8, &text) || text.n == 0)
            return broken(t, "tokenizer: broken added token");
    }
    return 0;
}

static bool is_scalar(uint32_t code)
{
    return code < 0xD800 || (code >= 0xE000 && code < 0x110000);
}

static int check_nfc(SnlrtTokenizer *t)
{
    SnlrtTokSpan classes = t->section[SNLRT_TOK_NFC_CLASS];
    for (uint32_t i = 0; i < classes.n; i++)
        if (snlrt_tok_u32(classes.at + 8 * (size_t)i + 4) > 255)
            return broken(t, "tokenizer: broken combining class");
    SnlrtTokSpan apart = t->section[SNLRT_TOK_NFC_DECOMPOSE];
    for (uint32_t i = 0; i < apart.n; i++) {
        const uint8_t *words = apart.at + 24 * (size_t)i;
        uint32_t n = snlrt_tok_u32(words + 4);
        if (n == 0 || n > 4) return broken(t, "tokenizer: broken decomposition");
        for (uint32_t k = 0; k < n; k++)
            if (!is_scalar(snlrt_tok_u32(words + 8 + 4 * (size_t)k)))
                return broken(t, "tokenizer: broken decomposition");
    }
    SnlrtTokSpan pairs = t->section[SNLRT_TOK_NFC_COMPOSE];
    for (uint32_t i = 0; i < pairs.n; i++)
        if (!is_scalar(snlrt_tok_u32(pairs.at + 12 * (size_t)i + 8)))
            return broken(t, "tokenizer: broken composition");
    return 0;
}

/* ---- life ---------------------------------------------------------------------------------- */

static int open_blob(SnlrtTokenizer *t, const uint8_t *blob, size_t nbytes)
{
    if (!blob || nbytes == 0) return 0;
    int code = check_header(t, blob, nbytes);
    if (code || t->kind == SNLRT_TOKENIZER_BYTE) return code;
    if ((code = check_vocabulary(t))) return code;
    if ((code = check_merges(t))) return code;
    if ((code = check_added(t))) return code;
    if ((code = check_nfc(t))) return code;
    if ((code = read_steps(t, SNLRT_TOK_NORMALIZE, &t->normalize))) return code;
    if ((code = read_steps(t, SNLRT_TOK_PRETOKENIZE, &t->pretokenize))) return code;
    if ((code = read_steps(t, SNLRT_TOK_DECODE, &t->decode))) return code;
    if ((code = snlrt_tok_added_create(t))) return code;
    return snlrt_pretokenize_create(t);
}

int snlrt_tokenizer_create(const void *blob, size_t nbytes, SnlrtTokenizer **out,
                           const char **out_error)
{
    *out = NULL;
    *out_error = "out of memory in the tokenizer";
    SnlrtTokenizer *t = calloc(1, sizeof *t);
    if (!t) return SNLRT_TOKEN_MACHINE;
    t->unknown = SNLRT_TOK_NONE;
    int code = open_blob(t, blob, nbytes);
    *out_error = t->error;
    if (code)
        snlrt_tokenizer_destroy(t);
    else
        *out = t;
    return code;
}

void snlrt_tokenizer_destroy(SnlrtTokenizer *t)
{
    if (!t) return;
    snlrt_pretokenize_destroy(t);
    snlrt_tok_added_destroy(t);
    free(t->normalize.at);
    free(t->pretokenize.at);
    free(t->decode.at);
    free(t);
}

SnlrtTokenizerKind snlrt_tokenizer_kind(const SnlrtTokenizer *t)
{
    return t->kind;
}

int32_t snlrt_tokenizer_n_ids(const SnlrtTokenizer *t)
{
    return (int32_t)t->n_ids;
}

bool snlrt_tokenizer_is_special(const SnlrtTokenizer *t, int32_t id)
{
    return t->kind == SNLRT_TOKENIZER_BPE && id >= 0 && (uint32_t)id < t->n_ids &&
           (snlrt_tok_marks(t, (uint32_t)id) & SNLRT_TOK_MARK_SPECIAL);
}

const char *snlrt_tokenizer_error(const SnlrtTokenizer *t)
{
    return t->error;
}
