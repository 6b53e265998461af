/* tests/fuzz/fuzz_tokenizer.c -- tokenizer.json, and text for it, from anyone: JSON up to the
 * first NUL, then the text. Whatever is accepted must encode and decode; what the frontend writes
 * must be a blob that the runtime takes, and the stream must give what decoding at once gives. */
#include "compiler/frontend/tokenizer_desc.h"
#include "runtime/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode_both_ways(const SnlrtTokenizer *t, const SnlrtIds *ids)
{
    SnlrtText once = {0}, stream = {0};
    SnlrtDecoder decoder;
    if (snlrt_tokenizer_decode(t, ids->at, ids->n, 0, &once)) abort();
    snlrt_decoder_init(&decoder, t, 0);
    for (size_t i = 0; i < ids->n; i++)
        if (snlrt_decoder_push(&decoder, ids->at[i], &stream)) abort();
    if (snlrt_decoder_finish(&decoder, &stream)) abort();
    if (once.n != stream.n || (once.n && memcmp(once.at, stream.at, once.n) != 0)) abort();
    snlrt_text_deinit(&once);
    snlrt_text_deinit(&stream);
}

static void use(const void *blob, size_t nbytes, const char *text, size_t n)
{
    SnlrtTokenizer *t;
    const char *error;
    SnlrtIds ids = {0};
    if (snlrt_tokenizer_create(blob, nbytes, &t, &error)) abort();
    if (snlrt_tokenizer_encode(t, text, n, SNLRT_ENCODE_DEFAULT, &ids) == 0)
        decode_both_ways(t, &ids);
    for (size_t i = 0; i < ids.n; i++)
        if (ids.at[i] < 0 || ids.at[i] >= snlrt_tokenizer_n_ids(t)) abort();
    snlrt_ids_deinit(&ids);
    snlrt_tokenizer_destroy(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t n_json = end ? (size_t)(end - data) : size;
    const char *text = (const char *)data + (end ? n_json + 1 : size);
    SnlArena *arena = snl_arena_create();
    SnlDiag *diag = snl_diag_create(NULL, 0);
    SnlSource source = {"tokenizer.json", (const char *)data, n_json};
    void *blob;
    size_t nbytes;
    SnlStatus status = snl_tok_build_text(arena, &source, 100000, diag, &blob, &nbytes);
    if ((status == SNL_OK) != (snl_diag_errors(diag) == 0)) abort();
    if (status == SNL_OK) use(blob, nbytes, text, (size_t)((const char *)data + size - text));
    snl_diag_destroy(diag);
    snl_arena_destroy(arena);
    return 0;
}
