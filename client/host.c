/* SPDX-License-Identifier: Apache-2.0
 *
 * host.c - a private segment: made from INI text, changed by functions, shared with children.
 */
#include "handle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "key_tables.h"
#include "rules.h"

static struct weir *handle_new(const struct weir_options *options)
{
	struct weir *weir = calloc(1, sizeof(*weir));
	struct attachment *at = calloc(1, sizeof(*at));

	if (!weir || !at) {
		free(weir);
		free(at);
		return NULL;
	}
	at->slot = MEMBER_NONE;
	at->segment.state_fd = at->segment.rules_fd = -1;
	weir->trusted = (uid_t)-1;
	weir->observe_fd = -1;
	if (options && options->size >= offsetof(struct weir_options, reserved)) {
		weir->policy = options->policy;
		weir->trace = options->trace;
		weir->trace_context = options->trace_context;
	}
	pthread_mutex_init(&weir->mutex, NULL);
	/* relaxed: nobody else has the handle yet */
	atomic_store_explicit(&weir->current, at, memory_order_relaxed);
	return weir;
}

static int rules_from_config(struct segment *segment, const struct config *config)
{
	for (size_t i = 0; i < config->rule_count; i++) {
		const struct config_rule *from = &config->rules[i];
		const struct rule rule = {
			.kind = from->kind,
			.text = from->text,
			.order = (uint32_t)i,
			.terms = from->terms,
			.author = {ORIGIN_FILE, getuid()},
			.keys = from->keys,
			.fold = from->fold,
		};
		int64_t row = rules_add(segment, &rule);

		if (row < 0)
			return (int)row;
	}
	return 0;
}

static enum clock_kind clock_of(enum weir_clock wanted)
{
	switch (wanted) {
	case WEIR_CLOCK_MONOTONIC:
		return CLOCK_KIND_MONOTONIC;
	case WEIR_CLOCK_MANUAL:
		return CLOCK_KIND_MANUAL;
	case WEIR_CLOCK_BEST:
		break;
	}
	return time_source_best();
}

/* Half of the rules more can come to follow an upstream while the segment lives. */
static uint32_t follows_of(const struct config *config)
{
	uint32_t count = 0;

	for (size_t i = 0; i < config->rule_count; i++)
		count += rules_follows(&config->rules[i].terms);
	return count + config->endpoints / 32 + 1;
}

static int host_make(struct weir *weir, const struct config *config, enum weir_clock clock)
{
	struct attachment *at = atomic_load_explicit(&weir->current, memory_order_relaxed);
	struct segment_shape shape = {
		.rows = config->endpoints,
		.names = config->names,
		.members = config->members,
		.clock = config->clock ? config->clock : clock_of(clock),
		.group = (gid_t)-1,
		.permits = config->permits,
		.waiters = config->waiters,
		.follows = follows_of(config),
	};
	int status;

	config_tables(config, &shape.tables, &shape.bins);
	status = segment_create_private(&at->segment, &shape);
	if (status == 0)
		status = rules_from_config(&at->segment, config);
	if (status == 0) {
		int64_t slot = members_join(&at->segment);

		attachment_own(at, slot);
		status = slot < 0 ? (int)slot : 0;
	}
	return status;
}

/* Under the mutex, which a fork waits for; see attach_watched(). */
static int host_make_watched(struct weir *weir, const struct config *config, enum weir_clock clock)
{
	int status = fork_watch(weir);

	if (status < 0)
		return status;
	pthread_mutex_lock(&weir->mutex);
	status = host_make(weir, config, clock);
	pthread_mutex_unlock(&weir->mutex);
	return status;
}

int weir_host(struct weir **out, const char *ini_text, enum weir_clock clock,
	      const struct weir_options *options, char *message, size_t message_bytes)
{
	struct config_faults faults = {.text = message, .bytes = message ? message_bytes : 0};
	const char *text = ini_text ? ini_text : "";
	struct config config;
	int status = config_parse(&config, text, strlen(text), "text", &faults);

	if (status < 0)
		return status;

	struct weir *weir = handle_new(options);

	status = weir ? host_make_watched(weir, &config, clock) : -ENOMEM;
	config_free(&config);
	if (status < 0) {
		weir_close(weir);
		return status;
	}
	*out = weir;
	return 0;
}

/* ---- changing ---- */

/* The publisher's view, or NULL in a child of the host and on attached handles. */
static struct segment *publisher(struct weir *weir)
{
	struct attachment *at = atomic_load_explicit(&weir->current, memory_order_relaxed);

	fork_rejoin(weir);
	return at->segment.publisher ? &at->segment : NULL;
}

/* What is to become of a rule's terms: two of them, or any, as in a section of weir.ini. */
struct update {
	const char *rate; /* NULL keeps, as burst */
	const char *burst;
	const char *settings;
	char *message; /* the caller's, for what would be right; or NULL */
	size_t message_bytes;
};

#define SETTING_BYTES 200

/* Cuts the next line of settings into key and value; false: it is none, and not empty. */
static bool next_setting(const char **text, char line[SETTING_BYTES], char **key, char **value)
{
	size_t bytes = strcspn(*text, "\n");
	size_t end;

	*key = *value = line;
	if (bytes >= SETTING_BYTES)
		return false;
	memcpy(line, *text, bytes);
	line[bytes] = '\0';
	*text += bytes + ((*text)[bytes] == '\n');
	*key += strspn(line, " \t\r");
	if (**key == '\0')
		return true;
	*value = strchr(*key, '=');
	if (!*value)
		return false;
	*(*value)++ = '\0';
	*value += strspn(*value, " \t");
	for (end = strlen(*key); end > 0 && strchr(" \t", (*key)[end - 1]); end--)
		(*key)[end - 1] = '\0';
	for (end = strlen(*value); end > 0 && strchr(" \t\r", (*value)[end - 1]); end--)
		(*value)[end - 1] = '\0';
	return true;
}

static const char *apply_settings(struct terms *terms, const char *settings, bool *burst_given,
				  bool *initial_given)
{
	char line[SETTING_BYTES];
	const char *fault = NULL;

	while (!fault && *settings) {
		char *key;
		char *value;

		if (!next_setting(&settings, line, &key, &value))
			return "settings are lines of KEY = VALUE";
		if (*key == '\0')
			continue;
		fault = config_set_term(terms, key, value);
		*burst_given |= strcmp(key, "burst") == 0;
		*initial_given |= strcmp(key, "initial") == 0;
	}
	return fault;
}

static const char *terms_update(struct terms *terms, const struct update *update, bool is_default)
{
	const struct terms from = *terms;
	bool burst_given = update->burst != NULL;
	bool initial_given = false;
	const char *fault = update->rate ? config_set_term(terms, "rate", update->rate) : NULL;

	if (!fault && update->burst)
		fault = config_set_term(terms, "burst", update->burst);
	if (!fault && update->settings)
		fault = apply_settings(terms, update->settings, &burst_given, &initial_given);
	if (!fault)
		fault = config_update_terms(terms, &from, burst_given, initial_given);
	if (!fault && is_default)
		fault = config_check_default(terms);
	if (fault && update->message)
		snprintf(update->message, update->message_bytes, "%s", fault);
	return fault;
}

/* The row a change is for: the name's own, the pattern of that text, or [default] for "*". */
static int64_t row_named(const struct segment *segment, const char *name)
{
	int64_t row = strcmp(name, "*") == 0 ? names_default_row(segment)
					     : names_exact_row(segment, name);

	return row >= 0 ? row : WEIR_ENORULE;
}

static int64_t row_of_its_own(struct segment *segment, const char *name, const struct terms *terms,
			      const struct terms_author *author, enum weir_keep keep)
{
	const struct rule rule = {
		.kind = names_is_pattern(name) ? ROW_PATTERN : ROW_EXACT,
		.text = name,
		.order = UINT32_MAX,
		.terms = *terms,
		.author = *author,
		.keep = (enum rules_keep)keep,
	};

	return rules_add(segment, &rule);
}

static int64_t update_locked(struct weir *weir, const char *name, const struct update *update,
			     enum weir_keep keep)
{
	struct segment *segment = publisher(weir);
	struct terms_author author;
	uint64_t changed_ns;
	struct terms terms;

	if (!segment)
		return WEIR_EHOST;
	if (!names_valid(name))
		return WEIR_ENAME;
	if ((unsigned)keep > WEIR_KEEP_RESET)
		return WEIR_EVALUE;

	int64_t row = row_named(segment, name);
	int64_t from = row >= 0 ? row : names_find_row(segment, name);

	if (from < 0)
		return from;
	segment_terms(segment, (uint32_t)from, &terms, &author, &changed_ns);
	if (terms_update(&terms, update, row >= 0 && row == names_default_row(segment)))
		return WEIR_EVALUE;
	if (row >= 0 && keys_table_of(segment, (uint32_t)row) >= 0 &&
	    config_check_each(name, &terms)) {
		if (update->message)
			snprintf(update->message, update->message_bytes, "%s",
				 config_check_each(name, &terms));
		return WEIR_EVALUE;
	}
	author = (struct terms_author){ORIGIN_OPERATOR, getuid()};
	if (row < 0)
		return row_of_its_own(segment, name, &terms, &author, keep);
	return rules_change(segment, (uint32_t)row, &terms, &author, (enum rules_keep)keep);
}

static int change(struct weir *weir, const char *name, const struct update *wanted,
		  enum weir_keep keep)
{
	pthread_mutex_lock(&weir->mutex);
	int64_t row = update_locked(weir, name, wanted, keep);
	pthread_mutex_unlock(&weir->mutex);
	return row < 0 ? (int)row : 0;
}

int weir_update(struct weir *weir, const char *name, const char *rate, const char *burst,
		enum weir_keep keep)
{
	return change(weir, name, &(struct update){.rate = rate, .burst = burst}, keep);
}

int weir_configure(struct weir *weir, const char *name, const char *settings, enum weir_keep keep,
		   char *message, size_t message_bytes)
{
	const struct update wanted = {
		.settings = settings,
		.message = message_bytes ? message : NULL,
		.message_bytes = message_bytes,
	};

	return change(weir, name, &wanted, keep);
}

int weir_reset(struct weir *weir, const char *name)
{
	struct resolution found;

	pthread_mutex_lock(&weir->mutex);
	struct segment *segment = publisher(weir);
	int status = segment ? names_resolve(segment, name, true, &found) : WEIR_EHOST;

	if (status == 0 && found.key)
		rules_reset_key(segment, found.row, found.key);
	else if (status == 0)
		rules_reset(segment, found.row, found.bucket);
	pthread_mutex_unlock(&weir->mutex);
	return status;
}
