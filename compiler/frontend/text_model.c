/* compiler/frontend/text_model.c -- an IR text (.snl) as a model.
 *
 * It must define `func @forward(%tokens: i32[T], %pos: index) -> f32[T, V]`. Module attributes that
 * matter here, all optional: context, trained_context, family, eos (id or list of ids), tokenizer
 * ("byte", or a tokenizer.json relative to the text). */
#include "compiler/frontend/build.h"
#include "compiler/frontend/open.h"

#include <inttypes.h>
#include <string.h>

static const size_t max_text = (size_t)64 << 20;
enum { MAX_EOS = 64, CONTEXT_WITHOUT_STATES = 4096 };

static bool is_signature(const SnlFunc *f)
{
    if (f->n_param != 2 || f->n_result != 1 || f->n_state_param != 0) return false;
    const SnlType *tokens = f->param[0]->type, *pos = f->param[1]->type, *out = f->result[0];
    return tokens->dtype == SNL_I32 && tokens->rank == 1 && snl_type_has_t(tokens) &&
           pos->dtype == SNL_INDEX && out->dtype == SNL_F32 && out->rank == 2 &&
           snl_type_has_t(out);
}

static SnlStatus find_forward(const SnlModule *m, const SnlSource *text, SnlDiag *diag,
                              const SnlFunc **out)
{
    const SnlFunc *f = snl_module_find_func(m, "forward");
    const char *wanted = "func @forward(%tokens: i32[T], %pos: index) -> f32[T, V]";
    if (!f || f->kind != SNL_FUNC)
        return snl_error_at(diag, SNL_E_STRUCTURE, text->name,
                            "found no func @forward, wanted %s to make a model of it", wanted);
    if (!is_signature(f))
        return snl_error(diag, SNL_E_TYPE, f->loc, "found another signature, wanted %s", wanted);
    *out = f;
    return SNL_OK;
}

/* ---- context --------------------------------------------------------------------------------- */

/* Caches are the states [2, G, C, d]. */
static bool is_cache(const SnlState *state)
{
    return state->type->rank == 4 && state->type->dim[0] == 2;
}

static int64_t declared_context(const SnlModule *m)
{
    int64_t context = 0;
    for (size_t i = 0; i < m->states.n; i++) {
        const SnlState *state = m->states.at[i];
        if (is_cache(state) && (context == 0 || state->type->dim[2] < context))
            context = state->type->dim[2];
    }
    return context ? context : snl_attr_int(&m->attrs, "context", CONTEXT_WITHOUT_STATES);
}

/* Gives every cache that holds the declared context room for `context` positions instead. */
static void resize_caches(SnlModule *m, int64_t declared, int64_t context)
{
    for (size_t i = 0; i < m->states.n; i++) {
        SnlState *state = m->states.at[i];
        if (!is_cache(state) || state->type->dim[2] != declared) continue;
        int64_t dim[SNL_MAX_RANK];
        memcpy(dim, state->type->dim, sizeof dim);
        dim[2] = context;
        state->type = snl_type(m, state->type->dtype, 4, dim);
    }
    snl_attr_set_int(m, &m->attrs, "context", context);
}

static SnlStatus check_attribute(const SnlModule *m, const SnlSource *text, const char *key,
                                 SnlDiag *diag)
{
    if (!snl_attr_find(&m->attrs, key)) return SNL_OK;
    int64_t value = snl_attr_int(&m->attrs, key, 0);
    if (value >= 1 && value <= SNL_MAX_CONTEXT) return SNL_OK;
    return snl_error_at(diag, SNL_E_ATTR, text->name,
                        "module attribute %s: found another value, wanted an integer from 1 to %d",
                        key, SNL_MAX_CONTEXT);
}

static SnlStatus read_context(SnlModule *m, const SnlSource *text, int64_t wanted, SnlDiag *diag,
                              SnlModel *out)
{
    SNL_TRY(check_attribute(m, text, "context", diag));
    SNL_TRY(check_attribute(m, text, "trained_context", diag));
    int64_t declared = declared_context(m);
    int64_t named = snl_attr_int(&m->attrs, "context", declared);
    if (named > declared)
        return snl_error_at(diag, SNL_E_ATTR, text->name,
                            "module attribute context: found %" PRId64
                            ", but the smallest cache has room for %" PRId64 " positions",
                            named, declared);
    out->trained_context = snl_attr_int(&m->attrs, "trained_context", named);
    out->context = wanted ? wanted : named;
    if (wanted) resize_caches(m, declared, wanted);
    return SNL_OK;
}

/* ---- facts ----------------------------------------------------------------------------------- */

static void count_params(const SnlModule *m, SnlModel *out)
{
    for (size_t i = 0; i < m->weights.n; i++) {
        const SnlWeight *w = m->weights.at[i];
        if (w->code == SNL_WEXPR_SOURCE || w->code == SNL_WEXPR_RANDOM)
            out->n_params += snl_type_elems(w->type, 1);
    }
}

static void count_layers(const SnlFunc *forward, SnlModel *out)
{
    for (const SnlOp *op = forward->first; op; op = op->next) {
        if (!(snl_op_info[op->code].flags & SNL_CALLS)) continue;
        out->n_layers += (int64_t)op->sym[0].n;
        if (op->n_out) out->width = snl_type_width(op->out[0]->type);
    }
}

static SnlStatus add_eos(const SnlAttrValue *value, const SnlSource *text, SnlDiag *diag,
                         SnlModel *out)
{
    bool good = value->kind == SNL_ATTR_INT && value->i >= 0 && value->i < out->vocab;
    if (!good || out->n_eos == MAX_EOS)
        return snl_error_at(diag, SNL_E_ATTR, text->name,
                            "module attribute eos: wanted an id from 0 to %" PRId64
                            ", or a list of at most %d",
                            out->vocab - 1, MAX_EOS);
    out->eos[out->n_eos++] = value->i;
    return SNL_OK;
}

static SnlStatus read_eos(SnlArena *arena, const SnlModule *m, const SnlSource *text, SnlDiag *diag,
                          SnlModel *out)
{
    const SnlAttrValue *eos = snl_attr_find(&m->attrs, "eos");
    out->eos = SNL_NEW_ARRAY(arena, int64_t, MAX_EOS);
    if (!eos) return SNL_OK;
    if (eos->kind != SNL_ATTR_LIST) return add_eos(eos, text, diag, out);
    for (size_t i = 0; i < eos->list.n; i++) SNL_TRY(add_eos(&eos->list.at[i], text, diag, out));
    return SNL_OK;
}

static void read_tokenizer(SnlArena *arena, const SnlModule *m, SnlModel *out)
{
    const char *name = snl_attr_text(&m->attrs, "tokenizer", NULL);
    if (!name) return;
    out->tokenizer = strcmp(name, "byte") == 0 ? SNL_TOKENIZER_BYTE : SNL_TOKENIZER_JSON;
    if (out->tokenizer == SNL_TOKENIZER_JSON)
        out->tokenizer_path = snl_path_join(arena, m->base_dir, name);
}

/* ---- the model ------------------------------------------------------------------------------- */

static void open_source(SnlArena *arena, const SnlModelOptions *options, SnlModel *out)
{
    if (options->random_weights)
        out->source = snl_random_source_create(arena, options->seed);
    else
        out->source =
            snl_weight_files_source(snl_weight_files_create(arena, out->module->base_dir));
}

SnlStatus snl_text_model_open(SnlArena *arena, const char *path, const SnlModelOptions *options,
                              SnlDiag *diag, SnlModel *out)
{
    SnlSource *text = SNL_NEW(arena, SnlSource);
    const SnlFunc *forward = NULL;
    SNL_TRY(snl_file_read(arena, path, max_text, diag, text));
    SNL_TRY(snl_parse(arena, text, diag, &out->module));
    SnlModule *m = out->module;
    m->base_dir = snl_path_dir(arena, path);
    out->family = "snl";
    SNL_TRY(find_forward(m, text, diag, &forward));
    out->vocab = snl_type_width(forward->result[0]);
    SNL_TRY(read_context(m, text, options->context, diag, out));
    count_params(m, out);
    count_layers(forward, out);
    SNL_TRY(read_eos(arena, m, text, diag, out));
    read_tokenizer(arena, m, out);
    open_source(arena, options, out);
    return snl_weights_check(m, out->source, diag);
}
