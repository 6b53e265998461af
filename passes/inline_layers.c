/* passes/inline_layers.c -- calls and chains of layers become the layers' operations.
 *
 *     layer @block.3(%h: f32[T, 4], %pos: index) -> f32[T, 4] surrogate identity {
 *       %n = rms_norm %h {eps = 1e-05} : f32[T, 4]
 *       %z = lincomb %h, %n : f32[T, 4]
 *       return %z
 *     }
 *     func @f(%x: f32[T, 4], %pos: index) -> f32[T, 4] {
 *       %h = chain %x, %pos, [@block.3, @block.3] : f32[T, 4]
 *       return %h
 *     }
 *
 * becomes
 *
 *     func @f(%x: f32[T, 4], %pos: index) -> f32[T, 4] {
 *       %l3.n = rms_norm %x {eps = 1e-05} : f32[T, 4]
 *       %l3.z = lincomb %x, %l3.n : f32[T, 4]
 *       %l3.n.1 = rms_norm %l3.z {eps = 1e-05} : f32[T, 4]
 *       %l3.z.1 = lincomb %l3.z, %l3.n.1 : f32[T, 4]
 *       return %l3.z.1
 *     }
 *
 * Values are named after their layer. State parameters become the states that the call binds. With
 * `to=calls` a chain only becomes one call per link. Layers that nothing names any more are removed
 * unless `keep=true`. Other ops that name layers are left alone. */
#include "passes/rewrite.h"

#include <string.h>

typedef struct Inliner {
    SnlArena *arena;
    bool to_ops;
    bool changed;
} Inliner;

/* "l3." for @block.3, "name." otherwise. */
static const char *value_prefix(SnlArena *arena, const SnlFunc *layer)
{
    const char *dot = strrchr(layer->name, '.');
    const char *p = dot ? dot + 1 : "";
    while (*p >= '0' && *p <= '9') p++;
    return dot && dot[1] && !*p ? snl_arena_printf(arena, "l%s.", dot + 1)
                                : snl_arena_printf(arena, "%s.", layer->name);
}

static void rebind(SnlOp *op, SnlState *const *bound)
{
    for (int g = 0; g < SNL_MAX_GROUPS; g++) {
        SnlSymbols *sym = &op->sym[g];
        char letter = snl_op_group_letter(op->code, g);
        for (size_t i = 0; letter == 's' && i < sym->n; i++)
            if (!sym->state[i]->type) sym->state[i] = bound[sym->state[i]->id];
        for (size_t i = 0; letter == 'l' && i < sym->n; i++)
            for (size_t s = 0; s < sym->bind[i].n_state; s++)
                if (!sym->bind[i].state[s]->type)
                    sym->bind[i].state[s] = bound[sym->bind[i].state[s]->id];
    }
}

/* Copies the layer's body before `at`. values[i] are its arguments on entry; result: its results.
 */
static SnlValue **copy_body(Inliner *in, const SnlBinding *binding, SnlOp *at,
                            SnlValue *const *args)
{
    const SnlFunc *layer = binding->layer;
    const char *prefix = value_prefix(in->arena, layer);
    SnlValue **map = SNL_NEW_ARRAY(in->arena, SnlValue *, layer->n_values);
    SnlValue **results = SNL_NEW_ARRAY(in->arena, SnlValue *, layer->n_result);
    for (size_t i = 0; i < layer->n_param; i++) map[layer->param[i]->id] = args[i];
    for (const SnlOp *op = layer->first; op; op = op->next) {
        if (op->code == SNL_OP_RETURN) {
            for (size_t i = 0; i < op->n_in; i++) results[i] = map[snl_in(op, i)->id];
            break;
        }
        SnlOp *copy = snl_op_clone(op, at->func, at, map);
        rebind(copy, binding->state);
        for (size_t i = 0; i < copy->n_out; i++)
            snl_value_rename(copy->out[i],
                             snl_arena_printf(in->arena, "%s%s", prefix, op->out[i]->name));
    }
    return results;
}

static SnlValue **make_call(Inliner *in, const SnlBinding *binding, SnlOp *at,
                            SnlValue *const *args)
{
    SnlOp *call = snl_op_create(at->func, at, SNL_OP_CALL);
    call->loc = at->loc;
    for (size_t i = 0; i < binding->layer->n_param; i++) snl_op_add_in(call, args[i]);
    snl_op_set_bindings(call, 0, binding, 1, true);
    snl_op_finish(call,
                  snl_arena_printf(in->arena, "%sout", value_prefix(in->arena, binding->layer)));
    return call->out;
}

static void replace_results(SnlOp *op, SnlValue *const *by)
{
    for (size_t i = 0; i < op->n_out; i++) snl_value_replace(op->out[i], by[i]);
    snl_op_erase(op);
}

static void inline_chain(Inliner *in, SnlOp *op)
{
    SnlValue **args = SNL_NEW_ARRAY(in->arena, SnlValue *, op->n_in);
    size_t n = op->sym[0].n;
    SnlValue **state = SNL_NEW_ARRAY(in->arena, SnlValue *, n + 1);
    SnlValue **results = SNL_NEW_ARRAY(in->arena, SnlValue *, op->n_out);
    for (size_t i = 0; i < op->n_in; i++) args[i] = snl_in(op, i);
    for (size_t i = 0; i < n; i++) {
        const SnlBinding *b = &op->sym[0].bind[i];
        state[i] = in->to_ops ? copy_body(in, b, op, args)[0] : make_call(in, b, op, args)[0];
        args[0] = state[i];
    }
    results[0] = args[0];
    for (size_t i = 1; i < op->n_out; i++)
        results[i] = state[snl_attr_int_at(&op->attrs, "taps", i - 1, 0)];
    replace_results(op, results);
}

static void inline_call(Inliner *in, SnlOp *op)
{
    SnlValue **args = SNL_NEW_ARRAY(in->arena, SnlValue *, op->n_in);
    for (size_t i = 0; i < op->n_in; i++) args[i] = snl_in(op, i);
    replace_results(op, copy_body(in, &op->sym[0].bind[0], op, args));
}

/* Layers do not reach themselves and their expansion is bounded (the verifier sees to both), so
 * this ends. */
static void inline_func(Inliner *in, SnlFunc *f)
{
    for (SnlOp *op = f->first; op;) {
        SnlOp *prev = op->prev, *next = op->next;
        bool chain = op->code == SNL_OP_CHAIN, call = op->code == SNL_OP_CALL && in->to_ops;
        if (chain)
            inline_chain(in, op);
        else if (call)
            inline_call(in, op);
        in->changed |= chain || call;
        /* What was copied may itself call layers. */
        op = !(chain || call) ? next : prev ? prev->next : f->first;
    }
}

static SnlPassResult run(SnlModule *m, SnlPassContext *ctx)
{
    const char *to = snl_pass_text(ctx, "to");
    if (strcmp(to, "ops") != 0 && strcmp(to, "calls") != 0) {
        snl_error_at(ctx->diag, SNL_E_PIPELINE, "inline-layers",
                     "to: found '%s', wanted ops or calls", to);
        return SNL_PASS_FAILED;
    }
    Inliner in = {ctx->scratch, strcmp(to, "ops") == 0, false};
    for (SnlFunc *f = m->first; f; f = f->next) inline_func(&in, f);
    if (in.to_ops && !snl_pass_bool(ctx, "keep"))
        in.changed |= snl_remove_unused_layers(m, ctx->scratch);
    return in.changed ? SNL_PASS_CHANGED : SNL_PASS_SAME;
}

static const SnlPassOption options[] = {
    {"to", SNL_OPTION_TEXT, "ops", 0, 0, "ops, or calls: a chain becomes one call per link"},
    {"keep", SNL_OPTION_BOOL, "false", 0, 0, "keep layers that nothing names any more"},
    {0}};

const SnlPass snl_pass_inline_layers = {
    .name = "inline-layers",
    .summary = "calls and chains of layers become the layers' operations",
    .exactness = SNL_EXACT,
    .options = options,
    .run = run,
};
