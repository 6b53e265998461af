/* codegen/fatal.h -- LLVM's fatal errors (it calls them when it cannot go on and has no other way).
 */
#ifndef SNL_CODEGEN_FATAL_H
#define SNL_CODEGEN_FATAL_H

/* `handler` gets LLVM's reason and must not return. Process-wide; called from main. */
void snl_codegen_on_fatal(void (*handler)(const char *reason));

#endif
