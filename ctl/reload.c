/* SPDX-License-Identifier: Apache-2.0
 *
 * reload - has the daemon read its configuration again.
 */
#include "ctl.h"

#include "ask.h"
#include "wire.h"

enum ctl_exit command_reload(struct ctl *ctl)
{
	const struct wire_message message = {.kind = WIRE_RELOAD};

	return ask_daemon(ctl, &message);
}
