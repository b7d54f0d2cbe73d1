/* SPDX-License-Identifier: Apache-2.0
 *
 * observe NAME --status N [HEADER...] - tells weir of a response, for scripts: as any program does,
 * through libweir.
 */
#include "draw.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "header_lines.h"
#include "render.h"
#include "text.h"

#define INPUT_BYTES (WEIR_HEADERS_BYTES_MAX + 4096) /* what libweir reads, and colons and ends */

/* A response, gathered from the command line and from standard input. */
struct gathered {
	int status; /* 0: not said yet */
	struct weir_header headers[WEIR_HEADERS_MAX];
	size_t count;
	uint64_t latency_ns;
	char *input; /* what was read; headers point into it */
};

static bool read_status(const struct ctl *ctl, int *status)
{
	const char *text = ctl->args.values[OPTION_STATUS];

	if (!text)
		return true;
	if (strspn(text, "0123456789") == 3 && text[3] == '\0' && text[0] != '0') {
		*status = atoi(text);
		return true;
	}
	ctl_misuse(ctl, "--status %.80s: three digits, as HTTP has them", text);
	return false;
}

/* Those of a head, as far as libweir reads them. */
static void add_headers(struct gathered *to, const struct header_lines *lines)
{
	for (size_t i = 0; i < lines->count && to->count < WEIR_HEADERS_MAX; i++) {
		const struct fields_header *from = &lines->headers[i];

		to->headers[to->count++] = (struct weir_header){
			from->name, from->value, from->name_bytes, from->value_bytes};
	}
}

/* Fields as text, which stays as long as they do. Returns how many there are, or a code. */
static int add_text(struct gathered *to, char *text, size_t bytes)
{
	struct header_lines lines;
	int status = header_lines_read(text, bytes, &lines);

	if (status < 0)
		return status;
	add_headers(to, &lines);
	to->status = to->status ? to->status : lines.status;
	status = (int)lines.count;
	header_lines_free(&lines);
	return status;
}

/* Where the last head begins: before it there are those of redirects, and of 100 Continue. */
static size_t last_head(const char *text, size_t bytes)
{
	size_t last = 0;

	for (size_t i = 0; i + 5 < bytes; i++)
		if ((i == 0 || text[i - 1] == '\n') && memcmp(text + i, "HTTP/", 5) == 0)
			last = i;
	return last;
}

/* The fields of the last response on standard input, as curl -D writes them. */
static int add_input(struct gathered *to)
{
	size_t used = 0;
	size_t head;

	to->input = malloc(INPUT_BYTES);
	if (!to->input)
		return -ENOMEM;
	while (used < INPUT_BYTES) {
		ssize_t got = read(STDIN_FILENO, to->input + used, INPUT_BYTES - used);

		if (got == 0 || (got < 0 && errno != EINTR))
			break;
		used += got > 0 ? (size_t)got : 0;
	}
	head = last_head(to->input, used);
	return add_text(to, to->input + head, used - head);
}

static enum ctl_exit gather(struct ctl *ctl, struct gathered *out)
{
	if (!read_status(ctl, &out->status) ||
	    !ctl_duration(ctl, OPTION_LATENCY, false, &out->latency_ns))
		return CTL_CANNOT;
	for (int i = 1; i < ctl->args.operand_count; i++) {
		char *operand = ctl->args.operands[i];
		bool input = strcmp(operand, "-") == 0 && !out->input;
		int found = input ? add_input(out) : add_text(out, operand, strlen(operand));

		if (found < 0)
			return ctl_complain("%s", weir_strerror(found));
		if (found == 0 && !input)
			return ctl_misuse(ctl,
					  "%.80s: a field is 'Name: value'; - reads them from "
					  "standard input",
					  operand);
	}
	if (out->status == 0)
		return ctl_misuse(ctl, "what was the answer? --status 429, or the status line on "
				       "standard input");
	return CTL_DONE;
}

static const char *action_word(int32_t action)
{
	switch ((enum weir_action)action) {
	case WEIR_ACTION_IGNORE:
		return "ignore";
	case WEIR_ACTION_USE:
		return "use";
	case WEIR_ACTION_CAP:
		return "cap";
	case WEIR_ACTION_FLOOR:
		return "floor";
	case WEIR_ACTION_UNLIMITED:
		return "unlimited";
	case WEIR_ACTION_DO_NOT_RETRY:
		return "do_not_retry";
	case WEIR_ACTION_NO_RETRY:
		return "ignore_retry_after_on_2xx";
	}
	return "unknown";
}

static void add_said(struct page *page, const char *key, double value)
{
	if (value < 0)
		page_none(page, key, NULL);
	else
		page_tokens(page, key, NULL, value);
}

static bool print_json(const struct draw *draw, const struct weir_observed *seen)
{
	struct page page;

	page_open(&page, true);
	page_text(&page, "name", NULL, draw->name);
	page_text(&page, "action", NULL, action_word(seen->action));
	page_duration(&page, "retry_ns", NULL, seen->retry_ns);
	page_duration(&page, "closed_ns", NULL, seen->closed_ns);
	page_count(&page, "budgets", NULL, seen->budgets);
	add_said(&page, "limit", seen->limit);
	add_said(&page, "remaining", seen->remaining);
	add_said(&page, "reset_s", seen->reset_s);
	add_said(&page, "window_s", seen->window_s);
	page_count(&page, "sent", NULL, seen->sent);
	page_count(&page, "dropped", NULL, seen->dropped);
	return page_print(&page, stdout);
}

static void print_text(const struct weir_observed *seen)
{
	char closed[TEXT_BYTES], asked[TEXT_BYTES], left[TEXT_BYTES];

	if (seen->closed_ns && seen->retry_ns > seen->closed_ns)
		printf("closed for %s; the server asked for %s\n",
		       text_duration(seen->closed_ns, closed),
		       text_duration(seen->retry_ns, asked));
	else if (seen->closed_ns)
		printf("closed for %s\n", text_duration(seen->closed_ns, closed));
	if (seen->remaining >= 0)
		printf("at most %s left\n", text_tokens(seen->remaining, left));
	if (!seen->closed_ns && seen->remaining < 0)
		printf("nothing of a limit (%s)\n", action_word(seen->action));
	if (seen->dropped)
		printf("weird was not told: it does not listen, or is busy\n");
}

static enum ctl_exit observe(const struct ctl *ctl, struct draw *draw,
			     const struct gathered *response)
{
	struct weir_observed seen = {.size = sizeof(seen)};
	int status = draw_attach(draw, ctl);

	if (status < 0)
		return draw_complain(ctl, status);
	status = weir_observe(draw->endpoint, response->status, response->headers, response->count,
			      response->latency_ns, &seen);
	draw_close(draw);
	if (status < 0)
		return ctl_complain("%s: %s", draw->name, weir_strerror(status));
	if (!ctl->json)
		print_text(&seen);
	else if (!print_json(draw, &seen))
		return ctl_complain("%s", weir_strerror(-ENOMEM));
	return CTL_DONE;
}

enum ctl_exit command_observe(struct ctl *ctl)
{
	struct draw draw = {.name = ctl_name(ctl)};
	struct gathered response = {.status = 0};
	enum ctl_exit status = draw.name ? gather(ctl, &response) : CTL_CANNOT;

	if (status == CTL_DONE)
		status = observe(ctl, &draw, &response);
	free(response.input);
	return status;
}
