/* codegen/target.c -- the machine code is made for, LLVM's own passes, and writing the file. */
#include "codegen/gen.h"
#include "codegen/levels.h"
#include "ir/base/file.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include <errno.h>
#include <stdlib.h>

/* What a CPU name stands for when none is given. */
static const char *default_cpu(const char *triple)
{
    return strncmp(triple, "x86_64", 6) == 0 ? "x86-64-v3" : "generic";
}

static char *own_message(SnlArena *arena, char *message)
{
    char *copy = snl_arena_strdup(arena, message ? message : "no reason given");
    LLVMDisposeMessage(message);
    return copy;
}

/* LLVM itself only warns about unknown CPUs; a program for another machine must not come out of a
 * misspelt name. */
static SnlStatus check_cpu(SnlGen *g, const char *triple, const char *cpu)
{
    char *known = snl_target_cpus(g->arena, triple);
    size_t n = strlen(cpu);
    bool name = n && !strchr(cpu, ','); /* not a piece of the list */
    for (const char *at = known; name && (at = strstr(at, cpu)); at += n) {
        bool starts = at == known || at[-1] == ' ';
        if (starts && (at[n] == ',' || at[n] == '\0')) return SNL_OK;
    }
    return snl_error_at(g->diag, SNL_E_USAGE, "--cpu",
                        "found '%s', wanted native or an LLVM cpu name of %s, such as %s", cpu,
                        triple, known);
}

void snl_gen_init_targets(void)
{
    LLVMInitializeAllTargetInfos();
    LLVMInitializeAllTargets();
    LLVMInitializeAllTargetMCs();
    LLVMInitializeAllAsmPrinters();
    LLVMInitializeAllAsmParsers();
}

/* Weights are stored for little-endian machines, and code goes into ELF objects. */
static bool is_supported_triple(const char *triple)
{
    static const char *const machines[] = {
        "x86_64",  "amd64",   "i386", "i486",  "i586", "i686",        "arm64",      "aarch64",
        "riscv32", "riscv64", "arm",  "thumb", "armv", "loongarch64", "powerpc64le"};
    static const char *const other_objects[] = {"darwin", "macos", "apple",  "ios",
                                                "windows", "win32", "mingw",  "msvc",
                                                "cygwin", "uefi",  "coff",   "macho"};
    size_t n = strcspn(triple, "-");
    bool known = false, big_arm = n > 2 && strncmp(triple + n - 2, "eb", 2) == 0;
    for (size_t i = 0; i < sizeof machines / sizeof *machines && !known && !big_arm; i++) {
        size_t m = strlen(machines[i]);
        bool versions = strcmp(machines[i], "armv") == 0 || strcmp(machines[i], "thumb") == 0;
        known = strncmp(triple, machines[i], m) == 0 && (n == m || versions);
    }
    for (size_t i = 0; i < sizeof other_objects / sizeof *other_objects && known; i++)
        known = !strstr(triple, other_objects[i]);
    return known;
}

static SnlStatus create_machine(SnlGen *g, const SnlTargetOptions *options)
{
    char *host = own_message(g->arena, LLVMGetDefaultTargetTriple());
    const char *triple = options->triple ? options->triple : host;
    LLVMTargetRef target;
    char *message = NULL;
    if (!*triple)
        return snl_error_at(g->diag, SNL_E_USAGE, "--target",
                            "found '', wanted a triple such as %s", host);
    if (!is_supported_triple(triple))
        return snl_error_at(g->diag, SNL_E_USAGE, "--target",
                            "found '%s', wanted a triple of a little-endian machine with ELF "
                            "objects (x86_64, i686, aarch64, arm, thumb, riscv32, riscv64, "
                            "loongarch64, powerpc64le), such as %s",
                            triple, host);
    if (LLVMGetTargetFromTriple(triple, &target, &message))
        return snl_error_at(g->diag, SNL_E_USAGE, "--target",
                            "found '%s', wanted a triple such as %s: %s", triple, host,
                            own_message(g->arena, message));
    const char *cpu = options->cpu ? options->cpu : default_cpu(triple),
               *features = options->features ? options->features : "";
    if (strcmp(cpu, "native") == 0) {
        if (options->triple && strncmp(triple, host, strcspn(host, "-") + 1) != 0)
            return snl_error_at(g->diag, SNL_E_USAGE, "--cpu",
                                "native means this machine (%s), but --target is %s: name a cpu",
                                host, triple);
        cpu = own_message(g->arena, LLVMGetHostCPUName());
        features = own_message(g->arena, LLVMGetHostCPUFeatures());
    } else if (options->cpu) {
        SNL_TRY(check_cpu(g, triple, cpu));
    }
    /* Static programs on x86-64 lie below 2 GiB; the payload is not linked in, so small code
     * suffices. */
    bool pic =
        options->pic || options->sanitize != SNL_SANITIZE_NONE; /* those are linked dynamically */
    LLVMRelocMode reloc = pic ? LLVMRelocPIC : LLVMRelocStatic;
    /* A sanitizer sees the same accesses in code that is generated in a fifth of the time. */
    LLVMCodeGenOptLevel level =
        options->sanitize == SNL_SANITIZE_NONE ? LLVMCodeGenLevelDefault : LLVMCodeGenLevelNone;
    g->machine = LLVMCreateTargetMachine(target, triple, cpu, features, level, reloc,
                                         LLVMCodeModelSmall);
    LLVMSetTarget(g->module, triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(g->machine);
    LLVMSetModuleDataLayout(g->module, layout);
    LLVMDisposeTargetData(layout);
    return SNL_OK;
}

/* ---- x86-64 processors ----------------------------------------------------------------------- */

/* The names that --cpu takes: the x86-64 level, and what LLVM may use beyond it. A program says
 * that it needs all of it: better refused than ended by an illegal instruction. */
typedef struct Cpu {
    const char *name;
    int level;
    const char *more;
} Cpu;

#define ICE "+avx512vnni,+avx512vbmi,+avx512vbmi2,+avx512ifma,+avx512bitalg,+avx512vpopcntdq,+gfni"
#define SAPPHIRE ICE ",+avxvnni,+avx512bf16,+avx512fp16"
static const Cpu cpus[] = {
    {"x86-64", 1, ""},
    {"x86-64-v2", 2, ""},
    {"x86-64-v3", 3, ""},
    {"x86-64-v4", 4, ""},
    {"haswell", 3, ""},
    {"broadwell", 3, ""},
    {"skylake", 3, ""},
    {"alderlake", 3, "+avxvnni,+gfni"},
    {"znver1", 3, ""},
    {"znver2", 3, ""},
    {"znver3", 3, ""},
    {"skylake-avx512", 4, ""},
    {"cascadelake", 4, "+avx512vnni"},
    {"cooperlake", 4, "+avx512vnni,+avx512bf16"},
    {"cannonlake", 4, "+avx512vbmi,+avx512ifma"},
    {"icelake-client", 4, ICE},
    {"icelake-server", 4, ICE},
    {"rocketlake", 4, ICE},
    {"tigerlake", 4, ICE ",+avx512vp2intersect"},
    {"sapphirerapids", 4, SAPPHIRE},
    {"emeraldrapids", 4, SAPPHIRE},
    {"graniterapids", 4, SAPPHIRE},
    {"znver4", 4, ICE ",+avx512bf16"},
    {"znver5", 4, ICE ",+avx512bf16,+avxvnni,+avx512vp2intersect"},
    {"nehalem", 2, ""},
    {"westmere", 2, ""},
    {"sandybridge", 2, "+avx"},
    {"ivybridge", 2, "+avx,+f16c"},
    {"silvermont", 2, "+movbe"},
    {"goldmont", 2, "+movbe"},
    {"btver2", 2, "+avx,+f16c,+bmi,+lzcnt,+movbe"},
};
enum { N_CPUS = sizeof cpus / sizeof cpus[0] };

/* Does LLVM's feature text have "+name" (sign '+') or "-name"? */
static bool listed(const char *features, char sign, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = features; *at; at += strcspn(at, ","), at += *at == ',')
        if (at[0] == sign && strncmp(at + 1, name, n) == 0 && (at[n + 1] == ',' || !at[n + 1]))
            return true;
    return false;
}

/* What the machine of `g` is by name and by LLVM's feature text (`native`: complete). */
typedef struct Traits {
    bool x86;
    int level; /* x86-64 level */
    const char *features, *more;
} Traits;

static Traits traits_of(SnlGen *g)
{
    char *triple = own_message(g->arena, LLVMGetTargetMachineTriple(g->machine));
    char *name = own_message(g->arena, LLVMGetTargetMachineCPU(g->machine));
    char *features = own_message(g->arena, LLVMGetTargetMachineFeatureString(g->machine));
    Traits t = {strncmp(triple, "x86_64", 6) == 0, 1, features, ""};
    const Cpu *known = NULL;
    for (size_t i = 0; i < N_CPUS; i++)
        if (strcmp(cpus[i].name, name) == 0) known = &cpus[i];
    if (listed(features, '+', "avx512f"))
        t.level = 4;
    else if (known)
        t.level = known->level;
    else if (listed(features, '+', "avx2"))
        t.level = 3;
    if (known) t.more = known->more;
    return t;
}

bool snl_gen_has_feature(SnlGen *g, const char *feature)
{
    static const struct {
        const char *name;
        int level;
    } of_level[] = {{"sse2", 1}, {"ssse3", 2}, {"avx2", 3}, {"f16c", 3}, {"avx512bw", 4}};
    Traits t = traits_of(g);
    if (!t.x86 || listed(t.features, '-', feature)) return false;
    for (size_t i = 0; i < sizeof of_level / sizeof of_level[0]; i++)
        if (strcmp(feature, of_level[i].name) == 0 && t.level >= of_level[i].level) return true;
    return listed(t.features, '+', feature) || listed(t.more, '+', feature);
}

bool snl_gen_lacks_halves(SnlGen *g)
{
    return traits_of(g).x86 && !snl_gen_has_feature(g, "f16c");
}

char *snl_gen_required_features(SnlGen *g)
{
    static const char *const base[] = {"", "", SNL_NEEDS_V2, SNL_NEEDS_V3, SNL_NEEDS_V4};
    Traits t = traits_of(g);
    if (!t.x86) return snl_arena_strdup(g->arena, "");
    if (strchr(t.features, '-')) /* native: all that LLVM was told */
        return snl_arena_strdup(g->arena, t.features);
    return snl_arena_printf(g->arena, "%s%s%s", base[t.level], *t.more ? "," : "", t.more);
}

char *snl_target_cpus(SnlArena *arena, const char *triple)
{
    if (triple && strncmp(triple, "x86_64", 6) != 0)
        return snl_arena_strdup(arena,
                                strncmp(triple, "aarch64", 7) == 0
                                    ? "generic, cortex-a53, cortex-a72, cortex-a76, neoverse-n1, "
                                      "neoverse-v1, apple-m1"
                                    : "generic");
    char *text = snl_arena_strdup(arena, cpus[0].name);
    for (size_t i = 1; i < N_CPUS; i++)
        text = snl_arena_printf(arena, "%s, %s", text, cpus[i].name);
    return text;
}

/* Register tile of the prefill kernels: as many 16-lane accumulators as registers hold, with room
 * for the weights and one broadcast input. */
static void choose_tile(SnlGen *g)
{
    Traits t = traits_of(g);
    g->tile_tokens = 6, g->tile_panels = 1; /* 16 registers of 8 lanes; NEON: 32 of 4 */
    if (t.x86 && t.level >= 4)
        g->tile_tokens = 12, g->tile_panels = 2; /* 32 registers of 16 lanes */
    else if (t.x86 && t.level < 3)
        g->tile_tokens = 3; /* 16 registers of 4 lanes */
}

SnlStatus snl_gen_create(SnlGen *g, SnlArena *arena, const char *module_name,
                         const SnlTargetOptions *options, SnlDiag *diag)
{
    *g = (SnlGen){.arena = arena, .diag = diag, .sanitize = options->sanitize};
    g->ctx = LLVMContextCreate();
    g->module = LLVMModuleCreateWithNameInContext(module_name, g->ctx);
    g->b = LLVMCreateBuilderInContext(g->ctx);
    g->f32 = LLVMFloatTypeInContext(g->ctx);
    g->f64 = LLVMDoubleTypeInContext(g->ctx);
    g->i1 = LLVMInt1TypeInContext(g->ctx);
    g->i8 = LLVMInt8TypeInContext(g->ctx);
    g->i16 = LLVMInt16TypeInContext(g->ctx);
    g->i32 = LLVMInt32TypeInContext(g->ctx);
    g->i64 = LLVMInt64TypeInContext(g->ctx);
    g->ptr = LLVMPointerTypeInContext(g->ctx, 0);
    g->void_ = LLVMVoidTypeInContext(g->ctx);
    g->hook_stages = options->hook_stages;
    if (!options->targets_ready) snl_gen_init_targets();
    SNL_TRY(create_machine(g, options));
    choose_tile(g);
    return SNL_OK;
}

void snl_gen_destroy(SnlGen *g)
{
    if (g->b) LLVMDisposeBuilder(g->b);
    if (g->module) LLVMDisposeModule(g->module);
    if (g->machine) LLVMDisposeTargetMachine(g->machine);
    if (g->ctx) LLVMContextDispose(g->ctx);
}

/* ---- writing --------------------------------------------------------------------------------- */

static SnlStatus verify(SnlGen *g, const char *path)
{
    char *message = NULL;
    if (!LLVMVerifyModule(g->module, LLVMReturnStatusAction, &message)) {
        LLVMDisposeMessage(message);
        return SNL_OK;
    }
    char *beside = snl_arena_printf(g->arena, "%s.invalid.ll", path), *ignored = NULL;
    LLVMPrintModuleToFile(g->module, beside, &ignored);
    LLVMDisposeMessage(ignored);
    return snl_error_at(g->diag, SNL_E_INTERNAL, NULL,
                        "generated code does not verify (written to %s): %s", beside,
                        own_message(g->arena, message));
}

/* The emitters write vectors and unroll by themselves; LLVM's vectoriser and unroller have nothing
 * to add but code size and compile time. */
static const char passes_text[] =
    "function(early-cse,instcombine<no-verify-fixpoint>,simplifycfg,"
    "loop-mssa(loop-rotate,licm),early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg)";

static SnlStatus optimise(SnlGen *g)
{
    const char *text = passes_text;
    if (g->sanitize == SNL_SANITIZE_ADDRESS)
        text = "asan";
    else if (g->sanitize == SNL_SANITIZE_THREAD)
        text = "tsan-module,function(tsan)";
    LLVMPassBuilderOptionsRef o = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(g->module, text, g->machine, o);
    LLVMDisposePassBuilderOptions(o);
    if (!error) return SNL_OK;
    char *message = LLVMGetErrorMessage(error);
    SnlStatus status =
        snl_error_at(g->diag, SNL_E_INTERNAL, NULL, "LLVM passes '%s' failed: %s", text, message);
    LLVMDisposeErrorMessage(message);
    return status;
}

SnlStatus snl_gen_write(SnlGen *g, const SnlTargetOptions *options, SnlEmitKind kind,
                        const char *path)
{
    if (options->verify) SNL_TRY(verify(g, path));
    SNL_TRY(optimise(g));
    SnlOutput out;
    SNL_TRY(snl_output_open(path, g->diag, &out));
    LLVMMemoryBufferRef buffer = NULL;
    char *message = NULL, *text = NULL;
    const char *bytes;
    size_t nbytes;
    if (kind == SNL_EMIT_LLVM) {
        bytes = text = LLVMPrintModuleToString(g->module);
        nbytes = strlen(text);
    } else {
        LLVMCodeGenFileType type = kind == SNL_EMIT_ASM ? LLVMAssemblyFile : LLVMObjectFile;
        if (LLVMTargetMachineEmitToMemoryBuffer(g->machine, g->module, type, &message, &buffer)) {
            snl_output_abort(&out);
            return snl_error_at(g->diag, SNL_E_INTERNAL, NULL, "LLVM could not write code: %s",
                                own_message(g->arena, message));
        }
        bytes = LLVMGetBufferStart(buffer);
        nbytes = LLVMGetBufferSize(buffer);
    }
    size_t written = fwrite(bytes, 1, nbytes, out.stream);
    int error = errno; /* LLVM may change it */
    if (buffer) LLVMDisposeMemoryBuffer(buffer);
    LLVMDisposeMessage(text);
    if (written != nbytes) {
        snl_output_abort(&out);
        return snl_error_at(g->diag, SNL_E_MACHINE, path, "cannot write: %s", strerror(error));
    }
    return snl_output_commit(&out, false, g->diag);
}
