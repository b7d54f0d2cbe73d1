/* SPDX-License-Identifier: Apache-2.0 */
#include "draw.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

int draw_attach(struct draw *draw, const struct ctl *ctl)
{
	struct weir_options options = WEIR_OPTIONS_INIT;
	int status;

	options.name = ctl->place.name;
	options.shm_dir = ctl->place.dir;
	/* while a pair is being made or replaced; an instance that is absent stays so */
	options.attach_ns = WEIR_SECOND / 2;
	/* libweir knows it by the environment alone; this process has no thread yet */
	setenv("WEIR_SOCKET", ctl->place.socket, 1);
	status = weir_open(&draw->weir, &options);
	if (status < 0)
		return status;
	draw->class_name = ctl->args.values[OPTION_CLASS];
	if (draw->class_name)
		status = weir_endpoint_class(draw->weir, draw->name, draw->class_name,
					     &draw->endpoint);
	else
		status = weir_endpoint(draw->weir, draw->name, &draw->endpoint);
	if (status < 0)
		draw_close(draw);
	return status;
}

void draw_close(struct draw *draw)
{
	weir_endpoint_close(draw->endpoint);
	weir_close(draw->weir);
	draw->endpoint = NULL;
	draw->weir = NULL;
}

enum ctl_exit draw_complain(const struct ctl *ctl, int status)
{
	char path[PLACE_PATH_BYTES];

	place_path(&ctl->place, "state", path);
	if (status == WEIR_EABSENT)
		return ctl_complain("no instance `%s` (looked for %s): is weird running?\n"
				    "Start weird, or name another instance (-N NAME) or folder "
				    "(--shm-dir DIR).",
				    ctl->place.name, path);
	return ctl_complain(
		"cannot use instance `%s` (%s): %s%s", ctl->place.name, path, weir_strerror(status),
		status == -EACCES ? ": using it takes its owner or the group of weird" : "");
}

enum ctl_exit draw_take(struct draw *draw, const struct ctl *ctl, uint64_t wait_ns)
{
	int status;

	*draw = (struct draw){.name = ctl_name(ctl), .cost = 1, .wait_ns = wait_ns};
	if (!draw->name || !ctl_cost(ctl, &draw->cost) || !ctl_class(ctl) ||
	    !ctl_duration(ctl, OPTION_WAIT, true, &draw->wait_ns))
		return CTL_CANNOT;
	status = draw_attach(draw, ctl);
	if (status < 0)
		return draw_complain(ctl, status);
	if (draw->wait_ns == 0)
		draw->verdict = weir_acquire(draw->endpoint, draw->cost, &draw->answer);
	else
		draw->verdict = weir_wait(draw->endpoint, draw->cost, draw->wait_ns, &draw->answer);
	if (draw->answer.fault == 0)
		return draw->verdict == WEIR_ADMIT ? CTL_DONE : CTL_REFUSED;
	draw_close(draw);
	return ctl_complain("%s: %s", draw->name, weir_strerror(draw->answer.fault));
}

/* "5 tokens are", "1 token is" */
static void tokens_are(double cost, char out[DRAW_SENTENCE_BYTES])
{
	char tokens[TEXT_BYTES];

	text_tokens(cost, tokens);
	/* a cost finer than a thousandth */
	if (strcmp(tokens, "0") == 0)
		snprintf(tokens, sizeof(tokens), "%.6g", cost);
	snprintf(out, DRAW_SENTENCE_BYTES, "%s token%s", tokens,
		 strcmp(tokens, "1") == 0 ? " is" : "s are");
}

/* Closed for ever; or what is behind the closure lets nothing pass either. */
static const char *closed_for_good(const struct draw *draw)
{
	struct weir_level level = {.size = sizeof(level)};

	if (weir_peek(draw->endpoint, &level) == 0 && level.rate_per_s == 0)
		return "closed, and the rate is 0: no wait helps";
	return draw->class_name ? "closed, and no wait helps" : "closed until somebody opens it";
}

const char *draw_refusal(const struct draw *draw, char out[DRAW_SENTENCE_BYTES])
{
	char wait[TEXT_BYTES], most[TEXT_BYTES], tokens[DRAW_SENTENCE_BYTES];

	text_duration(draw->answer.wait_ns, wait);
	text_duration(draw->wait_ns, most);
	tokens_are(draw->cost, tokens);
	switch ((enum weir_reason)draw->answer.reason) {
	case WEIR_REASON_CLOSED:
		if (draw->answer.wait_ns == WEIR_NEVER)
			snprintf(out, DRAW_SENTENCE_BYTES, "%s", closed_for_good(draw));
		else
			snprintf(out, DRAW_SENTENCE_BYTES, "closed, passes in %s", wait);
		break;
	case WEIR_REASON_DEADLINE:
		snprintf(out, DRAW_SENTENCE_BYTES,
			 "%s until %.64s there, longer than the %s to wait", wait, tokens, most);
		break;
	case WEIR_REASON_QUEUE:
		snprintf(out, DRAW_SENTENCE_BYTES,
			 "%s until %.64s there, and the queue is as long as the rule allows "
			 "(max_wait)",
			 wait, tokens);
		break;
	case WEIR_REASON_HEADROOM:
		snprintf(out, DRAW_SENTENCE_BYTES,
			 "%s until %.64s there beside what class %.12s must leave", wait, tokens,
			 draw->class_name);
		break;
	case WEIR_REASON_NEVER:
		snprintf(out, DRAW_SENTENCE_BYTES,
			 "no wait helps: the rate is 0 and %.64s not there%s%.12s", tokens,
			 draw->class_name ? ", or that is more than ever is left for class " : "",
			 draw->class_name ? draw->class_name : "");
		break;
	case WEIR_REASON_PERMIT:
		snprintf(out, DRAW_SENTENCE_BYTES, "no permit is free");
		break;
	case WEIR_REASON_NONE:
	case WEIR_REASON_LEVEL:
	case WEIR_REASON_FAULT:
	case WEIR_REASON_TURN:
		snprintf(out, DRAW_SENTENCE_BYTES, "%s until %.64s there", wait, tokens);
		break;
	}
	return out;
}

const char *draw_shadow(const struct draw *draw, char out[DRAW_SENTENCE_BYTES])
{
	struct draw refused = *draw;

	refused.answer.reason = draw->answer.shadow;
	refused.answer.wait_ns = draw->answer.shadow_wait_ns;
	return draw_refusal(&refused, out);
}

const char *draw_reason(int32_t reason)
{
	switch ((enum weir_reason)reason) {
	case WEIR_REASON_NONE:
		return "none";
	case WEIR_REASON_LEVEL:
		return "level";
	case WEIR_REASON_CLOSED:
		return "closed";
	case WEIR_REASON_DEADLINE:
		return "deadline";
	case WEIR_REASON_NEVER:
		return "never";
	case WEIR_REASON_QUEUE:
		return "queue";
	case WEIR_REASON_FAULT:
		return "fault";
	case WEIR_REASON_PERMIT:
		return "permit";
	case WEIR_REASON_HEADROOM:
		return "headroom";
	case WEIR_REASON_TURN:
		return "turn";
	}
	return "unknown";
}
