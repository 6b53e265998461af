/* ir/parse_attr.c -- the parser's types and attributes. */
#include "ir/parse.h"

#include "ir/base/checked.h"

#include <string.h>

/* ---- types ----------------------------------------------------------------------------------- */

static bool parse_dim(SnlParser *p, bool symbolic_here, int64_t *out)
{
    if (snl_p_at_word(p, "T")) {
        if (!symbolic_here)
            return snl_p_fail(p, SNL_E_TYPE, &p->tok,
                              "T can only be the first dimension of a value's type");
        *out = SNL_DIM_T;
    } else {
        if (p->tok.kind != SNL_TOK_INT) return snl_p_wanted(p, "a dimension");
        if (p->tok.i < 1 || p->tok.i > SNL_MAX_ELEMS)
            return snl_p_fail(p, SNL_E_TYPE, &p->tok, "a dimension lies within 1 and %lld",
                              (long long)SNL_MAX_ELEMS);
        *out = p->tok.i;
    }
    snl_p_advance(p);
    return true;
}

static bool parse_dims(SnlParser *p, bool symbolic, const SnlToken *head, SnlType *type)
{
    int64_t elems = 1;
    do {
        if (type->rank == SNL_MAX_RANK)
            return snl_p_fail(p, SNL_E_TYPE, &p->tok, "a type has at most %d dimensions",
                              (int)SNL_MAX_RANK);
        int64_t dim;
        if (!parse_dim(p, symbolic && type->rank == 0, &dim)) return false;
        type->dim[type->rank++] = dim;
        if (dim != SNL_DIM_T && (!snl_mul_i64(elems, dim, &elems) || elems > SNL_MAX_ELEMS))
            return snl_p_fail(p, SNL_E_TYPE, head, "a type has at most %lld elements",
                              (long long)SNL_MAX_ELEMS);
    } while (snl_p_accept(p, ','));
    return snl_p_expect(p, ']');
}

bool snl_p_type(SnlParser *p, bool symbolic, const SnlType **out)
{
    SnlToken head = p->tok;
    SnlType type = {0};
    if (head.kind != SNL_TOK_WORD) return snl_p_wanted(p, "a type such as f32[T, 64]");
    if (!snl_dtype_find(head.text, head.n, &type.dtype))
        return snl_p_fail(p, SNL_E_TYPE, &head, "unknown element type '%.*s'", (int)head.n,
                          head.text);
    snl_p_advance(p);
    if (type.dtype == SNL_INDEX) {
        if (snl_p_at(p, '['))
            return snl_p_fail(p, SNL_E_TYPE, &p->tok, "index is a scalar: no dimensions");
    } else if (!snl_p_expect(p, '[') || !parse_dims(p, symbolic, &head, &type)) {
        return false;
    }
    *out = snl_type(p->m, type.dtype, type.rank, type.dim);
    return true;
}

bool snl_p_types(SnlParser *p, const SnlType ***out, size_t *out_n)
{
    SnlVec(const SnlType *) types = {0};
    do {
        const SnlType *type;
        if (types.n == SNL_MANY)
            return snl_p_fail(p, SNL_E_SYNTAX, &p->tok, "at most %d types in a list", SNL_MANY);
        if (!snl_p_type(p, true, &type)) return false;
        SNL_PUSH(p->arena, &types, type);
    } while (snl_p_accept(p, ','));
    *out = types.at;
    *out_n = types.n;
    return true;
}

/* ---- attributes ------------------------------------------------------------------------------ */

static bool parse_value(SnlParser *p, int depth, SnlAttrValue *out);

static bool parse_list(SnlParser *p, int depth, SnlAttrValue *out)
{
    SnlVec(SnlAttrValue) list = {0};
    if (depth == SNL_PARSE_MAX_DEPTH)
        return snl_p_fail(p, SNL_E_SYNTAX, &p->tok, "lists nest at most %d deep",
                          SNL_PARSE_MAX_DEPTH);
    snl_p_advance(p);
    bool more = !snl_p_at(p, ']');
    while (more) {
        SnlAttrValue value = {0};
        if (list.n == SNL_MANY)
            return snl_p_fail(p, SNL_E_SYNTAX, &p->tok, "a list has at most %d entries", SNL_MANY);
        if (!parse_value(p, depth + 1, &value)) return false;
        SNL_PUSH(p->arena, &list, value);
        more = snl_p_accept(p, ',');
    }
    out->kind = SNL_ATTR_LIST;
    out->list.at = list.at;
    out->list.n = list.n;
    return snl_p_expect(p, ']');
}

static bool parse_weight_value(SnlParser *p, SnlAttrValue *out)
{
    const char *name = snl_p_name(p, &p->tok);
    out->kind = SNL_ATTR_WEIGHT;
    out->weight = snl_module_find_weight(p->m, name);
    if (!out->weight) return snl_p_no_symbol(p, &p->tok, name, "weight");
    snl_p_advance(p);
    return true;
}

static bool parse_value(SnlParser *p, int depth, SnlAttrValue *out)
{
    const SnlToken *t = &p->tok;
    if (snl_p_at(p, '[')) return parse_list(p, depth, out);
    if (t->kind == SNL_TOK_SYMBOL) return parse_weight_value(p, out);
    if (t->kind == SNL_TOK_INT) {
        out->kind = SNL_ATTR_INT;
        out->i = t->i;
    } else if (t->kind == SNL_TOK_REAL) {
        out->kind = SNL_ATTR_REAL;
        out->r = t->r;
    } else if (t->kind == SNL_TOK_WORD) {
        out->kind = SNL_ATTR_WORD;
        out->s = snl_p_name(p, t);
    } else if (t->kind == SNL_TOK_STRING) {
        out->kind = SNL_ATTR_STRING;
        out->s = snl_token_string(p->arena, t);
    } else {
        return snl_p_wanted(p, "a value: number, word, string, @weight or list");
    }
    snl_p_advance(p);
    return true;
}

static bool parse_attr(SnlParser *p, SnlAttrs *out)
{
    SnlToken key = p->tok;
    SnlAttrValue value = {.kind = SNL_ATTR_FLAG};
    if (key.kind != SNL_TOK_WORD) return snl_p_wanted(p, "an attribute's name");
    const char *name = snl_p_name(p, &key);
    if (out->n == SNL_PARSE_MAX_ATTRS)
        return snl_p_fail(p, SNL_E_ATTR, &key, "at most %d attributes in one list",
                          SNL_PARSE_MAX_ATTRS);
    if (snl_attr_find(out, name))
        return snl_p_fail(p, SNL_E_ATTR, &key, "attribute '%s' is given twice", name);
    snl_p_advance(p);
    if (snl_p_accept(p, '=') && !parse_value(p, 0, &value)) return false;
    snl_attr_set(p->m, out, name, value);
    return true;
}

bool snl_p_attrs(SnlParser *p, SnlAttrs *out)
{
    snl_p_advance(p);
    bool more = !snl_p_at(p, '}');
    while (more) {
        if (!parse_attr(p, out)) return false;
        more = snl_p_accept(p, ',');
    }
    return snl_p_expect(p, '}');
}
