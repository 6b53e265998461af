/* ir/parse.h -- what the files of the parser share. Private to ir/.
 *
 * Functions return false after reporting (or when the cause was reported before); the caller then
 * recovers at the next line. Two passes: declarations and signatures first, then bodies, so that a
 * function may name one that stands further down. */
#ifndef SNL_IR_PARSE_H
#define SNL_IR_PARSE_H

#include "ir/ir.h"
#include "ir/lex.h"

enum {
    SNL_PARSE_MAX_ERRORS = 20,
    SNL_PARSE_MAX_DEPTH = 8,     /* of lists in attribute values */
    SNL_PARSE_MAX_PARAMS = 64,   /* of a function, values and states together */
    SNL_PARSE_MAX_ATTRS = 64,    /* in one pair of braces */
    SNL_PARSE_MAX_RESULTS = 1024 /* of one operation: a chain's taps */
};

/* A name of the function being parsed. value NULL: its definition did not parse, uses stay silent.
 */
typedef struct SnlScopeEntry {
    const char *name;
    size_t n;
    SnlValue *value;
} SnlScopeEntry;

typedef struct SnlScope {
    SnlScopeEntry *at;
    size_t n, cap; /* cap: a power of two, or 0 */
} SnlScope;

/* The entry of a name, or NULL. */
SnlScopeEntry *snl_scope_find(const SnlScope *scope, const char *name, size_t n);
/* `name` must not be in the scope yet. */
void snl_scope_add(SnlScope *scope, SnlArena *arena, const char *name, size_t n, SnlValue *value);
void snl_scope_clear(SnlScope *scope);

typedef struct SnlBody {
    SnlFunc *func;
    uint32_t at; /* offset just after its '{' */
} SnlBody;

typedef struct SnlParser {
    SnlLexer lex;
    SnlToken tok; /* the next token */
    SnlArena *arena;
    SnlDiag *diag;
    SnlModule *m;
    unsigned errors;
    SnlVec(SnlBody) bodies;
    SnlVec(const char *) broken; /* declarations that did not parse: their uses stay silent */
    SnlArena *scratch;           /* dies with the parser: the scope */
    SnlScope scope;
} SnlParser;

/* ---- tokens (parse.c) ------------------------------------------------------------------------ */

void snl_p_advance(SnlParser *p);
bool snl_p_fail(SnlParser *p, SnlDiagKind kind, const SnlToken *where, const char *fmt, ...)
    SNL_PRINTF(4, 5);
/* "found X, wanted `what`" at the next token; always false. */
bool snl_p_wanted(SnlParser *p, const char *what);
bool snl_p_at(const SnlParser *p, char punct);
bool snl_p_accept(SnlParser *p, char punct);
bool snl_p_expect(SnlParser *p, char punct);
bool snl_p_at_word(const SnlParser *p, const char *word);
bool snl_p_accept_word(SnlParser *p, const char *word);
/* The name of a token as a string of the module's arena. */
const char *snl_p_name(SnlParser *p, const SnlToken *t);
/* What kind of thing the module calls `name`: "weight", "state", "layer", "func", or NULL. */
const char *snl_p_kind_of(const SnlParser *p, const char *name);
/* Reports that symbol token `t` is not a `wanted` (silently when its declaration was broken). */
bool snl_p_no_symbol(SnlParser *p, const SnlToken *t, const char *name, const char *wanted);

/* ---- types and attributes (parse_attr.c) ----------------------------------------------------- */

/* `symbolic`: the first dimension may be T. */
bool snl_p_type(SnlParser *p, bool symbolic, const SnlType **out);
bool snl_p_types(SnlParser *p, const SnlType ***out, size_t *out_n);
/* `{...}`; the opening brace is the next token. */
bool snl_p_attrs(SnlParser *p, SnlAttrs *out);

/* ---- bodies (parse_body.c) ------------------------------------------------------------------- */

void snl_p_body(SnlParser *p, const SnlBody *body);

#endif
