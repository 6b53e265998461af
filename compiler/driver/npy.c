/* compiler/driver/npy.c -- .npy: magic, version, a Python dictionary as text, raw elements. */
#include "compiler/driver/npy.h"

#include "ir/base/checked.h"
#include "ir/base/file.h"

#include <errno.h>
#include <string.h>

/* ---- header ---------------------------------------------------------------------------------- */

typedef enum Element { F2, F4, F8, I4, I8, U1, N_ELEMENTS } Element;
static const struct {
    const char *text;
    size_t nbytes;
} elements[N_ELEMENTS] = {[F2] = {"<f2", 2}, [F4] = {"<f4", 4}, [F8] = {"<f8", 8},
                          [I4] = {"<i4", 4}, [I8] = {"<i8", 8}, [U1] = {"|u1", 1}};

/* What is left of the header text; shrinks as it is read. */
typedef struct Cursor {
    const char *at, *end;
    const char *place;
    SnlDiag *diag;
} Cursor;

static void skip_space(Cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n')) c->at++;
}

static bool accept(Cursor *c, const char *word)
{
    skip_space(c);
    size_t n = strlen(word);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) return false;
    c->at += n;
    return true;
}

static SnlStatus bad_header(Cursor *c, const char *wanted)
{
    int n = c->end - c->at < 20 ? (int)(c->end - c->at) : 20;
    return snl_error_at(c->diag, SNL_E_FORMAT, c->place, "npy header: found '%.*s', wanted %s", n,
                        c->at, wanted);
}

static SnlStatus read_descr(Cursor *c, Element *out)
{
    if (accept(c, "'")) {
        for (int e = 0; e < N_ELEMENTS; e++)
            if (accept(c, elements[e].text)) {
                *out = (Element)e;
                return accept(c, "'") ? SNL_OK : bad_header(c, "the end of descr");
            }
    }
    return bad_header(c, "descr '<f2', '<f4', '<f8', '<i4', '<i8' or '|u1'");
}

static SnlStatus read_dim(Cursor *c, int64_t *out)
{
    skip_space(c);
    int64_t value = 0;
    const char *first = c->at;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        if (!snl_mul_i64(value, 10, &value) || !snl_add_i64(value, *c->at - '0', &value))
            return bad_header(c, "a dimension below 2^63");
    if (c->at == first) return bad_header(c, "a dimension");
    *out = value;
    return SNL_OK;
}

static SnlStatus read_shape(Cursor *c, SnlNpy *out)
{
    if (!accept(c, "(")) return bad_header(c, "'(' of the shape");
    out->n = 1;
    while (!accept(c, ")")) {
        if (out->rank == SNL_NPY_MAX_RANK) return bad_header(c, "at most 8 dimensions");
        SNL_TRY(read_dim(c, &out->dim[out->rank]));
        if (!snl_mul_i64(out->n, out->dim[out->rank++], &out->n) || out->n > SNL_MAX_ELEMS)
            return bad_header(c, "a shape of at most 2^40 elements");
        if (accept(c, ",")) continue;
        if (!accept(c, ")")) return bad_header(c, "',' or ')' in the shape");
        break;
    }
    return SNL_OK;
}

static SnlStatus read_header(Cursor *c, Element *out_element, SnlNpy *out)
{
    bool descr = false, order = false, shape = false;
    if (!accept(c, "{")) return bad_header(c, "'{'");
    while (!accept(c, "}")) {
        if (!descr && accept(c, "'descr':")) {
            SNL_TRY(read_descr(c, out_element));
            descr = true;
        } else if (!order && accept(c, "'fortran_order':")) {
            if (!accept(c, "False")) return bad_header(c, "False (row-major data)");
            order = true;
        } else if (!shape && accept(c, "'shape':")) {
            SNL_TRY(read_shape(c, out));
            shape = true;
        } else {
            return bad_header(c, "'descr':, 'fortran_order': or 'shape':, each once");
        }
        if (!accept(c, ",") && (skip_space(c), c->at == c->end || *c->at != '}'))
            return bad_header(c, "',' or '}'");
    }
    skip_space(c);
    if (c->at != c->end) return bad_header(c, "nothing after '}'");
    if (!descr || !order || !shape) return bad_header(c, "descr, fortran_order and shape");
    return SNL_OK;
}

/* ---- elements -------------------------------------------------------------------------------- */

static double element(Element kind, const uint8_t *at)
{
    switch (kind) {
    case F2: {
        uint16_t bits;
        memcpy(&bits, at, sizeof bits);
        return (double)snl_f16_to_f32(bits);
    }
    case F4: {
        float x;
        memcpy(&x, at, sizeof x);
        return (double)x;
    }
    case F8: {
        double x;
        memcpy(&x, at, sizeof x);
        return x;
    }
    case I4: {
        int32_t x;
        memcpy(&x, at, sizeof x);
        return x;
    }
    case I8: {
        int64_t x;
        memcpy(&x, at, sizeof x);
        return (double)x;
    }
    case U1: return *at;
    case N_ELEMENTS: break;
    }
    SNL_UNREACHABLE();
}

/* Finds the header text; out_data: where the elements begin. */
static SnlStatus split(const uint8_t *bytes, size_t nbytes, Cursor *c, size_t *out_data)
{
    static const uint8_t magic[6] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    if (nbytes < 10 || memcmp(bytes, magic, sizeof magic) != 0)
        return snl_error_at(c->diag, SNL_E_FORMAT, c->place, "not a .npy file: no NUMPY magic");
    unsigned version = bytes[6];
    if (version < 1 || version > 3)
        return snl_error_at(c->diag, SNL_E_FORMAT, c->place,
                            "npy version %u.%u: wanted 1.0, 2.0 or 3.0", version, bytes[7]);
    size_t start = version == 1 ? 10 : 12;
    size_t length = bytes[8] | (size_t)bytes[9] << 8;
    if (version > 1 && nbytes >= 12) length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    if (nbytes < start || nbytes - start < length)
        return snl_error_at(c->diag, SNL_E_FORMAT, c->place,
                            "npy header is cut off: file has %zu bytes, header says %zu", nbytes,
                            length);
    c->at = (const char *)bytes + start;
    c->end = c->at + length;
    *out_data = start + length;
    return SNL_OK;
}

SnlStatus snl_npy_parse(SnlArena *arena, const uint8_t *bytes, size_t nbytes, const char *place,
                        SnlDiag *diag, SnlNpy *out)
{
    *out = (SnlNpy){0};
    Cursor cursor = {.place = place, .diag = diag};
    size_t data = 0;
    Element kind = F4;
    SNL_TRY(split(bytes, nbytes, &cursor, &data));
    SNL_TRY(read_header(&cursor, &kind, out));
    /* n <= 2^40 and at most 8 bytes each: no overflow. */
    size_t wanted = (size_t)out->n * elements[kind].nbytes;
    if (nbytes - data != wanted)
        return snl_error_at(diag, SNL_E_FORMAT, place,
                            "npy data: found %zu bytes, wanted %zu for the shape", nbytes - data,
                            wanted);
    out->at = SNL_NEW_ARRAY(arena, double, (size_t)out->n);
    for (int64_t i = 0; i < out->n; i++)
        out->at[i] = element(kind, bytes + data + (size_t)i * elements[kind].nbytes);
    return SNL_OK;
}

SnlStatus snl_npy_read(SnlArena *arena, const char *path, SnlDiag *diag, SnlNpy *out)
{
    SnlFile file;
    SNL_TRY(snl_file_map(arena, path, diag, &file));
    SnlStatus status = snl_npy_parse(arena, file.bytes, file.size, path, diag, out);
    snl_file_unmap(&file);
    return status;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* NumPy wants the elements at a multiple of 64: the dictionary is padded with spaces. */
static void write_header(FILE *out, SnlDtype dtype, int rank, const int64_t *dim)
{
    enum { HEADER = 246 }; /* 10 + 246 = 256; 8 dimensions of 19 digits need less */
    char text[HEADER + 1];
    int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                     dtype == SNL_I32 ? "<i4" : "<f4");
    for (int i = 0; i < rank; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%lld,%s", (long long)dim[i],
                      i + 1 < rank ? " " : "");
    n += snprintf(text + n, sizeof text - (size_t)n, "), }");
    memset(text + n, ' ', (size_t)(HEADER - n));
    text[HEADER - 1] = '\n';
    fwrite("\x93NUMPY\x01\x00\xf6\x00", 1, 10, out);
    fwrite(text, 1, HEADER, out);
}

SnlStatus snl_npy_write(const char *path, SnlDtype dtype, int rank, const int64_t *dim,
                        const double *at, SnlDiag *diag)
{
    SnlOutput out;
    SNL_TRY(snl_output_open(path, diag, &out));
    write_header(out.stream, dtype, rank, dim);
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= dim[i];
    for (int64_t i = 0; i < n; i++) {
        float real = (float)at[i];
        int32_t whole = dtype == SNL_I32 ? (int32_t)at[i] : 0;
        fwrite(dtype == SNL_I32 ? (const void *)&whole : (const void *)&real, 4, 1, out.stream);
    }
    if (ferror(out.stream)) {
        snl_output_abort(&out);
        return snl_error_at(diag, SNL_E_MACHINE, path, "cannot write: %s", strerror(errno));
    }
    return snl_output_commit(&out, false, diag);
}
