/* SPDX-License-Identifier: Apache-2.0 */
#include "timeline.h"

#include <string.h>

#define NS_PER_S 1000000000ull
#define DAY_S 86400

/* Each goes into the next one. */
static const uint32_t lengths_s[] = {
	1,	    5,		10,	     30,	  60,		300,   600,
	1800,	    3600,	7200,	     21600,	  43200,	DAY_S, 7 * DAY_S,
	14 * DAY_S, 28 * DAY_S, 168 * DAY_S, 336 * DAY_S, 3360 * DAY_S,
};

uint64_t timeline_length_ns(const struct timeline *timeline)
{
	return lengths_s[timeline->step] * NS_PER_S;
}

uint64_t timeline_begin_ns(const struct timeline *timeline, unsigned span)
{
	return (timeline->first + span) * timeline_length_ns(timeline);
}

/* Puts spans together, by the next length. */
static void widen(struct timeline *timeline)
{
	struct timeline old = *timeline;
	uint64_t factor = lengths_s[old.step + 1] / lengths_s[old.step];

	memset(timeline->spans, 0, sizeof(timeline->spans));
	timeline->step++;
	timeline->first = old.first / factor;
	for (unsigned i = 0; i < old.count; i++) {
		uint64_t at = (old.first + i) / factor - timeline->first;

		timeline->spans[at].admitted += old.spans[i].admitted;
		timeline->spans[at].refused += old.spans[i].refused;
		timeline->count = (unsigned)at + 1;
	}
}

void timeline_add(struct timeline *timeline, uint64_t time_ns, bool admitted)
{
	uint64_t at = time_ns / timeline_length_ns(timeline);

	if (timeline->count == 0)
		timeline->first = at;
	/* the longest length has room for all times from 1970 to 2100 */
	while (at - timeline->first >= TIMELINE_MOST) {
		widen(timeline);
		at = time_ns / timeline_length_ns(timeline);
	}
	timeline->count = (unsigned)(at - timeline->first) + 1;
	if (admitted)
		timeline->spans[at - timeline->first].admitted++;
	else
		timeline->spans[at - timeline->first].refused++;
}
