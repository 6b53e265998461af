/* compiler/driver/arguments.h -- values for the parameters of an IR function that `snlpc run`
 * calls. */
#ifndef SNL_DRIVER_ARGUMENTS_H
#define SNL_DRIVER_ARGUMENTS_H

#include "ir/eval.h"

/* What the user said about one parameter. */
typedef struct SnlArgument {
    enum { SNL_ARGUMENT_RANDOM, SNL_ARGUMENT_NUMBER, SNL_ARGUMENT_FILE } kind;
    int64_t number;   /* index parameters */
    const char *path; /* .npy */
} SnlArgument;

/* Reads the texts `VALUE` (by position) and `NAME=VALUE`; VALUE is `random`, a whole number (index
 * parameters) or a .npy file. Parameters without a text: random tensors, position 0. */
SnlStatus snl_arguments_parse(const SnlFunc *func, char *const *text, size_t n, SnlDiag *diag,
                              SnlArgument *out);

/* The tensors of call number `call` (from 0): random ones differ from call to call, positions
 * advance by n_tokens. Ids are below the vocabulary of the module's `embed` ops. Real numbers are
 * exact in f32. */
SnlStatus snl_arguments_make(SnlArena *arena, const SnlFunc *func, const SnlArgument *argument,
                             int64_t n_tokens, uint64_t seed, int64_t call, SnlDiag *diag,
                             SnlTensor *out);

/* T as the .npy files among the arguments say; `given` (0: not given) when there are none. */
SnlStatus snl_arguments_tokens(const SnlFunc *func, const SnlArgument *argument, int64_t given,
                               SnlDiag *diag, int64_t *out);

#endif
