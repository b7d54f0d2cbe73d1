/* SPDX-License-Identifier: Apache-2.0
 *
 * arrival.h - a request, as it is passed on from the logs to the limits.
 */
#ifndef WEIRCTL_ARRIVAL_H
#define WEIRCTL_ARRIVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRIVAL_KEY_MAX 255 /* bytes of a key that are shown */

struct arrival {
	uint64_t time_ns; /* since 1970 */
	uint64_t hash;	  /* of the whole key; never 0 */
	uint64_t cost_micro;
	const char *key; /* its beginning, for people */
	uint64_t line;	 /* where it comes from */
	uint32_t log;
	uint8_t key_bytes;
	bool whole; /* the time has no parts of a second */
};

#endif
