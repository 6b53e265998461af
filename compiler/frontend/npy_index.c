/* compiler/frontend/npy_index.c -- see npy_index.h. */
#include "compiler/frontend/npy_index.h"

#include "ir/base/checked.h"

#include <string.h>

enum { MAGIC = 6, MAX_HEADER = 1 << 16 };

bool snl_npy_named(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && strcmp(path + n - 4, ".npy") == 0;
}

/* The header text, and where the elements begin. */
static SnlStatus find_header(SnlArena *arena, const SnlFile *file, SnlDiag *diag, const char **out,
                             size_t *out_begin)
{
    const uint8_t *p = file->bytes;
    if (file->size < MAGIC + 4 || memcmp(p, "\x93NUMPY", MAGIC) != 0)
        return snl_error_at(diag, SNL_E_FORMAT, file->path,
                            "no .npy file: its first 6 bytes are not \\x93NUMPY");
    int version = p[MAGIC];
    size_t at = version == 1 ? MAGIC + 4 : MAGIC + 6, n = (size_t)p[8] | (size_t)p[9] << 8;
    if (version < 1 || version > 3)
        return snl_error_at(diag, SNL_E_FORMAT, file->path,
                            ".npy format version: found %d, wanted 1 to 3", version);
    if (version > 1 && file->size >= at) n |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    if (file->size < at || n > MAX_HEADER || n > file->size - at)
        return snl_error_at(diag, SNL_E_FORMAT, file->path,
                            ".npy header: found a length of %zu bytes in a file of %zu", n,
                            file->size);
    *out = snl_arena_strndup(arena, (const char *)p + at, n);
    *out_begin = at + n;
    return SNL_OK;
}

/* What follows 'key': in the header; NULL when the key is not there. */
static const char *after_key(SnlArena *arena, const char *header, const char *key)
{
    const char *quoted = snl_arena_printf(arena, "'%s':", key), *p = strstr(header, quoted);
    if (!p) return NULL;
    p += strlen(quoted);
    return p + strspn(p, " ");
}

static SnlStatus read_shape(SnlArena *arena, const char *text, SnlSafetensor *t)
{
    t->elems = 1;
    for (text += strspn(text, "("); *text && *text != ')'; text += strspn(text, ", ")) {
        size_t n = strspn(text, "0123456789");
        const char *digits = snl_arena_strndup(arena, text, n);
        if (t->rank == SNL_MAX_RANK || n == 0) return SNL_BAD_INPUT;
        if (!snl_parse_i64(digits, 1, SNL_MAX_ELEMS, &t->dim[t->rank])) return SNL_BAD_INPUT;
        if (!snl_mul_i64(t->elems, t->dim[t->rank++], &t->elems)) return SNL_BAD_INPUT;
        if (t->elems > SNL_MAX_ELEMS) return SNL_BAD_INPUT;
        text += n;
    }
    return *text == ')' && t->rank > 0 ? SNL_OK : SNL_BAD_INPUT;
}

static SnlStatus read_header(SnlArena *arena, const SnlFile *file, const char *header,
                             SnlDiag *diag, SnlSafetensor *t)
{
    const char *descr = after_key(arena, header, "descr");
    const char *order = after_key(arena, header, "fortran_order");
    const char *shape = after_key(arena, header, "shape");
    bool f4 = descr && strncmp(descr, "'<f4'", 5) == 0;
    bool f2 = descr && strncmp(descr, "'<f2'", 5) == 0;
    if (!f4 && !f2)
        return snl_error_at(diag, SNL_E_FORMAT, file->path,
                            ".npy elements: found %.5s, wanted '<f4' or '<f2': save the array as "
                            "float32",
                            descr ? descr : "none");
    if (!order || strncmp(order, "False", 5) != 0)
        return snl_error_at(
            diag, SNL_E_FORMAT, file->path,
            ".npy order: found column-major, wanted row-major (fortran_order False)");
    if (!shape || read_shape(arena, shape, t) != SNL_OK)
        return snl_error_at(diag, SNL_E_FORMAT, file->path,
                            ".npy shape: found %.32s, wanted 1 to %d dimensions of at least 1",
                            shape ? shape : "none", SNL_MAX_RANK);
    t->dtype = f4 ? SNL_F32 : SNL_F16;
    t->dtype_text = f4 ? "F32" : "F16";
    t->shape_text = snl_arena_strndup(arena, shape, strcspn(shape, ")") + 1);
    return SNL_OK;
}

SnlStatus snl_npy_index(SnlArena *arena, const SnlFile *file, SnlDiag *diag, SnlSafetensors *out)
{
    const char *header;
    size_t begin;
    SNL_TRY(find_header(arena, file, diag, &header, &begin));
    SnlSafetensor *t = SNL_NEW(arena, SnlSafetensor);
    t->name = "";
    t->known = true;
    SNL_TRY(read_header(arena, file, header, diag, t));
    size_t nbytes = (size_t)snl_dtype_row_bytes(t->dtype, t->elems);
    if (nbytes != file->size - begin)
        return snl_error_at(diag, SNL_E_FORMAT, file->path,
                            ".npy elements: found %zu bytes, the shape wants %zu",
                            file->size - begin, nbytes);
    t->begin = begin;
    t->end = begin + nbytes;
    *out = (SnlSafetensors){.file = *file, .at = t, .n = 1};
    return SNL_OK;
}

SnlStatus snl_npy_index_open(SnlArena *arena, const char *path, SnlDiag *diag, SnlSafetensors *out)
{
    SnlFile file;
    SNL_TRY(snl_file_map(arena, path, diag, &file));
    SnlStatus status = snl_npy_index(arena, &file, diag, out);
    if (status != SNL_OK) snl_file_unmap(&file);
    return status;
}
