/* passes/fuse.h -- several layers become one wider layer with shared input. Private to passes/. */
#ifndef SNL_PASSES_FUSE_H
#define SNL_PASSES_FUSE_H

#include "passes/plan.h"
#include "passes/rewrite.h"

typedef struct SnlFuseHow {
    bool reference; /* compat: no value embeddings, mean norm weights, no windows */
    bool avg;       /* summed branches are divided by the number of layers */
} SnlFuseHow;

/* A new layer `name` that stands for the n consecutive links. Its state parameters are those of the
 * links' layers, one after the other. Reports layers of different structure. */
SnlStatus snl_fuse_links(SnlModule *m, SnlArena *scratch, SnlDiag *diag, const SnlBinding *link,
                         size_t n, const SnlFuseHow *how, const char *name, SnlFunc **out);

/* The weight itself when all are one, else their mean (rewrite.c's names). */
SnlWeight *snl_mean_weight(SnlModule *m, SnlArena *scratch, SnlWeight *const *w, size_t n);

#endif
