/* Plan texts: what they mean, their canonical form, what is refused and why; fitting to a chain. */
#include "tests/support/support.h"

#include "passes/plan.h"

#include <string.h>

static void canonical(Support *s, const char *text, const char *want)
{
    SnlPlan plan, again;
    if (snl_plan_parse(s->arena, text, s->diag, &plan) != SNL_OK)
        fail_msg("%s: %s", text, snl_diag_text(s->diag));
    char *got = snl_plan_print(s->arena, &plan);
    assert_string_equal(got, want);
    assert_int_equal(snl_plan_parse(s->arena, got, s->diag, &again), SNL_OK);
    assert_string_equal(snl_plan_print(s->arena, &again), want);
}

static void texts_have_a_canonical_form(void **state)
{
    Support *s = *state;
    canonical(s, "seq", "seq");
    canonical(s, "  seq ", "seq");
    canonical(s, "n24 12xF2 K1 h0", "n24 12xF2 K1 h0");
    canonical(s, "n8 K4 batch_fwd", "n8 K4 batch_fwd");
    canonical(s, "[8:20]", "[8:20] K1 h0");
    canonical(s, "[4:6] K1; [8:10] K1", "[4:6] K1 h0; [8:10] K1 h0");
    canonical(s, "[4:6];n2", "[4:6] K1 h0; n2 K1 h0");
    canonical(s, "n6 F(4,2) K1", "n6 F(4,2) K1 h0");
    canonical(s, "n6 F( 3 , 3 )", "n6 2xF3 K1 h0");
    canonical(s, "n16 K1 h0 damping=0.1", "n16 K1 h0 damping=0.1");
    canonical(s, "n16 damping=0", "n16 K1 h0");
    canonical(s, "n16 K=exact", "n16 K=exact h0");
    canonical(s, "n4 surrogate=diag:d/x.npy K2", "n4 K2 h0 surrogate=diag:d/x.npy");
    canonical(s, "n4 warm prefill=seq kv=corrected", "n4 K1 warm prefill=seq kv=corrected");
    canonical(s, "n4 kv=sweep prefill=snlp", "n4 K1 h0");
    canonical(s, "n4 1xF4 compat=reference-fused avg", "n4 1xF4 K1 h0 compat=reference-fused avg");
}

static void words_arrive(void **state)
{
    Support *s = *state;
    SnlPlan p;
    assert_int_equal(snl_plan_parse(s->arena,
                                    "[2:8] F(4,2) K3 batch_fwd damping=0.25 surrogate=zero "
                                    "prefill=seq",
                                    s->diag, &p),
                     SNL_OK);
    const SnlWindow *w = &p.windows.at[0];
    assert_int_equal(p.windows.n, 1);
    assert_int_equal(w->begin, 2);
    assert_int_equal(w->end, 8);
    assert_int_equal(w->n_chunk, 2);
    assert_int_equal(w->chunk[0], 4);
    assert_int_equal(w->sweeps, 3);
    assert_int_equal(w->init, SNL_INIT_BATCH_FWD);
    assert_true(w->damping == 0.25);
    assert_int_equal(w->surrogate, SNL_PLAN_ZERO);
    assert_true(p.prefill_seq && !p.kv_corrected && !p.avg);
    assert_int_equal(snl_window_units(w), 2);
    assert_int_equal(snl_window_sweeps(w), 3);
}

static void refused(Support *s, const char *text, const char *message)
{
    SnlPlan plan;
    SnlDiag *diag = snl_diag_create(NULL, 0); /* its own: only so many messages are kept */
    assert_int_equal(snl_plan_parse(s->arena, text, diag, &plan), SNL_BAD_INPUT);
    assert_diag(diag, message);
    snl_diag_destroy(diag);
}

static void mistakes_are_located(void **state)
{
    Support *s = *state;
    refused(s, "", "plan:1:1: error[E0401]: plan: found the end, wanted a window");
    refused(s, "24", "found '24', wanted a window");
    refused(s, "n", "found 'n', wanted a window");
    refused(s, "n0", "found 'n0', wanted a window");
    refused(s, "n99999999999999999999", "wanted a window");
    refused(s, "[4:]", "found '[4:]', wanted a window");
    refused(s, "[4", "found '[4', wanted a window");
    refused(s, "[6:6]", "plan: [6:6] holds no layer");
    refused(s, "n4 K0", "plan:1:4: error[E0401]: plan: found 'K0', wanted the number of sweeps");
    refused(s, "n4 K", "wanted the number of sweeps");
    refused(s, "n4 K=all", "wanted the number of sweeps");
    refused(s, "n4 3xF2", "the chunks 3xF2 hold 6 layers, the window 4");
    refused(s, "n4 F(2,1)", "the chunks F(2,1) hold 3 layers, the window 4");
    refused(s, "n4 F(2,)", "wanted chunks");
    refused(s, "n4 2xG2", "wanted chunks");
    refused(s, "n4 damping=2", "damping: found '2', wanted 0 to 1");
    refused(s, "n4 damping=nan", "damping: found 'nan', wanted 0 to 1");
    refused(s, "n4 surrogate=full",
            "surrogate: found 'full', wanted identity, streams, zero or diag");
    refused(s, "n4 surrogate=diag:", "surrogate: found 'diag:'");
    refused(s, "n4 surrogate=diag:.npy", "surrogate: found 'diag:.npy'");
    refused(s, "n4 surrogate=diag:rows.txt", "surrogate: found 'diag:rows.txt', wanted");
    refused(s, "n4 K1 K2", "K is given twice");
    refused(s, "n4 h0 warm", "the initialisation is given twice");
    refused(s, "n4 2xF2 F(2,2)", "the window's chunks is given twice");
    refused(s, "n4 prefill=fast", "prefill= found 'fast', wanted snlp or seq");
    refused(s, "n4 kv=none", "kv= found 'none', wanted sweep or corrected");
    refused(s, "n4 fast", "found 'fast', wanted ';' and another window");
    refused(s, "n4 avg; n2", "found ';', wanted ';'");
    refused(s, "n4;", "found the end, wanted a window");
    refused(s, "seq n4", "plan:1:5: error[E0401]: plan: found 'n4' after seq, wanted nothing");
    refused(s, "prefill=seq n4", "found 'prefill=seq' where a window should be: options follow");
    refused(s, "kv=sweep", "found 'kv=sweep' where a window should be");
}

static void what_means_nothing_is_refused_with_the_reason(void **state)
{
    Support *s = *state;
    refused(s, "n4 kv=corrected", "give prefill=seq as well, or kv=sweep");
    refused(s, "n4 warm", "warm starts from the previous token's states");
    refused(s, "n4; [2:3]", "a window after n4, which ends with the last layer");
    refused(s, "[2:6]; [4:8]", "this one begins at layer 4, the one before ends at 6");
    refused(s, "n4 compat=reference", "compat is about fused chunks");
    refused(s, "n4 avg", "avg is about fused chunks");
    refused(s, "n4 2xF2 compat=reference-fused", "found 2 chunks, wanted 1");
}

/* ---- fitting -------------------------------------------------------------------------------- */

static SnlOp *chain_of(Support *s, SnlModule **out)
{
    static const char text[] =
        "module @m\n"
        "layer @block(%h: f32[T, 4]) -> f32[T, 4] surrogate identity {\n  return %h\n}\n"
        "layer @wide(%h: f32[T, 4]) -> f32[T, 4] surrogate identity attributes {layers = 2} {\n"
        "  return %h\n}\n"
        "func @f(%x: f32[T, 4]) -> f32[T, 4] {\n"
        "  %h = chain %x, [@block, @wide, @block] : f32[T, 4]\n"
        "  return %h\n}\n"
        "func @g(%x: f32[T, 4]) -> f32[T, 4] {\n  return %x\n}\n";
    SnlSource *source = SNL_NEW(s->arena, SnlSource);
    *source = (SnlSource){"test.snl", text, sizeof text - 1};
    if (snl_parse(s->arena, source, s->diag, out) != SNL_OK) fail_msg("%s", snl_diag_text(s->diag));
    return snl_plan_chain(*out, NULL, s->diag);
}

static SnlStatus fit(Support *s, const char *text, SnlPlan *plan)
{
    SnlModule *m;
    SnlOp *chain = chain_of(s, &m);
    assert_non_null(chain);
    assert_int_equal(snl_plan_parse(s->arena, text, s->diag, plan), SNL_OK);
    return snl_plan_fit(plan, chain, s->diag);
}

static void windows_are_counted_in_layers(void **state)
{
    Support *s = *state;
    SnlPlan p;
    assert_int_equal(fit(s, "n3 F(2,1)", &p), SNL_OK);
    assert_int_equal(p.windows.at[0].begin, 1);
    assert_int_equal(p.windows.at[0].end, 4);
    assert_int_equal(fit(s, "[0:1]; [1:3]", &p), SNL_OK);
}

static void plans_that_do_not_fit_say_why(void **state)
{
    Support *s = *state;
    SnlPlan p;
    assert_int_equal(fit(s, "n5", &p), SNL_BAD_INPUT);
    assert_diag(s->diag, "n5 is more than the chain has: 4 layers");
    assert_int_equal(fit(s, "[2:9]", &p), SNL_BAD_INPUT);
    assert_diag(s->diag, "[2:9] goes beyond the chain, which has 4 layers");
    assert_int_equal(fit(s, "[0:3]; n2", &p), SNL_BAD_INPUT);
    assert_diag(s->diag, "the window begins at layer 2, the one before ends at 3");
    assert_int_equal(fit(s, "n2", &p), SNL_BAD_INPUT);
    assert_diag(s->diag, "layer 2 lies inside a fused layer");
    assert_int_equal(fit(s, "n1 surrogate=streams", &p), SNL_BAD_INPUT);
    assert_diag(s->diag, "surrogate=streams needs a model with hyper-connections");
}

static void a_plan_is_about_one_chain(void **state)
{
    Support *s = *state;
    SnlModule *m;
    assert_non_null(chain_of(s, &m));
    assert_non_null(snl_plan_chain(m, "f", s->diag));
    assert_null(snl_plan_chain(m, "g", s->diag));
    assert_diag(s->diag, "a plan is about one chain of layers: found 0 in @g");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(texts_have_a_canonical_form),
        support_test(words_arrive),
        support_test(mistakes_are_located),
        support_test(what_means_nothing_is_refused_with_the_reason),
        support_test(windows_are_counted_in_layers),
        support_test(plans_that_do_not_fit_say_why),
        support_test(a_plan_is_about_one_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
