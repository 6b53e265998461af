/* Block formats: integers and scales worked out by hand, short blocks, zeros, and that rounding
 * twice is rounding once. */
#include "tests/support/support.h"

#include "ir/type.h"

#include <math.h>
#include <string.h>

/* max 12.7: scale 0.1, in f16 0.0999755859375. */
static void q8_0_scales_by_the_largest(void **state)
{
    (void)state;
    float x[SNL_BLOCK] = {12.7f, -12.7f, 0.1f, 0.16f, -0.05f};
    int8_t q[SNL_BLOCK];
    float scale = snl_quantize_block(SNL_Q8_0, x, 5, q);
    assert_close(scale, 0.0999755859375, 0, 0);
    static const int8_t wanted[] = {127, -127, 1, 2, 0, 0};
    assert_memory_equal(q, wanted, sizeof wanted);
}

/* The largest by size is -4: scale 0.5, so that it becomes -8; +4 would be 8 and is kept at 7. */
static void q4_0_keeps_the_sign_of_the_largest(void **state)
{
    (void)state;
    float x[SNL_BLOCK] = {-4.0f, 3.9f, 0.5f, -0.24f, 0.26f};
    int8_t q[SNL_BLOCK];
    float scale = snl_quantize_block(SNL_Q4_0, x, SNL_BLOCK, q);
    assert_close(scale, 0.5, 0, 0);
    static const int8_t wanted[] = {-8, 7, 1, 0, 1, 0};
    assert_memory_equal(q, wanted, sizeof wanted);
}

static void zeros_stay_zeros(void **state)
{
    (void)state;
    float x[SNL_BLOCK] = {0};
    int8_t q[SNL_BLOCK];
    assert_close(snl_quantize_block(SNL_Q8_0, x, SNL_BLOCK, q), 0, 0, 0);
    for (int i = 0; i < SNL_BLOCK; i++) assert_int_equal(q[i], 0);
}

/* The packer quantises values that the weight reader has rounded already. */
static void rounding_twice_is_rounding_once(void **state)
{
    (void)state;
    static const SnlDtype formats[] = {SNL_Q8_0, SNL_Q4_0};
    for (int f = 0; f < 2; f++) {
        uint32_t seed = 1;
        for (int row = 0; row < 2000; row++) {
            float x[77], once[77];
            for (int i = 0; i < 77; i++) {
                seed = seed * 1664525u + 1013904223u;
                x[i] = ldexpf((float)(int32_t)seed, (int)(seed % 24) - 45);
            }
            snl_round_blocks(formats[f], x, 77);
            memcpy(once, x, sizeof x);
            snl_round_blocks(formats[f], x, 77);
            assert_memory_equal(x, once, sizeof x);
        }
    }
}

/* 4 of 8 in q4_0 is 63.5 of 127, as it comes out of an f32 product that is off by a unit or two. */
static void ties_go_one_way(void **state)
{
    (void)state;
    uint32_t seed = 1;
    for (int round = 0; round < 10000; round++) {
        seed = seed * 1664525u + 1013904223u;
        float largest = ldexpf((float)seed, -31), half = largest / 2;
        float x[SNL_BLOCK] = {
            largest, half, nextafterf(half, 9), nextafterf(half, 0), -half, -nextafterf(half, 9)};
        int8_t q[SNL_BLOCK];
        snl_quantize_block(SNL_Q8_0, x, 6, q);
        static const int8_t wanted[] = {127, 63, 63, 63, -63, -63};
        assert_memory_equal(q, wanted, sizeof wanted);
    }
}

/* Half a scale for most; the end of q4_0 that is cut off loses up to one. */
static void errors_are_bounded_by_the_scale(void **state)
{
    (void)state;
    float x[SNL_BLOCK], y[SNL_BLOCK];
    int8_t q[SNL_BLOCK];
    for (int i = 0; i < SNL_BLOCK; i++) x[i] = y[i] = sinf((float)(3 * i + 1));
    float scale = snl_quantize_block(SNL_Q8_0, x, SNL_BLOCK, q);
    snl_round_blocks(SNL_Q8_0, y, SNL_BLOCK);
    for (int i = 0; i < SNL_BLOCK; i++) assert_close(y[i], x[i], 0.5 * fabsf(scale) * 1.13, 0);
    memcpy(y, x, sizeof x);
    scale = snl_quantize_block(SNL_Q4_0, x, SNL_BLOCK, q);
    snl_round_blocks(SNL_Q4_0, y, SNL_BLOCK);
    for (int i = 0; i < SNL_BLOCK; i++) assert_close(y[i], x[i], 1.01 * fabsf(scale), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(q8_0_scales_by_the_largest),
        cmocka_unit_test(q4_0_keeps_the_sign_of_the_largest),
        cmocka_unit_test(zeros_stay_zeros),
        cmocka_unit_test(rounding_twice_is_rounding_once),
        cmocka_unit_test(ties_go_one_way),
        cmocka_unit_test(errors_are_bounded_by_the_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
