/* tests/unit/test_tokenizer_blob.c -- blobs that are cut or damaged are refused or at least
 * harmless, and a good one works at any address. */
#include "tests/support/tokenizer_fixture.h"

#include "runtime/tokenizer_blob.h"

#include <stdlib.h>
#include <string.h>

/* Encodes and decodes something; a sanitizer sees the rest. */
static void use(SnlrtTokenizer *t)
{
    static const char text[] = "hello  world cab é 🙂 <s>a\n";
    SnlrtIds ids = {0};
    SnlrtText out = {0};
    if (snlrt_tokenizer_encode(t, text, sizeof text - 1, SNLRT_ENCODE_DEFAULT, &ids) == 0)
        snlrt_tokenizer_decode(t, ids.at, ids.n, SNLRT_DECODE_SPECIAL, &out);
    for (int32_t id = -1; id < 300; id++) snlrt_tokenizer_decode(t, &id, 1, 0, &out);
    snlrt_ids_deinit(&ids);
    snlrt_text_deinit(&out);
}

/* In a buffer of just its size, so that reading beyond is seen. */
static bool try_blob(const void *bytes, size_t nbytes)
{
    void *copy = malloc(nbytes ? nbytes : 1);
    memcpy(copy, bytes, nbytes);
    SnlrtTokenizer *t;
    const char *error;
    int code = snlrt_tokenizer_create(copy, nbytes, &t, &error);
    assert_int_equal(code == 0, t != NULL);
    assert_int_equal(code == 0, error == NULL);
    if (!code) use(t);
    snlrt_tokenizer_destroy(t);
    free(copy);
    return !code;
}

static void cut_blobs_are_refused(void **state)
{
    Support *s = *state;
    size_t nbytes;
    char *blob = tokenizer_blob_of(s, tokenizer_pieces_json, &nbytes);
    assert_non_null(blob);
    assert_true(try_blob(blob, nbytes));
    for (size_t n = 1; n < nbytes; n++) assert_false(try_blob(blob, n));
}

static void damaged_blobs_are_harmless(void **state)
{
    Support *s = *state;
    size_t nbytes, n_refused = 0;
    char *blob = tokenizer_blob_of(s, tokenizer_pieces_json, &nbytes);
    assert_non_null(blob);
    for (size_t i = 0; i < nbytes; i++) {
        static const char flips[] = {1, (char)0x80, (char)0xFF};
        for (size_t k = 0; k < sizeof flips; k++) {
            blob[i] = (char)(blob[i] ^ flips[k]);
            n_refused += !try_blob(blob, nbytes);
            blob[i] = (char)(blob[i] ^ flips[k]);
        }
    }
    assert_true(n_refused > nbytes); /* most of the tables is checked */
}

static void damage_is_named(void **state)
{
    static const struct {
        size_t at;
        unsigned char value;
        const char *message;
    } cases[] = {
        {0, 'X', "tokenizer: no blob of this version"},
        {8, 3, "tokenizer: unknown kind"},
        {15, 1, "tokenizer: ids out of range"},
        {27, 0x7F, "tokenizer: a section reaches beyond the blob"},
    };
    Support *s = *state;
    size_t nbytes;
    unsigned char *blob = tokenizer_blob_of(s, tokenizer_pieces_json, &nbytes);
    assert_non_null(blob);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char old = blob[cases[i].at];
        SnlrtTokenizer *t;
        const char *error;
        blob[cases[i].at] = cases[i].value;
        assert_int_equal(snlrt_tokenizer_create(blob, nbytes, &t, &error), SNLRT_TOKEN_BAD_INPUT);
        assert_null(t);
        assert_string_equal(error, cases[i].message);
        blob[cases[i].at] = old;
    }
}

static void blobs_work_at_any_address(void **state)
{
    Support *s = *state;
    size_t nbytes;
    const void *blob = tokenizer_blob(s, tokenizer_byte_level_path(s), 288, &nbytes);
    assert_non_null(blob);
    char *moved = malloc(nbytes + 3);
    for (int shift = 0; shift < 4; shift++) {
        memcpy(moved + shift, blob, nbytes);
        SnlrtTokenizer *t = tokenizer_open(moved + shift, nbytes);
        assert_encodes(t, 0, "hello world", 11, "259 264");
        snlrt_tokenizer_destroy(t);
    }
    free(moved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(cut_blobs_are_refused),
        support_test(damaged_blobs_are_harmless),
        support_test(damage_is_named),
        support_test(blobs_work_at_any_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
