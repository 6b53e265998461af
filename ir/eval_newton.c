/* ir/eval_newton.c -- the `newton` op, from its definition (design page on SNLP).
 *
 * Units f_0..f_{n-1}; states s_0 = h (fixed), s_1..s_n. One sweep evaluates o_j = f_j(s_j) for
 * every unit whose input may have changed, then corrects in order:
 *
 *     s'_1 = o_0,   s'_{j+1} = o_j + (1 - damping) A_j (s'_j - s_j)
 *
 * A_j is the surrogate of unit j's layer (or of the op's `surrogate` word: identity or zero). After
 * k sweeps s_1..s_k are the sequential states, whatever A is. Which states a unit's evaluations
 * read and write is said in eval.h. */
#include "ir/eval_internal.h"

#include <string.h>

size_t snl_newton_evals(int64_t sweeps, bool batch_fwd, size_t unit)
{
    size_t k = sweeps < 0 ? 0 : (size_t)sweeps;
    size_t most = batch_fwd ? unit : unit + 1;
    return (k < most ? k : most) + (batch_fwd ? 1 : 0);
}

static bool attr_is(const SnlOp *op, const char *key, const char *def, const char *word)
{
    return strcmp(snl_attr_text(&op->attrs, key, def), word) == 0;
}

size_t snl_newton_n_states(const SnlOp *newton, size_t unit)
{
    size_t n = newton->sym[0].bind[unit].layer->n_state_param;
    if (attr_is(newton, "kv", "sweep", "sweep"))
        n *= snl_newton_evals(snl_attr_int(&newton->attrs, "sweeps", 1),
                              attr_is(newton, "init", "h0", "batch_fwd"), unit);
    return n + (attr_is(newton, "init", "h0", "warm") && unit > 0 ? 1 : 0);
}

typedef struct Newton {
    SnlFrame *f;
    const SnlOp *op;
    size_t n;
    int64_t sweeps;
    bool batch_fwd, warm, corrected;
    double keep; /* 1 - damping */
    int64_t elems;
    double **s, **next; /* n + 1 states */
    double **o;         /* n outputs */
    double **args;      /* of a unit; args[0] is set per run */
    SnlState ***states; /* per unit, resolved */
} Newton;

static SnlStatus check(const Newton *nw)
{
    SnlDiag *diag = nw->f->eval->diag;
    const SnlOp *op = nw->op;
    if (nw->sweeps < 1)
        return snl_error(diag, SNL_E_ATTR, op->loc, "newton: sweeps: found %lld, wanted 1 or more",
                         (long long)nw->sweeps);
    if (nw->warm && nw->f->n_tokens != 1)
        return snl_error(diag, SNL_E_UNSUPPORTED, op->loc,
                         "newton: init = warm takes one token a call: found %lld; process the "
                         "prompt with the sequential function",
                         (long long)nw->f->n_tokens);
    for (size_t j = 0; j < nw->n; j++) {
        const SnlBinding *b = &op->sym[0].bind[j];
        size_t want = snl_newton_n_states(op, j);
        if (b->n_state != want)
            return snl_error(diag, SNL_E_STRUCTURE, op->loc,
                             "newton: states of unit %zu ('@%s'): found %zu, wanted %zu (one set "
                             "for each evaluation)",
                             j, b->layer->name, b->n_state, want);
        if (op->n_in != b->layer->n_param)
            return snl_error(diag, SNL_E_STRUCTURE, op->loc,
                             "newton: values for '@%s': found %zu, wanted %zu", b->layer->name,
                             op->n_in, b->layer->n_param);
    }
    return SNL_OK;
}

static void prepare(Newton *nw)
{
    SnlArena *arena = nw->f->arena;
    const SnlOp *op = nw->op;
    nw->elems = snl_type_elems(snl_in(op, 0)->type, nw->f->n_tokens);
    nw->args = SNL_NEW_ARRAY(arena, double *, op->n_in);
    for (size_t i = 0; i < op->n_in; i++) nw->args[i] = snl_frame_in(nw->f, op, i).at;
    nw->s = SNL_NEW_ARRAY(arena, double *, nw->n + 1);
    nw->next = SNL_NEW_ARRAY(arena, double *, nw->n + 1);
    nw->o = SNL_NEW_ARRAY(arena, double *, nw->n);
    nw->states = SNL_NEW_ARRAY(arena, SnlState **, nw->n);
    for (size_t j = 0; j <= nw->n; j++) {
        nw->s[j] = SNL_NEW_ARRAY(arena, double, (size_t)nw->elems);
        nw->next[j] = SNL_NEW_ARRAY(arena, double, (size_t)nw->elems);
        memcpy(nw->s[j], nw->args[0], (size_t)nw->elems * sizeof(double)); /* init = h0 */
    }
    memcpy(nw->next[0], nw->s[0], (size_t)nw->elems * sizeof(double));
    for (size_t j = 0; j < nw->n; j++) {
        nw->o[j] = SNL_NEW_ARRAY(arena, double, (size_t)nw->elems);
        nw->states[j] = snl_frame_binding(nw->f, &op->sym[0].bind[j]);
    }
}

/* Evaluation number `e` (from 0) of unit j on s_j, into out. */
static SnlStatus run_unit(Newton *nw, size_t j, size_t e, bool read_only, double *out)
{
    const SnlFunc *layer = nw->op->sym[0].bind[j].layer;
    size_t first = nw->corrected ? 0 : e * layer->n_state_param;
    nw->args[0] = nw->s[j];
    return snl_frame_call(nw->f, nw->op, layer, nw->args, nw->states[j] + first, read_only, &out);
}

static SnlStatus surrogate_of(const Newton *nw, size_t j, SnlSurrogateKind *kind, const float **w)
{
    const SnlFunc *layer = nw->op->sym[0].bind[j].layer;
    const char *word = snl_attr_text(&nw->op->attrs, "surrogate", "");
    *kind = strcmp(word, "identity") == 0 ? SNL_SURROGATE_IDENTITY
            : strcmp(word, "zero") == 0   ? SNL_SURROGATE_ZERO
                                          : layer->surrogate;
    *w = NULL;
    if (*kind == SNL_SURROGATE_NONE)
        return snl_error(nw->f->eval->diag, SNL_E_STRUCTURE, nw->op->loc,
                         "newton: '@%s' has no surrogate; write `surrogate identity` (or zero, "
                         "diag, streams) on the layer",
                         layer->name);
    if (*kind == SNL_SURROGATE_DIAG || *kind == SNL_SURROGATE_STREAMS)
        return snl_eval_weight(nw->f->eval, layer->surrogate_weight, w);
    return SNL_OK;
}

/* y += keep * J (a - b), J [S, S] acting on the stream index of [T, S, D]. */
static void add_streams(const Newton *nw, const float *J, const double *a, const double *b,
                        double *y)
{
    const SnlType *type = snl_in(nw->op, 0)->type;
    int64_t S = snl_type_members(type), D = snl_type_width(type), rows = nw->elems / (S * D);
    for (int64_t t = 0; t < rows; t++)
        for (int64_t r = 0; r < S; r++)
            for (int64_t s = 0; s < S; s++)
                for (int64_t i = 0; i < D; i++) {
                    int64_t from = (t * S + s) * D + i;
                    y[(t * S + r) * D + i] += nw->keep * (double)J[r * S + s] * (a[from] - b[from]);
                }
}

/* s'_{j+1} = o_j + keep A_j (s'_j - s_j) */
static SnlStatus correct(Newton *nw, size_t j)
{
    double *y = nw->next[j + 1];
    const double *a = nw->next[j], *b = nw->s[j];
    memcpy(y, nw->o[j], (size_t)nw->elems * sizeof(double));
    if (j == 0) return SNL_OK; /* s'_0 = s_0 */
    SnlSurrogateKind kind;
    const float *w;
    SNL_TRY(surrogate_of(nw, j, &kind, &w));
    int64_t width = snl_type_width(snl_in(nw->op, 0)->type);
    switch (kind) {
    case SNL_SURROGATE_IDENTITY:
        for (int64_t i = 0; i < nw->elems; i++) y[i] += nw->keep * (a[i] - b[i]);
        break;
    case SNL_SURROGATE_DIAG:
        for (int64_t i = 0; i < nw->elems; i++)
            y[i] += nw->keep * (double)w[i % width] * (a[i] - b[i]);
        break;
    case SNL_SURROGATE_STREAMS:
        add_streams(nw, w, a, b, y);
        break;
    case SNL_SURROGATE_ZERO:
    case SNL_SURROGATE_NONE:
        break;
    }
    return SNL_OK;
}

static SnlStatus sweep(Newton *nw, int64_t k)
{
    size_t e = (size_t)(nw->batch_fwd ? k : k - 1);
    for (size_t j = 0; j < nw->n; j++)
        if (e < snl_newton_evals(nw->sweeps, nw->batch_fwd, j))
            SNL_TRY(run_unit(nw, j, e, nw->corrected, nw->o[j]));
    for (size_t j = 0; j < nw->n; j++) SNL_TRY(correct(nw, j));
    double **old = nw->s;
    nw->s = nw->next;
    nw->next = old;
    for (size_t j = 0; j <= nw->n; j++) snl_frame_trace(nw->f, nw->op, k, j, nw->s[j]);
    return SNL_OK;
}

static double *warm_state(const Newton *nw, size_t j)
{
    const SnlState *state = nw->states[j][nw->op->sym[0].bind[j].n_state - 1];
    SNL_ASSERT(snl_type_elems(state->type, 0) == nw->elems);
    return snl_eval_state(nw->f->eval, state);
}

static SnlStatus start(Newton *nw)
{
    size_t bytes = (size_t)nw->elems * sizeof(double);
    for (size_t j = 1; nw->warm && j < nw->n; j++) memcpy(nw->s[j], warm_state(nw, j), bytes);
    for (size_t j = nw->n; nw->batch_fwd && j-- > 0;) {
        /* From the last unit down: s_{j+1} may be overwritten once unit j + 1 has read s_{j+1} = h.
         */
        SNL_TRY(run_unit(nw, j, 0, nw->corrected, nw->o[j]));
        memcpy(nw->s[j + 1], nw->o[j], bytes);
    }
    return SNL_OK;
}

static SnlStatus finish(Newton *nw)
{
    size_t bytes = (size_t)nw->elems * sizeof(double);
    for (size_t j = 0; nw->corrected && j < nw->n; j++)
        SNL_TRY(run_unit(nw, j, 0, false, nw->o[j]));
    for (size_t j = 1; nw->warm && !nw->f->read_only && j < nw->n; j++)
        memcpy(warm_state(nw, j), nw->s[j], bytes);
    nw->f->value[nw->op->out[0]->id] = nw->s[nw->n];
    for (size_t i = 1; i < nw->op->n_out; i++) {
        int64_t link = snl_attr_int_at(&nw->op->attrs, "taps", i - 1, -1);
        SNL_ASSERT(link >= 0 && (size_t)link < nw->n);
        nw->f->value[nw->op->out[i]->id] = nw->s[link + 1];
    }
    return SNL_OK;
}

SnlStatus snl_eval_newton(SnlFrame *f, const SnlOp *op)
{
    Newton nw = {.f = f,
                 .op = op,
                 .n = op->sym[0].n,
                 .sweeps = snl_attr_int(&op->attrs, "sweeps", 1),
                 .batch_fwd = attr_is(op, "init", "h0", "batch_fwd"),
                 .warm = attr_is(op, "init", "h0", "warm"),
                 .corrected = attr_is(op, "kv", "sweep", "corrected"),
                 .keep = 1.0 - snl_attr_real(&op->attrs, "damping", 0.0)};
    SNL_TRY(check(&nw));
    prepare(&nw);
    SNL_TRY(start(&nw));
    int64_t last = nw.sweeps < (int64_t)nw.n ? nw.sweeps : (int64_t)nw.n;
    if (nw.n == 0) snl_frame_trace(f, op, 0, 0, nw.s[0]);
    for (int64_t k = 1; k <= last; k++) SNL_TRY(sweep(&nw, k));
    return finish(&nw);
}
