/* runtime/model.c -- opening the program's own file and mapping the trailer (runtime/abi.h). */
#define _GNU_SOURCE /* mremap */
#include "runtime/model.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static SnlrtStatus bad_footer(SnlrtError *err, const char *path, const char *what)
{
    return snlrt_fail(err, SNLRT_INPUT, "%s: weights damaged: %s: compile the program again", path,
                      what);
}

static bool tables_fit(const SnlrtModel *model, uint64_t weights_nbytes)
{
    for (int64_t i = 0; i < model->n_tables; i++) {
        const SnlrtTable *t = &model->tables[i];
        uint64_t nbytes = (uint64_t)t->rows * (uint64_t)t->row_bytes;
        if ((uint64_t)t->offset > weights_nbytes || nbytes > weights_nbytes - (uint64_t)t->offset)
            return false;
    }
    return true;
}

/* Every place of the footer lies inside the file, in order, and they fill it to its end. */
static SnlrtStatus check_footer(const SnlrtModel *model, const SnlrtFooter *f, uint64_t file_nbytes,
                                const char *path, SnlrtError *err)
{
    uint64_t room = file_nbytes - sizeof *f;
    if (f->payload_offset % SNLRT_PAYLOAD_ALIGN || f->payload_offset > room)
        return bad_footer(err, path, "their place is outside the file");
    room -= f->payload_offset;
    if (f->weights_bytes > room || f->tokenizer_offset > room || f->manifest_offset > room)
        return bad_footer(err, path, "a part lies outside the file");
    if (f->tokenizer_bytes > room - f->tokenizer_offset ||
        f->manifest_bytes != room - f->manifest_offset)
        return bad_footer(err, path, "the sizes of the parts do not give the size of the file");
    if (f->tokenizer_offset < f->weights_bytes ||
        f->manifest_offset < f->tokenizer_offset + f->tokenizer_bytes)
        return bad_footer(err, path, "two parts overlap");
    if ((uint64_t)model->swept_bytes > f->weights_bytes || !tables_fit(model, f->weights_bytes))
        return bad_footer(err, path, "fewer than a token reads");
    if (f->payload_id != (uint64_t)model->payload_id)
        return snlrt_fail(err, SNLRT_INPUT,
                          "%s: weights of another program: found id %016" PRIx64
                          ", wanted %016" PRIx64,
                          path, f->payload_id, (uint64_t)model->payload_id);
    return SNLRT_OK;
}

static SnlrtStatus read_footer(int fd, uint64_t file_nbytes, const char *path, SnlrtFooter *out,
                               SnlrtError *err)
{
    ssize_t n = 0;
    memset(out, 0, sizeof *out);
    if (file_nbytes >= sizeof *out)
        n = pread(fd, out, sizeof *out, (off_t)(file_nbytes - sizeof *out));
    if (n < 0) return snlrt_fail(err, SNLRT_MACHINE, "%s: cannot read: %s", path, strerror(errno));
    if (n != (ssize_t)sizeof *out || out->magic != SNLRT_FOOTER_MAGIC)
        return snlrt_fail(err, SNLRT_INPUT,
                          "%s: weights missing (stripped?): the file does not end in a payload "
                          "footer: use the file as snlpc wrote it",
                          path);
    return SNLRT_OK;
}

enum { HUGE_NBYTES = SNLRT_HUGE_ALIGN, COPY_NBYTES = 16 << 20 };

/* Address room for n bytes from a multiple of HUGE_NBYTES on; NULL: none. */
static char *reserve_aligned(size_t n)
{
    char *at = mmap(NULL, n + HUGE_NBYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                    -1, 0);
    if (at == MAP_FAILED) return NULL;
    size_t before = HUGE_NBYTES - (uintptr_t)at % HUGE_NBYTES;
    munmap(at, before);
    if (before < HUGE_NBYTES) munmap(at + before + n, HUGE_NBYTES - before);
    return at + before;
}

static size_t whole_pages(size_t nbytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (nbytes + page - 1) / page * page;
}

/* Advice: nothing is lost where it is not taken.
 *
 * Huge pages for what every token reads: a kernel that keeps files in such pages then maps them as
 * they are, the place in the file and the address both being multiples of their size. Behind it lie
 * tables, of which a token reads rows here and there: in small pages, and nothing read ahead
 * (runtime/rows.h asks for the rows that are needed). */
static void advise_pages(char *map, size_t swept, size_t weights)
{
    size_t tables = whole_pages(swept), rest = whole_pages(weights);
#ifdef MADV_HUGEPAGE
    madvise(map, tables, MADV_HUGEPAGE);
    madvise(map + tables, rest - tables, MADV_NOHUGEPAGE);
#endif
    madvise(map + tables, rest - tables, MADV_RANDOM);
}

static SnlrtStatus map_payload(int fd, const char *path, size_t swept, SnlrtPayload *p,
                               SnlrtError *err)
{
    size_t nbytes = whole_pages((size_t)(p->footer.manifest_offset + p->footer.manifest_bytes) +
                                sizeof p->footer);
    char *map = reserve_aligned(nbytes);
    if (!map || mmap(map, nbytes, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd,
                     (off_t)p->footer.payload_offset) == MAP_FAILED) {
        int error = errno;
        if (map) munmap(map, nbytes);
        return snlrt_fail(err, SNLRT_MACHINE, "%s: cannot map %zu bytes of weights: %s", path,
                          nbytes, strerror(error));
    }
    advise_pages(map, swept, (size_t)p->footer.weights_bytes);
    p->map = map;
    p->map_nbytes = nbytes;
    p->weights = (const uint8_t *)map;
    p->manifest = map + p->footer.manifest_offset;
    p->manifest_nbytes = (size_t)p->footer.manifest_bytes;
    p->tokenizer_nbytes = (size_t)p->footer.tokenizer_bytes;
    p->tokenizer = p->tokenizer_nbytes ? p->weights + p->footer.tokenizer_offset : NULL;
    return SNLRT_OK;
}

static SnlrtStatus open_fd(const SnlrtModel *model, int fd, const char *path, SnlrtPayload *out,
                           SnlrtError *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return snlrt_fail(err, SNLRT_MACHINE, "%s: cannot stat: %s", path, strerror(errno));
    uint64_t nbytes = info.st_size > 0 ? (uint64_t)info.st_size : 0;
    SNLRT_TRY(read_footer(fd, nbytes, path, &out->footer, err));
    SNLRT_TRY(check_footer(model, &out->footer, nbytes, path, err));
    return map_payload(fd, path, (size_t)model->swept_bytes, out, err);
}

SnlrtStatus snlrt_payload_open(const SnlrtModel *model, const char *path, SnlrtPayload *out,
                               SnlrtError *err)
{
    *out = (SnlrtPayload){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return snlrt_fail(err, SNLRT_MACHINE, "%s: cannot open: %s", path, strerror(errno));
    SnlrtStatus status = open_fd(model, fd, path, out, err);
    close(fd);
    return status;
}

/* ---- huge pages ---- */

bool snlrt_huge_pages_offered(void)
{
    char text[64];
    int fd = open(SNLRT_HUGE_PAGES_FILE, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    if (n < 0) return false;
    text[n] = 0;
    return !strstr(text, "[never]");
}

/* Gives pages of the file back as it goes, so that never much is in memory twice. */
static void copy_pages(char *to, char *from, size_t n)
{
    for (size_t at = 0; at < n; at += COPY_NBYTES) {
        size_t part = n - at < COPY_NBYTES ? n - at : COPY_NBYTES;
        memcpy(to + at, from + at, part);
        madvise(from + at, part, MADV_DONTNEED);
    }
}

/* n bytes of memory in huge pages that hold what `from` holds; NULL: no room. */
static char *huge_copy(char *from, size_t n)
{
    char *to = reserve_aligned(n);
    if (!to) return NULL;
    if (mprotect(to, n, PROT_READ | PROT_WRITE) != 0) {
        munmap(to, n);
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    madvise(to, n, MADV_HUGEPAGE);
#endif
    copy_pages(to, from, n);
    mprotect(to, n, PROT_READ);
    return to;
}

SnlrtStatus snlrt_payload_copy(SnlrtPayload *p, int64_t nbytes, SnlrtError *err)
{
    size_t head = (size_t)nbytes / HUGE_NBYTES * HUGE_NBYTES;
    if (!head) return SNLRT_OK;
    char *copy = huge_copy(p->map, head);
    if (copy && mremap(copy, head, head, MREMAP_MAYMOVE | MREMAP_FIXED, p->map) == p->map) {
        p->copied_nbytes = head;
        return SNLRT_OK;
    }
    int error = errno;
    if (copy) munmap(copy, head);
    return snlrt_fail(err, SNLRT_MACHINE, "out of memory: %.1f MiB for weights in huge pages: %s",
                      (double)head / (1024.0 * 1024.0), strerror(error));
}

/* Where a shell would have found `name`. */
static bool find_in_path(const char *name, char *out, size_t room)
{
    const char *path = getenv("PATH");
    for (const char *at = path ? path : ""; *at;) {
        size_t n = strcspn(at, ":");
        int length = snprintf(out, room, "%.*s/%s", (int)n, at, name);
        if (length > 0 && (size_t)length < room && access(out, X_OK) == 0) return true;
        at += n + (at[n] == ':');
    }
    return false;
}

SnlrtStatus snlrt_payload_open_self(const SnlrtModel *model, const char *argv0, SnlrtPayload *out,
                                    SnlrtError *err)
{
    static const char self[] = "/proc/self/exe";
    char found[PATH_MAX];
    const char *name = argv0 ? argv0 : "";
    ssize_t n = readlink(self, found, sizeof found - 1);
    if (n > 0) { /* for messages; the link itself is opened, so a moved or deleted program works */
        found[n] = 0;
        int fd = open(self, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            *out = (SnlrtPayload){0};
            SnlrtStatus status = open_fd(model, fd, found, out, err);
            close(fd);
            return status;
        }
    }
    if (!strchr(name, '/') && find_in_path(name, found, sizeof found)) name = found;
    return snlrt_payload_open(model, name, out, err);
}

void snlrt_payload_close(SnlrtPayload *payload)
{
    if (payload->map) munmap(payload->map, payload->map_nbytes);
    *payload = (SnlrtPayload){0};
}

SnlrtStatus snlrt_model_check(const SnlrtModel *model, SnlrtError *err)
{
    if (model->abi_version != SNLRT_ABI_VERSION)
        return snlrt_fail(err, SNLRT_INTERNAL,
                          "generated code speaks version %lld of the runtime's interface, the "
                          "runtime version %d",
                          (long long)model->abi_version, SNLRT_ABI_VERSION);
    bool sane = model->vocab > 0 && model->vocab <= INT32_MAX && model->context > 0 &&
                model->n_graphs > 0 && model->state_bytes >= 0 && model->swept_bytes >= 0 &&
                model->n_outputs >= 0 && model->n_tables >= 0;
    for (int64_t i = 0; sane && i < model->n_graphs; i++) {
        const SnlrtGraph *g = &model->graphs[i];
        sane = g->decode && g->prefill && g->prefill_block > 0 && g->shared_bytes >= 0 &&
               g->private_bytes >= 0 && g->shared_bytes % 64 == 0 && g->private_bytes % 64 == 0;
    }
    for (int64_t i = 0; sane && i < model->n_tables; i++) {
        const SnlrtTable *t = &model->tables[i];
        sane = t->offset >= 0 && t->rows >= 0 && t->row_bytes > 0 &&
               t->rows <= (INT64_MAX - t->offset) / t->row_bytes;
    }
    if (!sane)
        return snlrt_fail(err, SNLRT_INTERNAL, "the model's table in the program is damaged");
    return SNLRT_OK;
}

int64_t snlrt_model_find_graph(const SnlrtModel *model, const char *name)
{
    for (int64_t i = 0; i < model->n_graphs; i++)
        if (!strcmp(model->graphs[i].name, name)) return i;
    return -1;
}
