/* compiler/driver/build.c -- model -> IR -> passes -> code -> program, with the payload behind it.
 *
 * The output is opened first: a place that cannot be written is found out before any work, and what is
 * written takes its name only when all of it is there. */
#include "compiler/driver/build.h"

#include "codegen/link.h"
#include "compiler/driver/emergency.h"
#include "compiler/driver/progress.h"
#include "compiler/driver/reproducer.h"
#include "compiler/driver/states.h"
#include "compiler/driver/summary.h"
#include "compiler/frontend/tokenizer.h"
#include "ir/base/file.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct Build {
    const SnlBuildOptions *options;
    SnlArena *arena;
    SnlDiag *diag;
    SnlModel model;
    SnlOutputSpec *outputs; /* --keep-states */
    size_t n_outputs;
    SnlPayload payload;
    void *tokenizer;
    size_t tokenizer_nbytes;
    SnlGraphSpec graph;
    SnlProgramSpec spec;
    FILE *stream; /* where the result goes */
    int64_t program_bytes;
    double start;
} Build;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- IR ----------------------------------------------------------------------------------------- */

static SnlStatus open_model(Build *b)
{
    const SnlBuildOptions *o = b->options;
    SnlModelOptions options = {o->context, o->random_weights, o->seed};
    SNL_TRY(snl_model_open(b->arena, o->model, &options, b->diag, &b->model));
    if (!o->keep_states) return SNL_OK;
    SnlFunc *forward = snl_module_find_func(b->model.module, "forward");
    if (!forward)
        return snl_error_at(b->diag, SNL_E_STRUCTURE, o->model, "no function '@forward'");
    return snl_keep_states(forward, b->diag, &b->outputs, &b->n_outputs);
}

static SnlStatus run_passes(Build *b)
{
    const SnlBuildOptions *o = b->options;
    SnlPipelineSpec spec = {.weights = o->weights, .tail = true,
                            .redzone = o->target.sanitize == SNL_SANITIZE_ADDRESS ? 64 : 0};
    const char *text = o->pipeline.text ? o->pipeline.text : snl_pipeline_default(b->arena, &spec);
    snl_emergency_set_reproducer(snl_reproducer_text(b->arena, b->model.module, o->argv, text));
    SnlPipelineOptions options = o->pipeline.options;
    options.source = b->model.source;
    return snl_pipeline_run(b->model.module, text, &options, b->diag);
}

/* ---- code --------------------------------------------------------------------------------------- */

static SnlStatus find_scheduled(Build *b, const char *name, SnlFunc **out)
{
    *out = snl_module_find_func(b->model.module, name);
    if (*out) return SNL_OK;
    return snl_error_at(b->diag, SNL_E_PIPELINE, "--pipeline",
                        "no function '@%s' after the passes: a program needs `schedule` and "
                        "`plan-memory` at the end of the pipeline",
                        name);
}

static SnlStatus describe_program(Build *b)
{
    const SnlModel *model = &b->model;
    SnlFunc *funcs[2];
    SNL_TRY(find_scheduled(b, "forward.decode", &funcs[0]));
    SNL_TRY(find_scheduled(b, "forward.prefill", &funcs[1]));
    SNL_TRY(snl_payload_plan(b->arena, model->module, funcs, 2, b->diag, &b->payload));
    SNL_TRY(snl_tokenizer_build(b->arena, model->tokenizer, model->tokenizer_path, model->vocab,
                                b->diag, &b->tokenizer, &b->tokenizer_nbytes));
    b->graph = (SnlGraphSpec){.name = "seq", .plan = "seq",
                              .exactness = snl_exactness_text(b->arena, model->module),
                              .decode = funcs[0], .prefill = funcs[1]};
    b->spec = (SnlProgramSpec){.name = model->name, .family = model->family,
                               .weight_format = snl_payload_format(&b->payload),
                               .vocab = model->vocab, .context = model->context,
                               .trained_context = model->trained_context,
                               .n_params = model->n_params, .eos = model->eos,
                               .n_eos = model->n_eos, .graphs = &b->graph, .n_graphs = 1,
                               .outputs = b->outputs, .n_outputs = b->n_outputs};
    b->spec.payload_id = snl_trailer_id(&b->payload, b->tokenizer, b->tokenizer_nbytes);
    return SNL_OK;
}

static SnlEmitKind emit_kind(SnlBuildKind kind)
{
    return kind == SNL_BUILD_LLVM ? SNL_EMIT_LLVM
           : kind == SNL_BUILD_ASM ? SNL_EMIT_ASM
                                   : SNL_EMIT_OBJ;
}

static SnlStatus write_error(Build *b)
{
    const char *path = b->options->out_path;
    return snl_error_at(b->diag, SNL_E_MACHINE, path ? path : "stdout", "cannot write: %s",
                        strerror(errno));
}

static SnlStatus copy_file(Build *b, const char *from)
{
    SnlFile file;
    SNL_TRY(snl_file_map(b->arena, from, b->diag, &file));
    bool good = fwrite(file.bytes, 1, file.size, b->stream) == file.size;
    b->program_bytes = (int64_t)file.size;
    SnlStatus status = good ? SNL_OK : write_error(b);
    snl_file_unmap(&file);
    return status;
}

static SnlStatus append_payload(Build *b)
{
    SnlTrailer trailer = {&b->payload, b->model.source, b->tokenizer, b->tokenizer_nbytes,
                          b->spec.payload_id};
    SnlProgressBar bar = snl_progress_bar("weights");
    SnlStatus status = snl_trailer_append(b->stream, &trailer, b->diag, snl_progress_draw, &bar);
    snl_progress_end(&bar);
    return status;
}

/* Emits into temporary files and copies what was asked for into the output. */
static SnlStatus emit(Build *b)
{
    const SnlBuildOptions *o = b->options;
    if (!snl_emergency_folder(b->arena))
        return snl_error_at(b->diag, SNL_E_MACHINE, "$TMPDIR",
                            "cannot make a folder for temporary files: %s", strerror(errno));
    const char *code = snl_emergency_path(b->arena, "code");
    SNL_TRY(snl_emit_program(b->model.module, &b->payload, &b->spec, &o->target,
                             emit_kind(o->kind), code, b->diag));
    if (o->kind != SNL_BUILD_EXE) return copy_file(b, code);
    const char *program = snl_emergency_path(b->arena, "program");
    SNL_TRY(snl_link_program(code, o->target.sanitize, program, b->diag));
    SNL_TRY(copy_file(b, program));
    return append_payload(b);
}

static SnlStatus produce(Build *b)
{
    SNL_TRY(open_model(b));
    SNL_TRY(run_passes(b));
    if (b->options->kind == SNL_BUILD_IR) {
        snl_print(b->model.module, b->stream);
        return fflush(b->stream) == 0 ? SNL_OK : write_error(b);
    }
    SNL_TRY(describe_program(b));
    SnlStatus status = emit(b);
    snl_emergency_remove_folder();
    return status;
}

static void print_summary(const Build *b)
{
    SnlSummary summary = {b->options->out_path, b->program_bytes, (int64_t)b->tokenizer_nbytes,
                          &b->spec, &b->payload, b->model.n_layers, now() - b->start};
    snl_summary_print(stderr, &summary);
}

/* ---- output ------------------------------------------------------------------------------------- */

static SnlStatus to_stdout(Build *b)
{
    b->stream = stdout;
    SNL_TRY(produce(b));
    return fflush(stdout) == 0 ? SNL_OK : write_error(b);
}

static SnlStatus to_file(Build *b)
{
    const SnlBuildOptions *o = b->options;
    SnlOutput out;
    SNL_TRY(snl_output_open(o->out_path, b->diag, &out));
    snl_emergency_set_output(out.temp_path);
    b->stream = out.stream;
    SnlStatus status = produce(b);
    if (status == SNL_OK)
        status = snl_output_commit(&out, o->kind == SNL_BUILD_EXE, b->diag);
    else
        snl_output_abort(&out);
    snl_emergency_set_output(NULL);
    if (status == SNL_OK && o->kind == SNL_BUILD_EXE && !o->quiet) print_summary(b);
    return status;
}

SnlStatus snl_build(const SnlBuildOptions *options, SnlDiag *diag)
{
    Build b = {.options = options, .arena = snl_arena_create(), .diag = diag, .start = now()};
    SnlStatus status = options->out_path ? to_file(&b) : to_stdout(&b);
    if (status == SNL_INTERNAL) snl_emergency_write_reproducer();
    snl_emergency_set_reproducer(NULL);
    if (b.model.module) snl_model_close(&b.model);
    snl_arena_destroy(b.arena);
    return status;
}
