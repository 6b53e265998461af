/* compiler/driver/eval_program.h -- programs with several plans, compiled and loaded into this
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

/* Compiles and loads a model, which must have a tokenizer; one session with n_threads threads for
 * each plan. Temporary files are gone when it returns. Close in any case. */
SnlStatus snl_eval_program_open(const SnlCompileOptions *options, int64_t n_threads, SnlDiag *diag,
                                SnlEvalProgram *out);
void snl_eval_program_close(SnlEvalProgram *program);

/* One graph of one program. */
typedef struct SnlEvalRow {
    const SnlEvalProgram *program;
    const SnlrtGraph *graph;
    SnlrtSession *session;
} SnlEvalRow;

/* A program for each format of the weights; all their graphs, program by program. Row 0 is the
 * sequential graph of the first: every other row is compared with it. */
typedef struct SnlEvalSet {
    SnlArena *arena;
    SnlDiag *diag;
    SnlEvalProgram *program;
    size_t n_programs;
    SnlEvalRow *row;
    size_t n_rows;
} SnlEvalSet;

/* Close in any case. `options` and the set's arena live as long as the set. */
SnlStatus snl_eval_set_open(const SnlCompileOptions *options, int64_t n_threads, SnlDiag *diag,
                            SnlEvalSet *out);
void snl_eval_set_close(SnlEvalSet *set);

/* A failure of the runtime as a diagnostic; SNLRT_OK is SNL_OK. */
SnlStatus snl_eval_report(SnlrtStatus status, const SnlrtError *err, const char *place,
                          SnlDiag *diag);

#endif
