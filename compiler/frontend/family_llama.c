/* compiler/frontend/family_llama.c -- Llama 2 and 3 and everything that uses their layout, Mistral
 * (the same with a sliding window). */
#include "compiler/frontend/family.h"
#include "compiler/frontend/llama_like.h"

/* The window when config.json does not mention it, as the transformers library has it. */
enum { MISTRAL_WINDOW = 4096 };

static SnlStatus build(SnlBuild *b, SnlJson config, int64_t default_window)
{
    SnlLlama m;
    SNL_TRY(snl_llama_read(b, config, "llama", 0, &m));
    m.qkv_bias = m.out_bias = snl_json_bool_or(snl_json_get(config, "attention_bias"), false);
    m.mlp_bias = snl_json_bool_or(snl_json_get(config, "mlp_bias"), false);
    SnlJson window = snl_json_get(config, "sliding_window");
    if (snl_json_states(config, "sliding_window")) default_window = 0;
    int64_t keys = snl_json_int_or(window, 1, SNL_MAX_CONTEXT, default_window);
    SNL_TRY(snl_llama_windows(config, keys, 0, &m));
    return snl_llama_build(b, config, &m);
}

SnlStatus snl_family_llama(SnlBuild *b, SnlJson config)
{
    return build(b, config, 0);
}

SnlStatus snl_family_mistral(SnlBuild *b, SnlJson config)
{
    return build(b, config, MISTRAL_WINDOW);
}
