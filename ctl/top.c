/* SPDX-License-Identifier: Apache-2.0
 *
 * top - what passes right now: drawn on a terminal again and again, or printed.
 */
#include "ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "columns.h"
#include "controls.h"
#include "frame.h"
#include "order.h"
#include "survey.h"
#include "terminal.h"
#include "text.h"
#include "time_source.h"
#include "value.h"
#include "weir.h"

#define SECOND_NS 1000000000ull
#define COUNT_MAX 1000000000ull
#define PAUSE_NS (3600 * SECOND_NS) /* nothing is due: until a key */
#define ESCAPE_NS 50000000ull	    /* ESC alone: no byte follows for so long */

struct top {
	const struct ctl *ctl;
	struct survey survey;
	struct controls controls;
	uint64_t refreshes; /* to be shown; 0: without end */
	const struct entry **shown;
	size_t shown_count;
	size_t shown_room;
};

static uint64_t now_ns(void)
{
	return time_source_kernel_ns(CLOCK_MONOTONIC);
}

/* ---- one refresh ---- */

/* Selects and sorts what is to be shown. Returns 0 or -ENOMEM. */
static int select_entries(struct top *top)
{
	const struct survey *survey = &top->survey;

	if (survey->count > top->shown_room) {
		const struct entry **more =
			realloc(top->shown, survey->count * sizeof(const struct entry *));

		if (!more)
			return -ENOMEM;
		top->shown = more;
		top->shown_room = survey->count;
	}
	top->shown_count = order_select(survey->entries, survey->count, top->controls.filter,
					top->controls.order, top->controls.reversed, top->shown);
	return 0;
}

/* Whether anything that is shown has permits, so that the table needs columns for them. */
static bool any_permits(const struct top *top)
{
	bool any = false;

	for (size_t i = 0; i < top->shown_count; i++)
		any |= view_has_permits(&top->shown[i]->view);
	return any;
}

/* The steps that were intervals: the first one is where they begin. */
static bool is_last(const struct top *top)
{
	return top->refreshes && top->survey.steps > top->refreshes;
}

/* ---- lines ---- */

static void add_rate(struct page *page, const char *key, const char *label, double rate)
{
	/* NaN is null */
	if (rate >= 0)
		page_tokens(page, key, label, rate);
	else
		page_none(page, key, label);
}

static void add_rates(const struct rates *rates, struct page *page)
{
	add_rate(page, "granted_tokens_per_s", "GRANT/S", rates->tokens);
	add_rate(page, "granted_calls_per_s", NULL, rates->granted);
	add_rate(page, "refused_calls_per_s", "REF/S", rates->refused);
	add_rate(page, "waited_calls_per_s", "WAIT/S", rates->waited);
	if (rates->wait_ns >= 0)
		page_duration(page, "wait_ns", "WAIT", (uint64_t)rates->wait_ns);
	else
		page_none(page, "wait_ns", "WAIT");
}

static void add_entry(const struct entry *entry, struct page *page, bool permits)
{
	double line = entry_line(entry);

	page_row(page);
	page_text(page, "name", "ENDPOINT", entry->view.name);
	page_text(page, "kind", NULL, view_kind_name(entry->view.kind));
	view_add_limits(&entry->view, page, true);
	view_add_level(&entry->view, page, true);
	add_rates(&entry->history.rates, page);
	view_add_counts(&entry->view, page, false);
	if (line >= 0)
		page_count(page, "queue_calls", "~LINE", (uint64_t)line);
	else
		page_none(page, "queue_calls", "~LINE");
	view_add_permits(&entry->view, page, permits);
	view_add_state(&entry->view, page, true);
	page_count(page, "closings", NULL, entry->closings);
}

static void add_standing(const struct standing *standing, struct page *page)
{
	char when[TEXT_BYTES];

	page_text(page, "time", NULL, text_time_utc(standing->wall_ns, when));
	page_duration(page, "interval_ns", NULL,
		      standing->interval_ns ? standing->interval_ns : UINT64_MAX);
	page_text(page, "instance", NULL, standing->instance);
	page_text(page, "clock", NULL, standing->clock);
	page_flag(page, "attached", NULL, standing->lost == 0);
	page_flag(page, "weird_running", NULL, standing->alive);
	page_count(page, "weird_pid", NULL, (uint64_t)standing->daemon);
	page_count(page, "members", NULL, standing->members);
	page_count(page, "members_dead", NULL, standing->members_dead);
	page_count(page, "member_slots", NULL, standing->member_slots);
	page_count(page, "closed", NULL, standing->closed);
	page_count(page, "queueing", NULL, standing->queueing);
	page_count(page, "stopped", NULL, standing->stopped);
}

/* The line above a table. */
static void print_head(const struct standing *standing)
{
	char when[TEXT_BYTES];

	printf("%s  instance `%s`, members %u of %u, %zu closed, %zu queueing, %zu stopped; ",
	       text_time(standing->wall_ns, when), standing->instance, standing->members,
	       standing->member_slots, standing->closed, standing->queueing, standing->stopped);
	if (standing->lost)
		printf("the instance is gone (%s): this is its last segment\n",
		       weir_strerror(standing->lost));
	else if (!standing->alive)
		printf("weird is not running: limits stay in force, changes wait for it\n");
	else if (standing->daemon)
		printf("weird is running (pid %ld)\n", (long)standing->daemon);
	else
		printf("weird is running\n");
}

static bool print_refresh(const struct top *top)
{
	bool permits = any_permits(top);
	struct page page;
	bool done;

	page_open(&page, top->ctl->json);
	add_standing(&top->survey.standing, &page);
	page_rows(&page, "endpoints");
	for (size_t i = 0; i < top->shown_count; i++)
		add_entry(top->shown[i], &page, permits);
	if (top->ctl->json)
		return page_print_line(&page, stdout);
	print_head(&top->survey.standing);
	done = page_print(&page, stdout);
	putchar('\n');
	return done;
}

/* Sleeps until then, on the kernel's monotonic clock. */
static void sleep_until(uint64_t ns)
{
	const struct timespec until = {(time_t)(ns / SECOND_NS), (long)(ns % SECOND_NS)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

static enum ctl_exit print_lines(struct top *top)
{
	uint64_t due = now_ns();
	int status = survey_step(&top->survey);

	while (status == 0) {
		due += top->controls.every_ns;
		sleep_until(due);
		status = survey_step(&top->survey);
		if (status == 0)
			status = select_entries(top);
		if (status < 0)
			break;
		if (!print_refresh(top))
			status = -ENOMEM;
		/* what cannot be written ends it: main() says so */
		if (fflush(stdout) != 0 || is_last(top))
			return CTL_DONE;
	}
	return ctl_complain("%s", weir_strerror(status));
}

/* ---- on a terminal ---- */

struct live {
	struct top *top;
	struct terminal terminal;
	struct canvas canvas;
	struct key_reader reader;
	uint64_t due; /* when to look again */
	bool utf8;
};

static size_t longest_name(const struct top *top)
{
	size_t longest = 0;

	for (size_t i = 0; i < top->shown_count; i++) {
		char safe[TEXT_NAME_BYTES];
		size_t columns = text_columns(
			text_safe(safe, sizeof(safe), top->shown[i]->view.name, false));

		longest = columns > longest ? columns : longest;
	}
	return longest;
}

static size_t count_buckets(const struct survey *survey)
{
	size_t count = 0;

	for (size_t i = 0; i < survey->count; i++)
		count += entry_has_bucket(&survey->entries[i]);
	return count;
}

/* Returns 0 or a negative errno. */
static int draw(struct live *live)
{
	struct top *top = live->top;
	unsigned width, height;
	int status = select_entries(top);

	if (status < 0)
		return status;
	terminal_size(&width, &height);
	if (!canvas_resize(&live->canvas, width, height))
		return -ENOMEM;

	struct picture picture = {
		.standing = &top->survey.standing,
		.shown = top->shown,
		.count = top->shown_count,
		.endpoints = count_buckets(&top->survey),
		.name_width = longest_name(top),
		.permits = any_permits(top),
		.utf8 = live->utf8,
	};

	frame_draw(&live->canvas, &picture, &top->controls);
	live->terminal.stale |= top->controls.redraw;
	top->controls.redraw = false;
	return terminal_draw(&live->terminal, &live->canvas) ? 0 : -EIO;
}

static void take_keys(struct live *live, const unsigned char *bytes, size_t count)
{
	struct controls *controls = &live->top->controls;
	bool was_paused = controls->paused;
	uint64_t every_ns = controls->every_ns;

	for (size_t i = 0; i < count; i++)
		controls_key(controls, key_read(&live->reader, bytes[i]));
	if (was_paused && !controls->paused)
		live->due = now_ns();
	if (controls->every_ns < every_ns)
		live->due = now_ns() + controls->every_ns;
}

/* Waits for what comes first: a key, another size, or the time to look again. */
static void attend(struct live *live)
{
	struct controls *controls = &live->top->controls;
	unsigned char bytes[TERMINAL_BYTES_MOST];
	uint64_t now = now_ns();
	uint64_t wait = live->due > now ? live->due - now : 0;
	size_t count = 0;

	if (controls->paused)
		wait = PAUSE_NS;
	if (live->reader.count && wait > ESCAPE_NS)
		wait = ESCAPE_NS;
	switch (terminal_wait(&live->terminal, wait, bytes, &count)) {
	case TERMINAL_BYTES:
		take_keys(live, bytes, count);
		break;
	case TERMINAL_TIME:
		controls_key(controls, key_flush(&live->reader));
		break;
	case TERMINAL_CHANGED:
		break;
	case TERMINAL_GONE:
		controls->quit = true;
		break;
	}
}

/* Looks, if it is time. Returns 0 or a negative errno. */
static int look_again(struct live *live)
{
	struct top *top = live->top;
	uint64_t now = now_ns();

	if (top->controls.paused || now < live->due)
		return 0;
	/* without catching up on what was missed while it was stopped */
	live->due += top->controls.every_ns;
	if (live->due < now)
		live->due = now + top->controls.every_ns;
	return survey_step(&top->survey);
}

static enum ctl_exit draw_screens(struct live *live)
{
	struct top *top = live->top;
	int status = 0;

	live->utf8 = terminal_is_utf8();
	live->due = now_ns();
	while (status == 0 && !top->controls.quit) {
		status = look_again(live);
		if (status == 0)
			status = draw(live);
		if (status < 0 || is_last(top))
			break;
		attend(live);
	}
	terminal_close(&live->terminal);
	canvas_free(&live->canvas);
	return status < 0 ? ctl_complain("%s", weir_strerror(status)) : CTL_DONE;
}

/* ---- the command ---- */

static bool read_options(struct top *top)
{
	const struct ctl *ctl = top->ctl;
	struct controls *controls = &top->controls;
	const char *count = ctl->args.values[OPTION_REFRESHES];
	const char *sort = ctl->args.values[OPTION_SORT];
	const char *filter = ctl->args.values[OPTION_FILTER];

	controls->every_ns = SECOND_NS;
	if (!ctl_duration(ctl, OPTION_EVERY, false, &controls->every_ns))
		return false;
	if (controls->every_ns < CONTROLS_EVERY_MIN_NS ||
	    controls->every_ns > CONTROLS_EVERY_MAX_NS) {
		ctl_misuse(ctl, "--every %.80s: a duration from 50ms to 1h",
			   ctl->args.values[OPTION_EVERY]);
		return false;
	}
	if (count && value_count(count, 1, COUNT_MAX, &top->refreshes)) {
		ctl_misuse(ctl, "-n %.80s: a whole number above 0", count);
		return false;
	}
	if (sort && !order_parse(sort, &controls->order)) {
		ctl_misuse(ctl, "--sort %.80s: one of " ORDER_WORDS, sort);
		return false;
	}
	if (filter && strlen(filter) >= sizeof(controls->filter)) {
		ctl_misuse(ctl, "--filter: a text of at most %zu bytes",
			   sizeof(controls->filter) - 1);
		return false;
	}
	snprintf(controls->filter, sizeof(controls->filter), "%s", filter ? filter : "");
	return true;
}

/* Whether colour is wanted: no-color.org, and our own option. */
static bool wants_colour(const struct ctl *ctl)
{
	const char *refused = getenv("NO_COLOR");

	return !ctl->args.values[OPTION_NO_COLOR] && !(refused && refused[0]);
}

static enum ctl_exit show(struct top *top)
{
	const struct ctl *ctl = top->ctl;
	struct live live = {.top = top};
	const char *wrong;

	if (ctl->json || ctl->args.values[OPTION_BATCH] || !isatty(STDOUT_FILENO))
		return print_lines(top);
	wrong = terminal_open(&live.terminal, wants_colour(ctl));
	if (!wrong)
		return draw_screens(&live);
	fprintf(stderr, "weirctl: %s: printing lines (-b)\n", wrong);
	return print_lines(top);
}

enum ctl_exit command_top(struct ctl *ctl)
{
	struct top top = {.ctl = ctl};
	enum ctl_exit result;

	if (!read_options(&top) || !survey_open(&top.survey, ctl))
		return CTL_CANNOT;
	result = show(&top);
	survey_close(&top.survey);
	free(top.shown);
	return result;
}
