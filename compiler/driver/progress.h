/* compiler/driver/progress.h -- a line on stderr that says what takes so long, and how far it has
 * come where that is known; silent without a terminal. */
#ifndef SNL_DRIVER_PROGRESS_H
#define SNL_DRIVER_PROGRESS_H

#include "ir/base/progress.h"

#include <stdbool.h>

typedef struct SnlProgressBar {
    const char *label;
    int width; /* of the bar alone */
    int shown; /* tenths of a percent last drawn; -1: nothing yet */
    bool enabled;
} SnlProgressBar;

/* Shows the label. */
SnlProgressBar snl_progress_bar(const char *label);
/* A SnlProgress; user is the SnlProgressBar. */
void snl_progress_draw(void *user, int64_t done, int64_t total);
/* Wipes the line. */
void snl_progress_end(SnlProgressBar *bar);

#endif
