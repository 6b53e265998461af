/* passes/pipeline.c -- pipeline texts: parsing with located errors, canonical printing.
 *
 *     pipeline ::= element (',' element)*
 *     element  ::= name options?
 *     options  ::= '{' key '=' value (' ' key '=' value)* '}'          value: word or "text"
 *
 * Blanks may stand anywhere between tokens. The canonical text names only options that differ from
 * their default, in the order of the pass's table, and quotes what is not a word. */
#include "passes/pipeline.h"

#include "ir/base/checked.h"

#include <string.h>

typedef struct Reader {
    SnlArena *arena;
    SnlDiag *diag;
    SnlSource source;
    size_t at;
} Reader;

static bool is_word_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("_.:+-|/", c));
}

static char peek(Reader *r)
{
    while (r->at < r->source.len && strchr(" \t\n", r->source.text[r->at])) r->at++;
    return r->at < r->source.len ? r->source.text[r->at] : '\0';
}

static bool take(Reader *r, char c)
{
    if (peek(r) != c || c == '\0') return false;
    r->at++;
    return true;
}

static SnlLoc loc_from(const Reader *r, size_t start)
{
    size_t end = r->at > start ? r->at : start;
    return (SnlLoc){&r->source, (uint32_t)start, (uint32_t)(end - start)};
}

static SnlLoc loc_here(Reader *r)
{
    peek(r);
    return (SnlLoc){&r->source, (uint32_t)r->at, r->at < r->source.len ? 1 : 0};
}

/* What stands at the reader, for messages. */
static const char *found(Reader *r)
{
    char c = peek(r);
    return c ? snl_arena_printf(r->arena, "'%c'", c) : "the end";
}

/* NULL when no word stands here. */
static const char *take_word(Reader *r)
{
    peek(r);
    size_t start = r->at;
    while (r->at < r->source.len && is_word_char(r->source.text[r->at])) r->at++;
    return r->at == start ? NULL
                          : snl_arena_strndup(r->arena, r->source.text + start, r->at - start);
}

/* After the opening quote. */
static SnlStatus take_quoted(Reader *r, size_t start, const char **out)
{
    char *text = snl_arena_alloc(r->arena, r->source.len - r->at + 1);
    size_t n = 0;
    while (r->at < r->source.len && r->source.text[r->at] != '"') {
        char c = r->source.text[r->at++];
        if (c == '\\' && r->at < r->source.len) c = r->source.text[r->at++];
        text[n++] = c;
    }
    if (r->at == r->source.len)
        return snl_error(r->diag, SNL_E_PIPELINE, loc_from(r, start),
                         "pipeline: the quote is never closed");
    r->at++;
    *out = text;
    return SNL_OK;
}

static const char *option_names(SnlArena *arena, const SnlPass *pass)
{
    const char *text = "";
    for (const SnlPassOption *o = pass->options; o && o->name; o++)
        text = snl_arena_printf(arena, "%s%s%s", text, *text ? ", " : "", o->name);
    return *text ? text : "none";
}

static const char *pass_names(SnlArena *arena)
{
    const char *text = "";
    for (const SnlPass *const *p = snl_passes; *p; p++)
        text = snl_arena_printf(arena, "%s%s%s", text, *text ? ", " : "", (*p)->name);
    return text;
}

static SnlStatus check_value(Reader *r, const SnlPass *pass, const SnlPassOption *option,
                             const char *value, SnlLoc loc)
{
    int64_t number;
    switch (option->kind) {
    case SNL_OPTION_INT:
        if (snl_parse_i64(value, option->min, option->max, &number)) return SNL_OK;
        return snl_error(r->diag, SNL_E_PIPELINE, loc,
                         "%s: %s: found '%s', wanted a whole number from %lld to %lld", pass->name,
                         option->name, value, (long long)option->min, (long long)option->max);
    case SNL_OPTION_BOOL:
        if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0) return SNL_OK;
        return snl_error(r->diag, SNL_E_PIPELINE, loc, "%s: %s: found '%s', wanted true or false",
                         pass->name, option->name, value);
    case SNL_OPTION_TEXT:
        return SNL_OK;
    }
    SNL_UNREACHABLE();
}

/* One `key=value`. */
static SnlStatus parse_option(Reader *r, const SnlPass *pass, const char **values, bool *given)
{
    SnlLoc at = loc_here(r);
    size_t start = r->at;
    const char *key = take_word(r);
    if (!key)
        return snl_error(r->diag, SNL_E_PIPELINE, at,
                         "%s: found %s, wanted an option or '}' (options: %s)", pass->name,
                         found(r), option_names(r->arena, pass));
    at = loc_from(r, start);
    size_t i = 0;
    while (pass->options && pass->options[i].name && strcmp(pass->options[i].name, key) != 0) i++;
    if (!pass->options || !pass->options[i].name)
        return snl_error(r->diag, SNL_E_PIPELINE, at, "%s has no option '%s' (options: %s)",
                         pass->name, key, option_names(r->arena, pass));
    if (given[i])
        return snl_error(r->diag, SNL_E_PIPELINE, at, "%s: option '%s' is given twice", pass->name,
                         key);
    given[i] = true;
    if (!take(r, '='))
        return snl_error(r->diag, SNL_E_PIPELINE, loc_here(r),
                         "%s: found %s, wanted '=' and a value after '%s'", pass->name, found(r),
                         key);
    at = loc_here(r);
    start = r->at;
    if (take(r, '"'))
        SNL_TRY(take_quoted(r, start, &values[i]));
    else if (!(values[i] = take_word(r)))
        return snl_error(r->diag, SNL_E_PIPELINE, at,
                         "%s: found %s, wanted a value of '%s' (a word or \"text\")", pass->name,
                         found(r), key);
    return check_value(r, pass, &pass->options[i], values[i], loc_from(r, start));
}

static SnlStatus parse_element(Reader *r, SnlPipelineElement *out)
{
    SnlLoc at = loc_here(r);
    size_t start = r->at;
    const char *name = take_word(r);
    if (!name)
        return snl_error(r->diag, SNL_E_PIPELINE, at,
                         "pipeline: found %s, wanted the name of a pass (passes: %s)", found(r),
                         pass_names(r->arena));
    out->pass = snl_pass_find(name);
    if (!out->pass)
        return snl_error(r->diag, SNL_E_PIPELINE, loc_from(r, start),
                         "pipeline: there is no pass '%s' (passes: %s)", name,
                         pass_names(r->arena));
    size_t n = 0;
    while (out->pass->options && out->pass->options[n].name) n++;
    out->option = SNL_NEW_ARRAY(r->arena, const char *, n + 1);
    bool *given = SNL_NEW_ARRAY(r->arena, bool, n + 1);
    for (size_t i = 0; i < n; i++) out->option[i] = out->pass->options[i].def;
    if (!take(r, '{')) return SNL_OK;
    while (!take(r, '}')) SNL_TRY(parse_option(r, out->pass, out->option, given));
    return SNL_OK;
}

SnlStatus snl_pipeline_parse(SnlArena *arena, const char *text, SnlDiag *diag, SnlPipeline *out)
{
    Reader *r = SNL_NEW(arena, Reader); /* locations point into it */
    *r = (Reader){arena, diag, {"pipeline", text, strlen(text)}, 0};
    *out = (SnlPipeline){0};
    if (peek(r) == '\0') return SNL_OK;
    do {
        SnlPipelineElement element = {0};
        SNL_TRY(parse_element(r, &element));
        SNL_PUSH(arena, &out->elements, element);
    } while (take(r, ','));
    if (peek(r) != '\0')
        return snl_error(diag, SNL_E_PIPELINE, loc_here(r),
                         "pipeline: found %s, wanted ',' or the end", found(r));
    return SNL_OK;
}

static const char *value_text(SnlArena *arena, const char *value)
{
    const char *p = value;
    while (is_word_char(*p)) p++;
    if (*value && !*p) return value;
    char *text = snl_arena_alloc(arena, 2 * strlen(value) + 3);
    size_t n = 0;
    text[n++] = '"';
    for (p = value; *p; p++) {
        if (*p == '"' || *p == '\\') text[n++] = '\\';
        text[n++] = *p;
    }
    text[n++] = '"';
    return text;
}

static const char *element_text(SnlArena *arena, const SnlPipelineElement *element)
{
    const SnlPassOption *option = element->pass->options;
    const char *inside = "";
    for (size_t i = 0; option && option[i].name; i++)
        if (strcmp(element->option[i], option[i].def) != 0)
            inside = snl_arena_printf(arena, "%s%s%s=%s", inside, *inside ? " " : "",
                                      option[i].name, value_text(arena, element->option[i]));
    return *inside ? snl_arena_printf(arena, "%s{%s}", element->pass->name, inside)
                   : element->pass->name;
}

char *snl_pipeline_print(SnlArena *arena, const char *text, SnlDiag *diag)
{
    SnlPipeline pipeline;
    if (snl_pipeline_parse(arena, text, diag, &pipeline) != SNL_OK) return NULL;
    char *out = snl_arena_strdup(arena, "");
    for (size_t i = 0; i < pipeline.elements.n; i++)
        out = snl_arena_printf(arena, "%s%s%s", out, i ? "," : "",
                               element_text(arena, &pipeline.elements.at[i]));
    return out;
}
