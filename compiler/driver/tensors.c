/* compiler/driver/tensors.c -- weights by class, with what their formats cost. */
#include "compiler/driver/tensors.h"

#include "compiler/driver/summary.h"
#include "passes/heads.h"

#include <inttypes.h>
#include <string.h>

enum { MOST_CLASSES = 24 }; /* that are printed by themselves */

/* ---- classes --------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* What a stored weight is called before it is cast. */
static const char *tensor_name(const SnlWeight *w)
{
    return w->code == SNL_WEXPR_CAST ? w->arg[0]->name : w->name;
}

/* "l12.wqkv" -> "l*.wqkv": numbers that end a part of the name count layers. */
static const char *class_name(SnlArena *arena, const char *name)
{
    char *text = SNL_NEW_ARRAY(arena, char, strlen(name) + 1), *to = text;
    for (const char *c = name; *c;) {
        const char *digits = c;
        while (is_digit(*c)) c++;
        if (c > digits && (*c == '.' || !*c)) {
            *to++ = '*';
        } else {
            memcpy(to, digits, (size_t)(c - digits));
            to += c - digits;
        }
        if (*c && !is_digit(*c)) *to++ = *c++;
    }
    *to = '\0';
    return text;
}

/* By weight id: rows are read from it. */
static bool *embeddings(SnlArena *arena, const SnlModule *m)
{
    bool *is_embed = SNL_NEW_ARRAY(arena, bool, m->weights.n);
    for (const SnlFunc *f = m->first; f; f = f->next)
        for (const SnlOp *op = f->first; op; op = op->next)
            for (size_t i = 0; op->code == SNL_OP_EMBED && i < op->sym[0].n; i++)
                is_embed[op->sym[0].weight[i]->id] = true;
    return is_embed;
}

typedef struct Collector {
    SnlArena *arena;
    const bool *is_head, *is_embed;
    SnlVec(SnlTensorClass) classes;
    SnlTensorClass plain;
} Collector;

static SnlTensorClass *class_of(Collector *c, const SnlPackedWeight *w)
{
    if (w->layout == SNL_LAYOUT_PLAIN) return &c->plain;
    SnlTensorClass new = {.name = class_name(c->arena, tensor_name(w->weight)),
                          .head = c->is_head[w->weight->id],
                          .embed = c->is_embed[w->weight->id],
                          .dtype = w->weight->type->dtype};
    for (size_t i = 0; i < c->classes.n; i++) {
        SnlTensorClass *old = &c->classes.at[i];
        if (strcmp(old->name, new.name) == 0 && old->dtype == new.dtype && old->head == new.head)
            return old;
    }
    SNL_PUSH(c->arena, &c->classes, new);
    return &c->classes.at[c->classes.n - 1];
}

static void add_tensor(SnlTensorClass *class, const SnlPackedWeight *w, const SnlWritten *written)
{
    double error = snl_rounding_relative(&written->rounding);
    class->n++;
    class->nbytes += w->nbytes;
    snl_rounding_join(&class->rounding, &written->rounding);
    if (error <= class->worst_error) return;
    class->worst = w;
    class->worst_error = error;
}

SnlTensorClasses snl_tensor_classes(SnlArena *arena, const SnlModule *m, const SnlPayload *payload,
                                    const SnlWritten *written)
{
    Collector c = {.arena = arena,
                   .is_head = snl_head_weights(arena, m),
                   .is_embed = embeddings(arena, m),
                   .plain = {.name = "norms, biases, factors"}};
    for (size_t i = 0; i < payload->n; i++)
        add_tensor(class_of(&c, &payload->at[i]), &payload->at[i], &written[i]);
    if (c.plain.n) SNL_PUSH(arena, &c.classes, c.plain);
    return (SnlTensorClasses){c.classes.at, c.classes.n};
}

/* ---- printing -------------------------------------------------------------------------------- */

static const char *class_label(SnlArena *arena, const SnlTensorClass *class)
{
    const char *role = class->head && class->embed ? " (embedding, logits)"
                       : class->head              ? " (logits)"
                       : class->embed             ? " (embedding)"
                                                  : "";
    return snl_arena_printf(arena, "%s%s", class->name, role);
}

static const char *error_text(SnlArena *arena, double relative)
{
    if (relative <= 0) return "exact";
    return relative < 1e-5 ? "<0.001 %" : snl_arena_printf(arena, "%.3f %%", 100.0 * relative);
}

static int label_width(SnlArena *arena, const SnlTensorClasses *classes)
{
    size_t width = strlen("tensors");
    for (size_t i = 0; i < classes->n && i < MOST_CLASSES; i++) {
        size_t n = strlen(class_label(arena, &classes->at[i]));
        if (n > width) width = n;
    }
    return (int)width;
}

static void print_class(FILE *out, SnlArena *arena, const SnlTensorClass *class, int width)
{
    fprintf(out, "    %-*s %5" PRId64 "  %-6s  %10s  %8s", width, class_label(arena, class),
            class->n, snl_dtype_info[class->dtype].text, snl_bytes_text(arena, class->nbytes),
            error_text(arena, snl_rounding_relative(&class->rounding)));
    if (class->worst && class->n > 1)
        fprintf(out, "  worst %s %s", tensor_name(class->worst->weight),
                error_text(arena, class->worst_error));
    fputc('\n', out);
}

static void print_classes(FILE *out, SnlArena *arena, const SnlTensorClasses *classes)
{
    int width = label_width(arena, classes);
    fprintf(out, "    %-*s count  format        size     error\n", width, "tensors");
    for (size_t i = 0; i < classes->n && i < MOST_CLASSES; i++)
        print_class(out, arena, &classes->at[i], width);
    if (classes->n > MOST_CLASSES)
        fprintf(out, "    and %zu classes more (--tensors lists every tensor)\n",
                classes->n - MOST_CLASSES);
}

static void print_each(FILE *out, SnlArena *arena, const SnlPayload *payload,
                       const SnlWritten *written)
{
    int width = (int)strlen("tensor");
    for (size_t i = 0; i < payload->n; i++) {
        int n = (int)strlen(tensor_name(payload->at[i].weight));
        if (n > width) width = n;
    }
    fprintf(out, "    %-*s           shape  format       bytes     error\n", width, "tensor");
    for (size_t i = 0; i < payload->n; i++) {
        const SnlPackedWeight *w = &payload->at[i];
        SnlDtype dtype = w->layout == SNL_LAYOUT_PLAIN ? SNL_F32 : w->weight->type->dtype;
        fprintf(out, "    %-*s  %6" PRId64 " x %-6" PRId64 " %-6s  %10" PRId64 "  %8s\n", width,
                tensor_name(w->weight), snl_weight_rows(w->weight), snl_weight_cols(w->weight),
                snl_dtype_info[dtype].text, w->nbytes,
                error_text(arena, snl_rounding_relative(&written[i].rounding)));
    }
}

void snl_tensors_print(FILE *out, const SnlModule *m, const SnlPayload *payload,
                       const SnlWritten *written, bool each)
{
    SnlArena *arena = snl_arena_create();
    SnlTensorClasses classes = snl_tensor_classes(arena, m, payload, written);
    print_classes(out, arena, &classes);
    if (each) print_each(out, arena, payload, written);
    snl_arena_destroy(arena);
}
