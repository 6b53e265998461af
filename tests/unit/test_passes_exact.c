/* Each exact pass, and the usual order of them, on hand-written modules: check-each must be
 * content, and must see a pass that is not exact. */
#include "tests/support/support.h"

#include "passes/check.h"
#include "passes/pass.h"

#include <string.h>

static const char usual[] = "lower-newton,inline-layers,simplify,cancel-residual,simplify,cse,dce,"
                            "merge-linear,fold,simplify,cse,dce,pack{weights=f32},dce";

static SnlModule *module_of(Support *s, const char *text)
{
    SnlSource *source = SNL_NEW(s->arena, SnlSource);
    *source = (SnlSource){"test.snl", text, strlen(text)};
    SnlModule *m = NULL;
    if (snl_parse(s->arena, source, s->diag, &m) != SNL_OK) fail_msg("%s", snl_diag_text(s->diag));
    return m;
}

static SnlModule *checked(Support *s, const char *text, const char *pipeline)
{
    SnlModule *m = module_of(s, text);
    FILE *log = tmpfile();
    SnlPipelineOptions o = {.verify_each = true, .check_each = true, .check_seed = 11, .log = log};
    SnlStatus status = snl_pipeline_run(m, pipeline, &o, s->diag);
    fclose(log);
    if (status != SNL_OK) fail_msg("%s", snl_diag_text(s->diag));
    return m;
}

static bool has(Support *s, const SnlModule *m, const char *text)
{
    return strstr(snl_print_to_string(s->arena, m), text) != NULL;
}

/* ---- modules -------------------------------------------------------------------------------- */

static const char weights_text[] = "weight @g%d : f32[8] = random {seed = 1}\n"
                                   "weight @q%d : f32[8, 8] = random {scale = 0.3, seed = 1}\n"
                                   "weight @k%d : f32[4, 8] = random {scale = 0.3, seed = 1}\n"
                                   "weight @v%d : f32[4, 8] = random {scale = 0.3, seed = 1}\n"
                                   "weight @b%d : f32[4] = random {scale = 0.3, seed = 1}\n"
                                   "weight @o%d : f32[8, 8] = random {scale = 0.3, seed = 1}\n"
                                   "weight @f%d : f32[8] = random {seed = 1}\n"
                                   "weight @gate%d : f32[12, 8] = random {scale = 0.3, seed = 1}\n"
                                   "weight @up%d : f32[12, 8] = random {scale = 0.3, seed = 1}\n"
                                   "weight @down%d : f32[8, 12] = random {scale = 0.3, seed = 1}\n"
                                   "state @kv.%d : f32[2, 1, 16, 4]\n";

static const char attention_text[] =
    "layer @block.%d(%%h: f32[T, 8], %%pos: index, @kv: state) -> f32[T, 8] surrogate identity {\n"
    "  %%n = rms_norm %%h, @g%d {eps = 1e-05} : f32[T, 8]\n"
    "  %%q = linear %%n, @q%d : f32[T, 8]\n"
    "  %%k = linear %%n, @k%d, @b%d : f32[T, 4]\n"
    "  %%v = linear %%n, @v%d, @b%d : f32[T, 4]\n"
    "  %%cs = rope_table %%pos {theta = 10000.0, width = 4} : f32[T, 4]\n"
    "  %%qr = rope %%q, %%cs {heads = 2} : f32[T, 8]\n"
    "  %%kr = rope %%k, %%cs {heads = 1} : f32[T, 4]\n"
    "  kv_write %%kr, %%v, %%pos, @kv\n"
    "  %%a = attention %%qr, %%kr, %%v, %%pos, @kv {heads = 2, kv_heads = 1%s} : f32[T, 8]\n"
    "  %%o = linear %%a, @o%d : f32[T, 8]\n"
    "  %%y = lincomb %%h, %%o : f32[T, 8]\n";

static const char mlp_text[] = "  %%m = rms_norm %%y, @f%d {eps = 1e-05} : f32[T, 8]\n"
                               "  %%g = linear %%m, @gate%d : f32[T, 12]\n"
                               "  %%u = linear %%m, @up%d : f32[T, 12]\n"
                               "  %%s = silu %%g : f32[T, 12]\n"
                               "  %%e = mul %%s, %%u : f32[T, 12]\n"
                               "  %%d = linear %%e, @down%d : f32[T, 8]\n"
                               "  %%z = lincomb %%y, %%d : f32[T, 8]\n"
                               "  return %%z\n"
                               "}\n";

static const char forward_text[] =
    "func @forward(%ids: i32[T], %pos: index) -> f32[T, 16], f32[T, 8] {\n"
    "  %x = embed %ids, @embed : f32[T, 8]\n"
    "  %h, %mid = chain %x, %pos, [@block.0(@kv.0), @block.1(@kv.1), @block.2(@kv.2)]"
    " {taps = [1]} : f32[T, 8], f32[T, 8]\n"
    "  %l = linear %h, @embed : f32[T, 16]\n"
    "  return %l, %mid\n"
    "}\n";

/* A llama-like model of three layers; the one in the middle has a sliding window. */
static const char *three_layers(Support *s)
{
    const char *text = "module @m\nweight @embed : f32[16, 8] = random {seed = 1}\n";
    for (int i = 0; i < 3; i++)
        text = snl_arena_printf(
            s->arena, "%s%s", text,
            snl_arena_printf(s->arena, weights_text, i, i, i, i, i, i, i, i, i, i, i));
    for (int i = 0; i < 3; i++)
        text = snl_arena_printf(s->arena, "%s%s%s", text,
                                snl_arena_printf(s->arena, attention_text, i, i, i, i, i, i, i,
                                                 i == 1 ? ", window = 2" : "", i),
                                snl_arena_printf(s->arena, mlp_text, i, i, i, i));
    return snl_arena_printf(s->arena, "%s%s", text, forward_text);
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void a_sequential_model_stays_what_it_is(void **state)
{
    Support *s = *state;
    SnlModule *m = checked(s, three_layers(s), usual);
    assert_false(has(s, m, "exactness"));
    assert_false(has(s, m, "layer @"));
    assert_true(has(s, m, "concat("));
    assert_true(has(s, m, "colscale("));
    assert_false(has(s, m, "stack")); /* nothing in it is independent */
}

static void every_plan_stays_what_it_is(void **state)
{
    static const char *const plan[] = {"n3 K1",
                                       "n3 K2 batch_fwd",
                                       "n3 K=exact",
                                       "n3 K2 damping=0.3",
                                       "[0:2] K1; [2:3] K1",
                                       "n2 K2 surrogate=zero",
                                       "n3 K2 prefill=seq",
                                       "n3 K2 prefill=seq kv=corrected",
                                       "n3 K1 warm prefill=seq kv=corrected",
                                       "n3 K2 warm prefill=seq",
                                       "n3 1xF3",
                                       "n3 F(1,2) K2",
                                       "n3 F(1,2) K2 prefill=seq",
                                       "n3 3xF1 K2 compat=reference prefill=seq kv=corrected",
                                       "n2 2xF1 compat=reference",
                                       "n2 1xF2 compat=reference-fused avg"};
    for (size_t i = 0; i < sizeof plan / sizeof plan[0]; i++) {
        Support *s = *state;
        checked(s, three_layers(s),
                snl_arena_printf(s->arena, "fuse-layers{plan=\"%s\"},newton{plan=\"%s\"},%s",
                                 plan[i], plan[i], usual));
    }
}

static void one_sweep_becomes_the_wide_form(void **state)
{
    Support *s = *state;
    SnlModule *m =
        checked(s, three_layers(s), snl_arena_printf(s->arena, "newton{plan=\"n3 K1\"},%s", usual));
    /* One norm without weight that all share, members all the way, windows of their own. */
    assert_true(has(s, m, "linear %l02.n, ["));
    assert_true(has(s, m, "%l02.n = rms_norm %x {eps = 1e-05} : f32[T, 8]"));
    assert_true(has(s, m, "window = [16, 2, 16]"));
    assert_true(has(s, m, "kv_write %l02.kr, %l02.v, %pos, [@kv.0, @kv.1, @kv.2]"));
    assert_false(has(s, m, "stack"));
    assert_true(has(s, m, "approximate(newton n=3 K=1)"));
}

static void wrong_results_are_seen(void **state)
{
    Support *s = *state;
    static const char before[] = "module @m\n"
                                 "state @row : f32[4]\n"
                                 "func @f(%x: f32[T, 4], %pos: index) -> f32[T, 4] {\n"
                                 "  %a = shift %x, %pos, @row : f32[T, 4]\n"
                                 "  row_write %x, %pos, @row\n"
                                 "  return %a\n"
                                 "}\n";
    static const char no_write[] = "module @m\n"
                                   "state @row : f32[4]\n"
                                   "func @f(%x: f32[T, 4], %pos: index) -> f32[T, 4] {\n"
                                   "  %a = shift %x, %pos, @row : f32[T, 4]\n"
                                   "  return %a\n"
                                   "}\n";
    SnlCheckResult *a, *b;
    assert_int_equal(snl_check_evaluate(s->arena, module_of(s, before), NULL, 1, s->diag, &a),
                     SNL_OK);
    assert_int_equal(snl_check_evaluate(s->arena, module_of(s, before), NULL, 1, s->diag, &b),
                     SNL_OK);
    assert_true(snl_check_compare(s->arena, a, b).error == 0);
    assert_int_equal(snl_check_evaluate(s->arena, module_of(s, no_write), NULL, 1, s->diag, &b),
                     SNL_OK);
    SnlCheckError e = snl_check_compare(s->arena, a, b);
    assert_true(e.error > 0.1);
    assert_true(e.n_compared == 9); /* two calls and one state, for three lengths */
}

static void functions_of_one_module_share_weights(void **state)
{
    Support *s = *state;
    /* The sequential function and the planned one: one concatenation, one product for both. */
    SnlModule *m = module_of(s, three_layers(s));
    snl_func_clone(snl_module_find_func(m, "forward"), "seq");
    SnlPipelineOptions o = {.verify_each = true};
    assert_int_equal(
        snl_pipeline_run(
            m, snl_arena_printf(s->arena, "newton{plan=\"n3 K2\" func=forward},%s", usual), &o,
            s->diag),
        SNL_OK);
    size_t concats = 0;
    for (size_t i = 0; i < m->weights.n; i++) concats += m->weights.at[i]->code == SNL_WEXPR_CONCAT;
    /* Key and value of each layer, weights and biases, whatever the function. */
    assert_int_equal(concats, 2 * 3);
    assert_true(has(s, m, "func @seq"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(a_sequential_model_stays_what_it_is),
        support_test(every_plan_stays_what_it_is),
        support_test(one_sweep_becomes_the_wide_form),
        support_test(wrong_results_are_seen),
        support_test(functions_of_one_module_share_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
