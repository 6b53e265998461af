/* compiler/driver/reproducer.h -- the text that replays a failure: command line, pipeline and IR in
 * one `.snl` file. */
#ifndef SNL_DRIVER_REPRODUCER_H
#define SNL_DRIVER_REPRODUCER_H

#include "ir/ir.h"

/* `argv` ends with NULL. The file parses as IR (the rest is comments); weights are not in it. */
char *snl_reproducer_text(SnlArena *arena, const SnlModule *m, char *const *argv,
                          const char *pipeline);

#endif
