/* compiler/driver/eval_program.h -- a program with several plans, compiled and loaded into this
 * process instead of written to a file: what `snlpc eval` measures. */
#ifndef SNL_DRIVER_EVAL_PROGRAM_H
#define SNL_DRIVER_EVAL_PROGRAM_H

#include "compiler/driver/compilation.h"
#include "runtime/model.h"
#include "runtime/session.h"
#include "runtime/tokenizer.h"

typedef struct SnlEvalProgram {
    SnlCompilation c;
    void *library;
    const SnlrtModel *model;
    SnlrtPayload payload;
    SnlrtTokenizer *tokenizer;
    SnlrtSession **session; /* one for each graph of the model */
} SnlEvalProgram;

/* Compiles and loads; one session with n_threads threads for each plan. Temporary files are gone
 * when it returns. Close in any case. */
SnlStatus snl_eval_program_open(const SnlCompileOptions *options, int64_t n_threads, SnlDiag *diag,
                                SnlEvalProgram *out);
void snl_eval_program_close(SnlEvalProgram *program);

/* A failure of the runtime as a diagnostic; SNLRT_OK is SNL_OK. */
SnlStatus snl_eval_report(SnlrtStatus status, const SnlrtError *err, const char *place,
                          SnlDiag *diag);

#endif
