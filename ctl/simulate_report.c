/* SPDX-License-Identifier: Apache-2.0
 *
 * simulate_report.c - what a simulation found, for people and for programs.
 */
#include "simulate.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cells.h"
#include "render.h"
#include "terminal.h"
#include "text.h"
#include "value.h"

#define WORST_SHOWN 10
#define LINE_BYTES 512
#define BAR_COLUMNS 24

static unsigned long long llu(uint64_t number)
{
	return number;
}

static double share(uint64_t part, uint64_t all)
{
	return all ? (double)part / (double)all : 0;
}

/* "123 (4.5 %)", and the number for programs. */
static void add_part(struct page *page, const char *key, const char *label, uint64_t part,
		     uint64_t all)
{
	char text[64];

	snprintf(text, sizeof(text), "%llu (%.2f %%)", llu(part), 100 * share(part, all));
	page_count(page, key, NULL, part);
	page_text(page, NULL, label, text);
}

/* A number that may be an estimate. */
static void add_keys(struct page *page, const char *key, const char *label, uint64_t count,
		     bool exact)
{
	char text[64];

	snprintf(text, sizeof(text), "%s%llu%s", exact ? "" : "about ", llu(count),
		 exact ? "" : " (estimated, +- 0.8 %)");
	page_count(page, key, NULL, count);
	page_text(page, NULL, label, text);
}

/* Above a table, in text; the table's array in JSON. */
static bool begin_table(struct page *page, const char *key, const char *title)
{
	if (!page->json) {
		if (!page_print(page, stdout))
			return false;
		page_open(page, false);
		printf("\n%s\n", title);
	}
	page_rows(page, key);
	return true;
}

/* A last column that only a terminal has. */
static void add_bar(struct page *page, double part)
{
	char bar[4 * BAR_COLUMNS + 1];

	if (isatty(STDOUT_FILENO))
		page_text(page, NULL, "", cells_bar(bar, part, BAR_COLUMNS, terminal_is_utf8()));
}

/* ---- facts ---- */

static void add_limit(struct page *page, const struct simulation *simulation)
{
	const struct terms *terms = &simulation->limits[0].terms;
	char rate[VALUE_TEXT_BYTES], burst[VALUE_TEXT_BYTES], window[VALUE_TEXT_BYTES];
	char text[LINE_BYTES];

	value_rate_text(terms->rate_micro, terms->period_ns, rate);
	value_tokens_text(terms->burst_micro, burst);
	value_window_text(&terms->window, window);
	snprintf(text, sizeof(text), "%s, burst %s%s%s", rate, burst,
		 terms->window.kind != WINDOW_NONE ? ", window " : "",
		 terms->window.kind != WINDOW_NONE ? window : "");
	page_text(page, NULL, "limit", text);
	page_text(page, "rate", NULL, rate);
	page_tokens(page, "burst", NULL, (double)terms->burst_micro / (double)TERMS_MICRO);
	page_text(page, "window", NULL, window);
}

/* What was the key and the time: in JSON it may have been found out. */
static void add_fields(struct page *page, const struct simulation *simulation)
{
	const struct intake *intake = &simulation->intake;
	const char *key = simulation->format.key.name;

	for (uint32_t i = 0; i < intake->count; i++)
		if (intake->logs[i].format.json_key.name)
			key = intake->logs[i].format.json_key.name;
	page_text(page, "key", "key", key);
}

static void add_span(struct page *page, const struct replay *replay)
{
	char first[TEXT_BYTES], last[TEXT_BYTES], text[LINE_BYTES];

	if (!replay->begun) {
		page_none(page, "first", NULL);
		page_none(page, "last", NULL);
		return;
	}
	snprintf(text, sizeof(text), "%s to %s", text_time(replay->first_ns, first),
		 text_time(replay->now_ns, last));
	page_text(page, NULL, "time", text);
	page_text(page, "first", NULL, text_time_utc(replay->first_ns, first));
	page_text(page, "last", NULL, text_time_utc(replay->now_ns, last));
}

static void add_verdicts(struct page *page, const struct simulation *simulation)
{
	const struct replay *replay = &simulation->replay;
	const struct replay_limit *limit = &replay->limits[0];
	uint64_t all = replay_requests(replay);

	add_part(page, "admitted", "admitted", limit->admitted, all);
	add_part(page, "refused", "refused", limit->refused, all);
	page_count(page, "refused_never", limit->never ? "above the burst" : NULL, limit->never);
	if (simulation->format.cost.name) {
		page_tokens(page, "admitted_tokens", "tokens admitted",
			    (double)limit->admitted_micro / (double)TERMS_MICRO);
		page_tokens(page, "refused_tokens", "tokens refused",
			    (double)limit->refused_micro / (double)TERMS_MICRO);
	}
}

static void add_table_facts(struct page *page, const struct replay *replay)
{
	const struct mark_table *table = &replay->table;
	char text[LINE_BYTES];

	page_flag(page, "keys_exact", NULL, replay_is_exact(replay));
	page_count(page, "table_bytes", NULL, mark_table_bytes(table));
	page_count(page, "table_recycled", NULL, table->recycled);
	page_count(page, "table_evicted", NULL, table->evicted);
	if (replay_is_exact(replay))
		return;
	snprintf(text, sizeof(text),
		 "was full: a full bucket made room %llu times; %llu times one that was not, which "
		 "was forgotten (see --keys)",
		 llu(table->recycled), llu(table->evicted));
	page_text(page, NULL, "table", text);
}

static void add_skips(struct page *page, const struct intake *intake)
{
	page_count(page, "skipped", NULL, intake_skipped(intake));
	for (unsigned i = LOG_TAKEN + 1; i < LOG_SKIP_COUNT; i++) {
		const struct intake_skip *skip = &intake->skips[i];
		char text[LINE_BYTES];

		if (skip->lines == 0)
			continue;
		snprintf(text, sizeof(text), "%llu %s; the first: line %llu of %.200s",
			 llu(skip->lines), log_skip_text((enum log_skip)i), llu(skip->line),
			 intake->logs[skip->log].source.name);
		page_text(page, NULL, "skipped", text);
	}
}

static void add_facts(struct page *page, const struct simulation *simulation)
{
	const struct replay *replay = &simulation->replay;
	const struct intake *intake = &simulation->intake;
	bool exact = replay_is_exact(replay);

	if (!simulation->swept)
		add_limit(page, simulation);
	add_fields(page, simulation);
	add_span(page, replay);
	page_count(page, "lines", "lines", intake_lines(intake));
	add_skips(page, intake);
	page_count(page, "requests", "requests", replay_requests(replay));
	if (!simulation->swept)
		add_verdicts(page, simulation);
	add_keys(page, "keys", "keys", replay_keys(replay), exact);
	if (!simulation->swept)
		add_keys(page, "keys_hit", "keys refused", replay_hit(replay, &replay->limits[0]),
			 exact);
	add_table_facts(page, replay);
	page_count(page, "bytes", NULL, intake_bytes(intake));
	page_duration(page, "elapsed_ns", NULL, simulation->elapsed_ns);
	page_duration(page, "cpu_ns", NULL, simulation->cpu_ns);
}

/* For programs: why what was skipped was, and which logs ended before their end. */
static void add_lists(struct page *page, const struct intake *intake)
{
	page_rows(page, "skips");
	for (unsigned i = LOG_TAKEN + 1; i < LOG_SKIP_COUNT; i++) {
		const struct intake_skip *skip = &intake->skips[i];

		if (skip->lines == 0)
			continue;
		page_row(page);
		page_text(page, "reason", NULL, log_skip_word((enum log_skip)i));
		page_count(page, "lines", NULL, skip->lines);
		page_text(page, "first_log", NULL, intake->logs[skip->log].source.name);
		page_count(page, "first_line", NULL, skip->line);
	}
	page_rows(page, "logs");
	for (uint32_t i = 0; i < intake->count; i++) {
		const struct log_source *source = &intake->logs[i].source;

		page_row(page);
		page_text(page, "name", NULL, source->name);
		page_count(page, "lines", NULL, source->line);
		if (source->why[0])
			page_text(page, "fault", NULL, source->why);
		else
			page_none(page, "fault", NULL);
	}
}

/* ---- tables ---- */

static bool add_worst(struct page *page, const struct replay *replay)
{
	const struct offender *list[WORST_SHOWN];
	unsigned count = offenders_list(&replay->offenders, list, WORST_SHOWN);

	if (count == 0 && !page->json)
		return true;
	if (!begin_table(page, "worst", "the keys that are refused most"))
		return false;
	for (unsigned i = 0; i < count; i++) {
		char key[ARRIVAL_KEY_MAX + 4];

		snprintf(key, sizeof(key), "%.*s%s", list[i]->key_bytes, list[i]->key,
			 list[i]->key_bytes == ARRIVAL_KEY_MAX ? "..." : "");
		page_row(page);
		page_text(page, "key", "KEY", key);
		page_count(page, "refused", "REFUSED", list[i]->count);
		page_count(page, "refused_over",
			   replay->offenders.used < OFFENDERS ? NULL : "OR LESS BY", list[i]->over);
		page_share(page, "refused_share", "% OF ALL",
			   share(list[i]->count, replay->limits[0].refused));
	}
	return true;
}

static uint64_t most_refused(const struct timeline *timeline)
{
	uint64_t most = 0;

	for (unsigned i = 0; i < timeline->count; i++)
		if (timeline->spans[i].refused > most)
			most = timeline->spans[i].refused;
	return most;
}

static bool add_timeline(struct page *page, const struct replay *replay)
{
	const struct timeline *timeline = &replay->timeline;
	uint64_t most = most_refused(timeline);
	char title[LINE_BYTES], length[TEXT_BYTES];

	if (most == 0 && !page->json)
		return true;
	snprintf(title, sizeof(title), "over time, each %s",
		 text_duration(timeline_length_ns(timeline), length));
	if (!begin_table(page, "over_time", title))
		return false;
	for (unsigned i = 0; i < timeline->count; i++) {
		uint64_t begin_ns = timeline_begin_ns(timeline, i);
		char text[TEXT_BYTES];

		page_row(page);
		page_text(page, "begin", NULL, text_time_utc(begin_ns, text));
		page_text(page, NULL, "FROM", text_time(begin_ns, text));
		page_duration(page, "length_ns", NULL, timeline_length_ns(timeline));
		page_count(page, "admitted", "ADMITTED", timeline->spans[i].admitted);
		page_count(page, "refused", "REFUSED", timeline->spans[i].refused);
		if (!page->json)
			add_bar(page, share(timeline->spans[i].refused, most));
	}
	return true;
}

static bool add_sweep(struct page *page, const struct replay *replay)
{
	if (!begin_table(page, "sweep", "limits"))
		return false;
	for (unsigned i = 0; i < replay->count; i++) {
		const struct replay_limit *limit = &replay->limits[i];
		double refused = share(limit->refused, replay_requests(replay));
		char rate[VALUE_TEXT_BYTES];

		page_row(page);
		page_text(page, "rate", "RATE",
			  value_rate_text(limit->terms.rate_micro, limit->terms.period_ns, rate));
		page_tokens(page, "burst", "BURST",
			    (double)limit->terms.burst_micro / (double)TERMS_MICRO);
		page_count(page, "admitted", "ADMITTED", limit->admitted);
		page_count(page, "refused", "REFUSED", limit->refused);
		page_share(page, "refused_share", "% REFUSED", refused);
		page_count(page, "keys_hit", "KEYS REFUSED", replay_hit(replay, limit));
		if (!page->json)
			add_bar(page, refused);
	}
	return true;
}

/* What a reader wants to know before the next, larger one. */
static void print_speed(const struct simulation *simulation)
{
	double seconds = (double)simulation->cpu_ns / 1e9;
	double lines = (double)intake_lines(&simulation->intake);

	printf("\n%.0f lines, %.1f MB in %.2f s, of which %.2f s on a CPU: %.2f million lines a "
	       "second "
	       "of that; the table took %.1f MiB\n",
	       lines, (double)intake_bytes(&simulation->intake) / 1e6,
	       (double)simulation->elapsed_ns / 1e9, seconds,
	       seconds > 0 ? lines / 1e6 / seconds : 0,
	       (double)mark_table_bytes(&simulation->replay.table) / 1048576);
}

bool simulation_print(const struct simulation *simulation)
{
	const struct replay *replay = &simulation->replay;
	bool json = simulation->ctl->json;
	struct page page;
	bool done;

	page_open(&page, json);
	add_facts(&page, simulation);
	done = simulation->swept ? add_sweep(&page, replay)
				 : add_worst(&page, replay) && add_timeline(&page, replay);
	if (json)
		add_lists(&page, &simulation->intake);
	done = done && page_print(&page, stdout);
	if (done && !json)
		print_speed(simulation);
	return done;
}
