/* SPDX-License-Identifier: Apache-2.0
 *
 * A method and URL as names of endpoints, and where a Location leads.
 */
#include "http_fixture.h"

static void test_candidates(void **state)
{
	static const struct {
		const char *method, *url, *path, *host;
	} rows[] = {
		{"GET", "https://api.github.com/repos/x?page=2#top", "api.github.com/repos/x",
		 "api.github.com"},
		{"GET", "https://API.GitHub.com/Repos", "api.github.com/Repos", "api.github.com"},
		{"POST", "http://example.com", "example.com/", "example.com"},
		{"GET", "http://example.com?q=1", "example.com/", "example.com"},
		{"GET", "http://example.com:80/a", "example.com/a", "example.com"},
		{"GET", "https://example.com:443/a", "example.com/a", "example.com"},
		{"GET", "http://example.com:443/a", "example.com:443/a", "example.com:443"},
		{"GET", "http://example.com:8080/a", "example.com:8080/a", "example.com:8080"},
		{"GET", "http://user:secret@example.com/a", "example.com/a", "example.com"},
		{"GET", "http://example.com./a", "example.com/a", "example.com"},
		{"GET", "http://[::1]:8080/a", "[::1]:8080/a", "[::1]:8080"},
		{"GET", "example.com/a b", "example.com/a%20b", "example.com"},
		{"GET", "http://example.com/a/../b", "example.com/b", "example.com"},
		/* what stands before an @ is a user, and not a host */
		{"GET", "http://example.com@127.0.0.1/a", "127.0.0.1/a", "127.0.0.1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct name_candidates names;
		char whole[200];

		assert_int_equal(name_candidates(rows[i].method, rows[i].url, &names), 0);
		snprintf(whole, sizeof(whole), "%s %s", rows[i].method, rows[i].path);
		assert_string_equal(names.texts[0], whole);
		assert_string_equal(names.texts[1], rows[i].path);
		assert_string_equal(names.texts[2], rows[i].host);
	}
}

static void test_no_urls(void **state)
{
	static const char *const urls[] = {"", "http://",

					   "nonsense://x y/", "http://exa mple.com/",
					   "http://example.com:99999/"};
	struct name_candidates names;

	(void)state;
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
		if (name_candidates("GET", urls[i], &names) != WEIR_EVALUE)
			fail_msg("\"%s\" was read as \"%s\"", urls[i], names.texts[0]);
}

/* What is too long is cut to what a name may have, and its pattern still matches. */
static void test_long_ones(void **state)
{
	struct name_candidates names;
	char url[4000];

	(void)state;
	for (size_t length = 100; length < sizeof(url) - 1; length += 37) {
		snprintf(url, sizeof(url), "http://example.com/");
		memset(url + 19, 'p', length - 19);
		url[length] = '\0';
		assert_int_equal(name_candidates("GET", url, &names), 0);
		assert_true(strlen(names.texts[0]) <= WEIR_NAME_MAX);
		assert_memory_equal(names.texts[0], "GET example.com/ppp", 19);
		assert_true(strlen(names.texts[1]) <= WEIR_NAME_MAX);
	}
	snprintf(url, sizeof(url), "http://");
	memset(url + 7, 'h', 200);
	snprintf(url + 207, 10, "/");
	assert_int_equal(name_candidates("GET", url, &names), 0);
	assert_int_equal(strlen(names.texts[2]), WEIR_NAME_MAX);
}

static void test_join(void **state)
{
	static const struct {
		const char *base, *location, *url;
	} rows[] = {
		{"http://a.com/x/y?q", "z", "http://a.com/x/z"},
		{"http://a.com/x/y", "/z", "http://a.com/z"},
		{"http://a.com/x/y", "//b.com/z", "http://b.com/z"},
		{"http://a.com/x/y", "https://b.com/z", "https://b.com/z"},
		{"http://a.com/x/y", "?p=1", "http://a.com/x/y?p=1"},
		{"http://a.com/x/y", "a b", "http://a.com/x/a%20b"},
		{"http://a.com/x/y", "http://exa mple.com/", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *url = name_join(rows[i].base, rows[i].location);

		if (rows[i].url) {
			assert_non_null(url);
			assert_string_equal(url, rows[i].url);
		} else {
			assert_null(url);
		}
		free(url);
	}
}

static void test_same_origin(void **state)
{
	static const struct {
		const char *one, *other;
		bool same;
	} rows[] = {
		{"http://a.com/x", "http://a.com/y?z", true},
		{"http://a.com/x", "http://A.com:80/", true},
		{"http://a.com/", "https://a.com/", false},
		{"http://a.com/", "http://a.com:81/", false},
		{"http://a.com/", "http://b.a.com/", false},
		{"http://a.com/", "http://a.com.evil.org/", false},
		{"http://a.com/", "http://evil.org@a.com/", true},
		{"http://a.com/", "http://a.com@evil.org/", false},
		{"http://a.com/", "nonsense", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (name_same_origin(rows[i].one, rows[i].other) != rows[i].same)
			fail_msg("%s and %s", rows[i].one, rows[i].other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_candidates),  cmocka_unit_test(test_no_urls),
		cmocka_unit_test(test_long_ones),   cmocka_unit_test(test_join),
		cmocka_unit_test(test_same_origin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
