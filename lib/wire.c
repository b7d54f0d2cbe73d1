/* SPDX-License-Identifier: Apache-2.0
 *
 * A message, all integers little-endian:
 *	header	u32 length of the whole message, u16 version, u16 kind
 *	fields	u16 tag, u16 length, that many bytes; in any order, none twice, but that a key is
 *		followed by its value, and that such pairs may repeat
 * Strings carry their closing NUL and hold no other. Nothing is padded or aligned, and nothing
 * may follow the last field. A length is checked against what is left before it is used.
 */
#include "wire.h"

#include <stdbool.h>
#include <string.h>

#include "weir.h"

enum field_tag {
	FIELD_CODE = 1,
	FIELD_KEEP = 2,
	FIELD_DURATION = 3,
	FIELD_NAME = 4,
	FIELD_TEXT = 5,
	FIELD_KEY = 6,
	FIELD_VALUE = 7,
};

#define FIELD_HEADER_BYTES 4u

/* ---- writing ---- */

struct writer {
	unsigned char *out;
	size_t bytes; /* room */
	size_t used;
	bool full;
};

static void write_number(struct writer *writer, uint64_t value, size_t bytes)
{
	if (writer->full || bytes > writer->bytes - writer->used) {
		writer->full = true;
		return;
	}
	for (size_t i = 0; i < bytes; i++)
		writer->out[writer->used++] = (unsigned char)(value >> (8 * i));
}

static void write_field_number(struct writer *writer, enum field_tag tag, uint64_t value,
			       size_t bytes)
{
	write_number(writer, tag, 2);
	write_number(writer, bytes, 2);
	write_number(writer, value, bytes);
}

static void write_field_string(struct writer *writer, enum field_tag tag, const char *string)
{
	size_t bytes = string ? strlen(string) + 1 : 0;

	if (!string)
		return;
	if (bytes > WIRE_MAX_BYTES) {
		writer->full = true;
		return;
	}
	write_number(writer, tag, 2);
	write_number(writer, bytes, 2);
	if (writer->full || bytes > writer->bytes - writer->used) {
		writer->full = true;
		return;
	}
	memcpy(writer->out + writer->used, string, bytes);
	writer->used += bytes;
}

int64_t wire_write(const struct wire_message *message, unsigned char *out, size_t bytes)
{
	struct writer writer = {.out = out,
				.bytes = bytes < WIRE_MAX_BYTES ? bytes : WIRE_MAX_BYTES};
	struct writer head = {.out = out, .bytes = WIRE_HEADER_BYTES};

	if (message->setting_count > WIRE_MAX_SETTINGS)
		return WEIR_EWIRE;
	write_number(&writer, 0, WIRE_HEADER_BYTES);
	if (message->code)
		write_field_number(&writer, FIELD_CODE, (uint32_t)message->code, 4);
	if (message->keep)
		write_field_number(&writer, FIELD_KEEP, message->keep, 4);
	if (message->duration_ns)
		write_field_number(&writer, FIELD_DURATION, message->duration_ns, 8);
	write_field_string(&writer, FIELD_NAME, message->name);
	write_field_string(&writer, FIELD_TEXT, message->text);
	for (unsigned i = 0; i < message->setting_count; i++) {
		if (!message->settings[i].key || !message->settings[i].value)
			return WEIR_EWIRE;
		write_field_string(&writer, FIELD_KEY, message->settings[i].key);
		write_field_string(&writer, FIELD_VALUE, message->settings[i].value);
	}
	if (writer.full)
		return WEIR_EWIRE;
	write_number(&head, writer.used, 4);
	write_number(&head, WIRE_VERSION, 2);
	write_number(&head, message->kind, 2);
	return (int64_t)writer.used;
}

/* ---- reading ---- */

static uint64_t number(const unsigned char *in, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = 0; i < bytes; i++)
		value |= (uint64_t)in[i] << (8 * i);
	return value;
}

int64_t wire_length(const unsigned char *in, size_t bytes)
{
	uint64_t length;

	if (bytes < 4)
		return 0;
	length = number(in, 4);
	if (length < WIRE_HEADER_BYTES || length > WIRE_MAX_BYTES)
		return WEIR_EWIRE;
	return length <= bytes ? (int64_t)length : 0;
}

static bool kind_is_known(uint64_t kind)
{
	return (kind >= WIRE_PING && kind <= WIRE_ADAPT) || kind == WIRE_REPLY;
}

/* A field that was cut out of the message, within its bounds. */
struct field {
	unsigned tag;
	size_t bytes;
	const unsigned char *at;
};

static const char *field_string(const struct field *field)
{
	if (field->bytes == 0 || memchr(field->at, 0, field->bytes) != field->at + field->bytes - 1)
		return NULL;
	return (const char *)field->at;
}

static bool take_string(const char **out, const struct field *field)
{
	if (*out)
		return false;
	*out = field_string(field);
	return *out != NULL;
}

static bool take_setting(struct wire_message *out, const struct field *field, bool *key_open)
{
	const char *string = field_string(field);

	if (!string || (field->tag == FIELD_VALUE) != *key_open)
		return false;
	if (field->tag == FIELD_VALUE) {
		out->settings[out->setting_count++].value = string;
		*key_open = false;
		return true;
	}
	if (out->setting_count == WIRE_MAX_SETTINGS)
		return false;
	out->settings[out->setting_count].key = string;
	*key_open = true;
	return true;
}

/* `seen` has a bit for each tag whose field was a number; numbers must not be written as 0. */
static bool take_number(struct wire_message *out, const struct field *field, unsigned *seen)
{
	size_t bytes = field->tag == FIELD_DURATION ? 8 : 4;
	uint64_t value;

	if (field->bytes != bytes || *seen & 1u << field->tag)
		return false;
	*seen |= 1u << field->tag;
	value = number(field->at, bytes);
	if (field->tag == FIELD_CODE)
		out->code = (int32_t)(uint32_t)value;
	else if (field->tag == FIELD_KEEP)
		out->keep = (uint32_t)value;
	else
		out->duration_ns = value;
	return value != 0;
}

static bool take_field(struct wire_message *out, const struct field *field, unsigned *seen,
		       bool *key_open)
{
	if (*key_open && field->tag != FIELD_VALUE)
		return false;
	switch (field->tag) {
	case FIELD_CODE:
	case FIELD_KEEP:
	case FIELD_DURATION:
		return take_number(out, field, seen);
	case FIELD_NAME:
		return take_string(&out->name, field);
	case FIELD_TEXT:
		return take_string(&out->text, field);
	case FIELD_KEY:
	case FIELD_VALUE:
		return take_setting(out, field, key_open);
	default:
		return false;
	}
}

int wire_parse(struct wire_message *out, const unsigned char *in, size_t bytes)
{
	struct wire_message message = {0};
	bool key_open = false;
	unsigned seen = 0;

	if (bytes < WIRE_HEADER_BYTES || wire_length(in, bytes) != (int64_t)bytes ||
	    number(in + 4, 2) != WIRE_VERSION || !kind_is_known(number(in + 6, 2)))
		return WEIR_EWIRE;
	message.kind = (uint16_t)number(in + 6, 2);
	for (size_t at = WIRE_HEADER_BYTES; at < bytes;) {
		struct field field;

		if (bytes - at < FIELD_HEADER_BYTES)
			return WEIR_EWIRE;
		field.tag = (unsigned)number(in + at, 2);
		field.bytes = (size_t)number(in + at + 2, 2);
		field.at = in + at + FIELD_HEADER_BYTES;
		if (field.bytes > bytes - at - FIELD_HEADER_BYTES ||
		    !take_field(&message, &field, &seen, &key_open))
			return WEIR_EWIRE;
		at += FIELD_HEADER_BYTES + field.bytes;
	}
	if (key_open)
		return WEIR_EWIRE;
	*out = message;
	return 0;
}
