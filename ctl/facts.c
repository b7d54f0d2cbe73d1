/* SPDX-License-Identifier: Apache-2.0 */
#include "facts.h"

#include <math.h>

double entry_line(const struct entry *entry)
{
	const uint64_t *counters = entry->view.tally.counters;
	double queue = view_queue(&entry->view);
	double calls = (double)counters[COUNT_GRANTED_CALLS];
	double tokens = (double)entry->view.tally.tokens[COUNT_GRANTED_UNITS];

	if (queue <= 0)
		return 0;
	return calls > 0 && tokens > 0 ? ceil(queue * calls / tokens) : (double)NAN;
}

double entry_share(const struct entry *entry)
{
	const struct line *line = &entry->view.line;
	double level = view_level(&entry->view);

	if (line->flags & LINE_UNLIMITED && !entry->view.closed)
		return 1;
	if (level <= 0 || line->burst_units == 0)
		return 0;
	return level / view_tokens(&entry->view, line->burst_units);
}

enum condition entry_condition(const struct entry *entry)
{
	const struct view *view = &entry->view;

	if (view->closed)
		return CONDITION_CLOSED;
	if (view->line.flags & LINE_UNLIMITED)
		return CONDITION_UNLIMITED;
	if (view->line.flags & LINE_NEVER)
		return CONDITION_STOPPED;
	return view_queue(view) > 0 ? CONDITION_QUEUE : CONDITION_OPEN;
}
