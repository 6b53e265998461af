/* Models as users name them: folders with one or more weight files, IR texts, and everything that
 * can be wrong with them, each with its message. (Configurations: test_family.c.) */
#include "tests/support/model_files.h"

#include "ir/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- tensors --------------------------------------------------------------------------------- */

/* A folder of `base` with all its weights; the list may be changed before it is written. */
static size_t prepare(Support *s, const char *base, const char *patch, FileTensor **out)
{
    SnlModel model = model_files_model(s, base, patch);
    size_t n = model_files_of_module(s, model.module, out);
    snl_model_close(&model);
    FileTensor *room = SNL_NEW_ARRAY(s->arena, FileTensor, n + 4);
    memcpy(room, *out, n * sizeof *room);
    *out = room;
    return n;
}

static SnlStatus open_folder(Support *s, SnlModel *out)
{
    model_files_fresh_diag(s);
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

/* ---- shards ---------------------------------------------------------------------------------- */

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
    model_files_write_text(s, "model.safetensors.index.json", model_files_patch(s, base, patch));
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
    model_files_write_text(s, "c.safetensors", "not named by the index, not looked at");
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
    static const struct {
        const char *patch, *message;
    } cases[] = {
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

/* ---- other files of the folder --------------------------------------------------------------- */

static void end_ids_come_from_both_configurations(void **state)
{
    Support *s = *state;
    support_path(s, "config.json");
    model_files_write_text(s, "generation_config.json", "{\"eos_token_id\": [3, 2, 7]}");
    SnlModel m = model_files_model(s, model_files_llama, "{\"eos_token_id\": 2}");
    assert_int_equal(m.n_eos, 3);
    assert_int_equal(m.eos[0], 2);
    assert_int_equal(m.eos[1], 3);
    assert_int_equal(m.eos[2], 7);
    snl_model_close(&m);
    model_files_write_text(s, "generation_config.json", "{\"eos_token_id\": 11}");
    assert_int_equal(model_files_open_config(s, model_files_llama, &m), SNL_BAD_INPUT);
    assert_diag(s->diag,
                "generation_config.json: $.eos_token_id: error[E0302]: found 11, wanted 0 to 9");
    model_files_write_text(s, "generation_config.json", "{");
    model_files_fresh_diag(s);
    assert_int_equal(model_files_open_config(s, model_files_llama, &m), SNL_BAD_INPUT);
    assert_diag(s->diag, "generation_config.json:1:");
}

static void tokenizers_are_found(void **state)
{
    Support *s = *state;
    SnlModel m = model_files_model(s, model_files_llama, "{\"tokenizer\": \"byte\"}");
    assert_int_equal(m.tokenizer, SNL_TOKENIZER_BYTE);
    model_files_write_text(s, "tokenizer.json", "{}");
    m = model_files_model(s, model_files_llama, "{}");
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
    model_files_write_text(s, "config.json", model_files_llama);
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
    SnlModel m = model_files_model(s, model_files_llama, "{\"max_position_embeddings\": 131072}");
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

/* ---- IR texts -------------------------------------------------------------------------------- */

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
        model_files_fresh_diag(s);
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

/* ---- inspect --------------------------------------------------------------------------------- */

static const char *inspected(Support *s, SnlStatus wanted)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    SnlModelOptions options = {.random_weights = true};
    model_files_fresh_diag(s);
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
    model_files_write_text(s, "config.json", model_files_llama);
    const char *text = inspected(s, SNL_OK);
    assert_says(text, "family       llama\n");
    assert_says(text, "compiles     yes\n");
    assert_says(text, "heads        4 of width 4, 2 for keys and values\n");
    assert_says(text, "context      32 (trained with 32)\n");
    assert_says(text, "tensors      21 (f32 21)\n");
    assert_says(text, "caches       4.0 KiB (f32 unless --kv says otherwise)\n");
    model_files_write_text(s, "config.json",
                           model_files_patch(s, model_files_llama, "{\"hidden_act\": \"gelu\"}"));
    text = inspected(s, SNL_BAD_INPUT);
    assert_says(text, "family       llama\n");
    assert_says(text, "compiles     no: ");
    assert_says(text, "$.hidden_act: error[E0301]: found \"gelu\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
