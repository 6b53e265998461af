/* runtime/reader.h -- reads memory as fast as this processor can: what decode is measured against
 * (runtime/bench.c, tests/bench/limits.c). */
#ifndef SNLRT_READER_H
#define SNLRT_READER_H

#include <stdint.h>

enum { SNLRT_READER_ALIGN = 64, SNLRT_READER_STEP = 8 * SNLRT_READER_ALIGN };

/* The sum of n bytes' 64-bit words, read in 8 streams of 64-byte loads. `bytes` is a multiple of
 * SNLRT_READER_ALIGN, n of SNLRT_READER_STEP. */
uint64_t snlrt_read_streams(const void *bytes, int64_t n);

#endif
