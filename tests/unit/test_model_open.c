/* Models as users name them: what each family builds, and a table of everything that can be wrong
 * with a folder or an IR file, each with its message. Weights are random where only the
 * configuration matters. */
#include "tests/support/model_files.h"

#include "compiler/frontend/model.h"
#include "ir/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fresh_diag(Support *s)
{
    snl_diag_destroy(s->diag);
    s->diag = snl_diag_create(NULL, 0);
}

static void write_text(Support *s, const char *name, const char *text)
{
    support_write(s, name, text, strlen(text));
}

/* Opens the scratch folder with the given config.json and random weights. */
static SnlStatus open_config(Support *s, const char *config, SnlModel *out)
{
    write_text(s, "config.json", config);
    SnlModelOptions options = {.random_weights = true, .seed = 1};
    return snl_model_open(s->arena, s->dir, &options, s->diag, out);
}

static SnlModel model_of(Support *s, const char *base, const char *patch)
{
    SnlModel model;
    SnlStatus status = open_config(s, model_files_patch(s, base, patch), &model);
    if (status != SNL_OK) fail_msg("refused: %s", snl_diag_text(s->diag));
    return model;
}

static const char *text_of(Support *s, const char *base, const char *patch)
{
    SnlModel model = model_of(s, base, patch);
    const char *text = snl_print_to_string(s->arena, model.module);
    snl_model_close(&model);
    return text;
}

#define assert_says(text, part)                                                                    \
    do {                                                                                           \
        if (!strstr(text, part)) fail_msg("\"%s\" is not in:\n%s", part, text);                    \
    } while (0)
#define assert_silent(text, part)                                                                  \
    do {                                                                                           \
        if (strstr(text, part)) fail_msg("\"%s\" is in:\n%s", part, text);                         \
    } while (0)

/* ---- what the families build --------------------------------------------------------------------
 */

static void llama_is_described(void **state)
{
    Support *s = *state;
    SnlModel m = model_of(s, model_files_llama, "{\"eos_token_id\": 2}");
    assert_string_equal(m.family, "llama");
    assert_int_equal(m.vocab, 10);
    assert_int_equal(m.width, 16);
    assert_int_equal(m.n_layers, 2);
    assert_int_equal(m.context, 32);
    assert_int_equal(m.trained_context, 32);
    assert_int_equal(m.n_params,
                     2 * 10 * 16 + 16 + 2 * (2 * 16 + 2 * 16 * 16 + 2 * 8 * 16 + 3 * 24 * 16));
    assert_int_equal(m.n_eos, 1);
    assert_int_equal(m.eos[0], 2);
    assert_int_equal(m.tokenizer, SNL_TOKENIZER_NONE);
    const SnlFunc *f = snl_module_find_func(m.module, "forward");
    assert_non_null(f);
    assert_int_equal(f->n_param, 2);
    assert_int_equal(snl_type_width(f->result[0]), 10);
    assert_non_null(snl_module_find_func(m.module, "block.1"));
    assert_non_null(snl_module_find_weight(m.module, "l1.wdown"));
    assert_non_null(snl_module_find_state(m.module, "kv.1"));
    snl_model_close(&m);
}

static void options_of_the_llama_family_reach_the_graph(void **state)
{
    Support *s = *state;
    static const struct {
        const char *patch, *says, *silent;
    } cases[] = {
        {"{}", "%l = linear %n, @head", "window"},
        {"{\"tie_word_embeddings\": true}", "%l = linear %n, @embed", "@head"},
        {"{\"head_dim\": 6}", "weight @l0.wq : f32[24, 16]", "f32[16, 16]"},
        {"{\"-\": [\"num_key_value_heads\"]}", "heads = 4, kv_heads = 4", "kv_heads = 2"},
        {"{\"attention_bias\": true}", "linear %a, @l0.wo, @l0.bo", "@l0.bgate"},
        {"{\"mlp_bias\": true}", "linear %e, @l0.wdown, @l0.bdown", "@l0.bq"},
        {"{\"sliding_window\": 8}", "kv_heads = 2, window = 7}", NULL},
        {"{\"sliding_window\": 1}", "kv_heads = 2, window = 0}", NULL},
        {"{\"sliding_window\": 32}", "kv_heads = 2}", "window"},
        {"{\"sliding_window\": null}", "kv_heads = 2}", "window"},
        {"{\"model_type\": \"mistral\", \"sliding_window\": 31}", "window = 30", NULL},
        {"{\"model_type\": \"mistral\", \"max_position_embeddings\": 8192}", "context = 4096",
         "window"},
        {"{\"layer_types\": [\"full_attention\", \"sliding_attention\"], \"sliding_window\": 4}",
         "window = 3", NULL},
        {"{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}}",
         "{factor = 2.0, scaling = linear, theta = 10000.0, width = 4}", NULL},
        {"{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": "
         "1.0, "
         "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 16}}",
         "{factor = 8.0, high_freq_factor = 4.0, low_freq_factor = 1.0, original_context = 16, "
         "scaling = llama3, theta = 10000.0, width = 4}",
         NULL},
        {"{\"rope_scaling\": {\"rope_type\": \"default\"}}", "{theta = 10000.0, width = 4}",
         "scaling"},
        {"{\"rope_scaling\": null}", "{theta = 10000.0, width = 4}", "scaling"},
        {"{\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 5e5}, \"-\": "
         "[\"rope_theta\"]}",
         "{theta = 500000.0, width = 4}", NULL},
        {"{\"hidden_act\": \"swish\", \"use_cache\": true, \"attention_dropout\": 0.0}", "silu",
         NULL},
        {"{\"torch_dtype\": \"bfloat16\"}", "weight @l0.wq : bf16[16, 16]", NULL},
        {"{\"dtype\": \"float16\"}", "weight @l0.wq : f16[16, 16]", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *text = text_of(s, model_files_llama, cases[i].patch);
        assert_says(text, cases[i].says);
        if (cases[i].silent) assert_silent(text, cases[i].silent);
    }
}

/* The first window's layers are full, only the second one slides. */
static void layer_types_choose_the_layers(void **state)
{
    Support *s = *state;
    const char *text = text_of(s, model_files_qwen3,
                               "{\"use_sliding_window\": true, \"sliding_window\": 4, "
                               "\"max_window_layers\": 1}");
    const char *second = strstr(text, "layer @block.1");
    assert_non_null(second);
    const char *window = strstr(text, "window = 3");
    assert_non_null(window);
    assert_true(window > second);
    text = text_of(s, model_files_qwen3, "{\"use_sliding_window\": false, \"sliding_window\": 4}");
    assert_silent(text, "window");
    text = text_of(s, model_files_qwen3,
                   "{\"use_sliding_window\": true, \"sliding_window\": null, "
                   "\"max_window_layers\": 0}");
    assert_silent(text, "window");
}

static void qwens_differ_from_llama(void **state)
{
    Support *s = *state;
    const char *text = text_of(s, model_files_llama, "{\"model_type\": \"qwen2\"}");
    assert_says(text, "family = \"qwen2\"");
    assert_says(text, "%q = linear %n, @l0.wq, @l0.bq");
    assert_says(text, "%o = linear %a, @l0.wo :");
    text = text_of(s, model_files_qwen3, "{}");
    assert_says(text, "%qn = rms_norm %q, @l0.q_norm {eps = 1e-06, heads = 4}");
    assert_says(text, "%kn = rms_norm %k, @l0.k_norm {eps = 1e-06, heads = 2}");
    assert_says(text, "%qr = rope %qn, %cs");
    assert_says(text, "weight @l0.wo : f32[16, 24]");
    text = text_of(s, model_files_qwen3, "{\"-\": [\"head_dim\"]}");
    assert_says(text, "weight @l0.q_norm : f32[128]");
}

static void nanochat_variants_reach_the_graph(void **state)
{
    Support *s = *state;
    static const struct {
        const char *patch, *says, *silent;
    } cases[] = {
        {"{}",
         "layer @block.0(%h: f32[T, 24], %pos: index, %tokens: i32[T], %x0: f32[T, 24], @kv: "
         "state)",
         "sinkhorn"},
        {"{}", "%x = lincomb %h, %x0 {coef = [@l0.resid, @l0.x0]}", NULL},
        {"{}", "weight @l0.resid : f32[1] = slice(@resid_lambdas) {axis = 0, begin = 0, end = 1}",
         NULL},
        {"{}", "%vv = lincomb %v, %ve_gated {coef = [1.0, 3.0]}", "@l1.ve_gate"},
        {"{}", "weight @head : f32[70, 24] = slice(@head.padded) {axis = 0, begin = 0, end = 70}",
         NULL},
        {"{}", "kv_heads = 1, scale = 0.415692", NULL},
        {"{}", "window = 128}", "window = 256"},
        {"{}", "{inverse, theta = 100000.0, width = 12}", NULL},
        {"{}", "{taps = [1]}", NULL},
        {"{}", "softcap %raw_logits {cap = 15.0}", NULL},
        {"{\"window_pattern\": \"L\"}", "kv_heads = 1, scale", "window ="},
        {"{\"vocab_size\": 64}", "weight @head : f32[64, 24] = source", "head.padded"},
        {"{\"no_x0_resid\": true}",
         "@block.0(%h: f32[T, 24], %pos: index, %tokens: i32[T], @kv: state)", "resid_lambdas"},
        {"{\"no_ve\": true}", "@block.0(%h: f32[T, 24], %pos: index, %x0: f32[T, 24], @kv: state)",
         "value_embeds"},
        {"{\"no_ve\": true, \"no_x0_resid\": true}",
         "@block.0(%h: f32[T, 24], %pos: index, @kv: state)", NULL},
        {"{\"use_mhc\": true, \"no_x0_resid\": true}",
         "layer @block.0(%h: f32[T, 4, 24], %pos: index, %tokens: i32[T], @kv: state) -> f32[T, 4, "
         "24] "
         "surrogate streams @l0.jacobian",
         NULL},
        {"{\"use_mhc\": true}",
         "weight @l0.jacobian : f32[4, 4] = matmul(@l0.hc_mlp.res, @l0.hc_attn.res)", NULL},
        {"{\"use_mhc\": true, \"mhc_sinkhorn_iters\": 3, \"mhc_sinkhorn_tau\": 0.5}",
         "sinkhorn(@l0.hc_attn.res.logits) {iters = 3, tau = 0.5}", NULL},
        {"{\"use_mhc\": true, \"mhc_num_streams\": 1}", "surrogate streams", NULL},
        {"{\"n_layer\": 1}", "{taps = [0]}", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *text = text_of(s, model_files_nanochat, cases[i].patch);
        assert_says(text, cases[i].says);
        if (cases[i].silent) assert_silent(text, cases[i].silent);
    }
}

static void modules_print_and_parse_back(void **state)
{
    Support *s = *state;
    static const char *const patches[] = {"{}", "{\"use_mhc\": true}", "{\"no_ve\": true}"};
    for (size_t i = 0; i < 3; i++) {
        const char *text = text_of(s, model_files_nanochat, patches[i]);
        SnlSource source = {"m.snl", text, strlen(text)};
        SnlModule *m;
        if (snl_parse(s->arena, &source, s->diag, &m) != SNL_OK)
            fail_msg("%s", snl_diag_text(s->diag));
        assert_string_equal(snl_print_to_string(s->arena, m), text);
    }
}

/* ---- configurations that are refused
 * -------------------------------------------------------------- */

typedef struct Refusal {
    const char *patch, *message;
} Refusal;

static void refuse_all(Support *s, const char *base, const Refusal *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        SnlModel model;
        fresh_diag(s);
        SnlStatus status = open_config(s, model_files_patch(s, base, cases[i].patch), &model);
        if (status != SNL_BAD_INPUT) fail_msg("accepted: %s", cases[i].patch);
        assert_diag(s->diag, cases[i].message);
        assert_int_equal(snl_diag_errors(s->diag), 1);
        assert_null(model.source);
    }
}

static void refuses_broken_llama_configurations(void **state)
{
    Support *s = *state;
    static const Refusal cases[] = {
        {"{\"-\": [\"model_type\"]}", "$.model_type: error[E0302]: found nothing, wanted a string"},
        {"{\"model_type\": \"gpt2\"}", "$.model_type: error[E0301]: found the unknown family "
                                       "\"gpt2\", wanted one of: llama, mistral, "
                                       "qwen2, qwen3, nanochat"},
        {"{\"model_type\": 3}", "$.model_type: error[E0302]: found an integer, wanted a string"},
        {"{\"-\": [\"hidden_size\"]}",
         "$.hidden_size: error[E0302]: found nothing, wanted an integer"},
        {"{\"hidden_size\": \"16\"}",
         "$.hidden_size: error[E0302]: found a string, wanted an integer"},
        {"{\"hidden_size\": 16.0}", "$.hidden_size: "},
        {"{\"hidden_size\": 0}", "$.hidden_size: error[E0302]: found 0, wanted 1 to 1048576"},
        {"{\"hidden_size\": -16}", "$.hidden_size: error[E0302]: found -16, wanted 1 to"},
        {"{\"hidden_size\": 1000000000000}", "$.hidden_size: error[E0302]: found 1000000000000"},
        {"{\"num_hidden_layers\": 0}",
         "$.num_hidden_layers: error[E0302]: found 0, wanted 1 to 4096"},
        {"{\"num_hidden_layers\": 5000000}", "$.num_hidden_layers: error[E0302]: found 5000000"},
        {"{\"vocab_size\": 9000000000}", "$.vocab_size: error[E0302]: found 9000000000"},
        {"{\"vocab_size\": 16777216, \"hidden_size\": 1048576}",
         "$: error[E0302]: the embedding would be 16777216 x 1048576 elements, wanted at most "
         "2^40"},
        {"{\"intermediate_size\": 8388608, \"hidden_size\": 1048576}",
         "the feed-forward matrix would be"},
        {"{\"num_attention_heads\": 3}", "$.num_key_value_heads: error[E0302]: found 2, wanted a "
                                         "divisor of num_attention_heads, 3"},
        {"{\"num_attention_heads\": 6}",
         "$.num_attention_heads: error[E0302]: found 6, wanted a divisor of hidden_size, 16 (or a "
         "head_dim)"},
        {"{\"num_attention_heads\": 16}",
         "$.head_dim: error[E0302]: found heads of width 1, wanted an even width"},
        {"{\"head_dim\": 5}",
         "$.head_dim: error[E0302]: found heads of width 5, wanted an even width"},
        {"{\"head_dim\": 0}", "$.head_dim: error[E0302]: found 0, wanted 2 to"},
        {"{\"rms_norm_eps\": -1e-5}", "$.rms_norm_eps: error[E0302]: found -1e-05, wanted"},
        {"{\"rms_norm_eps\": 0}", "$.rms_norm_eps: error[E0302]: found 0, wanted"},
        {"{\"rms_norm_eps\": \"1e-5\"}",
         "$.rms_norm_eps: error[E0302]: found a string, wanted a number"},
        {"{\"rope_theta\": 0}", "$.rope_theta: error[E0302]: found 0, wanted 1 to 1e+15"},
        {"{\"hidden_act\": \"gelu\"}",
         "$.hidden_act: error[E0301]: found \"gelu\", wanted \"silu\" (or \"swish\")"},
        {"{\"tie_word_embeddings\": 1}",
         "$.tie_word_embeddings: error[E0302]: found an integer, wanted true or false"},
        {"{\"attention_bias\": \"no\"}", "$.attention_bias: error[E0302]: found a string"},
        {"{\"max_position_embeddings\": 0}", "$.max_position_embeddings: error[E0302]: found 0"},
        {"{\"-\": [\"max_position_embeddings\"]}",
         "$.max_position_embeddings: error[E0302]: found nothing"},
        {"{\"sliding_window\": 0}", "$.sliding_window: error[E0302]: found 0, wanted 1 to"},
        {"{\"sliding_window\": -1}", "$.sliding_window: error[E0302]: found -1"},
        {"{\"layer_types\": [\"full_attention\"]}",
         "$.layer_types: error[E0302]: found 1 entries, wanted num_hidden_layers, 2"},
        {"{\"layer_types\": [\"full_attention\", \"chunked_attention\"]}",
         "$.layer_types[1]: error[E0301]: found \"chunked_attention\""},
        {"{\"quantization_config\": {\"bits\": 4}}",
         "$.quantization_config: error[E0301]: quantised checkpoints are not supported"},
        {"{\"partial_rotary_factor\": 0.5}",
         "$.partial_rotary_factor: error[E0301]: this changes what"},
        {"{\"rope_interleaved\": true}", "$.rope_interleaved: error[E0301]"},
        {"{\"num_local_experts\": 8}", "$.num_local_experts: error[E0301]"},
        {"{\"eos_token_id\": 10}", "$.eos_token_id: error[E0302]: found 10, wanted 0 to 9"},
        {"{\"eos_token_id\": [1, -1]}", "$.eos_token_id[1]: error[E0302]: found -1, wanted 0 to 9"},
        {"{\"eos_token_id\": \"</s>\"}", "$.eos_token_id: error[E0302]: found a string"},
        {"{\"tokenizer\": \"words\"}",
         "$.tokenizer: error[E0305]: found \"words\", wanted \"byte\""},
    };
    refuse_all(s, model_files_llama, cases, sizeof cases / sizeof cases[0]);
}

static void refuses_other_rope_scalings(void **state)
{
    Support *s = *state;
    static const Refusal cases[] = {
        {"{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2}}",
         "$.rope_scaling.type: error[E0301]: rope scaling \"yarn\" is not supported; wanted "
         "linear, "
         "llama3 or none"},
        {"{\"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 2}}",
         "$.rope_scaling.rope_type: "},
        {"{\"rope_scaling\": {\"factor\": 2}}",
         "$.rope_scaling.rope_type: error[E0302]: found no kind"},
        {"{\"rope_scaling\": {}}", "$.rope_scaling.rope_type: error[E0302]: found no kind"},
        {"{\"rope_scaling\": 2}",
         "$.rope_scaling: error[E0302]: found an integer, wanted an object"},
        {"{\"rope_scaling\": {\"type\": \"linear\"}}",
         "$.rope_scaling.factor: error[E0302]: found nothing, wanted a number"},
        {"{\"rope_scaling\": {\"type\": \"linear\", \"factor\": -2}}", "$.rope_scaling.factor: "},
        {"{\"rope_scaling\": {\"type\": \"linear\", \"factor\": \"2\"}}",
         "$.rope_scaling.factor: error[E0302]: found a string"},
        {"{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2, \"beta_fast\": 32}}",
         "$.rope_scaling.beta_fast: error[E0301]: rope scaling \"linear\" has no such key"},
        {"{\"rope_scaling\": {\"type\": \"linear\", \"rope_type\": \"llama3\", \"factor\": 2}}",
         "$.rope_scaling.type: error[E0302]: 'type' and 'rope_type' differ"},
        {"{\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
         "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 16}}",
         "$.rope_scaling.high_freq_factor: error[E0302]: found 4, wanted more than "
         "low_freq_factor, 4"},
        {"{\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, "
         "\"high_freq_factor\": 4}}",
         "$.rope_scaling.original_max_position_embeddings: error[E0302]: found nothing"},
        {"{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}, \"rope_parameters\": {}}",
         "$.rope_parameters: error[E0302]: found both"},
    };
    refuse_all(s, model_files_llama, cases, sizeof cases / sizeof cases[0]);
}

static void refuses_broken_nanochat_configurations(void **state)
{
    Support *s = *state;
    static const Refusal cases[] = {
        {"{\"-\": [\"n_embd\"], \"hidden_size\": 64}",
         "$.n_embd: error[E0301]: missing: this 'nanochat' configuration has another layout "
         "(hidden_size: the transformers library's NanoChat), wanted nanochat's own (n_embd, "},
        {"{\"-\": [\"n_embd\"]}", "another layout, wanted nanochat's own"},
        {"{\"n_embd\": 16}", "$.n_embd: error[E0302]: found 16, wanted 24 to"},
        {"{\"n_head\": 5}",
         "$.n_head: error[E0302]: found 5, wanted n_embd, 24, to be an even multiple"},
        {"{\"n_head\": 8}",
         "$.n_head: error[E0302]: found 8, wanted n_embd, 24, to be an even multiple"},
        {"{\"n_head\": 2, \"n_kv_head\": 3}",
         "$.n_kv_head: error[E0302]: found 3, wanted a divisor"},
        {"{\"window_pattern\": \"SXL\"}",
         "$.window_pattern: error[E0302]: found \"SXL\", wanted letters"},
        {"{\"window_pattern\": \"\"}",
         "$.window_pattern: error[E0302]: found \"\", wanted letters"},
        {"{\"window_pattern\": 4}",
         "$.window_pattern: error[E0302]: found an integer, wanted a string"},
        {"{\"n_layer\": 0}", "$.n_layer: error[E0302]: found 0"},
        {"{\"n_layer\": 100000}", "$.n_layer: error[E0302]: found 100000"},
        {"{\"sequence_len\": 0}", "$.sequence_len: error[E0302]: found 0"},
        {"{\"no_ve\": \"yes\"}", "$.no_ve: error[E0302]: found a string, wanted true or false"},
        {"{\"use_mhc\": true, \"mhc_num_streams\": 0}", "$.mhc_num_streams: error[E0302]: found 0"},
        {"{\"use_mhc\": true, \"mhc_sinkhorn_tau\": 0}",
         "$.mhc_sinkhorn_tau: error[E0302]: found 0"},
        {"{\"use_mhc\": true, \"mhc_sinkhorn_iters\": -1}", "$.mhc_sinkhorn_iters: "},
    };
    refuse_all(s, model_files_nanochat, cases, sizeof cases / sizeof cases[0]);
}

static void refuses_configurations_that_are_no_json(void **state)
{
    Support *s = *state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "config.json:1:1: error[E0304]"},
        {"{\n \"model_type\": \"llama\",\n}", "config.json:3:1: error[E0304]"},
        {"{\"model_type\": \"llama\", \"model_type\": \"llama\"}", "duplicate object key"},
        {"[1, 2]", "config.json: $: error[E0302]: found a list, wanted an object"},
        {"{\"model_type\": \"llama\", \"hidden_size\": NaN}", "config.json:1:40: error[E0304]"},
        {"{\"model_type\": \"llama\", \"hidden_size\": 1e400}", "real number overflow"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        SnlModel model;
        fresh_diag(s);
        assert_int_equal(open_config(s, cases[i].text, &model), SNL_BAD_INPUT);
        assert_diag(s->diag, cases[i].message);
        assert_int_equal(snl_diag_errors(s->diag), 1);
    }
}

/* ---- tensors
 * --------------------------------------------------------------------------------------- */

/* A folder of `base` with all its weights; the list may be changed before it is written. */
static size_t prepare(Support *s, const char *base, const char *patch, FileTensor **out)
{
    SnlModel model = model_of(s, base, patch);
    size_t n = model_files_of_module(s, model.module, out);
    snl_model_close(&model);
    FileTensor *room = SNL_NEW_ARRAY(s->arena, FileTensor, n + 4);
    memcpy(room, *out, n * sizeof *room);
    *out = room;
    return n;
}

static SnlStatus open_folder(Support *s, SnlModel *out)
{
    fresh_diag(s);
    return snl_model_open(s->arena, s->dir, &(SnlModelOptions){0}, s->diag, out);
}

static FileTensor *named(FileTensor *at, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(at[i].name, name) == 0) return &at[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static void opens_complete_folders(void **state)
{
    Support *s = *state;
    static const char *const patches[] = {"{}", "{\"use_mhc\": true, \"no_x0_resid\": true}",
                                          "{\"no_ve\": true}"};
    for (size_t i = 0; i < 3; i++) {
        FileTensor *at;
        size_t n = prepare(s, model_files_nanochat, patches[i], &at);
        model_files_write(s, "model.safetensors", at, n);
        SnlModel model;
        if (open_folder(s, &model) != SNL_OK) fail_msg("%s", snl_diag_text(s->diag));
        assert_int_equal(snl_weights_check(model.module, model.source, s->diag), SNL_OK);
        snl_model_close(&model);
    }
}

static void declares_the_stored_types(void **state)
{
    Support *s = *state;
    FileTensor *at;
    size_t n = prepare(s, model_files_llama, "{}", &at);
    named(at, n, "model.layers.0.self_attn.q_proj.weight")->dtype = "BF16";
    named(at, n, "model.norm.weight")->dtype = "F16";
    model_files_write(s, "model.safetensors", at, n);
    SnlModel model;
    assert_int_equal(open_folder(s, &model), SNL_OK);
    assert_int_equal(snl_module_find_weight(model.module, "l0.wq")->type->dtype, SNL_BF16);
    assert_int_equal(snl_module_find_weight(model.module, "norm")->type->dtype, SNL_F16);
    assert_int_equal(snl_module_find_weight(model.module, "l0.wk")->type->dtype, SNL_F32);
    snl_model_close(&model);
}

static void refuses_missing_extra_and_misshapen_tensors(void **state)
{
    Support *s = *state;
    static const struct {
        const char *tensor, *rename, *dtype;
        int64_t rows; /* not 0: another first size */
        const char *message;
    } cases[] = {
        {"model.norm.weight", "model.norm.wait", NULL, 0,
         "model.safetensors: error[E0303]: tensor 'model.norm.weight': found none, wanted [16]"},
        {"model.layers.1.mlp.up_proj.weight", "x", NULL, 0,
         "tensor 'model.layers.1.mlp.up_proj.weight': found none, wanted [24, 16]"},
        {"model.layers.0.self_attn.k_proj.weight", NULL, NULL, 7,
         "model.safetensors: error[E0303]: tensor 'model.layers.0.self_attn.k_proj.weight': found "
         "F32 "
         "[7, 16], wanted [8, 16]"},
        {"lm_head.weight", NULL, "I64", 0,
         "tensor 'lm_head.weight': found I64 [10, 16], an element type that snlpc does not read"},
        {"model.norm.weight", NULL, "I32", 15, "found I32 [15], wanted [16]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        FileTensor *at;
        size_t n = prepare(s, model_files_llama, "{}", &at);
        FileTensor *t = named(at, n, cases[i].tensor);
        if (cases[i].rename) t->name = cases[i].rename;
        if (cases[i].dtype) t->dtype = cases[i].dtype;
        if (cases[i].rows) t->dim[0] = cases[i].rows;
        model_files_write(s, "model.safetensors", at, n);
        SnlModel model;
        assert_int_equal(open_folder(s, &model), SNL_BAD_INPUT);
        assert_diag(s->diag, cases[i].message);
        assert_int_equal(snl_diag_errors(s->diag), 1);
    }
    FileTensor *at;
    size_t n = prepare(s, model_files_llama, "{}", &at);
    at[n++] = (FileTensor){"model.layers.0.extra.weight", "F32", 1, {3}};
    at[n++] = (FileTensor){"model.layers.2.mlp.up_proj.weight", "F32", 1, {3}};
    model_files_write(s, "model.safetensors", at, n);
    SnlModel model;
    assert_int_equal(open_folder(s, &model), SNL_BAD_INPUT);
    assert_diag(s->diag,
                "model.safetensors: error[E0303]: tensor 'model.layers.0.extra.weight' [3] (and 1 "
                "more): found, but a llama model with this configuration has no such tensor");
}

static void accepts_known_but_unused_tensors(void **state)
{
    Support *s = *state;
    FileTensor *at;
    size_t n = prepare(s, model_files_llama, "{\"tie_word_embeddings\": true}", &at);
    at[n++] = (FileTensor){"lm_head.weight", "F32", 2, {10, 16}};
    at[n++] = (FileTensor){"model.layers.1.self_attn.rotary_emb.inv_freq", "F32", 1, {2}};
    model_files_write(s, "model.safetensors", at, n);
    SnlModel model;
    assert_int_equal(open_folder(s, &model), SNL_OK);
    snl_model_close(&model);

    n = prepare(s, model_files_nanochat,
                "{\"no_ve\": true, \"no_x0_resid\": true, \"num_mtp_steps\": 1}", &at);
    at[n++] = (FileTensor){"value_embeds.2.weight", "F32", 2, {128, 12}};
    at[n++] = (FileTensor){"resid_lambdas", "F32", 1, {3}};
    at[n++] = (FileTensor){"x0_lambdas", "F32", 1, {3}};
    at[n++] = (FileTensor){"mtp_projs.0.weight", "F32", 2, {24, 24}};
    model_files_write(s, "model.safetensors", at, n);
    assert_int_equal(open_folder(s, &model), SNL_OK);
    snl_model_close(&model);
}

/* Truncated anywhere: one message, never a crash. */
static void refuses_truncated_files(void **state)
{
    Support *s = *state;
    FileTensor *at;
    size_t n = prepare(s, model_files_llama, "{}", &at);
    char *path = model_files_write(s, "model.safetensors", at, n);
    SnlSource whole;
    assert_int_equal(snl_file_read(s->arena, path, 1 << 20, s->diag, &whole), SNL_OK);
    for (size_t len = 0; len < whole.len; len += 97) {
        support_write(s, "model.safetensors", whole.text, len);
        SnlModel model;
        assert_int_equal(open_folder(s, &model), SNL_BAD_INPUT);
        assert_int_equal(snl_diag_errors(s->diag), 1);
        assert_diag(s->diag, "model.safetensors");
    }
}

/* ---- shards
 * ---------------------------------------------------------------------------------------- */

/* Splits the tensors over two files by turns and writes an index that the patch changes. */
static void write_shards(Support *s, const FileTensor *at, size_t n, const char *patch)
{
    FileTensor *half[2] = {SNL_NEW_ARRAY(s->arena, FileTensor, n),
                           SNL_NEW_ARRAY(s->arena, FileTensor, n)};
    size_t count[2] = {0, 0};
    static const char *const names[2] = {"a.safetensors", "b.safetensors"};
    char *map = snl_arena_strdup(s->arena, "");
    for (size_t i = 0; i < n; i++) {
        half[i % 2][count[i % 2]++] = at[i];
        map = snl_arena_printf(s->arena, "%s%s\"%s\": \"%s\"", map, i ? ", " : "", at[i].name,
                               names[i % 2]);
    }
    for (int f = 0; f < 2; f++) model_files_write(s, names[f], half[f], count[f]);
    remove(support_path(s, "model.safetensors"));
    const char *base = snl_arena_printf(s->arena, "{\"weight_map\": {%s}}", map);
    write_text(s, "model.safetensors.index.json", model_files_patch(s, base, patch));
}

static float *all_elements(Support *s, const SnlModel *model, const char *name)
{
    const SnlWeight *w = snl_module_find_weight(model->module, name);
    float *out = SNL_NEW_ARRAY(s->arena, float, (size_t)snl_type_elems(w->type, 1));
    assert_int_equal(snl_weight_read(w, model->source, 0, snl_weight_rows(w), s->diag, out),
                     SNL_OK);
    return out;
}

static void shards_hold_the_same_numbers(void **state)
{
    Support *s = *state;
    FileTensor *at;
    size_t n = prepare(s, model_files_llama, "{}", &at);
    model_files_write(s, "model.safetensors", at, n);
    SnlModel one, two;
    assert_int_equal(open_folder(s, &one), SNL_OK);
    static const char *const names[] = {"embed", "l0.wq", "l1.wdown", "norm", "head"};
    float *expected[5];
    for (size_t i = 0; i < 5; i++) expected[i] = all_elements(s, &one, names[i]);
    snl_model_close(&one);
    write_shards(s, at, n, "{}");
    write_text(s, "c.safetensors", "not named by the index, not looked at");
    if (open_folder(s, &two) != SNL_OK) fail_msg("%s", snl_diag_text(s->diag));
    for (size_t i = 0; i < 5; i++) {
        const SnlWeight *w = snl_module_find_weight(two.module, names[i]);
        assert_memory_equal(all_elements(s, &two, names[i]), expected[i],
                            (size_t)snl_type_elems(w->type, 1) * sizeof(float));
    }
    snl_model_close(&two);
}

static void refuses_broken_indices(void **state)
{
    Support *s = *state;
    static const Refusal cases[] = {
        {"{\"weight_map\": {}}",
         "index.json: $.weight_map: error[E0304]: found no tensor in the index"},
        {"{\"-\": [\"weight_map\"]}", "index.json: $.weight_map: error[E0304]: found nothing, "
                                      "wanted an object from tensor names to "
                                      "files"},
        {"{\"weight_map\": [1]}", "$.weight_map: error[E0304]: found a list, wanted an object"},
        {"{\"weight_map\": {\"lm_head.weight\": 1}}",
         "$.weight_map.lm_head.weight: error[E0302]: found an integer, wanted a string"},
        {"{\"weight_map\": {\"lm_head.weight\": \"../b.safetensors\"}}",
         "$.weight_map.lm_head.weight: error[E0304]: found '../b.safetensors', wanted the name of "
         "a file "
         "beside the index"},
        {"{\"weight_map\": {\"lm_head.weight\": \"..\"}}", "wanted the name of a file beside"},
        {"{\"weight_map\": {\"lm_head.weight\": \"\"}}", "wanted the name of a file beside"},
        {"{\"weight_map\": {\"lm_head.wait\": \"a.safetensors\"}}",
         "$.weight_map.lm_head.wait: error[E0303]: there is no such tensor in "},
        {"{\"weight_map\": {\"model.norm.weight\": \"none.safetensors\"}}",
         "none.safetensors: error[E0601]: cannot open"},
    };
    FileTensor *at;
    size_t n = prepare(s, model_files_llama, "{}", &at);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_shards(s, at, n, cases[i].patch);
        SnlModel model;
        assert_int_not_equal(open_folder(s, &model), SNL_OK);
        assert_diag(s->diag, cases[i].message);
        assert_int_equal(snl_diag_errors(s->diag), 1);
    }
    write_shards(s, at, n, "{}");
    model_files_write(s, "b.safetensors", at, n); /* all of them, a.safetensors has half */
    SnlModel model;
    assert_int_equal(open_folder(s, &model), SNL_BAD_INPUT);
    assert_diag(s->diag, "is also in ");
}

/* ---- other files of the folder
 * ---------------------------------------------------------------------- */

static void end_ids_come_from_both_configurations(void **state)
{
    Support *s = *state;
    support_path(s, "config.json");
    write_text(s, "generation_config.json", "{\"eos_token_id\": [3, 2, 7]}");
    SnlModel m = model_of(s, model_files_llama, "{\"eos_token_id\": 2}");
    assert_int_equal(m.n_eos, 3);
    assert_int_equal(m.eos[0], 2);
    assert_int_equal(m.eos[1], 3);
    assert_int_equal(m.eos[2], 7);
    snl_model_close(&m);
    write_text(s, "generation_config.json", "{\"eos_token_id\": 11}");
    assert_int_equal(open_config(s, model_files_llama, &m), SNL_BAD_INPUT);
    assert_diag(s->diag,
                "generation_config.json: $.eos_token_id: error[E0302]: found 11, wanted 0 to 9");
    write_text(s, "generation_config.json", "{");
    fresh_diag(s);
    assert_int_equal(open_config(s, model_files_llama, &m), SNL_BAD_INPUT);
    assert_diag(s->diag, "generation_config.json:1:");
}

static void tokenizers_are_found(void **state)
{
    Support *s = *state;
    SnlModel m = model_of(s, model_files_llama, "{\"tokenizer\": \"byte\"}");
    assert_int_equal(m.tokenizer, SNL_TOKENIZER_BYTE);
    write_text(s, "tokenizer.json", "{}");
    m = model_of(s, model_files_llama, "{}");
    assert_int_equal(m.tokenizer, SNL_TOKENIZER_JSON);
    assert_string_equal(m.tokenizer_path, support_path(s, "tokenizer.json"));
}

static void refuses_what_is_no_model(void **state)
{
    Support *s = *state;
    SnlModelOptions options = {0};
    SnlModel m;
    char *missing = support_path(s, "missing");
    assert_int_equal(snl_model_open(s->arena, missing, &options, s->diag, &m), SNL_MACHINE);
    assert_diag(s->diag, "missing: error[E0601]: no such file or folder; wanted a model folder");
    assert_int_equal(snl_model_open(s->arena, s->dir, &options, s->diag, &m), SNL_BAD_INPUT);
    assert_diag(s->diag, "found no config.json in this folder");
    write_text(s, "config.json", model_files_llama);
    assert_int_equal(snl_model_open(s->arena, s->dir, &options, s->diag, &m), SNL_BAD_INPUT);
    assert_diag(s->diag, "found neither model.safetensors nor model.safetensors.index.json");
    char *other = support_write(s, "model.bin", "x", 1);
    assert_int_equal(snl_model_open(s->arena, other, &options, s->diag, &m), SNL_BAD_INPUT);
    assert_diag(s->diag, "model.bin: error[E0301]: found another kind of file");
    options.context = -1;
    assert_int_equal(snl_model_open(s->arena, s->dir, &options, s->diag, &m), SNL_USAGE);
    options.context = (int64_t)1 << 40;
    assert_int_equal(snl_model_open(s->arena, s->dir, &options, s->diag, &m), SNL_USAGE);
}

static void context_is_chosen(void **state)
{
    Support *s = *state;
    SnlModel m = model_of(s, model_files_llama, "{\"max_position_embeddings\": 131072}");
    assert_int_equal(m.context, 4096);
    assert_int_equal(m.trained_context, 131072);
    SnlModelOptions options = {.context = 100, .random_weights = true};
    assert_int_equal(snl_model_open(s->arena, s->dir, &options, s->diag, &m), SNL_OK);
    assert_int_equal(m.context, 100);
    assert_int_equal(snl_module_find_state(m.module, "kv.0")->type->dim[2], 100);
    options.context = 131073;
    assert_int_equal(snl_model_open(s->arena, s->dir, &options, s->diag, &m), SNL_OK);
    assert_diag(s->diag,
                "a context of 131073 positions is longer than the 131072 that the model was");
}

/* ---- IR texts
 * ---------------------------------------------------------------------------------------- */

static const char ir_text[] =
    "module @t attributes {context = 8, eos = [1, 2], tokenizer = \"byte\", trained_context = 16, "
    "vocab = 4}\n"
    "weight @e : f32[4, 4] = source \"w.safetensors\" \"e\"\n"
    "state @kv.0 : f32[2, 1, 8, 4]\n"
    "layer @block.0(%h: f32[T, 4], %pos: index, @kv: state) -> f32[T, 4] surrogate identity {\n"
    "  kv_write %h, %h, %pos, @kv\n"
    "  %a = attention %h, %h, %h, %pos, @kv {heads = 1, kv_heads = 1} : f32[T, 4]\n"
    "  return %a\n"
    "}\n"
    "func @forward(%tokens: i32[T], %pos: index) -> f32[T, 4] {\n"
    "  %x = embed %tokens, @e : f32[T, 4]\n"
    "  %h = chain %x, %pos, [@block.0(@kv.0)] : f32[T, 4]\n"
    "  return %h\n"
    "}\n";

static void ir_texts_are_models(void **state)
{
    Support *s = *state;
    char *path = support_write(s, "t.snl", ir_text, sizeof ir_text - 1);
    model_files_write(s, "w.safetensors", &(FileTensor){"e", "F32", 2, {4, 4}}, 1);
    SnlModelOptions options = {0};
    SnlModel m;
    if (snl_model_open(s->arena, path, &options, s->diag, &m) != SNL_OK)
        fail_msg("%s", snl_diag_text(s->diag));
    assert_string_equal(m.family, "snl");
    assert_string_equal(m.name, "t");
    assert_int_equal(m.vocab, 4);
    assert_int_equal(m.context, 8);
    assert_int_equal(m.trained_context, 16);
    assert_int_equal(m.n_layers, 1);
    assert_int_equal(m.width, 4);
    assert_int_equal(m.n_params, 16);
    assert_int_equal(m.n_eos, 2);
    assert_int_equal(m.tokenizer, SNL_TOKENIZER_BYTE);
    snl_model_close(&m);
    options.context = 5;
    assert_int_equal(snl_model_open(s->arena, path, &options, s->diag, &m), SNL_OK);
    assert_int_equal(m.context, 5);
    assert_int_equal(snl_module_find_state(m.module, "kv.0")->type->dim[2], 5);
    snl_model_close(&m);
}

static void ir_texts_are_checked(void **state)
{
    Support *s = *state;
    static const struct {
        const char *old, *new, *message;
    } cases[] = {
        {"func @forward", "func @backward", "t.snl: error[E0204]: found no func @forward"},
        {"(%tokens: i32[T], %pos: index)", "(%pos: index, %tokens: i32[T])",
         "found another signature"},
        {"context = 8", "context = 9", "found 9, but the smallest cache has room for 8 positions"},
        {"context = 8", "context = 0", "context: found another value, wanted an integer"},
        {"eos = [1, 2]", "eos = [1, 4]", "module attribute eos: wanted an id from 0 to 3"},
        {"\"e\"\n", "\"f\"\n", "w.safetensors: error[E0303]: there is no tensor 'f' in it"},
        {"\"w.safetensors\"", "\"v.safetensors\"", "v.safetensors: error[E0601]: cannot open"},
        {"@e : f32[4, 4]", "@e : f32[5, 4]", "error[E0303]"},
        {"chain", "train", "t.snl:11:8: error[E01"},
    };
    model_files_write(s, "w.safetensors", &(FileTensor){"e", "F32", 2, {4, 4}}, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *at = strstr(ir_text, cases[i].old);
        assert_non_null(at);
        char *text = snl_arena_printf(s->arena, "%.*s%s%s", (int)(at - ir_text), ir_text,
                                      cases[i].new, at + strlen(cases[i].old));
        char *path = support_write(s, "t.snl", text, strlen(text));
        SnlModelOptions options = {0};
        SnlModel m;
        fresh_diag(s);
        assert_int_not_equal(snl_model_open(s->arena, path, &options, s->diag, &m), SNL_OK);
        assert_diag(s->diag, cases[i].message);
    }
}

static void random_weights_need_no_file(void **state)
{
    Support *s = *state;
    char *path = support_write(s, "t.snl", ir_text, sizeof ir_text - 1);
    SnlModelOptions options = {.random_weights = true, .seed = 7};
    SnlModel m;
    assert_int_equal(snl_model_open(s->arena, path, &options, s->diag, &m), SNL_OK);
    float row[4];
    assert_int_equal(
        snl_weight_read(snl_module_find_weight(m.module, "e"), m.source, 0, 1, s->diag, row),
        SNL_OK);
    assert_true(row[0] > 0 || row[0] < 0);
    snl_model_close(&m);
}

/* ---- inspect
 * ------------------------------------------------------------------------------------------ */

static const char *inspected(Support *s, SnlStatus wanted)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    SnlModelOptions options = {.random_weights = true};
    fresh_diag(s);
    SnlStatus status = snl_model_inspect(s->dir, &options, s->diag, out);
    fclose(out);
    char *copy = snl_arena_strdup(s->arena, text);
    free(text);
    assert_int_equal(status, wanted);
    return copy;
}

static void inspect_says_what_and_whether(void **state)
{
    Support *s = *state;
    support_path(s, "config.json");
    write_text(s, "config.json", model_files_llama);
    const char *text = inspected(s, SNL_OK);
    assert_says(text, "family       llama\n");
    assert_says(text, "compiles     yes\n");
    assert_says(text, "heads        4 of width 4, 2 for keys and values\n");
    assert_says(text, "context      32 (trained with 32)\n");
    assert_says(text, "tensors      21 (f32 21)\n");
    assert_says(text, "caches       4.0 KiB\n");
    write_text(s, "config.json",
               model_files_patch(s, model_files_llama, "{\"hidden_act\": \"gelu\"}"));
    text = inspected(s, SNL_BAD_INPUT);
    assert_says(text, "family       llama\n");
    assert_says(text, "compiles     no: ");
    assert_says(text, "$.hidden_act: error[E0301]: found \"gelu\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(llama_is_described),
        support_test(options_of_the_llama_family_reach_the_graph),
        support_test(layer_types_choose_the_layers),
        support_test(qwens_differ_from_llama),
        support_test(nanochat_variants_reach_the_graph),
        support_test(modules_print_and_parse_back),
        support_test(refuses_broken_llama_configurations),
        support_test(refuses_other_rope_scalings),
        support_test(refuses_broken_nanochat_configurations),
        support_test(refuses_configurations_that_are_no_json),
        support_test(opens_complete_folders),
        support_test(declares_the_stored_types),
        support_test(refuses_missing_extra_and_misshapen_tensors),
        support_test(accepts_known_but_unused_tensors),
        support_test(refuses_truncated_files),
        support_test(shards_hold_the_same_numbers),
        support_test(refuses_broken_indices),
        support_test(end_ids_come_from_both_configurations),
        support_test(tokenizers_are_found),
        support_test(refuses_what_is_no_model),
        support_test(context_is_chosen),
        support_test(ir_texts_are_models),
        support_test(ir_texts_are_checked),
        support_test(random_weights_need_no_file),
        support_test(inspect_says_what_and_whether),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
