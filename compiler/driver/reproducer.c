/* compiler/driver/reproducer.c -- composes the reproducer while everything is still well. */
#include "compiler/driver/reproducer.h"

#include <string.h>

/* One comment line: control characters (a newline in an argument) become spaces. */
static char *comment_safe(SnlArena *arena, const char *text)
{
    char *safe = snl_arena_strdup(arena, text);
    for (char *c = safe; *c; c++)
        if ((unsigned char)*c < ' ') *c = ' ';
    return safe;
}

char *snl_reproducer_text(SnlArena *arena, const SnlModule *m, char *const *argv,
                          const char *pipeline)
{
    const char *command = "";
    for (; *argv; argv++)
        command = snl_arena_printf(arena, "%s%s%s", command, *command ? " " : "",
                                   comment_safe(arena, *argv));
    return snl_arena_printf(arena,
                            "// snlpc " SNL_VERSION " reproducer\n"
                            "// command:  %s\n"
                            "// pipeline: %s\n"
                            "// Replay: the same command with this file as MODEL and "
                            "--random-weights 1\n\n%s",
                            command, comment_safe(arena, pipeline), snl_print_to_string(arena, m));
}
