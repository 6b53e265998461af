#include "tests/support/model_files.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

const char *const model_files_llama =
    "{\"model_type\": \"llama\", \"hidden_size\": 16, \"intermediate_size\": 24, "
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, "
    "\"vocab_size\": 10, \"max_position_embeddings\": 32, \"rms_norm_eps\": 1e-5, "
    "\"rope_theta\": 10000.0, \"hidden_act\": \"silu\", \"tie_word_embeddings\": false}";

const char *const model_files_qwen3 =
    "{\"model_type\": \"qwen3\", \"hidden_size\": 16, \"intermediate_size\": 24, "
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, "
    "\"head_dim\": 6, \"vocab_size\": 10, \"max_position_embeddings\": 32, \"rms_norm_eps\": 1e-6, "
    "\"rope_theta\": 1000000, \"hidden_act\": \"silu\", \"tie_word_embeddings\": true}";

const char *const model_files_nanochat =
    "{\"model_type\": \"nanochat\", \"sequence_len\": 256, \"vocab_size\": 70, \"n_layer\": 3, "
    "\"n_head\": 2, \"n_kv_head\": 1, \"n_embd\": 24, \"window_pattern\": \"SL\", "
    "\"no_x0_resid\": false, \"no_ve\": false, \"use_mhc\": false, \"mhc_num_streams\": 4, "
    "\"mhc_sinkhorn_iters\": 10, \"mhc_sinkhorn_tau\": 0.05, \"num_mtp_steps\": 0}";

/* ---- tensors --------------------------------------------------------------------------------- */

static size_t width_of(const char *dtype)
{
    if (strstr(dtype, "64")) return 8;
    if (strstr(dtype, "32")) return 4;
    return strstr(dtype, "16") ? 2 : 1;
}

static size_t bytes_of(const FileTensor *t)
{
    size_t n = width_of(t->dtype);
    for (int i = 0; i < t->rank; i++) n *= (size_t)t->dim[i];
    return n;
}

static json_t *entry_of(const FileTensor *t, size_t begin)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->rank; i++) json_array_append_new(shape, json_integer(t->dim[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", t->dtype, "shape", shape, "data_offsets",
                     (json_int_t)begin, (json_int_t)(begin + bytes_of(t)));
}

/* Bytes whose top one is 0x3c: numbers around 1e-2 as F32, BF16 and F16 alike. */
static void fill(uint8_t *to, const FileTensor *t)
{
    size_t width = width_of(t->dtype), n = bytes_of(t);
    unsigned hash = 5381;
    for (const char *p = t->name; *p; p++) hash = hash * 33 + (unsigned char)*p;
    for (size_t i = 0; i < n; i++) {
        hash = hash * 1664525 + 1013904223;
        to[i] = (i + 1) % width == 0 ? 0x3c : (uint8_t)(hash >> 24);
    }
}

char *model_files_write(Support *s, const char *file, const FileTensor *tensors, size_t n)
{
    json_t *header = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    size_t data = 0;
    for (size_t i = 0; i < n; i++) {
        json_object_set_new(header, tensors[i].name, entry_of(&tensors[i], data));
        data += bytes_of(&tensors[i]);
    }
    char *text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    size_t len = strlen(text);
    uint8_t *bytes = snl_arena_alloc(s->arena, 8 + len + data);
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)len >> (8 * i));
    memcpy(bytes + 8, text, len);
    free(text);
    size_t at = 8 + len;
    for (size_t i = 0; i < n; i++) {
        fill(bytes + at, &tensors[i]);
        at += bytes_of(&tensors[i]);
    }
    return support_write(s, file, bytes, 8 + len + data);
}

static const char *dtype_of(SnlDtype dtype)
{
    return dtype == SNL_BF16 ? "BF16" : dtype == SNL_F16 ? "F16" : "F32";
}

size_t model_files_of_module(Support *s, const SnlModule *m, FileTensor **out)
{
    *out = SNL_NEW_ARRAY(s->arena, FileTensor, m->weights.n);
    size_t n = 0;
    for (size_t i = 0; i < m->weights.n; i++) {
        const SnlWeight *w = m->weights.at[i];
        if (w->code != SNL_WEXPR_SOURCE) continue;
        FileTensor *t = &(*out)[n++];
        *t = (FileTensor){
            .name = w->tensor, .dtype = dtype_of(w->type->dtype), .rank = w->type->rank};
        memcpy(t->dim, w->type->dim, sizeof w->type->dim);
    }
    return n;
}

/* ---- configurations -------------------------------------------------------------------------- */

char *model_files_patch(Support *s, const char *base, const char *patch)
{
    json_t *config = json_loads(base, 0, NULL);
    json_t *change = json_loads(patch, JSON_ALLOW_NUL, NULL);
    assert_non_null(config);
    if (!change) fail_msg("the patch is no JSON: %s", patch);
    json_object_update(config, change);
    const json_t *out = json_object_get(change, "-");
    for (size_t i = 0; i < json_array_size(out); i++)
        json_object_del(config, json_string_value(json_array_get(out, i)));
    json_object_del(config, "-");
    char *text = json_dumps(config, JSON_INDENT(1) | JSON_ENCODE_ANY);
    char *copy = snl_arena_strdup(s->arena, text);
    free(text);
    json_decref(config);
    json_decref(change);
    return copy;
}

/* ---- models ---------------------------------------------------------------------------------- */

void model_files_fresh_diag(Support *s)
{
    snl_diag_destroy(s->diag);
    s->diag = snl_diag_create(NULL, 0);
}

void model_files_write_text(Support *s, const char *name, const char *text)
{
    support_write(s, name, text, strlen(text));
}

SnlStatus model_files_open_config(Support *s, const char *config, SnlModel *out)
{
    model_files_write_text(s, "config.json", config);
    SnlModelOptions options = {.random_weights = true, .seed = 1};
    return snl_model_open(s->arena, s->dir, &options, s->diag, out);
}

SnlModel model_files_model(Support *s, const char *base, const char *patch)
{
    SnlModel model;
    SnlStatus status = model_files_open_config(s, model_files_patch(s, base, patch), &model);
    if (status != SNL_OK) fail_msg("refused: %s", snl_diag_text(s->diag));
    return model;
}

const char *model_files_text(Support *s, const char *base, const char *patch)
{
    SnlModel model = model_files_model(s, base, patch);
    const char *text = snl_print_to_string(s->arena, model.module);
    snl_model_close(&model);
    return text;
}
