/* tests/unit/test_utf8.c -- strict UTF-8, both ways. */
#include "tests/support/support.h"

#include "runtime/utf8.h"

#include <string.h>

static void every_scalar_value_comes_back(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x110000; code++) {
        if (code >= 0xD800 && code < 0xE000) continue;
        char text[4];
        uint32_t found;
        unsigned n = snlrt_utf8_encode(code, text);
        assert_int_equal(snlrt_utf8_decode(text, n, &found), n);
        assert_int_equal(found, code);
        for (unsigned cut = 1; cut < n; cut++)
            assert_int_equal(snlrt_utf8_decode(text, cut, &found), 0);
    }
}

/* Unicode standard, table 3-7 and the examples of its section on U+FFFD. */
static void broken_sequences_have_their_length(void **state)
{
    static const struct {
        const char *text;
        int result;
    } cases[] = {
        {"\x80", -1},         {"\xBF", -1},         {"\xC0\x80", -1},        {"\xC1\xBF", -1},
        {"\xC3(", -1},        {"\xE0\x80\x80", -1}, {"\xE0\xA0(", -2},       {"\xED\xA0\x80", -1},
        {"\xE4\xBD(", -2},    {"\xF0\x80\x80", -1}, {"\xF0\x9F\x99(", -3},   {"\xF4\x90\x80", -1},
        {"\xF5\x80\x80", -1}, {"\xFF", -1},         {"\xF4\x8F\xBF\xBF", 4}, {"\xED\x9F\xBF", 3},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t code;
        assert_int_equal(snlrt_utf8_decode(cases[i].text, strlen(cases[i].text), &code),
                         cases[i].result);
    }
}

static void spaces_are_those_of_unicode(void **state)
{
    static const uint32_t spaces[] = {9,      10,     11,     12,     13,     32,     0x85,
                                      0xA0,   0x1680, 0x2000, 0x2001, 0x2002, 0x2003, 0x2004,
                                      0x2005, 0x2006, 0x2007, 0x2008, 0x2009, 0x200A, 0x2028,
                                      0x2029, 0x202F, 0x205F, 0x3000};
    (void)state;
    size_t next = 0, n = sizeof spaces / sizeof *spaces;
    for (uint32_t code = 0; code < 0x110000; code++) {
        bool wanted = next < n && spaces[next] == code;
        if (wanted) next++;
        assert_int_equal(snlrt_utf8_is_space(code), wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scalar_value_comes_back),
        cmocka_unit_test(broken_sequences_have_their_length),
        cmocka_unit_test(spaces_are_those_of_unicode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
