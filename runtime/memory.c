/* runtime/memory.c -- regions by mmap, or by malloc where a sanitizer should watch them. */
#include "runtime/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WATCHED 1
#endif
#endif
#ifndef WATCHED
#define WATCHED 0
#endif

static size_t region_nbytes(int64_t nbytes)
{
    return nbytes > 0 ? (size_t)nbytes : 64;
}

SnlrtStatus snlrt_region_create(int64_t nbytes, const char *what, void **out, SnlrtError *err)
{
    size_t n = region_nbytes(nbytes);
#if WATCHED
    void *p = NULL;
    int error = posix_memalign(&p, 64, n);
    if (!error) memset(p, 0, n);
#else
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int error = p == MAP_FAILED ? errno : 0;
#endif
    *out = error ? NULL : p;
    if (!error) return SNLRT_OK;
    return snlrt_fail(err, SNLRT_MACHINE, "out of memory: %.1f MiB for the %s: %s",
                      (double)nbytes / (1024.0 * 1024.0), what, strerror(error));
}

void snlrt_region_destroy(void *region, int64_t nbytes)
{
    if (!region) return;
#if WATCHED
    (void)nbytes;
    free(region);
#else
    munmap(region, region_nbytes(nbytes));
#endif
}
