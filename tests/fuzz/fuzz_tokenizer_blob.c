/* tests/fuzz/fuzz_tokenizer_blob.c -- damaged tokenizer blobs: refused, or harmless whatever the
 * text. The last byte says how many bytes before it are the text. */
#include "runtime/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    size_t n_text = data[size - 1], n_blob = size - 1;
    if (n_text > n_blob) n_text = n_blob;
    n_blob -= n_text;
    SnlrtTokenizer *t;
    const char *error;
    SnlrtIds ids = {0};
    SnlrtText text = {0};
    if (snlrt_tokenizer_create(data, n_blob, &t, &error)) return 0;
    for (unsigned flags = 0; flags < 4; flags++) {
        ids.n = 0;
        if (snlrt_tokenizer_encode(t, (const char *)data + n_blob, n_text, flags, &ids)) continue;
        for (size_t i = 0; i < ids.n; i++)
            if (ids.at[i] < 0 || ids.at[i] > 16 << 20) abort();
        text.n = 0;
        if (snlrt_tokenizer_decode(t, ids.at, ids.n, flags, &text)) abort();
    }
    int32_t n_ids = snlrt_tokenizer_n_ids(t);
    for (int32_t id = 0; id < n_ids && id < 1000; id++) {
        text.n = 0;
        if (snlrt_tokenizer_decode(t, &id, 1, SNLRT_DECODE_SPECIAL, &text)) abort();
    }
    snlrt_ids_deinit(&ids);
    snlrt_text_deinit(&text);
    snlrt_tokenizer_destroy(t);
    return 0;
}
