/* runtime/manifest.h -- the list of packed weights at the end of the payload (JSON text).
 *
 *     {"payload_id": "...", "weights": [{"name": "l0.wq", "offset": 0, "bytes": 16384,
 *       "xxh3": "0123456789abcdef", ...}, ...]}
 *
 * Keys that are not named here are skipped. Library form; the text may be anything: it is read
 * within its bounds, and what is not such a list is refused. */
#ifndef SNLRT_MANIFEST_H
#define SNLRT_MANIFEST_H

#include "runtime/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct SnlrtManifest {
    const char *text, *at, *end;
    bool begun;
} SnlrtManifest;

typedef struct SnlrtManifestWeight {
    char name[128]; /* cut when longer */
    uint64_t offset, nbytes, hash;
} SnlrtManifestWeight;

/* Stands before the first weight. */
SnlrtStatus snlrt_manifest_open(const char *text, size_t nbytes, SnlrtManifest *out,
                                SnlrtError *err);
/* *out_more false: there was none left. */
SnlrtStatus snlrt_manifest_next(SnlrtManifest *manifest, SnlrtManifestWeight *out, bool *out_more,
                                SnlrtError *err);

#endif
