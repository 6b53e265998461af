/* ir/base/status.c -- what happens when a programmer's assumption fails. */
#include "ir/base/status.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void snl_assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "%s:%d: internal error: assertion failed: %s\n", file, line, cond);
    abort();
}
