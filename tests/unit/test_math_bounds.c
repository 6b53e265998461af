/* tests/unit/test_math_bounds.c -- the error bounds that codegen/math.c states, measured on the
 * code that it emits: every 97th float of the range (with SNL_FULL=1 every float), against libm in
 * double. */
#include "codegen/gen.h"
#include "codegen/link.h"
#include "tests/support/support.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef LLVMValueRef Emit(SnlGen *g, LLVMValueRef x, int lanes);
typedef void Compiled(const float *x, float *y, int64_t n);

typedef struct Function {
    const char *name;
    Emit *emit;
    double (*exact)(double x);
    double low, high; /* where the bound holds */
    double bound;     /* largest relative error */
} Function;

static double exact_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* The bounds stand at the definitions in codegen/math.c. */
static const Function functions[] = {
    {"exp", snl_exp, exp, -87.3, 88.7, 1.2e-7},
    {"sigmoid", snl_sigmoid, exact_sigmoid, -87.3, 88.7, 1.8e-7},
    {"tanh", snl_tanh, tanh, -20, 20, 5e-7},
    {"exp_down", snl_exp_down, exp, -87.3, 0, 1.2e-7},
};
enum { N_FUNCTIONS = sizeof functions / sizeof functions[0], CHUNK = 1 << 14 };

typedef struct Library {
    void *handle;
    Compiled *call[N_FUNCTIONS][2]; /* 16 lanes, 1 lane */
} Library;

/* ---- compiling ------------------------------------------------------------------------------- */

/* void name(x, y, n): y[i] = f(x[i]), n a multiple of the lanes. */
static void emit_function(SnlGen *g, const char *name, Emit *emit, int lanes)
{
    LLVMTypeRef params[] = {g->ptr, g->ptr, g->i64};
    LLVMValueRef f = LLVMAddFunction(g->module, name, LLVMFunctionType(g->void_, params, 3, 0));
    g->func = f;
    LLVMPositionBuilderAtEnd(g->b, LLVMAppendBasicBlockInContext(g->ctx, f, "entry"));
    SnlLoop i;
    snl_loop_begin(g, &i, snl_i64(g, 0), snl_param(g, 2), lanes, 0, NULL);
    LLVMValueRef x = snl_load(g, snl_offset(g, snl_param(g, 0), i.i, 4), lanes);
    snl_store(g, emit(g, x, lanes), snl_offset(g, snl_param(g, 1), i.i, 4));
    snl_loop_end(g, &i, NULL);
    LLVMBuildRetVoid(g->b);
    g->func = NULL;
}

static void expect_ok(Support *s, SnlStatus status)
{
    if (status != SNL_OK) fail_msg("%s", snl_diag_text(s->diag));
}

static char *function_name(Support *s, size_t i, int lanes)
{
    return snl_arena_printf(s->arena, "%s_%d", functions[i].name, lanes);
}

static Library compile(Support *s, const char *cpu)
{
    SnlGen g;
    SnlTargetOptions target = {.cpu = cpu, .pic = true, .verify = true};
    char *object = support_path(s, "math.o"), *path = support_path(s, "math.so");
    expect_ok(s, snl_gen_create(&g, s->arena, "math", &target, s->diag));
    for (size_t i = 0; i < N_FUNCTIONS; i++)
        for (int lanes = 16; lanes > 0; lanes -= 15)
            emit_function(&g, function_name(s, i, lanes), functions[i].emit, lanes);
    expect_ok(s, snl_gen_write(&g, &target, SNL_EMIT_OBJ, object));
    snl_gen_destroy(&g);
    expect_ok(s, snl_link_shared(object, path, s->diag));
    Library library = {.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL)};
    if (!library.handle) fail_msg("%s", dlerror());
    for (size_t i = 0; i < N_FUNCTIONS; i++)
        for (int k = 0; k < 2; k++) {
            void *address = dlsym(library.handle, function_name(s, i, k ? 1 : 16));
            assert_non_null(address);
            memcpy(&library.call[i][k], &address, sizeof address);
        }
    return library;
}

/* ---- measuring ------------------------------------------------------------------------------- */

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

typedef struct Sweep {
    const Function *f;
    Compiled *vector, *scalar;
    float x[CHUNK], y[CHUNK], one[CHUNK];
    int64_t n;
    double worst;
    float at;
} Sweep;

static void flush(Sweep *s)
{
    for (int64_t i = s->n; i < CHUNK; i++) s->x[i] = 0;
    s->vector(s->x, s->y, CHUNK);
    s->scalar(s->x, s->one, CHUNK);
    for (int64_t i = 0; i < s->n; i++) {
        double wanted = s->f->exact((double)s->x[i]), error = fabs((double)s->y[i] - wanted);
        if (wanted != 0) error /= fabs(wanted);
        if (memcmp(&s->y[i], &s->one[i], sizeof(float)) != 0)
            fail_msg("%s(%.9g): 16 lanes give %.9g, one lane %.9g", s->f->name, (double)s->x[i],
                     (double)s->y[i], (double)s->one[i]);
        if (error <= s->worst) continue;
        s->worst = error;
        s->at = s->x[i];
    }
    s->n = 0;
}

static void add(Sweep *s, float x)
{
    if (!((double)x >= s->f->low && (double)x <= s->f->high)) return;
    s->x[s->n++] = x;
    if (s->n == CHUNK) flush(s);
}

static void check_bound(const Function *f, Compiled *vector, Compiled *scalar)
{
    const char *full = getenv("SNL_FULL");
    uint32_t step = full && *full ? 1 : 97;
    Sweep *s = snl_xmalloc(sizeof *s);
    *s = (Sweep){.f = f, .vector = vector, .scalar = scalar};
    /* From the smallest normal number up, in both signs; and the ends. */
    for (uint32_t bits = 0x00800000u; bits < 0x43000000u; bits += step) {
        add(s, float_of(bits));
        add(s, float_of(bits | 0x80000000u));
    }
    const float edges[] = {0, (float)f->low, (float)f->high, 1, -1};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) add(s, edges[i]);
    flush(s);
    print_message("    %s: largest relative error %.3g, at %.9g (bound %.3g)\n", f->name, s->worst,
                  (double)s->at, f->bound);
    if (!(s->worst <= f->bound))
        fail_msg("%s(%.9g): relative error %.3g, bound %.3g", f->name, (double)s->at, s->worst,
                 f->bound);
    free(s);
}

static void bounds_on(Support *s, const char *cpu)
{
    Library library = compile(s, cpu);
    for (size_t i = 0; i < N_FUNCTIONS; i++)
        check_bound(&functions[i], library.call[i][0], library.call[i][1]);
    dlclose(library.handle);
}

static void test_bounds(void **state)
{
    bounds_on(*state, NULL);
}

/* Without fused multiply-adds. */
static void test_bounds_baseline(void **state)
{
#if defined(__x86_64__)
    bounds_on(*state, "x86-64");
#else
    (void)state;
#endif
}

/* Outside the ranges: no infinities that would make NaN of what is computed with them. */
static void test_edges(void **state)
{
    Support *s = *state;
    enum { EXP, SIGMOID, TANH, EXP_DOWN };
    Library library = compile(s, NULL);
    const float inf = (float)INFINITY;
    float x[16] = {-inf, inf, -1e30f, 1e30f, -87.4f, 88.8f, -200, 200, (float)NAN, 1e-40f, -1e-40f},
          y[4][16];
    for (int i = 0; i < 4; i++) library.call[i][0](x, y[i], 16);
    const float top = y[EXP][1];
    assert_true(isfinite(top) && top > 3e38f);
    assert_true(y[EXP][0] == 0 && y[EXP][2] == 0 && y[EXP][4] == 0 && y[EXP][6] == 0);
    assert_true(y[EXP][3] == top && y[EXP][5] == top && y[EXP][7] == top);
    assert_true(y[EXP][9] == 1 && y[EXP][10] == 1);
    assert_true(y[SIGMOID][0] >= 0 && y[SIGMOID][0] < 1e-38f && y[SIGMOID][1] == 1 &&
                y[SIGMOID][7] == 1);
    assert_true(y[TANH][0] == -1 && y[TANH][1] == 1 && y[TANH][6] == -1 && y[TANH][7] == 1);
    assert_true(y[TANH][9] == x[9] && y[TANH][10] == x[10]);
    assert_true(y[EXP_DOWN][0] == 0 && y[EXP_DOWN][2] == 0 && y[EXP_DOWN][4] == 0);
    assert_true(y[EXP_DOWN][10] == 1);
    for (int i = 0; i < 4; i++) assert_true(isnan(y[i][8]));
    dlclose(library.handle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(test_bounds),
        support_test(test_bounds_baseline),
        support_test(test_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
