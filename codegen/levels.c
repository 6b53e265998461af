/* codegen/levels.c -- one program for every x86-64 processor with SSE4.2 and POPCNT: its code
 * compiled several times, each for a level of processors; the runtime takes the highest that the
 * machine has (runtime/level.c).
 *
 * Each level is an object of its own, made by a thread of its own (LLVM contexts do not know of
 * each other); a relocatable link joins them. */
#include "codegen/levels.h"

#include "codegen/gen.h"
#include "codegen/link.h"

#include <pthread.h>
#include <unistd.h>

static const SnlLevel all_levels[] = {
    {"v2", "x86-64-v2", NULL, SNL_NEEDS_V2, SNL_FOR_ALL},
    {"v3", "x86-64-v3", NULL, SNL_NEEDS_V3, SNL_FOR_ALL},
    {"v3+avxvnni", "x86-64-v3", "+avxvnni", SNL_NEEDS_V3 ",avxvnni", SNL_FOR_BLOCKS},
    {"v4+vnni", "x86-64-v4", "+avx512vnni", SNL_NEEDS_V4 ",avx512vnni", SNL_FOR_ALL},
    {"v4+vnni+bf16", "x86-64-v4", "+avx512vnni,+avx512bf16", SNL_NEEDS_V4 ",avx512vnni,avx512bf16",
     SNL_FOR_BF16},
};
enum { MAX_LEVELS = sizeof all_levels / sizeof all_levels[0] };

bool snl_target_has_levels(const SnlTargetOptions *target)
{
#if defined(__x86_64__)
    bool host = !target->triple;
#else
    bool host = false;
#endif
    bool x86 = target->triple && strncmp(target->triple, "x86_64", 6) == 0;
    return (host || x86) && !target->cpu && target->sanitize == SNL_SANITIZE_NONE;
}

/* Has some weight a format whose products the level computes in another way? */
static bool makes_a_difference(const SnlLevel *level, const SnlPayload *payload)
{
    bool any = level->use == SNL_FOR_ALL;
    for (size_t i = 0; i < payload->n && !any; i++) {
        SnlDtype dtype = payload->at[i].weight->type->dtype;
        any = level->use == SNL_FOR_BF16 ? dtype == SNL_BF16 : snl_dtype_is_blocked(dtype);
    }
    return any;
}

typedef struct LevelJob {
    const SnlModule *m;
    const SnlPayload *payload;
    const SnlProgramSpec *spec;
    SnlTargetOptions target;
    const SnlLevel *level;
    const char *path;
    SnlDiag *diag; /* the thread's own */
    SnlStatus status;
    pthread_t thread;
    bool started;
} LevelJob;

static void *emit_level(void *user)
{
    LevelJob *job = user;
    job->status = snl_emit_level(job->m, job->payload, job->spec, &job->target, job->level->name,
                                 job->path, job->diag);
    return NULL;
}

/* A thread that cannot be had is no reason to fail. */
static void start(LevelJob *job)
{
    job->diag = snl_diag_create(NULL, 0);
    job->started = pthread_create(&job->thread, NULL, emit_level, job) == 0;
    if (!job->started) emit_level(job);
}

static SnlStatus finish(LevelJob *job, SnlDiag *diag)
{
    if (job->started) pthread_join(job->thread, NULL);
    SnlStatus status = job->status;
    if (status != SNL_OK)
        status = snl_error_at(diag, status == SNL_MACHINE ? SNL_E_MACHINE : SNL_E_INTERNAL, NULL,
                              "code for level %s: %s", job->level->name, snl_diag_text(job->diag));
    snl_diag_destroy(job->diag);
    return status;
}

/* The levels that make a difference for this payload. */
static size_t choose_levels(const SnlPayload *payload, SnlLevel *out)
{
    size_t n = 0;
    for (size_t i = 0; i < MAX_LEVELS; i++)
        if (makes_a_difference(&all_levels[i], payload)) out[n++] = all_levels[i];
    return n;
}

SnlStatus snl_emit_levels(const SnlModule *m, const SnlPayload *payload, const SnlProgramSpec *spec,
                          const SnlTargetOptions *target, const char *path, SnlDiag *diag)
{
    SnlArena *arena = snl_arena_create();
    SnlLevel levels[MAX_LEVELS];
    LevelJob jobs[MAX_LEVELS];
    const char *objects[MAX_LEVELS + 1];
    size_t n = choose_levels(payload, levels);
    snl_gen_init_targets();
    for (size_t i = 0; i < n; i++) {
        objects[i] = snl_arena_printf(arena, "%s.%zu", path, i);
        jobs[i] = (LevelJob){.m = m,
                             .payload = payload,
                             .spec = spec,
                             .target = *target,
                             .level = &levels[i],
                             .path = objects[i]};
        jobs[i].target.cpu = levels[i].cpu;
        jobs[i].target.features = levels[i].features;
        jobs[i].target.targets_ready = true;
    }
    for (size_t i = 0; i < n; i++) start(&jobs[i]);
    objects[n] = snl_arena_printf(arena, "%s.model", path);
    SnlStatus status =
        snl_emit_levels_model(m, payload, spec, &jobs[0].target, levels, n, objects[n], diag);
    for (size_t i = 0; i < n; i++) {
        SnlStatus one = finish(&jobs[i], diag);
        if (status == SNL_OK) status = one;
    }
    if (status == SNL_OK) status = snl_link_objects(objects, n + 1, path, diag);
    for (size_t i = 0; i <= n; i++) unlink(objects[i]);
    snl_arena_destroy(arena);
    return status;
}
