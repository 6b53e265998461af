/* passes/pipeline.h -- a pipeline text, parsed: passes with all their options filled in. Private to
 * passes/. */
#ifndef SNL_PASSES_PIPELINE_H
#define SNL_PASSES_PIPELINE_H

#include "passes/pass.h"

typedef struct SnlPipelineElement {
    const SnlPass *pass;
    const char **option; /* parallel to pass->options, checked */
} SnlPipelineElement;

typedef struct SnlPipeline {
    SnlVec(SnlPipelineElement) elements;
} SnlPipeline;

/* An empty (or blank) text is the empty pipeline. Mistakes are reported with their place in the
 * text. */
SnlStatus snl_pipeline_parse(SnlArena *arena, const char *text, SnlDiag *diag, SnlPipeline *out);

#endif
