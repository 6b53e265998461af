/* runtime/crowd.h -- how many threads of a team find a processor beside other programs.
 *
 * Where other programs want the same processors, some thread of the team stands in the system's
 * queue while the others wait for it at a barrier, for milliseconds each time. A team of fewer
 * threads, each with a processor of its own, is faster. Looks at what the threads waited for
 * processors during jobs, in windows of at least 20 ms of jobs; a limit found is lifted for a
 * window now and then, since nothing else tells that the processors are free again. Reads no clock
 * itself. */
#ifndef SNLRT_CROWD_H
#define SNLRT_CROWD_H

#include <stdbool.h>
#include <stdint.h>

typedef struct SnlrtCrowd {
    int64_t limit;  /* of threads that run jobs; INT64_MAX: none */
    double seconds; /* of jobs since the last look */
    double waited;  /* as of the last look */
    double held;    /* how long the limit has held */
    double rest;    /* how long it is to hold; 0: the last window without a limit was quiet */
} SnlrtCrowd;

void snlrt_crowd_init(SnlrtCrowd *crowd);
/* A job for several threads took that long. true: it is time to look. */
bool snlrt_crowd_note(SnlrtCrowd *crowd, int64_t n_threads, double seconds);
/* Jobs ran on n_threads; the team's threads have waited for processors for `waited` seconds
 * together, ever. */
void snlrt_crowd_look(SnlrtCrowd *crowd, int64_t n_threads, double waited);

#endif
