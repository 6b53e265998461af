/* tests/support/golden.c -- see golden.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "golden.h"
#include "ir/base/file.h"

#include <stdlib.h>
#include <string.h>

const char *const golden_models[GOLDEN_MODELS] = {"llama",           "qwen2",        "qwen3",
                                                  "nanochat-full",   "nanochat-gqa", "nanochat-mhc",
                                                  "nanochat-nox0ve", "nanochat-win"};

enum { PATH_ROOM = 4096, MAX_FILE = 64 << 20 };

static const char *source_dir(void)
{
    const char *dir = getenv("SNL_SOURCE");
    return dir && *dir ? dir : ".";
}

const char *golden_shared(void)
{
    static char path[PATH_ROOM];
    const char *shared = getenv("SNL_SHARED");
    if (shared && *shared)
        snprintf(path, sizeof path, "%s/golden", shared);
    else
        snprintf(path, sizeof path, "%s/../shared/golden", source_dir());
    return snl_path_is_dir(path) ? path : NULL;
}

const char *golden_data(void)
{
    static char path[PATH_ROOM];
    snprintf(path, sizeof path, "%s/tests/data", source_dir());
    return path;
}

static SnlSource read_whole(Golden *g, const char *name)
{
    SnlSource source;
    SnlDiag *diag = snl_diag_create(NULL, 0);
    const char *path = snl_path_join(g->arena, g->folder, name);
    if (snl_file_read(g->arena, path, MAX_FILE, diag, &source) != SNL_OK)
        fail_msg("%s", snl_diag_text(diag));
    snl_diag_destroy(diag);
    return source;
}

static json_t *parse(const char *what, const char *text, size_t n)
{
    json_error_t error;
    json_t *root = json_loadb(text, n, 0, &error);
    if (!root) fail_msg("%s: line %d: %s", what, error.line, error.text);
    return root;
}

static void open_expected(Golden *g)
{
    g->expected = read_whole(g, "expected.safetensors");
    uint64_t n = 0;
    assert_true(g->expected.len >= 8);
    for (int i = 7; i >= 0; i--) n = n << 8 | (uint8_t)g->expected.text[i];
    assert_true(n <= g->expected.len - 8);
    g->data = 8 + (size_t)n;
    g->header = parse("expected.safetensors", g->expected.text + 8, (size_t)n);
}

bool golden_tensor(const Golden *g, const char *name, GoldenTensor *out)
{
    json_t *entry = json_object_get(g->header, name);
    if (!entry) return false;
    json_t *shape = json_object_get(entry, "shape"), *at = json_object_get(entry, "data_offsets");
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    assert_non_null(dtype);
    memset(out, 0, sizeof *out);
    out->name = name;
    out->is_int = strcmp(dtype, "I32") == 0;
    if (!out->is_int && strcmp(dtype, "F32") != 0) return false; /* others are not looked at */
    assert_true(json_array_size(shape) <= 4);
    out->rank = (int)json_array_size(shape);
    out->n = 1;
    for (int i = 0; i < out->rank; i++)
        out->n *= out->dim[i] = json_integer_value(json_array_get(shape, (size_t)i));
    json_int_t begin = json_integer_value(json_array_get(at, 0));
    json_int_t end = json_integer_value(json_array_get(at, 1));
    assert_int_equal(end - begin, 4 * out->n);
    assert_true(begin >= 0 && (size_t)end <= g->expected.len - g->data);
    out->bytes = (const uint8_t *)g->expected.text + g->data + begin;
    return true;
}

double golden_at(const GoldenTensor *tensor, int64_t i)
{
    const uint8_t *b = tensor->bytes + 4 * i;
    uint32_t bits =
        (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    int32_t id;
    float x;
    memcpy(&id, &bits, sizeof id);
    memcpy(&x, &bits, sizeof x);
    return tensor->is_int ? (double)id : (double)x;
}

static const char *text_of(json_t *c, const char *key)
{
    const char *text = json_string_value(json_object_get(c, key));
    return text ? text : "";
}

/* A list of numbers, or the name of a tensor. */
static GoldenIds ids_of(Golden *g, json_t *c, const char *key)
{
    GoldenIds ids = {NULL, 0};
    json_t *value = json_object_get(c, key);
    GoldenTensor tensor;
    if (json_is_array(value)) {
        ids.n = json_array_size(value);
        ids.at = SNL_NEW_ARRAY(g->arena, int64_t, ids.n);
        for (size_t i = 0; i < ids.n; i++) ids.at[i] = json_integer_value(json_array_get(value, i));
    } else if (json_is_string(value) && golden_tensor(g, json_string_value(value), &tensor)) {
        ids.n = (size_t)tensor.n;
        ids.at = SNL_NEW_ARRAY(g->arena, int64_t, ids.n);
        for (size_t i = 0; i < ids.n; i++) ids.at[i] = (int64_t)golden_at(&tensor, (int64_t)i);
    }
    return ids;
}

static GoldenCase case_of(Golden *g, json_t *c)
{
    GoldenCase out = {.key = text_of(c, "key"),
                      .plan = text_of(c, "plan"),
                      .method = text_of(c, "method"),
                      .hs_prefix = text_of(c, "hs_prefix"),
                      .why_not = text_of(c, "why_not"),
                      .hs_count = (int)json_integer_value(json_object_get(c, "hs_count"))};
    /* The cases of own/ all apply and do not say so. */
    json_t *applies = json_object_get(c, "applies");
    out.applies = applies ? json_is_true(applies) : true;
    out.tokens = ids_of(g, c, "tokens");
    out.prompt = ids_of(g, c, "prompt");
    if (!out.prompt.n) out.prompt = ids_of(g, c, "prompt_ids");
    out.generated = ids_of(g, c, "generated");
    const char *logits = text_of(c, "logits");
    out.has_logits = *logits != 0;
    if (out.has_logits && !golden_tensor(g, logits, &out.logits))
        fail_msg("%s: case %s: no tensor '%s'", g->folder, out.key, logits);
    return out;
}

void golden_open(Golden *g, const char *folder)
{
    memset(g, 0, sizeof *g);
    g->arena = snl_arena_create();
    g->folder = snl_arena_strdup(g->arena, folder);
    SnlSource cases = read_whole(g, "cases.json");
    g->root = parse("cases.json", cases.text, cases.len);
    open_expected(g);
    const char *model_dir = text_of(g->root, "model_dir");
    g->model_dir = *model_dir ? snl_path_join(g->arena, folder, model_dir) : g->folder;
    const char *slash = strrchr(g->folder, '/');
    g->name = slash ? slash + 1 : g->folder;
    json_t *list = json_object_get(g->root, "cases");
    g->n_cases = json_array_size(list);
    g->cases = SNL_NEW_ARRAY(g->arena, GoldenCase, g->n_cases);
    for (size_t i = 0; i < g->n_cases; i++) g->cases[i] = case_of(g, json_array_get(list, i));
}

void golden_close(Golden *g)
{
    json_decref(g->root);
    json_decref(g->header);
    snl_arena_destroy(g->arena);
}

const GoldenCase *golden_case(const Golden *g, const char *key)
{
    for (size_t i = 0; i < g->n_cases; i++)
        if (strcmp(g->cases[i].key, key) == 0) return &g->cases[i];
    return NULL;
}
