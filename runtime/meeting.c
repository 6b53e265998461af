/* runtime/meeting.c -- dissemination over signal words. */
#include "runtime/meeting.h"

#include <stdlib.h>
#include <string.h>

static int64_t rounds_of(int64_t n)
{
    int64_t rounds = 0;
    while (((int64_t)1 << rounds) < n) rounds++;
    return rounds;
}

SnlrtStatus snlrt_meeting_init(SnlrtMeetingPlace *place, int64_t max_members, SnlrtError *err)
{
    *place = (SnlrtMeetingPlace){.n_words = rounds_of(max_members)};
    if (!place->n_words) return SNLRT_OK;
    place->fence = snlrt_signal_fence();
    size_t nbytes = (size_t)(max_members * place->n_words) * sizeof *place->words;
    place->words = aligned_alloc(_Alignof(SnlrtSignalWord), nbytes);
    if (!place->words)
        return snlrt_fail(err, SNLRT_MACHINE, "out of memory for %lld threads",
                          (long long)max_members);
    memset(place->words, 0, nbytes);
    return SNLRT_OK;
}

void snlrt_meeting_deinit(SnlrtMeetingPlace *place)
{
    free(place->words);
    place->words = NULL;
}

void snlrt_meet(SnlrtMeetingPlace *place, int64_t n, int64_t member, uint32_t meeting)
{
    SnlrtSignalWord *own = place->words + member * place->n_words;
    for (int64_t distance = 1, r = 0; distance < n; distance *= 2, r++) {
        int64_t from = member < distance ? member - distance + n : member - distance;
        snlrt_signal_raise(own + r, meeting, place->fence);
        snlrt_signal_wait(place->words + from * place->n_words + r, meeting, SNLRT_ROUNDS_MEETING,
                          place->fence);
    }
}

/* Words that smaller meetings leave alone fall behind, and numbers are only compared within half
 * their range. */
void snlrt_meeting_grow(SnlrtMeetingPlace *place, int64_t n_old, int64_t n_new, uint32_t meeting)
{
    for (int64_t t = 0; t < n_new; t++)
        for (int64_t r = t < n_old ? rounds_of(n_old) : 0; r < place->n_words; r++)
            atomic_store_explicit(&place->words[t * place->n_words + r].value, meeting,
                                  memory_order_relaxed);
}
