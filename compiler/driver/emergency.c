/* compiler/driver/emergency.c -- last actions of a process; only async-signal-safe calls on the
 * way. */
#include "compiler/driver/emergency.h"

#include "codegen/fatal.h"
#include "codegen/spawn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_PATH = 4096 };

static struct {
    char folder[MAX_PATH];
    DIR *listing; /* of the folder; opened with it, so that handlers need not allocate */
    char output[MAX_PATH];
    const char *reproducer;
    size_t reproducer_len;
    const char *wipe; /* what takes a bar off the terminal */
} state;

/* ---- temporary files ------------------------------------------------------------------------- */

static bool keep_path(char *to, const char *path)
{
    size_t n = strlen(path);
    if (n >= MAX_PATH) return false;
    memcpy(to, path, n + 1);
    return true;
}

static SnlStatus no_folder(SnlDiag *diag, const char *base, int error)
{
    return snl_error_at(diag, SNL_E_MACHINE, "TMPDIR",
                        "cannot make a folder for temporary files in '%.200s': %s", base,
                        strerror(error));
}

SnlStatus snl_emergency_make_folder(SnlArena *arena, SnlDiag *diag)
{
    SNL_ASSERT(!state.folder[0]);
    const char *base = getenv("TMPDIR");
    if (!base || !*base) base = "/tmp";
    char *path = snl_arena_printf(arena, "%s/snlpc-XXXXXX", base);
    if (strlen(path) + 32 >= MAX_PATH) return no_folder(diag, base, ENAMETOOLONG);
    if (!mkdtemp(path)) return no_folder(diag, base, errno);
    state.listing = opendir(path);
    if (!state.listing) {
        int error = errno;
        rmdir(path);
        return no_folder(diag, base, error);
    }
    keep_path(state.folder, path);
    return SNL_OK;
}

const char *snl_emergency_path(SnlArena *arena, const char *name)
{
    SNL_ASSERT(state.folder[0]);
    return snl_arena_printf(arena, "%s/%s", state.folder, name);
}

/* Everything in it: files that are written under another name first have that name now. Nobody else
 * reads the listing, so that a handler finds it free. */
static void empty_folder(void)
{
    rewinddir(state.listing);
    for (const struct dirent *entry; (entry = readdir(state.listing));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(state.listing), entry->d_name, 0);
    rmdir(state.folder);
    state.folder[0] = '\0';
}

void snl_emergency_remove_folder(void)
{
    if (!state.folder[0]) return;
    empty_folder();
    closedir(state.listing);
}

void snl_emergency_set_output(const char *temp_path)
{
    if (!temp_path || !keep_path(state.output, temp_path)) state.output[0] = '\0';
}

static void remove_everything(void)
{
    snl_spawn_stop();
    if (state.folder[0]) empty_folder();
    if (state.output[0]) unlink(state.output);
    state.output[0] = '\0';
}

/* ---- the reproducer -------------------------------------------------------------------------- */

void snl_emergency_set_reproducer(const char *text)
{
    state.reproducer = text;
    state.reproducer_len = text ? strlen(text) : 0;
}

static void say(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written; /* nothing is left to tell it to */
}

static bool write_all(int fd, const char *text, size_t n)
{
    while (n) {
        ssize_t done = write(fd, text, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        text += done;
        n -= (size_t)done;
    }
    return true;
}

/* "snlpc-reproducer-PID.snl" without stdio. */
static void reproducer_name(char *to)
{
    memcpy(to, "snlpc-reproducer-", 17);
    char digits[24];
    size_t n = 0;
    for (uint64_t pid = (uint64_t)getpid(); pid || !n; pid /= 10)
        digits[n++] = (char)('0' + pid % 10);
    char *at = to + 17;
    while (n) *at++ = digits[--n];
    memcpy(at, ".snl", 5);
}

void snl_emergency_write_reproducer(void)
{
    if (!state.reproducer) return;
    char name[64];
    reproducer_name(name);
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || !write_all(fd, state.reproducer, state.reproducer_len)) {
        say("snlpc: note: the reproducer could not be written here\n");
    } else {
        say("snlpc: note: this is a bug; please report it with the file ");
        say(name);
        say("\n");
    }
    if (fd >= 0) close(fd);
    state.reproducer = NULL;
}

/* ---- handlers -------------------------------------------------------------------------------- */

static void on_stop(int number)
{
    say(state.wipe);
    remove_everything();
    signal(number, SIG_DFL);
    raise(number);
}

static void end_internal(void)
{
    snl_emergency_write_reproducer();
    remove_everything();
    _exit(SNL_INTERNAL);
}

static void on_crash(int number)
{
    say(state.wipe);
    say("snlpc: error[E0901]: internal error: ");
    say(number == SIGABRT  ? "aborted\n"
        : number == SIGSEGV ? "segmentation fault\n"
                            : "fatal signal\n");
    end_internal();
}

static void on_llvm_fatal(const char *reason)
{
    say(state.wipe);
    say("snlpc: error[E0901]: internal error: LLVM: ");
    say(reason);
    say("\n");
    end_internal();
}

/* What is ignored stays so: nohup, pipes of those who want an error. */
static void install(int number, void (*handler)(int))
{
    struct sigaction old;
    if (sigaction(number, NULL, &old) == 0 && old.sa_handler == SIG_IGN) return;
    struct sigaction action = {.sa_handler = handler};
    sigemptyset(&action.sa_mask);
    action.sa_flags = (int)SA_RESETHAND;
    sigaction(number, &action, NULL);
}

void snl_emergency_install(void)
{
    state.wipe = snl_can_wipe(stderr) ? SNL_WIPE : "";
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) install(stops[i], on_stop);
    /* A file that may not grow is a failed write, told like a full disk. */
    signal(SIGXFSZ, SIG_IGN);
    install(SIGABRT, on_crash);
#ifndef __SANITIZE_ADDRESS__
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++) install(crashes[i], on_crash);
#endif
    snl_codegen_on_fatal(on_llvm_fatal);
}
