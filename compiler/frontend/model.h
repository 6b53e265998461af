/* compiler/frontend/model.h -- a model as the user names it, opened and described.
 *
 * MODEL is a Hugging Face folder or a `.snl` file. Opening reads configuration and tensor indexes,
 * checks every tensor against what the family wants, and builds the sequential IR; no weight bytes
 * are read. The module has states for `context` positions and one function
 *
 *     func @forward(%tokens: i32[T], %pos: index) -> f32[T, V]
 *
 * with one `chain` of all layers (names @block.0, @block.1, ...; its taps for backout where
 * needed). */
#ifndef SNL_FRONTEND_MODEL_H
#define SNL_FRONTEND_MODEL_H

#include "ir/ir.h"
#include "ir/weights.h"

typedef enum SnlTokenizerKind {
    SNL_TOKENIZER_NONE,
    SNL_TOKENIZER_BYTE,
    SNL_TOKENIZER_JSON
} SnlTokenizerKind;

typedef struct SnlModelOptions {
    int64_t context;     /* positions; 0: min(trained length, 4096) */
    bool random_weights; /* weights from `seed`, no weight file needed */
    uint64_t seed;
} SnlModelOptions;

typedef struct SnlModel {
    const char *path, *name; /* name: last part of the path without extension */
    const char *family;      /* "llama", "qwen2", "qwen3", "nanochat"; "snl" for IR files */
    SnlModule *module;
    SnlWeightSource *source;
    int64_t vocab, context, trained_context, n_layers, width, n_params;
    int64_t *eos;
    size_t n_eos;
    SnlTokenizerKind tokenizer;
    const char *tokenizer_path; /* JSON */
} SnlModel;

SnlStatus snl_model_open(SnlArena *arena, const char *path, const SnlModelOptions *options,
                         SnlDiag *diag, SnlModel *out);
void snl_model_close(SnlModel *model);

/* Prints what the model is and whether it compiles (`snlpc inspect`). */
SnlStatus snl_model_inspect(const char *path, const SnlModelOptions *options, SnlDiag *diag,
                            FILE *out);

#endif
