/* compiler/frontend/tokenizer_blob.c -- writes the blob that runtime/tokenizer.c reads. The same
 * description always gives the same bytes. */
#include "compiler/frontend/tokenizer_desc.h"

#include "ir/base/checked.h"

#include <stdlib.h>
#include <string.h>

/* A section being built, as bytes. */
typedef SnlVec(uint8_t) Bytes;

typedef struct Blob {
    SnlArena *arena;
    Bytes section[SNLRT_TOK_SECTION_COUNT];
} Blob;

static void put_bytes(Blob *blob, int section, const char *bytes, size_t n)
{
    Bytes *out = &blob->section[section];
    while (out->cap - out->n < n)
        out->at = snl_arena_grow(blob->arena, out->at, out->n, &out->cap, 1);
    if (n) memcpy(out->at + out->n, bytes, n);
    out->n += n;
}

static void put_u32(Blob *blob, int section, uint32_t value)
{
    char bytes[4] = {(char)value, (char)(value >> 8), (char)(value >> 16), (char)(value >> 24)};
    put_bytes(blob, section, bytes, 4);
}

/* Offset and length of a text in STRINGS. */
static void put_string(Blob *blob, int section, SnlTokBytes text)
{
    put_u32(blob, section, (uint32_t)blob->section[SNLRT_TOK_STRINGS].n);
    put_u32(blob, section, text.n);
    put_bytes(blob, SNLRT_TOK_STRINGS, text.at, text.n);
}

static void put_tokens(Blob *blob, const SnlTokDesc *desc)
{
    for (uint32_t id = 0; id < desc->n_ids; id++) {
        const SnlTokToken *token = &desc->token[id];
        char marks = (char)token->marks;
        put_u32(blob, SNLRT_TOK_TEXT_AT, (uint32_t)blob->section[SNLRT_TOK_TEXT].n);
        put_bytes(blob, SNLRT_TOK_TEXT, token->text.at, token->text.n);
        put_bytes(blob, SNLRT_TOK_MARKS, &marks, 1);
    }
    put_u32(blob, SNLRT_TOK_TEXT_AT, (uint32_t)blob->section[SNLRT_TOK_TEXT].n);
    for (int i = 0; i < 256; i++) put_u32(blob, SNLRT_TOK_BYTES, desc->bytes[i]);
}

static void put_hash(Blob *blob, const SnlTokDesc *desc)
{
    uint32_t n_slots = 2;
    while (n_slots / 2 <= desc->n_ids) n_slots *= 2;
    uint32_t *slot = SNL_NEW_ARRAY(blob->arena, uint32_t, n_slots);
    for (uint32_t i = 0; i < n_slots; i++) slot[i] = SNLRT_TOK_NONE;
    for (uint32_t id = 0; id < desc->n_ids; id++) {
        const SnlTokToken *token = &desc->token[id];
        if (!(token->marks & SNLRT_TOK_MARK_MODEL)) continue;
        uint32_t at = snlrt_tok_hash(token->text.at, token->text.n) & (n_slots - 1);
        while (slot[at] != SNLRT_TOK_NONE) at = (at + 1) & (n_slots - 1);
        slot[at] = id;
    }
    for (uint32_t i = 0; i < n_slots; i++) put_u32(blob, SNLRT_TOK_HASH, slot[i]);
}

static int compare_merges(const void *left, const void *right)
{
    const SnlTokMerge *a = left, *b = right;
    if (a->left != b->left) return a->left < b->left ? -1 : 1;
    if (a->right != b->right) return a->right < b->right ? -1 : 1;
    return a->rank > b->rank ? -1 : a->rank < b->rank;
}

/* Of merges that name the same two tokens the last one counts, as in Hugging Face's reader. */
static void put_merges(Blob *blob, const SnlTokDesc *desc)
{
    SnlTokMerge *merge = desc->merges.at;
    size_t n = desc->merges.n, i = 0;
    if (n) qsort(merge, n, sizeof *merge, compare_merges);
    uint32_t n_written = 0;
    for (uint32_t id = 0; id < desc->n_ids; id++) {
        put_u32(blob, SNLRT_TOK_MERGE_AT, n_written);
        for (; i < n && merge[i].left == id; i++) {
            if (i && merge[i - 1].left == id && merge[i - 1].right == merge[i].right) continue;
            put_u32(blob, SNLRT_TOK_MERGES, merge[i].right);
            put_u32(blob, SNLRT_TOK_MERGES, merge[i].rank);
            put_u32(blob, SNLRT_TOK_MERGES, merge[i].result);
            n_written++;
        }
    }
    put_u32(blob, SNLRT_TOK_MERGE_AT, n_written);
}

static void put_added(Blob *blob, const SnlTokDesc *desc)
{
    for (size_t i = 0; i < desc->added.n; i++) {
        put_u32(blob, SNLRT_TOK_ADDED, desc->added.at[i].id);
        put_u32(blob, SNLRT_TOK_ADDED, desc->added.at[i].marks);
        put_string(blob, SNLRT_TOK_ADDED, desc->added.at[i].content);
    }
    for (size_t i = 0; i < desc->prefix.n; i++) put_u32(blob, SNLRT_TOK_PREFIX, desc->prefix.at[i]);
    for (size_t i = 0; i < desc->suffix.n; i++) put_u32(blob, SNLRT_TOK_SUFFIX, desc->suffix.at[i]);
}

static void put_steps(Blob *blob, int section, const SnlTokSteps *steps)
{
    for (size_t i = 0; i < steps->n; i++) {
        const SnlTokStep *step = &steps->at[i];
        put_u32(blob, section, step->kind);
        put_u32(blob, section, step->a);
        put_u32(blob, section, step->b);
        put_string(blob, section, step->s);
        put_string(blob, section, step->t);
    }
}

static void put_words(Blob *blob, int section, const SnlTokWords *words)
{
    for (size_t i = 0; i < words->n; i++) put_u32(blob, section, words->at[i]);
}

static void put_nfc(Blob *blob, const SnlTokDesc *desc)
{
    bool wanted = false;
    for (size_t i = 0; i < desc->normalize.n; i++)
        if (desc->normalize.at[i].kind == SNLRT_TOK_NFC) wanted = true;
    if (!wanted) return;
    SnlTokWords classes = {0}, decompose = {0}, compose = {0};
    snl_tok_nfc_tables(blob->arena, &classes, &decompose, &compose);
    put_words(blob, SNLRT_TOK_NFC_CLASS, &classes);
    put_words(blob, SNLRT_TOK_NFC_DECOMPOSE, &decompose);
    put_words(blob, SNLRT_TOK_NFC_COMPOSE, &compose);
}

static void store_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static SnlStatus join(const Blob *blob, const SnlTokDesc *desc, const char *place, SnlDiag *diag,
                      void **out_blob, size_t *out_nbytes)
{
    size_t nbytes = SNLRT_TOK_HEADER_BYTES;
    for (int i = 0; i < SNLRT_TOK_SECTION_COUNT; i++)
        if (!snl_add_size(nbytes, blob->section[i].n + 2 * SNLRT_TOK_ALIGN, &nbytes) ||
            nbytes > UINT32_MAX)
            return snl_error_at(diag, SNL_E_TOKENIZER, place,
                                "the tokenizer's tables need more than 4 GiB");
    uint8_t *out = snl_arena_alloc(blob->arena, nbytes);
    memcpy(out, SNLRT_TOK_MAGIC, SNLRT_TOK_MAGIC_BYTES);
    uint8_t *words = out + SNLRT_TOK_MAGIC_BYTES;
    store_u32(words + 4 * SNLRT_TOK_WORD_KIND, SNLRT_TOK_KIND_BPE);
    store_u32(words + 4 * SNLRT_TOK_WORD_N_IDS, desc->n_ids);
    store_u32(words + 4 * SNLRT_TOK_WORD_UNKNOWN, desc->unknown);
    store_u32(words + 4 * SNLRT_TOK_WORD_FLAGS, desc->flags);
    words += 4 * SNLRT_TOK_WORDS;
    size_t at = SNLRT_TOK_HEADER_BYTES;
    for (int i = 0; i < SNLRT_TOK_SECTION_COUNT; i++, words += 8) {
        at = (at + SNLRT_TOK_ALIGN - 1) / SNLRT_TOK_ALIGN * SNLRT_TOK_ALIGN;
        store_u32(words, (uint32_t)at);
        store_u32(words + 4, (uint32_t)blob->section[i].n);
        if (blob->section[i].n) memcpy(out + at, blob->section[i].at, blob->section[i].n);
        at += blob->section[i].n;
    }
    *out_blob = out;
    *out_nbytes = at;
    return SNL_OK;
}

SnlStatus snl_tok_write_blob(const SnlTokDesc *desc, const char *place, SnlDiag *diag,
                             void **out_blob, size_t *out_nbytes)
{
    Blob *blob = SNL_NEW(desc->arena, Blob);
    blob->arena = desc->arena;
    put_tokens(blob, desc);
    put_hash(blob, desc);
    put_merges(blob, desc);
    put_added(blob, desc);
    put_steps(blob, SNLRT_TOK_NORMALIZE, &desc->normalize);
    put_steps(blob, SNLRT_TOK_PRETOKENIZE, &desc->pretokenize);
    put_steps(blob, SNLRT_TOK_DECODE, &desc->decode);
    put_nfc(blob, desc);
    return join(blob, desc, place, diag, out_blob, out_nbytes);
}
