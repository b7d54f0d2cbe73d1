/* SPDX-License-Identifier: Apache-2.0
 *
 * load NAME - lets processes draw from a limit and holds what was granted against what the rule
 * allows.
 */
#include "ctl.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "crew.h"
#include "draw.h"
#include "meter.h"
#include "names.h"
#include "text.h"
#include "time_source.h"
#include "value.h"
#include "weir.h"

#define STEP_NS 100000000ull
#define SECOND_NS 1000000000ull
#define GATHER_NS (10 * SECOND_NS)
#define LATE_NS (3 * SECOND_NS) /* a worker that is not done so long after its time is stuck */

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
	interrupted = signal;
}

struct load {
	const struct ctl *ctl;
	struct crew_plan plan;
	struct crew crew;
	struct meter meter;
	uint64_t began_ns;
	uint64_t ended_ns;
	uint64_t line_ns;		       /* of the last line */
	long double line_counts[METER_COUNTS]; /* the sums then */
	bool redraw;			       /* a terminal: one line, again and again */
	bool drawn;			       /* it stands there now */
	bool dismissed;
};

static uint64_t now_ns(void)
{
	return time_source_kernel_ns(CLOCK_MONOTONIC);
}

/* ---- lines ---- */

/* Takes away the line that is being redrawn. */
static void clear_line(struct load *load)
{
	if (load->drawn)
		fputs("\r\033[K", stdout);
	load->drawn = false;
}

static double per_second(const struct load *load, enum meter_count count, uint64_t span_ns)
{
	long double by = load->meter.sums[count] - load->line_counts[count];

	return span_ns ? (double)(by * SECOND_NS / (long double)span_ns) : 0;
}

static void print_line_json(const struct load *load, double granted, double refused)
{
	const struct view *view = &load->meter.view;
	char rate[VALUE_TEXT_BYTES];
	struct page page;

	page_open(&page, true);
	page_tokens(&page, "elapsed_s", NULL,
		    (double)(load->line_ns - load->began_ns) / (double)SECOND_NS);
	page_tokens(&page, "granted_per_s", NULL, granted);
	page_tokens(&page, "refused_per_s", NULL, refused);
	page_tokens(&page, "level", NULL, view_level(view));
	page_text(&page, "rate", NULL,
		  value_rate_text(view->terms.rate_micro, view->terms.period_ns, rate));
	page_count(&page, "workers", NULL, load->crew.count - load->crew.ended);
	page_print_line(&page, stdout);
}

static void print_line_text(struct load *load, double granted, double refused)
{
	const struct view *view = &load->meter.view;
	char rate[VALUE_TEXT_BYTES], state[VIEW_STATE_BYTES];

	clear_line(load);
	value_rate_text(view->terms.rate_micro, view->terms.period_ns, rate);
	printf("%4.0f s  %9.1f tokens/s granted  %7.1f calls/s refused  rate %s, %s, %u of %u "
	       "workers%s",
	       (double)(load->line_ns - load->began_ns) / (double)SECOND_NS, granted, refused, rate,
	       view_state(view, state), load->crew.count - load->crew.ended, load->crew.count,
	       load->redraw ? "" : "\n");
	load->drawn = load->redraw;
}

static void print_line(struct load *load)
{
	uint64_t now = now_ns();
	double granted = per_second(load, METER_GRANTED, now - load->line_ns);
	double refused = per_second(load, METER_REFUSED_CALLS, now - load->line_ns);

	load->line_ns = now;
	memcpy(load->line_counts, load->meter.sums, sizeof(load->line_counts));
	if (load->ctl->json)
		print_line_json(load, granted, refused);
	else
		print_line_text(load, granted, refused);
	fflush(stdout);
}

static void print_killed(struct load *load, unsigned index)
{
	const struct crew_worker *worker = &load->crew.workers[index];
	const char *name = sigabbrev_np(worker->killed_by);

	if (load->dismissed || load->ctl->json)
		return;
	clear_line(load);
	printf("        worker %u (pid %ld) was killed by SIG%s; %u go on\n", index + 1,
	       (long)worker->pid, name ? name : "?", load->crew.count - load->crew.ended);
	fflush(stdout);
}

/* ---- the verdict ---- */

static void print_workers(const struct load *load)
{
	const unsigned most = 16;

	printf("calls granted to each worker:");
	for (unsigned i = 0; i < load->crew.count && i < most; i++)
		printf(" %llu%s", (unsigned long long)load->crew.workers[i].granted,
		       load->crew.workers[i].killed_by ? " (killed)" : "");
	puts(load->crew.count > most ? " ..." : "");
}

static void print_verdict_text(const struct load *load, const char *verdict)
{
	long double allowed = meter_allowed(&load->meter);
	char granted[TEXT_BYTES], most[TEXT_BYTES];
	double seconds = (double)(load->ended_ns - load->began_ns) / (double)SECOND_NS;

	text_tokens((double)load->meter.sums[METER_GRANTED], granted);
	text_tokens((double)allowed, most);
	print_workers(load);
	if (load->meter.unlimited) {
		printf("granted %s tokens in %.1f s: %s\n", granted, seconds, verdict);
		return;
	}
	printf("granted %s of %s tokens allowed in %.1f s", granted, most, seconds);
	if (allowed > 0)
		printf(" (%.1f %%)", (double)(100 * load->meter.sums[METER_GRANTED] / allowed));
	printf(": %s\n", verdict);
}

static void print_verdict_json(const struct load *load, const char *verdict)
{
	const struct meter *meter = &load->meter;
	long double allowed = meter_allowed(meter);
	struct page page;

	page_open(&page, true);
	page_text(&page, "verdict", NULL, verdict);
	page_text(&page, "name", NULL, meter->name);
	page_tokens(&page, "elapsed_s", NULL,
		    (double)(load->ended_ns - load->began_ns) / (double)SECOND_NS);
	page_tokens(&page, "granted", NULL, (double)meter->sums[METER_GRANTED]);
	page_tokens(&page, "allowed", NULL, meter->unlimited ? INFINITY : (double)allowed);
	page_tokens(&page, "ratio", NULL,
		    meter->unlimited || allowed <= 0
			    ? INFINITY
			    : (double)(meter->sums[METER_GRANTED] / allowed));
	page_tokens(&page, "excess", NULL, (double)meter_excess(meter));
	page_count(&page, "granted_calls", NULL, (uint64_t)meter->sums[METER_GRANTED_CALLS]);
	page_count(&page, "refused_calls", NULL, (uint64_t)meter->sums[METER_REFUSED_CALLS]);
	page_rows(&page, "workers");
	for (unsigned i = 0; i < load->crew.count; i++) {
		page_row(&page);
		page_count(&page, "pid", NULL, (uint64_t)load->crew.workers[i].pid);
		page_count(&page, "granted_calls", NULL, load->crew.workers[i].granted);
		page_flag(&page, "killed", NULL, load->crew.workers[i].killed_by != 0);
	}
	page_print_line(&page, stdout);
}

static enum ctl_exit conclude(struct load *load)
{
	bool over = meter_excess(&load->meter) > 0;

	clear_line(load);
	if (load->ctl->json)
		print_verdict_json(load, load->meter.unlimited ? "unlimited"
					 : over		       ? "over"
							       : "within");
	else
		print_verdict_text(load, load->meter.unlimited
						 ? "unlimited, nothing to hold it against"
					 : over ? "OVER THE LIMIT"
						: "within the limit");
	if (load->crew.fault == 0 || load->crew.failed == 0)
		return over ? CTL_REFUSED : CTL_DONE;
	return ctl_complain("%u of %u workers failed: %s", load->crew.failed, load->crew.count,
			    weir_strerror(load->crew.fault));
}

/* ---- the run ---- */

static void dismiss(struct load *load, int signal)
{
	if (!load->dismissed)
		crew_dismiss(&load->crew, signal);
	load->dismissed = true;
}

static void attend(struct load *load)
{
	uint64_t late = load->began_ns + load->plan.for_ns + LATE_NS;
	uint64_t next_line = load->began_ns + SECOND_NS;

	while (load->crew.ended < load->crew.count) {
		int64_t killed = crew_attend(&load->crew, STEP_NS);

		meter_step(&load->meter);
		if (killed >= 0)
			print_killed(load, (unsigned)killed);
		if (interrupted)
			dismiss(load, SIGTERM);
		if (now_ns() >= late)
			dismiss(load, SIGKILL);
		if (now_ns() >= next_line && load->crew.ended < load->crew.count) {
			print_line(load);
			next_line += SECOND_NS;
		}
	}
	/* what they wrote last may still be in the pipe */
	crew_attend(&load->crew, STEP_NS);
	meter_step(&load->meter);
	load->ended_ns = now_ns();
}

static void watch_signals(void)
{
	const struct sigaction action = {.sa_handler = interrupt};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static enum ctl_exit run_crew(struct load *load)
{
	int status;

	crew_gather(&load->crew, GATHER_NS);
	if (load->crew.fault < 0) {
		dismiss(load, SIGKILL);
		return draw_complain(load->ctl, load->crew.fault);
	}
	/* by now the name has its bucket, and nobody of ours has drawn */
	status = meter_begin(&load->meter, &load->ctl->place, load->plan.name);
	if (status < 0) {
		dismiss(load, SIGKILL);
		return ctl_complain("`%s`: %s", load->plan.name, weir_strerror(status));
	}
	load->began_ns = load->line_ns = now_ns();
	crew_begin(&load->crew);
	attend(load);
	return conclude(load);
}

static bool read_plan(struct load *load, unsigned *count)
{
	const struct ctl *ctl = load->ctl;
	const char *workers = ctl->args.values[OPTION_WORKERS];
	uint64_t wanted = *count;

	load->plan.name = ctl_name(ctl);
	if (!load->plan.name || !ctl_cost(ctl, &load->plan.cost) || !ctl_class(ctl) ||
	    !ctl_duration(ctl, OPTION_FOR, false, &load->plan.for_ns))
		return false;
	if (names_is_pattern(load->plan.name)) {
		ctl_misuse(ctl, "`%s`: workers draw from a name, not from a pattern",
			   load->plan.name);
		return false;
	}
	if (load->plan.for_ns == 0) {
		ctl_misuse(ctl, "--for 0: a duration above 0");
		return false;
	}
	if (workers && value_count(workers, 1, CREW_MAX, &wanted)) {
		ctl_misuse(ctl, "-P %.80s: a whole number from 1 to %u", workers, CREW_MAX);
		return false;
	}
	*count = (unsigned)wanted;
	return true;
}

enum ctl_exit command_load(struct ctl *ctl)
{
	struct load load = {.ctl = ctl,
			    .plan = {.ctl = ctl,
				     .cost = 1,
				     .for_ns = 10 * SECOND_NS,
				     .no_queue = ctl->args.values[OPTION_NO_QUEUE] != NULL},
			    .redraw = !ctl->json && isatty(STDOUT_FILENO)};
	enum ctl_exit result;
	unsigned count = 4;
	int error;

	if (!read_plan(&load, &count) || !look_open(&load.meter.look, ctl))
		return CTL_CANNOT;
	if (load.meter.look.segment.time.kind == CLOCK_KIND_MANUAL) {
		look_close(&load.meter.look);
		return ctl_complain("the clock of instance `%s` is manual: load needs one that "
				    "runs by itself",
				    ctl->place.name);
	}
	watch_signals();
	fflush(NULL);
	error = crew_hire(&load.crew, count, &load.plan);
	if (error < 0) {
		look_close(&load.meter.look);
		return ctl_complain("cannot start %u processes: %s", count, weir_strerror(error));
	}
	result = run_crew(&load);
	crew_free(&load.crew);
	look_close(&load.meter.look);
	return result;
}
