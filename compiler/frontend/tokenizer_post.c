/* compiler/frontend/tokenizer_post.c -- the post_processor: which ids a text gets around it.
 *
 * Of a TemplateProcessing only `single` matters: one text at a time. ByteLevel changes offsets
 * only. */
#include "compiler/frontend/tokenizer_desc.h"

#include <string.h>

enum { MAX_TEMPLATE = 64 };

/* The ids behind a name of the template, from its `special_tokens` table. */
static void push_special(SnlJson table, SnlJson item, SnlTokDesc *desc, SnlTokIds *ids)
{
    const char *name = snl_json_text(snl_json_get(item, "id"));
    SnlJson entry = {table.doc, json_object_get(table.at, name), table.path};
    if (item.doc->status == SNL_OK && !json_is_object(entry.at)) {
        snl_json_fail(snl_json_get(item, "id"), SNL_E_TOKENIZER,
                      "found %s, which special_tokens does not list",
                      snl_tok_shown(desc->arena, snl_tok_bytes(name, strlen(name))));
        return;
    }
    SnlJson list = snl_json_get(entry, "ids");
    size_t n = snl_json_length(list);
    if (n > MAX_TEMPLATE)
        snl_json_fail(list, SNL_E_TOKENIZER, "found %zu ids, wanted at most %d", n, MAX_TEMPLATE);
    for (size_t i = 0; i < n && item.doc->status == SNL_OK; i++) {
        SnlJson value = snl_json_item(list, i);
        int64_t id = snl_json_int(value, 0, INT32_MAX);
        if (item.doc->status != SNL_OK) return;
        if (id >= desc->n_ids || !desc->token[id].marks)
            snl_json_fail(value, SNL_E_TOKENIZER, "found id %lld, which has no token",
                          (long long)id);
        SNL_PUSH(desc->arena, ids, (uint32_t)id);
    }
}

static void read_template(SnlJson value, SnlTokDesc *desc)
{
    SnlJson single = snl_json_get(value, "single"), table = snl_json_get(value, "special_tokens");
    size_t n = snl_json_length(single), n_texts = 0;
    if (n > MAX_TEMPLATE)
        snl_json_fail(single, SNL_E_TOKENIZER, "found %zu parts, wanted at most %d", n,
                      MAX_TEMPLATE);
    for (size_t i = 0; i < n && value.doc->status == SNL_OK; i++) {
        SnlJson part = snl_json_item(single, i);
        SnlJson special = snl_json_get(part, "SpecialToken"), text = snl_json_get(part, "Sequence");
        if (snl_json_present(special))
            push_special(table, special, desc, n_texts ? &desc->suffix : &desc->prefix);
        else if (snl_json_present(text))
            n_texts++;
        else
            snl_json_fail(part, SNL_E_TOKENIZER,
                          "found %s, wanted {\"SpecialToken\": ...} or {\"Sequence\": ...}",
                          snl_json_kind(part));
    }
    if (n_texts != 1)
        snl_json_fail(single, SNL_E_TOKENIZER, "found the text %zu times, wanted it once", n_texts);
}

static void read_processor(SnlJson value, SnlTokDesc *desc, bool *inout_template)
{
    const char *type = snl_json_text(snl_json_get(value, "type"));
    if (value.doc->status != SNL_OK || !strcmp(type, "ByteLevel")) return;
    if (!strcmp(type, "Sequence")) {
        SnlJson list = snl_json_get(value, "processors");
        size_t n = snl_json_length(list);
        for (size_t i = 0; i < n && value.doc->status == SNL_OK; i++)
            read_processor(snl_json_item(list, i), desc, inout_template);
    } else if (strcmp(type, "TemplateProcessing") != 0) {
        snl_tok_unsupported(snl_json_get(value, "type"), type,
                            "TemplateProcessing, ByteLevel, Sequence, null");
    } else if (*inout_template) {
        snl_json_fail(value, SNL_E_TOKENIZER, "found a second TemplateProcessing, wanted one");
    } else {
        *inout_template = true;
        read_template(value, desc);
    }
}

void snl_tok_read_post_processor(SnlJson value, SnlTokDesc *desc)
{
    bool seen = false;
    if (snl_json_present(value) && value.doc->status == SNL_OK) read_processor(value, desc, &seen);
}
