/* ir/base/arena.h -- bump allocation with one lifetime.
 *
 * Everything a compilation makes lives in an arena and is freed with it at once; single objects are
 * never freed. Memory is zeroed. Out of memory ends the process with exit code 4 and one line (the
 * one exception to "no exit below main"). Not thread-safe. */
#ifndef SNL_BASE_ARENA_H
#define SNL_BASE_ARENA_H

#include "ir/base/status.h"

#include <stdarg.h>
#include <stddef.h>

typedef struct SnlArena SnlArena;

SnlArena *snl_arena_create(void);
void snl_arena_destroy(SnlArena *arena); /* NULL is fine */

/* Zeroed, 16-byte aligned; nbytes = 0 gives a valid pointer. */
void *snl_arena_alloc(SnlArena *arena, size_t nbytes);
/* n elements of `size` bytes, overflow checked (ends like out of memory). */
void *snl_arena_array(SnlArena *arena, size_t n, size_t size);
#define SNL_NEW(arena, Type) ((Type *)snl_arena_alloc((arena), sizeof(Type)))
#define SNL_NEW_ARRAY(arena, Type, n) ((Type *)snl_arena_array((arena), (n), sizeof(Type)))

char *snl_arena_strdup(SnlArena *arena, const char *text);
char *snl_arena_strndup(SnlArena *arena, const char *text, size_t n);
char *snl_arena_printf(SnlArena *arena, const char *fmt, ...) SNL_PRINTF(2, 3);
char *snl_arena_vprintf(SnlArena *arena, const char *fmt, va_list args);

/* Bytes handed out so far (for --timing). */
size_t snl_arena_used(const SnlArena *arena);

/* malloc/realloc that end the process like the arena does. */
void *snl_xmalloc(size_t nbytes);
void *snl_xrealloc(void *old, size_t nbytes);

/* A growing array in an arena: `SnlVec(int) v = {0}; SNL_PUSH(arena, &v, 3); v.at[0]; v.n`.
 * Old storage stays in the arena until it dies. */
#define SnlVec(Type)                                                                               \
    struct {                                                                                       \
        Type *at;                                                                                  \
        size_t n, cap;                                                                             \
    }
#define SNL_PUSH(arena, vec, value)                                                                \
    do {                                                                                           \
        if ((vec)->n == (vec)->cap)                                                                \
            (vec)->at = snl_arena_grow((arena), (vec)->at, (vec)->n, &(vec)->cap,                  \
                                       sizeof *(vec)->at);                                         \
        (vec)->at[(vec)->n++] = (value);                                                           \
    } while (0)
void *snl_arena_grow(SnlArena *arena, const void *old, size_t n, size_t *inout_cap, size_t size);

#endif
