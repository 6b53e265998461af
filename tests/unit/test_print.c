/* ir/print.c and ir/dot.c: the canonical form, and that it reads back as what was printed. */
#include "tests/support/support.h"

#include "ir/base/file.h"
#include "ir/ir.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

static SnlModule *parse(Support *s, const char *text)
{
    SnlSource *source = SNL_NEW(s->arena, SnlSource);
    *source = (SnlSource){"t.snl", text, strlen(text)};
    SnlModule *m = NULL;
    if (snl_parse(s->arena, source, s->diag, &m) != SNL_OK)
        fail_msg("%s\n%s", text, snl_diag_text(s->diag));
    return m;
}

static void prints(Support *s, const char *text, const char *wanted)
{
    const char *printed = snl_print_to_string(s->arena, parse(s, text));
    assert_string_equal(printed, wanted);
    assert_string_equal(snl_print_to_string(s->arena, parse(s, printed)), printed);
}

static void a_module_prints_in_its_canonical_form(void **state)
{
    prints(*state,
           "module @m attributes {b = 2, a = 1} // comment\n"
           "state @s : f32[8]\n"
           "weight @g : f32[8] = fill {value = 1.0}\n"
           "layer @l(%h: f32[T, 8], %pos: index, @r: state)\n"
           "  -> f32[T, 8] surrogate diag @g attributes {z, y = \"q\\\"\"} {\n"
           "  row_write %h, %pos, @r return %h\n"
           "}\n"
           "weight @f : f32[8] = source \"a\\\\b\" \"t\\x01\"\n"
           "func @e() { return }\n"
           "func @c(%x: f32[T, 8], %pos: index) -> f32[T, 8], index {\n"
           "  %1, %2=chain %x,%pos[@l(@s),@l( @s )]{taps=[0]}:f32[T,8],f32[T,8]\n"
           "  return %2, %pos\n"
           "}\n",
           "module @m attributes {a = 1, b = 2}\n"
           "\n"
           "weight @g : f32[8] = fill {value = 1.0}\n"
           "weight @f : f32[8] = source \"a\\\\b\" \"t\\x01\"\n"
           "\n"
           "state @s : f32[8]\n"
           "\n"
           "layer @l(%h: f32[T, 8], %pos: index, @r: state) -> f32[T, 8] surrogate diag @g "
           "attributes {y = \"q\\\"\", z} {\n"
           "  row_write %h, %pos, @r\n"
           "  return %h\n"
           "}\n"
           "\n"
           "func @e() {\n"
           "  return\n"
           "}\n"
           "\n"
           "func @c(%x: f32[T, 8], %pos: index) -> f32[T, 8], index {\n"
           "  %1, %2 = chain %x, %pos, [@l(@s), @l(@s)] {taps = [0]} : f32[T, 8], f32[T, 8]\n"
           "  return %2, %pos\n"
           "}\n");
}

static void surrogates_of_every_kind_print(void **state)
{
    const char *text = "module @m\n"
                       "\n"
                       "weight @g : f32[8] = fill {value = 1.0}\n"
                       "weight @J : f32[2, 2] = fill {value = 1.0}\n"
                       "\n"
                       "layer @none(%h: f32[T, 8]) -> f32[T, 8] {\n  return %h\n}\n"
                       "\n"
                       "layer @i(%h: f32[T, 8]) -> f32[T, 8] surrogate identity {\n  return %h\n}\n"
                       "\n"
                       "layer @z(%h: f32[T, 8]) -> f32[T, 8] surrogate zero {\n  return %h\n}\n"
                       "\n"
                       "layer @d(%h: f32[T, 8]) -> f32[T, 8] surrogate diag @g {\n  return %h\n}\n"
                       "\n"
                       "layer @s(%h: f32[T, 2, 8]) -> f32[T, 2, 8] surrogate streams @J {\n"
                       "  return %h\n}\n";
    prints(*state, text, text);
}

/* ---- reals ----------------------------------------------------------------------------------- */

static void real_prints(Support *s, double r, const char *wanted)
{
    SnlModule *m = snl_module_create(s->arena, "m");
    snl_attr_set_real(m, &m->attrs, "r", r);
    char *line = snl_arena_printf(s->arena, "module @m attributes {r = %s}\n", wanted);
    assert_string_equal(snl_print_to_string(s->arena, m), line);
    const SnlAttrValue *back = snl_attr_find(&parse(s, line)->attrs, "r");
    assert_int_equal(back->kind, SNL_ATTR_REAL);
    assert_memory_equal(&back->r, &r, sizeof r);
}

static void reals_print_short_and_read_back(void **state)
{
    real_prints(*state, 1.0, "1.0");
    real_prints(*state, -0.0, "-0.0");
    real_prints(*state, 0.1, "0.1");
    real_prints(*state, 1e-05, "1e-05");
    real_prints(*state, 0.0001, "0.0001");
    real_prints(*state, 10000.0, "10000.0");
    real_prints(*state, 500000.0, "500000.0");
    real_prints(*state, 123456.789, "123456.789");
    real_prints(*state, 1e15, "1000000000000000.0");
    real_prints(*state, 1e16, "1e+16");
    real_prints(*state, 1.0 / 3.0, "0.3333333333333333");
    real_prints(*state, 9007199254740993.0, "9007199254740992.0");
    real_prints(*state, DBL_MAX, "1.7976931348623157e+308");
    real_prints(*state, 4.9406564584124654e-324, "5e-324");
    real_prints(*state, 1.1920928955078125e-07, "1.1920928955078125e-07");
}

static void random_reals_read_back(void **state)
{
    Support *s = *state;
    uint64_t bits = 88172645463325252u;
    for (int i = 0; i < 2000; i++) {
        double r;
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        memcpy(&r, &bits, sizeof r);
        if (!(r - r == 0)) continue;
        SnlModule *m = snl_module_create(s->arena, "m");
        snl_attr_set_real(m, &m->attrs, "r", r);
        SnlModule *back = parse(s, snl_print_to_string(s->arena, m));
        const SnlAttrValue *value = snl_attr_find(&back->attrs, "r");
        assert_int_equal(value->kind, SNL_ATTR_REAL);
        assert_memory_equal(&value->r, &r, sizeof r);
    }
}

static void strings_with_any_byte_read_back(void **state)
{
    Support *s = *state;
    char all[256];
    for (int i = 1; i < 256; i++) all[i - 1] = (char)i;
    all[255] = '\0';
    SnlModule *m = snl_module_create(s->arena, "m");
    snl_attr_set_string(m, &m->attrs, "a", all);
    SnlModule *back = parse(s, snl_print_to_string(s->arena, m));
    assert_string_equal(snl_attr_text(&back->attrs, "a", ""), all);
}

static void types_print(void **state)
{
    Support *s = *state;
    SnlModule *m = snl_module_create(s->arena, "m");
    assert_string_equal(snl_type_text(s->arena, snl_type_index(m)), "index");
    assert_string_equal(snl_type_text(s->arena, snl_type_rows(m, 64)), "f32[T, 64]");
    const int64_t dim[] = {SNL_MAX_ELEMS, 1, 1, 1};
    assert_string_equal(snl_type_text(s->arena, snl_type(m, SNL_Q8_0, 4, dim)),
                        "q8_0[1099511627776, 1, 1, 1]");
}

/* ---- files ----------------------------------------------------------------------------------- */

static void the_walk_reads_back(void **state)
{
    Support *s = *state;
    SnlSource source;
    const char *path = SNL_TEST_SOURCE_DIR "/tests/golden/walk/llama2layers.snl";
    assert_int_equal(snl_file_read(s->arena, path, 1 << 20, s->diag, &source), SNL_OK);
    const char *printed = snl_print_to_string(s->arena, parse(s, source.text));
    assert_string_equal(snl_print_to_string(s->arena, parse(s, printed)), printed);
}

static void dot_names_every_value_and_edge(void **state)
{
    Support *s = *state;
    SnlModule *m = parse(s, "module @m\nweight @w : f32[4, 8] = random {seed = 1}\n"
                            "func @f(%x: f32[T, 8]) -> f32[T, 4] {\n"
                            "  %y = linear %x, @w {stage = \"a\"} : f32[T, 4]\n  return %y\n}\n");
    char *path = support_path(s, "f.dot");
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    snl_print_dot(m->first, out);
    assert_int_equal(fclose(out), 0);
    SnlSource text;
    assert_int_equal(snl_file_read(s->arena, path, 1 << 20, s->diag, &text), SNL_OK);
    assert_string_equal(text.text,
                        "digraph \"f\" {\n"
                        "  node [shape=box, fontname=\"monospace\"];\n"
                        "  p0 [shape=ellipse, label=\"%x\"];\n"
                        "  op0 [label=\"%y = linear %x, @w {stage = \\\"a\\\"} : f32[T, 4]\"];\n"
                        "  p0 -> op0 [label=\"%x: f32[T, 8]\"];\n"
                        "  op1 [label=\"return %y\", style=bold];\n"
                        "  op0 -> op1 [label=\"%y: f32[T, 4]\"];\n"
                        "}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(a_module_prints_in_its_canonical_form),
        support_test(surrogates_of_every_kind_print),
        support_test(reals_print_short_and_read_back),
        support_test(random_reals_read_back),
        support_test(strings_with_any_byte_read_back),
        support_test(types_print),
        support_test(the_walk_reads_back),
        support_test(dot_names_every_value_and_edge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
