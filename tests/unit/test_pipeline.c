/* The pass manager: pipeline texts, options, verification, dumps, check-each. */
#include "tests/support/support.h"

#include "ir/base/file.h"
#include "passes/pass.h"

#include <stdio.h>
#include <string.h>

static const char two_adds[] = "module @m\n"
                               "func @f(%x: f32[T, 4]) -> f32[T, 4] {\n"
                               "  %a = lincomb %x, %x : f32[T, 4]\n"
                               "  %b = silu %x : f32[T, 4]\n"
                               "  return %a\n"
                               "}\n";

static SnlModule *module_of(Support *s, const char *text)
{
    SnlSource *source = SNL_NEW(s->arena, SnlSource);
    *source = (SnlSource){"test.snl", text, strlen(text)};
    SnlModule *m = NULL;
    if (snl_parse(s->arena, source, s->diag, &m) != SNL_OK) fail_msg("%s", snl_diag_text(s->diag));
    return m;
}

/* ---- texts ---------------------------------------------------------------------------------- */

static void canonical(Support *s, const char *text, const char *want)
{
    char *got = snl_pipeline_print(s->arena, text, s->diag);
    if (!got) fail_msg("%s: %s", text, snl_diag_text(s->diag));
    assert_string_equal(got, want);
    assert_string_equal(snl_pipeline_print(s->arena, got, s->diag), want);
}

static void texts_have_a_canonical_form(void **state)
{
    Support *s = *state;
    canonical(s, "", "");
    canonical(s, "  \n", "");
    canonical(s, " simplify ,\tcse", "simplify,cse");
    canonical(s, "inline-layers{ to = calls }", "inline-layers{to=calls}");
    canonical(s, "inline-layers{to=ops keep=true}", "inline-layers{keep=true}");
    canonical(s, "inline-layers{}", "inline-layers");
    canonical(s, "newton{plan=\"n2 K1; x\\\"y\"}", "newton{plan=\"n2 K1; x\\\"y\"}");
    canonical(s, "fold{weights=\"bf16\"}", "fold{weights=bf16}");
}

static void refused(Support *s, const char *text, const char *message)
{
    SnlDiag *diag = snl_diag_create(NULL, 0); /* its own: only so many messages are kept */
    assert_null(snl_pipeline_print(s->arena, text, diag));
    assert_diag(diag, message);
    snl_diag_destroy(diag);
}

static void mistakes_are_located(void **state)
{
    Support *s = *state;
    refused(s, "simplify,nosuch,cse",
            "pipeline:1:10: error[E0402]: pipeline: there is no pass 'nosuch'");
    refused(s, "simplify,,cse", "found ',', wanted the name of a pass");
    refused(s, "simplify cse", "found 'c', wanted ',' or the end");
    refused(s, "simplify,", "found the end, wanted the name of a pass");
    refused(s, "inline-layers{depth=3}", "inline-layers has no option 'depth' (options: to, keep)");
    refused(s, "simplify{x=1}", "simplify has no option 'x' (options: none)");
    refused(s, "inline-layers{to=ops to=calls}", "option 'to' is given twice");
    refused(s, "inline-layers{to}", "found '}', wanted '=' and a value after 'to'");
    refused(s, "inline-layers{to=}", "found '}', wanted a value of 'to'");
    refused(s, "inline-layers{keep=maybe}", "keep: found 'maybe', wanted true or false");
    refused(s, "inline-layers{to=\"ops}", "the quote is never closed");
    refused(s, "inline-layers{to=ops", "found the end, wanted an option or '}'");
    refused(s, "schedule{threads=x}", "found 'x', wanted a whole number from");
}

static void every_pass_has_a_name_and_a_summary(void **state)
{
    (void)state;
    for (const SnlPass *const *p = snl_passes; *p; p++) {
        assert_true((*p)->name[0] && (*p)->summary[0]);
        assert_ptr_equal(snl_pass_find((*p)->name), *p);
        for (const SnlPassOption *o = (*p)->options; o && o->name; o++)
            assert_true(o->def && o->help && o->help[0]);
    }
    assert_null(snl_pass_find("nosuch"));
}

static void every_pass_and_option_is_documented(void **state)
{
    Support *s = *state;
    SnlSource page;
    char *path = snl_path_join(s->arena, SNL_TEST_SOURCE_DIR, "passes/PASSES.md");
    assert_int_equal(snl_file_read(s->arena, path, 1 << 20, s->diag, &page), SNL_OK);
    for (const SnlPass *const *p = snl_passes; *p; p++) {
        const char *part = strstr(page.text, snl_arena_printf(s->arena, "\n## %s\n", (*p)->name));
        if (!part) {
            fail_msg("PASSES.md has no part about %s", (*p)->name);
            continue;
        }
        const char *end = strstr(part + 4, "\n## ");
        size_t n = end ? (size_t)(end - part) : strlen(part);
        const char *text = snl_arena_strndup(s->arena, part, n);
        for (const SnlPassOption *o = (*p)->options; o && o->name; o++)
            if (!strstr(text, snl_arena_printf(s->arena, "`%s`", o->name)))
                fail_msg("PASSES.md does not explain the option %s of %s", o->name, (*p)->name);
    }
}

/* ---- running -------------------------------------------------------------------------------- */

static void passes_run_in_order(void **state)
{
    Support *s = *state;
    SnlModule *m = module_of(s, two_adds);
    SnlPipelineOptions o = {.verify_each = true};
    assert_int_equal(snl_pipeline_run(m, "simplify,dce", &o, s->diag), SNL_OK);
    assert_non_null(strstr(snl_print_to_string(s->arena, m),
                           "%a = lincomb %x {coef = [2.0]} : f32[T, 4]\n  return %a"));
    assert_int_equal(snl_pipeline_run(m, "", NULL, s->diag), SNL_OK);
}

typedef struct Told {
    int64_t n, done, total;
} Told;

static void tell(void *user, int64_t done, int64_t total)
{
    Told *told = user;
    assert_int_equal(done, told->n);
    *told = (Told){told->n + 1, done, total};
}

/* Before every pass, and at the end where there is one. */
static void progress_is_told(void **state)
{
    Support *s = *state;
    Told told = {0};
    SnlPipelineOptions o = {.progress = tell, .progress_user = &told};
    assert_int_equal(snl_pipeline_run(module_of(s, two_adds), "simplify,cse,dce", &o, s->diag),
                     SNL_OK);
    assert_int_equal(told.n, 4);
    assert_int_equal(told.done, 3);
    assert_int_equal(told.total, 3);
    told = (Told){0};
    assert_int_equal(snl_pipeline_run(module_of(s, two_adds), "simplify,pack{weights=q5},dce", &o,
                                      s->diag),
                     SNL_BAD_INPUT);
    assert_int_equal(told.done, 1);
}

static void a_second_run_changes_nothing(void **state)
{
    Support *s = *state;
    static const char text[] = "inline-layers,simplify,cancel-residual,cse,dce,merge-linear,fold,"
                               "pack,simplify,cse,dce";
    SnlModule *m = module_of(s, two_adds);
    assert_int_equal(snl_pipeline_run(m, text, NULL, s->diag), SNL_OK);
    const char *once = snl_print_to_string(s->arena, m);
    assert_int_equal(snl_pipeline_run(m, text, NULL, s->diag), SNL_OK);
    assert_string_equal(snl_print_to_string(s->arena, m), once);
}

static void unknown_names_of_dumps_are_refused(void **state)
{
    Support *s = *state;
    SnlModule *m = module_of(s, two_adds);
    SnlPipelineOptions o = {.print_after = "simplify,nosuch"};
    assert_int_equal(snl_pipeline_run(m, "simplify", &o, s->diag), SNL_USAGE);
    assert_diag(s->diag, "--print-ir-after: error[E0402]: there is no pass 'nosuch'");
}

static void dumps_are_numbered_files_that_parse(void **state)
{
    Support *s = *state;
    SnlModule *m = module_of(s, two_adds);
    char *dir = support_path(s, "dumps");
    SnlPipelineOptions o = {.dump_dir = dir, .print_before = "dce", .print_after = "all"};
    assert_int_equal(snl_pipeline_run(m, "simplify,dce", &o, s->diag), SNL_OK);
    static const char *const name[] = {"01-simplify.snl", "02-before-dce.snl", "02-dce.snl"};
    for (int i = 0; i < 3; i++) {
        SnlSource text;
        char *path = snl_path_join(s->arena, dir, name[i]);
        assert_int_equal(snl_file_read(s->arena, path, 1 << 20, s->diag, &text), SNL_OK);
        SnlModule *back;
        assert_int_equal(snl_parse(s->arena, &text, s->diag, &back), SNL_OK);
        remove(path);
    }
    remove(dir);
}

static void timing_has_a_line_for_each_pass(void **state)
{
    Support *s = *state;
    SnlModule *m = module_of(s, two_adds);
    FILE *log = tmpfile();
    char text[2048] = "";
    SnlPipelineOptions o = {.timing = true, .log = log};
    assert_int_equal(snl_pipeline_run(m, "simplify,cse", &o, s->diag), SNL_OK);
    rewind(log);
    text[fread(text, 1, sizeof text - 1, log)] = '\0';
    fclose(log);
    assert_non_null(strstr(text, "\nsimplify"));
    assert_non_null(strstr(text, "\ncse"));
    assert_non_null(strstr(text, "\ntotal"));
    assert_non_null(strstr(text, "changed"));
    assert_non_null(strstr(text, "same"));
}

/* ---- check-each ----------------------------------------------------------------------------- */

static void exact_passes_are_held_to_it(void **state)
{
    Support *s = *state;
    SnlModule *m = module_of(s, two_adds);
    FILE *log = tmpfile();
    char text[1024] = "";
    SnlPipelineOptions o = {.check_each = true, .check_seed = 7, .log = log};
    assert_int_equal(snl_pipeline_run(m, "simplify,dce", &o, s->diag), SNL_OK);
    rewind(log);
    text[fread(text, 1, sizeof text - 1, log)] = '\0';
    fclose(log);
    assert_non_null(strstr(text, "check-each: simplify"));
    assert_non_null(strstr(text, "limit 1e-09, 6 tensors"));
}

static void passes_that_recorded_a_change_are_not_checked(void **state)
{
    Support *s = *state;
    SnlModule *m = module_of(s, "module @m\n"
                                "weight @w : f32[4, 4] = random {seed = 1}\n"
                                "func @f(%x: f32[T, 4]) -> f32[T, 4] {\n"
                                "  %a = linear %x, @w : f32[T, 4]\n"
                                "  return %a\n"
                                "}\n");
    FILE *log = tmpfile();
    char text[1024] = "";
    SnlPipelineOptions o = {.check_each = true, .log = log};
    assert_int_equal(snl_pipeline_run(m, "pack{weights=f16}", &o, s->diag), SNL_OK);
    rewind(log);
    text[fread(text, 1, sizeof text - 1, log)] = '\0';
    fclose(log);
    assert_non_null(strstr(text, "not exact by itself"));
    assert_non_null(strstr(snl_print_to_string(s->arena, m), "exactness = [\"rounds(w=f16)\"]"));
}

static void exactness_notes_are_kept_once(void **state)
{
    Support *s = *state;
    SnlModule *m = snl_module_create(s->arena, "m");
    snl_module_note_exactness(m, "rounds(w=bf16)");
    snl_module_note_exactness(m, "approximate(newton n=2 K=1)");
    snl_module_note_exactness(m, "rounds(w=bf16)");
    assert_int_equal(snl_attr_find(&m->attrs, "exactness")->list.n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(texts_have_a_canonical_form),
        support_test(mistakes_are_located),
        support_test(every_pass_has_a_name_and_a_summary),
        support_test(every_pass_and_option_is_documented),
        support_test(passes_run_in_order),
        support_test(progress_is_told),
        support_test(a_second_run_changes_nothing),
        support_test(unknown_names_of_dumps_are_refused),
        support_test(dumps_are_numbered_files_that_parse),
        support_test(timing_has_a_line_for_each_pass),
        support_test(exact_passes_are_held_to_it),
        support_test(passes_that_recorded_a_change_are_not_checked),
        support_test(exactness_notes_are_kept_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
