/* runtime/manifest.c -- a reader for the one shape of JSON that snlpc writes. */
#include "runtime/manifest.h"

#include <string.h>

enum { MAX_DEPTH = 16 };

static SnlrtStatus damaged(const SnlrtManifest *m, SnlrtError *err)
{
    return snlrt_fail(err, SNLRT_INPUT, "the list of weights is damaged at byte %zu of it",
                      (size_t)(m->at - m->text));
}

static void skip_space(SnlrtManifest *m)
{
    while (m->at < m->end && strchr(" \t\r\n", *m->at) && *m->at) m->at++;
}

static bool accept(SnlrtManifest *m, char c)
{
    skip_space(m);
    if (m->at == m->end || *m->at != c) return false;
    m->at++;
    return true;
}

/* A string; escapes are kept as they are (names have none). */
static bool read_string(SnlrtManifest *m, char *out, size_t room)
{
    size_t n = 0;
    if (!accept(m, '"')) return false;
    for (; m->at < m->end && *m->at != '"'; m->at++) {
        if (*m->at == '\\' && m->end - m->at > 1) m->at++;
        if (n + 1 < room) out[n++] = *m->at;
    }
    if (room) out[n] = 0;
    return accept(m, '"');
}

static bool read_count(SnlrtManifest *m, uint64_t *out)
{
    uint64_t value = 0;
    skip_space(m);
    const char *begin = m->at;
    for (; m->at < m->end && *m->at >= '0' && *m->at <= '9'; m->at++) {
        if (value > (INT64_MAX - 9) / 10) return false;
        value = value * 10 + (uint64_t)(*m->at - '0');
    }
    *out = value;
    return m->at > begin;
}

static bool read_hash(SnlrtManifest *m, uint64_t *out)
{
    static const char digits[] = "0123456789abcdef";
    char text[32];
    if (!read_string(m, text, sizeof text) || strlen(text) != 16) return false;
    *out = 0;
    for (const char *c = text; *c; c++) {
        const char *digit = strchr(digits, *c);
        if (!digit) return false;
        *out = *out * 16 + (uint64_t)(digit - digits);
    }
    return true;
}

static bool skip_value(SnlrtManifest *m, int depth)
{
    skip_space(m);
    if (m->at == m->end || depth > MAX_DEPTH) return false;
    if (*m->at == '"') return read_string(m, NULL, 0);
    if (*m->at == '[' || *m->at == '{') {
        char close = *m->at++ == '[' ? ']' : '}';
        if (accept(m, close)) return true;
        do {
            if (close == '}' && !(read_string(m, NULL, 0) && accept(m, ':'))) return false;
            if (!skip_value(m, depth + 1)) return false;
        } while (accept(m, ','));
        return accept(m, close);
    }
    const char *begin = m->at;
    while (m->at < m->end && *m->at && !strchr(" \t\r\n,]}[{\":", *m->at)) m->at++;
    return m->at > begin;
}

SnlrtStatus snlrt_manifest_open(const char *text, size_t nbytes, SnlrtManifest *out,
                                SnlrtError *err)
{
    char key[32];
    *out = (SnlrtManifest){.text = text, .at = text, .end = text + nbytes};
    if (!accept(out, '{')) return damaged(out, err);
    do {
        if (!read_string(out, key, sizeof key) || !accept(out, ':')) return damaged(out, err);
        if (!strcmp(key, "weights")) return accept(out, '[') ? SNLRT_OK : damaged(out, err);
        if (!skip_value(out, 0)) return damaged(out, err);
    } while (accept(out, ','));
    return damaged(out, err);
}

enum { HAS_OFFSET = 1, HAS_BYTES = 2, HAS_HASH = 4, HAS_ALL = 7 };

static bool read_field(SnlrtManifest *m, SnlrtManifestWeight *out, unsigned *inout_has)
{
    char key[32];
    if (!read_string(m, key, sizeof key) || !accept(m, ':')) return false;
    if (!strcmp(key, "name")) return read_string(m, out->name, sizeof out->name);
    if (!strcmp(key, "format")) return read_string(m, out->format, sizeof out->format);
    if (!strcmp(key, "layout")) return read_string(m, out->layout, sizeof out->layout);
    if (!strcmp(key, "rows")) return read_count(m, &out->rows);
    if (!strcmp(key, "cols")) return read_count(m, &out->cols);
    if (!strcmp(key, "offset")) {
        *inout_has |= HAS_OFFSET;
        return read_count(m, &out->offset);
    }
    if (!strcmp(key, "bytes")) {
        *inout_has |= HAS_BYTES;
        return read_count(m, &out->nbytes);
    }
    if (!strcmp(key, "xxh3")) {
        *inout_has |= HAS_HASH;
        return read_hash(m, &out->hash);
    }
    return skip_value(m, 0);
}

SnlrtStatus snlrt_manifest_next(SnlrtManifest *m, SnlrtManifestWeight *out, bool *out_more,
                                SnlrtError *err)
{
    *out = (SnlrtManifestWeight){.name = "?"};
    *out_more = false;
    if (accept(m, ']')) return SNLRT_OK;
    if (m->begun && !accept(m, ',')) return damaged(m, err);
    m->begun = true;
    unsigned has = 0;
    if (!accept(m, '{')) return damaged(m, err);
    do {
        if (!read_field(m, out, &has)) return damaged(m, err);
    } while (accept(m, ','));
    if (!accept(m, '}') || has != HAS_ALL) return damaged(m, err);
    *out_more = true;
    return SNLRT_OK;
}
