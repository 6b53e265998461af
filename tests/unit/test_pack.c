/* The payload: every element lies where codegen/pack.h says, padding is zero, order is that of
 * first use, and what cannot be stored is refused. */
#include "tests/support/support.h"

#include "codegen/pack.h"

#include <math.h>
#include <string.h>

typedef struct Packed {
    Support *support;
    SnlSource text;
    SnlModule *module;
    SnlWeightSource *source;
    SnlPayload payload;
    uint8_t *bytes;
    size_t room, n;
} Packed;

static SnlStatus sink(void *user, const void *bytes, size_t nbytes)
{
    Packed *p = user;
    assert_true(p->n + nbytes <= p->room);
    memcpy(p->bytes + p->n, bytes, nbytes);
    p->n += nbytes;
    return SNL_OK;
}

static SnlStatus plan(Packed *p, Support *s, const char *text)
{
    *p = (Packed){.support = s, .text = {"t.snl", text, strlen(text)}};
    assert_int_equal(snl_parse(s->arena, &p->text, s->diag, &p->module), SNL_OK);
    p->source = snl_random_source_create(s->arena, 3);
    SnlFunc *func = snl_module_find_func(p->module, "f");
    return snl_payload_plan(s->arena, p->module, &func, 1, s->diag, &p->payload);
}

static void pack(Packed *p, Support *s, const char *text, SnlWritten *out)
{
    assert_int_equal(plan(p, s, text), SNL_OK);
    p->room = (size_t)p->payload.nbytes;
    p->bytes = snl_arena_alloc(s->arena, p->room);
    assert_int_equal(snl_payload_write(&p->payload, p->source, s->diag, sink, p, NULL, NULL,
                                       out),
                     SNL_OK);
    assert_int_equal(p->n, p->room);
}

static float *values(Packed *p, const SnlWeight *w)
{
    int64_t rows = snl_weight_rows(w), cols = snl_weight_cols(w);
    float *at = SNL_NEW_ARRAY(p->support->arena, float, (size_t)(rows * cols));
    assert_int_equal(snl_weight_read(w, p->source, 0, rows, p->support->diag, at), SNL_OK);
    return at;
}

/* The formula of pack.h, in its own words. */
static int64_t panel_place(int64_t r, int64_t c, int64_t cols, int64_t g)
{
    int64_t groups = (cols + g - 1) / g;
    return ((r / 16) * groups + c / g) * 64 + (r % 16) * 4 + (c % g) * (4 / g);
}

static float stored(SnlDtype dtype, const uint8_t *at)
{
    if (dtype == SNL_F32) {
        float x;
        memcpy(&x, at, sizeof x);
        return x;
    }
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return dtype == SNL_BF16 ? snl_bf16_to_f32(bits) : snl_f16_to_f32(bits);
}

static void check_panels(Packed *p, const SnlWeight *w)
{
    SnlDtype dtype = w->type->dtype;
    int64_t g = dtype == SNL_F32 ? 1 : 2, rows = w->type->dim[0], cols = w->type->dim[1];
    const uint8_t *base = p->bytes + snl_payload_offset(&p->payload, w);
    float *wanted = values(p, w);
    int64_t all_rows = (rows + 15) / 16 * 16, all_cols = (cols + g - 1) / g * g;
    for (int64_t r = 0; r < all_rows; r++)
        for (int64_t c = 0; c < all_cols; c++) {
            float found = stored(dtype, base + panel_place(r, c, cols, g));
            float want = r < rows && c < cols ? wanted[r * cols + c] : 0.0f;
            if (found != want)
                fail_msg("element (%d, %d) of %s: found %g, wanted %g", (int)r, (int)c,
                         w->name, (double)found, (double)want);
        }
}

/* A module with one linear of F x D, stored as `format` ("" keeps f32). */
static char *linear_text(SnlArena *arena, int f, int d, const char *format)
{
    const char *cast = *format ? snl_arena_printf(arena, "weight @q : %s[%d, %d] = cast(@w)\n",
                                                  format, f, d)
                               : "";
    bool blocks = *format == 'q';
    const char *quantize =
        blocks ? snl_arena_printf(arena, "  %%i = cast %%x {to = q8_0} : q8_0[T, %d]\n", d) : "";
    return snl_arena_printf(arena,
                            "module @m\n"
                            "weight @w : f32[%d, %d] = source \"m\" \"w\"\n%s"
                            "func @f(%%x: f32[T, %d]) -> f32[T, %d] {\n%s"
                            "  %%y = linear %%%s, @%s : f32[T, %d]\n"
                            "  return %%y\n}\n",
                            f, d, cast, d, f, quantize, blocks ? "i" : "x", *format ? "q" : "w", f);
}

static void places_every_element_of_panels(void **state)
{
    Support *s = *state;
    static const int sizes[][2] = {{1, 1},  {15, 3},  {16, 16}, {17, 15},
                                   {33, 7}, {48, 64}, {5, 130}};
    static const char *const formats[] = {"", "bf16", "f16"};
    for (size_t f = 0; f < 3; f++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            Packed p;
            pack(&p, s, linear_text(s->arena, sizes[i][0], sizes[i][1], formats[f]), NULL);
            assert_int_equal(p.payload.n, 1);
            assert_int_equal(p.payload.at[0].layout, SNL_LAYOUT_PANELS);
            assert_int_equal(p.payload.nbytes % 64, 0);
            check_panels(&p, p.payload.at[0].weight);
        }
}

/* pack.h's blocks, in its own words: scale of (r, block), then integers without their offset.
 * `line` bytes: 4 for each row of a panel. */
static float block_element(SnlDtype dtype, const uint8_t *panel, int64_t line, int64_t r, int64_t c)
{
    int64_t b = c / 32, i = c % 32, block_lines = dtype == SNL_Q8_0 ? 8 : 4;
    const uint8_t *pair = panel + b / 2 * (1 + 2 * block_lines) * line;
    uint16_t bits;
    memcpy(&bits, pair + b % 2 * line / 2 + r * 2, sizeof bits);
    const uint8_t *lines = pair + (1 + b % 2 * block_lines) * line;
    int q;
    if (dtype == SNL_Q8_0) {
        q = lines[i / 4 * line + r * 4 + i % 4] - 128;
    } else {
        uint8_t both = lines[i % 16 / 4 * line + r * 4 + i % 4];
        q = (i < 16 ? both & 15 : both >> 4) - 8;
    }
    return (float)q * snl_f16_to_f32(bits);
}

static void places_every_element_of_block_panels(void **state)
{
    Support *s = *state;
    static const int sizes[][2] = {{1, 1}, {16, 32}, {17, 33}, {33, 96}, {5, 130}};
    static const char *const formats[] = {"q8_0", "q4_0"};
    for (size_t f = 0; f < 2; f++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            int64_t rows = sizes[k][0], cols = sizes[k][1], blocks = (cols + 31) / 32;
            Packed p;
            pack(&p, s, linear_text(s->arena, (int)rows, (int)cols, formats[f]), NULL);
            const SnlWeight *w = p.payload.at[0].weight;
            int64_t panel_bytes = snl_panel_bytes(w->type->dtype, cols);
            assert_int_equal(p.payload.nbytes, (rows + 15) / 16 * panel_bytes);
            float *wanted = values(&p, w);
            for (int64_t r = 0; r < (rows + 15) / 16 * 16; r++)
                for (int64_t c = 0; c < blocks * 32; c++) {
                    float want = r < rows && c < cols ? wanted[r * cols + c] : 0.0f;
                    assert_close(block_element(w->type->dtype, p.bytes + r / 16 * panel_bytes,
                                               64, r % 16, c),
                                 want, 0, 0);
                }
        }
}

/* What only embed reads: rows of f32, bf16 or blocks, each in one piece. */
static void places_every_element_of_rows(void **state)
{
    Support *s = *state;
    static const int sizes[][2] = {{1, 1}, {17, 33}, {1041, 257}};
    static const char *const formats[] = {"f32", "bf16", "q8_0", "q4_0"};
    for (size_t f = 0; f < 4; f++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            int64_t rows = sizes[k][0], cols = sizes[k][1];
            Packed p;
            pack(&p, s,
                 snl_arena_printf(s->arena,
                                  "module @m\n"
                                  "weight @w : f32[%d, %d] = source \"m\" \"w\"\n"
                                  "weight @q : %s[%d, %d] = cast(@w)\n"
                                  "func @f(%%ids: i32[T]) -> f32[T, %d] {\n"
                                  "  %%x = embed %%ids, @q : f32[T, %d]\n"
                                  "  return %%x\n}\n",
                                  (int)rows, (int)cols, formats[f], (int)rows, (int)cols, (int)cols,
                                  (int)cols),
                 NULL);
            const SnlPackedWeight *at = &p.payload.at[0];
            SnlDtype dtype = at->weight->type->dtype;
            int64_t row_bytes = snl_panel_bytes(dtype, cols) / 16;
            assert_int_equal(at->layout, SNL_LAYOUT_ROWS);
            assert_int_equal(at->nbytes, (rows * row_bytes + 63) / 64 * 64);
            float *wanted = values(&p, at->weight);
            for (int64_t r = 0; r < rows; r++)
                for (int64_t c = 0; c < cols; c++) {
                    const uint8_t *row = p.bytes + r * row_bytes;
                    float got;
                    uint16_t half;
                    if (snl_dtype_is_blocked(dtype)) {
                        got = block_element(dtype, row, 4, 0, c);
                    } else if (dtype == SNL_BF16) {
                        memcpy(&half, row + c * 2, sizeof half);
                        got = snl_bf16_to_f32(half);
                    } else {
                        memcpy(&got, row + c * 4, sizeof got);
                    }
                    assert_close(got, wanted[r * cols + c], 0, 0);
                }
        }
}

/* More rows than are read at once. */
static void places_every_element_across_blocks(void **state)
{
    Support *s = *state;
    Packed p;
    pack(&p, s, linear_text(s->arena, 1041, 513, "bf16"), NULL);
    check_panels(&p, p.payload.at[0].weight);
}

static const char mixed_text[] =
    "module @m\n"
    "weight @e : f32[20, 6] = source \"m\" \"e\"\n"
    "weight @g : f32[6] = source \"m\" \"g\"\n"
    "weight @unused : f32[6] = source \"m\" \"u\"\n"
    "weight @s : f32[1] = source \"m\" \"s\"\n"
    "weight @w : f32[20, 6] = source \"m\" \"w\"\n"
    "weight @b : f32[20] = source \"m\" \"b\"\n"
    "func @f(%ids: i32[T]) -> f32[T, 20] {\n"
    "  %x = embed %ids, @e : f32[T, 6]\n"
    "  %n = rms_norm %x, @g {eps = 1e-05} : f32[T, 6]\n"
    "  %y = linear %n, @w, @b : f32[T, 20]\n"
    "  %k = linear %x, @e : f32[T, 20]\n"
    "  %z = lincomb %y, %k {coef = [1.0, @s]} : f32[T, 20]\n"
    "  return %z\n}\n";

static void keeps_the_order_of_first_use(void **state)
{
    Support *s = *state;
    Packed p;
    SnlWritten written[5];
    pack(&p, s, mixed_text, written);
    static const char *const order[] = {"e", "g", "w", "b", "s"};
    int64_t offset = 0;
    assert_int_equal(p.payload.n, 5);
    for (size_t i = 0; i < 5; i++) {
        const SnlPackedWeight *at = &p.payload.at[i];
        assert_string_equal(at->weight->name, order[i]);
        assert_int_equal(at->offset, offset);
        assert_int_equal(at->offset % 64, 0);
        offset += at->nbytes;
        for (size_t k = 0; k < i; k++) assert_true(written[k].hash != written[i].hash);
    }
    assert_int_equal(p.payload.nbytes, offset);
}

static const char table_text[] =
    "module @m\n"
    "weight @e : f32[20, 6] = source \"m\" \"e\"\n"
    "weight @v : f32[20, 6] = source \"m\" \"v\"\n"
    "weight @w : f32[20, 6] = source \"m\" \"w\"\n"
    "func @f(%ids: i32[T]) -> f32[T, 20] {\n"
    "  %x = embed %ids, @e : f32[T, 6]\n"
    "  %u = embed %ids, @v : f32[T, 6]\n"
    "  %z = lincomb %x, %u : f32[T, 6]\n"
    "  %k = linear %z, @w : f32[T, 20]\n"
    "  %y = linear %z, @v : f32[T, 20]\n"
    "  %r = lincomb %k, %y : f32[T, 20]\n"
    "  return %r\n"
    "}\n";

static void tables_lie_behind_what_every_token_reads(void **state)
{
    Support *s = *state;
    Packed p;
    pack(&p, s, table_text, NULL);
    static const char *const order[] = {"v", "w", "e"}; /* v is a matrix too */
    assert_int_equal(p.payload.n, 3);
    for (size_t i = 0; i < 3; i++) {
        const SnlPackedWeight *at = &p.payload.at[i];
        assert_string_equal(at->weight->name, order[i]);
        assert_int_equal(at->layout, i == 2 ? SNL_LAYOUT_ROWS : SNL_LAYOUT_PANELS);
        assert_int_equal(snl_payload_offset(&p.payload, at->weight), at->offset);
    }
    assert_int_equal(p.payload.swept_nbytes, p.payload.at[2].offset);
    assert_int_equal(p.payload.nbytes, p.payload.at[2].offset + p.payload.at[2].nbytes);
}

static void stores_plain_weights_as_f32(void **state)
{
    Support *s = *state;
    Packed p;
    pack(&p, s, mixed_text, NULL);
    for (size_t i = 0; i < p.payload.n; i++) {
        const SnlPackedWeight *at = &p.payload.at[i];
        if (at->layout == SNL_LAYOUT_PANELS) {
            check_panels(&p, at->weight);
            continue;
        }
        int64_t n = snl_weight_rows(at->weight) * snl_weight_cols(at->weight);
        float *wanted = values(&p, at->weight);
        assert_memory_equal(p.bytes + at->offset, wanted, (size_t)n * 4);
        for (int64_t k = n * 4; k < at->nbytes; k++) assert_int_equal(p.bytes[at->offset + k], 0);
    }
}

static void refuses_one_weight_in_two_layouts(void **state)
{
    Support *s = *state;
    Packed p;
    SnlStatus status = plan(&p, s,
                            "module @m\n"
                            "weight @w : f32[4, 4] = source \"m\" \"w\"\n"
                            "func @f(%x: f32[T, 4, 4], %h: f32[T, 4]) -> f32[T, 4] {\n"
                            "  %a = mix %x, @w : f32[T, 4, 4]\n"
                            "  %y = linear %h, @w : f32[T, 4]\n"
                            "  return %y\n}\n");
    assert_int_equal(status, SNL_BAD_INPUT);
    assert_diag(s->diag, "used both as a matrix of linear or embed and elementwise");
}

static void refuses_functions_with_calls(void **state)
{
    Support *s = *state;
    Packed p;
    SnlStatus status = plan(&p, s,
                            "module @m\n"
                            "layer @l(%h: f32[T, 4]) -> f32[T, 4] surrogate identity {\n"
                            "  %y = silu %h : f32[T, 4]\n"
                            "  return %y\n}\n"
                            "func @f(%x: f32[T, 4]) -> f32[T, 4] {\n"
                            "  %y = chain %x, [@l()] : f32[T, 4]\n"
                            "  return %y\n}\n");
    assert_int_equal(status, SNL_BAD_INPUT);
    assert_diag(s->diag, "layers must be inlined");
}

static SnlStatus full_disk(void *user, const void *bytes, size_t nbytes)
{
    (void)bytes;
    size_t *room = user;
    if (nbytes > *room) return SNL_MACHINE;
    *room -= nbytes;
    return SNL_OK;
}

/* The error of a format, worked out from what the payload holds. */
static void says_what_rounding_does(void **state)
{
    Support *s = *state;
    static const struct {
        const char *format;
        double least, most; /* of the relative error of normal numbers */
    } rows[] = {{"", 0, 0}, {"f16", 1e-4, 4e-4}, {"bf16", 1e-3, 3e-3}, {"q8_0", 3e-3, 1e-2},
                {"q4_0", 5e-2, 0.15}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Packed p;
        SnlWritten written[1];
        pack(&p, s, linear_text(s->arena, 1041, 321, rows[i].format), written);
        const SnlWeight *w = p.payload.at[0].weight;
        double error = 0, size = 0, found = snl_rounding_relative(&written[0].rounding);
        if (w->code == SNL_WEXPR_CAST) {
            const float *number = values(&p, w->arg[0]), *stored_number = values(&p, w);
            for (int64_t k = 0; k < w->type->dim[0] * w->type->dim[1]; k++) {
                double e = (double)stored_number[k] - (double)number[k];
                error += e * e;
                size += (double)number[k] * (double)number[k];
            }
        }
        assert_close(found, size > 0 ? sqrt(error / size) : 0, 1e-9, 0);
        assert_true(found >= rows[i].least && found <= rows[i].most);
    }
}

static void numbers_of_the_format_keep_theirs(void **state)
{
    Support *s = *state;
    Packed p;
    SnlWritten written[1];
    pack(&p, s, "module @m\n"
                "weight @a : f32[16, 32] = fill {value = 0.5}\n"
                "weight @w : q8_0[16, 32] = cast(@a)\n"
                "func @f(%x: f32[T, 32]) -> f32[T, 16] {\n"
                "  %i = cast %x {to = q8_0} : q8_0[T, 32]\n"
                "  %y = linear %i, @w : f32[T, 16]\n"
                "  return %y\n}\n", written);
    /* 0.5 = 127 x (0.5 / 127), and 0.5 / 127 rounds to an f16 within 2^-11. */
    assert_true(snl_rounding_relative(&written[0].rounding) < 0x1p-11);
}

static SnlStatus write(Packed *p)
{
    p->room = (size_t)p->payload.nbytes;
    p->bytes = snl_arena_alloc(p->support->arena, p->room);
    return snl_payload_write(&p->payload, p->source, p->support->diag, sink, p, NULL, NULL, NULL);
}

/* Ordinary numbers with one of another kind, not at the beginning of its block. */
typedef struct Spoiled {
    SnlWeightSource base;
    int64_t at;
    float number;
} Spoiled;

static SnlStatus read_spoiled(SnlWeightSource *self, const char *file, const char *tensor,
                              int64_t first, int64_t n, SnlDiag *diag, float *out)
{
    (void)file, (void)tensor, (void)diag;
    const Spoiled *spoiled = (const Spoiled *)self;
    for (int64_t i = 0; i < n; i++) out[i] = first + i == spoiled->at ? spoiled->number : 0.25f;
    return SNL_OK;
}

static SnlStatus find_any(SnlWeightSource *self, const char *file, const char *tensor,
                          SnlDiag *diag, SnlTensorInfo *out)
{
    (void)self, (void)file, (void)tensor, (void)diag;
    *out = (SnlTensorInfo){SNL_F32, 2, {40, 70}};
    return SNL_OK;
}

static SnlStatus plan_spoiled(Packed *p, Support *s, const char *format, float number)
{
    Spoiled *spoiled = SNL_NEW(s->arena, Spoiled);
    *spoiled = (Spoiled){{.find = find_any, .read = read_spoiled}, 3 * 70 + 35, number};
    SnlStatus status = plan(p, s, linear_text(s->arena, 40, 70, format));
    p->source = &spoiled->base;
    return status;
}

static void refuses_numbers_that_are_none(void **state)
{
    Support *s = *state;
    static const char *const formats[] = {"", "bf16", "f16", "q8_0", "q4_0"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        Packed p;
        assert_int_equal(plan_spoiled(&p, s, formats[i], NAN), SNL_OK);
        assert_int_equal(write(&p), SNL_BAD_INPUT);
        assert_diag(s->diag, "weight '@w' (tensor 'w' of 'm'), row 3, column 35: found nan, wanted "
                             "a finite number: the "
                             "file is damaged");
        assert_int_equal(plan_spoiled(&p, s, formats[i], -INFINITY), SNL_OK);
        assert_int_equal(write(&p), SNL_BAD_INPUT);
        assert_diag(s->diag, "found -inf, wanted a finite number");
    }
}

/* The largest number of a format is stored; one that would become infinite is not. */
static void refuses_numbers_beyond_the_format(void **state)
{
    Support *s = *state;
    static const struct {
        const char *format;
        float fits, does_not;
        const char *message;
    } rows[] = {
        {"f16", 65504, 65520,
         "found 65520, wanted numbers within 65504, the largest that f16 holds"},
        {"bf16", 3.38e38f, 3.4e38f,
         "wanted numbers within 3.38953e+38, the largest that bf16 holds"},
        {"q8_0", 8319008, 8330000,
         "wanted numbers within 8.31901e+06, the largest that q8_0 holds"},
        {"q4_0", -524032, -525000, "found -525000, wanted numbers within 524032, the largest that"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Packed p;
        assert_int_equal(plan_spoiled(&p, s, rows[i].format, rows[i].fits), SNL_OK);
        assert_int_equal(write(&p), SNL_OK);
        assert_int_equal(plan_spoiled(&p, s, rows[i].format, rows[i].does_not), SNL_OK);
        assert_int_equal(write(&p), SNL_BAD_INPUT);
        assert_diag(s->diag, "weight '@w' (tensor 'w' of 'm'), row 3, column 35: found");
        assert_diag(s->diag, rows[i].message);
    }
}

static void stops_when_the_sink_fails(void **state)
{
    Support *s = *state;
    Packed p;
    assert_int_equal(plan(&p, s, mixed_text), SNL_OK);
    size_t room = 100;
    assert_int_equal(snl_payload_write(&p.payload, p.source, s->diag, full_disk, &room, NULL, NULL,
                                       NULL),
                     SNL_MACHINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(places_every_element_of_panels),
        support_test(places_every_element_of_block_panels),
        support_test(places_every_element_across_blocks),
        support_test(keeps_the_order_of_first_use),
        support_test(places_every_element_of_rows),
        support_test(tables_lie_behind_what_every_token_reads),
        support_test(stores_plain_weights_as_f32),
        support_test(refuses_one_weight_in_two_layouts),
        support_test(refuses_functions_with_calls),
        support_test(says_what_rounding_does),
        support_test(numbers_of_the_format_keep_theirs),
        support_test(refuses_numbers_that_are_none),
        support_test(refuses_numbers_beyond_the_format),
        support_test(stops_when_the_sink_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
