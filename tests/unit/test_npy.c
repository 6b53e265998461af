/* .npy files: what NumPy writes is read, everything else is refused with a reason, what we write is
 * read back. */
#include "tests/support/support.h"

#include "compiler/driver/npy.h"

#include <stdio.h>
#include <string.h>

/* Header `text` padded to a multiple of 64 behind a version-1 preamble, then the data. */
static size_t compose(uint8_t *to, uint8_t version, const char *text, const void *data,
                      size_t nbytes)
{
    size_t start = version == 1 ? 10 : 12, len = strlen(text);
    memcpy(to, "\x93NUMPY", 6);
    to[6] = version;
    to[7] = 0;
    memset(to + 8, 0, 4);
    to[8] = (uint8_t)len;
    to[9] = (uint8_t)(len >> 8);
    memcpy(to + start, text, len);
    memcpy(to + start + len, data, nbytes);
    return start + len + nbytes;
}

static SnlStatus parse(Support *s, const char *header, const void *data, size_t nbytes, SnlNpy *out)
{
    uint8_t bytes[512];
    size_t n = compose(bytes, 1, header, data, nbytes);
    return snl_npy_parse(s->arena, bytes, n, "t.npy", s->diag, out);
}

static void reads_every_element_type(void **state)
{
    Support *s = *state;
    const struct {
        const char *descr;
        const void *data;
        size_t nbytes;
    } rows[] = {
        {"<f4", (float[]){1.5f, -2.0f}, 8},          {"<f8", (double[]){1.5, -2.0}, 16},
        {"<f2", (uint16_t[]){0x3e00, 0xc000}, 4},    {"<i4", (int32_t[]){7, -2}, 8},
        {"<i8", (int64_t[]){7, -2}, 16},             {"|u1", (uint8_t[]){7, 254}, 2},
    };
    static const double wanted[][2] = {{1.5, -2}, {1.5, -2}, {1.5, -2}, {7, -2}, {7, -2}, {7, 254}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char header[128];
        snprintf(header, sizeof header,
                 "{'descr': '%s', 'fortran_order': False, 'shape': (2,), }  \n", rows[i].descr);
        SnlNpy npy;
        assert_int_equal(parse(s, header, rows[i].data, rows[i].nbytes, &npy), SNL_OK);
        assert_int_equal(npy.rank, 1);
        assert_int_equal(npy.n, 2);
        assert_true(npy.at[0] == wanted[i][0] && npy.at[1] == wanted[i][1]);
    }
}

static void reads_shapes(void **state)
{
    Support *s = *state;
    SnlNpy npy;
    const float data[6] = {0, 1, 2, 3, 4, 5};
    assert_int_equal(parse(s, "{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}\n", data,
                           sizeof data, &npy),
                     SNL_OK);
    assert_int_equal(npy.rank, 2);
    assert_int_equal(npy.dim[0], 2);
    assert_int_equal(npy.dim[1], 3);
    assert_true(npy.at[5] == 5.0);
    assert_int_equal(parse(s, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n", data, 4,
                           &npy),
                     SNL_OK);
    assert_int_equal(npy.rank, 0);
    assert_int_equal(npy.n, 1);
    assert_int_equal(parse(s, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4), }\n", data,
                           0, &npy),
                     SNL_OK);
    assert_int_equal(npy.n, 0);
}

static void reads_version_2_and_3(void **state)
{
    Support *s = *state;
    const float one = 1.0f;
    for (uint8_t version = 2; version <= 3; version++) {
        uint8_t bytes[256];
        size_t n = compose(bytes, version,
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", &one, 4);
        SnlNpy npy;
        assert_int_equal(snl_npy_parse(s->arena, bytes, n, "t.npy", s->diag, &npy), SNL_OK);
        assert_true(npy.at[0] == 1.0);
    }
}

static void refuses_bad_headers(void **state)
{
    Support *s = *state;
    static const struct {
        const char *header, *message;
    } rows[] = {
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", "wanted descr '<f2'"},
        {"{'descr': '<f4x', 'fortran_order': False, 'shape': (1,), }", "wanted the end of descr"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", "wanted False (row-major"},
        {"{'descr': '<f4', 'fortran_order': False, }", "wanted descr, fortran_order and shape"},
        {"{'descr': '<f4', 'descr': '<f4', 'shape': (1,), }", "each once"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, -2), }", "wanted a dimension"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1 2), }", "in the shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
         "wanted a dimension below 2^63"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
         "at most 2^40 elements"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }",
         "at most 8 dimensions"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)", "wanted ',' or '}'"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } x", "nothing after"},
        {"'descr'", "wanted '{'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        SnlNpy npy;
        const float one = 1.0f;
        assert_int_equal(parse(s, rows[i].header, &one, 4, &npy), SNL_BAD_INPUT);
        assert_diag(s->diag, rows[i].message);
    }
    assert_diag(s->diag, "t.npy: error[E0304]");
}

static void refuses_wrong_sizes(void **state)
{
    Support *s = *state;
    SnlNpy npy;
    const float data[2] = {1, 2};
    const char *header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n";
    assert_int_equal(parse(s, header, data, 7, &npy), SNL_BAD_INPUT);
    assert_diag(s->diag, "found 7 bytes, wanted 8");
    uint8_t bytes[256];
    size_t n = compose(bytes, 1, header, data, 8);
    assert_int_equal(snl_npy_parse(s->arena, bytes, 20, "t.npy", s->diag, &npy), SNL_BAD_INPUT);
    assert_diag(s->diag, "npy header is cut off");
    assert_int_equal(snl_npy_parse(s->arena, bytes, 9, "t.npy", s->diag, &npy), SNL_BAD_INPUT);
    assert_diag(s->diag, "no NUMPY magic");
    bytes[6] = 4;
    assert_int_equal(snl_npy_parse(s->arena, bytes, n, "t.npy", s->diag, &npy), SNL_BAD_INPUT);
    assert_diag(s->diag, "npy version 4.0");
}

static void writes_what_it_reads(void **state)
{
    Support *s = *state;
    const double data[6] = {0.5, -1, 2, 3, 4, 1e-3};
    const int64_t dim[] = {3, 2};
    char *path = support_path(s, "a.npy");
    assert_int_equal(snl_npy_write(path, SNL_F32, 2, dim, data, s->diag), SNL_OK);
    SnlNpy npy;
    assert_int_equal(snl_npy_read(s->arena, path, s->diag, &npy), SNL_OK);
    assert_int_equal(npy.rank, 2);
    assert_int_equal(npy.dim[0], 3);
    for (int i = 0; i < 6; i++) assert_true(npy.at[i] == (double)(float)data[i]);
    const double ids[] = {7, 0, -1};
    const int64_t three = 3;
    assert_int_equal(snl_npy_write(path, SNL_I32, 1, &three, ids, s->diag), SNL_OK);
    assert_int_equal(snl_npy_read(s->arena, path, s->diag, &npy), SNL_OK);
    assert_true(npy.at[0] == 7 && npy.at[2] == -1);
}

static void says_what_is_missing(void **state)
{
    Support *s = *state;
    SnlNpy npy;
    assert_int_equal(snl_npy_read(s->arena, support_path(s, "none.npy"), s->diag, &npy),
                     SNL_MACHINE);
    assert_diag(s->diag, "none.npy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(reads_every_element_type), support_test(reads_shapes),
        support_test(reads_version_2_and_3),    support_test(refuses_bad_headers),
        support_test(refuses_wrong_sizes),      support_test(writes_what_it_reads),
        support_test(says_what_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
