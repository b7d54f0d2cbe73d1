/* SPDX-License-Identifier: Apache-2.0
 *
 * field.c - what a server tells its clients of a limit.
 */
#include "handle.h"

#include <math.h>
#include <string.h>

#include "response.h"

/* The rule's own name: of [default], which has none, `default`. */
static const char *rule_name(const struct rule_row *row, char text[LAYOUT_TEXT_BYTES])
{
	segment_text(row->text, text);
	/* relaxed: fixed while the row is live */
	return atomic_load_explicit(&row->kind, memory_order_relaxed) == ROW_DEFAULT ? "default"
										     : text;
}

static double level_now(const struct line *line, uint64_t now, uint64_t mark)
{
	return ldexp((double)line_level(line, now, mark), -(int)line->k);
}

/* What the answer says counts, and else what there is at this moment. */
static void response_fill(const struct binding *binding, const struct weir_answer *answer,
			  struct response *out)
{
	const struct segment *segment = &binding->attachment->segment;
	struct terms_author author;
	struct terms terms;
	uint64_t changed_ns;
	struct line line;
	uint64_t now = line_read(binding->row, &segment->time, &line);
	uint64_t mark = binding_mark(binding);
	uint64_t gate = gate_load(binding->bucket);
	bool drains = !(line.flags & LINE_WINDOW) && !binding->keyed.bins;
	bool closed = gate_is_closed(gate, now);
	uint64_t more;

	/* the first call after a closure will find the bucket empty as of the opening */
	if (!gate_is_settled(gate) && !closed && drains)
		mark = bucket_base(mark, line_value(&line, gate & GATE_UNTIL) + line.burst_units);
	/* behind a closure, until there is one token */
	more = closed ? (binding->keyed.bins ? gate_wait_ticks_kept : gate_wait_ticks)(
				gate, mark, &line, now, 1ull << line.k, line.burst_units)
		      : response_more_ticks(&line, now, mark);
	segment_terms(segment, binding->row_index, &terms, &author, &changed_ns);
	out->terms = terms_in_force(&terms);
	out->level = answer ? answer->level : level_now(&line, now, mark);
	if (closed || (answer && answer->reason == WEIR_REASON_CLOSED))
		out->level = 0;
	out->more_ns = ticks_to_ns(segment, more);
	out->refused = answer && answer->reason != WEIR_REASON_NONE;
	out->retry_ns = out->refused ? answer->wait_ns : 0;
}

int weir_field(struct weir_endpoint *endpoint, const struct weir_answer *answer,
	       enum weir_field field, const char *policy, char *out, size_t bytes)
{
	struct binding *binding = endpoint_binding(endpoint);
	char text[LAYOUT_TEXT_BYTES];
	struct response response = {.policy = policy};

	if (!binding_is_current(binding)) {
		int status = endpoint_refresh(endpoint);

		if (status < 0)
			return status;
		binding = endpoint_binding(endpoint);
	}
	if (answer && answer->fault) {
		/* nothing is known */
		if (bytes > 0)
			out[0] = '\0';
		return 0;
	}
	response_fill(binding, answer, &response);
	if (!policy)
		response.policy = rule_name(binding->row, text);
	return response_field(&response, field, out, bytes);
}
