/* runtime/stop.c -- stop texts. */
#include "runtime/stop.h"

#include <stdlib.h>
#include <string.h>

SnlrtStatus snlrt_bytes_append(SnlrtText *text, const char *bytes, size_t nbytes, SnlrtError *err)
{
    if (!nbytes) return SNLRT_OK;
    if (text->cap - text->n < nbytes) {
        if (nbytes > SIZE_MAX / 4 - text->n) return snlrt_fail(err, SNLRT_MACHINE, "out of memory");
        size_t cap = 2 * (text->n + nbytes);
        char *at = realloc(text->at, cap);
        if (!at) return snlrt_fail(err, SNLRT_MACHINE, "out of memory");
        text->at = at;
        text->cap = cap;
    }
    memcpy(text->at + text->n, bytes, nbytes);
    text->n += nbytes;
    return SNLRT_OK;
}

void snlrt_stopper_init(SnlrtStopper *stopper, const char *const *stops, size_t n_stops)
{
    *stopper = (SnlrtStopper){.stops = stops, .n_stops = n_stops};
}

void snlrt_stopper_deinit(SnlrtStopper *stopper)
{
    snlrt_text_deinit(&stopper->held);
}

typedef enum Match { MATCH_NONE, MATCH_BEGUN, MATCH_WHOLE } Match;

/* Is there a stop text at place `at` of the held text, or the beginning of one up to its end? */
static Match match_at(const SnlrtStopper *s, size_t at)
{
    size_t left = s->held.n - at;
    Match match = MATCH_NONE;
    for (size_t i = 0; i < s->n_stops; i++) {
        size_t n = strlen(s->stops[i]), common = n < left ? n : left;
        if (memcmp(s->stops[i], s->held.at + at, common)) continue;
        if (common == n) return MATCH_WHOLE;
        match = MATCH_BEGUN;
    }
    return match;
}

SnlrtStatus snlrt_stopper_push(SnlrtStopper *s, const char *text, size_t nbytes, SnlrtText *out,
                               SnlrtError *err)
{
    if (s->stopped) return SNLRT_OK;
    if (!s->n_stops) return snlrt_bytes_append(out, text, nbytes, err);
    SNLRT_TRY(snlrt_bytes_append(&s->held, text, nbytes, err));
    size_t shown = 0;
    Match match = MATCH_NONE;
    while (shown < s->held.n && (match = match_at(s, shown)) == MATCH_NONE) shown++;
    s->stopped = match == MATCH_WHOLE;
    SNLRT_TRY(snlrt_bytes_append(out, s->held.at, shown, err));
    if (shown) memmove(s->held.at, s->held.at + shown, s->held.n - shown);
    s->held.n -= shown;
    return SNLRT_OK;
}

SnlrtStatus snlrt_stopper_finish(SnlrtStopper *s, SnlrtText *out, SnlrtError *err)
{
    size_t shown = 0; /* a whole one may lie behind the beginning of another */
    while (!s->stopped && shown < s->held.n && match_at(s, shown) != MATCH_WHOLE) shown++;
    if (shown < s->held.n) s->stopped = true;
    s->held.n = 0;
    return snlrt_bytes_append(out, s->held.at, shown, err);
}
