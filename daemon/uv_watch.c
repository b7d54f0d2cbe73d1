/* SPDX-License-Identifier: Apache-2.0 */
#include "uv_watch.h"

#include <time.h>

#include "align.h"
#include "log.h"
#include "notify.h"
#include "rules.h"
#include "weir.h"

static void sample(const struct segment *segment, struct watch_sample *out)
{
	struct time_pair pair = time_source_pair(&segment->time);
	struct line clock;

	segment_clock(segment, &clock);
	out->ticks = pair.ticks;
	out->monotonic_ns = pair.kernel_ns;
	out->boottime_ns = pair.kernel_ns + (time_source_kernel_ns(CLOCK_BOOTTIME) -
					     time_source_kernel_ns(CLOCK_MONOTONIC));
	/* the monotonic clock counts nanoseconds itself */
	out->clock_ns =
		segment->time.kind == CLOCK_KIND_TSC ? line_value(&clock, pair.ticks) : pair.ticks;
}

static void say(const struct watch_verdict *verdict, uint64_t hz)
{
	if (verdict->suspended)
		log_line(LOG_INFO, "the machine was suspended: %.1f s are credited",
			 (double)verdict->slept_ns / 1e9);
	else
		log_line(LOG_INFO,
			 "the segment's clock was %+.3f ms off: calibrated anew, %llu -> %llu "
			 "ticks per second",
			 (double)verdict->drift_ns / 1e6, (unsigned long long)hz,
			 (unsigned long long)verdict->hz);
}

/* The wall clock was set, or is steered: windows that follow it begin at other ticks. */
static void align(struct segment *segment)
{
	struct wall_time wall = align_now(&segment->time);
	int64_t shift_ns;
	unsigned rows = rules_align(segment, &wall, WATCH_ALIGN_NS, &shift_ns);
	double ms = (double)(shift_ns < 0 ? -shift_ns : shift_ns) / 1e6;

	if (rows)
		log_line(ms < WATCH_ALIGN_SAY_MS ? LOG_DEBUG : LOG_INFO,
			 "the wall clock has moved: windows of %u rules begin %.3f ms %s", rows, ms,
			 shift_ns < 0 ? "earlier" : "later");
}

static void check_clock(struct uv_watch *self)
{
	struct segment *segment = &self->instance->segment;
	uint64_t hz = segment_hz(segment);
	struct watch_verdict verdict;
	struct watch_sample now;
	int error;

	if (self->pair != segment->pair) {
		/* another pair, another calibration and another origin */
		self->watch = (struct watch){0};
		self->pair = segment->pair;
	}
	sample(segment, &now);
	watch_step(&self->watch, &now, hz, &verdict);
	if (!verdict.rebase)
		return;
	error = rules_rebase(segment, verdict.hz, verdict.slept_ns);
	if (error < 0)
		log_line(LOG_ERROR, "the clock could not be calibrated anew: %s",
			 weir_strerror(error));
	else
		say(&verdict, hz);
	sample(segment, &now);
	watch_rebased(&self->watch, &now, verdict.suspended);
}

static void on_clock(uv_timer_t *timer)
{
	struct uv_watch *self = timer->data;

	check_clock(self);
	align(&self->instance->segment);
}

static void on_watchdog(uv_timer_t *timer)
{
	(void)timer;
	notify_watchdog();
}

int uv_watch_start(struct uv_watch *watch, uv_loop_t *loop, struct instance *instance,
		   uint64_t watchdog_ns)
{
	uint64_t watchdog_ms = watchdog_ns / 1000000 ? watchdog_ns / 1000000 : 1;
	int error = 0;

	*watch = (struct uv_watch){.instance = instance, .pair = instance->segment.pair};
	uv_timer_init(loop, &watch->clock);
	uv_timer_init(loop, &watch->watchdog);
	watch->clock.data = watch;
	/* a manual clock is whatever its program says */
	if (instance->segment.time.kind != CLOCK_KIND_MANUAL)
		error = uv_timer_start(&watch->clock, on_clock, 0, UV_WATCH_MS);
	if (error == 0 && watchdog_ns)
		error = uv_timer_start(&watch->watchdog, on_watchdog, 0, watchdog_ms);
	return error;
}

void uv_watch_stop(struct uv_watch *watch)
{
	uv_close((uv_handle_t *)&watch->clock, NULL);
	uv_close((uv_handle_t *)&watch->watchdog, NULL);
}
