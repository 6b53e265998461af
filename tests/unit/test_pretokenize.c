/* tests/unit/test_pretokenize.c -- pieces of a text, shown with | between them.
 *
 * The five behaviours on "the-final--countdown" are the examples of Hugging Face's documentation.
 */
#include "tests/support/tokenizer_fixture.h"

#include "runtime/tokenizer_internal.h"

#include <string.h>

/* The pieces tokenizer without normalizer, with this pre_tokenizer; ByteLevel takes its decoder
 * too. */
static SnlrtTokenizer *open_steps(Support *s, const char *pre_tokenizer)
{
    const char *json = tokenizer_patch(s, tokenizer_pieces_json, "\"normalizer\":", "\"x\":");
    if (strstr(pre_tokenizer, "ByteLevel")) {
        json = tokenizer_patch(s, json, "\"decoder\":",
                               "\"decoder\": {\"type\": \"ByteLevel\"}, "
                               "\"y\":");
        json = tokenizer_patch(s, json, "\"byte_fallback\": true", "\"byte_fallback\": false");
    }
    const char *step = snl_arena_printf(s->arena, "\"pre_tokenizer\": %s", pre_tokenizer);
    return tokenizer_open_json(s, tokenizer_patch(s, json, "\"pre_tokenizer\": null", step));
}

static void check(Support *s, const char *pre_tokenizer, const char *text, const char *wanted)
{
    SnlrtTokenizer *t = open_steps(s, pre_tokenizer);
    SnlrtTokPieces pieces = {0};
    SnlrtText shown = {0};
    t->limit = 1 << 20;
    assert_int_equal(snlrt_pretokenize(t, text, strlen(text), true, &pieces), 0);
    for (size_t i = 0; i < pieces.n; i++) {
        if (i) snlrt_text_append(&shown, "|", 1);
        snlrt_text_append(&shown, pieces.text.at + pieces.at[i].begin, pieces.at[i].n);
    }
    snlrt_text_append(&shown, "", 1);
    if (strcmp(shown.at, wanted) != 0) print_error("%s\n", pre_tokenizer);
    assert_string_equal(shown.at, wanted);
    snlrt_text_deinit(&shown);
    snlrt_tok_pieces_deinit(&pieces);
    snlrt_tokenizer_destroy(t);
}

static const char *split(Support *s, const char *pattern, const char *behaviour, const char *invert)
{
    return snl_arena_printf(s->arena,
                            "{\"type\": \"Split\", \"pattern\": {%s}, \"behavior\": \"%s\", "
                            "\"invert\": %s}",
                            pattern, behaviour, invert);
}

static void behaviours_do_what_they_say(void **state)
{
    static const struct {
        const char *behaviour, *wanted;
    } cases[] = {
        {"Removed", "the|final|countdown"},
        {"Isolated", "the|-|final|-|-|countdown"},
        {"MergedWithPrevious", "the-|final-|-|countdown"},
        {"MergedWithNext", "the|-final|-|-countdown"},
        {"Contiguous", "the|-|final|--|countdown"},
    };
    static const char *const patterns[] = {"\"String\": \"-\"", "\"Regex\": \"-\""};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int k = 0; k < 2; k++)
            check(*state, split(*state, patterns[k], cases[i].behaviour, "false"),
                  "the-final--countdown", cases[i].wanted);
}

static void inverted_splits_match_the_rest(void **state)
{
    check(*state, split(*state, "\"Regex\": \"[a-z]+\"", "Removed", "true"), "ab-cd--ef",
          "ab|cd|ef");
    check(*state, split(*state, "\"Regex\": \"[a-z]+\"", "Removed", "false"), "ab-cd--ef", "-|--");
    check(*state, split(*state, "\"Regex\": \"-\"", "MergedWithNext", "true"), "-a-b", "-|a-|b");
}

static void edges_of_splits(void **state)
{
    check(*state, split(*state, "\"String\": \"-\"", "MergedWithPrevious", "false"), "--a-",
          "-|-|a-");
    check(*state, split(*state, "\"String\": \"-\"", "MergedWithNext", "false"), "-a--", "-a|-|-");
    check(*state, split(*state, "\"String\": \"-\"", "Removed", "false"), "---", "");
    check(*state, split(*state, "\"String\": \"\"", "Isolated", "false"), "abc", "abc");
    check(*state, split(*state, "\"Regex\": \"x*\"", "Isolated", "false"), "axb", "a|x|b");
    check(*state, split(*state, "\"Regex\": \"\"", "Isolated", "false"), "aéb", "a|é|b");
    check(*state, split(*state, "\"Regex\": \"x\"", "Isolated", "false"), "", "");
    check(*state, split(*state, "\"Regex\": \"^b\"", "Isolated", "false"), "a\nb", "a\n|b");
}

static void gpt2_pattern_cuts_words(void **state)
{
    static const char level[] = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}";
    check(*state, level, "Hello, y'all! We've 123  abc\n\n x ",
          "Hello|,| y|'|all|!| We|'ve| 123| | abc|\n\n| x| ");
    check(*state, level, "é\u00A0你好 ½", "é|\u00A0|你好| ½");
    check(*state, "{\"type\": \"ByteLevel\"}", "a b", " a| b");
    check(*state, "{\"type\": \"ByteLevel\"}", " a", " a");
    check(*state, "{\"type\": \"ByteLevel\", \"use_regex\": false}", "a b", " a b");
}

static void steps_of_a_sequence_follow_each_other(void **state)
{
    check(*state,
          "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\", "
          "\"individual_digits\": true}, {\"type\": \"ByteLevel\", \"add_prefix_space\": false}]}",
          "ab 12c", "ab| |1|2|c");
    check(*state, "{\"type\": \"Digits\"}", "ab 12c½3", "ab |12|c|½3");
    check(*state, "{\"type\": \"Digits\", \"individual_digits\": true}", "12", "1|2");
    check(*state, "{\"type\": \"Sequence\", \"pretokenizers\": []}", "a b", "a b");
    check(*state, "{\"type\": \"Metaspace\", \"replacement\": \"▁\"}", "a  b", "▁a|▁|▁b");
    /* A prefix for each piece of an earlier split, or for the first only. */
    check(*state,
          "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\"}, {\"type\": "
          "\"Metaspace\", \"replacement\": \"▁\", \"split\": false}]}",
          "a1", "▁a|▁1");
    check(*state,
          "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\"}, {\"type\": "
          "\"Metaspace\", \"replacement\": \"▁\", \"prepend_scheme\": \"first\"}]}",
          "a1", "▁a|1");
}

/* Nested repetition backtracks without end; the limit turns that into an error. */
static void runaway_patterns_fail_instead_of_hanging(void **state)
{
    SnlrtTokenizer *t =
        open_steps(*state, split(*state, "\"Regex\": \"(a|aa)+$\"", "Isolated", "false"));
    SnlrtIds ids = {0};
    char text[200];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = 'b';
    assert_int_equal(snlrt_tokenizer_encode(t, text, sizeof text, 0, &ids), SNLRT_TOKEN_BAD_INPUT);
    assert_string_equal(snlrt_tokenizer_error(t),
                        "the tokenizer's pattern needs too many steps on this text");
    assert_int_equal(ids.n, 0);
    snlrt_ids_deinit(&ids);
    snlrt_tokenizer_destroy(t);
}

/* Each step doubles the text: stopped long before memory is. */
static void text_cannot_explode(void **state)
{
    Support *s = *state;
    const char *steps = "";
    for (int i = 0; i < 40; i++)
        steps = snl_arena_printf(s->arena,
                                 "%s%s{\"type\": \"Replace\", \"pattern\": {\"String\": "
                                 "\"a\"}, \"content\": \"aa\"}",
                                 steps, i ? ", " : "");
    const char *json = tokenizer_patch(s, tokenizer_pieces_json, "\"normalizers\": [\n",
                                       snl_arena_printf(s->arena, "\"normalizers\": [%s,", steps));
    SnlrtTokenizer *t = tokenizer_open_json(s, json);
    SnlrtIds ids = {0};
    assert_int_equal(snlrt_tokenizer_encode(t, "aaaa", 4, 0, &ids), SNLRT_TOKEN_BAD_INPUT);
    assert_string_equal(snlrt_tokenizer_error(t),
                        "the tokenizer's normaliser makes the text more than 64 times as long");
    assert_encodes(t, 0, "b", 1, "6 8");
    snlrt_ids_deinit(&ids);
    snlrt_tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(behaviours_do_what_they_say),
        support_test(inverted_splits_match_the_rest),
        support_test(edges_of_splits),
        support_test(gpt2_pattern_cuts_words),
        support_test(steps_of_a_sequence_follow_each_other),
        support_test(runaway_patterns_fail_instead_of_hanging),
        support_test(text_cannot_explode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
