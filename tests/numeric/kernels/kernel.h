/* tests/numeric/kernels/kernel.h -- one IR function, compiled and called beside the evaluator.
 *
 * A test writes a function out of many small cases (sizes, members, attributes), each with a result
 * of its own, so that one compilation holds them all:
 *
 *     Kernel *k = kernel_new(arena, "linear");
 *     const char *x = kernel_param(k, "f32[T, 7]");
 *     kernel_op(k, "f32[T, 5]", "linear %s, %s", x, kernel_weight(k, "f32[5, 7]", 1.0));
 *     kernel_check(k, "bf16", NULL);
 *
 * kernel_check compiles the decode form and the prefill form (for blocks of KERNEL_BLOCK tokens),
 * calls each several times with new random tensors and positions that advance, so that states
 * matter, and holds every result against the evaluator's. Nothing rewrites the function before it
 * is compiled. */
#ifndef SNL_TESTS_KERNEL_H
#define SNL_TESTS_KERNEL_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/base/arena.h"

/* The calls' positions are just those of KERNEL_FILLED, in whole panels of 16: such a cache is
 * written to its end. One of KERNEL_CONTEXT has rows left, and padding. */
enum { KERNEL_BLOCK = 16, KERNEL_FILLED = 48, KERNEL_CONTEXT = 53 };

typedef struct Kernel {
    SnlArena *arena;
    const char *name;
    char *declarations, *params, *body, *results, *types;
    int n; /* names given */
} Kernel;

/* `%pos: index` is every function's first parameter. */
Kernel *kernel_new(SnlArena *arena, const char *name);
/* These give the new name: "%x3", "@w4", "@s5", "%y6". */
const char *kernel_param(Kernel *k, const char *type, ...);
const char *kernel_weight(Kernel *k, double scale, const char *type, ...);
const char *kernel_state(Kernel *k, const char *type, ...);
/* A value that nothing else need to know of, and one that is a result too. */
const char *kernel_value(Kernel *k, const char *type, const char *op, ...);
const char *kernel_result(Kernel *k, const char *type, const char *op, ...);
/* A line of its own: effects. */
void kernel_effect(Kernel *k, const char *op, ...);
/* Text in the arena, to build types and lists with. */
#define kernel_text(k, ...) snl_arena_printf((k)->arena, __VA_ARGS__)

/* weights: one of kernel_formats or kernel_block_formats; cpu as for `compile --cpu`, NULL: the
 * default. */
void kernel_check(Kernel *k, const char *weights, const char *cpu);
/* For ops that only functions of one token have: no prefill form. */
void kernel_check_decode(Kernel *k, const char *weights, const char *cpu);
/* Every row of a call of many tokens gets the same numbers: so must the rows of the results. */
void kernel_check_equal_rows(Kernel *k, const char *weights, const char *cpu);
/* A module written out, with one function @f; index parameter i gets the position plus 2 i. */
void kernel_check_text(SnlArena *arena, const char *name, const char *text, const char *weights,
                       const char *cpu);

/* The same with arguments of 1 and -1: by rows all 1, all -1, mixed. */
void kernel_check_signs(SnlArena *arena, const char *name, const char *text, const char *weights,
                        const char *cpu);

extern const char *const kernel_formats[3], *const kernel_block_formats[2];

/* The tests, one per file of this folder. */
void kernels_linear(void **state);
void kernels_embed(void **state);
void kernels_blocks(void **state);
void kernels_blocks_levels(void **state);
void kernels_blocks_extremes(void **state);
void kernels_parts(void **state);
void kernels_bf16_levels(void **state);
void kernels_rows_alike(void **state);
void kernels_rms_norm(void **state);
void kernels_rope(void **state);
void kernels_lincomb(void **state);
void kernels_pointwise(void **state);
void kernels_mul(void **state);
void kernels_mix(void **state);
void kernels_views(void **state);
void kernels_cast(void **state);
void kernels_not_numbers(void **state);
void kernels_attention_heads(void **state);
void kernels_attention_windows(void **state);
void kernels_attention_members(void **state);
void kernels_attention_own_rows(void **state);
void kernels_attention_levels(void **state);
void kernels_rows_kept(void **state);
void kernels_effects_in_order(void **state);
void kernels_signatures(void **state);
void kernels_levels(void **state);

#endif
