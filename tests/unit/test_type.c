/* Types and formats: sizes, interning, and every value of the two 16-bit formats. */
#include "tests/support/support.h"

#include "ir/ir.h"

#include <math.h>
#include <string.h>

static void dtype_names(void **state)
{
    (void)state;
    SnlDtype dtype;
    for (int d = 0; d < SNL_DTYPE_COUNT; d++) {
        const char *text = snl_dtype_info[d].text;
        assert_true(snl_dtype_find(text, strlen(text), &dtype));
        assert_int_equal(dtype, d);
    }
    assert_false(snl_dtype_find("f64", 3, &dtype));
    assert_false(snl_dtype_find("f3", 2, &dtype));
    assert_false(snl_dtype_find("f322", 4, &dtype));
    assert_false(snl_dtype_find("", 0, &dtype));
}

static void sizes(void **state)
{
    (void)state;
    SnlType type = {.dtype = SNL_F32, .rank = 3, .dim = {SNL_DIM_T, 3, 5}};
    assert_int_equal(snl_type_elems(&type, 7), 105);
    assert_int_equal(snl_type_row_elems(&type), 15);
    assert_int_equal(snl_type_width(&type), 5);
    assert_int_equal(snl_type_members(&type), 3);
    assert_true(snl_type_has_t(&type));
    SnlType scalar = {.dtype = SNL_INDEX};
    assert_int_equal(snl_type_elems(&scalar, 7), 1);
    assert_int_equal(snl_type_width(&scalar), 1);
    assert_int_equal(snl_dtype_row_bytes(SNL_BF16, 5), 10);
    assert_int_equal(snl_dtype_row_bytes(SNL_Q8_0, 33), 68);
    assert_int_equal(snl_dtype_row_bytes(SNL_Q4_0, 32), 18);
}

static void equal_types_are_one(void **state)
{
    Support *s = *state;
    SnlModule *m = snl_module_create(s->arena, "m");
    for (int64_t i = 1; i < 500; i++) {
        const SnlType *type = snl_type_rows(m, i);
        assert_ptr_equal(type, snl_type_rows(m, i));
        assert_ptr_not_equal(type, snl_type_rows(m, i + 1000));
    }
    assert_ptr_equal(snl_type_rows(m, 9), snl_type_rows(m, 9));
    int64_t junk[2] = {5, 77};
    assert_ptr_equal(snl_type(m, SNL_F32, 1, junk), snl_type(m, SNL_F32, 1, (int64_t[]){5}));
    assert_ptr_not_equal(snl_type(m, SNL_BF16, 1, junk), snl_type(m, SNL_F32, 1, junk));
    assert_ptr_equal(snl_type_members_of(m, 0, 8), snl_type_rows(m, 8));
    assert_int_equal(snl_type_members_of(m, 1, 8)->rank, 3);
    assert_ptr_equal(snl_type_index(m), snl_type_index(m));
}

/* Every 16-bit pattern comes back from f32; halves between neighbours go to the even one. */
static void check_format(SnlDtype dtype, float (*widen)(uint16_t), uint16_t (*narrow)(float),
                         uint32_t infinity)
{
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        float x = widen((uint16_t)bits);
        uint16_t back = narrow(x);
        if (isnan(x)) {
            assert_true(isnan(widen(back)));
            continue;
        }
        assert_int_equal(back, bits);
        assert_true(snl_round_to(dtype, (double)x) == (double)x);
        if ((bits & 0x7fff) + 1 >= infinity) continue;
        double next = (double)widen((uint16_t)(bits + 1)), middle = ((double)x + next) / 2;
        double even = bits & 1 ? next : (double)x;
        assert_true(snl_round_to(dtype, middle) == even);
        assert_true(snl_round_to(dtype, nextafter(middle, next)) == next);
        assert_true(snl_round_to(dtype, nextafter(middle, (double)x)) == (double)x);
        assert_true((double)widen(narrow((float)middle)) == even);
    }
}

static void bf16(void **state)
{
    (void)state;
    check_format(SNL_BF16, snl_bf16_to_f32, snl_f32_to_bf16, 0x7f80);
    assert_int_equal(snl_f32_to_bf16(1.0f), 0x3f80);
    assert_int_equal(snl_f32_to_bf16(0x1.01p0f), 0x3f80);
    assert_int_equal(snl_f32_to_bf16(-0.0f), 0x8000);
    assert_int_equal(snl_f32_to_bf16(3.4028235e38f), 0x7f80);
    assert_int_equal(snl_f32_to_bf16(-INFINITY), 0xff80);
    assert_true(isnan(snl_bf16_to_f32(snl_f32_to_bf16(NAN))));
}

static void f16(void **state)
{
    (void)state;
    check_format(SNL_F16, snl_f16_to_f32, snl_f32_to_f16, 0x7c00);
    assert_int_equal(snl_f32_to_f16(1.0f), 0x3c00);
    assert_int_equal(snl_f32_to_f16(65504.0f), 0x7bff);
    assert_int_equal(snl_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(snl_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(snl_f32_to_f16(1e30f), 0x7c00);
    assert_int_equal(snl_f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(snl_f32_to_f16(0x1p-24f), 0x0001);
    assert_int_equal(snl_f32_to_f16(0x1p-25f), 0x0000);
    assert_int_equal(snl_f32_to_f16(0x1.000002p-25f), 0x0001);
    assert_int_equal(snl_f32_to_f16(0x1.8p-24f), 0x0002);
    assert_int_equal(snl_f32_to_f16(-1e-30f), 0x8000);
    assert_int_equal(snl_f32_to_f16(0x1.ffcp-15f), 0x0400); /* rounds up to the smallest normal */
    assert_true(isnan(snl_f16_to_f32(snl_f32_to_f16(NAN))));
}

static void rounding_goes_straight_from_double(void **state)
{
    (void)state;
    /* Just above a half: through float it would become the half and go down to even. */
    double x = 1 + 0x1p-8 + 0x1p-40;
    assert_true(snl_round_to(SNL_BF16, x) == 1 + 0x1p-7);
    assert_true(snl_round_to(SNL_BF16, (double)(float)x) == 1);
    assert_true(snl_round_to(SNL_F32, 0.1) == (double)0.1f);
    assert_true(snl_round_to(SNL_F16, 65520) == (double)INFINITY);
    assert_true(snl_round_to(SNL_F16, -1e300) == -(double)INFINITY);
    assert_true(signbit(snl_round_to(SNL_F16, -0.0)));
    assert_true(snl_round_to(SNL_F16, 1e-300) == 0);
    assert_true(isnan(snl_round_to(SNL_BF16, (double)NAN)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dtype_names),
        cmocka_unit_test(sizes),
        support_test(equal_types_are_one),
        cmocka_unit_test(bf16),
        cmocka_unit_test(f16),
        cmocka_unit_test(rounding_goes_straight_from_double),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
