/* SPDX-License-Identifier: Apache-2.0
 *
 * show NAME - which rule a name falls under and why, its limits, and how its bucket stands.
 */
#include "ctl.h"

#include <errno.h>
#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "adapt.h"
#include "class.h"
#include "limit_fields.h"
#include "look.h"
#include "names.h"
#include "permits.h"
#include "text.h"
#include "value.h"
#include "weir.h"
#include "window.h"

#define SENTENCE_BYTES 512
#define RANK_BYTES 96

static void describe_pattern(const char *pattern, char out[RANK_BYTES])
{
	struct specificity rank = names_specificity(pattern);

	snprintf(out, RANK_BYTES, "literal prefix %u byte%s, %u wildcard%s", rank.literal_prefix,
		 rank.literal_prefix == 1 ? "" : "s", rank.wildcards,
		 rank.wildcards == 1 ? "" : "s");
}

static void add_rule(const struct view *view, struct page *page)
{
	char why[SENTENCE_BYTES], rank[RANK_BYTES], rule[LAYOUT_TEXT_BYTES + 16];

	switch (view->kind) {
	case VIEW_EXACT:
		snprintf(rule, sizeof(rule), "endpoint %s", view->rule);
		snprintf(why, sizeof(why), "a rule has exactly this name");
		break;
	case VIEW_PATTERN:
		describe_pattern(view->rule, rank);
		snprintf(rule, sizeof(rule), "pattern %s", view->rule);
		if (strcmp(view->rule, view->name) == 0)
			snprintf(why, sizeof(why), "a pattern of exactly this text (%s)", rank);
		else
			snprintf(why, sizeof(why),
				 "the most specific pattern that matches (%s); all names that it "
				 "matches share one bucket",
				 rank);
		break;
	case VIEW_EACH:
		describe_pattern(view->rule, rank);
		snprintf(rule, sizeof(rule), "each %s", view->rule);
		snprintf(why, sizeof(why),
			 "%s (%s); each name that it matches has a bucket of "
			 "its own",
			 view->key ? "the most specific pattern that matches"
				   : "a pattern of exactly this text",
			 rank);
		break;
	case VIEW_DEFAULT:
		snprintf(rule, sizeof(rule), "[default]");
		snprintf(why, sizeof(why),
			 "the rule of every name that no other rule matches; each has a bucket of "
			 "its own");
		break;
	case VIEW_NAME:
	case VIEW_CROWDED:
		snprintf(rule, sizeof(rule), "[default]");
		snprintf(why, sizeof(why), "no rule has this name and no pattern matches it");
		break;
	}
	page_text(page, "rule", "rule", rule);
	page_text(page, "why", "why", why);
}

/* The patterns that match as well, and why they are not the rule. */
static void add_losers(const struct look *look, const struct view *view, struct page *page)
{
	const struct segment *segment = &look->segment;
	bool is_pattern = strcmp(view->rule, view->name) == 0 &&
			  (view->kind == VIEW_PATTERN || view->kind == VIEW_EACH);

	if (view->kind == VIEW_DEFAULT || is_pattern)
		return;
	for (uint32_t row = 0; row < segment->row_count; row++) {
		const struct rule_row *at = &segment->rows[row];
		char pattern[LAYOUT_TEXT_BYTES], rank[RANK_BYTES];
		char text[SENTENCE_BYTES + 2 * LAYOUT_TEXT_BYTES];

		/* acquire, then relaxed: as in names.c */
		if (row == view->row ||
		    atomic_load_explicit(&at->state, memory_order_acquire) != ROW_LIVE ||
		    !names_kind_is_pattern(atomic_load_explicit(&at->kind, memory_order_relaxed)))
			continue;
		segment_text(at->text, pattern);
		if (!names_match(pattern, view->name))
			continue;
		describe_pattern(pattern, rank);
		page_list_item(page, "also_matches", NULL, pattern);
		snprintf(text, sizeof(text), "%s (%s: less specific than %s)", pattern, rank,
			 view->kind == VIEW_EXACT ? "an exact name" : "the rule");
		page_text(page, NULL, "also matches", text);
	}
}

/* The quota of a window, how long one is, and when the next one begins. */
static void add_window(const struct view *view, struct page *page)
{
	const struct window_terms *window = &view->terms.window;
	char quota[TEXT_BYTES], length[VALUE_TEXT_BYTES], until[TEXT_BYTES];
	char text[SENTENCE_BYTES];
	bool exact;

	if (window->kind == WINDOW_NONE)
		return;
	if (view->line.flags & (LINE_UNLIMITED | LINE_NEVER)) {
		page_text(page, NULL, "window", value_window_text(window, length));
		return;
	}
	text_tokens((double)window_quota_micro(&view->terms, &exact) / (double)TERMS_MICRO, quota);
	snprintf(text, sizeof(text), "%s token%s, renewed as a whole (%s)", quota,
		 strcmp(quota, "1") ? "s" : "", value_window_text(window, length));
	page_text(page, NULL, "window", text);
	if (view->kind == VIEW_DEFAULT)
		return;
	if (view->renews_ns == 0)
		snprintf(text, sizeof(text), "begins with the next use");
	else
		snprintf(text, sizeof(text), "in %s", text_duration(view->renews_ns, until));
	page_text(page, NULL, "next window", text);
}

static void add_author(const struct view *view, struct page *page)
{
	char when[TEXT_BYTES], utc[TEXT_BYTES];
	char text[128];
	struct passwd *user = NULL;

	text_time(view->changed_ns, when);
	if (view->author.origin == ORIGIN_OPERATOR)
		user = getpwuid((uid_t)view->author.uid);
	if (view->author.origin == ORIGIN_FILE)
		snprintf(text, sizeof(text), "the configuration file, %s", when);
	else if (user)
		snprintf(text, sizeof(text), "an operator, uid %llu (%.32s), %s",
			 (unsigned long long)view->author.uid, user->pw_name, when);
	else
		snprintf(text, sizeof(text), "an operator, uid %llu, %s",
			 (unsigned long long)view->author.uid, when);
	page_text(page, NULL, "set by", text);
	page_text(page, "set_by", NULL,
		  view->author.origin == ORIGIN_OPERATOR ? "operator" : "file");
	page_count(page, "set_by_uid", NULL, view->author.uid);
	page_text(page, "set_at", NULL, text_time_utc(view->changed_ns, utc));
}

/* What calls of each class must leave, and what is the most that is left for them. */
static void add_classes(const struct view *view, struct page *page)
{
	for (unsigned i = 0; i < LAYOUT_CLASSES && view->terms.classes[i].name; i++) {
		const struct class_leave *class = &view->terms.classes[i];
		uint64_t units =
			class_leave_units(class->leave, view->line.burst_units, view->line.k);
		char name[CLASS_TEXT_BYTES], leave[VALUE_TEXT_BYTES], most[TEXT_BYTES];
		char text[SENTENCE_BYTES];

		class_text(class->name, name);
		text_tokens(view_tokens(view, view->line.burst_units - units), most);
		snprintf(text, sizeof(text), "%s: %s, takes at most %s", name,
			 class_leave_text(class->leave, leave), most);
		page_text(page, NULL, "class", text);
		page_member(page, "classes", name, view_tokens(view, units));
	}
}

static void add_shadow(const struct view *view, struct page *page)
{
	const struct shadow_terms *beside = &view->terms.beside;
	char rate[VALUE_TEXT_BYTES], burst[VALUE_TEXT_BYTES];
	char text[SENTENCE_BYTES];

	view_add_shadow(view, page, false);
	if (view_is_shadow(view))
		page_text(page, NULL, "shadow", "yes: what is refused is counted, and passes");
	if (!view_has_shadow(view))
		return;
	snprintf(text, sizeof(text), "%s, burst %s: counts what it would refuse",
		 value_rate_text(beside->rate_micro, beside->period_ns, rate),
		 value_tokens_text(beside->burst_micro, burst));
	page_text(page, NULL, "shadow limit", text);
}

/* "3 of 10 free, 2 in line; max hold 30s", where there is a limit. */
static void add_permits(const struct look *look, const struct view *view, struct page *page)
{
	char text[SENTENCE_BYTES], hold[VALUE_TEXT_BYTES];
	struct permit_sum sum;

	if (permits_look(&look->segment, &look->segment.rows[view->row], &sum, NULL, NULL) < 0 ||
	    sum.limit == UINT64_MAX) {
		page_none(page, "concurrency", NULL);
		view_add_found(look, view, page);
		return;
	}
	page_count(page, "concurrency", NULL, sum.limit);
	page_count(page, "permits_free", NULL, sum.free);
	page_count(page, "permits_waiting", NULL, sum.waiting);
	page_duration(page, "max_hold_ns", NULL, sum.hold_ns ? sum.hold_ns : UINT64_MAX);
	snprintf(text, sizeof(text), "%llu of %llu free, %llu in line; max hold %s",
		 (unsigned long long)sum.free, (unsigned long long)sum.limit,
		 (unsigned long long)sum.waiting,
		 sum.hold_ns ? value_duration_text(sum.hold_ns, hold) : "unlimited");
	page_text(page, NULL, "permits", text);
	view_add_found(look, view, page);
}

/* How the upstream is followed, and how its responses are read. */
static void add_adapt(const struct view *view, struct page *page)
{
	const struct adapt_terms *adapt = &view->terms.adapt;
	const char *at = adapt->text;
	char least[VALUE_TEXT_BYTES], safety[VALUE_TEXT_BYTES], most[VALUE_TEXT_BYTES];
	char text[SENTENCE_BYTES];
	struct adapt_line line;

	if (adapt->mode != ADAPT_OFF) {
		snprintf(least, sizeof(least), "a hundredth");
		if (adapt->min_period_ns)
			value_rate_text(adapt->min_rate_micro, adapt->min_period_ns, least);
		snprintf(text, sizeof(text), "%s: not below %s, %s of what the upstream allows",
			 adapt_mode_text(adapt->mode), least,
			 value_tokens_text(adapt_safety_micro(adapt), safety));
		page_text(page, NULL, "adaptive", text);
	}
	while (adapt_next(&at, &line)) {
		snprintf(text, sizeof(text), "%s = %s", line.key, line.value);
		page_text(page, NULL, "responses", text);
		page_list_item(page, "responses", NULL, text);
	}
	page_duration(page, "max_close_ns", NULL, adapt_max_close_ns(adapt));
	if (adapt->max_close_ns) {
		snprintf(text, sizeof(text), "for %s at most, by a response",
			 value_duration_text(adapt->max_close_ns, most));
		page_text(page, NULL, "closed", text);
	}
}

/* "80 of 100 left", as far as it was said. */
static void learned_limit_text(const struct learned_terms *learned, char out[TEXT_BYTES])
{
	char left[TEXT_BYTES], limit[TEXT_BYTES];

	text_tokens((double)learned->remaining_micro / (double)TERMS_MICRO, left);
	text_tokens((double)learned->limit_micro / (double)TERMS_MICRO, limit);
	if (learned->remaining_micro != UINT64_MAX && learned->limit_micro != UINT64_MAX)
		snprintf(out, TEXT_BYTES, "%.16s of %.16s left", left, limit);
	else if (learned->remaining_micro != UINT64_MAX)
		snprintf(out, TEXT_BYTES, "%.20s left", left);
	else
		snprintf(out, TEXT_BYTES, "no numbers");
}

/* What is in force in place of the rule's own speed: from which response, and until when. */
static void add_learned(const struct view *view, struct page *page)
{
	const struct learned_terms *learned = &view->terms.learned;
	char burst[VALUE_TEXT_BYTES];
	char said[TEXT_BYTES], ago[TEXT_BYTES], until[TEXT_BYTES];
	char text[SENTENCE_BYTES];

	view_add_learned(view, page);
	if (learned->cause & LEARNED_FROZEN)
		page_text(page, NULL, "frozen",
			  "by an operator: weirctl adapt NAME on learns anew");
	if (!view_is_adapted(view))
		return;
	snprintf(text, sizeof(text), "%.4g/s, burst %s: %s%s", view_learned_rate(view),
		 value_tokens_text(learned->burst_micro, burst), adapt_cause_text(learned->cause),
		 learned->cause & LEARNED_DISTRUSTS ? " (its numbers were contradicted)" : "");
	page_text(page, NULL, "learned", text);
	learned_limit_text(learned, said);
	snprintf(
		text, sizeof(text), "a response %s ago: %s",
		text_duration(view->now_ns > learned->from_ns ? view->now_ns - learned->from_ns : 0,
			      ago),
		said);
	if (learned->from_ns)
		page_text(page, NULL, "learned from", text);
	if (learned->until_ns == UINT64_MAX)
		snprintf(text, sizeof(text), "more is known");
	else
		snprintf(text, sizeof(text), "in %s",
			 text_duration(learned->until_ns > view->now_ns
					       ? learned->until_ns - view->now_ns
					       : 0,
				       until));
	page_text(page, NULL, "expires", text);
}

static void add_terms(const struct look *look, const struct view *view, struct page *page)
{
	char text[SENTENCE_BYTES];

	view_add_limits(view, page, false);
	add_window(view, page);
	page_tokens(page, "initial", "initial",
		    (double)view->terms.initial_micro / (double)TERMS_MICRO);
	page_duration(page, "max_wait_ns", NULL,
		      view->terms.max_wait_ns ? view->terms.max_wait_ns : UINT64_MAX);
	page_text(page, NULL, "max wait",
		  view->terms.max_wait_ns ? value_duration_text(view->terms.max_wait_ns, text)
					  : "no bound");
	add_permits(look, view, page);
	add_classes(view, page);
	add_shadow(view, page);
	add_adapt(view, page);
	add_learned(view, page);
	add_author(view, page);
	if (view->line.k == 0)
		snprintf(text, sizeof(text), "1 token: costs are rounded up to whole ones");
	else
		snprintf(text, sizeof(text),
			 "%.3g token (2^-%u): finer costs are rounded up to that",
			 ldexp(1.0, -(int)view->line.k), view->line.k);
	page_text(page, NULL, "resolution", text);
	page_tokens(page, "unit", NULL, ldexp(1.0, -(int)view->line.k));
	page_count(page, "unit_k", NULL, view->line.k);
}

static void add_calls(struct page *page, const char *label, uint64_t count, double tokens)
{
	char amount[TEXT_BYTES], text[2 * TEXT_BYTES + 32];

	text_tokens(tokens, amount);
	snprintf(text, sizeof(text), "%llu call%s, %s token%s", (unsigned long long)count,
		 count == 1 ? "" : "s", amount, strcmp(amount, "1") == 0 ? "" : "s");
	page_text(page, NULL, label, text);
}

static void add_count(const struct view *view, struct page *page, const char *label,
		      enum counter calls)
{
	add_calls(page, label, view->tally.counters[calls], (double)view->tally.tokens[calls + 1]);
}

static void add_shadow_counts(const struct view *view, struct page *page)
{
	const uint64_t *counts = view->shadow.counts;

	if (view_is_shadow(view) || counts[SHADOW_PASSED_CALLS])
		add_calls(page, "shadow passed", counts[SHADOW_PASSED_CALLS],
			  view_tokens(view, counts[SHADOW_PASSED_UNITS]));
	if (view_has_shadow(view) || counts[SHADOW_REFUSED_CALLS])
		add_calls(page, "shadow refused", counts[SHADOW_REFUSED_CALLS],
			  view_tokens(view, counts[SHADOW_REFUSED_UNITS]));
}

static void add_counts(const struct view *view, struct page *page)
{
	char tokens[TEXT_BYTES], text[TEXT_BYTES + 16];

	view_add_counts(view, page, false);
	page_duration(page, "waited_ns", NULL, view->tally.counters[COUNT_WAITED_NS]);
	add_count(view, page, "granted", COUNT_GRANTED_CALLS);
	add_count(view, page, "refused", COUNT_REFUSED_CALLS);
	add_count(view, page, "waited", COUNT_WAITED_CALLS);
	text_tokens((double)view->tally.tokens[COUNT_RETURNED_UNITS], tokens);
	snprintf(text, sizeof(text), "%s token%s", tokens, strcmp(tokens, "1") == 0 ? "" : "s");
	page_text(page, NULL, "given back", text);
	add_shadow_counts(view, page);
}

static void add_queue(const struct view *view, struct page *page)
{
	char tokens[TEXT_BYTES], duration[TEXT_BYTES];
	char text[3 * TEXT_BYTES];

	if (view_queue(view) <= 0) {
		page_text(page, NULL, "queue", "nobody waits in line");
		return;
	}
	/* a queue that is there is never said to be of 0 tokens */
	text_tokens(ceil(view_queue(view) * 1000) / 1000, tokens);
	if (view->queue_ns == UINT64_MAX)
		snprintf(text, sizeof(text), "%s tokens ahead, and the line does not move", tokens);
	else
		snprintf(text, sizeof(text), "%s tokens ahead; the last in line passes in %s",
			 tokens, text_duration(view->queue_ns, duration));
	page_text(page, NULL, "queue", text);
}

static void add_bucket(const struct view *view, struct page *page)
{
	if (view->kind == VIEW_DEFAULT)
		return;
	view_add_level(view, page, false);
	if (view->kind == VIEW_EACH && !view->used)
		page_text(page, NULL, "",
			  view->key ? "the key is full, and takes no room"
				    : "what a key has that nobody uses: see weirctl keys");
	else if (!view->used)
		page_text(page, NULL, "",
			  "nobody has used this bucket yet: it begins with its "
			  "initial level");
	page_flag(page, "used", NULL, view->used);
	view_add_state(view, page, false);
	add_queue(view, page);
	add_counts(view, page);
}

static void print_fields(const struct view *view)
{
	struct limit_fields fields;

	limit_fields_of_view(view, &fields);
	limit_fields_print(&fields, stdout);
}

static void add_fields(const struct view *view, struct page *page)
{
	struct limit_fields fields;

	limit_fields_of_view(view, &fields);
	limit_fields_add(&fields, page);
}

static bool print_view(const struct look *look, const struct ctl *ctl, const struct view *view)
{
	char text[64];
	struct page page;

	page_open(&page, ctl->json);
	page_text(&page, "name", "name", view->name);
	page_text(&page, "instance", "instance", ctl->place.name);
	add_rule(view, &page);
	add_losers(look, view, &page);
	add_terms(look, view, &page);
	add_bucket(view, &page);
	page_count(&page, "row", NULL, view->row);
	page_count(&page, "bucket", NULL, view->bucket);
	snprintf(text, sizeof(text), "row %u, bucket %u", view->row, view->bucket);
	page_text(&page, NULL, "place", text);
	if (ctl->args.values[OPTION_FIELDS])
		add_fields(view, &page);
	look_add_observations(look, &page);
	page_flag(&page, "weird_running", NULL, look->alive);
	if (!look->alive)
		page_text(&page, NULL, "weird", "not running: limits stay in force");
	return page_print(&page, stdout);
}

enum ctl_exit command_show(struct ctl *ctl)
{
	char whole[LAYOUT_TEXT_BYTES];
	const char *name = ctl_name_of_key(ctl, whole);
	enum ctl_exit status = CTL_DONE;
	struct look look;
	struct view view;
	int error;

	if (!name || !look_open(&look, ctl))
		return CTL_CANNOT;
	error = look_name(&look, name, &view);
	if (error < 0)
		status = ctl_complain("`%s`: %s", name, weir_strerror(error));
	else if (ctl->args.values[OPTION_FIELDS] && !ctl->json)
		print_fields(&view);
	else if (!print_view(&look, ctl, &view))
		status = ctl_complain("%s", weir_strerror(-ENOMEM));
	look_close(&look);
	return status;
}
