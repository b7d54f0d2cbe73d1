/* SPDX-License-Identifier: Apache-2.0 */
#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int notify_fd = -1;
static struct sockaddr_un notify_address;
static socklen_t notify_address_bytes;

int notify_open(const char *address)
{
	size_t bytes = address ? strlen(address) : 0;

	if (bytes == 0)
		return 0;
	if ((address[0] != '/' && address[0] != '@') || bytes < 2)
		return -EINVAL;
	if (bytes >= sizeof(notify_address.sun_path))
		return -ENAMETOOLONG;
	memset(&notify_address, 0, sizeof(notify_address));
	notify_address.sun_family = AF_UNIX;
	memcpy(notify_address.sun_path, address, bytes);
	if (address[0] == '@')
		notify_address.sun_path[0] = '\0';
	notify_address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
	notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return notify_fd < 0 ? -errno : 0;
}

void notify_close(void)
{
	if (notify_fd >= 0)
		close(notify_fd);
	notify_fd = -1;
}

static void notify_send(const char *text)
{
	if (notify_fd >= 0)
		(void)sendto(notify_fd, text, strlen(text), MSG_NOSIGNAL,
			     (struct sockaddr *)&notify_address, notify_address_bytes);
}

void notify_ready(const char *status)
{
	char text[256];

	snprintf(text, sizeof(text), "READY=1\nSTATUS=%s", status);
	notify_send(text);
}

void notify_reloading(void)
{
	struct timespec now;
	char text[80];

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld",
		 (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	notify_send(text);
}

void notify_stopping(void)
{
	notify_send("STOPPING=1");
}

void notify_watchdog(void)
{
	notify_send("WATCHDOG=1");
}

static int read_number(const char *text, unsigned long long *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno || end == text || *end || text[0] == '-' ? -EINVAL : 0;
}

uint64_t notify_watchdog_ns(const char *usec, const char *for_pid, long pid)
{
	unsigned long long us, who;

	if (!usec || read_number(usec, &us) < 0 || us == 0 || us > UINT64_MAX / 1000)
		return 0;
	if (for_pid && (read_number(for_pid, &who) < 0 || who != (unsigned long long)pid))
		return 0;
	return us * 1000 / 2;
}
