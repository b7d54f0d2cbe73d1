/* SPDX-License-Identifier: Apache-2.0
 *
 * config.c - from a file or a text to rules and settings: read, checked as a whole, handed out.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "config_parser.h"
#include "weir.h"

#define FILE_MAX_BYTES (16ul << 20)

/* A pattern that was faulty has been said to be. */
static const char *check_each(const struct config_draft *draft)
{
	return config_check_each(draft->text_faulty ? "*" : draft->rule.text, &draft->rule.terms);
}

static void finish_draft(struct config_parser *parser, struct config_draft *draft)
{
	const char *why;
	unsigned line;

	if (draft->terms_faulty)
		return;
	line = config_faulty_line(draft);
	why = config_finish_draft(draft, &draft->rule.terms);
	if (!why && draft->rule.kind == ROW_EACH)
		why = check_each(draft);
	if (!why)
		return;
	if (draft->rule.kind == ROW_DEFAULT)
		config_report(&parser->report, line, "[default]: %s", why);
	else
		config_report(&parser->report, line, "[%s %s]: %s", config_section(draft),
			      draft->label, why);
}

static void finish_drafts(struct config_parser *parser)
{
	const struct terms *fallback = &parser->drafts[0].rule.terms;

	for (size_t i = 0; i < parser->draft_count; i++) {
		struct config_draft *draft = &parser->drafts[i];

		if (draft->rate_line == 0) {
			draft->rule.terms.rate_micro = fallback->rate_micro;
			draft->rule.terms.period_ns = fallback->period_ns;
		}
		config_inherit(&parser->report, draft, &parser->common);
		finish_draft(parser, draft);
	}
}

static int parse(struct config_parser *parser)
{
	int error;

	if (!config_add_draft(parser, 0))
		return -ENOMEM;
	config_read_lines(parser);
	if (parser->error)
		return parser->error;
	finish_drafts(parser);
	config_check_room(parser);
	error = config_overlap_check(&parser->report, parser->drafts + 1, parser->draft_count - 1);
	if (error)
		return error;
	return parser->report.faults->count > 0 ? WEIR_ECONFIG : 0;
}

static int take_rules(struct config *config, const struct config_parser *parser)
{
	config->rules = calloc(parser->draft_count, sizeof(*config->rules));
	if (!config->rules)
		return -ENOMEM;
	config->rule_count = parser->draft_count;
	for (size_t i = 0; i < parser->draft_count; i++)
		config->rules[i] = parser->drafts[i].rule;
	return 0;
}

int config_parse(struct config *out, const char *text, size_t bytes, const char *file,
		 struct config_faults *faults)
{
	struct config_faults unheard = {0};
	struct config_parser parser = {
		.report = {.file = file, .faults = faults ? faults : &unheard},
		.config =
			{
				.log = CONFIG_LOG_INFO,
				.endpoints = 1024,
				.names = 1024,
				.members = 256,
				.permits = 1024,
				.waiters = 1024,
			},
	};
	int error;

	config_begin_faults(parser.report.faults);
	config_reader_begin(&parser.reader, text ? text : "", bytes);
	error = parse(&parser);
	if (!error)
		error = take_rules(&parser.config, &parser);
	free(parser.drafts);
	if (!error)
		*out = parser.config;
	return error;
}

/* Reads to the end. Returns the number of bytes, or a negative errno. */
static ssize_t read_whole(int fd, char *text, size_t room)
{
	size_t used = 0;

	while (used < room) {
		ssize_t got = read(fd, text + used, room - used);

		if (got == 0)
			return (ssize_t)used;
		if (got < 0 && errno != EINTR)
			return -errno;
		if (got > 0)
			used += (size_t)got;
	}
	return -EFBIG;
}

int config_read(struct config *out, const char *path, struct config_faults *faults)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text;
	ssize_t bytes;
	int error;

	if (faults)
		config_begin_faults(faults);
	if (fd < 0)
		return -errno;
	text = malloc(FILE_MAX_BYTES + 1); /* pages that are not read into cost nothing */
	bytes = text ? read_whole(fd, text, FILE_MAX_BYTES + 1) : -ENOMEM;
	close(fd);
	error = bytes < 0 ? (int)bytes : config_parse(out, text, (size_t)bytes, path, faults);
	free(text);
	return error;
}

void config_free(struct config *config)
{
	free(config->rules);
	config->rules = NULL;
	config->rule_count = 0;
}
