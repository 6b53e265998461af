/* The list of weights at the end of a program: any bytes are read or refused, within their bounds.
 */
#include "runtime/manifest.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SnlrtManifest manifest;
    SnlrtManifestWeight weight;
    SnlrtError err;
    bool more = true;
    SnlrtStatus status = snlrt_manifest_open((const char *)data, size, &manifest, &err);
    for (size_t n = 0; status == SNLRT_OK && more; n++) {
        if (n > size) abort(); /* every weight takes bytes */
        status = snlrt_manifest_next(&manifest, &weight, &more, &err);
    }
    return 0;
}
