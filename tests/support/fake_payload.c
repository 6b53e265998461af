/* tests/support/fake_payload.c -- appends a payload to a program linked from fake_model.c.
 *
 *   fake_payload PROGRAM OUT SCRIPT [byte|none]     SCRIPT: the bytes that the model wants to say
 *
 * The byte tokenizer's blob, one weight, a manifest and the footer, as codegen/trailer.c would
 * write. */
#include "fake_model.h"

#include "runtime/tokenizer_blob.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static void put(FILE *out, const void *bytes, size_t n)
{
    if (fwrite(bytes, 1, n, out) == n) return;
    perror("fake_payload");
    exit(4);
}

static uint64_t copy_program(FILE *out, const char *path)
{
    char buffer[1 << 16];
    uint64_t n_all = 0;
    FILE *in = fopen(path, "rb");
    if (!in) {
        perror(path);
        exit(4);
    }
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, in)) > 0; n_all += n) put(out, buffer, n);
    fclose(in);
    while (n_all % SNLRT_PAYLOAD_ALIGN) {
        put(out, "", 1);
        n_all++;
    }
    return n_all;
}

static void byte_blob(uint8_t blob[SNLRT_TOK_HEADER_BYTES])
{
    uint32_t words[SNLRT_TOK_WORDS] = {[SNLRT_TOK_WORD_KIND] = SNLRT_TOK_KIND_BYTE,
                                       [SNLRT_TOK_WORD_N_IDS] = 256,
                                       [SNLRT_TOK_WORD_UNKNOWN] = SNLRT_TOK_NONE};
    memset(blob, 0, SNLRT_TOK_HEADER_BYTES);
    memcpy(blob, SNLRT_TOK_MAGIC, SNLRT_TOK_MAGIC_BYTES);
    memcpy(blob + SNLRT_TOK_MAGIC_BYTES, words, sizeof words);
}

int main(int argc, char **argv)
{
    if (argc < 4) return 2;
    FILE *out = fopen(argv[2], "wb");
    if (!out) {
        perror(argv[2]);
        return 4;
    }
    SnlrtFooter footer = {.payload_offset = copy_program(out, argv[1]), .payload_id = FAKE_ID};
    size_t n = strlen(argv[3]);
    int32_t weights[4096] = {(int32_t)n};
    if (n + 1 > sizeof weights / sizeof *weights) return 2;
    for (size_t i = 0; i < n; i++) weights[1 + i] = (uint8_t)argv[3][i];
    footer.weights_bytes = (4 * (n + 1) + 63) / 64 * 64;
    put(out, weights, footer.weights_bytes);
    uint8_t blob[SNLRT_TOK_HEADER_BYTES];
    byte_blob(blob);
    footer.tokenizer_offset = footer.weights_bytes;
    footer.tokenizer_bytes = argc > 4 && !strcmp(argv[4], "none") ? 0 : sizeof blob;
    put(out, blob, footer.tokenizer_bytes);
    footer.manifest_offset = footer.tokenizer_offset + footer.tokenizer_bytes;
    char manifest[256];
    int length =
        snprintf(manifest, sizeof manifest,
                 "{\"payload_id\": \"x\", \"weights\": [{\"name\": \"script\", \"rows\": 1, "
                 "\"offset\": 0, \"bytes\": %" PRIu64 ", \"xxh3\": \"%016" PRIx64 "\"}]}\n",
                 footer.weights_bytes, XXH3_64bits(weights, footer.weights_bytes));
    footer.manifest_bytes = (uint64_t)length;
    footer.magic = SNLRT_FOOTER_MAGIC;
    put(out, manifest, footer.manifest_bytes);
    put(out, &footer, sizeof footer);
    if (fclose(out) != 0 || chmod(argv[2], 0755) != 0) {
        perror(argv[2]);
        return 4;
    }
    return 0;
}
