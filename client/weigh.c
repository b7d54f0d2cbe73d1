/* SPDX-License-Identifier: Apache-2.0
 *
 * weigh.c - what the shadow limit beside a rule's own says of a call that was decided.
 */
#include "handle.h"

#include "class.h"
#include "shadow.h"

/* The same bucket arithmetic as acquire.c, by the other line and the other mark. */
int32_t weigh(const struct attempt *attempt, uint64_t ahead_ticks, uint64_t *wait_ticks)
{
	const struct binding *binding = attempt->binding;
	struct class_leave of_class = {attempt->class_name, 0};
	struct line line;
	uint64_t now = line_read_class(binding->row, &binding->time, &line, &of_class);

	if (!(line.flags & LINE_BESIDE))
		return WEIR_REASON_NONE;

	uint64_t burst = line.shadow.burst_units;
	uint64_t leave = attempt->class_name && of_class.leave
				 ? class_leave_units(of_class.leave, burst, line.k)
				 : 0;
	uint64_t room = leave < burst ? burst - leave : 0;
	uint64_t limit = leave ? room : shadow_limit(&line, now, ahead_ticks);

	if (attempt->units <= room &&
	    shadow_take(binding->bucket, shadow_value(&line.shadow, now), attempt->units, limit))
		return WEIR_REASON_NONE;
	shadow_count(binding->bucket, SHADOW_REFUSED_CALLS, attempt->units);
	*wait_ticks = attempt->units > room ? UINT64_MAX
					    : shadow_wait(binding->bucket, &line.shadow, now,
							  attempt->units, room);
	return *wait_ticks == UINT64_MAX ? WEIR_REASON_NEVER : WEIR_REASON_LEVEL;
}
