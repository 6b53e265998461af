/* tests/numeric/kernels/main.c -- every kernel of every op, compiled, against the evaluator. */
#include "kernel.h"

#include "support/support.h"

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_test(kernels_linear),
        support_test(kernels_embed),
        support_test(kernels_blocks),
        support_test(kernels_blocks_levels),
        support_test(kernels_blocks_extremes),
        support_test(kernels_parts),
        support_test(kernels_bf16_levels),
        support_test(kernels_rows_alike),
        support_test(kernels_rms_norm),
        support_test(kernels_rope),
        support_test(kernels_lincomb),
        support_test(kernels_pointwise),
        support_test(kernels_mul),
        support_test(kernels_mix),
        support_test(kernels_views),
        support_test(kernels_cast),
        support_test(kernels_not_numbers),
        support_test(kernels_attention_heads),
        support_test(kernels_attention_windows),
        support_test(kernels_attention_members),
        support_test(kernels_attention_own_rows),
        support_test(kernels_attention_levels),
        support_test(kernels_rows_kept),
        support_test(kernels_effects_in_order),
        support_test(kernels_signatures),
        support_test(kernels_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
