/* SPDX-License-Identifier: Apache-2.0
 *
 * notify.h - tells the supervisor how the service is: sd_notify(3)'s datagrams.
 *
 * The address is NOTIFY_SOCKET's: a path, or '@' and an abstract name. Without one, every call
 * does nothing. Nothing here blocks; a datagram that cannot be sent is lost.
 */
#ifndef WEIRD_NOTIFY_H
#define WEIRD_NOTIFY_H

#include <stdint.h>

/* `address` may be NULL. Returns 0 or a negative errno. */
int notify_open(const char *address);
void notify_close(void);

void notify_ready(const char *status);
void notify_reloading(void);
void notify_stopping(void);
void notify_watchdog(void);

/*
 * Nanoseconds between two notify_watchdog(): half of what WATCHDOG_USEC says, 0 if nobody waits
 * for them. Both texts may be NULL; `pid` is this process.
 */
uint64_t notify_watchdog_ns(const char *usec, const char *for_pid, long pid);

#endif
