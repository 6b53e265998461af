/* tests/numeric/kernels/calls.c -- signatures that libffi has to build, and CPU levels. */
#include "kernel.h"

#include "support/support.h"

/* 0, 1, 3 and 6 tensors, 1 to 3 indices, 1 and 2 results, in every order. */
static const char *const signatures[] = {
    "func @f(%pos: index) -> f32[T, 6] {\n"
    "  %a = rope_table %pos {theta = 100.0, width = 6} : f32[T, 6]\n"
    "  return %a\n}\n",

    "func @f(%pos: index, %q: index) -> f32[T, 6], f32[T, 4] {\n"
    "  %a = rope_table %q {theta = 100.0, width = 6} : f32[T, 6]\n"
    "  %b = rope_table %pos {theta = 10.0, width = 4} : f32[T, 4]\n"
    "  return %a, %b\n}\n",

    "func @f(%x: f32[T, 5]) -> f32[T, 5] {\n"
    "  %y = silu %x : f32[T, 5]\n"
    "  return %y\n}\n",

    "func @f(%x: f32[T, 5]) -> f32[T, 5], f32[T, 5] {\n"
    "  %y = silu %x : f32[T, 5]\n"
    "  return %y, %x\n}\n",

    "func @f(%x: f32[T, 6], %pos: index, %y: f32[T, 6], %q: index, %z: f32[T, 6], %r: index) -> "
    "f32[T, 6] {\n"
    "  %a = rope_table %q {theta = 100.0, width = 6} : f32[T, 6]\n"
    "  %b = rope_table %r {theta = 100.0, width = 6} : f32[T, 6]\n"
    "  %c = rope_table %pos {theta = 100.0, width = 6} : f32[T, 6]\n"
    "  %d = rope %x, %a {heads = 1} : f32[T, 6]\n"
    "  %e = rope %y, %b {heads = 1} : f32[T, 6]\n"
    "  %g = rope %z, %c {heads = 1} : f32[T, 6]\n"
    "  %h = lincomb %d, %e, %g {coef = [1.0, 10.0, 100.0]} : f32[T, 6]\n"
    "  return %h\n}\n",

    "func @f(%u: f32[T, 3], %v: f32[T, 3], %w: f32[T, 3], %x: f32[T, 3], %y: f32[T, 3], %z: f32[T, "
    "3])"
    " -> f32[T, 3], f32[T, 3] {\n"
    "  %a = lincomb %u, %v, %w {coef = [1.0, 10.0, 100.0]} : f32[T, 3]\n"
    "  %b = lincomb %x, %y, %z {coef = [1.0, 10.0, 100.0]} : f32[T, 3]\n"
    "  return %b, %a\n}\n",

    "func @f(%i: i32[T], %p: index, %u: f32[T, 3], %v: f32[T, 3], %w: f32[T, 3], %x: f32[T, 3], "
    "%q: index,"
    " %y: f32[T, 2]) -> f32[T, 3], f32[T, 2] {\n"
    "  %a = embed %i, @e : f32[T, 3]\n"
    "  %b = lincomb %a, %u, %v, %w, %x {coef = [1.0, 10.0, 100.0, 1000.0, 0.1]} : f32[T, 3]\n"
    "  %c = rope_table %q {theta = 100.0, width = 2} : f32[T, 2]\n"
    "  %d = rope_table %p {theta = 100.0, width = 2} : f32[T, 2]\n"
    "  %e = lincomb %c, %d, %y {coef = [1.0, -2.0, 1.0]} : f32[T, 2]\n"
    "  return %b, %e\n}\n",
};

void kernels_signatures(void **state)
{
    Support *s = *state;
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
        char *text = snl_arena_printf(
            s->arena, "module @m\nweight @e : f32[9, 3] = random {seed = 1}\n%s", signatures[i]);
        kernel_check_text(s->arena, snl_arena_printf(s->arena, "signature_%zu", i), text, "f32",
                          NULL);
    }
}

/* ---- levels ---------------------------------------------------------------------------------- */

/* One of each kind of kernel. */
static Kernel *sampler(SnlArena *arena)
{
    Kernel *k = kernel_new(arena, "level");
    const char *x = kernel_param(k, "f32[T, 65]"), *ids = kernel_param(k, "i32[T]");
    const char *w = kernel_weight(k, 0.2, "f32[50, 65]"), *b = kernel_weight(k, 1.0, "f32[50]");
    kernel_result(k, "f32[T, 65]", "embed %s, %s", ids, kernel_weight(k, 1.0, "f32[70, 65]"));
    kernel_result(k, "f32[T, 50]", "linear %s, %s, %s", x, w, b);
    kernel_result(k, "f32[T, 50]", "linear %s, [%s, %s] {reduce}", x, w,
                  kernel_weight(k, 0.2, "f32[50, 65]"));
    kernel_result(k, "f32[T, 65]", "rms_norm %s, %s {eps = 1e-05}", x,
                  kernel_weight(k, 1.0, "f32[65]"));
    kernel_result(k, "f32[T, 65]", "silu %s", x);
    kernel_result(k, "f32[T, 65]", "softcap %s {cap = 0.5}", x);
    kernel_result(k, "bf16[T, 65]", "cast %s {to = bf16}", x);
    kernel_result(k, "f16[T, 65]", "cast %s {to = f16}", x);
    const char *q = kernel_param(k, "f32[T, 48]"), *kv = kernel_param(k, "f32[T, 24]");
    const char *state = kernel_state(k, "f32[2, 2, %d, 12]", KERNEL_CONTEXT);
    const char *table =
        kernel_value(k, "f32[T, 12]", "rope_table %%pos {theta = 50.0, width = 12}");
    const char *qr = kernel_value(k, "f32[T, 48]", "rope %s, %s {heads = 4}", q, table);
    kernel_effect(k, "kv_write %s, %s, %%pos, %s", kv, kv, state);
    kernel_result(k, "f32[T, 48]",
                  "attention %s, %s, %s, %%pos, %s {heads = 4, kv_heads = 2, window = 9}", qr, kv,
                  kv, state);
    return k;
}

void kernels_levels(void **state)
{
    Support *s = *state;
    static const char *const cpus[] = {"x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4", "native"};
    for (int i = 0; i < 5; i++) {
        if (!support_runs_here(cpus[i])) continue;
        kernel_check(sampler(s->arena), i % 2 ? "bf16" : "f16", cpus[i]);
    }
}
