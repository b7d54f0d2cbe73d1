/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_sockets.c - libcurl's sockets in a loop of libuv. They are watched by an epoll of their own,
 * which the loop watches: libcurl gives up a socket at the end of each transfer and asks for it
 * again at the next one, and a uv_poll_t that comes and goes with it costs six system calls.
 */
#include "uv_sockets.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS 64 /* at once; more wait for the next round of the loop */

/* ---- what happens ---- */

static void act(struct sockets *sockets, const struct epoll_event *event)
{
	int what = 0;
	int running;

	if (event->events & (EPOLLIN | EPOLLHUP))
		what |= CURL_CSELECT_IN;
	if (event->events & EPOLLOUT)
		what |= CURL_CSELECT_OUT;
	if (event->events & EPOLLERR)
		what |= CURL_CSELECT_ERR;
	/* one that was given up since the events were read is none of libcurl's, which it sees */
	curl_multi_socket_action(sockets->multi, event->data.fd, what, &running);
}

static void on_poll(uv_poll_t *poll, int status, int flags)
{
	struct sockets *sockets = poll->data;
	struct epoll_event events[EVENTS];
	int count = epoll_wait(sockets->epoll, events, EVENTS, 0);

	(void)status;
	(void)flags;
	for (int i = 0; i < count; i++)
		act(sockets, &events[i]);
	sockets->moved(sockets);
}

static void on_timer(uv_timer_t *timer)
{
	struct sockets *sockets = timer->data;
	int running;

	curl_multi_socket_action(sockets->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	sockets->moved(sockets);
}

/* ---- what libcurl wants to be told of ---- */

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

static void watched_add(struct sockets *sockets)
{
	if (sockets->watched++ == 0)
		uv_ref((uv_handle_t *)&sockets->poll);
}

static void watched_remove(struct sockets *sockets)
{
	if (--sockets->watched == 0)
		uv_unref((uv_handle_t *)&sockets->poll);
}

static int set_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *is_watched)
{
	struct sockets *sockets = context;
	struct epoll_event event = {.data.fd = fd};

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (is_watched)
			watched_remove(sockets);
		/* it is still open, so what fails is one that was not there */
		epoll_ctl(sockets->epoll, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	if (epoll_ctl(sockets->epoll, is_watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0)
		return -1;
	if (!is_watched) {
		watched_add(sockets);
		curl_multi_assign(sockets->multi, fd, sockets);
	}
	return 0;
}

/* ---- its beginning and end ---- */

static void multi_set(struct sockets *sockets)
{
	curl_multi_setopt(sockets->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
	curl_multi_setopt(sockets->multi, CURLMOPT_SOCKETDATA, sockets);
	curl_multi_setopt(sockets->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(sockets->multi, CURLMOPT_TIMERDATA, sockets);
}

int sockets_open(struct sockets *sockets, uv_loop_t *uv)
{
	int status;

	sockets->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (sockets->epoll < 0)
		return -errno;
	sockets->multi = curl_multi_init();
	status = sockets->multi ? uv_poll_init(uv, &sockets->poll, sockets->epoll) : -ENOMEM;
	if (status < 0) {
		curl_multi_cleanup(sockets->multi);
		close(sockets->epoll);
		return status;
	}
	uv_timer_init(uv, &sockets->timer);
	sockets->timer.data = sockets->poll.data = sockets;
	sockets->handles = 2;
	multi_set(sockets);
	uv_poll_start(&sockets->poll, UV_READABLE, on_poll);
	uv_unref((uv_handle_t *)&sockets->poll);
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct sockets *sockets = handle->data;

	if (--sockets->handles > 0)
		return;
	close(sockets->epoll);
	sockets->closed(sockets);
}

void sockets_close(struct sockets *sockets)
{
	curl_multi_cleanup(sockets->multi);
	uv_close((uv_handle_t *)&sockets->poll, on_closed);
	uv_close((uv_handle_t *)&sockets->timer, on_closed);
}
