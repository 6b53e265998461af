/* codegen/spawn.c -- posix_spawn, the tool's stderr through a pipe, its exit status. */
#include "codegen/spawn.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { STDERR_KEPT = 2000 }; /* bytes; the rest is read and dropped */

/* Mutable and global because signal handlers get no context; 0: no tool is running. */
static volatile sig_atomic_t running;

void snl_spawn_stop(void)
{
    pid_t pid = running;
    if (pid <= 0) return;
    running = 0;
    kill(pid, SIGTERM);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

/* Starts the tool with its stderr on `pipe_end`; an errno value or 0. */
static int start(const char *const *argv, const int pipe_end[2], pid_t *out_pid)
{
    posix_spawn_file_actions_t actions;
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed) return failed;
    posix_spawn_file_actions_adddup2(&actions, pipe_end[1], STDERR_FILENO);
    posix_spawn_file_actions_addclose(&actions, pipe_end[0]);
    posix_spawn_file_actions_addclose(&actions, pipe_end[1]);
    failed = posix_spawn(out_pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

/* Everything until end of file; the first `room` - 1 bytes are kept, on one line as messages are.
 */
static void drain(int fd, char *text, size_t room)
{
    size_t kept = 0;
    char chunk[1024];
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof chunk);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        size_t n = (size_t)got < room - 1 - kept ? (size_t)got : room - 1 - kept;
        memcpy(text + kept, chunk, n);
        kept += n;
    }
    while (kept && text[kept - 1] == '\n') kept--;
    text[kept] = '\0';
    for (char *c = text; *c; c++)
        if (*c == '\n') *c = '|';
}

/* The output is mapped, and grown before it is written: no room shows as a signal. ld.lld catches
 * that of the limit, prints its stack and ends with 1. */
static bool beyond_limit(int status, const char *said, struct rlimit *out_limit)
{
    if (getrlimit(RLIMIT_FSIZE, out_limit) != 0 || out_limit->rlim_cur == RLIM_INFINITY)
        return false;
    if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGXFSZ;
    return strstr(said, "Stack dump") != NULL;
}

static bool disk_is_full(int status, const char *said)
{
    return (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS) || strstr(said, strerror(ENOSPC));
}

static SnlStatus report(SnlDiag *diag, const char *tool, const char *out_path, int status,
                        const char *said)
{
    struct rlimit limit;
    if (out_path && beyond_limit(status, said, &limit))
        return snl_error_at(diag, SNL_E_MACHINE, out_path,
                            "cannot write: files may have %llu bytes here, which is too few; raise "
                            "the limit (ulimit -f)",
                            (unsigned long long)limit.rlim_cur);
    if (out_path && disk_is_full(status, said))
        return snl_error_at(diag, SNL_E_MACHINE, out_path,
                            "cannot write: %s; make room there, or name a folder that has some in "
                            "TMPDIR",
                            strerror(ENOSPC));
    const char *sep = *said ? ": " : "";
    if (WIFSIGNALED(status))
        return snl_error_at(diag, SNL_E_MACHINE, tool, "ended by signal %d%s%s", WTERMSIG(status),
                            sep, said);
    return snl_error_at(diag, SNL_E_MACHINE, tool, "failed with exit status %d%s%s",
                        WEXITSTATUS(status), sep, said);
}

SnlStatus snl_spawn(const char *const *argv, const char *install, const char *out_path,
                    SnlDiag *diag)
{
    int ends[2];
    if (pipe(ends) != 0)
        return snl_error_at(diag, SNL_E_MACHINE, argv[0], "cannot make a pipe: %s",
                            strerror(errno));
    pid_t pid = 0;
    int failed = start(argv, ends, &pid);
    close(ends[1]);
    if (failed) {
        close(ends[0]);
        return snl_error_at(diag, SNL_E_MACHINE, argv[0], "cannot start: %s (Debian package %s)",
                            strerror(failed), install);
    }
    running = pid;
    char said[STDERR_KEPT];
    drain(ends[0], said, sizeof said);
    close(ends[0]);
    int status = 0;
    pid_t waited;
    do waited = waitpid(pid, &status, 0);
    while (waited < 0 && errno == EINTR);
    running = 0;
    if (waited < 0)
        return snl_error_at(diag, SNL_E_MACHINE, argv[0], "cannot wait: %s", strerror(errno));
    return status == 0 ? SNL_OK : report(diag, argv[0], out_path, status, said);
}
