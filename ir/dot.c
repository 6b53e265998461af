/* ir/dot.c -- a function as Graphviz text: operations as boxes, values as edges with their types.
 */
#include "ir/ir.h"

#include <stdlib.h>

/* `text` inside a quoted DOT string. */
static void print_escaped(const char *text, FILE *out)
{
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\') fputc('\\', out);
        fputc(*c, out);
    }
}

/* The op's line of text as a label; weights and states are named in it. */
static void print_op_node(const SnlOp *op, size_t number, FILE *out)
{
    char *text = NULL;
    size_t n = 0;
    FILE *line = open_memstream(&text, &n);
    SNL_ASSERT(line);
    snl_print_op(op, line);
    SNL_ASSERT(fclose(line) == 0);
    fprintf(out, "  op%zu [label=\"", number);
    print_escaped(text, out);
    fputs(snl_op_info[op->code].flags & SNL_PURE ? "\"];\n" : "\", style=bold];\n", out);
    free(text);
}

static void print_edges(const SnlOp *op, size_t number, const size_t *maker, FILE *out)
{
    for (size_t i = 0; i < op->n_in; i++) {
        const SnlValue *v = snl_in(op, i);
        if (v->def)
            fprintf(out, "  op%zu -> op%zu [label=\"%%%s: ", maker[v->id], number, v->name);
        else
            fprintf(out, "  p%zu -> op%zu [label=\"%%%s: ", maker[v->id], number, v->name);
        snl_print_type(v->type, out);
        fputs("\"];\n", out);
    }
}

void snl_print_dot(const SnlFunc *func, FILE *out)
{
    /* Value id -> number of its op (or of its parameter). */
    size_t *maker = snl_xmalloc((func->n_values + 1) * sizeof *maker);
    fprintf(out, "digraph \"%s\" {\n  node [shape=box, fontname=\"monospace\"];\n", func->name);
    for (size_t i = 0; i < func->n_param; i++) {
        maker[func->param[i]->id] = i;
        fprintf(out, "  p%zu [shape=ellipse, label=\"%%%s\"];\n", i, func->param[i]->name);
    }
    size_t number = 0;
    for (const SnlOp *op = func->first; op; op = op->next, number++) {
        print_op_node(op, number, out);
        print_edges(op, number, maker, out);
        for (size_t i = 0; i < op->n_out; i++) maker[op->out[i]->id] = number;
    }
    fputs("}\n", out);
    free(maker);
}
