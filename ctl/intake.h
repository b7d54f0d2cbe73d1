/* SPDX-License-Identifier: Apache-2.0
 *
 * intake.h - reads several logs as one: the requests of all in the order of their times, as far
 * as each has them in order.
 *
 * So it does not matter in which order rotated logs are named, or whether several servers wrote
 * them at the same time. Whatever is not taken is counted, by its reason.
 */
#ifndef WEIRCTL_INTAKE_H
#define WEIRCTL_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "access_log.h"
#include "arrival.h"
#include "log_source.h"

#define INTAKE_LOGS_MAX 256
#define INTAKE_SECRET_BYTES 192

/* Lines that were not taken for one reason. */
struct intake_skip {
	uint64_t lines;
	uint32_t log; /* the first one */
	uint64_t line;
};

/* A request with room for its key. */
struct intake_request {
	struct arrival arrival;
	char key[ARRIVAL_KEY_MAX];
};

struct intake_log {
	struct log_source source;
	struct log_format format;
	bool opened;
	bool any;	  /* a request was passed on */
	uint64_t last_ns; /* its time */
	struct intake_request next;
	struct intake_request after; /* read to see whether `next` is ahead of it */
	bool has_next;
	bool has_after;
};

struct intake {
	struct intake_log *logs;
	uint32_t count;
	uint32_t at;	   /* the log that is read from */
	uint64_t until_ns; /* the next time of any other */
	uint64_t slack_ns;
	uint64_t fold; /* of addresses, as in fold.h */
	struct intake_skip skips[LOG_SKIP_COUNT];
	unsigned char secret[INTAKE_SECRET_BYTES]; /* of the hash */
};

/*
 * Opens all logs. Returns 0; or -1 and in *wrong the number of the log that cannot be read and why.
 * The secret is random: what is in a log is chosen by strangers.
 */
struct intake_wrong {
	const char *name;
	const char *why;
	char room[128];
};
int intake_open(struct intake *intake, char *const *names, uint32_t count,
		const struct log_format *format, struct intake_wrong *wrong);

/* The next request, kept until the next call; NULL at the end. */
const struct arrival *intake_next(struct intake *intake);

/* Counts one that was passed on as not taken after all. */
void intake_skip(struct intake *intake, const struct arrival *arrival, enum log_skip reason);

uint64_t intake_lines(const struct intake *intake);
uint64_t intake_bytes(const struct intake *intake);
uint64_t intake_skipped(const struct intake *intake);

void intake_close(struct intake *intake);

#endif
