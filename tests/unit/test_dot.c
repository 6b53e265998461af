/* tests/unit/test_dot.c -- the byte dots of every processor that this machine can be, with the
 * extreme bytes in every place: no sum of two in 16 bits saturates, no sign is lost. */
#include "codegen/gen.h"
#include "codegen/link.h"
#include "tests/support/support.h"

#include <dlfcn.h>
#include <string.h>

/* acc[16] + dots of u[16][4] and s[16][4], into y[16]. */
typedef void Dots(const int32_t *acc, const uint8_t *u, const int8_t *s, int32_t *y);

typedef struct Bytes {
    const char *name;
    int offset; /* added to a weight: it is an unsigned byte then */
    int n;
    int weight[5];
} Bytes;

/* -128 is no number of q8_0, but it is a byte of a panel. Upper nibbles where they lie are 0, 16,
 * 128 and 240. */
static const Bytes formats[] = {{"q8_0", 128, 5, {-128, -127, -1, 0, 127}},
                                {"q4_0", 8, 4, {-8, -7, 0, 7}},
                                {"upper", 8, 4, {-8, 8, 120, 232}}};
enum { Q8_0, Q4_0, UPPER, N_FORMATS, FULL = 16 };

typedef struct Library {
    void *handle;
    Dots *dots[N_FORMATS];
    bool takes_offset[N_FORMATS], takes_bytes;
} Library;

static void expect_ok(Support *s, SnlStatus status)
{
    if (status != SNL_OK) fail_msg("%s", snl_diag_text(s->diag));
}

static void emit_dots(SnlGen *g, const Bytes *bytes)
{
    LLVMTypeRef params[] = {g->ptr, g->ptr, g->ptr, g->ptr}, words = snl_vec(g->i32, SNL_LANES);
    LLVMTypeRef type = LLVMFunctionType(g->void_, params, 4, 0);
    g->func = LLVMAddFunction(g->module, bytes->name, type);
    LLVMPositionBuilderAtEnd(g->b, LLVMAppendBasicBlockInContext(g->ctx, g->func, "entry"));
    LLVMValueRef in[3];
    for (int i = 0; i < 3; i++) in[i] = snl_load_typed(g, words, snl_param(g, (unsigned)i), 4);
    LLVMValueRef y = snl_dot_bytes(g, in[0], in[1], in[2], bytes->offset);
    LLVMSetAlignment(LLVMBuildStore(g->b, y, snl_param(g, 3)), 4);
    LLVMBuildRetVoid(g->b);
    g->func = NULL;
}

static Library compile(Support *s, const char *cpu)
{
    SnlGen g;
    SnlTargetOptions target = {.cpu = cpu, .pic = true, .verify = true};
    char *object = support_path(s, "dot.o"), *path = support_path(s, "dot.so");
    Library library = {0};
    expect_ok(s, snl_gen_create(&g, s->arena, "dot", &target, s->diag));
    for (int f = 0; f < N_FORMATS; f++) {
        emit_dots(&g, &formats[f]);
        library.takes_offset[f] = snl_dot_takes_offset(&g, formats[f].offset);
    }
    library.takes_bytes = snl_dot_takes_bytes(&g);
    expect_ok(s, snl_gen_write(&g, &target, SNL_EMIT_OBJ, object));
    snl_gen_destroy(&g);
    expect_ok(s, snl_link_shared(object, path, s->diag));
    library.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library.handle) fail_msg("%s", dlerror());
    for (int f = 0; f < N_FORMATS; f++) {
        void *address = dlsym(library.handle, formats[f].name);
        assert_non_null(address);
        memcpy(&library.dots[f], &address, sizeof address);
    }
    return library;
}

/* Sixteen cases side by side. */
typedef struct Batch {
    int n;
    int32_t acc[SNL_LANES], wanted[SNL_LANES], found[SNL_LANES];
    uint8_t u[SNL_LANES][4];
    int8_t s[SNL_LANES][4];
} Batch;

static void flush(Batch *b, const char *cpu, const Bytes *bytes, Dots *dots)
{
    dots(b->acc, b->u[0], b->s[0], b->found);
    for (int i = 0; i < b->n; i++)
        if (b->found[i] != b->wanted[i])
            fail_msg("%s, %s, lane %d: (%d %d %d %d) - %d times (%d %d %d %d), from %d: found %d, "
                     "wanted %d",
                     cpu, bytes->name, i, b->u[i][0], b->u[i][1], b->u[i][2], b->u[i][3],
                     bytes->offset, b->s[i][0], b->s[i][1], b->s[i][2], b->s[i][3], b->acc[i],
                     b->found[i], b->wanted[i]);
    b->n = 0;
}

/* Case number `c`: four weights, four inputs of 127 or -127. Lanes start at other numbers. */
static void add_case(Batch *b, const Bytes *bytes, int c, bool takes_offset)
{
    int signs = c % FULL, which = c / FULL, lane = b->n++;
    int32_t sum = b->acc[lane] = (lane - 8) * 12345;
    for (int j = 0; j < 4; j++, which /= bytes->n) {
        int w = bytes->weight[which % bytes->n], x = signs >> j & 1 ? 127 : -127;
        b->u[lane][j] = (uint8_t)(w + bytes->offset);
        b->s[lane][j] = (int8_t)x;
        sum += (takes_offset ? w : w + bytes->offset) * x;
    }
    b->wanted[lane] = sum;
}

static void check_extremes(const char *cpu, const Library *library, int f)
{
    const Bytes *bytes = &formats[f];
    Batch b = {0};
    int n = bytes->n * bytes->n * bytes->n * bytes->n * FULL;
    for (int c = 0; c < n; c++) {
        add_case(&b, bytes, c, library->takes_offset[f]);
        if (b.n == SNL_LANES) flush(&b, cpu, bytes, library->dots[f]);
    }
    assert_int_equal(b.n, 0); /* n is a multiple of 16 */
}

static void extremes_are_exact(void **state)
{
    static const char *const cpus[] = {"x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4", "native"};
    for (int i = 0; i < 5; i++) {
        if (!support_runs_here(cpus[i])) continue;
        Library library = compile(*state, cpus[i]);
        int n = library.takes_bytes ? N_FORMATS : UPPER;
        for (int f = 0; f < n; f++) check_extremes(cpus[i], &library, f);
        dlclose(library.handle);
    }
}

/* Sums of two in 16 bits, and they alone, take the distance from 128, and no other full bytes. */
static void sums_of_two_are_narrow(void **state)
{
    static const struct {
        const char *cpu;
        bool by_twos;
    } cases[] = {{"x86-64", false}, {"x86-64-v2", true}, {"x86-64-v3", true}, {"x86-64-v4", false}};
    for (int i = 0; i < 4; i++) {
        if (!support_runs_here(cases[i].cpu)) continue;
        Library library = compile(*state, cases[i].cpu);
        assert_int_equal(library.takes_offset[Q8_0], cases[i].by_twos);
        assert_false(library.takes_offset[Q4_0]);
        assert_int_equal(library.takes_bytes, !cases[i].by_twos);
        dlclose(library.handle);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(extremes_are_exact),
        support_test(sums_of_two_are_narrow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
