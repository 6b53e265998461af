/* ir/base/progress.h -- how far a long work has come, for whoever wants to show it. */
#ifndef SNL_BASE_PROGRESS_H
#define SNL_BASE_PROGRESS_H

#include <stdint.h>

/* Called now and then: `done` of `total` are done, in the work's own unit (bytes of weights,
 * passes). Whoever does the work takes NULL, too. */
typedef void SnlProgress(void *user, int64_t done, int64_t total);

#endif
