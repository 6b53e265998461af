/* ir/infer*.c: each rule of ops.def gives the right type and refuses what does not fit. */
#include "tests/support/support.h"

#include "ir/ir.h"

#include <string.h>

/* One operation in a function with operands of many shapes; `message` NULL: it fits. */
typedef struct Case {
    const char *line, *message;
} Case;

static const char head[] =
    "module @m\n"
    "weight @emb : bf16[100, 8] = random {seed = 1}\n"
    "weight @w : f32[6, 8] = random {seed = 1}\n"
    "weight @w2 : f32[6, 8] = random {seed = 1}\n"
    "weight @w3 : f32[5, 8] = random {seed = 1}\n"
    "weight @b : f32[6] = random {seed = 1}\n"
    "weight @g : f32[8] = random {seed = 1}\n"
    "weight @g2 : f32[8] = random {seed = 1}\n"
    "weight @g4 : f32[4] = random {seed = 1}\n"
    "weight @one : f32[1] = random {seed = 1}\n"
    "weight @m43 : f32[4, 3] = random {seed = 1}\n"
    "weight @m13 : f32[1, 3] = random {seed = 1}\n"
    "weight @m21 : f32[2, 1] = random {seed = 1}\n"
    "weight @wide : f32[1099511627776, 1] = random {seed = 1}\n"
    "state @kv : f32[2, 2, 16, 4]\n"
    "state @kv2 : f32[2, 2, 16, 4]\n"
    "state @short : f32[2, 2, 15, 4]\n"
    "state @row : f32[8]\n"
    "layer @l(%h: f32[T, 8], %pos: index, @kv: state) -> f32[T, 8] {\n"
    "  kv_write %h, %h, %pos, @kv\n  return %h\n}\n"
    "layer @l3(%h: f32[T, 8], %pos: index) -> f32[T, 3, 8] {\n"
    "  %y = stack %h, %h, %h : f32[T, 3, 8]\n  return %y\n}\n"
    "layer @two(%h: f32[T, 8], %pos: index) -> f32[T, 8], index {\n  return %h, %pos\n}\n"
    "func @f(%ids: i32[T], %pos: index, %x: f32[T, 8], %y: f32[T, 8], %x3: f32[T, 3, 8],\n"
    "        %y3: f32[T, 3, 8], %z2: f32[T, 2, 8], %q: f32[T, 16], %t: f32[T, 4],\n"
    "        %h2: f32[T, 2], %b16: bf16[T, 8], %n1: f32[T, 1099511627776, 1],\n"
    "        %q2: f32[T, 2, 16], %t32: f32[T, 3, 2], %before: index) {\n  ";

static const Case cases[] = {
    {"%r = embed %ids, @emb : f32[T, 8]", NULL},
    {"%r = embed %x, @emb : f32[T, 8]", "embed: operand 0: found f32[T, 8], wanted i32[T]"},
    {"%r = embed %ids, @g : f32[T, 8]", "embed: '@g': found f32[8], wanted shape [V, D]"},
    {"%r = embed %ids, [@emb] : f32[T, 8]", "embed: takes one symbol here, not a list"},
    {"%r = embed %ids : f32[T, 8]", "embed: a weight is missing after the values"},
    {"%r = embed %ids, @emb : f32[T, 9]",
     "embed: '%r' is declared f32[T, 9], the operands give f32[T, 8]"},

    {"%r = rms_norm %x, @g {eps = 1e-05} : f32[T, 8]", NULL},
    {"%r = rms_norm %x {eps = 0} : f32[T, 8]", NULL},
    {"%r = rms_norm %b16, @g {eps = 1e-05} : f32[T, 8]", NULL},
    {"%r = rms_norm %x, @g4 {eps = 1e-05, heads = 2} : f32[T, 8]", NULL},
    {"%r = rms_norm %x3, @g {eps = 1e-05} : f32[T, 3, 8]", NULL},
    {"%r = rms_norm %x, [@g, @g2] {eps = 1e-05} : f32[T, 2, 8]", NULL},
    {"%r = rms_norm %z2, [@g, @g2] {eps = 1e-05} : f32[T, 2, 8]", NULL},
    {"%r = rms_norm %x, [@g] {eps = 1e-05} : f32[T, 1, 8]", NULL},
    {"%r = rms_norm %x3, [@g, @g2] {eps = 1e-05} : f32[T, 3, 8]",
     "rms_norm: members differ: operand has 3, the list 2"},
    {"%r = rms_norm %x, @g4 {eps = 1e-05} : f32[T, 8]",
     "rms_norm: '@g4': found f32[4], wanted shape [8]"},
    {"%r = rms_norm %x, @g {eps = 1e-05, heads = 3} : f32[T, 8]",
     "rms_norm: heads = 3 does not divide the width 8"},
    {"%r = rms_norm %ids, @g {eps = 1e-05} : f32[T, 8]",
     "rms_norm: operand 0 ('%ids'): found i32[T], wanted f32[T, D] or f32[T, M, D]"},
    {"%r = rms_norm %x, @g : f32[T, 8]", "rms_norm: attribute 'eps' is missing"},

    {"%r = linear %x, @w : f32[T, 6]", NULL},
    {"%r = linear %x, @w, @b : f32[T, 6]", NULL},
    {"%r = linear %x3, @w : f32[T, 3, 6]", NULL},
    {"%r = linear %x, [@w, @w2] : f32[T, 2, 6]", NULL},
    {"%r = linear %z2, [@w, @w2], [@b, @b] {reduce} : f32[T, 6]", NULL},
    {"%r = linear %x, @w {part = 4} : f32[T, 2, 6]", NULL},
    {"%r = linear %x, @w {part = 6} : f32[T, 2, 6]", NULL},
    {"%r = linear %x, @w {part = 8} : f32[T, 1, 6]", NULL},
    {"%r = linear %x, @w {part = 3} : f32[T, 3, 6]",
     "linear: part: found 3, wanted a multiple of 2"},
    {"%r = linear %x, @w, @b {part = 4} : f32[T, 2, 6]",
     "linear: 'part' takes one weight without bias, and rows without members"},
    {"%r = linear %x, [@w] {part = 4} : f32[T, 2, 6]",
     "linear: 'part' takes one weight without bias, and rows without members"},
    {"%r = linear %x3, @w {part = 4} : f32[T, 2, 6]",
     "linear: 'part' takes one weight without bias, and rows without members"},
    {"%r = linear %q, @w : f32[T, 6]", "linear: inner sizes differ: '%q' has width 16, '@w' has 8"},
    {"%r = linear %x, @g : f32[T, 6]", "linear: '@g': found f32[8], wanted shape [F, D]"},
    {"%r = linear %x, [@w, @w3] : f32[T, 2, 6]",
     "linear: '@w3': found f32[5, 8], wanted shape [6, 8]"},
    {"%r = linear %x3, [@w, @w2] : f32[T, 3, 6]",
     "linear: members differ: operand has 3, the list 2"},
    {"%r = linear %x, @w, @g : f32[T, 6]", "linear: '@g': found f32[8], wanted shape [6]"},
    {"%r = linear %x, [@w, @w2], @b : f32[T, 2, 6]",
     "linear: 1 biases for 2 weights: one for each"},
    {"%r = linear %x, @w {reduce} : f32[T, 6]",
     "linear: 'reduce' sums members: wanted a list of weights"},
    {"%r = linear %n1, @wide : f32[T, 1]",
     "linear: result has 1099511627776 x 1099511627776 elements"},
    {"%r = linear %x, %y, @w : f32[T, 6]", "linear: takes 1 values, found 2"},

    {"%r = rope_table %pos {theta = 10000.0, width = 8} : f32[T, 8]", NULL},
    {"%r = rope_table %pos {inverse, theta = 10000, width = 8} : f32[T, 8]", NULL},
    {"%r = rope_table %pos {factor = 2.0, scaling = linear, theta = 10000.0, width = 8} : f32[T, "
     "8]",
     NULL},
    {"%r = rope_table %x {theta = 10000.0, width = 8} : f32[T, 8]",
     "rope_table: operand 0 ('%x'): found f32[T, 8], wanted index"},
    {"%r = rope_table %pos {theta = 10000.0, width = 7} : f32[T, 7]",
     "rope_table: width: found 7, wanted an even number"},
    {"%r = rope_table %pos {scaling = linear, theta = 10000.0, width = 8} : f32[T, 8]",
     "rope_table: scaling = linear needs attribute 'factor'"},
    {"%r = rope_table %pos {factor = 8.0, high_freq_factor = 4.0, scaling = llama3, theta = "
     "10000.0, width = 8} : f32[T, 8]",
     "rope_table: scaling = llama3 needs attribute 'low_freq_factor'"},
    {"%r = rope_table %pos {factor = 8.0, high_freq_factor = 1.0, low_freq_factor = 1.0, "
     "original_context = 64, scaling = llama3, theta = 10000.0, width = 8} : f32[T, 8]",
     "rope_table: high_freq_factor must exceed low_freq_factor"},

    {"%r = rope %q, %t {heads = 4} : f32[T, 16]", NULL},
    {"%r = rope %q2, %t {heads = 4} : f32[T, 2, 16]", NULL},
    {"%r = rope %q, %t {heads = 2} : f32[T, 16]",
     "rope: table width 4, wanted the head width 8, even"},
    {"%r = rope %q, %t {heads = 3} : f32[T, 16]", "rope: heads = 3 does not divide the width 16"},
    {"%r = rope %q, %x3 {heads = 2} : f32[T, 16]",
     "rope: operand 1 ('%x3'): found f32[T, 3, 8], wanted f32[T, D]"},

    {"%r = attention %q, %x, %y, %pos, @kv {heads = 4, kv_heads = 2} : f32[T, 16]", NULL},
    {"%r = attention %q2, %z2, %z2, %pos, [@kv, @kv2] {heads = 4, kv_heads = 2, window = [3, 4]} : "
     "f32[T, 2, 16]",
     NULL},
    {"%r = attention %q, %x, %y, %pos, @kv {heads = 4} : f32[T, 16]",
     "attention: operand 1: found f32[T, 8], wanted f32[T, 16]"},
    {"%r = attention %q, %x, %t, %pos, @kv {heads = 4, kv_heads = 2} : f32[T, 16]",
     "attention: operand 2: found f32[T, 4], wanted f32[T, 8]"},
    {"%r = attention %q, %x, %y, %pos, @kv {heads = 4, kv_heads = 3} : f32[T, 16]",
     "attention: kv_heads = 3 does not divide the number of heads 4"},
    {"%r = attention %q, %x, %y, %pos, [@kv, @kv2] {heads = 4, kv_heads = 2} : f32[T, 16]",
     "attention: 2 states in a list for 1 members of '%q'"},
    {"%r = attention %q2, %z2, %z2, %pos, @kv {heads = 4, kv_heads = 2} : f32[T, 2, 16]",
     "attention: 1 states for 2 members of '%q2'"},
    {"%r = attention %q2, %z2, %z2, %pos, [@kv, @kv2] {heads = 4, kv_heads = 2, window = [3]} : "
     "f32[T, 2, 16]",
     "attention: window lists 1 numbers for 2 members"},
    {"%r = attention %q, %x, %y, %ids, @kv {heads = 4, kv_heads = 2} : f32[T, 16]",
     "attention: operand 3 ('%ids'): found i32[T], wanted index"},
    {"%p = attention_parts %q, %x, %y, %pos, @kv {heads = 4, kv_heads = 2, part = 16} : f32[T, 24]",
     NULL},
    {"%r = attention_parts %q, %x, %y, %pos, @kv {heads = 4, kv_heads = 2, part = 24} : f32[T, 24]",
     "attention_parts: part: found 24, wanted a multiple of 16"},
    {"%r = attention_parts %q, %x, %y, %pos, @row {heads = 4, kv_heads = 2, part = 16} : "
     "f32[T, 24]",
     "attention_parts: state '@row': found f32[8], wanted a cache's state"},
    {"%r = attention_parts %q2, %z2, %z2, %pos, [@kv, @short] "
     "{heads = 4, kv_heads = 2, part = 16} : f32[T, 2, 24]",
     "attention_parts: state '@short': found a context of 15, wanted 16 as in '@kv'"},
    {"%p = attention_parts %q, %x, %y, %pos, @kv {heads = 4, kv_heads = 2, part = 16} : "
     "f32[T, 24]\n"
     "  %r = attention_merge %p, %pos : f32[T, 16]",
     NULL},
    {"%r = attention_merge %q, %pos : f32[T, 16]",
     "attention_merge: operand 0 ('%q'): wanted the result of attention_parts"},
    {"%p = attention_parts %q, %x, %y, %pos, @kv {heads = 4, kv_heads = 2, part = 16} : "
     "f32[T, 24]\n"
     "  %r = attention_merge %p, %before : f32[T, 16]",
     "attention_merge: found position '%before', wanted '%pos' of the parts"},
    {"%p = attention_parts %q, %x, %y, %pos, @kv {heads = 4, kv_heads = 2, part = 16} : "
     "f32[T, 24]\n"
     "  %r = silu %p : f32[T, 24]",
     "silu: found '%p' of attention_parts, wanted attention_merge between"},
    {"%r = attention %q, %x, %y, %pos, @row {heads = 4, kv_heads = 2} : f32[T, 16]",
     "attention: state '@row': found f32[8], wanted f32[2, 2, C, 4]"},

    {"kv_write %x, %y, %pos, @kv", NULL},
    {"kv_write %z2, %z2, %pos, [@kv, @kv2]", NULL},
    {"kv_write %x, %t, %pos, @kv", "kv_write: operand 1: found f32[T, 4], wanted f32[T, 8]"},
    {"kv_write %q, %q, %pos, @kv",
     "kv_write: state '@kv': found f32[2, 2, 16, 4], wanted f32[2, G, C, d] with G*d = 16"},
    {"kv_write %x, %y, %pos", "kv_write: a state is missing after the values"},
    {"%r = kv_write %x, %y, %pos, @kv : f32[T, 8]", "kv_write: gives 0 results, found 1 names"},

    {"%r = shift %x, %pos, @row : f32[T, 8]", NULL},
    {"%r = shift %q, %pos, @row : f32[T, 16]", "shift: state '@row': found f32[8], wanted f32[16]"},
    {"%r = shift %x3, %pos, @row : f32[T, 3, 8]",
     "shift: state '@row': found f32[8], wanted f32[3, 8]"},
    {"%r = shift %x, %pos, [@row] : f32[T, 8]", "shift: takes one symbol here, not a list"},
    {"row_write %x, %pos, @row", NULL},
    {"row_write %x, %pos, @kv", "row_write: state '@kv': found f32[2, 2, 16, 4], wanted f32[8]"},
    {"row_write %x, %x, @row", "row_write: operand 1 ('%x'): found f32[T, 8], wanted index"},

    {"%r = lincomb %x, %y {coef = [1.0, @one]} : f32[T, 8]", NULL},
    {"%r = lincomb %x, %x3, %y, %y3 : f32[T, 3, 8]", NULL},
    {"%r = lincomb %x, %q : f32[T, 8]", "lincomb: operand 1 has width 16, operand 0 has 8"},
    {"%r = lincomb %x3, %z2 : f32[T, 3, 8]",
     "lincomb: operand 1 has 2 members, earlier ones have 3"},
    {"%r = lincomb %x, %y {coef = [1.0]} : f32[T, 8]", "lincomb: 1 coefficients for 2 operands"},
    {"%r = lincomb %x {coef = [@g]} : f32[T, 8]",
     "lincomb: '@g' in attribute 'coef' must have one element"},
    {"%r = lincomb %x {coef = [a]} : f32[T, 8]",
     "lincomb: attribute 'coef' is of the wrong kind, wanted a number"},
    {"%r = lincomb : f32[T, 8]", "lincomb: takes at least 1 values, found 0"},

    {"%r = mul %x, %y : f32[T, 8]", NULL},
    {"%r = mul %x, %h2 : f32[T, 8]", NULL},
    {"%r = mul %x3, %t32 : f32[T, 3, 8]", NULL},
    {"%r = mul %h2, %x : f32[T, 8]",
     "mul: operand 1 is f32[T, 8], wanted the shape of operand 0, f32[T, 2]"},
    {"%r = mul %x3, %y : f32[T, 3, 8]",
     "mul: operand 1 is f32[T, 8], wanted the shape of operand 0"},

    {"%r = scale %x, @g : f32[T, 8]", NULL},
    {"%r = scale %x, [@g, @g2] : f32[T, 2, 8]", NULL},
    {"%r = scale %x, @g4 : f32[T, 8]", "scale: '@g4': found f32[4], wanted shape [8]"},

    {"%r = silu %x : f32[T, 8]", NULL},
    {"%r = relu2 %x3 : f32[T, 3, 8]", NULL},
    {"%r = sigmoid %b16 : f32[T, 8]", NULL},
    {"%r = softcap %x {cap = 15.0} : f32[T, 8]", NULL},
    {"%r = softcap %x : f32[T, 8]", "softcap: attribute 'cap' is missing"},
    {"%r = silu %pos : f32[T, 8]", "silu: operand 0 ('%pos'): found index, wanted f32[T, D]"},

    {"%r = mix %x3, @m43 : f32[T, 4, 8]", NULL},
    {"%r = mix %x3, @m13 : f32[T, 8]", NULL},
    {"%r = mix %x, @m21 : f32[T, 2, 8]", NULL},
    {"%r = mix %z2, @m43 : f32[T, 4, 8]", "mix: '@m43': found f32[4, 3], wanted shape [4, 2]"},
    {"%r = mix %x3, @g : f32[T, 4, 8]", "mix: '@g': found f32[8], wanted shape [8, 3]"},

    {"%r = slice %x {begin = 2, end = 5} : f32[T, 3]", NULL},
    {"%r = slice %b16 {begin = 0, end = 8} : bf16[T, 8]", NULL},
    {"%r = slice %x {begin = 5, end = 5} : f32[T, 1]", "slice: [5, 5) is no part of the width 8"},
    {"%r = slice %x {begin = 0, end = 9} : f32[T, 9]", "slice: [0, 9) is no part of the width 8"},

    {"%r = member %x3 {index = 2} : f32[T, 8]", NULL},
    {"%r = member %x3 {index = 3} : f32[T, 8]",
     "member: index 3: there are 3 members, counted from 0"},
    {"%r = member %x {index = 0} : f32[T, 8]",
     "member: operand 0: found f32[T, 8], wanted f32[T, M, D]"},

    {"%r = stack %x, %y : f32[T, 2, 8]", NULL},
    {"%r = stack %x, %q : f32[T, 2, 8]", "stack: operand 1 is f32[T, 16], operand 0 is f32[T, 8]"},
    {"%r = stack %x3, %y3 : f32[T, 2, 8]",
     "stack: operand 0 ('%x3'): found f32[T, 3, 8], wanted f32[T, D]"},

    {"%r = cast %x {to = bf16} : bf16[T, 8]", NULL},
    {"%r = cast %b16 {to = f32} : f32[T, 8]", NULL},
    {"%r = cast %x {to = q4_0} : f32[T, 8]",
     "cast: attribute 'to': found q4_0, wanted one of f32|bf16|f16|q8_0"},

    {"%r = call %x, %pos, [@l(@kv)] : f32[T, 8]", NULL},
    {"%r, %s = call %x, %pos, [@two] : f32[T, 8], index", NULL},
    {"%r = call %x, %pos, [@l(@kv), @l(@kv)] : f32[T, 8]", "call: one bound layer, found 2"},
    {"%r = call %x, [@l(@kv)] : f32[T, 8]", "call: '@l' takes 2 values, found 1"},
    {"%r = call %q, %pos, [@l(@kv)] : f32[T, 16]",
     "call: operand 0 of '@l': found f32[T, 16], wanted f32[T, 8]"},
    {"%r = call %x, %pos, [@two] : f32[T, 8]", "call: gives 2 results, found 1 names"},
    {"%r = call %x, %pos : f32[T, 8]", "call: bound layers are missing after the values"},

    {"%r = chain %x, %pos, [@l(@kv), @l(@kv2)] : f32[T, 8]", NULL},
    {"%r, %s, %u = chain %x, %pos, [@l(@kv), @l(@kv2)] {taps = [1, 0]} : f32[T, 8], f32[T, 8], "
     "f32[T, 8]",
     NULL},
    {"%r = chain %x, %pos, [@l(@kv), @l3] : f32[T, 8]",
     "chain: '@l3' cannot be a link: it gives 1 results (first f32[T, 3, 8]), wanted one of its "
     "first parameter's type f32[T, 8]"},
    {"%r = chain %x, %pos, [@two] : f32[T, 8]",
     "chain: '@two' cannot be a link: it gives 2 results"},
    {"%r, %s = chain %x, %pos, [@l(@kv)] {taps = [1]} : f32[T, 8], f32[T, 8]",
     "chain: tap 1: there are 1 links, counted from 0"},
    {"%r = chain %x, %pos, [@l(@kv)] {taps = [0]} : f32[T, 8]",
     "chain: gives 2 results, found 1 names"},
    {"%r = chain %x, %pos, [@l(@kv)] {taps = 0} : f32[T, 8]",
     "chain: attribute 'taps' is of the wrong kind, wanted a list"},

    {"%r = newton %x, %pos, [@l(@kv)] {sweeps = 1} : f32[T, 8]", NULL},
    {"%r = newton %x, %pos, [@l(@kv)] : f32[T, 8]", "newton: attribute 'sweeps' is missing"},
};

static bool verifies(Support *s, const Case *c)
{
    SnlSource *source = SNL_NEW(s->arena, SnlSource);
    char *text = snl_arena_printf(s->arena, "%s%s\n  return\n}\n", head, c->line);
    *source = (SnlSource){"t.snl", text, strlen(text)};
    SnlModule *m = NULL;
    return snl_parse(s->arena, source, s->diag, &m) == SNL_OK;
}

static void each_rule_gives_its_type_or_says_why_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *own = NULL;
        support_setup(&own);
        Support *s = own;
        bool ok = verifies(s, &cases[i]);
        const char *text = snl_diag_text(s->diag);
        if (ok != (cases[i].message == NULL) || (!ok && !strstr(text, cases[i].message)))
            fail_msg("%s\nfound:  %s\nwanted: %s", cases[i].line, text,
                     cases[i].message ? cases[i].message : "no message");
        support_teardown(&own);
    }
}

static void every_operation_has_a_case_that_fits_and_one_that_does_not(void **state)
{
    Support *s = *state;
    for (int code = 0; code < SNL_OP_COUNT; code++) {
        if (code == SNL_OP_RETURN) continue; /* test_verify.c */
        const char *name = snl_arena_printf(s->arena, "%s ", snl_op_info[code].text);
        bool fits = false, fails = false;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const char *at = strstr(cases[i].line, name);
            bool named = at && (at == cases[i].line || at[-1] == ' ');
            fits |= named && !cases[i].message;
            fails |= named && cases[i].message;
        }
        bool unary = code == SNL_OP_RELU2 || code == SNL_OP_SIGMOID; /* share silu's rule */
        if (!fits || !(fails || unary)) fail_msg("no case for '%s'", name);
    }
}

/* Builders call the same rules through snl_op_finish. */
static void finish_gives_results_their_types_and_names(void **state)
{
    Support *s = *state;
    SnlModule *m = snl_module_create(s->arena, "m");
    SnlFunc *f = snl_func_create(m, SNL_FUNC, "f");
    SnlValue *x = snl_func_param(f, "x", snl_type_rows(m, 8));
    SnlWeight *w = snl_weight_expr(m, "w", snl_type(m, SNL_F32, 2, (int64_t[]){6, 8}),
                                   SNL_WEXPR_RANDOM, NULL, 0);
    snl_attr_set_int(m, &w->attrs, "seed", 1);
    SnlOp *op = snl_op_create(f, NULL, SNL_OP_LINEAR);
    snl_op_add_in(op, x);
    snl_op_set_weights(op, 0, &w, 1, false);
    SnlValue *y = snl_op_finish(op, "y");
    assert_ptr_equal(y->type, snl_type_rows(m, 6));
    assert_string_equal(y->name, "y");
    snl_func_result(f, y->type);
    SnlOp *ret = snl_op_create(f, NULL, SNL_OP_RETURN);
    snl_op_add_in(ret, y);
    assert_null(snl_op_finish(ret, NULL));
    assert_int_equal(snl_verify(m, s->diag), SNL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(each_rule_gives_its_type_or_says_why_not),
        support_test(every_operation_has_a_case_that_fits_and_one_that_does_not),
        support_test(finish_gives_results_their_types_and_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
