/* compiler/driver/main.c -- `snlpc COMMAND ...`: finds the command and hands over. */
#include "compiler/driver/commands.h"
#include "compiler/driver/emergency.h"
#include "runtime/output.h"

#include <argp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Command {
    const char *name, *summary;
    char *title; /* what argp calls it in usage lines */
    SnlStatus (*run)(int argc, char **argv);
} Command;

static const Command commands[] = {
#define COMMAND(name, summary) {#name, summary, "snlpc " #name, snl_cmd_##name},
    SNL_COMMANDS(COMMAND)
#undef COMMAND
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_help(FILE *out)
{
    fputs("Usage: snlpc COMMAND [ARGUMENTS...]\n"
          "Compiles transformer models into standalone native programs.\n\n",
          out);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
    fputs("\n"
          "  --help       this text; `snlpc COMMAND --help` explains a command\n"
          "  --version    the version\n\n"
          "MODEL, where a command takes one, is a Hugging Face folder (config.json,\n"
          "model.safetensors or its shards, tokenizer.json) or a .snl file (IR text).\n\n"
          "Exit status: 0 ok, 1 bad input, 2 usage, 3 internal error (with a reproducer),\n"
          "4 machine (cannot open, disk full, out of memory).\n",
          out);
}

/* The command that differs least from `name`: one that it begins, or that begins it. */
static const char *nearest(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        size_t n = 0;
        while (name[n] && name[n] == commands[i].name[n]) n++;
        if (n >= 3 || (n && !name[n])) return commands[i].name;
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *guess = nearest(name);
    fprintf(stderr, "snlpc: error[E0501]: no command '%s'", name);
    if (guess) fprintf(stderr, " (did you mean '%s'?)", guess);
    fputs("; `snlpc --help` lists them\n", stderr);
    return SNL_USAGE;
}

/* What went to stdout must have arrived: a full disk is not success. */
static bool flush_stdout(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return true;
    fprintf(stderr, "snlpc: error[E0601]: stdout: cannot write: %s\n", snlrt_write_error());
    return false;
}

static bool flushed; /* by the command, whose exit status stands */

/* argp ends the process itself after --help. */
static void check_help(void)
{
    if (!flushed && !flush_stdout()) _exit(SNL_MACHINE);
}

static int run_command(const Command *command, int argc, char **argv)
{
    argp_err_exit_status = SNL_USAGE;
    argv[0] = command->title;
    snl_emergency_install();
    int status = (int)command->run(argc, argv);
    flushed = true;
    return status == SNL_OK && !flush_stdout() ? SNL_MACHINE : status;
}

int main(int argc, char **argv)
{
    snlrt_fill_standard_descriptors();
    atexit(check_help);
    if (argc < 2) {
        print_help(stderr);
        return SNL_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help") || !strcmp(argv[1], "-h")) {
        print_help(stdout);
        return SNL_OK;
    }
    if (!strcmp(argv[1], "--version")) {
        puts("snlpc " SNL_VERSION);
        return SNL_OK;
    }
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (!strcmp(argv[1], commands[i].name))
            return run_command(&commands[i], argc - 1, argv + 1);
    return unknown_command(argv[1]);
}
