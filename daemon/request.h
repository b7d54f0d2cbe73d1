/* SPDX-License-Identifier: Apache-2.0
 *
 * request.h - carries out what a control message asked for, and says so in reply and log.
 */
#ifndef WEIRD_REQUEST_H
#define WEIRD_REQUEST_H

#include "control.h"
#include "instance.h"
#include "source.h"

/* A request that control_read() let through. */
void request_carry_out(struct instance *instance, const struct source *source,
		       const struct control_request *request, const struct control_peer *peer,
		       struct control_reply *reply);

#endif
