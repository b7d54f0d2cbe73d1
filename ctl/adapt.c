/* SPDX-License-Identifier: Apache-2.0
 *
 * adapt NAME off|on - freezes the speed that was learned of an upstream, or learns it anew.
 */
#include "ctl.h"

#include <string.h>

#include "ask.h"
#include "wire.h"

enum ctl_exit command_adapt(struct ctl *ctl)
{
	const char *word = ctl->args.operands[1];
	struct wire_message message = {.kind = WIRE_ADAPT, .name = ctl_name(ctl)};

	if (!message.name)
		return CTL_CANNOT;
	if (strcmp(word, "off") != 0 && strcmp(word, "on") != 0)
		return ctl_misuse(ctl, "%.80s: it is off or on", word);
	message.keep = strcmp(word, "off") == 0 ? WIRE_ADAPT_OFF : WIRE_ADAPT_ON;
	return ask_daemon(ctl, &message);
}
