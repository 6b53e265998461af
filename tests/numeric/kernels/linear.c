/* tests/numeric/kernels/linear.c -- linear and embed: every size, format, member form and bias. */
#include "kernel.h"

#include "support/support.h"

#include <stdbool.h>
#include <string.h>

/* Output rows F and inputs K around a panel (16 rows), a line (1 or 2 inputs) and a round of 8
 * lines. N_ENDS of them end at every place of a panel, a register tile and a block; N_SOME are
 * enough for the forms that differ in addresses only, N_LEAST for what all of these have shown
 * elsewhere. The third is odd all over: panels and part of one, blocks and part of one, pairs and
 * half of one. (The calls' tokens are 5, 13 and 11 among others: tiles and part of one.) */
static const struct {
    int f, k;
} sizes[] = {{97, 100}, {15, 81}, {43, 171}, {16, 33}, {33, 7}, {48, 256},
             {17, 15},  {1, 1},   {16, 16},  {1, 300}, {300, 1}};
enum { N_SIZES = sizeof sizes / sizeof sizes[0], N_ENDS = 6, N_SOME = 4, N_LEAST = 3 };

typedef struct Form {
    const char *name;
    int members; /* 0: one weight, not a list */
    bool own, reduce, bias;
} Form;

static const Form forms[] = {
    {"linear", 0, false, false, false},
    {"linear_bias", 0, false, false, true},
    {"linear_shared3", 3, false, false, false},
    {"linear_own3_bias", 3, true, false, true},
    {"linear_own3_reduce", 3, true, true, false},
    {"linear_shared3_reduce_bias", 3, false, true, true},
    {"linear_own1_reduce", 1, false, true, false},
};

static char *weight_list(Kernel *k, const Form *form, double scale, const char *type)
{
    if (!form->members) return snl_arena_strdup(k->arena, kernel_weight(k, scale, "%s", type));
    char *list = "[";
    for (int m = 0; m < form->members; m++)
        list = kernel_text(k, "%s%s%s", list, m ? ", " : "", kernel_weight(k, scale, "%s", type));
    return kernel_text(k, "%s]", list);
}

static char *rows_type(Kernel *k, int members, int width)
{
    return members > 1 ? kernel_text(k, "f32[T, %d, %d]", members, width)
                       : kernel_text(k, "f32[T, %d]", width);
}

static Kernel *linears(SnlArena *arena, const Form *form, int n_sizes)
{
    Kernel *k = kernel_new(arena, form->name);
    for (int i = 0; i < n_sizes; i++) {
        int F = sizes[i].f, K = sizes[i].k;
        const char *x = kernel_param(k, "%s", rows_type(k, form->own ? form->members : 1, K));
        char *args = kernel_text(k, "%s, %s", x,
                                 weight_list(k, form, 0.3, kernel_text(k, "f32[%d, %d]", F, K)));
        if (form->bias)
            args = kernel_text(k, "%s, %s", args,
                               weight_list(k, form, 1.0, kernel_text(k, "f32[%d]", F)));
        kernel_result(k, rows_type(k, form->reduce ? 1 : form->members, F), "linear %s%s", args,
                      form->reduce ? " {reduce}" : "");
    }
    return k;
}

/* Every size without a bias, which is one more addition at the end. */
static void every_form(SnlArena *arena, const char *format)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        int n_sizes = i == 0 ? N_SIZES : forms[i].members ? N_SOME : N_ENDS;
        kernel_check(linears(arena, &forms[i], n_sizes), format, NULL);
    }
}

void kernels_linear(void **state)
{
    Support *s = *state;
    for (int f = 0; f < 3; f++) every_form(s->arena, kernel_formats[f]);
}

/* With dot products of pairs where this machine has them, and without. */
void kernels_bf16_levels(void **state)
{
    Support *s = *state;
    static const char *const cpus[] = {"x86-64", "x86-64-v3", "native"};
    static const int which[] = {0, 3, 4}, n_sizes[] = {N_SIZES, N_LEAST, N_LEAST};
    for (int f = 0; f < 3; f++)
        for (int i = 0; i < 3; i++)
            kernel_check(linears(s->arena, &forms[which[f]], n_sizes[f]), "bf16", cpus[i]);
}

/* A row's bits do not depend on its place in a block, that is, in a register tile. */
void kernels_rows_alike(void **state)
{
    Support *s = *state;
    static const char *const formats[] = {"f32", "bf16", "f16", "q8_0", "q4_0"};
    static const char *const cpus[] = {"x86-64", "x86-64-v3", "native"};
    for (int f = 0; f < 5; f++)
        for (int i = 0; i < 3; i++)
            kernel_check_equal_rows(linears(s->arena, &forms[1], N_ENDS), formats[f], cpus[i]);
}

/* Vocabularies that end inside a panel, each id anywhere in them. */
static void embeds(SnlArena *arena, const char *format)
{
    static const int rows[] = {1, 17, 300}, widths[] = {1, 15, 16, 17, 130};
    for (size_t v = 0; v < 3; v++) {
        Kernel *k = kernel_new(arena, "embed");
        for (size_t d = 0; d < 5; d++) {
            const char *ids = kernel_param(k, "i32[T]");
            kernel_result(k, kernel_text(k, "f32[T, %d]", widths[d]), "embed %s, %s", ids,
                          kernel_weight(k, 1.0, "f32[%d, %d]", rows[v], widths[d]));
        }
        kernel_check(k, format, NULL);
    }
}

void kernels_embed(void **state)
{
    Support *s = *state;
    for (int f = 0; f < 3; f++) embeds(s->arena, kernel_formats[f]);
}

/* Blocks of 32 inputs: the sizes end rows inside a block and inside a panel. */
void kernels_blocks(void **state)
{
    Support *s = *state;
    for (int f = 0; f < 2; f++) {
        every_form(s->arena, kernel_block_formats[f]);
        embeds(s->arena, kernel_block_formats[f]);
    }
}

/* By parts of the inputs, for one token: parts all alike and a short last one, an odd number of
 * blocks, rows that end inside a panel. */
static Kernel *parts(SnlArena *arena)
{
    static const struct {
        int f, k, part;
    } cases[] = {{64, 172, 96}, {33, 100, 32}, {17, 65, 32}, {64, 128, 32}, {43, 171, 64},
                 {48, 256, 64}, {300, 96, 32}, {16, 64, 64}, {1, 40, 32}};
    Kernel *k = kernel_new(arena, "parts");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int F = cases[i].f, K = cases[i].k, part = cases[i].part;
        kernel_result(k, kernel_text(k, "f32[T, %d, %d]", (K + part - 1) / part, F),
                      "linear %s, %s {part = %d}", kernel_param(k, "f32[T, %d]", K),
                      kernel_weight(k, 0.3, "f32[%d, %d]", F, K), part);
    }
    return k;
}

void kernels_parts(void **state)
{
    Support *s = *state;
    static const char *const cpus[] = {"x86-64", "x86-64-v3", "native"};
    for (int f = 0; f < 3; f++) kernel_check_decode(parts(s->arena), kernel_formats[f], NULL);
    for (int f = 0; f < 2; f++)
        for (int i = 0; i < 3; i++)
            kernel_check_decode(parts(s->arena), kernel_block_formats[f], cpus[i]);
}

/* Weights of 1, of -1, and of blocks whose first is the largest, so that q4_0 has -8 and 7 in them;
 * inputs are 1 and -1. */
static const char extremes[] = "module @extremes\n"
                               "weight @p : f32[17, 171] = fill {value = 1.0}\n"
                               "weight @n : f32[9, 171] = fill {value = -1.0}\n"
                               "weight @a : f32[17, 1] = fill {value = -1.0}\n"
                               "weight @b : f32[17, 31] = fill {value = 0.875}\n"
                               "weight @c : f32[17, 11] = fill {value = -1.0}\n"
                               "weight @m : f32[17, 171] = concat(@a, @b, @a, @b, @a, @b, @a, @b, "
                               "@a, @b, @c) {axis = 1}\n"
                               "weight @w : f32[43, 171] = concat(@p, @n, @m) {axis = 0}\n"
                               "func @f(%x: f32[T, 171]) -> f32[T, 43] {\n"
                               "  %y = linear %x, @w : f32[T, 43]\n"
                               "  return %y\n}\n";

/* Sums of all bytes at their largest, wherever a kernel adds two or four of them up. */
void kernels_blocks_extremes(void **state)
{
    Support *s = *state;
    static const char *const cpus[] = {"x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4", "native"};
    for (int i = 0; i < 5; i++)
        for (int f = 0; f < 2 && support_runs_here(cpus[i]); f++)
            kernel_check_signs(s->arena, "extremes", extremes, kernel_block_formats[f], cpus[i]);
}

/* Without byte dots, and with each kind of them that this machine has. */
void kernels_blocks_levels(void **state)
{
    Support *s = *state;
    static const char *const cpus[] = {"x86-64", "x86-64-v2", "x86-64-v3", "native"};
    for (int f = 0; f < 2; f++)
        for (int i = 0; i < 4; i++)
            kernel_check(linears(s->arena, &forms[4], N_LEAST), kernel_block_formats[f], cpus[i]);
}
