/* The linker as a process: its complaints become one located error, nothing broken stays behind;
 * the trailer is what runtime/abi.h says. */
#include "tests/support/support.h"

#include "codegen/gen.h"
#include "codegen/link.h"
#include "codegen/spawn.h"
#include "ir/base/file.h"
#include "runtime/abi.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

/* What is handed to the system at once, and where in the file; the system may take less of it. */
static struct {
    off_t at;
    size_t nbytes;
} writes[64];
static size_t n_writes, most_taken = SIZE_MAX;

ssize_t write(int fd, const void *bytes, size_t nbytes)
{
    if (n_writes < sizeof writes / sizeof *writes) {
        writes[n_writes].at = lseek(fd, 0, SEEK_CUR);
        writes[n_writes++].nbytes = nbytes;
    }
    return syscall(SYS_write, fd, bytes, nbytes < most_taken ? nbytes : most_taken);
}

/* ---- processes ------------------------------------------------------------------------------- */

static void spawn_reports_a_missing_tool(void **state)
{
    Support *s = *state;
    const char *argv[] = {support_path(s, "no-such-tool"), NULL};
    assert_int_equal(snl_spawn(argv, "tool-19", NULL, s->diag), SNL_MACHINE);
    assert_diag(s->diag, "no-such-tool: error[E0601]: cannot start");
    assert_diag(s->diag, "(Debian package tool-19)");
}

static void spawn_repeats_what_the_tool_says(void **state)
{
    Support *s = *state;
    const char *good[] = {"/bin/sh", "-c", "echo fine >&2; exit 0", NULL};
    assert_int_equal(snl_spawn(good, "dash", NULL, s->diag), SNL_OK);
    assert_int_equal(snl_diag_errors(s->diag), 0);
    const char *bad[] = {"/bin/sh", "-c", "echo 'undefined symbol: snlrt_model' >&2; exit 7", NULL};
    assert_int_equal(snl_spawn(bad, "dash", NULL, s->diag), SNL_MACHINE);
    assert_diag(s->diag, "failed with exit status 7: undefined symbol: snlrt_model");
    const char *killed[] = {"/bin/sh", "-c", "kill -9 $$", NULL};
    assert_int_equal(snl_spawn(killed, "dash", NULL, s->diag), SNL_MACHINE);
    assert_diag(s->diag, "ended by signal 9");
}

static void spawn_survives_a_talkative_tool(void **state)
{
    Support *s = *state;
    const char *argv[] = {
        "/bin/sh", "-c",
        "i=0; while [ $i -lt 3000 ]; do echo 'a line of complaint number' $i >&2; "
        "i=$((i+1)); done; exit 1",
        NULL};
    assert_int_equal(snl_spawn(argv, "dash", NULL, s->diag), SNL_MACHINE);
    assert_diag(s->diag, "number 0|a line");
}

/* A disk that is full, and a limit, are told as what they are, with the file; anything else is not
 * taken for them. */
static void no_room_is_told_with_the_file(void **state)
{
    Support *s = *state;
    const char *full[] = {"/bin/sh", "-c", "kill -BUS $$", NULL};
    assert_int_equal(snl_spawn(full, "dash", "out/program", s->diag), SNL_MACHINE);
    assert_diag(s->diag, "out/program: error[E0601]: cannot write: No space left on device; make");
    const char *says[] = {"/bin/sh", "-c", "echo 'x: No space left on device' >&2; exit 1", NULL};
    assert_int_equal(snl_spawn(says, "dash", "second", s->diag), SNL_MACHINE);
    assert_diag(s->diag, "second: error[E0601]: cannot write: No space");
    const char *dump[] = {"/bin/sh", "-c", "echo 'Stack dump:' >&2; exit 1", NULL};
    assert_int_equal(snl_spawn(dump, "dash", "third", s->diag), SNL_MACHINE);
    assert_diag(s->diag, "/bin/sh: error[E0601]: failed with exit status 1: Stack dump:");
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){1 << 20, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(snl_spawn(dump, "dash", "fourth", s->diag), SNL_MACHINE);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_diag(s->diag, "fourth: error[E0601]: cannot write: files may have 1048576 bytes here");
}

/* ---- linking --------------------------------------------------------------------------------- */

static void broken_objects_leave_nothing_behind(void **state)
{
    Support *s = *state;
    char *object = support_write(s, "bad.o", "this is no object", 17);
    char *out = support_path(s, "program");
    assert_int_equal(snl_link_program(object, SNL_SANITIZE_NONE, out, s->diag), SNL_MACHINE);
    assert_diag(s->diag, "failed with exit status");
    assert_diag(s->diag, "bad.o");
    assert_false(snl_path_exists(out));
    assert_int_equal(snl_link_shared(object, out, s->diag), SNL_MACHINE);
    assert_false(snl_path_exists(out));
}

/* Code that calls the runtime finds it in the process, or not at all: this one exports none. */
static void shared_objects_bring_no_runtime(void **state)
{
    Support *s = *state;
    SnlGen g;
    SnlTargetOptions target = {.pic = true, .verify = true};
    char *object = support_path(s, "call.o"), *path = support_path(s, "call.so");
    assert_int_equal(snl_gen_create(&g, s->arena, "call", &target, s->diag), SNL_OK);
    LLVMTypeRef type = LLVMFunctionType(g.void_, NULL, 0, 0);
    g.func = LLVMAddFunction(g.module, "caller", type);
    LLVMPositionBuilderAtEnd(g.b, LLVMAppendBasicBlockInContext(g.ctx, g.func, "entry"));
    snl_call(&g, LLVMAddFunction(g.module, "snlrt_barrier", type), NULL, 0);
    LLVMBuildRetVoid(g.b);
    assert_int_equal(snl_gen_write(&g, &target, SNL_EMIT_OBJ, object), SNL_OK);
    snl_gen_destroy(&g);
    assert_int_equal(snl_link_shared(object, path, s->diag), SNL_OK);
    assert_null(dlopen(path, RTLD_NOW | RTLD_LOCAL));
    assert_non_null(strstr(dlerror(), "undefined symbol: snlrt_barrier"));
}

static void code_for_another_machine_is_refused(void **state)
{
    Support *s = *state;
    uint8_t elf[64] = {0x7f, 'E', 'L', 'F', 2, 1, 1};
    elf[16] = 1;
    elf[18] = 0xf3; /* RISC-V */
    char *object = support_write(s, "riscv.o", elf, sizeof elf);
    char *out = support_path(s, "program");
    assert_int_equal(snl_link_program(object, SNL_SANITIZE_NONE, out, s->diag), SNL_BAD_INPUT);
    assert_diag(s->diag, "--target: error[E0301]: the code is for another kind of machine (ELF "
                         "machine 243)");
    assert_false(snl_path_exists(out));
}

static void a_missing_linker_is_named(void **state)
{
    Support *s = *state;
    setenv("SNLPC_LLD", support_path(s, "none/ld.lld"), 1);
    SnlStatus status = snl_link_program("a.o", SNL_SANITIZE_NONE, support_path(s, "p"), s->diag);
    unsetenv("SNLPC_LLD");
    assert_int_equal(status, SNL_MACHINE);
    assert_diag(s->diag, "none/ld.lld: error[E0601]: cannot start");
    assert_diag(s->diag, "lld-19");
}

/* ---- trailer --------------------------------------------------------------------------------- */

static const char text[] = "module @m\n"
                           "weight @e : f32[20, 6] = source \"m\" \"e\"\n"
                           "weight @g : f32[6] = source \"m\" \"g\"\n"
                           "func @f(%ids: i32[T]) -> f32[T, 6] {\n"
                           "  %x = embed %ids, @e : f32[T, 6]\n"
                           "  %y = rms_norm %x, @g {eps = 1e-05} : f32[T, 6]\n"
                           "  return %y\n}\n";

typedef struct Model {
    SnlSource text;
    SnlModule *module;
    SnlPayload payload;
    SnlWeightSource *source;
} Model;

static void open_model(Support *s, Model *m, const char *ir)
{
    m->text = (SnlSource){"t.snl", ir, strlen(ir)};
    assert_int_equal(snl_parse(s->arena, &m->text, s->diag, &m->module), SNL_OK);
    SnlFunc *func = snl_module_find_func(m->module, "f");
    assert_int_equal(snl_payload_plan(s->arena, m->module, &func, 1, s->diag, &m->payload), SNL_OK);
    m->source = snl_random_source_create(s->arena, 1);
}

static SnlFile write_program(Support *s, const Model *m, const char *name, const char *tokenizer)
{
    char *path = support_write(s, name, "ELF...", 6);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    size_t n = strlen(tokenizer);
    SnlTrailer trailer = {.payload = &m->payload,
                          .source = m->source,
                          .tokenizer = n ? tokenizer : NULL,
                          .tokenizer_nbytes = n,
                          .payload_id = snl_trailer_id(&m->payload, tokenizer, n)};
    assert_int_equal(snl_trailer_append(file, &trailer, s->diag, NULL, NULL), SNL_OK);
    assert_int_equal(fclose(file), 0);
    SnlFile mapped;
    assert_int_equal(snl_file_map(s->arena, path, s->diag, &mapped), SNL_OK);
    return mapped;
}

static SnlrtFooter footer_of(const SnlFile *file)
{
    SnlrtFooter footer;
    memcpy(&footer, file->bytes + file->size - sizeof footer, sizeof footer);
    return footer;
}

static void trailer_is_found_from_the_end(void **state)
{
    Support *s = *state;
    Model m;
    open_model(s, &m, text);
    SnlFile file = write_program(s, &m, "program", "TOKENS");
    SnlrtFooter footer = footer_of(&file);
    assert_true(footer.magic == SNLRT_FOOTER_MAGIC);
    assert_int_equal(footer.payload_offset, SNLRT_PAYLOAD_ALIGN);
    assert_int_equal(footer.weights_bytes, (uint64_t)m.payload.nbytes);
    const uint8_t *payload = file.bytes + footer.payload_offset;
    assert_int_equal(footer.tokenizer_bytes, 6);
    assert_memory_equal(payload + footer.tokenizer_offset, "TOKENS", 6);
    assert_int_equal(footer.payload_offset + footer.manifest_offset + footer.manifest_bytes +
                         sizeof footer,
                     file.size);
    float row[6];
    assert_int_equal(snl_weight_read(m.payload.at[0].weight, m.source, 0, 1, s->diag, row), SNL_OK);
    assert_memory_equal(payload + m.payload.at[0].offset, row, sizeof row);
    snl_file_unmap(&file);
}

static void manifest_carries_the_hashes(void **state)
{
    Support *s = *state;
    Model m;
    open_model(s, &m, text);
    SnlFile file = write_program(s, &m, "program", "");
    SnlrtFooter footer = footer_of(&file);
    assert_int_equal(footer.tokenizer_bytes, 0);
    const uint8_t *payload = file.bytes + footer.payload_offset;
    char *manifest = snl_arena_strndup(s->arena, (const char *)payload + footer.manifest_offset,
                                       footer.manifest_bytes);
    for (size_t i = 0; i < m.payload.n; i++) {
        const SnlPackedWeight *w = &m.payload.at[i];
        uint64_t hash = XXH3_64bits(payload + w->offset, (size_t)w->nbytes);
        assert_non_null(
            strstr(manifest, snl_arena_printf(s->arena, "\"name\": \"%s\"", w->weight->name)));
        assert_non_null(strstr(manifest, snl_arena_printf(s->arena, "\"xxh3\": \"%016llx\"",
                                                          (unsigned long long)hash)));
    }
    snl_file_unmap(&file);
}

static void identity_depends_on_places_and_tokenizer(void **state)
{
    Support *s = *state;
    Model a, b;
    open_model(s, &a, text);
    open_model(s, &b,
               "module @m\n"
               "weight @e : f32[20, 7] = source \"m\" \"e\"\n"
               "weight @g : f32[7] = source \"m\" \"g\"\n"
               "func @f(%ids: i32[T]) -> f32[T, 7] {\n"
               "  %x = embed %ids, @e : f32[T, 7]\n"
               "  %y = rms_norm %x, @g {eps = 1e-05} : f32[T, 7]\n"
               "  return %y\n}\n");
    uint64_t id = snl_trailer_id(&a.payload, "T", 1);
    assert_true(id == snl_trailer_id(&a.payload, "T", 1));
    assert_true(id != snl_trailer_id(&a.payload, "U", 1));
    assert_true(id != snl_trailer_id(&a.payload, NULL, 0));
    assert_true(id != snl_trailer_id(&b.payload, "T", 1));
}

static void two_writings_are_equal(void **state)
{
    Support *s = *state;
    Model m;
    open_model(s, &m, text);
    SnlFile a = write_program(s, &m, "a", "T"), b = write_program(s, &m, "b", "T");
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.bytes, b.bytes, a.size);
    snl_file_unmap(&a);
    snl_file_unmap(&b);
}

/* A kernel that keeps files in pages of the sizes they were written in has huge ones of it. */
static void weights_are_written_in_huge_pages(void **state)
{
    Support *s = *state;
    Model m;
    open_model(s, &m,
               "module @m\n"
               "weight @e : f32[10000, 131] = random {seed = 1}\n"
               "func @f(%ids: i32[T]) -> f32[T, 131] {\n"
               "  %x = embed %ids, @e : f32[T, 131]\n"
               "  return %x\n}\n");
    n_writes = 0;
    SnlFile whole = write_program(s, &m, "whole", "TOKENS");
    assert_in_range(n_writes, 4, 8); /* padding, and the blocks of 5 MiB */
    size_t n_blocks = 0;
    for (size_t i = 0; i < n_writes; i++) {
        if (writes[i].at < SNLRT_HUGE_ALIGN) continue;
        n_blocks++;
        assert_int_equal(writes[i].at % SNLRT_HUGE_ALIGN, 0);
        if (i + 1 < n_writes) assert_int_equal(writes[i].nbytes, SNLRT_HUGE_ALIGN);
    }
    assert_int_equal(n_blocks, 3);
    most_taken = 100000;
    SnlFile bit_by_bit = write_program(s, &m, "bit", "TOKENS");
    most_taken = SIZE_MAX;
    assert_int_equal(bit_by_bit.size, whole.size);
    assert_memory_equal(bit_by_bit.bytes, whole.bytes, whole.size);
    snl_file_unmap(&whole);
    snl_file_unmap(&bit_by_bit);
}

static void a_full_disk_is_reported(void **state)
{
    Support *s = *state;
    FILE *full = fopen("/dev/full", "wb");
    if (!full) skip();
    Model m;
    open_model(s, &m, text);
    SnlTrailer trailer = {.payload = &m.payload, .source = m.source, .payload_id = 1};
    assert_int_equal(snl_trailer_append(full, &trailer, s->diag, NULL, NULL), SNL_MACHINE);
    assert_int_equal(snl_diag_errors(s->diag), 1);
    fclose(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(spawn_reports_a_missing_tool),
        support_test(spawn_repeats_what_the_tool_says),
        support_test(spawn_survives_a_talkative_tool),
        support_test(no_room_is_told_with_the_file),
        support_test(broken_objects_leave_nothing_behind),
        support_test(shared_objects_bring_no_runtime),
        support_test(code_for_another_machine_is_refused),
        support_test(a_missing_linker_is_named),
        support_test(trailer_is_found_from_the_end),
        support_test(manifest_carries_the_hashes),
        support_test(identity_depends_on_places_and_tokenizer),
        support_test(two_writings_are_equal),
        support_test(weights_are_written_in_huge_pages),
        support_test(a_full_disk_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
