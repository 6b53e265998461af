/* Counts of a plan, costs of a scheduled step, and texts of the summary. */
#include "tests/support/support.h"

#include "compiler/driver/cost.h"
#include "compiler/driver/summary.h"
#include "tests/support/ir_text.h"

#include <string.h>

static SnlPlanCounts counts(Support *s, const char *text, int64_t layers)
{
    SnlPlan plan;
    assert_int_equal(snl_plan_parse(s->arena, text, s->diag, &plan), SNL_OK);
    for (size_t i = 0; i < plan.windows.n; i++) {
        SnlWindow *w = &plan.windows.at[i];
        if (w->last) w->begin = layers - w->last, w->end = layers;
    }
    return snl_plan_counts(&plan, layers);
}

/* The step counts are those of the example model's README; evaluations: the sum of min(K, j + 1),
 * with batch_fwd min(K, j) + 1; fused layers count as the layers in them. */
static void plans_are_counted(void **state)
{
    Support *s = *state;
    static const struct {
        const char *plan;
        int64_t steps, evals;
    } cases[] = {
        {"seq", 16, 16},
        {"n2 K1", 15, 16},
        {"n12 K1 h0", 5, 16},
        {"n12 K1 batch_fwd", 6, 27},
        {"n12 K2 h0", 6, 27},
        {"n12 K4 h0", 8, 46},
        {"n4 K=exact", 16, 22},
        {"n4 K9", 16, 22},
        {"n4 K4 batch_fwd", 16, 22},
        {"n12 6xF2 K2 h0", 6, 26},
        {"n12 1xF12 K1", 5, 16},
        {"n4 F(3,1) K2", 14, 17},
        {"n8 K2 prefill=seq kv=corrected", 10, 23},
        {"[0:4] K1; [8:12] K2", 11, 19},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SnlPlanCounts c = counts(s, cases[i].plan, 16);
        if (c.steps != cases[i].steps || c.layer_evals != cases[i].evals)
            fail_msg("%s: found %lld steps, %lld evaluations, wanted %lld, %lld", cases[i].plan,
                     (long long)c.steps, (long long)c.layer_evals, (long long)cases[i].steps,
                     (long long)cases[i].evals);
        assert_int_equal(c.layers, 16);
    }
}

static const char scheduled[] =
    "module @m attributes {family = \"llama\", vocab = 32, context = 32}\n"
    "weight @w : f32[48, 8] = random {seed = 1}\n"
    "weight @o : f32[8, 16] = random {seed = 2}\n"
    "state @kv : f32[2, 1, 32, 16]\n"
    "func @f.decode(%x: f32[T, 8], %pos: index) -> f32[T, 8] attributes {stages = 3, tokens = 1} "
    "{\n"
    "  %qkv = linear %x, @w {grain = 16, split = cols, stage = 0, units = 3} : f32[T, 48]\n"
    "  %q = slice %qkv {begin = 0, end = 16, split = view, stage = 0} : f32[T, 16]\n"
    "  %k = slice %qkv {begin = 16, end = 32, split = view, stage = 0} : f32[T, 16]\n"
    "  %v = slice %qkv {begin = 32, end = 48, split = view, stage = 0} : f32[T, 16]\n"
    "  %a = attention %q, %k, %v, %pos, @kv {grain = 16, heads = 1, split = cols, stage = 1, units "
    "= 1, "
    "window = 7} : f32[T, 16]\n"
    "  %y = linear %a, @o {split = all, stage = 2} : f32[T, 8]\n"
    "  return %y\n"
    "}\n";

static void a_step_is_counted(void **state)
{
    Support *s = *state;
    IrText t;
    ir_text_open(&t, scheduled);
    SnlFunc *f = snl_module_find_func(t.module, "f.decode");
    SnlPayload payload;
    assert_int_equal(snl_payload_plan(s->arena, t.module, &f, 1, s->diag, &payload), SNL_OK);
    SnlStepCost cost = snl_step_cost(f, &payload, 2);
    assert_int_equal(cost.barriers, 2);
    assert_int_equal(cost.weight_bytes, 48 * 8 * 4 + 16 * 16 * 4); /* rows of @o are padded to 16 */
    assert_int_equal(cost.flops, 2 * (48 * 8 + 8 * 16));
    assert_int_equal(cost.cache_bytes, 2 * 8 * 16 * 4); /* a window of 7 sees 8 positions */
    assert_int_equal(cost.attention_flops, 4 * 16 * 8);
    assert_int_equal(cost.handed_bytes, (48 + 16) * 4 / 2); /* the other thread's half of both */
    /* Stage 0: 2 of 3 units; stage 1: one thread alone (caches half full: 512 of 1024
     * bytes); stage 2: both do everything. One thread has half of the bandwidth. */
    const SnlCostModel *m = snl_cost_model(4096);
    double bytes = 2 / m->bytes_per_second, call = m->call_seconds;
    double attention = 512 * bytes + m->head_seconds + 4 * m->score_seconds + call;
    double longest = (1536.0 * 2 / 3 + 1024) * bytes + 2 * call + attention;
    double mean = (1536.0 / 2 + 1024) * bytes + 2 * call + attention / 2;
    double waiting = longest - mean + 2 * m->barrier_seconds;
    double seconds = longest + 128 / m->handed_bytes_per_second + 2 * m->barrier_seconds;
    assert_close(snl_cost_seconds(m, &cost), seconds, 0, 1e-9);
    assert_close(snl_cost_own_seconds(&cost), seconds, 0, 1e-9);
    assert_close(snl_cost_waiting(m, &cost), waiting, 0, 1e-9);
    assert_close(snl_cost_imbalance(&cost), longest / mean - 1, 0, 1e-9);
    assert_int_equal(snl_cost_waiting_permille(&cost), (int)(1000 * waiting / seconds + 0.5));
    SnlStepCost alone = snl_step_cost(f, &payload, 1);
    assert_close(snl_cost_imbalance(&alone), 0, 1e-12, 0);
    assert_int_equal(alone.handed_bytes, 0);
    const SnlFunc *funcs[] = {f};
    assert_int_equal(snl_func_state_bytes(funcs, 1), 2 * 32 * 16 * 4);
    assert_string_equal(snl_state_sum_text(s->arena, funcs, 1), "4.0 KiB (1 of 4.0 KiB)");
    ir_text_close(&t);
}

static const char uneven[] =
    "module @m attributes {family = \"llama\", vocab = 32, context = 32}\n"
    "weight @up : f32[172, 64] = random {seed = 1}\n"
    "weight @down : f32[64, 172] = random {seed = 2}\n"
    "func @f.decode(%x: f32[T, 64]) -> f32[T, 64] attributes {stages = 2, tokens = 1} {\n"
    "  %u = linear %x, @up {grain = 64, split = cols, stage = 0, units = 3} : f32[T, 172]\n"
    "  %p = linear %u, @down {grain = 64, part = 64, split = cols, stage = 0, units = 1} : f32[T, "
    "3, "
    "64]\n"
    "  %a = member %p {index = 0, split = view, stage = 0} : f32[T, 64]\n"
    "  %b = member %p {index = 1, split = view, stage = 0} : f32[T, 64]\n"
    "  %c = member %p {index = 2, split = view, stage = 0} : f32[T, 64]\n"
    "  %y = lincomb %a, %b, %c {split = all, stage = 1} : f32[T, 64]\n"
    "  return %y\n"
    "}\n";

/* Of three parts of 64, 64 and 44 one thread has the first. What both read whole a stage later is
 * handed over, once for all views; what each reads of its own in the same stage is not. */
static void shares_follow_short_units(void **state)
{
    Support *s = *state;
    IrText t;
    ir_text_open(&t, uneven);
    SnlFunc *f = snl_module_find_func(t.module, "f.decode");
    SnlPayload payload;
    assert_int_equal(snl_payload_plan(s->arena, t.module, &f, 1, s->diag, &payload), SNL_OK);
    SnlStepCost cost = snl_step_cost(f, &payload, 2);
    const SnlCostModel *m = snl_cost_model(cost.weight_bytes);
    double seconds = (double)cost.weight_bytes * 2 / m->bytes_per_second;
    double longest = 108.0 / 172 * seconds + 3 * m->call_seconds;
    double mean = seconds / 2 + 3 * m->call_seconds;
    assert_close(snl_cost_imbalance(&cost), longest / mean - 1, 0, 1e-9);
    assert_int_equal(cost.handed_bytes, 3 * 64 * 4 / 2);
    ir_text_close(&t);
}

static void the_model_of_time_knows_the_levels_of_memory(void **state)
{
    (void)state;
    const SnlCostModel *near = snl_cost_model(1 << 20), *cache = snl_cost_model(16 << 20),
                       *far = snl_cost_model((int64_t)1 << 30);
    assert_true(near->bytes_per_second > cache->bytes_per_second);
    assert_true(cache->bytes_per_second > far->bytes_per_second);
    SnlStepCost cost = {.barriers = 10, .longest = {1, 2, 3}};
    assert_close(snl_cost_seconds(cache, &cost), 2 + 10 * cache->barrier_seconds, 0, 1e-12);
    assert_close(snl_cost_seconds(far, &cost), 3 + 10 * far->barrier_seconds, 0, 1e-12);
}

static void bytes_have_units(void **state)
{
    Support *s = *state;
    assert_string_equal(snl_bytes_text(s->arena, 0), "0 bytes");
    assert_string_equal(snl_bytes_text(s->arena, 1023), "1023 bytes");
    assert_string_equal(snl_bytes_text(s->arena, 1536), "1.5 KiB");
    assert_string_equal(snl_bytes_text(s->arena, (int64_t)5 << 40), "5120.0 GiB");
}

static void exactness_is_told_per_function(void **state)
{
    Support *s = *state;
    IrText t;
    ir_text_open(&t, "module @m attributes {exactness = [\"approximate(a)\", \"rounds(b)\", "
                     "\"changes-function(c)\"]}\n"
                     "func @x(%h: f32[T, 4]) -> f32[T, 4] attributes {exactness = "
                     "[\"approximate(a)\"]} {\n  return %h\n}\n"
                     "func @y(%h: f32[T, 4]) -> f32[T, 4] attributes {exactness = "
                     "[\"changes-function(c)\"]} {\n  return %h\n}\n"
                     "func @z(%h: f32[T, 4]) -> f32[T, 4] {\n  return %h\n}\n");
    static const char *const wanted[] = {"approximate(a), rounds(b)",
                                         "rounds(b), changes-function(c)", "rounds(b)"};
    const SnlFunc *f = t.module->first;
    for (int i = 0; i < 3; i++, f = f->next)
        assert_string_equal(snl_graph_exactness(s->arena, f), wanted[i]);
    ir_text_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(plans_are_counted),
        support_test(a_step_is_counted),
        support_test(shares_follow_short_units),
        support_test(the_model_of_time_knows_the_levels_of_memory),
        support_test(bytes_have_units),
        support_test(exactness_is_told_per_function),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
