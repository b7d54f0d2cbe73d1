/* SPDX-License-Identifier: Apache-2.0 */
#include "place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "weir.h"

#define SYSTEM_DIR "/dev/shm"

static bool name_is_valid(const char *name)
{
	size_t length = strlen(name);

	if (length == 0 || length > WEIR_INSTANCE_MAX || name[0] == '.')
		return false;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)name[i] <= ' ' || name[i] == 0x7f || name[i] == '/')
			return false;
	return true;
}

void place_path(const struct place *place, const char *suffix, char out[PLACE_PATH_BYTES])
{
	snprintf(out, PLACE_PATH_BYTES, "%s/weir.%s.%s", place->dir, place->name, suffix);
}

void place_observe(const struct place *place, char out[PLACE_PATH_BYTES])
{
	size_t bytes = strlen(place->socket);
	bool plain = bytes > 5 && strcmp(place->socket + bytes - 5, ".sock") == 0;
	int length = snprintf(out, PLACE_PATH_BYTES, "%.*s.observe",
			      (int)(plain ? bytes - 5 : bytes), place->socket);

	if (bytes == 0 || length >= (int)sizeof(((struct sockaddr_un *)NULL)->sun_path))
		out[0] = '\0';
}

/* The user's own folder: RUNTIME/weir; false if the user has no RUNTIME. */
static bool user_dir(const struct place_hints *hints, char out[PLACE_DIR_BYTES])
{
	char runtime[PLACE_DIR_BYTES];
	int length;

	if (hints->runtime_dir && hints->runtime_dir[0] == '/')
		length = snprintf(runtime, sizeof(runtime), "%s", hints->runtime_dir);
	else
		length = snprintf(runtime, sizeof(runtime), "/run/user/%u", hints->uid);
	if (length >= (int)sizeof(runtime) - 6 || access(runtime, F_OK) < 0)
		return false;
	snprintf(out, PLACE_DIR_BYTES, "%.*s/weir", PLACE_DIR_BYTES - 6, runtime);
	return true;
}

static bool has_instance(const char *dir, const char *name)
{
	struct place place = {.name = ""};
	char path[PLACE_PATH_BYTES];

	snprintf(place.name, sizeof(place.name), "%s", name);
	snprintf(place.dir, sizeof(place.dir), "%s", dir);
	place_path(&place, "rules", path);
	return access(path, F_OK) == 0;
}

static int resolve_dir(struct place *place, const struct place_hints *hints, enum place_for purpose)
{
	if (hints->shm_dir) {
		if (strlen(hints->shm_dir) >= sizeof(place->dir))
			return -ENAMETOOLONG;
		snprintf(place->dir, sizeof(place->dir), "%s", hints->shm_dir);
		return 0;
	}
	if (hints->uid == 0 || !user_dir(hints, place->dir) ||
	    (purpose == PLACE_TO_ATTACH && !has_instance(place->dir, place->name) &&
	     has_instance(SYSTEM_DIR, place->name)))
		snprintf(place->dir, sizeof(place->dir), "%s", SYSTEM_DIR);
	return 0;
}

/* The daemon of root's instance listens in /run/weir, every other beside its objects. */
static int resolve_socket(struct place *place, const struct place_hints *hints,
			  enum place_for purpose)
{
	if (hints->socket) {
		if (strlen(hints->socket) >= sizeof(place->socket))
			return -ENAMETOOLONG;
		snprintf(place->socket, sizeof(place->socket), "%s", hints->socket);
		return 0;
	}

	bool of_root = !hints->shm_dir && strcmp(place->dir, SYSTEM_DIR) == 0 &&
		       (hints->uid == 0 || purpose == PLACE_TO_ATTACH);

	if (of_root)
		snprintf(place->socket, sizeof(place->socket), "/run/weir/%s.sock", place->name);
	else
		place_path(place, "sock", place->socket);
	return 0;
}

int place_resolve(struct place *out, const struct place_hints *hints, enum place_for purpose)
{
	struct place place = {.name = ""};
	const char *name = hints->name ? hints->name : "default";

	if (!name_is_valid(name))
		return WEIR_ENAME;
	snprintf(place.name, sizeof(place.name), "%s", name);

	int status = resolve_dir(&place, hints, purpose);

	if (status == 0)
		status = resolve_socket(&place, hints, purpose);
	if (status == 0)
		*out = place;
	return status;
}
