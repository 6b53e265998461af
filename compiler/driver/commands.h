/* compiler/driver/commands.h -- the subcommands of snlpc.
 *
 * Each gets the arguments after `snlpc` (argv[0] is the command's name), parses them with argp,
 * prints its own diagnostics and returns the exit code of the process (ir/base/status.def). */
#ifndef SNL_DRIVER_COMMANDS_H
#define SNL_DRIVER_COMMANDS_H

#include "ir/base/status.h"

/* COMMAND(name, "what it does") */
#define SNL_COMMANDS(COMMAND)                                                                      \
    COMMAND(compile, "turn a model into one native program")                                       \
    COMMAND(inspect, "say what a model is and whether it compiles")                                \
    COMMAND(tokenize, "text on stdin -> token ids")                                                \
    COMMAND(detokenize, "token ids on stdin -> text")                                              \
    COMMAND(opt, "run passes over IR text")                                                        \
    COMMAND(eval, "judge plans on a text: perplexity, agreement, steps and speed")                 \
    COMMAND(run, "call one IR function: evaluated, compiled, or both compared")

#define COMMAND(name, summary) SnlStatus snl_cmd_##name(int argc, char **argv);
SNL_COMMANDS(COMMAND)
#undef COMMAND

#endif
