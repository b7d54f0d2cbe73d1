/* SPDX-License-Identifier: Apache-2.0
 *
 * Any text as a rate, a number of tokens, a duration, a count, a window, what a class leaves, the
 * name of a class: what is taken is within bounds and is read back from what is written of it.
 */
#include "fuzz.h"

#include "class.h"
#include "value.h"
#include "window.h"

#define SENTENCE_BYTES 400

static void check_rate(const char *text)
{
	uint64_t rate, period, rate_again, period_again;
	char written[VALUE_TEXT_BYTES];
	const char *why = value_rate(text, &rate, &period);

	if (why) {
		FUZZ_CHECK(*why && strlen(why) < SENTENCE_BYTES);
		return;
	}
	FUZZ_CHECK(period >= 1000000000u && period <= VALUE_PERIOD_MAX_NS);
	FUZZ_CHECK(!value_rate(value_rate_text(rate, period, written), &rate_again, &period_again));
	FUZZ_CHECK(rate_again == rate && period_again == period);
}

static void check_tokens(const char *text)
{
	uint64_t micro, again;
	char written[VALUE_TEXT_BYTES];

	if (value_tokens(text, &micro))
		return;
	FUZZ_CHECK(micro <= VALUE_TOKENS_MAX_MICRO);
	FUZZ_CHECK(!value_tokens(value_tokens_text(micro, written), &again) && again == micro);
}

static void check_duration(const char *text)
{
	uint64_t ns, again;
	char written[VALUE_TEXT_BYTES];

	if (value_duration(text, &ns))
		return;
	FUZZ_CHECK(!value_duration(value_duration_text(ns, written), &again) && again == ns);
}

static void check_window(const char *text)
{
	struct window_terms window, again;
	char written[VALUE_TEXT_BYTES];

	if (value_window(text, &window))
		return;
	FUZZ_CHECK(window.length_ns <= VALUE_PERIOD_MAX_NS);
	FUZZ_CHECK(!value_window(value_window_text(&window, written), &again));
	FUZZ_CHECK(window_terms_equal(&window, &again));
}

static void check_leave(const char *text)
{
	uint64_t leave, again;
	char written[VALUE_TEXT_BYTES];

	if (class_read_leave(text, &leave))
		return;
	FUZZ_CHECK(class_leave_units(leave, 1ull << 40, 0) <=
		   (leave & CLASS_SHARE ? 1ull << 40 : 1ull << 62));
	FUZZ_CHECK(!class_read_leave(class_leave_text(leave, written), &again) && again == leave);
}

static void check_class(const char *text)
{
	char written[CLASS_TEXT_BYTES];
	uint64_t number = class_number(text);

	if (number)
		FUZZ_CHECK(strcmp(class_text(number, written), text) == 0);
}

static void check_count(const char *text)
{
	uint64_t count;

	if (!value_count(text, 3, 1000000, &count))
		FUZZ_CHECK(count >= 3 && count <= 1000000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);

	check_rate(text);
	check_tokens(text);
	check_duration(text);
	check_count(text);
	check_leave(text);
	check_class(text);
	check_window(text);
	free(text);
	return 0;
}
