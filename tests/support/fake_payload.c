/* tests/support/fake_payload.c -- appends a payload to a program linked from fake_model.c.
 *
 *   fake_payload PROGRAM OUT SCRIPT [byte|none]     SCRIPT: the bytes that the model wants to say
 *
 * The byte tokenizer's blob, one weight, a manifest and the footer, as codegen/trailer.c would
 * write. */
#define _GNU_SOURCE /* memmem */
#include "fake_model.h"

#include "runtime/tokenizer_blob.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static void fail(const char *what)
{
    perror(what);
    exit(4);
}

static void put(FILE *out, const void *bytes, size_t n)
{
    if (fwrite(bytes, 1, n, out) != n) fail("fake_payload");
}

/* The program's bytes; *out_n of them. */
static char *read_program(const char *path, size_t *out_n)
{
    struct stat info;
    FILE *in = fopen(path, "rb");
    if (!in || fstat(fileno(in), &info) != 0) fail(path);
    *out_n = (size_t)info.st_size;
    char *bytes = malloc(*out_n);
    if (!bytes || fread(bytes, 1, *out_n, in) != *out_n) fail(path);
    fclose(in);
    return bytes;
}

/* The program, with the payload's id in the place of FAKE_ID. */
static uint64_t copy_program(FILE *out, const char *path, uint64_t id)
{
    size_t n;
    const uint64_t unknown = FAKE_ID;
    char *bytes = read_program(path, &n), *end = bytes + n, *at = bytes;
    for (; (at = memmem(at, (size_t)(end - at), &unknown, sizeof unknown)); at += sizeof id)
        memcpy(at, &id, sizeof id);
    put(out, bytes, n);
    free(bytes);
    for (; n % SNLRT_PAYLOAD_ALIGN; n++) put(out, "", 1);
    return n;
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

/* As snl_trailer_id: of the one weight "script", and the blob. */
static uint64_t payload_id(uint64_t weight_nbytes, const uint8_t *blob, size_t blob_nbytes)
{
    static const char texts[] = "script\0i32\0plain"; /* name, format, layout */
    uint64_t place[4] = {0, weight_nbytes, 1, weight_nbytes / 4};
    XXH3_state_t hash;
    XXH3_64bits_reset(&hash);
    XXH3_64bits_update(&hash, texts, sizeof texts);
    XXH3_64bits_update(&hash, place, sizeof place);
    XXH3_64bits_update(&hash, blob, blob_nbytes);
    return XXH3_64bits_digest(&hash);
}

static void put_manifest(FILE *out, const int32_t *weights, SnlrtFooter *inout_footer)
{
    uint64_t nbytes = inout_footer->weights_bytes;
    char manifest[256];
    int length =
        snprintf(manifest, sizeof manifest,
                 "{\"payload_id\": \"x\", \"weights\": [{\"name\": \"script\", \"format\": "
                 "\"i32\", \"layout\": \"plain\", \"rows\": 1, \"cols\": %" PRIu64
                 ", \"offset\": 0, \"bytes\": %" PRIu64 ", \"xxh3\": \"%016" PRIx64 "\"}]}\n",
                 nbytes / 4, nbytes, XXH3_64bits(weights, nbytes));
    inout_footer->manifest_bytes = (uint64_t)length;
    put(out, manifest, inout_footer->manifest_bytes);
}

int main(int argc, char **argv)
{
    if (argc < 4) return 2;
    FILE *out = fopen(argv[2], "wb");
    if (!out) fail(argv[2]);
    size_t n = strlen(argv[3]);
    int32_t weights[4096] = {(int32_t)n};
    if (n + 1 > sizeof weights / sizeof *weights) return 2;
    for (size_t i = 0; i < n; i++) weights[1 + i] = (uint8_t)argv[3][i];
    uint8_t blob[SNLRT_TOK_HEADER_BYTES];
    byte_blob(blob);
    SnlrtFooter footer = {.weights_bytes = (4 * (n + 1) + 63) / 64 * 64,
                          .tokenizer_bytes = argc > 4 && !strcmp(argv[4], "none") ? 0 : sizeof blob,
                          .magic = SNLRT_FOOTER_MAGIC};
    footer.tokenizer_offset = footer.weights_bytes;
    footer.manifest_offset = footer.tokenizer_offset + footer.tokenizer_bytes;
    footer.payload_id = payload_id(footer.weights_bytes, blob, footer.tokenizer_bytes);
    footer.payload_offset = copy_program(out, argv[1], footer.payload_id);
    put(out, weights, footer.weights_bytes);
    put(out, blob, footer.tokenizer_bytes);
    put_manifest(out, weights, &footer);
    put(out, &footer, sizeof footer);
    if (fclose(out) != 0 || chmod(argv[2], 0755) != 0) fail(argv[2]);
    return 0;
}
