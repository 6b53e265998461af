/* compiler/frontend/weight_files.c -- shards, index, and reading in bounded memory. */
#include "compiler/frontend/weight_files.h"

#include "compiler/frontend/json.h"
#include "compiler/frontend/npy_index.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const SnlJsonLimits index_limits = {
    .max_bytes = (size_t)32 << 20, .max_depth = 4, .max_values = 1000000};

enum { MAX_FILES = 4096, SHOWN = 120 };
/* Bytes read from mappings before their pages are given back without being asked. */
static const size_t release_after = (size_t)16 << 20;

typedef struct OpenFile {
    const char *name; /* as weights name it */
    const char *path;
    SnlSafetensors st;
    size_t dirty_begin, dirty_end; /* bytes read since the last release; empty when equal */
} OpenFile;

struct SnlWeightFiles {
    SnlWeightSource source; /* first: the interface is this object */
    SnlArena *arena;
    const char *base_dir, *place;
    SnlVec(OpenFile *) file;
    SnlVec(SnlWeightEntry) entry;
    size_t unreleased;
    /* The tensor that was read last: rows are asked for in runs. */
    const char *last_tensor;
    OpenFile *last_file;
    const SnlSafetensor *last;
};

/* ---- opening --------------------------------------------------------------------------------- */

static OpenFile *find_file(const SnlWeightFiles *files, const char *name)
{
    for (size_t i = 0; i < files->file.n; i++)
        if (strcmp(files->file.at[i]->name, name) == 0) return files->file.at[i];
    return NULL;
}

static SnlStatus open_file(SnlWeightFiles *files, const char *name, SnlDiag *diag, OpenFile **out)
{
    if ((*out = find_file(files, name))) return SNL_OK;
    if (files->file.n == MAX_FILES)
        return snl_error_at(diag, SNL_E_FORMAT, files->place, "found more than %d weight files",
                            MAX_FILES);
    OpenFile *file = SNL_NEW(files->arena, OpenFile);
    file->name = snl_arena_strdup(files->arena, name);
    file->path = files->base_dir ? snl_path_join(files->arena, files->base_dir, name) : file->name;
    /* An array beside the model (`diag:FILE.npy` of a plan) is a file with one nameless tensor. */
    SNL_TRY(snl_npy_named(name)
                ? snl_npy_index_open(files->arena, file->path, diag, &file->st)
                : snl_safetensors_open(files->arena, file->path, diag, &file->st));
    SNL_PUSH(files->arena, &files->file, file);
    *out = file;
    return SNL_OK;
}

static int by_tensor(const void *a, const void *b)
{
    const SnlWeightEntry *x = a, *y = b;
    int order = strcmp(x->tensor->name, y->tensor->name);
    return order ? order : strcmp(x->file, y->file);
}

/* The table over all files; a name in two of them is ambiguous. */
static SnlStatus build_table(SnlWeightFiles *files, SnlDiag *diag)
{
    for (size_t f = 0; f < files->file.n; f++) {
        const OpenFile *file = files->file.at[f];
        for (size_t i = 0; i < file->st.n; i++) {
            SnlWeightEntry entry = {&file->st.at[i], file->name, file->path, false};
            SNL_PUSH(files->arena, &files->entry, entry);
        }
    }
    SnlWeightEntry *at = files->entry.at;
    qsort(at, files->entry.n, sizeof *at, by_tensor);
    for (size_t i = 1; i < files->entry.n; i++)
        if (strcmp(at[i - 1].tensor->name, at[i].tensor->name) == 0)
            return snl_error_at(diag, SNL_E_TENSOR, at[i].path,
                                "tensor '%.*s' is also in %s, wanted it in one file", SHOWN,
                                at[i].tensor->name, at[i - 1].path);
    return SNL_OK;
}

/* ---- the index of shards --------------------------------------------------------------------- */

/* A shard lies beside its index: a path could name anything on the machine. */
static bool is_plain_name(const char *name)
{
    return name[0] && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

static SnlStatus open_shards(SnlWeightFiles *files, SnlJson map, SnlDiag *diag)
{
    json_t *object = (json_t *)(uintptr_t)map.at;
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        SnlJson value = snl_json_get(map, json_object_iter_key(at));
        const char *name = snl_json_text(value);
        if (map.doc->status != SNL_OK) return map.doc->status;
        if (!is_plain_name(name))
            return snl_json_fail(value, SNL_E_FORMAT,
                                 "found '%.*s', wanted the name of a file beside the index", SHOWN,
                                 name);
        OpenFile *file;
        SNL_TRY(open_file(files, name, diag, &file));
        if (!snl_safetensors_find(&file->st, json_object_iter_key(at)))
            return snl_json_fail(value, SNL_E_TENSOR, "there is no such tensor in %s", file->path);
    }
    return SNL_OK;
}

static SnlStatus read_index(SnlWeightFiles *files, SnlJson root, SnlDiag *diag)
{
    SnlJson map = snl_json_get(root, "weight_map");
    if (root.doc->status == SNL_OK && !json_is_object(map.at))
        return snl_json_fail(map, SNL_E_FORMAT,
                             "found %s, wanted an object from tensor names to files",
                             snl_json_kind(map));
    SNL_TRY(root.doc->status);
    if (json_object_size(map.at) == 0)
        return snl_json_fail(map, SNL_E_FORMAT, "found no tensor in the index");
    return open_shards(files, map, diag);
}

static SnlStatus open_index(SnlWeightFiles *files, const char *path, SnlDiag *diag)
{
    SnlJsonDoc *doc;
    SNL_TRY(snl_json_open(files->arena, path, &index_limits, diag, &doc));
    SnlStatus status = read_index(files, snl_json_root(doc), diag);
    snl_json_close(doc);
    return status;
}

static SnlStatus open_all(SnlWeightFiles *files, const char *folder, SnlDiag *diag)
{
    const char *single = snl_path_join(files->arena, folder, "model.safetensors");
    const char *index = snl_path_join(files->arena, folder, "model.safetensors.index.json");
    OpenFile *file;
    files->place = single;
    if (snl_path_exists(single)) {
        SNL_TRY(open_file(files, "model.safetensors", diag, &file));
    } else if (snl_path_exists(index)) {
        files->place = index;
        SNL_TRY(open_index(files, index, diag));
    } else {
        return snl_error_at(diag, SNL_E_TENSOR, folder,
                            "found neither model.safetensors nor model.safetensors.index.json; "
                            "convert the weights to safetensors, or use --random-weights SEED");
    }
    return build_table(files, diag);
}

SnlStatus snl_weight_files_open(SnlArena *arena, const char *folder, SnlDiag *diag,
                                SnlWeightFiles **out)
{
    SnlWeightFiles *files = snl_weight_files_create(arena, folder);
    SnlStatus status = open_all(files, folder, diag);
    if (status != SNL_OK) {
        snl_weight_files_close(files);
        return status;
    }
    *out = files;
    return SNL_OK;
}

void snl_weight_files_close(SnlWeightFiles *files)
{
    if (!files) return;
    for (size_t i = 0; i < files->file.n; i++) snl_safetensors_close(&files->file.at[i]->st);
    files->file.n = files->entry.n = 0;
    files->last_tensor = NULL;
}

/* ---- the table ------------------------------------------------------------------------------- */

size_t snl_weight_files_count(const SnlWeightFiles *files)
{
    return files->entry.n;
}
size_t snl_weight_files_file_count(const SnlWeightFiles *files)
{
    return files->file.n;
}
const char *snl_weight_files_place(const SnlWeightFiles *files)
{
    return files->place;
}

SnlWeightEntry *snl_weight_files_at(const SnlWeightFiles *files, size_t i)
{
    return &files->entry.at[i];
}

static int name_of_entry(const void *name, const void *entry)
{
    return strcmp(name, ((const SnlWeightEntry *)entry)->tensor->name);
}

SnlWeightEntry *snl_weight_files_find(const SnlWeightFiles *files, const char *tensor)
{
    if (!files->entry.n) return NULL;
    return bsearch(tensor, files->entry.at, files->entry.n, sizeof *files->entry.at, name_of_entry);
}

/* ---- the source ------------------------------------------------------------------------------ */

static SnlStatus locate(SnlWeightFiles *files, const char *name, const char *tensor, SnlDiag *diag)
{
    if (files->last_tensor && strcmp(files->last_tensor, tensor) == 0 &&
        strcmp(files->last_file->name, name) == 0)
        return SNL_OK;
    OpenFile *file;
    SNL_TRY(open_file(files, name, diag, &file));
    const SnlSafetensor *found = snl_safetensors_find(&file->st, tensor);
    if (!found)
        return snl_error_at(diag, SNL_E_TENSOR, file->path, "there is no tensor '%.*s' in it",
                            SHOWN, tensor);
    if (!found->known)
        return snl_error_at(diag, SNL_E_TENSOR, file->path,
                            "tensor '%.*s': found %.*s %s, wanted F32, BF16 or F16 of 1 to %d "
                            "dimensions",
                            SHOWN, tensor, SHOWN, found->dtype_text, found->shape_text,
                            SNL_MAX_RANK);
    files->last = found;
    files->last_file = file;
    files->last_tensor = found->name;
    return SNL_OK;
}

static SnlStatus source_find(SnlWeightSource *self, const char *file, const char *tensor,
                             SnlDiag *diag, SnlTensorInfo *out)
{
    SnlWeightFiles *files = (SnlWeightFiles *)self;
    SNL_TRY(locate(files, file, tensor, diag));
    *out = (SnlTensorInfo){.dtype = files->last->dtype, .rank = files->last->rank};
    memcpy(out->dim, files->last->dim, sizeof out->dim);
    return SNL_OK;
}

static void source_release(SnlWeightSource *self)
{
    SnlWeightFiles *files = (SnlWeightFiles *)self;
    for (size_t i = 0; i < files->file.n; i++) {
        OpenFile *file = files->file.at[i];
        if (file->dirty_begin < file->dirty_end)
            snl_file_release(&file->st.file, file->dirty_begin,
                             file->dirty_end - file->dirty_begin);
        file->dirty_begin = file->dirty_end = 0;
    }
    files->unreleased = 0;
}

static void note_read(SnlWeightFiles *files, OpenFile *file, size_t begin, size_t nbytes)
{
    bool clean = file->dirty_begin == file->dirty_end;
    if (clean || begin < file->dirty_begin) file->dirty_begin = begin;
    if (clean || begin + nbytes > file->dirty_end) file->dirty_end = begin + nbytes;
    files->unreleased += nbytes;
    if (files->unreleased >= release_after) source_release(&files->source);
}

static SnlStatus source_read(SnlWeightSource *self, const char *name, const char *tensor,
                             int64_t first, int64_t n, SnlDiag *diag, float *out)
{
    SnlWeightFiles *files = (SnlWeightFiles *)self;
    SNL_TRY(locate(files, name, tensor, diag));
    OpenFile *file = files->last_file;
    const SnlSafetensor *found = files->last;
    if (first < 0 || n < 0 || first > found->elems || n > found->elems - first)
        return snl_error_at(diag, SNL_E_TENSOR, file->path,
                            "tensor '%.*s': wanted %" PRId64 " elements from element %" PRId64
                            " on, found only %" PRId64 " in all",
                            SHOWN, tensor, n, first, found->elems);
    size_t width = (size_t)snl_dtype_row_bytes(found->dtype, 1);
    /* In pieces, so that one large request does not make all its pages resident either. */
    for (int64_t done = 0; done < n;) {
        int64_t piece = n - done < (1 << 20) ? n - done : 1 << 20;
        snl_safetensors_read(&file->st, found, first + done, piece, out + done);
        note_read(files, file, found->begin + (size_t)(first + done) * width,
                  (size_t)piece * width);
        done += piece;
    }
    return SNL_OK;
}

static void source_destroy(SnlWeightSource *self)
{
    snl_weight_files_close((SnlWeightFiles *)self);
}

SnlWeightFiles *snl_weight_files_create(SnlArena *arena, const char *base_dir)
{
    SnlWeightFiles *files = SNL_NEW(arena, SnlWeightFiles);
    files->arena = arena;
    files->base_dir = base_dir;
    files->place = base_dir ? base_dir : ".";
    files->source = (SnlWeightSource){.find = source_find,
                                      .read = source_read,
                                      .release = source_release,
                                      .destroy = source_destroy};
    return files;
}

SnlWeightSource *snl_weight_files_source(SnlWeightFiles *files)
{
    return &files->source;
}
