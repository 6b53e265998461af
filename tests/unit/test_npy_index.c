/* A .npy file as a source of one weight: what is read, what is refused and with which words. */
#include "tests/support/support.h"

#include "compiler/frontend/npy_index.h"
#include "compiler/frontend/weight_files.h"

#include <string.h>

/* A version 1 file with this header text and n floats 0, 1, 2, ... */
static SnlFile npy(Support *s, const char *header, size_t n)
{
    size_t len = strlen(header), size = 10 + len + 4 * n;
    uint8_t *bytes = snl_arena_alloc(s->arena, size);
    memcpy(bytes, "\x93NUMPY\x01\x00", 8);
    bytes[8] = (uint8_t)(len & 255);
    bytes[9] = (uint8_t)(len >> 8);
    memcpy(bytes + 10, header, len);
    for (size_t i = 0; i < n; i++) {
        float x = (float)i;
        memcpy(bytes + 10 + len + 4 * i, &x, sizeof x);
    }
    return (SnlFile){"diag.npy", bytes, size};
}

static void an_array_is_one_nameless_tensor(void **state)
{
    Support *s = *state;
    SnlFile file = npy(s, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  \n", 6);
    SnlSafetensors st;
    assert_int_equal(snl_npy_index(s->arena, &file, s->diag, &st), SNL_OK);
    const SnlSafetensor *t = snl_safetensors_find(&st, "");
    assert_non_null(t);
    assert_int_equal(t->rank, 2);
    assert_int_equal(t->dim[0], 2);
    assert_int_equal(t->dim[1], 3);
    float got[2];
    snl_safetensors_read(&st, t, 4, 2, got);
    assert_true(got[0] == 4 && got[1] == 5);
}

static void a_weight_may_name_one(void **state)
{
    Support *s = *state;
    SnlFile file = npy(s, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\n", 3);
    const char *path = support_write(s, "diag.npy", file.bytes, file.size);
    SnlWeightFiles *files = snl_weight_files_create(s->arena, NULL);
    SnlWeightSource *source = snl_weight_files_source(files);
    SnlTensorInfo info;
    float got[3];
    assert_int_equal(source->find(source, path, "", s->diag, &info), SNL_OK);
    assert_int_equal(info.rank, 1);
    assert_int_equal(source->read(source, path, "", 0, 3, s->diag, got), SNL_OK);
    assert_true(got[2] == 2);
    source->destroy(source);
}

static void refused(Support *s, SnlFile file, const char *message)
{
    SnlSafetensors st;
    SnlDiag *diag = snl_diag_create(NULL, 0);
    assert_int_equal(snl_npy_index(s->arena, &file, diag, &st), SNL_BAD_INPUT);
    assert_diag(diag, message);
    snl_diag_destroy(diag);
}

static void other_arrays_are_refused_by_what_they_are(void **state)
{
    Support *s = *state;
    static const char good[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
    refused(s, npy(s, "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", 4),
            "found '<f8', wanted '<f4' or '<f2': save the array as float32");
    refused(s, npy(s, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", 6),
            "found column-major, wanted row-major");
    refused(s, npy(s, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", 1),
            ".npy shape: found ()");
    refused(s, npy(s, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1), }", 1),
            ".npy shape:");
    refused(
        s,
        npy(s, "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 1),
        ".npy shape:");
    refused(s, npy(s, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 5),
            "found 20 bytes, the shape wants 24");
    refused(s, npy(s, "", 0), "found none, wanted '<f4'");
    SnlFile short_file = npy(s, good, 6);
    short_file.size = 9;
    refused(s, short_file, "no .npy file");
    SnlFile cut = npy(s, good, 6);
    cut.size = 30;
    refused(s, cut, ".npy header: found a length of");
    SnlFile text = {"diag.npy", (const uint8_t *)"not an array at all", 19};
    refused(s, text, "its first 6 bytes are not");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(an_array_is_one_nameless_tensor),
        support_test(a_weight_may_name_one),
        support_test(other_arrays_are_refused_by_what_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
