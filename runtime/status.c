/* runtime/status.c -- the line of text of a failure. */
#include "runtime/status.h"

#include <stdarg.h>
#include <stdio.h>

SnlrtStatus snlrt_fail(SnlrtError *err, SnlrtStatus status, const char *format, ...)
{
    if (!err) return status;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return status;
}
