/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "lock.h"
#include "render.h"
#include "segment.h"
#include "text.h"
#include "weir.h"

#define ANSWER_WITHIN_S 30

static enum ctl_exit complain_absent(const struct ctl *ctl)
{
	const char *name = ctl->place.name;
	const char *socket_path = ctl->place.socket;
	pid_t holder = 0;

	if (lock_is_taken(&ctl->place, &holder))
		return ctl_complain("no control socket at %s, though weird (pid %ld) serves `%s`: "
				    "does it listen elsewhere? (--socket PATH)",
				    socket_path, (long)holder, name);
	return ctl_complain("no control socket at %s: weird is not running for instance `%s`.\n"
			    "Start it, or name another instance (-N NAME) or socket "
			    "(--socket PATH). Limits that are in force stay so meanwhile.",
			    socket_path, name);
}

static enum ctl_exit complain_connect(const struct ctl *ctl, int error)
{
	const char *socket_path = ctl->place.socket;

	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return complain_absent(ctl);
	case ECONNREFUSED:
		return ctl_complain("nobody listens at %s: the daemon of instance `%s` is dead.\n"
				    "Start weird again: it takes over where the last one stopped. "
				    "Limits stay in force meanwhile.",
				    socket_path, ctl->place.name);
	case EACCES:
	case EPERM:
		return ctl_complain("no permission to use %s: %s", socket_path,
				    weir_strerror(WEIR_EDENIED));
	case EPROTOTYPE:
	case ENOTSOCK:
		return ctl_complain("%s is not a control socket of weird", socket_path);
	default:
		return ctl_complain("cannot connect to %s: %s", socket_path, weir_strerror(-error));
	}
}

/* Returns a connected descriptor, or -1 and *status after a complaint. */
static int connect_daemon(const struct ctl *ctl, enum ctl_exit *status)
{
	const struct timeval within = {.tv_sec = ANSWER_WITHIN_S};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(ctl->place.socket);
	int fd;

	if (length >= sizeof(address.sun_path)) {
		*status = ctl_complain("the socket's path is longer than %zu bytes: %s",
				       sizeof(address.sun_path) - 1, ctl->place.socket);
		return -1;
	}
	memcpy(address.sun_path, ctl->place.socket, length + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		*status = ctl_complain("cannot make a socket: %s", weir_strerror(-errno));
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &within, sizeof(within));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &within, sizeof(within));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	*status = complain_connect(ctl, errno);
	close(fd);
	return -1;
}

/* Returns 0 or a negative errno. */
static int send_all(int fd, const unsigned char *bytes, size_t count)
{
	while (count > 0) {
		ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);

		if (sent < 0 && errno != EINTR)
			return -errno;
		if (sent > 0) {
			bytes += sent;
			count -= (size_t)sent;
		}
	}
	return 0;
}

/* Reads until a message is whole; returns its length, 0 at the end of the stream, or a code. */
static int64_t receive_message(int fd, unsigned char bytes[WIRE_MAX_BYTES])
{
	size_t used = 0;

	for (;;) {
		int64_t length = wire_length(bytes, used);

		if (length != 0)
			return length;

		ssize_t got = recv(fd, bytes + used, WIRE_MAX_BYTES - used, 0);

		if (got == 0)
			return 0;
		if (got < 0 && errno != EINTR)
			return -errno;
		if (got > 0)
			used += (size_t)got;
	}
}

static enum ctl_exit print_reply(const struct ctl *ctl, const struct wire_message *reply)
{
	const char *text = reply->text ? reply->text : weir_strerror(reply->code);
	char safe[4 * WIRE_MAX_BYTES];
	struct page page;

	if (ctl->json) {
		page_open(&page, true);
		page_flag(&page, "done", NULL, reply->code >= 0);
		page_code(&page, "code", reply->code);
		page_text(&page, "text", NULL, text);
		page_print(&page, stdout);
		return reply->code < 0 ? CTL_CANNOT : CTL_DONE;
	}
	if (reply->code < 0)
		return ctl_complain("%s", text);
	puts(text_safe(safe, sizeof(safe), text, true));
	return CTL_DONE;
}

static enum ctl_exit read_reply(const struct ctl *ctl, int fd)
{
	unsigned char bytes[WIRE_MAX_BYTES];
	struct wire_message reply;
	int64_t length = receive_message(fd, bytes);

	if (length == -EAGAIN || length == -EWOULDBLOCK)
		return ctl_complain("weird did not answer at %s within %d s: is it stopped? What "
				    "was asked for may still happen; look with weirctl list",
				    ctl->place.socket, ANSWER_WITHIN_S);
	if (length == 0 || length == -ECONNRESET)
		return ctl_complain("weird closed the connection without an answer: it may have "
				    "died; look with weirctl list whether the change is in force");
	if (length < 0 && length != WEIR_EWIRE)
		return ctl_complain("cannot read the answer: %s", weir_strerror((int)length));
	if (length < 0 || wire_parse(&reply, bytes, (size_t)length) < 0 || reply.kind != WIRE_REPLY)
		return ctl_complain("what answered at %s does not speak version %u of weird's "
				    "protocol: are weird and weirctl of one release?",
				    ctl->place.socket, WIRE_VERSION);
	return print_reply(ctl, &reply);
}

enum ctl_exit ask_daemon(const struct ctl *ctl, const struct wire_message *message)
{
	unsigned char bytes[WIRE_MAX_BYTES];
	int64_t length = wire_write(message, bytes, sizeof(bytes));
	enum ctl_exit status = CTL_CANNOT;
	int fd, error;

	if (length < 0)
		return ctl_complain("that is more than a message to weird can hold");
	fd = connect_daemon(ctl, &status);
	if (fd < 0)
		return status;
	error = send_all(fd, bytes, (size_t)length);
	/* a daemon that refuses before it has read all still answers */
	if (error < 0 && error != -EPIPE)
		status = ctl_complain("cannot ask weird at %s: %s", ctl->place.socket,
				      weir_strerror(error));
	else
		status = read_reply(ctl, fd);
	close(fd);
	return status;
}
