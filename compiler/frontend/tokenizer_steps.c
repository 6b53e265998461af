/* compiler/frontend/tokenizer_steps.c -- normalizer, pre_tokenizer and decoder as lists of steps.
 *
 * Components are put together from the few steps that the runtime knows
 * (runtime/tokenizer_blob.h):
 *
 *     ByteLevel   -> PREPEND_UNLESS " ", SPLIT_REGEX (GPT-2's pattern); the bytes' printable
 * stand-ins never exist: token texts are turned back into bytes instead Metaspace   -> REPLACE " ",
 * PREPEND_UNLESS, SPLIT_LITERAL; as decoder DROP_FIRST, REPLACE Digits      -> SPLIT_REGEX */
#include "compiler/frontend/tokenizer_desc.h"

#include <string.h>
#include <utf8proc.h>

/* Far above the few bytes of real ones; keeps what a step can make of a text small. */
enum { MAX_STEP_BYTES = 256, MAX_PATTERN_BYTES = 16384, MAX_STRIP = 1024 };

static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static SnlTokBytes literal(const char *text)
{
    return snl_tok_bytes(text, strlen(text));
}

static const char *type_of(SnlJson value)
{
    return snl_json_text(snl_json_get(value, "type"));
}

static void push_step(SnlJson place, SnlTokDesc *desc, SnlTokSteps *steps, SnlTokStep step)
{
    if (steps->n == SNLRT_TOK_MAX_STEPS)
        snl_json_fail(place, SNL_E_TOKENIZER, "found more than %d steps", SNLRT_TOK_MAX_STEPS);
    else
        SNL_PUSH(desc->arena, steps, step);
}

typedef void ReadStep(SnlJson value, SnlTokDesc *desc);

/* Runs `read` on the value, or on each member of a Sequence (whose list is called `key`). */
static void for_each_step(SnlJson value, const char *key, SnlTokDesc *desc, ReadStep *read)
{
    if (!snl_json_present(value)) return;
    if (strcmp(type_of(value), "Sequence") != 0) {
        if (value.doc->status == SNL_OK) read(value, desc);
        return;
    }
    SnlJson list = snl_json_get(value, key);
    size_t n = snl_json_length(list);
    for (size_t i = 0; i < n && value.doc->status == SNL_OK; i++)
        for_each_step(snl_json_item(list, i), key, desc, read);
}

/* The `pattern` of Replace or Split: {"String": text} or {"Regex": text}. */
static SnlTokBytes read_pattern(SnlJson value, bool *out_regex)
{
    SnlJson pattern = snl_json_get(value, "pattern");
    *out_regex = false;
    if (!json_is_object(pattern.at)) {
        snl_json_fail(pattern, SNL_E_TOKENIZER,
                      "found %s, wanted {\"String\": text} or {\"Regex\": text}",
                      snl_json_kind(pattern));
        return literal("");
    }
    *out_regex = snl_json_has(pattern, "Regex");
    return *out_regex ? snl_tok_text(snl_json_get(pattern, "Regex"), MAX_PATTERN_BYTES)
                      : snl_tok_text(snl_json_get(pattern, "String"), MAX_STEP_BYTES);
}

static SnlTokStep read_replace(SnlJson value)
{
    bool regex;
    SnlTokStep step = {.kind = SNLRT_TOK_REPLACE, .s = read_pattern(value, &regex)};
    step.t = snl_tok_text(snl_json_get(value, "content"), MAX_STEP_BYTES);
    if (regex)
        snl_json_fail(snl_json_get(value, "pattern"), SNL_E_TOKENIZER,
                      "found a Regex to replace, wanted {\"String\": text}");
    return step;
}

/* ---- normalizer ---------------------------------------------------------------------------- */

static void read_normalizer_step(SnlJson value, SnlTokDesc *desc)
{
    const char *type = type_of(value);
    SnlTokStep step = {0};
    if (!strcmp(type, "Prepend")) {
        step.kind = SNLRT_TOK_PREPEND;
        step.s = snl_tok_text(snl_json_get(value, "prepend"), MAX_STEP_BYTES);
    } else if (!strcmp(type, "Replace")) {
        step = read_replace(value);
    } else if (!strcmp(type, "NFC")) {
        step.kind = SNLRT_TOK_NFC;
    } else {
        snl_tok_unsupported(snl_json_get(value, "type"), type,
                            "Prepend, Replace (of a String), NFC, Sequence, null");
        return;
    }
    push_step(value, desc, &desc->normalize, step);
}

void snl_tok_read_normalizer(SnlJson value, SnlTokDesc *desc)
{
    for_each_step(value, "normalizers", desc, read_normalizer_step);
}

/* ---- pre_tokenizer ------------------------------------------------------------------------- */

static void push_regex(SnlJson place, SnlTokDesc *desc, SnlTokBytes pattern, uint32_t behaviour,
                       bool invert)
{
    const char *problem = snl_tok_regex_problem(desc->arena, pattern);
    if (problem)
        snl_json_fail(place, SNL_E_TOKENIZER, "pattern %s: %s", snl_tok_shown(desc->arena, pattern),
                      problem);
    SnlTokStep step = {SNLRT_TOK_SPLIT_REGEX, behaviour, invert, pattern, {"", 0}};
    push_step(place, desc, &desc->pretokenize, step);
}

static uint32_t read_behaviour(SnlJson value)
{
    static const char *const names[] = {
#define B(NAME, text) text,
        SNLRT_TOK_BEHAVIOURS(B)
#undef B
    };
    const char *text = snl_json_text(value);
    for (uint32_t i = 0; i < SNLRT_TOK_BEHAVIOUR_COUNT; i++)
        if (!strcmp(text, names[i])) return i;
    if (value.doc->status == SNL_OK)
        snl_tok_unsupported(value, text,
                            "Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
    return 0;
}

static void read_split(SnlJson value, SnlTokDesc *desc)
{
    bool regex;
    SnlTokBytes pattern = read_pattern(value, &regex);
    uint32_t behaviour = read_behaviour(snl_json_get(value, "behavior"));
    bool invert = snl_json_bool_or(snl_json_get(value, "invert"), false);
    if (value.doc->status != SNL_OK) return;
    if (regex) {
        push_regex(snl_json_get(snl_json_get(value, "pattern"), "Regex"), desc, pattern, behaviour,
                   invert);
        return;
    }
    SnlTokStep step = {SNLRT_TOK_SPLIT_LITERAL, behaviour, invert, pattern, {"", 0}};
    push_step(value, desc, &desc->pretokenize, step);
}

static void read_byte_level(SnlJson value, SnlTokDesc *desc)
{
    desc->byte_level_text = true;
    if (snl_json_bool_or(snl_json_get(value, "add_prefix_space"), true)) {
        SnlTokStep step = {.kind = SNLRT_TOK_PREPEND_UNLESS, .s = literal(" "), .t = {"", 0}};
        push_step(value, desc, &desc->pretokenize, step);
    }
    if (snl_json_bool_or(snl_json_get(value, "use_regex"), true))
        push_regex(value, desc, literal(gpt2_pattern), SNLRT_TOK_ISOLATED, false);
}

/* One character that stands for a space. */
static SnlTokBytes read_character(SnlJson value)
{
    SnlTokBytes text = snl_tok_text(value, MAX_STEP_BYTES);
    utf8proc_int32_t code;
    const utf8proc_uint8_t *bytes = (const utf8proc_uint8_t *)text.at;
    if (value.doc->status == SNL_OK &&
        (text.n == 0 || utf8proc_iterate(bytes, text.n, &code) != (utf8proc_ssize_t)text.n))
        snl_json_fail(value, SNL_E_TOKENIZER, "found %s, wanted one character",
                      snl_tok_shown(value.doc->arena, text));
    return text;
}

typedef enum Scheme { SCHEME_ALWAYS, SCHEME_FIRST, SCHEME_NEVER } Scheme;

/* `prepend_scheme`, or what older files call `add_prefix_space`. */
static Scheme read_scheme(SnlJson value)
{
    static const char *const names[] = {"always", "first", "never"};
    SnlJson scheme = snl_json_get(value, "prepend_scheme");
    bool prefix = snl_json_bool_or(snl_json_get(value, "add_prefix_space"), true);
    if (!snl_json_present(scheme)) return prefix ? SCHEME_ALWAYS : SCHEME_NEVER;
    const char *text = snl_json_text(scheme);
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) != 0) continue;
        if (!prefix && i != SCHEME_NEVER)
            snl_json_fail(scheme, SNL_E_TOKENIZER,
                          "found \"%s\", wanted \"never\": add_prefix_space is false", text);
        return (Scheme)i;
    }
    if (value.doc->status == SNL_OK) snl_tok_unsupported(scheme, text, "always, first, never");
    return SCHEME_NEVER;
}

static void read_metaspace(SnlJson value, SnlTokDesc *desc)
{
    SnlTokBytes mark = read_character(snl_json_get(value, "replacement"));
    Scheme scheme = read_scheme(value);
    SnlTokStep replace = {SNLRT_TOK_REPLACE, 0, 0, literal(" "), mark};
    push_step(value, desc, &desc->pretokenize, replace);
    if (scheme != SCHEME_NEVER) {
        SnlTokStep prepend = {SNLRT_TOK_PREPEND_UNLESS,
                              scheme == SCHEME_FIRST ? SNLRT_TOK_PREPEND_FIRST
                                                     : SNLRT_TOK_PREPEND_ALWAYS,
                              0,
                              mark,
                              {"", 0}};
        push_step(value, desc, &desc->pretokenize, prepend);
    }
    if (snl_json_bool_or(snl_json_get(value, "split"), true)) {
        SnlTokStep split = {SNLRT_TOK_SPLIT_LITERAL, SNLRT_TOK_MERGED_WITH_NEXT, 0, mark, {"", 0}};
        push_step(value, desc, &desc->pretokenize, split);
    }
}

static void read_pretokenizer_step(SnlJson value, SnlTokDesc *desc)
{
    const char *type = type_of(value);
    if (desc->byte_level_text)
        snl_json_fail(value, SNL_E_TOKENIZER, "found %s after ByteLevel, wanted ByteLevel last",
                      snl_tok_shown(desc->arena, literal(type)));
    else if (!strcmp(type, "ByteLevel"))
        read_byte_level(value, desc);
    else if (!strcmp(type, "Split"))
        read_split(value, desc);
    else if (!strcmp(type, "Metaspace"))
        read_metaspace(value, desc);
    else if (!strcmp(type, "Digits"))
        push_regex(value, desc, literal("\\p{N}"),
                   snl_json_bool_or(snl_json_get(value, "individual_digits"), false)
                       ? SNLRT_TOK_ISOLATED
                       : SNLRT_TOK_CONTIGUOUS,
                   false);
    else
        snl_tok_unsupported(snl_json_get(value, "type"), type,
                            "ByteLevel, Split, Digits, Metaspace, Sequence, null");
}

void snl_tok_read_pretokenizer(SnlJson value, SnlTokDesc *desc)
{
    for_each_step(value, "pretokenizers", desc, read_pretokenizer_step);
}

/* ---- decoder ------------------------------------------------------------------------------- */

/* The order in which the runtime applies the kinds; the file's order must agree with it. */
typedef enum DecoderStage {
    STAGE_START,
    STAGE_TOKEN, /* Replace, Metaspace */
    STAGE_BYTES, /* ByteFallback */
    STAGE_FUSE,
    STAGE_STRIP,
    STAGE_BYTE_LEVEL
} DecoderStage;

static DecoderStage stage_of(const char *type)
{
    if (!strcmp(type, "Replace") || !strcmp(type, "Metaspace")) return STAGE_TOKEN;
    if (!strcmp(type, "ByteFallback")) return STAGE_BYTES;
    if (!strcmp(type, "Fuse")) return STAGE_FUSE;
    if (!strcmp(type, "Strip")) return STAGE_STRIP;
    if (!strcmp(type, "ByteLevel")) return STAGE_BYTE_LEVEL;
    return STAGE_START;
}

static void read_metaspace_decoder(SnlJson value, SnlTokDesc *desc)
{
    SnlTokBytes mark = read_character(snl_json_get(value, "replacement"));
    if (read_scheme(value) != SCHEME_NEVER) {
        SnlTokStep drop = {SNLRT_TOK_DROP_FIRST, 0, 0, mark, {"", 0}};
        push_step(value, desc, &desc->decode, drop);
    }
    SnlTokStep replace = {SNLRT_TOK_REPLACE, 0, 0, mark, literal(" ")};
    push_step(value, desc, &desc->decode, replace);
}

static void read_strip(SnlJson value, SnlTokDesc *desc)
{
    SnlTokStep step = {.kind = SNLRT_TOK_STRIP, .t = {"", 0}};
    step.s = read_character(snl_json_get(value, "content"));
    step.a = (uint32_t)snl_json_int(snl_json_get(value, "start"), 0, MAX_STRIP);
    step.b = (uint32_t)snl_json_int(snl_json_get(value, "stop"), 0, MAX_STRIP);
    push_step(value, desc, &desc->decode, step);
}

static DecoderStage last_stage(const SnlTokDesc *desc)
{
    if (desc->byte_level_decoder) return STAGE_BYTE_LEVEL;
    if (desc->decode.n == 0) return STAGE_START;
    switch (desc->decode.at[desc->decode.n - 1].kind) {
    case SNLRT_TOK_BYTE_TOKENS:
        return STAGE_BYTES;
    case SNLRT_TOK_SEPARATE:
        return STAGE_FUSE;
    case SNLRT_TOK_STRIP:
        return STAGE_STRIP;
    default:
        return STAGE_TOKEN;
    }
}

static void read_decoder_step(SnlJson value, SnlTokDesc *desc)
{
    const char *type = type_of(value);
    DecoderStage stage = stage_of(type), last = last_stage(desc);
    if (stage == STAGE_START) {
        snl_tok_unsupported(
            snl_json_get(value, "type"), type,
            "ByteLevel, Metaspace, Replace (of a String), ByteFallback, Fuse, Strip, "
            "Sequence, null");
        return;
    }
    bool misplaced = stage == STAGE_BYTE_LEVEL ? last != STAGE_START
                     : stage == STAGE_TOKEN    ? last > STAGE_TOKEN
                     : stage == STAGE_STRIP    ? last != STAGE_FUSE
                                               : last >= stage;
    if (misplaced) {
        snl_json_fail(value, SNL_E_TOKENIZER,
                      "found %s at this place, wanted ByteLevel alone, or the order Replace or "
                      "Metaspace, ByteFallback, Fuse, Strip, where Strip comes right after Fuse",
                      type);
        return;
    }
    SnlTokStep step = {0, 0, 0, {"", 0}, {"", 0}};
    if (!strcmp(type, "Metaspace")) {
        read_metaspace_decoder(value, desc);
    } else if (stage == STAGE_TOKEN) {
        push_step(value, desc, &desc->decode, read_replace(value));
    } else if (stage == STAGE_STRIP) {
        read_strip(value, desc);
    } else if (stage == STAGE_BYTE_LEVEL) {
        desc->byte_level_decoder = true;
    } else { /* Fuse joins with nothing between */
        step.kind = stage == STAGE_BYTES ? SNLRT_TOK_BYTE_TOKENS : SNLRT_TOK_SEPARATE;
        push_step(value, desc, &desc->decode, step);
    }
}

void snl_tok_read_decoder(SnlJson value, SnlTokDesc *desc)
{
    for_each_step(value, "decoders", desc, read_decoder_step);
    if (snl_json_present(value)) return;
    SnlTokStep separate = {SNLRT_TOK_SEPARATE, 0, 0, literal(" "), {"", 0}};
    push_step(value, desc, &desc->decode, separate);
}
