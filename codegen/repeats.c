/* codegen/repeats.c -- finds what repeats in a list of calls and makes loops of it.
 *
 *     A B | A B | A B C          ->   3 x (A B)  C
 *
 * Short periods first, so that the members of an op are a loop before its layer is, and layers
 * before sweeps. Loops of the same body have the same shape whatever their counts, so sweeps over
 * fewer and fewer units (K = exact) are still one sequence repeated. */
#include "codegen/calls.h"

#include <string.h>

/* A loop in place of fewer calls than this makes the code longer. */
enum { MIN_CALLS_SAVED = 2 };

static bool same_shapes(const SnlItem *a, const SnlItem *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i].shape != b[i].shape) return false;
    return true;
}

static uint32_t loop_shape(SnlCalls *calls, const SnlItem *items, size_t period)
{
    uint32_t *body = SNL_NEW_ARRAY(calls->arena, uint32_t, period);
    for (size_t i = 0; i < period; i++) body[i] = items[i].shape;
    for (size_t i = 0; i < calls->shapes.n; i++) {
        const SnlShape *s = &calls->shapes.at[i];
        if (s->body && s->period == period && memcmp(s->body, body, period * sizeof *body) == 0)
            return (uint32_t)i;
    }
    SnlShape shape = {.body = body, .period = period};
    SNL_PUSH(calls->arena, &calls->shapes, shape);
    return (uint32_t)(calls->shapes.n - 1);
}

static size_t count_rounds(const SnlItem *items, size_t n, size_t period)
{
    size_t count = 1;
    while ((count + 1) * period <= n && same_shapes(items, items + count * period, period)) count++;
    return count;
}

static SnlItem loop_of(SnlCalls *calls, const SnlItem *items, size_t period, size_t count)
{
    SnlItem *body = SNL_NEW_ARRAY(calls->arena, SnlItem, period * count);
    memcpy(body, items, period * count * sizeof *body);
    return (SnlItem){
        .shape = loop_shape(calls, items, period), .body = body, .period = period, .count = count};
}

static bool fold_period(SnlCalls *calls, size_t period)
{
    SnlItem *items = calls->items.at;
    size_t n = calls->items.n, kept = 0;
    for (size_t i = 0; i < n;) {
        size_t count = count_rounds(items + i, n - i, period);
        bool loop = (count - 1) * period >= MIN_CALLS_SAVED;
        SnlItem item = loop ? loop_of(calls, items + i, period, count) : items[i];
        i += loop ? period * count : 1;
        items[kept++] = item;
    }
    calls->items.n = kept;
    return kept < n;
}

void snl_calls_fold(SnlCalls *calls)
{
    bool again = true;
    while (again) {
        again = false;
        for (size_t period = 1; period <= calls->items.n / 2; period++)
            again = fold_period(calls, period) || again;
    }
}
