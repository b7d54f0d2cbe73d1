/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cells.h"
#include "columns.h"
#include "text.h"
#include "weir.h"

#define HEAD_LINES 3 /* the instance, the sums, what is out of the ordinary */

bool canvas_resize(struct canvas *canvas, unsigned width, unsigned height)
{
	struct canvas next = {
		.width = width < 1	       ? 1
			 : width > CANVAS_MOST ? CANVAS_MOST
					       : width,
		.height = height < 1		 ? 1
			  : height > CANVAS_MOST ? CANVAS_MOST
						 : height,
	};

	next.stride = PEN_BYTES(next.width);
	next.text = calloc(next.height, next.stride);
	if (!next.text)
		return false;
	free(canvas->text);
	*canvas = next;
	return true;
}

void canvas_free(struct canvas *canvas)
{
	free(canvas->text);
	*canvas = (struct canvas){0};
}

/* The pen on a line; beyond the last one it writes nothing. */
static struct pen pen_on(const struct canvas *canvas, unsigned line)
{
	static char nothing[1];
	struct pen pen;

	if (line < canvas->height)
		pen_begin(&pen, canvas_line(canvas, line), canvas->stride, canvas->width);
	else
		pen_begin(&pen, nothing, sizeof(nothing), 0);
	return pen;
}

/* ---- the head ---- */

static void draw_instance(const struct picture *picture, const struct controls *controls,
			  struct pen pen)
{
	const struct standing *standing = picture->standing;
	char when[TEXT_BYTES], every[CELLS_BYTES];
	const char *time_of_day = strchr(text_time(standing->wall_ns, when), ' ');
	char safe[4 * PLACE_NAME_BYTES];

	cells_text(safe, sizeof(safe), standing->instance, picture->utf8);
	pen_style(&pen, STYLE_STRONG);
	pen_print(&pen, "weir %s", safe);
	pen_style(&pen, STYLE_PLAIN);
	pen_print(&pen, " %s  every %s  members %u/%u", time_of_day ? time_of_day : " ?",
		  cells_duration(controls->every_ns, every), standing->members,
		  standing->member_slots);
	if (standing->members_dead)
		pen_print(&pen, " and %u dead", standing->members_dead);
	pen_print(&pen, "  clock %s", standing->clock);
	if (standing->alive && standing->daemon)
		pen_print(&pen, "  weird %ld", (long)standing->daemon);
}

static void print_count(struct pen *pen, size_t count, const char *what, enum style style,
			const char **before)
{
	if (count == 0)
		return;
	pen_text(pen, *before);
	pen_style(pen, style);
	pen_print(pen, "%zu %s", count, what);
	pen_style(pen, STYLE_PLAIN);
	*before = ", ";
}

static void draw_sums(const struct picture *picture, struct pen pen)
{
	const struct standing *standing = picture->standing;
	char granted[CELLS_BYTES], refused[CELLS_BYTES], waited[CELLS_BYTES];
	const char *before = ": ";

	pen_print(&pen, "%zu endpoint%s", picture->endpoints, picture->endpoints == 1 ? "" : "s");
	print_count(&pen, standing->closed, "closed", STYLE_BAD, &before);
	print_count(&pen, standing->stopped, "stopped", STYLE_BAD, &before);
	print_count(&pen, standing->queueing, "queueing", STYLE_WARN, &before);
	pen_print(&pen, "  calls/s %s granted %s refused %s waited",
		  cells_rate(standing->granted, granted), cells_rate(standing->refused, refused),
		  cells_rate(standing->waited, waited));
}

static void draw_alarm(const struct standing *standing, struct pen *pen)
{
	if (!standing->lost && standing->alive)
		return;
	pen_style(pen, STYLE_BAD);
	if (standing->lost)
		pen_print(pen, "the instance is gone (%s): this is its last segment",
			  weir_strerror(standing->lost));
	else
		pen_text(pen, "weird is not running: limits stay in force");
	pen_style(pen, STYLE_PLAIN);
	pen_text(pen, "  ");
}

/* What is out of the ordinary, and how the table is made. */
static void draw_notice(const struct picture *picture, const struct controls *controls,
			struct pen *pen)
{
	char safe[4 * CONTROLS_FILTER_BYTES];

	if (controls->paused) {
		pen_style(pen, STYLE_TITLE);
		pen_text(pen, "PAUSED");
		pen_style(pen, STYLE_PLAIN);
		pen_text(pen, "  ");
	}
	draw_alarm(picture->standing, pen);
	pen_print(pen, "by %s%s", order_name(controls->order),
		  controls->reversed ? ", reversed" : "");
	if (!controls->filter[0])
		return;
	cells_text(safe, sizeof(safe), controls->filter, picture->utf8);
	pen_print(pen, ", %zu with `%s`", picture->count, safe);
}

/* ---- the foot ---- */

static void draw_foot(const struct picture *picture, const struct controls *controls, bool has_head,
		      struct pen pen)
{
	size_t below = controls->rows - controls->top > controls->page
			       ? controls->rows - controls->top - controls->page
			       : 0;
	char safe[4 * CONTROLS_FILTER_BYTES];

	/* the last column of the last line makes some terminals scroll */
	pen.left -= pen.left > 1;
	if (controls->typing) {
		cells_text(safe, sizeof(safe), controls->filter, picture->utf8);
		pen_print(&pen, "filter: %s_  (Enter: keep, Esc: as before)", safe);
		return;
	}
	if (!has_head) {
		draw_notice(picture, controls, &pen);
		return;
	}
	if (controls->top || below)
		pen_print(&pen, "%zu above, %zu below  ", controls->top, below);
	pen_text(&pen, "q quit  space pause  s sort  r reverse  / filter  h help");
}

/* ---- help ---- */

static const char *const help[] = {
	"q            quit",
	"space, p     pause: nothing is read until it goes on",
	("s, S         next, previous order: " ORDER_WORDS),
	"r            reverse the order",
	"/            show the names that have a text in them; Esc: all of them",
	"+, -         look twice, half as often",
	"arrows, j k, PageUp, PageDown, Home, End   move;  Ctrl-L   draw anew",
	"",
	"FILL         the level: how much of the burst is there",
	"LEVEL/BURST  tokens; below 0 is what calls in line wait for",
	"GRANT/S      tokens granted a second",
	"HISTORY      the same over time; the limit is its full height",
	"REF/S        calls refused a second",
	"WAIT/S WAIT  calls a second that waited and passed; how long they waited, mean",
	"~LINE        calls in line, about: tokens in line by the mean cost of a call",
	"STATE        open; closed, opens in; queue, its last passes in; stopped: rate 0",
	"CLOSED       how often it has been closed while this was watching",
	"LIMIT        the rate as it was set",
	"",
	"any key goes back",
};

static void draw_help(struct canvas *canvas)
{
	for (unsigned i = 0; i < sizeof(help) / sizeof(help[0]); i++) {
		struct pen pen = pen_on(canvas, i);

		pen_text(&pen, help[i]);
	}
}

/* ---- the table ---- */

static void draw_table(struct canvas *canvas, unsigned line, const struct picture *picture,
		       const struct controls *controls)
{
	struct columns columns = columns_fit(canvas->width, picture->name_width, picture->permits);
	struct pen pen = pen_on(canvas, line);

	pen_style(&pen, STYLE_TITLE);
	columns_titles(&columns, &pen);
	pen_blanks(&pen, pen.left);
	pen_style(&pen, STYLE_PLAIN);
	for (size_t i = 0; i < controls->page && controls->top + i < picture->count; i++) {
		pen = pen_on(canvas, line + 1 + (unsigned)i);
		columns_row(&columns, picture->shown[controls->top + i], picture->utf8, &pen);
	}
	if (picture->count)
		return;
	pen = pen_on(canvas, line + 1);
	pen_text(&pen, controls->filter[0] ? "no name has that in it" : "no endpoints yet");
}

void frame_draw(struct canvas *canvas, const struct picture *picture, struct controls *controls)
{
	/* what is small has the table alone */
	unsigned head = canvas->height > HEAD_LINES + 4 ? HEAD_LINES : 0;
	unsigned foot = canvas->height > 2 || controls->typing ? 1 : 0;
	unsigned used = head + 1 + foot;

	memset(canvas->text, 0, canvas->height * canvas->stride);
	controls_fit(controls, picture->count, canvas->height > used ? canvas->height - used : 0);
	if (controls->help) {
		draw_help(canvas);
		return;
	}
	if (head) {
		struct pen notice = pen_on(canvas, 2);

		draw_instance(picture, controls, pen_on(canvas, 0));
		draw_sums(picture, pen_on(canvas, 1));
		draw_notice(picture, controls, &notice);
	}
	draw_table(canvas, head, picture, controls);
	if (foot)
		draw_foot(picture, controls, head > 0, pen_on(canvas, canvas->height - 1));
}
