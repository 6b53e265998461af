/* runtime/status.h -- how the runtime's library form reports: a status and one line of text.
 *
 * The library form (everything but main.c, generate.c, bench.c, ppl.c, about.c, verify.c) never
 * prints and never exits. The values are the program's exit codes. */
#ifndef SNLRT_STATUS_H
#define SNLRT_STATUS_H

typedef enum SnlrtStatus {
    SNLRT_STOPPED = -1, /* no failure: who was called back wanted no more */
    SNLRT_OK = 0,
    SNLRT_INPUT = 1,    /* the text, ids or file given */
    SNLRT_USAGE = 2,    /* the command line */
    SNLRT_INTERNAL = 3, /* program and payload disagree */
    SNLRT_MACHINE = 4   /* cannot open, disk full, out of memory */
} SnlrtStatus;

typedef struct SnlrtError {
    char text[512]; /* one line without its end; empty: nothing was reported */
} SnlrtError;

#if defined(__GNUC__)
#define SNLRT_PRINTF(text, args) __attribute__((format(printf, text, args)))
#else
#define SNLRT_PRINTF(text, args)
#endif

/* Writes the line and returns `status`. `err` may be NULL. */
SnlrtStatus snlrt_fail(SnlrtError *err, SnlrtStatus status, const char *format, ...)
    SNLRT_PRINTF(3, 4);

/* returns early with whatever failed */
#define SNLRT_TRY(expr)                                                                            \
    do {                                                                                           \
        SnlrtStatus snlrt_try_status = (expr);                                                     \
        if (snlrt_try_status != SNLRT_OK) return snlrt_try_status;                                 \
    } while (0)

#endif
