/* codegen/link.c -- argument vectors for the linker.
 *
 * The static program is linked by ld.lld directly: which start files and archives make a static
 * program is known from configuring snlpc (cmake/toolchain.cmake), so that no compiler is needed
 * where snlpc runs. Programs with a sanitizer are linked by clang, which knows where its runtimes
 * are. Outputs are reproducible: no build id, no paths of objects.
 *
 * SNLPC_LLD in the environment names another ld.lld. */
#include "codegen/link.h"
#include "codegen/spawn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *linker(void)
{
    const char *lld = getenv("SNLPC_LLD");
    return lld && *lld ? lld : SNL_LINK_LLD;
}

/* A linker that fails may leave a broken file. */
static SnlStatus link_file(const char *const *argv, const char *install, const char *out_path,
                           SnlDiag *diag)
{
    SnlStatus status = snl_spawn(argv, install, out_path, diag);
    if (status != SNL_OK) unlink(out_path);
    return status;
}

/* e_machine of an ELF file (elf.h); -1 when it is none: the linker will say what it thinks of it.
 */
static int elf_machine(const char *path)
{
    enum { MACHINE_AT = 18, LITTLE_ENDIAN_AT = 5 };
    unsigned char head[20];
    FILE *file = fopen(path, "rb");
    size_t got = file ? fread(head, 1, sizeof head, file) : 0;
    if (file) fclose(file);
    if (got < sizeof head || memcmp(head, "\177ELF", 4) != 0) return -1;
    bool little = head[LITTLE_ENDIAN_AT] == 1;
    return little ? head[MACHINE_AT] | head[MACHINE_AT + 1] << 8
                  : head[MACHINE_AT] << 8 | head[MACHINE_AT + 1];
}

/* The libraries of a program are this machine's. */
static SnlStatus check_machine(const char *object, SnlDiag *diag)
{
    int found = elf_machine(object), wanted = elf_machine(SNL_LINK_CRT1);
    if (found < 0 || found == wanted) return SNL_OK;
    return snl_error_at(diag, SNL_E_UNSUPPORTED, "--target",
                        "the code is for another kind of machine (ELF machine %d) than the runtime "
                        "and libc of this installation (%d): take --emit obj and link it there",
                        found, wanted);
}

static SnlStatus link_static(const char *object, const char *out_path, SnlDiag *diag)
{
    const char *argv[] = {linker(),
                          "-static",
                          "--gc-sections",
                          "--build-id=none",
                          "--eh-frame-hdr",
                          "-z",
                          "noexecstack",
                          "-z",
                          "relro",
                          "-o",
                          out_path,
                          SNL_LINK_CRT1,
                          SNL_LINK_CRTI,
                          SNL_LINK_CRTBEGIN,
                          object,
                          SNL_RUNTIME_ARCHIVE,
                          SNL_LINK_LIBPCRE2,
                          "--start-group",
                          SNL_LINK_LIBM,
                          SNL_LINK_LIBPTHREAD,
                          SNL_LINK_LIBGCC,
                          SNL_LINK_LIBGCC_EH,
                          SNL_LINK_LIBC,
                          "--end-group",
                          SNL_LINK_CRTEND,
                          SNL_LINK_CRTN,
                          NULL};
    return link_file(argv, "lld-19", out_path, diag);
}

static SnlStatus link_sanitized(const char *object, const char *flag, const char *archive,
                                const char *out_path, SnlDiag *diag)
{
    const char *argv[] = {SNL_LINK_CC,       flag,  "-o",        out_path, object, archive,
                          SNL_LINK_LIBPCRE2, "-lm", "-lpthread", NULL};
    return link_file(argv, "clang-19 (and libclang-rt-19-dev)", out_path, diag);
}

SnlStatus snl_link_program(const char *object, SnlSanitizer sanitize, const char *out_path,
                           SnlDiag *diag)
{
    SNL_TRY(check_machine(object, diag));
    switch (sanitize) {
    case SNL_SANITIZE_NONE:
        return link_static(object, out_path, diag);
    case SNL_SANITIZE_ADDRESS:
        return link_sanitized(object, "-fsanitize=address", SNL_RUNTIME_ARCHIVE_ASAN, out_path,
                              diag);
    case SNL_SANITIZE_THREAD:
        return link_sanitized(object, "-fsanitize=thread", SNL_RUNTIME_ARCHIVE_TSAN, out_path,
                              diag);
    }
    SNL_UNREACHABLE();
}

SnlStatus snl_link_objects(const char *const *objects, size_t n, const char *out_path,
                           SnlDiag *diag)
{
    enum { MAX_OBJECTS = 16, HEAD = 4 };
    const char *argv[HEAD + MAX_OBJECTS + 1] = {linker(), "-r", "-o", out_path};
    SNL_ASSERT(n <= MAX_OBJECTS);
    memcpy(argv + HEAD, objects, n * sizeof *objects);
    return link_file(argv, "lld-19", out_path, diag);
}

SnlStatus snl_link_shared(const char *object, const char *out_path, SnlDiag *diag)
{
    /* libc, libm and the runtime are left undefined: the process that loads the object has them.
     * The archive's runtime tells no sanitizer of fibers, so in a process built with one it must
     * not be what switches them. */
    const char *argv[] = {linker(),      "-shared", "--gc-sections", "--build-id=none", "-z",
                          "noexecstack", "-o",      out_path,        object,            NULL};
    return link_file(argv, "lld-19", out_path, diag);
}
