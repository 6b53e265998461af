/* runtime/tokenizer_added.c -- added tokens ("<|im_end|>", runs of spaces, ...) written out in
 * the text.
 *
 * Those that are not "normalized" are looked for in the text as it came; the others, themselves
 * normalised, in the normalised text between the former. Leftmost match first, longest at its
 * place. */
#include "runtime/tokenizer_internal.h"

#include "runtime/utf8.h"

#include <stdlib.h>
#include <string.h>

/* ---- the sets ------------------------------------------------------------------------------ */

static int compare_text(SnlrtTokString a, SnlrtTokString b)
{
    uint32_t n = a.n < b.n ? a.n : b.n;
    int order = memcmp(a.at, b.at, n);
    if (order) return order;
    return a.n < b.n ? -1 : a.n > b.n;
}

/* Of two tokens with one text the ordinary one comes first, then the one with the lower id. */
static int compare_added(const void *left, const void *right)
{
    const SnlrtTokAdded *a = left, *b = right;
    int order = compare_text(a->text, b->text);
    if (order) return order;
    uint32_t a_special = a->marks & SNLRT_TOK_ADDED_SPECIAL;
    uint32_t b_special = b->marks & SNLRT_TOK_ADDED_SPECIAL;
    if (a_special != b_special) return a_special < b_special ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static void add_to_set(SnlrtTokAddedSet *set, SnlrtTokAdded added)
{
    if (added.text.n == 0) return;
    set->at[set->n++] = added;
    set->begins[(uint8_t)added.text.at[0]] = true;
}

/* Texts are views into one growing buffer: they are placed once the buffer has stopped moving. */
static int normalize_texts(SnlrtTokenizer *t, SnlrtTokAddedSet *set)
{
    size_t *begin = malloc((set->n + (size_t)1) * sizeof *begin);
    if (!begin) return snlrt_tok_no_memory(t);
    int code = 0;
    begin[0] = 0;
    for (uint32_t i = 0; i < set->n && !code; i++) {
        SnlrtTokString text = set->at[i].text;
        t->limit = 64 * (size_t)text.n + 4096;
        code = snlrt_tok_normalize(t, text.at, text.n, &set->normalized);
        begin[i + 1] = set->normalized.n;
    }
    SnlrtTokAddedSet placed = {.at = set->at, .normalized = set->normalized};
    for (uint32_t i = 0; i < set->n && !code; i++) {
        SnlrtTokAdded added = set->at[i];
        added.text =
            (SnlrtTokString){set->normalized.at + begin[i], (uint32_t)(begin[i + 1] - begin[i])};
        add_to_set(&placed, added);
    }
    free(begin);
    if (!code) *set = placed;
    return code;
}

int snlrt_tok_added_create(SnlrtTokenizer *t)
{
    SnlrtTokSpan span = t->section[SNLRT_TOK_ADDED];
    SnlrtTokAddedSet *sets[2] = {&t->raw_added, &t->normalized_added};
    for (int i = 0; i < 2; i++)
        if (!(sets[i]->at = calloc(span.n + (size_t)1, sizeof *sets[i]->at)))
            return snlrt_tok_no_memory(t);
    for (uint32_t i = 0; i < span.n; i++) {
        const uint8_t *words = span.at + 16 * (size_t)i;
        uint32_t marks = snlrt_tok_u32(words + 4);
        const char *strings = (const char *)t->section[SNLRT_TOK_STRINGS].at;
        SnlrtTokAdded added = {(int32_t)snlrt_tok_u32(words),
                               marks,
                               {strings + snlrt_tok_u32(words + 8), snlrt_tok_u32(words + 12)}};
        add_to_set(sets[marks & SNLRT_TOK_ADDED_NORMALIZED ? 1 : 0], added);
    }
    int code = normalize_texts(t, &t->normalized_added);
    if (code) return code;
    for (int i = 0; i < 2; i++) qsort(sets[i]->at, sets[i]->n, sizeof *sets[i]->at, compare_added);
    return 0;
}

void snlrt_tok_added_destroy(SnlrtTokenizer *t)
{
    free(t->raw_added.at);
    free(t->normalized_added.at);
    snlrt_text_deinit(&t->normalized_added.normalized);
}

/* ---- the search ---------------------------------------------------------------------------- */

static bool is_allowed(const SnlrtTokAdded *added, unsigned flags)
{
    return !(added->marks & SNLRT_TOK_ADDED_SPECIAL) || (flags & SNLRT_ENCODE_SPECIAL);
}

/* First of the tokens [low, high) whose byte `i` is at least `byte`; all share the bytes before. */
static uint32_t lower_bound(const SnlrtTokAddedSet *set, uint32_t low, uint32_t high, uint32_t i,
                            unsigned byte)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        SnlrtTokString text = set->at[middle].text;
        if (text.n > i && (uint8_t)text.at[i] >= byte)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The longest token at text[0, nbytes): the range of tokens that agree so far narrows byte by
 * byte. */
static const SnlrtTokAdded *longest_at(const SnlrtTokAddedSet *set, const char *text, size_t nbytes)
{
    const SnlrtTokAdded *best = NULL;
    uint32_t low = 0, high = set->n;
    for (uint32_t i = 0; i < nbytes && low < high; i++) {
        uint8_t byte = (uint8_t)text[i];
        low = lower_bound(set, low, high, i, byte);
        high = lower_bound(set, low, high, i, byte + 1u);
        /* The shortest of the range comes first; of equal ones the first counts. */
        if (low < high && set->at[low].text.n == i + 1) {
            best = &set->at[low];
            while (low < high && set->at[low].text.n == i + 1) low++;
        }
    }
    return best;
}

/* Begin of the last character of text[0, n), n > 0. */
static size_t last_character(const char *text, size_t n)
{
    size_t at = n - 1;
    while (at > 0 && n - at < 4 && ((uint8_t)text[at] & 0xC0) == 0x80) at--;
    return at;
}

static bool stands_alone(const SnlrtTokenizer *t, const char *text, size_t nbytes, size_t begin,
                         size_t end)
{
    if (begin > 0) {
        size_t before = last_character(text, begin);
        if (snlrt_tok_is_word(t, text + before, begin - before)) return false;
    }
    return end == nbytes || !snlrt_tok_is_word(t, text + end, nbytes - end);
}

static size_t spaces_before(const char *text, size_t cut, size_t at)
{
    while (at > cut) {
        uint32_t code;
        size_t before = last_character(text, at);
        if (before < cut || snlrt_utf8_decode(text + before, at - before, &code) <= 0 ||
            !snlrt_utf8_is_space(code))
            break;
        at = before;
    }
    return at;
}

static size_t spaces_after(const char *text, size_t nbytes, size_t at)
{
    while (at < nbytes) {
        uint32_t code;
        int n = snlrt_utf8_decode(text + at, nbytes - at, &code);
        if (n <= 0 || !snlrt_utf8_is_space(code)) break;
        at += (size_t)n;
    }
    return at;
}

bool snlrt_tok_added_next(const SnlrtTokenizer *t, const SnlrtTokAddedSet *set, unsigned flags,
                          const char *text, size_t nbytes, size_t cut, size_t *inout_from,
                          SnlrtTokMatch *out)
{
    size_t from = *inout_from;
    for (; set->n && from < nbytes; from++) {
        if (!set->begins[(uint8_t)text[from]]) continue;
        const SnlrtTokAdded *added = longest_at(set, text + from, nbytes - from);
        if (!added) continue;
        size_t begin = from, end = from + added->text.n;
        *inout_from = end;
        bool alone = !(added->marks & SNLRT_TOK_ADDED_SINGLE_WORD) ||
                     stands_alone(t, text, nbytes, begin, end);
        if (!alone || !is_allowed(added, flags)) {
            from = end - 1; /* what was passed over is not looked into again */
            continue;
        }
        if (added->marks & SNLRT_TOK_ADDED_LSTRIP) begin = spaces_before(text, cut, begin);
        if (added->marks & SNLRT_TOK_ADDED_RSTRIP) end = spaces_after(text, nbytes, end);
        *out = (SnlrtTokMatch){begin, end, added->id};
        return true;
    }
    *inout_from = nbytes;
    return false;
}
