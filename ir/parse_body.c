/* ir/parse_body.c -- the parser's operations: `%r = op %x, @w {key = value} : type`.
 *
 * A line that fails leaves its results in the scope without a value: their uses make later lines
 * fail in silence, so that one mistake is one message. */
#include "ir/parse.h"

#include <string.h>

/* ---- the scope: open addressing on names ----------------------------------------------------- */

enum { SCOPE_FIRST_CAP = 256 };

static size_t hash_name(const char *name, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)name[i]) * 0x100000001b3u;
    return (size_t)(h ^ (h >> 32));
}

static SnlScopeEntry *scope_slot(const SnlScope *scope, const char *name, size_t n)
{
    size_t i = hash_name(name, n) & (scope->cap - 1);
    while (scope->at[i].name && (scope->at[i].n != n || memcmp(scope->at[i].name, name, n) != 0))
        i = (i + 1) & (scope->cap - 1);
    return &scope->at[i];
}

SnlScopeEntry *snl_scope_find(const SnlScope *scope, const char *name, size_t n)
{
    if (scope->cap == 0) return NULL;
    SnlScopeEntry *e = scope_slot(scope, name, n);
    return e->name ? e : NULL;
}

static void scope_grow(SnlScope *scope, SnlArena *arena)
{
    SnlScope old = *scope;
    scope->cap = old.cap ? 2 * old.cap : SCOPE_FIRST_CAP;
    scope->at = SNL_NEW_ARRAY(arena, SnlScopeEntry, scope->cap);
    for (size_t i = 0; i < old.cap; i++)
        if (old.at[i].name) *scope_slot(scope, old.at[i].name, old.at[i].n) = old.at[i];
}

void snl_scope_add(SnlScope *scope, SnlArena *arena, const char *name, size_t n, SnlValue *value)
{
    if (2 * (scope->n + 1) > scope->cap) scope_grow(scope, arena);
    *scope_slot(scope, name, n) = (SnlScopeEntry){name, n, value};
    scope->n++;
}

void snl_scope_clear(SnlScope *scope)
{
    /* A large table is dropped: clearing it for each of many small functions would be quadratic. */
    if (scope->cap > SCOPE_FIRST_CAP) *scope = (SnlScope){0};
    if (scope->n > 0) memset(scope->at, 0, scope->cap * sizeof *scope->at);
    scope->n = 0;
}

/* ---- one operation, as written --------------------------------------------------------------- */

typedef struct OpText {
    SnlToken head; /* the op's name */
    SnlOpCode code;
    SnlVec(SnlToken) names;
    SnlVec(SnlValue *) in;
    SnlSymbols sym[SNL_MAX_GROUPS];
    int n_group;
    SnlAttrs attrs;
    const SnlType **type;
    size_t n_type;
    bool poisoned; /* uses the result of a line that failed */
} OpText;

static bool parse_result_name(SnlParser *p, OpText *o)
{
    SnlToken t = p->tok;
    if (t.kind != SNL_TOK_VALUE) return snl_p_wanted(p, "a result such as '%x'");
    SnlScopeEntry *old = snl_scope_find(&p->scope, t.text, t.n);
    bool twice = old != NULL;
    for (size_t i = 0; i < o->names.n; i++)
        twice |= o->names.at[i].n == t.n && memcmp(o->names.at[i].text, t.text, t.n) == 0;
    if (o->names.n == SNL_PARSE_MAX_RESULTS)
        return snl_p_fail(p, SNL_E_SYNTAX, &t, "an operation has at most %d results",
                          SNL_PARSE_MAX_RESULTS);
    if (twice) {
        snl_p_fail(p, SNL_E_NAME, &t, "'%%%.*s' is defined twice: choose another name", (int)t.n,
                   t.text);
        if (old && old->value) snl_note(p->diag, old->value->loc, "the first definition is here");
        return false;
    }
    SNL_PUSH(p->scratch, &o->names, t);
    snl_p_advance(p);
    return true;
}

static bool parse_result_names(SnlParser *p, OpText *o)
{
    if (p->tok.kind != SNL_TOK_VALUE) return true;
    do {
        if (!parse_result_name(p, o)) return false;
    } while (snl_p_accept(p, ','));
    return snl_p_expect(p, '=');
}

static bool parse_op_name(SnlParser *p, OpText *o)
{
    o->head = p->tok;
    if (o->head.kind != SNL_TOK_WORD) return snl_p_wanted(p, "an operation or '}'");
    if (!snl_op_find(o->head.text, o->head.n, &o->code))
        return snl_p_fail(p, SNL_E_NAME, &o->head, "unknown operation '%.*s' (ir/IR.md lists them)",
                          (int)o->head.n, o->head.text);
    snl_p_advance(p);
    return true;
}

/* ---- operands -------------------------------------------------------------------------------- */

static bool parse_value_operand(SnlParser *p, OpText *o)
{
    SnlToken t = p->tok;
    if (o->n_group > 0)
        return snl_p_fail(p, SNL_E_SYNTAX, &t, "value operands come before symbol operands");
    if (o->in.n == SNL_MANY)
        return snl_p_fail(p, SNL_E_SYNTAX, &t, "an operation has at most %d operands", SNL_MANY);
    SnlScopeEntry *e = snl_scope_find(&p->scope, t.text, t.n);
    if (!e)
        return snl_p_fail(p, SNL_E_STRUCTURE, &t,
                          "'%%%.*s' is used before it is defined: define it on an earlier line",
                          (int)t.n, t.text);
    if (!e->value) o->poisoned = true;
    SNL_PUSH(p->scratch, &o->in, e->value);
    snl_p_advance(p);
    return true;
}

static SnlState *find_state(const SnlParser *p, const SnlFunc *f, const char *name)
{
    for (size_t i = 0; i < f->n_state_param; i++)
        if (strcmp(f->state_param[i]->name, name) == 0) return f->state_param[i];
    return snl_module_find_state(p->m, name);
}

static bool parse_state_ref(SnlParser *p, const SnlFunc *f, SnlState **out)
{
    if (p->tok.kind != SNL_TOK_SYMBOL) return snl_p_wanted(p, "a state such as '@kv'");
    const char *name = snl_arena_strndup(p->scratch, p->tok.text, p->tok.n);
    *out = find_state(p, f, name);
    if (!*out) return snl_p_no_symbol(p, &p->tok, name, "state");
    snl_p_advance(p);
    return true;
}

static bool parse_weight_ref(SnlParser *p, SnlWeight **out)
{
    if (p->tok.kind != SNL_TOK_SYMBOL) return snl_p_wanted(p, "a weight such as '@w'");
    const char *name = snl_arena_strndup(p->scratch, p->tok.text, p->tok.n);
    *out = snl_module_find_weight(p->m, name);
    if (!*out) return snl_p_no_symbol(p, &p->tok, name, "weight");
    snl_p_advance(p);
    return true;
}

static bool parse_binding(SnlParser *p, const SnlFunc *f, SnlBinding *out)
{
    if (p->tok.kind != SNL_TOK_SYMBOL) return snl_p_wanted(p, "a layer such as '@block.0'");
    SnlToken at = p->tok;
    const char *name = snl_arena_strndup(p->scratch, at.text, at.n);
    out->layer = snl_module_find_func(p->m, name);
    if (!out->layer || out->layer->kind != SNL_LAYER) return snl_p_no_symbol(p, &at, name, "layer");
    snl_p_advance(p);
    if (!snl_p_accept(p, '(')) return true;
    SnlVec(SnlState *) states = {0};
    bool more = !snl_p_at(p, ')');
    while (more) {
        SnlState *s;
        if (!parse_state_ref(p, f, &s)) return false;
        SNL_PUSH(p->arena, &states, s);
        more = snl_p_accept(p, ',');
    }
    out->state = states.at;
    out->n_state = states.n;
    return snl_p_expect(p, ')');
}

typedef struct MemberVecs {
    SnlVec(SnlWeight *) w;
    SnlVec(SnlState *) s;
    SnlVec(SnlBinding) l;
} MemberVecs;

static bool parse_member(SnlParser *p, const SnlFunc *f, char letter, MemberVecs *v)
{
    if (letter == 'w') {
        SnlWeight *w;
        if (!parse_weight_ref(p, &w)) return false;
        SNL_PUSH(p->arena, &v->w, w);
    } else if (letter == 's') {
        SnlState *s;
        if (!parse_state_ref(p, f, &s)) return false;
        SNL_PUSH(p->arena, &v->s, s);
    } else {
        SnlBinding b = {0};
        if (!parse_binding(p, f, &b)) return false;
        SNL_PUSH(p->arena, &v->l, b);
    }
    if (v->w.n + v->s.n + v->l.n > SNL_MANY)
        return snl_p_fail(p, SNL_E_SYNTAX, &p->tok, "at most %d members in a list", SNL_MANY);
    return true;
}

static bool parse_group(SnlParser *p, const SnlFunc *f, OpText *o)
{
    MemberVecs v = {0};
    int g = o->n_group;
    char letter = g < SNL_MAX_GROUPS ? snl_op_group_letter(o->code, g) : '\0';
    if (!letter)
        return snl_p_fail(p, SNL_E_SYNTAX, &p->tok, "%s: takes %s symbol operands",
                          snl_op_info[o->code].text, g == 0 ? "no" : "no more");
    bool list = snl_p_accept(p, '[');
    if (!list && letter == 'l')
        return snl_p_wanted(p, "a list of bound layers: [@layer(@state), ...]");
    do {
        if (!parse_member(p, f, letter, &v)) return false;
    } while (list && snl_p_accept(p, ','));
    if (list && !snl_p_expect(p, ']')) return false;
    o->sym[g] = (SnlSymbols){v.w.n + v.s.n + v.l.n, list, v.w.at, v.s.at, v.l.at};
    o->n_group++;
    return true;
}

static bool parse_operands(SnlParser *p, const SnlFunc *f, OpText *o)
{
    /* The first operand stands on the line of its operation: `return` may have none, and the value
     * on the next line is then a result. */
    bool more = !p->tok.line_head &&
                (p->tok.kind == SNL_TOK_VALUE || p->tok.kind == SNL_TOK_SYMBOL || snl_p_at(p, '['));
    while (more) {
        bool value = p->tok.kind == SNL_TOK_VALUE;
        if (value ? !parse_value_operand(p, o) : !parse_group(p, f, o)) return false;
        /* The comma before a list of bound layers may be left out. */
        more = snl_p_accept(p, ',') || (value && snl_p_at(p, '['));
        if (more && p->tok.kind != SNL_TOK_VALUE && p->tok.kind != SNL_TOK_SYMBOL &&
            !snl_p_at(p, '['))
            return snl_p_wanted(p, "an operand");
    }
    return true;
}

/* ---- building -------------------------------------------------------------------------------- */

static void build_op(SnlParser *p, SnlFunc *f, const OpText *o)
{
    SnlOp *op = snl_op_create(f, NULL, o->code);
    op->loc = snl_token_loc(&p->lex, &o->head);
    snl_op_set_ins(op, o->in.at, o->in.n);
    for (int g = 0; g < o->n_group; g++) {
        const SnlSymbols *s = &o->sym[g];
        char letter = snl_op_group_letter(o->code, g);
        if (letter == 'w') snl_op_set_weights(op, g, s->weight, s->n, s->list);
        if (letter == 's') snl_op_set_states(op, g, s->state, s->n, s->list);
        if (letter == 'l') snl_op_set_bindings(op, g, s->bind, s->n, s->list);
    }
    op->attrs = o->attrs;
    for (size_t i = 0; i < o->names.n; i++) {
        const SnlToken *t = &o->names.at[i];
        SnlValue *v = snl_op_add_out(op, snl_p_name(p, t), o->type[i]);
        v->loc = snl_token_loc(&p->lex, t);
        snl_scope_add(&p->scope, p->scratch, t->text, t->n, v);
    }
}

static bool parse_op(SnlParser *p, SnlFunc *f, OpText *o)
{
    if (!parse_result_names(p, o) || !parse_op_name(p, o) || !parse_operands(p, f, o)) return false;
    if (snl_p_at(p, '{') && !snl_p_attrs(p, &o->attrs)) return false;
    if (snl_p_accept(p, ':') && !snl_p_types(p, &o->type, &o->n_type)) return false;
    if (o->n_type != o->names.n)
        return snl_p_fail(p, SNL_E_SYNTAX, &o->head,
                          "%s: %zu result names, but %zu types after ':'",
                          snl_op_info[o->code].text, o->names.n, o->n_type);
    if (!o->poisoned) build_op(p, f, o);
    return !o->poisoned;
}

static void poison_results(SnlParser *p, const OpText *o)
{
    for (size_t i = 0; i < o->names.n; i++) {
        const SnlToken *t = &o->names.at[i];
        if (!snl_scope_find(&p->scope, t->text, t->n))
            snl_scope_add(&p->scope, p->scratch, t->text, t->n, NULL);
    }
}

/* To the next line that can begin an operation or end the body. */
static void recover(SnlParser *p, uint32_t start)
{
    if (p->tok.offset == start && p->tok.kind != SNL_TOK_END) snl_p_advance(p);
    while (p->tok.kind != SNL_TOK_END &&
           !(p->tok.line_head &&
             (p->tok.kind == SNL_TOK_VALUE || p->tok.kind == SNL_TOK_WORD || snl_p_at(p, '}'))))
        snl_p_advance(p);
}

static bool at_next_declaration(const SnlParser *p)
{
    return p->tok.line_head && (snl_p_at_word(p, "layer") || snl_p_at_word(p, "func"));
}

void snl_p_body(SnlParser *p, const SnlBody *body)
{
    SnlFunc *f = body->func;
    p->lex.at = body->at;
    snl_p_advance(p);
    snl_scope_clear(&p->scope);
    for (size_t i = 0; i < f->n_param; i++)
        snl_scope_add(&p->scope, p->scratch, f->param[i]->name, strlen(f->param[i]->name),
                      f->param[i]);
    while (!snl_p_at(p, '}') && p->errors < SNL_PARSE_MAX_ERRORS) {
        if (p->tok.kind == SNL_TOK_END || at_next_declaration(p)) {
            snl_p_wanted(p, "'}' at the end of the body");
            return;
        }
        uint32_t start = p->tok.offset;
        OpText o = {0};
        if (parse_op(p, f, &o)) continue;
        poison_results(p, &o);
        recover(p, start);
    }
}
