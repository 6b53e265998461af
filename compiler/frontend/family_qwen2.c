/* compiler/frontend/family_qwen2.c -- Qwen2 and Qwen2.5: biases on q, k and v; the upper layers may
 * have a sliding window. */
#include "compiler/frontend/family.h"
#include "compiler/frontend/llama_like.h"

SnlStatus snl_family_qwen2(SnlBuild *b, SnlJson config)
{
    SnlLlama m;
    SNL_TRY(snl_llama_read(b, config, "qwen2", 0, &m));
    m.qkv_bias = true;
    SNL_TRY(snl_llama_upper_windows(config, &m));
    return snl_llama_build(b, config, &m);
}
