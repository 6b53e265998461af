/* compiler/frontend/llama_like.h -- the pre-norm block that llama, mistral, qwen2 and qwen3 share:
 *
 *     y = h + Wo attention(rope(Wq n), rope(Wk n), Wv n),   n = rms_norm(h) * g
 *     z = y + Wdown (silu(Wgate m) * Wup m),                m = rms_norm(y) * g'
 *
 * with grouped heads, a head width of its own, optional biases, optional norms of each q and k
 * head, a sliding window per layer, and rope scaling of the kinds `linear` and `llama3`. */
#ifndef SNL_FRONTEND_LLAMA_LIKE_H
#define SNL_FRONTEND_LLAMA_LIKE_H

#include "compiler/frontend/build.h"

typedef struct SnlLlama {
    const char *family;
    int64_t layers, width, ffn, heads, kv_heads, head_dim, vocab;
    double eps;
    bool tied; /* the head is the embedding */
    bool qkv_bias, out_bias, mlp_bias;
    bool qk_norm;    /* rms_norm of each q and k head before rope */
    int64_t *window; /* per layer: keys that a query sees, itself included; 0: all */
    SnlAttrs rope;   /* of rope_table */
} SnlLlama;

/* Reads the keys that the families share into *out; flags and windows stay for the caller to set.
 * head_dim: what the family uses when the key is absent (0: hidden_size / heads). */
SnlStatus snl_llama_read(SnlBuild *b, SnlJson config, const char *family, int64_t head_dim,
                         SnlLlama *out);
/* Layers from first_sliding on (or those that `layer_types` names) see `window` keys; 0: all do. */
SnlStatus snl_llama_windows(SnlJson config, int64_t window, int64_t first_sliding, SnlLlama *llama);
/* Qwen's keys for it: use_sliding_window, sliding_window, max_window_layers. */
SnlStatus snl_llama_upper_windows(SnlJson config, SnlLlama *llama);
SnlStatus snl_llama_build(SnlBuild *b, SnlJson config, const SnlLlama *llama);

#endif
