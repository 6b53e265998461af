/* compiler/frontend/tokenizer_model.c -- vocabulary, merges and added tokens of a BPE
 * tokenizer.json.
 *
 * Every id is checked against the model's vocabulary size, every name that a merge uses or makes
 * against the vocabulary. Values are walked with jansson directly: paths for a hundred thousand
 * members would cost more than the members. */
#include "compiler/frontend/tokenizer_desc.h"

#include <string.h>
#include <utf8proc.h>

enum { MAX_ADDED_BYTES = 4096 };

static SnlTokBytes key_of(const char *key)
{
    return snl_tok_bytes(key, strlen(key));
}

int snl_tok_byte_name(SnlTokBytes name)
{
    static const char digits[] = "0123456789ABCDEF0123456789abcdef";
    if (name.n != 6 || memcmp(name.at, "<0x", 3) != 0 || name.at[5] != '>') return -1;
    int value = 0;
    for (int i = 3; i < 5; i++) {
        const char *digit = name.at[i] ? strchr(digits, name.at[i]) : NULL;
        if (!digit) return -1;
        value = 16 * value + (int)((digit - digits) % 16);
    }
    return value;
}

/* ---- the byte-level alphabet --------------------------------------------------------------- */

/* Printable Latin-1 stands for itself; the other bytes, in order, for U+0100 and on. */
static bool stands_for_itself(uint32_t byte)
{
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

/* byte_of[code point] for code points below 0x144, -1: stands for no byte. */
enum { ALPHABET_END = 0x144 };
static void make_alphabet(int byte_of[ALPHABET_END])
{
    int next = 0x100;
    for (int i = 0; i < ALPHABET_END; i++) byte_of[i] = -1;
    for (int byte = 0; byte < 256; byte++)
        byte_of[stands_for_itself((uint32_t)byte) ? byte : next++] = byte;
}

/* The bytes that a name stands for; false: some character of it stands for none. */
static bool name_to_bytes(SnlArena *arena, const int byte_of[ALPHABET_END], SnlTokBytes name,
                          SnlTokBytes *out)
{
    char *bytes = snl_arena_alloc(arena, name.n);
    uint32_t n = 0;
    for (uint32_t at = 0; at < name.n;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t length =
            utf8proc_iterate((const utf8proc_uint8_t *)name.at + at, name.n - at, &code);
        if (length <= 0 || code >= ALPHABET_END || byte_of[code] < 0) return false;
        bytes[n++] = (char)byte_of[code];
        at += (uint32_t)length;
    }
    *out = (SnlTokBytes){bytes, n};
    return true;
}

/* ---- vocabulary ---------------------------------------------------------------------------- */

/* An id as JSON gives it; reports and returns NONE when it is none of this model's. */
static uint32_t read_id(SnlJson place, const json_t *value, SnlTokBytes name,
                        const SnlTokDesc *desc)
{
    if (!json_is_integer(value)) {
        snl_json_fail(place, SNL_E_TOKENIZER, "token %s: found %s, wanted an integer as id",
                      snl_tok_shown(desc->arena, name),
                      snl_json_kind((SnlJson){place.doc, value, place.path}));
        return SNLRT_TOK_NONE;
    }
    json_int_t id = json_integer_value(value);
    if (id >= 0 && id < (json_int_t)desc->max_ids) return (uint32_t)id;
    snl_json_fail(place, SNL_E_TOKENIZER,
                  "token %s: found id %lld, wanted one below the model's vocabulary of %u; the "
                  "tokenizer belongs to another model",
                  snl_tok_shown(desc->arena, name), (long long)id, desc->max_ids);
    return SNLRT_TOK_NONE;
}

/* The ids of both lists decide how long the table is: no more than the tokens' own. */
static uint32_t count_ids(SnlJson vocab, SnlJson added, const SnlTokDesc *desc)
{
    uint32_t n = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)vocab.at, key, value)
    {
        uint32_t id = read_id(vocab, value, key_of(key), desc);
        if (id == SNLRT_TOK_NONE) return 0;
        if (id >= n) n = id + 1;
    }
    for (size_t i = 0; i < json_array_size(added.at); i++) {
        const json_t *item = json_array_get(added.at, i);
        const char *content = json_string_value(json_object_get(item, "content"));
        uint32_t id = read_id(snl_json_item(added, i), json_object_get(item, "id"),
                              key_of(content ? content : ""), desc);
        if (id == SNLRT_TOK_NONE) return 0;
        if (id >= n) n = id + 1;
    }
    return n;
}

static void set_token(SnlTokDesc *desc, uint32_t id, SnlTokBytes name)
{
    SnlTokToken *token = &desc->token[id];
    token->name = token->text = name;
    token->marks = SNLRT_TOK_MARK_PRESENT;
    if (snl_tok_byte_name(name) >= 0) token->marks |= SNLRT_TOK_MARK_BYTE;
}

/* A byte-level name with a character that stands for no byte is one that no text can become. */
static void set_model_token(SnlTokDesc *desc, const int byte_of[ALPHABET_END], uint32_t id,
                            SnlTokBytes name)
{
    SnlTokToken *token = &desc->token[id];
    set_token(desc, id, name);
    if (!(desc->flags & SNLRT_TOK_BYTE_LEVEL) ||
        name_to_bytes(desc->arena, byte_of, name, &token->text))
        token->marks |= SNLRT_TOK_MARK_MODEL;
}

static void read_vocab(SnlJson vocab, SnlTokDesc *desc, const int byte_of[ALPHABET_END])
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)vocab.at, key, value)
    {
        SnlTokBytes name = key_of(key);
        uint32_t id = (uint32_t)json_integer_value(value);
        if (name.n > SNLRT_TOK_MAX_TOKEN_BYTES) {
            snl_json_fail(vocab, SNL_E_TOKENIZER, "token %s: found %u bytes, wanted at most %d",
                          snl_tok_shown(desc->arena, name), name.n, SNLRT_TOK_MAX_TOKEN_BYTES);
            return;
        }
        if (desc->token[id].marks) {
            snl_json_fail(vocab, SNL_E_TOKENIZER, "tokens %s and %s have the same id %u",
                          snl_tok_shown(desc->arena, desc->token[id].name),
                          snl_tok_shown(desc->arena, name), id);
            return;
        }
        set_model_token(desc, byte_of, id, name);
    }
}

/* The id of a name in the model's vocabulary, or NONE. */
static uint32_t find_name(SnlJson vocab, const char *name)
{
    const json_t *value = json_object_get(vocab.at, name);
    return value ? (uint32_t)json_integer_value(value) : SNLRT_TOK_NONE;
}

static void read_byte_tokens(SnlJson vocab, SnlTokDesc *desc)
{
    for (uint32_t byte = 0; byte < 256; byte++) desc->bytes[byte] = SNLRT_TOK_NONE;
    for (uint32_t id = 0; id < desc->n_ids; id++) {
        const SnlTokToken *token = &desc->token[id];
        if ((desc->flags & SNLRT_TOK_BYTE_LEVEL) && (token->marks & SNLRT_TOK_MARK_MODEL) &&
            token->text.n == 1)
            desc->bytes[(uint8_t)token->text.at[0]] = id;
    }
    if (!(desc->flags & SNLRT_TOK_BYTE_FALLBACK)) return;
    for (uint32_t byte = 0; byte < 256; byte++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", byte);
        desc->bytes[byte] = find_name(vocab, name);
    }
}

/* ---- merges -------------------------------------------------------------------------------- */

/* "a b" or ["a", "b"]. */
static bool split_merge(SnlJson merges, size_t i, SnlTokDesc *desc, const char **out_left,
                        const char **out_right)
{
    const json_t *item = json_array_get(merges.at, i);
    if (json_is_array(item) && json_array_size(item) == 2) {
        *out_left = json_string_value(json_array_get(item, 0));
        *out_right = json_string_value(json_array_get(item, 1));
        if (*out_left && *out_right) return true;
    }
    const char *text = json_string_value(item), *space = text ? strchr(text, ' ') : NULL;
    if (space && !strchr(space + 1, ' ')) {
        *out_left = snl_arena_strndup(desc->arena, text, (size_t)(space - text));
        *out_right = space + 1;
        return true;
    }
    SnlJson place = snl_json_item(merges, i);
    snl_json_fail(place, SNL_E_TOKENIZER,
                  "found %s, wanted two tokens: \"a b\" with one space, or [\"a\", \"b\"]",
                  text ? snl_tok_shown(desc->arena, key_of(text)) : snl_json_kind(place));
    return false;
}

static bool read_merge(SnlJson vocab, SnlJson merges, size_t i, SnlTokDesc *desc)
{
    const char *left, *right;
    if (!split_merge(merges, i, desc, &left, &right)) return false;
    char *whole = snl_arena_printf(desc->arena, "%s%s", left, right);
    const char *names[3] = {left, right, whole};
    uint32_t ids[3];
    for (int k = 0; k < 3; k++) {
        ids[k] = find_name(vocab, names[k]);
        if (ids[k] != SNLRT_TOK_NONE) continue;
        snl_json_fail(snl_json_item(merges, i), SNL_E_TOKENIZER,
                      "%s token %s, which is not in the vocabulary",
                      k == 2 ? "makes the" : "names the",
                      snl_tok_shown(desc->arena, key_of(names[k])));
        return false;
    }
    SnlTokMerge merge = {ids[0], ids[1], (uint32_t)i, ids[2]};
    SNL_PUSH(desc->arena, &desc->merges, merge);
    return true;
}

static void read_merges(SnlJson vocab, SnlJson merges, SnlTokDesc *desc)
{
    size_t n = snl_json_length(merges);
    for (size_t i = 0; i < n; i++)
        if (!read_merge(vocab, merges, i, desc)) return;
}

/* ---- added tokens -------------------------------------------------------------------------- */

static uint32_t added_marks(SnlJson item)
{
    static const struct {
        const char *key;
        uint32_t mark;
    } keys[] = {{"lstrip", SNLRT_TOK_ADDED_LSTRIP},
                {"rstrip", SNLRT_TOK_ADDED_RSTRIP},
                {"single_word", SNLRT_TOK_ADDED_SINGLE_WORD}};
    uint32_t marks = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (snl_json_bool_or(snl_json_get(item, keys[i].key), false)) marks |= keys[i].mark;
    bool special = snl_json_bool_or(snl_json_get(item, "special"), false);
    if (special) marks |= SNLRT_TOK_ADDED_SPECIAL;
    if (snl_json_bool_or(snl_json_get(item, "normalized"), !special))
        marks |= SNLRT_TOK_ADDED_NORMALIZED;
    return marks;
}

/* A token that only this list has is text as it stands, never stand-ins of bytes (Hugging Face's
 * ByteLevel decoder takes "é" in it for the byte 0xE9 and garbles it). */
static bool read_added(SnlJson vocab, SnlJson item, SnlTokDesc *desc)
{
    SnlTokAdded added = {.content = snl_tok_text(snl_json_get(item, "content"), MAX_ADDED_BYTES)};
    added.marks = added_marks(item);
    if (item.doc->status != SNL_OK || added.content.n == 0) return item.doc->status == SNL_OK;
    added.id = (uint32_t)json_integer_value(json_object_get(item.at, "id"));
    SnlTokToken *token = &desc->token[added.id];
    uint32_t known = find_name(vocab, added.content.at);
    const char *shown = snl_tok_shown(desc->arena, added.content);
    if (known != SNLRT_TOK_NONE && known != added.id) {
        snl_json_fail(item, SNL_E_TOKENIZER, "%s: found id %u, wanted %u as in the vocabulary",
                      shown, added.id, known);
        return false;
    }
    if (token->marks && !snl_tok_bytes_equal(token->name, added.content)) {
        snl_json_fail(item, SNL_E_TOKENIZER, "%s: id %u is already that of %s", shown, added.id,
                      snl_tok_shown(desc->arena, token->name));
        return false;
    }
    if (!token->marks) set_token(desc, added.id, added.content);
    if (added.marks & SNLRT_TOK_ADDED_SPECIAL) token->marks |= SNLRT_TOK_MARK_SPECIAL;
    SNL_PUSH(desc->arena, &desc->added, added);
    return true;
}

/* ---- the model ----------------------------------------------------------------------------- */

static bool is_bpe(SnlJson model)
{
    SnlJson type = snl_json_get(model, "type");
    /* Files from before the field existed have merges only when they are BPE. */
    if (!snl_json_present(type) && snl_json_has(model, "merges")) return true;
    const char *text = snl_json_text(type);
    if (model.doc->status == SNL_OK && strcmp(text, "BPE") != 0)
        snl_tok_unsupported(type, text, "\"BPE\", and \"tokenizer\": \"byte\" in config.json");
    return model.doc->status == SNL_OK;
}

static void read_settings(SnlJson model, SnlTokDesc *desc)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (int i = 0; i < 2; i++) {
        SnlJson affix = snl_json_get(model, affixes[i]);
        const char *text = snl_json_text_or(affix, "");
        if (*text) snl_tok_unsupported(affix, text, "null");
    }
    SnlJson dropout = snl_json_get(model, "dropout");
    if (snl_json_real_or(dropout, 0, 1, 0) > 0)
        snl_json_fail(dropout, SNL_E_TOKENIZER,
                      "found a dropout, wanted null: ids would differ from run to run");
    if (snl_json_bool_or(snl_json_get(model, "byte_fallback"), false) && !desc->byte_level_text)
        desc->flags |= SNLRT_TOK_BYTE_FALLBACK;
    if (snl_json_bool_or(snl_json_get(model, "fuse_unk"), false))
        desc->flags |= SNLRT_TOK_FUSE_UNKNOWN;
    if (snl_json_bool_or(snl_json_get(model, "ignore_merges"), false))
        desc->flags |= SNLRT_TOK_IGNORE_MERGES;
}

static void read_unknown(SnlJson model, SnlJson vocab, SnlTokDesc *desc)
{
    SnlJson unknown = snl_json_get(model, "unk_token");
    if (!snl_json_present(unknown)) return;
    const char *name = snl_json_text(unknown);
    desc->unknown = find_name(vocab, name);
    if (desc->unknown == SNLRT_TOK_NONE)
        snl_json_fail(unknown, SNL_E_TOKENIZER, "found %s, which is not in the vocabulary",
                      snl_tok_shown(desc->arena, key_of(name)));
}

void snl_tok_read_model(SnlJson model, SnlJson added, SnlTokDesc *desc)
{
    if (!snl_json_present(model)) {
        snl_json_fail(model, SNL_E_TOKENIZER, "found nothing, wanted a BPE model");
        return;
    }
    if (!is_bpe(model)) return;
    read_settings(model, desc);
    SnlJson vocab = snl_json_get(model, "vocab");
    if (!json_is_object(vocab.at))
        snl_json_fail(vocab, SNL_E_TOKENIZER, "found %s, wanted an object: token -> id",
                      snl_json_kind(vocab));
    size_t n_added = snl_json_present(added) ? snl_json_length(added) : 0;
    if (model.doc->status != SNL_OK) return;
    int byte_of[ALPHABET_END];
    make_alphabet(byte_of);
    desc->n_ids = count_ids(vocab, added, desc);
    desc->token = SNL_NEW_ARRAY(desc->arena, SnlTokToken, desc->n_ids);
    if (model.doc->status == SNL_OK) read_vocab(vocab, desc, byte_of);
    for (size_t i = 0; i < n_added && model.doc->status == SNL_OK; i++)
        if (!read_added(vocab, snl_json_item(added, i), desc)) return;
    if (model.doc->status != SNL_OK) return;
    read_unknown(model, vocab, desc);
    read_byte_tokens(vocab, desc);
    read_merges(vocab, snl_json_get(model, "merges"), desc);
}
