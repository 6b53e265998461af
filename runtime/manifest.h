/* runtime/manifest.h -- the list of packed weights at the end of the payload (JSON text).
 *
 *     {"payload_id": "...", "weights": [{"name": "l0.wq", "offset": 0, "bytes": 16384,
 *       "xxh3": "0123456789abcdef", "format": "f32", "layout": "panels", "rows": 64, "cols": 64},
 *       ...]}
 *
 * The last four are for the payload's id (runtime/abi.h) and may be missing. Keys that are not
 * named here are skipped. Library form; the text may be anything: it is read within its bounds, and
 * what is not such a list is refused. */
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
    char name[256]; /* cut when longer: no weight of snlpc has such a name */
    char format[16], layout[16];
    uint64_t offset, nbytes, rows, cols, hash;
} SnlrtManifestWeight;

/* Stands before the first weight. */
SnlrtStatus snlrt_manifest_open(const char *text, size_t nbytes, SnlrtManifest *out,
                                SnlrtError *err);
/* *out_more false: there was none left. */
SnlrtStatus snlrt_manifest_next(SnlrtManifest *manifest, SnlrtManifestWeight *out, bool *out_more,
                                SnlrtError *err);

#endif
