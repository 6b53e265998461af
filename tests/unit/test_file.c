/* Files: mappings, bounded reads, outputs that appear whole or not at all, paths. */
#include "tests/support/support.h"

#include "ir/base/file.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void maps_a_file(void **state)
{
    Support *s = *state;
    char *path = support_write(s, "a.bin", "hello", 5);
    SnlFile file;
    assert_int_equal(snl_file_map(s->arena, path, s->diag, &file), SNL_OK);
    assert_int_equal(file.size, 5);
    assert_memory_equal(file.bytes, "hello", 5);
    assert_string_equal(file.path, path);
    snl_file_unmap(&file);
    assert_int_equal(file.size, 0);
    snl_file_unmap(&file);
}

static void maps_an_empty_file(void **state)
{
    Support *s = *state;
    char *path = support_write(s, "empty", NULL, 0);
    SnlFile file;
    assert_int_equal(snl_file_map(s->arena, path, s->diag, &file), SNL_OK);
    assert_int_equal(file.size, 0);
    assert_non_null(file.bytes);
    snl_file_release(&file, 0, 10);
    snl_file_unmap(&file);
}

static void released_pages_can_be_read_again(void **state)
{
    Support *s = *state;
    enum { SIZE = 100000 };
    static uint8_t bytes[SIZE];
    for (size_t i = 0; i < SIZE; i++) bytes[i] = (uint8_t)(i * 7);
    char *path = support_write(s, "big", bytes, SIZE);
    SnlFile file;
    assert_int_equal(snl_file_map(s->arena, path, s->diag, &file), SNL_OK);
    assert_memory_equal(file.bytes, bytes, SIZE);
    snl_file_release(&file, 0, SIZE);
    snl_file_release(&file, 5000, 20000);
    snl_file_release(&file, SIZE - 1, SIZE_MAX);
    snl_file_release(&file, SIZE_MAX, SIZE_MAX);
    assert_memory_equal(file.bytes, bytes, SIZE);
    snl_file_unmap(&file);
}

static void refuses_what_cannot_be_mapped(void **state)
{
    Support *s = *state;
    SnlFile file;
    char *missing = support_path(s, "missing");
    assert_int_equal(snl_file_map(s->arena, missing, s->diag, &file), SNL_MACHINE);
    assert_diag(s->diag, "missing: error[E0601]: cannot open: No such file or directory\n");
    assert_int_equal(snl_file_map(s->arena, s->dir, s->diag, &file), SNL_MACHINE);
    assert_diag(s->diag, "found a directory, wanted a file");
    assert_int_equal(snl_file_map(s->arena, "/dev/null", s->diag, &file), SNL_MACHINE);
    assert_diag(s->diag, "/dev/null: error[E0601]: found a pipe or device");
}

static void reads_a_text(void **state)
{
    Support *s = *state;
    char *path = support_write(s, "a.txt", "a\0b", 3);
    SnlSource source;
    assert_int_equal(snl_file_read(s->arena, path, 3, s->diag, &source), SNL_OK);
    assert_int_equal(source.len, 3);
    assert_memory_equal(source.text, "a\0b", 4);
    assert_string_equal(source.name, path);
    assert_int_equal(snl_file_read(s->arena, "/dev/null", 3, s->diag, &source), SNL_OK);
    assert_int_equal(source.len, 0);
}

static void refuses_a_text_that_is_too_large(void **state)
{
    Support *s = *state;
    char *path = support_write(s, "a.txt", "abcd", 4);
    SnlSource source;
    assert_int_equal(snl_file_read(s->arena, path, 3, s->diag, &source), SNL_BAD_INPUT);
    assert_diag(s->diag, "found more than 3 bytes");
    assert_int_equal(snl_file_read(s->arena, "/dev/zero", 1 << 20, s->diag, &source),
                     SNL_BAD_INPUT);
    assert_int_equal(snl_file_read(s->arena, s->dir, 3, s->diag, &source), SNL_MACHINE);
}

static void output_appears_on_commit(void **state)
{
    Support *s = *state;
    char *path = support_write(s, "out", "old", 3);
    SnlOutput out;
    assert_int_equal(snl_output_open(path, s->diag, &out), SNL_OK);
    char *temp = snl_arena_strdup(s->arena, out.temp_path);
    fputs("new text", out.stream);
    SnlSource source;
    assert_int_equal(snl_file_read(s->arena, path, 100, s->diag, &source), SNL_OK);
    assert_string_equal(source.text, "old");
    assert_int_equal(snl_output_commit(&out, true, s->diag), SNL_OK);
    assert_int_equal(snl_file_read(s->arena, path, 100, s->diag, &source), SNL_OK);
    assert_string_equal(source.text, "new text");
    assert_false(snl_path_exists(temp));
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_true(info.st_mode & S_IXUSR);
}

static void output_vanishes_on_abort(void **state)
{
    Support *s = *state;
    char *path = support_path(s, "out");
    SnlOutput out;
    assert_int_equal(snl_output_open(path, s->diag, &out), SNL_OK);
    char *temp = snl_arena_strdup(s->arena, out.temp_path);
    assert_true(snl_path_exists(temp));
    snl_output_abort(&out);
    assert_false(snl_path_exists(temp));
    assert_false(snl_path_exists(path));
}

static void two_outputs_at_once(void **state)
{
    Support *s = *state;
    char *path = support_path(s, "out");
    SnlOutput a, b;
    assert_int_equal(snl_output_open(path, s->diag, &a), SNL_OK);
    assert_int_equal(snl_output_open(path, s->diag, &b), SNL_OK);
    assert_string_not_equal(a.temp_path, b.temp_path);
    assert_int_equal(snl_output_commit(&a, false, s->diag), SNL_OK);
    assert_int_equal(snl_output_commit(&b, false, s->diag), SNL_OK);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_false(info.st_mode & S_IXUSR);
}

static void refuses_outputs(void **state)
{
    Support *s = *state;
    SnlOutput out;
    char *path = support_path(s, "no/such/folder");
    assert_int_equal(snl_output_open(path, s->diag, &out), SNL_MACHINE);
    assert_diag(s->diag, "cannot create: No such file or directory");
    assert_int_equal(snl_output_open(s->dir, s->diag, &out), SNL_MACHINE);
    assert_diag(s->diag, "found a directory");
}

static void devices_are_written_not_replaced(void **state)
{
    Support *s = *state;
    SnlOutput out;
    assert_int_equal(snl_output_open("/dev/null", s->diag, &out), SNL_OK);
    assert_null(out.temp_path);
    assert_int_equal(snl_output_commit(&out, true, s->diag), SNL_OK);
    assert_int_equal(snl_output_open("/dev/full", s->diag, &out), SNL_OK);
    fputs("text", out.stream);
    assert_int_equal(snl_output_commit(&out, false, s->diag), SNL_MACHINE);
    assert_diag(s->diag, "/dev/full: error[E0601]: cannot write: No space left on device");
}

static void paths(void **state)
{
    Support *s = *state;
    SnlArena *a = s->arena;
    assert_string_equal(snl_path_join(a, "dir", "x"), "dir/x");
    assert_string_equal(snl_path_join(a, "dir/", "x"), "dir/x");
    assert_string_equal(snl_path_join(a, "dir", "/x"), "/x");
    assert_string_equal(snl_path_dir(a, "a/b/c"), "a/b");
    assert_string_equal(snl_path_dir(a, "c"), ".");
    assert_string_equal(snl_path_dir(a, "/c"), "/");
    assert_true(snl_path_is_dir("/"));
    char *path = support_write(s, "f", "", 0);
    assert_false(snl_path_is_dir(path));
    assert_true(snl_path_exists(path));
    assert_false(snl_path_exists(support_path(s, "g")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(maps_a_file),
        support_test(maps_an_empty_file),
        support_test(released_pages_can_be_read_again),
        support_test(refuses_what_cannot_be_mapped),
        support_test(reads_a_text),
        support_test(refuses_a_text_that_is_too_large),
        support_test(output_appears_on_commit),
        support_test(output_vanishes_on_abort),
        support_test(two_outputs_at_once),
        support_test(refuses_outputs),
        support_test(devices_are_written_not_replaced),
        support_test(paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
