/* ir/base/status.h -- outcome of a fallible function.
 *
 * Details have already gone to the SnlDiag that was passed in; the status only says which of the
 * five kinds it was. Its value is the exit code of the process (status.def). */
#ifndef SNL_BASE_STATUS_H
#define SNL_BASE_STATUS_H

typedef enum SnlStatus {
#define STATUS(NAME, code, text) SNL_##NAME = code,
#include "ir/base/status.def"
#undef STATUS
} SnlStatus;

#if defined(__GNUC__)
#define SNL_CHECKED __attribute__((warn_unused_result))
#define SNL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define SNL_CHECKED
#define SNL_PRINTF(fmt, args)
#endif

/* Returns early with the first status that is not SNL_OK. */
#define SNL_TRY(expr)                                                                              \
    do {                                                                                           \
        SnlStatus snl_try_status_ = (expr);                                                        \
        if (snl_try_status_ != SNL_OK) return snl_try_status_;                                     \
    } while (0)

/* Programmer's mistakes: always on, message with file:line, abort. */
#define SNL_ASSERT(cond)                                                                           \
    ((cond) ? (void)0 : snl_assert_failed(#cond, __FILE__, __LINE__))
#define SNL_UNREACHABLE() snl_assert_failed("unreachable", __FILE__, __LINE__)

_Noreturn void snl_assert_failed(const char *cond, const char *file, int line);

#endif
