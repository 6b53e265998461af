/* codegen/emit.c -- whole modules: a program's steps with the constant `snlrt_model`, or one
 * callable function. */
#include "codegen/gen.h"
#include "codegen/levels.h"
#include "runtime/abi.h"

/* ---- constants ------------------------------------------------------------------------------- */

static LLVMValueRef text(SnlGen *g, const char *s)
{
    if (!s) s = "";
    LLVMValueRef data = LLVMConstStringInContext2(g->ctx, s, strlen(s), 0);
    LLVMValueRef global = LLVMAddGlobal(g->module, LLVMTypeOf(data), "text");
    LLVMSetInitializer(global, data);
    LLVMSetGlobalConstant(global, 1);
    LLVMSetLinkage(global, LLVMPrivateLinkage);
    return global;
}

LLVMValueRef snl_constant_array(SnlGen *g, LLVMTypeRef type, LLVMValueRef *at, size_t n,
                                const char *name)
{
    if (n == 0) return LLVMConstNull(g->ptr);
    LLVMValueRef global = LLVMAddGlobal(g->module, LLVMArrayType2(type, n), name);
    LLVMSetInitializer(global, LLVMConstArray2(type, at, n));
    LLVMSetGlobalConstant(global, 1);
    LLVMSetLinkage(global, LLVMInternalLinkage);
    return global;
}

/* Builds a struct of the ABI from a C struct holding the integers and a parallel one holding the
 * pointers: one walk over the field list keeps both sides in the same order. */
typedef struct Fields {
    SnlGen *g;
    LLVMValueRef at[32];
    unsigned n;
} Fields;

static void field_i(Fields *f, int64_t value)
{
    f->at[f->n++] = snl_i64(f->g, value);
}
static void field_p(Fields *f, LLVMValueRef value)
{
    f->at[f->n++] = value;
}

static LLVMValueRef struct_of(Fields *f)
{
    return LLVMConstStructInContext(f->g->ctx, f->at, f->n, 0);
}

enum {
#define SNLRT_FIELD(type, name, kind) +1
    N_GRAPH_FIELDS = 0 SNLRT_GRAPH_FIELDS(SNLRT_FIELD),
    N_OUTPUT_FIELDS = 0 SNLRT_OUTPUT_FIELDS(SNLRT_FIELD),
    N_TABLE_FIELDS = 0 SNLRT_TABLE_FIELDS(SNLRT_FIELD),
    N_LEVEL_FIELDS = 0 SNLRT_LEVEL_FIELDS(SNLRT_FIELD),
    N_MODEL_FIELDS = 0 SNLRT_MODEL_FIELDS(SNLRT_FIELD)
#undef SNLRT_FIELD
};

static int64_t max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t either(const SnlGraphSpec *spec, const char *key)
{
    return max_i64(snl_attr_int(&spec->decode->attrs, key, 0),
                   snl_attr_int(&spec->prefill->attrs, key, 0));
}

static LLVMValueRef emit_graph(SnlGen *g, const SnlGraphSpec *spec, const SnlPayload *payload,
                               const int64_t *state_offset)
{
    int64_t decode_barriers, prefill_barriers;
    char *decode_name = snl_arena_printf(g->arena, "snlgen_%s_decode", spec->name);
    char *prefill_name = snl_arena_printf(g->arena, "snlgen_%s_prefill", spec->name);
    LLVMValueRef decode =
        snl_emit_step(g, spec->decode, payload, state_offset, decode_name, &decode_barriers);
    LLVMValueRef prefill =
        snl_emit_step(g, spec->prefill, payload, state_offset, prefill_name, &prefill_barriers);
    Fields f = {.g = g};
    field_p(&f, text(g, spec->name));
    field_p(&f, text(g, spec->plan));
    field_p(&f, text(g, spec->exactness));
    field_p(&f, decode);
    field_p(&f, prefill);
    field_i(&f, snl_attr_int(&spec->prefill->attrs, "tokens", 1));
    field_i(&f, either(spec, "shared_bytes"));
    field_i(&f, either(spec, "private_bytes"));
    field_i(&f, decode_barriers);
    field_i(&f, prefill_barriers);
    field_i(&f, spec->state_bytes);
    field_i(&f, spec->layer_evals);
    field_i(&f, spec->steps);
    field_i(&f, spec->decode_bytes);
    field_i(&f, spec->decode_waiting);
    field_i(&f, spec->flags);
    SNL_ASSERT(f.n == N_GRAPH_FIELDS);
    return struct_of(&f);
}

static LLVMValueRef emit_outputs(SnlGen *g, const SnlProgramSpec *spec)
{
    LLVMValueRef *at = SNL_NEW_ARRAY(g->arena, LLVMValueRef, spec->n_outputs + 1);
    LLVMTypeRef type = NULL;
    for (size_t i = 0; i < spec->n_outputs; i++) {
        Fields f = {.g = g};
        field_p(&f, text(g, spec->outputs[i].name));
        field_i(&f, spec->outputs[i].streams);
        field_i(&f, spec->outputs[i].width);
        SNL_ASSERT(f.n == N_OUTPUT_FIELDS);
        at[i] = struct_of(&f);
        type = LLVMTypeOf(at[i]);
    }
    return snl_constant_array(g, type, at, spec->n_outputs, "outputs");
}

static LLVMValueRef emit_tables(SnlGen *g, const SnlPayload *payload, size_t *out_n)
{
    LLVMValueRef *at = SNL_NEW_ARRAY(g->arena, LLVMValueRef, payload->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < payload->n; i++) {
        const SnlPackedWeight *w = &payload->at[i];
        if (w->layout != SNL_LAYOUT_ROWS) continue;
        Fields f = {.g = g};
        field_i(&f, w->offset);
        field_i(&f, snl_weight_rows(w->weight));
        field_i(&f, snl_row_bytes(w->weight->type->dtype, snl_weight_cols(w->weight)));
        SNL_ASSERT(f.n == N_TABLE_FIELDS);
        at[n++] = struct_of(&f);
    }
    *out_n = n;
    return snl_constant_array(g, n ? LLVMTypeOf(at[0]) : NULL, at, n, "tables");
}

static char *target_text(SnlGen *g, bool levels)
{
    char *triple = LLVMGetTargetMachineTriple(g->machine);
    char *cpu = LLVMGetTargetMachineCPU(g->machine);
    char *both = snl_arena_printf(g->arena, "%s %s", triple, levels ? "(levels)" : cpu);
    LLVMDisposeMessage(triple);
    LLVMDisposeMessage(cpu);
    return both;
}

static int64_t plan_states(const SnlModule *m, SnlArena *arena, int64_t **out_offset)
{
    int64_t at = 0;
    *out_offset = SNL_NEW_ARRAY(arena, int64_t, m->states.n + 1);
    for (size_t i = 0; i < m->states.n; i++) {
        (*out_offset)[m->states.at[i]->id] = at;
        at += snl_state_bytes(m->states.at[i]);
    }
    return at;
}

static LLVMValueRef level_of(SnlGen *g, const char *name, const char *needs, LLVMValueRef graphs)
{
    Fields f = {.g = g};
    field_p(&f, text(g, name));
    field_p(&f, text(g, needs));
    field_p(&f, graphs);
    SNL_ASSERT(f.n == N_LEVEL_FIELDS);
    return struct_of(&f);
}

/* `levels`: structs of the ABI, lowest first; the lowest one's graphs are the model's. */
static void emit_model(SnlGen *g, const SnlPayload *payload, const SnlProgramSpec *spec,
                       const char *needs, LLVMValueRef *levels, size_t n_levels,
                       int64_t state_bytes)
{
    enum { GRAPHS = 2 }; /* field of SnlrtLevel */
    size_t n_tables;
    LLVMValueRef tables = emit_tables(g, payload, &n_tables);
    LLVMValueRef *eos = SNL_NEW_ARRAY(g->arena, LLVMValueRef, spec->n_eos + 1);
    for (size_t i = 0; i < spec->n_eos; i++) eos[i] = snl_i64(g, spec->eos[i]);
    Fields f = {.g = g};
    field_i(&f, SNLRT_ABI_VERSION);
    field_p(&f, text(g, spec->name));
    field_p(&f, text(g, spec->family));
    field_p(&f, text(g, "snlpc " SNL_VERSION));
    field_p(&f, text(g, target_text(g, n_levels > 1)));
    field_p(&f, text(g, needs));
    field_p(&f, text(g, spec->weight_format));
    field_i(&f, spec->vocab);
    field_i(&f, spec->context);
    field_i(&f, spec->trained_context);
    field_i(&f, spec->n_params);
    field_i(&f, (int64_t)spec->n_eos);
    field_p(&f, snl_constant_array(g, g->i64, eos, spec->n_eos, "eos"));
    field_i(&f, state_bytes);
    field_i(&f, (int64_t)spec->n_graphs);
    field_p(&f, LLVMGetOperand(levels[0], GRAPHS));
    field_i(&f, (int64_t)spec->n_outputs);
    field_p(&f, emit_outputs(g, spec));
    field_i(&f, payload->swept_nbytes);
    field_i(&f, (int64_t)n_tables);
    field_p(&f, tables);
    field_i(&f, (int64_t)spec->payload_id);
    field_i(&f, (int64_t)n_levels);
    field_p(&f, snl_constant_array(g, LLVMTypeOf(levels[0]), levels, n_levels, "levels"));
    SNL_ASSERT(f.n == N_MODEL_FIELDS);
    LLVMValueRef model = struct_of(&f);
    LLVMValueRef global = LLVMAddGlobal(g->module, LLVMTypeOf(model), "snlrt_model");
    LLVMSetInitializer(global, model);
    LLVMSetGlobalConstant(global, 1);
}

/* ---- programs -------------------------------------------------------------------------------- */

static LLVMValueRef emit_graphs(SnlGen *g, const SnlModule *m, const SnlPayload *payload,
                                const SnlProgramSpec *spec, int64_t *out_state_bytes)
{
    int64_t *state_offset;
    *out_state_bytes = plan_states(m, g->arena, &state_offset);
    LLVMValueRef *graphs = SNL_NEW_ARRAY(g->arena, LLVMValueRef, spec->n_graphs);
    for (size_t i = 0; i < spec->n_graphs; i++)
        graphs[i] = emit_graph(g, &spec->graphs[i], payload, state_offset);
    return snl_constant_array(g, LLVMTypeOf(graphs[0]), graphs, spec->n_graphs, "graphs");
}

static char *level_symbol(SnlArena *arena, const char *level)
{
    return snl_arena_printf(arena, "snlgen_graphs.%s", level);
}

SnlStatus snl_emit_level(const SnlModule *m, const SnlPayload *payload, const SnlProgramSpec *spec,
                         const SnlTargetOptions *target, const char *level, const char *path,
                         SnlDiag *diag)
{
    SnlArena *arena = snl_arena_create();
    SnlGen g;
    SnlStatus status = snl_gen_create(&g, arena, spec->name, target, diag);
    if (status == SNL_OK) {
        int64_t state_bytes;
        LLVMValueRef graphs = emit_graphs(&g, m, payload, spec, &state_bytes);
        LLVMSetLinkage(graphs, LLVMExternalLinkage);
        LLVMSetVisibility(graphs, LLVMHiddenVisibility);
        char *symbol = level_symbol(arena, level);
        LLVMSetValueName2(graphs, symbol, strlen(symbol));
        status = snl_gen_write(&g, target, SNL_EMIT_OBJ, path);
    }
    snl_gen_destroy(&g);
    snl_arena_destroy(arena);
    return status;
}

SnlStatus snl_emit_levels_model(const SnlModule *m, const SnlPayload *payload,
                                const SnlProgramSpec *spec, const SnlTargetOptions *target,
                                const SnlLevel *levels, size_t n, const char *path, SnlDiag *diag)
{
    SnlArena *arena = snl_arena_create();
    SnlGen g;
    SnlStatus status = snl_gen_create(&g, arena, spec->name, target, diag);
    if (status == SNL_OK) {
        int64_t *state_offset;
        LLVMValueRef *at = SNL_NEW_ARRAY(arena, LLVMValueRef, n);
        for (size_t i = 0; i < n; i++) {
            LLVMValueRef graphs =
                LLVMAddGlobal(g.module, g.i8, level_symbol(arena, levels[i].name));
            LLVMSetVisibility(graphs, LLVMHiddenVisibility);
            at[i] = level_of(&g, levels[i].name, levels[i].needs, graphs);
        }
        int64_t state_bytes = plan_states(m, arena, &state_offset);
        emit_model(&g, payload, spec, levels[0].needs, at, n, state_bytes);
        status = snl_gen_write(&g, target, SNL_EMIT_OBJ, path);
    }
    snl_gen_destroy(&g);
    snl_arena_destroy(arena);
    return status;
}

static SnlStatus emit_one_cpu(const SnlModule *m, const SnlPayload *payload,
                              const SnlProgramSpec *spec, const SnlTargetOptions *target,
                              SnlEmitKind kind, const char *path, SnlDiag *diag)
{
    SnlArena *arena = snl_arena_create();
    SnlGen g;
    SnlStatus status = snl_gen_create(&g, arena, spec->name, target, diag);
    if (status == SNL_OK) {
        int64_t state_bytes;
        LLVMValueRef graphs = emit_graphs(&g, m, payload, spec, &state_bytes);
        const char *needs = snl_gen_required_features(&g);
        LLVMValueRef level = level_of(&g, target->cpu ? target->cpu : "default", needs, graphs);
        emit_model(&g, payload, spec, needs, &level, 1, state_bytes);
        status = snl_gen_write(&g, target, kind, path);
    }
    snl_gen_destroy(&g);
    snl_arena_destroy(arena);
    return status;
}

SnlStatus snl_emit_program(const SnlModule *m, const SnlPayload *payload,
                           const SnlProgramSpec *spec, const SnlTargetOptions *target,
                           SnlEmitKind kind, const char *path, SnlDiag *diag)
{
    for (size_t i = 0; i < spec->n_graphs; i++) {
        SNL_TRY(snl_check_scheduled(spec->graphs[i].decode, diag));
        SNL_TRY(snl_check_scheduled(spec->graphs[i].prefill, diag));
    }
    return kind == SNL_EMIT_OBJ && snl_target_has_levels(target)
               ? snl_emit_levels(m, payload, spec, target, path, diag)
               : emit_one_cpu(m, payload, spec, target, kind, path, diag);
}

/* ---- one function with its own C signature --------------------------------------------------- */

/* void symbol(ctx, n_tokens, params..., results...): stores them in ctx and runs the step. */
static void emit_wrapper(SnlGen *g, const SnlFunc *func, LLVMValueRef step, const char *symbol)
{
    unsigned n = (unsigned)(func->n_param + func->n_result);
    LLVMTypeRef *params = SNL_NEW_ARRAY(g->arena, LLVMTypeRef, n + 2);
    params[0] = g->ptr;
    params[1] = g->i64;
    for (unsigned i = 0; i < n; i++) {
        bool index = i < func->n_param && func->param[i]->type->dtype == SNL_INDEX;
        params[2 + i] = index ? g->i64 : g->ptr;
    }
    LLVMTypeRef type = LLVMFunctionType(g->void_, params, n + 2, 0);
    LLVMValueRef f = LLVMAddFunction(g->module, symbol, type);
    g->func = f;
    LLVMPositionBuilderAtEnd(g->b, LLVMAppendBasicBlockInContext(g->ctx, f, "entry"));
    LLVMValueRef ctx = LLVMGetParam(f, 0);
    LLVMValueRef args =
        snl_load_typed(g, g->ptr, snl_offset_const(g, ctx, (int64_t)offsetof(SnlrtCtx, args)), 8);
    LLVMBuildStore(g->b, LLVMGetParam(f, 1),
                   snl_offset_const(g, ctx, (int64_t)offsetof(SnlrtCtx, n_tokens)));
    for (unsigned i = 0; i < n; i++)
        LLVMBuildStore(g->b, LLVMGetParam(f, 2 + i), snl_offset_const(g, args, (int64_t)i * 8));
    LLVMValueRef call[] = {ctx, snl_i64(g, 0)};
    snl_call(g, step, call, 2);
    LLVMBuildRetVoid(g->b);
    g->func = NULL;
}

SnlStatus snl_emit_callable(const SnlModule *m, const SnlFunc *func, const SnlPayload *payload,
                            const char *symbol, const SnlTargetOptions *target, SnlEmitKind kind,
                            const char *path, SnlDiag *diag, SnlCallInfo *out_info)
{
    SNL_TRY(snl_check_scheduled(func, diag));
    SnlArena *arena = snl_arena_create();
    SnlGen g;
    SnlStatus status = snl_gen_create(&g, arena, func->name, target, diag);
    if (status == SNL_OK) {
        int64_t *state_offset, barriers;
        *out_info = (SnlCallInfo){.state_bytes = plan_states(m, arena, &state_offset),
                                  .shared_bytes = snl_attr_int(&func->attrs, "shared_bytes", 0),
                                  .private_bytes = snl_attr_int(&func->attrs, "private_bytes", 0)};
        char *step_name = snl_arena_printf(arena, "%s.step", symbol);
        LLVMValueRef step = snl_emit_step(&g, func, payload, state_offset, step_name, &barriers);
        LLVMSetLinkage(step, LLVMExternalLinkage);
        emit_wrapper(&g, func, step, symbol);
        status = snl_gen_write(&g, target, kind, path);
    }
    snl_gen_destroy(&g);
    snl_arena_destroy(arena);
    return status;
}
