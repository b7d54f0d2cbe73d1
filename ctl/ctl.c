/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "class.h"
#include "layout.h"
#include "names.h"
#include "text.h"
#include "token_clock.h"
#include "value.h"
#include "weir.h"

#define COMPLAINT_BYTES 10240 /* holds the longest reply of the daemon */

static enum ctl_exit complain(const char *before, const char *text, const char *after)
{
	char safe[4 * COMPLAINT_BYTES];

	text_safe(safe, sizeof(safe), text, true);
	fprintf(stderr, "weirctl: %s%s%s\n", before, safe, after);
	return CTL_CANNOT;
}

enum ctl_exit ctl_complain(const char *format, ...)
{
	char text[COMPLAINT_BYTES];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return complain("", text, "");
}

enum ctl_exit ctl_misuse(const struct ctl *ctl, const char *format, ...)
{
	char before[64], text[COMPLAINT_BYTES], after[64];
	va_list arguments;

	snprintf(before, sizeof(before), "%s: ", ctl->command->name);
	snprintf(after, sizeof(after), " (see: weirctl help %s)", ctl->command->name);
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return complain(before, text, after);
}

const char *ctl_name(const struct ctl *ctl)
{
	const char *name = ctl->args.operands[0];

	if (names_valid(name))
		return name;
	ctl_misuse(ctl, "`%.200s`: %s", name, weir_strerror(WEIR_ENAME));
	return NULL;
}

const char *ctl_name_of_key(const struct ctl *ctl, char *room)
{
	const char *rule = ctl_name(ctl);
	const char *key = ctl->args.operands[1];
	const char *star = rule ? strchr(rule, '*') : NULL;
	int bytes;

	if (!rule || ctl->args.operand_count < 2)
		return rule;
	if (!star || strchr(star + 1, '*')) {
		ctl_misuse(ctl,
			   "`%.200s`: before a key stands the pattern of an [each], with one *",
			   rule);
		return NULL;
	}
	bytes = snprintf(room, LAYOUT_TEXT_BYTES, "%.*s%s%s", (int)(star - rule), rule, key,
			 star + 1);
	if (bytes >= LAYOUT_TEXT_BYTES || !names_valid(room)) {
		ctl_misuse(ctl, "`%.200s`: with this key for the *, %s", key,
			   weir_strerror(WEIR_ENAME));
		return NULL;
	}
	return room;
}

bool ctl_cost(const struct ctl *ctl, double *cost)
{
	const char *text = ctl->args.values[OPTION_COST];
	uint64_t micro;
	const char *wrong = text ? value_tokens(text, &micro) : NULL;

	if (!text)
		return true;
	if (!wrong && micro == 0)
		wrong = weir_strerror(WEIR_ECOST);
	if (wrong) {
		ctl_misuse(ctl, "-n %.80s: %s", text, wrong);
		return false;
	}
	*cost = (double)micro / (double)TERMS_MICRO;
	return true;
}

bool ctl_duration(const struct ctl *ctl, enum option_id id, bool forever, uint64_t *ns)
{
	const char *text = ctl->args.values[id];
	const char *wrong;

	if (!text)
		return true;
	if (forever && !strcmp(text, "forever")) {
		*ns = WEIR_FOREVER;
		return true;
	}
	wrong = value_duration(text, ns);
	if (wrong)
		ctl_misuse(ctl, "--%s %.80s: %s%s", option_specs[id].name, text, wrong,
			   forever ? ", or forever" : "");
	return !wrong;
}

bool ctl_class(const struct ctl *ctl)
{
	const char *text = ctl->args.values[OPTION_CLASS];

	if (!text || class_number(text))
		return true;
	ctl_misuse(ctl, "--class %.80s: %s", text, weir_strerror(WEIR_ECLASS));
	return false;
}
