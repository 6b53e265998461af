/* compiler/frontend/safetensors.c -- header of a safetensors file: nothing it says is believed. */
#include "compiler/frontend/safetensors.h"

#include "compiler/frontend/json.h"
#include "ir/base/checked.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* The file of a model with 100 000 tensors has a header of 12 MB; the format itself allows 100 MB.
 */
static const SnlJsonLimits header_limits = {
    .max_bytes = (size_t)32 << 20, .max_depth = 4, .max_values = 1000000};

enum { LENGTH_BYTES = 8, MAX_SHAPE = 16, SHOWN_NAME = 120 };

typedef struct StoredType {
    const char *text;
    int64_t bytes;
    bool known;
    SnlDtype dtype;
} StoredType;

static const StoredType stored_types[] = {
    {"F32", 4, true, SNL_F32},   {"BF16", 2, true, SNL_BF16},    {"F16", 2, true, SNL_F16},
    {"F64", 8, false, SNL_F32},  {"I64", 8, false, SNL_F32},     {"U64", 8, false, SNL_F32},
    {"I32", 4, false, SNL_F32},  {"U32", 4, false, SNL_F32},     {"I16", 2, false, SNL_F32},
    {"U16", 2, false, SNL_F32},  {"I8", 1, false, SNL_F32},      {"U8", 1, false, SNL_F32},
    {"BOOL", 1, false, SNL_F32}, {"F8_E4M3", 1, false, SNL_F32}, {"F8_E5M2", 1, false, SNL_F32},
};

/* Everything the checks below need. */
typedef struct Reader {
    SnlArena *arena;
    SnlDiag *diag;
    const SnlFile *file;
    size_t data; /* where the elements start */
} Reader;

/* Reports what is wrong with the header entry of `tensor`. */
static SnlStatus SNL_PRINTF(3, 4) bad(const Reader *r, const char *tensor, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *message = snl_arena_vprintf(r->arena, fmt, args);
    va_end(args);
    const char *place =
        snl_arena_printf(r->arena, "%s: tensor '%.*s'", r->file->path, SHOWN_NAME, tensor);
    return snl_error_at(r->diag, SNL_E_FORMAT, place, "%s", message);
}

/* ---- one tensor's entry ---------------------------------------------------------------------- */

static const StoredType *find_type(const char *text)
{
    for (size_t i = 0; i < sizeof stored_types / sizeof stored_types[0]; i++)
        if (strcmp(stored_types[i].text, text) == 0) return &stored_types[i];
    return NULL;
}

static const char *shape_text(SnlArena *arena, const json_t *shape)
{
    char text[MAX_SHAPE * 22 + 2] = "[";
    size_t n = 1;
    for (size_t i = 0; i < json_array_size(shape); i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%" PRId64, i ? ", " : "",
                              (int64_t)json_integer_value(json_array_get(shape, i)));
    snprintf(text + n, sizeof text - n, "]");
    return snl_arena_strdup(arena, text);
}

static SnlStatus read_shape(const Reader *r, const json_t *shape, SnlSafetensor *out)
{
    if (!json_is_array(shape) || json_array_size(shape) > MAX_SHAPE)
        return bad(r, out->name, "'shape' must be a list of at most %d sizes", MAX_SHAPE);
    size_t rank = json_array_size(shape);
    out->elems = 1;
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(shape, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return bad(r, out->name, "'shape' must be a list of whole numbers, none negative");
        int64_t size = json_integer_value(dim);
        if (i < SNL_MAX_RANK) out->dim[i] = size;
        if (!snl_mul_i64(out->elems, size, &out->elems))
            return bad(r, out->name, "shape %s has too many elements", shape_text(r->arena, shape));
    }
    out->rank = rank <= SNL_MAX_RANK ? (int)rank : 0;
    out->shape_text = shape_text(r->arena, shape);
    return SNL_OK;
}

static SnlStatus read_offsets(const Reader *r, const json_t *offsets, SnlSafetensor *out)
{
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return bad(r, out->name, "'data_offsets' must be [begin, end] with 0 <= begin <= end");
    uint64_t available = r->file->size - r->data, last = (uint64_t)json_integer_value(end);
    if (last > available)
        return bad(r, out->name,
                   "its bytes end at %" PRIu64 " of the data, found only %" PRIu64
                   " bytes of data; the file is truncated or damaged, fetch it again",
                   last, available);
    out->begin = r->data + (size_t)json_integer_value(begin);
    out->end = r->data + (size_t)last;
    return SNL_OK;
}

static SnlStatus read_type(const Reader *r, const json_t *dtype, SnlSafetensor *out)
{
    if (!json_is_string(dtype))
        return bad(r, out->name, "'dtype' must be a string such as \"F32\"");
    out->dtype_text = snl_arena_strdup(r->arena, json_string_value(dtype));
    const StoredType *type = find_type(out->dtype_text);
    if (!type) return SNL_OK; /* a type of tomorrow: refused when somebody wants the tensor */
    out->known = type->known && out->rank >= 1;
    out->dtype = type->dtype;
    int64_t wanted;
    if (!snl_mul_i64(out->elems, type->bytes, &wanted) || (uint64_t)wanted != out->end - out->begin)
        return bad(
            r, out->name,
            "found %zu bytes, wanted %s %s to have %" PRId64 " elements of %" PRId64 " bytes",
            out->end - out->begin, out->dtype_text, out->shape_text, out->elems, type->bytes);
    return SNL_OK;
}

static SnlStatus read_tensor(const Reader *r, const char *name, const json_t *entry,
                             SnlSafetensor *out)
{
    *out = (SnlSafetensor){.name = snl_arena_strdup(r->arena, name)};
    if (!json_is_object(entry))
        return bad(r, out->name,
                   "its header entry must be an object with dtype, shape, data_offsets");
    if (json_object_size(entry) != 3)
        return bad(r, out->name,
                   "found %zu keys in its header entry, wanted dtype, shape and data_offsets",
                   json_object_size(entry));
    SNL_TRY(read_shape(r, json_object_get(entry, "shape"), out));
    SNL_TRY(read_offsets(r, json_object_get(entry, "data_offsets"), out));
    return read_type(r, json_object_get(entry, "dtype"), out);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const SnlSafetensor *)a)->name, ((const SnlSafetensor *)b)->name);
}

static int by_place(const void *a, const void *b)
{
    const SnlSafetensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The data must be covered exactly once, as the format says. `at` is sorted by place. */
static SnlStatus check_cover(const Reader *r, const SnlSafetensor *at, size_t n)
{
    size_t covered = r->data;
    for (size_t i = 0; i < n; i++) {
        if (at[i].begin < covered)
            return bad(r, at[i].name,
                       "its bytes %zu..%zu overlap those of tensor '%.*s' (%zu..%zu)",
                       at[i].begin - r->data, at[i].end - r->data, SHOWN_NAME, at[i - 1].name,
                       at[i - 1].begin - r->data, at[i - 1].end - r->data);
        if (at[i].begin > covered)
            return bad(r, at[i].name,
                       "%zu bytes before it belong to no tensor; the file is damaged",
                       at[i].begin - covered);
        covered = at[i].end;
    }
    if (covered == r->file->size) return SNL_OK;
    return snl_error_at(r->diag, SNL_E_FORMAT, r->file->path,
                        "the last %zu bytes belong to no tensor; the file is damaged",
                        r->file->size - covered);
}

static SnlStatus check_metadata(const Reader *r, json_t *metadata)
{
    const char *place = snl_arena_printf(r->arena, "%s: __metadata__", r->file->path);
    if (!json_is_object(metadata))
        return snl_error_at(r->diag, SNL_E_FORMAT, place, "found another value, wanted an object");
    for (void *at = json_object_iter(metadata); at; at = json_object_iter_next(metadata, at))
        if (!json_is_string(json_object_iter_value(at)))
            return snl_error_at(r->diag, SNL_E_FORMAT, place, "'%.*s' must be a string", SHOWN_NAME,
                                json_object_iter_key(at));
    return SNL_OK;
}

static SnlStatus read_entries(const Reader *r, json_t *root, SnlSafetensors *out)
{
    out->at = SNL_NEW_ARRAY(r->arena, SnlSafetensor, json_object_size(root));
    out->n = 0;
    for (void *at = json_object_iter(root); at; at = json_object_iter_next(root, at)) {
        const char *name = json_object_iter_key(at);
        if (strcmp(name, "__metadata__") == 0)
            SNL_TRY(check_metadata(r, json_object_iter_value(at)));
        else
            SNL_TRY(read_tensor(r, name, json_object_iter_value(at), &out->at[out->n++]));
    }
    if (out->n == 0)
        return snl_error_at(r->diag, SNL_E_FORMAT, r->file->path, "found no tensor in it");
    qsort(out->at, out->n, sizeof *out->at, by_place);
    SNL_TRY(check_cover(r, out->at, out->n));
    qsort(out->at, out->n, sizeof *out->at, by_name);
    return SNL_OK;
}

/* Finds the header's text. */
static SnlStatus read_length(Reader *r, const char **out_text, size_t *out_len)
{
    const SnlFile *file = r->file;
    if (file->size < LENGTH_BYTES)
        return snl_error_at(r->diag, SNL_E_FORMAT, file->path,
                            "found %zu bytes, wanted a safetensors file (8 bytes and a header)",
                            file->size);
    uint64_t n = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) n = n << 8 | file->bytes[i];
    if (n > file->size - LENGTH_BYTES)
        return snl_error_at(r->diag, SNL_E_FORMAT, file->path,
                            "its first 8 bytes announce a header of %" PRIu64
                            " bytes, found %zu after them; the file is truncated or no safetensors "
                            "file",
                            n, file->size - LENGTH_BYTES);
    if (n > header_limits.max_bytes)
        return snl_error_at(r->diag, SNL_E_FORMAT, file->path,
                            "found a header of %" PRIu64 " bytes, wanted at most %zu", n,
                            header_limits.max_bytes);
    *out_text = (const char *)file->bytes + LENGTH_BYTES;
    *out_len = (size_t)n;
    r->data = LENGTH_BYTES + (size_t)n;
    if (n == 0 || **out_text != '{')
        return snl_error_at(r->diag, SNL_E_FORMAT, file->path,
                            "its header must begin with '{': this is no safetensors file");
    return SNL_OK;
}

SnlStatus snl_safetensors_index(SnlArena *arena, const SnlFile *file, SnlDiag *diag,
                                SnlSafetensors *out)
{
    Reader r = {arena, diag, file, 0};
    const char *text, *reason;
    size_t len, offset;
    SNL_TRY(read_length(&r, &text, &len));
    json_t *root;
    if (!snl_json_parse_text(arena, text, len, &header_limits, &root, &offset, &reason)) {
        const char *place = snl_arena_printf(arena, "%s+0x%zx", file->path, LENGTH_BYTES + offset);
        return snl_error_at(diag, SNL_E_FORMAT, place, "header: %s", reason);
    }
    *out = (SnlSafetensors){.file = *file};
    SnlStatus status = read_entries(&r, root, out);
    json_decref(root);
    return status;
}

SnlStatus snl_safetensors_open(SnlArena *arena, const char *path, SnlDiag *diag,
                               SnlSafetensors *out)
{
    SnlFile file;
    SNL_TRY(snl_file_map(arena, path, diag, &file));
    SnlStatus status = snl_safetensors_index(arena, &file, diag, out);
    if (status != SNL_OK) snl_file_unmap(&file);
    return status;
}

void snl_safetensors_close(SnlSafetensors *st)
{
    snl_file_unmap(&st->file);
}

const SnlSafetensor *snl_safetensors_find(const SnlSafetensors *st, const char *name)
{
    SnlSafetensor key = {.name = name};
    return st->n ? bsearch(&key, st->at, st->n, sizeof *st->at, by_name) : NULL;
}

/* ---- elements -------------------------------------------------------------------------------- */

static uint16_t half_at(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

void snl_safetensors_read(const SnlSafetensors *st, const SnlSafetensor *tensor, int64_t first,
                          int64_t n, float *out)
{
    SNL_ASSERT(tensor->known && first >= 0 && n >= 0 && n <= tensor->elems - first);
    size_t width = tensor->dtype == SNL_F32 ? 4 : 2;
    const uint8_t *from = st->file.bytes + tensor->begin + (size_t)first * width;
    if (tensor->dtype == SNL_F32) {
        memcpy(out, from, (size_t)n * sizeof *out); /* hosts of snlpc are little-endian */
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        uint16_t bits = half_at(from + 2 * i);
        out[i] = tensor->dtype == SNL_BF16 ? snl_bf16_to_f32(bits) : snl_f16_to_f32(bits);
    }
}
