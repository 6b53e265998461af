/* compiler/frontend/tokenizer_regex.c -- is a pre-tokenizer's pattern safe to hand to PCRE2?
 *
 * tokenizer.json patterns are written for Oniguruma (Ruby syntax). Almost all of it means the
 * same in PCRE2 with UTF and UCP; the few things that do not are refused by name instead of
 * splitting text another way. One difference stays: PCRE2's \s includes U+180E (Mongolian vowel
 * separator). */
#include "compiler/frontend/tokenizer_desc.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

typedef struct Construct {
    const char *text; /* as it stands in the pattern */
    enum { ANYWHERE, IN_CLASS, OUTSIDE } where;
    const char *meaning;
} Construct;

static const Construct foreign[] = {
    {"&&", IN_CLASS, "an intersection of classes (&&)"},
    {"[", IN_CLASS, "[ within a class"},
    {"\\w", ANYWHERE, "\\w (marks belong to it there)"},
    {"\\W", ANYWHERE, "\\W (marks do not belong to it there)"},
    {"\\b", ANYWHERE, "\\b (marks belong to words there)"},
    {"\\B", ANYWHERE, "\\B (marks belong to words there)"},
    {"\\h", ANYWHERE, "\\h (a hexadecimal digit there)"},
    {"\\H", ANYWHERE, "\\H (no hexadecimal digit there)"},
    {"\\v", ANYWHERE, "\\v (one character there)"},
    {"\\Z", OUTSIDE, "\\Z"},
    {"\\K", OUTSIDE, "\\K"},
    {"\\C", OUTSIDE, "\\C"},
    {"\\g", OUTSIDE, "\\g (a call)"},
    {"\\y", OUTSIDE, "\\y (a text segment boundary)"},
    {"\\Y", OUTSIDE, "\\Y (a text segment boundary)"},
    {"(*", OUTSIDE, "(* (a control verb)"},
    {"(?R", OUTSIDE, "(?R (recursion)"},
    {"(?C", OUTSIDE, "(?C (a callout)"},
    {"(?m", OUTSIDE, "(?m (a dot that matches line ends there)"},
    {"(?s", OUTSIDE, "(?s"},
    {"(?x", OUTSIDE, "(?x"},
    {"(?im", OUTSIDE, "(?m (a dot that matches line ends there)"},
    {"(?is", OUTSIDE, "(?s"},
    {"(?ix", OUTSIDE, "(?x"},
    {"(?~", OUTSIDE, "(?~ (an absence operator)"},
    {"{,", OUTSIDE, "{,n}"},
    {"}+", OUTSIDE, "a possessive interval ({n,m}+)"},
};

/* The construct at pattern[at...], or NULL. */
static const Construct *foreign_at(const char *rest, size_t n, bool in_class)
{
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        const Construct *c = &foreign[i];
        if (c->where != ANYWHERE && (c->where == IN_CLASS) != in_class) continue;
        size_t length = strlen(c->text);
        if (length <= n && memcmp(rest, c->text, length) == 0) return c;
    }
    return NULL;
}

/* Bytes of an escape: "\p{L}+" must not look like the end of an interval. */
static size_t escape_length(const char *rest, size_t n)
{
    if (n < 3 || rest[2] != '{' || !strchr("pPxukN", rest[1])) return n < 2 ? n : 2;
    const char *end = memchr(rest, '}', n);
    return end ? (size_t)(end - rest) + 1 : n;
}

static const Construct *find_foreign(const char *pattern, size_t n)
{
    bool in_class = false;
    for (size_t at = 0; at < n;) {
        const Construct *found = foreign_at(pattern + at, n - at, in_class);
        if (found) return found;
        if (pattern[at] == '\\') {
            at += escape_length(pattern + at, n - at);
            continue;
        }
        if (!in_class && pattern[at] == '[') {
            in_class = true;
            if (at + 1 < n && pattern[at + 1] == '^') at++;
            if (at + 1 < n && pattern[at + 1] == ']') at++; /* stands for itself in first place */
        } else if (in_class && pattern[at] == ']') {
            in_class = false;
        }
        at++;
    }
    return NULL;
}

const char *snl_tok_regex_problem(SnlArena *arena, SnlTokBytes pattern)
{
    const Construct *found = find_foreign(pattern.at, pattern.n);
    if (found) return snl_arena_printf(arena, "found %s, which is not supported", found->meaning);
    int error;
    PCRE2_SIZE place;
    pcre2_code *regex = pcre2_compile(
        (PCRE2_SPTR)pattern.at, pattern.n,
        PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &place, NULL);
    if (regex) {
        pcre2_code_free(regex);
        return NULL;
    }
    PCRE2_UCHAR message[160];
    pcre2_get_error_message(error, message, sizeof message);
    return snl_arena_printf(arena, "at byte %zu: %s", (size_t)place, (const char *)message);
}
