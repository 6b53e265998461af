/* runtime/memory.h -- large zeroed regions. */
#ifndef SNLRT_MEMORY_H
#define SNLRT_MEMORY_H

#include "runtime/status.h"

#include <stddef.h>
#include <stdint.h>

/* Zeroed, 64-byte aligned, pages taken when first touched. `what` is for the message. nbytes may be
 * 0: *out is then some address that is not NULL. With AddressSanitizer the region comes from its
 * allocator, so that a store past its end is seen. */
SnlrtStatus snlrt_region_create(int64_t nbytes, const char *what, void **out, SnlrtError *err);
void snlrt_region_destroy(void *region, int64_t nbytes); /* NULL is fine */

#endif
