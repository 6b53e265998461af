/* runtime/reader.c -- sums of memory in 8 streams. Unrolled by hand: an array of sums stays in
 * registers only where the compiler unrolls. */
#include "runtime/reader.h"

enum { STREAMS = SNLRT_READER_STEP / SNLRT_READER_ALIGN };

#define EACH_STREAM(step) step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7)

typedef uint64_t Part __attribute__((vector_size(16), may_alias));

#define ZERO_PARTS(s) Part sum##s = {0, 0};
#define READ_PARTS(s)                                                                              \
    for (int i = 0; i < SNLRT_READER_ALIGN; i += (int)sizeof(Part))                                \
        sum##s += *(const Part *)(at + s * part + i);
#define TOTAL_PARTS(s) total += sum##s[0] + sum##s[1];

static uint64_t read_parts(const char *at, int64_t part)
{
    EACH_STREAM(ZERO_PARTS)
    for (const char *end = at + part; at < end; at += SNLRT_READER_ALIGN) {
        EACH_STREAM(READ_PARTS)
    }
    uint64_t total = 0;
    EACH_STREAM(TOTAL_PARTS)
    return total;
}

#if defined(__x86_64__)
typedef uint64_t Line __attribute__((vector_size(64), may_alias));

#define ZERO_LINES(s) Line sum##s = {0, 0, 0, 0, 0, 0, 0, 0};
#define READ_LINES(s) sum##s += *(const Line *)(at + s * part);
#define TOTAL_LINES(s) all += sum##s;

__attribute__((target("avx512f"))) static uint64_t read_lines(const char *at, int64_t part)
{
    EACH_STREAM(ZERO_LINES)
    for (const char *end = at + part; at < end; at += SNLRT_READER_ALIGN) {
        EACH_STREAM(READ_LINES)
    }
    Line all = {0, 0, 0, 0, 0, 0, 0, 0};
    EACH_STREAM(TOTAL_LINES)
    return all[0] + all[1] + all[2] + all[3] + all[4] + all[5] + all[6] + all[7];
}
#endif

uint64_t snlrt_read_streams(const void *bytes, int64_t n)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) return read_lines(bytes, n / STREAMS);
#endif
    return read_parts(bytes, n / STREAMS);
}
