/* codegen/gen.h -- the code generator's toolbox: one LLVM module under construction, structured
 * loops, vectors. Private to codegen/: nothing LLVM leaves this folder.
 *
 * Numbers are f32 lanes of `<16 x float>` (a panel's rows) or of a narrower power of two that
 * divides the width at hand; LLVM splits them into the registers the target has. No fast-math
 * flags: multiply-adds are fused where snl_fma asks for it, nothing is reassociated, so results do
 * not depend on how a range was cut. */
#ifndef SNL_CODEGEN_GEN_H
#define SNL_CODEGEN_GEN_H

#include "codegen/calls.h"
#include "codegen/codegen.h"
#include "passes/schedule.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

#include <string.h>

enum { SNL_LANES = 16, SNL_MAX_SUSPENDED = 4 };

typedef struct SnlGen {
    SnlArena *arena;
    SnlDiag *diag;
    LLVMContextRef ctx;
    LLVMModuleRef module;
    LLVMBuilderRef b;
    LLVMTargetMachineRef machine;
    LLVMTypeRef f32, f64, i1, i8, i16, i32, i64, ptr, void_;
    LLVMValueRef func; /* function under construction */
    struct {           /* functions left half-way while a kernel of theirs is written */
        LLVMValueRef func;
        LLVMBasicBlockRef block;
    } suspended[SNL_MAX_SUSPENDED];
    unsigned n_suspended;
    int tile_tokens, tile_panels; /* register tile of the prefill kernels */
    SnlSanitizer sanitize;
    bool hook_stages;
} SnlGen;

/* ---- constants, types ------------------------------------------------------------------------ */

LLVMValueRef snl_i64(SnlGen *g, int64_t x);
LLVMValueRef snl_f32(SnlGen *g, double x);
LLVMTypeRef snl_vec(LLVMTypeRef elem, int lanes); /* lanes = 1: the scalar type */
LLVMValueRef snl_splat(SnlGen *g, LLVMValueRef scalar, int lanes);
LLVMValueRef snl_splat_f32(SnlGen *g, double x, int lanes);
/* first, first + 1, ... of the 16 lanes. */
LLVMValueRef snl_lane_index(SnlGen *g, LLVMValueRef first);
/* Largest power of two <= 16 that divides `width`. */
int snl_lanes_for(int64_t width);

/* ---- memory: pointers are bytes, indices are elements ---------------------------------------- */

LLVMValueRef snl_offset(SnlGen *g, LLVMValueRef ptr, LLVMValueRef index, int64_t elem_bytes);
LLVMValueRef snl_offset_const(SnlGen *g, LLVMValueRef ptr, int64_t nbytes);
/* `lanes` f32 at ptr (alignment 4 unless `align` says more). */
LLVMValueRef snl_load(SnlGen *g, LLVMValueRef ptr, int lanes);
LLVMValueRef snl_load_typed(SnlGen *g, LLVMTypeRef type, LLVMValueRef ptr, unsigned align);
void snl_store(SnlGen *g, LLVMValueRef value, LLVMValueRef ptr);
/* ptr, but LLVM does not know that it is: so it does not make one load of two. */
LLVMValueRef snl_another_pointer(SnlGen *g, LLVMValueRef ptr);
/* Asks for the line at ptr, soon to be read or written. */
void snl_prefetch(SnlGen *g, LLVMValueRef ptr, bool write);
/* Tells the thread sanitizer (nobody else) of an access that it does not see by itself: vectors of
 * more than 16 bytes, which snl_load and snl_store report, and masked ones. */
void snl_note_access(SnlGen *g, LLVMValueRef ptr, LLVMValueRef nbytes, bool write);

/* ---- arithmetic ------------------------------------------------------------------------------ */

LLVMValueRef snl_add(SnlGen *g, LLVMValueRef a, LLVMValueRef b); /* i64 */
LLVMValueRef snl_sub(SnlGen *g, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef snl_mul(SnlGen *g, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef snl_min(SnlGen *g, LLVMValueRef a, LLVMValueRef b); /* signed i64 */
LLVMValueRef snl_max(SnlGen *g, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef snl_div_const(SnlGen *g, LLVMValueRef a, int64_t b); /* a >= 0 */
LLVMValueRef snl_rem_const(SnlGen *g, LLVMValueRef a, int64_t b);
LLVMValueRef snl_fadd(SnlGen *g, LLVMValueRef a, LLVMValueRef b); /* f32, any lanes */
LLVMValueRef snl_fsub(SnlGen *g, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef snl_fmul(SnlGen *g, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef snl_fdiv(SnlGen *g, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef snl_fmax(SnlGen *g, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef snl_fma(SnlGen *g, LLVMValueRef a, LLVMValueRef b,
                     LLVMValueRef c); /* a*b + c, fused */
LLVMValueRef snl_sqrt(SnlGen *g, LLVMValueRef a);
/* Sum (or maximum) of the lanes, as a balanced tree. */
LLVMValueRef snl_reduce_add(SnlGen *g, LLVMValueRef v, int lanes);
LLVMValueRef snl_reduce_max(SnlGen *g, LLVMValueRef v, int lanes);
LLVMValueRef snl_call_intrinsic(SnlGen *g, const char *name, LLVMTypeRef overload,
                                LLVMValueRef *args, unsigned n_args);
LLVMValueRef snl_bitcast(SnlGen *g, LLVMValueRef v, LLVMTypeRef type);

/* codegen/dot.c: acc + the dot products of 4 unsigned bytes u by 4 signed ones, 16 lanes of i32. u
 * are weights to which `offset` was added: with 128 any byte, with 8 at most 15, or any byte where
 * the target takes those (snl_dot_takes_bytes). The products are of the weights without their
 * offset where the target would rather have those (snl_dot_takes_offset). No signed byte is
 * -128. */
LLVMValueRef snl_dot_bytes(SnlGen *g, LLVMValueRef acc, LLVMValueRef u, LLVMValueRef s, int offset);
bool snl_dot_takes_offset(SnlGen *g, int offset);
bool snl_dot_takes_bytes(SnlGen *g);
/* acc + the dot products of pairs of bf16, 16 lanes; only where the target has it. */
bool snl_has_dot_pairs(SnlGen *g);
LLVMValueRef snl_dot_pairs(SnlGen *g, LLVMValueRef acc, LLVMValueRef w, LLVMValueRef x);

/* codegen/math.c: lane-wise functions, error bounds at their definitions. */
LLVMValueRef snl_exp(SnlGen *g, LLVMValueRef x, int lanes);
LLVMValueRef snl_exp_down(SnlGen *g, LLVMValueRef x, int lanes); /* of x <= 0 */
LLVMValueRef snl_sigmoid(SnlGen *g, LLVMValueRef x, int lanes);
LLVMValueRef snl_tanh(SnlGen *g, LLVMValueRef x, int lanes);

/* ---- loops (codegen/loops.c) ----------------------------------------------------------------- */

enum { SNL_MAX_CARRIED = 40 };

/* for (i = from; i < to; i += step) with values carried from one round to the next:
 *
 *     SnlLoop l;
 *     snl_loop_begin(g, &l, from, to, step, n, init);     body uses l.i, l.carried[k]
 *     snl_loop_end(g, &l, next);                          after it: l.carried[k] is the final
 * value */
typedef struct SnlLoop {
    LLVMValueRef i;
    LLVMValueRef carried[SNL_MAX_CARRIED];
    unsigned n_carried;
    int64_t step;
    LLVMValueRef to;
    LLVMBasicBlockRef head, exit;
} SnlLoop;

void snl_loop_begin(SnlGen *g, SnlLoop *loop, LLVMValueRef from, LLVMValueRef to, int64_t step,
                    unsigned n_carried, const LLVMValueRef *init);
void snl_loop_end(SnlGen *g, SnlLoop *loop, const LLVMValueRef *next);

/* if (cond) { ... } without values. */
typedef struct SnlIf {
    LLVMBasicBlockRef exit;
} SnlIf;
void snl_if_begin(SnlGen *g, SnlIf *s, LLVMValueRef cond);
void snl_if_end(SnlGen *g, SnlIf *s);

/* First of the units that are turn `turn`'s of `n`: ceil(units * turn / n). Of units that are G
 * heads times S each, head by head, head h begins in turn floor(h * n / G), whatever S is. */
LLVMValueRef snl_turn_begin(SnlGen *g, LLVMValueRef units, LLVMValueRef turn, LLVMValueRef n);

/* ---- functions ------------------------------------------------------------------------------- */

/* A kernel: void f(ptr p0, ..., i64 r0, ...). Found by name when it exists already; `*out_new` says
 * whether the caller has to write its body (the builder then stands in it). */
LLVMValueRef snl_kernel_begin(SnlGen *g, const char *name, unsigned n_ptr, unsigned n_i64,
                              bool *out_new);
void snl_kernel_end(SnlGen *g); /* return void, back to the function before */
/* An attribute of LLVM's without a value, by name. */
void snl_add_attribute(SnlGen *g, LLVMValueRef f, const char *name);
/* nounwind, noinline, and the sanitizer's mark. */
void snl_mark_function(SnlGen *g, LLVMValueRef f);
LLVMValueRef snl_param(SnlGen *g, unsigned i);
void snl_call(SnlGen *g, LLVMValueRef func, LLVMValueRef *args, unsigned n);
/* A constant of the module; null for n = 0. */
LLVMValueRef snl_constant_array(SnlGen *g, LLVMTypeRef type, LLVMValueRef *at, size_t n,
                                const char *name);

/* ---- kernels: one emitter per rule of ir/ops.def --------------------------------------------- */

/* Where a value lies: f32 (or i32) rows. Row t starts at base + t * stride elements. */
typedef struct SnlPlace {
    SnlAddress base;
    int64_t stride; /* elements from one token row to the next; 0: there is one row (decode) */
    int64_t member; /* elements from one member of a row to the next */
} SnlPlace;

/* One op on its way into a step. */
typedef struct SnlOpGen {
    SnlGen *g;
    SnlCalls *calls; /* of the step */
    const SnlOp *op;
    SnlPlacement p;
    bool decode;         /* T = 1 known */
    int64_t tokens;      /* most rows of a call */
    SnlPlace in[8], out; /* tensor operands; lincomb and stack have their own loop over operands */
    SnlPlace *ins;       /* all operands (== in when few) */
    int pos;             /* parameter that the index operand is; -1: none */
    SnlAddress scratch;  /* this op's private scratch */
    struct SnlFinish *finish; /* linear: what becomes of its sums before they are stored */
    const SnlPayload *payload;
    const int64_t *state_offset; /* by state id */
} SnlOpGen;

/* An elementwise op applied to the result of the op before it while that is in registers, operand
 * `given` of it; `next` to its own. */
typedef struct SnlFinish {
    SnlOpGen op;
    size_t given;
    struct SnlFinish *next;
} SnlFinish;

/* What names it among kernels; the memory it reads: its other operands, coefficients, weight; in
 * out there is room for SNL_MAX_FINISH. */
enum { SNL_MAX_FINISH = 6 };
char *snl_finish_name(const SnlFinish *f);
unsigned snl_finish_addresses(const SnlFinish *f, SnlAddress *out);
/* Asks for what the op reads there. */
void snl_finish_prefetch(const SnlFinish *f, const LLVMValueRef *at, LLVMValueRef row,
                         LLVMValueRef c);
/* The op's result at row `row` for the 16 columns from c, whose operand is x; `at`: those
 * addresses. */
LLVMValueRef snl_finish_value(const SnlFinish *f, const LLVMValueRef *at, LLVMValueRef x,
                              LLVMValueRef row, LLVMValueRef c);

/* Address of a weight in the payload, of a state in the state memory. */
SnlAddress snl_weight_at(const SnlOpGen *o, const SnlWeight *w);
SnlAddress snl_state_at(const SnlOpGen *o, const SnlState *s);
/* A member's weight of group 0: its own of a list, else the one that all share; null without. */
SnlAddress snl_member_weight_at(const SnlOpGen *o, size_t member);

/* Adds kernel(ptr..., c0, c1, r0, r1) to the step's calls; snl_call_at_pos: with the index operand
 * as one parameter more. */
void snl_call_kernel(const SnlOpGen *o, LLVMValueRef kernel, const SnlAddress *ptr, unsigned n_ptr,
                     SnlRange r);
void snl_call_kernel_at_pos(const SnlOpGen *o, LLVMValueRef kernel, const SnlAddress *ptr,
                            unsigned n_ptr, SnlRange r);

/* Emits calls for one member's or the whole column range. */
void snl_kernel_linear(const SnlOpGen *o, size_t member, SnlPlace x, SnlPlace y, SnlRange r,
                       bool accumulate);
/* The members of a linear with `part`: the range counts parts. */
void snl_kernel_linear_parts(const SnlOpGen *o, SnlPlace x, SnlPlace y, SnlRange r);
void snl_kernel_embed(const SnlOpGen *o, SnlRange r);
void snl_kernel_quantize(const SnlOpGen *o, SnlPlace x, SnlPlace y, SnlRange r);
void snl_kernel_norm(const SnlOpGen *o, size_t member, SnlPlace x, SnlPlace y, SnlRange groups);
void snl_kernel_eltwise(const SnlOpGen *o, size_t member, SnlRange r);
void snl_kernel_mix(const SnlOpGen *o, SnlRange r);
void snl_kernel_rope(const SnlOpGen *o, SnlRange heads);
void snl_kernel_rope_table(const SnlOpGen *o, SnlRange r);
void snl_kernel_attention(const SnlOpGen *o, size_t member, SnlPlace q, SnlPlace k, SnlPlace v,
                          SnlPlace y, SnlRange r);
void snl_kernel_attention_parts(const SnlOpGen *o, size_t member, SnlPlace q, SnlPlace k,
                                SnlPlace v, SnlPlace y, SnlRange r);
void snl_kernel_attention_merge(const SnlOpGen *o, size_t member, SnlPlace parts, SnlPlace y,
                                SnlRange r);
void snl_kernel_kv_write(const SnlOpGen *o, size_t member, SnlPlace k, SnlPlace v, SnlRange r);
void snl_kernel_shift(const SnlOpGen *o, size_t member, SnlPlace x, SnlPlace y, SnlRange r);
void snl_kernel_row_write(const SnlOpGen *o, size_t member, SnlPlace x, SnlRange r);

/* ---- state layout ---------------------------------------------------------------------------- */

/* A cache [2, G, C, d] lies head by head (codegen/cache.h); any other state is plain.
 * snl_state_bytes (codegen.h) says how large it is. */
bool snl_state_is_cache(const SnlState *s);

/* ---- what the step takes for granted (codegen/scheduled.c) ----------------------------------- */

/* Has every op a stage, a split that fits it, and places inside the workspace? */
SnlStatus snl_check_scheduled(const SnlFunc *func, SnlDiag *diag);

/* ---- calls as code (codegen/calls_emit.c) --------------------------------------------------- */

/* What the calls of a step find in its function. */
typedef struct SnlFrame {
    LLVMValueRef ctx, thread, n_threads;
    LLVMValueRef *region; /* by SnlAddress.region */
    LLVMValueRef *index;  /* parameters that are indices */
    LLVMValueRef rows[SNL_ROWS_COUNT][2];
} SnlFrame;

void snl_emit_calls(SnlGen *g, const SnlCalls *calls, const SnlFrame *frame);
void snl_emit_barrier(SnlGen *g, const SnlFrame *frame);
/* floor(units * (thread + k) / n_threads) */
LLVMValueRef snl_share_end(SnlGen *g, const SnlFrame *frame, LLVMValueRef units, int64_t k);

/* codegen/redzone.c: for functions planned with red zones, under the address sanitizer. Thread 0
 * prepares the shared region; the others wait. */
void snl_emit_redzones(SnlGen *g, const SnlFunc *func, const SnlFrame *frame);

/* ---- the step (codegen/step.c) --------------------------------------------------------------- */

/* Emits `void name(SnlrtCtx *, i64 thread)` for a scheduled function. */
LLVMValueRef snl_emit_step(SnlGen *g, const SnlFunc *func, const SnlPayload *payload,
                           const int64_t *state_offset, const char *name, int64_t *out_barriers);

/* ---- target (codegen/target.c) --------------------------------------------------------------- */

SnlStatus snl_gen_create(SnlGen *g, SnlArena *arena, const char *module_name,
                         const SnlTargetOptions *options, SnlDiag *diag);
void snl_gen_destroy(SnlGen *g);
/* Loads LLVM's targets; must have run before generators are made by several threads. */
void snl_gen_init_targets(void);
/* Features of the machine's CPU that the runtime must find, comma separated. */
char *snl_gen_required_features(SnlGen *g);
/* Does the target have LLVM's feature of that name (those that codegen/dot.c asks for)? */
bool snl_gen_has_feature(SnlGen *g, const char *feature);
/* Would LLVM call a function for each f16 number? */
bool snl_gen_lacks_halves(SnlGen *g);
/* Runs LLVM's passes and writes the file. */
SnlStatus snl_gen_write(SnlGen *g, const SnlTargetOptions *options, SnlEmitKind kind,
                        const char *path);

#endif
