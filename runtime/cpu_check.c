/* runtime/cpu_check.c -- processor features through cpuid and xgetbv. */
#include "runtime/cpu_check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

enum { EAX, EBX, ECX, EDX };
/* XCR0 bits */
enum {
    STATE_NONE = 0,
    STATE_AVX = 0x6,
    STATE_AVX512 = 0xe6,
    STATE_AMX = 0x60000,
    STATE_APX = 0x80000
};

typedef struct Feature {
    const char *name;
    uint32_t leaf, subleaf;
    int reg, bit;
    uint32_t state;
} Feature;

static const Feature features_known[] = {
#define X(name, leaf, subleaf, reg, bit, state) {name, leaf, subleaf, reg, bit, STATE_##state},
#include "runtime/cpu_features.def"
#undef X
};

/* What the operating system saves and restores. */
static uint32_t enabled_state(void)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27))) return 0; /* OSXSAVE */
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static bool has_feature(const Feature *f)
{
    uint32_t r[4];
    if (!__get_cpuid_count(f->leaf, f->subleaf, &r[EAX], &r[EBX], &r[ECX], &r[EDX])) return false;
    if (!((r[f->reg] >> f->bit) & 1)) return false;
    return (enabled_state() & f->state) == f->state;
}

static bool has(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof features_known / sizeof *features_known; i++) {
        const Feature *f = &features_known[i];
        if (strlen(f->name) == n && !memcmp(f->name, name, n)) return has_feature(f);
    }
    return false;
}
#else
static bool has(const char *name, size_t n)
{
    (void)name, (void)n;
    return false;
}
#endif

SnlrtStatus snlrt_cpu_check(const char *features, SnlrtError *err)
{
    for (const char *at = features; *at;) {
        size_t n = strcspn(at, ",");
        const char *name = at + (*at == '+');
        size_t n_name = n - (size_t)(name - at);
        if (n_name && *name != '-' && !has(name, n_name))
            return snlrt_fail(
                err, SNLRT_MACHINE,
                "this processor lacks the feature %.*s, which the program was compiled "
                "for: compile it again with --cpu for this machine",
                (int)n_name, name);
        at += n + (at[n] == ',');
    }
    return SNLRT_OK;
}
