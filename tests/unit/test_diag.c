/* Diagnostics: the exact text of messages, what is quoted, limits, statuses. */
#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>

static SnlSource source_of(const char *text)
{
    return (SnlSource){"m.snl", text, strlen(text)};
}

/* The first occurrence of `word`. */
static SnlLoc at(const SnlSource *source, const char *word)
{
    const char *found = strstr(source->text, word);
    assert_non_null(found);
    return (SnlLoc){source, (uint32_t)(found - source->text), (uint32_t)strlen(word)};
}

static void error_with_caret(void **state)
{
    Support *s = *state;
    SnlSource source = source_of("module @m\n  %y = linear %h, @w : f32[T, 32]\n");
    SnlStatus status = snl_error(s->diag, SNL_E_SHAPE, at(&source, "@w"),
                                 "linear: inner sizes differ: found %d, wanted %d", 4095, 4096);
    assert_int_equal(status, SNL_BAD_INPUT);
    snl_note(s->diag, at(&source, "@m"), "'@w' is defined here");
    assert_string_equal(
        snl_diag_text(s->diag),
        "m.snl:2:19: error[E0202]: linear: inner sizes differ: found 4095, wanted 4096\n"
        "    2 |   %y = linear %h, @w : f32[T, 32]\n"
        "      |                   ^~\n"
        "m.snl:1:8: note: '@w' is defined here\n");
    assert_int_equal(snl_diag_errors(s->diag), 1);
}

static void caret_under_tabs_and_wide_text(void **state)
{
    Support *s = *state;
    SnlSource source = source_of("\ta \xe6\x97\xa5\xe6\x9c\xac e\xcc\x81 xyz");
    snl_warning(s->diag, at(&source, "xyz"), "w");
    assert_diag(s->diag, "      | \t         ^~~\n"); /* 2 + 4 + 1 + 1 + 1 columns */
}

static void caret_stays_in_its_line(void **state)
{
    Support *s = *state;
    SnlSource source = source_of("ab\r\ncd\n");
    snl_warning(s->diag, (SnlLoc){&source, 1, 100}, "long");
    assert_diag(s->diag, "m.snl:1:2: warning: long\n    1 | ab\n      |  ^\n");
    snl_warning(s->diag, (SnlLoc){&source, 1000, 1}, "beyond");
    assert_diag(s->diag, "m.snl:3:1: warning: beyond\n    3 | \n      | ^\n");
}

static void long_lines_are_cut(void **state)
{
    Support *s = *state;
    char text[5000];
    memset(text, 'a', sizeof text);
    memcpy(text + 3000, "HERE", 4);
    SnlSource source = {"big", text, sizeof text};
    snl_warning(s->diag, (SnlLoc){&source, 3000, 4}, "w");
    assert_diag(s->diag, "big:1:3001: warning: w\n    1 | ...aaaa");
    assert_diag(s->diag, "aHEREa");
    assert_diag(s->diag, "aaa...\n");
    assert_true(strlen(snl_diag_text(s->diag)) < 400);
}

static void control_characters_are_shown(void **state)
{
    Support *s = *state;
    SnlSource source = source_of("a\x1b[31mb");
    snl_error(s->diag, SNL_E_SYNTAX, (SnlLoc){&source, 0, 1}, "found '%s'", "\x1b]0;x\a\n");
    assert_diag(s->diag, "found '?]0;x?\?'\n    1 | a?[31mb\n");
}

static void broken_utf8_is_survived(void **state)
{
    Support *s = *state;
    const char bytes[] = {'\xf0', '\x9f', 'x', '\xff', '\xc0', '\xe2'};
    SnlSource source = {"m", bytes, sizeof bytes};
    for (uint32_t i = 0; i <= sizeof bytes; i++) snl_warning(s->diag, (SnlLoc){&source, i, 9}, "w");
    assert_diag(s->diag, "m:1:7: warning: w\n");
}

static void places_without_text(void **state)
{
    Support *s = *state;
    SnlSource name_only = {"model.bin", NULL, 0};
    snl_error(s->diag, SNL_E_FORMAT, (SnlLoc){&name_only, 5, 1}, "a");
    snl_error(s->diag, SNL_E_USAGE, SNL_NO_LOC, "b");
    snl_error_at(s->diag, SNL_E_CONFIG, "config.json: $.n_embd", "c");
    snl_error_at(s->diag, SNL_E_INTERNAL, NULL, "d");
    assert_string_equal(snl_diag_text(s->diag), "model.bin: error[E0304]: a\n"
                                                "snlpc: error[E0501]: b\n"
                                                "config.json: $.n_embd: error[E0302]: c\n"
                                                "snlpc: error[E0901]: d\n");
}

static void statuses_of_kinds(void **state)
{
    Support *s = *state;
    assert_int_equal(snl_error(s->diag, SNL_E_USAGE, SNL_NO_LOC, "x"), SNL_USAGE);
    assert_int_equal(snl_error(s->diag, SNL_E_MACHINE, SNL_NO_LOC, "x"), SNL_MACHINE);
    assert_int_equal(snl_error_at(s->diag, SNL_E_INTERNAL, NULL, "x"), SNL_INTERNAL);
    snl_warning(s->diag, SNL_NO_LOC, "x");
    assert_int_equal(snl_diag_errors(s->diag), 3);
}

static void a_limit_of_errors(void **state)
{
    (void)state;
    SnlDiag *diag = snl_diag_create(NULL, 2);
    for (int i = 0; i < 5; i++) {
        snl_error(diag, SNL_E_NAME, SNL_NO_LOC, "e%d", i);
        snl_note(diag, SNL_NO_LOC, "n%d", i);
    }
    assert_int_equal(snl_diag_errors(diag), 5);
    assert_string_equal(snl_diag_text(diag),
                        "snlpc: error[E0102]: e0\nsnlpc: note: n0\n"
                        "snlpc: error[E0102]: e1\nsnlpc: note: n1\n"
                        "snlpc: note: more than 2 errors; the rest is not shown\n");
    snl_diag_destroy(diag);
}

static void printed_as_kept(void **state)
{
    (void)state;
    char *printed = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&printed, &n);
    assert_non_null(out);
    SnlDiag *diag = snl_diag_create(out, 1);
    snl_error(diag, SNL_E_NAME, SNL_NO_LOC, "a");
    snl_error(diag, SNL_E_NAME, SNL_NO_LOC, "b");
    assert_int_equal(fclose(out), 0);
    assert_string_equal(printed, snl_diag_text(diag)); /* no colour: not a terminal */
    free(printed);
    snl_diag_destroy(diag);
}

static void positions(void **state)
{
    (void)state;
    SnlSource source = source_of("ab\n\ncd");
    static const unsigned wanted[][2] = {{1, 1}, {1, 2}, {1, 3}, {2, 1}, {3, 1}, {3, 2}, {3, 3}};
    for (uint32_t i = 0; i < 7; i++) {
        unsigned line, column;
        snl_source_position(&source, i, &line, &column);
        assert_int_equal(line, wanted[i][0]);
        assert_int_equal(column, wanted[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(error_with_caret),
        support_test(caret_under_tabs_and_wide_text),
        support_test(caret_stays_in_its_line),
        support_test(long_lines_are_cut),
        support_test(control_characters_are_shown),
        support_test(broken_utf8_is_survived),
        support_test(places_without_text),
        support_test(statuses_of_kinds),
        cmocka_unit_test(a_limit_of_errors),
        cmocka_unit_test(printed_as_kept),
        cmocka_unit_test(positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
