/* SPDX-License-Identifier: Apache-2.0
 *
 * place.h - where an instance lives: the folder of its objects and its control socket.
 *
 * Pure but for looking whether a folder or object is there; reads no environment: the caller
 * passes what it found.
 */
#ifndef WEIR_PLACE_H
#define WEIR_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#define PLACE_NAME_BYTES 64
#define PLACE_DIR_BYTES 200
#define PLACE_PATH_BYTES 320

struct place {
	char name[PLACE_NAME_BYTES];
	char dir[PLACE_DIR_BYTES];     /* of the two objects and the daemon's lock */
	char socket[PLACE_PATH_BYTES]; /* control socket */
};

/* What a program knows before it looks; NULL where it was told nothing. */
struct place_hints {
	const char *name;	 /* -N, WEIR_NAME, or the configuration's; NULL: "default" */
	const char *shm_dir;	 /* WEIR_SHM_DIR or the configuration's */
	const char *socket;	 /* WEIR_SOCKET or the configuration's */
	const char *runtime_dir; /* XDG_RUNTIME_DIR */
	uint32_t uid;		 /* of the process */
};

enum place_for {
	PLACE_TO_CREATE, /* weird: root's instance in /dev/shm, a user's in the user's folder */
	PLACE_TO_ATTACH, /* others: the user's own if it is there, else root's */
};

/*
 * Objects: shm_dir if given; else for root /dev/shm; else RUNTIME/weir, where RUNTIME is
 * $XDG_RUNTIME_DIR, or /run/user/UID if that exists; else /dev/shm.
 * Socket: as given; else DIR/weir.NAME.sock, but for root in /dev/shm /run/weir/NAME.sock.
 * Returns 0, WEIR_ENAME (empty, too long, '/', leading '.', control characters) or
 * -ENAMETOOLONG.
 */
int place_resolve(struct place *out, const struct place_hints *hints, enum place_for purpose);

/*
 * Where the daemon hears of responses: the control socket's path with `.observe` in place of
 * `.sock`, or behind it. "" if no socket's address is that long.
 */
void place_observe(const struct place *place, char out[PLACE_PATH_BYTES]);

/* DIR/weir.NAME.SUFFIX */
void place_path(const struct place *place, const char *suffix, char out[PLACE_PATH_BYTES]);

#endif
