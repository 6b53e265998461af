/* tests/unit/test_tokenizer_errors.c -- tokenizer.json files that are refused: one located
 * message that names the component, what was found and what was wanted. */
#include "tests/support/tokenizer_fixture.h"

#include "compiler/frontend/tokenizer.h"

#include <string.h>

typedef struct Broken {
    const char *from, *to; /* in tokenizer_pieces_json; from NULL: `to` is the whole file */
    const char *message;
} Broken;

static const Broken broken[] = {
    /* the text */
    {NULL, "", "tokenizer.json:1:1: error[E0304]: not a JSON text"},
    {NULL, "[]", "tokenizer.json: $: error[E0302]: found a list, wanted an object"},
    {NULL, "{}", "$.model: error[E0305]: found nothing, wanted a BPE model"},
    {NULL, "{\"model\": 7}", "$.model: error[E0302]: found an integer, wanted an object"},
    {"\"ab\": 10", "\"a\xFF\": 10", "error[E0304]: not a JSON text"}, /* broken UTF-8 */
    {"\"ab\": 10", "\"a\": 10", "duplicate object key"},
    {"\"ab\": 10", "\"\\ud800\": 10", "error[E0304]: not a JSON text"},
    /* the model */
    {"\"type\": \"BPE\"", "\"type\": \"WordPiece\"",
     "$.model.type: error[E0305]: found \"WordPiece\", which snlpc does not know; supported: "
     "\"BPE\""},
    {"\"type\": \"BPE\"", "\"type\": \"Unigram\"", "found \"Unigram\", which snlpc does not know"},
    {"\"fuse_unk\"", "\"dropout\": 0.1, \"fuse_unk\"",
     "$.model.dropout: error[E0305]: found a dropout, wanted null"},
    {"\"fuse_unk\"", "\"end_of_word_suffix\": \"</w>\", \"fuse_unk\"",
     "$.model.end_of_word_suffix: error[E0305]: found \"</w>\", which snlpc does not know; "
     "supported: null"},
    {"\"fuse_unk\"", "\"continuing_subword_prefix\": \"##\", \"fuse_unk\"",
     "$.model.continuing_subword_prefix: error[E0305]: found \"##\""},
    {"\"fuse_unk\": true", "\"fuse_unk\": 1",
     "$.model.fuse_unk: error[E0302]: found an integer, wanted true or false"},
    {"\"unk_token\": \"<unk>\"", "\"unk_token\": \"[UNK]\"",
     "$.model.unk_token: error[E0305]: found \"[UNK]\", which is not in the vocabulary"},
    /* ids */
    {"\"cab\": 14", "\"cab\": 65536",
     "$.model.vocab: error[E0305]: token \"cab\": found id 65536, wanted one below the model's "
     "vocabulary of 65536"},
    {"\"cab\": 14", "\"cab\": -1", "token \"cab\": found id -1"},
    {"\"cab\": 14", "\"cab\": \"14\"", "token \"cab\": found a string, wanted an integer as id"},
    {"\"cab\": 14", "\"cab\": 13", "tokens \"a▁\" and \"cab\" have the same id 13"},
    {"\"vocab\":", "\"vocab\": [], \"other\":",
     "$.model.vocab: error[E0305]: found a list, wanted an object"},
    /* merges */
    {"\"▁ ▁\"", "\"▁ b\"",
     "$.model.merges[2]: error[E0305]: makes the token \"▁b\", which is not in the vocabulary"},
    {"\"▁ ▁\"", "\"x a\"", "$.model.merges[2]: error[E0305]: names the token \"x\""},
    {"\"▁ ▁\"", "\"▁▁\"",
     "[2]: error[E0305]: found \"▁▁\", wanted two tokens: \"a b\" with one space"},
    {"\"▁ ▁\"", "\"a b c\"", "found \"a b c\", wanted two tokens"},
    {"\"▁ ▁\"", "[\"a\"]", "found a list, wanted two tokens"},
    {"\"▁ ▁\"", "7", "found an integer, wanted two tokens"},
    {"\"merges\": [\"▁ a\", \"a b\", \"▁ ▁\", \"a ▁\"]", "\"merges\": {}",
     "$.model.merges: error[E0302]: found an object, wanted a list"},
    /* added tokens */
    {"\"id\": 2, ", "\"id\": 3, ",
     "$.added_tokens[2]: error[E0305]: \"</s>\": found id 3, wanted 2 as in the vocabulary"},
    {"{\"id\": 2, \"content\": \"</s>\", ", "{\"id\": 2, \"content\": \"<x>\", ",
     "$.added_tokens[2]: error[E0305]: \"<x>\": id 2 is already that of \"</s>\""},
    {"\"id\": 2, ", "", "$.added_tokens[2]: error[E0305]: token \"</s>\": found nothing"},
    {"\"id\": 2, \"content\": \"</s>\"", "\"id\": 2, \"content\": 5",
     "$.added_tokens[2].content: error[E0302]: found an integer, wanted a string"},
    {"\"id\": 2, ", "\"id\": 99999, ", "token \"</s>\": found id 99999"},
    {"\"id\": 2, ", "\"lstrip\": 3, \"id\": 2, ", "$.added_tokens[2].lstrip: error[E0302]"},
    /* normalizer */
    {"{\"type\": \"Prepend\", \"prepend\": \"▁\"}", "{\"type\": \"Lowercase\"}",
     "$.normalizer.normalizers[0].type: error[E0305]: found \"Lowercase\", which snlpc does not "
     "know; supported: Prepend, Replace"},
    {"{\"type\": \"Prepend\", \"prepend\": \"▁\"}", "{\"prepend\": \"▁\"}",
     "$.normalizer.normalizers[0].type: error[E0302]: found nothing, wanted a string"},
    {"{\"type\": \"Prepend\", \"prepend\": \"▁\"}", "null",
     "$.normalizer.normalizers[0]: error[E0302]: found null, wanted an object"},
    {"{\"String\": \" \"}", "{\"Regex\": \" \"}",
     "$.normalizer.normalizers[1].pattern: error[E0305]: found a Regex to replace"},
    {"{\"String\": \" \"}", "\" \"",
     "$.normalizer.normalizers[1].pattern: error[E0305]: found a string, wanted {\"String\": "
     "text}"},
    /* pre_tokenizer */
    {"\"pre_tokenizer\": null", "\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}",
     "$.pre_tokenizer.type: error[E0305]: found \"BertPreTokenizer\", which snlpc does not know; "
     "supported: ByteLevel, Split, Digits, Metaspace, Sequence, null"},
    {"\"pre_tokenizer\": null",
     "\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \"x\"}, \"behavior\": "
     "\"Melt\"}",
     "$.pre_tokenizer.behavior: error[E0305]: found \"Melt\""},
    {"\"pre_tokenizer\": null", "\"pre_tokenizer\": {\"type\": \"ByteLevel\"}",
     "$.decoder: error[E0305]: found no ByteLevel decoder, wanted one"},
    {"\"pre_tokenizer\": null",
     "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"ByteLevel\"}, "
     "{\"type\": \"Digits\"}]}",
     "$.pre_tokenizer.pretokenizers[1]: error[E0305]: found \"Digits\" after ByteLevel"},
    {"\"pre_tokenizer\": null",
     "\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"ab\"}",
     "$.pre_tokenizer.replacement: error[E0305]: found \"ab\", wanted one character"},
    {"\"pre_tokenizer\": null",
     "\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"▁\", \"prepend_scheme\": "
     "\"last\"}",
     "$.pre_tokenizer.prepend_scheme: error[E0305]: found \"last\""},
    {"\"pre_tokenizer\": null",
     "\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"▁\", \"prepend_scheme\": "
     "\"first\", \"add_prefix_space\": false}",
     "found \"first\", wanted \"never\": add_prefix_space is false"},
    /* post_processor */
    {"\"type\": \"TemplateProcessing\"", "\"type\": \"BertProcessing\"",
     "$.post_processor.type: error[E0305]: found \"BertProcessing\""},
    {"{\"Sequence\": {\"id\": \"A\"}}]", "{\"Sequence\": {}}, {\"Sequence\": {}}]",
     "$.post_processor.single: error[E0305]: found the text 2 times, wanted it once"},
    {", {\"Sequence\": {\"id\": \"A\"}}]", "]", "found the text 0 times, wanted it once"},
    {"{\"Sequence\": {\"id\": \"A\"}}]", "{\"Text\": {}}]",
     "$.post_processor.single[1]: error[E0305]: found an object, wanted {\"SpecialToken\": ...}"},
    {"\"special_tokens\": {\"<s>\":", "\"special_tokens\": {\"<t>\":",
     "$.post_processor.single[0].SpecialToken.id: error[E0305]: found \"<s>\", which "
     "special_tokens "
     "does not list"},
    {"\"ids\": [1]", "\"ids\": [99]", "found id 99, which has no token"},
    /* decoder */
    {"{\"type\": \"Fuse\"}", "{\"type\": \"CTC\"}",
     "$.decoder.decoders[2].type: error[E0305]: found \"CTC\", which snlpc does not know"},
    {"{\"type\": \"Fuse\"},", "",
     "$.decoder.decoders[2]: error[E0305]: found Strip at this place, wanted"},
    {"{\"type\": \"Fuse\"}", "{\"type\": \"ByteLevel\"}",
     "$.decoder.decoders[2]: error[E0305]: found ByteLevel at this place"},
    {"{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}",
     "{\"type\": \"Fuse\"}, {\"type\": \"ByteFallback\"}",
     "$.decoder.decoders[2]: error[E0305]: found ByteFallback at this place"},
    {"\"content\": \" \", \"start\": 1", "\"content\": \"  \", \"start\": 1",
     "$.decoder.decoders[3].content: error[E0305]: found \"  \", wanted one character"},
    {"\"content\": \" \", \"start\": 1", "\"content\": \" \", \"start\": -1",
     "$.decoder.decoders[3].start: error[E0302]: found -1, wanted 0 to 1024"},
};

static void broken_files_get_one_message(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        void *own;
        support_setup(&own);
        Support *s = own;
        const Broken *b = &broken[i];
        const char *json =
            b->from ? tokenizer_patch(s, tokenizer_pieces_json, b->from, b->to) : b->to;
        size_t nbytes;
        void *blob = tokenizer_blob_of(s, json, &nbytes);
        if (blob) print_error("accepted, wanted: %s\n", b->message);
        assert_null(blob);
        assert_diag(s->diag, b->message);
        if (snl_diag_errors(s->diag) != 1) print_error("%s", snl_diag_text(s->diag));
        assert_int_equal(snl_diag_errors(s->diag), 1);
        support_teardown(&own);
    }
}

static void foreign_patterns_are_refused(void **state)
{
    static const struct {
        const char *pattern, *problem;
    } cases[] = {
        {"(", "at byte 1: missing closing parenthesis"},
        {"[a-z&&[^b]]", "found an intersection of classes (&&), which is not supported"},
        {"[a[b]]", "found [ within a class, which is not supported"},
        {"\\\\h+", "found \\h (a hexadecimal digit there)"},
        {"\\\\w+", "found \\w (marks belong to it there)"},
        {"a{,3}", "found {,n}"},
        {"\\\\p{N}{1,3}+", "found a possessive interval ({n,m}+)"},
        {"(*COMMIT)a", "found (* (a control verb)"},
        {"(?im:a.)", "found (?m"},
        {"\\\\p{Nonsense}", "at byte"},
        {"a\\\\Kb", "found \\K"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *own;
        support_setup(&own);
        Support *s = own;
        const char *step = snl_arena_printf(
            s->arena,
            "\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Isolated\", \"pattern\": "
            "{\"Regex\": \"%s\"}}",
            cases[i].pattern);
        size_t nbytes;
        assert_null(tokenizer_blob_of(
            s, tokenizer_patch(s, tokenizer_pieces_json, "\"pre_tokenizer\": null", step),
            &nbytes));
        assert_diag(s->diag, "$.pre_tokenizer.pattern.Regex: error[E0305]: pattern ");
        assert_diag(s->diag, cases[i].problem);
        support_teardown(&own);
    }
    (void)state;
}

/* What the patterns of today's models use. */
static void known_patterns_are_taken(void **state)
{
    static const char *const patterns[] = {
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "
        "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+",
        "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*"
        "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]+(?i:'s|'t)?|\\\\p{N}{1,3}",
        "[一-龥\\u3040-ゟ゠-ヿ]+",
        "[!\\\"#$%&'()*+,\\\\-./:;<=>?@\\\\[\\\\\\\\\\\\]^_`{|}~][A-Za-z]+",
        "[]a]+[^]b]",
    };
    Support *s = *state;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        const char *step = snl_arena_printf(
            s->arena,
            "\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Isolated\", \"pattern\": "
            "{\"Regex\": \"%s\"}}",
            patterns[i]);
        SnlrtTokenizer *t = tokenizer_open_json(
            s, tokenizer_patch(s, tokenizer_pieces_json, "\"pre_tokenizer\": null", step));
        snlrt_tokenizer_destroy(t);
    }
}

static void ids_must_fit_the_model(void **state)
{
    Support *s = *state;
    size_t nbytes;
    assert_non_null(tokenizer_blob(s, tokenizer_byte_level_path(s), 288, &nbytes));
    assert_null(tokenizer_blob(s, tokenizer_byte_level_path(s), 287, &nbytes));
    assert_diag(s->diag,
                "$.added_tokens[5]: error[E0305]: token \"<|end|>!\": found id 287, wanted "
                "one below the model's vocabulary of 287; the tokenizer belongs to another "
                "model");
}

static void missing_files_are_reported(void **state)
{
    Support *s = *state;
    size_t nbytes;
    assert_null(tokenizer_blob(s, support_path(s, "none.json"), 100, &nbytes));
    assert_diag(s->diag, "none.json: error[E0601]: cannot open");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_files_get_one_message),
        cmocka_unit_test(foreign_patterns_are_refused),
        support_test(known_patterns_are_taken),
        support_test(ids_must_fit_the_model),
        support_test(missing_files_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
