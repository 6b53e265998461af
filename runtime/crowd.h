/* runtime/crowd.h -- how many threads of a team find a processor beside other programs.
 *
 * Where other programs want the same processors, some thread of the team stands in the system's
 * queue while the others wait for it at a barrier, for milliseconds each time. A team of fewer
 * threads, each with a processor of its own, is faster. Two things tell:
 *   - how many threads of the machine are running. Looked at before the first job and every
 *     millisecond of the first ones, since short runs are over before anything else is known. Two
 *     looks in a row limit, for what starts or ends beside this program is soon gone; one that
 *     finds a processor free ends a limit that nothing else speaks for.
 *   - what the team's threads waited for processors during jobs, in windows of at least 20 ms of
 *     jobs. This is what counts in the end: a program that runs need not be in the way.
 * A limit is lifted for a window now and then, and where the machine says how many threads run, as
 * soon as processors are free. Reads no clock itself. */
#ifndef SNLRT_CROWD_H
#define SNLRT_CROWD_H

#include <stdbool.h>
#include <stdint.h>

/* Where it is unknown how many processors nobody else wants. */
enum { SNLRT_FREE_UNKNOWN = 0 };

typedef struct SnlrtCrowd {
    int64_t limit;  /* of threads that run jobs; INT64_MAX: none */
    double seconds; /* of jobs since the last look */
    double waited;  /* as of the last look */
    double held;    /* how long the limit has held */
    double rest;    /* how long it is to hold; 0: the last window without a limit was quiet */
    double age;     /* seconds of jobs ever, while glances are frequent */
    double unseen;  /* seconds of jobs since the last glance */
    int n_against;  /* glances in a row that speak against the limit, or against none */
    bool guessed;   /* the limit is what glances say, and nothing else yet */
} SnlrtCrowd;

/* Of a team of n_threads, where others leave n_free processors right now; `loaded`: they have left
 * no more for a while. */
void snlrt_crowd_init(SnlrtCrowd *crowd, int64_t n_threads, int64_t n_free, bool loaded);
/* Are glances frequent? Then the seconds of jobs should be exact. */
bool snlrt_crowd_is_young(const SnlrtCrowd *crowd);
/* A job took that long. true: it is time for a glance. */
bool snlrt_crowd_wonders(SnlrtCrowd *crowd, double seconds);
void snlrt_crowd_glance(SnlrtCrowd *crowd, int64_t n_threads, int64_t n_free);
/* A job of a team of n_threads took that long. true: it is time to look. */
bool snlrt_crowd_note(SnlrtCrowd *crowd, int64_t n_threads, double seconds);
/* Jobs ran on n_carriers threads of the team; all of its threads have waited for processors for
 * `waited` seconds together, ever. */
void snlrt_crowd_look(SnlrtCrowd *crowd, int64_t n_threads, int64_t n_carriers, double waited,
                      int64_t n_free);

#endif
