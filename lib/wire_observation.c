/* SPDX-License-Identifier: Apache-2.0
 *
 * An observation, all integers little-endian:
 *	header	u32 length of the whole message, u16 version, u16 kind: 128
 *	fixed	u16 status, u8 outcome, u8 says, u32 0; then seven u64 in the order of the struct
 *	strings	u8 length and so many bytes, without a NUL: the name, the resource
 */
#include "wire.h"

#include <stdbool.h>
#include <string.h>

#include "weir.h"

#define KIND_OBSERVATION 128u
#define FIXED_BYTES 72u
#define NUMBERS 7u

_Static_assert(FIXED_BYTES + 2 + LAYOUT_TEXT_BYTES - 1 + WIRE_RESOURCE_BYTES - 1 <=
		       WIRE_OBSERVATION_BYTES,
	       "the longest observation fits");

static unsigned char *put(unsigned char *at, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		*at++ = (unsigned char)(value >> (8 * i));
	return at;
}

static uint64_t get(const unsigned char *in, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = 0; i < bytes; i++)
		value |= (uint64_t)in[i] << (8 * i);
	return value;
}

static unsigned char *put_string(unsigned char *at, const char *string, size_t bytes)
{
	*at++ = (unsigned char)bytes;
	memcpy(at, string, bytes);
	return at + bytes;
}

int64_t wire_write_observation(const struct wire_observation *observation, unsigned char *out,
			       size_t bytes)
{
	const uint64_t numbers[NUMBERS] = {
		observation->response_ns,     observation->latency_ns, observation->limit_micro,
		observation->remaining_micro, observation->reset_ns,   observation->window_ns,
		observation->retry_ns,
	};
	size_t name = strnlen(observation->name, sizeof(observation->name));
	size_t resource = strnlen(observation->resource, sizeof(observation->resource));
	size_t length = FIXED_BYTES + 2 + name + resource;
	unsigned char *at = out;

	if (length > bytes || name == 0 || name == sizeof(observation->name) ||
	    resource == sizeof(observation->resource) || observation->says & ~WIRE_SAYS_ALL ||
	    observation->outcome > WIRE_OVERLOAD)
		return WEIR_EWIRE;
	at = put(at, length, 4);
	at = put(at, WIRE_OBSERVATION_VERSION, 2);
	at = put(at, KIND_OBSERVATION, 2);
	at = put(at, observation->status, 2);
	at = put(at, observation->outcome, 1);
	at = put(at, observation->says, 1);
	at = put(at, 0, 4);
	for (size_t i = 0; i < NUMBERS; i++)
		at = put(at, numbers[i], 8);
	at = put_string(at, observation->name, name);
	put_string(at, observation->resource, resource);
	return (int64_t)length;
}

/* A string of at least `least` bytes at *at, which is moved behind it. */
static bool take_string(char *out, size_t room, size_t least, const unsigned char **at,
			const unsigned char *end)
{
	size_t bytes = *at < end ? *(*at)++ : room;

	if (bytes >= room || bytes < least || bytes > (size_t)(end - *at) || memchr(*at, 0, bytes))
		return false;
	memcpy(out, *at, bytes);
	out[bytes] = '\0';
	*at += bytes;
	return true;
}

int wire_parse_observation(struct wire_observation *out, const unsigned char *in, size_t bytes)
{
	const unsigned char *at = in + FIXED_BYTES;
	struct wire_observation found = {0};
	uint64_t *const numbers[NUMBERS] = {
		&found.response_ns, &found.latency_ns, &found.limit_micro, &found.remaining_micro,
		&found.reset_ns,    &found.window_ns,  &found.retry_ns,
	};

	if (bytes < FIXED_BYTES + 2 || get(in, 4) != bytes ||
	    get(in + 4, 2) != WIRE_OBSERVATION_VERSION || get(in + 6, 2) != KIND_OBSERVATION)
		return WEIR_EWIRE;
	found.status = (uint16_t)get(in + 8, 2);
	found.outcome = in[10];
	found.says = in[11];
	for (size_t i = 0; i < NUMBERS; i++)
		*numbers[i] = get(in + 16 + 8 * i, 8);
	if (found.outcome > WIRE_OVERLOAD || found.says & ~WIRE_SAYS_ALL || get(in + 12, 4) != 0 ||
	    !take_string(found.name, sizeof(found.name), 1, &at, in + bytes) ||
	    !take_string(found.resource, sizeof(found.resource), 0, &at, in + bytes) ||
	    at != in + bytes)
		return WEIR_EWIRE;
	*out = found;
	return 0;
}
