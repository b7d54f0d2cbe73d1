/* SPDX-License-Identifier: Apache-2.0 */
#include "uv_sockets.h"

#include <errno.h>
#include <stdlib.h>

/* A socket that libcurl wants to be told of. */
struct watched {
	uv_poll_t poll;
	struct sockets *sockets;
	curl_socket_t fd;
};

static void one_closed(struct sockets *sockets)
{
	if (--sockets->open == 0 && sockets->closes)
		sockets->closed(sockets);
}

static void on_watched_closed(uv_handle_t *handle)
{
	struct watched *watched = handle->data;
	struct sockets *sockets = watched->sockets;

	free(watched);
	one_closed(sockets);
}

static void on_timer_closed(uv_handle_t *handle)
{
	one_closed(handle->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct watched *watched = poll->data;
	struct sockets *sockets = watched->sockets;
	int what = status < 0 ? CURL_CSELECT_ERR : 0;
	int running;

	if (events & UV_READABLE)
		what |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		what |= CURL_CSELECT_OUT;
	/* `watched` may be gone after that */
	curl_multi_socket_action(sockets->multi, watched->fd, what, &running);
	sockets->moved(sockets);
}

static void on_timer(uv_timer_t *timer)
{
	struct sockets *sockets = timer->data;
	int running;

	curl_multi_socket_action(sockets->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	sockets->moved(sockets);
}

static int set_timer(CURLM *multi, long ms, void *context)
{
	struct sockets *sockets = context;

	(void)multi;
	if (ms < 0)
		uv_timer_stop(&sockets->timer);
	else
		uv_timer_start(&sockets->timer, on_timer, (uint64_t)ms, 0);
	return 0;
}

static struct watched *watch(struct sockets *sockets, curl_socket_t fd)
{
	struct watched *watched = calloc(1, sizeof(*watched));

	if (!watched)
		return NULL;
	if (uv_poll_init_socket(sockets->uv, &watched->poll, fd) < 0) {
		free(watched);
		return NULL;
	}
	watched->poll.data = watched;
	watched->sockets = sockets;
	watched->fd = fd;
	sockets->open++;
	return watched;
}

static int set_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *of_socket)
{
	struct sockets *sockets = context;
	struct watched *watched = of_socket;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (watched)
			uv_close((uv_handle_t *)&watched->poll, on_watched_closed);
		curl_multi_assign(sockets->multi, fd, NULL);
		return 0;
	}
	if (!watched) {
		watched = watch(sockets, fd);
		if (!watched)
			return -1;
		curl_multi_assign(sockets->multi, fd, watched);
	}
	if (what & CURL_POLL_IN)
		events |= UV_READABLE;
	if (what & CURL_POLL_OUT)
		events |= UV_WRITABLE;
	return uv_poll_start(&watched->poll, events, on_poll) < 0 ? -1 : 0;
}

int sockets_open(struct sockets *sockets, uv_loop_t *uv)
{
	sockets->uv = uv;
	sockets->multi = curl_multi_init();
	if (!sockets->multi)
		return -ENOMEM;
	uv_timer_init(uv, &sockets->timer);
	sockets->timer.data = sockets;
	sockets->open = 1;
	curl_multi_setopt(sockets->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
	curl_multi_setopt(sockets->multi, CURLMOPT_SOCKETDATA, sockets);
	curl_multi_setopt(sockets->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(sockets->multi, CURLMOPT_TIMERDATA, sockets);
	return 0;
}

void sockets_close(struct sockets *sockets)
{
	/* what is still watched is given up by set_socket() */
	curl_multi_cleanup(sockets->multi);
	sockets->closes = true;
	uv_close((uv_handle_t *)&sockets->timer, on_timer_closed);
}
