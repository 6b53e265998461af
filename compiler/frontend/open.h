/* compiler/frontend/open.h -- the two kinds of model, behind snl_model_open. */
#ifndef SNL_FRONTEND_OPEN_H
#define SNL_FRONTEND_OPEN_H

#include "compiler/frontend/model.h"

/* Both fill *out; on failure what was learnt before it stays there and out->source may be set. */
SnlStatus snl_folder_open(SnlArena *arena, const char *path, const SnlModelOptions *options,
                          SnlDiag *diag, SnlModel *out);
SnlStatus snl_text_model_open(SnlArena *arena, const char *path, const SnlModelOptions *options,
                              SnlDiag *diag, SnlModel *out);

/* A configuration alone, with random weights: what the fuzzer opens. `config` must outlive *out. */
SnlStatus snl_config_open(SnlArena *arena, const SnlSource *config, SnlDiag *diag, SnlModel *out);

#endif
