/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a state file, as they are and with the last line that belongs to them: taken, and
 * then every record can be written and is the same when it is read again; or refused, with a
 * sentence. Levels that were taken never rise above what time has minted.
 */
#include "fuzz.h"

#include <stdbool.h>

#include "names.h"
#include "state.h"
#include "window.h"
#include "weir.h"

#define DAY (86400 * 1000000000ull)

/* The bytes with a newline, if they end without one, and the last line. */
static char *seal(const uint8_t *data, size_t size, size_t *bytes)
{
	char *text = calloc(1, size + 64);

	if (!text)
		abort();
	if (size)
		memcpy(text, data, size);
	if (size && text[size - 1] != '\n')
		text[size++] = '\n';
	*bytes = size + (size_t)sprintf(text + size, "end %u %zu\n", state_cksum(text, size), size);
	return text;
}

/* What a day brings at most; with windows, one more begins within it than fits. */
static line_wide brought_in_a_day(const struct terms *terms)
{
	uint64_t window = terms->window.length_ns;
	bool exact;

	if (window)
		return (line_wide)(DAY / window + 1) * window_quota_micro(terms, &exact);
	return (line_wide)terms->rate_micro * DAY / terms->period_ns;
}

/* Under the same terms: as it was at once; and a day later by no more than a day's tokens less. */
static void check_level(const struct state_record *record)
{
	const struct terms *terms = &record->terms;
	struct state_level level;

	if (terms->rate_micro == TERMS_UNLIMITED)
		return;
	state_age(&level, record, terms, &(struct state_span){0, 0});
	FUZZ_CHECK(level.used_micro == record->used_micro);
	FUZZ_CHECK(level.closed_ns == record->closed_ns);
	state_age(&level, record, terms, &(struct state_span){0, DAY});
	FUZZ_CHECK(level.used_micro + brought_in_a_day(terms) >= record->used_micro);
	FUZZ_CHECK(level.used_micro <= record->used_micro || record->closed_ns);
}

static void check_record(const struct state_record *record)
{
	struct line line;

	FUZZ_CHECK(record->kind == STATE_REST || names_valid(record->text));
	FUZZ_CHECK(record->used_micro <= (line_wide)LINE_FAR * TERMS_MICRO);
	if (record->kind == STATE_OPERATOR)
		FUZZ_CHECK(line_from_terms(&line, &record->terms, line_best_unit(&record->terms),
					   1000000000u) == 0);
	else
		check_level(record);
}

static void check_same(const struct state_record *a, const struct state_record *b)
{
	FUZZ_CHECK(a->kind == b->kind && strcmp(a->text, b->text) == 0);
	FUZZ_CHECK(memcmp(&a->terms, &b->terms, sizeof(a->terms)) == 0);
	FUZZ_CHECK(a->used_micro == b->used_micro && a->closed_ns == b->closed_ns);
	FUZZ_CHECK(a->uid == b->uid && a->renews_ns == b->renews_ns);
}

/* All records are written and read again. */
static void check_round_trip(struct state_reader reader, const struct state_stamp *stamp)
{
	struct state_reader from = reader, again;
	struct state_stamp stamp_again;
	struct state_record record, record_again;
	struct state_text text;
	char fault[STATE_FAULT_BYTES];

	state_begin(&text, stamp);
	while (state_next(&reader, &record)) {
		check_record(&record);
		state_add(&text, &record);
	}
	FUZZ_CHECK(state_finish(&text) == 0);
	FUZZ_CHECK(state_open(&again, &stamp_again, text.text, text.used, fault) == 0);
	FUZZ_CHECK(strcmp(stamp->instance, stamp_again.instance) == 0);
	FUZZ_CHECK(stamp->saved_ns == stamp_again.saved_ns);
	while (state_next(&again, &record_again)) {
		FUZZ_CHECK(state_next(&from, &record));
		check_same(&record, &record_again);
	}
	FUZZ_CHECK(!state_next(&from, &record));
	free(text.text);
}

static void check(const char *text, size_t bytes)
{
	struct state_reader reader;
	struct state_stamp stamp;
	char fault[STATE_FAULT_BYTES] = "";
	int status = state_open(&reader, &stamp, text, bytes, fault);

	if (status == 0) {
		check_round_trip(reader, &stamp);
		return;
	}
	FUZZ_CHECK(status == WEIR_EDAMAGED || status == WEIR_ENEWER);
	FUZZ_CHECK(fault[0] && strlen(fault) < sizeof(fault));
	for (const char *at = fault; *at; at++)
		FUZZ_CHECK((unsigned char)*at >= ' ');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t bytes;
	char *sealed = seal(data, size, &bytes);
	char *exact = malloc(bytes);

	if (!exact)
		abort();
	memcpy(exact, sealed, bytes);
	check((const char *)data, size);
	check(exact, bytes);
	free(exact);
	free(sealed);
	return 0;
}
