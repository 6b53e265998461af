/* tests/support/ir_text.h -- IR given as text, weights given as numbers, evaluated: for unit tests.
 *
 *     IrText t;
 *     ir_text_open(&t, "module @m ... weight @w : f32[2, 2] = source \"m\" \"w\" ...");
 *     ir_text_weight(&t, "w", (float[]){1, 2, 3, 4}, 4);
 *     const double *y = ir_text_call(&t, "f", 3, (double *[]){x, pos}, 0);
 *
 * Any failure that a test did not ask for ends the test with the diagnostics. */
#ifndef SNL_TESTS_IR_TEXT_H
#define SNL_TESTS_IR_TEXT_H

#include "ir/eval.h"

enum { IR_TEXT_TENSORS = 32, IR_TEXT_RESULTS = 8 };

typedef struct IrTextTensor {
    const char *name;
    const float *at;
    size_t n;
} IrTextTensor;

typedef struct IrText {
    SnlWeightSource source; /* first: find and read cast it back */
    SnlArena *arena;
    SnlDiag *diag;
    SnlSource text;
    SnlModule *module;
    SnlEval *eval;
    SnlState **states; /* for layers; NULL for funcs */
    IrTextTensor tensor[IR_TEXT_TENSORS];
    size_t n_tensor;
    SnlTensor result[IR_TEXT_RESULTS];
} IrText;

void ir_text_open(IrText *t, const char *text);
void ir_text_close(IrText *t);
/* Numbers of `source "..." "name"`; kept by pointer. */
void ir_text_weight(IrText *t, const char *name, const float *at, size_t n);
/* Calls @func on `n_tokens` tokens; one array per value parameter. Gives result `index`. */
const double *ir_text_call(IrText *t, const char *func, int64_t n_tokens, double *const *args,
                           size_t index);
/* The same, expected to fail with a message that contains `message`. */
void ir_text_call_fails(IrText *t, const char *func, int64_t n_tokens, double *const *args,
                        const char *message);
double *ir_text_state(IrText *t, const char *name);

/* Largest |got - want| over n must not exceed `limit`. */
void assert_near(const double *got, const double *want, size_t n, double limit);
/* Reproducible numbers in (-1, 1). */
double ir_text_random(uint64_t *seed);
void ir_text_fill(uint64_t *seed, double scale, double *out, size_t n);
void ir_text_fill_f32(uint64_t *seed, double scale, float *out, size_t n);

#endif
