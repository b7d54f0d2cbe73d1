/* SPDX-License-Identifier: Apache-2.0
 *
 * json_log.h - finds members in a line that is a JSON object. Pure; allocates nothing.
 *
 * It looks for what is wanted and passes over the rest, as long as its brackets, quotes and colons
 * are where they must be; it ends at the last member that is wanted. Values are taken as the
 * log has them: what is escaped in one line and not in another is two different keys.
 */
#ifndef WEIRCTL_JSON_LOG_H
#define WEIRCTL_JSON_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "access_log.h"

enum json_log_wanted {
	JSON_LOG_KEY,
	JSON_LOG_TIME,
	JSON_LOG_COST,
	JSON_LOG_WANTED,
};

/* Without its quotes. No bytes: there is no such member, or it is null, an object, an array. */
struct json_log_value {
	const char *at;
	size_t bytes;
};

/*
 * Finds the fields of the format in the object at `line`. What an address and a time are called is
 * found out with the first object that has one, by the names that servers give them, if the
 * format says so; it goes on with these names. LOG_TAKEN, or LOG_SKIP_FORM.
 */
enum log_skip json_log_read(struct log_format *format, const char *line, const char *end,
			    struct json_log_value values[JSON_LOG_WANTED]);

#endif
