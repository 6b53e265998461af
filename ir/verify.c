/* ir/verify.c -- is this module sound? Names, states, signatures, bodies. Weight expressions are in
 * verify_weights.c, what only shows across calls in verify_calls.c.
 *
 * Works on modules from the parser (texts of any content) and from passes (whose mistakes it is
 * there to catch): everything that is followed is checked first. Reports up to
 * SNL_VERIFY_MAX_ERRORS. */
#include "ir/verify.h"

#include "ir/lex.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void snl_verify_fail(SnlVerify *v, SnlDiagKind kind, SnlLoc loc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *text = snl_arena_vprintf(v->scratch, fmt, args);
    va_end(args);
    snl_error(v->diag, kind, loc, "%s", text);
    v->errors++;
}

static const char *text_of(SnlVerify *v, const SnlType *t)
{
    return snl_type_text(v->scratch, t);
}

/* ---- names ----------------------------------------------------------------------------------- */

typedef struct Name {
    const char *text;
    SnlLoc loc;
    size_t order;
} Name;

typedef SnlVec(Name) Names;

static int compare_names(const void *a, const void *b)
{
    const Name *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static void add_name(SnlVerify *v, Names *names, const char *text, SnlLoc loc)
{
    Name name = {text, loc, names->n};
    SNL_PUSH(v->scratch, names, name);
}

static void check_names(SnlVerify *v, Names *names, char sigil)
{
    for (size_t i = 0; i < names->n && !snl_verify_full(v); i++)
        if (!snl_name_valid(names->at[i].text))
            snl_verify_fail(v, SNL_E_NAME, names->at[i].loc,
                            "'%c%s' is no name: letters, digits, '_' and '.', at most 255", sigil,
                            names->at[i].text);
    if (names->n > 1) qsort(names->at, names->n, sizeof *names->at, compare_names);
    for (size_t i = 1; i < names->n && !snl_verify_full(v); i++)
        if (strcmp(names->at[i - 1].text, names->at[i].text) == 0)
            snl_verify_fail(v, SNL_E_NAME, names->at[i].loc,
                            "'%c%s' is defined twice: choose another name", sigil,
                            names->at[i].text);
}

/* Weights, states and functions share one set of names. */
static void check_module_names(SnlVerify *v)
{
    const SnlModule *m = v->m;
    Names names = {0};
    if (!snl_name_valid(m->name))
        snl_verify_fail(v, SNL_E_NAME, SNL_NO_LOC, "'@%s' is no name for a module", m->name);
    for (size_t i = 0; i < m->weights.n; i++)
        add_name(v, &names, m->weights.at[i]->name, m->weights.at[i]->loc);
    for (size_t i = 0; i < m->states.n; i++)
        add_name(v, &names, m->states.at[i]->name, m->states.at[i]->loc);
    for (const SnlFunc *f = m->first; f; f = f->next) add_name(v, &names, f->name, f->loc);
    check_names(v, &names, '@');
}

static void check_func_names(SnlVerify *v, const SnlFunc *f)
{
    Names values = {0}, states = {0};
    for (size_t i = 0; i < f->n_param; i++)
        add_name(v, &values, f->param[i]->name, f->param[i]->loc);
    for (const SnlOp *op = f->first; op; op = op->next)
        for (size_t i = 0; i < op->n_out; i++)
            add_name(v, &values, op->out[i]->name, op->out[i]->loc);
    for (size_t i = 0; i < f->n_state_param; i++)
        add_name(v, &states, f->state_param[i]->name, f->state_param[i]->loc);
    check_names(v, &values, '%');
    check_names(v, &states, '@');
}

/* ---- attributes without a table: those of modules and functions ------------------------------ */

static bool finite_value(const SnlAttrValue *value)
{
    if (value->kind == SNL_ATTR_REAL) return isfinite(value->r);
    for (size_t i = 0; value->kind == SNL_ATTR_LIST && i < value->list.n; i++)
        if (!finite_value(&value->list.at[i])) return false;
    return true;
}

static void check_finite(SnlVerify *v, const SnlAttrs *attrs, SnlLoc loc)
{
    for (size_t i = 0; i < attrs->n; i++)
        if (!finite_value(&attrs->at[i].value))
            snl_verify_fail(v, SNL_E_ATTR, loc, "attribute '%s' must be finite", attrs->at[i].key);
}

/* ---- states and signatures ------------------------------------------------------------------- */

static void check_states(SnlVerify *v)
{
    for (size_t i = 0; i < v->m->states.n && !snl_verify_full(v); i++) {
        const SnlState *s = v->m->states.at[i];
        SnlDtype dtype = s->type->dtype;
        bool cache = s->type->rank == 4 && (dtype == SNL_F16 || dtype == SNL_Q8_0);
        if ((dtype != SNL_F32 && !cache) || s->type->rank == 0 || snl_type_has_t(s->type))
            snl_verify_fail(v, SNL_E_TYPE, s->loc,
                            "state '@%s': found %s, wanted a tensor of f32, or a cache "
                            "[2, G, C, d] of f32, f16 or q8_0",
                            s->name, text_of(v, s->type));
    }
}

/* Values are an index, token ids i32[T], or rows f32[T, D] and f32[T, M, D]. */
static bool value_type(const SnlType *t)
{
    unsigned flags = snl_dtype_info[t->dtype].flags;
    if (t->dtype == SNL_INDEX) return t->rank == 0;
    if (t->dtype == SNL_I32) return t->rank == 1 && snl_type_has_t(t);
    return (flags & SNL_DT_FLOAT) && !(flags & SNL_DT_BLOCKED) && snl_type_has_t(t) &&
           (t->rank == 2 || t->rank == 3);
}

static void check_value_type(SnlVerify *v, const SnlType *t, SnlLoc loc, const char *what)
{
    if (value_type(t)) return;
    snl_verify_fail(v, SNL_E_TYPE, loc,
                    "%s: found %s, wanted index, i32[T], f32[T, D] or f32[T, M, D]", what,
                    text_of(v, t));
}

static void check_surrogate(SnlVerify *v, const SnlFunc *f)
{
    if (f->surrogate == SNL_SURROGATE_NONE) return;
    const SnlType *h = f->n_param ? f->param[0]->type : NULL;
    if (!h || f->n_result != 1 || f->result[0] != h || h->rank < 2) {
        snl_verify_fail(v, SNL_E_TYPE, f->loc,
                        "'@%s' has a surrogate: wanted one result of its first parameter's type",
                        f->name);
        return;
    }
    const SnlWeight *w = f->surrogate_weight;
    const SnlType *t = w ? w->type : NULL;
    int64_t D = snl_type_width(h), S = snl_type_members(h);
    bool diag = f->surrogate == SNL_SURROGATE_DIAG, streams = f->surrogate == SNL_SURROGATE_STREAMS;
    if (diag && !(t && t->rank == 1 && t->dim[0] == D))
        snl_verify_fail(v, SNL_E_SHAPE, f->loc,
                        "surrogate diag of '@%s': found %s, wanted shape [%lld]", f->name,
                        t ? text_of(v, t) : "nothing", (long long)D);
    if (streams && !(t && t->rank == 2 && t->dim[0] == S && t->dim[1] == S))
        snl_verify_fail(v, SNL_E_SHAPE, f->loc,
                        "surrogate streams of '@%s': found %s, wanted shape [%lld, %lld]", f->name,
                        t ? text_of(v, t) : "nothing", (long long)S, (long long)S);
}

static void check_signature(SnlVerify *v, const SnlFunc *f)
{
    for (size_t i = 0; i < f->n_param; i++)
        check_value_type(v, f->param[i]->type, f->param[i]->loc, "parameter");
    for (size_t i = 0; i < f->n_result; i++) check_value_type(v, f->result[i], f->loc, "result");
    if (f->kind == SNL_LAYER && f->n_param == 0)
        snl_verify_fail(v, SNL_E_STRUCTURE, f->loc, "layer '@%s' has no value parameter", f->name);
    if (f->kind == SNL_FUNC && f->n_state_param > 0)
        snl_verify_fail(v, SNL_E_STRUCTURE, f->loc,
                        "func '@%s' has state parameters: only layers have them, a func names the "
                        "module's states",
                        f->name);
    if (f->kind == SNL_FUNC && f->surrogate != SNL_SURROGATE_NONE)
        snl_verify_fail(v, SNL_E_STRUCTURE, f->loc,
                        "func '@%s' has a surrogate: only layers have one", f->name);
    check_surrogate(v, f);
    check_finite(v, &f->attrs, f->loc);
}

/* ---- bodies ---------------------------------------------------------------------------------- */

typedef struct Body {
    SnlVerify *v;
    const SnlFunc *f;
    const SnlValue **seen; /* by value id: defined so far */
} Body;

static bool define(Body *b, const SnlValue *value, const SnlOp *def, SnlLoc loc)
{
    bool sound = value->id < b->f->n_values && !b->seen[value->id] && value->def == def;
    if (sound)
        b->seen[value->id] = value;
    else
        snl_verify_fail(b->v, SNL_E_STRUCTURE, loc,
                        "'%%%s' is not numbered or owned as it should be", value->name);
    return sound;
}

static bool check_operands(Body *b, const SnlOp *op)
{
    for (size_t i = 0; i < op->n_in; i++) {
        const SnlUse *use = &op->in[i];
        const SnlValue *value = use->value;
        bool linked = value && use->user == op && use->link && *use->link == use;
        if (!linked) {
            snl_verify_fail(b->v, SNL_E_STRUCTURE, op->loc, "%s: operand %zu is not in a use list",
                            snl_op_info[op->code].text, i);
            return false;
        }
        if (value->id < b->f->n_values && b->seen[value->id] == value) continue;
        snl_verify_fail(b->v, SNL_E_STRUCTURE, op->loc, "%s: '%%%s' is used before it is defined",
                        snl_op_info[op->code].text, value->name);
        return false;
    }
    return true;
}

/* A layer touches only what is bound to it; a func names the module's states. */
static bool check_state(Body *b, const SnlOp *op, const SnlState *s)
{
    const SnlFunc *f = b->f;
    bool param = s->id < f->n_state_param && f->state_param[s->id] == s;
    bool module = s->id < b->v->m->states.n && b->v->m->states.at[s->id] == s;
    if (param || (module && f->kind == SNL_FUNC)) return true;
    snl_verify_fail(
        b->v, SNL_E_STRUCTURE, op->loc,
        module ? "%s: layer '@%s' touches state '@%s' of the module: bind it to a parameter"
               : "%s: '@%s' has no state '@%s'",
        snl_op_info[op->code].text, f->name, s->name);
    return false;
}

static bool check_weight(Body *b, const SnlOp *op, const SnlWeight *w)
{
    if (w->id < b->v->m->weights.n && b->v->m->weights.at[w->id] == w) return true;
    snl_verify_fail(b->v, SNL_E_STRUCTURE, op->loc, "%s: weight '@%s' is not in the module",
                    snl_op_info[op->code].text, w->name);
    return false;
}

static bool check_bound_layer(Body *b, const SnlOp *op, const SnlBinding *bind)
{
    const SnlFunc *layer = bind->layer;
    if (layer->kind != SNL_LAYER || snl_module_find_func(b->v->m, layer->name) != layer) {
        snl_verify_fail(b->v, SNL_E_STRUCTURE, op->loc, "%s: '@%s' is no layer of the module",
                        snl_op_info[op->code].text, layer->name);
        return false;
    }
    for (size_t i = 0; i < bind->n_state; i++)
        if (!check_state(b, op, bind->state[i])) return false;
    return true;
}

static bool check_attr_weights(Body *b, const SnlOp *op, const SnlAttrValue *value)
{
    if (value->kind == SNL_ATTR_WEIGHT) return check_weight(b, op, value->weight);
    for (size_t i = 0; value->kind == SNL_ATTR_LIST && i < value->list.n; i++)
        if (!check_attr_weights(b, op, &value->list.at[i])) return false;
    return true;
}

static bool check_symbols(Body *b, const SnlOp *op)
{
    for (size_t i = 0; i < op->attrs.n; i++)
        if (!check_attr_weights(b, op, &op->attrs.at[i].value)) return false;
    for (int g = 0; g < SNL_MAX_GROUPS; g++) {
        const SnlSymbols *sym = &op->sym[g];
        char letter = snl_op_group_letter(op->code, g);
        for (size_t i = 0; letter && i < sym->n; i++) {
            bool sound = letter == 'w'   ? check_weight(b, op, sym->weight[i])
                         : letter == 's' ? check_state(b, op, sym->state[i])
                                         : check_bound_layer(b, op, &sym->bind[i]);
            if (!sound) return false;
        }
    }
    return true;
}

static void check_results(Body *b, const SnlOp *op)
{
    SnlVerify *v = b->v;
    size_t n = snl_op_result_count(op);
    const SnlType **type = SNL_NEW_ARRAY(v->scratch, const SnlType *, n);
    if (snl_op_infer(op, v->diag, type) != SNL_OK) {
        v->errors++;
        return;
    }
    if (n != op->n_out) {
        snl_verify_fail(v, SNL_E_TYPE, op->loc, "%s: gives %zu results, found %zu names",
                        snl_op_info[op->code].text, n, op->n_out);
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (op->out[i]->type != type[i])
            snl_verify_fail(v, SNL_E_TYPE, op->out[i]->loc,
                            "%s: '%%%s' is declared %s, the operands give %s",
                            snl_op_info[op->code].text, op->out[i]->name,
                            text_of(v, op->out[i]->type), text_of(v, type[i]));
}

/* What attention_parts gives of parts that nobody sees is for attention_merge to pass over. */
static void check_parts(Body *b, const SnlOp *op)
{
    for (size_t i = 0; i < op->n_in && op->code != SNL_OP_ATTENTION_MERGE; i++)
        if (snl_in(op, i)->def && snl_in(op, i)->def->code == SNL_OP_ATTENTION_PARTS)
            snl_verify_fail(b->v, SNL_E_STRUCTURE, op->loc,
                            "%s: found '%%%s' of attention_parts, wanted attention_merge between",
                            snl_op_info[op->code].text, snl_in(op, i)->name);
}

static void check_op(Body *b, const SnlOp *op)
{
    if (op->code == SNL_OP_RETURN && op->next)
        snl_verify_fail(b->v, SNL_E_STRUCTURE, op->loc, "return must be the last operation");
    check_finite(b->v, &op->attrs, op->loc);
    if (check_operands(b, op) && check_symbols(b, op)) {
        check_parts(b, op);
        check_results(b, op);
    }
    for (size_t i = 0; i < op->n_out; i++) define(b, op->out[i], op, op->loc);
}

static void check_body(SnlVerify *v, const SnlFunc *f)
{
    Body b = {v, f, SNL_NEW_ARRAY(v->scratch, const SnlValue *, f->n_values)};
    for (size_t i = 0; i < f->n_param; i++) define(&b, f->param[i], NULL, f->loc);
    const SnlOp *prev = NULL;
    for (const SnlOp *op = f->first; op && !snl_verify_full(v); prev = op, op = op->next) {
        SNL_ASSERT(op->func == f && op->prev == prev);
        check_op(&b, op);
    }
    if (snl_verify_full(v)) return;
    if (!f->last || f->last->code != SNL_OP_RETURN)
        snl_verify_fail(v, SNL_E_STRUCTURE, f->loc, "'@%s' does not end with return", f->name);
}

SnlStatus snl_verify(const SnlModule *m, SnlDiag *diag)
{
    SnlVerify v = {m, diag, snl_arena_create(), 0};
    check_module_names(&v);
    check_finite(&v, &m->attrs, SNL_NO_LOC);
    check_states(&v);
    snl_verify_weights(&v);
    /* Bodies read the signatures of any function and the types of any weight: these come first. */
    for (const SnlFunc *f = m->first; f && !snl_verify_full(&v); f = f->next)
        check_signature(&v, f);
    bool sound = v.errors == 0;
    for (const SnlFunc *f = m->first; f && sound && !snl_verify_full(&v); f = f->next) {
        check_func_names(&v, f);
        check_body(&v, f);
    }
    if (v.errors == 0) snl_verify_calls(&v);
    snl_arena_destroy(v.scratch);
    return v.errors == 0 ? SNL_OK : SNL_BAD_INPUT;
}
