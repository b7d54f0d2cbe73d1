/* SPDX-License-Identifier: Apache-2.0 */
#include "watch.h"

__extension__ typedef unsigned __int128 watch_wide; /* ticks times 10^9 */

static int64_t span_ahead(const struct watch_sample *from, const struct watch_sample *to)
{
	return (int64_t)((to->clock_ns - from->clock_ns) - (to->monotonic_ns - from->monotonic_ns));
}

static uint64_t span_hz(const struct watch_sample *from, const struct watch_sample *to,
			uint64_t otherwise)
{
	uint64_t ns = to->monotonic_ns - from->monotonic_ns;
	uint64_t ticks = to->ticks - from->ticks;

	if (ns < 1000000 || (int64_t)ticks <= 0)
		return otherwise;
	return (uint64_t)(((watch_wide)ticks * 1000000000u + ns / 2) / ns);
}

static uint64_t magnitude(int64_t value)
{
	return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

/* What the machine slept, less what the segment's clock counted of it (a TSC may go on). */
static uint64_t missed_ns(const struct watch_sample *from, const struct watch_sample *to)
{
	int64_t missed =
		(int64_t)((to->boottime_ns - from->boottime_ns) - (to->clock_ns - from->clock_ns));

	return missed > 0 ? (uint64_t)missed : 0;
}

void watch_step(struct watch *watch, const struct watch_sample *now, uint64_t hz,
		struct watch_verdict *out)
{
	struct watch_sample before = watch->last;
	int64_t slept, sudden;

	*out = (struct watch_verdict){.hz = hz};
	watch->last = *now;
	if (!watch->begun) {
		watch->span = watch->origin = *now;
		watch->begun = true;
		return;
	}
	slept = (int64_t)((now->boottime_ns - before.boottime_ns) -
			  (now->monotonic_ns - before.monotonic_ns));
	if (slept > WATCH_SUSPEND_NS) {
		out->rebase = out->suspended = true;
		out->slept_ns = missed_ns(&before, now);
		return;
	}
	out->drift_ns = span_ahead(&watch->origin, now);
	if (magnitude(out->drift_ns) <= WATCH_DRIFT_NS)
		return;
	/* all of it since the last look: the ticks themselves changed (a migrated machine), and
	 * the long span says nothing about now */
	sudden = span_ahead(&before, now);
	if (magnitude(sudden) > WATCH_DRIFT_NS)
		watch->span = before;
	out->rebase = true;
	out->hz = span_hz(&watch->span, now, hz);
}

void watch_rebased(struct watch *watch, const struct watch_sample *now, bool suspended)
{
	watch->origin = watch->last = *now;
	if (suspended)
		watch->span = *now;
}
