/* tests/unit/test_tokenizer_decode.c -- ids to text: at once and as a stream (assert_decodes
 * holds the one against the other). Ids as in test_tokenizer.c. */
#include "tests/support/tokenizer_fixture.h"

#include "compiler/frontend/tokenizer.h"

#include <string.h>

static void byte_level_joins_bytes(void **state)
{
    SnlrtTokenizer *t = tokenizer_open_file(*state, tokenizer_byte_level_path(*state));
    assert_decodes(t, 0, "", "");
    assert_decodes(t, 0, "259 264", "hello world");
    assert_decodes(t, 0, "280 264", " hello world"); /* nothing is stripped */
    assert_decodes(t, 0, "270 153 130", "🙂");
    assert_decodes(t, 0, "97 272 266 286 285", "a你\n\ncafécat");
    snlrt_tokenizer_destroy(t);
}

static void byte_level_replaces_what_is_broken(void **state)
{
    SnlrtTokenizer *t = tokenizer_open_file(*state, tokenizer_byte_level_path(*state));
    assert_decodes(t, 0, "97 255 98", "a\uFFFDb");
    assert_decodes(t, 0, "271", "\uFFFD");     /* ends inside a character */
    assert_decodes(t, 0, "271 97", "\uFFFDa"); /* goes on with another */
    assert_decodes(t, 0, "270 270 153 130", "\uFFFD🙂");
    assert_decodes(t, 0, "160 160", "\uFFFD\uFFFD");
    assert_decodes(t, 0, "237 160 128", "\uFFFD\uFFFD\uFFFD"); /* a surrogate */
    snlrt_tokenizer_destroy(t);
}

static void special_tokens_are_left_out_unless_asked_for(void **state)
{
    SnlrtTokenizer *t = tokenizer_open_file(*state, tokenizer_byte_level_path(*state));
    assert_decodes(t, 0, "283 259 282 287", "hello<|end|>!");
    assert_decodes(t, SNLRT_DECODE_SPECIAL, "283 259 282", "<|user|>hello<|end|>");
    assert_decodes(t, 0, "270 282 153 130", "🙂"); /* they do not come between the bytes */
    snlrt_tokenizer_destroy(t);
}

static void ids_without_a_token_add_nothing(void **state)
{
    Support *s = *state;
    const char *json = tokenizer_patch(s, tokenizer_pieces_json, "\"cab\": 14", "\"cab\": 40");
    SnlrtTokenizer *t = tokenizer_open_json(s, json);
    assert_int_equal(snlrt_tokenizer_n_ids(t), 41);
    assert_decodes(t, 0, "9 20 -1 41 2000000000 40", "acab");
    snlrt_tokenizer_destroy(t);
}

static void pieces_lose_one_leading_space(void **state)
{
    SnlrtTokenizer *t = tokenizer_open_json(*state, tokenizer_pieces_json);
    assert_decodes(t, 0, "9 9", "a a");
    assert_decodes(t, 0, "1 9 9 2", "a a");
    assert_decodes(t, 0, "11 9", "  a");
    assert_decodes(t, 0, "7 9", "a a");
    assert_decodes(t, 0, "6", "");
    assert_decodes(t, SNLRT_DECODE_CONTINUE, "9 9", " a a");
    assert_decodes(t, SNLRT_DECODE_SPECIAL, "1 9", "<s> a");
    snlrt_tokenizer_destroy(t);
}

static void byte_tokens_become_characters(void **state)
{
    SnlrtTokenizer *t = tokenizer_open_json(*state, tokenizer_pieces_json);
    assert_decodes(t, 0, "9 3 7", "a\na");
    assert_decodes(t, 0, "7 4 5 7", "aéa");
    assert_decodes(t, 0, "7 4 7", "a\uFFFDa");         /* another token ends the run */
    assert_decodes(t, 0, "7 5 5 7", "a\uFFFD\uFFFDa"); /* one for each byte */
    assert_decodes(t, 0, "7 4", "a\uFFFD");
    assert_decodes(t, 0, "4 3", "\uFFFD\n");
    snlrt_tokenizer_destroy(t);
}

/* The pieces tokenizer with another decoder. */
static SnlrtTokenizer *open_decoder(Support *s, const char *decoder)
{
    const char *begin = strstr(tokenizer_pieces_json, "{\"type\": \"Sequence\", \"decoders\"");
    const char *end = strstr(tokenizer_pieces_json, ",\n \"model\"");
    const char *old = snl_arena_strndup(s->arena, begin, (size_t)(end - begin));
    return tokenizer_open_json(s, tokenizer_patch(s, tokenizer_pieces_json, old, decoder));
}

static void decoders_strip_at_both_ends(void **state)
{
    SnlrtTokenizer *t = open_decoder(
        *state, "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, "
                "{\"type\": \"Strip\", \"content\": \"a\", \"start\": 2, \"stop\": 2}]}");
    assert_decodes(t, 0, "7 7 7 8 7 7 7", "aba");
    assert_decodes(t, 0, "7 8 7 8 7", "bab");
    assert_decodes(t, 0, "8 7 7 7 7 8", "baaaab");
    assert_decodes(t, 0, "7 7 7", "");
    assert_decodes(t, 0, "8", "b");
    snlrt_tokenizer_destroy(t);
}

static void metaspace_drops_the_first_mark(void **state)
{
    SnlrtTokenizer *t = open_decoder(*state, "{\"type\": \"Metaspace\", \"replacement\": \"▁\"}");
    assert_decodes(t, 0, "9 9", "a a");
    assert_decodes(t, 0, "11 9", " a"); /* all marks of the first token, as the original does */
    assert_decodes(t, 0, "1 9 9", "a a");
    assert_decodes(t, SNLRT_DECODE_CONTINUE, "9 9", " a a");
    assert_decodes(t, 0, "3", "<0x0A>"); /* no ByteFallback */
    snlrt_tokenizer_destroy(t);
    t = open_decoder(*state, "{\"type\": \"Metaspace\", \"replacement\": \"▁\", "
                             "\"prepend_scheme\": \"never\"}");
    assert_decodes(t, 0, "9 9", " a a");
    snlrt_tokenizer_destroy(t);
}

static void no_decoder_means_spaces_between(void **state)
{
    SnlrtTokenizer *t = open_decoder(*state, "null");
    assert_decodes(t, 0, "9 7 8", "▁a a b");
    assert_decodes(t, 0, "1 9 2 7", "▁a a");
    snlrt_tokenizer_destroy(t);
    t = open_decoder(*state, "{\"type\": \"Fuse\"}");
    assert_decodes(t, 0, "9 7 8", "▁aab");
    snlrt_tokenizer_destroy(t);
}

static void bytes_join_to_characters(void **state)
{
    Support *s = *state;
    void *blob;
    size_t nbytes;
    assert_int_equal(
        snl_tokenizer_build(s->arena, SNL_TOKENIZER_BYTE, NULL, 300, s->diag, &blob, &nbytes),
        SNL_OK);
    SnlrtTokenizer *t = tokenizer_open(blob, nbytes);
    assert_decodes(t, 0, "104 105 195 169 10", "hié\n");
    assert_decodes(t, 0, "195 105 256 299 240", "\uFFFDi\uFFFD");
    snlrt_tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(byte_level_joins_bytes),
        support_test(byte_level_replaces_what_is_broken),
        support_test(special_tokens_are_left_out_unless_asked_for),
        support_test(ids_without_a_token_add_nothing),
        support_test(pieces_lose_one_leading_space),
        support_test(byte_tokens_become_characters),
        support_test(decoders_strip_at_both_ends),
        support_test(metaspace_drops_the_first_mark),
        support_test(no_decoder_means_spaces_between),
        support_test(bytes_join_to_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
