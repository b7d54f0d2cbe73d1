/* SPDX-License-Identifier: Apache-2.0
 *
 * close NAME, open NAME - shuts an endpoint for everybody, and opens it.
 */
#include "ctl.h"

#include <stdint.h>

#include "ask.h"
#include "wire.h"

enum ctl_exit command_close(struct ctl *ctl)
{
	struct wire_message message = {
		.kind = WIRE_CLOSE,
		.name = ctl_name(ctl),
		.duration_ns = UINT64_MAX,
	};

	if (!message.name || !ctl_duration(ctl, OPTION_FOR, true, &message.duration_ns))
		return CTL_CANNOT;
	if (message.duration_ns == 0)
		return ctl_misuse(ctl, "--for 0: closing needs a duration above 0");
	return ask_daemon(ctl, &message);
}

enum ctl_exit command_open(struct ctl *ctl)
{
	const struct wire_message message = {.kind = WIRE_OPEN, .name = ctl_name(ctl)};

	return message.name ? ask_daemon(ctl, &message) : CTL_CANNOT;
}
