/* codegen/spawn.h -- runs a tool by argument vector, never through a shell. */
#ifndef SNL_CODEGEN_SPAWN_H
#define SNL_CODEGEN_SPAWN_H

#include "ir/base/diag.h"

/* Runs argv (ends with NULL; argv[0] is a path) and waits. What the tool says on stderr is kept;
 * when it cannot be started or fails, one error is reported that carries it. `install` names the
 * Debian package that has the tool; `out_path` the file that it writes (NULL: none), for the error
 * when there is no room for it: linkers say that with a stack dump. */
SnlStatus snl_spawn(const char *const *argv, const char *install, const char *out_path,
                    SnlDiag *diag);
/* Ends the tool that runs now, if one does, so that it writes no more files. For signal handlers.
 */
void snl_spawn_stop(void);

#endif
