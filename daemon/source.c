/* SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "weir.h"

int source_default(struct source *out, bool root, const char *config_home, const char *home)
{
	struct source source = {.optional = true};
	int length;

	if (!root && config_home && config_home[0] == '/')
		length =
			snprintf(source.path, sizeof(source.path), "%s/weir/weir.ini", config_home);
	else if (!root && home && home[0] == '/')
		length = snprintf(source.path, sizeof(source.path), "%s/.config/weir/weir.ini",
				  home);
	else
		length = snprintf(source.path, sizeof(source.path), "/etc/weir/weir.ini");
	if (length >= (int)sizeof(source.path))
		return -ENAMETOOLONG;
	*out = source;
	return 0;
}

#define SOURCE_REST_BYTES 40u

/* Faults of the file itself have no line. */
static void add_fault(struct config_faults *faults, const char *path, const char *what)
{
	size_t room = faults->bytes - faults->used;
	int wanted = snprintf(faults->text + faults->used, room, "%s: %s\n", path, what);

	if (wanted > 0)
		faults->used += (size_t)wanted < room ? (size_t)wanted : room - 1;
	faults->count++;
}

/* The last line says how many faults found no room. */
static void add_rest(struct config_faults *faults)
{
	unsigned said = 0;

	for (const char *at = faults->text; (at = strchr(at, '\n')) != NULL; at++)
		said++;
	if (faults->count > said)
		snprintf(faults->text + faults->used, faults->bytes - faults->used,
			 "and %u more faults\n", faults->count - said);
}

int source_read(struct config *out, const struct source *source, struct config_faults *faults,
		bool *absent)
{
	size_t bytes = faults->bytes;
	bool missing;
	int error;

	faults->bytes -= SOURCE_REST_BYTES;
	error = config_read(out, source->path, faults);
	missing = error == -ENOENT && source->optional;
	if (missing)
		error = config_parse(out, "", 0, source->path, faults);
	faults->bytes = bytes;
	if (error < 0)
		add_rest(faults);
	if (error < 0 && faults->count == 0)
		add_fault(faults, source->path, weir_strerror(error));
	if (absent)
		*absent = missing;
	return error;
}

enum log_level source_log_level(enum config_log level)
{
	switch (level) {
	case CONFIG_LOG_ERROR:
		return LOG_ERROR;
	case CONFIG_LOG_WARNING:
		return LOG_WARNING;
	case CONFIG_LOG_INFO:
		return LOG_INFO;
	case CONFIG_LOG_DEBUG:
		return LOG_DEBUG;
	}
	return LOG_INFO;
}
