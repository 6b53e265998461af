/* compiler/frontend/build.h -- what a family uses to turn a configuration into IR.
 *
 * Tensors: declares a weight after looking whether the model's files have it in the wanted shape.
 * The first tensor that is missing or of another shape is reported; building may go on (the weight
 * has the wanted shape), and the caller looks at `status` once per layer. Tensors that nobody asked
 * for are an error in the end. Sizes must have been checked with snl_build_fits before any graph is
 * built.
 *
 * Operations: thin wrappers around snl_op_create/snl_op_finish with one line per op. */
#ifndef SNL_FRONTEND_BUILD_H
#define SNL_FRONTEND_BUILD_H

#include "compiler/frontend/json.h"
#include "compiler/frontend/model.h"
#include "compiler/frontend/weight_files.h"

/* Limits on what a configuration may claim: far above any model, so that a damaged or hostile one
 * is refused before memory is asked for. */
enum {
    SNL_MAX_LAYERS = 4096,
    SNL_MAX_WIDTH = 1 << 20,
    SNL_MAX_HEADS = 1 << 14,
    SNL_MAX_HEAD_DIM = 1 << 14,
    SNL_MAX_VOCAB = 1 << 24,
    SNL_MAX_CONTEXT = 1 << 28
};

typedef struct SnlBuild {
    SnlArena *arena;
    SnlDiag *diag;
    SnlModule *module;
    SnlModel *model;        /* the family fills vocab, width, n_layers, trained_context */
    SnlWeightFiles *files;  /* NULL: random weights */
    SnlDtype random_dtype;  /* of weights without files */
    int64_t wanted_context; /* 0: by default */
    SnlStatus status;       /* the first failure */
} SnlBuild;

/* ---- sizes ----------------------------------------------------------------------------------- */

/* rows x cols must be a tensor that snlpc can hold; reports at `config` otherwise. */
bool snl_build_fits(SnlBuild *b, SnlJson config, const char *what, int64_t rows, int64_t cols);
/* Fills model->context and the module's attributes from model->{vocab, trained_context} and the
 * options, and checks that the caches fit: cache_row elements for each position. */
SnlStatus snl_build_context(SnlBuild *b, SnlJson config, const char *family, int64_t cache_row);

/* ---- weights --------------------------------------------------------------------------------- */

SnlWeight *snl_build_vector(SnlBuild *b, const char *name, const char *tensor, int64_t n);
SnlWeight *snl_build_matrix(SnlBuild *b, const char *name, const char *tensor, int64_t rows,
                            int64_t cols);
/* Tensors that the family knows and does not need: accepted where they are there. */
void snl_build_unused(SnlBuild *b, const char *tensor);
void snl_build_unused_prefix(SnlBuild *b, const char *prefix);
/* Reports the first tensor of the files that nobody asked for. */
SnlStatus snl_build_check_extra(SnlBuild *b);
/* `name = code(arg)` of the given shape: the argument's element type where the expression only
 * rearranges, f32 where it computes. */
SnlWeight *snl_build_expr(SnlBuild *b, const char *name, SnlWexprCode code, SnlWeight *arg,
                          int rank, int64_t rows, int64_t cols);
/* Rows [begin, end) of a weight, as a weight of its own. */
SnlWeight *snl_build_rows(SnlBuild *b, const char *name, SnlWeight *of, int64_t begin, int64_t end);
/* printf into the arena: names of weights, tensors, layers. */
const char *snl_build_name(SnlBuild *b, const char *fmt, ...) SNL_PRINTF(2, 3);

/* ---- operations ------------------------------------------------------------------------------ */

SnlValue *snl_emit_embed(SnlFunc *f, SnlValue *ids, SnlWeight *table, const char *name);
/* w NULL: without weight; heads > 1: each head on its own. */
SnlValue *snl_emit_norm(SnlFunc *f, SnlValue *x, SnlWeight *w, double eps, int64_t heads,
                        const char *name);
/* bias NULL: none. */
SnlValue *snl_emit_linear(SnlFunc *f, SnlValue *x, SnlWeight *w, SnlWeight *bias, const char *name);
SnlValue *snl_emit_unary(SnlFunc *f, SnlOpCode code, SnlValue *x, const char *name);
SnlValue *snl_emit_mul(SnlFunc *f, SnlValue *a, SnlValue *b, const char *name);
SnlValue *snl_emit_add(SnlFunc *f, SnlValue *a, SnlValue *b, const char *name);
/* ca a + cb b. */
SnlValue *snl_emit_blend(SnlFunc *f, SnlValue *a, SnlAttrValue ca, SnlValue *b, SnlAttrValue cb,
                         const char *name);
SnlAttrValue snl_coef_real(double value);
SnlAttrValue snl_coef_weight(SnlWeight *scalar);
SnlValue *snl_emit_mix(SnlFunc *f, SnlValue *x, SnlWeight *m, const char *name);
SnlValue *snl_emit_softcap(SnlFunc *f, SnlValue *x, double cap, const char *name);
SnlValue *snl_emit_slice(SnlFunc *f, SnlValue *x, int64_t begin, int64_t end, const char *name);
/* attrs: theta, width, scaling, ... */
SnlValue *snl_emit_rope_table(SnlFunc *f, SnlValue *pos, const SnlAttrs *attrs, const char *name);
SnlValue *snl_emit_rope(SnlFunc *f, SnlValue *x, SnlValue *table, int64_t heads, const char *name);

/* x one position earlier; `last` keeps the last row for the next call (shift and row_write). */
SnlValue *snl_emit_shift(SnlFunc *f, SnlValue *x, SnlValue *pos, SnlState *last, const char *name);

typedef struct SnlAttention {
    int64_t heads, kv_heads;
    bool windowed;
    int64_t window; /* if windowed: keys with 0 <= i - j <= window */
    double scale;   /* 0: 1/sqrt(head width) */
} SnlAttention;
/* kv_write and attention of one layer. */
SnlValue *snl_emit_attention(SnlFunc *f, SnlValue *q, SnlValue *k, SnlValue *v, SnlValue *pos,
                             SnlState *kv, const SnlAttention *how, const char *name);

void snl_emit_return(SnlFunc *f, SnlValue *value);
/* Results: the end of the chain, then one state per tap. */
SnlOp *snl_emit_chain(SnlFunc *f, SnlValue *const *arg, size_t n_arg, const SnlBinding *links,
                      size_t n_links, const int64_t *taps, size_t n_taps, const char *name);
/* `@forward` with its two parameters. */
SnlFunc *snl_build_forward(SnlBuild *b, SnlValue **out_tokens, SnlValue **out_pos);

#endif
