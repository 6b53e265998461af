/* ir/lex.c, ir/parse*.c: what is accepted, what is refused and with which words, recovery, limits.
 */
#include "tests/support/support.h"

#include "ir/ir.h"
#include "ir/lex.h"

#include <stdlib.h>
#include <string.h>

static SnlModule *parse(Support *s, const char *text)
{
    SnlSource *source = SNL_NEW(s->arena, SnlSource);
    *source = (SnlSource){"t.snl", text, strlen(text)};
    SnlModule *m = NULL;
    SnlStatus status = snl_parse(s->arena, source, s->diag, &m);
    assert_int_equal(status == SNL_OK, m != NULL);
    assert_int_equal(status == SNL_OK, snl_diag_errors(s->diag) == 0);
    return m;
}

static SnlModule *parse_good(Support *s, const char *text)
{
    SnlModule *m = parse(s, text);
    if (!m) fail_msg("%s", snl_diag_text(s->diag));
    return m;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static SnlToken first_token(const char *text)
{
    SnlSource source = {"t", text, strlen(text)};
    SnlLexer lexer = {&source, 0};
    return snl_lex(&lexer);
}

static void numbers_keep_their_kind(void **state)
{
    (void)state;
    assert_int_equal(first_token("64").kind, SNL_TOK_INT);
    assert_true(first_token("-9223372036854775808").i == INT64_MIN);
    assert_int_equal(first_token("1.0").kind, SNL_TOK_REAL);
    assert_true(first_token("1e-05").r == 1e-05);
    assert_true(first_token("-2.5E+3").r == -2500.0);
    assert_int_equal(first_token("9223372036854775808").kind, SNL_TOK_BAD);
    assert_int_equal(first_token("1e999").kind, SNL_TOK_BAD);
    assert_int_equal(first_token("4096x").kind, SNL_TOK_BAD);
    assert_int_equal(first_token("->").kind, SNL_TOK_ARROW);
    assert_int_equal(first_token("-").kind, SNL_TOK_BAD);
}

static void strings_have_four_escapes(void **state)
{
    Support *s = *state;
    SnlToken t = first_token("\"a\\\"b\\\\c\\nd\\x41\\x7F\"");
    assert_int_equal(t.kind, SNL_TOK_STRING);
    assert_string_equal(snl_token_string(s->arena, &t), "a\"b\\c\ndA\x7f");
    assert_int_equal(first_token("\"a\\t\"").kind, SNL_TOK_BAD);
    assert_int_equal(first_token("\"a\\x00\"").kind, SNL_TOK_BAD);
    assert_int_equal(first_token("\"a\\x4\"").kind, SNL_TOK_BAD);
    assert_int_equal(first_token("\"open\n\"").kind, SNL_TOK_BAD);
    assert_int_equal(first_token("\"open").kind, SNL_TOK_BAD);
}

static void names_begin_with_letter_digit_or_underscore(void **state)
{
    (void)state;
    assert_int_equal(first_token("%0").kind, SNL_TOK_VALUE);
    assert_int_equal(first_token("@l0.wq").n, 5);
    assert_int_equal(first_token("@_a").kind, SNL_TOK_SYMBOL);
    assert_int_equal(first_token("%.a").kind, SNL_TOK_BAD);
    assert_int_equal(first_token("@ a").kind, SNL_TOK_BAD);
    assert_true(snl_name_valid("kv.0"));
    assert_false(snl_name_valid("a-b"));
    assert_false(snl_name_valid(""));
    assert_false(snl_name_valid(".a"));
}

/* ---- accepted -------------------------------------------------------------------------------- */

static const char layers[] =
    "module @m\n"
    "weight @w : f32[8, 8] = random {seed = 1}\n"
    "state @kv.0 : f32[2, 1, 16, 8]\n"
    "func @f(%x: f32[T, 8], %pos: index) -> f32[T, 8] {\n"
    "  %h = chain %x, %pos [@l(@kv.0), // one\n"
    "                       @l(@kv.0)] : f32[T, 8]\n"
    "  return %h\n"
    "}\n"
    "layer @l(%h: f32[T, 8], %pos: index, @kv: state) -> f32[T, 8] surrogate zero {\n"
    "  kv_write %h, %h, %pos, @kv\n"
    "  %y = linear %h, @w : f32[T, 8]\n"
    "  return %y\n"
    "}\n";

static void functions_may_be_named_before_their_declaration(void **state)
{
    SnlModule *m = parse_good(*state, layers);
    const SnlFunc *f = snl_module_find_func(m, "f"), *l = snl_module_find_func(m, "l");
    assert_ptr_equal(f->next, l);
    assert_int_equal(l->surrogate, SNL_SURROGATE_ZERO);
    assert_int_equal(f->first->code, SNL_OP_CHAIN);
    assert_int_equal(f->first->sym[0].n, 2);
    assert_ptr_equal(f->first->sym[0].bind[1].layer, l);
    assert_ptr_equal(f->first->sym[0].bind[1].state[0], snl_module_find_state(m, "kv.0"));
}

static void everything_knows_where_it_stands(void **state)
{
    SnlModule *m = parse_good(*state, layers);
    const SnlOp *op = snl_module_find_func(m, "f")->first;
    unsigned line, column;
    snl_source_position(op->loc.source, op->loc.offset, &line, &column);
    assert_int_equal(line, 5);
    assert_int_equal(column, 8);
    assert_int_equal(op->loc.length, 5);
    snl_source_position(op->loc.source, op->out[0]->loc.offset, &line, &column);
    assert_int_equal(column, 3);
    const SnlWeight *w = snl_module_find_weight(m, "w");
    snl_source_position(w->loc.source, w->loc.offset, &line, &column);
    assert_int_equal(line, 2);
    assert_int_equal(column, 8);
}

static void attributes_of_every_kind_are_read(void **state)
{
    SnlModule *m =
        parse_good(*state, "module @m attributes {a = -1, b = 2.0, c = word, d = \"t\\n\", "
                           "e = [1, [2.5, x], []], f}\n");
    assert_int_equal(snl_attr_int(&m->attrs, "a", 0), -1);
    assert_true(snl_attr_real(&m->attrs, "b", 0) == 2.0);
    assert_int_equal(snl_attr_find(&m->attrs, "c")->kind, SNL_ATTR_WORD);
    assert_string_equal(snl_attr_text(&m->attrs, "d", ""), "t\n");
    const SnlAttrValue *e = snl_attr_find(&m->attrs, "e");
    assert_int_equal(e->list.n, 3);
    assert_true(e->list.at[1].list.at[0].r == 2.5);
    assert_int_equal(e->list.at[2].list.n, 0);
    assert_true(snl_attr_flag(&m->attrs, "f"));
}

static void line_ends_may_be_crlf_and_comments_may_end_the_text(void **state)
{
    parse_good(*state, "module @m\r\nstate @s : f32[4] // x\r\n// end");
}

static void lists_of_one_stay_lists(void **state)
{
    SnlModule *m = parse_good(*state, "module @m\nweight @w : f32[8, 8] = random {seed = 1}\n"
                                      "func @f(%x: f32[T, 8]) -> f32[T, 1, 8] {\n"
                                      "  %y = linear %x, [@w] : f32[T, 1, 8]\n  return %y\n}\n");
    assert_true(m->first->first->sym[0].list);
}

static void a_state_parameter_hides_a_state(void **state)
{
    SnlModule *m =
        parse_good(*state, "module @m\nstate @kv : f32[2, 1, 4, 8]\n"
                           "layer @l(%h: f32[T, 8], %pos: index, @kv: state) -> f32[T, 8] {\n"
                           "  kv_write %h, %h, %pos, @kv\n  return %h\n}\n");
    const SnlFunc *l = m->first;
    assert_ptr_equal(l->first->sym[0].state[0], l->state_param[0]);
}

/* ---- refused --------------------------------------------------------------------------------- */

typedef struct Bad {
    const char *text, *message;
} Bad;

#define HEAD "module @m\nweight @w : f32[8, 8] = random {seed = 1}\nstate @s : f32[8]\n"
#define BODY(line) HEAD "func @f(%x: f32[T, 8]) -> f32[T, 8] {\n  " line "\n  return %x\n}\n"

static const Bad bad[] = {
    {"", "t.snl:1:1: error[E0101]: found the end of the text, wanted 'module @name'"},
    {"weight @w : f32[8] = fill {value = 1.0}\n", "found 'weight', wanted 'module @name'"},
    {"module m\n", "t.snl:1:8: error[E0101]: found 'm', wanted the module's name"},
    {"module @m\nweigth @w\n", "t.snl:2:1: error[E0101]: found 'weigth', wanted a declaration"},
    {"module @m\nfoo @w\nweight @w : f32[8] = fill {value = 1.0}\n",
     "found 'foo', wanted a declaration"},
    {HEAD "weight @w : f32[1] = fill {value = 1.0}\n",
     "t.snl:4:8: error[E0102]: '@w' is declared twice (the first is a weight)"},
    {HEAD "state @w : f32[1]\n", "'@w' is declared twice (the first is a weight)"},
    {HEAD "layer @s(%h: f32[T, 8]) -> f32[T, 8] { return %h }\n",
     "'@s' is declared twice (the first is a state)"},
    {HEAD "weight @v : f32[8] = foo\n", "unknown weight expression 'foo'"},
    {HEAD "weight @v : f32[8] = scale(@u) {by = 2.0}\n", "unknown weight '@u'"},
    {HEAD "weight @v : f32[8] = scale(@s) {by = 2.0}\n", "'@s' is a state, wanted a weight"},
    {HEAD "weight @v : f32[8] = source \"file\"\n", "wanted the tensor's name in quotes"},
    {HEAD "weight @v : f33[8] = fill {value = 1.0}\n", "unknown element type 'f33'"},
    {HEAD "weight @v : f32[0] = fill {value = 1.0}\n",
     "a dimension lies within 1 and 1099511627776"},
    {HEAD "weight @v : f32[1048577, 1048577] = fill {value = 1.0}\n",
     "a type has at most 1099511627776 elements"},
    {HEAD "weight @v : f32[1, 1, 1, 1, 1] = fill {value = 1.0}\n",
     "a type has at most 4 dimensions"},
    {HEAD "weight @v : f32[T, 8] = fill {value = 1.0}\n",
     "T can only be the first dimension of a value's type"},
    {HEAD "func @f(%x: f32[8, T]) { return }\n",
     "T can only be the first dimension of a value's type"},
    {HEAD "func @f(%x: index[4]) { return }\n", "index is a scalar: no dimensions"},
    {HEAD "weight @v : f32 = fill {value = 1.0}\n", "found '=', wanted '['"},
    {HEAD "weight @v : f32[8] = fill {value = 1.0, value = 2.0}\n",
     "attribute 'value' is given twice"},
    {HEAD "weight @v : f32[8] = fill {value = }\n", "wanted a value: number, word, string"},
    {HEAD "weight @v : f32[8] = fill {value = 1.0\n", "found the end of the text, wanted '}'"},
    {"module @m attributes {a = [[[[[[[[[1]]]]]]]]]}\n", "lists nest at most 8 deep"},
    {"module @m attributes {a = 1x}\n", "a number ends where a letter begins"},
    {"module @m attributes {a = \"x}\n", "this string has no closing"},
    {"module @m\n$\n", "this character has no meaning here"},
    {HEAD "func @f(%x: f32[T, 8], %x: index) { return }\n", "parameter '%x' is declared twice"},
    {HEAD "layer @l(@a: state, %x: f32[T, 8]) { return }\n",
     "value parameters come before state parameters"},
    {HEAD "layer @l(%x: f32[T, 8], @a: f32[8]) { return }\n", "found 'f32', wanted 'state'"},
    {HEAD "layer @l(%x: f32[T, 8]) -> f32[T, 8] surrogate full { return %x }\n",
     "found 'full', wanted a surrogate"},
    {HEAD "layer @l(%x: f32[T, 8]) -> f32[T, 8] surrogate diag @u { return %x }\n",
     "unknown weight '@u'"},
    {HEAD "func @f(%x: f32[T, 8])\n", "wanted '{' and the body"},
    {HEAD "func @f(%x: f32[T, 8]) {\n  return\n", "found the end of the text, wanted '}'"},
    {HEAD "func @f(%x: f32[T, 8]) {\n  return\nfunc @g() { return }\n",
     "t.snl:6:1: error[E0101]: found 'func', wanted '}' at the end of the body"},
    {BODY("%y = foo %x : f32[T, 8]"), "t.snl:5:8: error[E0102]: unknown operation 'foo'"},
    {BODY("%y = silu %z : f32[T, 8]"), "'%z' is used before it is defined"},
    {BODY("%y = silu %y : f32[T, 8]"), "'%y' is used before it is defined"},
    {BODY("%x = silu %x : f32[T, 8]"), "'%x' is defined twice"},
    {BODY("%y, %y = silu %x : f32[T, 8], f32[T, 8]"), "'%y' is defined twice"},
    {BODY("%y = silu %x"), "silu: 1 result names, but 0 types after ':'"},
    {BODY("silu %x : f32[T, 8]"), "silu: 0 result names, but 1 types after ':'"},
    {BODY("%y = silu %x, : f32[T, 8]"), "found ':', wanted an operand"},
    {BODY("%y = linear @w, %x : f32[T, 8]"), "value operands come before symbol operands"},
    {BODY("%y = linear %x, @u : f32[T, 8]"), "unknown weight '@u'"},
    {BODY("%y = linear %x, @s : f32[T, 8]"), "'@s' is a state, wanted a weight"},
    {BODY("%y = linear %x, @f : f32[T, 8]"), "'@f' is a func, wanted a weight"},
    {BODY("%y = linear %x, [@w, 3] : f32[T, 8]"), "found '3', wanted a weight such as '@w'"},
    {BODY("%y = linear %x, [] : f32[T, 8]"), "found ']', wanted a weight such as '@w'"},
    {BODY("%y = linear %x, @w, @w, @w : f32[T, 8]"), "linear: takes no more symbol operands"},
    {BODY("%y = silu %x, @w : f32[T, 8]"), "silu: takes no symbol operands"},
    {BODY("row_write %x, %x, @w"), "'@w' is a weight, wanted a state"},
    {BODY("%y = call %x, @w : f32[T, 8]"), "wanted a list of bound layers"},
    {BODY("%y = call %x, [@f] : f32[T, 8]"), "'@f' is a func, wanted a layer"},
    {BODY("%y = call %x, [@g] : f32[T, 8]"), "unknown layer '@g'"},
    {BODY("%y = lincomb %x {coef = [@u]} : f32[T, 8]"), "unknown weight '@u'"},
    {BODY("= silu %x"), "found '=', wanted an operation or '}'"},
};

static void mistakes_are_located_and_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        void *own = NULL;
        support_setup(&own);
        Support *s = own;
        if (parse(s, bad[i].text)) fail_msg("accepted:\n%s", bad[i].text);
        if (!strstr(snl_diag_text(s->diag), bad[i].message))
            fail_msg("%s\nfound:  %s\nwanted: %s", bad[i].text, snl_diag_text(s->diag),
                     bad[i].message);
        support_teardown(&own);
    }
}

static void one_mistake_is_one_message(void **state)
{
    Support *s = *state;
    assert_null(parse(s, BODY("%y = foo %x : f32[T, 8]\n  %z = silu %y : f32[T, 8]\n"
                              "  %a = silu %z : f32[T, 8]")));
    assert_int_equal(snl_diag_errors(s->diag), 1);
}

static void a_broken_declaration_does_not_break_its_uses(void **state)
{
    Support *s = *state;
    assert_null(parse(s, "module @m\nweight @w : f32[8, 8] = foo\n"
                         "func @f(%x: f32[T, 8]) -> f32[T, 8] {\n"
                         "  %y = linear %x, @w : f32[T, 8]\n  return %y\n}\n"));
    assert_int_equal(snl_diag_errors(s->diag), 1);
}

static void parsing_goes_on_at_the_next_line(void **state)
{
    Support *s = *state;
    assert_null(parse(s, "module @m\nweight @a : f33[8] = fill {value = 1.0}\n"
                         "state @b : f32[]\n"
                         "func @f(%x: f32[T, 8]) -> f32[T, 8] {\n"
                         "  %y = foo %x : f32[T, 8]\n"
                         "  %z = silu %x, @x,\n"
                         "     @c : f32[T, 8]\n"
                         "  return %x\n"
                         "}\n"
                         "func @g(%x: f32[T, 8]) -> f32[T, 8] {\n"
                         "  %y = bar %x : f32[T, 8]\n"
                         "  return %x\n}\n"));
    assert_int_equal(snl_diag_errors(s->diag), 5);
    assert_diag(s->diag, "t.snl:2:13");
    assert_diag(s->diag, "t.snl:3:16");
    assert_diag(s->diag, "t.snl:5:8");
    assert_diag(s->diag, "t.snl:6:17");
    assert_diag(s->diag, "t.snl:11:8");
}

static char *repeat(Support *s, const char *head, const char *piece, size_t n, const char *tail)
{
    size_t a = strlen(head), b = strlen(piece), c = strlen(tail);
    char *text = snl_arena_alloc(s->arena, a + b * n + c + 1);
    memcpy(text, head, a);
    for (size_t i = 0; i < n; i++) memcpy(text + a + i * b, piece, b);
    memcpy(text + a + b * n, tail, c + 1);
    return text;
}

static void at_most_twenty_errors_are_reported(void **state)
{
    Support *s = *state;
    assert_null(parse(s, repeat(s, HEAD "func @f() {\n", "  %y = foo\n", 1000, "}\n")));
    assert_int_equal(snl_diag_errors(s->diag), 20);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void long_names_are_refused(void **state)
{
    Support *s = *state;
    assert_null(parse(s, repeat(s, "module @", "a", 256, "\n")));
    assert_diag(s->diag, "a name is at most 255 characters long");
}

static void deep_lists_are_refused_without_recursion(void **state)
{
    Support *s = *state;
    assert_null(parse(s, repeat(s, "module @m attributes {a = ", "[", 1000000, "")));
    assert_diag(s->diag, "lists nest at most 8 deep");
}

static void long_lists_are_refused(void **state)
{
    Support *s = *state;
    assert_null(parse(s, repeat(s, "module @m attributes {a = [1", ", 1", 65535, "]}\n")));
    assert_diag(s->diag, "a list has at most 65535 entries");
}

static void many_parameters_are_refused(void **state)
{
    Support *s = *state;
    char *text = repeat(s, "module @m\nfunc @f(%p: index", ", %xx: index", 64, ") { return }\n");
    char *at = strstr(text, "%xx");
    for (int i = 0; i < 64; i++, at = strstr(at + 1, "%xx")) {
        at[1] = (char)('a' + i / 26);
        at[2] = (char)('a' + i % 26);
        if (i == 63) break;
    }
    assert_null(parse(s, text));
    assert_diag(s->diag, "a function has at most 64 parameters");
}

static void huge_texts_are_refused_unread(void **state)
{
    Support *s = *state;
    SnlSource source = {"big.snl", "module @m\n", SNL_MAX_TEXT + 1};
    SnlModule *m = NULL;
    assert_int_equal(snl_parse(s->arena, &source, s->diag, &m), SNL_BAD_INPUT);
    assert_diag(s->diag, "bytes, at most 16777216 are read");
}

static void a_long_body_takes_linear_time(void **state)
{
    Support *s = *state;
    size_t n = 100000, room = 64 + 48 * n;
    char *text = snl_arena_alloc(s->arena, room);
    size_t at =
        (size_t)snprintf(text, room, "module @m\nfunc @f(%%v0: f32[T, 8]) -> f32[T, 8] {\n");
    for (size_t i = 0; i < n; i++)
        at +=
            (size_t)snprintf(text + at, room - at, "%%v%zu = silu %%v%zu : f32[T, 8]\n", i + 1, i);
    snprintf(text + at, room - at, "return %%v%zu\n}\n", n);
    parse_good(s, text);
}

static void no_truncation_of_a_module_crashes(void **state)
{
    Support *s = *state;
    size_t n = strlen(layers);
    for (size_t i = 0; i < n; i++) {
        char *text = malloc(i ? i : 1); /* exact: a sanitizer sees the first byte read too far */
        assert_non_null(text);
        memcpy(text, layers, i);
        SnlSource source = {"t", text, i};
        SnlArena *arena = snl_arena_create();
        SnlModule *m = NULL;
        SnlDiag *diag = snl_diag_create(NULL, 0);
        snl_parse(arena, &source, diag, &m);
        snl_diag_destroy(diag);
        snl_arena_destroy(arena);
        free(text);
    }
    (void)s;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(numbers_keep_their_kind),
        support_test(strings_have_four_escapes),
        support_test(names_begin_with_letter_digit_or_underscore),
        support_test(functions_may_be_named_before_their_declaration),
        support_test(everything_knows_where_it_stands),
        support_test(attributes_of_every_kind_are_read),
        support_test(line_ends_may_be_crlf_and_comments_may_end_the_text),
        support_test(lists_of_one_stay_lists),
        support_test(a_state_parameter_hides_a_state),
        support_test(mistakes_are_located_and_named),
        support_test(one_mistake_is_one_message),
        support_test(a_broken_declaration_does_not_break_its_uses),
        support_test(parsing_goes_on_at_the_next_line),
        support_test(at_most_twenty_errors_are_reported),
        support_test(long_names_are_refused),
        support_test(deep_lists_are_refused_without_recursion),
        support_test(long_lists_are_refused),
        support_test(many_parameters_are_refused),
        support_test(huge_texts_are_refused_unread),
        support_test(a_long_body_takes_linear_time),
        support_test(no_truncation_of_a_module_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
