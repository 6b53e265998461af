/* tests/support/ir_text.c -- see ir_text.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir_text.h"

#include <math.h>
#include <string.h>

static const IrTextTensor *find_tensor(const IrText *t, const char *name)
{
    for (size_t i = 0; i < t->n_tensor; i++)
        if (strcmp(t->tensor[i].name, name) == 0) return &t->tensor[i];
    fail_msg("test has no numbers for tensor '%s'", name);
    return NULL;
}

static SnlStatus source_find(SnlWeightSource *self, const char *file, const char *tensor,
                             SnlDiag *diag, SnlTensorInfo *out)
{
    (void)file;
    (void)diag;
    const IrTextTensor *found = find_tensor((IrText *)(void *)self, tensor);
    *out = (SnlTensorInfo){SNL_F32, 1, {(int64_t)found->n}};
    return SNL_OK;
}

static SnlStatus source_read(SnlWeightSource *self, const char *file, const char *tensor,
                             int64_t first, int64_t n, SnlDiag *diag, float *out)
{
    (void)file;
    (void)diag;
    const IrTextTensor *found = find_tensor((IrText *)(void *)self, tensor);
    assert_true((size_t)(first + n) <= found->n);
    memcpy(out, found->at + first, (size_t)n * sizeof(float));
    return SNL_OK;
}

void ir_text_open(IrText *t, const char *text)
{
    memset(t, 0, sizeof *t);
    t->source = (SnlWeightSource){.find = source_find, .read = source_read};
    t->arena = snl_arena_create();
    t->diag = snl_diag_create(NULL, 0);
    t->text = (SnlSource){"test.snl", text, strlen(text)};
    if (snl_parse(t->arena, &t->text, t->diag, &t->module) != SNL_OK)
        fail_msg("the test's IR does not parse:\n%s", snl_diag_text(t->diag));
    t->eval = snl_eval_create(t->module, &t->source, t->diag);
}

void ir_text_close(IrText *t)
{
    snl_eval_destroy(t->eval);
    snl_diag_destroy(t->diag);
    snl_arena_destroy(t->arena);
}

void ir_text_weight(IrText *t, const char *name, const float *at, size_t n)
{
    assert_true(t->n_tensor < IR_TEXT_TENSORS);
    t->tensor[t->n_tensor++] = (IrTextTensor){name, at, n};
}

static SnlStatus call(IrText *t, const char *name, int64_t n_tokens, double *const *args)
{
    SnlFunc *func = snl_module_find_func(t->module, name);
    assert_non_null(func);
    assert_true(func->n_result <= IR_TEXT_RESULTS);
    SnlTensor *in = SNL_NEW_ARRAY(t->arena, SnlTensor, func->n_param);
    for (size_t i = 0; i < func->n_param; i++)
        in[i] = (SnlTensor){func->param[i]->type, n_tokens, args[i]};
    return snl_eval_call(t->eval, func, in, t->states, n_tokens, t->result);
}

const double *ir_text_call(IrText *t, const char *func, int64_t n_tokens, double *const *args,
                           size_t index)
{
    if (call(t, func, n_tokens, args) != SNL_OK)
        fail_msg("@%s failed:\n%s", func, snl_diag_text(t->diag));
    return t->result[index].at;
}

void ir_text_call_fails(IrText *t, const char *func, int64_t n_tokens, double *const *args,
                        const char *message)
{
    assert_int_not_equal(call(t, func, n_tokens, args), SNL_OK);
    if (!strstr(snl_diag_text(t->diag), message))
        fail_msg("found message:\n%s\nwanted: %s", snl_diag_text(t->diag), message);
}

double *ir_text_state(IrText *t, const char *name)
{
    SnlState *state = snl_module_find_state(t->module, name);
    assert_non_null(state);
    return snl_eval_state(t->eval, state);
}

void assert_near(const double *got, const double *want, size_t n, double limit)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= limit))
            fail_msg("element %zu: found %.17g, wanted %.17g (limit %g)", i, got[i], want[i],
                     limit);
}

/* xorshift64*: any seed but 0. */
double ir_text_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return (double)((*seed * UINT64_C(2685821657736338717)) >> 11) * 0x1p-52 - 1.0;
}

void ir_text_fill(uint64_t *seed, double scale, double *out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = scale * ir_text_random(seed);
}

void ir_text_fill_f32(uint64_t *seed, double scale, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) out[i] = (float)(scale * ir_text_random(seed));
}
