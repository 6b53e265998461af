/* compiler/frontend/family_nanochat.c -- nanochat in all its variants: configuration and the whole.
 *
 * The layers are in nanochat_block.c. Here: padded vocabulary, smear, the chain with its side
 * inputs, backout through a tap of the chain, soft-capped logits; with hyper-connections the
 * chain's state is [T, S, D], all streams start as x0 and are summed at the end. */
#include "compiler/frontend/family.h"
#include "compiler/frontend/nanochat.h"

#include <inttypes.h>
#include <string.h>

enum { VOCAB_MULTIPLE = 64, SMEAR_INPUTS = 24, MAX_STREAMS = 64, MAX_SINKHORN = 1000 };
static const double logit_cap = 15;

/* ---- configuration --------------------------------------------------------------------------- */

/* S: a quarter of the trained length, rounded up to whole blocks of 128. */
static int64_t window_of(char letter, int64_t trained)
{
    if (letter == 'L') return trained;
    int64_t quarter = (trained + 3) / 4;
    return 128 * ((quarter + 127) / 128);
}

static void read_windows(SnlBuild *b, SnlJson config, SnlNanochat *m)
{
    SnlJson pattern = snl_json_get(config, "window_pattern");
    const char *letters = snl_json_text_or(pattern, "SSSL");
    size_t n = strlen(letters);
    if (n == 0 || strspn(letters, "SL") != n)
        snl_json_fail(pattern, SNL_E_CONFIG,
                      "found \"%.120s\", wanted letters S and L, e.g. \"SSSL\"", letters);
    if (config.doc->status != SNL_OK) return;
    m->window = SNL_NEW_ARRAY(b->arena, int64_t, (size_t)m->layers);
    for (int64_t i = 0; i < m->layers; i++)
        m->window[i] = window_of(letters[(size_t)i % n], b->model->trained_context);
    m->window[m->layers - 1] = b->model->trained_context;
}

static void read_heads(SnlJson config, SnlNanochat *m)
{
    SnlJson heads = snl_json_get(config, "n_head"), kv_heads = snl_json_get(config, "n_kv_head");
    m->heads = snl_json_int(heads, 1, SNL_MAX_HEADS);
    m->kv_heads = snl_json_int_or(kv_heads, 1, SNL_MAX_HEADS, m->heads);
    if (config.doc->status != SNL_OK) return;
    if (m->width % m->heads != 0 || m->width / m->heads % 2 != 0)
        snl_json_fail(heads, SNL_E_CONFIG,
                      "found %" PRId64 ", wanted n_embd, %" PRId64
                      ", to be an even multiple of it (rotary embedding)",
                      m->heads, m->width);
    if (m->heads % m->kv_heads != 0)
        snl_json_fail(kv_heads, SNL_E_CONFIG,
                      "found %" PRId64 ", wanted a divisor of n_head, %" PRId64, m->kv_heads,
                      m->heads);
    m->head_dim = m->width / m->heads;
}

static void read_streams(SnlJson config, SnlNanochat *m)
{
    SnlJson streams = snl_json_get(config, "mhc_num_streams");
    SnlJson iters = snl_json_get(config, "mhc_sinkhorn_iters");
    SnlJson tau = snl_json_get(config, "mhc_sinkhorn_tau");
    bool used = snl_json_bool_or(snl_json_get(config, "use_mhc"), false);
    m->streams = used ? snl_json_int_or(streams, 1, MAX_STREAMS, 4) : 0;
    m->sinkhorn_iters = used ? snl_json_int_or(iters, 1, MAX_SINKHORN, 10) : 0;
    m->sinkhorn_tau = used ? snl_json_real_or(tau, 1e-6, 1e6, 0.05) : 0;
}

/* Another model of the same name has the transformers library's keys; say so instead of listing
 * what is missing. */
static SnlStatus check_layout(SnlJson config)
{
    SnlJson width = snl_json_get(config, "n_embd");
    if (snl_json_present(width)) return SNL_OK;
    return snl_json_fail(
        width, SNL_E_UNSUPPORTED,
        "missing: this 'nanochat' configuration has another layout%s, wanted "
        "nanochat's own (n_embd, n_layer, n_head, n_kv_head, sequence_len); convert "
        "the training checkpoint instead",
        snl_json_has(config, "hidden_size") ? " (hidden_size: the transformers library's NanoChat)"
                                            : "");
}

static SnlStatus read_config(SnlBuild *b, SnlJson config, SnlNanochat *m)
{
    *m = (SnlNanochat){0};
    SNL_TRY(check_layout(config));
    SnlModel *model = b->model;
    m->width = snl_json_int(snl_json_get(config, "n_embd"), SMEAR_INPUTS, SNL_MAX_WIDTH);
    m->layers = snl_json_int(snl_json_get(config, "n_layer"), 1, SNL_MAX_LAYERS);
    m->vocab = snl_json_int(snl_json_get(config, "vocab_size"), 1, SNL_MAX_VOCAB);
    m->padded_vocab = (m->vocab + VOCAB_MULTIPLE - 1) / VOCAB_MULTIPLE * VOCAB_MULTIPLE;
    model->trained_context = snl_json_int(snl_json_get(config, "sequence_len"), 1, SNL_MAX_CONTEXT);
    m->x0_blend = !snl_json_bool_or(snl_json_get(config, "no_x0_resid"), false);
    m->value_embeds = !snl_json_bool_or(snl_json_get(config, "no_ve"), false);
    m->mtp_steps = snl_json_int_or(snl_json_get(config, "num_mtp_steps"), 0, 64, 0);
    read_heads(config, m);
    read_streams(config, m);
    read_windows(b, config, m);
    model->vocab = m->vocab;
    model->width = m->width;
    model->n_layers = m->layers;
    SNL_TRY(config.doc->status);
    if (!snl_build_fits(b, config, "embedding", m->padded_vocab, m->width) ||
        !snl_build_fits(b, config, "feed-forward matrix", 4 * m->width, m->width))
        return b->status;
    return SNL_OK;
}

/* ---- before the chain ------------------------------------------------------------------------ */

/* x0_t = e_t + smear_lambda * sigmoid(<smear_gate, e_t[0:24]>) * e_{t-1}, e the normed embedding.
 * The state keeps the last row of e, not of x0. */
static SnlValue *smeared(SnlBuild *b, const SnlNanochat *m, SnlFunc *f, SnlValue *tokens,
                         SnlValue *pos)
{
    SnlWeight *wte =
        snl_build_matrix(b, "embed", "transformer.wte.weight", m->padded_vocab, m->width);
    SnlWeight *gate = snl_build_matrix(b, "smear_gate", "smear_gate.weight", 1, SMEAR_INPUTS);
    SnlWeight *lambda = snl_build_vector(b, "smear_lambda", "smear_lambda", 1);
    SnlState *last =
        snl_module_state(b->module, "smear", snl_type(b->module, SNL_F32, 1, &m->width));
    SnlValue *raw = snl_emit_embed(f, tokens, wte, "raw");
    SnlValue *e = snl_emit_norm(f, raw, NULL, SNL_NANOCHAT_EPS, 1, "e");
    SnlValue *front = snl_emit_slice(f, e, 0, SMEAR_INPUTS, "front");
    SnlValue *logit = snl_emit_linear(f, front, gate, NULL, "smear_logit");
    SnlValue *g = snl_emit_unary(f, SNL_OP_SIGMOID, logit, "smear_gate");
    SnlValue *before = snl_emit_shift(f, e, pos, last, "before");
    SnlValue *gated = snl_emit_mul(f, before, g, "smear");
    return snl_emit_blend(f, e, snl_coef_real(1), gated, snl_coef_weight(lambda), "x0");
}

/* A row or column of ones: makes streams out of one row, or their sum. */
static SnlWeight *ones(SnlBuild *b, const char *name, int64_t rows, int64_t cols)
{
    int64_t dim[] = {rows, cols};
    SnlWeight *w = snl_weight_expr(b->module, name, snl_type(b->module, SNL_F32, 2, dim),
                                   SNL_WEXPR_FILL, NULL, 0);
    snl_attr_set_real(b->module, &w->attrs, "value", 1);
    return w;
}

/* ---- behind the chain ------------------------------------------------------------------------ */

/* The head's weight: the padded rows stay outside. */
static SnlWeight *head_weight(SnlBuild *b, const SnlNanochat *m)
{
    bool padded = m->padded_vocab != m->vocab;
    SnlWeight *all = snl_build_matrix(b, padded ? "head.padded" : "head", "lm_head.weight",
                                      m->padded_vocab, m->width);
    return padded ? snl_build_rows(b, "head", all, 0, m->vocab) : all;
}

static SnlValue *logits(SnlBuild *b, const SnlNanochat *m, SnlFunc *f, SnlValue *h, SnlValue *mid)
{
    if (m->streams) {
        SnlWeight *sum = ones(b, "sum_streams", 1, m->streams);
        h = snl_emit_mix(f, h, sum, "h_sum");
        mid = snl_emit_mix(f, mid, sum, "mid_sum");
    }
    SnlWeight *lambda = snl_build_vector(b, "backout_lambda", "backout_lambda", 1);
    SnlWeight *minus = snl_build_expr(b, "backout_coef", SNL_WEXPR_SCALE, lambda, 1, 1, 1);
    snl_attr_set_real(b->module, &minus->attrs, "by", -1);
    SnlValue *z = snl_emit_blend(f, h, snl_coef_real(1), mid, snl_coef_weight(minus), "z");
    SnlValue *n = snl_emit_norm(f, z, NULL, SNL_NANOCHAT_EPS, 1, "n");
    SnlValue *raw = snl_emit_linear(f, n, head_weight(b, m), NULL, "raw_logits");
    return snl_emit_softcap(f, raw, logit_cap, "logits");
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* Tensors of training, or of switched-off parts, that stay in the checkpoint. */
static void accept_unused(SnlBuild *b, const SnlNanochat *m)
{
    if (!m->x0_blend) {
        snl_build_unused(b, "resid_lambdas");
        snl_build_unused(b, "x0_lambdas");
    }
    for (int64_t i = 0; i < m->layers && !m->value_embeds; i++)
        snl_build_unused(b, snl_build_name(b, "value_embeds.%" PRId64 ".weight", i));
    if (m->mtp_steps) snl_build_unused_prefix(b, "mtp_");
}

static void forward(SnlBuild *b, const SnlNanochat *m, const SnlBinding *links)
{
    SnlValue *tokens, *pos;
    SnlFunc *f = snl_build_forward(b, &tokens, &pos);
    SnlValue *x0 = smeared(b, m, f, tokens, pos);
    SnlValue *h = x0;
    if (m->streams) h = snl_emit_mix(f, x0, ones(b, "streams", m->streams, 1), "h0");
    SnlValue *arg[4] = {h, pos};
    size_t n_arg = 2;
    if (m->value_embeds) arg[n_arg++] = tokens;
    if (m->x0_blend) arg[n_arg++] = x0;
    int64_t tap = m->layers / 2;
    SnlOp *chain = snl_emit_chain(f, arg, n_arg, links, (size_t)m->layers, &tap, 1, "h");
    snl_emit_return(f, logits(b, m, f, chain->out[0], chain->out[1]));
}

SnlStatus snl_family_nanochat(SnlBuild *b, SnlJson config)
{
    SnlNanochat m;
    SNL_TRY(read_config(b, config, &m));
    SNL_TRY(snl_build_context(b, config, "nanochat", 2 * m.kv_heads * m.head_dim));
    SnlBinding *links = SNL_NEW_ARRAY(b->arena, SnlBinding, (size_t)m.layers);
    SNL_TRY(snl_nanochat_layers(b, &m, links));
    forward(b, &m, links);
    accept_unused(b, &m);
    return snl_build_check_extra(b);
}
