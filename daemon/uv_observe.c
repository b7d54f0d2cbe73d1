/* SPDX-License-Identifier: Apache-2.0 */
#include "uv_observe.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fault.h"
#include "log.h"
#include "socket_file.h"
#include "weir.h"
#include "wire.h"

/* ---- time ---- */

static void on_timer(uv_timer_t *timer);

static void set_timer(struct uv_observe *self, uint64_t in_ns)
{
	bool manual = self->instance->segment.time.kind == CLOCK_KIND_MANUAL;
	uint64_t ms = in_ns / 1000000 + 1;

	if (self->follow.count == 0) {
		uv_timer_stop(&self->timer);
		return;
	}
	if (manual)
		ms = UV_OBSERVE_MANUAL_MS;
	else if (ms > UV_OBSERVE_LONGEST_MS)
		ms = UV_OBSERVE_LONGEST_MS;
	/* can fail only without a callback */
	uv_timer_start(&self->timer, on_timer, ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
	struct uv_observe *self = timer->data;

	set_timer(self, follow_tick(&self->follow));
}

/* ---- datagrams ---- */

static void refuse(struct uv_observe *self, const struct ucred *sender, const char *why)
{
	uint64_t now_ms = uv_now(self->poll.loop);
	char who[64];

	/* relaxed: a count for people */
	atomic_fetch_add_explicit(&self->instance->segment.state->observations_refused, 1,
				  memory_order_relaxed);
	self->unsaid++;
	if (now_ms < self->say_after_ms)
		return;
	self->say_after_ms = now_ms + UV_OBSERVE_SAY_MS;
	if (sender)
		peer_name(who, sizeof(who), sender->uid);
	else
		snprintf(who, sizeof(who), "nobody knows whom");
	log_line(LOG_WARNING,
		 "%llu observations refused, the last one from %s (pid %ld): %s; more are counted, "
		 "and said in a minute",
		 (unsigned long long)self->unsaid, who, sender ? (long)sender->pid : 0, why);
	self->unsaid = 0;
}

/* The kernel's word on the sender; false: there is none. */
static bool sender_of(struct msghdr *message, struct ucred *out)
{
	for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part))
		if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_CREDENTIALS &&
		    part->cmsg_len == CMSG_LEN(sizeof(*out))) {
			memcpy(out, CMSG_DATA(part), sizeof(*out));
			return true;
		}
	return false;
}

/* Descriptors that came along would stay open. */
static void close_rights(struct msghdr *message)
{
	for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part;
	     part = CMSG_NXTHDR(message, part)) {
		size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(part) + i * sizeof(fd), sizeof(fd));
			close(fd);
		}
	}
}

static void take(struct uv_observe *self, struct msghdr *message, const unsigned char *bytes,
		 size_t count)
{
	struct wire_observation observation;
	struct ucred sender;
	bool known = sender_of(message, &sender);

	close_rights(message);
	if (!known || !peer_may_tell(&self->known, sender.uid, sender.gid, geteuid(),
				     self->instance->group)) {
		refuse(self, known ? &sender : NULL, weir_strerror(WEIR_EDENIED));
		return;
	}
	if (message->msg_flags & MSG_TRUNC ||
	    wire_parse_observation(&observation, bytes, count) < 0) {
		refuse(self, &sender, weir_strerror(WEIR_EWIRE));
		return;
	}
	FAULT_POINT(observation_read);
	if (follow_observe(&self->follow, &observation) < 0)
		log_line(LOG_ERROR, "no memory for an observation of %s", observation.name);
}

/* Returns false if there was none. */
static bool receive(struct uv_observe *self)
{
	unsigned char bytes[WIRE_OBSERVATION_BYTES];
	union {
		char room[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec span = {bytes, sizeof(bytes)};
	struct msghdr message = {
		.msg_iov = &span,
		.msg_iovlen = 1,
		.msg_control = control.room,
		.msg_controllen = sizeof(control.room),
	};
	ssize_t got = recvmsg(self->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (got < 0)
		return errno == EINTR;
	take(self, &message, bytes, (size_t)got);
	return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct uv_observe *self = poll->data;

	(void)events;
	if (status < 0)
		log_line(LOG_WARNING, "socket of observations: %s", uv_strerror(status));
	for (int i = 0; status == 0 && i < UV_OBSERVE_AT_ONCE && receive(self); i++)
		;
	set_timer(self, follow_tick(&self->follow));
}

/* ---- the socket ---- */

static int bind_at(int fd, const char *path, gid_t group)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int on = 1;
	int error = socket_file_clear(path);
	mode_t before;

	if (error < 0)
		return error;
	strcpy(address.sun_path, path); /* place_observe() bounds it */
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return -errno;
	before = umask(0117);
	error = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	umask(before);
	return error == 0 ? socket_file_give(path, group) : error;
}

static int listen_at(struct uv_observe *self)
{
	int error;

	if (self->path[0] == '\0')
		return -ENAMETOOLONG;
	self->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (self->fd < 0)
		return -errno;
	error = bind_at(self->fd, self->path, self->instance->group);
	if (error < 0) {
		close(self->fd);
		self->fd = -1;
	}
	return error;
}

int uv_observe_start(struct uv_observe *observe, uv_loop_t *loop, struct instance *instance)
{
	int error;

	*observe = (struct uv_observe){.instance = instance, .fd = -1};
	follow_begin(&observe->follow, instance);
	uv_timer_init(loop, &observe->timer);
	observe->timer.data = observe;
	place_observe(&instance->place, observe->path);
	error = listen_at(observe);
	if (error < 0) {
		log_line(LOG_ERROR, "cannot hear of responses at %s: %s; nothing is adapted",
			 observe->path[0] ? observe->path : "a path that long",
			 weir_strerror(error));
		return 0;
	}
	error = uv_poll_init(loop, &observe->poll, observe->fd);
	if (error < 0) {
		close(observe->fd);
		observe->fd = -1;
		return error;
	}
	observe->poll.data = observe;
	set_timer(observe, follow_tick(&observe->follow));
	return uv_poll_start(&observe->poll, UV_READABLE, on_readable);
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct uv_observe *self = handle->data;

	close(self->fd);
	self->fd = -1;
}

void uv_observe_stop(struct uv_observe *observe)
{
	if (observe->fd >= 0) {
		unlink(observe->path);
		uv_close((uv_handle_t *)&observe->poll, on_poll_closed);
	}
	uv_close((uv_handle_t *)&observe->timer, NULL);
	follow_end(&observe->follow);
}
