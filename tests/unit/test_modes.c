/* Modes of a program: names, which plan is which, what is refused; and the pipeline text they give.
 */
#include "tests/support/support.h"

#include "compiler/driver/modes.h"
#include "compiler/driver/pipeline.h"
#include "tests/support/ir_text.h"

#include <string.h>

static SnlStatus parse(Support *s, const char *const *plans, const char *modes, SnlModes *out)
{
    SnlModeArgs args = {.modes = modes};
    for (; plans && *plans; plans++) SNL_PUSH(s->arena, &args.plans, *plans);
    return snl_modes_parse(s->arena, &args, s->diag, out);
}

/* "name|func|plan" of every mode, with spaces between. */
static const char *text_of(Support *s, const SnlModes *modes)
{
    const char *text = "";
    for (size_t i = 0; i < modes->list.n; i++) {
        const SnlMode *m = &modes->list.at[i];
        text = snl_arena_printf(s->arena, "%s%s%s|%s|%s", text, i ? "  " : "", m->name, m->func,
                                m->text);
    }
    return text;
}

static void without_a_plan_there_is_seq(void **state)
{
    Support *s = *state;
    SnlModes modes;
    assert_int_equal(parse(s, NULL, NULL, &modes), SNL_OK);
    assert_string_equal(text_of(s, &modes), "seq|forward|seq");
    assert_int_equal(parse(s, NULL, "seq", &modes), SNL_OK);
    assert_string_equal(text_of(s, &modes), "seq|forward|seq");
}

static void the_first_plan_is_the_default(void **state)
{
    Support *s = *state;
    SnlModes modes;
    const char *plans[] = {"n8", "seq", "n4 K2", NULL};
    assert_int_equal(parse(s, plans, NULL, &modes), SNL_OK);
    assert_string_equal(text_of(s, &modes), "snlp|forward|n8 K1 h0  seq|forward.seq|seq  "
                                            "snlp2|forward.snlp2|n4 K2 h0");
}

static void names_are_taken_and_default_names_make_room(void **state)
{
    Support *s = *state;
    SnlModes modes;
    const char *plans[] = {"n4 K=exact", "snlp=n2 K3", "fast_2=[1:3] 1xF2 K1", NULL};
    assert_int_equal(parse(s, plans, NULL, &modes), SNL_OK);
    assert_string_equal(text_of(s, &modes),
                        "snlp2|forward|n4 K=exact h0  snlp|forward.snlp|n2 K3 h0  "
                        "fast_2|forward.fast_2|[1:3] 1xF2 K1 h0");
}

static void a_choice_adds_seq_and_keeps_the_default(void **state)
{
    Support *s = *state;
    SnlModes modes;
    const char *one[] = {"n8 K1", NULL}, *three[] = {"n8", "b=n4", "c=n2", NULL};
    assert_int_equal(parse(s, one, "seq,snlp", &modes), SNL_OK);
    assert_string_equal(text_of(s, &modes), "snlp|forward|n8 K1 h0  seq|forward.seq|seq");
    assert_int_equal(parse(s, three, "c,b", &modes), SNL_OK);
    assert_string_equal(text_of(s, &modes), "b|forward|n4 K1 h0  c|forward.c|n2 K1 h0");
    assert_int_equal(parse(s, three, "seq", &modes), SNL_OK);
    assert_string_equal(text_of(s, &modes), "seq|forward|seq");
}

static void a_sequential_prompt_has_a_function_of_its_own(void **state)
{
    Support *s = *state;
    SnlModes modes;
    const char *plans[] = {"seq", "n2 K1 prefill=seq", NULL};
    assert_int_equal(parse(s, plans, NULL, &modes), SNL_OK);
    assert_null(modes.list.at[0].prompt);
    assert_string_equal(modes.list.at[1].prompt, "forward.snlp.prompt");
}

static void bad_names_are_refused(void **state)
{
    Support *s = *state;
    static const struct {
        const char *plans[3], *modes, *message;
    } cases[] = {
        {{"n8", "snlp=n4", "snlp=n2"}, NULL, "two modes are called 'snlp'"},
        {{"seq", "seq"}, NULL, "two modes are called 'seq'"},
        {{"decode=n8"}, NULL, "cannot be called 'decode'"},
        {{"prompt=n8"}, NULL, "cannot be called 'prompt'"},
        {{"seq=n8"}, NULL, "found 'seq=n8', wanted another name"},
        {{"a23456789012345678901234567890123=n8"}, NULL, "wanted at most 32"},
        {{"n8"}, "snlp,slow", "found 'slow', wanted some of: seq, snlp"},
        {{"n8"}, "snlp,snlp", "'snlp' is named twice"},
        {{"n8"}, "", "found ''"},
        {{NULL}, "snlp", "add a plan"},
        {{"a-b=n8"}, NULL, "found 'a-b=n8', wanted a window"},
        {{"x=n8 K0"}, NULL, "found 'K0'"},
        {{"prefill=seq"}, NULL, "plan:1:1: error[E0401]: plan: found 'prefill=seq' where a window"},
        {{"prefill=n8"}, NULL, "found 'prefill=n8' where a window should be"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SnlModes modes;
        const char *plans[] = {cases[i].plans[0], cases[i].plans[1], cases[i].plans[2], NULL};
        assert_int_not_equal(parse(s, plans, cases[i].modes, &modes), SNL_OK);
        assert_diag(s->diag, cases[i].message);
    }
}

static void the_pipeline_names_every_function(void **state)
{
    Support *s = *state;
    SnlModes modes;
    const char *plans[] = {"n2 1xF2 K1", "seq", "n1 prefill=seq", NULL};
    assert_int_equal(parse(s, plans, NULL, &modes), SNL_OK);
    SnlPipelineSpec spec = {.modes = &modes, .tail = true};
    const char *text = snl_pipeline_default(s->arena, &spec);
    static const char *const wanted[] = {
        "fuse-layers{func=forward plan=\"n2 1xF2 K1 h0\"},newton{func=forward plan=",
        "newton{func=forward.snlp2 plan=\"n1 K1 h0 prefill=seq\"},lower-newton,",
        "shapes{func=forward tail=true}",
        "shapes{func=forward.seq tail=true}",
        "shapes{func=forward.snlp2 prefill=forward.snlp2.prompt tail=true}",
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        assert_non_null(strstr(text, wanted[i]));
    assert_null(strstr(text, "newton{func=forward.seq"));
}

/* As many heads of keys as cores need no parts. */
static void work_is_shared_out_for_the_cores(void **state)
{
    Support *s = *state;
    SnlModes modes;
    const char *plans[] = {"seq", NULL};
    assert_int_equal(parse(s, plans, NULL, &modes), SNL_OK);
    SnlPipelineSpec spec = {.modes = &modes};
    assert_non_null(strstr(snl_pipeline_default(s->arena, &spec),
                           "attention-parts,linear-parts,schedule,plan-memory"));
    spec.cores = 4;
    assert_non_null(strstr(snl_pipeline_default(s->arena, &spec),
                           "attention-parts{kv_heads=3},linear-parts,schedule{threads=4},"));
}

static void plans_are_quoted(void **state)
{
    Support *s = *state;
    assert_string_equal(snl_pipeline_quoted(s->arena, "n2 surrogate=diag:a\"b\\c.npy"),
                        "\"n2 surrogate=diag:a\\\"b\\\\c.npy\"");
}

static const char two_layers[] =
    "module @m attributes {family = \"llama\", vocab = 8, context = 8}\n"
    "weight @embed : f32[8, 4] = random {seed = 1}\n"
    "layer @a(%h: f32[T, 4], %pos: index) -> f32[T, 4] surrogate identity {\n"
    "  %z = lincomb %h, %h : f32[T, 4]\n"
    "  return %z\n"
    "}\n"
    "func @forward.seq(%h: f32[T, 4]) -> f32[T, 4] {\n"
    "  return %h\n"
    "}\n"
    "func @forward(%tokens: i32[T], %pos: index) -> f32[T, 8] {\n"
    "  %x = embed %tokens, @embed : f32[T, 4]\n"
    "  %h = chain %x, %pos, [@a, @a] : f32[T, 4]\n"
    "  %l = linear %h, @embed : f32[T, 8]\n"
    "  return %l\n"
    "}\n";

static void functions_are_made_where_names_are_free(void **state)
{
    Support *s = *state;
    IrText t;
    SnlModes modes;
    const char *plans[] = {"n2", "b=n1", NULL}, *taken[] = {"n2", "seq", NULL};
    ir_text_open(&t, two_layers);
    assert_int_equal(parse(s, plans, NULL, &modes), SNL_OK);
    assert_int_equal(snl_modes_fit(&modes, t.module, NULL, s->diag), SNL_OK);
    assert_int_equal(snl_modes_clone(&modes, t.module, s->diag), SNL_OK);
    assert_non_null(snl_module_find_func(t.module, "forward.b"));
    assert_int_equal(parse(s, taken, NULL, &modes), SNL_OK);
    assert_int_equal(snl_modes_clone(&modes, t.module, s->diag), SNL_BAD_INPUT);
    assert_diag(s->diag, "mode 'seq' needs the function name '@forward.seq'");
    ir_text_close(&t);
}

static void plans_that_do_not_fit_say_why(void **state)
{
    Support *s = *state;
    IrText t;
    ir_text_open(&t, two_layers);
    static const struct {
        const char *plan, *message;
    } cases[] = {
        {"n3", "n3 is more than the chain has: 2 layers"},
        {"[1:3]", "[1:3] goes beyond the chain, which has 2 layers"},
        {"n2 surrogate=streams", "needs a model with hyper-connections"},
        {"[0:1]; n2", "the window begins at layer 0, the one before ends at 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SnlModes modes;
        const char *plans[] = {cases[i].plan, NULL};
        assert_int_equal(parse(s, plans, NULL, &modes), SNL_OK);
        assert_int_equal(snl_modes_fit(&modes, t.module, NULL, s->diag), SNL_BAD_INPUT);
        assert_diag(s->diag, cases[i].message);
    }
    ir_text_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(without_a_plan_there_is_seq),
        support_test(the_first_plan_is_the_default),
        support_test(names_are_taken_and_default_names_make_room),
        support_test(a_choice_adds_seq_and_keeps_the_default),
        support_test(a_sequential_prompt_has_a_function_of_its_own),
        support_test(bad_names_are_refused),
        support_test(the_pipeline_names_every_function),
        support_test(work_is_shared_out_for_the_cores),
        support_test(plans_are_quoted),
        support_test(functions_are_made_where_names_are_free),
        support_test(plans_that_do_not_fit_say_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
