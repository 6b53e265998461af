/* codegen/fatal.c -- hands LLVM's fatal errors to the driver. */
#include "codegen/fatal.h"

#include <llvm-c/ErrorHandling.h>

void snl_codegen_on_fatal(void (*handler)(const char *reason))
{
    LLVMResetFatalErrorHandler(); /* installing a second one is itself fatal */
    LLVMInstallFatalErrorHandler(handler);
}
