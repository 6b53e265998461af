/* compiler/frontend/family_qwen3.c -- Qwen3 (dense): norms of q and k heads, a head width of its
 * own, no biases unless the configuration asks for them. */
#include "compiler/frontend/family.h"
#include "compiler/frontend/llama_like.h"

/* Width of a head when config.json does not say, as the transformers library has it. */
enum { QWEN3_HEAD_DIM = 128 };

SnlStatus snl_family_qwen3(SnlBuild *b, SnlJson config)
{
    SnlLlama m;
    SNL_TRY(snl_llama_read(b, config, "qwen3", QWEN3_HEAD_DIM, &m));
    m.qk_norm = true;
    m.qkv_bias = m.out_bias = snl_json_bool_or(snl_json_get(config, "attention_bias"), false);
    SNL_TRY(snl_llama_upper_windows(config, &m));
    return snl_llama_build(b, config, &m);
}
