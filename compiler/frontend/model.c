/* compiler/frontend/model.c -- a model as the user names it: which kind is it, open, close. */
#include "compiler/frontend/model.h"

#include "compiler/frontend/build.h"
#include "compiler/frontend/open.h"
#include "ir/base/file.h"

#include <inttypes.h>
#include <string.h>

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Last part of the path: "models/tiny/" -> "tiny", "a/b.snl" -> "b", "." -> "model". */
static const char *name_of(SnlArena *arena, const char *path)
{
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    char *name = snl_arena_strndup(arena, path + begin, end - begin);
    if (ends_with(name, ".snl")) name[strlen(name) - 4] = '\0';
    return name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ? "model" : name;
}

static SnlStatus open_any(SnlArena *arena, const SnlModelOptions *options, SnlDiag *diag,
                          SnlModel *out)
{
    if (options->context < 0 || options->context > SNL_MAX_CONTEXT)
        return snl_error_at(diag, SNL_E_USAGE, NULL,
                            "context: found %" PRId64 ", wanted 1 to %d positions",
                            options->context, SNL_MAX_CONTEXT);
    if (!snl_path_exists(out->path))
        return snl_error_at(diag, SNL_E_MACHINE, out->path,
                            "no such file or folder; wanted a model folder or a .snl file");
    if (snl_path_is_dir(out->path)) return snl_folder_open(arena, out->path, options, diag, out);
    if (ends_with(out->path, ".snl"))
        return snl_text_model_open(arena, out->path, options, diag, out);
    return snl_error_at(diag, SNL_E_UNSUPPORTED, out->path,
                        "found another kind of file, wanted a model folder (with config.json) or a "
                        ".snl file");
}

SnlStatus snl_model_open(SnlArena *arena, const char *path, const SnlModelOptions *options,
                         SnlDiag *diag, SnlModel *out)
{
    SnlModelOptions defaults = {0};
    *out = (SnlModel){.path = snl_arena_strdup(arena, path), .name = name_of(arena, path)};
    SnlStatus status = open_any(arena, options ? options : &defaults, diag, out);
    if (status != SNL_OK) snl_model_close(out);
    return status;
}

void snl_model_close(SnlModel *model)
{
    if (model->source) model->source->destroy(model->source);
    model->source = NULL;
}
