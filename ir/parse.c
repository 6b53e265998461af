/* ir/parse.c -- text to module: tokens, declarations, signatures, recovery. Grammar: ir/IR.md.
 *
 * Types and attributes are in parse_attr.c, operations in parse_body.c. The parser checks spelling
 * and names; whether operands, attributes and types fit is ir/verify.c's business, which runs
 * afterwards. */
#include "ir/parse.h"

#include "ir/attr_rules.h"

#include <string.h>

/* ---- tokens ---------------------------------------------------------------------------------- */

void snl_p_advance(SnlParser *p)
{
    p->tok = snl_lex(&p->lex);
}

bool snl_p_fail(SnlParser *p, SnlDiagKind kind, const SnlToken *where, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *text = snl_arena_vprintf(p->scratch, fmt, args);
    va_end(args);
    snl_error(p->diag, kind, snl_token_loc(&p->lex, where), "%s", text);
    p->errors++;
    return false;
}

bool snl_p_wanted(SnlParser *p, const char *what)
{
    const SnlToken *t = &p->tok;
    if (t->kind == SNL_TOK_BAD) return snl_p_fail(p, SNL_E_SYNTAX, t, "%s", t->why);
    if (t->kind == SNL_TOK_END)
        return snl_p_fail(p, SNL_E_SYNTAX, t, "found the end of the text, wanted %s", what);
    int n = t->length < 40 ? (int)t->length : 40;
    return snl_p_fail(p, SNL_E_SYNTAX, t, "found '%.*s%s', wanted %s", n,
                      p->lex.source->text + t->offset, t->length > 40 ? "..." : "", what);
}

bool snl_p_at(const SnlParser *p, char punct)
{
    return p->tok.kind == SNL_TOK_PUNCT && p->tok.punct == punct;
}

bool snl_p_accept(SnlParser *p, char punct)
{
    if (!snl_p_at(p, punct)) return false;
    snl_p_advance(p);
    return true;
}

bool snl_p_expect(SnlParser *p, char punct)
{
    char what[4] = {'\'', punct, '\'', '\0'};
    return snl_p_accept(p, punct) || snl_p_wanted(p, what);
}

bool snl_p_at_word(const SnlParser *p, const char *word)
{
    const SnlToken *t = &p->tok;
    return t->kind == SNL_TOK_WORD && t->n == strlen(word) && memcmp(t->text, word, t->n) == 0;
}

bool snl_p_accept_word(SnlParser *p, const char *word)
{
    if (!snl_p_at_word(p, word)) return false;
    snl_p_advance(p);
    return true;
}

const char *snl_p_name(SnlParser *p, const SnlToken *t)
{
    return snl_arena_strndup(p->arena, t->text, t->n);
}

/* ---- symbols --------------------------------------------------------------------------------- */

const char *snl_p_kind_of(const SnlParser *p, const char *name)
{
    if (snl_module_find_weight(p->m, name)) return "weight";
    if (snl_module_find_state(p->m, name)) return "state";
    const SnlFunc *f = snl_module_find_func(p->m, name);
    if (f) return f->kind == SNL_LAYER ? "layer" : "func";
    return NULL;
}

static bool is_broken(const SnlParser *p, const char *name)
{
    for (size_t i = 0; i < p->broken.n; i++)
        if (strcmp(p->broken.at[i], name) == 0) return true;
    return false;
}

bool snl_p_no_symbol(SnlParser *p, const SnlToken *t, const char *name, const char *wanted)
{
    const char *kind = snl_p_kind_of(p, name);
    if (kind) return snl_p_fail(p, SNL_E_NAME, t, "'@%s' is a %s, wanted a %s", name, kind, wanted);
    if (is_broken(p, name)) return false;
    return snl_p_fail(p, SNL_E_NAME, t, "unknown %s '@%s': declare it before it is used", wanted,
                      name);
}

/* The name in a declaration; a repeated one is an error. */
static bool declared_name(SnlParser *p, SnlToken *out_tok, const char **out_name)
{
    if (p->tok.kind != SNL_TOK_SYMBOL) return snl_p_wanted(p, "a name such as '@x'");
    *out_tok = p->tok;
    *out_name = snl_p_name(p, &p->tok);
    const char *kind = snl_p_kind_of(p, *out_name);
    if (kind)
        return snl_p_fail(p, SNL_E_NAME, &p->tok,
                          "'@%s' is declared twice (the first is a %s): choose another name",
                          *out_name, kind);
    snl_p_advance(p);
    return true;
}

/* ---- weights and states ---------------------------------------------------------------------- */

static bool parse_source(SnlParser *p, const char *name, const SnlType *type, SnlWeight **out)
{
    const char *text[2];
    for (int i = 0; i < 2; i++) {
        if (p->tok.kind != SNL_TOK_STRING)
            return snl_p_wanted(p, i ? "the tensor's name in quotes" : "a file name in quotes");
        text[i] = snl_token_string(p->arena, &p->tok);
        snl_p_advance(p);
    }
    *out = snl_weight_source(p->m, name, type, text[0], text[1]);
    return true;
}

static bool find_wexpr(const SnlToken *t, SnlWexprCode *out)
{
    for (int i = 0; i < SNL_WEXPR_COUNT; i++) {
        const char *text = snl_wexpr_text((SnlWexprCode)i);
        if (strlen(text) != t->n || memcmp(text, t->text, t->n) != 0) continue;
        *out = (SnlWexprCode)i;
        return true;
    }
    return false;
}

typedef SnlVec(SnlWeight *) WeightVec;

static bool parse_weight_args(SnlParser *p, WeightVec *args)
{
    if (!snl_p_accept(p, '(')) return true;
    do {
        if (p->tok.kind != SNL_TOK_SYMBOL) return snl_p_wanted(p, "a weight such as '@w'");
        const char *name = snl_p_name(p, &p->tok);
        SnlWeight *w = snl_module_find_weight(p->m, name);
        if (!w) return snl_p_no_symbol(p, &p->tok, name, "weight");
        SNL_PUSH(p->arena, args, w);
        snl_p_advance(p);
    } while (snl_p_accept(p, ','));
    return snl_p_expect(p, ')');
}

static bool parse_weight_expr(SnlParser *p, const char *name, const SnlType *type, SnlWeight **out)
{
    SnlToken head = p->tok;
    SnlWexprCode code;
    if (head.kind != SNL_TOK_WORD) return snl_p_wanted(p, "a weight expression such as 'source'");
    if (!find_wexpr(&head, &code))
        return snl_p_fail(p, SNL_E_NAME, &head,
                          "unknown weight expression '%.*s' (ir/IR.md lists them)", (int)head.n,
                          head.text);
    snl_p_advance(p);
    if (code == SNL_WEXPR_SOURCE) return parse_source(p, name, type, out);
    WeightVec args = {0};
    SnlAttrs attrs = {0};
    if (!parse_weight_args(p, &args)) return false;
    if (snl_p_at(p, '{') && !snl_p_attrs(p, &attrs)) return false;
    *out = snl_weight_expr(p->m, name, type, code, args.at, args.n);
    (*out)->attrs = attrs;
    return true;
}

static bool parse_weight(SnlParser *p, const SnlToken *at, const char *name)
{
    const SnlType *type;
    SnlWeight *w;
    if (!snl_p_expect(p, ':') || !snl_p_type(p, false, &type) || !snl_p_expect(p, '='))
        return false;
    if (!parse_weight_expr(p, name, type, &w)) return false;
    w->loc = snl_token_loc(&p->lex, at);
    return true;
}

static bool parse_state(SnlParser *p, const SnlToken *at, const char *name)
{
    const SnlType *type;
    if (!snl_p_expect(p, ':') || !snl_p_type(p, false, &type)) return false;
    snl_module_state(p->m, name, type)->loc = snl_token_loc(&p->lex, at);
    return true;
}

/* ---- signatures ------------------------------------------------------------------------------ */

static bool param_name_taken(const SnlFunc *f, const char *name, bool state)
{
    for (size_t i = 0; !state && i < f->n_param; i++)
        if (strcmp(f->param[i]->name, name) == 0) return true;
    for (size_t i = 0; state && i < f->n_state_param; i++)
        if (strcmp(f->state_param[i]->name, name) == 0) return true;
    return false;
}

static bool parse_param(SnlParser *p, SnlFunc *f)
{
    SnlToken at = p->tok;
    bool state = at.kind == SNL_TOK_SYMBOL;
    const SnlType *type = NULL;
    if (!state && at.kind != SNL_TOK_VALUE)
        return snl_p_wanted(p, "a parameter: '%x: type' or '@x: state'");
    const char *name = snl_p_name(p, &at);
    if (f->n_param + f->n_state_param == SNL_PARSE_MAX_PARAMS)
        return snl_p_fail(p, SNL_E_STRUCTURE, &at, "a function has at most %d parameters",
                          SNL_PARSE_MAX_PARAMS);
    if (param_name_taken(f, name, state))
        return snl_p_fail(p, SNL_E_NAME, &at, "parameter '%.*s' is declared twice", (int)at.length,
                          p->lex.source->text + at.offset);
    if (!state && f->n_state_param > 0)
        return snl_p_fail(p, SNL_E_SYNTAX, &at, "value parameters come before state parameters");
    snl_p_advance(p);
    if (!snl_p_expect(p, ':')) return false;
    if (state) {
        if (!snl_p_accept_word(p, "state")) return snl_p_wanted(p, "'state'");
        snl_func_state_param(f, name)->loc = snl_token_loc(&p->lex, &at);
        return true;
    }
    if (!snl_p_type(p, true, &type)) return false;
    snl_func_param(f, name, type)->loc = snl_token_loc(&p->lex, &at);
    return true;
}

static bool parse_results(SnlParser *p, SnlFunc *f)
{
    if (p->tok.kind != SNL_TOK_ARROW) return true;
    snl_p_advance(p);
    const SnlType **type;
    size_t n;
    if (!snl_p_types(p, &type, &n)) return false;
    for (size_t i = 0; i < n; i++) snl_func_result(f, type[i]);
    return true;
}

static bool parse_surrogate(SnlParser *p, SnlFunc *f)
{
    if (!snl_p_accept_word(p, "surrogate")) return true;
    SnlToken at = p->tok;
    if (snl_p_accept_word(p, "identity")) {
        f->surrogate = SNL_SURROGATE_IDENTITY;
        return true;
    }
    if (snl_p_accept_word(p, "zero")) {
        f->surrogate = SNL_SURROGATE_ZERO;
        return true;
    }
    bool diag = snl_p_accept_word(p, "diag");
    if (!diag && !snl_p_accept_word(p, "streams"))
        return snl_p_wanted(p, "a surrogate: identity, zero, diag @w or streams @w");
    f->surrogate = diag ? SNL_SURROGATE_DIAG : SNL_SURROGATE_STREAMS;
    at = p->tok;
    if (at.kind != SNL_TOK_SYMBOL) return snl_p_wanted(p, "the surrogate's weight");
    const char *name = snl_p_name(p, &at);
    f->surrogate_weight = snl_module_find_weight(p->m, name);
    if (!f->surrogate_weight) return snl_p_no_symbol(p, &at, name, "weight");
    snl_p_advance(p);
    return true;
}

static bool parse_signature(SnlParser *p, SnlFunc *f)
{
    if (!snl_p_expect(p, '(')) return false;
    bool more = !snl_p_at(p, ')');
    while (more) {
        if (!parse_param(p, f)) return false;
        more = snl_p_accept(p, ',');
    }
    if (!snl_p_expect(p, ')') || !parse_results(p, f) || !parse_surrogate(p, f)) return false;
    if (snl_p_accept_word(p, "attributes")) {
        if (!snl_p_at(p, '{')) return snl_p_wanted(p, "'{'");
        if (!snl_p_attrs(p, &f->attrs)) return false;
    }
    if (!snl_p_at(p, '{')) return snl_p_wanted(p, "'{' and the body");
    return true;
}

/* True at `layer @x`, `weight @x`, ... at the head of a line. A declaration is the only place where
 * a word is followed by a symbol without a comma and the word is one of these. */
static bool at_declaration(const SnlParser *p)
{
    static const char *const word[] = {"weight", "state", "layer", "func", "module"};
    if (!p->tok.line_head) return false;
    SnlLexer look = p->lex;
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        if (snl_p_at_word(p, word[i])) return snl_lex(&look).kind == SNL_TOK_SYMBOL;
    return false;
}

/* Passes over a body whose '{' is the next token; a missing '}' is reported when it is parsed. */
static void skip_body(SnlParser *p)
{
    size_t depth = 0;
    while (p->tok.kind != SNL_TOK_END && !at_declaration(p)) {
        bool close = snl_p_at(p, '}');
        depth += snl_p_at(p, '{');
        depth -= close;
        snl_p_advance(p);
        if (close && depth == 0) return;
    }
}

static bool parse_func(SnlParser *p, SnlFuncKind kind, const SnlToken *at, const char *name)
{
    SnlFunc *f = snl_func_create(p->m, kind, name);
    f->loc = snl_token_loc(&p->lex, at);
    if (!parse_signature(p, f)) {
        snl_func_remove(f);
        return false;
    }
    SnlBody body = {f, p->tok.offset + 1};
    SNL_PUSH(p->scratch, &p->bodies, body);
    skip_body(p);
    return true;
}

/* ---- the module ------------------------------------------------------------------------------ */

static bool parse_declaration(SnlParser *p)
{
    SnlToken head = p->tok, at = head;
    const char *name = NULL;
    bool weight = snl_p_at_word(p, "weight"), state = snl_p_at_word(p, "state");
    bool layer = snl_p_at_word(p, "layer");
    if (!weight && !state && !layer && !snl_p_at_word(p, "func"))
        return snl_p_wanted(p, "a declaration: weight, state, layer or func");
    snl_p_advance(p);
    if (!declared_name(p, &at, &name)) return false;
    bool ok = weight  ? parse_weight(p, &at, name)
              : state ? parse_state(p, &at, name)
                      : parse_func(p, layer ? SNL_LAYER : SNL_FUNC, &at, name);
    if (!ok) SNL_PUSH(p->scratch, &p->broken, name);
    return ok;
}

static void parse_declarations(SnlParser *p)
{
    while (p->tok.kind != SNL_TOK_END && p->errors < SNL_PARSE_MAX_ERRORS) {
        uint32_t start = p->tok.offset;
        if (parse_declaration(p)) continue;
        if (p->tok.offset == start) snl_p_advance(p);
        while (p->tok.kind != SNL_TOK_END && !at_declaration(p)) snl_p_advance(p);
    }
}

static void parse_module_head(SnlParser *p)
{
    bool ok = snl_p_accept_word(p, "module");
    bool named = ok && p->tok.kind == SNL_TOK_SYMBOL;
    p->m = snl_module_create(p->arena, named ? snl_p_name(p, &p->tok) : "unnamed");
    if (!named) {
        snl_p_wanted(p, ok ? "the module's name such as '@m'" : "'module @name' at the beginning");
    } else {
        snl_p_advance(p);
        if (!snl_p_accept_word(p, "attributes")) return;
        if (snl_p_at(p, '{') ? snl_p_attrs(p, &p->m->attrs) : snl_p_wanted(p, "'{'")) return;
    }
    while (p->tok.kind != SNL_TOK_END && !at_declaration(p)) snl_p_advance(p);
}

static void parse_bodies(SnlParser *p)
{
    for (size_t i = 0; i < p->bodies.n && p->errors < SNL_PARSE_MAX_ERRORS; i++)
        snl_p_body(p, &p->bodies.at[i]);
}

SnlStatus snl_parse(SnlArena *arena, const SnlSource *source, SnlDiag *diag, SnlModule **out_module)
{
    if (source->len > SNL_MAX_TEXT)
        return snl_error(diag, SNL_E_SYNTAX, (SnlLoc){source, 0, 0},
                         "the text has %zu bytes, at most %zu are read", source->len, SNL_MAX_TEXT);
    SnlParser p = {.lex = {source, 0}, .arena = arena, .diag = diag};
    p.scratch = snl_arena_create();
    snl_p_advance(&p);
    parse_module_head(&p);
    parse_declarations(&p);
    parse_bodies(&p);
    snl_arena_destroy(p.scratch);
    if (p.errors > 0) return SNL_BAD_INPUT;
    SNL_TRY(snl_verify(p.m, diag));
    *out_module = p.m;
    return SNL_OK;
}
