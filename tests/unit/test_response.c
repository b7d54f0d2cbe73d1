/* SPDX-License-Identifier: Apache-2.0
 *
 * The fields of a response: their syntax as RFC 9651 has it, read back by a small parser of Lists
 * of Items; their numbers; and what a server gets for its answers.
 */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "response.h"
#include "value.h"
#include "weir.h"

#define S WEIR_SECOND
#define MINUTE (60 * S)
#define HOUR (60 * MINUTE)

/* ---- reading it back ---- */

struct parameter {
	char key[32];
	long long value;
};

struct item {
	char name[600];
	struct parameter parameters[8];
	size_t count;
};

/* "NAME";key=1;key=2, the whole of it. Integers have up to 15 digits. */
static bool parse(const char *at, struct item *out)
{
	size_t used = 0;

	*out = (struct item){.count = 0};
	if (*at++ != '"')
		return false;
	for (; *at && *at != '"'; at++) {
		if (*at == '\\' && at[1] != '"' && at[1] != '\\')
			return false;
		at += *at == '\\';
		if ((unsigned char)*at < 0x20 || (unsigned char)*at > 0x7e)
			return false;
		out->name[used++] = *at;
	}
	if (*at++ != '"')
		return false;
	while (*at == ';' && out->count < 8) {
		struct parameter *parameter = &out->parameters[out->count++];
		size_t key = strspn(++at, "abcdefghijklmnopqrstuvwxyz0123456789_-.*");
		char *end;

		if (key == 0 || key >= sizeof(parameter->key) || !islower((unsigned char)*at) ||
		    at[key] != '=' || !isdigit((unsigned char)at[key + 1]))
			return false;
		memcpy(parameter->key, at, key);
		parameter->value = strtoll(at + key + 1, &end, 10);
		if (end - (at + key + 1) > 15)
			return false;
		at = end;
	}
	return *at == '\0';
}

static struct item read_back(const char *value)
{
	struct item item;

	if (!parse(value, &item))
		fail_msg("no item: %s", value);
	return item;
}

/* ---- syntax ---- */

static struct response usual(const char *policy)
{
	return (struct response){
		.policy = policy,
		.terms = {.rate_micro = 5000 * TERMS_MICRO,
			  .period_ns = HOUR,
			  .burst_micro = 100 * TERMS_MICRO},
		.level = 99.5,
		.more_ns = S / 3,
	};
}

static void assert_field(const struct response *response, enum weir_field field,
			 const char *expected)
{
	char value[RESPONSE_FIELD_BYTES];
	int bytes = response_field(response, field, value, sizeof(value));

	assert_string_equal(value, expected);
	assert_int_equal(bytes, strlen(expected));
}

static void names_are_strings(void **state)
{
	static const struct {
		const char *name;
		const char *expected;
	} cases[] = {
		{"api", "\"api\";r=99;t=1"},
		{"POST api.openai.com/v1/*", "\"POST api.openai.com/v1/*\";r=99;t=1"},
		{"say \"no\"", "\"say \\\"no\\\"\";r=99;t=1"},
		{"C:\\", "\"C:\\\\\";r=99;t=1"},
		{"caf\xc3\xa9", "\"caf%C3%A9\";r=99;t=1"},
		{"a\r\nSet-Cookie: x=1", "\"a%0D%0ASet-Cookie: x=1\";r=99;t=1"},
		{"\x7f", "\"%7F\";r=99;t=1"},
		{"", "\"\";r=99;t=1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct response response = usual(cases[i].name);

		assert_field(&response, WEIR_FIELD_LIMIT, cases[i].expected);
		read_back(cases[i].expected);
	}
}

/* Every name there can be fits, and none ends the header. */
static void any_name(void **state)
{
	uint64_t random = 88172645463325252ull;
	char name[WEIR_NAME_MAX + 1];
	char value[RESPONSE_FIELD_BYTES];

	(void)state;
	for (int i = 0; i < 20000; i++) {
		size_t bytes = 1 + (size_t)(random % WEIR_NAME_MAX);

		for (size_t j = 0; j < bytes; j++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			name[j] = (char)(1 + random % 255);
		}
		name[bytes] = '\0';

		const struct response response = usual(name);

		for (int field = 0; field < 2; field++) {
			int used = response_field(&response, (enum weir_field)field, value,
						  sizeof(value));

			assert_int_equal(used, strlen(value));
			read_back(value);
		}
	}
}

static void what_does_not_fit_is_not_cut(void **state)
{
	const struct response response = usual("api");
	const char *expected = "\"api\";q=5000;w=3600;weir-burst=100";
	size_t length = strlen(expected);
	char value[64];

	(void)state;
	for (size_t room = 1; room < sizeof(value); room++) {
		memset(value, 'x', sizeof(value));
		assert_int_equal(response_field(&response, WEIR_FIELD_POLICY, value, room), length);
		assert_string_equal(value, room > length ? expected : "");
		/* nothing behind the room */
		assert_true(value[room] == 'x');
	}
	value[0] = 'x';
	assert_int_equal(response_field(&response, WEIR_FIELD_POLICY, value, 0), length);
	assert_true(value[0] == 'x');
	assert_int_equal(response_field(&response, WEIR_FIELD_POLICY, NULL, 0), length);
	assert_int_equal(response_field(&response, (enum weir_field)7, value, sizeof(value)),
			 WEIR_EVALUE);
}

/* ---- numbers ---- */

static void policies(void **state)
{
	static const struct {
		const char *rate;
		const char *window; /* NULL: none */
		uint64_t burst;
		const char *expected;
	} cases[] = {
		{"5000/h", NULL, 100, "\"p\";q=5000;w=3600;weir-burst=100"},
		{"10/s", NULL, 10, "\"p\";q=10;w=1"},
		{"5/2s", NULL, 15, "\"p\";q=5;w=2;weir-burst=15"},
		/* whole tokens in whole seconds, and never more than the rate */
		{"0.5/s", NULL, 1, "\"p\";q=1;w=2"},
		{"0.3/s", NULL, 1, "\"p\";q=1;w=4"},
		{"1.5/s", NULL, 2, "\"p\";q=1;w=1;weir-burst=2"},
		{"1/366d", NULL, 1, "\"p\";q=1;w=31622400"},
		{"0.000001/366d", NULL, 1, "\"p\";q=1;w=31622400000000"},
		{"1000000000/s", NULL, 1000000000, "\"p\";q=1000000000;w=1"},
		{"0", NULL, 5, "\"p\";q=0"},
		{"unlimited", NULL, 1, ""},
		{"5000/h", "1h", 5000, "\"p\";q=5000;w=3600"},
		{"10/s", "1min first", 600, "\"p\";q=600;w=60"},
		{"100/s", "500ms", 50, "\"p\";q=100;w=1;weir-burst=50"},
		{"100/s", "1500ms first", 150, "\"p\";q=200;w=2;weir-burst=150"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct response response = usual("p");

		assert_null(value_rate(cases[i].rate, &response.terms.rate_micro,
				       &response.terms.period_ns));
		if (cases[i].window)
			assert_null(value_window(cases[i].window, &response.terms.window));
		response.terms.burst_micro = cases[i].burst * TERMS_MICRO;
		assert_field(&response, WEIR_FIELD_POLICY, cases[i].expected);
		if (cases[i].expected[0])
			read_back(cases[i].expected);
	}
}

static void what_is_left_is_rounded_down_and_times_up(void **state)
{
	struct response response = usual("p");

	(void)state;
	response.level = 3.999999999;
	assert_field(&response, WEIR_FIELD_LIMIT, "\"p\";r=3;t=1");
	response.level = -7;
	response.more_ns = 2 * S;
	assert_field(&response, WEIR_FIELD_LIMIT, "\"p\";r=0;t=2");
	response.more_ns = 2 * S + 1000001;
	assert_field(&response, WEIR_FIELD_LIMIT, "\"p\";r=0;t=3");
	response.more_ns = WEIR_NEVER;
	assert_field(&response, WEIR_FIELD_LIMIT, "\"p\";r=0");
	response.more_ns = WEIR_NEVER - 1;
	assert_field(&response, WEIR_FIELD_LIMIT, "\"p\";r=0;t=18446744074");
	response.level = 1e300;
	assert_field(&response, WEIR_FIELD_LIMIT, "\"p\";r=999999999999999;t=18446744074");

	assert_field(&response, WEIR_FIELD_RETRY_AFTER, "");
	response.refused = true;
	response.retry_ns = 1;
	assert_field(&response, WEIR_FIELD_RETRY_AFTER, "1");
	response.retry_ns = S;
	assert_field(&response, WEIR_FIELD_RETRY_AFTER, "1");
	response.retry_ns = S + 1000001;
	assert_field(&response, WEIR_FIELD_RETRY_AFTER, "2");
	/* what is over when the response arrives */
	response.retry_ns = S + 65536;
	assert_field(&response, WEIR_FIELD_RETRY_AFTER, "1");
	/* at once would be refused at once */
	response.retry_ns = 0;
	assert_field(&response, WEIR_FIELD_RETRY_AFTER, "1");
	response.retry_ns = WEIR_NEVER;
	assert_field(&response, WEIR_FIELD_RETRY_AFTER, "");
}

/* ---- what a server gets ---- */

struct server {
	struct weir *weir;
	struct weir_endpoint *api;
};

static struct server serve(const char *ini, const char *name)
{
	struct server server;
	char message[400] = "";

	if (weir_host(&server.weir, ini, WEIR_CLOCK_MANUAL, NULL, message, sizeof(message)) < 0)
		fail_msg("%s", message);
	weir_clock_advance(server.weir, 100 * HOUR - weir_clock_now(server.weir));
	assert_int_equal(weir_endpoint(server.weir, name, &server.api), 0);
	return server;
}

static void stop(struct server *server)
{
	weir_endpoint_close(server->api);
	weir_close(server->weir);
}

static void assert_fields(const struct server *server, const struct weir_answer *answer,
			  const char *policy, const char *limit, const char *retry)
{
	const char *expected[] = {policy, limit, retry};

	for (int i = 0; i < 3; i++) {
		char value[RESPONSE_FIELD_BYTES];
		int bytes = weir_field(server->api, answer, (enum weir_field)i, NULL, value,
				       sizeof(value));

		assert_string_equal(value, expected[i]);
		assert_int_equal(bytes, strlen(expected[i]));
	}
}

static void of_a_straight_limit(void **state)
{
	struct server server = serve("[endpoint api]\nrate = 1/2s\nburst = 3", "api");
	const char *policy = "\"api\";q=1;w=2;weir-burst=3";
	struct weir_answer answer;
	char value[64];

	(void)state;
	/* full: what one takes to come back */
	assert_fields(&server, NULL, policy, "\"api\";r=3;t=2", "");
	assert_int_equal(weir_acquire(server.api, 1.5, &answer), WEIR_ADMIT);
	assert_fields(&server, &answer, policy, "\"api\";r=1;t=1", "");
	weir_clock_advance(server.weir, S / 2);
	assert_int_equal(weir_acquire(server.api, 3, &answer), WEIR_REFUSE);
	/* 1.75 there, 1.25 to come */
	assert_fields(&server, &answer, policy, "\"api\";r=1;t=1", "3");
	weir_clock_advance(server.weir, answer.wait_ns);
	assert_int_equal(weir_acquire(server.api, 3, &answer), WEIR_ADMIT);
	assert_fields(&server, &answer, policy, "\"api\";r=0;t=2", "");
	assert_true(weir_field(server.api, &answer, WEIR_FIELD_LIMIT, "per user", value,
			       sizeof(value)) > 0);
	assert_string_equal(value, "\"per user\";r=0;t=2");
	/* the rules may have changed since */
	assert_int_equal(weir_update(server.weir, "api", "2/s", "4", WEIR_KEEP_LEVEL), 0);
	assert_int_equal(weir_update(server.weir, "other", "2/s", "4", WEIR_KEEP_LEVEL), 0);
	assert_fields(&server, NULL, "\"api\";q=2;w=1;weir-burst=4", "\"api\";r=0;t=1", "");
	stop(&server);
}

/* Who comes back when the field says so is served: there is no need to wait for a whole token. */
static void of_a_part_of_a_token(void **state)
{
	struct server server = serve("[endpoint api]\nrate = 1/100s\nburst = 1", "api");
	const char *policy = "\"api\";q=1;w=100";
	struct weir_answer answer;

	(void)state;
	assert_int_equal(weir_acquire(server.api, 1, &answer), WEIR_ADMIT);
	assert_int_equal(weir_acquire(server.api, 0.1, &answer), WEIR_REFUSE);
	assert_fields(&server, &answer, policy, "\"api\";r=0;t=10", "10");
	assert_fields(&server, NULL, policy, "\"api\";r=0;t=100", "");
	weir_clock_advance(server.weir, answer.wait_ns);
	assert_int_equal(weir_acquire(server.api, 0.1, &answer), WEIR_ADMIT);
	stop(&server);
}

static void of_windows(void **state)
{
	struct server aligned = serve("[endpoint api]\nrate = 5/h\nwindow = 1h", "api");
	struct server first = serve("[endpoint api]\nrate = 5/h\nwindow = 1h first", "api");
	const char *policy = "\"api\";q=5;w=3600";
	struct weir_answer answer;

	(void)state;
	weir_clock_advance(aligned.weir, 48 * MINUTE);
	assert_fields(&aligned, NULL, policy, "\"api\";r=5;t=720", "");
	assert_int_equal(weir_acquire(aligned.api, 4, &answer), WEIR_ADMIT);
	assert_fields(&aligned, &answer, policy, "\"api\";r=1;t=720", "");
	assert_int_equal(weir_acquire(aligned.api, 4, &answer), WEIR_REFUSE);
	assert_fields(&aligned, &answer, policy, "\"api\";r=1;t=720", "720");
	/* closed, though the gate's word is rounded up to the next 65,536 ns; it opens with the one
	 */
	assert_int_equal(weir_gate_close(aligned.api, 30 * S), 0);
	assert_int_equal(weir_acquire(aligned.api, 1, &answer), WEIR_REFUSE);
	assert_fields(&aligned, &answer, policy, "\"api\";r=0;t=30", "30");
	assert_fields(&aligned, NULL, policy, "\"api\";r=0;t=30", "");
	assert_int_equal(weir_acquire(aligned.api, 2, &answer), WEIR_REFUSE);
	assert_fields(&aligned, &answer, policy, "\"api\";r=0;t=30", "720");

	/* at the very moment of its first use, and never a second more than the window */
	for (int i = 0; i < 5; i++) {
		assert_int_equal(weir_acquire(first.api, 1, &answer), WEIR_ADMIT);
		assert_true(answer.level == 4 - i);
	}
	assert_int_equal(weir_acquire(first.api, 1, &answer), WEIR_REFUSE);
	assert_fields(&first, &answer, policy, "\"api\";r=0;t=3600", "3600");
	stop(&aligned);
	stop(&first);
}

static void of_everything_else(void **state)
{
	struct server server = serve("[default]\nrate = 0\nburst = 2\n"
				     "[endpoint free]\nrate = unlimited\n"
				     "[endpoint p/*]\nrate = 10/s\n",
				     "anybody");
	struct weir_answer answer;

	(void)state;
	/* nothing comes back, and it says so by saying nothing of when */
	assert_int_equal(weir_acquire(server.api, 2, &answer), WEIR_ADMIT);
	assert_int_equal(weir_acquire(server.api, 1, &answer), WEIR_REFUSE);
	assert_fields(&server, &answer, "\"default\";q=0", "\"default\";r=0", "");
	/* a mistake of the program is no word to its clients */
	assert_int_equal(weir_acquire(server.api, 0, &answer), WEIR_REFUSE);
	assert_fields(&server, &answer, "", "", "");
	weir_endpoint_close(server.api);

	assert_int_equal(weir_endpoint(server.weir, "free", &server.api), 0);
	assert_int_equal(weir_acquire(server.api, 1e6, &answer), WEIR_ADMIT);
	assert_fields(&server, &answer, "", "", "");
	weir_endpoint_close(server.api);

	assert_int_equal(weir_endpoint(server.weir, "p/x", &server.api), 0);
	assert_fields(&server, NULL, "\"p/*\";q=10;w=1", "\"p/*\";r=10;t=1", "");
	assert_int_equal(weir_acquire(server.api, 1, &answer), WEIR_ADMIT);
	assert_int_equal(weir_gate_close(server.api, 30 * S), 0);
	assert_int_equal(weir_acquire(server.api, 1, &answer), WEIR_REFUSE);
	/* it opens empty, and a tenth of a second later there is one */
	assert_fields(&server, &answer, "\"p/*\";q=10;w=1", "\"p/*\";r=0;t=31", "31");
	assert_fields(&server, NULL, "\"p/*\";q=10;w=1", "\"p/*\";r=0;t=31", "");
	/* nobody has met the opening, and the bucket is as empty */
	weir_clock_advance(server.weir, 30 * S + S / 2);
	assert_fields(&server, NULL, "\"p/*\";q=10;w=1", "\"p/*\";r=4;t=1", "");
	assert_int_equal(weir_gate_close(server.api, WEIR_NEVER), 0);
	assert_int_equal(weir_acquire(server.api, 1, &answer), WEIR_REFUSE);
	assert_fields(&server, &answer, "\"p/*\";q=10;w=1", "\"p/*\";r=0", "");
	stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_strings),
		cmocka_unit_test(any_name),
		cmocka_unit_test(what_does_not_fit_is_not_cut),
		cmocka_unit_test(policies),
		cmocka_unit_test(what_is_left_is_rounded_down_and_times_up),
		cmocka_unit_test(of_a_straight_limit),
		cmocka_unit_test(of_a_part_of_a_token),
		cmocka_unit_test(of_windows),
		cmocka_unit_test(of_everything_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
