/* SPDX-License-Identifier: Apache-2.0
 *
 * wire.h - control messages: bytes <-> structs, bounds-checked. No sockets.
 *
 * A message is a header {length, version, kind} and fields {tag, length, bytes}. Requests name
 * one endpoint and carry settings as text; replies carry a code and text for people. Messages
 * of another version are answered with WEIR_EWIRE and a text that says which version is spoken.
 */
#ifndef WEIR_WIRE_H
#define WEIR_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define WIRE_VERSION 1u
#define WIRE_MAX_BYTES 8192u /* of a whole message */
#define WIRE_HEADER_BYTES 8u
#define WIRE_MAX_SETTINGS 16u

enum wire_kind {
	WIRE_PING = 1,	 /* is anybody there? the reply's text says who */
	WIRE_SET = 2,	 /* name, settings as in weir.ini: rate= burst= ..., keep */
	WIRE_RESET = 3,	 /* name */
	WIRE_CLOSE = 4,	 /* name, duration_ns */
	WIRE_OPEN = 5,	 /* name */
	WIRE_RELOAD = 6, /* the configuration file, again */
	WIRE_REPLY = 64, /* code, text */
};

/* Strings point into the buffer that was parsed; they end with NUL there. */
struct wire_message {
	uint16_t kind;
	int32_t code;	      /* of a reply */
	uint32_t keep;	      /* enum rules_keep */
	uint64_t duration_ns; /* UINT64_MAX: without end */
	const char *name;     /* or NULL */
	const char *text;     /* or NULL */
	unsigned setting_count;
	struct wire_setting {
		const char *key;
		const char *value;
	} settings[WIRE_MAX_SETTINGS];
};

/* Writes a message; returns its length, or WEIR_EWIRE if it does not fit. */
int64_t wire_write(const struct wire_message *message, unsigned char *out, size_t bytes);

/*
 * Length of the message that begins at `in`, 0 if more bytes are needed to tell or to have it
 * whole, WEIR_EWIRE if it can be none.
 */
int64_t wire_length(const unsigned char *in, size_t bytes);

/* Parses one whole message. Returns 0 or WEIR_EWIRE. */
int wire_parse(struct wire_message *out, const unsigned char *in, size_t bytes);

#endif
