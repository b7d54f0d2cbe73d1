/* SPDX-License-Identifier: Apache-2.0 */
#include "replay.h"

#include <string.h>

#include "align.h"
#include "bucket.h"
#include "window.h"

#define NS_PER_S 1000000000ull
#define AHEAD 8 /* requests whose slots are fetched before they are needed */

/* Something was refused by that bucket. In a segment this bit says frozen, which no mark is here.
 */
#define MARK_HIT BUCKET_FROZEN

/* ---- limits ---- */

/* The limit's line at its birth, as line_begin() would make it. */
static void begin_line(struct replay_limit *limit, uint64_t now)
{
	const struct wall_time wall = {now, now};
	struct line clock;

	line_from_hz(&clock, NS_PER_S);
	line_from_terms(&limit->line, &limit->terms, line_best_unit(&limit->terms), NS_PER_S);
	limit->line.origin_ticks = now;
	if (limit->line.flags & LINE_ALIGNED)
		align_line(&limit->line, &limit->terms.window, &clock, &wall, NULL);
	limit->line.origin_units = limit->line.flags & LINE_FIRST ? LINE_BIRTH_FIRST : LINE_BIRTH;
	limit->one = line_units(TERMS_MICRO, limit->line.k);
}

/* A new origin on the same line: a line ends after decades. */
static void move_line(struct line *line, uint64_t now)
{
	line_wide value = line_value_wide(line, now);

	line->origin_units = (uint64_t)(value >> 64);
	if (line->flags & LINE_ALIGNED) {
		line->origin_ticks +=
			(now - line->origin_ticks) / line->step_ticks * line->step_ticks;
		return;
	}
	line->origin_ticks = now;
	if (!(line->flags & LINE_FIRST))
		line->origin_fraction = (uint64_t)value;
}

/* Moves the time, which does not go back. */
static void move_time(struct replay *replay, uint64_t time_ns)
{
	if (!replay->begun) {
		for (unsigned i = 0; i < replay->count; i++)
			begin_line(&replay->limits[i], time_ns);
		replay->begun = true;
		replay->first_ns = time_ns;
	}
	if (time_ns > replay->now_ns)
		replay->now_ns = time_ns;
	for (unsigned i = 0; i < replay->count; i++)
		if (replay->now_ns - replay->limits[i].line.origin_ticks > LINE_ELAPSED_MAX / 2)
			move_line(&replay->limits[i].line, replay->now_ns);
}

/* ---- buckets ---- */

/* A mark of a bucket that is full. */
static uint64_t full_mark(const struct line *line, uint64_t now)
{
	return line_stand(line, now, 0).v;
}

/* Ticks until a bucket is full, if it is left alone; 0: it is. */
static uint64_t ticks_to_full(const struct line *line, uint64_t now, uint64_t mark)
{
	struct stand stand = line_stand(line, now, mark);

	if (stand.ahead == 0)
		return 0;
	if (!(line->flags & LINE_WINDOW))
		return line_ticks_until(line, now, mark);
	return line->step_units
		       ? window_ticks(line, now, stand.v, (stand.ahead - 1) / line->step_units + 1)
		       : UINT64_MAX;
}

/* A mark_table_debt: what the limit that takes longest says. */
static uint64_t debt(void *context, const uint64_t *marks)
{
	const struct replay *replay = context;
	uint64_t most = 0;

	for (unsigned i = 0; i < replay->count; i++) {
		uint64_t ticks = ticks_to_full(&replay->limits[i].line, replay->now_ns,
					       marks[i * MARK_TABLE_LANES] & ~MARK_HIT);

		most = ticks > most ? ticks : most;
	}
	return most;
}

/* Draws as a worker would, now or never. */
static bool draw(const struct line *line, uint64_t now, uint64_t units, struct bucket *bucket)
{
	const struct bucket_want want = {
		.unit = units, .least = 1, .most = 1, .limit = line->burst_units};
	struct bucket_windows windows;
	struct bucket_mark mark;

	if (line->flags & LINE_UNLIMITED || units == 0)
		return true;
	if (line->flags & LINE_WINDOW)
		return bucket_take_window(bucket, bucket_load(bucket), line, now, &want,
					  &windows) == BUCKET_TAKEN;
	return bucket_take_from(bucket, bucket_load(bucket), line_value(line, now), units,
				line->burst_units, &mark) == BUCKET_TAKEN;
}

/* A request of a limit. Returns whether it was admitted. */
static bool judge(struct replay_limit *limit, uint64_t now, const struct arrival *arrival,
		  uint64_t *mark)
{
	struct bucket bucket = {.mark = *mark & ~MARK_HIT};
	uint64_t hit = *mark & MARK_HIT;
	uint64_t cost = arrival->cost_micro;
	uint64_t units = cost == TERMS_MICRO ? limit->one : line_units(cost, limit->line.k);

	if (draw(&limit->line, now, units, &bucket)) {
		*mark = bucket_look(&bucket) | hit;
		limit->admitted++;
		limit->admitted_micro += cost;
		return true;
	}
	limit->refused++;
	limit->refused_micro += cost;
	limit->never += units > limit->line.burst_units;
	if (!hit) {
		*mark |= MARK_HIT;
		limit->hit++;
		distinct_add(&limit->hit_about, arrival->hash);
	}
	return false;
}

/* ---- requests ---- */

static void take_one(struct replay *replay, const struct due *due)
{
	const struct arrival *arrival = due->arrival;
	uint64_t *marks;
	bool admitted;
	bool fresh;

	move_time(replay, due->time_ns);
	marks = mark_table_find(&replay->table, arrival->hash, &fresh);
	if (fresh) {
		distinct_add(&replay->keys_about, arrival->hash);
		for (unsigned i = 0; i < replay->count; i++)
			marks[i * MARK_TABLE_LANES] =
				full_mark(&replay->limits[i].line, replay->now_ns);
	}
	admitted = judge(&replay->limits[0], replay->now_ns, arrival, marks);
	timeline_add(&replay->timeline, replay->now_ns, admitted);
	if (!admitted)
		offenders_add(&replay->offenders, arrival);
	for (unsigned i = 1; i < replay->count; i++)
		judge(&replay->limits[i], replay->now_ns, arrival, &marks[i * MARK_TABLE_LANES]);
}

void replay_take(void *context, const struct due *due, size_t count)
{
	struct replay *replay = context;

	for (size_t i = 0; i < count && i < AHEAD; i++)
		mark_table_prefetch(&replay->table, due[i].arrival->hash);
	for (size_t i = 0; i < count; i++) {
		if (count - i > AHEAD)
			mark_table_prefetch(&replay->table, due[i + AHEAD].arrival->hash);
		take_one(replay, &due[i]);
	}
}

int replay_begin(struct replay *replay, struct replay_limit *limits, unsigned count, uint64_t keys)
{
	memset(replay, 0, sizeof(*replay));
	replay->limits = limits;
	replay->count = count;
	replay->table = (struct mark_table){.debt = debt, .context = replay, .marks = count};
	return mark_table_begin(&replay->table, keys);
}

/* ---- results ---- */

bool replay_is_exact(const struct replay *replay)
{
	return replay->table.recycled == 0 && replay->table.evicted == 0;
}

uint64_t replay_keys(const struct replay *replay)
{
	return replay_is_exact(replay) ? replay->table.used
				       : distinct_estimate(&replay->keys_about);
}

uint64_t replay_hit(const struct replay *replay, const struct replay_limit *limit)
{
	return replay_is_exact(replay) ? limit->hit : distinct_estimate(&limit->hit_about);
}

void replay_free(struct replay *replay)
{
	mark_table_free(&replay->table);
}
