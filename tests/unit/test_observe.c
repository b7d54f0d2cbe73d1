/* SPDX-License-Identifier: Apache-2.0
 *
 * weir_observe by itself: what a response does to the segment at once, whatever its fields are, and
 * that it never does more.
 */
#include "calls_fixture.h"

#include <math.h>

#include "audit.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define HEADER(name, value)                                                                        \
	(struct weir_header)                                                                       \
	{                                                                                          \
		name, value, WEIR_TEXT, WEIR_TEXT                                                  \
	}

static struct weir_observed observe(struct weir_endpoint *endpoint, int status, const char *name,
				    const char *value)
{
	const struct weir_header header = HEADER(name, value);
	struct weir_observed seen = {.size = sizeof(seen)};

	assert_int_equal(weir_observe(endpoint, status, &header, name ? 1 : 0, 0, &seen), 0);
	return seen;
}

static double level_of(struct weir_endpoint *endpoint)
{
	return calls_peek(endpoint).level;
}

static void print_finding(void *context, const struct audit_finding *finding)
{
	(void)context;
	print_error("%s %u: %s\n", finding->where, finding->index, finding->what);
}

static void assert_sound(const struct calls *calls)
{
	assert_int_equal(audit_segment(&calls->scene.segment, print_finding, NULL), 0);
}

/* ---- closing ---- */

static void test_closes(void **state)
{
	static const struct {
		int status;
		const char *name, *value;
		double seconds;
	} rows[] = {
		{429, "Retry-After", "30", 30},
		{503, "retry-after", "7", 7},
		{403, "Retry-After", "60", 60},
		{200, "Retry-After", "30", 0},
		{429, "Retry-After", "0", 0.25},
		{429, "Retry-After", "-5", 0.25},
		{429, NULL, NULL, 0.25},
		{503, NULL, NULL, 0.25},
		{529, NULL, NULL, 0.25},
		{200, NULL, NULL, 0},
		{500, NULL, NULL, 0},
		{404, NULL, NULL, 0},
		{0, NULL, NULL, 0},
		{429, "Retry-After", "86400", 3600},
	};
	struct calls calls;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		calls_begin(&calls);
		calls_rule(&calls, "api", "rate=10/s");

		struct weir_endpoint *api = calls_endpoint(&calls, "api");
		struct weir_observed seen =
			observe(api, rows[i].status, rows[i].name, rows[i].value);
		double closed = (double)calls_peek(api).closed_ns / 1e9;

		if (fabs(closed - rows[i].seconds) > 0.001 ||
		    fabs((double)seen.closed_ns / 1e9 - rows[i].seconds) > 0.001)
			fail_msg("%d %s: closed for %g s, and %g were right", rows[i].status,
				 rows[i].value ? rows[i].value : "", closed, rows[i].seconds);
		assert_int_equal(seen.sent + seen.dropped, 0);
		calls_end(&calls);
	}
}

/* Nothing is left, and it is said until when: a refusal closes for so long. */
static void test_closes_until_renewed(void **state)
{
	const struct weir_header headers[] = {
		HEADER("X-RateLimit-Limit", "100"),
		HEADER("X-RateLimit-Remaining", "0"),
		HEADER("X-RateLimit-Reset-After", "20"),
	};
	struct calls *calls = *state;

	calls_rule(calls, "api", "rate=10/s", "max_close=15s");

	struct weir_endpoint *api = calls_endpoint(calls, "api");
	struct weir_observed seen = {.size = sizeof(seen)};

	assert_int_equal(weir_observe(api, 429, headers, COUNT(headers), 0, &seen), 0);
	assert_int_equal(seen.closed_ns, 15 * WEIR_SECOND);
	assert_true(seen.remaining == 0 && seen.reset_s == 20);
}

/* No wait makes the same request pass, so none is asked of others; what happened is told. */
static void test_not_to_be_repeated(void **state)
{
	static const struct {
		int status;
		const char *name, *value;
		int32_t action;
	} rows[] = {
		{429, "x-should-retry", "false", WEIR_ACTION_DO_NOT_RETRY},
		{402, NULL, NULL, WEIR_ACTION_DO_NOT_RETRY},
		{200, "Retry-After", "30", WEIR_ACTION_NO_RETRY},
		{429, "Retry-After", "0", WEIR_ACTION_FLOOR},
		{429, "Retry-After", "86400", WEIR_ACTION_CAP},
		{200, "X-RateLimit-Limit", "-1", WEIR_ACTION_UNLIMITED},
		{200, "X-RateLimit-Remaining", "soon", WEIR_ACTION_IGNORE},
		{200, "X-RateLimit-Remaining", "5", WEIR_ACTION_USE},
	};
	struct calls *calls = *state;

	for (size_t i = 0; i < COUNT(rows); i++) {
		char name[16];

		snprintf(name, sizeof(name), "api %zu", i);
		calls_rule(calls, name, "rate=10/s");

		struct weir_endpoint *api = calls_endpoint(calls, name);
		struct weir_observed seen =
			observe(api, rows[i].status, rows[i].name, rows[i].value);

		if (seen.action != rows[i].action)
			fail_msg("%d %s: action %d, and %d was right", rows[i].status,
				 rows[i].value ? rows[i].value : "", (int)seen.action,
				 (int)rows[i].action);
		if (seen.action == WEIR_ACTION_DO_NOT_RETRY)
			assert_int_equal(calls_peek(api).closed_ns, 0);
	}
}

/* ---- the level ---- */

static void test_lowers_and_never_raises(void **state)
{
	struct calls *calls = *state;

	calls_rule(calls, "api", "rate=1/h", "burst=100");
	calls_rule(calls, "free", "rate=unlimited");

	struct weir_endpoint *api = calls_endpoint(calls, "api");
	struct weir_endpoint *free_one = calls_endpoint(calls, "free");

	/* nobody has used it yet */
	observe(api, 200, "X-RateLimit-Remaining", "60");
	assert_true(level_of(api) == 60);
	observe(api, 200, "X-RateLimit-Remaining", "80");
	assert_true(level_of(api) == 60);
	assert_int_equal(weir_acquire(api, 10, NULL), WEIR_ADMIT);
	observe(api, 200, "X-RateLimit-Remaining", "49.5");
	assert_true(level_of(api) == 49.5);
	observe(api, 200, "X-RateLimit-Remaining", "0");
	assert_true(level_of(api) == 0);
	assert_int_equal(weir_acquire(api, 1, NULL), WEIR_REFUSE);
	observe(free_one, 200, "X-RateLimit-Remaining", "0");
	assert_int_equal(weir_acquire(free_one, 1000, NULL), WEIR_ADMIT);
	assert_sound(calls);
}

/* A window that is over says nothing of this one; nor does a response from a cache. */
static void test_stale(void **state)
{
	const struct weir_header over[] = {
		HEADER("RateLimit-Remaining", "3"),
		HEADER("RateLimit-Reset", "0"),
	};
	const struct weir_header cached[] = {
		HEADER("RateLimit-Remaining", "3"),
		HEADER("Age", "600"),
	};
	struct calls *calls = *state;

	calls_rule(calls, "api", "rate=10/s", "burst=50");

	struct weir_endpoint *api = calls_endpoint(calls, "api");

	assert_int_equal(weir_observe(api, 200, over, COUNT(over), 0, NULL), 0);
	assert_int_equal(weir_observe(api, 200, cached, COUNT(cached), 0, NULL), 0);
	assert_true(level_of(api) == 50);
}

static void test_windows(void **state)
{
	static const char *const windows[] = {"window=1h", "window=1h first"};
	struct calls calls;

	(void)state;
	for (size_t i = 0; i < COUNT(windows); i++) {
		calls_begin(&calls);
		calls_rule(&calls, "api", "rate=100/h", windows[i]);

		struct weir_endpoint *api = calls_endpoint(&calls, "api");

		assert_int_equal(weir_acquire(api, 10, NULL), WEIR_ADMIT);
		observe(api, 200, "X-RateLimit-Remaining", "20");
		assert_true(level_of(api) == 20);
		observe(api, 200, "X-RateLimit-Remaining", "50");
		assert_true(level_of(api) == 20);
		calls_advance(&calls, 3600 * SCENE_SECOND);
		assert_true(level_of(api) == 100);
		assert_sound(&calls);
		calls_end(&calls);
	}
}

/* ---- whose limit it is ---- */

static void test_budgets(void **state)
{
	const struct weir_header headers[] = {
		HEADER("x-ratelimit-remaining-requests", "9"),
		HEADER("x-ratelimit-remaining-tokens", "500"),
	};
	struct calls *calls = *state;

	calls_rule(calls, "plain", "rate=1/h", "burst=1000");
	calls_rule(calls, "api", "rate=1/h", "burst=1000", "budget.tokens=the tokens");
	calls_rule(calls, "self", "rate=1/h", "burst=1000", "budget.tokens=self",
		   "budget.requests=some name");
	calls_rule(calls, "the tokens", "rate=1/h", "burst=1000");

	struct weir_endpoint *plain = calls_endpoint(calls, "plain");
	struct weir_endpoint *api = calls_endpoint(calls, "api");
	struct weir_endpoint *self = calls_endpoint(calls, "self");
	struct weir_endpoint *tokens = calls_endpoint(calls, "the tokens");

	/* tokens are no requests */
	assert_int_equal(weir_observe(plain, 200, headers, 2, 0, NULL), 0);
	assert_true(level_of(plain) == 9);
	assert_true(level_of(tokens) == 1000);
	assert_int_equal(weir_observe(api, 200, headers, 2, 0, NULL), 0);
	assert_true(level_of(api) == 9);
	assert_true(level_of(tokens) == 500);
	/* an endpoint that counts tokens itself; and a name under [default] for the requests */
	assert_int_equal(weir_observe(self, 200, headers, 2, 0, NULL), 0);
	assert_true(level_of(self) == 500);

	struct weir_endpoint *some = calls_endpoint(calls, "some name");

	assert_true(level_of(some) == 9);
}

/* A budget whose tokens are spent closes its own endpoint when it refuses. */
static void test_spent_budget(void **state)
{
	const struct weir_header headers[] = {
		HEADER("x-ratelimit-remaining-requests", "900"),
		HEADER("x-ratelimit-remaining-tokens", "0"),
		HEADER("x-ratelimit-reset-tokens", "40s"),
		HEADER("retry-after", "2"),
	};
	struct calls *calls = *state;

	calls_rule(calls, "api", "rate=1/s", "burst=1000", "profile=openai",
		   "budget.tokens=the tokens");
	calls_rule(calls, "the tokens", "rate=1/s", "burst=1000");

	struct weir_endpoint *api = calls_endpoint(calls, "api");
	struct weir_endpoint *tokens = calls_endpoint(calls, "the tokens");

	assert_int_equal(weir_observe(api, 429, headers, COUNT(headers), 0, NULL), 0);
	assert_true(fabs((double)calls_peek(tokens).closed_ns / 1e9 - 40) < 0.001);
	assert_true(fabs((double)calls_peek(api).closed_ns / 1e9 - 2) < 0.001);
}

/* With a profile, NAME/RESOURCE is whose limit it is, where there is such a rule. */
static void test_budgets_of_a_profile(void **state)
{
	const struct weir_header headers[] = {
		HEADER("x-ratelimit-remaining-requests", "9"),
		HEADER("x-ratelimit-remaining-tokens", "500"),
		HEADER("x-ratelimit-remaining-project-tokens", "70"),
	};
	struct weir_observed seen = {.size = sizeof(seen)};
	struct calls *calls = *state;

	calls_rule(calls, "api", "rate=1/h", "burst=1000", "profile=openai");
	calls_rule(calls, "api/tokens", "rate=1/h", "burst=1000");
	calls_rule(calls, "bare", "rate=1/h", "burst=1000");
	calls_rule(calls, "bare/tokens", "rate=1/h", "burst=1000");
	calls_rule(calls, "v1/*", "rate=1/h", "burst=1000", "profile=openai",
		   "budget.project-tokens=elsewhere");
	calls_rule(calls, "v1/requests", "rate=1/h", "burst=1000");
	calls_rule(calls, "v1/project-tokens", "rate=1/h", "burst=1000");
	calls_rule(calls, "elsewhere", "rate=1/h", "burst=1000");

	struct weir_endpoint *api = calls_endpoint(calls, "api");
	struct weir_endpoint *bare = calls_endpoint(calls, "bare");
	struct weir_endpoint *chat = calls_endpoint(calls, "v1/chat");
	const struct {
		const char *name;
		double level;
	} rows[] = {
		{"api", 9},
		{"api/tokens", 500},
		{"bare", 9},
		{"bare/tokens", 1000},
		/* no profile, no names */ {"v1/chat", 1000},
		{"v1/requests", 9},
		{"v1/project-tokens", 1000},
		{"elsewhere", 70},
	};

	assert_int_equal(weir_observe(api, 200, headers, COUNT(headers), 0, &seen), 0);
	assert_int_equal(seen.budgets, 2);
	assert_int_equal(weir_observe(bare, 200, headers, COUNT(headers), 0, &seen), 0);
	assert_int_equal(seen.budgets, 1);
	/* the requests have a rule of their own; what the INI names goes first */
	assert_int_equal(weir_observe(chat, 200, headers, COUNT(headers), 0, &seen), 0);
	assert_int_equal(seen.budgets, 2);
	assert_true(seen.remaining == -1);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct weir_endpoint *endpoint = calls_endpoint(calls, rows[i].name);

		if (level_of(endpoint) != rows[i].level)
			fail_msg("%s: %g are left, and %g were right", rows[i].name,
				 level_of(endpoint), rows[i].level);
	}
}

/* A name that leaves no room for another behind it names none. */
static void test_budgets_of_a_long_name(void **state)
{
	const struct weir_header headers[] = {
		HEADER("x-ratelimit-remaining-requests", "9"),
		HEADER("x-ratelimit-remaining-tokens", "5"),
	};
	char name[LAYOUT_TEXT_BYTES];
	struct calls *calls = *state;

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	calls_rule(calls, name, "rate=1/h", "burst=1000", "profile=openai");

	struct weir_endpoint *api = calls_endpoint(calls, name);

	assert_int_equal(weir_observe(api, 200, headers, COUNT(headers), 0, NULL), 0);
	assert_true(level_of(api) == 9);
}

/* Both limits lower the level; one of them is told. */
static void test_two_limits_of_a_budget(void **state)
{
	const struct weir_header headers[] = {
		HEADER("x-ratelimit-remaining-tokens-minute", "500"),
		HEADER("x-ratelimit-remaining-tokens-day", "70"),
		HEADER("x-ratelimit-remaining-requests-minute", "9"),
	};
	struct weir_observed seen = {.size = sizeof(seen)};
	struct calls *calls = *state;

	calls_rule(calls, "api", "rate=1/h", "burst=1000", "profile=cerebras", "adaptive=headers");
	calls_rule(calls, "api/tokens", "rate=1/h", "burst=1000", "adaptive=headers");

	struct weir_endpoint *api = calls_endpoint(calls, "api");
	struct weir_endpoint *tokens = calls_endpoint(calls, "api/tokens");

	assert_int_equal(weir_observe(api, 200, headers, COUNT(headers), 0, &seen), 0);
	assert_true(level_of(tokens) == 70);
	assert_int_equal(seen.budgets, 3);
	/* nobody listens: what would have been sent is dropped */
	assert_int_equal(seen.dropped, 2);
}

/* A limit of the whole server closes what has the same profile and account, for as long as each
 * allows. */
static void test_closes_everywhere(void **state)
{
	const struct weir_header headers[] = {
		HEADER("Retry-After", "65"),
		HEADER("X-RateLimit-Global", "true"),
		HEADER("X-RateLimit-Scope", "global"),
	};
	static const struct {
		const char *name;
		double seconds;
	} rows[] = {
		{"channels", 65}, {"guilds", 20}, {"users/1", 65}, {"other", 0},
		{"github", 0},	  {"bot/1", 0},	  {"bot/2", 0},
	};
	struct calls calls;

	(void)state;
	for (int global = 0; global < 2; global++) {
		calls_begin(&calls);
		calls_rule(&calls, "channels", "rate=1/s", "profile=discord");
		calls_rule(&calls, "guilds", "rate=1/s", "profile=discord", "max_close=20s");
		calls_rule(&calls, "users/*", "rate=1/s", "profile=discord");
		calls_rule(&calls, "other", "rate=1/s");
		calls_rule(&calls, "github", "rate=1/s", "profile=github");
		calls_rule(&calls, "bot/1", "rate=1/s", "profile=discord", "account=bot");
		calls_rule(&calls, "bot/2", "rate=1/s", "profile=discord", "account=bot");

		struct weir_endpoint *channels = calls_endpoint(&calls, "channels");

		/* a success that says so refuses nothing, and a limit of its own is its own */
		assert_int_equal(weir_observe(channels, 200, headers, COUNT(headers), 0, NULL), 0);
		assert_int_equal(calls_peek(channels).closed_ns, 0);
		assert_int_equal(
			weir_observe(channels, 429, headers, global ? COUNT(headers) : 1, 0, NULL),
			0);
		for (size_t i = 0; i < COUNT(rows); i++) {
			struct weir_endpoint *endpoint = calls_endpoint(&calls, rows[i].name);
			double closed = (double)calls_peek(endpoint).closed_ns / 1e9;
			double right = global || i == 0 ? rows[i].seconds : 0;

			if (fabs(closed - right) > 0.001)
				fail_msg("%s: closed for %g s, and %g were right", rows[i].name,
					 closed, right);
		}
		assert_sound(&calls);
		calls_end(&calls);
	}
}

/* Two accounts at one service: a refusal of all that the one has says nothing of the other. */
static void test_closes_an_account(void **state)
{
	const struct weir_header headers[] = {
		HEADER("Retry-After", "5"),
		HEADER("X-RateLimit-Global", "true"),
	};
	static const char *const names[] = {"one/a", "one/b", "two/a", "two/b", "nobody's"};
	struct calls *calls = *state;

	calls_rule(calls, "one/*", "rate=1/s", "profile=discord", "account=one");
	calls_rule(calls, "one/b", "rate=1/s", "profile=discord", "account=one");
	calls_rule(calls, "two/*", "rate=1/s", "profile=discord", "account=two");
	calls_rule(calls, "two/b", "rate=1/s", "profile=discord", "account=two");
	calls_rule(calls, "nobody's", "rate=1/s", "profile=discord");
	for (size_t own = 0; own < COUNT(names); own++) {
		struct weir_endpoint *endpoint = calls_endpoint(calls, names[own]);

		assert_int_equal(weir_observe(endpoint, 429, headers, COUNT(headers), 0, NULL), 0);
		for (size_t i = 0; i < COUNT(names); i++) {
			bool closed = calls_peek(calls_endpoint(calls, names[i])).closed_ns > 0;

			if (closed != (i / 2 == own / 2))
				fail_msg("%s was refused, and %s is %s", names[own], names[i],
					 closed ? "closed" : "open");
		}
		calls_advance(calls, 10 * SCENE_SECOND);
	}
	assert_sound(calls);
}

/* A bucket a key has no gate, and no level that a response could speak of; nothing is done. */
static void test_keys(void **state)
{
	static const char ini[] = "[each c/*]\nrate = 1/h\nburst = 9\n"
				  "[endpoint api]\nrate = 1/h\nburst = 9\nbudget.tokens = c/2\n";
	const struct weir_header header = HEADER("x-ratelimit-remaining-tokens", "3");
	struct weir_endpoint *api, *one;
	struct weir *weir;
	char why[200];

	(void)state;
	if (weir_host(&weir, ini, WEIR_CLOCK_MANUAL, NULL, why, sizeof(why)) < 0)
		fail_msg("%s", why);
	assert_int_equal(weir_endpoint(weir, "c/1", &one), 0);
	assert_int_equal(weir_endpoint(weir, "api", &api), 0);
	assert_int_equal(weir_observe(one, 429, NULL, 0, 0, NULL), WEIR_EKEY);
	assert_int_equal(weir_observe(api, 200, &header, 1, 0, NULL), WEIR_EKEY);
	assert_int_equal(weir_acquire(one, 9, NULL), WEIR_ADMIT);
	assert_int_equal(weir_acquire(api, 9, NULL), WEIR_ADMIT);
	weir_endpoint_close(one);
	weir_endpoint_close(api);
	weir_close(weir);
}

static void test_own_mapping(void **state)
{
	struct calls *calls = *state;

	calls_rule(calls, "api", "rate=1/h", "burst=100", "field.remaining=X-Foo-Left");

	struct weir_endpoint *api = calls_endpoint(calls, "api");

	observe(api, 200, "X-Foo-Left", "40");
	assert_true(level_of(api) == 40);
}

/* ---- what changes under a handle ---- */

static void test_follows_a_moved_mark(void **state)
{
	struct calls *calls = *state;

	calls_rule(calls, "api", "rate=1/h", "burst=100");

	struct weir_endpoint *api = calls_endpoint(calls, "api");

	assert_int_equal(weir_acquire(api, 1, NULL), WEIR_ADMIT);
	/* another unit: the rule moves to another row */
	calls_change(calls, "api", "rate=1000000000/s", "burst=100");
	observe(api, 429, "Retry-After", "30");
	assert_int_equal(weir_acquire(api, 1, NULL), WEIR_REFUSE);
	assert_true(calls_peek(api).closed_ns > 29 * WEIR_SECOND);
}

/* ---- what is handed in ---- */

static void test_mistakes(void **state)
{
	const struct weir_header odd[] = {
		{NULL, "1", WEIR_TEXT, WEIR_TEXT},
		{"X-RateLimit-Remaining", NULL, WEIR_TEXT, WEIR_TEXT},
		{"", "", WEIR_TEXT, WEIR_TEXT},
	};
	struct {
		struct weir_observed seen;
		uint64_t guard;
	} older = {.seen = {.size = 24}, .guard = 7};
	struct calls *calls = *state;

	struct weir_endpoint *api = calls_endpoint(calls, "api");

	assert_int_equal(weir_observe(api, -1, NULL, 0, 0, NULL), WEIR_EVALUE);
	assert_int_equal(weir_observe(api, 99, NULL, 0, 0, NULL), WEIR_EVALUE);
	assert_int_equal(weir_observe(api, 1000, NULL, 0, 0, NULL), WEIR_EVALUE);
	assert_int_equal(weir_observe(api, 200, NULL, 1, 0, NULL), WEIR_EVALUE);
	assert_int_equal(weir_observe(api, 200, odd, COUNT(odd), UINT64_MAX, NULL), 0);
	/* a program built against an older header has a shorter struct */
	older.seen.closed_ns = 11;
	assert_int_equal(weir_observe(api, 429, NULL, 0, 0, &older.seen), 0);
	assert_int_equal(older.seen.size, 24);
	assert_int_equal(older.seen.closed_ns, 11);
}

/* Nothing beyond a length is read, nor more than is allowed; the rest counts. */
static void test_bounds(void **state)
{
	enum { MANY = 2000, LONG = 65536 };
	struct weir_header *headers = calloc(MANY, sizeof(*headers));
	char *value = malloc(LONG), *two = malloc(2), *name = malloc(21);
	struct calls *calls = *state;

	assert_non_null(headers);
	assert_non_null(value);
	assert_non_null(two);
	assert_non_null(name);
	memset(value, '9', LONG);
	memcpy(two, "42", 2); /* without a NUL: a reader that goes on is seen by a sanitizer */
	memcpy(name, "x-ratelimit-remaining", 21);
	calls_rule(calls, "api", "rate=1/h", "burst=100");

	struct weir_endpoint *api = calls_endpoint(calls, "api");

	headers[0] = (struct weir_header){"Retry-After", value, WEIR_TEXT, LONG};
	headers[1] = (struct weir_header){"X-RateLimit-Reset", value, WEIR_TEXT, SIZE_MAX - 1};
	headers[2] = (struct weir_header){name, two, 21, 2};
	assert_int_equal(weir_observe(api, 200, headers, 3, 0, NULL), 0);
	assert_true(level_of(api) == 42);
	assert_int_equal(calls_peek(api).closed_ns, 0);
	/* a NUL within a value is no end, and makes no number */
	headers[0] = (struct weir_header){"X-RateLimit-Remaining", "1\0", WEIR_TEXT, 2};
	assert_int_equal(weir_observe(api, 200, headers, 1, 0, NULL), 0);
	assert_true(level_of(api) == 42);
	/* what comes behind so many fields is not looked at */
	for (size_t i = 0; i < MANY; i++)
		headers[i] = HEADER("X-Nothing", "0");
	headers[MANY - 1] = HEADER("X-RateLimit-Remaining", "1");
	assert_int_equal(weir_observe(api, 200, headers, MANY, 0, NULL), 0);
	assert_true(level_of(api) == 42);
	headers[WEIR_HEADERS_MAX - 1] = HEADER("X-RateLimit-Remaining", "1");
	assert_int_equal(weir_observe(api, 200, headers, MANY, 0, NULL), 0);
	assert_true(level_of(api) == 1);
	free(headers);
	free(value);
	free(two);
	free(name);
}

/* Names that mean something, with values that mean nothing, or too much. */
static void test_hostile(void **state)
{
	static const char *const names[] = {
		"Retry-After",
		"X-RateLimit-Limit",
		"X-RateLimit-Remaining",
		"X-RateLimit-Reset",
		"RateLimit",
		"RateLimit-Policy",
		"RateLimit-Reset",
		"RateLimit-Limit",
		"Date",
		"Age",
		"X-RateLimit-Used",
		"retry-after-ms",
		"X-RateLimit-Reset-After",
		"x-ratelimit-remaining-tokens",
		"x-shopify-shop-api-call-limit",
	};
	static const char *const values[] = {
		"nan",
		"inf",
		"-inf",
		"-1",
		"0",
		"",
		" ",
		"1e309",
		"0x10",
		"99999999999999999999999999",
		"-0",
		"5,000",
		"1;2;3",
		"\"a\"",
		"100, 100;w=60",
		"1/0",
		"6m0s",
		"1.5",
		"9999-12-31T23:59:59Z",
		"\"default\";r=50;t=30",
		"Fri, 31 Dec 9999 23:59:59 GMT",
		"4294967296",
		"18446744073709551616",
	};
	static const int statuses[] = {200, 429, 503, 403, 301, 500, 418, 0};
	uint64_t seed = 0x9e3779b97f4a7c15;
	struct calls *calls = *state;

	calls_rule(calls, "api", "rate=1/d", "burst=1000", "max_close=100s", "adaptive=headers");

	struct weir_endpoint *api = calls_endpoint(calls, "api");
	double rate = calls_peek(api).rate_per_s;
	double level = level_of(api);

	for (int i = 0; i < 20000; i++) {
		struct weir_header headers[6];
		struct weir_observed seen = {.size = sizeof(seen)};
		double now;

		for (size_t at = 0; at < COUNT(headers); at++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			headers[at] = HEADER(names[(seed >> 33) % COUNT(names)],
					     values[(seed >> 45) % COUNT(values)]);
		}
		assert_int_equal(weir_observe(api, statuses[(seed >> 55) % COUNT(statuses)],
					      headers, COUNT(headers), seed, &seen),
				 0);
		now = level_of(api);
		assert_true(seen.closed_ns <= 100 * WEIR_SECOND);
		assert_true(calls_peek(api).closed_ns <= 100 * WEIR_SECOND + WEIR_MILLISECOND);
		assert_false(isnan(seen.limit) || isnan(seen.remaining) || isnan(seen.reset_s));
		assert_true(now <= level && now >= 0);
		level = now;
	}
	assert_true(calls_peek(api).rate_per_s == rate);
	assert_sound(calls);
}

/* Nobody listens: nothing is held up, and it is counted. */
static void test_nobody_listens(void **state)
{
	struct calls *calls = *state;

	calls_rule(calls, "api", "rate=10/s", "adaptive=headers");

	struct weir_endpoint *api = calls_endpoint(calls, "api");
	struct weir_observed seen = observe(api, 200, "X-RateLimit-Remaining", "5");

	assert_int_equal(seen.sent, 0);
	assert_int_equal(seen.dropped, 1);
	assert_true(level_of(api) == 5);
	assert_int_equal(atomic_load(&calls->scene.segment.state->observations_dropped), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_closes),
		calls_test(test_closes_until_renewed),
		calls_test(test_not_to_be_repeated),
		calls_test(test_lowers_and_never_raises),
		calls_test(test_stale),
		cmocka_unit_test(test_windows),
		calls_test(test_budgets),
		calls_test(test_spent_budget),
		calls_test(test_budgets_of_a_profile),
		calls_test(test_budgets_of_a_long_name),
		calls_test(test_two_limits_of_a_budget),
		cmocka_unit_test(test_closes_everywhere),
		calls_test(test_closes_an_account),
		cmocka_unit_test(test_keys),
		calls_test(test_own_mapping),
		calls_test(test_follows_a_moved_mark),
		calls_test(test_mistakes),
		calls_test(test_bounds),
		calls_test(test_hostile),
		calls_test(test_nobody_listens),
	};

	return cmocka_run_group_tests_name("observe", tests, NULL, NULL);
}
