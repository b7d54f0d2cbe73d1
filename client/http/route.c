/* SPDX-License-Identifier: Apache-2.0
 *
 * route.c - which endpoint a request belongs to.
 *
 * Handles are kept by the rule's own name, so there are no more of them than rules and hosts; those
 * of a rule with a bucket for each name, by the name, and they come and go. What
 * a method and URL led to is remembered in a table of fixed size, whose entries push each other
 * out, and is looked up anew after a second, so that a rule that was added is met. A URL that no
 * rule matches counts as its host: no URL claims a place in the segment's table of names.
 */
#include "http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 32;
}

/* Word by word; those who choose the URLs gain nothing by a collision but a second look. */
static uint64_t hash_bytes(uint64_t hash, const char *bytes, size_t count)
{
	uint64_t word = count;

	if (count < sizeof(word)) {
		for (size_t i = 0; i < count; i++)
			word = word << 8 | (unsigned char)bytes[i];
		return mix(hash, word);
	}
	for (size_t at = 0; at < count - sizeof(word); at += sizeof(word)) {
		memcpy(&word, bytes + at, sizeof(word));
		hash = mix(hash, word);
	}
	/* the last eight, of which some may have been there before */
	memcpy(&word, bytes + count - sizeof(word), sizeof(word));
	return mix(hash, word);
}

static uint64_t hash_text(const char *text)
{
	return hash_bytes(0, text, strlen(text));
}

/* ---- lanes ---- */

/* Nobody is in it, and it remembers nothing that matters. */
static bool lane_is_idle(const struct lane *lane)
{
	/* acquire: pairs with the release in lane_leave(); it grows under the mutex alone */
	return atomic_load_explicit(&lane->users, memory_order_acquire) == 0 &&
	       lane->breaker.state == BREAKER_CLOSED;
}

/* Under the mutex, so that it does not grow while a lane is found idle. */
static void lane_enter(struct lane *lane)
{
	/* relaxed: ordered by the mutex */
	atomic_fetch_add_explicit(&lane->users, 1, memory_order_relaxed);
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
	if (status == 0)
		status = weir_match(http->weir, name, lane->rule, sizeof(lane->rule));
	if (status == WEIR_MATCHED_DEFAULT)
		snprintf(lane->rule, sizeof(lane->rule), "%s", name);
	if (status < 0) {
		weir_endpoint_close(lane ? lane->endpoint : NULL);
		free(lane);
		return status;
	}
	/* both were accepted, so they have room */
	snprintf(lane->name, sizeof(lane->name), "%s", name);
	snprintf(lane->class_name, sizeof(lane->class_name), "%s", class_name);
	*out = lane;
	return 0;
}

/*
 * Under the mutex. Most rules have no permits, and a request that asked for one would pay for it
 * all the same; so it is looked up for all requests of a second.
 */
static void lane_look(struct lane *lane, uint64_t now_ns)
{
	struct weir_permits permits = {.size = sizeof(permits)};

	if (lane->looked_ns && (int64_t)(now_ns - lane->looked_ns) < (int64_t)ROUTE_FRESH_NS)
		return;
	lane->looked_ns = now_ns;
	if (weir_permit_look(lane->endpoint, &permits) == 0)
		/* relaxed: who sees an older value goes by the rule of a moment ago */
		atomic_store_explicit(&lane->has_permits, permits.limit != UINT64_MAX,
				      memory_order_relaxed);
}

/* Under the mutex. */
static int lane_get(struct weir_http *http, const char *name, const char *class_name,
		    uint64_t now_ns, struct lane **out)
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
	lane_look(lane, now_ns);
	lane_enter(lane);
	*out = lane;
	return 0;
}

int lane_of_name(struct weir_http *http, const char *name, const char *class_name, uint64_t now_ns,
		 struct lane **out)
{
	pthread_mutex_lock(&http->mutex);
	int status = lane_get(http, name, class_name ? class_name : "", now_ns, out);
	pthread_mutex_unlock(&http->mutex);
	return status;
}

void lane_leave(struct lane *lane)
{
	/* release: pairs with the acquire in lane_is_idle() */
	atomic_fetch_sub_explicit(&lane->users, 1, memory_order_release);
}

/* ---- routes ---- */

/* The rule that a name of the request falls under, or its host. */
static int match(struct weir *weir, const char *method, const char *url,
		 char out[WEIR_NAME_MAX + 1])
{
	struct name_candidates names;
	int status = name_candidates(method, url, &names);

	if (status < 0)
		return status;
	for (size_t i = 0; i < NAME_CANDIDATES; i++) {
		int matched = weir_match(weir, names.texts[i], out, WEIR_NAME_MAX + 1);

		/* a bucket for each name: it is the name that counts */
		if (matched == WEIR_MATCHED_EACH)
			memcpy(out, names.texts[i], WEIR_NAME_MAX + 1);
		if (matched > 0)
			return 0;
		/* a text that can be no name is not that of a rule */
		if (matched < 0 && matched != WEIR_ENAME)
			return matched;
	}
	memcpy(out, names.texts[NAME_CANDIDATES - 1], WEIR_NAME_MAX + 1);
	return 0;
}

/* What a route is kept under. */
struct route_key {
	const char *parts[3]; /* class, method, URL */
	size_t lengths[3];
};

static struct route_key key_of(const char *method, const char *url, const char *class_name)
{
	return (struct route_key){
		.parts = {class_name, method, url},
		.lengths = {strlen(class_name), strlen(method), name_bytes(url)},
	};
}

static struct route *route_of(struct weir_http *http, const struct route_key *key)
{
	uint64_t hash = 0;

	for (int i = 0; i < 3; i++)
		hash = hash_bytes(hash, key->parts[i], key->lengths[i]);
	return &http->routes[hash % ROUTES];
}

/* Under the mutex. */
static bool route_is(const struct route *route, const struct route_key *key)
{
	const char *text = route->key;

	if (!text || memcmp(route->lengths, key->lengths, sizeof(route->lengths)) != 0)
		return false;
	for (int i = 0; i < 3; i++) {
		if (memcmp(text, key->parts[i], key->lengths[i]) != 0)
			return false;
		text += key->lengths[i];
	}
	return true;
}

/* Under the mutex. What is not remembered is looked up. */
static void route_remember(struct route *route, const struct route_key *key, struct lane *lane,
			   uint64_t now_ns)
{
	if (!route_is(route, key)) {
		char *text = malloc(key->lengths[0] + key->lengths[1] + key->lengths[2] + 1);
		char *end = text;

		if (!text)
			return;
		for (int i = 0; i < 3; i++) {
			memcpy(end, key->parts[i], key->lengths[i]);
			end += key->lengths[i];
		}
		free(route->key);
		route->key = text;
		memcpy(route->lengths, key->lengths, sizeof(route->lengths));
	}
	route->lane = lane;
	route->matched_ns = now_ns;
}

/* Under the mutex. */
static int lane_match(struct weir_http *http, const char *method, const char *url,
		      const char *class_name, uint64_t now_ns, struct lane **out)
{
	char name[WEIR_NAME_MAX + 1];
	int status = match(http->weir, method, url, name);

	return status < 0 ? status : lane_get(http, name, class_name, now_ns, out);
}

int lane_of_url(struct weir_http *http, const char *method, const char *url, const char *class_name,
		uint64_t now_ns, struct lane **out)
{
	const struct route_key key = key_of(method, url, class_name ? class_name : "");
	struct route *route = route_of(http, &key);
	int status = 0;

	pthread_mutex_lock(&http->mutex);
	/* by another thread's clock it may have been matched later than now */
	if (route->lane && (int64_t)(now_ns - route->matched_ns) < (int64_t)ROUTE_FRESH_NS &&
	    route_is(route, &key)) {
		*out = route->lane;
		lane_enter(route->lane);
	} else {
		status = lane_match(http, method, url, key.parts[0], now_ns, out);
		if (status == 0 && key.lengths[2] <= ROUTE_BYTES_MAX)
			route_remember(route, &key, *out, now_ns);
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
