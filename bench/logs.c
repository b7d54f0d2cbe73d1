/* SPDX-License-Identifier: Apache-2.0
 *
 * logs.c - what `weirctl simulate` costs a line of a log, beside what finding the lines costs.
 *
 * The log is one of the combined format, made once and read as a file each time: a hundred thousand
 * requests of some minutes, by ten thousand clients, of whom some are much busier than others.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "intake.h"
#include "lineup.h"
#include "replay.h"

#define LINES 100000u
#define CLIENTS 10000u
#define KEYS 1000000u
#define LINES_A_SECOND 500u
#define BEGIN_S 1796040000

static FILE *file;
static char path[64];

#define CHROME                                                                                     \
	"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 " \
	"Safari/537.36"
#define FIREFOX "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/118.0"

static const char *const agents[] = {CHROME, FIREFOX, "curl/7.88.1"};

static uint64_t random_word(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

static void write_line(uint64_t *state, unsigned number)
{
	time_t at = BEGIN_S + number / LINES_A_SECOND;
	uint64_t client = random_word(state) % CLIENTS;
	char time[32];
	struct tm parts;

	/* half of the requests are of few clients */
	if (random_word(state) % 2)
		client = client * client / CLIENTS * client / CLIENTS;
	gmtime_r(&at, &parts);
	strftime(time, sizeof(time), "%d/%b/%Y:%H:%M:%S +0000", &parts);
	fprintf(file,
		"10.%u.%u.%u - - [%s] \"GET /items/%u?page=%u HTTP/1.1\" 200 %u "
		"\"https://example.com/items\" \"%s\"\n",
		(unsigned)client % 7, (unsigned)client / 256, (unsigned)client % 256, time,
		(unsigned)(random_word(state) % 100000), (unsigned)(random_word(state) % 50),
		(unsigned)(random_word(state) % 50000), agents[random_word(state) % 3]);
}

static const char *make_log(void)
{
	uint64_t state = 0x9e3779b97f4a7c15ull;

	if (file)
		return NULL;
	file = tmpfile();
	if (!file)
		return "no file to write a log to";
	for (unsigned i = 0; i < LINES; i++)
		write_line(&state, i);
	if (fflush(file) != 0)
		return "no room to write a log to";
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fileno(file));
	return NULL;
}

static void remove_log(void)
{
	if (file)
		fclose(file);
	file = NULL;
}

/* As wc -l does it. */
static uint64_t run_lines(uint64_t ops)
{
	static char buffer[LOG_SOURCE_BYTES];
	uint64_t lines = 0;

	for (uint64_t pass = 0; pass < ops / LINES; pass++) {
		off_t at = 0;
		ssize_t got;

		while ((got = pread(fileno(file), buffer, sizeof(buffer), at)) > 0) {
			const char *end = buffer + got;

			for (const char *from = buffer;
			     (from = memchr(from, '\n', (size_t)(end - from))); from++)
				lines++;
			at += got;
		}
	}
	return lines;
}

/* The terms of 2/s with a burst of 5. */
static bool set_limit(struct replay_limit *limit)
{
	memset(limit, 0, sizeof(*limit));
	return !config_set_term(&limit->terms, "rate", "2/s") &&
	       !config_set_term(&limit->terms, "burst", "5") &&
	       !config_finish_terms(&limit->terms, true, false);
}

/* One reading of the log; how many of its requests were judged. */
static uint64_t simulate_once(struct replay *replay)
{
	static struct replay_limit limit;
	struct lineup lineup = {.take = replay_take, .context = replay, .slack_s = 10};
	struct intake intake = {.slack_ns = 10000000000ull};
	char *const names[] = {path};
	const struct arrival *arrival;
	struct intake_wrong wrong;
	struct log_format format;
	uint64_t requests = 0;

	if (set_limit(&limit) && !log_format_begin(&format, NULL, NULL, NULL) &&
	    intake_open(&intake, names, 1, &format, &wrong) == 0 && lineup_begin(&lineup) == 0 &&
	    replay_begin(replay, &limit, 1, KEYS) == 0) {
		while ((arrival = intake_next(&intake)) && lineup_add(&lineup, arrival) == 1)
			;
		if (lineup_end(&lineup) == 0)
			requests = replay_requests(replay);
	}
	replay_free(replay);
	lineup_free(&lineup);
	intake_close(&intake);
	return requests;
}

static uint64_t run_simulate(uint64_t ops)
{
	static struct replay replay;
	uint64_t requests = 0;

	for (uint64_t pass = 0; pass < ops / LINES; pass++)
		requests += simulate_once(&replay);
	return requests;
}

const struct bench_work bench_log_lines = {
	.name = "floor/log-lines",
	.least = LINES,
	.prepare = make_log,
	.run = run_lines,
};

const struct bench_work bench_log_simulate = {
	.name = "weir/log-simulate",
	.least = LINES,
	.prepare = make_log,
	.run = run_simulate,
	.finish = remove_log,
};
