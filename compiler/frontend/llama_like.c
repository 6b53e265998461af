/* compiler/frontend/llama_like.c -- graph of the llama-like families; tensor names as in the
 * transformers library. */
#include "compiler/frontend/llama_like.h"

#include <inttypes.h>

/* One model being built. */
typedef struct Builder {
    SnlBuild *b;
    const SnlLlama *m;
} Builder;

/* ---- weights --------------------------------------------------------------------------------- */

/* `@l<i>.<name>` from `model.layers.<i>.<tensor>`. */
static SnlWeight *vector(const Builder *c, int64_t i, const char *name, const char *tensor,
                         int64_t n)
{
    return snl_build_vector(c->b, snl_build_name(c->b, "l%" PRId64 ".%s", i, name),
                            snl_build_name(c->b, "model.layers.%" PRId64 ".%s", i, tensor), n);
}

static SnlWeight *matrix(const Builder *c, int64_t i, const char *name, const char *tensor,
                         int64_t rows, int64_t cols)
{
    return snl_build_matrix(c->b, snl_build_name(c->b, "l%" PRId64 ".%s", i, name),
                            snl_build_name(c->b, "model.layers.%" PRId64 ".%s", i, tensor), rows,
                            cols);
}

/* A linear with the weight `module`.weight and, if wanted, `module`.bias. `out` names the value;
 * the weight is @l<i>.w<suffix>, the bias @l<i>.b<suffix>. */
static SnlValue *linear(const Builder *c, SnlFunc *f, int64_t i, SnlValue *x, const char *suffix,
                        const char *module, int64_t rows, bool biased, const char *out)
{
    SnlWeight *w = matrix(c, i, snl_build_name(c->b, "w%s", suffix),
                          snl_build_name(c->b, "%s.weight", module), rows, snl_type_width(x->type));
    SnlWeight *bias = NULL;
    if (biased)
        bias = vector(c, i, snl_build_name(c->b, "b%s", suffix),
                      snl_build_name(c->b, "%s.bias", module), rows);
    return snl_emit_linear(f, x, w, bias, out);
}

/* ---- the block ------------------------------------------------------------------------------- */

/* q or k: its own norm where the family has one, then rope. */
static SnlValue *rotated(const Builder *c, SnlFunc *f, int64_t i, SnlValue *x, SnlValue *table,
                         int64_t heads, const char *letter)
{
    const SnlLlama *m = c->m;
    if (m->qk_norm) {
        SnlWeight *g =
            vector(c, i, snl_build_name(c->b, "%s_norm", letter),
                   snl_build_name(c->b, "self_attn.%s_norm.weight", letter), m->head_dim);
        x = snl_emit_norm(f, x, g, m->eps, heads, snl_build_name(c->b, "%sn", letter));
    }
    return snl_emit_rope(f, x, table, heads, snl_build_name(c->b, "%sr", letter));
}

static SnlAttention attention_of(const Builder *c, int64_t i)
{
    const SnlLlama *m = c->m;
    SnlAttention how = {.heads = m->heads, .kv_heads = m->kv_heads};
    /* A window as long as the context hides nothing: leaving it out is exact and cheaper. */
    how.windowed = m->window[i] > 0 && m->window[i] < c->b->model->context;
    how.window = m->window[i] - 1;
    return how;
}

static SnlValue *attention(const Builder *c, SnlFunc *f, int64_t i, SnlValue *h, SnlValue *pos,
                           SnlState *kv)
{
    const SnlLlama *m = c->m;
    int64_t q_rows = m->heads * m->head_dim, kv_rows = m->kv_heads * m->head_dim;
    SnlWeight *g = vector(c, i, "attn_norm", "input_layernorm.weight", m->width);
    SnlValue *n = snl_emit_norm(f, h, g, m->eps, 1, "n");
    SnlValue *q = linear(c, f, i, n, "q", "self_attn.q_proj", q_rows, m->qkv_bias, "q");
    SnlValue *k = linear(c, f, i, n, "k", "self_attn.k_proj", kv_rows, m->qkv_bias, "k");
    SnlValue *v = linear(c, f, i, n, "v", "self_attn.v_proj", kv_rows, m->qkv_bias, "v");
    SnlValue *table = snl_emit_rope_table(f, pos, &m->rope, "cs");
    SnlValue *qr = rotated(c, f, i, q, table, m->heads, "q");
    SnlValue *kr = rotated(c, f, i, k, table, m->kv_heads, "k");
    SnlAttention how = attention_of(c, i);
    SnlValue *a = snl_emit_attention(f, qr, kr, v, pos, kv, &how, "a");
    return linear(c, f, i, a, "o", "self_attn.o_proj", m->width, m->out_bias, "o");
}

static SnlValue *feed_forward(const Builder *c, SnlFunc *f, int64_t i, SnlValue *y)
{
    const SnlLlama *m = c->m;
    SnlWeight *g = vector(c, i, "ffn_norm", "post_attention_layernorm.weight", m->width);
    SnlValue *n = snl_emit_norm(f, y, g, m->eps, 1, "m");
    SnlValue *gate = linear(c, f, i, n, "gate", "mlp.gate_proj", m->ffn, m->mlp_bias, "g");
    SnlValue *up = linear(c, f, i, n, "up", "mlp.up_proj", m->ffn, m->mlp_bias, "u");
    SnlValue *s = snl_emit_unary(f, SNL_OP_SILU, gate, "s");
    SnlValue *e = snl_emit_mul(f, s, up, "e");
    return linear(c, f, i, e, "down", "mlp.down_proj", m->width, m->mlp_bias, "d");
}

static SnlFunc *layer(const Builder *c, int64_t i)
{
    SnlModule *module = c->b->module;
    SnlFunc *f = snl_func_create(module, SNL_LAYER, snl_build_name(c->b, "block.%" PRId64, i));
    f->surrogate = SNL_SURROGATE_IDENTITY;
    SnlValue *h = snl_func_param(f, "h", snl_type_rows(module, c->m->width));
    SnlValue *pos = snl_func_param(f, "pos", snl_type_index(module));
    SnlState *kv = snl_func_state_param(f, "kv");
    SnlValue *y = snl_emit_add(f, h, attention(c, f, i, h, pos, kv), "y");
    snl_emit_return(f, snl_emit_add(f, y, feed_forward(c, f, i, y), "z"));
    snl_build_unused(
        c->b, snl_build_name(c->b, "model.layers.%" PRId64 ".self_attn.rotary_emb.inv_freq", i));
    return f;
}

static SnlState *cache(const Builder *c, int64_t i)
{
    int64_t dim[] = {2, c->m->kv_heads, c->b->model->context, c->m->head_dim};
    return snl_module_state(c->b->module, snl_build_name(c->b, "kv.%" PRId64, i),
                            snl_type(c->b->module, SNL_F32, 4, dim));
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void forward(const Builder *c, SnlWeight *embed, const SnlBinding *links)
{
    const SnlLlama *m = c->m;
    SnlValue *tokens, *pos;
    SnlFunc *f = snl_build_forward(c->b, &tokens, &pos);
    SnlValue *chained[] = {snl_emit_embed(f, tokens, embed, "x"), pos};
    SnlOp *chain = snl_emit_chain(f, chained, 2, links, (size_t)m->layers, NULL, 0, "h");
    SnlWeight *g = snl_build_vector(c->b, "norm", "model.norm.weight", m->width);
    SnlValue *n = snl_emit_norm(f, chain->out[0], g, m->eps, 1, "n");
    SnlWeight *head = embed;
    if (m->tied)
        snl_build_unused(c->b, "lm_head.weight");
    else
        head = snl_build_matrix(c->b, "head", "lm_head.weight", m->vocab, m->width);
    snl_emit_return(f, snl_emit_linear(f, n, head, NULL, "l"));
}

SnlStatus snl_llama_build(SnlBuild *b, SnlJson config, const SnlLlama *llama)
{
    Builder c = {b, llama};
    SNL_TRY(snl_build_context(b, config, llama->family, 2 * llama->kv_heads * llama->head_dim));
    SnlWeight *embed =
        snl_build_matrix(b, "embed", "model.embed_tokens.weight", llama->vocab, llama->width);
    SnlBinding *links = SNL_NEW_ARRAY(b->arena, SnlBinding, (size_t)llama->layers);
    for (int64_t i = 0; i < llama->layers && b->status == SNL_OK; i++) {
        SnlState **kv = SNL_NEW_ARRAY(b->arena, SnlState *, 1);
        kv[0] = cache(&c, i);
        links[i] = (SnlBinding){.layer = layer(&c, i), .state = kv, .n_state = 1};
    }
    if (b->status == SNL_OK) forward(&c, embed, links);
    snl_build_unused(b, "model.rotary_emb.inv_freq");
    return snl_build_check_extra(b);
}
