/* tests/unit/test_tokenizer_nfc.c -- the runtime's NFC, from the tables in a blob, against
 * utf8proc. */
#include "tests/support/tokenizer_fixture.h"

#include "runtime/tokenizer_internal.h"
#include "runtime/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static void check(SnlrtTokenizer *t, const char *text, size_t nbytes)
{
    SnlrtText found = {0};
    utf8proc_uint8_t *wanted = NULL;
    t->limit = 64 * nbytes + 64;
    assert_int_equal(snlrt_tok_normalize(t, text, nbytes, &found), 0);
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)nbytes,
                                      &wanted, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    assert_true(n >= 0);
    assert_int_equal(found.n, n);
    if (n) assert_memory_equal(found.at, wanted, (size_t)n);
    free(wanted);
    snlrt_text_deinit(&found);
}

static void every_character_alone_and_with_marks(void **state)
{
    static const uint32_t marks[] = {0x301, 0x316, 0x345, 0x327, 0x1161, 0x11A8, 0x3099, 0x308};
    SnlrtTokenizer *t = tokenizer_open_file(*state, tokenizer_byte_level_path(*state));
    for (uint32_t code = 1; code < 0x110000; code++) {
        if (code >= 0xD800 && code < 0xE000) continue;
        if (code >= 0x20000 && code % 16) continue; /* unassigned or plain ideographs, mostly */
        char text[16];
        unsigned n = snlrt_utf8_encode(code, text);
        check(t, text, n);
        n += snlrt_utf8_encode(marks[code % 8], text + n);
        n += snlrt_utf8_encode(marks[(code / 8) % 8], text + n);
        check(t, text, n);
    }
    snlrt_tokenizer_destroy(t);
}

static void random_strings_of_marks(void **state)
{
    static const uint32_t pool[] = {'a',   'e',    0xE9,   0x300,  0x301,  0x316,  0x327,   0x345,
                                    0x3B1, 0x1F00, 0x1100, 0x1161, 0x11A8, 0xAC00, 0xAC01,  0x915,
                                    0x93C, 0x958,  0x212B, 0xF900, 0x5D0,  0x5B7,  0x1D15E, 0x334};
    SnlrtTokenizer *t = tokenizer_open_file(*state, tokenizer_byte_level_path(*state));
    uint32_t seed = 12345;
    for (int round = 0; round < 20000; round++) {
        char text[64];
        unsigned n = 0;
        for (int i = 0; i < 12; i++) {
            seed = seed * 1664525u + 1013904223u;
            n += snlrt_utf8_encode(pool[(seed >> 16) % (sizeof pool / sizeof *pool)], text + n);
        }
        check(t, text, n);
    }
    snlrt_tokenizer_destroy(t);
}

/* Reordering is not quadratic: half a million marks in the wrong order. */
static void long_runs_of_marks(void **state)
{
    enum { N = 500000 };
    SnlrtTokenizer *t = tokenizer_open_file(*state, tokenizer_byte_level_path(*state));
    SnlrtText text = {0}, found = {0};
    for (int i = 0; i < N; i++) snlrt_text_append(&text, i % 2 ? "\xCC\x96" : "\xCC\x81", 2);
    t->limit = 64 * text.n;
    assert_int_equal(snlrt_tok_normalize(t, text.at, text.n, &found), 0);
    assert_int_equal(found.n, 2 * N);
    assert_memory_equal(found.at, "\xCC\x96", 2);
    assert_memory_equal(found.at + found.n - 2, "\xCC\x81", 2);
    snlrt_text_deinit(&text);
    snlrt_text_deinit(&found);
    snlrt_tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(every_character_alone_and_with_marks),
        support_test(random_strings_of_marks),
        support_test(long_runs_of_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
