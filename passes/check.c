/* passes/check.c -- evaluation of a module before and after a pass (check.h). */
#include "passes/check.h"

#include "ir/eval.h"

#include <math.h>
#include <string.h>

/* Rows of the two calls of one run; the second starts where the first ended. */
typedef struct Run {
    int64_t rows[2];
} Run;
static const Run runs[] = {{{1, 1}}, {{3, 2}}, {{7, 1}}};
enum { N_RUNS = sizeof runs / sizeof runs[0] };

typedef struct Record {
    const char *where;
    double *at;
    size_t n;
} Record;

struct SnlCheckResult {
    SnlVec(Record) records;
};

typedef struct Checker {
    SnlArena *arena;
    const SnlModule *m;
    SnlEval *eval;
    uint64_t seed;
    int64_t max_id, context;
    bool single; /* a function keeps the previous token's state: one row per call */
    SnlCheckResult *result;
} Checker;

static uint64_t scramble(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* A number in [0, 1) that depends on seed, parameter, run position and element only. */
static double random_unit(uint64_t seed, uint64_t param, uint64_t element)
{
    return (double)(scramble(seed ^ scramble(param ^ scramble(element))) >> 11) * 0x1p-53;
}

static bool module_has_warm(const SnlModule *m)
{
    for (const SnlFunc *f = m->first; f; f = f->next)
        for (const SnlOp *op = f->first; op; op = op->next)
            if (strcmp(snl_attr_text(&op->attrs, "init", ""), "warm") == 0) return true;
    return false;
}

static void find_limits(Checker *c)
{
    c->max_id = INT64_MAX;
    c->context = INT64_MAX;
    for (const SnlFunc *f = c->m->first; f; f = f->next)
        for (const SnlOp *op = f->first; op; op = op->next)
            if (op->code == SNL_OP_EMBED && snl_op_weight(op, 0)->type->dim[0] < c->max_id)
                c->max_id = snl_op_weight(op, 0)->type->dim[0];
    if (c->max_id == INT64_MAX) c->max_id = 2;
    for (size_t i = 0; i < c->m->states.n; i++) {
        const SnlType *type = c->m->states.at[i]->type;
        if (type->rank == 4 && type->dim[2] < c->context) c->context = type->dim[2];
    }
    c->single = module_has_warm(c->m);
}

static void fill_argument(const Checker *c, const SnlFunc *f, size_t i, int64_t pos, int64_t rows,
                          SnlTensor *out)
{
    const SnlType *type = f->param[i]->type;
    int64_t n = snl_type_elems(type, rows);
    *out = (SnlTensor){type, rows, SNL_NEW_ARRAY(c->arena, double, (size_t)n)};
    for (int64_t j = 0; j < n; j++) {
        double u = random_unit(c->seed + (uint64_t)pos, i, (uint64_t)j);
        if (type->dtype == SNL_INDEX)
            out->at[j] = (double)pos;
        else if (type->dtype == SNL_I32)
            out->at[j] = floor(u * (double)c->max_id);
        else
            out->at[j] = 3.0 * u - 1.5;
    }
}

static void keep(const Checker *c, const char *where, const double *at, int64_t n)
{
    Record r = {where, SNL_NEW_ARRAY(c->arena, double, (size_t)n), (size_t)n};
    if (n) memcpy(r.at, at, (size_t)n * sizeof *at);
    SNL_PUSH(c->arena, &c->result->records, r);
}

static SnlStatus call(const Checker *c, const SnlFunc *f, int64_t pos, int64_t rows)
{
    SnlTensor *args = SNL_NEW_ARRAY(c->arena, SnlTensor, f->n_param);
    SnlTensor *results = SNL_NEW_ARRAY(c->arena, SnlTensor, f->n_result);
    for (size_t i = 0; i < f->n_param; i++) fill_argument(c, f, i, pos, rows, &args[i]);
    SNL_TRY(snl_eval_call(c->eval, f, args, NULL, rows, results));
    for (size_t i = 0; i < f->n_result; i++)
        keep(c,
             snl_arena_printf(c->arena, "@%s: result %zu of T = %lld at position %lld", f->name, i,
                              (long long)rows, (long long)pos),
             results[i].at, snl_type_elems(results[i].type, rows));
    return SNL_OK;
}

static SnlStatus call_run(const Checker *c, const SnlFunc *f, const Run *run)
{
    int64_t limit = snl_attr_int(&f->attrs, "tokens", INT64_MAX), pos = 0;
    if (c->single) limit = 1;
    snl_eval_reset(c->eval);
    for (int i = 0; i < 2; i++) {
        int64_t rows = run->rows[i] < limit ? run->rows[i] : limit;
        if (rows > c->context - pos) break;
        SNL_TRY(call(c, f, pos, rows));
        pos += rows;
    }
    for (size_t i = 0; i < c->m->states.n; i++) {
        const SnlState *s = c->m->states.at[i];
        keep(c,
             snl_arena_printf(c->arena, "@%s: state @%s after %lld positions", f->name, s->name,
                              (long long)pos),
             snl_eval_state(c->eval, s), snl_type_elems(s->type, 1));
    }
    return SNL_OK;
}

SnlStatus snl_check_evaluate(SnlArena *arena, const SnlModule *m, SnlWeightSource *source,
                             uint64_t seed, SnlDiag *diag, SnlCheckResult **out)
{
    Checker c = {.arena = arena, .m = m, .seed = scramble(seed)};
    *out = c.result = SNL_NEW(arena, SnlCheckResult);
    find_limits(&c);
    SnlWeightSource *made = source ? NULL : snl_random_source_create(arena, seed);
    c.eval = snl_eval_create(m, source ? source : made, diag);
    SnlStatus status = SNL_OK;
    for (const SnlFunc *f = m->first; f && status == SNL_OK; f = f->next)
        for (size_t i = 0; f->kind == SNL_FUNC && i < N_RUNS && status == SNL_OK; i++)
            status = call_run(&c, f, &runs[i]);
    snl_eval_destroy(c.eval);
    if (made && made->destroy) made->destroy(made);
    return status;
}

static const Record *find_record(const SnlCheckResult *result, const char *where)
{
    for (size_t i = 0; i < result->records.n; i++)
        if (strcmp(result->records.at[i].where, where) == 0) return &result->records.at[i];
    return NULL;
}

static double record_error(const Record *a, const Record *b)
{
    double largest = 1e-12, worst = 0;
    if (a->n != b->n) return 1e300;
    for (size_t i = 0; i < a->n; i++) largest = fmax(largest, fabs(a->at[i]));
    for (size_t i = 0; i < a->n; i++) {
        double d = fabs(a->at[i] - b->at[i]);
        if (!(d <= 1e300)) return 1e300;
        if (d > worst) worst = d;
    }
    return worst / largest;
}

SnlCheckError snl_check_compare(SnlArena *arena, const SnlCheckResult *before,
                                const SnlCheckResult *after)
{
    SnlCheckError worst = {0, "nothing", 0};
    for (size_t i = 0; i < before->records.n; i++) {
        const Record *a = &before->records.at[i], *b = find_record(after, a->where);
        if (!b) continue;
        double error = record_error(a, b);
        worst.n_compared++;
        if (error > worst.error)
            worst.error = error, worst.where = snl_arena_strdup(arena, a->where);
    }
    return worst;
}
