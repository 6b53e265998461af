/* tests/unit/test_eval_chain.c -- call, chain and newton. Small residual layers with attention,
 * random weights; the law is that after k sweeps the first k states are the sequential ones,
 * whatever the surrogate, the initial states and the damping. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/ir_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ARGS(...) ((double *[]){__VA_ARGS__})
#define D(...) ((double[]){__VA_ARGS__})

enum { N = 4, T = 5, WIDTH = 6, TEXT = 8192 };

typedef struct Law {
    IrText t;
    char text[TEXT];
    float w[N][4 * WIDTH * WIDTH], diag[N][WIDTH];
    double x[T * WIDTH];
    double link[N + 1][N + 1][T * WIDTH]; /* [sweep][link], as traced */
    size_t links, sweeps;                 /* highest seen */
} Law;

static void append(Law *law, const char *fmt, ...) SNL_PRINTF(2, 3);
static void append(Law *law, const char *fmt, ...)
{
    va_list args;
    size_t used = strlen(law->text);
    va_start(args, fmt);
    vsnprintf(law->text + used, TEXT - used, fmt, args);
    va_end(args);
    assert_true(strlen(law->text) + 1 < TEXT);
}

/* h + wo relu2(wu h) + attention, one state; reads the position and a second value. */
static void append_layer(Law *law, int j, const char *surrogate)
{
    for (const char *w = "qkvo"; *w; w++)
        append(law, "weight @%c%d : f32[6, 6] = source \"m\" \"%c%d\"\n", *w, j, *w, j);
    append(law, "weight @d%d : f32[6] = source \"m\" \"d%d\"\n", j, j);
    append(law,
           "layer @f%d(%%h: f32[T, 6], %%pos: index, %%x0: f32[T, 6], @kv: state) -> f32[T, 6]", j);
    append(law, " surrogate %s", surrogate);
    if (strcmp(surrogate, "diag") == 0) append(law, " @d%d", j);
    append(law, " {\n");
    append(law,
           "  %%b = lincomb %%h, %%x0 {coef = [1.0, 0.1]} : f32[T, 6]\n"
           "  %%n = rms_norm %%b {eps = 1e-05} : f32[T, 6]\n"
           "  %%q = linear %%n, @q%d : f32[T, 6]\n"
           "  %%k = linear %%n, @k%d : f32[T, 6]\n"
           "  %%v = linear %%n, @v%d : f32[T, 6]\n"
           "  kv_write %%k, %%v, %%pos, @kv\n"
           "  %%a = attention %%q, %%k, %%v, %%pos, @kv {heads = 2, kv_heads = 2} : f32[T, 6]\n"
           "  %%o = linear %%a, @o%d : f32[T, 6]\n"
           "  %%y = lincomb %%b, %%o : f32[T, 6]\n"
           "  return %%y\n}\n",
           j, j, j, j);
}

/* newton attributes; the states each unit needs are declared and bound by the rule of eval.h. */
typedef struct Setting {
    const char *surrogate, *init, *kv;
    double damping;
    int sweeps;
} Setting;

static size_t n_states(const Setting *s, int unit)
{
    size_t n = strcmp(s->kv, "corrected") == 0
                   ? 1
                   : snl_newton_evals(s->sweeps, strcmp(s->init, "batch_fwd") == 0, (size_t)unit);
    return n;
}

static void append_bindings(Law *law, const Setting *s)
{
    for (int j = 0; j < N; j++) {
        append(law, "%s@f%d(", j ? ", " : "", j);
        for (size_t e = 0; e < n_states(s, j); e++) append(law, "%s@s%d.%zu", e ? ", " : "", j, e);
        if (strcmp(s->init, "warm") == 0 && j > 0) append(law, ", @w%d", j);
        append(law, ")");
    }
}

static void append_funcs(Law *law, const Setting *s)
{
    append(law,
           "func @seq(%%h: f32[T, 6], %%pos: index, %%x0: f32[T, 6]) -> f32[T, 6], f32[T, 6] {\n"
           "  %%y, %%tap = chain %%h, %%pos, %%x0, [");
    for (int j = 0; j < N; j++) append(law, "%s@f%d(@c%d)", j ? ", " : "", j, j);
    append(law, "] {taps = [1]} : f32[T, 6], f32[T, 6]\n  return %%y, %%tap\n}\n");
    append(law,
           "func @newton(%%h: f32[T, 6], %%pos: index, %%x0: f32[T, 6]) -> f32[T, 6], f32[T, 6] {\n"
           "  %%y, %%tap = newton %%h, %%pos, %%x0, [");
    append_bindings(law, s);
    append(
        law,
        "] {damping = %.2f, init = %s, kv = %s, sweeps = %d, taps = [1]} : f32[T, 6], f32[T, 6]\n"
        "  return %%y, %%tap\n}\n",
        s->damping, s->init, s->kv, s->sweeps);
}

static void record(void *user, const SnlOp *op, int64_t sweep, size_t link, const SnlTensor *value)
{
    (void)op;
    Law *law = user;
    size_t n = (size_t)value->n_tokens * WIDTH;
    assert_true(sweep <= N && link <= N && n <= T * WIDTH);
    memcpy(law->link[sweep][link], value->at, n * sizeof(double));
    if (link > law->links) law->links = link;
    if ((size_t)sweep > law->sweeps) law->sweeps = (size_t)sweep;
}

static void bind_weights(Law *law, uint64_t seed)
{
    static const char names[N][5][3] = {{"q0", "k0", "v0", "o0", "d0"},
                                        {"q1", "k1", "v1", "o1", "d1"},
                                        {"q2", "k2", "v2", "o2", "d2"},
                                        {"q3", "k3", "v3", "o3", "d3"}};
    for (int j = 0; j < N; j++) {
        ir_text_fill_f32(&seed, 0.7, law->w[j], 4 * WIDTH * WIDTH);
        ir_text_fill_f32(&seed, 2.0, law->diag[j], WIDTH);
        for (int i = 0; i < 4; i++)
            ir_text_weight(&law->t, names[j][i], law->w[j] + i * WIDTH * WIDTH, WIDTH * WIDTH);
        ir_text_weight(&law->t, names[j][4], law->diag[j], WIDTH);
    }
    ir_text_fill(&seed, 1.0, law->x, T * WIDTH);
}

static void law_open(Law *law, const Setting *s, uint64_t seed)
{
    memset(law, 0, sizeof *law);
    append(law, "module @law\n");
    for (int j = 0; j < N; j++) {
        append(law, "state @c%d : f32[2, 2, 8, 3]\n", j);
        for (size_t e = 0; e < n_states(s, j); e++)
            append(law, "state @s%d.%zu : f32[2, 2, 8, 3]\n", j, e);
        if (strcmp(s->init, "warm") == 0 && j > 0) append(law, "state @w%d : f32[6]\n", j);
    }
    for (int j = 0; j < N; j++) append_layer(law, j, s->surrogate);
    append_funcs(law, s);
    ir_text_open(&law->t, law->text);
    bind_weights(law, seed);
    snl_eval_set_trace(law->t.eval, record, law);
}

static const double *law_call(Law *law, const char *func, int first, int n, size_t result)
{
    double pos = first, *x = law->x + first * WIDTH;
    return ir_text_call(&law->t, func, n, ARGS(x, &pos, x), result);
}

/* After k sweeps links 0..k (k + 1 after batch_fwd) hold the sequential states bit for bit. */
static void check_law(const Setting *s, uint64_t seed)
{
    Law *law = snl_xmalloc(sizeof *law);
    static double seq[N + 1][T * WIDTH];
    law_open(law, s, seed);
    law_call(law, "seq", 0, T, 0);
    memcpy(seq, law->link[0], sizeof seq);
    memset(law->link, 0, sizeof law->link);
    law_call(law, "newton", 0, T, 0);
    int most = s->sweeps < N ? s->sweeps : N;
    assert_int_equal(law->sweeps, most);
    for (int k = 1; k <= most; k++) {
        int exact = k + (strcmp(s->init, "batch_fwd") == 0);
        for (int j = 0; j <= exact && j <= N; j++)
            assert_memory_equal(law->link[k][j], seq[j], sizeof seq[j]);
        if (exact < N) assert_memory_not_equal(law->link[k][N], seq[N], sizeof seq[N]);
    }
    assert_memory_equal(law->t.result[0].at, law->link[most][N], sizeof seq[0]);
    assert_memory_equal(law->t.result[1].at, law->link[most][2], sizeof seq[0]);
    ir_text_close(&law->t);
    free(law);
}

static void exactness_law(void **state)
{
    (void)state;
    static const char *const surrogates[] = {"identity", "zero", "diag"};
    static const char *const inits[] = {"h0", "batch_fwd"};
    static const char *const kvs[] = {"sweep", "corrected"};
    for (int s = 0; s < 3; s++)
        for (int i = 0; i < 2; i++)
            for (int c = 0; c < 2; c++)
                for (int sweeps = 1; sweeps <= N + 2; sweeps++)
                    for (int d = 0; d < 2; d++) {
                        Setting set = {surrogates[s], inits[i], kvs[c], d * 0.3, sweeps};
                        check_law(&set, (uint64_t)(sweeps * 7 + s + 1));
                    }
}

/* One sweep from h0, identity, no damping: s_n = h + sum_j (f_j(h) - h). With damping d the
 * transport of unit j's correction is scaled by (1 - d) for every unit it passes. */
static void one_sweep_is_the_sum_of_updates(void **state)
{
    (void)state;
    for (int d = 0; d < 2; d++) {
        Setting set = {"identity", "h0", "sweep", d * 0.25, 1};
        Law *law = snl_xmalloc(sizeof *law);
        law_open(law, &set, 3);
        double want[T * WIDTH], zero = 0;
        SnlState *own = snl_module_find_state(law->t.module, "c0");
        SnlState *bound[] = {own};
        memcpy(want, law->x, sizeof want);
        for (int j = 0; j < N; j++) {
            char name[4] = {'f', (char)('0' + j), 0};
            law->t.states = bound;
            const double *o = ir_text_call(&law->t, name, T, ARGS(law->x, &zero, law->x), 0);
            law->t.states = NULL;
            for (int i = 0; i < T * WIDTH; i++) /* s' <- o + (1 - d)(s' - h) */
                want[i] = o[i] + (1 - set.damping) * (want[i] - law->x[i]);
        }
        const double *got = law_call(law, "newton", 0, T, 0);
        assert_near(got, want, T * WIDTH, 1e-13);
        ir_text_close(&law->t);
        free(law);
    }
}

/* kv = sweep: the model is one function of the text; no split into calls may show. */
static void sweep_caches_make_splits_invisible(void **state)
{
    (void)state;
    static const int splits[][T + 1] = {{1, 1, 1, 1, 1}, {2, 3}, {3, 1, 1}, {1, 4}};
    static const char *const inits[] = {"h0", "batch_fwd"};
    for (int i = 0; i < 2; i++)
        for (int sweeps = 1; sweeps <= 3; sweeps++) {
            Setting set = {"identity", inits[i], "sweep", 0, sweeps};
            Law *law = snl_xmalloc(sizeof *law);
            double want[T * WIDTH];
            law_open(law, &set, 11);
            memcpy(want, law_call(law, "newton", 0, T, 0), sizeof want);
            for (size_t k = 0; k < sizeof splits / sizeof splits[0]; k++) {
                int pos = 0;
                snl_eval_reset(law->t.eval);
                for (const int *n = splits[k]; *n; pos += *n++)
                    assert_near(law_call(law, "newton", pos, *n, 0), want + pos * WIDTH,
                                (size_t)(*n * WIDTH), 1e-13);
            }
            ir_text_close(&law->t);
            free(law);
        }
}

/* kv = corrected: what stays in the cache is what the layer makes of the corrected input. */
static void corrected_caches_hold_corrected_keys(void **state)
{
    (void)state;
    Setting set = {"identity", "h0", "corrected", 0, 1};
    Law *law = snl_xmalloc(sizeof *law);
    law_open(law, &set, 5);
    law_call(law, "newton", 0, T, 0);
    static double s[N + 1][T * WIDTH];
    memcpy(s, law->link[1], sizeof s);
    double zero = 0;
    for (int j = 0; j < N; j++) {
        char layer[4] = {'f', (char)('0' + j), 0}, name[8], own[4] = {'c', (char)('0' + j), 0};
        SnlState *bound[] = {snl_module_find_state(law->t.module, own)};
        snprintf(name, sizeof name, "s%d.0", j);
        law->t.states = bound;
        ir_text_call(&law->t, layer, T, ARGS(s[j], &zero, law->x), 0);
        law->t.states = NULL;
        assert_memory_equal(ir_text_state(&law->t, name), ir_text_state(&law->t, own),
                            2 * 2 * 8 * 3 * sizeof(double));
    }
    ir_text_close(&law->t);
    free(law);
}

/* warm starts from the previous token's corrected states, and stores its own. */
static void warm_reads_and_writes_states(void **state)
{
    (void)state;
    Setting set = {"zero", "warm", "corrected", 0, 1};
    Law *law = snl_xmalloc(sizeof *law);
    law_open(law, &set, 9);
    static const char *const names[] = {"w0", "w1", "w2", "w3"};
    double start[N][WIDTH], zero = 0;
    uint64_t seed = 77;
    for (int j = 1; j < N; j++) {
        ir_text_fill(&seed, 1, start[j], WIDTH);
        memcpy(ir_text_state(&law->t, names[j]), start[j], sizeof start[j]);
    }
    law_call(law, "newton", 0, 1, 0);
    double got[N + 1][WIDTH];
    for (int j = 0; j <= N; j++) memcpy(got[j], law->link[1][j], sizeof got[j]);
    for (int j = 1; j < N; j++) /* Jacobi: s'_{j+1} = f_j(s_j), s_j the warm state */
    {
        char layer[4] = {'f', (char)('0' + j), 0};
        SnlState *bound[] = {snl_module_find_state(law->t.module, "c0")};
        law->t.states = bound;
        assert_near(got[j + 1], ir_text_call(&law->t, layer, 1, ARGS(start[j], &zero, law->x), 0),
                    WIDTH, 1e-13);
        law->t.states = NULL;
        assert_memory_equal(ir_text_state(&law->t, names[j]), got[j], sizeof got[j]);
    }
    double pos = 1;
    ir_text_call_fails(&law->t, "newton", 2, ARGS(law->x, &pos, law->x),
                       "init = warm takes one token a call: found 2");
    ir_text_close(&law->t);
    free(law);
}

/* Two streams, J = [[0, 1], [2, 0]]: s'_2 = f_1(s) + J (s'_1 - s), f_j(X) = j-scaled X. */
static void streams_surrogate_mixes_streams(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "weight @J : f32[2, 2] = source \"m\" \"J\"\n"
                     "layer @f(%h: f32[T, 2, 2]) -> f32[T, 2, 2] surrogate streams @J {\n"
                     "  %y = lincomb %h {coef = [3.0]} : f32[T, 2, 2]\n"
                     "  return %y\n}\n"
                     "func @g(%h: f32[T, 2, 2]) -> f32[T, 2, 2] {\n"
                     "  %y = newton %h, [@f(), @f()] {damping = 0.5, sweeps = 1} : f32[T, 2, 2]\n"
                     "  return %y\n}\n");
    ir_text_weight(&t, "J", (float[]){0, 1, 2, 0}, 4);
    /* h = ((1, 2), (10, 20)); o = 3 h; s'_1 - h = 2 h = ((2, 4), (20, 40)); J of it = ((20, 40),
     * (4, 8)); halved and added to 3 h. */
    assert_near(ir_text_call(&t, "g", 1, ARGS(D(1, 2, 10, 20)), 0),
                D(3 + 10, 6 + 20, 30 + 2, 60 + 4), 4, 0);
    ir_text_close(&t);
}

static void surrogate_word_overrides_and_none_is_refused(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t,
                 "module @m\n"
                 "layer @f(%h: f32[T, 1]) -> f32[T, 1] {\n"
                 "  %y = lincomb %h {coef = [3.0]} : f32[T, 1]\n"
                 "  return %y\n}\n"
                 "func @zero(%h: f32[T, 1]) -> f32[T, 1] {\n"
                 "  %y = newton %h, [@f(), @f()] {surrogate = zero, sweeps = 1} : f32[T, 1]\n"
                 "  return %y\n}\n"
                 "func @one(%h: f32[T, 1]) -> f32[T, 1] {\n"
                 "  %y = newton %h, [@f(), @f()] {surrogate = identity, sweeps = 1} : f32[T, 1]\n"
                 "  return %y\n}\n");
    assert_near(ir_text_call(&t, "zero", 1, ARGS(D(1)), 0), D(3), 1, 0);
    assert_near(ir_text_call(&t, "one", 1, ARGS(D(1)), 0), D(5), 1, 0);
    ir_text_close(&t);
}

static void call_gives_all_results(void **state)
{
    (void)state;
    IrText t;
    ir_text_open(&t, "module @m\n"
                     "state @last : f32[1]\n"
                     "layer @f(%h: f32[T, 1], %pos: index, @s: state) -> f32[T, 1] {\n"
                     "  %y = shift %h, %pos, @s : f32[T, 1]\n"
                     "  row_write %h, %pos, @s\n"
                     "  return %y\n}\n"
                     "func @g(%h: f32[T, 1], %pos: index) -> f32[T, 1] {\n"
                     "  %y = call %h, %pos, [@f(@last)] : f32[T, 1]\n"
                     "  return %y\n}\n");
    ir_text_call(&t, "g", 2, ARGS(D(1, 2), D(0)), 0);
    assert_near(ir_text_call(&t, "g", 2, ARGS(D(3, 4), D(2)), 0), D(2, 3), 2, 0);
    ir_text_close(&t);
}

static void evaluations_per_unit(void **state)
{
    (void)state;
    assert_int_equal(snl_newton_evals(2, false, 0), 1);
    assert_int_equal(snl_newton_evals(2, false, 1), 2);
    assert_int_equal(snl_newton_evals(2, false, 5), 2);
    assert_int_equal(snl_newton_evals(2, true, 0), 1);
    assert_int_equal(snl_newton_evals(2, true, 1), 2);
    assert_int_equal(snl_newton_evals(2, true, 2), 3);
    assert_int_equal(snl_newton_evals(2, true, 9), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactness_law),
        cmocka_unit_test(one_sweep_is_the_sum_of_updates),
        cmocka_unit_test(sweep_caches_make_splits_invisible),
        cmocka_unit_test(corrected_caches_hold_corrected_keys),
        cmocka_unit_test(warm_reads_and_writes_states),
        cmocka_unit_test(streams_surrogate_mixes_streams),
        cmocka_unit_test(surrogate_word_overrides_and_none_is_refused),
        cmocka_unit_test(call_gives_all_results),
        cmocka_unit_test(evaluations_per_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
