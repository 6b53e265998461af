/* codegen/step.c -- a scheduled function as one SPMD step.
 *
 * For every op, this thread's share of it as calls of kernels (codegen/calls.h); between stages, a
 * barrier. The list of calls becomes code when it is complete. */
#include "codegen/step.h"

/* ---- where values lie ------------------------------------------------------------------------ */

static int param_index(const SnlStep *s, const SnlValue *v)
{
    for (size_t i = 0; i < s->func->n_param; i++)
        if (s->func->param[i] == v) return (int)i;
    SNL_UNREACHABLE();
}

static SnlPlace place_in(const SnlStep *s, const SnlValue *v, int region, int64_t offset)
{
    return (SnlPlace){.base = {region, offset},
                      .stride = s->decode ? 0 : snl_row_words(v->type),
                      .member = snl_member_words(v->type)};
}

SnlPlace snl_place_moved(SnlPlace p, int64_t words)
{
    p.base.offset += words * 4;
    return p;
}

static SnlPlace place_of(const SnlStep *s, const SnlValue *v)
{
    const SnlOp *op = v->def;
    if (!op) return place_in(s, v, SNL_IN_ARGS + param_index(s, v), 0);
    if (snl_op_is_view(op)) {
        SnlPlace whole = place_of(s, snl_in(op, 0));
        return snl_place_moved(whole, op->code == SNL_OP_SLICE
                                          ? snl_attr_int(&op->attrs, "begin", 0)
                                          : snl_attr_int(&op->attrs, "index", 0) * whole.member);
    }
    SnlPlacement p;
    SNL_ASSERT(snl_placement_read(op, &p));
    int64_t result = s->result_of[v->id];
    if (result >= 0) {
        size_t at = s->func->n_param + (size_t)result;
        if (p.tail && !s->decode) at += s->func->n_result;
        return place_in(s, v, SNL_IN_ARGS + (int)at, 0);
    }
    const SnlAttrValue *at = snl_attr_find(&op->attrs, "at");
    SNL_ASSERT(at);
    return place_in(s, v, p.split == SNL_SPLIT_ALL ? SNL_IN_PRIVATE : SNL_IN_SHARED, at->i);
}

SnlAddress snl_weight_at(const SnlOpGen *o, const SnlWeight *w)
{
    return (SnlAddress){SNL_IN_WEIGHTS, snl_payload_offset(o->payload, w)};
}

SnlAddress snl_member_weight_at(const SnlOpGen *o, size_t member)
{
    const SnlSymbols *weights = &o->op->sym[0];
    if (weights->n == 0) return (SnlAddress){SNL_IN_NULL, 0};
    return snl_weight_at(o, weights->weight[weights->n > 1 ? member : 0]);
}

SnlAddress snl_state_at(const SnlOpGen *o, const SnlState *state)
{
    return (SnlAddress){SNL_IN_STATE, o->state_offset[state->id]};
}

/* ---- ops ------------------------------------------------------------------------------------- */

void snl_step_describe(SnlStep *s, const SnlOp *op, SnlOpGen *o)
{
    SnlGen *g = s->g;
    *o = (SnlOpGen){.g = g,
                    .calls = &s->calls,
                    .op = op,
                    .decode = s->decode,
                    .tokens = s->tokens,
                    .pos = -1,
                    .payload = s->payload,
                    .state_offset = s->state_offset};
    bool scheduled = snl_placement_read(op, &o->p);
    SNL_ASSERT(scheduled);
    o->ins = op->n_in <= 8 ? o->in : SNL_NEW_ARRAY(g->arena, SnlPlace, op->n_in);
    for (size_t i = 0; i < op->n_in; i++) {
        const SnlValue *v = snl_in(op, i);
        if (v->type->dtype == SNL_INDEX)
            o->pos = param_index(s, v);
        else if (!v->def || !snl_op_in_registers(v->def))
            o->ins[i] = place_of(s, v);
    }
    if (op->n_out && !snl_op_in_registers(op)) o->out = place_of(s, op->out[0]);
    const SnlAttrValue *scratch = snl_attr_find(&op->attrs, "scratch");
    if (scratch) o->scratch = (SnlAddress){SNL_IN_PRIVATE, scratch->i};
}

static void emit_op(SnlStep *s, const SnlOp *op)
{
    if (op->code == SNL_OP_RETURN || snl_op_is_view(op) || snl_op_takes_registers(op)) return;
    SnlOpGen o;
    snl_step_describe(s, op, &o);
    snl_step_op(s, &o);
}

/* All ops in order; how many barriers stand between them. */
static int64_t collect_calls(SnlStep *s)
{
    int64_t stage = 0, barriers = 0;
    for (const SnlOp *op = s->func->first; op != s->func->last; op = op->next) {
        if (!snl_op_is_view(op)) {
            int64_t next = snl_attr_int(&op->attrs, "stage", 0);
            if (next != stage) {
                snl_calls_barrier(&s->calls);
                barriers++;
            }
            stage = next;
        }
        emit_op(s, op);
    }
    return barriers;
}

/* ---- the function ---------------------------------------------------------------------------- */

static void find_results(SnlStep *s)
{
    const SnlOp *ret = s->func->last;
    s->result_of = SNL_NEW_ARRAY(s->g->arena, int64_t, s->func->n_values + 1);
    for (uint32_t i = 0; i < s->func->n_values; i++) s->result_of[i] = -1;
    for (size_t i = 0; i < ret->n_in; i++) {
        const SnlValue *v = snl_in(ret, i);
        s->result_of[v->id] = (int64_t)i;
        if (!v->def || v->def->code != SNL_OP_SOFTCAP) continue;
        const SnlValue *x = snl_in(v->def, 0);
        if (x->def && snl_op_is_result(x->def)) s->result_of[x->id] = (int64_t)i;
    }
}

LLVMValueRef snl_emit_step(SnlGen *g, const SnlFunc *func, const SnlPayload *payload,
                           const int64_t *state_offset, const char *name, int64_t *out_barriers)
{
    int64_t tokens = snl_attr_int(&func->attrs, "tokens", 1);
    SnlStep s = {.g = g,
                 .func = func,
                 .payload = payload,
                 .state_offset = state_offset,
                 .tokens = tokens,
                 .decode = tokens == 1,
                 .calls = {.arena = g->arena}};
    find_results(&s);
    *out_barriers = collect_calls(&s);
    snl_calls_fold(&s.calls);

    LLVMTypeRef params[] = {g->ptr, g->i64};
    LLVMValueRef f = LLVMAddFunction(g->module, name, LLVMFunctionType(g->void_, params, 2, 0));
    LLVMSetLinkage(f, LLVMInternalLinkage);
    snl_mark_function(g, f);
    snl_add_attribute(g, f, "optsize"); /* calls and loops of calls: the time is in the kernels */
    g->func = f;
    LLVMPositionBuilderAtEnd(g->b, LLVMAppendBasicBlockInContext(g->ctx, f, "entry"));
    SnlFrame frame = snl_load_frame(&s);
    snl_emit_redzones(g, func, &frame);
    snl_emit_calls(g, &s.calls, &frame);
    LLVMBuildRetVoid(g->b);
    g->func = NULL;
    return f;
}
