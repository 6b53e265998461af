/* compiler/driver/eval_program.c -- code as a shared object, weights behind it in the same file,
 * mapped the way a program maps its own. */
#include "compiler/driver/eval_program.h"

#include "codegen/link.h"
#include "compiler/driver/emergency.h"
#include "compiler/driver/progress.h"
#include "runtime/cpu_check.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

SnlStatus snl_eval_report(SnlrtStatus status, const SnlrtError *err, const char *place,
                          SnlDiag *diag)
{
    SnlDiagKind kind = status == SNLRT_MACHINE    ? SNL_E_MACHINE
                       : status == SNLRT_USAGE    ? SNL_E_USAGE
                       : status == SNLRT_INTERNAL ? SNL_E_INTERNAL
                                                  : SNL_E_FORMAT;
    if (status == SNLRT_OK) return SNL_OK;
    return snl_error_at(diag, kind, place, "%s", err->text);
}

/* ---- compiling ------------------------------------------------------------------------------- */

static SnlStatus append_weights(SnlCompilation *c, const char *library)
{
    SnlTrailer trailer = {.payload = &c->payload,
                          .source = c->model.source,
                          .tokenizer = c->tokenizer,
                          .tokenizer_nbytes = c->tokenizer_nbytes,
                          .payload_id = c->spec.payload_id,
                          .path = library};
    FILE *stream = fopen(library, "ab");
    if (!stream)
        return snl_error_at(c->diag, SNL_E_MACHINE, library, "cannot open: %s", strerror(errno));
    SnlProgressBar bar = snl_progress_bar("weights");
    fseek(stream, 0, SEEK_END);
    SnlStatus status = snl_trailer_append(stream, &trailer, c->diag, snl_progress_draw, &bar);
    snl_progress_end(&bar);
    if (fclose(stream) != 0 && status == SNL_OK)
        status = snl_error_at(c->diag, SNL_E_MACHINE, library, "cannot write: %s", strerror(errno));
    return status;
}

static SnlStatus compile(SnlCompilation *c, const char *library)
{
    SnlTargetOptions target = c->options->target;
    target.pic = true;
    if (!target.cpu) target.cpu = "native"; /* it runs here and nowhere else */
    const char *object = snl_emergency_path(c->arena, "eval.o");
    SNL_TRY(snl_compilation_emit(c, &target, SNL_EMIT_OBJ, object));
    SNL_TRY(snl_link_shared(object, library, c->diag));
    return append_weights(c, library);
}

/* ---- loading --------------------------------------------------------------------------------- */

static SnlStatus load(SnlEvalProgram *p, const char *library)
{
    SnlrtError err = {""};
    SnlDiag *diag = p->c.diag;
    p->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    p->model = p->library ? dlsym(p->library, "snlrt_model") : NULL;
    if (!p->model)
        return snl_error_at(diag, SNL_E_INTERNAL, NULL, "cannot load the compiled program: %s",
                            dlerror());
    SNL_TRY(snl_eval_report(snlrt_model_check(p->model, &err), &err, NULL, diag));
    SNL_TRY(snl_eval_report(snlrt_cpu_check(p->model->cpu_features, &err), &err, "--cpu", diag));
    return snl_eval_report(snlrt_payload_open(p->model, library, &p->payload, &err), &err, NULL,
                           diag);
}

/* Before any code is made, which takes longer. */
static SnlStatus open_tokenizer(SnlEvalProgram *p)
{
    const char *text = NULL;
    int code = snlrt_tokenizer_create(p->c.tokenizer, p->c.tokenizer_nbytes, &p->tokenizer, &text);
    if (code != SNLRT_TOKEN_OK)
        return snl_error_at(p->c.diag,
                            code == SNLRT_TOKEN_MACHINE ? SNL_E_MACHINE : SNL_E_TOKENIZER, NULL,
                            "tokenizer: %s", text);
    if (snlrt_tokenizer_kind(p->tokenizer) != SNLRT_TOKENIZER_NONE) return SNL_OK;
    return snl_error_at(p->c.diag, SNL_E_UNSUPPORTED, p->c.options->model,
                        "the model has no tokenizer, so a text means nothing to it");
}

static SnlStatus open_sessions(SnlEvalProgram *p, int64_t n_threads)
{
    p->session = SNL_NEW_ARRAY(p->c.arena, SnlrtSession *, (size_t)p->model->n_graphs);
    for (int64_t i = 0; i < p->model->n_graphs; i++) {
        SnlrtSessionOptions options = {
            .model = p->model, .weights = p->payload.weights, .graph = i, .n_threads = n_threads};
        SnlrtError err = {""};
        SnlrtStatus status = snlrt_session_create(&options, &p->session[i], &err);
        SNL_TRY(snl_eval_report(status, &err, p->model->graphs[i].name, p->c.diag));
    }
    return SNL_OK;
}

static SnlStatus build_and_load(SnlEvalProgram *p)
{
    SNL_TRY(snl_emergency_make_folder(p->c.arena, p->c.diag));
    const char *library = snl_emergency_path(p->c.arena, "eval.so");
    SnlStatus status = compile(&p->c, library);
    if (status == SNL_OK) status = load(p, library);
    snl_emergency_remove_folder(); /* what is mapped stays */
    return status;
}

SnlStatus snl_eval_program_open(const SnlCompileOptions *options, int64_t n_threads, SnlDiag *diag,
                                SnlEvalProgram *out)
{
    *out = (SnlEvalProgram){.c = {.options = options,
                                  .arena = snl_arena_create(),
                                  .diag = diag,
                                  .shows_progress = true}};
    SNL_TRY(snl_compilation_rewrite(&out->c));
    SNL_TRY(snl_compilation_describe(&out->c));
    SNL_TRY(open_tokenizer(out));
    SNL_TRY(build_and_load(out));
    return open_sessions(out, n_threads);
}

void snl_eval_program_close(SnlEvalProgram *p)
{
    for (int64_t i = 0; p->session && i < p->model->n_graphs; i++)
        snlrt_session_destroy(p->session[i]);
    snlrt_tokenizer_destroy(p->tokenizer);
    snlrt_payload_close(&p->payload);
    if (p->library) dlclose(p->library);
    snl_emergency_set_reproducer(NULL);
    snl_compilation_close(&p->c);
    snl_arena_destroy(p->c.arena);
    *p = (SnlEvalProgram){0};
}

/* ---- all formats ----------------------------------------------------------------------------- */

static void add_rows(SnlEvalSet *set, const SnlEvalProgram *p)
{
    for (int64_t g = 0; g < p->model->n_graphs; g++)
        set->row[set->n_rows++] = (SnlEvalRow){p, &p->model->graphs[g], p->session[g]};
}

SnlStatus snl_eval_set_open(const SnlCompileOptions *options, int64_t n_threads, SnlDiag *diag,
                            SnlEvalSet *out)
{
    size_t n = options->formats.n, most = n * (options->modes.plans.n + 1);
    *out = (SnlEvalSet){.arena = snl_arena_create(), .diag = diag};
    SnlCompileOptions *one = SNL_NEW_ARRAY(out->arena, SnlCompileOptions, n);
    out->program = SNL_NEW_ARRAY(out->arena, SnlEvalProgram, n);
    out->row = SNL_NEW_ARRAY(out->arena, SnlEvalRow, most);
    for (size_t i = 0; i < n; i++) {
        one[i] = *options;
        one[i].weights = options->formats.at[i];
        out->n_programs = i + 1;
        SNL_TRY(snl_eval_program_open(&one[i], n_threads, diag, &out->program[i]));
        add_rows(out, &out->program[i]);
    }
    return SNL_OK;
}

void snl_eval_set_close(SnlEvalSet *set)
{
    for (size_t i = 0; i < set->n_programs; i++) snl_eval_program_close(&set->program[i]);
    snl_arena_destroy(set->arena);
    *set = (SnlEvalSet){0};
}
