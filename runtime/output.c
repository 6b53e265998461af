/* runtime/output.c -- write(2) in full, and files by rename. */
#include "runtime/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_NBYTES = 1 << 16 };

void snlrt_fill_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/", O_RDONLY) < 0) return;
}

bool snlrt_input_closed(void)
{
    struct stat info;
    return fstat(STDIN_FILENO, &info) != 0 || S_ISDIR(info.st_mode);
}

const char *snlrt_write_error(void)
{
    return errno == EBADF ? "it is closed, or open for reading only" : strerror(errno);
}

SnlrtStatus snlrt_write(int fd, const char *name, const void *bytes, size_t nbytes, SnlrtError *err)
{
    const char *at = bytes;
    while (nbytes) {
        ssize_t n = write(fd, at, nbytes);
        if (n >= 0) {
            at += n;
            nbytes -= (size_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            struct pollfd ready = {.fd = fd, .events = POLLOUT};
            poll(&ready, 1, -1);
        } else if (errno != EINTR) {
            return snlrt_fail(err, SNLRT_MACHINE, "cannot write %s: %s", name, snlrt_write_error());
        }
    }
    return SNLRT_OK;
}

static SnlrtStatus cannot_create(const char *path, SnlrtError *err)
{
    return snlrt_fail(err, SNLRT_MACHINE, "cannot create %s: %s", path, strerror(errno));
}

static void file_free(SnlrtFile *file)
{
    free(file->place);
    free(file->temp);
    free(file->buffer);
    *file = (SnlrtFile){.fd = -1};
}

/* A name of its own beside the place, with the mode that a plain new file would get. */
static bool open_temp(SnlrtFile *file)
{
    size_t nbytes = strlen(file->place) + sizeof ".XXXXXX";
    file->temp = malloc(nbytes);
    if (!file->temp) return false;
    snprintf(file->temp, nbytes, "%s.XXXXXX", file->place);
    file->fd = mkstemp(file->temp);
    if (file->fd < 0) return false;
    mode_t mask = umask(0);
    umask(mask);
    fchmod(file->fd, (mode_t)0666 & ~mask);
    fcntl(file->fd, F_SETFD, FD_CLOEXEC);
    return true;
}

SnlrtStatus snlrt_file_create(const char *path, SnlrtFile *out, SnlrtError *err)
{
    *out = (SnlrtFile){.fd = -1, .path = path};
    struct stat info;
    bool exists = stat(path, &info) == 0;
    if (!*path) errno = ENOENT;
    out->place = exists ? realpath(path, NULL) : *path ? strdup(path) : NULL;
    out->buffer = malloc(BUFFER_NBYTES);
    if (!out->place || !out->buffer) {
        SnlrtStatus status = cannot_create(path, err);
        file_free(out);
        return status;
    }
    bool opened = true;
    if (exists && !S_ISREG(info.st_mode)) {
        out->fd = open(path, O_WRONLY | O_CLOEXEC);
        opened = out->fd >= 0;
    } else {
        opened = open_temp(out);
    }
    if (opened) return SNLRT_OK;
    SnlrtStatus status = cannot_create(path, err);
    file_free(out);
    return status;
}

static SnlrtStatus flush(SnlrtFile *file, SnlrtError *err)
{
    size_t n = file->n_buffered;
    file->n_buffered = 0;
    return snlrt_write(file->fd, file->path, file->buffer, n, err);
}

SnlrtStatus snlrt_file_write(SnlrtFile *file, const void *bytes, size_t nbytes, SnlrtError *err)
{
    const char *at = bytes;
    while (nbytes) {
        size_t room = BUFFER_NBYTES - file->n_buffered, n = nbytes < room ? nbytes : room;
        memcpy(file->buffer + file->n_buffered, at, n);
        file->n_buffered += n;
        at += n;
        nbytes -= n;
        if (file->n_buffered == BUFFER_NBYTES) SNLRT_TRY(flush(file, err));
    }
    return SNLRT_OK;
}

SnlrtStatus snlrt_file_commit(SnlrtFile *file, SnlrtError *err)
{
    SnlrtStatus status = flush(file, err);
    int fd = file->fd;
    file->fd = -1;
    if (close(fd) != 0 && status == SNLRT_OK)
        status = snlrt_fail(err, SNLRT_MACHINE, "cannot write %s: %s", file->path, strerror(errno));
    if (status == SNLRT_OK && file->temp && rename(file->temp, file->place) != 0)
        status = cannot_create(file->path, err);
    if (status != SNLRT_OK && file->temp) unlink(file->temp);
    file_free(file);
    return status;
}

void snlrt_file_abort(SnlrtFile *file)
{
    if (file->fd < 0) return;
    close(file->fd);
    if (file->temp) unlink(file->temp);
    file_free(file);
}
