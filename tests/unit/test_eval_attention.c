/* tests/unit/test_eval_attention.c -- attention, kv_write and rope: windows, grouped heads,
 * members, and that the split of a text into calls never shows. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/ir_text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ARGS(...) ((double *[]){__VA_ARGS__})
#define D(...) ((double[]){__VA_ARGS__})

enum { H = 4, G = 2, W = 3, C = 12 }; /* heads, kv heads, head width, context */

static const char module_text[] =
    "module @m\n"
    "state @kv : f32[2, 2, 12, 3]\n"
    "state @kw : f32[2, 2, 12, 3]\n"
    "func @full(%q: f32[T, 12], %k: f32[T, 6], %v: f32[T, 6], %pos: index) -> f32[T, 12] {\n"
    "  kv_write %k, %v, %pos, @kv\n"
    "  %a = attention %q, %k, %v, %pos, @kv {heads = 4, kv_heads = 2} : f32[T, 12]\n"
    "  return %a\n}\n"
    "func @window(%q: f32[T, 12], %k: f32[T, 6], %v: f32[T, 6], %pos: index) -> f32[T, 12] {\n"
    "  %a = attention %q, %k, %v, %pos, @kv {heads = 4, kv_heads = 2, window = 2} : f32[T, 12]\n"
    "  kv_write %k, %v, %pos, @kv\n"
    "  return %a\n}\n"
    "func @scaled(%q: f32[T, 12], %k: f32[T, 6], %v: f32[T, 6], %pos: index) -> f32[T, 12] {\n"
    "  %a = attention %q, %k, %v, %pos, @kv {heads = 4, kv_heads = 2, scale = 2.0} : f32[T, 12]\n"
    "  kv_write %k, %v, %pos, @kv\n"
    "  return %a\n}\n"
    "func @members(%q: f32[T, 2, 12], %k: f32[T, 2, 6], %v: f32[T, 2, 6], %pos: index)"
    " -> f32[T, 2, 12] {\n"
    "  kv_write %k, %v, %pos, [@kv, @kw]\n"
    "  %a = attention %q, %k, %v, %pos, [@kv, @kw] {heads = 4, kv_heads = 2, window = [1, 100]}"
    " : f32[T, 2, 12]\n"
    "  return %a\n}\n";

/* Brute force over the whole text: q [T, H * W], k and v [T, G * W]. window < 0: none. */
static void by_definition(const double *q, const double *k, const double *v, int T, int window,
                          double scale, double *out)
{
    for (int t = 0; t < T; t++)
        for (int h = 0; h < H; h++) {
            double e[64], sum = 0;
            int g = h / (H / G);
            for (int j = 0; j <= t; j++) {
                double dot = 0;
                for (int i = 0; i < W; i++) dot += q[(t * H + h) * W + i] * k[(j * G + g) * W + i];
                bool seen = window < 0 || t - j <= window;
                sum += e[j] = seen ? exp(dot * scale) : 0;
            }
            for (int i = 0; i < W; i++) {
                out[(t * H + h) * W + i] = 0;
                for (int j = 0; j <= t; j++)
                    out[(t * H + h) * W + i] += e[j] / sum * v[(j * G + g) * W + i];
            }
        }
}

typedef struct Text {
    double q[C * H * W], k[C * G * W], v[C * G * W];
} Text;

static Text random_text(uint64_t seed)
{
    Text x;
    ir_text_fill(&seed, 2, x.q, C * H * W);
    ir_text_fill(&seed, 2, x.k, C * G * W);
    ir_text_fill(&seed, 2, x.v, C * G * W);
    return x;
}

/* Runs @func over the text in calls of the given sizes (ending with 0), results into out. */
static void run_split(IrText *t, const char *func, Text *x, const int *sizes, double *out)
{
    int pos = 0;
    snl_eval_reset(t->eval);
    for (; *sizes; pos += *sizes++) {
        double p = pos;
        const double *y =
            ir_text_call(t, func, *sizes,
                         ARGS(x->q + pos * H * W, x->k + pos * G * W, x->v + pos * G * W, &p), 0);
        memcpy(out + pos * H * W, y, (size_t)(*sizes * H * W) * sizeof(double));
    }
    assert_int_equal(pos, C);
}

static void check_all_splits(const char *func, int window, double scale)
{
    static const int splits[][C + 1] = {
        {12}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {5, 7}, {7, 5}, {1, 10, 1}, {4, 3, 2, 3}};
    IrText t;
    ir_text_open(&t, module_text);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        Text x = random_text(seed);
        double want[C * H * W], got[C * H * W];
        by_definition(x.q, x.k, x.v, C, window, scale, want);
        for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
            run_split(&t, func, &x, splits[i], got);
            assert_near(got, want, C * H * W, 1e-13);
        }
    }
    ir_text_close(&t);
}

static void full_attention_in_any_split(void **state)
{
    (void)state;
    check_all_splits("full", -1, 1 / sqrt(3.0));
}

static void window_of_two_sees_three_keys(void **state)
{
    (void)state;
    check_all_splits("window", 2, 1 / sqrt(3.0));
}

static void given_scale_replaces_default(void **state)
{
    (void)state;
    check_all_splits("scaled", -1, 2.0);
}

/* One head of width 1, worked out by hand: scores ln 3 and 0 give weights 3/4 and 1/4. */
static void attention_by_hand(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(
        &t, "module @m\n"
            "state @kv : f32[2, 1, 4, 1]\n"
            "func @f(%q: f32[T, 1], %k: f32[T, 1], %v: f32[T, 1], %pos: index) -> f32[T, 1] {\n"
            "  %a = attention %q, %k, %v, %pos, @kv {heads = 1, kv_heads = 1} : f32[T, 1]\n"
            "  return %a\n}\n");
    assert_near(ir_text_call(&t, "f", 2, ARGS(D(5, 1), D(log(3), 0), D(8, 4), D(0)), 0), D(8, 7), 2,
                1e-14);
    /* It only read: the cache is still empty. At position 1 the cached key 0 has score 0, value 0.
     */
    assert_near(ir_text_call(&t, "f", 1, ARGS(D(1), D(log(3)), D(8), D(1)), 0), D(6), 1, 1e-14);
    ir_text_close(&t);
}

static void members_have_their_own_cache_and_window(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, module_text);
    Text a = random_text(7), b = random_text(8);
    double q[C * 2 * H * W], k[C * 2 * G * W], v[C * 2 * G * W], want[2][C * H * W];
    for (int i = 0; i < C; i++) {
        memcpy(q + 2 * i * H * W, a.q + i * H * W, H * W * sizeof(double));
        memcpy(q + (2 * i + 1) * H * W, b.q + i * H * W, H * W * sizeof(double));
        memcpy(k + 2 * i * G * W, a.k + i * G * W, G * W * sizeof(double));
        memcpy(k + (2 * i + 1) * G * W, b.k + i * G * W, G * W * sizeof(double));
        memcpy(v + 2 * i * G * W, a.v + i * G * W, G * W * sizeof(double));
        memcpy(v + (2 * i + 1) * G * W, b.v + i * G * W, G * W * sizeof(double));
    }
    by_definition(a.q, a.k, a.v, C, 1, 1 / sqrt(3.0), want[0]);
    by_definition(b.q, b.k, b.v, C, -1, 1 / sqrt(3.0), want[1]);
    for (int pos = 0; pos < C; pos += 4) {
        double p = pos;
        const double *y = ir_text_call(
            &t, "members", 4,
            ARGS(q + pos * 2 * H * W, k + pos * 2 * G * W, v + pos * 2 * G * W, &p), 0);
        for (int i = 0; i < 4; i++)
            for (int m = 0; m < 2; m++)
                assert_near(y + (2 * i + m) * H * W, want[m] + (pos + i) * H * W, H * W, 1e-13);
    }
    ir_text_close(&t);
}

/* By definition on rounded keys and values, in any split. */
static void check_rounded(const char *format, SnlDtype dtype)
{
    static const int splits[][C + 1] = {{12}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {5, 7}};
    char text[sizeof module_text + 64] = "";
    const char *from = module_text;
    for (const char *at; (at = strstr(from, "f32[2, 2, 12, 3]")); from = at + 3) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%.*s%s", (int)(at - from), from, format);
    }
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s", from);
    IrText t;
    ir_text_open(&t, text);
    Text x = random_text(5), r = x;
    double want[C * H * W], got[C * H * W];
    for (int i = 0; i < C * G; i++)
        for (int value = 0; value < 2; value++) {
            double *row = (value ? r.v : r.k) + i * W;
            float as_float[W];
            for (int j = 0; j < W; j++) as_float[j] = (float)row[j];
            if (snl_dtype_is_blocked(dtype)) snl_round_blocks(dtype, as_float, W);
            for (int j = 0; j < W; j++)
                row[j] = snl_dtype_is_blocked(dtype) ? as_float[j] : snl_round_to(dtype, row[j]);
        }
    by_definition(r.q, r.k, r.v, C, -1, 1 / sqrt(3.0), want);
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
        run_split(&t, "full", &x, splits[i], got);
        assert_near(got, want, C * H * W, 1e-13);
    }
    ir_text_close(&t);
}

static void own_rows_are_rounded_like_cached_ones(void **state)
{
    (void)state;
    check_rounded("f16", SNL_F16);
    check_rounded("q8_0", SNL_Q8_0);
}

static void kv_write_layout(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "state @kv : f32[2, 2, 3, 2]\n"
                     "func @f(%k: f32[T, 4], %v: f32[T, 4], %pos: index) {\n"
                     "  kv_write %k, %v, %pos, @kv\n"
                     "  return\n}\n");
    ir_text_call(&t, "f", 2,
                 ARGS(D(1, 2, 3, 4, 5, 6, 7, 8), D(11, 12, 13, 14, 15, 16, 17, 18), D(1)), 0);
    assert_near(ir_text_state(&t, "kv"),
                D(0, 0, 1, 2, 5, 6, 0, 0, 3, 4, 7, 8, 0, 0, 11, 12, 15, 16, 0, 0, 13, 14, 17, 18),
                24, 0);
    ir_text_close(&t);
}

static void context_overflow_is_reported(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, module_text);
    Text x = random_text(1);
    ir_text_call_fails(&t, "full", 4, ARGS(x.q, x.k, x.v, D(9)),
                       "kv_write: context full: found 13 positions, wanted at most 12");
    ir_text_call(&t, "full", 3, ARGS(x.q, x.k, x.v, D(9)), 0); /* the last that fit */
    ir_text_call_fails(&t, "window", 1, ARGS(x.q, x.k, x.v, D(13)),
                       "attention: position beyond the context: found 13, wanted at most 12");
    ir_text_call_fails(&t, "full", 1, ARGS(x.q, x.k, x.v, D(-1)), "position out of range");
    ir_text_close(&t);
}

static void misshapen_bound_state_is_reported(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "state @kv : f32[2, 3, 4, 1]\n"
                     "layer @l(%q: f32[T, 2], %pos: index, @s: state) -> f32[T, 2] {\n"
                     "  %a = attention %q, %q, %q, %pos, @s {heads = 2, kv_heads = 2} : f32[T, 2]\n"
                     "  return %a\n}\n");
    SnlState *bound[] = {snl_module_find_state(t.module, "kv")};
    t.states = bound;
    ir_text_call_fails(&t, "l", 1, ARGS(D(1, 2), D(0)),
                       "state '@kv': found f32[2, 3, 4, 1], wanted f32[2, 2, context, 1]");
    ir_text_close(&t);
}

static void rope_rotates_halves(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "func @table(%pos: index) -> f32[T, 4], f32[T, 4] {\n"
                     "  %a = rope_table %pos {theta = 100.0, width = 4} : f32[T, 4]\n"
                     "  %b = rope_table %pos {inverse, theta = 100.0, width = 4} : f32[T, 4]\n"
                     "  return %a, %b\n}\n"
                     "func @rotate(%x: f32[T, 8], %pos: index) -> f32[T, 8] {\n"
                     "  %a = rope_table %pos {theta = 100.0, width = 4} : f32[T, 4]\n"
                     "  %y = rope %x, %a {heads = 2} : f32[T, 8]\n"
                     "  return %y\n}\n"
                     "func @back(%x: f32[T, 8], %pos: index) -> f32[T, 8] {\n"
                     "  %a = rope_table %pos {theta = 100.0, width = 4} : f32[T, 4]\n"
                     "  %b = rope_table %pos {inverse, theta = 100.0, width = 4} : f32[T, 4]\n"
                     "  %y = rope %x, %a {heads = 2} : f32[T, 8]\n"
                     "  %z = rope %y, %b {heads = 2} : f32[T, 8]\n"
                     "  return %z\n}\n");
    /* Frequencies 100^0 = 1 and 100^(-1/2) = 0.1; positions 5 and 6. */
    ir_text_call(&t, "table", 2, ARGS(D(5)), 0);
    assert_near(t.result[0].at,
                D(cos(5), cos(.5), sin(5), sin(.5), cos(6), cos(.6), sin(6), sin(.6)), 8, 1e-14);
    assert_near(t.result[1].at,
                D(cos(5), cos(.5), -sin(5), -sin(.5), cos(6), cos(.6), -sin(6), -sin(.6)), 8,
                1e-14);
    /* Head 0 = (1, 0 | 0, 0): x1 of pair 0. Head 1 = (0, 0 | 0, 1): x2 of pair 1. */
    assert_near(ir_text_call(&t, "rotate", 1, ARGS(D(1, 0, 0, 0, 0, 0, 0, 1), D(5)), 0),
                D(cos(5), 0, sin(5), 0, 0, -sin(.5), 0, cos(.5)), 8, 1e-14);
    double *x = D(1, 2, 3, 4, 5, 6, 7, 8);
    assert_near(ir_text_call(&t, "back", 1, ARGS(x, D(9)), 0), x, 8, 1e-14);
    ir_text_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_attention_in_any_split),
        cmocka_unit_test(window_of_two_sees_three_keys),
        cmocka_unit_test(given_scale_replaces_default),
        cmocka_unit_test(attention_by_hand),
        cmocka_unit_test(members_have_their_own_cache_and_window),
        cmocka_unit_test(own_rows_are_rounded_like_cached_ones),
        cmocka_unit_test(kv_write_layout),
        cmocka_unit_test(context_overflow_is_reported),
        cmocka_unit_test(misshapen_bound_state_is_reported),
        cmocka_unit_test(rope_rotates_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
