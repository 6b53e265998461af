/* codegen/calls_emit.c -- a list of calls as code.
 *
 * A loop's items are emitted once for all its rounds. Where a number of theirs is the same in every
 * round it is a constant; where it grows by a step, base + round * step; anything else is read from
 * a table. Base, step and place in the table are numbers of the loop around, of the same kinds. */
#include "codegen/gen.h"
#include "runtime/abi.h"

#include <llvm-c/Comdat.h>
#include <stddef.h>
#include <xxhash.h>

/* The rounds of a loop and of those around it. Numbers of items inside come as `rounds` values in
 * the order of execution: count[0] of the outer loop's first round, count[1] of its second, ... */
typedef struct Nest {
    const struct Nest *outer; /* NULL: the step itself, one round */
    size_t rounds, outer_rounds;
    const int64_t *count; /* [outer_rounds] */
    LLVMValueRef i;
} Nest;

typedef struct Emit {
    SnlGen *g;
    const SnlCalls *calls;
    const SnlFrame *frame;
    LLVMTypeRef number; /* of the table */
    LLVMValueRef table; /* stands for the table until its size is known */
    SnlVec(int64_t) rows;
    LLVMValueRef shares; /* [n][2]: from, to */
} Emit;

/* A constant that objects linked together have once: the steps of a program's levels of processors
 * differ in their kernels, hardly in their numbers. Equal tables have equal names. */
static LLVMValueRef shared_table(SnlGen *g, LLVMTypeRef type, const int64_t *values, size_t n)
{
    if (n == 0) return LLVMConstNull(g->ptr);
    XXH128_hash_t hash = XXH3_128bits_withSeed(values, n * sizeof *values, type == g->i32);
    const char *name = snl_arena_printf(g->arena, "snlgen_numbers.%016llx%016llx",
                                        (unsigned long long)hash.high64,
                                        (unsigned long long)hash.low64);
    LLVMValueRef global = LLVMGetNamedGlobal(g->module, name);
    if (global) return global;
    LLVMValueRef *at = SNL_NEW_ARRAY(g->arena, LLVMValueRef, n);
    for (size_t i = 0; i < n; i++) at[i] = LLVMConstInt(type, (unsigned long long)values[i], 1);
    global = snl_constant_array(g, type, at, n, name);
    LLVMSetLinkage(global, LLVMLinkOnceODRLinkage);
    LLVMSetVisibility(global, LLVMHiddenVisibility);
    LLVMSetComdat(global, LLVMGetOrInsertComdat(g->module, name));
    return global;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static bool all_equal(const int64_t *value, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (value[i] != value[0]) return false;
    return true;
}

/* Step of the first loop of more than one round: those of one round take it for theirs. */
static int64_t usual_step(const Nest *nest, const int64_t *value)
{
    for (size_t o = 0; o < nest->outer_rounds; value += nest->count[o++])
        if (nest->count[o] > 1) return value[1] - value[0];
    return 0;
}

/* Is value = base + round * step in every round of the outer loops? */
static bool progression(const Nest *nest, const int64_t *value, int64_t *base, int64_t *step)
{
    int64_t usual = usual_step(nest, value);
    for (size_t o = 0; o < nest->outer_rounds; value += nest->count[o++]) {
        base[o] = value[0];
        step[o] = nest->count[o] > 1 ? value[1] - value[0] : usual;
        for (int64_t i = 1; i < nest->count[o]; i++)
            if (value[i] - value[i - 1] != step[o]) return false;
    }
    return true;
}

/* Where the values lie in the table; appended unless they are there already. */
static int64_t table_row(Emit *e, const int64_t *value, size_t n)
{
    for (size_t at = 0; at + n <= e->rows.n; at++)
        if (memcmp(e->rows.at + at, value, n * sizeof *value) == 0) return (int64_t)at;
    int64_t at = (int64_t)e->rows.n;
    for (size_t i = 0; i < n; i++) SNL_PUSH(e->g->arena, &e->rows, value[i]);
    return at;
}

static LLVMValueRef table_load(Emit *e, LLVMValueRef index)
{
    SnlGen *g = e->g;
    bool wide = e->number == g->i64;
    LLVMValueRef at = snl_offset(g, e->table, index, wide ? 8 : 4);
    LLVMValueRef value = snl_load_typed(g, e->number, at, wide ? 8 : 4);
    return wide ? value : LLVMBuildSExt(g->b, value, g->i64, "");
}

/* The number that is value[r] in round r of the nest. */
static LLVMValueRef number(Emit *e, const Nest *nest, const int64_t *value)
{
    SnlGen *g = e->g;
    if (!nest || all_equal(value, nest->rounds)) return snl_i64(g, value[0]);
    int64_t *base = SNL_NEW_ARRAY(g->arena, int64_t, nest->outer_rounds);
    int64_t *step = SNL_NEW_ARRAY(g->arena, int64_t, nest->outer_rounds);
    if (progression(nest, value, base, step)) {
        LLVMValueRef by = number(e, nest->outer, step);
        return snl_add(g, number(e, nest->outer, base), snl_mul(g, nest->i, by));
    }
    int64_t at = table_row(e, value, nest->rounds);
    for (size_t o = 0; o < nest->outer_rounds; at += nest->count[o++]) base[o] = at;
    return table_load(e, snl_add(g, number(e, nest->outer, base), nest->i));
}

/* ---- shares ---------------------------------------------------------------------------------- */

LLVMValueRef snl_share_end(SnlGen *g, const SnlFrame *f, LLVMValueRef units, int64_t k)
{
    LLVMValueRef at = snl_mul(g, units, snl_add(g, f->thread, snl_i64(g, k)));
    return LLVMBuildUDiv(g->b, at, f->n_threads, "");
}

static LLVMValueRef constant_shares(SnlGen *g, const SnlCalls *calls)
{
    size_t n = calls->shares.n;
    int64_t *field = SNL_NEW_ARRAY(g->arena, int64_t, 4 * n);
    for (size_t i = 0; i < n; i++) {
        const SnlShare *s = &calls->shares.at[i];
        const int64_t values[] = {s->units, s->grain, s->limit, s->begin};
        memcpy(field + 4 * i, values, sizeof values);
    }
    return shared_table(g, g->i64, field, 4 * n);
}

/* The divisions of a step, all at its start. */
static void emit_shares(Emit *e)
{
    SnlGen *g = e->g;
    size_t n = e->calls->shares.n;
    if (n == 0) return;
    e->shares = LLVMBuildArrayAlloca(g->b, g->i64, snl_i64(g, 2 * (int64_t)n), "");
    LLVMValueRef constants = constant_shares(g, e->calls), field[4];
    SnlLoop l;
    snl_loop_begin(g, &l, snl_i64(g, 0), snl_i64(g, (int64_t)n), 1, 0, NULL);
    for (int k = 0; k < 4; k++)
        field[k] = snl_load_typed(g, g->i64,
                                  snl_offset_const(g, snl_offset(g, constants, l.i, 32), 8 * k), 8);
    for (int k = 0; k < 2; k++) {
        LLVMValueRef end = snl_mul(g, snl_share_end(g, e->frame, field[0], k), field[1]);
        end = snl_add(g, snl_min(g, end, field[2]), field[3]);
        LLVMBuildStore(g->b, end, snl_offset_const(g, snl_offset(g, e->shares, l.i, 16), 8 * k));
    }
    snl_loop_end(g, &l, NULL);
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* `at`: the numbers of the range, in the order of snl_call_numbers. */
static void emit_columns(Emit *e, SnlColumnsKind kind, const LLVMValueRef *at, LLVMValueRef *out)
{
    SnlGen *g = e->g;
    switch (kind) {
    case SNL_COLUMNS_ALL:
        out[0] = snl_i64(g, 0);
        out[1] = at[0];
        return;
    case SNL_COLUMNS_THREADS:
        out[0] = e->frame->thread;
        out[1] = e->frame->n_threads;
        return;
    case SNL_COLUMNS_TURNS: { /* (thread - before) mod number of threads */
        LLVMValueRef others = snl_sub(g, e->frame->n_threads, snl_i64(g, 1));
        LLVMValueRef turn = snl_add(g, e->frame->thread, snl_mul(g, at[0], others));
        out[0] = LLVMBuildURem(g->b, turn, e->frame->n_threads, "");
        out[1] = e->frame->n_threads;
        return;
    }
    case SNL_COLUMNS_SHARE:
    case SNL_COLUMNS_MEMBER:
        break;
    }
    LLVMValueRef share = snl_offset(g, e->shares, at[0], 16);
    for (int k = 0; k < 2; k++) {
        out[k] = snl_load_typed(g, g->i64, snl_offset_const(g, share, 8 * k), 8);
        if (kind == SNL_COLUMNS_SHARE) continue;
        LLVMValueRef cut = snl_max(g, snl_sub(g, out[k], at[2]), snl_i64(g, 0));
        out[k] = snl_add(g, at[3], snl_min(g, cut, at[1]));
    }
}

/* One call for items of one shape, one for each round of the nest. */
static void emit_call(Emit *e, const Nest *nest, const SnlItem *const *item)
{
    SnlGen *g = e->g;
    const SnlCall *call = item[0]->call;
    size_t rounds = nest ? nest->rounds : 1;
    int64_t one[SNL_MAX_NUMBERS], *value = SNL_NEW_ARRAY(g->arena, int64_t, rounds);
    LLVMValueRef numbers[SNL_MAX_NUMBERS];
    unsigned n = snl_call_numbers(call, one), used = 0, n_args = 0;
    int64_t *all = SNL_NEW_ARRAY(g->arena, int64_t, rounds * SNL_MAX_NUMBERS);
    for (size_t r = 0; r < rounds; r++) snl_call_numbers(item[r]->call, all + r * SNL_MAX_NUMBERS);
    for (unsigned k = 0; k < n; k++) {
        for (size_t r = 0; r < rounds; r++) value[r] = all[r * SNL_MAX_NUMBERS + k];
        numbers[k] = number(e, nest, value);
    }
    LLVMValueRef args[SNL_MAX_CALL_POINTERS + 5];
    for (unsigned i = 0; i < call->n_ptr; i++) {
        int region = call->ptr[i].region;
        args[n_args++] = region == SNL_IN_NULL
                             ? LLVMConstNull(g->ptr)
                             : snl_offset(g, e->frame->region[region], numbers[used++], 1);
    }
    emit_columns(e, call->range.columns, numbers + used, args + n_args);
    memcpy(args + n_args + 2, e->frame->rows[call->range.rows], 2 * sizeof *args);
    n_args += 4;
    if (call->pos >= 0) args[n_args++] = e->frame->index[call->pos];
    snl_call(g, call->kernel, args, n_args);
}

void snl_emit_barrier(SnlGen *g, const SnlFrame *frame)
{
    LLVMTypeRef params[] = {g->ptr, g->i64};
    LLVMTypeRef type = LLVMFunctionType(g->void_, params, 2, 0);
    LLVMValueRef args[] = {frame->ctx, frame->thread};
    LLVMValueRef f = LLVMGetNamedFunction(g->module, "snlrt_barrier");
    if (g->hook_stages) {
        LLVMValueRef field = snl_offset_const(g, frame->ctx, offsetof(SnlrtCtx, barrier));
        f = snl_load_typed(g, g->ptr, field, 8);
    } else if (!f) {
        f = LLVMAddFunction(g->module, "snlrt_barrier", type);
    }
    LLVMBuildCall2(g->b, type, f, args, 2, "");
}

/* ---- items ----------------------------------------------------------------------------------- */

static void emit_items(Emit *e, const Nest *nest, const SnlItem *const *item);

static void emit_loop(Emit *e, const Nest *outer, const SnlItem *const *item)
{
    SnlGen *g = e->g;
    Nest nest = {.outer = outer, .outer_rounds = outer ? outer->rounds : 1};
    int64_t *count = SNL_NEW_ARRAY(g->arena, int64_t, nest.outer_rounds);
    for (size_t o = 0; o < nest.outer_rounds; o++) {
        count[o] = (int64_t)item[o]->count;
        nest.rounds += item[o]->count;
    }
    nest.count = count;
    SnlLoop l;
    snl_loop_begin(g, &l, snl_i64(g, 0), number(e, outer, count), 1, 0, NULL);
    nest.i = l.i;
    const SnlItem **body = SNL_NEW_ARRAY(g->arena, const SnlItem *, nest.rounds);
    for (size_t k = 0; k < item[0]->period; k++) {
        size_t n = 0;
        for (size_t o = 0; o < nest.outer_rounds; o++)
            for (size_t r = 0; r < item[o]->count; r++)
                body[n++] = &item[o]->body[r * item[o]->period + k];
        emit_items(e, &nest, body);
    }
    snl_loop_end(g, &l, NULL);
}

/* item[r]: what stands at one place of the code in round r of the nest. */
static void emit_items(Emit *e, const Nest *nest, const SnlItem *const *item)
{
    if (item[0]->body)
        emit_loop(e, nest, item);
    else if (item[0]->call)
        emit_call(e, nest, item);
    else
        snl_emit_barrier(e->g, e->frame);
}

static bool fits_32_bits(const SnlItem *item, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int64_t value[SNL_MAX_NUMBERS];
        unsigned n_values = item[i].call ? snl_call_numbers(item[i].call, value) : 0;
        for (unsigned k = 0; k < n_values; k++)
            if (value[k] != (int32_t)value[k]) return false;
        if (item[i].body && !fits_32_bits(item[i].body, item[i].period * item[i].count))
            return false;
    }
    return true;
}

/* Puts the table where its stand-in was. */
static void emit_table(Emit *e)
{
    LLVMReplaceAllUsesWith(e->table, shared_table(e->g, e->number, e->rows.at, e->rows.n));
    LLVMDeleteGlobal(e->table);
}

void snl_emit_calls(SnlGen *g, const SnlCalls *calls, const SnlFrame *frame)
{
    Emit e = {.g = g, .calls = calls, .frame = frame};
    e.number = fits_32_bits(calls->items.at, calls->items.n) ? g->i32 : g->i64;
    e.table = LLVMAddGlobal(g->module, e.number, "");
    emit_shares(&e);
    for (size_t i = 0; i < calls->items.n; i++) {
        const SnlItem *item = &calls->items.at[i];
        emit_items(&e, NULL, &item);
    }
    emit_table(&e);
}
