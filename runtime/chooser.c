/* runtime/chooser.c -- trials and what follows from them. */
#include "runtime/chooser.h"

#include <string.h>

/* Later trials have samples of a few milliseconds: a thread that shares its processor with another
 * program is fast until it is interrupted, which shorter ones would not see. */
static const double later_sample_seconds = 3e-3;
/* More threads that gain less than this only take the processors from others. */
static const double worth_more_threads = 0.98;
/* A turn that takes so many times that of the number in use is not waited for: beside another
 * program a second thread may be ten times slower, and trials are to take a few percent of the
 * time. */
static const double hopeless = 2.0;
static const int64_t max_steps_per_sample = 1000;
enum {
    SAMPLE_GROWTH = 8, /* of fast steps: what a first trial of microseconds says is soon checked */
    TRIALS_APART = 25  /* in lengths of the last trial */
};

static int64_t turn_steps(const SnlrtChooser *c)
{
    return 1 + SNLRT_TURN_SAMPLES * c->steps_per_sample;
}

static int64_t trial_steps(const SnlrtChooser *c)
{
    return SNLRT_TRIAL_TURNS * turn_steps(c);
}

static bool other_has_turn(const SnlrtChooser *c)
{
    return c->n_steps / turn_steps(c) % 2 == 1;
}

static void begin_trial(SnlrtChooser *c)
{
    bool can_grow = c->chosen < c->n_max, can_shrink = c->chosen > 1;
    if (c->upwards ? !can_grow : !can_shrink) c->upwards = !c->upwards;
    c->other = c->upwards ? 2 * c->chosen : c->chosen / 2;
    if (c->other > c->n_max) c->other = c->n_max;
    c->on_trial = true;
    c->n_steps = 0;
    memset(c->samples, 0, sizeof c->samples);
}

void snlrt_chooser_init(SnlrtChooser *chooser, int64_t n_max)
{
    *chooser = (SnlrtChooser){.n_max = n_max, .chosen = n_max, .steps_per_sample = 1};
    if (n_max > 1) begin_trial(chooser);
}

int64_t snlrt_chooser_threads(const SnlrtChooser *c)
{
    return c->on_trial && other_has_turn(c) ? c->other : c->chosen;
}

bool snlrt_chooser_listens(const SnlrtChooser *c)
{
    return c->on_trial && c->n_steps % turn_steps(c) > 0;
}

/* Without the fastest and the slowest sample: one interruption proves nothing. */
static double trimmed_sum(const double samples[SNLRT_SIDE_SAMPLES])
{
    double sum = 0, min = samples[0], max = samples[0];
    for (int i = 0; i < SNLRT_SIDE_SAMPLES; i++) {
        sum += samples[i];
        if (samples[i] < min) min = samples[i];
        if (samples[i] > max) max = samples[i];
    }
    return sum - min - max;
}

/* Of one side's samples of a turn. */
static double turn_sum(const double *samples)
{
    double sum = 0;
    for (int i = 0; i < SNLRT_TURN_SAMPLES; i++) sum += samples[i];
    return sum;
}

static bool is_hopeless(const SnlrtChooser *c)
{
    int64_t turn = (c->n_steps - 1) / turn_steps(c), first = turn / 2 * SNLRT_TURN_SAMPLES;
    return turn % 2 == 1 &&
           turn_sum(&c->samples[1][first]) > hopeless * turn_sum(&c->samples[0][first]);
}

/* What is in use stays for a while; a sample of it took `seconds`. */
static void rest(SnlrtChooser *c, double seconds)
{
    double step = seconds / (double)c->steps_per_sample;
    double n = step > 0 ? later_sample_seconds / step : (double)max_steps_per_sample;
    int64_t most = n < 1                               ? 1
                   : n > (double)max_steps_per_sample ? max_steps_per_sample
                                                       : (int64_t)n;
    c->n_between = TRIALS_APART * trial_steps(c);
    c->steps_per_sample *= SAMPLE_GROWTH;
    if (c->steps_per_sample > most) c->steps_per_sample = most;
    c->on_trial = false;
    c->n_steps = 0;
    c->upwards = !c->upwards;
}

static void end_trial(SnlrtChooser *c)
{
    double chosen = trimmed_sum(c->samples[0]), other = trimmed_sum(c->samples[1]);
    bool better = other < chosen * (c->upwards ? worth_more_threads : 1.0);
    if (better) c->chosen = c->other;
    if (better && (c->upwards ? c->chosen < c->n_max : c->chosen > 1))
        begin_trial(c);
    else
        rest(c, (better ? other : chosen) / (double)(SNLRT_SIDE_SAMPLES - 2));
}

void snlrt_chooser_note(SnlrtChooser *c, double seconds)
{
    if (c->n_max == 1) return;
    int64_t at = c->n_steps++;
    if (!c->on_trial) {
        if (c->n_steps >= c->n_between) begin_trial(c);
        return;
    }
    int64_t turn = at / turn_steps(c), step = at % turn_steps(c);
    if (step > 0)
        c->samples[turn % 2][turn / 2 * SNLRT_TURN_SAMPLES + (step - 1) / c->steps_per_sample] +=
            seconds;
    if (is_hopeless(c))
        rest(c, turn_sum(c->samples[0]) / (double)SNLRT_TURN_SAMPLES);
    else if (c->n_steps == trial_steps(c))
        end_trial(c);
}
