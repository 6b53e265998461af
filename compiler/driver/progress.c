/* compiler/driver/progress.c -- one line, redrawn when it changes. The cursor is left at its begin:
 * a message that comes meanwhile takes its place (ir/base/diag.h). */
#include "compiler/driver/progress.h"

#include "ir/base/diag.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR_WIDTH = 40, AROUND = 10 /* " [", "] 100 %", the cursor */ };

/* Of the bar, so that the line is not longer than the terminal is wide; 0: the label must do. */
static int bar_width(const char *label)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return BAR_WIDTH;
    int room = size.ws_col - (int)strlen(label) - AROUND;
    return room < 0 ? 0 : room < BAR_WIDTH ? room : BAR_WIDTH;
}

SnlProgressBar snl_progress_bar(const char *label)
{
    SnlProgressBar bar = {label, bar_width(label), -1, snl_can_wipe(stderr)};
    if (bar.enabled) fprintf(stderr, "%s ...\r", label);
    return bar;
}

void snl_progress_draw(void *user, int64_t done, int64_t total)
{
    SnlProgressBar *bar = user;
    if (!bar->enabled || !bar->width || total <= 0) return;
    int now = (int)((double)done / (double)total * 1000.0);
    if (now == bar->shown) return;
    bar->shown = now;
    char filled[BAR_WIDTH + 1];
    for (int i = 0; i < bar->width; i++) filled[i] = i * 1000 < now * bar->width ? '#' : '.';
    filled[bar->width] = '\0';
    fprintf(stderr, "%s [%s] %3d %%\r", bar->label, filled, now / 10);
    fflush(stderr);
}

void snl_progress_end(SnlProgressBar *bar)
{
    if (bar->enabled) fputs(SNL_WIPE, stderr);
    bar->enabled = false;
}
