/* codegen/attention.h -- packed queries through a segment of positions (codegen/flash.c). Private
 * to codegen/. */
#ifndef SNL_CODEGEN_ATTENTION_H
#define SNL_CODEGEN_ATTENTION_H

#include "codegen/cache.h"

/* Bytes beside the rows: 16 partial sums of a query's weights; for a register tile the maxima of up
 * to 16 queries, and behind them the factors for what was there before a block. */
enum { SNL_FLASH_SUMS = 64, SNL_FLASH_TOPS = 128, SNL_FLASH_FACTORS = 64 };

typedef struct SnlFlash {
    SnlGen *g;
    SnlCache cache;
    int64_t width, group; /* of a head; query heads that share a token row of the tile */
    bool ranged;          /* is there a position below which nobody sees? (windows, parts) */
    int queries;          /* of a register tile */
    LLVMValueRef q, out;  /* packed rows of `width`: scaled queries, sums of weighted values */
    LLVMValueRef sums, tops, scores;
} SnlFlash;

/* What the queries see of a segment's positions: those of the tile's first row [lo, hi), each later
 * row one more on either side; nobody sees `cap` and beyond. `lo` counts when it is `ranged`. */
typedef struct SnlSight {
    LLVMValueRef lo, hi, cap;
} SnlSight;

/* Adds the positions of `cache` that `tiles` register tiles of queries see to their results. */
void snl_flash_segment(const SnlFlash *f, const SnlCache *cache, LLVMValueRef tiles,
                       const SnlSight *sight);

/* How positions are divided for attention_parts. The last part holds what is left. */
typedef struct SnlParts {
    int64_t size, count; /* positions of a part, parts of the context */
    int64_t window;      /* -1: none */
} SnlParts;

SnlParts snl_parts_of(const SnlOp *op, size_t member);
/* First and last part that the token at `pos` sees positions of. */
void snl_parts_seen(SnlGen *g, LLVMValueRef pos, const SnlParts *p, LLVMValueRef *out_first,
                    LLVMValueRef *out_last);

#endif
