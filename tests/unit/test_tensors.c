/* Classes of tensors: what belongs together, roles, sums, and the worst of each. */
#include "tests/support/support.h"

#include "compiler/driver/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char text[] =
    "module @m\n"
    "weight @embed : f32[64, 32] = random {seed = 1}\n"
    "weight @norm : f32[32] = random {seed = 2}\n"
    "weight @l0.w : f32[32, 32] = random {seed = 3}\n"
    "weight @l11.w : f32[32, 32] = random {seed = 4}\n"
    "weight @l2.w8 : f32[32, 32] = random {seed = 5}\n"
    "weight @l0.w.q8_0 : q8_0[32, 32] = cast(@l0.w)\n"
    "weight @l11.w.q8_0 : q8_0[32, 32] = cast(@l11.w)\n"
    "weight @l2.w8.q4_0 : q4_0[32, 32] = cast(@l2.w8)\n"
    "func @f(%ids: i32[T]) -> f32[T, 64] {\n"
    "  %x = embed %ids, @embed : f32[T, 32]\n"
    "  %n = rms_norm %x, @norm {eps = 1e-05} : f32[T, 32]\n"
    "  %i = cast %n {to = q8_0} : q8_0[T, 32]\n"
    "  %a = linear %i, @l0.w.q8_0 : f32[T, 32]\n"
    "  %b = linear %i, @l11.w.q8_0 : f32[T, 32]\n"
    "  %c = linear %i, @l2.w8.q4_0 : f32[T, 32]\n"
    "  %z = lincomb %a, %b, %c : f32[T, 32]\n"
    "  %y = linear %z, @embed : f32[T, 64]\n"
    "  return %y\n}\n";

typedef struct Model {
    SnlModule *module;
    SnlPayload payload;
    SnlWritten written[5];
} Model;

/* Errors of 1 %, 3 % and 8 % in the three matrices of layers. */
static Model model(Support *s)
{
    Model m = {0};
    static const SnlSource source = {"t.snl", text, sizeof text - 1};
    assert_int_equal(snl_parse(s->arena, &source, s->diag, &m.module), SNL_OK);
    SnlFunc *func = snl_module_find_func(m.module, "f");
    assert_int_equal(snl_payload_plan(s->arena, m.module, &func, 1, s->diag, &m.payload), SNL_OK);
    assert_int_equal(m.payload.n, 5);
    m.written[2].rounding = (SnlRounding){1e-4, 1};
    m.written[3].rounding = (SnlRounding){9e-4, 1};
    m.written[4].rounding = (SnlRounding){64e-4, 1};
    return m;
}

static void layers_are_counted_together(void **state)
{
    Support *s = *state;
    Model m = model(s);
    SnlTensorClasses c = snl_tensor_classes(s->arena, m.module, &m.payload, m.written);
    assert_int_equal(c.n, 4);
    static const char *const names[] = {"embed", "l*.w", "l*.w*", "norms, biases, factors"};
    static const SnlDtype dtypes[] = {SNL_F32, SNL_Q8_0, SNL_Q4_0, SNL_F32};
    int64_t nbytes = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(c.at[i].name, names[i]);
        assert_int_equal(c.at[i].dtype, dtypes[i]);
        assert_int_equal(c.at[i].n, i == 1 ? 2 : 1);
        nbytes += c.at[i].nbytes;
    }
    assert_int_equal(nbytes, m.payload.nbytes);
    assert_true(c.at[0].head && c.at[0].embed && !c.at[1].head && !c.at[1].embed);
    assert_close(snl_rounding_relative(&c.at[1].rounding), 0.02236068, 1e-7, 0);
    assert_string_equal(c.at[1].worst->weight->name, "l11.w.q8_0");
    assert_close(c.at[1].worst_error, 0.03, 1e-12, 0);
    assert_null(c.at[0].worst);
}

static char *printed(const Model *m, bool each)
{
    char *out = NULL;
    size_t n = 0;
    FILE *stream = open_memstream(&out, &n);
    assert_non_null(stream);
    snl_tensors_print(stream, m->module, &m->payload, m->written, each);
    assert_int_equal(fclose(stream), 0);
    return out;
}

static void tables_say_it(void **state)
{
    Model m = model(*state);
    char *classes = printed(&m, false), *each = printed(&m, true);
    assert_non_null(strstr(classes, "embed (embedding, logits)"));
    assert_non_null(strstr(classes, "2.236 %  worst l11.w 3.000 %\n"));
    assert_non_null(strstr(classes, "8.000 %\n"));
    assert_null(strstr(classes, "l2.w8"));
    assert_int_equal(strncmp(each, classes, strlen(classes)), 0);
    assert_non_null(strstr(each, "l2.w8       32 x 32     q4_0"));
    assert_non_null(strstr(each, "norm         1 x 32     f32            128     exact"));
    free(classes);
    free(each);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(layers_are_counted_together),
        support_test(tables_say_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
