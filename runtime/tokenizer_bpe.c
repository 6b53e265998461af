/* runtime/tokenizer_bpe.c -- byte pair encoding of one piece.
 *
 * The piece becomes a list of symbols (bytes or characters); of all neighbouring pairs that have
 * a merge the one of the lowest rank, leftmost first, is joined until none is left. A heap of
 * candidates over a linked list makes that O(n log n); candidates whose symbols have changed
 * meanwhile are recognised when they come up, by the token that they would make. */
#include "runtime/tokenizer_internal.h"

#include "runtime/utf8.h"

#include <stdlib.h>
#include <string.h>

uint32_t snlrt_tok_lookup(const SnlrtTokenizer *t, const char *text, size_t nbytes)
{
    if (nbytes > SNLRT_TOK_MAX_TOKEN_BYTES) return SNLRT_TOK_NONE;
    uint32_t mask = t->section[SNLRT_TOK_HASH].n - 1, n = (uint32_t)nbytes;
    for (uint32_t slot = snlrt_tok_hash(text, n) & mask;; slot = (slot + 1) & mask) {
        uint32_t id = snlrt_tok_word(t, SNLRT_TOK_HASH, slot);
        if (id == SNLRT_TOK_NONE) return SNLRT_TOK_NONE;
        SnlrtTokString token = snlrt_tok_text(t, id);
        if (token.n == n && memcmp(token.at, text, n) == 0) return id;
    }
}

void snlrt_tok_bpe_deinit(SnlrtTokBpe *scratch)
{
    free(scratch->symbol);
    free(scratch->heap);
    *scratch = (SnlrtTokBpe){0};
}

/* ---- the first symbols --------------------------------------------------------------------- */

static bool add_symbol(SnlrtTokBpe *bpe, uint32_t id)
{
    void *at = bpe->symbol;
    bool ok = snlrt_tok_reserve(&at, &bpe->symbol_cap, bpe->n_symbols + 1, sizeof *bpe->symbol);
    bpe->symbol = at;
    if (!ok || bpe->n_symbols >= SNLRT_TOK_NONE - 1) return false;
    uint32_t i = (uint32_t)bpe->n_symbols++;
    bpe->symbol[i] = (SnlrtTokSymbol){id, i ? i - 1 : SNLRT_TOK_NONE, i + 1, false};
    return true;
}

/* All bytes of a character as byte tokens; *out_spelt = false, and nothing added, if one is
 * missing. */
static bool spell_bytes(const SnlrtTokenizer *t, SnlrtTokBpe *bpe, const char *text, unsigned n,
                        bool *out_spelt)
{
    *out_spelt = true;
    for (unsigned i = 0; i < n; i++)
        if (snlrt_tok_word(t, SNLRT_TOK_BYTES, (uint8_t)text[i]) == SNLRT_TOK_NONE)
            *out_spelt = false;
    for (unsigned i = 0; i < n && *out_spelt; i++)
        if (!add_symbol(bpe, snlrt_tok_word(t, SNLRT_TOK_BYTES, (uint8_t)text[i]))) return false;
    return true;
}

/* The order in which unknowns are written is that of Hugging Face's BPE: one is kept back until
 * the next known character (or unknown one, unless they fuse), and spelt-out bytes pass it by. */
static bool add_symbols(const SnlrtTokenizer *t, SnlrtTokBpe *bpe, const char *piece, size_t nbytes)
{
    bool by_bytes = t->flags & SNLRT_TOK_BYTE_LEVEL, unknown = false;
    for (size_t at = 0; at < nbytes;) {
        uint32_t code, id;
        int n = by_bytes ? 1 : snlrt_utf8_decode(piece + at, nbytes - at, &code);
        unsigned length = n > 0 ? (unsigned)n : 1;
        id = by_bytes ? snlrt_tok_word(t, SNLRT_TOK_BYTES, (uint8_t)piece[at])
                      : snlrt_tok_lookup(t, piece + at, length);
        bool spelt = false;
        if (id != SNLRT_TOK_NONE) {
            if (unknown && !add_symbol(bpe, t->unknown)) return false;
            unknown = false;
            if (!add_symbol(bpe, id)) return false;
        } else if (t->flags & SNLRT_TOK_BYTE_FALLBACK) {
            if (!spell_bytes(t, bpe, piece + at, length, &spelt)) return false;
        }
        if (id == SNLRT_TOK_NONE && !spelt && t->unknown != SNLRT_TOK_NONE) {
            if (unknown && !(t->flags & SNLRT_TOK_FUSE_UNKNOWN) && !add_symbol(bpe, t->unknown))
                return false;
            unknown = true;
        }
        at += length;
    }
    if (unknown && !add_symbol(bpe, t->unknown)) return false;
    if (bpe->n_symbols) bpe->symbol[bpe->n_symbols - 1].next = SNLRT_TOK_NONE;
    return true;
}

/* ---- merging ------------------------------------------------------------------------------- */

/* The merge of two tokens, or NULL: binary search among those of the left one. */
static const uint8_t *find_merge(const SnlrtTokenizer *t, uint32_t left, uint32_t right)
{
    uint32_t low = snlrt_tok_word(t, SNLRT_TOK_MERGE_AT, left);
    uint32_t high = snlrt_tok_word(t, SNLRT_TOK_MERGE_AT, left + 1);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const uint8_t *merge = t->section[SNLRT_TOK_MERGES].at + 12 * (size_t)middle;
        uint32_t found = snlrt_tok_u32(merge);
        if (found == right) return merge;
        if (found < right)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool comes_before(SnlrtTokCandidate a, SnlrtTokCandidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void sift_down(SnlrtTokBpe *bpe, size_t hole)
{
    SnlrtTokCandidate moving = bpe->heap[hole];
    for (;;) {
        size_t child = 2 * hole + 1;
        if (child >= bpe->n_heap) break;
        if (child + 1 < bpe->n_heap && comes_before(bpe->heap[child + 1], bpe->heap[child]))
            child++;
        if (!comes_before(bpe->heap[child], moving)) break;
        bpe->heap[hole] = bpe->heap[child];
        hole = child;
    }
    bpe->heap[hole] = moving;
}

static bool push_candidate(const SnlrtTokenizer *t, SnlrtTokBpe *bpe, uint32_t at)
{
    uint32_t next = bpe->symbol[at].next;
    if (next == SNLRT_TOK_NONE) return true;
    const uint8_t *merge = find_merge(t, bpe->symbol[at].id, bpe->symbol[next].id);
    if (!merge) return true;
    void *heap = bpe->heap;
    bool ok = snlrt_tok_reserve(&heap, &bpe->heap_cap, bpe->n_heap + 1, sizeof *bpe->heap);
    bpe->heap = heap;
    if (!ok) return false;
    SnlrtTokCandidate added = {snlrt_tok_u32(merge + 4), at, snlrt_tok_u32(merge + 8)};
    size_t hole = bpe->n_heap++;
    while (hole > 0 && comes_before(added, bpe->heap[(hole - 1) / 2])) {
        bpe->heap[hole] = bpe->heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    bpe->heap[hole] = added;
    return true;
}

static SnlrtTokCandidate pop_candidate(SnlrtTokBpe *bpe)
{
    SnlrtTokCandidate top = bpe->heap[0];
    bpe->heap[0] = bpe->heap[--bpe->n_heap];
    if (bpe->n_heap) sift_down(bpe, 0);
    return top;
}

/* Whether the two symbols that the candidate was made of would still become the same token. */
static bool still_holds(const SnlrtTokenizer *t, const SnlrtTokBpe *bpe, SnlrtTokCandidate c)
{
    const SnlrtTokSymbol *left = &bpe->symbol[c.at];
    if (left->gone || left->next == SNLRT_TOK_NONE) return false;
    const uint8_t *merge = find_merge(t, left->id, bpe->symbol[left->next].id);
    return merge && snlrt_tok_u32(merge + 8) == c.result;
}

static bool merge_all(const SnlrtTokenizer *t, SnlrtTokBpe *bpe)
{
    for (size_t i = 0; i + 1 < bpe->n_symbols; i++)
        if (!push_candidate(t, bpe, (uint32_t)i)) return false;
    while (bpe->n_heap) {
        SnlrtTokCandidate best = pop_candidate(bpe);
        if (!still_holds(t, bpe, best)) continue;
        SnlrtTokSymbol *left = &bpe->symbol[best.at], *right = &bpe->symbol[left->next];
        left->id = best.result;
        left->next = right->next;
        right->gone = true;
        if (left->next != SNLRT_TOK_NONE) bpe->symbol[left->next].prev = best.at;
        if (left->prev != SNLRT_TOK_NONE && !push_candidate(t, bpe, left->prev)) return false;
        if (!push_candidate(t, bpe, best.at)) return false;
    }
    return true;
}

int snlrt_tok_bpe(SnlrtTokenizer *t, const char *piece, size_t nbytes, SnlrtTokBpe *bpe,
                  SnlrtIds *out)
{
    if (t->flags & SNLRT_TOK_IGNORE_MERGES) {
        uint32_t whole = snlrt_tok_lookup(t, piece, nbytes);
        if (whole != SNLRT_TOK_NONE) return snlrt_ids_push(out, whole) ? 0 : snlrt_tok_no_memory(t);
    }
    bpe->n_symbols = 0;
    bpe->n_heap = 0;
    if (!add_symbols(t, bpe, piece, nbytes) || !merge_all(t, bpe)) return snlrt_tok_no_memory(t);
    for (size_t i = 0; i < bpe->n_symbols; i++)
        if (!bpe->symbol[i].gone && !snlrt_ids_push(out, bpe->symbol[i].id))
            return snlrt_tok_no_memory(t);
    return 0;
}
