/* ir/print.c -- module to text. What it prints parses back to the same text (ir/IR.md, "Printing").
 */
#include "ir/attr_rules.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- numbers and strings --------------------------------------------------------------------- */

/* The shortest decimal form that reads back as `r`; a '.' or 'e' keeps it apart from an integer.
 * Positional between 1e-4 and 1e16, like most languages print reals. */
static void print_real(double r, FILE *out)
{
    char text[64];
    int digits = 0;
    for (; digits < 17; digits++) {
        snprintf(text, sizeof text, "%.*e", digits, r);
        if (strtod(text, NULL) == r) break;
    }
    const char *e = strchr(text, 'e');
    long exponent = e ? strtol(e + 1, NULL, 10) : 0;
    if (!e || exponent < -4 || exponent >= 16) {
        fputs(text, out);
        return;
    }
    long places = digits - exponent;
    fprintf(out, "%.*f", (int)(places < 1 ? 1 : places), r);
}

static void print_string(const char *text, FILE *out)
{
    fputc('"', out);
    for (const char *c = text; *c; c++) {
        unsigned char u = (unsigned char)*c;
        if (u == '"' || u == '\\')
            fprintf(out, "\\%c", u);
        else if (u == '\n')
            fputs("\\n", out);
        else if (u < 0x20 || u == 0x7f)
            fprintf(out, "\\x%02x", u);
        else
            fputc(u, out);
    }
    fputc('"', out);
}

/* ---- types ----------------------------------------------------------------------------------- */

void snl_print_type(const SnlType *type, FILE *out)
{
    fputs(snl_dtype_info[type->dtype].text, out);
    for (int i = 0; i < type->rank; i++) {
        fputs(i == 0 ? "[" : ", ", out);
        if (type->dim[i] == SNL_DIM_T)
            fputc('T', out);
        else
            fprintf(out, "%" PRId64, type->dim[i]);
    }
    if (type->rank > 0) fputc(']', out);
}

char *snl_type_text(SnlArena *arena, const SnlType *type)
{
    char dims[SNL_MAX_RANK * 24 + 4] = "";
    size_t n = 0;
    for (int i = 0; i < type->rank; i++) {
        const char *comma = i == 0 ? "[" : ", ";
        if (type->dim[i] == SNL_DIM_T)
            n += (size_t)snprintf(dims + n, sizeof dims - n, "%sT", comma);
        else
            n += (size_t)snprintf(dims + n, sizeof dims - n, "%s%" PRId64, comma, type->dim[i]);
    }
    return snl_arena_printf(arena, "%s%s%s", snl_dtype_info[type->dtype].text, dims,
                            type->rank ? "]" : "");
}

static void print_types(const SnlType *const *type, size_t n, FILE *out)
{
    for (size_t i = 0; i < n; i++) {
        if (i > 0) fputs(", ", out);
        snl_print_type(type[i], out);
    }
}

/* ---- attributes ------------------------------------------------------------------------------ */

static void print_value(const SnlAttrValue *value, FILE *out)
{
    switch (value->kind) {
    case SNL_ATTR_FLAG:
        break;
    case SNL_ATTR_INT:
        fprintf(out, "%" PRId64, value->i);
        break;
    case SNL_ATTR_REAL:
        print_real(value->r, out);
        break;
    case SNL_ATTR_WORD:
        fputs(value->s, out);
        break;
    case SNL_ATTR_STRING:
        print_string(value->s, out);
        break;
    case SNL_ATTR_WEIGHT:
        fprintf(out, "@%s", value->weight->name);
        break;
    case SNL_ATTR_LIST:
        fputc('[', out);
        for (size_t i = 0; i < value->list.n; i++) {
            if (i > 0) fputs(", ", out);
            print_value(&value->list.at[i], out);
        }
        fputc(']', out);
        break;
    }
}

/* ` {a = 1, flag}`, nothing when there are none. */
static void print_attrs(const SnlAttrs *attrs, FILE *out)
{
    for (size_t i = 0; i < attrs->n; i++) {
        fprintf(out, "%s%s", i == 0 ? " {" : ", ", attrs->at[i].key);
        if (attrs->at[i].value.kind == SNL_ATTR_FLAG) continue;
        fputs(" = ", out);
        print_value(&attrs->at[i].value, out);
    }
    if (attrs->n > 0) fputc('}', out);
}

/* ---- operations ------------------------------------------------------------------------------ */

static void print_binding(const SnlBinding *b, FILE *out)
{
    fprintf(out, "@%s", b->layer->name);
    for (size_t i = 0; i < b->n_state; i++)
        fprintf(out, "%s@%s", i == 0 ? "(" : ", ", b->state[i]->name);
    if (b->n_state > 0) fputc(')', out);
}

static void print_symbols(char letter, const SnlSymbols *sym, FILE *out)
{
    if (sym->list) fputc('[', out);
    for (size_t i = 0; i < sym->n; i++) {
        if (i > 0) fputs(", ", out);
        if (letter == 'w') fprintf(out, "@%s", sym->weight[i]->name);
        if (letter == 's') fprintf(out, "@%s", sym->state[i]->name);
        if (letter == 'l') print_binding(&sym->bind[i], out);
    }
    if (sym->list) fputc(']', out);
}

static void print_operands(const SnlOp *op, FILE *out)
{
    const char *comma = " ";
    for (size_t i = 0; i < op->n_in; i++) {
        fprintf(out, "%s%%%s", comma, snl_in(op, i)->name);
        comma = ", ";
    }
    for (int g = 0; g < SNL_MAX_GROUPS; g++) {
        if (op->sym[g].n == 0) continue;
        fputs(comma, out);
        print_symbols(snl_op_group_letter(op->code, g), &op->sym[g], out);
        comma = ", ";
    }
}

void snl_print_op(const SnlOp *op, FILE *out)
{
    for (size_t i = 0; i < op->n_out; i++)
        fprintf(out, "%s%%%s", i == 0 ? "" : ", ", op->out[i]->name);
    fprintf(out, "%s%s", op->n_out > 0 ? " = " : "", snl_op_info[op->code].text);
    print_operands(op, out);
    print_attrs(&op->attrs, out);
    for (size_t i = 0; i < op->n_out; i++) {
        fputs(i == 0 ? " : " : ", ", out);
        snl_print_type(op->out[i]->type, out);
    }
}

/* ---- declarations ---------------------------------------------------------------------------- */

static void print_params(const SnlFunc *func, FILE *out)
{
    const char *comma = "";
    for (size_t i = 0; i < func->n_param; i++) {
        fprintf(out, "%s%%%s: ", comma, func->param[i]->name);
        snl_print_type(func->param[i]->type, out);
        comma = ", ";
    }
    for (size_t i = 0; i < func->n_state_param; i++) {
        fprintf(out, "%s@%s: state", comma, func->state_param[i]->name);
        comma = ", ";
    }
}

static void print_surrogate(const SnlFunc *func, FILE *out)
{
    switch (func->surrogate) {
    case SNL_SURROGATE_NONE:
        break;
    case SNL_SURROGATE_IDENTITY:
        fputs(" surrogate identity", out);
        break;
    case SNL_SURROGATE_ZERO:
        fputs(" surrogate zero", out);
        break;
    case SNL_SURROGATE_DIAG:
        fprintf(out, " surrogate diag @%s", func->surrogate_weight->name);
        break;
    case SNL_SURROGATE_STREAMS:
        fprintf(out, " surrogate streams @%s", func->surrogate_weight->name);
        break;
    }
}

void snl_print_func(const SnlFunc *func, FILE *out)
{
    fprintf(out, "%s @%s(", func->kind == SNL_LAYER ? "layer" : "func", func->name);
    print_params(func, out);
    fputc(')', out);
    if (func->n_result > 0) fputs(" -> ", out);
    print_types(func->result, func->n_result, out);
    print_surrogate(func, out);
    if (func->attrs.n > 0) fputs(" attributes", out);
    print_attrs(&func->attrs, out);
    fputs(" {\n", out);
    for (const SnlOp *op = func->first; op; op = op->next) {
        fputs("  ", out);
        snl_print_op(op, out);
        fputc('\n', out);
    }
    fputs("}\n", out);
}

static void print_weight(const SnlWeight *w, FILE *out)
{
    fprintf(out, "weight @%s : ", w->name);
    snl_print_type(w->type, out);
    fprintf(out, " = %s", snl_wexpr_text(w->code));
    if (w->code == SNL_WEXPR_SOURCE) {
        fputc(' ', out);
        print_string(w->file, out);
        fputc(' ', out);
        print_string(w->tensor, out);
    }
    for (size_t i = 0; i < w->n_arg; i++)
        fprintf(out, "%s@%s", i == 0 ? "(" : ", ", w->arg[i]->name);
    if (w->n_arg > 0) fputc(')', out);
    print_attrs(&w->attrs, out);
    fputc('\n', out);
}

void snl_print(const SnlModule *m, FILE *out)
{
    fprintf(out, "module @%s", m->name);
    if (m->attrs.n > 0) fputs(" attributes", out);
    print_attrs(&m->attrs, out);
    fputc('\n', out);
    for (size_t i = 0; i < m->weights.n; i++) {
        if (i == 0) fputc('\n', out);
        print_weight(m->weights.at[i], out);
    }
    for (size_t i = 0; i < m->states.n; i++) {
        fprintf(out, "%sstate @%s : ", i == 0 ? "\n" : "", m->states.at[i]->name);
        snl_print_type(m->states.at[i]->type, out);
        fputc('\n', out);
    }
    for (const SnlFunc *f = m->first; f; f = f->next) {
        fputc('\n', out);
        snl_print_func(f, out);
    }
}

char *snl_print_to_string(SnlArena *arena, const SnlModule *m)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    SNL_ASSERT(out);
    snl_print(m, out);
    SNL_ASSERT(fclose(out) == 0);
    char *copy = snl_arena_strndup(arena, text, n);
    free(text);
    return copy;
}
