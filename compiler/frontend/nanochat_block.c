/* compiler/frontend/nanochat_block.c -- one layer of nanochat:
 *
 *     x = resid_i h + x0_i x0            (x0 blend; x = h without)
 *     y = x + Attn(norm(x)),   z = y + MLP(norm(y))
 *
 * and with hyper-connections, for each of the two sublayers with its own matrices,
 *
 *     X' = Hres X + Hpost Sublayer(norm(Hpre X)),   Hres = sinkhorn(.), Hpre, Hpost = softmax(.)
 *
 * where X is [S, D] per token. q and k are normed per head after rope and each scaled by 1.2: the
 * attention's scale is 1.44 / sqrt(d). Rope turns against the sense of the llama family. */
#include "compiler/frontend/nanochat.h"

#include <inttypes.h>
#include <math.h>

enum { VE_INPUTS = 12 };
static const double rope_theta = 100000, qk_gain = 1.2, ve_gain = 3;

typedef struct Builder {
    SnlBuild *b;
    const SnlNanochat *m;
    SnlWeight *resid, *x0; /* all layers' factors; NULL without the blend */
} Builder;

/* One layer being built: its function and parameters. */
typedef struct Layer {
    const Builder *c;
    int64_t i;
    SnlFunc *f;
    SnlValue *h, *pos, *tokens, *x0;
    SnlState *kv;
} Layer;

/* ---- weights --------------------------------------------------------------------------------- */

static const char *local(const Layer *l, const char *name)
{
    return snl_build_name(l->c->b, "l%" PRId64 ".%s", l->i, name);
}

/* `@l<i>.<name>` from `transformer.h.<i>.<tensor>`. */
static SnlWeight *matrix(const Layer *l, const char *name, const char *tensor, int64_t rows,
                         int64_t cols)
{
    SnlBuild *b = l->c->b;
    return snl_build_matrix(b, local(l, name),
                            snl_build_name(b, "transformer.h.%" PRId64 ".%s", l->i, tensor), rows,
                            cols);
}

static SnlValue *linear(const Layer *l, SnlValue *x, const char *name, const char *tensor,
                        int64_t rows, const char *out)
{
    SnlWeight *w = matrix(l, name, tensor, rows, snl_type_width(x->type));
    return snl_emit_linear(l->f, x, w, NULL, out);
}

/* ---- sublayers: normed input in, branch out -------------------------------------------------- */

/* v + 3 sigmoid(gate(u[0:12])) * value_embeds[token], per kv head. */
static SnlValue *with_value_embed(const Layer *l, SnlValue *u, SnlValue *v)
{
    const SnlNanochat *m = l->c->m;
    SnlBuild *b = l->c->b;
    SnlWeight *table = snl_build_matrix(b, local(l, "ve"),
                                        snl_build_name(b, "value_embeds.%" PRId64 ".weight", l->i),
                                        m->padded_vocab, m->kv_heads * m->head_dim);
    SnlWeight *gate = matrix(l, "ve_gate", "attn.ve_gate.weight", m->kv_heads, VE_INPUTS);
    SnlValue *e = snl_emit_embed(l->f, l->tokens, table, "ve");
    SnlValue *front = snl_emit_slice(l->f, u, 0, VE_INPUTS, "front");
    SnlValue *logit = snl_emit_linear(l->f, front, gate, NULL, "ve_logit");
    SnlValue *g = snl_emit_unary(l->f, SNL_OP_SIGMOID, logit, "ve_gate");
    SnlValue *gated = snl_emit_mul(l->f, e, g, "ve_gated");
    return snl_emit_blend(l->f, v, snl_coef_real(1), gated, snl_coef_real(ve_gain), "vv");
}

static SnlValue *rope_table(const Layer *l)
{
    SnlModule *module = l->c->b->module;
    SnlAttrs attrs = {0};
    snl_attr_set_real(module, &attrs, "theta", rope_theta);
    snl_attr_set_int(module, &attrs, "width", l->c->m->head_dim);
    snl_attr_set_flag(module, &attrs, "inverse");
    return snl_emit_rope_table(l->f, l->pos, &attrs, "cs");
}

static SnlAttention attention_of(const Layer *l)
{
    const SnlNanochat *m = l->c->m;
    SnlAttention how = {.heads = m->heads, .kv_heads = m->kv_heads, .window = m->window[l->i]};
    how.scale = qk_gain * qk_gain / sqrt((double)m->head_dim);
    /* i - j is below the context: a longer window hides nothing. */
    how.windowed = how.window < l->c->b->model->context - 1;
    return how;
}

static SnlValue *attention(const Layer *l, SnlValue *u)
{
    const SnlNanochat *m = l->c->m;
    SnlFunc *f = l->f;
    int64_t kv_rows = m->kv_heads * m->head_dim;
    SnlValue *q = linear(l, u, "wq", "attn.c_q.weight", m->width, "q");
    SnlValue *k = linear(l, u, "wk", "attn.c_k.weight", kv_rows, "k");
    SnlValue *v = linear(l, u, "wv", "attn.c_v.weight", kv_rows, "v");
    if (m->value_embeds && l->i % 2 == (m->layers - 1) % 2) v = with_value_embed(l, u, v);
    SnlValue *table = rope_table(l);
    SnlValue *qr = snl_emit_rope(f, q, table, m->heads, "qr");
    SnlValue *kr = snl_emit_rope(f, k, table, m->kv_heads, "kr");
    SnlValue *qn = snl_emit_norm(f, qr, NULL, SNL_NANOCHAT_EPS, m->heads, "qn");
    SnlValue *kn = snl_emit_norm(f, kr, NULL, SNL_NANOCHAT_EPS, m->kv_heads, "kn");
    SnlAttention how = attention_of(l);
    SnlValue *a = snl_emit_attention(f, qn, kn, v, l->pos, l->kv, &how, "a");
    return linear(l, a, "wo", "attn.c_proj.weight", m->width, "o");
}

static SnlValue *feed_forward(const Layer *l, SnlValue *u)
{
    SnlValue *up = linear(l, u, "wup", "mlp.c_fc.weight", 4 * l->c->m->width, "up");
    SnlValue *act = snl_emit_unary(l->f, SNL_OP_RELU2, up, "act");
    return linear(l, act, "wdown", "mlp.c_proj.weight", l->c->m->width, "d");
}

typedef SnlValue *Sublayer(const Layer *l, SnlValue *u);

/* ---- residual and hyper-connections ---------------------------------------------------------- */

static SnlValue *residual(const Layer *l, SnlValue *x, Sublayer *sub, const char *out)
{
    SnlValue *u = snl_emit_norm(l->f, x, NULL, SNL_NANOCHAT_EPS, 1, "u");
    return snl_emit_add(l->f, x, sub(l, u), out);
}

/* softmax(logits) as a [rows, cols] matrix, one of which is 1. */
static SnlWeight *softmax_matrix(const Layer *l, const char *name, const char *tensor, int64_t rows,
                                 int64_t cols)
{
    SnlBuild *b = l->c->b;
    int64_t n = rows * cols;
    SnlWeight *logits =
        snl_build_vector(b, local(l, snl_build_name(b, "%s.logits", name)),
                         snl_build_name(b, "transformer.h.%" PRId64 ".%s", l->i, tensor), n);
    SnlWeight *soft =
        snl_weight_expr(b->module, local(l, snl_build_name(b, "%s.softmax", name)),
                        snl_type(b->module, SNL_F32, 1, &n), SNL_WEXPR_SOFTMAX, &logits, 1);
    return snl_build_expr(b, local(l, name), SNL_WEXPR_RESHAPE, soft, 2, rows, cols);
}

static SnlWeight *sinkhorn_matrix(const Layer *l, const char *name, const char *tensor)
{
    SnlBuild *b = l->c->b;
    const SnlNanochat *m = l->c->m;
    int64_t dim[] = {m->streams, m->streams};
    SnlWeight *logits =
        matrix(l, snl_build_name(b, "%s.logits", name), tensor, m->streams, m->streams);
    SnlWeight *w = snl_weight_expr(b->module, local(l, name), snl_type(b->module, SNL_F32, 2, dim),
                                   SNL_WEXPR_SINKHORN, &logits, 1);
    snl_attr_set_int(b->module, &w->attrs, "iters", m->sinkhorn_iters);
    snl_attr_set_real(b->module, &w->attrs, "tau", m->sinkhorn_tau);
    return w;
}

/* X' = Hres X + Hpost sub(norm(Hpre X)); `which` is "attn" or "mlp". */
static SnlValue *connected(const Layer *l, SnlValue *x, Sublayer *sub, const char *which,
                           SnlWeight **out_res, const char *out)
{
    SnlBuild *b = l->c->b;
    int64_t s = l->c->m->streams;
    const char *stem = snl_build_name(b, "hc_%s", which);
    SnlWeight *res = sinkhorn_matrix(l, snl_build_name(b, "%s.res", stem),
                                     snl_build_name(b, "%s.H_res_logits", stem));
    SnlWeight *pre = softmax_matrix(l, snl_build_name(b, "%s.pre", stem),
                                    snl_build_name(b, "%s.H_pre_logits", stem), 1, s);
    SnlWeight *post = softmax_matrix(l, snl_build_name(b, "%s.post", stem),
                                     snl_build_name(b, "%s.H_post_logits", stem), s, 1);
    SnlValue *branch = snl_emit_mix(l->f, x, pre, snl_build_name(b, "%s_in", which));
    SnlValue *u = snl_emit_norm(l->f, branch, NULL, SNL_NANOCHAT_EPS, 1, "u");
    SnlValue *spread = snl_emit_mix(l->f, sub(l, u), post, snl_build_name(b, "%s_out", which));
    SnlValue *kept = snl_emit_mix(l->f, x, res, snl_build_name(b, "%s_kept", which));
    *out_res = res;
    return snl_emit_add(l->f, kept, spread, out);
}

/* ---- the layer ------------------------------------------------------------------------------- */

static SnlValue *blended(const Layer *l)
{
    const Builder *c = l->c;
    if (!c->m->x0_blend) return l->h;
    SnlWeight *resid = snl_build_rows(c->b, local(l, "resid"), c->resid, l->i, l->i + 1);
    SnlWeight *x0 = snl_build_rows(c->b, local(l, "x0"), c->x0, l->i, l->i + 1);
    return snl_emit_blend(l->f, l->h, snl_coef_weight(resid), l->x0, snl_coef_weight(x0), "x");
}

static void plain_body(const Layer *l)
{
    SnlValue *y = residual(l, blended(l), attention, "y");
    snl_emit_return(l->f, residual(l, y, feed_forward, "z"));
    l->f->surrogate = SNL_SURROGATE_IDENTITY;
}

static void stream_body(const Layer *l)
{
    SnlWeight *res[2];
    SnlBuild *b = l->c->b;
    SnlValue *y = connected(l, blended(l), attention, "attn", &res[1], "y");
    snl_emit_return(l->f, connected(l, y, feed_forward, "mlp", &res[0], "z"));
    l->f->surrogate = SNL_SURROGATE_STREAMS;
    l->f->surrogate_weight =
        snl_weight_expr(b->module, local(l, "jacobian"), res[0]->type, SNL_WEXPR_MATMUL, res, 2);
}

static SnlFunc *layer(const Builder *c, int64_t i)
{
    SnlModule *module = c->b->module;
    const SnlNanochat *m = c->m;
    int64_t t = SNL_DIM_T;
    SnlFunc *f = snl_func_create(module, SNL_LAYER, snl_build_name(c->b, "block.%" PRId64, i));
    Layer l = {.c = c, .i = i, .f = f};
    const SnlType *row = snl_type_rows(module, m->width);
    const SnlType *state = m->streams > 1 ? snl_type_members_of(module, m->streams, m->width) : row;
    l.h = snl_func_param(f, "h", state);
    l.pos = snl_func_param(f, "pos", snl_type_index(module));
    if (m->value_embeds) l.tokens = snl_func_param(f, "tokens", snl_type(module, SNL_I32, 1, &t));
    if (m->x0_blend) l.x0 = snl_func_param(f, "x0", row);
    l.kv = snl_func_state_param(f, "kv");
    if (m->streams)
        stream_body(&l);
    else
        plain_body(&l);
    return f;
}

SnlStatus snl_nanochat_layers(SnlBuild *b, const SnlNanochat *m, SnlBinding *out_links)
{
    Builder c = {.b = b, .m = m};
    if (m->x0_blend) {
        c.resid = snl_build_vector(b, "resid_lambdas", "resid_lambdas", m->layers);
        c.x0 = snl_build_vector(b, "x0_lambdas", "x0_lambdas", m->layers);
    }
    int64_t dim[] = {2, m->kv_heads, b->model->context, m->head_dim};
    for (int64_t i = 0; i < m->layers && b->status == SNL_OK; i++) {
        SnlState **kv = SNL_NEW_ARRAY(b->arena, SnlState *, 1);
        kv[0] = snl_module_state(b->module, snl_build_name(b, "kv.%" PRId64, i),
                                 snl_type(b->module, SNL_F32, 4, dim));
        out_links[i] = (SnlBinding){.layer = layer(&c, i), .state = kv, .n_state = 1};
    }
    return b->status;
}
