/* tests/numeric/kernels/kernel.c -- see kernel.h. */
#include "kernel.h"

#include "compiler/driver/arguments.h"
#include "compiler/driver/callable.h"
#include "compiler/driver/compare.h"
#include "ir/eval.h"
#include "passes/pass.h"

#include <stdio.h>
#include <string.h>

const char *const kernel_formats[3] = {"f32", "bf16", "f16"};
const char *const kernel_block_formats[2] = {"q8_0", "q4_0"};

/* The limits: largest error over the largest element of a result (over 1 where all are smaller:
 * operands are of size 1, and a single sum may cancel), by stored format of the weights. Kernels
 * accumulate in f32 whatever that is, and the evaluator reads the same rounded weights: so all
 * formats have f32's. A sum of K products in f32 is off by less than K u, u = 6e-8, of the sum of
 * their sizes; in practice by sqrt(K) u, and K is at most 300 here. */
static const struct {
    const char *format;
    double limit;
} limits[] = {{"f32", 2e-6}, {"bf16", 2e-6}, {"f16", 2e-6}, {"q8_0", 2e-6}, {"q4_0", 2e-6}};

static double limit_of(const char *format)
{
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (strcmp(limits[i].format, format) == 0) return limits[i].limit;
    fail_msg("no limit for '%s'", format);
    return 0;
}

/* ---- text ------------------------------------------------------------------------------------ */

Kernel *kernel_new(SnlArena *arena, const char *name)
{
    Kernel *k = SNL_NEW(arena, Kernel);
    *k = (Kernel){arena, name, "", "%pos: index", "", "", "", 0};
    return k;
}

static char *formatted(Kernel *k, const char *format, va_list args)
{
    char text[4096];
    int n = vsnprintf(text, sizeof text, format, args);
    assert_true(n >= 0 && (size_t)n < sizeof text);
    return snl_arena_strdup(k->arena, text);
}

#define FORMATTED(text, format)                                                                    \
    va_list args_;                                                                                 \
    va_start(args_, format);                                                                       \
    char *text = formatted(k, format, args_);                                                      \
    va_end(args_)

const char *kernel_param(Kernel *k, const char *type, ...)
{
    FORMATTED(full, type);
    char *name = kernel_text(k, "%%x%d", k->n++);
    k->params = kernel_text(k, "%s, %s: %s", k->params, name, full);
    return name;
}

const char *kernel_weight(Kernel *k, double scale, const char *type, ...)
{
    FORMATTED(full, type);
    char *name = kernel_text(k, "@w%d", k->n++);
    k->declarations = kernel_text(k, "%sweight %s : %s = random {scale = %.6f, seed = %d}\n",
                                  k->declarations, name, full, scale, k->n);
    return name;
}

const char *kernel_state(Kernel *k, const char *type, ...)
{
    FORMATTED(full, type);
    char *name = kernel_text(k, "@s%d", k->n++);
    k->declarations = kernel_text(k, "%sstate %s : %s\n", k->declarations, name, full);
    return name;
}

static const char *add_op(Kernel *k, const char *type, const char *op)
{
    char *name = kernel_text(k, "%%y%d", k->n++);
    k->body = kernel_text(k, "%s  %s = %s : %s\n", k->body, name, op, type);
    return name;
}

const char *kernel_value(Kernel *k, const char *type, const char *op, ...)
{
    FORMATTED(full, op);
    return add_op(k, type, full);
}

const char *kernel_result(Kernel *k, const char *type, const char *op, ...)
{
    FORMATTED(full, op);
    const char *name = add_op(k, type, full), *comma = *k->results ? ", " : "";
    k->results = kernel_text(k, "%s%s%s", k->results, comma, name);
    k->types = kernel_text(k, "%s%s%s", k->types, comma, type);
    return name;
}

void kernel_effect(Kernel *k, const char *op, ...)
{
    FORMATTED(full, op);
    k->body = kernel_text(k, "%s  %s\n", k->body, full);
}

/* ---- both sides ------------------------------------------------------------------------------ */

typedef struct Side {
    SnlModule *module;
    SnlFunc *func;
} Side;

typedef struct Check {
    SnlArena *arena;
    SnlDiag *diag;
    const char *name, *text, *weights, *cpu;
    Side original, compiled;
    SnlWeightSource *source;
    SnlEval *eval;
    SnlCallable *callable;
    bool signs; /* arguments are 1 and -1 */
    double worst;
} Check;

static void expect_ok(const Check *c, SnlStatus status)
{
    if (status != SNL_OK)
        fail_msg("%s (%s, %s): %s\n%s", c->name, c->weights, c->cpu ? c->cpu : "default cpu",
                 snl_diag_text(c->diag), c->text);
}

static Side parse(Check *c)
{
    SnlSource *source = SNL_NEW(c->arena, SnlSource);
    *source = (SnlSource){c->name, c->text, strlen(c->text)};
    Side side;
    expect_ok(c, snl_parse(c->arena, source, c->diag, &side.module));
    side.func = snl_module_find_func(side.module, "f");
    assert_non_null(side.func);
    return side;
}

static void run_passes(Check *c, SnlModule *m, const char *text)
{
    SnlPipelineOptions options = {.source = c->source, .verify_each = true};
    expect_ok(c, snl_pipeline_run(m, text, &options, c->diag));
}

static char *passes_text(const Check *c, const char *pack)
{
    if (snl_attr_find(&c->compiled.func->attrs, "tokens"))
        return snl_arena_printf(c->arena, "%s,dce,schedule,plan-memory", pack);
    return snl_arena_printf(c->arena,
                            "%s,dce,shapes{func=f block=%d tail=false},schedule,plan-memory", pack,
                            KERNEL_BLOCK);
}

static void open_form(Check *c, bool prefill)
{
    c->original = parse(c);
    c->compiled = parse(c);
    char *pack = snl_arena_printf(c->arena, "dce,pack{weights=%s}", c->weights);
    run_passes(c, c->original.module, pack);
    run_passes(c, c->compiled.module, passes_text(c, pack));
    SnlFunc *func = snl_module_find_func(c->compiled.module, prefill ? "f.prefill" : "f.decode");
    if (!prefill && !func) func = c->compiled.func;
    assert_non_null(func);
    c->eval = snl_eval_create(c->original.module, c->source, c->diag);
    SnlTargetOptions target = {.cpu = c->cpu, .verify = true};
    expect_ok(c, snl_callable_create(c->arena, c->compiled.module, func, c->source, &target,
                                     c->diag, &c->callable));
}

static void close_form(Check *c)
{
    snl_callable_destroy(c->callable);
    snl_eval_destroy(c->eval);
}

static void compare_results(Check *c, const char *form, int64_t pos, int64_t tokens,
                            const SnlTensor *found, const SnlTensor *wanted)
{
    double limit = limit_of(c->weights);
    for (size_t i = 0; i < c->original.func->n_result; i++) {
        SnlErrors e = snl_compare(&found[i], &wanted[i]);
        double error = e.relative < e.max_abs ? e.relative : e.max_abs;
        if (error > c->worst) c->worst = error;
        if (!e.nan && error <= limit) continue;
        fail_msg(
            "%s (%s, %s, %s) pos %lld T %lld, result %zu, element %lld: found %.9g, wanted %.9g, "
            "off by %.3g of the largest (limit %.3g)\n%s",
            c->name, c->weights, c->cpu ? c->cpu : "default cpu", form, (long long)pos,
            (long long)tokens, i, (long long)e.at, found[i].at[e.at], wanted[i].at[e.at], error,
            limit, c->text);
    }
}

/* Rows of 1, of -1, and of the numbers' signs. */
static void keep_signs(SnlTensor *x, int64_t pos)
{
    int64_t width = snl_type_elems(x->type, 1);
    for (int64_t i = 0; i < x->n_tokens * width; i++) {
        int64_t kind = (pos + i / width) % 3;
        bool positive = kind == 0 || (kind == 2 && x->at[i] > 0);
        x->at[i] = positive ? 1 : -1;
    }
}

static SnlTensor *make_arguments(Check *c, SnlArena *scratch, int64_t pos, int64_t tokens)
{
    const SnlFunc *f = c->original.func;
    SnlArgument *argument = SNL_NEW_ARRAY(scratch, SnlArgument, f->n_param);
    SnlTensor *args = SNL_NEW_ARRAY(scratch, SnlTensor, f->n_param);
    for (size_t i = 0; i < f->n_param; i++) /* several indices: each its own number */
        if (f->param[i]->type->dtype == SNL_INDEX)
            argument[i] =
                (SnlArgument){.kind = SNL_ARGUMENT_NUMBER, .number = pos + 2 * (int64_t)i};
    expect_ok(
        c, snl_arguments_make(scratch, f, argument, tokens, 1 + (uint64_t)pos, 0, c->diag, args));
    for (size_t i = 0; c->signs && i < f->n_param; i++) keep_signs(&args[i], pos);
    return args;
}

static void call(Check *c, const char *form, int64_t pos, int64_t tokens)
{
    const SnlFunc *f = c->original.func;
    SnlArena *scratch = snl_arena_create();
    SnlTensor *args = make_arguments(c, scratch, pos, tokens);
    SnlTensor *wanted = SNL_NEW_ARRAY(scratch, SnlTensor, f->n_result);
    SnlTensor *found = SNL_NEW_ARRAY(scratch, SnlTensor, f->n_result);
    expect_ok(c, snl_eval_call(c->eval, f, args, NULL, tokens, wanted));
    expect_ok(c, snl_callable_call(c->callable, scratch, args, tokens, c->diag, found));
    compare_results(c, form, pos, tokens, found, wanted);
    snl_arena_destroy(scratch);
}

static void check_form(Check *c, bool prefill)
{
    static const int64_t decode[] = {1, 1, 1}, blocks[] = {5, 1, 13, KERNEL_BLOCK, 2, 11};
    const int64_t *tokens = prefill ? blocks : decode;
    size_t n = prefill ? sizeof blocks / sizeof *blocks : sizeof decode / sizeof *decode;
    int64_t pos = 0;
    open_form(c, prefill);
    for (size_t i = 0; i < n; i++) {
        assert_true(pos + tokens[i] <= KERNEL_FILLED);
        call(c, prefill ? "prefill" : "decode", pos, tokens[i]);
        pos += tokens[i];
    }
    close_form(c);
}

static void check_forms(Check *c)
{
    c->diag = snl_diag_create(NULL, 0);
    c->source = snl_random_source_create(c->arena, 1);
    check_form(c, false);
    if (!snl_attr_find(&c->original.func->attrs, "tokens")) check_form(c, true);
    snl_diag_destroy(c->diag);
    print_message("    %s, %s%s%s: within %.2g\n", c->name, c->weights, c->cpu ? ", " : "",
                  c->cpu ? c->cpu : "", c->worst);
}

void kernel_check_text(SnlArena *arena, const char *name, const char *text, const char *weights,
                       const char *cpu)
{
    Check c = {.arena = arena, .name = name, .text = text, .weights = weights, .cpu = cpu};
    check_forms(&c);
}

void kernel_check_signs(SnlArena *arena, const char *name, const char *text, const char *weights,
                        const char *cpu)
{
    Check c = {.arena = arena, .name = name, .text = text, .weights = weights, .cpu = cpu};
    c.signs = true;
    check_forms(&c);
}

static char *text_with(Kernel *k, const char *attributes)
{
    return kernel_text(k, "module @%s\n%s\nfunc @f(%s) -> %s %s{\n%s  return %s\n}\n", k->name,
                       k->declarations, k->params, k->types, attributes, k->body, k->results);
}

static char *module_text(Kernel *k)
{
    return text_with(k, "");
}

void kernel_check_decode(Kernel *k, const char *weights, const char *cpu)
{
    kernel_check_text(k->arena, k->name, text_with(k, "attributes {tokens = 1} "), weights, cpu);
}

void kernel_check(Kernel *k, const char *weights, const char *cpu)
{
    kernel_check_text(k->arena, k->name, module_text(k), weights, cpu);
}

/* ---- equal rows ------------------------------------------------------------------------------ */

static void repeat_first_row(SnlTensor *x)
{
    if (!snl_type_has_t(x->type)) return;
    size_t width = (size_t)snl_type_elems(x->type, 1);
    for (int64_t t = 1; t < x->n_tokens; t++)
        memcpy(x->at + (size_t)t * width, x->at, width * sizeof *x->at);
}

static void expect_equal_rows(const Check *c, size_t result, const SnlTensor *x)
{
    size_t width = (size_t)snl_type_elems(x->type, 1);
    for (int64_t t = 1; t < x->n_tokens; t++)
        if (memcmp(x->at + (size_t)t * width, x->at, width * sizeof *x->at) != 0)
            fail_msg("%s (%s, %s): result %zu: row %lld is not row 0, of the same input", c->name,
                     c->weights, c->cpu, result, (long long)t);
}

void kernel_check_equal_rows(Kernel *k, const char *weights, const char *cpu)
{
    Check c = {
        .arena = k->arena, .name = k->name, .text = module_text(k), .weights = weights, .cpu = cpu};
    c.diag = snl_diag_create(NULL, 0);
    c.source = snl_random_source_create(k->arena, 1);
    open_form(&c, true);
    const SnlFunc *f = c.original.func;
    SnlTensor *args = make_arguments(&c, k->arena, 0, KERNEL_BLOCK);
    SnlTensor *found = SNL_NEW_ARRAY(k->arena, SnlTensor, f->n_result);
    for (size_t i = 0; i < f->n_param; i++) repeat_first_row(&args[i]);
    expect_ok(&c, snl_callable_call(c.callable, k->arena, args, KERNEL_BLOCK, c.diag, found));
    for (size_t i = 0; i < f->n_result; i++) expect_equal_rows(&c, i, &found[i]);
    close_form(&c);
    snl_diag_destroy(c.diag);
}
