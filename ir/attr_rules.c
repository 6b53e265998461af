/* ir/attr_rules.c -- the table of attr_rules.def, and the one function that reads it. */
#include "ir/attr_rules.h"

#include <string.h>

typedef enum RuleKind { INT, REAL, WORD, FLAG, INTS, INT_MEMBERS, COEFS } RuleKind;

typedef struct Rule {
    int code;
    const char *key;
    RuleKind kind;
    bool required;
    double lo, hi;
    const char *words;
} Rule;

#define REQUIRED true
#define OPTIONAL false
#define SMALL 1e-30
#define LARGE 1e30
#define MAX_ELEMS ((double)SNL_MAX_ELEMS)

static const Rule op_rules[] = {
#define OP_ATTR(OP, key, kind, need, lo, hi, words) {SNL_OP_##OP, key, kind, need, lo, hi, words},
#define WEXPR_ATTR(WEXPR, key, kind, need, lo, hi, words)
#define SCHEDULING_KEY(key)
#include "ir/attr_rules.def"
#undef OP_ATTR
#undef WEXPR_ATTR
#undef SCHEDULING_KEY
};

static const Rule wexpr_rules[] = {
#define OP_ATTR(OP, key, kind, need, lo, hi, words)
#define WEXPR_ATTR(WEXPR, key, kind, need, lo, hi, words)                                          \
    {SNL_WEXPR_##WEXPR, key, kind, need, lo, hi, words},
#define SCHEDULING_KEY(key)
#include "ir/attr_rules.def"
#undef OP_ATTR
#undef WEXPR_ATTR
#undef SCHEDULING_KEY
};

const char *const snl_scheduling_keys[] = {
#define OP_ATTR(OP, key, kind, need, lo, hi, words)
#define WEXPR_ATTR(WEXPR, key, kind, need, lo, hi, words)
#define SCHEDULING_KEY(key) key,
#include "ir/attr_rules.def"
#undef OP_ATTR
#undef WEXPR_ATTR
#undef SCHEDULING_KEY
    NULL};

const char *snl_wexpr_text(SnlWexprCode code)
{
    static const char *const text[SNL_WEXPR_COUNT] = {
#define WEXPR(NAME, text, min_args, max_args, streams) [SNL_WEXPR_##NAME] = text,
#include "ir/wexprs.def"
#undef WEXPR
    };
    return text[code];
}

/* What is checked, for messages. */
typedef struct Subject {
    const char *what; /* "linear" */
    const SnlAttrs *attrs;
    SnlLoc loc;
    int code;
    const Rule *rule;
    size_t n_rules;
    SnlDiag *diag;
} Subject;

static SnlStatus wrong_kind(const Subject *s, const Rule *r, const char *wanted)
{
    return snl_error(s->diag, SNL_E_ATTR, s->loc,
                     "%s: attribute '%s' is of the wrong kind, wanted %s", s->what, r->key, wanted);
}

static SnlStatus check_number(const Subject *s, const Rule *r, const SnlAttrValue *v, bool real)
{
    bool is_int = v->kind == SNL_ATTR_INT;
    if (!is_int && !(real && v->kind == SNL_ATTR_REAL))
        return wrong_kind(s, r, real ? "a number" : "an integer");
    double x = is_int ? (double)v->i : v->r;
    if (x >= r->lo && x <= r->hi) return SNL_OK;
    return snl_error(s->diag, SNL_E_ATTR, s->loc,
                     "%s: attribute '%s' is out of range: found %.15g, wanted %.15g to %.15g",
                     s->what, r->key, x, r->lo, r->hi);
}

/* `words` is "a|b|c". */
static bool has_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = words; at; at = strchr(at, '|')) {
        at += *at == '|';
        if (strncmp(at, word, n) == 0 && (at[n] == '|' || at[n] == '\0')) return true;
    }
    return false;
}

static SnlStatus check_word(const Subject *s, const Rule *r, const SnlAttrValue *v)
{
    if (v->kind != SNL_ATTR_WORD) return wrong_kind(s, r, r->words);
    if (has_word(r->words, v->s)) return SNL_OK;
    return snl_error(s->diag, SNL_E_ATTR, s->loc, "%s: attribute '%s': found %s, wanted one of %s",
                     s->what, r->key, v->s, r->words);
}

static SnlStatus check_coef(const Subject *s, const Rule *r, const SnlAttrValue *v)
{
    if (v->kind != SNL_ATTR_WEIGHT) return check_number(s, r, v, true);
    if (v->weight->type->rank == 1 && v->weight->type->dim[0] == 1) return SNL_OK;
    return snl_error(s->diag, SNL_E_SHAPE, s->loc,
                     "%s: '@%s' in attribute '%s' must have one element, shape [1]", s->what,
                     v->weight->name, r->key);
}

static SnlStatus check_list(const Subject *s, const Rule *r, const SnlAttrValue *v)
{
    if (v->kind != SNL_ATTR_LIST)
        return r->kind == INT_MEMBERS ? check_number(s, r, v, false) : wrong_kind(s, r, "a list");
    for (size_t i = 0; i < v->list.n; i++)
        SNL_TRY(r->kind == COEFS ? check_coef(s, r, &v->list.at[i])
                                 : check_number(s, r, &v->list.at[i], false));
    return SNL_OK;
}

static SnlStatus check_value(const Subject *s, const Rule *r, const SnlAttrValue *v)
{
    switch (r->kind) {
    case INT:
        return check_number(s, r, v, false);
    case REAL:
        return check_number(s, r, v, true);
    case WORD:
        return check_word(s, r, v);
    case FLAG:
        return v->kind == SNL_ATTR_FLAG ? SNL_OK : wrong_kind(s, r, "no value");
    case INTS:
    case INT_MEMBERS:
    case COEFS:
        return check_list(s, r, v);
    }
    return SNL_OK;
}

static const Rule *find_rule(const Subject *s, const char *key)
{
    for (size_t i = 0; i < s->n_rules; i++)
        if (s->rule[i].code == s->code && strcmp(s->rule[i].key, key) == 0) return &s->rule[i];
    return NULL;
}

static SnlStatus unknown(const Subject *s, const char *key)
{
    char known[256] = "";
    size_t n = 0;
    for (size_t i = 0; i < s->n_rules; i++)
        if (s->rule[i].code == s->code && n < sizeof known)
            n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "",
                                  s->rule[i].key);
    return snl_error(s->diag, SNL_E_ATTR, s->loc, "%s: unknown attribute '%s', wanted %s%s",
                     s->what, key, n ? "one of: " : "none", known);
}

static SnlStatus check(const Subject *s)
{
    for (size_t i = 0; i < s->attrs->n; i++) {
        const Rule *r = find_rule(s, s->attrs->at[i].key);
        if (!r) return unknown(s, s->attrs->at[i].key);
        SNL_TRY(check_value(s, r, &s->attrs->at[i].value));
    }
    for (size_t i = 0; i < s->n_rules; i++) {
        const Rule *r = &s->rule[i];
        if (r->code == s->code && r->required && !snl_attr_find(s->attrs, r->key))
            return snl_error(s->diag, SNL_E_ATTR, s->loc, "%s: attribute '%s' is missing", s->what,
                             r->key);
    }
    return SNL_OK;
}

static bool is_scheduling_key(const char *key)
{
    for (const char *const *k = snl_scheduling_keys; *k; k++)
        if (strcmp(*k, key) == 0) return true;
    return false;
}

SnlStatus snl_op_check_attrs(const SnlOp *op, SnlDiag *diag)
{
    /* The scheduling keys are left out of a copy of the list: values are shared, nothing is
     * changed. */
    enum { MAX = 64 };
    SnlAttr own[MAX];
    SnlAttrs attrs = {own, 0, MAX};
    const char *what = snl_op_info[op->code].text;
    for (size_t i = 0; i < op->attrs.n; i++) {
        if (is_scheduling_key(op->attrs.at[i].key)) continue;
        if (attrs.n == MAX)
            return snl_error(diag, SNL_E_ATTR, op->loc, "%s: more than %d attributes", what, MAX);
        own[attrs.n++] = op->attrs.at[i];
    }
    Subject s = {what, &attrs, op->loc, (int)op->code, op_rules, sizeof op_rules / sizeof *op_rules,
                 diag};
    return check(&s);
}

SnlStatus snl_weight_check_attrs(const SnlWeight *w, SnlDiag *diag)
{
    Subject s = {snl_wexpr_text(w->code),
                 &w->attrs,
                 w->loc,
                 (int)w->code,
                 wexpr_rules,
                 sizeof wexpr_rules / sizeof *wexpr_rules,
                 diag};
    return check(&s);
}
