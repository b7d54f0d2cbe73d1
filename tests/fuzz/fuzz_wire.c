/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as a message of the control socket: what is taken can be written, and is the same when
 * it is read again.
 */
#include "fuzz.h"

#include <stdbool.h>

#include "wire.h"

static bool same_text(const char *a, const char *b)
{
	return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

static void check_same(const struct wire_message *a, const struct wire_message *b)
{
	FUZZ_CHECK(a->kind == b->kind && a->code == b->code && a->keep == b->keep);
	FUZZ_CHECK(a->duration_ns == b->duration_ns && a->setting_count == b->setting_count);
	FUZZ_CHECK(same_text(a->name, b->name) && same_text(a->text, b->text));
	for (unsigned i = 0; i < a->setting_count; i++) {
		FUZZ_CHECK(same_text(a->settings[i].key, b->settings[i].key));
		FUZZ_CHECK(same_text(a->settings[i].value, b->settings[i].value));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char written[WIRE_MAX_BYTES];
	struct wire_message message;
	struct wire_message again;
	int64_t length = wire_length(data, size);

	FUZZ_CHECK(length <= (int64_t)WIRE_MAX_BYTES);
	if (wire_parse(&message, data, size) < 0)
		return 0;
	FUZZ_CHECK(message.setting_count <= WIRE_MAX_SETTINGS);
	length = wire_write(&message, written, sizeof(written));
	FUZZ_CHECK(length > 0);
	FUZZ_CHECK(wire_parse(&again, written, (size_t)length) >= 0);
	check_same(&message, &again);
	return 0;
}
