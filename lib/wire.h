/* SPDX-License-Identifier: Apache-2.0
 *
 * wire.h - control and observation messages: bytes <-> structs, bounds-checked. No sockets.
 *
 * A message is a header {length, version, kind} and fields {tag, length, bytes}. Requests name
 * one endpoint and carry settings as text; replies carry a code and text for people. Messages
 * of another version are answered with WEIR_EWIRE and a text that says which version is spoken.
 */
#ifndef WEIR_WIRE_H
#define WEIR_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "layout.h"

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
	WIRE_ADAPT = 7,	 /* name, keep: enum wire_adapt */
	WIRE_REPLY = 64, /* code, text */
};

enum wire_adapt {
	WIRE_ADAPT_OFF = 1, /* what is learned stays as it is */
	WIRE_ADAPT_ON = 2,  /* it is learned anew */
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

/* ---- observations (wire_observation.c): a datagram each, and no answer ---- */

#define WIRE_OBSERVATION_VERSION 1u
#define WIRE_OBSERVATION_BYTES 272u /* the longest */
#define WIRE_RESOURCE_BYTES 64

enum wire_outcome {
	WIRE_PASSED = 0,
	WIRE_LIMITED = 1,  /* 429, or what is the same */
	WIRE_OVERLOAD = 2, /* 503, 529 */
};

/* What a response says; the value of what it does not say is 0. */
enum wire_says {
	WIRE_SAYS_LIMIT = 1u << 0,
	WIRE_SAYS_REMAINING = 1u << 1,
	WIRE_SAYS_RESET = 1u << 2,
	WIRE_SAYS_WINDOW = 1u << 3,
	WIRE_SAYS_RETRY = 1u << 4,
};

#define WIRE_SAYS_ALL 0x1fu

/* One limit of one response. Durations count from the response on. */
struct wire_observation {
	uint16_t status; /* of HTTP; 0: none */
	uint8_t outcome; /* enum wire_outcome */
	uint8_t says;	 /* enum wire_says */
	uint32_t reserved;
	uint64_t response_ns; /* when it was there, by the segment's clock */
	uint64_t latency_ns;  /* since its request was sent */
	uint64_t limit_micro; /* millionths of a token, as the next */
	uint64_t remaining_micro;
	uint64_t reset_ns;
	uint64_t window_ns;
	uint64_t retry_ns;
	char name[LAYOUT_TEXT_BYTES];	    /* of the endpoint */
	char resource[WIRE_RESOURCE_BYTES]; /* what the response calls the limit; may be "" */
};

/* Writes one; returns its length, or WEIR_EWIRE: it does not fit, or is none. */
int64_t wire_write_observation(const struct wire_observation *observation, unsigned char *out,
			       size_t bytes);

/* Parses one, which takes all of the bytes. Returns 0 or WEIR_EWIRE. */
int wire_parse_observation(struct wire_observation *out, const unsigned char *in, size_t bytes);

#endif
