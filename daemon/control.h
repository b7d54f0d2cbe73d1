/* SPDX-License-Identifier: Apache-2.0
 *
 * control.h - what a control message asks for, and whether its sender may. Pure: messages and
 * credentials in, requests and replies out; no sockets, no segment.
 */
#ifndef WEIRD_CONTROL_H
#define WEIRD_CONTROL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "layout.h"
#include "rules.h"
#include "token_clock.h"
#include "wire.h"

/* Leaves room for the header and the code. */
#define CONTROL_TEXT_BYTES (WIRE_MAX_BYTES - 64)

struct control_peer {
	uid_t uid;
	pid_t pid;
	bool may_change;
	char who[64]; /* "uid 1000 (anna)" */
};

/* Who is whom, as the kernel says it of a connection. */
struct control_credentials {
	uid_t uid;
	gid_t gid;
	const gid_t *groups; /* supplementary */
	size_t group_count;
};

/* Changing needs root, the daemon's user, or the group. */
bool control_may_change(const struct control_credentials *peer, uid_t daemon, gid_t group);

struct control_request {
	enum wire_kind kind;
	char name[LAYOUT_TEXT_BYTES]; /* exact name, pattern text, or "*" */
	uint64_t duration_ns;	      /* CLOSE; UINT64_MAX: without end */
	enum rules_keep keep;
	bool freeze; /* ADAPT */
	unsigned setting_count;
	struct wire_setting settings[WIRE_MAX_SETTINGS]; /* into the message's buffer */
};

struct control_reply {
	int32_t code;
	char text[CONTROL_TEXT_BYTES];
};

__attribute__((format(printf, 3, 4))) void control_answer(struct control_reply *reply, int code,
							  const char *format, ...);

/*
 * Checks a message. Returns true and *out if something is to be done; else the reply says what
 * is wrong (denied, no name, a key that is none ...).
 */
bool control_read(struct control_request *out, struct control_reply *reply,
		  const struct wire_message *message, const struct control_peer *peer);

/*
 * The terms that a SET makes of `from`: what is not given keeps its value. Returns true and
 * *out, or the reply says what would be right.
 */
bool control_terms(struct terms *out, struct control_reply *reply, const struct terms *from,
		   const struct control_request *request);

#endif
