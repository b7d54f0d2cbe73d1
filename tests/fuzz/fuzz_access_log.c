/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as an access log: every line is taken or skipped for a reason; what is taken lies in
 * its line, and a line says the same again.
 */
#include "fuzz.h"

#include "access_log.h"
#include "value.h"

/* What the first byte chooses from. */
static const char *const keys[] = {NULL,  "user",  "path", "2",
				   "a.b", "agent", "k",	   "request.client_ip"};
static const char *const times[] = {NULL, "1", "t", "time"};
static const char *const costs[] = {NULL, "bytes", "3", "c"};

static void check_entry(const struct log_entry *entry, const char *line, size_t bytes)
{
	FUZZ_CHECK(entry->key_bytes >= 1);
	FUZZ_CHECK(entry->key >= line && entry->key + entry->key_bytes <= line + bytes);
	FUZZ_CHECK(!memchr(entry->key, '\n', entry->key_bytes));
	FUZZ_CHECK(!memchr(entry->key, '\0', entry->key_bytes));
	FUZZ_CHECK(entry->time.ns < LOG_TIME_END_NS);
	FUZZ_CHECK(entry->cost_micro <= VALUE_TOKENS_MAX_MICRO);
}

static void check_line(struct log_format *format, const char *line, size_t bytes)
{
	/* by a clock of its own */
	struct log_format again = *format;
	struct log_entry entry = {.key = NULL};
	struct log_entry other = {.key = NULL};
	enum log_skip skip = log_read(format, line, bytes, &entry);

	again.clock = (struct log_clock){.ns = 0};
	FUZZ_CHECK(log_read(&again, line, bytes, &other) == skip);
	if (skip != LOG_TAKEN) {
		FUZZ_CHECK(skip < LOG_SKIP_COUNT && log_skip_word(skip)[0] &&
			   log_skip_text(skip)[0]);
		FUZZ_CHECK(!entry.key);
		return;
	}
	check_entry(&entry, line, bytes);
	FUZZ_CHECK(other.key == entry.key && other.key_bytes == entry.key_bytes);
	FUZZ_CHECK(other.time.ns == entry.time.ns && other.time.whole == entry.time.whole);
	FUZZ_CHECK(other.cost_micro == entry.cost_micro);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t choice = size ? data[0] : 0;
	struct log_format format;
	const uint8_t *end = data + size;

	FUZZ_CHECK(!log_format_begin(&format, keys[choice & 7], times[choice >> 3 & 3],
				     costs[choice >> 5 & 3]));
	for (const uint8_t *at = data + (size > 0); at < end;) {
		const uint8_t *stop = memchr(at, '\n', (size_t)(end - at));
		size_t bytes = (size_t)((stop ? stop : end) - at);
		/* exactly the line and its end, so that a read beyond it is seen by sanitizers */
		char *line = malloc(bytes + 1);

		if (!line)
			abort();
		memcpy(line, at, bytes);
		line[bytes] = '\n';
		check_line(&format, line, bytes);
		free(line);
		at += bytes + 1;
	}
	return 0;
}
