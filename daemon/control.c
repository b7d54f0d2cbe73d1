/* SPDX-License-Identifier: Apache-2.0 */
#include "control.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "names.h"
#include "weir.h"

bool control_may_change(const struct control_credentials *peer, uid_t daemon, gid_t group)
{
	if (peer->uid == 0 || peer->uid == daemon || peer->gid == group)
		return true;
	for (size_t i = 0; i < peer->group_count; i++)
		if (peer->groups[i] == group)
			return true;
	return false;
}

void control_answer(struct control_reply *reply, int code, const char *format, ...)
{
	va_list arguments;

	reply->code = code;
	va_start(arguments, format);
	vsnprintf(reply->text, sizeof(reply->text), format, arguments);
	va_end(arguments);
}

static bool needs_name(uint16_t kind)
{
	return kind == WIRE_SET || kind == WIRE_RESET || kind == WIRE_CLOSE || kind == WIRE_OPEN ||
	       kind == WIRE_ADAPT;
}

static bool read_name(struct control_request *out, struct control_reply *reply,
		      const struct wire_message *message)
{
	if (!message->name || !names_valid(message->name)) {
		control_answer(reply, WEIR_ENAME, "%s", weir_strerror(WEIR_ENAME));
		return false;
	}
	snprintf(out->name, sizeof(out->name), "%s", message->name);
	return true;
}

static bool read_settings(struct control_request *out, struct control_reply *reply,
			  const struct wire_message *message)
{
	if (message->keep > RULES_KEEP_RESET) {
		control_answer(reply, WEIR_EVALUE,
			       "keep is one of used, level, proportional and reset");
		return false;
	}
	if (message->setting_count == 0 && message->keep == RULES_KEEP_USED) {
		control_answer(reply, WEIR_EVALUE,
			       "nothing to set: give rate=5/s, burst=10 or another KEY=VALUE");
		return false;
	}
	for (unsigned i = 0; i < message->setting_count; i++)
		for (unsigned j = 0; j < i; j++)
			if (!strcmp(message->settings[i].key, message->settings[j].key)) {
				control_answer(reply, WEIR_EVALUE, "%.40s is given twice",
					       message->settings[i].key);
				return false;
			}
	out->keep = (enum rules_keep)message->keep;
	out->setting_count = message->setting_count;
	memcpy(out->settings, message->settings, sizeof(out->settings));
	return true;
}

bool control_read(struct control_request *out, struct control_reply *reply,
		  const struct wire_message *message, const struct control_peer *peer)
{
	struct control_request request = {.kind = (enum wire_kind)message->kind,
					  .duration_ns = message->duration_ns};

	if (message->kind < WIRE_PING || message->kind > WIRE_ADAPT) {
		control_answer(reply, WEIR_EWIRE, "a message of kind %u is no request",
			       message->kind);
		return false;
	}
	if (message->kind != WIRE_PING && !peer->may_change) {
		control_answer(reply, WEIR_EDENIED, "%s; you are %s", weir_strerror(WEIR_EDENIED),
			       peer->who);
		return false;
	}
	if (needs_name(message->kind) && !read_name(&request, reply, message))
		return false;
	if (message->kind == WIRE_SET && !read_settings(&request, reply, message))
		return false;
	if (message->kind == WIRE_CLOSE && message->duration_ns == 0) {
		control_answer(reply, WEIR_EVALUE, "closing needs a duration above 0");
		return false;
	}
	if (message->kind == WIRE_ADAPT && message->keep != WIRE_ADAPT_OFF &&
	    message->keep != WIRE_ADAPT_ON) {
		control_answer(reply, WEIR_EVALUE, "adapting is off or on");
		return false;
	}
	request.freeze = message->kind == WIRE_ADAPT && message->keep == WIRE_ADAPT_OFF;
	*out = request;
	return true;
}

bool control_terms(struct terms *out, struct control_reply *reply, const struct terms *from,
		   const struct control_request *request)
{
	struct terms terms = *from;
	bool initial_given = false;
	bool burst_given = false;
	const char *wrong;

	for (unsigned i = 0; i < request->setting_count; i++) {
		const struct wire_setting *setting = &request->settings[i];

		wrong = config_set_term(&terms, setting->key, setting->value);
		if (wrong) {
			control_answer(reply, WEIR_EVALUE, "%.40s = %.80s: %s", setting->key,
				       setting->value, wrong);
			return false;
		}
		initial_given |= !strcmp(setting->key, "initial");
		burst_given |= !strcmp(setting->key, "burst");
	}
	wrong = config_update_terms(&terms, from, burst_given, initial_given);
	if (wrong) {
		control_answer(reply, WEIR_EVALUE, "%s", wrong);
		return false;
	}
	*out = terms;
	return true;
}
