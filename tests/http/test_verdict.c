/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of a request after a try, as a table; the jitter, which only ever adds; the budget.
 */
#include "http_fixture.h"

#define S WEIR_SECOND
#define MS WEIR_MILLISECOND

static const struct try_terms terms = {
	.tries = 4,
	.backoff_ns = 500 * MS,
	.backoff_most_ns = 60 * S,
	.longest_retry_ns = 300 * S,
};

static void test_table(void **state)
{
	static const struct {
		CURLcode code;
		int status;
		bool sent, harmless;
		uint64_t retry_ns;
		bool again, asked;
		uint64_t wait_ns;
	} rows[] = {
		/* answers that are the last word */
		{CURLE_OK, 200, true, true, 0, false, false, 0},
		{CURLE_OK, 200, true, true, 5 * S, false, false, 0},
		{CURLE_OK, 404, true, true, 0, false, false, 0},
		{CURLE_OK, 500, true, true, 0, false, false, 0},
		{CURLE_OK, 501, true, true, 0, false, false, 0},
		{CURLE_OK, 403, true, true, 0, false, false, 0},
		/* by the server's word, whatever the method */
		{CURLE_OK, 429, true, false, 7 * S, true, true, 7 * S},
		{CURLE_OK, 503, true, false, 7 * S, true, true, 7 * S},
		{CURLE_OK, 403, true, false, 7 * S, true, true, 7 * S},
		{CURLE_OK, 429, true, true, 300 * S, true, true, 300 * S},
		/* too long to be waited for */
		{CURLE_OK, 429, true, true, 301 * S, false, false, 0},
		{CURLE_OK, 429, true, true, 86400 * S, false, false, 0},
		/* without it, what does no harm */
		{CURLE_OK, 429, true, true, 0, true, false, 500 * MS},
		{CURLE_OK, 503, true, true, 0, true, false, 500 * MS},
		{CURLE_OK, 408, true, true, 0, true, false, 500 * MS},
		{CURLE_OK, 502, true, true, 0, true, false, 500 * MS},
		{CURLE_OK, 504, true, true, 0, true, false, 500 * MS},
		{CURLE_OK, 429, true, false, 0, false, false, 0},
		{CURLE_OK, 503, true, false, 0, false, false, 0},
		{CURLE_OK, 502, true, false, 0, false, false, 0},
		/* failures */
		{CURLE_RECV_ERROR, 0, true, true, 0, true, false, 500 * MS},
		{CURLE_RECV_ERROR, 200, true, true, 0, true, false, 500 * MS},
		{CURLE_PARTIAL_FILE, 200, true, true, 0, true, false, 500 * MS},
		{CURLE_OPERATION_TIMEDOUT, 0, true, true, 0, true, false, 500 * MS},
		{CURLE_GOT_NOTHING, 0, true, false, 0, false, false, 0},
		{CURLE_OPERATION_TIMEDOUT, 0, true, false, 0, false, false, 0},
		/* not sent: nobody has seen it */
		{CURLE_COULDNT_CONNECT, 0, false, false, 0, true, false, 500 * MS},
		{CURLE_COULDNT_RESOLVE_HOST, 0, false, false, 0, true, false, 500 * MS},
		/* would be the same every time */
		{CURLE_PEER_FAILED_VERIFICATION, 0, false, true, 0, false, false, 0},
		{CURLE_URL_MALFORMAT, 0, false, true, 0, false, false, 0},
		{CURLE_UNSUPPORTED_PROTOCOL, 0, false, true, 0, false, false, 0},
		{CURLE_TOO_MANY_REDIRECTS, 302, true, true, 0, false, false, 0},
		{CURLE_WRITE_ERROR, 200, true, true, 0, false, false, 0},
		{CURLE_ABORTED_BY_CALLBACK, 0, true, true, 0, false, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct try_facts facts = {
			.code = rows[i].code,
			.status = rows[i].status,
			.sent = rows[i].sent,
			.harmless = rows[i].harmless,
			.retry_ns = rows[i].retry_ns,
			.tries = 1,
		};
		struct verdict verdict = verdict_of(&facts, &terms);

		if (verdict.again != rows[i].again || verdict.asked != rows[i].asked ||
		    verdict.wait_ns != rows[i].wait_ns)
			fail_msg("row %zu: again %d, asked %d, %llu ns", i, verdict.again,
				 verdict.asked, (unsigned long long)verdict.wait_ns);
		/* an end to everything */
		facts.tries = terms.tries;
		assert_false(verdict_of(&facts, &terms).again);
		facts.tries = 1;
		facts.final = true;
		assert_false(verdict_of(&facts, &terms).again);
	}
}

static void test_pauses_grow(void **state)
{
	const struct try_terms many = {
		.tries = 100,
		.backoff_ns = 500 * MS,
		.backoff_most_ns = 60 * S,
	};
	struct try_facts facts = {.code = CURLE_RECV_ERROR, .sent = true, .harmless = true};
	static const uint64_t expected[] = {500 * MS, S,      2 * S,  4 * S, 8 * S,
					    16 * S,   32 * S, 60 * S, 60 * S};

	(void)state;
	for (uint32_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		facts.tries = i + 1;
		assert_int_equal(verdict_of(&facts, &many).wait_ns, expected[i]);
	}
	facts.tries = 99;
	assert_int_equal(verdict_of(&facts, &many).wait_ns, 60 * S);
}

static void test_jitter_is_upward(void **state)
{
	const struct verdict asked = {.again = true, .asked = true, .wait_ns = 10 * S};
	const struct verdict guessed = {.again = true, .wait_ns = 10 * S};
	uint64_t most_asked = 0, most_guessed = 0;

	(void)state;
	for (uint32_t random = 0; random < 200000; random += 97) {
		uint64_t a = verdict_jitter(&asked, random);
		uint64_t b = verdict_jitter(&guessed, random);

		assert_true(a >= 10 * S && a <= 11 * S);
		assert_true(b >= 10 * S && b <= 15 * S);
		most_asked = a > most_asked ? a : most_asked;
		most_guessed = b > most_guessed ? b : most_guessed;
	}
	assert_true(most_asked > 10 * S + 900 * MS);
	assert_true(most_guessed > 14 * S + 900 * MS);
}

static void test_news(void **state)
{
	(void)state;
	assert_int_equal(verdict_news(CURLE_OK, 200, 0), BREAKER_GOOD);
	assert_int_equal(verdict_news(CURLE_OK, 404, 0), BREAKER_GOOD);
	/* to be refused is no failure of the server */
	assert_int_equal(verdict_news(CURLE_OK, 429, 0), BREAKER_GOOD);
	assert_int_equal(verdict_news(CURLE_OK, 503, S), BREAKER_GOOD);
	assert_int_equal(verdict_news(CURLE_OK, 503, 0), BREAKER_BAD);
	assert_int_equal(verdict_news(CURLE_OK, 500, 0), BREAKER_BAD);
	assert_int_equal(verdict_news(CURLE_COULDNT_CONNECT, 0, 0), BREAKER_BAD);
	assert_int_equal(verdict_news(CURLE_PEER_FAILED_VERIFICATION, 0, 0), BREAKER_BAD);
	assert_int_equal(verdict_news(CURLE_ABORTED_BY_CALLBACK, 0, 0), BREAKER_NOTHING);
	assert_int_equal(verdict_news(CURLE_WRITE_ERROR, 200, 0), BREAKER_NOTHING);
	assert_int_equal(verdict_news(CURLE_URL_MALFORMAT, 0, 0), BREAKER_NOTHING);
}

static void test_methods(void **state)
{
	static const char *const harmful[] = {"POST", "PATCH", "CONNECT", "get", "", "GETT"};
	static const char *const harmless[] = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};

	(void)state;
	for (size_t i = 0; i < sizeof(harmful) / sizeof(harmful[0]); i++)
		assert_false(verdict_is_harmless(harmful[i]));
	for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
		assert_true(verdict_is_harmless(harmless[i]));
}

static void test_budget(void **state)
{
	struct budget budget;
	unsigned spent = 0;

	(void)state;
	budget_begin(&budget, 3);
	while (budget_spend(&budget))
		spent++;
	assert_int_equal(spent, 3);
	/* a fifth of all requests */
	for (spent = 0; spent < 100; spent++) {
		for (int i = 0; i < 4; i++) {
			budget_earn(&budget, 20, 3);
			assert_false(budget_spend(&budget));
		}
		budget_earn(&budget, 20, 3);
		assert_true(budget_spend(&budget));
	}
	/* what can be saved up is bounded */
	for (int i = 0; i < 100000; i++)
		budget_earn(&budget, 20, 3);
	for (spent = 0; budget_spend(&budget); spent++)
		;
	assert_int_equal(spent, 103);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_pauses_grow),
		cmocka_unit_test(test_jitter_is_upward),
		cmocka_unit_test(test_news),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
