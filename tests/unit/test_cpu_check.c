/* Processor features by name. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/cpu_check.h"

#include <string.h>

static void nothing_asked_is_fine(void **state)
{
    (void)state;
    assert_int_equal(snlrt_cpu_check("", NULL), SNLRT_OK);
    assert_int_equal(snlrt_cpu_check(",,", NULL), SNLRT_OK);
    assert_int_equal(snlrt_cpu_check("-warp9,-avx512f", NULL), SNLRT_OK);
}

static void first_missing_feature_is_named(void **state)
{
    (void)state;
    SnlrtError err;
    assert_int_equal(snlrt_cpu_check("warp9,warp10", &err), SNLRT_MACHINE);
    assert_non_null(strstr(err.text, "lacks the feature warp9,"));
    assert_int_equal(snlrt_cpu_check("+warp9", &err), SNLRT_MACHINE);
    assert_non_null(strstr(err.text, "lacks the feature warp9,"));
}

#if defined(__x86_64__)
static void features_of_every_x86_64_are_there(void **state)
{
    (void)state;
    assert_int_equal(snlrt_cpu_check("sse,sse2,cmov,+cx8,fxsr,64bit", NULL), SNLRT_OK);
    SnlrtError err;
    assert_int_equal(snlrt_cpu_check("sse2,ss", &err), SNLRT_MACHINE); /* whole names only */
}

/* The compiler's run-time check asks the same processor in another way. */
static void answers_agree_with_the_compilers(void **state)
{
    (void)state;
#define AGREE(name)                                                                                \
    assert_int_equal(snlrt_cpu_check(name, NULL) == SNLRT_OK, __builtin_cpu_supports(name) != 0)
    __builtin_cpu_init();
    AGREE("sse3");
    AGREE("ssse3");
    AGREE("sse4.1");
    AGREE("sse4.2");
    AGREE("popcnt");
    AGREE("avx");
    AGREE("avx2");
    AGREE("fma");
    AGREE("bmi");
    AGREE("bmi2");
    AGREE("avx512f");
    AGREE("avx512bw");
    AGREE("avx512dq");
    AGREE("avx512vl");
    AGREE("avx512cd");
    AGREE("avx512vnni");
    AGREE("avx512bf16");
    AGREE("avx512vbmi");
    AGREE("avx512vbmi2");
    AGREE("avx512bitalg");
    AGREE("avx512vpopcntdq");
    AGREE("avx512ifma");
    AGREE("gfni");
    AGREE("vpclmulqdq");
    AGREE("sse4a");
    AGREE("xop");
    AGREE("fma4");
#undef AGREE
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_asked_is_fine),
        cmocka_unit_test(first_missing_feature_is_named),
#if defined(__x86_64__)
        cmocka_unit_test(features_of_every_x86_64_are_there),
        cmocka_unit_test(answers_agree_with_the_compilers),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
