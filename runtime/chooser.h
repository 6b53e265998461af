/* runtime/chooser.h -- how many threads decode fastest, found out while decoding.
 *
 * Steps give the same bits on every number of threads, so each may use another one. A trial of 16
 * steps takes the number in use and another one in turns, and the faster stays: at first half of
 * all, after a success half of that, and so on. From then on longer trials ask again, down and up
 * in turn: what the first ones found in microseconds may be wrong, and the load of the machine
 * changes. A trial ends early where the other number is clearly slower, and the next one comes when
 * what this one lost is a few percent of the time. Reads no clock itself. */
#ifndef SNLRT_CHOOSER_H
#define SNLRT_CHOOSER_H

#include <stdbool.h>
#include <stdint.h>

/* A trial is four turns: each number of threads has two. A turn is one step that does not count
 * (threads wake, caches fill) and some samples of `steps_per_sample` steps. */
enum { SNLRT_TRIAL_TURNS = 4, SNLRT_TURN_SAMPLES = 3, SNLRT_SIDE_SAMPLES = 6 };

typedef struct SnlrtChooser {
    int64_t n_max, chosen, other;
    bool on_trial, upwards; /* `upwards`: other is more than chosen */
    double other_seconds;   /* of all steps on the other number in this trial */
    int64_t n_other;        /* how many they were */
    int64_t n_steps;        /* of this trial, or since the last */
    int64_t n_between;      /* steps from one trial to the next */
    int64_t steps_per_sample;
    double samples[2][SNLRT_SIDE_SAMPLES]; /* seconds: chosen, other */
} SnlrtChooser;

/* n_max >= 1: the threads there are. */
void snlrt_chooser_init(SnlrtChooser *chooser, int64_t n_max);
/* Threads for the next step. */
int64_t snlrt_chooser_threads(const SnlrtChooser *chooser);
/* Does the time of the next step matter? */
bool snlrt_chooser_listens(const SnlrtChooser *chooser);
/* One more step was done, on snlrt_chooser_threads; `seconds` only matters to one that listens. */
void snlrt_chooser_note(SnlrtChooser *chooser, double seconds);

#endif
