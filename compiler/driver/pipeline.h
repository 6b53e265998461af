/* compiler/driver/pipeline.h -- the usual pipeline, and the command-line options that every command
 * which runs passes shares. */
#ifndef SNL_DRIVER_PIPELINE_H
#define SNL_DRIVER_PIPELINE_H

#include "compiler/driver/modes.h"
#include "passes/pass.h"

#include <argp.h>

/* Formats that --weights takes. */
typedef enum SnlWeightFormat {
    SNL_WEIGHTS_SOURCE,
    SNL_WEIGHTS_F32,
    SNL_WEIGHTS_BF16,
    SNL_WEIGHTS_F16,
    SNL_WEIGHTS_Q8_0,
    SNL_WEIGHTS_Q4_0
} SnlWeightFormat;
bool snl_weight_format_find(const char *text, SnlWeightFormat *out);
const char *snl_weight_format_text(SnlWeightFormat format);

/* Stored formats by class of tensor. */
typedef struct SnlWeightFormats {
    SnlWeightFormat matrices;
    bool own_head; /* the matrix of the logits has its own */
    SnlWeightFormat head;
} SnlWeightFormats;

/* What the usual pipeline depends on. */
typedef struct SnlPipelineSpec {
    SnlWeightFormats weights;
    const char *kv; /* format of the caches, as the pass `caches` takes it; NULL: as declared */
    const char *func;      /* NULL: "forward"; only without modes */
    const SnlModes *modes; /* NULL: the function alone, sequential */
    int64_t cores;         /* that work is shared out for; 0: the passes' default */
    int64_t block;         /* most tokens of a prefill call; 0: the schedule pass's default */
    bool tail;             /* prefill gives only the asked-for rows of result 0 */
    int64_t redzone;       /* bytes behind each buffer that an address sanitizer watches; 0: none */
} SnlPipelineSpec;

/* From the sequential IR to scheduled functions with every buffer in its place: `<func>.decode` and
 * `<func>.prefill` of each mode's function. One pipeline for all of them, so that passes that make
 * weights (fold, merge-linear, pack) make them once. */
char *snl_pipeline_default(SnlArena *arena, const SnlPipelineSpec *spec);

/* How a pipeline names what --weights, --weights-head and --kv choose, for messages. */
#define SNL_PIPELINE_FORMATS                                                                       \
    "fold{weights=q4_0 head=q8_0},...,pack{weights=q4_0 head=q8_0},caches{kv=f16},..."

/* "text" with its quotes, as a pipeline takes it. */
const char *snl_pipeline_quoted(SnlArena *arena, const char *text);

/* --pipeline, --print-ir-after, --print-ir-before, --dump-dir, --verify-each, --no-verify,
 * --check-each, --timing. */
typedef struct SnlPipelineArgs {
    const char *text; /* NULL: not given */
    SnlPipelineOptions options;
} SnlPipelineArgs;
/* The state's input of this child parser is a SnlPipelineArgs *. */
extern const struct argp snl_pipeline_argp;
/* Defaults before parsing: --verify-each is on in debug builds. */
SnlPipelineArgs snl_pipeline_args_init(void);

/* --weights and --weights-head: a format, or argp's usage error. */
SnlWeightFormat snl_arg_format(struct argp_state *state, const char *option, const char *text);
/* --kv: the same for caches, as SnlPipelineSpec has it. */
const char *snl_arg_kv(struct argp_state *state, const char *text);
/* A whole number for an option, or argp's usage error. */
int64_t snl_arg_int(struct argp_state *state, const char *option, const char *text, int64_t min,
                    int64_t max);

#endif
