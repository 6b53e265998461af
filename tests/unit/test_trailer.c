/* The payload behind a program: found and mapped, or refused with the reason; and its manifest. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/manifest.h"
#include "runtime/model.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { WEIGHTS = 128, TOKENIZER = 10, MANIFEST = 20, PAYLOAD_ID = 77 };
static const SnlrtModel model = {.payload_id = PAYLOAD_ID};

typedef struct File {
    char path[64];
    SnlrtFooter footer;
} File;

static SnlrtFooter good_footer(void)
{
    return (SnlrtFooter){.payload_offset = SNLRT_PAYLOAD_ALIGN,
                         .weights_bytes = WEIGHTS,
                         .tokenizer_offset = WEIGHTS,
                         .tokenizer_bytes = TOKENIZER,
                         .manifest_offset = WEIGHTS + TOKENIZER,
                         .manifest_bytes = MANIFEST,
                         .payload_id = PAYLOAD_ID,
                         .magic = SNLRT_FOOTER_MAGIC};
}

static void write_file(File *file, SnlrtFooter footer)
{
    strcpy(file->path, "/tmp/snlrt-trailer-XXXXXX");
    int fd = mkstemp(file->path);
    assert_true(fd >= 0);
    uint8_t bytes[WEIGHTS + TOKENIZER + MANIFEST];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)i;
    assert_int_equal(pwrite(fd, bytes, sizeof bytes, SNLRT_PAYLOAD_ALIGN), sizeof bytes);
    assert_int_equal(pwrite(fd, &footer, sizeof footer, SNLRT_PAYLOAD_ALIGN + sizeof bytes),
                     sizeof footer);
    close(fd);
}

static void good_payload_is_mapped(void **state)
{
    (void)state;
    File file;
    SnlrtPayload payload;
    write_file(&file, good_footer());
    assert_int_equal(snlrt_payload_open(&model, file.path, &payload, NULL), SNLRT_OK);
    unlink(file.path);
    assert_int_equal((uintptr_t)payload.weights % 64, 0);
    assert_int_equal(payload.weights[WEIGHTS - 1], WEIGHTS - 1);
    assert_int_equal(payload.tokenizer_nbytes, TOKENIZER);
    assert_int_equal(*(const uint8_t *)payload.tokenizer, WEIGHTS);
    assert_int_equal(payload.manifest_nbytes, MANIFEST);
    assert_int_equal((uint8_t)payload.manifest[0], WEIGHTS + TOKENIZER);
    snlrt_payload_close(&payload);
    assert_null(payload.map);
}

/* A payload of more than two huge pages whose bytes tell their places. */
static void write_large_file(File *file, uint64_t weights)
{
    SnlrtFooter f = good_footer();
    f.weights_bytes = f.tokenizer_offset = weights;
    f.manifest_offset = weights + TOKENIZER;
    write_file(file, f);
    uint64_t n = weights + TOKENIZER + MANIFEST;
    uint8_t *bytes = malloc(n);
    assert_non_null(bytes);
    for (uint64_t i = 0; i < n; i++) bytes[i] = (uint8_t)(i % 251 + i / 4096);
    int fd = open(file->path, O_WRONLY);
    assert_int_equal(pwrite(fd, bytes, n, SNLRT_PAYLOAD_ALIGN), (ssize_t)n);
    assert_int_equal(pwrite(fd, &f, sizeof f, (off_t)(SNLRT_PAYLOAD_ALIGN + n)), sizeof f);
    close(fd);
    free(bytes);
}

static void assert_same_payload(const SnlrtPayload *a, const SnlrtPayload *b, uint64_t weights)
{
    assert_memory_equal(a->weights, b->weights, weights);
    assert_memory_equal(a->tokenizer, b->tokenizer, TOKENIZER);
    assert_memory_equal(a->manifest, b->manifest, MANIFEST);
    assert_memory_equal(&a->footer, &b->footer, sizeof a->footer);
}

static void copied_payload_is_the_same(void **state)
{
    (void)state;
    enum { HUGE = 2 << 20, N = 5 << 20 };
    static const int64_t heads[] = {0, HUGE - 1, HUGE, 2 * HUGE + 12345, N};
    File file;
    SnlrtPayload mapped, copied;
    write_large_file(&file, N);
    assert_int_equal(snlrt_payload_open(&model, file.path, &mapped, NULL), SNLRT_OK);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        assert_int_equal(snlrt_payload_open(&model, file.path, &copied, NULL), SNLRT_OK);
        assert_int_equal(snlrt_payload_copy(&copied, heads[i], NULL), SNLRT_OK);
        assert_int_equal((uintptr_t)copied.weights % HUGE, 0);
        assert_int_equal(copied.copied_nbytes, heads[i] / HUGE * HUGE);
        assert_same_payload(&copied, &mapped, N);
        snlrt_payload_close(&copied);
    }
    snlrt_payload_close(&mapped);
    unlink(file.path);
}

/* Does the kernel know `flag` (proc(5), VmFlags) of the mapping of `address`? */
static bool is_advised(const void *address, const char *flag)
{
    bool here = false, found = false;
    char line[512];
    FILE *maps = fopen("/proc/self/smaps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            here = from <= (uintptr_t)address && (uintptr_t)address < to;
        else if (here && strncmp(line, "VmFlags:", 8) == 0)
            found = strstr(line, flag) != NULL;
    }
    fclose(maps);
    return found;
}

/* Of a table only the rows that are read come in; what every token reads comes in large pages. */
static void tables_are_read_here_and_there(void **state)
{
    (void)state;
    enum { N = 5 << 20, SWEPT = (3 << 20) + 64 };
    const SnlrtModel half_tables = {.payload_id = PAYLOAD_ID, .swept_bytes = SWEPT};
    File file;
    SnlrtPayload payload;
    write_large_file(&file, N);
    assert_int_equal(snlrt_payload_open(&half_tables, file.path, &payload, NULL), SNLRT_OK);
    unlink(file.path);
    const uint8_t *swept = payload.weights + SWEPT - 1, *tables = payload.weights + (4 << 20);
    assert_int_equal((uintptr_t)payload.weights % SNLRT_HUGE_ALIGN, 0);
    assert_false(is_advised(swept, " rr"));
    assert_true(is_advised(tables, " rr"));
    assert_false(is_advised(payload.footer.manifest_bytes + payload.manifest, " rr"));
    if (snlrt_huge_pages_offered()) {
        assert_true(is_advised(swept, " hg"));
        assert_true(is_advised(tables, " nh"));
    }
    snlrt_payload_close(&payload);
}

/* Address space for the file, and not once more. */
static void no_room_for_a_copy_leaves_the_payload(void **state)
{
    (void)state;
    enum { N = 64 << 20 };
    File file;
    SnlrtPayload payload;
    SnlrtError err = {""};
    struct rlimit old, narrow;
    write_large_file(&file, N);
    assert_int_equal(snlrt_payload_open(&model, file.path, &payload, NULL), SNLRT_OK);
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    narrow = old;
    narrow.rlim_cur = 1 << 20;
    assert_int_equal(setrlimit(RLIMIT_AS, &narrow), 0);
    SnlrtStatus status = snlrt_payload_copy(&payload, N, &err);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_int_equal(status, SNLRT_MACHINE);
    assert_non_null(strstr(err.text, "64.0 MiB for weights in huge pages"));
    assert_int_equal(payload.weights[4096], 4096 % 251 + 1);
    snlrt_payload_close(&payload);
    unlink(file.path);
}

static void no_tokenizer_is_null(void **state)
{
    (void)state;
    File file;
    SnlrtPayload payload;
    SnlrtFooter footer = good_footer();
    footer.tokenizer_bytes = 0;
    write_file(&file, footer);
    assert_int_equal(snlrt_payload_open(&model, file.path, &payload, NULL), SNLRT_OK);
    unlink(file.path);
    assert_null(payload.tokenizer);
    snlrt_payload_close(&payload);
}

static void assert_refused(SnlrtFooter footer, const char *part)
{
    File file;
    SnlrtPayload payload;
    SnlrtError err = {""};
    write_file(&file, footer);
    assert_int_equal(snlrt_payload_open(&model, file.path, &payload, &err), SNLRT_INPUT);
    unlink(file.path);
    assert_null(payload.map);
    if (!strstr(err.text, part)) fail_msg("found '%s', wanted '%s' in it", err.text, part);
}

static void broken_footers_are_refused(void **state)
{
    (void)state;
    static const uint64_t wrong[] = {1, UINT64_MAX, UINT64_MAX - 63, INT64_MAX, 1u << 30};
    SnlrtFooter f = good_footer();
    f.magic++;
    assert_refused(f, "weights missing (stripped?)");
    f = good_footer();
    f.payload_id++;
    assert_refused(f, "weights of another program: found id 000000000000004e, wanted "
                      "000000000000004d");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        f = good_footer();
        f.payload_offset = wrong[i];
        assert_refused(f, "weights damaged");
        f = good_footer();
        f.weights_bytes = wrong[i] | 1024;
        assert_refused(f, "weights damaged");
        f = good_footer();
        f.tokenizer_offset = wrong[i];
        assert_refused(f, "weights damaged");
        f = good_footer();
        f.tokenizer_bytes = wrong[i] | 1024;
        assert_refused(f, "weights damaged");
        f = good_footer();
        f.manifest_offset = wrong[i];
        assert_refused(f, "weights damaged");
        f = good_footer();
        f.manifest_bytes = wrong[i];
        assert_refused(f, "weights damaged");
    }
}

/* Tables reach to the last byte of the weights, and not beyond. */
static void tables_beyond_the_weights_are_refused(void **state)
{
    (void)state;
    static const SnlrtTable table[] = {{64, 2, 32}, {64, 2, 33}, {WEIGHTS + 1, 0, 1}};
    for (size_t i = 0; i < 3; i++) {
        const SnlrtModel with_table = {
            .payload_id = PAYLOAD_ID, .n_tables = 1, .tables = &table[i]};
        File file;
        SnlrtPayload payload;
        SnlrtError err = {""};
        write_file(&file, good_footer());
        assert_int_equal(snlrt_payload_open(&with_table, file.path, &payload, &err),
                         i ? SNLRT_INPUT : SNLRT_OK);
        unlink(file.path);
        if (i)
            assert_non_null(strstr(err.text, "weights damaged: fewer than a token reads"));
        else
            snlrt_payload_close(&payload);
    }
}

static void short_files_say_what_is_missing(void **state)
{
    (void)state;
    static const off_t sizes[] = {0, 1, 63, 64, SNLRT_PAYLOAD_ALIGN + WEIGHTS};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        File file;
        SnlrtPayload payload;
        SnlrtError err = {""};
        write_file(&file, good_footer());
        assert_int_equal(truncate(file.path, sizes[i]), 0);
        assert_int_equal(snlrt_payload_open(&model, file.path, &payload, &err), SNLRT_INPUT);
        unlink(file.path);
        assert_non_null(strstr(err.text, "weights missing (stripped?)"));
    }
}

static void missing_file_is_the_machines_fault(void **state)
{
    (void)state;
    SnlrtPayload payload;
    SnlrtError err = {""};
    assert_int_equal(snlrt_payload_open(&model, "/nonexistent/x", &payload, &err), SNLRT_MACHINE);
    assert_non_null(strstr(err.text, "/nonexistent/x: cannot open: "));
}

static void own_file_without_payload_is_refused(void **state)
{
    (void)state;
    SnlrtPayload payload;
    SnlrtError err = {""};
    assert_int_equal(snlrt_payload_open_self(&model, NULL, &payload, &err), SNLRT_INPUT);
    assert_non_null(strstr(err.text, ": weights missing (stripped?)"));
}

/* ---- manifest ---- */

static SnlrtStatus count_weights(const char *text, size_t *out_n, SnlrtManifestWeight *out_last)
{
    SnlrtManifest manifest;
    SnlrtManifestWeight weight;
    SnlrtError err;
    bool more = true;
    *out_n = 0;
    /* exactly its bytes, so that a sanitizer sees a look beyond them */
    size_t nbytes = strlen(text);
    char *copy = malloc(nbytes ? nbytes : 1);
    memcpy(copy, text, nbytes);
    SnlrtStatus status = snlrt_manifest_open(copy, nbytes, &manifest, &err);
    while (status == SNLRT_OK) {
        status = snlrt_manifest_next(&manifest, &weight, &more, &err);
        if (status != SNLRT_OK || !more) break;
        *out_last = weight;
        ++*out_n;
    }
    free(copy);
    return status;
}

static const char good_manifest[] =
    "{\"payload_id\": \"4d\", \"more\": {\"a\": [1, -2.5e3, true, \"]}\\\"\"], \"b\": {}},\n"
    " \"weights\": [\n"
    "  {\"name\": \"l0.wq\", \"rows\": 3, \"offset\": 0, \"bytes\": 64, \"xxh3\": "
    "\"00000000000000ff\"},\n"
    "  {\"xxh3\": \"fedcba9876543210\", \"bytes\": 7, \"offset\": 64, \"name\": \"n\",\n"
    "   \"cols\": 9, \"layout\": \"rows\", \"format\": \"q8_0\"}\n ]}\n";

static void manifest_is_read(void **state)
{
    (void)state;
    size_t n;
    SnlrtManifestWeight last;
    assert_int_equal(count_weights(good_manifest, &n, &last), SNLRT_OK);
    assert_int_equal(n, 2);
    assert_string_equal(last.name, "n");
    assert_string_equal(last.format, "q8_0");
    assert_string_equal(last.layout, "rows");
    assert_true(last.rows == 0 && last.cols == 9);
    assert_int_equal(last.offset, 64);
    assert_int_equal(last.nbytes, 7);
    assert_true(last.hash == 0xfedcba9876543210u);
    assert_int_equal(count_weights("{\"weights\":[]}", &n, &last), SNLRT_OK);
    assert_int_equal(n, 0);
}

static void every_cut_of_a_manifest_is_refused(void **state)
{
    (void)state;
    size_t n, end = (size_t)(strrchr(good_manifest, ']') - good_manifest);
    SnlrtManifestWeight last;
    char text[sizeof good_manifest];
    for (size_t cut = 0; cut <= end; cut++) {
        memcpy(text, good_manifest, cut);
        text[cut] = 0;
        assert_int_equal(count_weights(text, &n, &last), SNLRT_INPUT);
    }
}

static void broken_manifests_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "[]",
        "{}",
        "{\"weights\": {}}",
        "{\"weights\": [{}]}",
        "{\"weights\": [1]}",
        "{\"weights\": [{\"offset\": 1, \"bytes\": 1}]}",
        "{\"weights\": [{\"offset\": -1, \"bytes\": 1, \"xxh3\": \"0000000000000000\"}]}",
        ("{\"weights\": [{\"offset\": 99999999999999999999, \"bytes\": 1, \"xxh3\": "
         "\"0000000000000000\"}]}"),
        "{\"weights\": [{\"offset\": 1, \"bytes\": 1, \"xxh3\": \"000000000000000g\"}]}",
        "{\"weights\": [{\"offset\": 1, \"bytes\": 1, \"xxh3\": \"00\"}]}",
        "{\"a\": [[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]], \"weights\": []}",
        "{\"a\" 1, \"weights\": []}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n;
        SnlrtManifestWeight last;
        if (count_weights(cases[i], &n, &last) != SNLRT_INPUT) fail_msg("accepted: %s", cases[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_payload_is_mapped),
        cmocka_unit_test(copied_payload_is_the_same),
        cmocka_unit_test(tables_are_read_here_and_there),
        cmocka_unit_test(no_room_for_a_copy_leaves_the_payload),
        cmocka_unit_test(no_tokenizer_is_null),
        cmocka_unit_test(broken_footers_are_refused),
        cmocka_unit_test(tables_beyond_the_weights_are_refused),
        cmocka_unit_test(short_files_say_what_is_missing),
        cmocka_unit_test(missing_file_is_the_machines_fault),
        cmocka_unit_test(own_file_without_payload_is_refused),
        cmocka_unit_test(manifest_is_read),
        cmocka_unit_test(every_cut_of_a_manifest_is_refused),
        cmocka_unit_test(broken_manifests_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
