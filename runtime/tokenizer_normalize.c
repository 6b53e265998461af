/* runtime/tokenizer_normalize.c -- the NORMALIZE steps; NFC from the tables in the blob.
 *
 * NFC as in Unicode standard annex 15: decompose canonically, order the marks of each run by
 * combining class, compose. Linear in the text, whatever the text. The tables hold only what the
 * Unicode data says for canonical forms; Hangul is computed. */
#include "runtime/tokenizer_internal.h"

#include "runtime/utf8.h"

#include <stdlib.h>
#include <string.h>

/* ---- tables -------------------------------------------------------------------------------- */

/* Row of a section whose first `n_keys` words equal `key` (ascending), or NULL. */
static const uint8_t *find_row(SnlrtTokSpan span, uint32_t row_bytes, const uint32_t *key,
                               int n_keys)
{
    uint32_t low = 0, high = span.n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const uint8_t *row = span.at + row_bytes * (size_t)middle;
        int order = 0;
        for (int i = 0; i < n_keys && order == 0; i++) {
            uint32_t found = snlrt_tok_u32(row + 4 * i);
            order = found < key[i] ? -1 : found > key[i];
        }
        if (order == 0) return row;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static uint8_t combining_class(const SnlrtTokenizer *t, uint32_t code)
{
    if (code < 0x300) return 0;
    const uint8_t *row = find_row(t->section[SNLRT_TOK_NFC_CLASS], 8, &code, 1);
    return row ? (uint8_t)snlrt_tok_u32(row + 4) : 0;
}

/* Hangul syllables: S = L x V x T (Unicode standard, 3.12). */
enum {
    HANGUL_S = 0xAC00,
    HANGUL_L = 0x1100,
    HANGUL_V = 0x1161,
    HANGUL_T = 0x11A7,
    HANGUL_N_L = 19,
    HANGUL_N_V = 21,
    HANGUL_N_T = 28,
    HANGUL_N_S = HANGUL_N_L * HANGUL_N_V * HANGUL_N_T
};

/* Full canonical decomposition; number of code points. */
static unsigned decompose(const SnlrtTokenizer *t, uint32_t code, uint32_t out[4])
{
    if (code >= HANGUL_S && code < HANGUL_S + HANGUL_N_S) {
        uint32_t s = code - HANGUL_S, tail = s % HANGUL_N_T;
        out[0] = HANGUL_L + s / (HANGUL_N_V * HANGUL_N_T);
        out[1] = HANGUL_V + s / HANGUL_N_T % HANGUL_N_V;
        out[2] = HANGUL_T + tail;
        return tail ? 3 : 2;
    }
    const uint8_t *row =
        code < 0xC0 ? NULL : find_row(t->section[SNLRT_TOK_NFC_DECOMPOSE], 24, &code, 1);
    if (!row) {
        out[0] = code;
        return 1;
    }
    unsigned n = snlrt_tok_u32(row + 4);
    for (unsigned i = 0; i < n; i++) out[i] = snlrt_tok_u32(row + 8 + 4 * i);
    return n;
}

/* The primary composite of two code points, or NONE. */
static uint32_t compose(const SnlrtTokenizer *t, uint32_t first, uint32_t second)
{
    if (first >= HANGUL_L && first < HANGUL_L + HANGUL_N_L && second >= HANGUL_V &&
        second < HANGUL_V + HANGUL_N_V)
        return HANGUL_S + ((first - HANGUL_L) * HANGUL_N_V + (second - HANGUL_V)) * HANGUL_N_T;
    if (first >= HANGUL_S && first < HANGUL_S + HANGUL_N_S &&
        (first - HANGUL_S) % HANGUL_N_T == 0 && second > HANGUL_T && second < HANGUL_T + HANGUL_N_T)
        return first + (second - HANGUL_T);
    uint32_t key[2] = {first, second};
    const uint8_t *row = find_row(t->section[SNLRT_TOK_NFC_COMPOSE], 12, key, 2);
    return row ? snlrt_tok_u32(row + 8) : SNLRT_TOK_NONE;
}

/* ---- NFC ----------------------------------------------------------------------------------- */

typedef struct Codes {
    uint32_t *at;
    uint8_t *ccc;
    size_t n, cap, ccc_cap;
} Codes;

static bool push_code(Codes *codes, uint32_t code, uint8_t ccc)
{
    void *at = codes->at, *classes = codes->ccc;
    bool ok = snlrt_tok_reserve(&at, &codes->cap, codes->n + 1, sizeof *codes->at);
    ok = snlrt_tok_reserve(&classes, &codes->ccc_cap, codes->n + 1, 1) && ok;
    codes->at = at;
    codes->ccc = classes;
    if (!ok) return false;
    codes->at[codes->n] = code;
    codes->ccc[codes->n++] = ccc;
    return true;
}

static bool decompose_all(const SnlrtTokenizer *t, const char *text, size_t nbytes, Codes *out)
{
    for (size_t at = 0; at < nbytes;) {
        uint32_t code, parts[4];
        int n = snlrt_utf8_decode(text + at, nbytes - at, &code);
        if (n <= 0) { /* callers give valid UTF-8; a broken byte would become U+FFFD */
            code = 0xFFFD;
            n = 1;
        }
        unsigned n_parts = decompose(t, code, parts);
        for (unsigned i = 0; i < n_parts; i++)
            if (!push_code(out, parts[i], combining_class(t, parts[i]))) return false;
        at += (size_t)n;
    }
    return true;
}

/* Stable counting sort of one run of marks by class. */
static void sort_marks(uint32_t *codes, uint8_t *ccc, size_t n, uint32_t *scratch, uint8_t *classes)
{
    size_t place[256] = {0};
    for (size_t i = 0; i < n; i++) place[ccc[i]]++;
    for (size_t c = 0, sum = 0; c < 256; c++) {
        size_t count = place[c];
        place[c] = sum;
        sum += count;
    }
    for (size_t i = 0; i < n; i++) {
        scratch[place[ccc[i]]] = codes[i];
        classes[place[ccc[i]]++] = ccc[i];
    }
    memcpy(codes, scratch, n * sizeof *codes);
    memcpy(ccc, classes, n);
}

static bool order_marks(Codes *codes)
{
    uint32_t *scratch = NULL;
    uint8_t *classes = NULL;
    bool ok = true;
    for (size_t i = 0; i < codes->n && ok;) {
        size_t end = i;
        bool sorted = true;
        for (; end < codes->n && codes->ccc[end] != 0; end++)
            if (end > i && codes->ccc[end] < codes->ccc[end - 1]) sorted = false;
        if (!sorted && !scratch) {
            scratch = malloc(codes->n * sizeof *scratch);
            classes = malloc(codes->n);
            ok = scratch && classes;
        }
        if (!sorted && ok) sort_marks(codes->at + i, codes->ccc + i, end - i, scratch, classes);
        i = end > i ? end : i + 1;
    }
    free(scratch);
    free(classes);
    return ok;
}

static void compose_all(const SnlrtTokenizer *t, Codes *codes)
{
    size_t n = 0, starter = SIZE_MAX;
    for (size_t i = 0; i < codes->n; i++) {
        uint32_t code = codes->at[i];
        uint8_t ccc = codes->ccc[i];
        if (starter != SIZE_MAX) {
            /* Blocked when a mark of the same or a higher class (or a starter) lies between. */
            bool blocked = n > starter + 1 && (codes->ccc[n - 1] >= ccc || codes->ccc[n - 1] == 0);
            uint32_t made = blocked ? SNLRT_TOK_NONE : compose(t, codes->at[starter], code);
            if (made != SNLRT_TOK_NONE) {
                codes->at[starter] = made;
                continue;
            }
        }
        if (ccc == 0) starter = n;
        codes->at[n] = code;
        codes->ccc[n++] = ccc;
    }
    codes->n = n;
}

static bool nfc(const SnlrtTokenizer *t, const char *text, size_t nbytes, SnlrtText *out)
{
    /* Below U+0300 everything is composed already; 0xCC is the first lead byte beyond. */
    size_t plain = 0;
    while (plain < nbytes && (uint8_t)text[plain] < 0xCC) plain++;
    if (plain == nbytes) return snlrt_text_append(out, text, nbytes);
    Codes codes = {0};
    bool ok = decompose_all(t, text, nbytes, &codes) && order_marks(&codes);
    if (ok) compose_all(t, &codes);
    for (size_t i = 0; i < codes.n && ok; i++) {
        char bytes[4];
        ok = snlrt_text_append(out, bytes, snlrt_utf8_encode(codes.at[i], bytes));
    }
    free(codes.at);
    free(codes.ccc);
    return ok;
}

/* ---- steps --------------------------------------------------------------------------------- */

static bool run_step(const SnlrtTokenizer *t, const SnlrtTokStep *step, const SnlrtText *in,
                     SnlrtText *out)
{
    out->n = 0;
    switch (step->kind) {
    case SNLRT_TOK_PREPEND:
        if (in->n && !snlrt_text_append(out, step->s.at, step->s.n)) return false;
        return snlrt_text_append(out, in->at, in->n);
    case SNLRT_TOK_REPLACE:
        return snlrt_text_replace(out, in->at, in->n, step->s, step->t, t->limit);
    default:
        return nfc(t, in->at, in->n, out);
    }
}

int snlrt_tok_normalize(SnlrtTokenizer *t, const char *text, size_t nbytes, SnlrtText *out)
{
    if (t->normalize.n == 0)
        return snlrt_text_append(out, text, nbytes) ? 0 : snlrt_tok_no_memory(t);
    SnlrtText now = {0}, next = {0};
    int code = snlrt_text_append(&now, text, nbytes) ? 0 : snlrt_tok_no_memory(t);
    for (uint32_t i = 0; i < t->normalize.n && !code; i++) {
        if (!run_step(t, &t->normalize.at[i], &now, &next)) code = snlrt_tok_no_memory(t);
        if (!code && next.n > t->limit) code = snlrt_tok_too_long(t);
        SnlrtText swap = now;
        now = next;
        next = swap;
    }
    if (!code && !snlrt_text_append(out, now.at, now.n)) code = snlrt_tok_no_memory(t);
    snlrt_text_deinit(&now);
    snlrt_text_deinit(&next);
    return code;
}
