/* runtime/meeting.h -- where threads wait for each other: a dissemination barrier.
 *
 * In round r member t raises its word r and waits for word r of member t - 2^r. After ceil(log2 n)
 * rounds everyone has, directly or through others, heard from everyone. Two members need one round:
 * each writes one line and reads the other's, which is as fast as two cores can exchange anything.
 * Words count meetings and are never reset. */
#ifndef SNLRT_MEETING_H
#define SNLRT_MEETING_H

#include "runtime/signal_word.h"
#include "runtime/status.h"

typedef struct SnlrtMeetingPlace {
    int64_t n_words; /* of one member: rounds of the largest meeting */
    SnlrtFence fence;
    SnlrtSignalWord *words; /* [members][n_words] */
} SnlrtMeetingPlace;

/* For meetings of up to max_members. */
SnlrtStatus snlrt_meeting_init(SnlrtMeetingPlace *place, int64_t max_members, SnlrtError *err);
void snlrt_meeting_deinit(SnlrtMeetingPlace *place); /* fine on a zeroed one */

/* Returns when all n members have come to meeting number `meeting`. Every member counts meetings
 * for itself, from 1. */
void snlrt_meet(SnlrtMeetingPlace *place, int64_t n, int64_t member, uint32_t meeting);

/* Before meetings of more members than the last one, number `meeting`: n_new after n_old. Called by
 * one member; the new ones must not come before they see what it wrote. */
void snlrt_meeting_grow(SnlrtMeetingPlace *place, int64_t n_old, int64_t n_new, uint32_t meeting);

#endif
