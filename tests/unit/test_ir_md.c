/* Every example of ir/IR.md parses, verifies and prints in the form it is written in, and together
 * the examples show every row of ops.def and wexprs.def. Every row of ops.def also has a golden
 * file. */
#include "tests/support/support.h"

#include "ir/base/file.h"
#include "ir/ir.h"

#include <string.h>

static const char *const op_text[] = {
#define OP(NAME, text, min_in, max_in, symbols, n_out, flags, rule) text,
#include "ir/ops.def"
#undef OP
};
static const char *const wexpr_text[] = {
#define WEXPR(NAME, text, min_args, max_args, streams) text,
#include "ir/wexprs.def"
#undef WEXPR
};

typedef struct Shown {
    bool op[SNL_OP_COUNT], wexpr[SNL_WEXPR_COUNT];
    size_t n_examples;
} Shown;

static void note_module(const SnlModule *m, Shown *shown)
{
    for (size_t i = 0; i < m->weights.n; i++) shown->wexpr[m->weights.at[i]->code] = true;
    for (const SnlFunc *f = m->first; f; f = f->next)
        for (const SnlOp *op = f->first; op; op = op->next) shown->op[op->code] = true;
}

static void check_example(Support *s, const char *text, size_t n, Shown *shown)
{
    SnlSource *source = SNL_NEW(s->arena, SnlSource);
    *source = (SnlSource){"IR.md example", snl_arena_strndup(s->arena, text, n), n};
    SnlModule *m = NULL;
    if (snl_parse(s->arena, source, s->diag, &m) != SNL_OK)
        fail_msg("%s\n%s", source->text, snl_diag_text(s->diag));
    assert_string_equal(snl_print_to_string(s->arena, m), source->text);
    note_module(m, shown);
    shown->n_examples++;
}

static void check_page(Support *s, Shown *shown)
{
    SnlSource page;
    const char *path = SNL_TEST_SOURCE_DIR "/ir/IR.md";
    assert_int_equal(snl_file_read(s->arena, path, 1 << 20, s->diag, &page), SNL_OK);
    const char *open = "```snl\n", *at = page.text;
    while ((at = strstr(at, open))) {
        at += strlen(open);
        const char *end = strstr(at, "```");
        assert_non_null(end);
        check_example(s, at, (size_t)(end - at), shown);
        at = end + 3;
    }
}

static void examples_parse_and_show_every_op_and_expression(void **state)
{
    Shown shown = {0};
    check_page(*state, &shown);
    assert_true(shown.n_examples >= 8);
    for (int i = 0; i < SNL_OP_COUNT; i++)
        if (!shown.op[i]) fail_msg("no example of operation '%s'", op_text[i]);
    for (int i = 0; i < SNL_WEXPR_COUNT; i++)
        if (!shown.wexpr[i]) fail_msg("no example of weight expression '%s'", wexpr_text[i]);
}

static void tables_have_a_row_for_every_op_and_expression(void **state)
{
    Support *s = *state;
    SnlSource page;
    const char *path = SNL_TEST_SOURCE_DIR "/ir/IR.md";
    assert_int_equal(snl_file_read(s->arena, path, 1 << 20, s->diag, &page), SNL_OK);
    for (int i = 0; i < SNL_OP_COUNT; i++)
        if (!strstr(page.text, snl_arena_printf(s->arena, "| `%s`", op_text[i])) &&
            !strstr(page.text, snl_arena_printf(s->arena, ", `%s`", op_text[i])))
            fail_msg("operation '%s' has no row", op_text[i]);
    for (int i = 0; i < SNL_WEXPR_COUNT; i++)
        if (!strstr(page.text, snl_arena_printf(s->arena, "| `%s", wexpr_text[i])))
            fail_msg("weight expression '%s' has no row", wexpr_text[i]);
}

static void every_operation_has_a_golden_file(void **state)
{
    Support *s = *state;
    for (int i = 0; i < SNL_OP_COUNT; i++) {
        const char *path = snl_arena_printf(s->arena, "%s/tests/golden/ir/op_%s.snl",
                                            SNL_TEST_SOURCE_DIR, op_text[i]);
        if (!snl_path_exists(path)) fail_msg("%s is missing", path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(examples_parse_and_show_every_op_and_expression),
        support_test(every_operation_has_a_golden_file),
        support_test(tables_have_a_row_for_every_op_and_expression),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
