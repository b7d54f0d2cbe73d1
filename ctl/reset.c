/* SPDX-License-Identifier: Apache-2.0
 *
 * reset NAME [KEY] - fills a bucket; who waits in line takes a new place.
 */
#include "ctl.h"

#include "ask.h"
#include "layout.h"
#include "wire.h"

enum ctl_exit command_reset(struct ctl *ctl)
{
	char whole[LAYOUT_TEXT_BYTES];
	const struct wire_message message = {
		.kind = WIRE_RESET,
		.name = ctl_name_of_key(ctl, whole),
	};

	return message.name ? ask_daemon(ctl, &message) : CTL_CANNOT;
}
