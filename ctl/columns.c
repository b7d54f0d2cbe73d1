/* SPDX-License-Identifier: Apache-2.0 */
#include "columns.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cells.h"
#include "text.h"
#include "value.h"

#define FIELD_BYTES 512
#define GAP 1

static const struct column_spec {
	const char *title;
	size_t least;
	size_t most; /* where there is room; names: what they need */
	bool to_the_right;
	unsigned rank; /* what is needed least has the highest */
} specs[COLUMNS_ALL] = {
	[COLUMN_NAME] = {"ENDPOINT", 12, 64, false, 0},
	[COLUMN_BAR] = {"FILL", 8, 20, false, 5},
	[COLUMN_LEVEL] = {"LEVEL/BURST", 11, 11, false, 3},
	[COLUMN_LIMIT] = {"LIMIT", 9, 9, true, 10},
	[COLUMN_GRANTED] = {"GRANT/S", 7, 7, true, 2},
	[COLUMN_HISTORY] = {"HISTORY", 8, HISTORY_CELLS, false, 9},
	[COLUMN_REFUSED] = {"REF/S", 5, 5, true, 4},
	[COLUMN_WAITED] = {"WAIT/S", 6, 6, true, 11},
	[COLUMN_WAIT] = {"WAIT", 5, 5, true, 12},
	[COLUMN_LINE] = {"~LINE", 5, 5, true, 8},
	[COLUMN_PERMITS] = {"HELD/LIMIT", 11, 11, false, 6},
	[COLUMN_PERMIT_LINE] = {"PWAIT", 5, 5, true, 7},
	[COLUMN_STATE] = {"STATE", 12, 12, false, 1},
	[COLUMN_CLOSINGS] = {"CLOSED", 6, 6, true, 13},
};

/* ---- fitting ---- */

static size_t sum_of(const struct columns *columns)
{
	size_t sum = 0;

	for (int i = 0; i < COLUMNS_ALL; i++)
		if (columns->widths[i])
			sum += columns->widths[i] + (sum ? GAP : 0);
	return sum;
}

/* The column of the highest rank that is still there; the name if it is the last. */
static int dispensable(const struct columns *columns)
{
	int found = COLUMN_NAME;

	for (int i = 0; i < COLUMNS_ALL; i++)
		if (columns->widths[i] && specs[i].rank > specs[found].rank)
			found = i;
	return found;
}

static void grow(struct columns *columns, enum column column, size_t most, size_t *left)
{
	size_t by = most > columns->widths[column] ? most - columns->widths[column] : 0;

	if (!columns->widths[column])
		return;
	by = by < *left ? by : *left;
	columns->widths[column] += by;
	*left -= by;
}

struct columns columns_fit(size_t width, size_t name_width, bool permits)
{
	struct columns columns;
	size_t longest = specs[COLUMN_NAME].most;
	size_t left;

	for (int i = 0; i < COLUMNS_ALL; i++)
		columns.widths[i] = specs[i].least;
	if (!permits)
		columns.widths[COLUMN_PERMITS] = columns.widths[COLUMN_PERMIT_LINE] = 0;
	while (sum_of(&columns) > width) {
		int least = dispensable(&columns);

		columns.widths[least] = least == COLUMN_NAME ? width : 0;
	}
	left = width - sum_of(&columns);
	grow(&columns, COLUMN_NAME, name_width < longest ? name_width : longest, &left);
	grow(&columns, COLUMN_HISTORY, specs[COLUMN_HISTORY].most, &left);
	grow(&columns, COLUMN_BAR, specs[COLUMN_BAR].most, &left);
	return columns;
}

/* ---- cells ---- */

const char *columns_state(const struct entry *entry, char out[COLUMNS_STATE_BYTES])
{
	const struct view *view = &entry->view;
	char duration[CELLS_BYTES];

	switch (entry_condition(entry)) {
	case CONDITION_CLOSED:
		if (view->closed_ns == UINT64_MAX)
			snprintf(out, COLUMNS_STATE_BYTES, "closed");
		else
			snprintf(out, COLUMNS_STATE_BYTES, "closed %s",
				 cells_duration(view->closed_ns, duration));
		break;
	case CONDITION_UNLIMITED:
		snprintf(out, COLUMNS_STATE_BYTES, "unlimited");
		break;
	case CONDITION_STOPPED:
		snprintf(out, COLUMNS_STATE_BYTES, "stopped");
		break;
	case CONDITION_QUEUE:
		snprintf(out, COLUMNS_STATE_BYTES, "queue %s",
			 cells_duration(view->queue_ns, duration));
		break;
	case CONDITION_OPEN:
		snprintf(out, COLUMNS_STATE_BYTES, "open");
		break;
	}
	return out;
}

static enum style state_style(const struct entry *entry)
{
	switch (entry_condition(entry)) {
	case CONDITION_CLOSED:
	case CONDITION_STOPPED:
		return STYLE_BAD;
	case CONDITION_QUEUE:
		return STYLE_WARN;
	case CONDITION_OPEN:
	case CONDITION_UNLIMITED:
		break;
	}
	return STYLE_PLAIN;
}

static enum style bar_style(double share)
{
	return share >= 0.5 ? STYLE_GOOD : share >= 0.2 ? STYLE_WARN : STYLE_BAD;
}

static void level_text(const struct view *view, char out[FIELD_BYTES])
{
	char level[CELLS_BYTES], burst[CELLS_BYTES];

	if (view->line.flags & LINE_UNLIMITED) {
		snprintf(out, FIELD_BYTES, "    -");
		return;
	}
	cells_level(view_level(view), level);
	cells_level(view_tokens(view, view->line.burst_units), burst);
	snprintf(out, FIELD_BYTES, "%*s/%s", CELLS_VALUE, level, burst);
}

static void line_text(const struct entry *entry, char out[FIELD_BYTES])
{
	double line = entry_line(entry);
	char number[CELLS_BYTES];

	if (isnan(line))
		snprintf(out, FIELD_BYTES, "?");
	else
		snprintf(out, FIELD_BYTES, "%s", line > 0 ? cells_level(line, number) : "-");
}

static void held_text(const struct view *view, char out[FIELD_BYTES])
{
	char held[CELLS_BYTES], limit[CELLS_BYTES];

	if (!view_has_permits(view)) {
		snprintf(out, FIELD_BYTES, "    -");
		return;
	}
	cells_level((double)view->permits.held, held);
	cells_level((double)view->permits.limit, limit);
	snprintf(out, FIELD_BYTES, "%*s/%s", CELLS_VALUE, held, limit);
}

static void permit_line_text(const struct view *view, char out[FIELD_BYTES])
{
	char number[CELLS_BYTES];

	snprintf(out, FIELD_BYTES, "%s",
		 view->permits.waiting ? cells_level((double)view->permits.waiting, number) : "-");
}

static void history_text(const struct entry *entry, size_t width, bool utf8, char out[FIELD_BYTES])
{
	double limit = view_rate(&entry->view);
	double full = history_peak(&entry->history, (unsigned)width);

	/* as high as the limit, or as what went beyond it in a burst */
	if (isfinite(limit) && limit > full)
		full = limit;
	out[0] = '\0';
	for (size_t back = width; back > 0; back--)
		strcat(out,
		       cells_spark(history_at(&entry->history, (unsigned)back - 1), full, utf8));
}

static void wait_text(const struct entry *entry, char out[FIELD_BYTES])
{
	double ns = entry->history.rates.wait_ns;
	char duration[CELLS_BYTES];

	snprintf(out, FIELD_BYTES, "%s",
		 isnan(ns) ? "-" : cells_duration((uint64_t)ceil(ns), duration));
}

static void name_text(const struct entry *entry, size_t width, bool utf8, char out[FIELD_BYTES])
{
	char safe[TEXT_NAME_BYTES];

	cells_text(safe, sizeof(safe), entry->view.name, utf8);
	cells_shorten(out, FIELD_BYTES, safe, width, utf8);
}

static void limit_text(const struct entry *entry, size_t width, bool utf8, char out[FIELD_BYTES])
{
	const struct terms *terms = &entry->view.terms;
	char rate[VALUE_TEXT_BYTES];

	cells_shorten(out, FIELD_BYTES, value_rate_text(terms->rate_micro, terms->period_ns, rate),
		      width, utf8);
}

static void cell(enum column column, const struct entry *entry, size_t width, bool utf8,
		 char out[FIELD_BYTES])
{
	const struct rates *rates = &entry->history.rates;

	switch (column) {
	case COLUMN_NAME:
		name_text(entry, width, utf8, out);
		break;
	case COLUMN_BAR:
		cells_bar(out, entry_share(entry), width, utf8);
		break;
	case COLUMN_LEVEL:
		level_text(&entry->view, out);
		break;
	case COLUMN_LIMIT:
		limit_text(entry, width, utf8, out);
		break;
	case COLUMN_GRANTED:
		cells_rate(rates->tokens, out);
		break;
	case COLUMN_HISTORY:
		history_text(entry, width, utf8, out);
		break;
	case COLUMN_REFUSED:
		cells_rate(rates->refused, out);
		break;
	case COLUMN_WAITED:
		cells_rate(rates->waited, out);
		break;
	case COLUMN_WAIT:
		wait_text(entry, out);
		break;
	case COLUMN_LINE:
		line_text(entry, out);
		break;
	case COLUMN_PERMITS:
		held_text(&entry->view, out);
		break;
	case COLUMN_PERMIT_LINE:
		permit_line_text(&entry->view, out);
		break;
	case COLUMN_STATE:
		columns_state(entry, out);
		break;
	case COLUMN_CLOSINGS:
		snprintf(out, FIELD_BYTES, "%llu", (unsigned long long)entry->closings);
		break;
	case COLUMNS_ALL:
		break;
	}
}

static enum style cell_style(enum column column, const struct entry *entry)
{
	switch (column) {
	case COLUMN_BAR:
		return bar_style(entry_share(entry));
	case COLUMN_HISTORY:
		return STYLE_TREND;
	case COLUMN_STATE:
		return state_style(entry);
	default:
		return STYLE_PLAIN;
	}
}

/* ---- lines ---- */

void columns_titles(const struct columns *columns, struct pen *pen)
{
	bool first = true;

	for (int i = 0; i < COLUMNS_ALL; i++) {
		if (!columns->widths[i])
			continue;
		pen_blanks(pen, first ? 0 : GAP);
		pen_field(pen, specs[i].title, columns->widths[i], specs[i].to_the_right);
		first = false;
	}
}

void columns_row(const struct columns *columns, const struct entry *entry, bool utf8,
		 struct pen *pen)
{
	bool first = true;

	for (int i = 0; i < COLUMNS_ALL; i++) {
		enum style style = cell_style((enum column)i, entry);
		char text[FIELD_BYTES];

		if (!columns->widths[i])
			continue;
		cell((enum column)i, entry, columns->widths[i], utf8, text);
		pen_blanks(pen, first ? 0 : GAP);
		if (style != STYLE_PLAIN)
			pen_style(pen, style);
		pen_field(pen, text, columns->widths[i], specs[i].to_the_right);
		if (style != STYLE_PLAIN)
			pen_style(pen, STYLE_PLAIN);
		first = false;
	}
}
