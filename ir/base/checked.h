/* ir/base/checked.h -- arithmetic on sizes that came from files. Each returns false on overflow. */
#ifndef SNL_BASE_CHECKED_H
#define SNL_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool snl_mul_i64(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool snl_add_i64(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}
static inline bool snl_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool snl_add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* The whole of `text` (NUL-terminated) as a decimal integer within [min, max]. No locale. */
bool snl_parse_i64(const char *text, int64_t min, int64_t max, int64_t *out);
/* The whole of `text` as a finite real. */
bool snl_parse_real(const char *text, double *out);

#endif
