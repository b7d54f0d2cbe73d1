/* SPDX-License-Identifier: Apache-2.0
 *
 * fields - reads the head of an HTTP response and says what it means: for people in sentences, for
 * programs as one object. Needs no instance.
 */
#include "fields.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "ctl.h"
#include "field_value.h"
#include "header_lines.h"
#include "text.h"
#include "weir.h"

#define INPUT_MAX_BYTES ((size_t)1 << 20)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- what is asked ---- */

struct question {
	struct fields_response response;
	struct fields_mapping mappings[FIELDS_MAPPINGS_MAX];
	struct header_lines lines;
	char *input;
};

/*
 * Standard input to its end, so that nobody who writes is stopped; of that the first megabyte and a
 * byte, in which a head is. NULL after a complaint.
 */
static char *read_input(size_t *bytes)
{
	char *text = malloc(INPUT_MAX_BYTES + 1), rest[4096];

	if (!text) {
		ctl_complain("%s", weir_strerror(-ENOMEM));
		return NULL;
	}
	*bytes = fread(text, 1, INPUT_MAX_BYTES + 1, stdin);
	while (fread(rest, 1, sizeof(rest), stdin))
		;
	if (!ferror(stdin))
		return text;
	ctl_complain("cannot read standard input: %s", weir_strerror(-errno));
	free(text);
	return NULL;
}

static bool take_status(const struct ctl *ctl, int *status)
{
	const char *text = ctl->args.values[OPTION_STATUS];
	double value;

	if (!text)
		return true;
	if (strlen(text) != 3 ||
	    field_number((struct field_text){text, strlen(text)}, &value) != FIELD_FINE ||
	    value < 100 || value != floor(value)) {
		ctl_misuse(ctl, "--status %.80s: a status is three digits, 100 to 999 (429)", text);
		return false;
	}
	*status = (int)value;
	return true;
}

/* Now, unless it is told. A Date field is preferred by fields_read(). */
static bool take_time(const struct ctl *ctl, double *captured_at)
{
	const char *text = ctl->args.values[OPTION_CAPTURED];
	struct timespec now;

	if (!text) {
		clock_gettime(CLOCK_REALTIME, &now);
		*captured_at = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
		return true;
	}
	if (field_number((struct field_text){text, strlen(text)}, captured_at) == FIELD_FINE &&
	    *captured_at >= 0 && *captured_at < FIELDS_NEVER_S)
		return true;
	ctl_misuse(ctl,
		   "--time %.80s: a time is seconds since 1970, with or without a fraction "
		   "(1788075635)",
		   text);
	return false;
}

static bool take_profile(const struct ctl *ctl, const struct fields_profile **profile)
{
	const char *name = ctl->args.values[OPTION_PROFILE];
	char known[2048] = "";
	size_t used = 0;

	*profile = name ? fields_profile_find(name) : NULL;
	if (!name || *profile)
		return true;
	for (size_t i = 0; fields_profile_at(i); i++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
					 fields_profile_name(fields_profile_at(i)));
	ctl_misuse(ctl, "no profile `%.80s`; there are %s", name, known);
	return false;
}

static bool take_mappings(const struct ctl *ctl, struct question *question)
{
	for (int i = 0; i < ctl->args.operand_count; i++) {
		char *text = ctl->args.operands[i];
		char *equals = strchr(text, '=');
		const char *wrong;

		if (i == FIELDS_MAPPINGS_MAX) {
			ctl_misuse(ctl, "at most %d mappings", FIELDS_MAPPINGS_MAX);
			return false;
		}
		if (!equals) {
			ctl_misuse(ctl,
				   "`%.80s`: a mapping is field.MEANING=NAME, or "
				   "'field.MEANING=NAME UNIT'",
				   text);
			return false;
		}
		*equals = '\0';
		wrong = fields_mapping_parse(text, equals + 1, &question->mappings[i]);
		*equals = '=';
		if (wrong) {
			ctl_misuse(ctl, "`%.80s`: %s", text, wrong);
			return false;
		}
		question->response.mapping_count++;
	}
	question->response.mappings = question->mappings;
	return true;
}

static bool take_headers(struct question *question)
{
	struct fields_response *response = &question->response;
	size_t bytes = 0;
	int status;

	question->input = read_input(&bytes);
	if (!question->input)
		return false;
	status = header_lines_read(question->input, bytes, &question->lines);
	if (status < 0) {
		ctl_complain("%s", weir_strerror(status));
		return false;
	}
	if (bytes > INPUT_MAX_BYTES && !question->lines.ended) {
		ctl_complain("the head of the response is longer than a megabyte");
		return false;
	}
	if (question->lines.stray)
		fprintf(stderr,
			"weirctl: line %zu is no header field, NAME: VALUE%s; passed over\n",
			question->lines.stray_line,
			question->lines.stray > 1 ? ", nor are others" : "");
	response->headers = question->lines.headers;
	response->count = question->lines.count;
	if (!response->status)
		response->status = question->lines.status;
	return true;
}

static bool ask(const struct ctl *ctl, struct question *out)
{
	*out = (struct question){.input = NULL};
	return take_status(ctl, &out->response.status) &&
	       take_time(ctl, &out->response.captured_at) &&
	       take_profile(ctl, &out->response.profile) && take_mappings(ctl, out) &&
	       take_headers(out);
}

/* ---- for programs ---- */

/* Times are told to a microsecond, which is what is left of them beside the seconds since 1970. */
static json_t *number(double value)
{
	if (isnan(value) || value >= FIELDS_NEVER_S)
		return json_null();
	value = round(value * 1e6) / 1e6;
	return value == floor(value) ? json_integer((json_int_t)value) : json_real(value);
}

static json_t *count(double value)
{
	if (isnan(value))
		return json_null();
	return value == floor(value) ? json_integer((json_int_t)value) : json_real(value);
}

static void add_if(json_t *object, const char *key, double value)
{
	if (!isnan(value))
		json_object_set_new(object, key, count(value));
}

static void add_text(json_t *object, const char *key, const char *text)
{
	char safe[4 * FIELDS_NAME_BYTES];
	json_t *value;

	if (!text[0])
		return;
	value = json_string(text);
	if (!value) /* no UTF-8 */
		value = json_string(text_safe(safe, sizeof(safe), text, false));
	json_object_set_new(object, key, value);
}

/* NULL: a limit that says nothing. */
static void add_numbers(json_t *object, const struct fields_limit *limit)
{
	json_object_set_new(object, "limit", count(limit ? limit->limit : NAN));
	json_object_set_new(object, "remaining", count(limit ? limit->remaining : NAN));
	json_object_set_new(object, "reset_in_seconds", number(limit ? limit->reset_s : NAN));
	json_object_set_new(object, "window_seconds", number(limit ? limit->window_s : NAN));
}

static void add_others(json_t *object, const struct fields_limit *limit)
{
	add_if(object, "used", limit->used);
	add_if(object, "utilization", limit->utilization);
	add_if(object, "rate_per_second", limit->rate_per_s);
	add_if(object, "burst_capacity", limit->burst);
	add_text(object, "quota_unit", limit->unit);
	add_text(object, "partition_key", limit->partition_key);
}

static const struct fields_limit *plain_limit(const struct fields_verdict *verdict)
{
	return verdict->count && !verdict->limits[0].listed ? &verdict->limits[0] : NULL;
}

static void add_limits(json_t *expected, const struct fields_verdict *verdict)
{
	json_t *limits = json_array();

	for (size_t i = 0; i < verdict->count; i++) {
		const struct fields_limit *limit = &verdict->limits[i];
		json_t *object;

		if (!limit->listed)
			continue;
		object = json_object();
		add_text(object, "resource", limit->resource);
		add_numbers(object, limit);
		add_others(object, limit);
		json_array_append_new(limits, object);
	}
	if (json_array_size(limits))
		json_object_set(expected, "limits", limits);
	json_decref(limits);
}

static void add_policies(json_t *expected, const struct fields_verdict *verdict)
{
	json_t *policies;

	if (!verdict->policy_count)
		return;
	policies = json_array();
	for (size_t i = 0; i < verdict->policy_count; i++) {
		json_t *pair = json_array();

		json_array_append_new(pair, count(verdict->policies[i].quota));
		json_array_append_new(pair, number(verdict->policies[i].window_s));
		json_array_append_new(policies, pair);
	}
	json_object_set_new(expected, "policies", policies);
}

static json_t *expected_of(const struct fields_verdict *verdict)
{
	const struct fields_limit *plain = plain_limit(verdict);
	json_t *expected = json_object();

	add_numbers(expected, plain);
	json_object_set_new(expected, "retry_after_seconds", number(verdict->retry_after_s));
	if (plain) {
		add_text(expected, "resource", plain->resource);
		add_others(expected, plain);
	}
	add_policies(expected, verdict);
	add_limits(expected, verdict);
	return expected;
}

static void print_json(const struct question *question, const struct fields_verdict *verdict)
{
	json_t *root = json_object();

	if (question->response.status)
		json_object_set_new(root, "status", json_integer(question->response.status));
	json_object_set_new(root, "action", json_string(fields_action_text(verdict->action)));
	json_object_set_new(root, "reason", json_string(fields_cause_text(verdict->cause)));
	if (verdict->everywhere || verdict->shared)
		json_object_set_new(root, "scope",
				    json_string(verdict->everywhere ? "global" : "shared"));
	json_object_set_new(root, "expected", expected_of(verdict));
	json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
	putchar('\n');
	json_decref(root);
}

/* ---- for people ---- */

static const char *seconds_text(double seconds, char out[TEXT_BYTES])
{
	if (seconds >= FIELDS_NEVER_S)
		return "more than 300 years";
	return text_duration((uint64_t)round(seconds * 1e6) * 1000, out);
}

/* A part of a sentence, behind a comma if it is not the first. */
__attribute__((format(printf, 2, 3))) static void part(const char **comma, const char *format, ...)
{
	va_list arguments;

	fputs(*comma, stdout);
	*comma = ", ";
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
}

static void print_counts(const struct fields_limit *limit, const char **comma)
{
	char text[TEXT_BYTES], left[TEXT_BYTES], safe[4 * FIELDS_NAME_BYTES];

	if (!isnan(limit->limit) && !isnan(limit->remaining))
		part(comma, "%s of %s left", text_tokens(limit->remaining, left),
		     text_tokens(limit->limit, text));
	else if (!isnan(limit->limit))
		part(comma, "%s at most", text_tokens(limit->limit, text));
	else if (!isnan(limit->remaining))
		part(comma, "%s left", text_tokens(limit->remaining, left));
	if (limit->unit[0])
		part(comma, "counted in %s", text_safe(safe, sizeof(safe), limit->unit, false));
	if (!isnan(limit->used))
		part(comma, "%s used", text_tokens(limit->used, text));
	if (!isnan(limit->utilization))
		part(comma, "%s %% used", text_tokens(limit->utilization * 100, text));
}

static void print_limit(const struct fields_limit *limit)
{
	char text[TEXT_BYTES], safe[4 * FIELDS_NAME_BYTES];
	const char *comma = "";

	printf("limit%s%s: ", limit->resource[0] ? " " : "",
	       text_safe(safe, sizeof(safe), limit->resource, false));
	print_counts(limit, &comma);
	if (!isnan(limit->rate_per_s))
		part(&comma, "%s a second", text_tokens(limit->rate_per_s, text));
	if (!isnan(limit->burst))
		part(&comma, "bursts of %s", text_tokens(limit->burst, text));
	if (!isnan(limit->window_s))
		part(&comma, "in windows of %s", seconds_text(limit->window_s, text));
	if (!isnan(limit->reset_s))
		part(&comma, "more in %s", seconds_text(limit->reset_s, text));
	if (limit->partition_key[0])
		part(&comma, "of %s", text_safe(safe, sizeof(safe), limit->partition_key, false));
	putchar('\n');
}

static void print_sentences(const struct fields_verdict *verdict)
{
	char text[TEXT_BYTES], window[TEXT_BYTES];

	printf("%s: %s\n", fields_action_text(verdict->action), fields_cause_text(verdict->cause));
	if (!isnan(verdict->retry_after_s))
		printf("wait: %s%s\n", seconds_text(verdict->retry_after_s, text),
		       verdict->everywhere ? ", at all endpoints" : "");
	for (size_t i = 0; i < verdict->count; i++)
		print_limit(&verdict->limits[i]);
	for (size_t i = 0; i < verdict->policy_count; i++)
		printf("policy: %s in %s\n", text_tokens(verdict->policies[i].quota, text),
		       seconds_text(verdict->policies[i].window_s, window));
}

enum ctl_exit command_fields(struct ctl *ctl)
{
	struct question question;
	struct fields_verdict verdict;
	bool asked = ask(ctl, &question);

	if (asked) {
		fields_read(&question.response, &verdict);
		if (ctl->json)
			print_json(&question, &verdict);
		else
			print_sentences(&verdict);
	}
	header_lines_free(&question.lines);
	free(question.input);
	return asked ? CTL_DONE : CTL_CANNOT;
}
