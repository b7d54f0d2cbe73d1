/* SPDX-License-Identifier: Apache-2.0 */
#include "breaker.h"

/* It is open twice as long after each probe that failed, but not above so many times the first. */
#define LONGEST 12

static uint64_t open_for(const struct breaker *breaker, const struct breaker_terms *terms)
{
	uint64_t times = breaker->opened > 4 ? LONGEST : 1ull << (breaker->opened - 1);

	return terms->open_ns * (times < LONGEST ? times : LONGEST);
}

static void trip(struct breaker *breaker, const struct breaker_terms *terms, uint64_t now_ns)
{
	breaker->opened++;
	breaker->state = BREAKER_OPEN;
	breaker->until_ns = now_ns + open_for(breaker, terms);
}

static void forget(struct breaker *breaker, uint64_t now_ns)
{
	*breaker = (struct breaker){.half_ns = now_ns};
}

/* The window moves on by halves. */
static void turn(struct breaker *breaker, const struct breaker_terms *terms, uint64_t now_ns)
{
	uint64_t half = terms->window_ns / 2;

	/* below 0: somebody who came later was here before */
	if ((int64_t)(now_ns - breaker->half_ns) < (int64_t)half)
		return;
	bool next = now_ns - breaker->half_ns < 2 * half;

	breaker->good[1] = next ? breaker->good[0] : 0;
	breaker->bad[1] = next ? breaker->bad[0] : 0;
	breaker->good[0] = breaker->bad[0] = 0;
	breaker->half_ns = now_ns;
}

bool breaker_look(const struct breaker *breaker, const struct breaker_terms *terms, uint64_t now_ns,
		  uint64_t *wait_ns)
{
	if (breaker->state == BREAKER_OPEN && now_ns < breaker->until_ns) {
		*wait_ns = breaker->until_ns - now_ns;
		return false;
	}
	if (breaker->state == BREAKER_PROBING) {
		/* nobody knows how long the probe takes */
		*wait_ns = terms->open_ns / 5;
		return false;
	}
	return true;
}

bool breaker_pass(struct breaker *breaker, const struct breaker_terms *terms, uint64_t now_ns,
		  bool *probe, uint64_t *wait_ns)
{
	if (!breaker_look(breaker, terms, now_ns, wait_ns))
		return false;
	*probe = breaker->state == BREAKER_OPEN;
	if (*probe)
		breaker->state = BREAKER_PROBING;
	return true;
}

static void tell_probe(struct breaker *breaker, const struct breaker_terms *terms, uint64_t now_ns,
		       enum breaker_news news)
{
	switch (news) {
	case BREAKER_GOOD:
		forget(breaker, now_ns);
		break;
	case BREAKER_BAD:
		trip(breaker, terms, now_ns);
		break;
	case BREAKER_NOTHING:
		/* the next one may try */
		breaker->state = BREAKER_OPEN;
		breaker->until_ns = now_ns;
		break;
	}
}

void breaker_tell(struct breaker *breaker, const struct breaker_terms *terms, uint64_t now_ns,
		  bool probe, enum breaker_news news)
{
	if (probe) {
		tell_probe(breaker, terms, now_ns, news);
		return;
	}
	/* what began before it opened has no say any more */
	if (breaker->state != BREAKER_CLOSED || news == BREAKER_NOTHING)
		return;
	turn(breaker, terms, now_ns);
	if (news == BREAKER_GOOD)
		breaker->good[0]++;
	else
		breaker->bad[0]++;

	uint64_t bad = (uint64_t)breaker->bad[0] + breaker->bad[1];
	uint64_t all = bad + breaker->good[0] + breaker->good[1];

	if (news == BREAKER_BAD && all >= terms->least && bad * 100 >= all * terms->percent)
		trip(breaker, terms, now_ns);
}
