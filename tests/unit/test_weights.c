/* Weight expressions: every kind against a direct computation, by rows and in pieces; what is
 * refused; random numbers. */
#include "tests/support/support.h"

#include "ir/weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Tensors in memory. */
typedef struct TestTensor {
    const char *name;
    SnlTensorInfo info;
    const float *at;
} TestTensor;

typedef struct TestSource {
    SnlWeightSource base;
    TestTensor tensor[8];
    size_t n;
    int64_t elems_read;
} TestSource;

static const TestTensor *find_tensor(SnlWeightSource *self, const char *name)
{
    TestSource *source = (TestSource *)self;
    for (size_t i = 0; i < source->n; i++)
        if (strcmp(source->tensor[i].name, name) == 0) return &source->tensor[i];
    return NULL;
}

static SnlStatus test_find(SnlWeightSource *self, const char *file, const char *tensor,
                           SnlDiag *diag, SnlTensorInfo *out)
{
    const TestTensor *found = find_tensor(self, tensor);
    if (!found) return snl_error_at(diag, SNL_E_TENSOR, file, "no tensor '%s'", tensor);
    *out = found->info;
    return SNL_OK;
}

static SnlStatus test_read(SnlWeightSource *self, const char *file, const char *tensor,
                           int64_t first, int64_t n, SnlDiag *diag, float *out)
{
    (void)file, (void)diag;
    const TestTensor *found = find_tensor(self, tensor);
    ((TestSource *)self)->elems_read += n;
    memcpy(out, found->at + first, (size_t)n * sizeof *out);
    return SNL_OK;
}

typedef struct Fixture {
    Support *s;
    SnlModule *m;
    TestSource source;
} Fixture;

static void open_fixture(Fixture *t, void **state)
{
    *t = (Fixture){.s = *state};
    t->m = snl_module_create(t->s->arena, "m");
    t->source.base = (SnlWeightSource){.find = test_find, .read = test_read};
}

static const SnlType *matrix(Fixture *t, int64_t rows, int64_t cols)
{
    return snl_type(t->m, SNL_F32, 2, (int64_t[]){rows, cols});
}

static const SnlType *typed(Fixture *t, SnlDtype dtype, int64_t n)
{
    return snl_type(t->m, dtype, 1, &n);
}

static const SnlType *vector(Fixture *t, int64_t n)
{
    return typed(t, SNL_F32, n);
}

/* A weight [rows, cols] (rows = 0: a vector) in memory: 1, 2, 3, ... times `step`. */
static SnlWeight *tensor(Fixture *t, const char *name, SnlDtype stored, int64_t rows, int64_t cols,
                         float step)
{
    int64_t n = (rows ? rows : 1) * cols;
    float *at = SNL_NEW_ARRAY(t->s->arena, float, (size_t)n);
    for (int64_t i = 0; i < n; i++) at[i] = step * (float)(i + 1);
    SnlTensorInfo info =
        rows ? (SnlTensorInfo){stored, 2, {rows, cols}} : (SnlTensorInfo){stored, 1, {cols}};
    t->source.tensor[t->source.n++] = (TestTensor){name, info, at};
    return snl_weight_source(t->m, name, rows ? matrix(t, rows, cols) : vector(t, cols), "f", name);
}

static SnlWeight *expr1(Fixture *t, const char *name, const SnlType *type, SnlWexprCode code,
                        SnlWeight *arg)
{
    return snl_weight_expr(t->m, name, type, code, &arg, 1);
}

static void set_int(Fixture *t, SnlWeight *w, const char *key, int64_t value)
{
    snl_attr_set_int(t->m, &w->attrs, key, value);
}

static void set_real(Fixture *t, SnlWeight *w, const char *key, double value)
{
    snl_attr_set_real(t->m, &w->attrs, key, value);
}

/* All at once, row by row, and in groups of rows that do not divide: always `wanted`. */
static void check_elems(Fixture *t, const SnlWeight *w, const float *wanted)
{
    int64_t rows = snl_weight_rows(w), cols = snl_weight_cols(w);
    for (int64_t step = 1; step <= rows; step = step < 3 ? step + 1 : rows + (step == rows)) {
        for (int64_t row = 0; row < rows; row += step) {
            int64_t n = step < rows - row ? step : rows - row;
            /* Of exactly this size, so that a write past it is noticed. */
            float *out = malloc((size_t)(n * cols) * sizeof *out);
            assert_int_equal(snl_weight_read(w, &t->source.base, row, n, t->s->diag, out), SNL_OK);
            assert_all_close(out, wanted + row * cols, (size_t)(n * cols), 0, 1e-6);
            free(out);
        }
    }
}

static void check_fails(Fixture *t, const SnlWeight *w, const char *message)
{
    float out[64];
    assert_int_equal(snl_weight_read(w, &t->source.base, 0, 1, t->s->diag, out), SNL_BAD_INPUT);
    assert_diag(t->s->diag, message);
}

static void sources(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    check_elems(&t, tensor(&t, "a", SNL_F32, 2, 3, 1), (float[]){1, 2, 3, 4, 5, 6});
    SnlWeight *v = tensor(&t, "v", SNL_F32, 0, 3, 2);
    assert_int_equal(snl_weight_rows(v), 1);
    assert_int_equal(snl_weight_cols(v), 3);
    check_elems(&t, v, (float[]){2, 4, 6});
}

static void fills(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    SnlWeight *w = snl_weight_expr(t.m, "one", vector(&t, 3), SNL_WEXPR_FILL, NULL, 0);
    set_real(&t, w, "value", -1.5);
    check_elems(&t, w, (float[]){-1.5f, -1.5f, -1.5f});
}

static void concatenations(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    SnlWeight *arg[] = {tensor(&t, "a", SNL_F32, 2, 3, 1), tensor(&t, "b", SNL_F32, 1, 3, -1),
                        tensor(&t, "c", SNL_F32, 3, 3, 10)};
    SnlWeight *rows = snl_weight_expr(t.m, "rows", matrix(&t, 6, 3), SNL_WEXPR_CONCAT, arg, 3);
    set_int(&t, rows, "axis", 0);
    check_elems(&t, rows,
                (float[]){1, 2, 3, 4, 5, 6, -1, -2, -3, 10, 20, 30, 40, 50, 60, 70, 80, 90});
    SnlWeight *side[] = {arg[0], tensor(&t, "d", SNL_F32, 2, 1, 100), arg[0]};
    SnlWeight *cols = snl_weight_expr(t.m, "cols", matrix(&t, 2, 7), SNL_WEXPR_CONCAT, side, 3);
    set_int(&t, cols, "axis", 1);
    check_elems(&t, cols, (float[]){1, 2, 3, 100, 1, 2, 3, 4, 5, 6, 200, 4, 5, 6});
    SnlWeight *ends[] = {tensor(&t, "u", SNL_F32, 0, 2, 1), tensor(&t, "v", SNL_F32, 0, 1, 7)};
    SnlWeight *both = snl_weight_expr(t.m, "both", vector(&t, 3), SNL_WEXPR_CONCAT, ends, 2);
    check_elems(&t, both, (float[]){1, 2, 7});
}

static void slices(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    SnlWeight *a = tensor(&t, "a", SNL_F32, 3, 4, 1);
    SnlWeight *rows = expr1(&t, "rows", matrix(&t, 2, 4), SNL_WEXPR_SLICE, a);
    set_int(&t, rows, "axis", 0), set_int(&t, rows, "begin", 1), set_int(&t, rows, "end", 3);
    check_elems(&t, rows, (float[]){5, 6, 7, 8, 9, 10, 11, 12});
    SnlWeight *cols = expr1(&t, "cols", matrix(&t, 3, 2), SNL_WEXPR_SLICE, a);
    set_int(&t, cols, "axis", 1), set_int(&t, cols, "begin", 1), set_int(&t, cols, "end", 3);
    check_elems(&t, cols, (float[]){2, 3, 6, 7, 10, 11});
}

static void shapes(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    SnlWeight *a = tensor(&t, "a", SNL_F32, 2, 3, 1);
    check_elems(&t, expr1(&t, "r", matrix(&t, 3, 2), SNL_WEXPR_RESHAPE, a),
                (float[]){1, 2, 3, 4, 5, 6});
    SnlWeight *transposed = expr1(&t, "t", matrix(&t, 3, 2), SNL_WEXPR_TRANSPOSE, a);
    check_elems(&t, transposed, (float[]){1, 4, 2, 5, 3, 6});
    check_elems(&t, expr1(&t, "tt", matrix(&t, 2, 3), SNL_WEXPR_TRANSPOSE, transposed),
                (float[]){1, 2, 3, 4, 5, 6});
    SnlType type = {.dtype = SNL_F32, .rank = 3, .dim = {2, 3, 1}};
    SnlWeight *cube = expr1(&t, "c", snl_type(t.m, SNL_F32, 3, type.dim), SNL_WEXPR_RESHAPE, a);
    assert_int_equal(snl_weight_rows(cube), 6);
    check_elems(&t, cube, (float[]){1, 2, 3, 4, 5, 6});
}

/* Larger than what is held whole: columns are picked from the source, nothing is read twice. */
static void large_transposes(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    enum { ROWS = 600, COLS = 700 };
    SnlWeight *a = tensor(&t, "a", SNL_F32, ROWS, COLS, 1);
    SnlWeight *w = expr1(&t, "t", matrix(&t, COLS, ROWS), SNL_WEXPR_TRANSPOSE, a);
    float *out = malloc(sizeof *out * ROWS * COLS);
    assert_int_equal(snl_weight_read(w, &t.source.base, 5, 3, t.s->diag, out), SNL_OK);
    assert_int_equal(t.source.elems_read, 3 * ROWS);
    for (int j = 0; j < 3; j++)
        for (int i = 0; i < ROWS; i++)
            assert_true(out[j * ROWS + i] == (float)(i * COLS + 5 + j + 1));
    /* A column slice of it needs one element of each row. */
    SnlWeight *cut = expr1(&t, "cut", matrix(&t, COLS, 2), SNL_WEXPR_SLICE, w);
    set_int(&t, cut, "axis", 1), set_int(&t, cut, "begin", 7), set_int(&t, cut, "end", 9);
    t.source.elems_read = 0;
    assert_int_equal(snl_weight_read(cut, &t.source.base, 0, 2, t.s->diag, out), SNL_OK);
    assert_int_equal(t.source.elems_read, 4);
    assert_true(out[3] == (float)(8 * COLS + 1 + 1));
    free(out);
}

static void arithmetic(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    SnlWeight *a = tensor(&t, "a", SNL_F32, 2, 2, 1), *b = tensor(&t, "b", SNL_F32, 2, 2, 3);
    SnlWeight *scaled = expr1(&t, "s", matrix(&t, 2, 2), SNL_WEXPR_SCALE, a);
    set_real(&t, scaled, "by", 0.5);
    check_elems(&t, scaled, (float[]){0.5f, 1, 1.5f, 2});
    SnlWeight *arg[] = {a, tensor(&t, "g", SNL_F32, 0, 2, 10)};
    SnlWeight *columns = snl_weight_expr(t.m, "c", matrix(&t, 2, 2), SNL_WEXPR_COLSCALE, arg, 2);
    check_elems(&t, columns, (float[]){10, 40, 30, 80});
    SnlWeight *terms[] = {a, b, scaled};
    SnlWeight *mean = snl_weight_expr(t.m, "m", matrix(&t, 2, 2), SNL_WEXPR_MEAN, terms, 3);
    check_elems(&t, mean, (float[]){1.5f, 3, 4.5f, 6});
}

static void large_means(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    enum { N = 300000 };
    SnlWeight *arg[] = {tensor(&t, "a", SNL_F32, 0, N, 1), tensor(&t, "b", SNL_F32, 0, N, -1)};
    SnlWeight *mean = snl_weight_expr(t.m, "m", vector(&t, N), SNL_WEXPR_MEAN, arg, 2);
    float *out = malloc(sizeof *out * N);
    out[0] = out[N - 1] = 1;
    assert_int_equal(snl_weight_read(mean, &t.source.base, 0, 1, t.s->diag, out), SNL_OK);
    for (int i = 0; i < N; i++) assert_true(out[i] == 0);
    free(out);
}

static void casts_round(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    int64_t n = 3;
    SnlWeight *a = tensor(&t, "a", SNL_F32, 0, n, 0.1f);
    float bf16[3], f16[3];
    for (int i = 0; i < 3; i++) {
        bf16[i] = snl_bf16_to_f32(snl_f32_to_bf16(0.1f * (float)(i + 1)));
        f16[i] = snl_f16_to_f32(snl_f32_to_f16(0.1f * (float)(i + 1)));
    }
    SnlWeight *w = expr1(&t, "b", snl_type(t.m, SNL_BF16, 1, &n), SNL_WEXPR_CAST, a);
    float out[3];
    assert_int_equal(snl_weight_read(w, &t.source.base, 0, 1, t.s->diag, out), SNL_OK);
    assert_memory_equal(out, bf16, sizeof out);
    w = expr1(&t, "h", snl_type(t.m, SNL_F16, 1, &n), SNL_WEXPR_CAST, a);
    assert_int_equal(snl_weight_read(w, &t.source.base, 0, 1, t.s->diag, out), SNL_OK);
    assert_memory_equal(out, f16, sizeof out);
    w = expr1(&t, "q", snl_type(t.m, SNL_Q8_0, 1, &n), SNL_WEXPR_CAST, a);
    assert_int_equal(snl_weight_read(w, &t.source.base, 0, 1, t.s->diag, out), SNL_OK);
    float scale = snl_f16_to_f32(snl_f32_to_f16(0.1f * 3.0f / 127.0f));
    assert_close(out[0], 42 * scale, 1e-7, 0); /* 0.1 / scale = 42.3 */
    assert_close(out[2], 127 * scale, 1e-7, 0);
    check_fails(&t, expr1(&t, "r", snl_type(t.m, SNL_Q8_0, 1, &n), SNL_WEXPR_RESHAPE, a),
                "'@r': reshape cannot make blocks of q8_0, only cast can");
}

static void softmaxes(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    SnlWeight *w =
        expr1(&t, "s", vector(&t, 3), SNL_WEXPR_SOFTMAX, tensor(&t, "a", SNL_F32, 0, 3, 1));
    double sum = exp(1) + exp(2) + exp(3);
    check_elems(&t, w,
                (float[]){(float)(exp(1) / sum), (float)(exp(2) / sum), (float)(exp(3) / sum)});
    SnlWeight *large =
        expr1(&t, "l", vector(&t, 2), SNL_WEXPR_SOFTMAX, tensor(&t, "b", SNL_F32, 0, 2, 1e30f));
    check_elems(&t, large, (float[]){0, 1});
}

static void products(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    SnlWeight *arg[] = {tensor(&t, "a", SNL_F32, 2, 3, 1), tensor(&t, "b", SNL_F32, 3, 2, 1)};
    SnlWeight *w = snl_weight_expr(t.m, "p", matrix(&t, 2, 2), SNL_WEXPR_MATMUL, arg, 2);
    check_elems(&t, w, (float[]){22, 28, 49, 64});
}

/* The same steps on exp(z) itself: rows, then columns, divided by their sums. */
static void plain_sinkhorn(double *p, int rows, int cols, int iters)
{
    for (int it = 0; it < iters; it++) {
        for (int i = 0; i < rows; i++) {
            double sum = 0;
            for (int j = 0; j < cols; j++) sum += p[i * cols + j];
            for (int j = 0; j < cols; j++) p[i * cols + j] /= sum;
        }
        for (int j = 0; j < cols; j++) {
            double sum = 0;
            for (int i = 0; i < rows; i++) sum += p[i * cols + j];
            for (int i = 0; i < rows; i++) p[i * cols + j] /= sum;
        }
    }
}

static void sinkhorns(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    static const float logits[16] = {0.1f, -0.2f, 0.3f, 0.05f, 0.2f,  0.15f, -0.1f, 0.0f,
                                     0.3f, 0.1f,  0.2f, -0.3f, 0.02f, 0.12f, 0.22f, 0.11f};
    t.source.tensor[t.source.n++] = (TestTensor){"z", {SNL_F32, 2, {4, 4}}, logits};
    SnlWeight *z = snl_weight_source(t.m, "z", matrix(&t, 4, 4), "f", "z");
    SnlWeight *w = expr1(&t, "s", matrix(&t, 4, 4), SNL_WEXPR_SINKHORN, z);
    set_real(&t, w, "tau", 0.05), set_int(&t, w, "iters", 10);
    double p[16];
    float wanted[16];
    for (int i = 0; i < 16; i++) p[i] = exp((double)logits[i] / 0.05);
    plain_sinkhorn(p, 4, 4, 10);
    for (int i = 0; i < 16; i++) wanted[i] = (float)p[i];
    check_elems(&t, w, wanted);
    for (int j = 0; j < 4; j++)
        assert_close((double)(wanted[j] + wanted[4 + j] + wanted[8 + j] + wanted[12 + j]), 1, 1e-6,
                     0);
    SnlWeight *endless = expr1(&t, "e", matrix(&t, 4, 4), SNL_WEXPR_SINKHORN, z);
    set_int(&t, endless, "iters", INT64_MAX);
    check_fails(&t, endless, "sinkhorn: iters: found 9223372036854775807, wanted at most 1000");
}

static void missing_tensors(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    SnlWeight *w = snl_weight_source(t.m, "w", matrix(&t, 2, 2), "f", "nothing");
    SnlSource text = {"m.snl", "weight @w", 9};
    w->loc = (SnlLoc){&text, 7, 2};
    check_fails(&t, w,
                "f: error[E0303]: no tensor 'nothing'\n"
                "m.snl:1:8: note: weight '@w' is declared here\n");
    float out[4];
    assert_int_equal(snl_weight_read(w, NULL, 0, 1, t.s->diag, out), SNL_BAD_INPUT);
    assert_diag(t.s->diag, "'@w': no source of tensors is open");
}

static void misshapen_tensors(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    tensor(&t, "a", SNL_F32, 2, 3, 1);
    check_fails(&t, snl_weight_source(t.m, "w", matrix(&t, 3, 3), "f", "a"),
                "weight '@w': shape of tensor 'a' in 'f': found [2, 3], wanted [3, 3]");
}

/* Nested or doubled until a walk would not end. */
static void endless_expressions(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    SnlWeight *deep = tensor(&t, "a", SNL_F32, 0, 1, 1), *wide = deep;
    for (int i = 0; i < 70; i++) {
        deep = expr1(&t, snl_arena_printf(t.s->arena, "deep%d", i), vector(&t, 1), SNL_WEXPR_SCALE,
                     deep);
        SnlWeight *twice[] = {wide, wide};
        if (i < 60)
            wide = snl_weight_expr(t.m, snl_arena_printf(t.s->arena, "wide%d", i), vector(&t, 1),
                                   SNL_WEXPR_MEAN, twice, 2);
    }
    check_fails(&t, deep, "is too large: wanted at most 64 levels");
    check_fails(&t, wide, "and 65536 weights");
}

static void whole_weights_are_small(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    SnlWeight *a = tensor(&t, "a", SNL_F32, 0, (1 << 18) + 1, 1);
    check_fails(&t, expr1(&t, "s", a->type, SNL_WEXPR_SOFTMAX, a),
                "has 262145 elements, but softmax is evaluated whole: wanted at most 262144");
}

static void modules_are_checked(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    SnlWeight *good = tensor(&t, "a", SNL_F32, 2, 3, 1);
    SnlFunc *f = snl_func_create(t.m, SNL_FUNC, "f");
    SnlValue *x = snl_func_param(f, "x", snl_type_rows(t.m, 3));
    SnlOp *op = snl_op_create(f, NULL, SNL_OP_LINEAR);
    snl_op_add_in(op, x);
    snl_op_set_weights(op, 0, &good, 1, false);
    snl_weight_source(t.m, "unused", matrix(&t, 2, 2), "f", "nothing");
    assert_int_equal(snl_weights_check(t.m, &t.source.base, t.s->diag), SNL_OK);
    assert_int_equal(snl_diag_errors(t.s->diag), 0);

    SnlWeight *flat = snl_weight_source(t.m, "flat", vector(&t, 6), "f", "a");
    SnlWeight *shaped = expr1(&t, "shaped", matrix(&t, 2, 3), SNL_WEXPR_RESHAPE, flat);
    snl_op_set_weights(op, 0, &shaped, 1, false);
    SnlAttrValue gone = {.kind = SNL_ATTR_WEIGHT,
                         .weight = snl_weight_source(t.m, "gone", vector(&t, 1), "f", "gone")};
    SnlAttrValue coef = {.kind = SNL_ATTR_LIST, .list = {&gone, 1}};
    snl_attr_set(t.m, &op->attrs, "coef", coef);
    assert_int_equal(snl_weights_check(t.m, &t.source.base, t.s->diag), SNL_BAD_INPUT);
    assert_diag(t.s->diag, "'@flat': shape of tensor 'a' in 'f': found [2, 3], wanted [6]");
    assert_diag(t.s->diag, "no tensor 'gone'");
    assert_int_equal(snl_diag_errors(t.s->diag), 2);
}

static void stored_formats(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    SnlWeight *a = tensor(&t, "a", SNL_BF16, 0, 2, 1), *b = tensor(&t, "b", SNL_BF16, 0, 2, 1);
    SnlWeight *c = tensor(&t, "c", SNL_F16, 0, 2, 1);
    SnlWeight *same =
        snl_weight_expr(t.m, "ab", vector(&t, 4), SNL_WEXPR_CONCAT, (SnlWeight *[]){a, b}, 2);
    SnlWeight *mixed =
        snl_weight_expr(t.m, "abc", vector(&t, 6), SNL_WEXPR_CONCAT, (SnlWeight *[]){same, c}, 2);
    SnlWeight *none = snl_weight_expr(t.m, "one", vector(&t, 1), SNL_WEXPR_FILL, NULL, 0);
    SnlWeight *narrowed = snl_weight_source(t.m, "c.bf16", typed(&t, SNL_BF16, 2), "f", "c");
    SnlWeight *narrow =
        snl_weight_expr(t.m, "a.f16", typed(&t, SNL_F16, 2), SNL_WEXPR_CAST, &a, 1);
    SnlWeight *both = snl_weight_expr(t.m, "declared", vector(&t, 4), SNL_WEXPR_CONCAT,
                                      (SnlWeight *[]){narrowed, narrow}, 2);
    const struct {
        const SnlWeight *w;
        SnlDtype wanted;
    } cases[] = {{a, SNL_BF16},         {same, SNL_BF16},    {mixed, SNL_F32}, {none, SNL_F32},
                 {narrowed, SNL_BF16}, {narrow, SNL_F16}, {both, SNL_F32}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        SnlDtype dtype;
        assert_int_equal(snl_weight_stored_dtype(cases[i].w, &t.source.base, t.s->diag, &dtype),
                         SNL_OK);
        assert_int_equal(dtype, cases[i].wanted);
    }
}

static void random_numbers_are_normal(void **state)
{
    (void)state;
    enum { N = 100000 };
    static float x[N], again[10];
    snl_random_normals(7, "w", 0, N, x);
    double n = N, mean = 0, square = 0, fourth = 0, neighbours = 0;
    for (int i = 0; i < N; i++) {
        double v = (double)x[i];
        mean += v / n, square += v * v / n, fourth += v * v * v * v / n;
        if (i) neighbours += v * (double)x[i - 1] / n;
        assert_true(fabs(v) < 6);
    }
    assert_close(mean, 0, 0.02, 0);
    assert_close(square, 1, 0.02, 0);
    assert_close(fourth, 3, 0.2, 0);
    assert_close(neighbours, 0, 0.02, 0);
    snl_random_normals(7, "w", 5000, 10, again);
    assert_memory_equal(again, x + 5000, sizeof again);
    snl_random_normals(7, "v", 0, 10, again);
    assert_memory_not_equal(again, x, sizeof again);
    snl_random_normals(8, "w", 0, 10, again);
    assert_memory_not_equal(again, x, sizeof again);
}

static void random_sources_fill_any_shape(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    SnlWeightSource *source = snl_random_source_create(t.s->arena, 3);
    enum { ROWS = 100, COLS = 400 };
    SnlWeight *w = snl_weight_source(t.m, "w", matrix(&t, ROWS, COLS), "any", "w");
    SnlWeight *v = snl_weight_source(t.m, "v", vector(&t, COLS), "any", "v");
    static float out[ROWS * COLS], row[COLS];
    assert_int_equal(snl_weight_read(w, source, 0, ROWS, t.s->diag, out), SNL_OK);
    double square = 0;
    for (int i = 0; i < ROWS * COLS; i++) square += (double)(out[i] * out[i]) / (ROWS * COLS);
    assert_close(square, 1 / (double)COLS, 0, 0.05);
    assert_int_equal(snl_weight_read(w, source, 42, 1, t.s->diag, row), SNL_OK);
    assert_memory_equal(row, out + 42 * COLS, sizeof row);
    assert_int_equal(snl_weight_read(v, source, 0, 1, t.s->diag, row), SNL_OK);
    double mean = 0;
    for (int i = 0; i < COLS; i++) mean += (double)row[i] / (double)COLS;
    assert_close(mean, 1, 0.05, 0);
    SnlDtype dtype;
    assert_int_equal(snl_weight_stored_dtype(w, source, t.s->diag, &dtype), SNL_OK);
    assert_int_equal(dtype, SNL_F32);
    SnlWeight *narrow = snl_weight_source(t.m, "narrow", typed(&t, SNL_BF16, COLS), "any", "v");
    assert_int_equal(snl_weight_stored_dtype(narrow, source, t.s->diag, &dtype), SNL_OK);
    assert_int_equal(dtype, SNL_BF16);
    float rounded[COLS];
    assert_int_equal(snl_weight_read(narrow, source, 0, 1, t.s->diag, rounded), SNL_OK);
    for (int i = 0; i < COLS; i++)
        assert_close(rounded[i], snl_bf16_to_f32(snl_f32_to_bf16(row[i])), 0, 0);
    source->destroy(source);
}

static void random_expressions_share_the_generator(void **state)
{
    Fixture t;
    open_fixture(&t, state);
    SnlWeight *w = snl_weight_expr(t.m, "noise", matrix(&t, 5, 3), SNL_WEXPR_RANDOM, NULL, 0);
    set_int(&t, w, "seed", 11), set_real(&t, w, "scale", 0.25);
    float wanted[15];
    snl_random_normals(11, "noise", 0, 15, wanted);
    for (int i = 0; i < 15; i++) wanted[i] *= 0.25f;
    check_elems(&t, w, wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(sources),
        support_test(fills),
        support_test(concatenations),
        support_test(slices),
        support_test(shapes),
        support_test(large_transposes),
        support_test(arithmetic),
        support_test(large_means),
        support_test(casts_round),
        support_test(softmaxes),
        support_test(products),
        support_test(sinkhorns),
        support_test(missing_tensors),
        support_test(misshapen_tensors),
        support_test(endless_expressions),
        support_test(whole_weights_are_small),
        support_test(modules_are_checked),
        support_test(stored_formats),
        cmocka_unit_test(random_numbers_are_normal),
        support_test(random_sources_fill_any_shape),
        support_test(random_expressions_share_the_generator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
