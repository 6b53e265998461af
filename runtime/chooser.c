/* runtime/chooser.c -- trials and what follows from them. */
#include "runtime/chooser.h"

#include <string.h>

/* Later trials have samples of a few milliseconds: a thread that shares its processor with another
 * program is fast until it is interrupted, which shorter ones would not see. */
static const double later_sample_seconds = 3e-3;
/* More threads that gain less than this only take the processors from others. */
static const double worth_more_threads = 0.98;
/* A first turn of the other number ends the trial where even the faster of its first two samples is
 * so many times slower than the middle one of the number in use. */
static const double clearly_slower = 1.25;
/* A turn on more threads that takes so many times that of the number in use is not waited for:
 * beside another program a second thread may be ten times slower. Fewer threads have no such
 * excuse, and one interruption must not decide. */
static const double hopeless = 2.0;
/* Of the time that trials may lose. */
static const double share_lost = 0.01;
static const int64_t max_steps_per_sample = 1000;
enum {
    SAMPLE_GROWTH = 8, /* of fast steps: what a first trial of microseconds says is soon checked */
    MIN_APART = 8,     /* trials, in lengths of the last one */
    MAX_APART = 1000   /* clocks may jump */
};

static int64_t steps_of(const SnlrtChooser *c, int64_t n_samples)
{
    return n_samples * c->steps_per_sample;
}

static int64_t turn_steps(const SnlrtChooser *c)
{
    return 1 + steps_of(c, SNLRT_TURN_SAMPLES);
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
    bool can_grow = c->chosen < c->n_max;
    bool can_shrink = c->chosen > 1;
    if (c->upwards ? !can_grow : !can_shrink) c->upwards = !c->upwards;
    c->other = c->upwards ? 2 * c->chosen : c->chosen / 2;
    if (c->other > c->n_max) c->other = c->n_max;
    c->on_trial = true;
    c->n_steps = c->n_other = 0;
    c->other_seconds = 0;
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
    return c->on_trial;
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

static double middle_of_3(const double *x)
{
    double low = x[0] < x[1] ? x[0] : x[1], high = x[0] < x[1] ? x[1] : x[0];
    return x[2] < low ? low : x[2] > high ? high : x[2];
}

/* After a step of the other number's first turn: is that enough of it? */
static bool is_slower(const SnlrtChooser *c)
{
    int64_t turn = (c->n_steps - 1) / turn_steps(c);
    int64_t n_samples = (c->n_steps - 1) % turn_steps(c) / c->steps_per_sample;
    const double *chosen = c->samples[0], *other = c->samples[1];
    if (turn != 1) return false;
    if (c->upwards && turn_sum(other) > hopeless * turn_sum(chosen)) return true;
    /* Fewer threads need no waking: their first step says as much as a sample. */
    double first = (c->other_seconds - turn_sum(other)) * (double)c->steps_per_sample;
    double second = c->upwards ? other[1] : first;
    return n_samples >= (c->upwards ? 2 : 1) &&
           (other[0] < second ? other[0] : second) > clearly_slower * middle_of_3(chosen);
}

/* What is in use, at `step` seconds a step, stays until the trial's loss is a small share. */
static void rest(SnlrtChooser *c, double step)
{
    double lost = c->other_seconds - (double)c->n_other * step;
    double apart = step > 0 ? lost / (share_lost * step) / (double)trial_steps(c) : 0;
    double n = step > 0 ? later_sample_seconds / step : (double)max_steps_per_sample;
    int64_t most = n < 1 ? 1 : n > (double)max_steps_per_sample ? max_steps_per_sample : (int64_t)n;
    apart = apart > MIN_APART ? apart : MIN_APART;
    c->n_between = (int64_t)(apart < MAX_APART ? apart : MAX_APART) * trial_steps(c);
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
        rest(c, (better ? other : chosen) / (double)steps_of(c, SNLRT_SIDE_SAMPLES - 2));
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
    if (turn % 2 == 1) c->other_seconds += seconds, c->n_other++;
    if (step > 0)
        c->samples[turn % 2][turn / 2 * SNLRT_TURN_SAMPLES + (step - 1) / c->steps_per_sample] +=
            seconds;
    if (is_slower(c))
        rest(c, turn_sum(c->samples[0]) / (double)steps_of(c, SNLRT_TURN_SAMPLES));
    else if (c->n_steps == trial_steps(c))
        end_trial(c);
}
