/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_sockets.h - libcurl's sockets and its timer in a loop of libuv. Knows nothing of limits.
 */
#ifndef WEIR_HTTP_UV_SOCKETS_H
#define WEIR_HTTP_UV_SOCKETS_H

#include <curl/curl.h>
#include <uv.h>

struct sockets {
	CURLM *multi;
	uv_timer_t timer;
	uv_poll_t poll; /* of `epoll`; keeps the loop alive while there is a socket in it */
	int epoll;
	unsigned watched; /* sockets */
	unsigned handles; /* of libuv that are not closed yet */
	/* something may have come to its end */
	void (*moved)(struct sockets *sockets);
	void (*closed)(struct sockets *sockets);
};

/* Returns 0, or -errno, and then nothing of the loop was touched. */
int sockets_open(struct sockets *sockets, uv_loop_t *uv);

/* No transfer is in it any more. `closed` is called out of the loop. */
void sockets_close(struct sockets *sockets);

#endif
