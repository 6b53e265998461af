/* compiler/frontend/json.h -- JSON texts of other people, read with located errors.
 *
 * Grammar errors point into the text (`config.json:12:5`), errors of meaning name the place as a
 * path
 * (`config.json: $.rope_scaling.factor`). Duplicate keys, too much nesting and too many values are
 * errors; memory is bounded by the limits, whatever the text.
 *
 * A document keeps the first error: after it, every getter returns a harmless value (the lower
 * bound,
 * "", false), so that a reader reads all it wants and looks at `doc->status` once. */
#ifndef SNL_FRONTEND_JSON_H
#define SNL_FRONTEND_JSON_H

#include "ir/base/diag.h"

#include <jansson.h>
#include <stdbool.h>

typedef struct SnlJsonLimits {
    size_t max_bytes;  /* of the text */
    int max_depth;     /* of objects and arrays in each other */
    size_t max_values; /* objects, arrays, members and elements together */
} SnlJsonLimits;

/* Configuration files: far above what models ship, far below what would hurt. */
extern const SnlJsonLimits snl_json_config_limits;

typedef struct SnlJsonDoc {
    SnlArena *arena;
    SnlDiag *diag;
    const SnlSource *source;
    json_t *root;
    SnlStatus status; /* the first failure */
} SnlJsonDoc;

/* A value and the path that leads to it. `at` is NULL when the key is absent or its value null. */
typedef struct SnlJson {
    SnlJsonDoc *doc;
    const json_t *at;
    const char *path;
} SnlJson;

/* Parses `text`; on failure gives the offset and the reason (in the arena) instead of reporting,
 * for texts that are part of a binary file. The caller owns *out_root (json_decref). */
bool snl_json_parse_text(SnlArena *arena, const char *text, size_t len, const SnlJsonLimits *limits,
                         json_t **out_root, size_t *out_offset, const char **out_reason);

/* Reads and parses a whole file. On success the document must be closed. */
SnlStatus snl_json_open(SnlArena *arena, const char *path, const SnlJsonLimits *limits,
                        SnlDiag *diag, SnlJsonDoc **out_doc);
/* Same for a text in memory; `source` must outlive the document. */
SnlStatus snl_json_open_text(SnlArena *arena, const SnlSource *source, const SnlJsonLimits *limits,
                             SnlDiag *diag, SnlJsonDoc **out_doc);
void snl_json_close(SnlJsonDoc *doc); /* NULL is fine */

SnlJson snl_json_root(SnlJsonDoc *doc);
/* Member of an object; reports when `object` is something else. */
SnlJson snl_json_get(SnlJson object, const char *key);
/* Element of an array; i must be below snl_json_length. */
SnlJson snl_json_item(SnlJson array, size_t i);
/* Elements of an array; reports and returns 0 when it is something else. */
size_t snl_json_length(SnlJson array);
static inline bool snl_json_present(SnlJson value)
{
    return value.at != NULL;
}
bool snl_json_has(SnlJson object, const char *key);    /* present and not null */
bool snl_json_states(SnlJson object, const char *key); /* present, null or not */

/* The value itself; absent, of another kind or out of range is reported. */
int64_t snl_json_int(SnlJson value, int64_t min, int64_t max);
double snl_json_real(SnlJson value, double min, double max); /* integers are fine */
bool snl_json_bool(SnlJson value);
const char *snl_json_text(SnlJson value);
/* The same with a value for an absent key. */
int64_t snl_json_int_or(SnlJson value, int64_t min, int64_t max, int64_t def);
double snl_json_real_or(SnlJson value, double min, double max, double def);
bool snl_json_bool_or(SnlJson value, bool def);
const char *snl_json_text_or(SnlJson value, const char *def);

/* Reports at the value's place unless the document has failed already; returns its status. */
SnlStatus snl_json_fail(SnlJson value, SnlDiagKind kind, const char *fmt, ...) SNL_PRINTF(3, 4);
/* What kind of value it is, for messages: "a string", "nothing", ... */
const char *snl_json_kind(SnlJson value);

#endif
