/* SPDX-License-Identifier: Apache-2.0
 *
 * observe.c - a response: what is urgent is done in the segment, the rest is sent to the daemon.
 *
 * Urgent is what would be too late once the daemon has heard of it: a closure, and a level below
 * what is left upstream. Each is one exchange of one word, by gate.c and bucket.c. Killed anywhere:
 * what was done holds, and what was not is lost as if the response had been. Nothing here ever
 * lets more pass: a forged or mistaken response costs speed, for max_close at most.
 */
#include "handle.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "adapt.h"
#include "fields.h"
#include "permit_found.h"
#include "wire.h"

#define PAUSE_NS (250 * WEIR_MILLISECOND) /* after a refusal that says no time */
#define MICRO_MAX 1e18

/* ---- what the response says ---- */

/* A response, and what it came to. */
struct observing {
	struct weir_endpoint *endpoint;
	int status;
	uint64_t latency_ns;
	uint64_t response_ns; /* by the segment's clock */
	struct adapt_terms adapt;
	struct fields_verdict verdict;
	bool refused; /* by a limit, or for want of strength */
	uint8_t outcome;
	uint32_t told[FIELDS_LIMITS_MAX]; /* rows of other endpoints that the daemon was told of */
	size_t told_count;
	struct weir_observed out;
};

/* The length of a field's part, which never reads beyond `room`. */
static size_t part_bytes(const char *part, size_t bytes, size_t room)
{
	return bytes == WEIR_TEXT ? strnlen(part, room) : bytes < room ? bytes : room;
}

/* As many fields as are allowed to be read; a longer one is not read in part. */
static size_t headers_read(const struct weir_header *from, size_t count,
			   struct fields_header out[WEIR_HEADERS_MAX])
{
	size_t left = WEIR_HEADERS_BYTES_MAX;
	size_t used = 0;

	for (size_t i = 0; i < count && used < WEIR_HEADERS_MAX; i++) {
		size_t name, value;

		if (!from[i].name || !from[i].value)
			continue;
		name = part_bytes(from[i].name, from[i].name_bytes, left + 1);
		value = part_bytes(from[i].value, from[i].value_bytes, left + 1);
		if (name > left || value > left - name)
			continue;
		left -= name + value;
		out[used++] = (struct fields_header){from[i].name, name, from[i].value, value};
	}
	return used;
}

/* The wall clock; a manual clock is the wall clock, too. */
static double wall_s(const struct segment *segment)
{
	return (double)(segment->time.kind == CLOCK_KIND_MANUAL
				? segment_now(segment)
				: time_source_kernel_ns(CLOCK_REALTIME)) /
	       1e9;
}

static bool says_retry(const struct fields_verdict *verdict)
{
	return !isnan(verdict->retry_after_s) && verdict->action != FIELDS_DO_NOT_RETRY &&
	       verdict->action != FIELDS_IGNORE_RETRY_AFTER_ON_2XX;
}

static uint8_t outcome_of(int status, const struct fields_verdict *verdict)
{
	if (verdict->action == FIELDS_DO_NOT_RETRY)
		return WIRE_PASSED;
	if (status == 503 || status == 529)
		return WIRE_OVERLOAD;
	/* others refuse by 403, 400 or 418, and say for how long */
	return status == 429 || (status >= 400 && says_retry(verdict)) ? WIRE_LIMITED : WIRE_PASSED;
}

static void understand(struct observing *of, const struct weir_header *headers, size_t count)
{
	const struct binding *binding = endpoint_binding(of->endpoint);
	const struct segment *segment = &binding->attachment->segment;
	struct fields_mapping mappings[ADAPT_MAPPINGS_MAX];
	struct fields_header read[WEIR_HEADERS_MAX];
	struct fields_response response = {
		.status = of->status,
		.headers = read,
		.captured_at = wall_s(segment),
		.mappings = mappings,
	};

	of->response_ns = segment_now_ns(segment);
	segment_adapt(segment, binding->row_index, &of->adapt);
	response.count = headers_read(headers, count, read);
	response.profile = adapt_profile(&of->adapt);
	response.mapping_count = adapt_mappings(&of->adapt, mappings, ADAPT_MAPPINGS_MAX);
	response.long_s = (double)adapt_max_close_ns(&of->adapt) / 1e9;
	fields_read(&response, &of->verdict);
	of->outcome = outcome_of(of->status, &of->verdict);
	of->refused = of->outcome != WIRE_PASSED;
}

/* Whether a limit counts requests, as the endpoint itself does, for all that its name says. */
static bool counts_requests(const struct fields_limit *limit)
{
	static const char *const others[] = {"token", "complexity", "credit",
					     "byte",  "cost",	    "neuron"};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strcasestr(limit->resource, others[i]) || strcasestr(limit->unit, others[i]))
			return false;
	return true;
}

/* The name of the endpoint's rule, up to a `*` and without the slashes before it; 0: it has none.
 */
static size_t rule_name(const struct binding *own, char text[LAYOUT_TEXT_BYTES])
{
	size_t bytes;

	segment_text(own->row->text, text);
	bytes = strcspn(text, "*");
	while (bytes && text[bytes - 1] == '/')
		bytes--;
	return bytes;
}

/*
 * Of the limits that a profile's responses list by name, NAME/RESOURCE is the endpoint's where
 * there is such a rule; where one resource has several, by the minute and by the day, with or
 * without that. Returns whether there is.
 */
static bool profile_budget(const struct observing *of, const struct fields_limit *limit,
			   char name[LAYOUT_TEXT_BYTES])
{
	const struct binding *own = endpoint_binding(of->endpoint);
	const struct segment *segment = &own->attachment->segment;
	char text[LAYOUT_TEXT_BYTES];
	size_t bytes;
	char *span;

	if (!limit->listed || !limit->resource[0] || !adapt_profile(&of->adapt))
		return false;
	bytes = rule_name(own, text);
	if (bytes == 0 || bytes + 1 + strlen(limit->resource) >= sizeof(text))
		return false;
	text[bytes] = '/';
	strcpy(text + bytes + 1, limit->resource); /* it was just bounded */
	span = strrchr(text + bytes + 1, '-');
	if (names_exact_row(segment, text) < 0 && span && !isnan(limit->window_s))
		*span = '\0';
	if (names_exact_row(segment, text) < 0)
		return false;
	strcpy(name, text);
	return true;
}

/* Whether it is the endpoint's own; else *name is whose it is, or "". */
static bool is_own(const struct observing *of, const struct fields_limit *limit,
		   char name[LAYOUT_TEXT_BYTES])
{
	name[0] = '\0';
	if (adapt_budget(&of->adapt, limit->resource, name) || profile_budget(of, limit, name))
		return strcmp(name, of->endpoint->name) == 0;
	return counts_requests(limit);
}

/* A window that is over says nothing of the present one. */
static bool says_remaining(const struct fields_verdict *verdict, const struct fields_limit *limit)
{
	return verdict->action != FIELDS_IGNORE && !isnan(limit->remaining) &&
	       !(limit->reset_s <= 0);
}

/* ---- where it is done ---- */

/* The bucket of the endpoint itself, or of another name beside it. */
struct spot {
	struct weir_endpoint *endpoint;
	const char *name;	/* NULL: its own */
	struct binding binding; /* only what says where it is */
};

static int spot_find(struct spot *spot)
{
	struct binding *own = endpoint_binding(spot->endpoint);
	struct resolution found;
	int status = binding_is_current(own) ? 0 : endpoint_refresh(spot->endpoint);

	if (status < 0)
		return status;
	own = endpoint_binding(spot->endpoint);
	found = (struct resolution){
		.row = own->row_index, .bucket = own->bucket_index, .key = own->key};
	if (spot->name)
		status = names_resolve(&own->attachment->segment, spot->name, true, &found);
	if (status < 0)
		return status;
	/* a key has a bucket of its own, and no gate */
	if (found.key)
		return WEIR_EKEY;

	const struct segment *segment = &own->attachment->segment;

	spot->binding = (struct binding){
		.row = &segment->rows[found.row],
		.bucket = &segment->buckets[found.bucket],
		.row_index = found.row,
		.bucket_index = found.bucket,
		.attachment = own->attachment,
	};
	return 0;
}

/* Its mark has moved: where to is known once the name is resolved anew. */
static int spot_moved(struct spot *spot)
{
	int status = endpoint_refresh(spot->endpoint);

	return status < 0 ? status : spot_find(spot);
}

static int spot_close(struct spot *spot, uint64_t duration_ns)
{
	for (int tries = 0; tries < CALL_TRIES; tries++) {
		const struct segment *segment = &spot->binding.attachment->segment;
		bool here = gate_close(spot->binding.bucket, segment_now(segment),
				       deadline_after(segment, duration_ns));
		int status;

		time_source_nudge(&segment->time);
		if (here)
			return 0;
		status = spot_moved(spot);
		if (status < 0)
			return status;
	}
	return WEIR_EDAMAGED;
}

/* What is left upstream, in units, rounded down; none that is not less than the burst. */
static bool units_left(const struct line *line, double remaining, uint64_t *units)
{
	double left = ldexp(remaining, (int)line->k);

	if (line->flags & LINE_UNLIMITED || !(left < (double)line->burst_units))
		return false;
	*units = left > 0 ? (uint64_t)left : 0;
	return true;
}

static int spot_lower(struct spot *spot, double remaining)
{
	for (int tries = 0; tries < CALL_TRIES; tries++) {
		const struct segment *segment = &spot->binding.attachment->segment;
		enum bucket_result result;
		struct line line;
		uint64_t now = line_read(spot->binding.row, &segment->time, &line);
		uint64_t units;
		int status;

		if (!units_left(&line, remaining, &units))
			return 0;
		result = bucket_lower(spot->binding.bucket, &line, now, units);
		if (result == BUCKET_TAKEN)
			return 0;
		status = result == BUCKET_IS_UNSET
				 ? endpoint_install(spot->endpoint, &spot->binding)
				 : spot_moved(spot);
		if (status < 0)
			return status;
	}
	return WEIR_EDAMAGED;
}

/* ---- the daemon ---- */

static uint64_t micro_of(double value)
{
	double micro = value * (double)TERMS_MICRO;

	return micro > MICRO_MAX ? (uint64_t)MICRO_MAX : micro > 0 ? (uint64_t)micro : 0;
}

static uint64_t ns_of(double seconds)
{
	return seconds >= FIELDS_NEVER_S ? (uint64_t)(FIELDS_NEVER_S * 1e9)
	       : seconds > 0		 ? (uint64_t)(seconds * 1e9)
					 : 0;
}

/* Adds what is said, and that it is. */
static void say(struct wire_observation *to, uint8_t what, uint64_t *word, double value,
		uint64_t (*convert)(double))
{
	if (isnan(value))
		return;
	to->says |= what;
	*word = convert(value);
}

static void observation_fill(const struct observing *of, const struct fields_limit *limit,
			     const char *name, struct wire_observation *out)
{
	*out = (struct wire_observation){
		.status = (uint16_t)of->status,
		.outcome = of->outcome,
		.response_ns = of->response_ns,
		.latency_ns = of->latency_ns,
	};
	memcpy(out->name, name, strnlen(name, sizeof(out->name) - 1));
	if (says_retry(&of->verdict))
		say(out, WIRE_SAYS_RETRY, &out->retry_ns, of->verdict.retry_after_s, ns_of);
	if (!limit || of->verdict.action == FIELDS_IGNORE)
		return;
	memcpy(out->resource, limit->resource, strnlen(limit->resource, sizeof(out->resource) - 1));
	say(out, WIRE_SAYS_LIMIT, &out->limit_micro, limit->limit, micro_of);
	say(out, WIRE_SAYS_REMAINING, &out->remaining_micro, limit->remaining, micro_of);
	say(out, WIRE_SAYS_RESET, &out->reset_ns, limit->reset_s, ns_of);
	say(out, WIRE_SAYS_WINDOW, &out->window_ns, limit->window_s, ns_of);
}

/* The descriptor that datagrams leave by; made once. Negative: there is none. */
static int observe_fd(struct weir *weir)
{
	/* acquire: pairs with the release below, by another thread */
	int fd = atomic_load_explicit(&weir->observe_fd, memory_order_acquire);
	int none = -1;

	if (fd >= 0)
		return fd;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    atomic_compare_exchange_strong_explicit(&weir->observe_fd, &none, fd,
						    memory_order_acq_rel, memory_order_acquire))
		return fd;
	close(fd);
	return none;
}

/*
 * Sends to the daemon that the descriptor is connected to; if that is gone, or there was none yet,
 * to the one that listens now. Connecting anew is one step for all threads that send meanwhile.
 */
static bool send_to_daemon(struct weir *weir, int fd, const unsigned char *bytes, size_t count)
{
	const struct sockaddr *address = (const struct sockaddr *)&weir->observe_address;

	if (send(fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)count)
		return true;
	/* full, and whoever reads it is there */
	if (errno == EAGAIN || errno == ENOBUFS ||
	    connect(fd, address, sizeof(weir->observe_address)) < 0)
		return false;
	return send(fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)count;
}

/* One datagram, or a count of what was lost. */
static void tell(struct observing *of, const struct fields_limit *limit, const char *name)
{
	struct weir *weir = of->endpoint->weir;
	struct attachment *at = endpoint_binding(of->endpoint)->attachment;
	unsigned char bytes[WIRE_OBSERVATION_BYTES];
	struct wire_observation observation;
	int64_t length;
	int fd;

	if (weir->place.name[0] == '\0')
		return; /* a private segment has no daemon */
	observation_fill(of, limit, name, &observation);
	length = wire_write_observation(&observation, bytes, sizeof(bytes));
	fd = weir->observe_address.sun_path[0] ? observe_fd(weir) : -1;
	if (fd >= 0 && length > 0 && send_to_daemon(weir, fd, bytes, (size_t)length)) {
		of->out.sent++;
		return;
	}
	of->out.dropped++;
	/* relaxed: a count for people */
	atomic_fetch_add_explicit(&at->segment.state->observations_dropped, 1,
				  memory_order_relaxed);
}

/* ---- one limit after the other ---- */

static double seconds_to_close(const struct observing *of, const struct fields_limit *limit)
{
	bool empty = limit && says_remaining(&of->verdict, limit) && limit->remaining < 1 &&
		     limit->reset_s > 0;
	double asked = says_retry(&of->verdict) ? of->verdict.retry_after_s : NAN;

	if (isnan(asked) && of->refused && empty)
		asked = limit->reset_s;
	if (asked > (double)PAUSE_NS / 1e9)
		return asked;
	return of->refused || !isnan(asked) ? (double)PAUSE_NS / 1e9 : 0;
}

/* Closes for as long as the response asks for, and the rule allows; returns a fault's code. */
static int close_for(struct observing *of, struct spot *spot, double seconds, uint64_t *closed_ns)
{
	uint64_t most = adapt_max_close_ns(&of->adapt);
	uint64_t ns = ns_of(seconds);
	int status;

	ns = ns < most ? ns : most;
	if (ns == 0)
		return 0;
	status = spot_close(spot, ns);
	if (status == 0)
		*closed_ns = ns;
	return status;
}

/*
 * Of several limits of one endpoint (a minute's and a day's) the daemon hears of the first: it
 * finds one speed, and would take two for one that contradicts itself.
 */
static bool is_told(struct observing *of, uint32_t row)
{
	for (size_t i = 0; i < of->told_count; i++)
		if (of->told[i] == row)
			return true;
	of->told[of->told_count++] = row; /* there are no more limits than places */
	return false;
}

/* A limit that belongs to another endpoint. */
static int observe_budget(struct observing *of, const struct fields_limit *limit, const char *name)
{
	struct spot spot = {.endpoint = of->endpoint, .name = name};
	struct adapt_terms adapt;
	uint64_t closed_ns;
	int status = spot_find(&spot);

	if (status < 0)
		return status;
	of->out.budgets++;
	if (of->refused && says_remaining(&of->verdict, limit) && limit->remaining < 1 &&
	    limit->reset_s > 0)
		status = close_for(of, &spot, limit->reset_s, &closed_ns);
	if (status == 0 && says_remaining(&of->verdict, limit))
		status = spot_lower(&spot, limit->remaining);
	segment_adapt(&spot.binding.attachment->segment, spot.binding.row_index, &adapt);
	if (status == 0 && adapt.mode != ADAPT_OFF && !is_told(of, spot.binding.row_index))
		tell(of, limit, name);
	return status;
}

/* For want of strength, as far as a status tells; 0 is no answer at all. */
static bool has_failed(const struct observing *of)
{
	return of->refused || of->status == 0 || of->status >= 500;
}

static uint64_t began(const struct observing *of, const struct segment *segment)
{
	uint64_t now = segment_now(segment);
	struct line clock;
	uint64_t ticks;

	segment_clock(segment, &clock);
	ticks = line_ns_to_ticks(&clock, of->latency_ns);
	return now > ticks ? now - ticks : 0;
}

/* The endpoint's own: `first` is the limit that it goes by, `left` the least that any leaves. */
static int observe_own(struct observing *of, const struct fields_limit *first, double left)
{
	struct spot spot = {.endpoint = of->endpoint};
	int status = spot_find(&spot);

	if (status == 0)
		status = close_for(of, &spot, seconds_to_close(of, first), &of->out.closed_ns);
	if (status == 0 && !isnan(left))
		status = spot_lower(&spot, left);
	if (status == 0 && of->adapt.mode != ADAPT_OFF)
		tell(of, first, of->endpoint->name);
	if (status == 0 && has_failed(of))
		permit_found_fail(&spot.binding.attachment->segment, spot.binding.row,
				  began(of, &spot.binding.attachment->segment));
	return status;
}

/* Whether a rule is of the same upstream as one with the terms `own`; then *adapt are its own. */
static bool is_of_upstream(const struct segment *segment, uint32_t row,
			   const struct adapt_terms *own, struct adapt_terms *adapt)
{
	/* acquire: pairs with the release in rules_row.c; a row that comes later is none of these
	 */
	if (atomic_load_explicit(&segment->rows[row].state, memory_order_acquire) != ROW_LIVE)
		return false;
	segment_adapt(segment, row, adapt);
	return adapt_same_upstream(own, adapt);
}

/*
 * A refusal of all that an account has there closes all rules of the same profile and account.
 * Those that cannot be closed, as they keep a bucket a key, or are gone meanwhile, are passed over:
 * it is their own refusals that will close them.
 */
static void close_everywhere(struct observing *of)
{
	uint64_t most = adapt_profile(&of->adapt) ? of->out.closed_ns : 0;

	for (uint32_t row = 0; most; row++) {
		/* a spot that is looked for may find a segment anew */
		const struct binding *own = endpoint_binding(of->endpoint);
		const struct segment *segment = &own->attachment->segment;
		char name[LAYOUT_TEXT_BYTES];
		struct spot spot = {.endpoint = of->endpoint, .name = name};
		struct adapt_terms adapt;

		if (row >= segment->row_count)
			return;
		if (row == own->row_index || !is_of_upstream(segment, row, &of->adapt, &adapt))
			continue;
		segment_text(segment->rows[row].text, name);
		if (names_exact_row(segment, name) == row && spot_find(&spot) == 0)
			spot_close(&spot, adapt_max_close_ns(&adapt) < most
						  ? adapt_max_close_ns(&adapt)
						  : most);
	}
}

static int observe_all(struct observing *of)
{
	const struct fields_verdict *verdict = &of->verdict;
	const struct fields_limit *first = NULL;
	double left = NAN;
	int status = 0;

	for (size_t i = 0; status == 0 && i < verdict->count; i++) {
		const struct fields_limit *limit = &verdict->limits[i];
		char name[LAYOUT_TEXT_BYTES];

		if (!is_own(of, limit, name)) {
			if (name[0])
				status = observe_budget(of, limit, name);
			continue;
		}
		of->out.budgets++;
		first = first ? first : limit;
		if (says_remaining(verdict, limit) && !(left <= limit->remaining))
			left = limit->remaining;
	}
	if (status == 0)
		status = observe_own(of, first, left);
	if (status == 0 && verdict->everywhere && of->refused)
		close_everywhere(of);
	if (first) {
		of->out.limit = first->limit;
		of->out.remaining = first->remaining;
		of->out.reset_s = first->reset_s;
		of->out.window_s = first->window_s;
	}
	return status;
}

/* ---- the call ---- */

static int32_t action_of(enum fields_action action)
{
	switch (action) {
	case FIELDS_USE:
		return WEIR_ACTION_USE;
	case FIELDS_IGNORE:
		return WEIR_ACTION_IGNORE;
	case FIELDS_CAP:
		return WEIR_ACTION_CAP;
	case FIELDS_FLOOR:
		return WEIR_ACTION_FLOOR;
	case FIELDS_UNLIMITED:
		return WEIR_ACTION_UNLIMITED;
	case FIELDS_DO_NOT_RETRY:
		return WEIR_ACTION_DO_NOT_RETRY;
	case FIELDS_IGNORE_RETRY_AFTER_ON_2XX:
		return WEIR_ACTION_NO_RETRY;
	}
	return WEIR_ACTION_IGNORE;
}

static double said(double value)
{
	return isnan(value) ? -1 : value;
}

/* In the size of the caller's struct: a program built against an older header has a shorter one. */
static void answer(const struct observing *of, struct weir_observed *to)
{
	struct weir_observed out = of->out;
	size_t size = to->size < sizeof(out) ? to->size : sizeof(out);

	out.action = action_of(of->verdict.action);
	out.retry_ns = isnan(of->verdict.retry_after_s) ? 0 : ns_of(of->verdict.retry_after_s);
	out.limit = said(out.limit);
	out.remaining = said(out.remaining);
	out.reset_s = said(out.reset_s);
	out.window_s = said(out.window_s);
	out.size = size;
	memcpy(to, &out, size);
}

int weir_observe(struct weir_endpoint *endpoint, int status, const struct weir_header *headers,
		 size_t count, uint64_t latency_ns, struct weir_observed *observed)
{
	struct observing of;
	int fault = 0;

	if (status < 0 || status > 999 || (status > 0 && status < 100) || (count && !headers))
		return WEIR_EVALUE;
	of.endpoint = endpoint;
	of.status = status;
	of.latency_ns = latency_ns;
	of.told_count = 0;
	of.out = (struct weir_observed){
		.limit = NAN, .remaining = NAN, .reset_s = NAN, .window_s = NAN};
	if (!binding_is_current(endpoint_binding(endpoint)))
		fault = endpoint_refresh(endpoint);
	if (fault < 0)
		return fault;
	understand(&of, headers, count);
	fault = observe_all(&of);
	if (fault == 0 && observed)
		answer(&of, observed);
	return fault;
}
