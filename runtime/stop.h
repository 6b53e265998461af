/* runtime/stop.h -- text on its way out, cut before the first stop text.
 *
 * A stop text may begin in one token and end in another, so what could be the beginning of one is
 * held back until that is known. Library form. */
#ifndef SNLRT_STOP_H
#define SNLRT_STOP_H

#include "runtime/status.h"
#include "runtime/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct SnlrtStopper {
    const char *const *stops; /* [n_stops], none empty; must outlive the stopper */
    size_t n_stops;
    SnlrtText held;
    bool stopped; /* a stop text came; everything after it is dropped */
} SnlrtStopper;

void snlrt_stopper_init(SnlrtStopper *stopper, const char *const *stops, size_t n_stops);
void snlrt_stopper_deinit(SnlrtStopper *stopper);
/* Takes text and appends to `out` what may be shown. */
SnlrtStatus snlrt_stopper_push(SnlrtStopper *stopper, const char *text, size_t nbytes,
                               SnlrtText *out, SnlrtError *err);
/* No more comes: appends what was held back. */
SnlrtStatus snlrt_stopper_finish(SnlrtStopper *stopper, SnlrtText *out, SnlrtError *err);

/* Appends bytes to a growing text. */
SnlrtStatus snlrt_bytes_append(SnlrtText *text, const char *bytes, size_t nbytes, SnlrtError *err);

#endif
