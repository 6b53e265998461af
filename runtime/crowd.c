/* runtime/crowd.c -- windows, and what follows from the waits of one. */
#include "runtime/crowd.h"

/* A program that runs all the time is interrupted, and interrupts, every few milliseconds. */
static const double window_seconds = 20e-3;
/* Asking for the waits of a thread takes some microseconds. */
static const double window_seconds_per_thread = 1e-3;
/* One other program that never rests takes half of a processor from the thread that shares it. */
static const double processor_lost = 0.35;
static const double first_rest = 40e-3, longest_rest = 2.0;

void snlrt_crowd_init(SnlrtCrowd *crowd)
{
    *crowd = (SnlrtCrowd){.limit = INT64_MAX};
}

bool snlrt_crowd_note(SnlrtCrowd *c, int64_t n_threads, double seconds)
{
    c->seconds += seconds;
    return c->seconds >= window_seconds + window_seconds_per_thread * (double)n_threads;
}

static void limit_to(SnlrtCrowd *c, int64_t n_threads)
{
    c->limit = n_threads > 1 ? n_threads : 1;
    c->held = 0;
    c->rest = c->rest > 0 ? 2 * c->rest : first_rest;
    if (c->rest > longest_rest) c->rest = longest_rest;
}

void snlrt_crowd_look(SnlrtCrowd *c, int64_t n_threads, double waited)
{
    double lost = (waited - c->waited) / c->seconds + 1 - processor_lost;
    if (n_threads > 1 && lost >= 1) {
        limit_to(c, lost < (double)n_threads ? n_threads - (int64_t)lost : 1);
    } else if (c->limit == INT64_MAX) {
        c->rest = 0;
    } else {
        c->held += c->seconds;
        if (c->held >= c->rest) c->limit = INT64_MAX;
    }
    c->waited = waited;
    c->seconds = 0;
}
