/* SPDX-License-Identifier: Apache-2.0 */
#include "close_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

/* Equal events that nobody has read are one, so that there are never many. */
enum { EVENTS_BYTES = 4096 };

/* Reads what there is, also of marks that are gone; whether any of it was of `mark`, or some was
 * lost. */
static bool drain(int fd, int mark)
{
	alignas(struct inotify_event) char events[EVENTS_BYTES];
	bool heard = false;
	ssize_t bytes;

	while ((bytes = read(fd, events, sizeof(events))) > 0)
		for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= bytes;) {
			struct inotify_event event;

			memcpy(&event, events + at, sizeof(event));
			heard |= event.wd == mark || event.mask & IN_Q_OVERFLOW;
			at += (ssize_t)(sizeof(event) + event.len);
		}
	return heard;
}

/* Closes a description of our own, which has to be told by then. */
static int prove(const struct close_watch *watch, const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(fd);
	return drain(watch->fd, watch->mark) ? 0 : -ENOTSUP;
}

static void take_away(struct close_watch *watch)
{
	if (watch->mark >= 0)
		inotify_rm_watch(watch->fd, watch->mark);
	watch->mark = -1;
}

int close_watch_aim(struct close_watch *watch, int state_fd)
{
	char path[64];
	int error;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", state_fd);
	if (watch->fd < 0)
		watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch->fd < 0)
		return -errno;
	take_away(watch);
	watch->mark = inotify_add_watch(watch->fd, path, IN_CLOSE_WRITE);
	if (watch->mark < 0)
		return -errno;
	error = prove(watch, path);
	if (error < 0)
		take_away(watch);
	return error;
}

bool close_watch_heard(const struct close_watch *watch)
{
	return watch->fd >= 0 && drain(watch->fd, watch->mark);
}

void close_watch_end(struct close_watch *watch)
{
	if (watch->fd >= 0)
		close(watch->fd);
	*watch = (struct close_watch)CLOSE_WATCH_INIT;
}
