/* compiler/frontend/llama_config.c -- configuration keys of the llama-like families.
 *
 * A key that would change the function and that snlpc does not honour is refused when it has
 * another value than its neutral one; keys about training, files or dropout are ignored. */
#include "compiler/frontend/llama_like.h"

#include <inttypes.h>
#include <string.h>

/* Keys of relatives: harmless only at this value. */
static const struct {
    const char *key;
    double neutral; /* numbers and booleans (false = 0) */
} neutral_keys[] = {
    {"partial_rotary_factor", 1},
    {"rope_interleaved", 0},
    {"use_mrope", 0},
    {"use_qk_norm", 0},
    {"attn_logit_softcapping", 0},
    {"final_logit_softcapping", 0},
    {"embedding_multiplier", 1},
    {"residual_multiplier", 1},
    {"logits_scaling", 1},
    {"logit_scale", 1},
    {"num_experts", 0},
    {"num_local_experts", 0},
    {"kv_lora_rank", 0},
    {"no_rope_layer_interval", 0},
};

static SnlStatus check_neutral(SnlJson config)
{
    for (size_t i = 0; i < sizeof neutral_keys / sizeof neutral_keys[0]; i++) {
        SnlJson value = snl_json_get(config, neutral_keys[i].key);
        if (!snl_json_present(value)) continue;
        double found =
            json_is_boolean(value.at) ? json_is_true(value.at) : json_number_value(value.at);
        bool number = json_is_boolean(value.at) || json_is_number(value.at);
        if (!number || found < neutral_keys[i].neutral || found > neutral_keys[i].neutral)
            return snl_json_fail(
                value, SNL_E_UNSUPPORTED,
                "this changes what the model computes and is not supported; wanted "
                "no such key, or %g",
                neutral_keys[i].neutral);
    }
    SnlJson quantised = snl_json_get(config, "quantization_config");
    if (snl_json_present(quantised))
        return snl_json_fail(
            quantised, SNL_E_UNSUPPORTED,
            "quantised checkpoints are not supported; use the F32, BF16 or F16 one");
    return config.doc->status;
}

static void check_activation(SnlJson config)
{
    SnlJson act = snl_json_get(config, "hidden_act");
    const char *name = snl_json_text_or(act, "silu");
    if (strcmp(name, "silu") && strcmp(name, "swish"))
        snl_json_fail(act, SNL_E_UNSUPPORTED, "found \"%.120s\", wanted \"silu\" (or \"swish\")",
                      name);
}

/* ---- rope ------------------------------------------------------------------------------------ */

/* Each kind and the keys it has; anything else in the object is a mistake or a kind of tomorrow. */
typedef struct RopeKind {
    const char *name;
    const char *keys[5];
} RopeKind;

static const RopeKind rope_kinds[] = {
    {"default", {NULL}},
    {"linear", {"factor", NULL}},
    {"llama3",
     {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings", NULL}},
};

static const RopeKind *find_kind(SnlJson scaling)
{
    SnlJson type = snl_json_get(scaling, "rope_type"), old = snl_json_get(scaling, "type");
    if (snl_json_present(type) && snl_json_present(old) &&
        !json_equal((json_t *)(uintptr_t)type.at, (json_t *)(uintptr_t)old.at))
        snl_json_fail(old, SNL_E_CONFIG, "'type' and 'rope_type' differ; wanted one of them");
    SnlJson kind = snl_json_present(type) ? type : old;
    if (!snl_json_present(kind))
        snl_json_fail(type, SNL_E_CONFIG, "found no kind of rope scaling, wanted linear or llama3");
    const char *name = snl_json_text(kind);
    for (size_t i = 0; i < sizeof rope_kinds / sizeof rope_kinds[0]; i++)
        if (strcmp(rope_kinds[i].name, name) == 0) return &rope_kinds[i];
    snl_json_fail(kind, SNL_E_UNSUPPORTED,
                  "rope scaling \"%.120s\" is not supported; wanted linear, llama3 or none", name);
    return NULL;
}

static bool is_rope_key(const RopeKind *kind, const char *key)
{
    if (strcmp(key, "rope_type") == 0 || strcmp(key, "type") == 0 || strcmp(key, "rope_theta") == 0)
        return true;
    for (size_t i = 0; kind->keys[i]; i++)
        if (strcmp(kind->keys[i], key) == 0) return true;
    return false;
}

static void check_rope_keys(SnlJson scaling, const RopeKind *kind)
{
    json_t *object = (json_t *)(uintptr_t)scaling.at;
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        const char *key = json_object_iter_key(at);
        if (!is_rope_key(kind, key))
            snl_json_fail(snl_json_get(scaling, key), SNL_E_UNSUPPORTED,
                          "rope scaling \"%s\" has no such key; wanted it removed, or another kind",
                          kind->name);
    }
}

static void set_real(SnlBuild *b, SnlAttrs *attrs, const char *key, SnlJson value, double min,
                     double max)
{
    snl_attr_set_real(b->module, attrs, key, snl_json_real(value, min, max));
}

/* Reads `rope_scaling` (or `rope_parameters`, its later name, which has rope_theta too). */
static void read_scaling(SnlBuild *b, SnlJson scaling, SnlAttrs *rope)
{
    const RopeKind *kind = find_kind(scaling);
    if (!kind || scaling.doc->status != SNL_OK) return;
    check_rope_keys(scaling, kind);
    SnlJson theta = snl_json_get(scaling, "rope_theta");
    if (snl_json_present(theta)) set_real(b, rope, "theta", theta, 1, 1e15);
    if (!kind->keys[0]) return;
    snl_attr_set_word(b->module, rope, "scaling", kind->name);
    set_real(b, rope, "factor", snl_json_get(scaling, "factor"), 1e-6, 1e6);
    if (!kind->keys[1]) return;
    SnlJson low = snl_json_get(scaling, "low_freq_factor");
    SnlJson high = snl_json_get(scaling, "high_freq_factor");
    set_real(b, rope, "low_freq_factor", low, 1e-6, 1e6);
    set_real(b, rope, "high_freq_factor", high, 1e-6, 1e6);
    if (scaling.doc->status == SNL_OK && json_number_value(high.at) <= json_number_value(low.at))
        snl_json_fail(high, SNL_E_CONFIG, "found %g, wanted more than low_freq_factor, %g",
                      json_number_value(high.at), json_number_value(low.at));
    SnlJson original = snl_json_get(scaling, "original_max_position_embeddings");
    snl_attr_set_int(b->module, rope, "original_context",
                     snl_json_int(original, 1, SNL_MAX_CONTEXT));
}

static void read_rope(SnlBuild *b, SnlJson config, SnlLlama *out)
{
    out->rope = (SnlAttrs){0};
    SnlJson theta = snl_json_get(config, "rope_theta");
    snl_attr_set_int(b->module, &out->rope, "width", out->head_dim);
    snl_attr_set_real(b->module, &out->rope, "theta", snl_json_real_or(theta, 1, 1e15, 10000));
    SnlJson scaling = snl_json_get(config, "rope_scaling");
    SnlJson later = snl_json_get(config, "rope_parameters");
    if (snl_json_present(scaling) && snl_json_present(later))
        snl_json_fail(later, SNL_E_CONFIG,
                      "found both rope_scaling and rope_parameters, wanted one of them");
    if (snl_json_present(later)) scaling = later;
    if (snl_json_present(scaling)) read_scaling(b, scaling, &out->rope);
}

/* ---- shapes ---------------------------------------------------------------------------------- */

static void read_heads(SnlJson config, int64_t default_head_dim, SnlLlama *out)
{
    SnlJson heads = snl_json_get(config, "num_attention_heads");
    SnlJson kv_heads = snl_json_get(config, "num_key_value_heads");
    SnlJson head_dim = snl_json_get(config, "head_dim");
    out->heads = snl_json_int(heads, 1, SNL_MAX_HEADS);
    out->kv_heads = snl_json_int_or(kv_heads, 1, SNL_MAX_HEADS, out->heads);
    if (config.doc->status != SNL_OK) return;
    if (out->heads % out->kv_heads != 0)
        snl_json_fail(kv_heads, SNL_E_CONFIG,
                      "found %" PRId64 ", wanted a divisor of num_attention_heads, %" PRId64,
                      out->kv_heads, out->heads);
    if (!snl_json_present(head_dim) && default_head_dim == 0 && out->width % out->heads != 0)
        snl_json_fail(heads, SNL_E_CONFIG,
                      "found %" PRId64 ", wanted a divisor of hidden_size, %" PRId64
                      " (or a head_dim)",
                      out->heads, out->width);
    if (default_head_dim == 0) default_head_dim = out->width / out->heads;
    out->head_dim = snl_json_int_or(head_dim, 2, SNL_MAX_HEAD_DIM, default_head_dim);
    if (out->head_dim % 2 != 0 || out->head_dim < 2)
        snl_json_fail(head_dim, SNL_E_CONFIG,
                      "found heads of width %" PRId64 ", wanted an even width (rotary embedding)",
                      out->head_dim);
}

static bool shapes_fit(SnlBuild *b, SnlJson config, const SnlLlama *m)
{
    return snl_build_fits(b, config, "embedding", m->vocab, m->width) &&
           snl_build_fits(b, config, "feed-forward matrix", m->ffn, m->width) &&
           snl_build_fits(b, config, "attention matrix", m->heads * m->head_dim, m->width);
}

SnlStatus snl_llama_read(SnlBuild *b, SnlJson config, const char *family, int64_t head_dim,
                         SnlLlama *out)
{
    *out = (SnlLlama){.family = family};
    SNL_TRY(check_neutral(config));
    check_activation(config);
    out->width = snl_json_int(snl_json_get(config, "hidden_size"), 1, SNL_MAX_WIDTH);
    out->layers = snl_json_int(snl_json_get(config, "num_hidden_layers"), 1, SNL_MAX_LAYERS);
    out->ffn = snl_json_int(snl_json_get(config, "intermediate_size"), 1, 8 * SNL_MAX_WIDTH);
    out->vocab = snl_json_int(snl_json_get(config, "vocab_size"), 1, SNL_MAX_VOCAB);
    out->eps = snl_json_real_or(snl_json_get(config, "rms_norm_eps"), 1e-30, 1, 1e-6);
    out->tied = snl_json_bool_or(snl_json_get(config, "tie_word_embeddings"), false);
    read_heads(config, head_dim, out);
    read_rope(b, config, out);
    b->model->vocab = out->vocab;
    b->model->width = out->width;
    b->model->n_layers = out->layers;
    b->model->trained_context =
        snl_json_int(snl_json_get(config, "max_position_embeddings"), 1, SNL_MAX_CONTEXT);
    SNL_TRY(config.doc->status);
    if (!shapes_fit(b, config, out)) return b->status;
    out->window = SNL_NEW_ARRAY(b->arena, int64_t, (size_t)out->layers);
    return SNL_OK;
}

/* ---- windows --------------------------------------------------------------------------------- */

/* Qwen's window and first layer that has it when config.json is silent, as in transformers. */
enum { QWEN_WINDOW = 4096, QWEN_FULL_LAYERS = 28 };

static bool slides(SnlJson types, int64_t layer, bool by_default)
{
    if (!snl_json_present(types)) return by_default;
    SnlJson type = snl_json_item(types, (size_t)layer);
    const char *name = snl_json_text(type);
    bool sliding = strcmp(name, "sliding_attention") == 0;
    if (!sliding && strcmp(name, "full_attention"))
        snl_json_fail(type, SNL_E_UNSUPPORTED,
                      "found \"%.120s\", wanted \"full_attention\" or \"sliding_attention\"", name);
    return sliding;
}

SnlStatus snl_llama_windows(SnlJson config, int64_t window, int64_t first_sliding, SnlLlama *llama)
{
    SnlJson types = snl_json_get(config, "layer_types");
    if (snl_json_present(types) && snl_json_length(types) != (size_t)llama->layers)
        return snl_json_fail(types, SNL_E_CONFIG,
                             "found %zu entries, wanted num_hidden_layers, %" PRId64,
                             snl_json_length(types), llama->layers);
    for (int64_t i = 0; i < llama->layers && config.doc->status == SNL_OK; i++)
        if (slides(types, i, i >= first_sliding)) llama->window[i] = window;
    return config.doc->status;
}

SnlStatus snl_llama_upper_windows(SnlJson config, SnlLlama *llama)
{
    bool used = snl_json_bool_or(snl_json_get(config, "use_sliding_window"), false);
    SnlJson window = snl_json_get(config, "sliding_window");
    SnlJson from = snl_json_get(config, "max_window_layers");
    int64_t keys = used ? snl_json_int_or(window, 1, SNL_MAX_CONTEXT, QWEN_WINDOW) : 0;
    if (snl_json_states(config, "sliding_window") && !snl_json_present(window)) keys = 0;
    int64_t first = snl_json_int_or(from, 0, INT32_MAX, QWEN_FULL_LAYERS);
    return snl_llama_windows(config, keys, first, llama);
}
