/* passes/schedule.h -- what the schedule pass writes on ops, and how to read it back.
 *
 * A scheduled function is ordinary SSA whose ops carry attributes:
 *
 *   stage = s          stages run one after the other with a barrier between; inside one, no thread
 *                      waits for another
 *   split = ...        who computes what of the result:
 *       cols           threads share out units of columns; unit = (member, `grain` columns); of a
 *                      linear with `part` whole members, each by the thread that made its inputs
 *       inner          the same, a unit covers its columns in every member (streams)
 *       rows           threads share out token rows
 *       tiles          (attention) threads share out (kv head, tile of rows)
 *       parts          (attention_parts and its kv_write) threads share out (kv head, part of the
 *                      positions that the token sees), the token's own part first of each head: so
 *                      the thread that writes a head's row is the one that reads it
 *       all            every thread computes everything, into memory of its own
 *       one            thread 0 alone
 *       view           no code: the result lies inside its operand
 *   units = P, grain = g   cols, inner: P units of g columns per member (the last may be short)
 *   pieces = [e0, ...] linear: the columns are this many consecutive pieces (ends), each divided
 *                      into the P units (heads of q, k and v in one matrix)
 *   rows = tail        only rows [tail_row, T) are wanted
 *   own = cache        attention reads its own rows from the cache too: kv_write has put them there
 *   at = bytes         plan-memory: place of the result in the shared or (split = all) private
 *                      memory
 *   registers          plan-memory: the result has no place: the linear hands it in registers to
 *                      the elementwise op that reads it (passes/registers.c)
 *   scratch = bytes    plan-memory: place of the op's private scratch */
#ifndef SNL_PASSES_SCHEDULE_H
#define SNL_PASSES_SCHEDULE_H

#include "ir/ir.h"

/* The next multiple of `to`. */
static inline int64_t snl_round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

typedef enum SnlSplit {
    SNL_SPLIT_COLS,
    SNL_SPLIT_INNER,
    SNL_SPLIT_ROWS,
    SNL_SPLIT_TILES,
    SNL_SPLIT_PARTS,
    SNL_SPLIT_ALL,
    SNL_SPLIT_ONE,
    SNL_SPLIT_VIEW,
    SNL_SPLIT_COUNT
} SnlSplit;

extern const char *const snl_split_text[SNL_SPLIT_COUNT];

typedef struct SnlPlacement {
    int64_t stage;
    SnlSplit split;
    int64_t units, grain; /* cols, inner */
    bool tail;
} SnlPlacement;

/* Reads the attributes; false when the op is not scheduled. */
bool snl_placement_read(const SnlOp *op, SnlPlacement *out);
/* Is the scheduled function's first result, the logits, computed for the last rows alone? Its
 * attribute `tail` only asks for that. */
bool snl_computes_tail(const SnlFunc *func);

/* G of an attention op: `kv_heads`, by default as many as `heads`. */
int64_t snl_attention_kv_heads(const SnlOp *op);
/* Query heads that share one key/value head. */
int64_t snl_attention_group(const SnlOp *op);

/* Inputs of a part of a linear that multiplies parts by themselves; 0: it multiplies all. */
static inline int64_t snl_linear_part(const SnlOp *op)
{
    return op->code == SNL_OP_LINEAR ? snl_attr_int(&op->attrs, "part", 0) : 0;
}

/* Is the product so small that every thread makes it for itself, for one token? */
bool snl_linear_is_small(const SnlOp *op);

/* Parts of an attention_parts op. */
int64_t snl_attention_part_count(const SnlOp *op);

/* Private scratch an op needs while it runs, in bytes (attention: a tile of queries, their results
 * so far, a block of scores; linear: its input in pairs, or unpacked panels), for calls of up to
 * `tokens` rows; INT64_MAX when that is more than a number can say. */
int64_t snl_op_scratch_bytes(const SnlOp *op, int64_t tokens);
/* Does linear multiply pairs of bf16? Then many rows of its input are laid out as bf16 first, each
 * in snl_pairs_row_bytes bytes: those of `width` numbers, padded with zeros to a multiple of 64. */
bool snl_linear_takes_pairs(const SnlOp *op);
static inline int64_t snl_pairs_row_bytes(int64_t width)
{
    return snl_round_up(width, 32) * 2;
}
/* Does linear of up to `tokens` rows unpack its q4_0 panels to bytes first, a group of panels at a
 * time? Few rows (a tail is few) do not pay for that. A panel takes snl_unpacked_panel_bytes. */
bool snl_linear_unpacks(const SnlOp *op, int64_t tokens);
static inline int64_t snl_unpacked_panel_bytes(int64_t inputs)
{
    return snl_block_count(inputs) * SNL_BLOCK * 16;
}
/* Token rows whose queries the attention kernel takes through the cache together. */
int64_t snl_attention_tile_rows(const SnlOp *op, int64_t tokens);
/* Room for queries in the kernel's scratch: those of a tile, and what rounds them up to
 * registers. */
int64_t snl_attention_tile_queries(const SnlOp *op, int64_t tokens);
/* Bytes of one kv head of a cache for `padded` positions (codegen/cache.h); INT64_MAX when that is
 * more than a number can say. */
int64_t snl_cache_head_bytes(SnlDtype dtype, int64_t padded, int64_t width);
enum {
    SNL_ATTENTION_BLOCK = 128,   /* positions that are scored at once */
    SNL_ATTENTION_QUERIES = 16,  /* at most so many queries' scores */
    SNL_ATTENTION_STATS = 32 * 4 /* bytes that a query takes besides its row and its result */
};
/* 4-byte words that one member's row of a value takes in memory. Rows of q8_0: 32 bytes of integers
 * for each block, then an f32 scale for each, then minus the sum of each block's integers as i32;
 * padded to 64 bytes. Anything else is held as f32 (ids as i32). */
int64_t snl_member_words(const SnlType *type);
static inline int64_t snl_row_words(const SnlType *type)
{
    return snl_type_members(type) * snl_member_words(type);
}
/* Does the op write a result of its function, in the caller's memory? So does a linear for the
 * softcap that makes a result of it and nothing else reads: logits are capped in place. */
bool snl_op_is_result(const SnlOp *op);
/* Is the op's result a view of its operand? */
static inline bool snl_op_is_view(const SnlOp *op)
{
    return op->code == SNL_OP_SLICE || op->code == SNL_OP_MEMBER;
}
/* The op whose memory `v` lies in, through views; NULL for parameters. */
const SnlOp *snl_storage_op(const SnlValue *v);

/* passes/registers.c: by value id, the results of a scheduled function that can stay in registers,
 * where `marked` says so only those that are marked. */
bool *snl_find_registers(SnlArena *arena, const SnlFunc *func, bool marked);
/* As plan-memory has marked it: does the op's result stay there, does an operand come from
 * there? */
bool snl_op_in_registers(const SnlOp *op);
bool snl_op_takes_registers(const SnlOp *op);

enum {
    SNL_PANEL_GRAIN = 16,    /* columns of a panel: what a thread takes at least */
    SNL_UNPACKED_PANELS = 2, /* panels of a group at most: those of a tile (codegen/target.c) */
    SNL_MAX_BLOCK = 65536    /* most tokens of a call */
};

/* Rows of caches are padded to this, so that keys lie in panels of 16 positions. */
static inline int64_t snl_context_padded(int64_t context)
{
    return snl_round_up(context, 16);
}

#endif
