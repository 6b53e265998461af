/* tests/support/tokenizer_fixture.c -- see tokenizer_fixture.h. */
#include "tests/support/tokenizer_fixture.h"

#include "compiler/frontend/tokenizer.h"
#include "runtime/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Byte tokens only for \n, 0xC3 and 0xA9; "cab" is a token that no merge makes. */
const char *const tokenizer_pieces_json =
    "{\"added_tokens\": [\n"
    "  {\"id\": 0, \"content\": \"<unk>\", \"special\": true},\n"
    "  {\"id\": 1, \"content\": \"<s>\", \"special\": true},\n"
    "  {\"id\": 2, \"content\": \"</s>\", \"special\": true}],\n"
    " \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [\n"
    "  {\"type\": \"Prepend\", \"prepend\": \"▁\"},\n"
    "  {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"▁\"}]},\n"
    " \"pre_tokenizer\": null,\n"
    " \"post_processor\": {\"type\": \"TemplateProcessing\",\n"
    "  \"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}, {\"Sequence\": {\"id\": \"A\"}}],\n"
    "  \"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [1], \"tokens\": [\"<s>\"]}}},\n"
    " \"decoder\": {\"type\": \"Sequence\", \"decoders\": [\n"
    "  {\"type\": \"Replace\", \"pattern\": {\"String\": \"▁\"}, \"content\": \" \"},\n"
    "  {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"},\n"
    "  {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]},\n"
    " \"model\": {\"type\": \"BPE\", \"unk_token\": \"<unk>\", \"fuse_unk\": true,\n"
    "  \"byte_fallback\": true, \"ignore_merges\": false,\n"
    "  \"vocab\": {\"<unk>\": 0, \"<s>\": 1, \"</s>\": 2, \"<0x0A>\": 3, \"<0xC3>\": 4,\n"
    "   \"<0xA9>\": 5, \"▁\": 6, \"a\": 7, \"b\": 8, \"▁a\": 9, \"ab\": 10, \"▁▁\": 11,\n"
    "   \"c\": 12, \"a▁\": 13, \"cab\": 14},\n"
    "  \"merges\": [\"▁ a\", \"a b\", \"▁ ▁\", \"a ▁\"]}}\n";

const char *tokenizer_byte_level_path(Support *s)
{
    const char *root = getenv("SNL_SOURCE");
    return snl_arena_printf(s->arena, "%s/tests/data/tokenizer/byte_level.json", root ? root : ".");
}

const char *tokenizer_patch(Support *s, const char *text, const char *from, const char *to)
{
    const char *hit = strstr(text, from);
    assert_non_null(hit);
    assert_null(strstr(hit + 1, from));
    return snl_arena_printf(s->arena, "%.*s%s%s", (int)(hit - text), text, to, hit + strlen(from));
}

void *tokenizer_blob(Support *s, const char *path, int64_t vocab, size_t *out_nbytes)
{
    void *blob;
    SnlStatus status =
        snl_tokenizer_build(s->arena, SNL_TOKENIZER_JSON, path, vocab, s->diag, &blob, out_nbytes);
    assert_int_equal(status == SNL_OK, blob != NULL);
    return blob;
}

void *tokenizer_blob_of(Support *s, const char *json, size_t *out_nbytes)
{
    return tokenizer_blob(s, support_write(s, "tokenizer.json", json, strlen(json)), 1 << 16,
                          out_nbytes);
}

SnlrtTokenizer *tokenizer_open(const void *blob, size_t nbytes)
{
    SnlrtTokenizer *tokenizer;
    const char *error;
    int code = snlrt_tokenizer_create(blob, nbytes, &tokenizer, &error);
    if (code) print_error("blob refused: %s\n", error);
    assert_int_equal(code, 0);
    return tokenizer;
}

static SnlrtTokenizer *open_built(Support *s, const void *blob, size_t nbytes)
{
    if (!blob) print_error("%s", snl_diag_text(s->diag));
    assert_non_null(blob);
    return tokenizer_open(blob, nbytes);
}

SnlrtTokenizer *tokenizer_open_file(Support *s, const char *path)
{
    size_t nbytes;
    void *blob = tokenizer_blob(s, path, 1 << 20, &nbytes);
    return open_built(s, blob, nbytes);
}

SnlrtTokenizer *tokenizer_open_json(Support *s, const char *json)
{
    size_t nbytes;
    void *blob = tokenizer_blob_of(s, json, &nbytes);
    return open_built(s, blob, nbytes);
}

static SnlrtIds parse_ids(const char *text)
{
    SnlrtIds ids = {0};
    char *end;
    for (long id = strtol(text, &end, 10); end != text; id = strtol(text, &end, 10)) {
        ids.at = snl_xrealloc(ids.at, (ids.n + 1) * sizeof *ids.at);
        ids.at[ids.n++] = (int32_t)id;
        text = end;
    }
    return ids;
}

static bool ids_equal(const SnlrtIds *a, const SnlrtIds *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->at, b->at, a->n * sizeof *a->at) == 0);
}

void tokenizer_encodes(SnlrtTokenizer *tokenizer, unsigned flags, const char *text, size_t nbytes,
                       const char *wanted_text, const char *file, int line)
{
    SnlrtIds found = {0}, wanted = parse_ids(wanted_text);
    int code = snlrt_tokenizer_encode(tokenizer, text, nbytes, flags, &found);
    bool equal = !code && ids_equal(&found, &wanted);
    if (code) print_error("encode: %s\n", snlrt_tokenizer_error(tokenizer));
    if (!equal) {
        print_error("text \"%.*s\"\nfound ", (int)(nbytes < 200 ? nbytes : 200), text);
        for (size_t i = 0; i < found.n; i++) print_error(" %d", (int)found.at[i]);
        print_error("\nwanted %s\n", wanted_text);
    }
    snlrt_ids_deinit(&found);
    snlrt_ids_deinit(&wanted);
    if (!equal) _fail(file, line);
}

static bool decode_stream(const SnlrtTokenizer *tokenizer, unsigned flags, const SnlrtIds *ids,
                          SnlrtText *out)
{
    SnlrtDecoder decoder;
    snlrt_decoder_init(&decoder, tokenizer, flags);
    bool whole = true;
    for (size_t i = 0; i <= ids->n; i++) {
        size_t before = out->n;
        int code = i < ids->n ? snlrt_decoder_push(&decoder, ids->at[i], out)
                              : snlrt_decoder_finish(&decoder, out);
        whole = whole && !code &&
                (out->n == before || snlrt_utf8_valid(out->at + before, out->n - before));
    }
    return whole;
}

void tokenizer_decodes(const SnlrtTokenizer *tokenizer, unsigned flags, const char *ids_text,
                       const char *wanted, const char *file, int line)
{
    SnlrtIds ids = parse_ids(ids_text);
    SnlrtText once = {0}, stream = {0};
    int code = snlrt_tokenizer_decode(tokenizer, ids.at, ids.n, flags, &once);
    bool whole = decode_stream(tokenizer, flags, &ids, &stream);
    size_t n = strlen(wanted);
    bool equal = !code && once.n == n && (n == 0 || memcmp(once.at, wanted, n) == 0);
    bool same = stream.n == once.n && (once.n == 0 || memcmp(stream.at, once.at, once.n) == 0);
    if (!equal)
        print_error("ids %s\nfound \"%.*s\"\nwanted \"%s\"\n", ids_text, (int)once.n,
                    once.at ? once.at : "", wanted);
    if (!whole) print_error("ids %s: the stream gives parts of characters\n", ids_text);
    if (!same) print_error("ids %s: the stream gives another text\n", ids_text);
    snlrt_ids_deinit(&ids);
    snlrt_text_deinit(&once);
    snlrt_text_deinit(&stream);
    if (!equal || !whole || !same) _fail(file, line);
}
