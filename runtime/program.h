/* runtime/program.h -- the emitted program around the library: what its parts share.
 *
 * This is the part that prints. Results and text go to standard output, everything else to standard
 * error. Functions return statuses; only main exits. */
#ifndef SNLRT_PROGRAM_H
#define SNLRT_PROGRAM_H

#include "runtime/clock.h"
#include "runtime/model.h"
#include "runtime/options.h"
#include "runtime/session.h"
#include "runtime/tokenizer.h"

#include <stdio.h>

typedef struct SnlrtProgram {
    const SnlrtModel *model;
    const char *name; /* the program's, for messages */
    double started;   /* snlrt_seconds at the beginning */
    SnlrtOptions options;
    SnlrtPayload payload;
    SnlrtTokenizer *tokenizer; /* of kind NONE when the model has none or ids are enough */
    int64_t graph;             /* index of the mode */
} SnlrtProgram;

/* The whole program: returns its exit code. */
int snlrt_program_main(const SnlrtModel *model, int argc, char **argv);

/* Its tasks. */
SnlrtStatus snlrt_program_generate(SnlrtProgram *program, SnlrtError *err);
SnlrtStatus snlrt_program_ppl(SnlrtProgram *program, SnlrtError *err);
SnlrtStatus snlrt_program_bench(SnlrtProgram *program, SnlrtError *err);
SnlrtStatus snlrt_program_about(SnlrtProgram *program, SnlrtError *err);
SnlrtStatus snlrt_program_verify(SnlrtProgram *program, SnlrtError *err);

/* A session with the options' mode, threads, context and block. */
SnlrtStatus snlrt_program_session(const SnlrtProgram *program, SnlrtSession **out, SnlrtError *err);
/* One line "NAME: note: ..." on standard error. */
void snlrt_program_note(const SnlrtProgram *program, const char *format, ...) SNLRT_PRINTF(2, 3);
/* Whole file or, with path NULL, standard input; at most max_nbytes. */
SnlrtStatus snlrt_read_text(const char *path, size_t max_nbytes, SnlrtText *out, SnlrtError *err);
/* Ids of a text (SNLRT_ENCODE_* flags), failures as status and text. */
SnlrtStatus snlrt_program_encode(const SnlrtProgram *program, const char *text, size_t nbytes,
                                 unsigned flags, SnlrtIds *out, SnlrtError *err);
/* Fails with what to do about a model whose logits after the token at `position` say nothing. */
SnlrtStatus snlrt_program_not_numbers(int64_t position, SnlrtError *err);
/* Prints to standard output through a buffer; one failure is enough to fail. */
SnlrtStatus snlrt_program_print(const char *text, size_t nbytes, SnlrtError *err);

/* A JSON string with its quotes. */
void snlrt_json_string(FILE *out, const char *text);
/* Ctrl-C sets a flag instead of ending the program; a second one ends it. */
void snlrt_interrupt_catch(void);
bool snlrt_interrupted(void);

#endif
