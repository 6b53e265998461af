/* runtime/states.c -- gathering and writing the chain's states. */
#include "runtime/states.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The file holds little-endian numbers, and rows are written as they lie in memory. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "states are written for little-endian machines"
#endif

static size_t row_nbytes(const SnlrtOutput *o)
{
    return (size_t)(o->streams ? o->streams : 1) * (size_t)o->width * sizeof(float);
}

SnlrtStatus snlrt_states_init(const SnlrtModel *model, SnlrtStates *out, SnlrtError *err)
{
    *out = (SnlrtStates){.model = model};
    if (!model->n_outputs)
        return snlrt_fail(err, SNLRT_USAGE,
                          "--states: the program was compiled without them: compile it with "
                          "--keep-states");
    out->at = calloc((size_t)model->n_outputs, sizeof *out->at);
    if (!out->at) return snlrt_fail(err, SNLRT_MACHINE, "out of memory for the states");
    return SNLRT_OK;
}

void snlrt_states_deinit(SnlrtStates *states)
{
    for (int64_t i = 0; states->at && i < states->model->n_outputs; i++) free(states->at[i]);
    free(states->at);
    *states = (SnlrtStates){0};
}

static SnlrtStatus reserve(SnlrtStates *s, int64_t n_rows, SnlrtError *err)
{
    if (n_rows <= s->cap) return SNLRT_OK;
    int64_t cap = 2 * n_rows;
    for (int64_t i = 0; i < s->model->n_outputs; i++) {
        float *at = realloc(s->at[i], (size_t)cap * row_nbytes(&s->model->outputs[i]));
        if (!at) return snlrt_fail(err, SNLRT_MACHINE, "out of memory for the states");
        s->at[i] = at;
    }
    s->cap = cap;
    return SNLRT_OK;
}

SnlrtStatus snlrt_states_append(SnlrtStates *s, const SnlrtBlock *block, SnlrtError *err)
{
    SNLRT_TRY(reserve(s, s->n_rows + block->n_tokens, err));
    for (int64_t i = 0; i < s->model->n_outputs; i++) {
        size_t row = row_nbytes(&s->model->outputs[i]);
        memcpy((char *)s->at[i] + (size_t)s->n_rows * row, block->outputs[i],
               (size_t)block->n_tokens * row);
    }
    s->n_rows += block->n_tokens;
    return SNLRT_OK;
}

/* The JSON header, padded with spaces so that the data begins at a multiple of 8. */
static char *header_text(const SnlrtStates *s, size_t *out_nbytes)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, out_nbytes);
    if (!out) return NULL;
    unsigned long long offset = 0;
    fputc('{', out);
    for (int64_t i = 0; i < s->model->n_outputs; i++) {
        const SnlrtOutput *o = &s->model->outputs[i];
        unsigned long long nbytes = (unsigned long long)s->n_rows * row_nbytes(o);
        fprintf(out, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%lld,", i ? "," : "", o->name,
                (long long)s->n_rows);
        if (o->streams) fprintf(out, "%lld,", (long long)o->streams);
        fprintf(out, "%lld],\"data_offsets\":[%llu,%llu]}", (long long)o->width, offset,
                offset + nbytes);
        offset += nbytes;
    }
    fputc('}', out);
    for (long at = ftell(out); at % 8; at++) fputc(' ', out);
    if (fclose(out) == 0) return text;
    free(text);
    return NULL;
}

SnlrtStatus snlrt_states_write(const SnlrtStates *s, SnlrtFile *file, SnlrtError *err)
{
    size_t nbytes = 0;
    char *header = header_text(s, &nbytes);
    if (!header) return snlrt_fail(err, SNLRT_MACHINE, "out of memory for the states");
    uint64_t length = nbytes;
    SnlrtStatus status = snlrt_file_write(file, &length, sizeof length, err);
    if (status == SNLRT_OK) status = snlrt_file_write(file, header, nbytes, err);
    free(header);
    for (int64_t i = 0; status == SNLRT_OK && i < s->model->n_outputs; i++)
        status = snlrt_file_write(file, s->at[i],
                                  (size_t)s->n_rows * row_nbytes(&s->model->outputs[i]), err);
    return status;
}
