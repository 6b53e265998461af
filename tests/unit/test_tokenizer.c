/* tests/unit/test_tokenizer.c -- text to ids, with vectors worked out by hand.
 *
 * tests/data/tokenizer/byte_level.json: byte b has id b; merges in order of rank from id 256:
 *   256 he  257 ll  258 hell  259 hello  260 _w  261 or  262 _wor  263 ld  264 _world  265 's
 *   266 \n\n  267 __  268 ____  269 12  270 F0 9F  271 E4 BD  272 E4 BD A0  273 ab  274 bc  275 cd
 *   276 yz  277 xy  278 aa  279 C3 A9  280 _hello  281 'll          (_ is a space)
 * added: 282 <|end|>  283 <|user|> (rstrip)  284 <mask> (lstrip)  285 cat (a single word)
 *   286 café  287 <|end|>! (not special); the template puts 283 before and 282 after. */
#include "tests/support/tokenizer_fixture.h"

#include "compiler/frontend/tokenizer.h"

#include <stdlib.h>
#include <string.h>

typedef struct Vector {
    const char *text, *ids;
} Vector;

static void check(SnlrtTokenizer *t, unsigned flags, const Vector *vectors, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_encodes(t, flags, vectors[i].text, strlen(vectors[i].text), vectors[i].ids);
}
#define CHECK(t, flags, vectors) check((t), (flags), (vectors), sizeof(vectors) / sizeof *(vectors))

/* ---- byte level ---------------------------------------------------------------------------- */

static void byte_level_merges_by_rank_then_from_the_left(void **state)
{
    static const Vector vectors[] = {
        {"", ""},
        {"hello world", "259 264"},
        {" hello", "280"},
        {"hellhe", "258 256"},
        {"abcd", "273 275"}, /* ab before bc; cd is left */
        {"bcd", "274 100"},
        {"xyz", "120 276"}, /* yz has the lower rank */
        {"aaa", "278 97"},
        {"aaaa", "278 278"},
        {"aaaaa", "278 278 97"},
    };
    SnlrtTokenizer *t = tokenizer_open_file(*state, tokenizer_byte_level_path(*state));
    CHECK(t, SNLRT_ENCODE_SPECIAL, vectors);
    snlrt_tokenizer_destroy(t);
}

static void byte_level_pattern_cuts_before_merging(void **state)
{
    static const Vector vectors[] = {
        {"12345", "49 50 51 52 53"}, /* each digit alone: 12 cannot be made */
        {"it's", "105 116 265"},     {"IT'S", "73 84 39 83"},   {"we'll", "119 101 281"},
        {"\n\n\nx", "266 10 120"},   {"\r\n", "13 10"},         {"x\n\n", "120 266"},
        {"!\n\n", "33 266"},         {"a   b", "97 267 32 98"}, /* the last space goes with the word
                                                                 */
        {"a    ", "97 268"},         {"     ", "268 32"},       {"a\tb", "97 9 98"},
    };
    SnlrtTokenizer *t = tokenizer_open_file(*state, tokenizer_byte_level_path(*state));
    CHECK(t, SNLRT_ENCODE_SPECIAL, vectors);
    assert_encodes(t, SNLRT_ENCODE_SPECIAL, "a\0b", 3, "97 0 98");
    snlrt_tokenizer_destroy(t);
}

static void byte_level_takes_all_of_unicode(void **state)
{
    static const Vector vectors[] = {
        {"🙂", "270 153 130"},   {"你好", "272 229 165 189"},  {"é", "279"},
        {"e\xCC\x81", "279"}, /* composed by NFC */
        {"١٢", "217 161 217 162"}, {"\xC2\xA0x", "194 160 120"},
    };
    SnlrtTokenizer *t = tokenizer_open_file(*state, tokenizer_byte_level_path(*state));
    CHECK(t, SNLRT_ENCODE_SPECIAL, vectors);
    snlrt_tokenizer_destroy(t);
}

static void broken_utf8_becomes_replacement_characters(void **state)
{
    static const Vector vectors[] = {
        {"a\xFF"
         "b",
         "97 239 191 189 98"},
        {"\xE4\xBD", "239 191 189"}, /* one for a beginning that is right */
        {"\xE4\xBD\xFF", "239 191 189 239 191 189"},
        {"\xC0\x80", "239 191 189 239 191 189"},                 /* overlong */
        {"\xED\xA0\x80", "239 191 189 239 191 189 239 191 189"}, /* a surrogate */
        {"\xF0\x9F\x99", "239 191 189"},
    };
    SnlrtTokenizer *t = tokenizer_open_file(*state, tokenizer_byte_level_path(*state));
    CHECK(t, SNLRT_ENCODE_SPECIAL, vectors);
    snlrt_tokenizer_destroy(t);
}

static void added_tokens_are_found_in_text(void **state)
{
    static const Vector vectors[] = {
        {"hello<|end|>world", "259 282 119 261 263"},
        {"<|end|><|end|>", "282 282"},
        {"<|end|>!", "287"}, /* the longest */
        {"<|end|", "60 124 101 110 100 124"},
        {"<|user|>  \n hello", "283 259"},
        {"hello  <mask> x", "259 284 32 120"},
        {"<|user|>  <mask>", "283 284"}, /* both want the spaces; the first has them */
        {"cat", "285"},
        {"a cat.", "97 32 285 46"},
        {"cats", "99 97 116 115"},
        {"cat_", "99 97 116 95"},
        {"\xC3\xA9"
         "cat",
         "279 99 97 116"},
        {"catcat cat", "99 97 116 99 97 116 32 285"},
        {"café", "286"},
        {"cafe\xCC\x81", "286"}, /* looked for in the normalised text */
    };
    SnlrtTokenizer *t = tokenizer_open_file(*state, tokenizer_byte_level_path(*state));
    CHECK(t, SNLRT_ENCODE_SPECIAL, vectors);
    snlrt_tokenizer_destroy(t);
}

static void special_tokens_can_be_plain_text(void **state)
{
    static const Vector vectors[] = {
        {"<|end|>", "60 124 101 110 100 124 62"},
        {"<|end|>!", "287"}, /* not special */
        {"cat", "285"},
    };
    SnlrtTokenizer *t = tokenizer_open_file(*state, tokenizer_byte_level_path(*state));
    CHECK(t, 0, vectors);
    snlrt_tokenizer_destroy(t);
}

static void template_goes_around_the_text(void **state)
{
    static const Vector vectors[] = {
        {"", "283 282"}, {"hello", "283 259 282"}, {"<|user|>hello", "283 283 259 282"}};
    SnlrtTokenizer *t = tokenizer_open_file(*state, tokenizer_byte_level_path(*state));
    CHECK(t, SNLRT_ENCODE_DEFAULT, vectors);
    assert_true(snlrt_tokenizer_is_special(t, 282));
    assert_false(snlrt_tokenizer_is_special(t, 287));
    assert_false(snlrt_tokenizer_is_special(t, 97));
    assert_false(snlrt_tokenizer_is_special(t, -1));
    assert_false(snlrt_tokenizer_is_special(t, 288));
    assert_int_equal(snlrt_tokenizer_n_ids(t), 288);
    snlrt_tokenizer_destroy(t);
}

/* ---- pieces -------------------------------------------------------------------------------- */

static void pieces_normalise_and_fall_back_to_bytes(void **state)
{
    static const Vector vectors[] = {
        {"", ""},
        {"ab", "9 8"}, /* _a has the lower rank */
        {"b", "6 8"},
        {"a b", "9 6 8"},
        {"cab", "6 12 10"},
        {"  a", "11 9"},
        {"a\n", "9 3"},
        {"é", "6 4 5"},
        {"ü", "6 0"},  /* no byte token for its second byte */
        {"üü", "6 0"}, /* unknowns fuse */
        {"üc", "6 0 12"},
        {"üéc", "6 4 5 0 12"}, /* spelt-out bytes pass a waiting unknown */
        {"a</s>b", "9 2 6 8"}, /* the text after a special token begins anew */
    };
    SnlrtTokenizer *t = tokenizer_open_json(*state, tokenizer_pieces_json);
    CHECK(t, SNLRT_ENCODE_SPECIAL, vectors);
    assert_encodes(t, SNLRT_ENCODE_DEFAULT, "", 0, "1");
    assert_encodes(t, SNLRT_ENCODE_DEFAULT, "ab", 2, "1 9 8");
    snlrt_tokenizer_destroy(t);
}

static void unknowns_stay_apart_or_vanish(void **state)
{
    const char *json =
        tokenizer_patch(*state, tokenizer_pieces_json, "\"fuse_unk\": true", "\"fuse_unk\": false");
    SnlrtTokenizer *t = tokenizer_open_json(*state, json);
    assert_encodes(t, 0, "üü", 4, "6 0 0");
    snlrt_tokenizer_destroy(t);
    json = tokenizer_patch(*state, tokenizer_pieces_json, "\"unk_token\": \"<unk>\"",
                           "\"unk_token\": null");
    t = tokenizer_open_json(*state, json);
    assert_encodes(t, 0, "aüc", 4, "9 12");
    snlrt_tokenizer_destroy(t);
}

static void whole_tokens_can_come_before_merges(void **state)
{
    const char *json = tokenizer_patch(*state, tokenizer_pieces_json,
                                       "{\"type\": \"Prepend\", \"prepend\": \"▁\"},", "");
    SnlrtTokenizer *t = tokenizer_open_json(*state, json);
    assert_encodes(t, 0, "cab", 3, "12 10");
    snlrt_tokenizer_destroy(t);
    json = tokenizer_patch(*state, json, "\"ignore_merges\": false", "\"ignore_merges\": true");
    t = tokenizer_open_json(*state, json);
    assert_encodes(t, 0, "cab", 3, "14");
    assert_encodes(t, 0, "cabc", 4, "12 10 12");
    snlrt_tokenizer_destroy(t);
}

/* Pre-tokenizers in place of the normalizer. */
static SnlrtTokenizer *open_metaspace(Support *s, const char *settings)
{
    const char *json = tokenizer_patch(s, tokenizer_pieces_json,
                                       "{\"type\": \"Prepend\", \"prepend\": \"▁\"},", "");
    const char *step = snl_arena_printf(
        s->arena, "\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"▁\", %s}",
        settings);
    return tokenizer_open_json(s, tokenizer_patch(s, json, "\"pre_tokenizer\": null", step));
}

static void metaspace_follows_its_scheme(void **state)
{
    static const struct {
        const char *settings, *text, *ids;
    } cases[] = {
        {"\"prepend_scheme\": \"always\"", "a b", "9 6 8"},
        {"\"prepend_scheme\": \"always\"", " a", "9"},
        {"\"prepend_scheme\": \"always\"", "a</s>b", "9 2 6 8"},
        {"\"prepend_scheme\": \"first\"", "a</s>b", "9 2 8"},
        {"\"prepend_scheme\": \"first\"", "</s>b", "2 8"},
        {"\"prepend_scheme\": \"never\"", "b a", "8 9"},
        {"\"add_prefix_space\": true", "b", "6 8"},
        {"\"add_prefix_space\": false", "b", "8"},
        {"\"split\": true", "ba b", "6 8 7 6 8"},
        {"\"split\": false", "ba b", "6 8 13 8"}, /* a merge across the space */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SnlrtTokenizer *t = open_metaspace(*state, cases[i].settings);
        assert_encodes(t, SNLRT_ENCODE_SPECIAL, cases[i].text, strlen(cases[i].text), cases[i].ids);
        snlrt_tokenizer_destroy(t);
    }
}

static void merges_may_be_pairs_and_the_last_of_two_counts(void **state)
{
    static const char from[] = "[\"▁ a\", \"a b\", \"▁ ▁\", \"a ▁\"]";
    const char *json =
        tokenizer_patch(*state, tokenizer_pieces_json, from, "[[\"▁\", \"a\"], [\"a\", \"b\"]]");
    SnlrtTokenizer *t = tokenizer_open_json(*state, json);
    assert_encodes(t, 0, "ab", 2, "9 8");
    snlrt_tokenizer_destroy(t);
    json = tokenizer_patch(*state, tokenizer_pieces_json, from, "[\"▁ a\", \"a b\", \"▁ a\"]");
    t = tokenizer_open_json(*state, json);
    assert_encodes(t, 0, "ab", 2, "6 10");
    snlrt_tokenizer_destroy(t);
}

/* ---- other kinds --------------------------------------------------------------------------- */

static void bytes_are_their_own_ids(void **state)
{
    Support *s = *state;
    void *blob;
    size_t nbytes;
    assert_int_equal(
        snl_tokenizer_build(s->arena, SNL_TOKENIZER_BYTE, NULL, 256, s->diag, &blob, &nbytes),
        SNL_OK);
    SnlrtTokenizer *t = tokenizer_open(blob, nbytes);
    assert_int_equal(snlrt_tokenizer_kind(t), SNLRT_TOKENIZER_BYTE);
    assert_int_equal(snlrt_tokenizer_n_ids(t), 256);
    assert_encodes(t, SNLRT_ENCODE_DEFAULT, "a\xFF\0é", 5, "97 255 0 195 169");
    assert_encodes(t, SNLRT_ENCODE_DEFAULT, "", 0, "");
    snlrt_tokenizer_destroy(t);
    assert_int_equal(
        snl_tokenizer_build(s->arena, SNL_TOKENIZER_BYTE, NULL, 255, s->diag, &blob, &nbytes),
        SNL_BAD_INPUT);
    assert_diag(s->diag, "tokenizer \"byte\": error[E0305]: found a vocabulary of 255, wanted at "
                         "least 256");
}

static void without_a_tokenizer_encoding_says_so(void **state)
{
    Support *s = *state;
    void *blob = s;
    size_t nbytes = 1;
    assert_int_equal(
        snl_tokenizer_build(s->arena, SNL_TOKENIZER_NONE, NULL, 7, s->diag, &blob, &nbytes),
        SNL_OK);
    assert_null(blob);
    assert_int_equal(nbytes, 0);
    SnlrtTokenizer *t = tokenizer_open(NULL, 0);
    SnlrtIds ids = {0};
    assert_int_equal(snlrt_tokenizer_kind(t), SNLRT_TOKENIZER_NONE);
    assert_int_equal(snlrt_tokenizer_encode(t, "a", 1, 0, &ids), SNLRT_TOKEN_BAD_INPUT);
    assert_string_equal(snlrt_tokenizer_error(t), "the model has no tokenizer; give token ids");
    assert_int_equal(ids.n, 0);
    assert_decodes(t, 0, "1 2 3", "");
    snlrt_tokenizer_destroy(t);
}

static void same_file_gives_same_bytes(void **state)
{
    Support *s = *state;
    size_t n_first, n_second;
    const char *path = tokenizer_byte_level_path(s);
    void *first = tokenizer_blob(s, path, 288, &n_first);
    void *second = tokenizer_blob(s, path, 288, &n_second);
    assert_int_equal(n_first, n_second);
    assert_memory_equal(first, second, n_first);
}

/* A piece of a million characters: merging must not be quadratic. */
static void long_pieces_are_no_problem(void **state)
{
    enum { N = 1000000 };
    SnlrtTokenizer *t = tokenizer_open_file(*state, tokenizer_byte_level_path(*state));
    char *text = malloc(N);
    SnlrtIds ids = {0};
    memset(text, 'a', N);
    assert_int_equal(snlrt_tokenizer_encode(t, text, N, 0, &ids), 0);
    assert_int_equal(ids.n, N / 2);
    memset(text, '\n', N);
    ids.n = 0;
    assert_int_equal(snlrt_tokenizer_encode(t, text, N, 0, &ids), 0);
    assert_int_equal(ids.n, N / 2);
    free(text);
    snlrt_ids_deinit(&ids);
    snlrt_tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(byte_level_merges_by_rank_then_from_the_left),
        support_test(byte_level_pattern_cuts_before_merging),
        support_test(byte_level_takes_all_of_unicode),
        support_test(broken_utf8_becomes_replacement_characters),
        support_test(added_tokens_are_found_in_text),
        support_test(special_tokens_can_be_plain_text),
        support_test(template_goes_around_the_text),
        support_test(pieces_normalise_and_fall_back_to_bytes),
        support_test(unknowns_stay_apart_or_vanish),
        support_test(whole_tokens_can_come_before_merges),
        support_test(metaspace_follows_its_scheme),
        support_test(merges_may_be_pairs_and_the_last_of_two_counts),
        support_test(bytes_are_their_own_ids),
        support_test(without_a_tokenizer_encoding_says_so),
        support_test(same_file_gives_same_bytes),
        support_test(long_pieces_are_no_problem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
