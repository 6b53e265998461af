/* tests/support/support.c -- see support.h. */
#include "tests/support/support.h"

#include "ir/base/file.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void support_close(double actual, double expected, double atol, double rtol, long index,
                   const char *file, int line)
{
    if (fabs(actual - expected) <= atol + rtol * fabs(expected)) return;
    if (isinf(expected) && actual == expected) return;
    if (index >= 0) print_error("element %ld: ", index);
    print_error("found %.17g, wanted %.17g (atol %g, rtol %g)\n", actual, expected, atol, rtol);
    _fail(file, line);
}

void support_all_close(const float *actual, const float *expected, size_t n, double atol,
                       double rtol, const char *file, int line)
{
    for (size_t i = 0; i < n; i++)
        support_close((double)actual[i], (double)expected[i], atol, rtol, (long)i, file, line);
}

void support_diag(const SnlDiag *diag, const char *text, const char *file, int line)
{
    if (strstr(snl_diag_text(diag), text)) return;
    print_error("found messages:\n%swanted one with: %s\n", snl_diag_text(diag), text);
    _fail(file, line);
}

static bool has_level(const char *cpu)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (strcmp(cpu, "x86-64-v2") == 0) return __builtin_cpu_supports("sse4.2");
    if (strcmp(cpu, "x86-64-v3") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (strcmp(cpu, "x86-64-v4") == 0) return __builtin_cpu_supports("avx512vl");
    return true;
#else
    return strcmp(cpu, "native") == 0;
#endif
}

bool support_runs_here(const char *cpu)
{
    bool runs = has_level(cpu);
    if (!runs) print_message("    %s: not run on this machine\n", cpu);
    return runs;
}

int support_setup(void **state)
{
    Support *s = snl_xmalloc(sizeof *s);
    *s = (Support){.arena = snl_arena_create(), .diag = snl_diag_create(NULL, 0)};
    *state = s;
    return 0;
}

/* The scratch folder is flat. */
static void remove_scratch(Support *s)
{
    DIR *dir = opendir(s->dir);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        unlink(snl_path_join(s->arena, s->dir, entry->d_name));
    if (dir) closedir(dir);
    rmdir(s->dir);
}

int support_teardown(void **state)
{
    Support *s = *state;
    if (s->dir) remove_scratch(s);
    snl_diag_destroy(s->diag);
    snl_arena_destroy(s->arena);
    free(s);
    return 0;
}

char *support_path(Support *s, const char *name)
{
    if (!s->dir) {
        const char *tmp = getenv("TMPDIR");
        s->dir = snl_arena_printf(s->arena, "%s/snl-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
        assert_non_null(mkdtemp(s->dir));
    }
    return snl_path_join(s->arena, s->dir, name);
}

char *support_write(Support *s, const char *name, const void *bytes, size_t nbytes)
{
    char *path = support_path(s, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    if (nbytes) assert_int_equal(fwrite(bytes, 1, nbytes, file), nbytes);
    assert_int_equal(fclose(file), 0);
    return path;
}

char *support_shared(SnlArena *arena)
{
    const char *given = getenv("SNL_SHARED"), *repository = getenv("SNL_SOURCE");
    char *path = given ? snl_arena_strdup(arena, given)
                       : snl_path_join(arena, repository ? repository : ".", "../shared");
    if (snl_path_is_dir(path)) return path;
    printf("skipped: oracle data not found at %s (set SNL_SHARED)\n", path);
    return NULL;
}
