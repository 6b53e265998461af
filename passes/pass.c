/* passes/pass.c -- the list of passes, typed access to their options, and the record of what they
 * did to the module's meaning. */
#include "passes/pass.h"

#include "ir/base/checked.h"

#include <string.h>

#define PASS(suffix) extern const SnlPass snl_pass_##suffix;
#include "passes/passes.def"
#undef PASS

const SnlPass *const snl_passes[] = {
#define PASS(suffix) &snl_pass_##suffix,
#include "passes/passes.def"
#undef PASS
    NULL};

const SnlPass *snl_pass_find(const char *name)
{
    for (const SnlPass *const *p = snl_passes; *p; p++)
        if (strcmp((*p)->name, name) == 0) return *p;
    return NULL;
}

const char *snl_pass_text(const SnlPassContext *ctx, const char *option)
{
    const SnlPassOption *row = ctx->pass->options;
    for (size_t i = 0; row && row[i].name; i++)
        if (strcmp(row[i].name, option) == 0) return ctx->option[i];
    SNL_UNREACHABLE();
}

int64_t snl_pass_int(const SnlPassContext *ctx, const char *option)
{
    int64_t value = 0;
    bool ok = snl_parse_i64(snl_pass_text(ctx, option), INT64_MIN, INT64_MAX, &value);
    SNL_ASSERT(ok);
    return value;
}

bool snl_pass_bool(const SnlPassContext *ctx, const char *option)
{
    return strcmp(snl_pass_text(ctx, option), "true") == 0;
}

static void add_note(SnlModule *m, SnlAttrs *attrs, const char *note)
{
    const SnlAttrValue *old = snl_attr_find(attrs, "exactness");
    size_t n = old && old->kind == SNL_ATTR_LIST ? old->list.n : 0;
    SnlAttrValue list = {.kind = SNL_ATTR_LIST};
    list.list.at = SNL_NEW_ARRAY(m->arena, SnlAttrValue, n + 1);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(old->list.at[i].s, note) == 0) return;
        list.list.at[i] = old->list.at[i];
    }
    list.list.at[n].kind = SNL_ATTR_STRING;
    list.list.at[n].s = snl_arena_strdup(m->arena, note);
    list.list.n = n + 1;
    snl_attr_set(m, attrs, "exactness", list);
}

void snl_module_note_exactness(SnlModule *module, const char *note)
{
    add_note(module, &module->attrs, note);
}

void snl_func_note_exactness(SnlFunc *func, const char *note)
{
    add_note(func->module, &func->attrs, note);
    add_note(func->module, &func->module->attrs, note);
}
