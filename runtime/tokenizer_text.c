/* runtime/tokenizer_text.c -- growing texts and lists of ids; finding and replacing. */
#include "runtime/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

bool snlrt_tok_reserve(void **inout_at, size_t *inout_cap, size_t n, size_t size)
{
    if (n <= *inout_cap) return true;
    size_t cap = *inout_cap ? *inout_cap : 64;
    while (cap < n) {
        if (cap > SIZE_MAX / 2) return false;
        cap *= 2;
    }
    if (cap > SIZE_MAX / size) return false;
    void *at = realloc(*inout_at, cap * size);
    if (!at) return false;
    *inout_at = at;
    *inout_cap = cap;
    return true;
}

void snlrt_ids_deinit(SnlrtIds *ids)
{
    free(ids->at);
    *ids = (SnlrtIds){0};
}

void snlrt_text_deinit(SnlrtText *text)
{
    free(text->at);
    *text = (SnlrtText){0};
}

bool snlrt_ids_push(SnlrtIds *ids, uint32_t id)
{
    void *at = ids->at;
    bool ok = snlrt_tok_reserve(&at, &ids->cap, ids->n + 1, sizeof *ids->at);
    ids->at = at;
    if (ok) ids->at[ids->n++] = (int32_t)id;
    return ok;
}

bool snlrt_text_append(SnlrtText *text, const char *bytes, size_t nbytes)
{
    if (nbytes == 0) return true;
    if (nbytes > SIZE_MAX - text->n) return false;
    void *at = text->at;
    bool ok = snlrt_tok_reserve(&at, &text->cap, text->n + nbytes, 1);
    text->at = at;
    if (!ok) return false;
    memcpy(text->at + text->n, bytes, nbytes);
    text->n += nbytes;
    return true;
}

size_t snlrt_text_find(const char *text, size_t nbytes, size_t from, SnlrtTokString s)
{
    if (s.n == 0) return nbytes;
    while (from < nbytes && nbytes - from >= s.n) {
        const char *hit = memchr(text + from, s.at[0], nbytes - from - s.n + 1);
        if (!hit) break;
        if (memcmp(hit, s.at, s.n) == 0) return (size_t)(hit - text);
        from = (size_t)(hit - text) + 1;
    }
    return nbytes;
}

bool snlrt_text_replace(SnlrtText *out, const char *text, size_t nbytes, SnlrtTokString s,
                        SnlrtTokString t, size_t limit)
{
    size_t from = 0;
    while (from < nbytes && out->n <= limit) {
        size_t hit = snlrt_text_find(text, nbytes, from, s);
        if (!snlrt_text_append(out, text + from, hit - from)) return false;
        if (hit == nbytes) break;
        if (!snlrt_text_append(out, t.at, t.n)) return false;
        from = hit + s.n;
    }
    return true;
}
