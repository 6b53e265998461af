/* ir/verify*.c: each rule with a module that breaks it and the message wanted. Rules about the
 * types of single operations are in test_infer.c. */
#include "tests/support/support.h"

#include "ir/eval.h"
#include "ir/ir.h"

#include <math.h>
#include <string.h>

static bool parses(Support *s, const char *text)
{
    SnlSource *source = SNL_NEW(s->arena, SnlSource);
    *source = (SnlSource){"t.snl", text, strlen(text)};
    SnlModule *m = NULL;
    return snl_parse(s->arena, source, s->diag, &m) == SNL_OK;
}

typedef struct Case {
    const char *text, *message; /* message NULL: sound */
} Case;

#define LAYER                                                                                      \
    "layer @l(%h: f32[T, 8], %pos: index, @kv: state) -> f32[T, 8] surrogate identity {\n"         \
    "  kv_write %h, %h, %pos, @kv\n"                                                               \
    "  %a = attention %h, %h, %h, %pos, @kv {heads = 2} : f32[T, 8]\n"                             \
    "  return %a\n"                                                                                \
    "}\n"
#define STATES                                                                                     \
    "state @kv.0 : f32[2, 2, 16, 4]\nstate @kv.1 : f32[2, 2, 16, 4]\n"                             \
    "state @kv.2 : f32[2, 2, 16, 4]\nstate @flat : f32[2, 1, 16, 8]\nstate @row : f32[8]\n"
#define CALLS(line)                                                                                \
    "module @m\n" STATES LAYER "func @f(%x: f32[T, 8], %pos: index) -> f32[T, 8] {\n  " line       \
    "\n  return %h\n}\n"
#define WEIGHTS                                                                                    \
    "module @m\nweight @a : f32[4, 6] = random {seed = 1}\nweight @b : f32[4, 6] = random {seed "  \
    "= 1}\n"                                                                                       \
    "weight @v : f32[6] = fill {value = 1.0}\nweight @q : f32[6, 6] = random {seed = 1}\n"         \
    "weight @h : bf16[4, 6] = cast(@a)\nweight @big : f32[600, 600] = fill {value = 0.0}\n"        \
    "weight @r3 : f32[2, 3, 4] = fill {value = 0.0}\n"

static const Case cases[] = {
    /* weight expressions */
    {WEIGHTS "weight @x : f32[8, 6] = concat(@a, @b) {axis = 0}\n", NULL},
    {WEIGHTS "weight @x : f32[4, 12] = concat(@a, @b) {axis = 1}\n", NULL},
    {WEIGHTS "weight @x : f32[12] = concat(@v, @v) {axis = 0}\n", NULL},
    {WEIGHTS "weight @x : f32[2, 3, 8] = concat(@r3, @r3) {axis = 2}\n", NULL},
    {WEIGHTS "weight @x : f32[9, 6] = concat(@a, @b) {axis = 0}\n",
     "weight '@x': concat: parts add up to 8 along axis 0, declared f32[9, 6]"},
    {WEIGHTS "weight @x : f32[8, 6] = concat(@a, @v) {axis = 0}\n",
     "weight '@x': concat: '@v' is f32[6]: does not fit into f32[8, 6] along axis 0"},
    {WEIGHTS "weight @x : f32[12] = concat(@v, @v) {axis = 1}\n",
     "weight '@x': concat: f32[12] has no axis 1, counted from 0"},
    {WEIGHTS "weight @x : f32[8, 6] = concat(@a, @b)\n", "concat: attribute 'axis' is missing"},
    {WEIGHTS "weight @x : f32[8, 6] = concat(@a, @b) {axis = 4}\n",
     "concat: attribute 'axis' is out of range: found 4, wanted 0 to 3"},
    {WEIGHTS "weight @x : f32[8, 6] = concat {axis = 0}\n",
     "weight '@x': concat: takes at least 1 weights, found 0"},
    {WEIGHTS "weight @x : f32[8, 6] = concat(@a, @h) {axis = 0}\n",
     "weight '@x': concat: '@h' is bf16[4, 6], declared f32[8, 6]: wanted one element type (see "
     "cast)"},
    {WEIGHTS "weight @x : f32[2, 6] = slice(@a) {axis = 0, begin = 1, end = 3}\n", NULL},
    {WEIGHTS "weight @x : f32[3, 6] = slice(@a) {axis = 0, begin = 1, end = 3}\n",
     "weight '@x': slice: declared f32[3, 6], the expression gives shape f32[2, 6]"},
    {WEIGHTS "weight @x : f32[4, 3] = slice(@a) {axis = 1, begin = 4, end = 7}\n",
     "weight '@x': slice: [4, 7) of axis 1 is no part of f32[4, 6]"},
    {WEIGHTS "weight @x : f32[3, 8] = reshape(@a)\n", NULL},
    {WEIGHTS "weight @x : f32[3, 9] = reshape(@a)\n",
     "weight '@x': reshape: '@a' is f32[4, 6], declared f32[3, 9]: wanted as many elements"},
    {WEIGHTS "weight @x : f32[6, 4] = transpose(@a)\n", NULL},
    {WEIGHTS "weight @x : f32[4, 6] = transpose(@a)\n",
     "weight '@x': transpose: declared f32[4, 6], the expression gives shape f32[6, 4]"},
    {WEIGHTS "weight @x : f32[6] = transpose(@v)\n",
     "weight '@x': transpose: '@v' is f32[6], wanted a matrix"},
    {WEIGHTS "weight @x : f32[4, 6] = scale(@h) {by = 2.0}\n", NULL},
    {WEIGHTS "weight @x : f32[6, 4] = scale(@a) {by = 2.0}\n",
     "weight '@x': scale: '@a' is f32[4, 6], declared f32[6, 4]: wanted one shape"},
    {WEIGHTS "weight @x : bf16[4, 6] = scale(@h) {by = 2.0}\n",
     "weight '@x': scale: declared bf16[4, 6], it gives f32 (see cast)"},
    {WEIGHTS "weight @x : f32[4, 6] = scale(@a, @b) {by = 2.0}\n",
     "weight '@x': scale: takes 1 weights, found 2"},
    {WEIGHTS "weight @x : f32[4, 6] = scale(@a) {by = big}\n",
     "scale: attribute 'by' is of the wrong kind, wanted a number"},
    {WEIGHTS "weight @x : f32[4, 6] = colscale(@a, @v)\n", NULL},
    {WEIGHTS "weight @x : f32[4, 6] = colscale(@a, @b)\n",
     "weight '@x': colscale: '@b' is f32[4, 6], wanted a vector"},
    {WEIGHTS "weight @u : f32[4] = fill {value = 1.0}\nweight @x : f32[4, 6] = colscale(@a, @u)\n",
     "weight '@x': colscale: '@u' has 4 elements, '@a' has 6 columns"},
    {WEIGHTS "weight @x : f32[4, 6] = mean(@a, @b)\n", NULL},
    {WEIGHTS "weight @x : f32[4, 6] = mean(@a, @v)\n",
     "weight '@x': mean: '@v' is f32[6], declared f32[4, 6]: wanted one shape"},
    {WEIGHTS "weight @x : q8_0[4, 6] = cast(@a)\n", NULL},
    {WEIGHTS "weight @x : f32[6, 6] = sinkhorn(@q) {iters = 10, tau = 0.05}\n", NULL},
    {WEIGHTS "weight @x : f32[4, 6] = sinkhorn(@a) {iters = 10, tau = 0.05}\n",
     "weight '@x': sinkhorn: '@a' is f32[4, 6], wanted a square matrix"},
    {WEIGHTS "weight @x : f32[6, 6] = sinkhorn(@q) {iters = 1001, tau = 0.05}\n",
     "sinkhorn: attribute 'iters' is out of range: found 1001, wanted 1 to 1000"},
    {WEIGHTS "weight @x : f32[600, 600] = sinkhorn(@big) {iters = 10, tau = 0.05}\n",
     "weight '@x': sinkhorn: f32[600, 600] is too large to be evaluated whole: at most 262144"},
    {WEIGHTS "weight @x : f32[6] = softmax(@v)\n", NULL},
    {WEIGHTS "weight @x : f32[4, 6] = softmax(@a)\n",
     "weight '@x': softmax: '@a' is f32[4, 6], wanted a vector"},
    {WEIGHTS "weight @x : f32[4, 6] = matmul(@a, @q)\n", NULL},
    {WEIGHTS "weight @x : f32[4, 6] = matmul(@a, @b)\n",
     "weight '@x': matmul: inner sizes differ: '@a' has 6 columns, '@b' has 4 rows"},
    {WEIGHTS "weight @x : f32[6, 4] = matmul(@a, @q)\n",
     "weight '@x': matmul: declared f32[6, 4], the expression gives shape f32[4, 6]"},
    {WEIGHTS "weight @x : f32[4] = fill\n", "fill: attribute 'value' is missing"},
    {WEIGHTS "weight @x : f32[4] = random {seed = -1}\n",
     "random: attribute 'seed' is out of range: found -1"},
    {WEIGHTS "weight @x : f32[4] = random {seed = 1, sead = 2}\n",
     "random: unknown attribute 'sead', wanted one of: seed, scale"},
    {WEIGHTS "weight @x : f32[6, 4] = transpose(@a) {axis = 0}\n",
     "transpose: unknown attribute 'axis', wanted none"},
    {WEIGHTS "weight @x : i32[4] = fill {value = 1.0}\n",
     "weight '@x': found i32[4], wanted a tensor of reals"},

    /* states and signatures */
    {"module @m\nstate @s : f32[4]\n", NULL},
    {"module @m\nstate @s : f16[2, 1, 8, 48]\n", NULL},
    {"module @m\nstate @s : q8_0[2, 1, 8, 48]\n", NULL},
    {"module @m\nstate @s : f16[4]\n",
     "state '@s': found f16[4], wanted a tensor of f32, or a cache [2, G, C, d] of f32, f16 or "
     "q8_0"},
    {"module @m\nstate @s : bf16[2, 1, 8, 4]\n", "state '@s': found bf16[2, 1, 8, 4], wanted"},
    {"module @m\nstate @s : q4_0[2, 1, 8, 32]\n", "state '@s': found q4_0[2, 1, 8, 32], wanted"},
    {"module @m\nstate @s : i32[4]\n", "state '@s': found i32[4], wanted"},
    {"module @m\nstate @s : q8_0[32]\n", "state '@s': found q8_0[32], wanted"},
    {"module @m\nfunc @f(%x: f32[8]) { return }\n",
     "t.snl:2:9: error[E0201]: parameter: found f32[8], wanted index, i32[T], f32[T, D] or f32[T, "
     "M, D]"},
    {"module @m\nfunc @f(%x: f32[T, 1, 1, 1]) { return }\n", "parameter: found f32[T, 1, 1, 1]"},
    {"module @m\nfunc @f(%x: q8_0[T, 32]) { return }\n", "parameter: found q8_0[T, 32]"},
    {"module @m\nfunc @f(%x: index) -> i32[T, 2] { return }\n", "result: found i32[T, 2]"},
    {"module @m\nlayer @l(@s: state) { return }\n", "layer '@l' has no value parameter"},
    {"module @m\nfunc @f(%x: index, @s: state) { return }\n",
     "func '@f' has state parameters: only layers have them"},
    {"module @m\nfunc @f(%x: f32[T, 8]) -> f32[T, 8] surrogate identity { return %x }\n",
     "func '@f' has a surrogate: only layers have one"},
    {"module @m\nlayer @l(%x: f32[T, 8]) surrogate zero { return }\n",
     "'@l' has a surrogate: wanted one result of its first parameter's type"},
    {WEIGHTS "layer @l(%x: f32[T, 6]) -> f32[T, 6] surrogate diag @v { return %x }\n", NULL},
    {WEIGHTS "layer @l(%x: f32[T, 8]) -> f32[T, 8] surrogate diag @v { return %x }\n",
     "surrogate diag of '@l': found f32[6], wanted shape [8]"},
    {WEIGHTS "layer @l(%x: f32[T, 6, 8]) -> f32[T, 6, 8] surrogate streams @q { return %x }\n",
     NULL},
    {WEIGHTS "layer @l(%x: f32[T, 4, 8]) -> f32[T, 4, 8] surrogate streams @q { return %x }\n",
     "surrogate streams of '@l': found f32[6, 6], wanted shape [4, 4]"},

    /* bodies */
    {"module @m\nfunc @f() {\n}\n", "'@f' does not end with return"},
    {"module @m\nfunc @f(%x: f32[T, 8]) {\n  return\n  %y = silu %x : f32[T, 8]\n}\n",
     "t.snl:3:3: error[E0204]: return must be the last operation"},
    {"module @m\nfunc @f(%x: f32[T, 8]) {\n  return\n  return\n}\n", "return must be the last"},
    {"module @m\nfunc @f(%x: f32[T, 8]) -> f32[T, 8] {\n  return\n}\n",
     "return: found 0 values, '@f' gives 1"},
    {"module @m\nfunc @f(%x: f32[T, 8]) {\n  return %x\n}\n",
     "return: found 1 values, '@f' gives 0"},
    {"module @m\nfunc @f(%x: f32[T, 8]) -> f32[T, 9] {\n  return %x\n}\n",
     "return: value 0: found f32[T, 8], '@f' gives f32[T, 9]"},
    {"module @m\nfunc @f(%x: f32[T, 8]) {\n  return {foo}\n}\n",
     "return: unknown attribute 'foo', wanted none"},
    {"module @m\nfunc @f(%x: f32[T, 8]) {\n  %y = silu %x {at = 5, own, stage = [a, 1]} : f32[T, "
     "8]\n"
     "  return {stage = 3}\n}\n",
     NULL},
    {"module @m\nfunc @f(%x: f32[T, 8]) {\n  %y = softcap %x {cap = 0.0} : f32[T, 8]\n  "
     "return\n}\n",
     "softcap: attribute 'cap' is out of range: found 0, wanted 1e-30 to 1e+30"},
    {"module @m\nfunc @f(%x: f32[T, 8]) {\n  %y = softcap %x {cap = 1e31} : f32[T, 8]\n  "
     "return\n}\n",
     "softcap: attribute 'cap' is out of range"},
    {"module @m\nfunc @f(%x: f32[T, 8]) {\n  %y = softcap %x {cap} : f32[T, 8]\n  return\n}\n",
     "softcap: attribute 'cap' is of the wrong kind, wanted a number"},
    {"module @m\nfunc @f(%x: f32[T, 8]) {\n  %y = slice %x {begin = 0.0, end = 1} : f32[T, 1]\n"
     "  return\n}\n",
     "slice: attribute 'begin' is of the wrong kind, wanted an integer"},
    {"module @m\nfunc @f(%x: f32[T, 8]) {\n  %y = cast %x {to = \"f32\"} : f32[T, 8]\n  "
     "return\n}\n",
     "cast: attribute 'to' is of the wrong kind, wanted f32|bf16|f16"},
    {"module @m\nfunc @f(%p: index) {\n"
     "  %y = rope_table %p {inverse = 1, theta = 1.0, width = 2} : f32[T, 2]\n  return\n}\n",
     "rope_table: attribute 'inverse' is of the wrong kind, wanted no value"},
    {"module @m\n" STATES "layer @l(%h: f32[T, 8], %p: index) {\n  row_write %h, %p, @row\n"
     "  return\n}\n",
     "row_write: layer '@l' touches state '@row' of the module: bind it to a parameter"},
    {"module @m\n" STATES LAYER "layer @k(%h: f32[T, 8], %p: index) -> f32[T, 8] {\n"
     "  %y = call %h, %p, [@l(@kv.0)] : f32[T, 8]\n  return %y\n}\n",
     "call: layer '@k' touches state '@kv.0' of the module: bind it to a parameter"},

    /* calls */
    {CALLS("%h = chain %x, %pos, [@l(@kv.0), @l(@kv.1)] : f32[T, 8]"), NULL},
    {CALLS("%h = chain %x, %pos, [@l(@kv.0), @l] : f32[T, 8]"),
     "chain: '@l' is bound to 0 states, wanted 1"},
    {CALLS("%h = call %x, %pos, [@l(@kv.0, @kv.1)] : f32[T, 8]"),
     "call: '@l' is bound to 2 states, wanted 1"},
    {CALLS("%h = call %x, %pos, [@l(@row)] : f32[T, 8]"),
     "call: state '@row': found f32[8], wanted f32[2, 2, C, 4] for @l"},
    {CALLS("%h = call %x, %pos, [@l(@flat)] : f32[T, 8]"),
     "call: state '@flat': found f32[2, 1, 16, 8], wanted f32[2, 2, C, 4] for @l"},
    {"module @m\nlayer @l(%h: f32[T, 8], %p: index, @s: state) {\n"
     "  kv_write %h, %h, %p, @s\n  row_write %h, %p, @s\n  return\n}\n",
     "row_write: state '@s': found f32[2, G, C, d] with G*d = 8 by another use, wanted f32[8]"},
    {"module @m\n" LAYER "layer @k(%h: f32[T, 8], %p: index, @s: state) -> f32[T, 8] {\n"
     "  %y = call %h, %p, [@l(@s)] : f32[T, 8]\n  row_write %y, %p, @s\n  return %y\n}\n",
     "row_write: state '@s': found f32[2, 2, C, 4] by another use, wanted f32[8]"},
    {"module @m\n" STATES LAYER "layer @k(%h: f32[T, 8], %p: index, @s: state) -> f32[T, 8] {\n"
     "  %y = call %h, %p, [@l(@s)] : f32[T, 8]\n  return %y\n}\n"
     "func @f(%x: f32[T, 8], %p: index) {\n  %y = call %x, %p, [@k(@flat)] : f32[T, 8]\n  "
     "return\n}\n",
     "call: state '@flat': found f32[2, 1, 16, 8], wanted f32[2, 2, C, 4] for @k"},
    {"module @m\nlayer @l(%h: f32[T, 8]) -> f32[T, 8] {\n"
     "  %y = call %h, [@l] : f32[T, 8]\n  return %y\n}\n",
     "call: '@l' calls itself, by way of '@l'"},
    {"module @m\nlayer @a(%h: f32[T, 8]) -> f32[T, 8] {\n"
     "  %y = call %h, [@b] : f32[T, 8]\n  return %y\n}\n"
     "layer @b(%h: f32[T, 8]) -> f32[T, 8] {\n  %y = chain %h, [@a] : f32[T, 8]\n  return %y\n}\n",
     "chain: '@a' calls itself, by way of '@b'"},
    {CALLS("%h = newton %x, %pos, [@l(@kv.0), @l(@kv.1, @kv.2)] {sweeps = 2} : f32[T, 8]"), NULL},
    {CALLS("%h = newton %x, %pos, [@l(@kv.0), @l(@kv.1)] {sweeps = 2} : f32[T, 8]"),
     "newton: '@l' is bound to 1 states, wanted 2"},
    {CALLS("%h = newton %x, %pos, [@l(@kv.0), @l(@kv.1)] {kv = corrected, sweeps = 2} : f32[T, 8]"),
     NULL},
    {CALLS("%h = newton %x, %pos, [@l(@kv.0), @l(@kv.1, @row)] {init = warm, sweeps = 1} : f32[T, "
           "8]"),
     NULL},
    {CALLS("%h = newton %x, %pos, [@l(@kv.0), @l(@kv.1, @kv.2)] {init = warm, sweeps = 1} : f32[T, "
           "8]"),
     "newton: state '@kv.2': found f32[2, 2, 16, 4], wanted f32[8] for @l"},
    {CALLS("%h = newton %x, %pos, [@l(@kv.0), @l(@kv.1, @row)] {sweeps = 2} : f32[T, 8]"),
     "newton: state '@row': found f32[8], wanted f32[2, 2, C, 4] for @l"},
    {CALLS("%h = newton %x, %pos, [@l(@kv.0)] {init = cold, sweeps = 1} : f32[T, 8]"),
     "newton: attribute 'init': found cold, wanted one of h0|batch_fwd|warm"},
    {CALLS("%h = newton %x, %pos, [@l(@kv.0)] {damping = 1.5, sweeps = 1} : f32[T, 8]"),
     "newton: attribute 'damping' is out of range: found 1.5, wanted 0 to 1"},
    {CALLS("%h = newton %x, %pos, [@l(@kv.0)] {sweeps = 0} : f32[T, 8]"),
     "newton: attribute 'sweeps' is out of range: found 0, wanted 1 to 65535"},
};

static void each_rule_has_a_module_that_breaks_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *own = NULL;
        support_setup(&own);
        Support *s = own;
        bool ok = parses(s, cases[i].text);
        const char *text = snl_diag_text(s->diag);
        if (ok != (cases[i].message == NULL) || (!ok && !strstr(text, cases[i].message)))
            fail_msg("%s\nfound:  %s\nwanted: %s", cases[i].text, text,
                     cases[i].message ? cases[i].message : "no message");
        support_teardown(&own);
    }
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* n layers, each calling the one before `times` times. */
static char *tower(Support *s, int n, int times)
{
    char *text = snl_arena_printf(
        s->arena, "module @m\nlayer @l0(%%h: f32[T, 8]) -> f32[T, 8] {\n  return %%h\n}\n");
    for (int i = 1; i < n; i++) {
        char *list = snl_arena_strdup(s->arena, "");
        for (int k = 0; k < times; k++)
            list = snl_arena_printf(s->arena, "%s%s@l%d", list, k ? ", " : "", i - 1);
        text = snl_arena_printf(s->arena,
                                "%slayer @l%d(%%h: f32[T, 8]) -> f32[T, 8] {\n"
                                "  %%y = chain %%h, [%s] : f32[T, 8]\n  return %%y\n}\n",
                                text, i, list);
    }
    return text;
}

static void calls_nest_at_most_sixty_four_deep(void **state)
{
    Support *s = *state;
    assert_true(parses(s, tower(s, 64, 1)));
    assert_false(parses(s, tower(s, 65, 1)));
    assert_diag(s->diag, "'@l64': calls nest deeper than 64");
}

static void deep_calls_named_top_down_do_not_exhaust_the_stack(void **state)
{
    Support *s = *state;
    size_t room = 120 * 20000, at = 0;
    char *text = snl_arena_alloc(s->arena, room);
    at += (size_t)snprintf(text, room, "module @m\n");
    for (int i = 0; i < 20000; i++)
        at += (size_t)snprintf(text + at, room - at,
                               "layer @l%d(%%h: f32[T, 8]) -> f32[T, 8] {\n"
                               "  %%y = call %%h, [@l%d] : f32[T, 8]\n  return %%y\n}\n",
                               i, i + 1);
    snprintf(text + at, room - at, "layer @l20000(%%h: f32[T, 8]) -> f32[T, 8] { return %%h }\n");
    assert_false(parses(s, text));
    assert_diag(s->diag, "calls nest deeper than 64");
}

static void calls_may_not_multiply_without_bound(void **state)
{
    Support *s = *state;
    assert_true(parses(s, tower(s, 20, 2)));
    assert_false(parses(s, tower(s, 40, 2)));
    assert_diag(s->diag, "amounts to more than 4194304 operations with its calls written out");
}

static void weight_expressions_are_bounded(void **state)
{
    Support *s = *state;
    char *deep =
        snl_arena_strdup(s->arena, "module @m\nweight @w0 : f32[4] = fill {value = 1.0}\n");
    for (int i = 1; i <= 31; i++)
        deep = snl_arena_printf(s->arena, "%sweight @w%d : f32[4] = scale(@w%d) {by = 1.0}\n", deep,
                                i, i - 1);
    assert_true(parses(s, deep));
    deep = snl_arena_printf(s->arena, "%sweight @x : f32[4] = scale(@w31) {by = 1.0}\n", deep);
    assert_false(parses(s, deep));
    assert_diag(s->diag, "weight '@x': scale: expression of expressions: depth 33");
    char *wide =
        snl_arena_strdup(s->arena, "module @m\nweight @w0 : f32[4] = fill {value = 1.0}\n");
    for (int i = 1; i <= 20; i++)
        wide = snl_arena_printf(s->arena, "%sweight @w%d : f32[4] = mean(@w%d, @w%d)\n", wide, i,
                                i - 1, i - 1);
    assert_false(parses(s, wide));
    assert_diag(s->diag, "65537 parts, at most 32 and 65536");
}

static void at_most_twenty_errors_are_reported(void **state)
{
    Support *s = *state;
    size_t room = 64 * 1000, at = 0;
    char *text = snl_arena_alloc(s->arena, room);
    at += (size_t)snprintf(text, room, "module @m\n");
    for (int i = 0; i < 500; i++)
        at += (size_t)snprintf(text + at, room - at, "weight @w%d : f32[4] = fill\n", i);
    assert_false(parses(s, text));
    assert_int_equal(snl_diag_errors(s->diag), 20);
}

/* ---- graphs no text can make ----------------------------------------------------------------- */

typedef struct Graph {
    SnlModule *m;
    SnlFunc *f;
    SnlOp *first, *second, *ret; /* %y = silu %x; %z = silu %y; return %z */
} Graph;

static SnlOp *silu(SnlFunc *f, SnlValue *x, const char *name)
{
    SnlOp *op = snl_op_create(f, NULL, SNL_OP_SILU);
    snl_op_add_in(op, x);
    snl_op_finish(op, name);
    return op;
}

static Graph graph(Support *s)
{
    Graph g = {.m = snl_module_create(s->arena, "m")};
    g.f = snl_func_create(g.m, SNL_FUNC, "f");
    SnlValue *x = snl_func_param(g.f, "x", snl_type_rows(g.m, 8));
    snl_func_result(g.f, x->type);
    g.first = silu(g.f, x, "y");
    g.second = silu(g.f, g.first->out[0], "z");
    g.ret = snl_op_create(g.f, NULL, SNL_OP_RETURN);
    snl_op_add_in(g.ret, g.second->out[0]);
    assert_int_equal(snl_verify(g.m, s->diag), SNL_OK);
    return g;
}

static void fails(Support *s, const SnlModule *m, const char *message)
{
    assert_int_equal(snl_verify(m, s->diag), SNL_BAD_INPUT);
    assert_diag(s->diag, message);
}

static void use_before_definition_is_found(void **state)
{
    Graph g = graph(*state);
    snl_op_move(g.second, g.first);
    fails(*state, g.m, "silu: '%y' is used before it is defined");
}

static void a_value_of_another_function_is_found(void **state)
{
    Graph g = graph(*state);
    SnlFunc *other = snl_func_create(g.m, SNL_FUNC, "other");
    SnlOp *op = snl_op_create(other, NULL, SNL_OP_SILU);
    snl_op_add_in(op, g.first->out[0]);
    snl_op_add_out(op, "q", g.first->out[0]->type);
    snl_op_create(other, NULL, SNL_OP_RETURN);
    fails(*state, g.m, "silu: '%y' is used before it is defined");
}

static void a_broken_use_list_is_found(void **state)
{
    Graph g = graph(*state);
    g.second->in[0].link = NULL;
    fails(*state, g.m, "silu: operand 0 is not in a use list");
}

static void a_result_of_the_wrong_type_is_found(void **state)
{
    Graph g = graph(*state);
    g.first->out[0]->type = snl_type_rows(g.m, 9);
    fails(*state, g.m, "silu: '%y' is declared f32[T, 9], the operands give f32[T, 8]");
}

static void ids_given_twice_are_found(void **state)
{
    Graph g = graph(*state);
    g.second->out[0]->id = g.first->out[0]->id;
    fails(*state, g.m, "'%z' is not numbered or owned as it should be");
}

static void names_given_twice_are_found(void **state)
{
    Graph g = graph(*state);
    g.second->out[0]->name = "y";
    fails(*state, g.m, "'%y' is defined twice");
}

static void names_that_cannot_be_spelt_are_found(void **state)
{
    Graph g = graph(*state);
    g.second->out[0]->name = "a b";
    fails(*state, g.m, "'%a b' is no name");
}

static void names_of_different_kinds_share_one_set(void **state)
{
    Graph g = graph(*state);
    snl_module_state(g.m, "f", snl_type(g.m, SNL_F32, 1, (int64_t[]){8}));
    fails(*state, g.m, "'@f' is defined twice");
}

static void weights_of_another_module_are_found(void **state)
{
    Support *s = *state;
    Graph g = graph(s);
    SnlModule *other = snl_module_create(s->arena, "o");
    SnlWeight *w =
        snl_weight_source(other, "w", snl_type(other, SNL_F32, 1, (int64_t[]){8}), "a", "b");
    SnlOp *op = snl_op_create(g.f, g.ret, SNL_OP_SCALE);
    snl_op_add_in(op, g.f->param[0]);
    snl_op_set_weights(op, 0, &w, 1, false);
    snl_op_finish(op, "q");
    fails(s, g.m, "scale: weight '@w' is not in the module");
}

static void layers_taken_from_the_module_are_found(void **state)
{
    Support *s = *state;
    Graph g = graph(s);
    SnlFunc *l = snl_func_create(g.m, SNL_LAYER, "l");
    snl_func_param(l, "h", snl_type_rows(g.m, 8));
    snl_op_create(l, NULL, SNL_OP_RETURN);
    SnlBinding bind = {l, NULL, 0};
    SnlOp *op = snl_op_create(g.f, g.ret, SNL_OP_CALL);
    snl_op_add_in(op, g.f->param[0]);
    snl_op_set_bindings(op, 0, &bind, 1, true);
    assert_int_equal(snl_verify(g.m, s->diag), SNL_OK);
    snl_func_remove(l);
    fails(s, g.m, "call: '@l' is no layer of the module");
}

static void attributes_that_are_not_finite_are_found(void **state)
{
    Graph g = graph(*state);
    snl_attr_set_real(g.m, &g.m->attrs, "r", NAN);
    fails(*state, g.m, "attribute 'r' must be finite");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(each_rule_has_a_module_that_breaks_it),
        support_test(calls_nest_at_most_sixty_four_deep),
        support_test(deep_calls_named_top_down_do_not_exhaust_the_stack),
        support_test(calls_may_not_multiply_without_bound),
        support_test(weight_expressions_are_bounded),
        support_test(at_most_twenty_errors_are_reported),
        support_test(use_before_definition_is_found),
        support_test(a_value_of_another_function_is_found),
        support_test(a_broken_use_list_is_found),
        support_test(a_result_of_the_wrong_type_is_found),
        support_test(ids_given_twice_are_found),
        support_test(names_given_twice_are_found),
        support_test(names_that_cannot_be_spelt_are_found),
        support_test(names_of_different_kinds_share_one_set),
        support_test(weights_of_another_module_are_found),
        support_test(layers_taken_from_the_module_are_found),
        support_test(attributes_that_are_not_finite_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
