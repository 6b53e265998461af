/* compiler/frontend/nanochat.h -- between family_nanochat.c (the whole) and nanochat_block.c
 * (layers). */
#ifndef SNL_FRONTEND_NANOCHAT_H
#define SNL_FRONTEND_NANOCHAT_H

#include "compiler/frontend/build.h"

/* Of every norm: the machine epsilon of f32. */
#define SNL_NANOCHAT_EPS 0x1p-23

typedef struct SnlNanochat {
    int64_t layers, width, heads, kv_heads, head_dim, vocab, padded_vocab;
    int64_t *window;   /* per layer: keys with 0 <= i - j <= window */
    bool x0_blend;     /* x = resid_lambda h + x0_lambda x0 before each layer */
    bool value_embeds; /* on every other layer, the last one included */
    int64_t streams;   /* hyper-connections; 0: none */
    int64_t sinkhorn_iters;
    double sinkhorn_tau;
    int64_t mtp_steps; /* training heads in the checkpoint, unused here */
} SnlNanochat;

/* Builds @block.0 .. with their caches. All take (h, pos), then tokens if there are value
 * embeddings, then x0 if it is blended in. */
SnlStatus snl_nanochat_layers(SnlBuild *b, const SnlNanochat *m, SnlBinding *out_links);

#endif
