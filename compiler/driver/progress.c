/* compiler/driver/progress.c -- one line, redrawn when it changes. */
#include "compiler/driver/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BAR_WIDTH = 40 };

SnlProgressBar snl_progress_bar(const char *label)
{
    const char *term = getenv("TERM");
    bool capable = term && strcmp(term, "dumb") != 0;
    return (SnlProgressBar){label, -1, capable && isatty(STDERR_FILENO)};
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
    fprintf(stderr, "\r%s [%s] %3d %%", bar->label, filled, now / 10);
    fflush(stderr);
}

void snl_progress_begin(SnlProgressBar *bar)
{
    snl_progress_draw(bar, 0, 1);
}

void snl_progress_end(SnlProgressBar *bar)
{
    if (bar->enabled && bar->shown >= 0) fputs("\r\033[K", stderr);
    bar->shown = -1;
}
