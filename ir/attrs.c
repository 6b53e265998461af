/* ir/attrs.c -- key/value attributes, kept sorted by key. Values are immutable once set, so copies
 * share their strings and lists. */
#include "ir/ir.h"

#include <string.h>

/* Position of the key, or where it would be inserted. */
static size_t position(const SnlAttrs *attrs, const char *key, bool *out_found)
{
    size_t low = 0, high = attrs->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(attrs->at[mid].key, key);
        if (order == 0) {
            *out_found = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    *out_found = false;
    return low;
}

const SnlAttrValue *snl_attr_find(const SnlAttrs *attrs, const char *key)
{
    bool found;
    size_t i = position(attrs, key, &found);
    return found ? &attrs->at[i].value : NULL;
}

bool snl_attr_flag(const SnlAttrs *attrs, const char *key)
{
    const SnlAttrValue *value = snl_attr_find(attrs, key);
    return value && value->kind == SNL_ATTR_FLAG;
}

int64_t snl_attr_int(const SnlAttrs *attrs, const char *key, int64_t def)
{
    const SnlAttrValue *value = snl_attr_find(attrs, key);
    return value && value->kind == SNL_ATTR_INT ? value->i : def;
}

double snl_attr_real(const SnlAttrs *attrs, const char *key, double def)
{
    const SnlAttrValue *value = snl_attr_find(attrs, key);
    if (value && value->kind == SNL_ATTR_REAL) return value->r;
    return value && value->kind == SNL_ATTR_INT ? (double)value->i : def;
}

const char *snl_attr_text(const SnlAttrs *attrs, const char *key, const char *def)
{
    const SnlAttrValue *value = snl_attr_find(attrs, key);
    bool text = value && (value->kind == SNL_ATTR_WORD || value->kind == SNL_ATTR_STRING);
    return text ? value->s : def;
}

int64_t snl_attr_int_at(const SnlAttrs *attrs, const char *key, size_t i, int64_t def)
{
    const SnlAttrValue *value = snl_attr_find(attrs, key);
    if (value && value->kind == SNL_ATTR_LIST)
        value = i < value->list.n ? &value->list.at[i] : NULL;
    return value && value->kind == SNL_ATTR_INT ? value->i : def;
}

void snl_attr_set(SnlModule *m, SnlAttrs *attrs, const char *key, SnlAttrValue value)
{
    bool found;
    size_t i = position(attrs, key, &found);
    if (!found) {
        SnlAttr added = {snl_arena_strdup(m->arena, key), value};
        SNL_PUSH(m->arena, attrs, added);
        memmove(&attrs->at[i + 1], &attrs->at[i], (attrs->n - 1 - i) * sizeof attrs->at[0]);
        attrs->at[i] = added;
    }
    attrs->at[i].value = value;
}

void snl_attr_set_int(SnlModule *m, SnlAttrs *attrs, const char *key, int64_t value)
{
    snl_attr_set(m, attrs, key, (SnlAttrValue){.kind = SNL_ATTR_INT, .i = value});
}

void snl_attr_set_real(SnlModule *m, SnlAttrs *attrs, const char *key, double value)
{
    snl_attr_set(m, attrs, key, (SnlAttrValue){.kind = SNL_ATTR_REAL, .r = value});
}

void snl_attr_set_word(SnlModule *m, SnlAttrs *attrs, const char *key, const char *word)
{
    const char *copy = snl_arena_strdup(m->arena, word);
    snl_attr_set(m, attrs, key, (SnlAttrValue){.kind = SNL_ATTR_WORD, .s = copy});
}

void snl_attr_set_string(SnlModule *m, SnlAttrs *attrs, const char *key, const char *text)
{
    const char *copy = snl_arena_strdup(m->arena, text);
    snl_attr_set(m, attrs, key, (SnlAttrValue){.kind = SNL_ATTR_STRING, .s = copy});
}

void snl_attr_set_flag(SnlModule *m, SnlAttrs *attrs, const char *key)
{
    snl_attr_set(m, attrs, key, (SnlAttrValue){.kind = SNL_ATTR_FLAG});
}

void snl_attr_remove(SnlAttrs *attrs, const char *key)
{
    bool found;
    size_t i = position(attrs, key, &found);
    if (!found) return;
    attrs->n--;
    memmove(&attrs->at[i], &attrs->at[i + 1], (attrs->n - i) * sizeof attrs->at[0]);
}

static bool values_equal(const SnlAttrValue *a, const SnlAttrValue *b)
{
    if (a->kind != b->kind) return false;
    switch (a->kind) {
    case SNL_ATTR_FLAG:
        return true;
    case SNL_ATTR_INT:
        return a->i == b->i;
    case SNL_ATTR_REAL:
        return memcmp(&a->r, &b->r, sizeof a->r) == 0; /* 0.0 is not -0.0 */
    case SNL_ATTR_WORD:
    case SNL_ATTR_STRING:
        return strcmp(a->s, b->s) == 0;
    case SNL_ATTR_WEIGHT:
        return a->weight == b->weight;
    case SNL_ATTR_LIST:
        if (a->list.n != b->list.n) return false;
        for (size_t i = 0; i < a->list.n; i++)
            if (!values_equal(&a->list.at[i], &b->list.at[i])) return false;
        return true;
    }
    SNL_UNREACHABLE();
}

bool snl_attrs_equal(const SnlAttrs *a, const SnlAttrs *b)
{
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++) {
        if (strcmp(a->at[i].key, b->at[i].key) != 0) return false;
        if (!values_equal(&a->at[i].value, &b->at[i].value)) return false;
    }
    return true;
}

SnlAttrs snl_attrs_copy(SnlModule *m, const SnlAttrs *attrs)
{
    SnlAttrs copy = {.n = attrs->n, .cap = attrs->n};
    if (attrs->n == 0) return copy;
    copy.at = SNL_NEW_ARRAY(m->arena, SnlAttr, attrs->n);
    memcpy(copy.at, attrs->at, attrs->n * sizeof copy.at[0]);
    return copy;
}
