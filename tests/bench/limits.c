/* tests/bench/limits.c -- what this machine can do: a reader of memory and loops of dot products.
 *
 *     bench_limits read BYTES THREADS SECONDS 4k|huge    GB/s, all threads together
 *     bench_limits f32|bf16|int8 THREADS SECONDS         billions of operations per second
 *
 * The reader: each thread sweeps its part of a buffer of BYTES in 8 streams of 64-byte loads, again
 * and again; the threads meet before every measurement. It prints the median of the measurements.
 * The dots: 16 accumulators in registers; a multiply-add counts as two operations. One number on
 * stdout; "none" where the processor lacks the unit. */
#define _GNU_SOURCE
#include "runtime/reader.h"

#include <errno.h>
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { LINE = SNLRT_READER_ALIGN, MAX_THREADS = 256, MAX_MEASURES = 4096, ACCUMULATORS = 16 };

typedef uint64_t Work(const char *bytes, int64_t n);

typedef struct Team {
    Work *work;
    const char *bytes;
    int64_t stride;     /* between the bytes of two threads */
    int64_t per_thread; /* bytes to read, or rounds of dots */
    int64_t repeats;    /* of one measurement */
    int n_threads;
    double seconds;
    cpu_set_t allowed;
    pthread_barrier_t meet;
    bool done;
    int n_measures;
    double measures[MAX_MEASURES]; /* seconds of one measurement */
} Team;

typedef struct Member {
    Team *team;
    int index;
    volatile uint64_t sum; /* keeps the work alive */
} Member;

/* ---- work ------------------------------------------------------------------------------------ */

#define EACH_16(step)                                                                              \
    step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7) step(8) step(9) step(10)       \
        step(11) step(12) step(13) step(14) step(15)

static uint64_t read_streams(const char *bytes, int64_t n)
{
    return snlrt_read_streams(bytes, n);
}

/* n rounds of 16 independent operations. */
#define START(i) memcpy(&acc##i, bytes + (i + 1) * LINE, sizeof acc##i);
#define DOTS(name, features, type, dot, first)                                                     \
    __attribute__((target(features))) static uint64_t name(const char *bytes, int64_t n)           \
    {                                                                                              \
        type x, acc0, acc1, acc2, acc3, acc4, acc5, acc6, acc7, acc8, acc9, acc10, acc11, acc12,   \
            acc13, acc14, acc15;                                                                   \
        memcpy(&x, bytes, sizeof x);                                                               \
        EACH_16(START)                                                                             \
        for (int64_t round = 0; round < n; round++) {                                              \
            EACH_16(dot)                                                                           \
        }                                                                                          \
        uint64_t sum = 0;                                                                          \
        EACH_16(first)                                                                             \
        return sum;                                                                                \
    }
#define FMA_512(i) acc##i = _mm512_fmadd_ps(x, x, acc##i);
#define FMA_256(i) acc##i = _mm256_fmadd_ps(x, x, acc##i);
#define BF16_512(i) acc##i = _mm512_dpbf16_ps(acc##i, (__m512bh)x, (__m512bh)x);
#define INT8_512(i) acc##i = _mm512_dpbusd_epi32(acc##i, x, x);
#define FIRST_PS(i) sum += (uint64_t)_mm512_cvtss_f32(acc##i);
#define FIRST_PS_256(i) sum += (uint64_t)_mm256_cvtss_f32(acc##i);
#define FIRST_INT(i) sum += (uint64_t)_mm512_cvtsi512_si32(acc##i);
DOTS(f32_512, "avx512f", __m512, FMA_512, FIRST_PS)
DOTS(f32_256, "avx2,fma", __m256, FMA_256, FIRST_PS_256)
DOTS(bf16_512, "avx512f,avx512bf16", __m512, BF16_512, FIRST_PS)
DOTS(int8_512, "avx512f,avx512vnni", __m512i, INT8_512, FIRST_INT)

typedef struct Unit {
    const char *name;
    Work *work;         /* NULL: the processor has none */
    int64_t operations; /* of one instruction */
} Unit;

static Unit find_unit(const char *name)
{
    bool wide = __builtin_cpu_supports("avx512f");
    if (!strcmp(name, "f32") && wide) return (Unit){name, f32_512, 32};
    if (!strcmp(name, "f32") && __builtin_cpu_supports("fma")) return (Unit){name, f32_256, 16};
    if (!strcmp(name, "bf16") && __builtin_cpu_supports("avx512bf16"))
        return (Unit){name, bf16_512, 64};
    if (!strcmp(name, "int8") && __builtin_cpu_supports("avx512vnni"))
        return (Unit){name, int8_512, 128};
    return (Unit){name, NULL, 0};
}

/* ---- threads --------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Thread i on the i-th processor allowed: a short measurement ends before the scheduler spreads
 * them. */
static void pin(int index, const cpu_set_t *allowed)
{
    int left = index % CPU_COUNT(allowed);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, allowed) || left--) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        pthread_setaffinity_np(pthread_self(), sizeof one, &one);
        return;
    }
}

static void *member_main(void *user)
{
    Member *m = user;
    Team *team = m->team;
    pin(m->index, &team->allowed);
    const char *bytes = team->bytes + m->index * team->stride;
    double begin = now();
    for (;;) {
        pthread_barrier_wait(&team->meet);
        if (team->done) return NULL;
        double start = now();
        for (int64_t i = 0; i < team->repeats; i++) m->sum += team->work(bytes, team->per_thread);
        pthread_barrier_wait(&team->meet);
        if (m->index) continue;
        team->measures[team->n_measures++] = now() - start;
        team->done = team->n_measures == MAX_MEASURES || now() - begin > team->seconds;
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of one measurement; 0: threads cannot be had. */
static double run(Team *team)
{
    if (sched_getaffinity(0, sizeof team->allowed, &team->allowed)) return 0;
    pthread_t threads[MAX_THREADS];
    Member members[MAX_THREADS];
    if (pthread_barrier_init(&team->meet, NULL, (unsigned)team->n_threads)) return 0;
    for (int i = 0; i < team->n_threads; i++) {
        members[i] = (Member){.team = team, .index = i};
        if (i && pthread_create(&threads[i], NULL, member_main, &members[i])) return 0;
    }
    member_main(&members[0]);
    for (int i = 1; i < team->n_threads; i++) pthread_join(threads[i], NULL);
    qsort(team->measures, (size_t)team->n_measures, sizeof team->measures[0], compare);
    return team->measures[team->n_measures / 2];
}

/* ---- commands -------------------------------------------------------------------------------- */

static int fail(const char *what, const char *found, const char *wanted)
{
    fprintf(stderr, "bench_limits: %s: found %s, wanted %s\n", what, found, wanted);
    return 2;
}

static int64_t number(const char *text)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return errno || *end || end == text ? -1 : (int64_t)value;
}

static int command_read(const char *bytes_text, Team *team, const char *pages)
{
    int64_t nbytes = number(bytes_text);
    const int64_t least = (int64_t)team->n_threads * SNLRT_READER_STEP;
    if (nbytes < least) return fail("BYTES", bytes_text, "512 or more for each thread");
    bool huge = !strcmp(pages, "huge");
    if (!huge && strcmp(pages, "4k")) return fail("pages", pages, "4k or huge");
    const size_t room = (size_t)nbytes + (2 << 20);
    char *map = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return fail("memory", "none", bytes_text);
    madvise(map, room, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    memset(map, 1, room);
    team->bytes = map + (LINE - (uintptr_t)map % LINE) % LINE;
    team->per_thread = nbytes / team->n_threads / SNLRT_READER_STEP * SNLRT_READER_STEP;
    team->stride = team->per_thread;
    const int64_t enough =
        4 << 20; /* of one measurement, beside which its two barriers are small */
    team->repeats = 1 + enough / team->per_thread;
    team->work = read_streams;
    double seconds = run(team);
    if (seconds <= 0) return fail("threads", "no room for them", "a smaller number");
    printf("%.3f\n", (double)(team->per_thread * team->repeats * team->n_threads) / seconds * 1e-9);
    return 0;
}

static int command_dots(const char *name, Team *team)
{
    Unit unit = find_unit(name);
    if (!unit.work) return puts("none") == EOF;
    char *start = calloc(ACCUMULATORS + 1, LINE); /* zeros that the compiler does not see */
    if (!start) return fail("memory", "none", "some");
    team->bytes = start;
    team->work = unit.work;
    team->per_thread = 100000;
    team->repeats = 1;
    double seconds = run(team);
    free(start);
    if (seconds <= 0) return fail("threads", "no room for them", "a smaller number");
    double operations =
        (double)(team->per_thread * ACCUMULATORS * unit.operations * team->n_threads);
    printf("%.3f\n", operations / seconds * 1e-9);
    return 0;
}

static int usage(void)
{
    fputs("usage: bench_limits read BYTES THREADS SECONDS 4k|huge\n"
          "       bench_limits f32|bf16|int8 THREADS SECONDS\n",
          stderr);
    return 2;
}

/* The words after the command. */
static int run_command(char **argv, bool reads, Team *team)
{
    const char *threads = argv[reads ? 3 : 2], *seconds = argv[reads ? 4 : 3];
    int64_t n = number(threads);
    if (n < 1 || n > MAX_THREADS) return fail("THREADS", threads, "1 to 256");
    team->n_threads = (int)n;
    char *end;
    team->seconds = strtod(seconds, &end);
    if (*end || end == seconds || !(team->seconds > 0 && team->seconds <= 60))
        return fail("SECONDS", seconds, "a number above 0, at most 60");
    return reads ? command_read(argv[2], team, argv[5]) : command_dots(argv[1], team);
}

int main(int argc, char **argv)
{
    bool reads = argc == 6 && !strcmp(argv[1], "read");
    bool dots = argc == 4 &&
                (!strcmp(argv[1], "f32") || !strcmp(argv[1], "bf16") || !strcmp(argv[1], "int8"));
    if (!reads && !dots) return usage();
    Team *team = calloc(1, sizeof *team);
    if (!team) return fail("memory", "none", "some");
    int code = run_command(argv, reads, team);
    free(team);
    return code;
}
