/* compiler/frontend/inspect.c -- `snlpc inspect`: what a model is, and whether it compiles. */
#include "compiler/frontend/model.h"

#include <inttypes.h>
#include <string.h>

/* ---- numbers for people ---------------------------------------------------------------------- */

static void print_bytes(FILE *out, int64_t nbytes)
{
    static const char *const unit[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)nbytes;
    int u = 0;
    while (value >= 1024 && u < 4) {
        value /= 1024;
        u++;
    }
    fprintf(out, u ? "%.1f %s" : "%.0f %s", value, unit[u]);
}

static void print_memory(FILE *out, const char *label, int64_t nbytes)
{
    fprintf(out, "%-13s", label);
    print_bytes(out, nbytes);
    fputc('\n', out);
}

/* ---- what the graph says --------------------------------------------------------------------- */

static int64_t stored_bytes(const SnlType *type)
{
    return snl_type_elems(type, 1) / snl_type_width(type) *
           snl_dtype_row_bytes(type->dtype, snl_type_width(type));
}

static int64_t weight_bytes(const SnlModule *m)
{
    int64_t sum = 0;
    for (size_t i = 0; i < m->weights.n; i++)
        if (m->weights.at[i]->code == SNL_WEXPR_SOURCE) sum += stored_bytes(m->weights.at[i]->type);
    return sum;
}

/* As a compile without --kv stores them. */
static void print_caches(FILE *out, SnlModule *m)
{
    SnlDtype dtype = snl_module_cache_format(m);
    int64_t sum = 0;
    for (size_t i = 0; i < m->states.n; i++) {
        const SnlType *type = m->states.at[i]->type;
        bool takes = type->rank == 4 && type->dtype == SNL_F32;
        sum += stored_bytes(takes ? snl_type(m, dtype, type->rank, type->dim) : type);
    }
    fputs("caches       ", out);
    print_bytes(out, sum);
    fprintf(out, " (%s unless --kv says otherwise)\n", snl_dtype_info[dtype].text);
}

/* "47 (f32 45, bf16 2)" */
static void print_tensors(FILE *out, const SnlModule *m)
{
    size_t count[SNL_DTYPE_COUNT] = {0}, all = 0;
    for (size_t i = 0; i < m->weights.n; i++) {
        const SnlWeight *w = m->weights.at[i];
        if (w->code != SNL_WEXPR_SOURCE) continue;
        count[w->type->dtype]++;
        all++;
    }
    fprintf(out, "tensors      %zu", all);
    const char *separator = " (";
    for (int d = 0; d < SNL_DTYPE_COUNT; d++) {
        if (!count[d]) continue;
        fprintf(out, "%s%s %zu", separator, snl_dtype_info[d].text, count[d]);
        separator = ", ";
    }
    fputs(all ? ")\n" : "\n", out);
}

static const SnlOp *first_attention(const SnlModule *m)
{
    for (const SnlFunc *f = m->first; f; f = f->next)
        for (const SnlOp *op = f->first; op; op = op->next)
            if (op->code == SNL_OP_ATTENTION) return op;
    return NULL;
}

static void print_attention(FILE *out, const SnlModule *m)
{
    const SnlOp *op = first_attention(m);
    if (!op) return;
    int64_t heads = snl_attr_int(&op->attrs, "heads", 1);
    int64_t kv_heads = snl_attr_int(&op->attrs, "kv_heads", heads);
    fprintf(out, "heads        %" PRId64 " of width %" PRId64 ", %" PRId64 " for keys and values\n",
            heads, snl_type_width(snl_in(op, 0)->type) / heads, kv_heads);
    size_t windowed = 0;
    for (const SnlFunc *f = m->first; f; f = f->next)
        for (op = f->first; op; op = op->next)
            if (op->code == SNL_OP_ATTENTION && snl_attr_find(&op->attrs, "window")) windowed++;
    if (windowed) fprintf(out, "windows      %zu layers see a sliding window\n", windowed);
}

static void print_tokenizer(FILE *out, const SnlModel *model)
{
    switch (model->tokenizer) {
    case SNL_TOKENIZER_NONE:
        fputs("tokenizer    none (the program runs on token ids)\n", out);
        break;
    case SNL_TOKENIZER_BYTE:
        fputs("tokenizer    bytes\n", out);
        break;
    case SNL_TOKENIZER_JSON:
        fprintf(out, "tokenizer    %s\n", model->tokenizer_path);
        break;
    }
    fputs("end ids     ", out);
    for (size_t i = 0; i < model->n_eos; i++) fprintf(out, " %" PRId64, model->eos[i]);
    fputs(model->n_eos ? "\n" : " none\n", out);
}

static void print_model(FILE *out, const SnlModel *model)
{
    fprintf(out, "layers       %" PRId64 "\n", model->n_layers);
    fprintf(out, "width        %" PRId64 "\n", model->width);
    print_attention(out, model->module);
    fprintf(out, "vocabulary   %" PRId64 "\n", model->vocab);
    fprintf(out, "context      %" PRId64 " (trained with %" PRId64 ")\n", model->context,
            model->trained_context);
    fprintf(out, "parameters   %" PRId64 "\n", model->n_params);
    print_tensors(out, model->module);
    print_memory(out, "weights", weight_bytes(model->module));
    print_caches(out, model->module);
    print_tokenizer(out, model);
}

/* First line of the messages since `from`. */
static void print_refusal(FILE *out, const SnlDiag *diag, size_t from)
{
    const char *message = snl_diag_text(diag) + from;
    fprintf(out, "compiles     no: %.*s\n", (int)strcspn(message, "\n"), message);
}

static void print_report(FILE *out, const SnlModel *model, SnlStatus status, const SnlDiag *diag,
                         size_t from)
{
    fprintf(out, "model        %s (%s)\n", model->name, model->path);
    if (model->family) fprintf(out, "family       %s\n", model->family);
    if (status == SNL_OK) {
        fputs("compiles     yes\n", out);
        print_model(out, model);
    } else {
        print_refusal(out, diag, from);
    }
}

SnlStatus snl_model_inspect(const char *path, const SnlModelOptions *options, SnlDiag *diag,
                            FILE *out)
{
    SnlArena *arena = snl_arena_create();
    SnlModel model;
    size_t from = strlen(snl_diag_text(diag));
    SnlStatus status = snl_model_open(arena, path, options, diag, &model);
    /* Of what cannot be opened nothing is known. */
    if (status != SNL_MACHINE) print_report(out, &model, status, diag, from);
    if (status == SNL_OK) snl_model_close(&model);
    snl_arena_destroy(arena);
    return status;
}
