/* codegen/cache.h -- how the keys and values of one head lie in memory, in each format.
 *
 *     keys          panels of 16 positions: element (p, j) at ((p / 16) * d + j) * 16 + p % 16, so
 *                   that scores of 16 positions are one column of multiply-adds
 *     key scales    q8_0: f16, of (p, block) at ((p / 16) * blocks + block) * 16 + p % 16
 *     values        row by row, so that a weighted sum runs along rows
 *     value scales  q8_0: f16, of (p, block) at p * blocks + block
 *
 * An element is an f32, an f16, or the signed byte of a q8_0 block. Blocks are 32 neighbours of one
 * head's key or value; the last one of a width that 32 does not divide is short, which is what
 * padding it with zeros means. Positions are padded to 16, heads to 64 bytes
 * (snl_cache_head_bytes). The same layout serves the rows of a call that no kv_write has put into a
 * cache: attention writes them into its scratch. */
#ifndef SNL_CODEGEN_CACHE_H
#define SNL_CODEGEN_CACHE_H

#include "codegen/gen.h"

typedef struct SnlCache {
    SnlGen *g;
    SnlDtype dtype;
    int64_t width, padded; /* of a head; positions that it has room for */
    LLVMValueRef head;     /* its memory */
} SnlCache;

SnlCache snl_cache_of(SnlGen *g, const SnlType *state);
/* The same format with room for other positions. */
SnlCache snl_cache_for(SnlCache c, int64_t positions);

/* Keys of a panel as f32: begin with the panel and a block of q8_0 (0 otherwise), then any element
 * of that block. */
typedef struct SnlKeys {
    LLVMValueRef lines, scales; /* scales: 16 f32, NULL without */
} SnlKeys;
SnlKeys snl_cache_keys(const SnlCache *c, LLVMValueRef panel, LLVMValueRef block);
/* Element j + extra of the panel's 16 positions. */
LLVMValueRef snl_cache_key(const SnlCache *c, const SnlKeys *keys, LLVMValueRef j, int64_t extra);
/* Elements [first, first + lanes) of a position's value as f32; lanes divide 16 and first. */
LLVMValueRef snl_cache_value(const SnlCache *c, LLVMValueRef position, int64_t first, int lanes);
/* Rounds a key and a value (f32 rows of one head) into the cache. */
void snl_cache_write(const SnlCache *c, LLVMValueRef position, LLVMValueRef key,
                     LLVMValueRef value);

#endif
