/* ir/base/file.c -- files of the machine: mappings, small texts, outputs that appear whole. */
#include "ir/base/file.h"

#include "ir/base/checked.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- inputs ---------------------------------------------------------------------------------- */

static const uint8_t no_bytes[1];

static SnlStatus machine_error(SnlDiag *diag, const char *path, const char *what, int error)
{
    return snl_error_at(diag, SNL_E_MACHINE, path, "%s: %s", what, strerror(error));
}

/* Opens for reading; a directory is refused here because its error would otherwise come late. */
static SnlStatus open_input(const char *path, SnlDiag *diag, int *out_fd, struct stat *out_stat)
{
    /* Without O_NONBLOCK a named pipe would be waited for before it can be refused. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return machine_error(diag, path, "cannot open", errno);
    SnlStatus status = SNL_OK;
    if (fstat(fd, out_stat) != 0)
        status = machine_error(diag, path, "cannot look at the file", errno);
    else if (S_ISDIR(out_stat->st_mode))
        status = snl_error_at(diag, SNL_E_MACHINE, path,
                              "found a directory, wanted a file; name a file in it");
    if (status != SNL_OK) {
        close(fd);
        return status;
    }
    *out_fd = fd;
    return SNL_OK;
}

SnlStatus snl_file_map(SnlArena *arena, const char *path, SnlDiag *diag, SnlFile *out_file)
{
    int fd = -1;
    struct stat info;
    SNL_TRY(open_input(path, diag, &fd, &info));
    SnlFile file = {snl_arena_strdup(arena, path), no_bytes, 0};
    SnlStatus status = SNL_OK;
    if (!S_ISREG(info.st_mode)) {
        status = snl_error_at(diag, SNL_E_MACHINE, path,
                              "found a pipe or device, wanted a regular file; copy it to one");
    } else if (info.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED) {
            status = machine_error(diag, path, "cannot map", errno);
        } else {
            file.bytes = bytes;
            file.size = (size_t)info.st_size;
        }
    }
    close(fd);
    if (status == SNL_OK) *out_file = file;
    return status;
}

void snl_file_unmap(SnlFile *file)
{
    if (file->size) munmap((void *)(uintptr_t)file->bytes, file->size);
    file->bytes = no_bytes;
    file->size = 0;
}

void snl_file_release(const SnlFile *file, size_t offset, size_t nbytes)
{
    if (offset >= file->size) return;
    if (nbytes > file->size - offset) nbytes = file->size - offset;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t end = offset + nbytes;
    /* The page that holds `end` is probably read next, unless the file ends there. */
    if (end < file->size) end = end / page * page;
    size_t begin = offset / page * page;
    if (begin < end) madvise((void *)(uintptr_t)(file->bytes + begin), end - begin, MADV_DONTNEED);
}

/* Reads all of fd (a pipe has no size to ask for). Returns false with errno, or errno = 0 when the
 * text is larger than max_bytes. The buffer is the caller's to free either way. */
static bool read_all(int fd, size_t max_bytes, char **inout_buffer, size_t *out_len)
{
    size_t len = 0, cap = 0;
    for (;;) {
        if (len == cap) {
            cap = cap ? cap * 2 : 64 * 1024;
            *inout_buffer = snl_xrealloc(*inout_buffer, cap);
        }
        ssize_t n = read(fd, *inout_buffer + len, cap - len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        if (n == 0) break;
        len += (size_t)n;
        if (len > max_bytes) {
            errno = 0;
            return false;
        }
    }
    *out_len = len;
    return true;
}

SnlStatus snl_file_read(SnlArena *arena, const char *path, size_t max_bytes, SnlDiag *diag,
                        SnlSource *out_source)
{
    int fd = -1;
    struct stat info;
    SNL_TRY(open_input(path, diag, &fd, &info));
    char *buffer = NULL;
    size_t len = 0;
    SnlStatus status = SNL_OK;
    if (read_all(fd, max_bytes, &buffer, &len)) {
        *out_source =
            (SnlSource){snl_arena_strdup(arena, path), snl_arena_strndup(arena, buffer, len), len};
    } else if (errno) {
        status = machine_error(diag, path, "cannot read", errno);
    } else {
        status = snl_error_at(diag, SNL_E_FORMAT, path,
                              "found more than %zu bytes, wanted a text of at most that size",
                              max_bytes);
    }
    free(buffer);
    close(fd);
    return status;
}

/* ---- outputs --------------------------------------------------------------------------------- */

static char *format_temp_path(const char *path, unsigned attempt)
{
    size_t n = strlen(path) + 48;
    char *temp = snl_xmalloc(n);
    snprintf(temp, n, "%s.tmp-%ld-%u", path, (long)getpid(), attempt);
    return temp;
}

/* Created with open's own mode so that the umask applies without being asked for. */
static FILE *create_beside(const char *path, char **out_temp_path)
{
    for (unsigned attempt = 0; attempt < 100; attempt++) {
        char *temp = format_temp_path(path, attempt);
        int fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        FILE *stream = fd >= 0 ? fdopen(fd, "wb+") : NULL;
        if (stream) {
            *out_temp_path = temp;
            return stream;
        }
        int error = errno;
        if (fd >= 0) {
            close(fd);
            unlink(temp);
        }
        free(temp);
        errno = error;
        if (error != EEXIST) break;
    }
    return NULL;
}

SnlStatus snl_output_open(const char *path, SnlDiag *diag, SnlOutput *out)
{
    *out = (SnlOutput){0};
    struct stat info;
    bool exists = stat(path, &info) == 0;
    if (exists && S_ISDIR(info.st_mode))
        return snl_error_at(diag, SNL_E_MACHINE, path,
                            "found a directory, wanted the name of a file to write");
    /* A device or pipe (/dev/stdout) is written to, never replaced. */
    if (exists && !S_ISREG(info.st_mode))
        out->stream = fopen(path, "wb");
    else
        out->stream = create_beside(path, &out->temp_path);
    if (!out->stream) return machine_error(diag, path, "cannot create", errno);
    size_t n = strlen(path) + 1;
    out->path = memcpy(snl_xmalloc(n), path, n);
    return SNL_OK;
}

static void forget(SnlOutput *out)
{
    free(out->temp_path);
    free(out->path);
    *out = (SnlOutput){0};
}

/* Whoever may read the program may run it. */
static bool make_executable(FILE *stream)
{
    struct stat info;
    if (fstat(fileno(stream), &info) != 0) return false;
    mode_t mode = info.st_mode & 07777;
    return fchmod(fileno(stream), mode | ((mode & 0444) >> 2)) == 0;
}

SnlStatus snl_output_commit(SnlOutput *out, bool executable, SnlDiag *diag)
{
    errno = 0;
    bool ok = fflush(out->stream) == 0 && !ferror(out->stream);
    if (ok && executable && out->temp_path) ok = make_executable(out->stream);
    int error = errno;
    if (fclose(out->stream) != 0 && ok) {
        ok = false;
        error = errno;
    }
    out->stream = NULL;
    if (ok && out->temp_path && rename(out->temp_path, out->path) != 0) {
        ok = false;
        error = errno;
    }
    SnlStatus status = SNL_OK;
    if (!ok) {
        if (out->temp_path) unlink(out->temp_path);
        status = machine_error(diag, out->path, "cannot write", error ? error : EIO);
    }
    forget(out);
    return status;
}

void snl_output_abort(SnlOutput *out)
{
    if (out->stream) fclose(out->stream);
    if (out->temp_path) unlink(out->temp_path);
    forget(out);
}

/* ---- paths ----------------------------------------------------------------------------------- */

bool snl_path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool snl_path_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool snl_path_is_dir(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

char *snl_path_join(SnlArena *arena, const char *dir, const char *name)
{
    if (name[0] == '/') return snl_arena_strdup(arena, name);
    size_t n = strlen(dir);
    bool slash = n > 0 && dir[n - 1] == '/';
    return snl_arena_printf(arena, "%s%s%s", dir, slash ? "" : "/", name);
}

char *snl_path_dir(SnlArena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return snl_arena_strdup(arena, ".");
    if (slash == path) return snl_arena_strdup(arena, "/");
    return snl_arena_strndup(arena, path, (size_t)(slash - path));
}
