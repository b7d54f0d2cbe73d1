/* SPDX-License-Identifier: Apache-2.0
 *
 * route.c - which endpoint a request belongs to.
 *
 * Handles are kept by the rule's own name, so there are no more of them than rules and hosts. What
 * a method and URL led to is remembered in a table of fixed size, whose entries push each other
 * out, and is looked up anew after a second, so that a rule that was added is met. A URL that no
 * rule matches counts as its host: no URL claims a place in the segment's table of names.
 */
#include "http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t hash_bytes(uint64_t hash, const char *bytes, size_t count)
{
	/* FNV-1a; those who choose the URLs gain nothing by a collision but a second look */
	for (size_t i = 0; i < count; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * 0x100000001b3ull;
	return hash;
}

static uint64_t hash_text(const char *text)
{
	return hash_bytes(0xcbf29ce484222325ull, text, strlen(text));
}

/* ---- lanes ---- */

/* Nobody is in it, and it remembers nothing that matters. */
static bool lane_is_idle(const struct lane *lane)
{
	return lane->users == 0 && lane->breaker.state == BREAKER_CLOSED;
}

static void lane_free(struct weir_http *http, struct lane *lane)
{
	for (size_t i = 0; i < ROUTES; i++)
		if (http->routes[i].lane == lane)
			http->routes[i].lane = NULL;
	weir_endpoint_close(lane->endpoint);
	free(lane);
	http->lane_count--;
}

/* Makes room: all that are idle go, which is seldom, and brings back room for as many. */
static void lanes_shrink(struct weir_http *http)
{
	for (size_t i = 0; i < LANE_BUCKETS; i++) {
		struct lane **at = &http->lanes[i];

		while (*at) {
			struct lane *lane = *at;

			if (lane_is_idle(lane)) {
				*at = lane->next;
				lane_free(http, lane);
			} else {
				at = &lane->next;
			}
		}
	}
}

static struct lane *lane_find(struct lane *lane, const char *name, const char *class_name)
{
	while (lane && (strcmp(lane->name, name) != 0 || strcmp(lane->class_name, class_name) != 0))
		lane = lane->next;
	return lane;
}

static int lane_make(struct weir_http *http, const char *name, const char *class_name,
		     struct lane **out)
{
	struct lane *lane = calloc(1, sizeof(*lane));
	int status = lane ? 0 : -ENOMEM;

	if (status == 0)
		status = class_name[0] ? weir_endpoint_class(http->weir, name, class_name,
							     &lane->endpoint)
				       : weir_endpoint(http->weir, name, &lane->endpoint);
	if (status < 0) {
		free(lane);
		return status;
	}
	/* both were accepted, so they have room */
	snprintf(lane->name, sizeof(lane->name), "%s", name);
	snprintf(lane->class_name, sizeof(lane->class_name), "%s", class_name);
	*out = lane;
	return 0;
}

/* Under the mutex. */
static int lane_get(struct weir_http *http, const char *name, const char *class_name,
		    struct lane **out)
{
	struct lane **bucket = &http->lanes[hash_text(name) % LANE_BUCKETS];
	struct lane *lane = lane_find(*bucket, name, class_name);

	if (!lane) {
		if (http->lane_count >= LANES_KEPT)
			lanes_shrink(http);

		int status = lane_make(http, name, class_name, &lane);

		if (status < 0)
			return status;
		lane->next = *bucket;
		*bucket = lane;
		http->lane_count++;
	}
	lane->users++;
	*out = lane;
	return 0;
}

int lane_of_name(struct weir_http *http, const char *name, const char *class_name,
		 struct lane **out)
{
	pthread_mutex_lock(&http->mutex);
	int status = lane_get(http, name, class_name ? class_name : "", out);
	pthread_mutex_unlock(&http->mutex);
	return status;
}

void lane_leave(struct weir_http *http, struct lane *lane)
{
	pthread_mutex_lock(&http->mutex);
	lane->users--;
	pthread_mutex_unlock(&http->mutex);
}

/* ---- routes ---- */

/* A rule of its own that a name of the request falls under, or its host. */
static int match(struct weir *weir, const char *method, const char *url,
		 char out[WEIR_NAME_MAX + 1])
{
	struct name_candidates names;
	int status = name_candidates(method, url, &names);

	if (status < 0)
		return status;
	for (size_t i = 0; i < NAME_CANDIDATES; i++) {
		int matched = weir_match(weir, names.texts[i], out, WEIR_NAME_MAX + 1);

		if (matched > 0)
			return 0;
		/* a text that can be no name is not that of a rule */
		if (matched < 0 && matched != WEIR_ENAME)
			return matched;
	}
	memcpy(out, names.texts[NAME_CANDIDATES - 1], WEIR_NAME_MAX + 1);
	return 0;
}

/* "CLASS METHOD URL", the URL up to its query; false: it is too long. */
static bool key_write(char key[ROUTE_BYTES_MAX], const char *method, const char *url,
		      const char *class_name)
{
	const char *const parts[] = {class_name, method, url};
	const size_t lengths[] = {strlen(class_name), strlen(method), name_bytes(url)};
	size_t used = 0;

	if (lengths[0] + lengths[1] + lengths[2] + 3 > ROUTE_BYTES_MAX)
		return false;
	for (int i = 0; i < 3; i++) {
		memcpy(key + used, parts[i], lengths[i]);
		used += lengths[i];
		key[used++] = ' ';
	}
	key[used - 1] = '\0';
	return true;
}

/* Under the mutex. */
static void route_remember(struct route *route, const char *key, struct lane *lane, uint64_t now_ns)
{
	if (!route->key || strcmp(route->key, key) != 0) {
		char *copy = strdup(key);

		if (!copy)
			return; /* what is not remembered is looked up */
		free(route->key);
		route->key = copy;
	}
	route->lane = lane;
	route->matched_ns = now_ns;
}

/* Under the mutex. */
static int route_make(struct weir_http *http, struct route *route, const char *key,
		      const char *method, const char *url, const char *class_name,
		      struct lane **out)
{
	char name[WEIR_NAME_MAX + 1];
	int status = match(http->weir, method, url, name);

	if (status == 0)
		status = lane_get(http, name, class_name, out);
	if (status == 0 && route)
		route_remember(route, key, *out, http_now_ns());
	return status;
}

int lane_of_url(struct weir_http *http, const char *method, const char *url, const char *class_name,
		struct lane **out)
{
	char key[ROUTE_BYTES_MAX];
	struct route *route = NULL;
	int status = 0;

	class_name = class_name ? class_name : "";
	if (key_write(key, method, url, class_name))
		route = &http->routes[hash_text(key) % ROUTES];
	pthread_mutex_lock(&http->mutex);
	if (route && route->lane && strcmp(route->key, key) == 0 &&
	    http_now_ns() - route->matched_ns < ROUTE_FRESH_NS) {
		*out = route->lane;
		route->lane->users++;
	} else {
		status = route_make(http, route, key, method, url, class_name, out);
	}
	pthread_mutex_unlock(&http->mutex);
	return status;
}

void lanes_free(struct weir_http *http)
{
	for (size_t i = 0; i < LANE_BUCKETS; i++) {
		while (http->lanes[i]) {
			struct lane *next = http->lanes[i]->next;

			weir_endpoint_close(http->lanes[i]->endpoint);
			free(http->lanes[i]);
			http->lanes[i] = next;
		}
	}
	for (size_t i = 0; i < ROUTES; i++)
		free(http->routes[i].key);
}

int weir_http_match(struct weir_http *http, const char *method, const char *url, char *out)
{
	return match(http->weir, method ? method : "GET", url, out);
}
