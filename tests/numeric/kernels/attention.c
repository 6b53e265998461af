/* tests/numeric/kernels/attention.c -- attention over a cache, its writer, and the row kept from
 * the call before. Positions advance from call to call (KERNEL_FILLED of them in all), so caches
 * are read. */
#include "kernel.h"

#include "support/support.h"

#include <stdbool.h>
#include <string.h>

typedef struct Shape {
    int heads, kv_heads, width;
} Shape;

/* Query heads per kv head: 1, 2, 3, 8, 12, 16, 5; widths around vectors. */
static const Shape shapes[] = {{1, 1, 8},  {3, 3, 1},   {4, 2, 8},   {6, 2, 6},  {8, 1, 16},
                               {12, 1, 4}, {24, 2, 17}, {16, 1, 33}, {5, 1, 64}, {2, 2, 128}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

static char *row(Kernel *k, int members, int width)
{
    return members > 1 ? kernel_text(k, "f32[T, %d, %d]", members, width)
                       : kernel_text(k, "f32[T, %d]", width);
}

/* Formats of caches; a kernel's name says which one its are. */
static const char *const cache_formats[] = {"f32", "f16", "q8_0"};
enum { N_FORMATS = 3 };

static Kernel *kernel_of(Support *s, const char *name, const char *format)
{
    Kernel *k = kernel_new(s->arena, NULL);
    k->name = kernel_text(k, "%s.%s", name, format);
    return k;
}

/* Odd widths end inside a vector: their last row is written, so that nothing hides behind it. */
static const char *cache(Kernel *k, Shape a)
{
    int context = a.width % 2 ? KERNEL_FILLED : KERNEL_CONTEXT;
    return kernel_state(k, "%s[2, %d, %d, %d]", strchr(k->name, '.') + 1, a.kv_heads, context,
                        a.width);
}

static char *caches(Kernel *k, Shape a, int members)
{
    if (members == 1) return snl_arena_strdup(k->arena, cache(k, a));
    char *list = "[";
    for (int m = 0; m < members; m++)
        list = kernel_text(k, "%s%s%s", list, m ? ", " : "", cache(k, a));
    return kernel_text(k, "%s]", list);
}

/* Writes its rows to the cache, then attends. */
static void attend(Kernel *k, Shape a, int members, const char *attrs)
{
    const char *q = kernel_param(k, "%s", row(k, members, a.heads * a.width));
    const char *key = kernel_param(k, "%s", row(k, members, a.kv_heads * a.width));
    const char *value = kernel_param(k, "%s", row(k, members, a.kv_heads * a.width));
    char *states = caches(k, a, members);
    kernel_effect(k, "kv_write %s, %s, %%pos, %s", key, value, states);
    kernel_result(k, row(k, members, a.heads * a.width),
                  "attention %s, %s, %s, %%pos, %s {heads = %d, kv_heads = %d%s}", q, key, value,
                  states, a.heads, a.kv_heads, attrs);
}

void kernels_attention_heads(void **state)
{
    for (int f = 0; f < N_FORMATS; f++) {
        Kernel *k = kernel_of(*state, "attention_heads", cache_formats[f]);
        for (int i = 0; i < N_SHAPES; i++) attend(k, shapes[i], 1, i % 2 ? ", scale = 0.3" : "");
        kernel_check(k, "f32", NULL);
    }
}

void kernels_attention_windows(void **state)
{
    static const int windows[] = {0, 1, 7, 15, 16, 30, 100};
    static const Shape some[] = {{4, 2, 8}, {12, 1, 4}, {3, 3, 9}};
    for (int f = 0; f < N_FORMATS; f++) {
        Kernel *k = kernel_of(*state, "attention_windows", cache_formats[f]);
        for (int i = 0; i < 7; i++)
            attend(k, some[i % 3], 1, kernel_text(k, ", window = %d", windows[i]));
        kernel_check(k, "f32", NULL);
    }
}

void kernels_attention_members(void **state)
{
    for (int f = 0; f < N_FORMATS; f++) {
        Kernel *k = kernel_of(*state, "attention_members", cache_formats[f]);
        for (int i = 0; i < N_SHAPES; i += 3) attend(k, shapes[i], 3, "");
        attend(k, shapes[2], 3, ", window = [2, 100, 0]");
        attend(k, shapes[3], 3, ", scale = 0.2, window = 5");
        attend(k, shapes[5], 2, ", window = [3, 9]");
        kernel_check(k, "f32", NULL);
    }
}

/* Processors without conversions of f16, and with other registers. */
void kernels_attention_levels(void **state)
{
    static const char *const cpus[] = {"x86-64", "x86-64-v2", "x86-64-v3", "native"};
    for (int f = 0; f < N_FORMATS; f++)
        for (int c = 0; c < 4; c++) {
            Kernel *k = kernel_of(*state, "attention_levels", cache_formats[f]);
            attend(k, (Shape){6, 2, 48}, 1, "");
            attend(k, (Shape){8, 1, 8}, 1, ", window = 9");
            kernel_check(k, "f32", cpus[c]);
        }
}

/* The cache holds other rows than the call's own, or nothing ever writes it, or the writer comes
 * later: own rows are k and v all the same. One set of rows serves all four: they differ in what is
 * around the attention, whose code is the same. */
static void attend_elsewhere(Kernel *k, Shape a, int members, const char *attrs)
{
    const char *q = kernel_param(k, "%s", row(k, members, a.heads * a.width));
    const char *kv = kernel_param(k, "%s", row(k, members, a.kv_heads * a.width));
    const char *other = kernel_param(k, "%s", row(k, members, a.kv_heads * a.width));
    for (int how = 0; how < 4; how++) {
        char *states = caches(k, a, members);
        if (how == 1) kernel_effect(k, "kv_write %s, %s, %%pos, %s", other, kv, states);
        if (how == 2) kernel_effect(k, "kv_write %s, %s, %%pos, %s", kv, other, states);
        kernel_result(k, row(k, members, a.heads * a.width),
                      "attention %s, %s, %s, %%pos, %s {heads = %d, kv_heads = %d%s}", q, kv, kv,
                      states, a.heads, a.kv_heads, attrs);
        if (how == 3) kernel_effect(k, "kv_write %s, %s, %%pos, %s", kv, kv, states);
    }
}

void kernels_attention_own_rows(void **state)
{
    for (int f = 0; f < N_FORMATS; f++) {
        Kernel *k = kernel_of(*state, "attention_own_rows", cache_formats[f]);
        for (int i = 0; i < N_SHAPES; i += 5) attend_elsewhere(k, shapes[i], 1, "");
        attend_elsewhere(k, shapes[6], 1, ""); /* widths of 17 and 33 */
        attend_elsewhere(k, shapes[7], 1, "");
        attend_elsewhere(k, shapes[2], 1, ", window = 3");
        attend_elsewhere(k, shapes[3], 3, ", window = [1, 20, 6]");
        kernel_check(k, "f32", NULL);
    }
}

/* Ops on one state keep the order of the text, although the later one's operands are there first.
 */
void kernels_effects_in_order(void **state)
{
    Support *s = *state;
    Kernel *k = kernel_new(s->arena, "effects_in_order");
    const char *x = kernel_param(k, "f32[T, 64]"), *then = kernel_param(k, "index");
    const char *slow =
        kernel_value(k, "f32[T, 96]", "linear %s, %s", x, kernel_weight(k, 0.2, "f32[96, 64]"));
    slow =
        kernel_value(k, "f32[T, 64]", "linear %s, %s", slow, kernel_weight(k, 0.2, "f32[64, 96]"));
    char *row = snl_arena_strdup(k->arena, kernel_state(k, "f32[64]"));
    char *kv = snl_arena_strdup(k->arena, kernel_state(k, "f32[2, 4, %d, 16]", KERNEL_CONTEXT));
    kernel_effect(k, "row_write %s, %%pos, %s", slow, row);
    kernel_result(k, "f32[T, 64]", "shift %s, %%pos, %s", x, row);
    kernel_effect(k, "row_write %s, %%pos, %s", x, row);
    kernel_effect(k, "kv_write %s, %s, %%pos, %s", slow, slow, kv);
    kernel_result(k, "f32[T, 64]", "attention %s, %s, %s, %%pos, %s {heads = 4}", x, slow, slow,
                  kv);
    kernel_effect(k, "kv_write %s, %s, %%pos, %s", x, x, kv);
    kernel_result(k, "f32[T, 64]", "attention %s, %s, %s, %s, %s {heads = 4}", x, x, x, then, kv);
    char *other = snl_arena_strdup(k->arena, kernel_state(k, "f32[2, 4, %d, 16]", KERNEL_CONTEXT));
    kernel_effect(k, "kv_write %s, %s, %%pos, %s", slow, x, other);
    kernel_result(k, "f32[T, 64]", "attention %s, %s, %s, %s, %s {heads = 4}", x, slow, x, then,
                  other);
    kernel_check(k, "f32", NULL);
}

/* shift before row_write reads what the call before left; behind it, what this call has written. */
void kernels_rows_kept(void **state)
{
    Support *s = *state;
    static const int widths[] = {1, 7, 16, 17, 100};
    Kernel *k = kernel_new(s->arena, "rows_kept");
    for (int i = 0; i < 5; i++)
        for (int first = 0; first < 2; first++) {
            const char *x = kernel_param(k, "f32[T, %d]", widths[i]);
            char *type = row(k, 1, widths[i]);
            const char *kept = kernel_state(k, "f32[%d]", widths[i]);
            const char *y = kernel_value(k, type, "silu %s", x);
            if (first) kernel_effect(k, "row_write %s, %%pos, %s", y, kept);
            kernel_result(k, type, "shift %s, %%pos, %s", y, kept);
            if (!first) kernel_effect(k, "row_write %s, %%pos, %s", y, kept);
        }
    for (int i = 0; i < 2; i++) { /* streams, and a part of each */
        const char *x = kernel_param(k, "f32[T, 3, 20]"),
                   *kept = kernel_state(k, "f32[3, %d]", 20 - 7 * i);
        if (i) x = kernel_value(k, "f32[T, 3, 13]", "slice %s {begin = 5, end = 18}", x);
        kernel_result(k, row(k, 3, 20 - 7 * i), "shift %s, %%pos, %s", x, kept);
        kernel_effect(k, "row_write %s, %%pos, %s", x, kept);
    }
    kernel_check(k, "f32", NULL);
}
