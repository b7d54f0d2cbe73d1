/* SPDX-License-Identifier: Apache-2.0 */
#include "intake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "fold.h"

/* ---- keys ---- */

static void make_arrival(const struct intake *intake, uint32_t log, const struct log_entry *entry,
			 struct intake_request *out)
{
	unsigned char address[FOLD_ADDRESS_BYTES];
	char folded[FOLD_TEXT_BYTES];
	const char *key = entry->key;
	size_t bytes = entry->key_bytes;

	if (fold_address(intake->fold, key, bytes, address)) {
		fold_address_text(address, folded);
		key = folded;
		bytes = strlen(folded);
	}

	uint64_t hash = XXH3_64bits_withSecret(key, bytes, intake->secret, sizeof(intake->secret));

	size_t shown = bytes < ARRIVAL_KEY_MAX ? bytes : ARRIVAL_KEY_MAX;

	memcpy(out->key, key, shown);
	out->arrival = (struct arrival){
		.time_ns = entry->time.ns,
		.whole = entry->time.whole,
		.hash = hash ? hash : 1,
		.cost_micro = entry->cost_micro,
		.key = out->key,
		.key_bytes = (uint8_t)shown,
		.log = log,
		.line = intake->logs[log].source.line,
	};
}

/* ---- lines ---- */

static void count_skip(struct intake *intake, enum log_skip reason, uint32_t log, uint64_t line)
{
	struct intake_skip *skip = &intake->skips[reason];

	if (skip->lines++ == 0) {
		skip->log = log;
		skip->line = line;
	}
}

void intake_skip(struct intake *intake, const struct arrival *arrival, enum log_skip reason)
{
	count_skip(intake, reason, arrival->log, arrival->line);
}

/* The next request of one log, in the order of its lines. */
static bool read_request(struct intake *intake, uint32_t number, struct intake_request *out)
{
	struct intake_log *log = &intake->logs[number];

	for (;;) {
		enum log_source_result result;
		enum log_skip skip = LOG_SKIP_LONG;
		struct log_entry entry;
		const char *line;
		size_t bytes;

		result = log_source_line(&log->source, &line, &bytes);
		if (result == LOG_SOURCE_END)
			return false;
		if (result == LOG_SOURCE_LINE)
			skip = log_read(&log->format, line, bytes, &entry);
		if (skip == LOG_TAKEN) {
			make_arrival(intake, number, &entry, out);
			return true;
		}
		count_skip(intake, skip, number, log->source.line);
	}
}

static void copy_request(struct intake_request *to, const struct intake_request *from)
{
	*to = *from;
	to->arrival.key = to->key;
}

/*
 * The same without those that are far ahead both of the one before and the one behind: a clock that
 * was wrong for a line would make all that follow late. `next` is filled.
 */
static void read_next(struct intake *intake, uint32_t number)
{
	struct intake_log *log = &intake->logs[number];
	const struct arrival *next = &log->next.arrival;
	const struct arrival *after = &log->after.arrival;

	for (;;) {
		if (log->has_after)
			copy_request(&log->next, &log->after);
		log->has_next = log->has_after || read_request(intake, number, &log->next);
		log->has_after = false;
		if (!log->has_next ||
		    (log->any && next->time_ns <= log->last_ns + intake->slack_ns))
			break;
		log->has_after = read_request(intake, number, &log->after);
		if (!log->has_after || after->time_ns + intake->slack_ns >= next->time_ns)
			break;
		intake_skip(intake, next, LOG_SKIP_AHEAD);
	}
	if (log->has_next) {
		log->any = true;
		log->last_ns = next->time_ns;
	}
}

/* ---- several logs ---- */

/* Chooses the log with the earliest request; of the same time, the one that is named first. */
static void choose(struct intake *intake)
{
	uint64_t best_ns = UINT64_MAX;

	intake->until_ns = UINT64_MAX;
	for (uint32_t i = 0; i < intake->count; i++) {
		const struct intake_log *log = &intake->logs[i];
		uint64_t at_ns = log->next.arrival.time_ns;

		if (!log->has_next)
			continue;
		if (at_ns < best_ns) {
			intake->until_ns = best_ns;
			best_ns = at_ns;
			intake->at = i;
		} else if (at_ns < intake->until_ns) {
			intake->until_ns = at_ns;
		}
	}
}

const struct arrival *intake_next(struct intake *intake)
{
	struct intake_log *log = &intake->logs[intake->at];

	/* the request that was handed out last is done with */
	read_next(intake, intake->at);
	if (!log->has_next || log->next.arrival.time_ns >= intake->until_ns) {
		choose(intake);
		log = &intake->logs[intake->at];
	}
	return log->has_next ? &log->next.arrival : NULL;
}

static int begin_secret(struct intake *intake)
{
	uint64_t seed;

	/* 8 bytes are never given in part */
	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		return -errno;
	_Static_assert(sizeof(intake->secret) == XXH_SECRET_DEFAULT_SIZE, "one of its own size");
	XXH3_generateSecret_fromSeed(intake->secret, seed);
	return 0;
}

static int open_log(struct intake_log *log, const char *name, const struct log_format *format,
		    struct intake_wrong *wrong)
{
	const char *why = log_source_open(&log->source, name);

	log->opened = true;
	log->format = *format;
	if (!why)
		return 0;
	snprintf(wrong->room, sizeof(wrong->room), "%s", why);
	wrong->name = log->source.name;
	wrong->why = wrong->room;
	return -1;
}

int intake_open(struct intake *intake, char *const *names, uint32_t count,
		const struct log_format *format, struct intake_wrong *wrong)
{
	int status = begin_secret(intake);

	intake->logs = calloc(count, sizeof(*intake->logs));
	*wrong = (struct intake_wrong){.name = names[0], .why = strerror(ENOMEM)};
	if (!intake->logs || status < 0)
		return -1;
	intake->count = count;
	for (uint32_t i = 0; i < count; i++)
		if (open_log(&intake->logs[i], names[i], format, wrong) < 0)
			return -1;
	/* the first one is read by the first call of intake_next() */
	for (uint32_t i = 1; i < count; i++)
		read_next(intake, i);
	intake->until_ns = 0;
	return 0;
}

uint64_t intake_lines(const struct intake *intake)
{
	uint64_t lines = 0;

	for (uint32_t i = 0; i < intake->count; i++)
		lines += intake->logs[i].source.line;
	return lines;
}

uint64_t intake_bytes(const struct intake *intake)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < intake->count; i++)
		bytes += intake->logs[i].source.bytes;
	return bytes;
}

uint64_t intake_skipped(const struct intake *intake)
{
	uint64_t lines = 0;

	for (size_t i = 0; i < LOG_SKIP_COUNT; i++)
		lines += intake->skips[i].lines;
	return lines;
}

void intake_close(struct intake *intake)
{
	for (uint32_t i = 0; i < intake->count; i++)
		if (intake->logs[i].opened)
			log_source_close(&intake->logs[i].source);
	free(intake->logs);
	*intake = (struct intake){.logs = NULL};
}
