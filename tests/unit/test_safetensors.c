/* safetensors: what a header may claim, elements of each type, and reading in bounded memory. */
#include "tests/support/model_files.h"

#include "compiler/frontend/safetensors.h"
#include "compiler/frontend/weight_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A file in memory: length, header, `data` bytes (i-th byte is i). */
static SnlStatus index_text(Support *s, const char *header, size_t data, SnlSafetensors *out)
{
    size_t len = strlen(header);
    uint8_t *bytes = snl_arena_alloc(s->arena, 8 + len + data);
    bytes[0] = (uint8_t)len;
    bytes[1] = (uint8_t)(len >> 8);
    memcpy(bytes + 8, header, len);
    for (size_t i = 0; i < data; i++) bytes[8 + len + i] = (uint8_t)i;
    SnlFile *file = SNL_NEW(s->arena, SnlFile);
    *file = (SnlFile){"m.safetensors", bytes, 8 + len + data};
    return snl_safetensors_index(s->arena, file, s->diag, out);
}

static void indexes_tensors_by_name(void **state)
{
    Support *s = *state;
    SnlSafetensors st;
    assert_int_equal(
        index_text(s,
                   "{\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[8,20]},"
                   "\"__metadata__\":{\"format\":\"pt\"},"
                   "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                   "\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[20,24]},"
                   "\"e\":{\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[24,24]},"
                   "\"i\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[24,32]},"
                   "\"t\":{\"dtype\":\"F6_NEW\",\"shape\":[9],\"data_offsets\":[32,33]}}   ",
                   33, &st),
        SNL_OK);
    assert_int_equal(st.n, 6);
    assert_string_equal(st.at[0].name, "a");
    const SnlSafetensor *b = snl_safetensors_find(&st, "b");
    assert_true(b->known);
    assert_int_equal(b->dtype, SNL_BF16);
    assert_int_equal(b->rank, 2);
    assert_int_equal(b->dim[1], 3);
    assert_string_equal(b->shape_text, "[2, 3]");
    assert_int_equal(b->end - b->begin, 12);
    assert_false(snl_safetensors_find(&st, "s")->known);
    assert_false(snl_safetensors_find(&st, "i")->known);
    assert_false(snl_safetensors_find(&st, "t")->known);
    assert_null(snl_safetensors_find(&st, "c"));
}

#define F32(shape, begin, end)                                                                     \
    "{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static void refuses_what_cannot_be_true(void **state)
{
    Support *s = *state;
    static const struct {
        const char *header;
        size_t data;
        const char *message;
    } cases[] = {
        {"{\"a\":" F32("[2]", 0, 8) "}", 4,
         "m.safetensors: tensor 'a': error[E0304]: its bytes end at 8 of the data, found only 4"},
        {"{\"a\":" F32("[2]", 0, 8) ",\"b\":" F32("[2]", 4, 12) "}", 12,
         "tensor 'b': error[E0304]: its bytes 4..12 overlap those of tensor 'a' (0..8)"},
        {"{\"a\":" F32("[2]", 0, 8) ",\"b\":" F32("[2]", 0, 8) "}", 8, "overlap"},
        {"{\"a\":" F32("[1]", 0, 4) ",\"b\":" F32("[1]", 8, 12) "}", 12,
         "tensor 'b': error[E0304]: 4 bytes before it belong to no tensor"},
        {"{\"a\":" F32("[1]", 0, 4) "}", 9, "the last 5 bytes belong to no tensor"},
        {"{\"a\":" F32("[1]", 0, 4) ",\"a\":" F32("[1]", 4, 8) "}", 8, "duplicate object key"},
        {"{\"a\":" F32("[3]", 0, 8) "}", 8,
         "found 8 bytes, wanted F32 [3] to have 3 elements of 4"},
        {"{\"a\":" F32("[-1]", 0, 4) "}", 4, "none negative"},
        {"{\"a\":" F32("[1.5]", 0, 4) "}", 4, "whole numbers"},
        {"{\"a\":" F32("[\"1\"]", 0, 4) "}", 4, "whole numbers"},
        {"{\"a\":" F32("1", 0, 4) "}", 4, "'shape' must be a list"},
        {"{\"a\":" F32("[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, "at most 16 sizes"},
        {"{\"a\":" F32("[4294967296,4294967296]", 0, 4) "}", 4, "too many elements"},
        {"{\"a\":" F32("[4611686018427387904]", 0, 4) "}", 4, "found 4 bytes, wanted F32"},
        {"{\"a\":" F32("[1]", 4, 0) "}", 4, "0 <= begin <= end"},
        {"{\"a\":" F32("[1]", -4, 0) "}", 4, "0 <= begin <= end"},
        {"{\"a\":" F32("[1]", 9223372036854775807, 9223372036854775807) "}", 4,
         "found only 4 bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "0 <= begin <= end"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"offsets\":[0,4]}}", 4,
         "'data_offsets' must be"},
        {"{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
         "'dtype' must be a string"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4,
         "found 4 keys"},
        {"{\"a\":7}", 0, "must be an object"},
        {"{\"__metadata__\":[]}", 0, "m.safetensors: __metadata__: error[E0304]"},
        {"{\"__metadata__\":{\"k\":1}}", 0, "'k' must be a string"},
        {"{}", 0, "found no tensor in it"},
        {"", 0, "must begin with '{'"},
        {"[1]", 0, "must begin with '{'"},
        {" {}", 0, "must begin with '{'"},
        {"{\"a\":", 0, "m.safetensors+0xc: error[E0304]: header: "},
        {"{\"a\":{\"b\":{\"c\":{\"d\":{}}}}}", 0, "nested too deeply"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        SnlSafetensors st;
        snl_diag_destroy(s->diag);
        s->diag = snl_diag_create(NULL, 0);
        if (index_text(s, cases[i].header, cases[i].data, &st) != SNL_BAD_INPUT)
            fail_msg("case %zu was accepted", i);
        assert_diag(s->diag, cases[i].message);
        assert_int_equal(snl_diag_errors(s->diag), 1);
    }
}

static void refuses_impossible_lengths(void **state)
{
    Support *s = *state;
    static const struct {
        uint8_t bytes[12];
        size_t n;
        const char *message;
    } cases[] = {
        {{0}, 0, "found 0 bytes, wanted a safetensors file"},
        {{2, 0, 0, 0, 0, 0, 0}, 7, "found 7 bytes"},
        {{2, 0, 0, 0, 0, 0, 0, 0, '{'}, 9, "announce a header of 2 bytes, found 1 after them"},
        {{255, 255, 255, 255, 255, 255, 255, 255, '{', '}'}, 10, "18446744073709551615 bytes"},
        {{0, 0, 0, 0, 0, 0, 0, 128, '{', '}'}, 10, "9223372036854775808 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        SnlFile file = {"m.safetensors", cases[i].bytes, cases[i].n};
        SnlSafetensors st;
        assert_int_equal(snl_safetensors_index(s->arena, &file, s->diag, &st), SNL_BAD_INPUT);
        assert_diag(s->diag, cases[i].message);
    }
}

static void refuses_a_header_beyond_the_limit(void **state)
{
    Support *s = *state;
    char *path = support_write(s, "big.safetensors", "\0\0\0\0\1\0\0\0{", 9); /* 2^32 */
    assert_int_equal(truncate(path, ((off_t)1 << 32) + 8), 0);
    SnlSafetensors st;
    assert_int_equal(snl_safetensors_open(s->arena, path, s->diag, &st), SNL_BAD_INPUT);
    assert_diag(s->diag, "found a header of 4294967296 bytes, wanted at most 33554432");
}

/* Unaligned on purpose: the header's length is odd. */
static void reads_elements_of_each_type(void **state)
{
    Support *s = *state;
    static const char header[] =
        "{\"f\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[8,12]},"
        "\"h\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[12,18]} }";
    static const uint8_t data[18] = {0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0xc0, 0xc0,
                                     0x3f, 0x00, 0x80, 0x00, 0x3c, 0x01, 0x00, 0x00, 0xfc};
    assert_int_equal((sizeof header - 1) % 2, 1);
    uint8_t bytes[8 + sizeof header - 1 + sizeof data] = {sizeof header - 1};
    memcpy(bytes + 8, header, sizeof header - 1);
    memcpy(bytes + 8 + sizeof header - 1, data, sizeof data);
    SnlFile file = {"m.safetensors", bytes, sizeof bytes};
    SnlSafetensors st;
    assert_int_equal(snl_safetensors_index(s->arena, &file, s->diag, &st), SNL_OK);
    float out[3];
    snl_safetensors_read(&st, snl_safetensors_find(&st, "f"), 0, 2, out);
    assert_close(out[0], 1, 0, 0);
    assert_close(out[1], -2, 0, 0);
    snl_safetensors_read(&st, snl_safetensors_find(&st, "b"), 0, 2, out);
    assert_close(out[0], 1.5, 0, 0);
    assert_close(out[1], 0, 0, 0);
    snl_safetensors_read(&st, snl_safetensors_find(&st, "h"), 1, 2, out);
    assert_close(out[0], 0x1p-24, 0, 0);
    assert_true(out[1] < -1e38f);
}

/* ---- the source over files ------------------------------------------------------------------- */

static void source_finds_and_reads_ranges(void **state)
{
    Support *s = *state;
    static const FileTensor tensors[] = {{"a", "F32", 2, {3, 4}}, {"b", "F16", 1, {5}}};
    model_files_write(s, "w.safetensors", tensors, 2);
    SnlWeightFiles *files = snl_weight_files_create(s->arena, s->dir);
    SnlWeightSource *source = snl_weight_files_source(files);
    SnlTensorInfo info;
    assert_int_equal(source->find(source, "w.safetensors", "a", s->diag, &info), SNL_OK);
    assert_int_equal(info.dtype, SNL_F32);
    assert_int_equal(info.rank, 2);
    assert_int_equal(info.dim[1], 4);
    float all[12], some[12];
    assert_int_equal(source->read(source, "w.safetensors", "a", 0, 12, s->diag, all), SNL_OK);
    source->release(source);
    assert_int_equal(source->read(source, "w.safetensors", "a", 5, 3, s->diag, some), SNL_OK);
    assert_memory_equal(some, all + 5, 3 * sizeof(float));
    assert_int_equal(source->read(source, "w.safetensors", "a", 12, 0, s->diag, some), SNL_OK);
    source->destroy(source);
}

static void source_reports_what_is_not_there(void **state)
{
    Support *s = *state;
    static const FileTensor tensors[] = {{"a", "F32", 2, {3, 4}}, {"i", "I32", 1, {5}}};
    model_files_write(s, "w.safetensors", tensors, 2);
    SnlWeightSource *source = snl_weight_files_source(snl_weight_files_create(s->arena, s->dir));
    SnlTensorInfo info;
    float out[1];
    assert_int_equal(source->find(source, "none", "a", s->diag, &info), SNL_MACHINE);
    assert_diag(s->diag, "none: error[E0601]: cannot open");
    assert_int_equal(source->find(source, "w.safetensors", "c", s->diag, &info), SNL_BAD_INPUT);
    assert_diag(s->diag, "w.safetensors: error[E0303]: there is no tensor 'c' in it");
    assert_int_equal(source->find(source, "w.safetensors", "i", s->diag, &info), SNL_BAD_INPUT);
    assert_diag(s->diag, "tensor 'i': found I32 [5], wanted F32, BF16 or F16");
    assert_int_equal(source->read(source, "w.safetensors", "a", 12, 1, s->diag, out),
                     SNL_BAD_INPUT);
    assert_diag(s->diag, "wanted 1 elements from element 12 on, found only 12 in all");
    assert_int_equal(source->read(source, "w.safetensors", "a", -1, 1, s->diag, out),
                     SNL_BAD_INPUT);
    assert_int_equal(source->read(source, "w.safetensors", "a", INT64_MAX, 1, s->diag, out),
                     SNL_BAD_INPUT);
    source->destroy(source);
}

static long resident_pages(void)
{
    long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &total, &resident), 2);
    fclose(file);
    return resident;
}

/* 256 MiB of zeros that take no room on the disk. */
static void reading_does_not_keep_pages(void **state)
{
    Support *s = *state;
    enum { ROWS = 65536, COLS = 1024 };
    static const char header[] =
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[65536,1024],\"data_offsets\":[0,268435456]}}";
    uint8_t head[8 + sizeof header - 1] = {sizeof header - 1};
    memcpy(head + 8, header, sizeof header - 1);
    char *path = support_write(s, "zeros.safetensors", head, sizeof head);
    assert_int_equal(truncate(path, (off_t)sizeof head + (off_t)ROWS * COLS * 4), 0);
    SnlWeightSource *source = snl_weight_files_source(snl_weight_files_create(s->arena, s->dir));
    static float row[64 * COLS];
    long before = resident_pages(), most = 0;
    for (int64_t i = 0; i < ROWS; i += 64) {
        assert_int_equal(
            source->read(source, "zeros.safetensors", "a", i * COLS, 64 * COLS, s->diag, row),
            SNL_OK);
        long now = resident_pages();
        if (now > most) most = now;
    }
    long grown = (most - before) * sysconf(_SC_PAGESIZE);
    if (grown > (long)48 << 20) fail_msg("resident memory grew by %ld bytes", grown);
    source->destroy(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(indexes_tensors_by_name),
        support_test(refuses_what_cannot_be_true),
        support_test(refuses_impossible_lengths),
        support_test(refuses_a_header_beyond_the_limit),
        support_test(reads_elements_of_each_type),
        support_test(source_finds_and_reads_ranges),
        support_test(source_reports_what_is_not_there),
        support_test(reading_does_not_keep_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
