/* compiler/driver/emergency.h -- what is done when the process cannot go on: temporary files are
 * removed and, after an internal error, a reproducer is left behind.
 *
 * Signal handlers and LLVM's fatal-error handler get no context of their own; so this is the one
 * place of the compiler with process-wide state. Only main's thread may call these functions. */
#ifndef SNL_DRIVER_EMERGENCY_H
#define SNL_DRIVER_EMERGENCY_H

#include "ir/base/arena.h"
#include "ir/base/diag.h"

/* Handlers: SIGINT, SIGTERM, SIGHUP and SIGPIPE, where they are not ignored, remove the temporary
 * files and end the process as the signal would have; SIGABRT, SIGSEGV, SIGBUS, SIGFPE and SIGILL,
 * and LLVM's fatal errors, also write the reproducer and end it with exit code 3. */
void snl_emergency_install(void);

/* The reproducer: `text` replays what is going on now; kept, not copied. NULL: nothing to
 * replay. */
void snl_emergency_set_reproducer(const char *text);

/* A folder for temporary files, in $TMPDIR or /tmp. At most one at a time. */
SnlStatus snl_emergency_make_folder(SnlArena *arena, SnlDiag *diag);
/* A path of a file in that folder. */
const char *snl_emergency_path(SnlArena *arena, const char *name);
/* Removes the folder and the files in it. */
void snl_emergency_remove_folder(void);
/* A temporary file elsewhere (the output before it takes its name) that must not survive a signal;
 * NULL: none any more. */
void snl_emergency_set_output(const char *temp_path);

/* Writes the reproducer and returns: for internal errors that were reported as diagnostics. */
void snl_emergency_write_reproducer(void);

#endif
