/* runtime/cpu_check.h -- does this machine have what the generated code was built for? */
#ifndef SNLRT_CPU_CHECK_H
#define SNLRT_CPU_CHECK_H

#include "runtime/status.h"

/* `features`: LLVM names separated by commas ("avx2,fma"); a leading '+' is skipped, names with a
 * leading '-' are ignored. SNLRT_MACHINE with one line that names the first missing feature. Also
 * missing: what the operating system does not save on a task switch, and what this processor family
 * cannot be asked about. Runs on any processor of the family. */
SnlrtStatus snlrt_cpu_check(const char *features, SnlrtError *err);

#endif
