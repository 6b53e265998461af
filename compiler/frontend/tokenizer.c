/* compiler/frontend/tokenizer.c -- from a tokenizer's description to the blob in the program.
 *
 * Kinds: bytes, and tokenizer.json with a BPE model. What the runtime does not do is refused here
 * with the component's name and place, so that a program that compiles gives Hugging Face's ids. */
#include "compiler/frontend/tokenizer.h"

#include "compiler/frontend/tokenizer_desc.h"
#include "ir/base/file.h"

#include <string.h>

/* The largest vocabularies of today: 260k tokens, 580k merges, 40 MB of text. */
static const SnlJsonLimits limits = {
    .max_bytes = (size_t)128 << 20, .max_depth = 32, .max_values = 4 << 20};

bool snl_tok_bytes_equal(SnlTokBytes a, SnlTokBytes b)
{
    return a.n == b.n && memcmp(a.at, b.at, a.n) == 0;
}

const char *snl_tok_shown(SnlArena *arena, SnlTokBytes text)
{
    uint32_t n = text.n;
    if (n <= 60) return snl_arena_printf(arena, "\"%.*s\"", (int)n, text.at);
    n = 60;
    while (n > 0 && ((uint8_t)text.at[n] & 0xC0) == 0x80) n--;
    return snl_arena_printf(arena, "\"%.*s...\"", (int)n, text.at);
}

SnlStatus snl_tok_unsupported(SnlJson value, const char *found, const char *supported)
{
    const char *shown = snl_tok_shown(value.doc->arena, snl_tok_bytes(found, strlen(found)));
    return snl_json_fail(value, SNL_E_TOKENIZER,
                         "found %s, which snlpc does not know; supported: %s", shown, supported);
}

SnlTokBytes snl_tok_text(SnlJson value, uint32_t max)
{
    const char *text = snl_json_text(value);
    size_t n = strlen(text);
    if (n <= max) return snl_tok_bytes(text, n);
    snl_json_fail(value, SNL_E_TOKENIZER, "found a text of %zu bytes, wanted at most %u", n, max);
    return snl_tok_bytes("", 0);
}

/* The printable stand-ins of bytes make sense only when text is turned into them and back. */
static void check_byte_level(SnlJson root, SnlTokDesc *desc)
{
    if (desc->byte_level_text && !desc->byte_level_decoder)
        snl_json_fail(snl_json_get(root, "decoder"), SNL_E_TOKENIZER,
                      "found no ByteLevel decoder, wanted one: the pre_tokenizer is ByteLevel");
    if (!desc->byte_level_text && desc->byte_level_decoder)
        snl_json_fail(snl_json_get(root, "pre_tokenizer"), SNL_E_TOKENIZER,
                      "found no ByteLevel pre_tokenizer, wanted one: the decoder is ByteLevel");
    if (desc->byte_level_text) desc->flags |= SNLRT_TOK_BYTE_LEVEL;
}

static void read_root(SnlJson root, SnlTokDesc *desc)
{
    snl_tok_read_normalizer(snl_json_get(root, "normalizer"), desc);
    snl_tok_read_pretokenizer(snl_json_get(root, "pre_tokenizer"), desc);
    snl_tok_read_decoder(snl_json_get(root, "decoder"), desc);
    check_byte_level(root, desc);
    snl_tok_read_model(snl_json_get(root, "model"), snl_json_get(root, "added_tokens"), desc);
    snl_tok_read_post_processor(snl_json_get(root, "post_processor"), desc);
}

SnlStatus snl_tok_build_text(SnlArena *arena, const SnlSource *source, uint32_t max_ids,
                             SnlDiag *diag, void **out_blob, size_t *out_nbytes)
{
    SnlJsonDoc *doc;
    SNL_TRY(snl_json_open_text(arena, source, &limits, diag, &doc));
    SnlTokDesc *desc = SNL_NEW(arena, SnlTokDesc);
    desc->arena = arena;
    desc->max_ids = max_ids;
    desc->unknown = SNLRT_TOK_NONE;
    read_root(snl_json_root(doc), desc);
    SnlStatus status = doc->status;
    if (status == SNL_OK)
        status = snl_tok_write_blob(desc, source->name, diag, out_blob, out_nbytes);
    snl_json_close(doc);
    return status;
}

static SnlStatus build_bytes(SnlArena *arena, int64_t vocab, SnlDiag *diag, void **out_blob,
                             size_t *out_nbytes)
{
    if (vocab < 256)
        return snl_error_at(diag, SNL_E_TOKENIZER, "tokenizer \"byte\"",
                            "found a vocabulary of %lld, wanted at least 256: one id for each byte",
                            (long long)vocab);
    uint8_t *blob = snl_arena_alloc(arena, SNLRT_TOK_HEADER_BYTES);
    memcpy(blob, SNLRT_TOK_MAGIC, SNLRT_TOK_MAGIC_BYTES);
    uint8_t *words = blob + SNLRT_TOK_MAGIC_BYTES;
    words[4 * SNLRT_TOK_WORD_KIND] = SNLRT_TOK_KIND_BYTE;
    words[4 * SNLRT_TOK_WORD_N_IDS + 1] = 1; /* 256 */
    memset(words + 4 * SNLRT_TOK_WORD_UNKNOWN, 0xFF, 4);
    *out_blob = blob;
    *out_nbytes = SNLRT_TOK_HEADER_BYTES;
    return SNL_OK;
}

SnlStatus snl_tokenizer_build(SnlArena *arena, SnlTokenizerKind kind, const char *json_path,
                              int64_t vocab, SnlDiag *diag, void **out_blob, size_t *out_nbytes)
{
    *out_blob = NULL;
    *out_nbytes = 0;
    if (kind == SNL_TOKENIZER_BYTE) return build_bytes(arena, vocab, diag, out_blob, out_nbytes);
    if (kind == SNL_TOKENIZER_NONE) return SNL_OK;
    uint32_t max_ids = vocab < 0                   ? 0
                       : vocab > SNLRT_TOK_MAX_IDS ? SNLRT_TOK_MAX_IDS
                                                   : (uint32_t)vocab;
    SnlSource source;
    SNL_TRY(snl_file_read(arena, json_path, limits.max_bytes, diag, &source));
    return snl_tok_build_text(arena, &source, max_ids, diag, out_blob, out_nbytes);
}
