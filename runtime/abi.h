/* runtime/abi.h -- what generated code and the runtime know of each other, and nothing else.
 *
 * The only header that codegen and runtime share. C11, no dependencies. Every struct here is also
 * built by codegen as LLVM constants or addressed by offset: field lists are X-macros so both sides
 * come from one table, and all fields are 8 bytes wide (pointers, int64_t) so that layout is plain.
 *
 * A generated step is SPMD: all n_threads threads call it with their index; it meets the others at
 * snlrt_barrier. It never allocates, never fails. */
#ifndef SNLRT_ABI_H
#define SNLRT_ABI_H

#include <stdint.h>

#define SNLRT_ABI_VERSION 4

/* One parameter or result of a generated function. */
typedef union SnlrtArg {
    void *ptr;     /* tensor: dense rows, token-major; i32 ids or f32 */
    int64_t index; /* index */
} SnlrtArg;

/* F(C type, name, "i"nteger or "p"ointer) */
#define SNLRT_CTX_FIELDS(F)                                                                        \
    F(const uint8_t *, weights, p)  /* payload, 64-byte aligned */                                 \
    F(uint8_t *, state, p)          /* states of all graphs, 64-byte aligned, zeroed at start */   \
    F(uint8_t *, work, p)           /* shared workspace, then n_threads private parts */           \
    F(SnlrtArg *, args, p)          /* value parameters in order, then results in order */         \
    F(int64_t, n_tokens, i)         /* T of this call */                                           \
    F(int64_t, tail_row, i)         /* rows [tail_row, T) of `rows = tail` ops are computed (T:    \
                                       none, in a prompt's blocks but the last); of a tail         \
                                       result, row tail_row lands in row 0 of its buffer */        \
    F(int64_t, n_threads, i)                                                                       \
    F(void *, barrier, p)           /* runtime's own */

typedef struct SnlrtCtx {
#define SNLRT_FIELD(type, name, kind) type name;
    SNLRT_CTX_FIELDS(SNLRT_FIELD)
#undef SNLRT_FIELD
} SnlrtCtx;

/* One call of a graph over n_tokens tokens, by one of its threads. */
typedef void SnlrtStep(SnlrtCtx *ctx, int64_t thread);

/* Called by generated code. All n_threads threads meet here; everything written before is visible
 * after. With one thread it returns at once. */
void snlrt_barrier(SnlrtCtx *ctx, int64_t thread);

/* cos and sin of positions pos..pos+rows-1: out[t][j] = cos(a), out[t][half + j] = sin(a),
 * a = (pos + t) * freq[j], computed in double, stored as float; row stride 2 * half.
 * `inverse` negates the sines (nanochat's rotation sense). */
void snlrt_rope_table(const double *freq, int64_t half, int64_t inverse, int64_t pos, int64_t rows,
                      float *out);

/* One computation graph of the program ("mode"). Bytes of workspace: shared_bytes + n_threads *
 * private_bytes, both multiples of 64. */
#define SNLRT_GRAPH_FIELDS(F)                                                                      \
    F(const char *, name, p)            /* "seq", "snlp", ... what --mode takes */                 \
    F(const char *, plan, p)            /* canonical plan text */                                  \
    F(const char *, exactness, p)       /* what was done to it: "exact", "rounds(...)", ... */     \
    F(SnlrtStep *, decode, p)           /* T = 1 */                                                \
    F(SnlrtStep *, prefill, p)          /* 1 <= T <= prefill_block */                              \
    F(int64_t, prefill_block, i)                                                                   \
    F(int64_t, shared_bytes, i)                                                                    \
    F(int64_t, private_bytes, i)                                                                   \
    F(int64_t, decode_barriers, i)      /* per call */                                             \
    F(int64_t, prefill_barriers, i)                                                                \
    F(int64_t, state_bytes, i)          /* caches that this graph touches */                       \
    F(int64_t, layer_evals, i)          /* layers evaluated per token; 0: not known */             \
    F(int64_t, steps, i)                /* of these, one after the other */                        \
    F(int64_t, decode_bytes, i)         /* of weights that a token reads, each time it does */     \
    F(int64_t, decode_waiting, i)       /* modelled, two threads: share of a token's time spent at \
                                           barriers, in 1/1000 */                                  \
    F(int64_t, flags, i)                /* SNLRT_GRAPH_* */

enum {
    /* prefill is another function than decode: it is for prompts, whatever their length. Text whose
     * every token matters (perplexity) goes through decode, token by token. */
    SNLRT_GRAPH_PROMPT = 1,
    /* decode starts from what it computed for the previous token (init = warm) */
    SNLRT_GRAPH_WARM = 2
};

typedef struct SnlrtGraph {
#define SNLRT_FIELD(type, name, kind) type name;
    SNLRT_GRAPH_FIELDS(SNLRT_FIELD)
#undef SNLRT_FIELD
} SnlrtGraph;

/* A named extra result of the graph functions (compiled with --keep-states): [T, width] f32, result
 * number 1 + i after the logits. */
#define SNLRT_OUTPUT_FIELDS(F)                                                                     \
    F(const char *, name, p)  /* "h.0", ... as in the reference files */                           \
    F(int64_t, streams, i)    /* 0: [T, width]; S: [T, S, width] */                                \
    F(int64_t, width, i)

typedef struct SnlrtOutput {
#define SNLRT_FIELD(type, name, kind) type name;
    SNLRT_OUTPUT_FIELDS(SNLRT_FIELD)
#undef SNLRT_FIELD
} SnlrtOutput;

/* The same graphs compiled for one level of processors. Which one runs is chosen once, at start. */
#define SNLRT_LEVEL_FIELDS(F)                                                                      \
    F(const char *, name, p)          /* "v3", "v4+vnni", or a cpu name; what SNL_LEVEL= takes */  \
    F(const char *, features, p)      /* "avx2,fma,...": what the machine must have; may be "" */  \
    F(const SnlrtGraph *, graphs, p)  /* [n_graphs], in the order of the model's */

typedef struct SnlrtLevel {
#define SNLRT_FIELD(type, name, kind) type name;
    SNLRT_LEVEL_FIELDS(SNLRT_FIELD)
#undef SNLRT_FIELD
} SnlrtLevel;

/* A table of which a token reads the row of its id. */
#define SNLRT_TABLE_FIELDS(F)                                                                      \
    F(int64_t, offset, i)     /* of row 0, in the weights */                                       \
    F(int64_t, rows, i)                                                                            \
    F(int64_t, row_bytes, i)  /* they lie one behind the other */

typedef struct SnlrtTable {
#define SNLRT_FIELD(type, name, kind) type name;
    SNLRT_TABLE_FIELDS(SNLRT_FIELD)
#undef SNLRT_FIELD
} SnlrtTable;

/* The one constant `snlrt_model` that codegen emits. Function of every graph:
 * (tokens i32[T], pos index) -> (logits f32[T, vocab] (tail rows), outputs...). */
#define SNLRT_MODEL_FIELDS(F)                                                                      \
    F(int64_t, abi_version, i)                                                                     \
    F(const char *, name, p)          /* model's name */                                           \
    F(const char *, family, p)                                                                     \
    F(const char *, compiler, p)      /* "snlpc 0.1.0" */                                          \
    F(const char *, target, p)        /* triple and cpu, for --about */                            \
    F(const char *, cpu_features, p)  /* of the lowest level */                                    \
    F(const char *, weight_format, p) /* "f32", "q4_0, head q8_0", ... */                          \
    F(int64_t, vocab, i)                                                                           \
    F(int64_t, context, i)            /* positions compiled */                                     \
    F(int64_t, trained_context, i)                                                                 \
    F(int64_t, n_params, i)                                                                        \
    F(int64_t, n_eos, i)                                                                           \
    F(const int64_t *, eos, p)                                                                     \
    F(int64_t, state_bytes, i)                                                                     \
    F(int64_t, n_graphs, i)                                                                        \
    F(const SnlrtGraph *, graphs, p)                                                               \
    F(int64_t, n_outputs, i)                                                                       \
    F(const SnlrtOutput *, outputs, p)                                                             \
    F(int64_t, swept_bytes, i)        /* first bytes of the weights: what every token reads; the   \
                                         rest are tables of which it reads rows */                 \
    F(int64_t, n_tables, i)                                                                        \
    F(const SnlrtTable *, tables, p)                                                               \
    F(int64_t, payload_id, i)         /* must equal the footer's */                                \
    F(int64_t, n_levels, i)           /* 0: graphs are all there is */                             \
    F(const SnlrtLevel *, levels, p)  /* lowest first; levels[0].graphs == graphs */

typedef struct SnlrtModel {
#define SNLRT_FIELD(type, name, kind) type name;
    SNLRT_MODEL_FIELDS(SNLRT_FIELD)
#undef SNLRT_FIELD
} SnlrtModel;

/* ---- the trailer: payload + footer at the end of the program (or in the external weight file) ---
 *
 *   program bytes | padding | weights | tokenizer blob | manifest (JSON text) | footer
 *
 * The payload begins at a multiple of 64 KiB, which every system's pages divide; with weights of
 * SNLRT_HUGE_WEIGHTS and more at one of a huge page, so that the kernel can map it in such pages.
 * Offsets are from the start of the payload (= payload_offset of the file). The footer is the last
 * sizeof(SnlrtFooter) bytes of the file, little-endian. The manifest lists each packed weight with
 * offset, bytes and XXH3-64 hash; payload_id identifies program and payload as a pair. It is the
 * XXH3-64 hash of name, format, layout (texts with their end), offset, bytes, rows and columns (8
 * bytes each) of every weight, and of the tokenizer blob. */
#define SNLRT_FOOTER_MAGIC 0x31304c50434c4e53 /* "SNLCPL01" */
#define SNLRT_PAYLOAD_ALIGN (64 * 1024)
#define SNLRT_HUGE_ALIGN (2 * 1024 * 1024)
#define SNLRT_HUGE_WEIGHTS (4 * 1024 * 1024)

typedef struct SnlrtFooter {
    uint64_t payload_offset; /* in the file, multiple of SNLRT_PAYLOAD_ALIGN */
    uint64_t weights_bytes;  /* at payload + 0 */
    uint64_t tokenizer_offset, tokenizer_bytes; /* bytes = 0: no tokenizer */
    uint64_t manifest_offset, manifest_bytes;
    uint64_t payload_id;
    uint64_t magic; /* last */
} SnlrtFooter;

#endif
