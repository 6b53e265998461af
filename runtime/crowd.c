/* runtime/crowd.c -- glances and windows, and what follows from them. */
#include "runtime/crowd.h"

/* How long glances are frequent: until the first window is full. One costs 5 us. */
static const double young_seconds = 20e-3, glance_seconds = 1e-3;
/* What glances alone say holds for so long; then a window is to confirm it. */
static const double guessed_rest = 80e-3;
enum { GLANCES_TO_DECIDE = 2 };

/* A program that runs all the time is interrupted, and interrupts, every few milliseconds. */
static const double window_seconds = 20e-3;
/* Asking for the waits of a thread takes some microseconds. */
static const double window_seconds_per_thread = 1e-3;
/* One other program that never rests takes half of a processor from the thread that shares it. */
static const double processor_lost = 0.35;
static const double first_rest = 40e-3, longest_rest = 2.0;

static bool is_crowded(int64_t n_threads, int64_t n_free)
{
    return n_free != SNLRT_FREE_UNKNOWN && n_free < n_threads;
}

static void lift_limit(SnlrtCrowd *c)
{
    c->limit = INT64_MAX;
    c->n_against = 0;
    c->guessed = false;
}

void snlrt_crowd_init(SnlrtCrowd *crowd, int64_t n_threads, int64_t n_free, bool loaded)
{
    *crowd = (SnlrtCrowd){.limit = INT64_MAX, .n_against = loaded};
    snlrt_crowd_glance(crowd, n_threads, n_free);
    crowd->unseen = glance_seconds; /* whatever was seen: again after the first job */
}

bool snlrt_crowd_is_young(const SnlrtCrowd *c)
{
    return c->age < young_seconds;
}

bool snlrt_crowd_wonders(SnlrtCrowd *c, double seconds)
{
    if (!snlrt_crowd_is_young(c)) return false;
    c->age += seconds;
    c->unseen += seconds;
    return c->unseen >= glance_seconds;
}

void snlrt_crowd_glance(SnlrtCrowd *c, int64_t n_threads, int64_t n_free)
{
    bool crowded = is_crowded(n_threads, n_free), limited = c->limit != INT64_MAX;
    c->unseen = 0;
    c->n_against = crowded == limited || n_free == SNLRT_FREE_UNKNOWN ? 0 : c->n_against + 1;
    if (c->n_against < (c->guessed ? 1 : GLANCES_TO_DECIDE)) return;
    lift_limit(c);
    if (!crowded) return;
    c->limit = n_free;
    c->held = 0;
    c->rest = guessed_rest;
    c->guessed = true;
}

bool snlrt_crowd_note(SnlrtCrowd *c, int64_t n_threads, double seconds)
{
    c->seconds += seconds;
    return c->seconds >= window_seconds + window_seconds_per_thread * (double)n_threads;
}

/* Where the machine says that others go on, and so will say when they end, there is no need to try
 * soon. */
static void limit_to(SnlrtCrowd *c, int64_t n_threads, bool crowded)
{
    lift_limit(c);
    c->limit = n_threads > 1 ? n_threads : 1;
    c->held = 0;
    c->rest = c->rest > 0 ? 2 * c->rest : first_rest;
    if (crowded || c->rest > longest_rest) c->rest = longest_rest;
}

void snlrt_crowd_look(SnlrtCrowd *c, int64_t n_threads, int64_t n_carriers, double waited,
                      int64_t n_free)
{
    double lost = (waited - c->waited) / c->seconds + 1 - processor_lost;
    if (n_carriers > 1 && lost >= 1) {
        limit_to(c, lost < (double)n_carriers ? n_carriers - (int64_t)lost : 1,
                 is_crowded(n_threads, n_free));
    } else if (c->limit == INT64_MAX) {
        c->rest = 0;
    } else {
        c->held += c->seconds;
        snlrt_crowd_glance(c, n_threads, n_free);
        if (c->held >= c->rest) lift_limit(c);
    }
    c->waited = waited;
    c->seconds = 0;
}
