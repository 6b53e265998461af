/* JSON: limits, located grammar errors, paths of meaning errors, the first-error rule. */
#include "tests/support/support.h"

#include "compiler/frontend/json.h"

#include <string.h>

static SnlStatus open_text(Support *s, const char *text, SnlJsonDoc **out)
{
    SnlSource *source = SNL_NEW(s->arena, SnlSource);
    *source = (SnlSource){"config.json", text, strlen(text)};
    return snl_json_open_text(s->arena, source, &snl_json_config_limits, s->diag, out);
}

static SnlJson root_of(Support *s, const char *text)
{
    SnlJsonDoc *doc;
    assert_int_equal(open_text(s, text, &doc), SNL_OK);
    return snl_json_root(doc);
}

static void reads_every_kind(void **state)
{
    Support *s = *state;
    SnlJson root = root_of(s, "{\"i\": -7, \"r\": 1.5, \"b\": true, \"t\": \"x\", \"a\": [1, 2], "
                              "\"o\": {\"k\": 3}, \"n\": null}");
    assert_int_equal(snl_json_int(snl_json_get(root, "i"), -10, 10), -7);
    assert_close(snl_json_real(snl_json_get(root, "r"), 0, 2), 1.5, 0, 0);
    assert_close(snl_json_real(snl_json_get(root, "i"), -10, 2), -7, 0, 0);
    assert_true(snl_json_bool(snl_json_get(root, "b")));
    assert_string_equal(snl_json_text(snl_json_get(root, "t")), "x");
    assert_int_equal(snl_json_length(snl_json_get(root, "a")), 2);
    assert_int_equal(snl_json_int(snl_json_item(snl_json_get(root, "a"), 1), 0, 9), 2);
    assert_int_equal(snl_json_int(snl_json_get(snl_json_get(root, "o"), "k"), 0, 9), 3);
    assert_int_equal(root.doc->status, SNL_OK);
    snl_json_close(root.doc);
}

static void null_is_absent_but_stated(void **state)
{
    Support *s = *state;
    SnlJson root = root_of(s, "{\"n\": null}");
    assert_false(snl_json_present(snl_json_get(root, "n")));
    assert_false(snl_json_has(root, "n"));
    assert_true(snl_json_states(root, "n"));
    assert_false(snl_json_states(root, "m"));
    assert_int_equal(snl_json_int_or(snl_json_get(root, "n"), 0, 9, 5), 5);
    assert_close(snl_json_real_or(snl_json_get(root, "m"), 0, 9, 0.5), 0.5, 0, 0);
    assert_true(snl_json_bool_or(snl_json_get(root, "m"), true));
    assert_string_equal(snl_json_text_or(snl_json_get(root, "m"), "d"), "d");
    assert_int_equal(root.doc->status, SNL_OK);
    snl_json_close(root.doc);
}

static void wrong_values_name_their_path(void **state)
{
    Support *s = *state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{\"o\": {\"k\": \"x\"}}",
         "config.json: $.o.k: error[E0302]: found a string, wanted an integer"},
        {"{\"o\": {\"k\": 1.0}}",
         "$.o.k: error[E0302]: found a number with a fraction or exponent"},
        {"{\"o\": {\"k\": true}}", "found true, wanted an integer"},
        {"{\"o\": {\"k\": 10}}", "found 10, wanted 0 to 9"},
        {"{\"o\": {\"k\": -1}}", "found -1, wanted 0 to 9"},
        {"{\"o\": {\"k\": null}}", "$.o.k: error[E0302]: found nothing, wanted an integer"},
        {"{\"o\": {}}", "$.o.k: error[E0302]: found nothing, wanted an integer"},
        {"{\"o\": []}", "$.o: error[E0302]: found a list, wanted an object"},
        {"[]", "config.json: $: error[E0302]: found a list, wanted an object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        SnlJson root = root_of(s, cases[i].text);
        assert_int_equal(snl_json_int(snl_json_get(snl_json_get(root, "o"), "k"), 0, 9), 0);
        assert_int_equal(root.doc->status, SNL_BAD_INPUT);
        assert_diag(s->diag, cases[i].message);
        snl_json_close(root.doc);
    }
}

static void only_the_first_mistake_is_reported(void **state)
{
    Support *s = *state;
    SnlJson root = root_of(s, "{\"a\": \"x\", \"b\": \"y\"}");
    snl_json_int(snl_json_get(root, "a"), 0, 1);
    snl_json_int(snl_json_get(root, "b"), 0, 1);
    snl_json_bool(snl_json_get(root, "b"));
    snl_json_length(snl_json_get(root, "b"));
    assert_int_equal(snl_diag_errors(s->diag), 1);
    assert_diag(s->diag, "$.a: ");
    snl_json_close(root.doc);
}

static void grammar_errors_point_into_the_text(void **state)
{
    Support *s = *state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "config.json:1:1: error[E0304]"},
        {"{\n  \"a\": 1,\n  \"b\" 2\n}", "config.json:3:7: error[E0304]"},
        {"{\"a\": 1", "config.json:1:7: error[E0304]"},
        {"{\"a\": 1} x", "config.json:1:10: error[E0304]"},
        {"{\"a\": 1, \"a\": 2}", "duplicate object key"},
        {"{\"a\": NaN}", "config.json:1:7: error[E0304]"},
        {"{\"a\": 1e999}", "real number overflow"},
        {"{\"a\": 99999999999999999999}", "too big integer"},
        {"{\"a\": \"\xff\"}", "error[E0304]"},
        {"{\"a\": \"\\u0000\"}", "error[E0304]"},
        {"{\"a\": \"", "error[E0304]"},
        {"3", "'[' or '{' expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        SnlJsonDoc *doc;
        assert_int_equal(open_text(s, cases[i].text, &doc), SNL_BAD_INPUT);
        assert_diag(s->diag, cases[i].message);
        assert_int_equal(snl_diag_errors(s->diag), i + 1);
    }
}

static void limits_hold_before_memory_is_asked_for(void **state)
{
    Support *s = *state;
    enum { N = 300000 };
    static char text[N + 1];
    json_t *root;
    size_t offset;
    const char *reason;
    SnlJsonLimits limits = {.max_bytes = N, .max_depth = 4, .max_values = 1000};

    memset(text, '[', N);
    assert_false(snl_json_parse_text(s->arena, text, N, &limits, &root, &offset, &reason));
    assert_string_equal(reason, "nested too deeply");
    assert_int_equal(offset, 4);

    for (size_t i = 0; i < N; i++) text[i] = i ? (i % 3 == 0 ? ',' : i % 3 == 1 ? '[' : ']') : '[';
    assert_false(snl_json_parse_text(s->arena, text, N, &limits, &root, &offset, &reason));
    assert_string_equal(reason, "too many values");

    limits.max_bytes = N - 1;
    assert_false(snl_json_parse_text(s->arena, text, N, &limits, &root, &offset, &reason));
    assert_non_null(strstr(reason, "found 300000 bytes, wanted at most 299999"));
}

static void brackets_in_strings_are_text(void **state)
{
    Support *s = *state;
    SnlJsonLimits limits = {.max_bytes = 100, .max_depth = 1, .max_values = 3};
    const char *text = "{\"[[[[,,,,\\\"[[\": 1}", *reason;
    json_t *root;
    size_t offset;
    assert_true(
        snl_json_parse_text(s->arena, text, strlen(text), &limits, &root, &offset, &reason));
    json_decref(root);
}

static void missing_file_is_the_machines(void **state)
{
    Support *s = *state;
    SnlJsonDoc *doc;
    assert_int_equal(snl_json_open(s->arena, support_path(s, "none.json"), &snl_json_config_limits,
                                   s->diag, &doc),
                     SNL_MACHINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(reads_every_kind),
        support_test(null_is_absent_but_stated),
        support_test(wrong_values_name_their_path),
        support_test(only_the_first_mistake_is_reported),
        support_test(grammar_errors_point_into_the_text),
        support_test(limits_hold_before_memory_is_asked_for),
        support_test(brackets_in_strings_are_text),
        support_test(missing_file_is_the_machines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
