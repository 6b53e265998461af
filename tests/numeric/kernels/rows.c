/* tests/numeric/kernels/rows.c -- the kernels that work row by row: norms, rotary embedding,
 * elementwise ops, streams, views and casts. */
#include "kernel.h"

#include "support/support.h"

#include <stdbool.h>
#include <string.h>

/* Around every vector width, odd and large. */
static const int widths[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 100, 257};
enum { N_WIDTHS = sizeof widths / sizeof widths[0] };

static char *row(Kernel *k, int width)
{
    return kernel_text(k, "f32[T, %d]", width);
}
static char *rows3(Kernel *k, int width)
{
    return kernel_text(k, "f32[T, 3, %d]", width);
}

/* "[a, b, c]" of three weights. */
static char *three(Kernel *k, int width)
{
    const char *a = kernel_weight(k, 1.0, "f32[%d]", width),
               *b = kernel_weight(k, 1.0, "f32[%d]", width);
    return kernel_text(k, "[%s, %s, %s]", a, b, kernel_weight(k, 1.0, "f32[%d]", width));
}

/* ---- rms_norm -------------------------------------------------------------------------------- */

static void norms_of_width(Kernel *k, int heads, int d)
{
    int width = heads * d;
    char *attrs =
        kernel_text(k, "{eps = 1e-05%s}", heads > 1 ? kernel_text(k, ", heads = %d", heads) : "");
    const char *x = kernel_param(k, "%s", row(k, width)),
               *own = kernel_param(k, "%s", rows3(k, width));
    kernel_result(k, row(k, width), "rms_norm %s %s", x, attrs);
    kernel_result(k, row(k, width), "rms_norm %s, %s %s", x, kernel_weight(k, 1.0, "f32[%d]", d),
                  attrs);
    kernel_result(k, rows3(k, width), "rms_norm %s, %s %s", x, three(k, d), attrs);
    kernel_result(k, rows3(k, width), "rms_norm %s, %s %s", own, three(k, d), attrs);
    kernel_result(k, rows3(k, width), "rms_norm %s %s", own, attrs);
}

void kernels_rms_norm(void **state)
{
    Support *s = *state;
    static const int heads[][2] = {{3, 8}, {5, 7}, {2, 16}, {4, 17}, {7, 1}, {2, 64}};
    Kernel *k = kernel_new(s->arena, "rms_norm");
    for (int i = 0; i < N_WIDTHS; i++) norms_of_width(k, 1, widths[i]);
    kernel_check(k, "f32", NULL);
    k = kernel_new(s->arena, "rms_norm_heads");
    for (int i = 0; i < 6; i++) norms_of_width(k, heads[i][0], heads[i][1]);
    kernel_check(k, "f32", NULL);
}

/* ---- rope ------------------------------------------------------------------------------------ */

void kernels_rope(void **state)
{
    Support *s = *state;
    static const int heads[][2] = {{1, 2},  {3, 8},  {2, 16}, {5, 6},
                                   {4, 34}, {1, 64}, {3, 14}, {2, 128}};
    static const char *const tables[] = {
        "theta = 10000.0", "inverse, theta = 100000.0",
        "factor = 4.0, scaling = linear, theta = 10000.0",
        ("factor = 8.0, high_freq_factor = 4.0, low_freq_factor = 1.0, original_context = 64, "
         "scaling = llama3, theta = 500000.0")};
    Kernel *k = kernel_new(s->arena, "rope");
    for (int i = 0; i < 8; i++) {
        int d = heads[i][1], width = heads[i][0] * d;
        const char *x = kernel_param(k, "%s", row(k, width)),
                   *own = kernel_param(k, "%s", rows3(k, width));
        const char *table =
            kernel_result(k, row(k, d), "rope_table %%pos {%s, width = %d}", tables[i % 4], d);
        const char *given = kernel_param(k, "%s", row(k, d));
        kernel_result(k, row(k, width), "rope %s, %s {heads = %d}", x, table, heads[i][0]);
        kernel_result(k, row(k, width), "rope %s, %s {heads = %d}", x, given, heads[i][0]);
        kernel_result(k, rows3(k, width), "rope %s, %s {heads = %d}", own, table, heads[i][0]);
    }
    kernel_check(k, "f32", NULL);
}

/* ---- elementwise ----------------------------------------------------------------------------- */

/* `n` operands, every third a coefficient of the model's. */
static void blend(Kernel *k, int n, int width, bool members)
{
    static const char *const numbers[] = {"1.0", "-1.0", "0.5", "-2.25", "2"};
    char *args = "", *coef = "";
    for (int i = 0; i < n; i++) {
        bool shared = members && i % 2 == 1;
        const char *type = members && !shared ? rows3(k, width) : row(k, width),
                   *comma = i ? ", " : "";
        args = kernel_text(k, "%s%s%s", args, comma, kernel_param(k, "%s", type));
        const char *by = i % 3 == 2 ? kernel_weight(k, 1.0, "f32[1]") : numbers[i % 5];
        coef = kernel_text(k, "%s%s%s", coef, comma, by);
    }
    kernel_result(k, members ? rows3(k, width) : row(k, width), "lincomb %s {coef = [%s]}", args,
                  coef);
    kernel_result(k, members ? rows3(k, width) : row(k, width), "lincomb %s", args);
}

/* Kernels take 8 operands at once. Parameters of a function are limited: two kernels. */
void kernels_lincomb(void **state)
{
    Support *s = *state;
    Kernel *k = kernel_new(s->arena, "lincomb");
    for (int n = 1; n <= 10; n++) blend(k, n, widths[n], false);
    kernel_check(k, "f32", NULL);
    k = kernel_new(s->arena, "lincomb_members");
    for (int i = 0; i < 6; i++) blend(k, 3, widths[2 * i], true);
    blend(k, 17, 19, true);
    kernel_check(k, "f32", NULL);
    k = kernel_new(s->arena,
                   "lincomb_in_pieces"); /* prefill adds up: parameters, then what is made */
    const char *p = kernel_param(k, "f32[T, 17]"), *q = kernel_param(k, "f32[T, 17]");
    const char *late = kernel_value(k, "f32[T, 17]", "silu %s", p),
               *own = kernel_param(k, "f32[T, 3, 17]");
    const char *later = kernel_value(k, "f32[T, 17]", "relu2 %s", q);
    kernel_result(k, "f32[T, 17]", "lincomb %s, %s, %s, %s {coef = [0.5, -1.0, 1.0, 2.0]}", p, q,
                  late, later);
    kernel_result(k, "f32[T, 17]", "lincomb %s, %s, %s, %s", later, p, late, q);
    kernel_result(k, "f32[T, 3, 17]", "lincomb %s, %s, %s, %s, %s", p, q, later, own, late);
    kernel_check(k, "f32", NULL);
    k = kernel_new(s->arena, "lincomb_of_one");
    const char *x = kernel_param(k, "f32[T, 33]");
    kernel_result(k, "f32[T, 33]", "lincomb %s, %s, %s {coef = [-1.0, 2.5, 1.0]}", x, x, x);
    kernel_check(k, "f32", NULL);
}

void kernels_pointwise(void **state)
{
    Support *s = *state;
    static const char *const ops[] = {"silu %s", "sigmoid %s", "relu2 %s",
                                      "softcap %s {cap = 15.0}", "softcap %s {cap = 0.3}"};
    Kernel *k = kernel_new(s->arena, "pointwise");
    for (int i = 0; i < N_WIDTHS; i++) {
        int width = widths[i];
        const char *x = kernel_param(k, "%s", row(k, width)),
                   *own = kernel_param(k, "%s", rows3(k, width));
        for (int o = 0; o < 5; o++) {
            const char *op = kernel_text(k, "%.*s", 80, ops[o]);
            char *of_x =
                kernel_text(k, "%.*s%s%s", (int)(strchr(op, '%') - op), op, x, strchr(op, '%') + 2);
            char *of_own = kernel_text(k, "%.*s%s%s", (int)(strchr(op, '%') - op), op, own,
                                       strchr(op, '%') + 2);
            kernel_result(k, row(k, width), "%s", of_x);
            if (i % 3 == o % 3) kernel_result(k, rows3(k, width), "%s", of_own);
        }
        kernel_result(k, row(k, width), "scale %s, %s", x, kernel_weight(k, 1.0, "f32[%d]", width));
        kernel_result(k, rows3(k, width), "scale %s, %s", own,
                      kernel_weight(k, 1.0, "f32[%d]", width));
        kernel_result(k, rows3(k, width), "scale %s, %s", x, three(k, width));
        kernel_result(k, rows3(k, width), "scale %s, %s", own, three(k, width));
    }
    kernel_check(k, "f32", NULL);
    /* Caps that differ in the last digit are different kernels. */
    k = kernel_new(s->arena, "softcaps");
    const char *x = kernel_param(k, "f32[T, 16]");
    kernel_result(k, "f32[T, 16]", "softcap %s {cap = 1.0}", x);
    kernel_result(k, "f32[T, 16]", "softcap %s {cap = 1.00001}", x);
    kernel_result(k, "f32[T, 16]", "softcap %s {cap = 1.000005}", x);
    kernel_check(k, "f32", NULL);
}

void kernels_mul(void **state)
{
    Support *s = *state;
    static const int heads[][2] = {{1, 1}, {1, 17}, {3, 8}, {5, 3}, {2, 16}, {4, 17}, {6, 20}};
    Kernel *k = kernel_new(s->arena, "mul");
    for (int i = 0; i < N_WIDTHS; i++) {
        const char *a = kernel_param(k, "%s", row(k, widths[i])),
                   *b = kernel_param(k, "%s", row(k, widths[i]));
        kernel_result(k, row(k, widths[i]), "mul %s, %s", a, b);
    }
    kernel_check(k, "f32", NULL);
    k = kernel_new(s->arena, "mul_members_heads");
    for (int i = 0; i < 7; i++) {
        int H = heads[i][0], width = H * heads[i][1];
        const char *a = kernel_param(k, "%s", row(k, width)), *h = kernel_param(k, "%s", row(k, H));
        const char *own = kernel_param(k, "%s", rows3(k, width)),
                   *own_h = kernel_param(k, "%s", rows3(k, H));
        kernel_result(k, row(k, width), "mul %s, %s", a, h);
        kernel_result(k, rows3(k, width), "mul %s, %s", own, own_h);
        kernel_result(k, rows3(k, width), "mul %s, %s", own, own);
    }
    kernel_check(k, "f32", NULL);
}

/* ---- streams, views, casts ------------------------------------------------------------------- */

static char *streams(Kernel *k, int n, int width)
{
    return n == 1 ? row(k, width) : kernel_text(k, "f32[T, %d, %d]", n, width);
}

void kernels_mix(void **state)
{
    Support *s = *state;
    static const int shapes[][2] = {{1, 1}, {4, 4}, {4, 1}, {1, 4}, {2, 3},
                                    {3, 2}, {1, 7}, {2, 9}, {9, 1}, {20, 20}};
    Kernel *k = kernel_new(s->arena, "mix");
    for (int i = 0; i < 10; i++)
        for (int w = 0; w < 5; w++) {
            int R = shapes[i][0], S = shapes[i][1], width = widths[(3 * i + 5 * w) % N_WIDTHS];
            const char *x = kernel_param(k, "%s", streams(k, S, width));
            kernel_result(k, streams(k, R, width), "mix %s, %s", x,
                          kernel_weight(k, 1.0, "f32[%d, %d]", R, S));
        }
    kernel_check(k, "f32", NULL);
}

/* Parts of rows, of parameters and of values made here, read by every kind of op. */
void kernels_views(void **state)
{
    Support *s = *state;
    Kernel *k = kernel_new(s->arena, "views");
    const char *x = kernel_param(k, "f32[T, 50]"), *own = kernel_param(k, "f32[T, 3, 34]");
    const char *made = kernel_value(k, "f32[T, 50]", "silu %s", x);
    const char *made3 = kernel_value(k, "f32[T, 3, 34]", "relu2 %s", own);
    const char *of[] = {
        kernel_value(k, "f32[T, 17]", "slice %s {begin = 3, end = 20}", x),
        kernel_value(k, "f32[T, 17]", "slice %s {begin = 33, end = 50}", made),
        kernel_value(k, "f32[T, 17]", "slice %s {begin = 17, end = 34}",
                     kernel_value(k, "f32[T, 34]", "member %s {index = 2}", own)),
        kernel_value(k, "f32[T, 17]", "slice %s {begin = 0, end = 17}",
                     kernel_value(k, "f32[T, 34]", "member %s {index = 1}", made3)),
        kernel_value(k, "f32[T, 17]", "slice %s {begin = 1, end = 18}",
                     kernel_value(k, "f32[T, 21]", "slice %s {begin = 5, end = 26}", made))};
    const char *square = kernel_weight(k, 0.3, "f32[17, 17]");
    for (int i = 0; i < 5; i++) {
        kernel_result(k, "f32[T, 17]", "lincomb %s", of[i]);
        kernel_result(k, "f32[T, 17]", "linear %s, %s", of[i], square);
        kernel_result(k, "f32[T, 17]", "rms_norm %s {eps = 1e-06}", of[i]);
        kernel_result(k, "f32[T, 17]", "mul %s, %s", of[i], of[(i + 1) % 5]);
    }
    kernel_result(k, "f32[T, 5, 17]", "stack %s, %s, %s, %s, %s", of[0], of[1], of[2], of[3],
                  of[4]);
    const char *stacked = kernel_value(k, "f32[T, 2, 17]", "stack %s, %s", of[3], of[0]);
    const char *front = kernel_value(k, "f32[T, 2, 7]", "slice %s {begin = 4, end = 11}", stacked);
    kernel_result(k, "f32[T, 2, 7]", "lincomb %s, %s {coef = [1.0, 0.5]}", front, front);
    kernel_result(k, "f32[T, 7]", "member %s {index = 1}", front);
    kernel_result(k, "f32[T, 3, 7]", "mix %s, %s", front, kernel_weight(k, 1.0, "f32[3, 2]"));
    kernel_result(k, "f32[T, 17]", "linear %s, [%s, %s] {reduce}", front,
                  kernel_weight(k, 0.3, "f32[17, 7]"), kernel_weight(k, 0.3, "f32[17, 7]"));
    kernel_result(k, "f32[T, 2, 7]", "rms_norm %s {eps = 1e-06}", front);
    kernel_result(k, "f32[T, 5]", "slice %s {begin = 45, end = 50}", x);
    kernel_check(k, "bf16", NULL);
}

void kernels_cast(void **state)
{
    Support *s = *state;
    static const char *const to[] = {"bf16", "f16", "f32"};
    Kernel *k = kernel_new(s->arena, "cast");
    for (int i = 0; i < N_WIDTHS; i++) {
        int width = widths[i];
        const char *x = kernel_param(k, "%s", row(k, width)),
                   *own = kernel_param(k, "%s", rows3(k, width));
        for (int f = 0; f < 3; f++) {
            char *type = kernel_text(k, "%s[T, %d]", to[f], width);
            const char *y = kernel_result(k, type, "cast %s {to = %s}", x, to[f]);
            kernel_result(k, row(k, width), "lincomb %s, %s {coef = [1.0, -3.0]}", x, y);
            kernel_result(k, kernel_text(k, "%s[T, 3, %d]", to[f], width), "cast %s {to = %s}", own,
                          to[f]);
        }
    }
    kernel_check(k, "f32", NULL);
}

/* A NaN in one column from the second row on: what reads it gives NaN, not numbers. (Both sides
 * must agree on which elements are NaN.) The ninth power of 1e30 is beyond double. */
void kernels_not_numbers(void **state)
{
    Support *s = *state;
    Kernel *k = kernel_new(s->arena, "not_numbers");
    const char *x = kernel_param(k, "f32[T, 16]"), *q = kernel_param(k, "f32[T, 16]"), *y = x;
    char *kept = snl_arena_strdup(k->arena, kernel_state(k, "f32[16]"));
    char *cache = snl_arena_strdup(k->arena, kernel_state(k, "f32[2, 2, %d, 8]", KERNEL_CONTEXT));
    k->declarations = kernel_text(k,
                                  "%sweight @ones : f32[15] = fill {value = 1.0}\n"
                                  "weight @most : f32[1] = fill {value = 1e+30}\n"
                                  "weight @last : f32[16] = concat(@ones, @most) {axis = 0}\n",
                                  k->declarations);
    for (int i = 0; i < 12; i++) y = kernel_value(k, "f32[T, 16]", "scale %s, @last", y);
    y = kernel_value(k, "f32[T, 16]", "lincomb %s, %s {coef = [1.0, -1.0]}", y, y);
    const char *nan = kernel_value(k, "f32[T, 16]", "shift %s, %%pos, %s", y, kept);
    kernel_effect(k, "row_write %s, %%pos, %s", y, kept);
    kernel_effect(k, "kv_write %s, %s, %%pos, %s", nan, q, cache);
    kernel_result(k, "f32[T, 16]", "attention %s, %s, %s, %%pos, %s {heads = 2}", q, nan, q, cache);
    static const char *const ops[] = {"silu", "sigmoid", "relu2", "rms_norm", "softcap"};
    static const char *const attrs[] = {"", "", "", " {eps = 1e-05, heads = 2}", " {cap = 3.0}"};
    for (int i = 0; i < 5; i++) kernel_result(k, "f32[T, 16]", "%s %s%s", ops[i], nan, attrs[i]);
    kernel_result(k, "f32[T, 5]", "linear %s, %s", nan, kernel_weight(k, 0.3, "f32[5, 16]"));
    kernel_result(k, "bf16[T, 16]", "cast %s {to = bf16}", nan);
    kernel_check(k, "f32", NULL);
    kernel_check(k, "q8_0", NULL);
}
