/* codegen/levels.h -- levels of x86-64 processors in one program. Private to codegen/. */
#ifndef SNL_CODEGEN_LEVELS_H
#define SNL_CODEGEN_LEVELS_H

#include "codegen/codegen.h"

/* Features of the x86-64 levels (runtime/cpu_features.def). */
#define SNL_NEEDS_V2 "sse3,ssse3,sse4.1,sse4.2,popcnt"
#define SNL_NEEDS_V3 SNL_NEEDS_V2 ",avx,avx2,bmi,bmi2,f16c,fma,lzcnt,movbe"
#define SNL_NEEDS_V4 SNL_NEEDS_V3 ",avx512f,avx512bw,avx512cd,avx512dq,avx512vl"

/* A level that differs from the one before only in dot products of bytes, or of bf16. */
typedef enum SnlLevelUse { SNL_FOR_ALL, SNL_FOR_BLOCKS, SNL_FOR_BF16 } SnlLevelUse;

typedef struct SnlLevel {
    const char *name;
    const char *cpu, *features; /* LLVM's */
    const char *needs;          /* what the runtime looks for (runtime/cpu_features.def) */
    SnlLevelUse use;
} SnlLevel;

/* No cpu named, no sanitizer, x86-64: the object gets every level. */
bool snl_target_has_levels(const SnlTargetOptions *target);

/* codegen/levels.c: every level's object, each by a thread of its own, joined with the model's. */
SnlStatus snl_emit_levels(const SnlModule *m, const SnlPayload *payload, const SnlProgramSpec *spec,
                          const SnlTargetOptions *target, const char *path, SnlDiag *diag);

/* codegen/emit.c: the graphs of one level; and the model that refers to the levels' graphs. */
SnlStatus snl_emit_level(const SnlModule *m, const SnlPayload *payload, const SnlProgramSpec *spec,
                         const SnlTargetOptions *target, const char *level, const char *path,
                         SnlDiag *diag);
SnlStatus snl_emit_levels_model(const SnlModule *m, const SnlPayload *payload,
                                const SnlProgramSpec *spec, const SnlTargetOptions *target,
                                const SnlLevel *levels, size_t n, const char *path, SnlDiag *diag);

#endif
