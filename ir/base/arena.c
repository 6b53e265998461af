/* ir/base/arena.c -- bump allocation in chunks that grow with the arena.
 *
 * Under AddressSanitizer the part of a chunk that was not handed out is poisoned, so that an
 * overrun of an arena object is reported like one of a heap object. */
#include "ir/base/arena.h"

#include "ir/base/checked.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define SNL_HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SNL_HAVE_ASAN 1
#endif
#endif

#ifdef SNL_HAVE_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
/* Room between two objects, so that an overrun meets poison before it meets the neighbour. */
enum { GAP = 16 };
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
enum { GAP = 0 };
#endif

enum { ALIGN = 16, FIRST_CHUNK = 64 * 1024, LARGEST_CHUNK = 4 * 1024 * 1024 };

typedef struct Chunk {
    struct Chunk *older;
    size_t size, used; /* of the bytes behind this header */
} Chunk;

enum { HEADER = (sizeof(Chunk) + ALIGN - 1) / ALIGN * ALIGN };

struct SnlArena {
    Chunk *chunk;
    size_t next_size, used;
};

static _Noreturn void out_of_memory(size_t nbytes)
{
    if (nbytes == SIZE_MAX) /* what a product too large has become */
        fputs("snlpc: error: out of memory: more bytes wanted than there are addresses\n", stderr);
    else
        fprintf(stderr, "snlpc: error: out of memory: %zu bytes wanted\n", nbytes);
    exit(SNL_MACHINE);
}

void *snl_xmalloc(size_t nbytes)
{
    void *p = malloc(nbytes ? nbytes : 1);
    if (!p) out_of_memory(nbytes);
    return p;
}

void *snl_xrealloc(void *old, size_t nbytes)
{
    void *p = realloc(old, nbytes ? nbytes : 1);
    if (!p) out_of_memory(nbytes);
    return p;
}

static char *chunk_bytes(Chunk *chunk)
{
    return (char *)chunk + HEADER;
}

SnlArena *snl_arena_create(void)
{
    SnlArena *arena = snl_xmalloc(sizeof *arena);
    *arena = (SnlArena){.next_size = FIRST_CHUNK};
    return arena;
}

void snl_arena_destroy(SnlArena *arena)
{
    if (!arena) return;
    for (Chunk *chunk = arena->chunk; chunk;) {
        Chunk *older = chunk->older;
        UNPOISON(chunk_bytes(chunk), chunk->size);
        free(chunk);
        chunk = older;
    }
    free(arena);
}

static Chunk *new_chunk(size_t size)
{
    size_t total;
    if (!snl_add_size(size, HEADER, &total)) out_of_memory(size);
    Chunk *chunk = calloc(1, total);
    if (!chunk) out_of_memory(total);
    chunk->size = size;
    POISON(chunk_bytes(chunk), size);
    return chunk;
}

/* A chunk with `need` bytes free. A large object gets a chunk of its own behind the current one, so
 * that the rest of the current one stays in use. */
static Chunk *chunk_with_room(SnlArena *arena, size_t need)
{
    if (arena->chunk && arena->chunk->size - arena->chunk->used >= need) return arena->chunk;
    if (arena->chunk && need > arena->next_size / 4) {
        Chunk *own = new_chunk(need);
        own->older = arena->chunk->older;
        arena->chunk->older = own;
        return own;
    }
    Chunk *chunk = new_chunk(need > arena->next_size ? need : arena->next_size);
    chunk->older = arena->chunk;
    arena->chunk = chunk;
    if (arena->next_size < LARGEST_CHUNK) arena->next_size *= 2;
    return chunk;
}

void *snl_arena_alloc(SnlArena *arena, size_t nbytes)
{
    size_t need;
    if (!snl_add_size(nbytes, ALIGN - 1 + GAP, &need)) out_of_memory(nbytes);
    need = need / ALIGN * ALIGN;
    Chunk *chunk = chunk_with_room(arena, need);
    void *p = chunk_bytes(chunk) + chunk->used;
    chunk->used += need;
    arena->used += nbytes;
    UNPOISON(p, nbytes);
    return p;
}

void *snl_arena_array(SnlArena *arena, size_t n, size_t size)
{
    size_t nbytes;
    if (!snl_mul_size(n, size, &nbytes)) out_of_memory(SIZE_MAX);
    return snl_arena_alloc(arena, nbytes);
}

char *snl_arena_strndup(SnlArena *arena, const char *text, size_t n)
{
    char *copy = snl_arena_alloc(arena, n + 1);
    if (n) memcpy(copy, text, n);
    return copy;
}

char *snl_arena_strdup(SnlArena *arena, const char *text)
{
    return snl_arena_strndup(arena, text, strlen(text));
}

char *snl_arena_vprintf(SnlArena *arena, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    SNL_ASSERT(fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    SNL_ASSERT(n >= 0);
    char *text = snl_arena_alloc(arena, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text;
}

char *snl_arena_printf(SnlArena *arena, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = snl_arena_vprintf(arena, fmt, args);
    va_end(args);
    return text;
}

size_t snl_arena_used(const SnlArena *arena)
{
    return arena->used;
}

void *snl_arena_grow(SnlArena *arena, const void *old, size_t n, size_t *inout_cap, size_t size)
{
    size_t cap = *inout_cap ? *inout_cap : 4;
    if (*inout_cap && !snl_mul_size(cap, 2, &cap)) out_of_memory(SIZE_MAX);
    void *at = snl_arena_array(arena, cap, size);
    if (n) memcpy(at, old, n * size);
    *inout_cap = cap;
    return at;
}
