/* Families: what each builds from a configuration, and a table of configurations that are refused,
 * each with its message. Weights are random: only config.json is read. */
#include "tests/support/model_files.h"

#include <string.h>

/* ---- what the families build ----------------------------------------------------------------- */

static void llama_is_described(void **state)
{
    Support *s = *state;
    SnlModel m = model_files_model(s, model_files_llama, "{\"eos_token_id\": 2}");
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
        const char *text = model_files_text(s, model_files_llama, cases[i].patch);
        assert_says(text, cases[i].says);
        if (cases[i].silent) assert_silent(text, cases[i].silent);
    }
}

/* The first window's layers are full, only the second one slides. */
static void layer_types_choose_the_layers(void **state)
{
    Support *s = *state;
    const char *text = model_files_text(s, model_files_qwen3,
                                        "{\"use_sliding_window\": true, \"sliding_window\": 4, "
                                        "\"max_window_layers\": 1}");
    const char *second = strstr(text, "layer @block.1");
    assert_non_null(second);
    const char *window = strstr(text, "window = 3");
    assert_non_null(window);
    assert_true(window > second);
    text = model_files_text(s, model_files_qwen3,
                            "{\"use_sliding_window\": false, \"sliding_window\": 4}");
    assert_silent(text, "window");
    text = model_files_text(s, model_files_qwen3,
                            "{\"use_sliding_window\": true, \"sliding_window\": null, "
                            "\"max_window_layers\": 0}");
    assert_silent(text, "window");
}

static void qwens_differ_from_llama(void **state)
{
    Support *s = *state;
    const char *text = model_files_text(s, model_files_llama, "{\"model_type\": \"qwen2\"}");
    assert_says(text, "family = \"qwen2\"");
    assert_says(text, "%q = linear %n, @l0.wq, @l0.bq");
    assert_says(text, "%o = linear %a, @l0.wo :");
    text = model_files_text(s, model_files_qwen3, "{}");
    assert_says(text, "%qn = rms_norm %q, @l0.q_norm {eps = 1e-06, heads = 4}");
    assert_says(text, "%kn = rms_norm %k, @l0.k_norm {eps = 1e-06, heads = 2}");
    assert_says(text, "%qr = rope %qn, %cs");
    assert_says(text, "weight @l0.wo : f32[16, 24]");
    text = model_files_text(s, model_files_qwen3, "{\"-\": [\"head_dim\"]}");
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
        const char *text = model_files_text(s, model_files_nanochat, cases[i].patch);
        assert_says(text, cases[i].says);
        if (cases[i].silent) assert_silent(text, cases[i].silent);
    }
}

static void modules_print_and_parse_back(void **state)
{
    Support *s = *state;
    static const char *const patches[] = {"{}", "{\"use_mhc\": true}", "{\"no_ve\": true}"};
    for (size_t i = 0; i < 3; i++) {
        const char *text = model_files_text(s, model_files_nanochat, patches[i]);
        SnlSource source = {"m.snl", text, strlen(text)};
        SnlModule *m;
        if (snl_parse(s->arena, &source, s->diag, &m) != SNL_OK)
            fail_msg("%s", snl_diag_text(s->diag));
        assert_string_equal(snl_print_to_string(s->arena, m), text);
    }
}

/* ---- configurations that are refused --------------------------------------------------------- */

typedef struct Refusal {
    const char *patch, *message;
} Refusal;

static void refuse_all(Support *s, const char *base, const Refusal *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        SnlModel model;
        model_files_fresh_diag(s);
        SnlStatus status =
            model_files_open_config(s, model_files_patch(s, base, cases[i].patch), &model);
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
        model_files_fresh_diag(s);
        assert_int_equal(model_files_open_config(s, cases[i].text, &model), SNL_BAD_INPUT);
        assert_diag(s->diag, cases[i].message);
        assert_int_equal(snl_diag_errors(s->diag), 1);
    }
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
