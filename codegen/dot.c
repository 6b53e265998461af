/* codegen/dot.c -- the one table of target instructions: dot products of bytes, of pairs of bf16.
 *
 * Bytes: acc[i] + sum over j < 4 of u[i, j] * s[i, j] on 16 lanes of 32 bits, u unsigned bytes, s
 * signed ones. Integer sums are exact, so every way of computing them gives the same bits. Where
 * there are only sums of two products in 16 bits (pmaddubsw), u is at most 15, or is taken as its
 * distance from 128, with its sign given to s: 2 * 128 * 127 fits.
 *
 * Pairs: acc[i] + w[i, 1] * x[i, 1] + w[i, 0] * x[i, 0] on 16 lanes of f32, in this order, each
 * multiply-add rounded once to nearest: the bits of two fused multiply-adds, but for numbers below
 * the normal ones (2^-126), operands and results, which count as 0. */
#include "codegen/gen.h"

typedef struct DotInstruction {
    const char *needs; /* LLVM's feature name */
    const char *intrinsic;
    int lanes; /* 32-bit lanes of one instruction */
    enum { FOURS, /* takes bytes and an accumulator */
           TWOS,  /* bytes to sums of two in 16 bits; then `pairs`, sums of two of those */
           WORDS  /* pairs of 16 bits (pmaddwd) */
    } kind;
    const char *pairs, *sign;
} DotInstruction;

static const DotInstruction table[] = {
    {"avx512vnni", "llvm.x86.avx512.vpdpbusd.512", 16, FOURS, NULL, NULL},
    {"avxvnni", "llvm.x86.avx512.vpdpbusd.256", 8, FOURS, NULL, NULL},
    {"avx512bw", "llvm.x86.avx512.pmaddw.d.512", 16, WORDS, NULL, NULL},
    {"avx2", "llvm.x86.avx2.pmadd.ub.sw", 8, TWOS, "llvm.x86.avx2.pmadd.wd",
     "llvm.x86.avx2.psign.b"},
    {"ssse3", "llvm.x86.ssse3.pmadd.ub.sw.128", 4, TWOS, "llvm.x86.sse2.pmadd.wd",
     "llvm.x86.ssse3.psign.b.128"},
    {"sse2", "llvm.x86.sse2.pmadd.wd", 4, WORDS, NULL, NULL},
};

static LLVMValueRef lanes_of(SnlGen *g, LLVMValueRef v, int from, int n)
{
    LLVMValueRef index[2 * SNL_LANES];
    for (int i = 0; i < n; i++) index[i] = LLVMConstInt(g->i32, (unsigned)(from + i), 0);
    return LLVMBuildShuffleVector(g->b, v, v, LLVMConstVector(index, (unsigned)n), "");
}

/* Two halves side by side. */
static LLVMValueRef join(SnlGen *g, LLVMValueRef a, LLVMValueRef b, int lanes_each)
{
    LLVMValueRef index[SNL_LANES];
    for (int i = 0; i < 2 * lanes_each; i++) index[i] = LLVMConstInt(g->i32, (unsigned)i, 0);
    return LLVMBuildShuffleVector(g->b, a, b, LLVMConstVector(index, (unsigned)(2 * lanes_each)),
                                  "");
}

static LLVMValueRef call(SnlGen *g, const DotInstruction *d, LLVMValueRef *args, unsigned n)
{
    return snl_call_intrinsic(g, d->intrinsic, NULL, args, n);
}

static const DotInstruction *instruction_of(SnlGen *g)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (snl_gen_has_feature(g, table[i].needs)) return &table[i];
    return NULL;
}

bool snl_dot_takes_offset(SnlGen *g, int offset)
{
    const DotInstruction *d = instruction_of(g);
    return d && d->kind == TWOS && offset == 128;
}

bool snl_dot_takes_bytes(SnlGen *g)
{
    const DotInstruction *d = instruction_of(g);
    return !d || d->kind != TWOS;
}

/* acc + sums of four by way of sums of two; u as far as it is from 128 when it is not small. */
static LLVMValueRef dot_by_twos(SnlGen *g, const DotInstruction *d, LLVMValueRef acc,
                                LLVMValueRef u, LLVMValueRef s, int offset)
{
    LLVMTypeRef bytes = snl_vec(g->i8, 4 * d->lanes);
    LLVMValueRef args[] = {snl_bitcast(g, u, bytes), snl_bitcast(g, s, bytes)};
    if (offset == 128) {
        LLVMValueRef top = snl_splat(g, LLVMConstInt(g->i8, 128, 0), 4 * d->lanes);
        LLVMValueRef w = LLVMBuildXor(g->b, args[0], top, "");
        LLVMValueRef size[] = {w, LLVMConstInt(g->i1, 0, 0)}, signs[] = {args[1], w};
        args[0] = snl_call_intrinsic(g, "llvm.abs", bytes, size, 2);
        args[1] = snl_call_intrinsic(g, d->sign, NULL, signs, 2);
    }
    LLVMValueRef ones = snl_splat(g, LLVMConstInt(g->i16, 1, 0), 2 * d->lanes);
    LLVMValueRef twos[] = {call(g, d, args, 2), ones};
    return LLVMBuildAdd(g->b, acc, snl_call_intrinsic(g, d->pairs, NULL, twos, 2), "");
}

/* u and s as 16 x i32; part of `lanes` lanes from `from`. */
static LLVMValueRef dot_part(SnlGen *g, const DotInstruction *d, LLVMValueRef acc, LLVMValueRef u,
                             LLVMValueRef s, int offset, int from)
{
    LLVMTypeRef words = snl_vec(g->i32, d->lanes), shorts = snl_vec(g->i16, 2 * d->lanes);
    LLVMValueRef eight = snl_splat(g, LLVMConstInt(g->i16, 8, 0), 2 * d->lanes);
    LLVMValueRef mask = snl_splat(g, LLVMConstInt(g->i16, 255, 0), 2 * d->lanes);
    if (d->lanes < SNL_LANES) {
        acc = lanes_of(g, acc, from, d->lanes);
        u = lanes_of(g, u, from, d->lanes);
        s = lanes_of(g, s, from, d->lanes);
    }
    if (d->kind == TWOS) return dot_by_twos(g, d, acc, u, s, offset);
    if (d->kind == FOURS) {
        LLVMValueRef args[] = {acc, u, s};
        return call(g, d, args, 3);
    }
    LLVMValueRef u16 = snl_bitcast(g, u, shorts), s16 = snl_bitcast(g, s, shorts);
    LLVMValueRef even[] = {LLVMBuildAnd(g->b, u16, mask, ""),
                           LLVMBuildAShr(g->b, LLVMBuildShl(g->b, s16, eight, ""), eight, "")};
    LLVMValueRef odd[] = {LLVMBuildLShr(g->b, u16, eight, ""), LLVMBuildAShr(g->b, s16, eight, "")};
    LLVMValueRef sum = LLVMBuildAdd(g->b, call(g, d, even, 2), call(g, d, odd, 2), "");
    return LLVMBuildAdd(g->b, acc, snl_bitcast(g, sum, words), "");
}

/* Without any of them: byte by byte. */
static LLVMValueRef dot_plain(SnlGen *g, LLVMValueRef acc, LLVMValueRef u, LLVMValueRef s)
{
    LLVMValueRef mask = snl_splat(g, LLVMConstInt(g->i32, 255, 0), SNL_LANES);
    LLVMValueRef top = snl_splat(g, LLVMConstInt(g->i32, 24, 0), SNL_LANES);
    for (unsigned j = 0; j < 4; j++) {
        LLVMValueRef down = snl_splat(g, LLVMConstInt(g->i32, 8 * j, 0), SNL_LANES);
        LLVMValueRef up = snl_splat(g, LLVMConstInt(g->i32, 24 - 8 * j, 0), SNL_LANES);
        LLVMValueRef a = LLVMBuildAnd(g->b, LLVMBuildLShr(g->b, u, down, ""), mask, "");
        LLVMValueRef b = LLVMBuildAShr(g->b, LLVMBuildShl(g->b, s, up, ""), top, "");
        acc = LLVMBuildAdd(g->b, acc, LLVMBuildMul(g->b, a, b, ""), "");
    }
    return acc;
}

LLVMValueRef snl_dot_bytes(SnlGen *g, LLVMValueRef acc, LLVMValueRef u, LLVMValueRef s, int offset)
{
    const DotInstruction *d = instruction_of(g);
    if (!d) return dot_plain(g, acc, u, s);
    LLVMValueRef part[4];
    int n = SNL_LANES / d->lanes;
    for (int i = 0; i < n; i++) part[i] = dot_part(g, d, acc, u, s, offset, i * d->lanes);
    for (int lanes = d->lanes; n > 1; n /= 2, lanes *= 2)
        for (int i = 0; i < n / 2; i++) part[i] = join(g, part[2 * i], part[2 * i + 1], lanes);
    return part[0];
}

bool snl_has_dot_pairs(SnlGen *g)
{
    return snl_gen_has_feature(g, "avx512bf16");
}

LLVMValueRef snl_dot_pairs(SnlGen *g, LLVMValueRef acc, LLVMValueRef w, LLVMValueRef x)
{
    LLVMTypeRef pairs = snl_vec(LLVMBFloatTypeInContext(g->ctx), 2 * SNL_LANES);
    LLVMValueRef args[] = {acc, snl_bitcast(g, w, pairs), snl_bitcast(g, x, pairs)};
    return snl_call_intrinsic(g, "llvm.x86.avx512bf16.dpbf16ps.512", NULL, args, 3);
}
