/* ir/base/checked.c -- numbers from text, whole or not at all. */
#include "ir/base/checked.h"

#include <math.h>
#include <stdlib.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool snl_parse_i64(const char *text, int64_t min, int64_t max, int64_t *out)
{
    bool negative = *text == '-';
    const char *p = negative ? text + 1 : text;
    if (!is_digit(*p)) return false;
    int64_t value = 0;
    for (; is_digit(*p); p++) {
        int64_t digit = *p - '0';
        if (!snl_mul_i64(value, 10, &value)) return false;
        /* Counted in the sign's direction: the smallest number has no positive twin. */
        if (!snl_add_i64(value, negative ? -digit : digit, &value)) return false;
    }
    if (*p || value < min || value > max) return false;
    *out = value;
    return true;
}

static const char *skip_digits(const char *p)
{
    while (is_digit(*p)) p++;
    return p;
}

/* strtod also takes hexadecimal, "inf", "nan" and leading blanks; a file that has those is wrong.
 */
static bool is_decimal_real(const char *p)
{
    if (*p == '-') p++;
    const char *whole = p;
    p = skip_digits(p);
    bool digits = p > whole;
    if (*p == '.') {
        const char *fraction = p + 1;
        p = skip_digits(fraction);
        digits = digits || p > fraction;
    }
    if (!digits) return false;
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-') p++;
        if (!is_digit(*p)) return false;
        p = skip_digits(p);
    }
    return *p == '\0';
}

bool snl_parse_real(const char *text, double *out)
{
    if (!is_decimal_real(text)) return false;
    double value = strtod(text, NULL); /* snlpc never calls setlocale: the point is '.' */
    if (!isfinite(value)) return false;
    *out = value;
    return true;
}
