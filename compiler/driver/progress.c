/* compiler/driver/progress.c -- one line, redrawn when it changes. The cursor is left at its begin:
 * a message that comes meanwhile takes its place (ir/base/diag.h). */
#include "compiler/driver/progress.h"

#include "ir/base/diag.h"

#include <stdio.h>

enum { BAR_WIDTH = 40 };

SnlProgressBar snl_progress_bar(const char *label)
{
    SnlProgressBar bar = {label, -1, snl_can_wipe(stderr)};
    if (bar.enabled) fprintf(stderr, "%s ...\r", label);
    return bar;
}

void snl_progress_draw(void *user, int64_t done, int64_t total)
{
    SnlProgressBar *bar = user;
    if (!bar->enabled || total <= 0) return;
    int now = (int)((double)done / (double)total * 1000.0);
    if (now == bar->shown) return;
    bar->shown = now;
    char filled[BAR_WIDTH + 1];
    for (int i = 0; i < BAR_WIDTH; i++) filled[i] = i * 1000 < now * BAR_WIDTH ? '#' : '.';
    filled[BAR_WIDTH] = '\0';
    fprintf(stderr, "%s [%s] %3d %%\r", bar->label, filled, now / 10);
    fflush(stderr);
}

void snl_progress_end(SnlProgressBar *bar)
{
    if (bar->enabled) fputs(SNL_WIPE, stderr);
    bar->enabled = false;
}
