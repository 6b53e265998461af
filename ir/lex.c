/* ir/lex.c -- the lexer behind ir/parse.c. Grammar of tokens: ir/IR.md, "Tokens". */
#include "ir/lex.h"

#include "ir/base/checked.h"

#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static bool is_word_head(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_name_head(char c)
{
    return is_word_head(c) || is_digit(c);
}
static bool is_name(char c)
{
    return is_name_head(c) || c == '.';
}

static int hex_value(char c)
{
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool snl_name_valid(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > SNL_MAX_NAME || !is_name_head(name[0])) return false;
    for (size_t i = 1; i < n; i++)
        if (!is_name(name[i])) return false;
    return true;
}

/* The character at `at`, 0 beyond the end (a NUL inside the text is no token either). */
static char peek(const SnlLexer *lx, size_t at)
{
    return at < lx->source->len ? lx->source->text[at] : '\0';
}

/* Skips blanks, comments and line ends; true when a line end (or the start of the text) was passed.
 */
static bool skip_blanks(SnlLexer *lx)
{
    bool head = lx->at == 0;
    for (;;) {
        char c = peek(lx, lx->at);
        if (c == '\n') {
            head = true;
            lx->at++;
        } else if (c == ' ' || c == '\t' || c == '\r') {
            lx->at++;
        } else if (c == '/' && peek(lx, lx->at + 1) == '/') {
            while (lx->at < lx->source->len && lx->source->text[lx->at] != '\n') lx->at++;
        } else {
            return head;
        }
    }
}

static void bad(SnlToken *t, const char *why)
{
    t->kind = SNL_TOK_BAD;
    t->why = why;
}

static size_t scan_name(const SnlLexer *lx, size_t at)
{
    while (is_name(peek(lx, at))) at++;
    return at;
}

static size_t lex_sigil(SnlLexer *lx, SnlToken *t, size_t at)
{
    size_t end = scan_name(lx, at + 1);
    t->kind = lx->source->text[at] == '%' ? SNL_TOK_VALUE : SNL_TOK_SYMBOL;
    t->text = lx->source->text + at + 1;
    t->n = end - at - 1;
    if (t->n == 0 || !is_name_head(t->text[0]))
        bad(t, "a name must follow '%' and '@': a letter, digit or '_', then also '.'");
    else if (t->n > SNL_MAX_NAME)
        bad(t, "a name is at most 255 characters long");
    return end;
}

static size_t scan_digits(const SnlLexer *lx, size_t at)
{
    while (is_digit(peek(lx, at))) at++;
    return at;
}

static void number_value(SnlToken *t, bool real)
{
    enum { MAX_DIGITS = 400 }; /* the longest decimal form of a double has 325 places */
    char copy[MAX_DIGITS + 1];
    if (t->n > MAX_DIGITS) {
        bad(t, "a number is at most 400 characters long");
        return;
    }
    memcpy(copy, t->text, t->n);
    copy[t->n] = '\0';
    t->kind = real ? SNL_TOK_REAL : SNL_TOK_INT;
    if (real && !snl_parse_real(copy, &t->r)) bad(t, "a real must be finite");
    if (!real && !snl_parse_i64(copy, INT64_MIN, INT64_MAX, &t->i))
        bad(t, "an integer must fit into 64 bits");
}

static size_t lex_number(SnlLexer *lx, SnlToken *t, size_t at)
{
    bool real = false;
    size_t end = scan_digits(lx, at + (peek(lx, at) == '-'));
    if (peek(lx, end) == '.') {
        real = true;
        end = scan_digits(lx, end + 1);
    }
    char e = peek(lx, end);
    if (e == 'e' || e == 'E') {
        char sign = peek(lx, end + 1);
        size_t digits = end + 1 + (sign == '+' || sign == '-');
        if (is_digit(peek(lx, digits))) {
            real = true;
            end = scan_digits(lx, digits);
        }
    }
    size_t stop = scan_name(lx, end);
    t->text = lx->source->text + at;
    t->n = end - at;
    if (stop != end)
        bad(t, "a number ends where a letter begins");
    else
        number_value(t, real);
    return stop;
}

static size_t lex_string(SnlLexer *lx, SnlToken *t, size_t at)
{
    size_t i = at + 1;
    t->kind = SNL_TOK_STRING;
    t->text = lx->source->text + i;
    while (i < lx->source->len && peek(lx, i) != '"') {
        char c = peek(lx, i);
        if (c == '\n' || c == '\0') break;
        if (c != '\\') {
            i++;
            continue;
        }
        char e = peek(lx, i + 1);
        int hi = e == 'x' ? hex_value(peek(lx, i + 2)) : -1;
        int lo = hi >= 0 ? hex_value(peek(lx, i + 3)) : -1;
        if (e == '"' || e == '\\' || e == 'n') {
            i += 2;
        } else if (lo >= 0 && hi + lo > 0) {
            i += 4;
        } else {
            bad(t, "in a string, '\\' starts one of \\\" \\\\ \\n \\xHH (not \\x00)");
            i++;
        }
    }
    t->n = lx->source->text + i - t->text;
    if (peek(lx, i) == '"') return i + 1;
    bad(t, "this string has no closing '\"' on its line");
    return i;
}

static size_t lex_mark(SnlLexer *lx, SnlToken *t, size_t at)
{
    char c = lx->source->text[at];
    if (c == '-' && peek(lx, at + 1) == '>') {
        t->kind = SNL_TOK_ARROW;
        return at + 2;
    }
    t->kind = SNL_TOK_PUNCT;
    t->punct = c;
    if (c == '\0' || strchr("()[]{},:=", c) == NULL) bad(t, "this character has no meaning here");
    return at + 1;
}

SnlToken snl_lex(SnlLexer *lx)
{
    SnlToken t = {0};
    t.line_head = skip_blanks(lx);
    size_t at = lx->at, end = at;
    char c = peek(lx, at);
    t.text = lx->source->text + at;
    t.offset = lx->at;
    if (at >= lx->source->len) {
        t.kind = SNL_TOK_END;
        t.line_head = true;
    } else if (c == '%' || c == '@') {
        end = lex_sigil(lx, &t, at);
    } else if (is_digit(c) || (c == '-' && is_digit(peek(lx, at + 1)))) {
        end = lex_number(lx, &t, at);
    } else if (is_word_head(c)) {
        end = scan_name(lx, at);
        t.kind = SNL_TOK_WORD;
        t.n = end - at;
        if (t.n > SNL_MAX_NAME) bad(&t, "a word is at most 255 characters long");
    } else if (c == '"') {
        end = lex_string(lx, &t, at);
    } else {
        end = lex_mark(lx, &t, at);
        t.n = end - at;
    }
    t.length = (uint32_t)(end - at);
    lx->at = (uint32_t)end;
    return t;
}

const char *snl_token_string(SnlArena *arena, const SnlToken *t)
{
    char *out = snl_arena_alloc(arena, t->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        char c = t->text[i];
        if (c == '\\') {
            c = t->text[++i];
            if (c == 'n') {
                c = '\n';
            } else if (c == 'x') {
                c = (char)(hex_value(t->text[i + 1]) * 16 + hex_value(t->text[i + 2]));
                i += 2;
            }
        }
        out[n++] = c;
    }
    return out;
}
