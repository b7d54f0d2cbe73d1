/* SPDX-License-Identifier: Apache-2.0
 *
 * ask.h - asks the daemon to change something, over its control socket.
 */
#ifndef WEIRCTL_ASK_H
#define WEIRCTL_ASK_H

#include "ctl.h"
#include "wire.h"

/*
 * Sends the message and prints the reply: to standard output if it was done, else as a
 * complaint. Waits up to 30 s for the answer. Returns how the command ends.
 */
enum ctl_exit ask_daemon(const struct ctl *ctl, const struct wire_message *message);

#endif
