/* codegen/vector.c -- constants, memory and arithmetic on scalars and lanes. */
#include "codegen/gen.h"

LLVMValueRef snl_i64(SnlGen *g, int64_t x)
{
    return LLVMConstInt(g->i64, (uint64_t)x, 1);
}
LLVMValueRef snl_f32(SnlGen *g, double x)
{
    return LLVMConstReal(g->f32, x);
}

LLVMTypeRef snl_vec(LLVMTypeRef elem, int lanes)
{
    return lanes == 1 ? elem : LLVMVectorType(elem, (unsigned)lanes);
}

int snl_lanes_for(int64_t width)
{
    int lanes = SNL_LANES;
    while (width % lanes != 0) lanes /= 2;
    return lanes;
}

LLVMValueRef snl_splat(SnlGen *g, LLVMValueRef scalar, int lanes)
{
    if (lanes == 1) return scalar;
    LLVMTypeRef type = snl_vec(LLVMTypeOf(scalar), lanes);
    LLVMValueRef undef = LLVMGetPoison(type);
    LLVMValueRef one = LLVMBuildInsertElement(g->b, undef, scalar, LLVMConstInt(g->i32, 0, 0), "");
    LLVMValueRef zeros = LLVMConstNull(snl_vec(g->i32, lanes));
    return LLVMBuildShuffleVector(g->b, one, undef, zeros, "");
}

LLVMValueRef snl_splat_f32(SnlGen *g, double x, int lanes)
{
    return snl_splat(g, snl_f32(g, x), lanes);
}

LLVMValueRef snl_lane_index(SnlGen *g, LLVMValueRef first)
{
    LLVMValueRef index[SNL_LANES];
    for (int i = 0; i < SNL_LANES; i++) index[i] = snl_i64(g, i);
    LLVMValueRef iota = LLVMConstVector(index, SNL_LANES);
    return LLVMBuildAdd(g->b, snl_splat(g, first, SNL_LANES), iota, "");
}

LLVMValueRef snl_offset(SnlGen *g, LLVMValueRef ptr, LLVMValueRef index, int64_t elem_bytes)
{
    LLVMValueRef at = elem_bytes == 1 ? index : snl_mul(g, index, snl_i64(g, elem_bytes));
    return LLVMBuildInBoundsGEP2(g->b, g->i8, ptr, &at, 1, "");
}

LLVMValueRef snl_offset_const(SnlGen *g, LLVMValueRef ptr, int64_t nbytes)
{
    return nbytes == 0 ? ptr : snl_offset(g, ptr, snl_i64(g, nbytes), 1);
}

void snl_note_access(SnlGen *g, LLVMValueRef ptr, LLVMValueRef nbytes, bool write)
{
    if (g->sanitize != SNL_SANITIZE_THREAD) return;
    const char *name = write ? "__tsan_write_range" : "__tsan_read_range";
    LLVMTypeRef params[] = {g->ptr, g->i64}, type = LLVMFunctionType(g->void_, params, 2, 0);
    LLVMValueRef f = LLVMGetNamedFunction(g->module, name), args[] = {ptr, nbytes};
    if (!f) f = LLVMAddFunction(g->module, name, type);
    LLVMBuildCall2(g->b, type, f, args, 2, "");
}

/* The thread sanitizer looks at accesses of up to 16 bytes; of wider ones it is told. */
static void note_wide(SnlGen *g, LLVMTypeRef type, LLVMValueRef ptr, bool write)
{
    if (LLVMGetTypeKind(type) != LLVMVectorTypeKind) return;
    LLVMTypeRef elem = LLVMGetElementType(type);
    unsigned bytes = elem == g->f32 || elem == g->i32 ? 4 : elem == g->i8 ? 1 : 2;
    bytes *= LLVMGetVectorSize(type);
    if (bytes > 16) snl_note_access(g, ptr, snl_i64(g, bytes), write);
}

LLVMValueRef snl_load_typed(SnlGen *g, LLVMTypeRef type, LLVMValueRef ptr, unsigned align)
{
    note_wide(g, type, ptr, false);
    LLVMValueRef v = LLVMBuildLoad2(g->b, type, ptr, "");
    LLVMSetAlignment(v, align);
    return v;
}

LLVMValueRef snl_load(SnlGen *g, LLVMValueRef ptr, int lanes)
{
    return snl_load_typed(g, snl_vec(g->f32, lanes), ptr, 4);
}

void snl_store(SnlGen *g, LLVMValueRef value, LLVMValueRef ptr)
{
    note_wide(g, LLVMTypeOf(value), ptr, true);
    LLVMSetAlignment(LLVMBuildStore(g->b, value, ptr), 4);
}

LLVMValueRef snl_another_pointer(SnlGen *g, LLVMValueRef ptr)
{
    const char *same = "=r,0";
    LLVMTypeRef type = LLVMFunctionType(g->ptr, &g->ptr, 1, 0);
    LLVMValueRef nothing = LLVMGetInlineAsm(type, "", 0, same, strlen(same), 0, 0,
                                            LLVMInlineAsmDialectATT, 0);
    return LLVMBuildCall2(g->b, type, nothing, &ptr, 1, "");
}

void snl_prefetch(SnlGen *g, LLVMValueRef ptr, bool write)
{
    enum { MOST_LOCAL = 3, DATA = 1 };
    LLVMValueRef args[] = {ptr, LLVMConstInt(g->i32, write, 0), LLVMConstInt(g->i32, MOST_LOCAL, 0),
                           LLVMConstInt(g->i32, DATA, 0)};
    snl_call_intrinsic(g, "llvm.prefetch", g->ptr, args, 4);
}

LLVMValueRef snl_add(SnlGen *g, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildNSWAdd(g->b, a, b, "");
}
LLVMValueRef snl_sub(SnlGen *g, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildNSWSub(g->b, a, b, "");
}
LLVMValueRef snl_mul(SnlGen *g, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildNSWMul(g->b, a, b, "");
}
LLVMValueRef snl_min(SnlGen *g, LLVMValueRef a, LLVMValueRef b)
{
    LLVMValueRef less = LLVMBuildICmp(g->b, LLVMIntSLT, a, b, "");
    return LLVMBuildSelect(g->b, less, a, b, "");
}
LLVMValueRef snl_max(SnlGen *g, LLVMValueRef a, LLVMValueRef b)
{
    LLVMValueRef more = LLVMBuildICmp(g->b, LLVMIntSGT, a, b, "");
    return LLVMBuildSelect(g->b, more, a, b, "");
}
LLVMValueRef snl_div_const(SnlGen *g, LLVMValueRef a, int64_t b)
{
    return LLVMBuildUDiv(g->b, a, snl_i64(g, b), "");
}
LLVMValueRef snl_rem_const(SnlGen *g, LLVMValueRef a, int64_t b)
{
    return LLVMBuildURem(g->b, a, snl_i64(g, b), "");
}

LLVMValueRef snl_fadd(SnlGen *g, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildFAdd(g->b, a, b, "");
}
LLVMValueRef snl_fsub(SnlGen *g, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildFSub(g->b, a, b, "");
}
LLVMValueRef snl_fmul(SnlGen *g, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildFMul(g->b, a, b, "");
}
LLVMValueRef snl_fdiv(SnlGen *g, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildFDiv(g->b, a, b, "");
}

LLVMValueRef snl_call_intrinsic(SnlGen *g, const char *name, LLVMTypeRef overload,
                                LLVMValueRef *args, unsigned n_args)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    SNL_ASSERT(id != 0);
    unsigned n_types = overload ? 1 : 0;
    LLVMValueRef f = LLVMGetIntrinsicDeclaration(g->module, id, &overload, n_types);
    LLVMTypeRef type = LLVMIntrinsicGetType(g->ctx, id, &overload, n_types);
    return LLVMBuildCall2(g->b, type, f, args, n_args, "");
}

LLVMValueRef snl_fmax(SnlGen *g, LLVMValueRef a, LLVMValueRef b)
{
    LLVMValueRef more = LLVMBuildFCmp(g->b, LLVMRealOGT, a, b, "");
    return LLVMBuildSelect(g->b, more, a, b, "");
}

LLVMValueRef snl_fma(SnlGen *g, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c)
{
    LLVMValueRef args[] = {a, b, c};
    /* fmuladd: fused where the target has it, two roundings where it has not (never a libm call).
     */
    return snl_call_intrinsic(g, "llvm.fmuladd", LLVMTypeOf(a), args, 3);
}

LLVMValueRef snl_sqrt(SnlGen *g, LLVMValueRef a)
{
    return snl_call_intrinsic(g, "llvm.sqrt", LLVMTypeOf(a), &a, 1);
}

LLVMValueRef snl_bitcast(SnlGen *g, LLVMValueRef v, LLVMTypeRef type)
{
    return LLVMBuildBitCast(g->b, v, type, "");
}

typedef LLVMValueRef Combine(SnlGen *g, LLVMValueRef a, LLVMValueRef b);

/* Halves the vector until one lane is left: the same tree on every target. */
static LLVMValueRef reduce(SnlGen *g, LLVMValueRef v, int lanes, Combine *combine)
{
    while (lanes > 1) {
        LLVMValueRef low[SNL_LANES], high[SNL_LANES];
        lanes /= 2;
        for (int i = 0; i < lanes; i++) {
            low[i] = LLVMConstInt(g->i32, (unsigned)i, 0);
            high[i] = LLVMConstInt(g->i32, (unsigned)(i + lanes), 0);
        }
        LLVMValueRef a =
            LLVMBuildShuffleVector(g->b, v, v, LLVMConstVector(low, (unsigned)lanes), "");
        LLVMValueRef b =
            LLVMBuildShuffleVector(g->b, v, v, LLVMConstVector(high, (unsigned)lanes), "");
        v = combine(g, a, b);
        if (lanes == 1) return LLVMBuildExtractElement(g->b, v, LLVMConstInt(g->i32, 0, 0), "");
    }
    return v;
}

LLVMValueRef snl_reduce_add(SnlGen *g, LLVMValueRef v, int lanes)
{
    return reduce(g, v, lanes, snl_fadd);
}
LLVMValueRef snl_reduce_max(SnlGen *g, LLVMValueRef v, int lanes)
{
    return reduce(g, v, lanes, snl_fmax);
}
