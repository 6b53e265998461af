/* ir/lex.h -- tokens of the IR's text form. Private to ir/.
 *
 * The lexer walks an SnlSource without copying it and never reports by itself: a malformed token
 * comes back as SNL_TOK_BAD with a message, so that skipping text stays silent and the parser
 * decides. */
#ifndef SNL_IR_LEX_H
#define SNL_IR_LEX_H

#include "ir/base/diag.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum SnlTokenKind {
    SNL_TOK_END,    /* end of the text */
    SNL_TOK_BAD,    /* `why` says what is wrong */
    SNL_TOK_VALUE,  /* %name */
    SNL_TOK_SYMBOL, /* @name */
    SNL_TOK_WORD,   /* linear, f32, T */
    SNL_TOK_INT,
    SNL_TOK_REAL,
    SNL_TOK_STRING, /* with its quotes, escapes not yet replaced */
    SNL_TOK_ARROW,  /* -> */
    SNL_TOK_PUNCT   /* one of ( ) [ ] { } , : = */
} SnlTokenKind;

typedef struct SnlToken {
    SnlTokenKind kind;
    uint32_t offset, length; /* in the source, sigils and quotes included */
    const char *text;        /* name without its sigil; string without its quotes; else the token */
    size_t n;
    int64_t i;       /* INT */
    double r;        /* REAL */
    char punct;      /* PUNCT */
    bool line_head;  /* first token of its line */
    const char *why; /* BAD */
} SnlToken;

/* Texts beyond this are refused, so that the memory a text can ask for is bounded too. */
#define SNL_MAX_TEXT ((size_t)16 << 20)
enum { SNL_MAX_NAME = 255 };

typedef struct SnlLexer {
    const SnlSource *source;
    uint32_t at;
} SnlLexer;

/* The token at lexer->at or after it, which is then consumed. */
SnlToken snl_lex(SnlLexer *lexer);

static inline SnlLoc snl_token_loc(const SnlLexer *lexer, const SnlToken *t)
{
    return (SnlLoc){lexer->source, t->offset, t->length};
}

/* Text of a STRING token with escapes replaced. */
const char *snl_token_string(SnlArena *arena, const SnlToken *t);
/* True when `name` can be spelt after % or @. */
bool snl_name_valid(const char *name);

#endif
