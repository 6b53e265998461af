/* compiler/frontend/json.c -- jansson behind limits, locations and a first-error rule. */
#include "compiler/frontend/json.h"

#include "ir/base/file.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

const SnlJsonLimits snl_json_config_limits = {
    .max_bytes = (size_t)8 << 20, .max_depth = 32, .max_values = 200000};

enum { SHOWN_KEY = 120 }; /* keys may be as long as their text */

/* ---- parsing --------------------------------------------------------------------------------- */

/* Counts values and nesting before jansson allocates anything: `[[],[],...` costs a hundred bytes
 * of memory for each three bytes of text. Only brackets, commas and colons outside strings matter,
 * so it needs no grammar; a text that passes may still be wrong. */
static bool within_limits(const char *text, size_t len, const SnlJsonLimits *limits,
                          size_t *out_offset, const char **out_reason)
{
    int depth = 0;
    size_t values = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        *out_offset = i;
        if (in_string) {
            if (c == '\\') i++;
            if (c == '"') in_string = false;
            continue;
        }
        if (c == '"') in_string = true;
        if (c == '[' || c == '{') depth++;
        if (c == ']' || c == '}') depth--;
        if (c == '[' || c == '{' || c == ',' || c == ':') values++;
        if (depth > limits->max_depth) {
            *out_reason = "nested too deeply";
            return false;
        }
        if (values > limits->max_values) {
            *out_reason = "too many values";
            return false;
        }
    }
    return true;
}

/* jansson's position is behind the token it complains about and its text ends with that token
 * (`... near 'x'`): steps back to the token's first byte. */
static size_t error_offset(const json_error_t *error, const char *text, size_t len)
{
    size_t end = error->position > 0 ? (size_t)error->position : 0;
    if (end > len) end = len;
    const char *near = strstr(error->text, " near '");
    if (near) {
        near += strlen(" near '");
        size_t n = strlen(near);
        n = n ? n - 1 : 0; /* the closing quote */
        if (n && n <= end && memcmp(text + end - n, near, n) == 0) return end - n;
    }
    return end ? end - 1 : 0;
}

bool snl_json_parse_text(SnlArena *arena, const char *text, size_t len, const SnlJsonLimits *limits,
                         json_t **out_root, size_t *out_offset, const char **out_reason)
{
    *out_offset = 0;
    if (len > limits->max_bytes) {
        *out_reason =
            snl_arena_printf(arena, "found %zu bytes, wanted at most %zu", len, limits->max_bytes);
        return false;
    }
    if (!within_limits(text, len, limits, out_offset, out_reason)) return false;
    json_error_t error;
    *out_root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (*out_root) return true;
    *out_offset = error_offset(&error, text, len);
    *out_reason = snl_arena_strdup(arena, error.text);
    return false;
}

SnlStatus snl_json_open_text(SnlArena *arena, const SnlSource *source, const SnlJsonLimits *limits,
                             SnlDiag *diag, SnlJsonDoc **out_doc)
{
    json_t *root = NULL;
    size_t offset;
    const char *reason;
    if (!snl_json_parse_text(arena, source->text, source->len, limits, &root, &offset, &reason)) {
        SnlLoc loc = {source, (uint32_t)offset, 1};
        return snl_error(diag, SNL_E_FORMAT, loc, "not a JSON text that snlpc reads: %s", reason);
    }
    SnlJsonDoc *doc = SNL_NEW(arena, SnlJsonDoc);
    *doc = (SnlJsonDoc){.arena = arena, .diag = diag, .source = source, .root = root};
    *out_doc = doc;
    return SNL_OK;
}

SnlStatus snl_json_open(SnlArena *arena, const char *path, const SnlJsonLimits *limits,
                        SnlDiag *diag, SnlJsonDoc **out_doc)
{
    SnlSource *source = SNL_NEW(arena, SnlSource);
    SNL_TRY(snl_file_read(arena, path, limits->max_bytes, diag, source));
    return snl_json_open_text(arena, source, limits, diag, out_doc);
}

void snl_json_close(SnlJsonDoc *doc)
{
    if (!doc) return;
    json_decref(doc->root);
    doc->root = NULL;
}

/* ---- walking --------------------------------------------------------------------------------- */

SnlJson snl_json_root(SnlJsonDoc *doc)
{
    return (SnlJson){doc, doc->root, "$"};
}

const char *snl_json_kind(SnlJson value)
{
    if (!value.at) return "nothing";
    switch (json_typeof(value.at)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number with a fraction or exponent";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_NULL:
        return "null";
    }
    return "nothing";
}

SnlStatus snl_json_fail(SnlJson value, SnlDiagKind kind, const char *fmt, ...)
{
    SnlJsonDoc *doc = value.doc;
    if (doc->status != SNL_OK) return doc->status;
    va_list args;
    va_start(args, fmt);
    const char *message = snl_arena_vprintf(doc->arena, fmt, args);
    va_end(args);
    const char *place = snl_arena_printf(doc->arena, "%s: %s", doc->source->name, value.path);
    doc->status = snl_error_at(doc->diag, kind, place, "%s", message);
    return doc->status;
}

static void wrong_kind(SnlJson value, const char *wanted)
{
    snl_json_fail(value, SNL_E_CONFIG, "found %s, wanted %s", snl_json_kind(value), wanted);
}

SnlJson snl_json_get(SnlJson object, const char *key)
{
    SnlJson out = {object.doc, NULL, NULL};
    if (object.at && !json_is_object(object.at)) wrong_kind(object, "an object");
    if (object.at) out.at = json_object_get(object.at, key);
    if (json_is_null(out.at)) out.at = NULL;
    out.path = snl_arena_printf(object.doc->arena, "%s.%.*s", object.path, SHOWN_KEY, key);
    return out;
}

bool snl_json_has(SnlJson object, const char *key)
{
    const json_t *value = json_object_get(object.at, key);
    return value && !json_is_null(value);
}

bool snl_json_states(SnlJson object, const char *key)
{
    return json_object_get(object.at, key) != NULL;
}

SnlJson snl_json_item(SnlJson array, size_t i)
{
    SnlJson out = {array.doc, json_array_get(array.at, i), NULL};
    out.path = snl_arena_printf(array.doc->arena, "%s[%zu]", array.path, i);
    return out;
}

size_t snl_json_length(SnlJson array)
{
    if (json_is_array(array.at)) return json_array_size(array.at);
    wrong_kind(array, "a list");
    return 0;
}

/* ---- values ---------------------------------------------------------------------------------- */

int64_t snl_json_int(SnlJson value, int64_t min, int64_t max)
{
    if (!json_is_integer(value.at)) {
        wrong_kind(value, "an integer");
        return min;
    }
    int64_t number = json_integer_value(value.at);
    if (number >= min && number <= max) return number;
    snl_json_fail(value, SNL_E_CONFIG, "found %" PRId64 ", wanted %" PRId64 " to %" PRId64, number,
                  min, max);
    return min;
}

double snl_json_real(SnlJson value, double min, double max)
{
    if (!json_is_number(value.at)) {
        wrong_kind(value, "a number");
        return min;
    }
    double number = json_number_value(value.at);
    if (number >= min && number <= max) return number;
    snl_json_fail(value, SNL_E_CONFIG, "found %g, wanted %g to %g", number, min, max);
    return min;
}

bool snl_json_bool(SnlJson value)
{
    if (!json_is_boolean(value.at)) wrong_kind(value, "true or false");
    return json_is_true(value.at);
}

const char *snl_json_text(SnlJson value)
{
    if (json_is_string(value.at)) return json_string_value(value.at);
    wrong_kind(value, "a string");
    return "";
}

int64_t snl_json_int_or(SnlJson value, int64_t min, int64_t max, int64_t def)
{
    return value.at ? snl_json_int(value, min, max) : def;
}

double snl_json_real_or(SnlJson value, double min, double max, double def)
{
    return value.at ? snl_json_real(value, min, max) : def;
}

bool snl_json_bool_or(SnlJson value, bool def)
{
    return value.at ? snl_json_bool(value) : def;
}

const char *snl_json_text_or(SnlJson value, const char *def)
{
    return value.at ? snl_json_text(value) : def;
}
