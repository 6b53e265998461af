/* compiler/driver/build.c -- model -> IR -> passes -> code -> program, with the payload behind it.
 *
 * The output is opened first: a place that cannot be written is found out before any work, and what
 * is written takes its name only when all of it is there. */
#include "compiler/driver/build.h"

#include "codegen/link.h"
#include "compiler/driver/emergency.h"
#include "compiler/driver/progress.h"
#include "compiler/driver/summary.h"
#include "ir/base/clock.h"
#include "ir/base/file.h"
#include "runtime/output.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

typedef struct Build {
    const SnlBuildOptions *options;
    SnlCompilation c;
    FILE *stream; /* where the result goes */
    int64_t program_bytes;
    SnlWritten *written;
    double start;
} Build;

/* ---- code ------------------------------------------------------------------------------------ */

static SnlEmitKind emit_kind(SnlBuildKind kind)
{
    return kind == SNL_BUILD_LLVM  ? SNL_EMIT_LLVM
           : kind == SNL_BUILD_ASM ? SNL_EMIT_ASM
                                   : SNL_EMIT_OBJ;
}

static SnlStatus write_error(Build *b)
{
    const char *path = b->options->out_path;
    return snl_error_at(b->c.diag, SNL_E_MACHINE, path ? path : "stdout", "cannot write: %s",
                        snlrt_write_error());
}

static SnlStatus copy_file(Build *b, const char *from)
{
    SnlFile file;
    SNL_TRY(snl_file_map(b->c.arena, from, b->c.diag, &file));
    bool good = fwrite(file.bytes, 1, file.size, b->stream) == file.size;
    b->program_bytes = (int64_t)file.size;
    SnlStatus status = good ? SNL_OK : write_error(b);
    snl_file_unmap(&file);
    return status;
}

static SnlStatus append_payload(Build *b)
{
    b->written = SNL_NEW_ARRAY(b->c.arena, SnlWritten, b->c.payload.n);
    SnlTrailer trailer = {.payload = &b->c.payload,
                          .source = b->c.model.source,
                          .tokenizer = b->c.tokenizer,
                          .tokenizer_nbytes = b->c.tokenizer_nbytes,
                          .payload_id = b->c.spec.payload_id,
                          .path = b->options->out_path,
                          .written = b->written};
    SnlProgressBar bar = snl_progress_bar("weights");
    SnlStatus status = snl_trailer_append(b->stream, &trailer, b->c.diag, snl_progress_draw, &bar);
    snl_progress_end(&bar);
    return status;
}

/* Emits into temporary files and copies what was asked for into the output. */
static SnlStatus emit(Build *b)
{
    const SnlBuildOptions *o = b->options;
    SnlCompilation *c = &b->c;
    SNL_TRY(snl_emergency_make_folder(c->arena, c->diag));
    const char *code = snl_emergency_path(c->arena, "code");
    SNL_TRY(snl_compilation_emit(c, &o->compile.target, emit_kind(o->kind), code));
    if (o->kind != SNL_BUILD_EXE) return copy_file(b, code);
    const char *program = snl_emergency_path(c->arena, "program");
    SNL_TRY(snl_link_program(code, o->compile.target.sanitize, program, c->diag));
    SNL_TRY(copy_file(b, program));
    return append_payload(b);
}

static SnlStatus produce(Build *b)
{
    SNL_TRY(snl_compilation_rewrite(&b->c));
    if (b->options->kind == SNL_BUILD_IR) {
        snl_print(b->c.model.module, b->stream);
        return fflush(b->stream) == 0 ? SNL_OK : write_error(b);
    }
    SNL_TRY(snl_compilation_describe(&b->c));
    SnlStatus status = emit(b);
    snl_emergency_remove_folder();
    return status;
}

/* ---- summary --------------------------------------------------------------------------------- */

static bool wants_sequential(const SnlCompilation *c)
{
    bool windows = false;
    for (size_t i = 0; i < c->modes.list.n; i++) {
        if (c->modes.list.at[i].plan.windows.n == 0) return false;
        windows = true;
    }
    return windows;
}

static void print_summary(const Build *b)
{
    SnlSummary summary = {.compilation = &b->c,
                          .path = b->options->out_path,
                          .program_bytes = b->program_bytes,
                          .written = b->written,
                          .each_tensor = b->options->each_tensor,
                          .seconds = snl_seconds() - b->start};
    SnlStepCost sequential;
    if (wants_sequential(&b->c) && snl_sequential_cost(&b->options->compile, &sequential))
        summary.sequential = &sequential;
    snl_summary_print(stderr, &summary);
}

/* ---- output ---------------------------------------------------------------------------------- */

static SnlStatus to_stdout(Build *b)
{
    b->stream = stdout;
    SNL_TRY(produce(b));
    return fflush(stdout) == 0 ? SNL_OK : write_error(b);
}

static bool is_model_file(const char *name)
{
    static const char *const endings[] = {".json", ".safetensors", ".npy"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t m = strlen(endings[i]);
        if (n > m && strcmp(name + n - m, endings[i]) == 0) return true;
    }
    return false;
}

/* What the model is read from must not be written over: the file that was given, and files of
 * models in its folder. */
static SnlStatus check_output(const Build *b)
{
    const SnlBuildOptions *o = b->options;
    const char *model = o->compile.model, *path = o->out_path;
    const char *folder = snl_path_is_dir(model) ? model : snl_path_dir(b->c.arena, model);
    bool input = snl_path_same_file(path, model);
    DIR *listing = opendir(folder);
    for (const struct dirent *e; listing && !input && (e = readdir(listing));)
        input = is_model_file(e->d_name) &&
                snl_path_same_file(path, snl_path_join(b->c.arena, folder, e->d_name));
    if (listing) closedir(listing);
    if (!input) return SNL_OK;
    return snl_error_at(b->c.diag, SNL_E_USAGE, path,
                        "found a file of the model, wanted another one to write");
}

static SnlStatus to_file(Build *b)
{
    const SnlBuildOptions *o = b->options;
    SNL_TRY(check_output(b));
    SnlOutput out;
    SNL_TRY(snl_output_open(o->out_path, b->c.diag, &out));
    snl_emergency_set_output(out.temp_path);
    b->stream = out.stream;
    SnlStatus status = produce(b);
    if (status == SNL_OK)
        status = snl_output_commit(&out, o->kind == SNL_BUILD_EXE, b->c.diag);
    else
        snl_output_abort(&out);
    snl_emergency_set_output(NULL);
    if (status == SNL_OK && o->kind == SNL_BUILD_EXE && !o->quiet) print_summary(b);
    return status;
}

SnlStatus snl_build(const SnlBuildOptions *options, SnlDiag *diag)
{
    Build b = {.options = options, .start = snl_seconds()};
    b.c = (SnlCompilation){.options = &options->compile,
                           .arena = snl_arena_create(),
                           .diag = diag,
                           .shows_progress = true};
    SnlStatus status = options->out_path ? to_file(&b) : to_stdout(&b);
    if (status == SNL_INTERNAL) snl_emergency_write_reproducer();
    snl_emergency_set_reproducer(NULL);
    snl_compilation_close(&b.c);
    snl_arena_destroy(b.c.arena);
    return status;
}
