/* compiler/frontend/folder.c -- a Hugging Face folder: config.json, generation_config.json, the
 * weights and a tokenizer. Other files are ignored. */
#include "compiler/frontend/family.h"
#include "compiler/frontend/open.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum { MAX_EOS = 64 };

/* ---- end-of-sequence ids --------------------------------------------------------------------- */

static void add_eos(SnlModel *model, SnlJson value)
{
    int64_t id = snl_json_int(value, 0, model->vocab - 1);
    for (size_t i = 0; i < model->n_eos; i++)
        if (model->eos[i] == id) return;
    if (model->n_eos == MAX_EOS)
        snl_json_fail(value, SNL_E_CONFIG, "found more than %d ids, wanted fewer", MAX_EOS);
    else
        model->eos[model->n_eos++] = id;
}

/* `eos_token_id`: a number, a list of numbers, or null. */
static SnlStatus read_eos(SnlModel *model, SnlJson config)
{
    SnlJson eos = snl_json_get(config, "eos_token_id");
    if (json_is_array(eos.at))
        for (size_t i = 0; i < json_array_size(eos.at) && config.doc->status == SNL_OK; i++)
            add_eos(model, snl_json_item(eos, i));
    else if (snl_json_present(eos))
        add_eos(model, eos);
    return config.doc->status;
}

static SnlStatus read_generation_config(SnlArena *arena, SnlDiag *diag, SnlModel *model)
{
    const char *path = snl_path_join(arena, model->path, "generation_config.json");
    if (!snl_path_exists(path)) return SNL_OK;
    SnlJsonDoc *doc;
    SNL_TRY(snl_json_open(arena, path, &snl_json_config_limits, diag, &doc));
    SnlStatus status = read_eos(model, snl_json_root(doc));
    snl_json_close(doc);
    return status;
}

/* ---- tokenizer ------------------------------------------------------------------------------- */

static SnlStatus find_tokenizer(SnlArena *arena, SnlJson config, SnlModel *model)
{
    SnlJson named = snl_json_get(config, "tokenizer");
    const char *path = snl_path_join(arena, model->path, "tokenizer.json");
    if (snl_json_present(named)) {
        const char *name = snl_json_text(named);
        if (config.doc->status == SNL_OK && strcmp(name, "byte") != 0)
            return snl_json_fail(named, SNL_E_TOKENIZER,
                                 "found \"%.120s\", wanted \"byte\", or no such key and a "
                                 "tokenizer.json",
                                 name);
        model->tokenizer = SNL_TOKENIZER_BYTE;
    } else if (snl_path_exists(path)) {
        model->tokenizer = SNL_TOKENIZER_JSON;
        model->tokenizer_path = path;
    }
    return config.doc->status;
}

/* ---- the model ------------------------------------------------------------------------------- */

/* Element type of weights that have no file: what the configuration says the model is stored in. */
static SnlDtype random_dtype(SnlJson config)
{
    SnlJson dtype = snl_json_get(config, "torch_dtype");
    if (!snl_json_present(dtype)) dtype = snl_json_get(config, "dtype");
    const char *name = json_is_string(dtype.at) ? json_string_value(dtype.at) : "float32";
    if (strcmp(name, "bfloat16") == 0) return SNL_BF16;
    return strcmp(name, "float16") == 0 ? SNL_F16 : SNL_F32;
}

/* The folder's name in the IR's alphabet. */
static const char *module_name(SnlArena *arena, const char *name)
{
    char *text = snl_arena_strdup(arena, name[0] ? name : "model");
    for (char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && !(*p == '.' && p != text)) *p = '_';
    return text;
}

static SnlStatus find_family(SnlArena *arena, SnlJson config, const SnlFamily **out)
{
    SnlJson type = snl_json_get(config, "model_type");
    const char *name = snl_json_text(type);
    SNL_TRY(config.doc->status);
    *out = snl_family_find(name);
    if (*out) return SNL_OK;
    return snl_json_fail(type, SNL_E_UNSUPPORTED,
                         "found the unknown family \"%.120s\", wanted one of: %s", name,
                         snl_family_list(arena));
}

static SnlStatus open_weights(SnlBuild *b, const SnlModelOptions *options)
{
    SnlModel *model = b->model;
    if (options->random_weights) {
        model->source = snl_random_source_create(b->arena, options->seed);
        return SNL_OK;
    }
    SNL_TRY(snl_weight_files_open(b->arena, model->path, b->diag, &b->files));
    model->source = snl_weight_files_source(b->files);
    return SNL_OK;
}

static SnlStatus build(SnlBuild *b, SnlJson config, const SnlModelOptions *options)
{
    SnlModel *model = b->model;
    const SnlFamily *family;
    SNL_TRY(find_family(b->arena, config, &family));
    model->family = family->model_type;
    SNL_TRY(open_weights(b, options));
    b->random_dtype = random_dtype(config);
    b->module = model->module = snl_module_create(b->arena, module_name(b->arena, model->name));
    b->module->base_dir = model->path;
    SNL_TRY(family->build(b, config));
    SNL_TRY(config.doc->status);
    model->eos = SNL_NEW_ARRAY(b->arena, int64_t, MAX_EOS);
    SNL_TRY(read_eos(model, config));
    return snl_verify(b->module, b->diag);
}

static SnlStatus read_neighbours(SnlBuild *b, SnlJson config)
{
    SNL_TRY(read_generation_config(b->arena, b->diag, b->model));
    return find_tokenizer(b->arena, config, b->model);
}

SnlStatus snl_folder_open(SnlArena *arena, const char *path, const SnlModelOptions *options,
                          SnlDiag *diag, SnlModel *out)
{
    const char *config = snl_path_join(arena, path, "config.json");
    if (!snl_path_exists(config))
        return snl_error_at(
            diag, SNL_E_CONFIG, path,
            "found no config.json in this folder, wanted a Hugging Face model folder");
    SnlJsonDoc *doc;
    SNL_TRY(snl_json_open(arena, config, &snl_json_config_limits, diag, &doc));
    SnlBuild b = {.arena = arena, .diag = diag, .model = out, .wanted_context = options->context};
    SnlStatus status = build(&b, snl_json_root(doc), options);
    if (status == SNL_OK) status = read_neighbours(&b, snl_json_root(doc));
    snl_json_close(doc);
    return status;
}

SnlStatus snl_config_open(SnlArena *arena, const SnlSource *config, SnlDiag *diag, SnlModel *out)
{
    SnlJsonDoc *doc;
    SNL_TRY(snl_json_open_text(arena, config, &snl_json_config_limits, diag, &doc));
    *out = (SnlModel){.path = ".", .name = "config"};
    SnlBuild b = {.arena = arena, .diag = diag, .model = out};
    SnlStatus status = build(&b, snl_json_root(doc), &(SnlModelOptions){.random_weights = true});
    snl_json_close(doc);
    return status;
}
