/* SPDX-License-Identifier: Apache-2.0
 *
 * set NAME KEY=VALUE... - changes a rule, or gives a name a rule of its own.
 */
#include "ctl.h"

#include <string.h>

#include "ask.h"
#include "config.h"
#include "rules.h"
#include "token_clock.h"
#include "wire.h"

static const struct {
	const char *name;
	enum rules_keep keep;
} keeps[] = {
	{"used", RULES_KEEP_USED},
	{"level", RULES_KEEP_LEVEL},
	{"proportional", RULES_KEEP_PROPORTIONAL},
	{"reset", RULES_KEEP_RESET},
};

static bool read_keep(const struct ctl *ctl, uint32_t *keep)
{
	const char *text = ctl->args.values[OPTION_KEEP];

	if (!text)
		return true;
	for (size_t i = 0; i < sizeof(keeps) / sizeof(keeps[0]); i++)
		if (!strcmp(text, keeps[i].name)) {
			*keep = keeps[i].keep;
			return true;
		}
	ctl_misuse(ctl, "--keep %.80s: it is used, level, proportional or reset", text);
	return false;
}

/* Cuts "rate=5/s" at its "="; checks the value as a configuration file would. */
static bool read_setting(const struct ctl *ctl, char *word, struct wire_message *message)
{
	struct terms scratch = {0};
	char *equals = strchr(word, '=');
	const char *wrong;

	if (!equals) {
		ctl_misuse(ctl, "%.80s: a setting is KEY=VALUE, as rate=5/s", word);
		return false;
	}
	if (message->setting_count == WIRE_MAX_SETTINGS) {
		ctl_misuse(ctl, "more than %u settings", WIRE_MAX_SETTINGS);
		return false;
	}
	*equals = '\0';
	wrong = config_set_term(&scratch, word, equals + 1);
	if (wrong) {
		ctl_misuse(ctl, "%.80s = %.80s: %s", word, equals + 1, wrong);
		return false;
	}
	message->settings[message->setting_count++] = (struct wire_setting){word, equals + 1};
	return true;
}

enum ctl_exit command_set(struct ctl *ctl)
{
	struct wire_message message = {.kind = WIRE_SET, .name = ctl_name(ctl)};

	if (!message.name || !read_keep(ctl, &message.keep))
		return CTL_CANNOT;
	for (int i = 1; i < ctl->args.operand_count; i++)
		if (!read_setting(ctl, ctl->args.operands[i], &message))
			return CTL_CANNOT;
	if (message.setting_count == 0 && message.keep == RULES_KEEP_USED)
		return ctl_misuse(ctl,
				  "nothing to set: give rate=5/s, burst=10 or another KEY=VALUE");
	return ask_daemon(ctl, &message);
}
