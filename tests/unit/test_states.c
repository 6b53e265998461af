/* `compile --keep-states`: every state of the chain becomes a result, whatever taps there were. */
#include "tests/support/support.h"

#include "compiler/driver/states.h"

#include <string.h>

#define LAYER                                                                                      \
    "module @m\n"                                                                                  \
    "layer @l(%h: f32[T, 4]) -> f32[T, 4] surrogate identity {\n"                                  \
    "  %y = silu %h : f32[T, 4]\n  return %y\n}\n"

static SnlFunc *parse(Support *s, const char *text)
{
    SnlSource *source = SNL_NEW(s->arena, SnlSource);
    *source = (SnlSource){"t.snl", text, strlen(text)};
    SnlModule *m;
    assert_int_equal(snl_parse(s->arena, source, s->diag, &m), SNL_OK);
    return snl_module_find_func(m, "forward");
}

static void keeps_every_state_in_order(void **state)
{
    Support *s = *state;
    SnlFunc *f = parse(s, LAYER "func @forward(%x: f32[T, 4]) -> f32[T, 4] {\n"
                                "  %h = chain %x, [@l(), @l(), @l()] : f32[T, 4]\n"
                                "  %z = silu %h : f32[T, 4]\n  return %z\n}\n");
    SnlOutputSpec *outputs;
    size_t n;
    assert_int_equal(snl_keep_states(f, s->diag, &outputs, &n), SNL_OK);
    assert_int_equal(n, 3);
    assert_int_equal(f->n_result, 4);
    assert_string_equal(outputs[2].name, "h.2");
    assert_int_equal(outputs[2].width, 4);
    assert_int_equal(outputs[2].streams, 0);
    SnlOp *chain = f->first;
    assert_ptr_equal(snl_in(f->last, 1), chain->out[1]);
    assert_ptr_equal(snl_in(f->last, 2), chain->out[2]);
    assert_ptr_equal(snl_in(f->last, 3), chain->out[0]);
    assert_int_equal(snl_verify(f->module, s->diag), SNL_OK);
}

static void reuses_the_taps_there_are(void **state)
{
    Support *s = *state;
    SnlFunc *f = parse(
        s, LAYER "func @forward(%x: f32[T, 4]) -> f32[T, 4] {\n"
                 "  %h, %mid = chain %x, [@l(), @l(), @l()] {taps = [1]} : f32[T, 4], f32[T, 4]\n"
                 "  %z = lincomb %h, %mid : f32[T, 4]\n  return %z\n}\n");
    SnlOutputSpec *outputs;
    size_t n;
    assert_int_equal(snl_keep_states(f, s->diag, &outputs, &n), SNL_OK);
    SnlOp *chain = f->first;
    assert_int_equal(chain->n_out, 3);
    assert_ptr_equal(snl_in(f->last, 2), chain->out[1]); /* h.1 is the old tap */
    assert_ptr_equal(snl_in(f->last, 1), chain->out[2]);
    assert_int_equal(snl_verify(f->module, s->diag), SNL_OK);
}

static void keeps_streams(void **state)
{
    Support *s = *state;
    SnlFunc *f = parse(s, "module @m\n"
                          "layer @l(%h: f32[T, 2, 4]) -> f32[T, 2, 4] surrogate identity {\n"
                          "  %y = silu %h : f32[T, 2, 4]\n  return %y\n}\n"
                          "func @forward(%x: f32[T, 2, 4]) -> f32[T, 2, 4] {\n"
                          "  %h = chain %x, [@l()] : f32[T, 2, 4]\n  return %h\n}\n");
    SnlOutputSpec *outputs;
    size_t n;
    assert_int_equal(snl_keep_states(f, s->diag, &outputs, &n), SNL_OK);
    assert_int_equal(n, 1);
    assert_int_equal(outputs[0].streams, 2);
    assert_int_equal(outputs[0].width, 4);
}

static void needs_one_chain(void **state)
{
    Support *s = *state;
    SnlOutputSpec *outputs;
    size_t n;
    SnlFunc *none = parse(s, "module @m\nfunc @forward(%x: f32[T, 4]) -> f32[T, 4] {\n"
                             "  %z = silu %x : f32[T, 4]\n  return %z\n}\n");
    assert_int_equal(snl_keep_states(none, s->diag, &outputs, &n), SNL_BAD_INPUT);
    assert_diag(s->diag, "has no chain");
    SnlFunc *two = parse(s, LAYER "func @forward(%x: f32[T, 4]) -> f32[T, 4] {\n"
                                  "  %h = chain %x, [@l()] : f32[T, 4]\n"
                                  "  %z = chain %h, [@l()] : f32[T, 4]\n  return %z\n}\n");
    assert_int_equal(snl_keep_states(two, s->diag, &outputs, &n), SNL_BAD_INPUT);
    assert_diag(s->diag, "found a second chain");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(keeps_every_state_in_order),
        support_test(reuses_the_taps_there_are),
        support_test(keeps_streams),
        support_test(needs_one_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
