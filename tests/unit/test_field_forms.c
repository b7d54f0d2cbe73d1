/* SPDX-License-Identifier: Apache-2.0
 *
 * The edges of each form in which responses tell of limits: rows as test_fields.c has them, by form
 * and not by service. What each should come to was written down from the RFCs and the drafts before
 * it was tried.
 */
#include "fields.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fields_text.h"

#define NOW 1700000000 /* Tue, 14 Nov 2023 22:13:20 GMT */

struct row {
	const char *name;
	int status;
	double captured_at;
	const char *profile; /* NULL: none is given */
	const char *headers;
	const char *verdict;
};

/* Retry-After, by RFC 9110 and beyond */
static const struct row retry_after[] = {
	{"304", 304, NOW, NULL, "Retry-After: 3", "use wait 3"},
	{"299 date", 299, NOW, NULL, "Retry-After: Tue, 14 Nov 2023 22:13:30 GMT",
	 "ignore_retry_after_on_2xx wait 10"},
	{"200 malformed", 200, NOW, NULL, "Retry-After: soon", "ignore"},
	{"200 malformed + quota", 200, NOW, NULL,
	 "Retry-After: soon\n"
	 "X-RateLimit-Remaining: 5\n"
	 "X-RateLimit-Reset: 9",
	 "use; left 5 reset 9"},
	{"200 remaining 0", 200, NOW, NULL,
	 "Retry-After: 9\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Reset: 9",
	 "ignore_retry_after_on_2xx wait 9; left 0 reset 9"},
	{"00", 429, NOW, NULL, "Retry-After: 00", "floor wait 0"},
	{"leading zeros", 429, NOW, NULL, "Retry-After: 0000000030", "use wait 30"},
	{"2.5", 429, NOW, NULL, "Retry-After: 2.5", "use wait 2.5"},
	{"0.001", 429, NOW, NULL, "Retry-After: 0.001", "use wait 0.001"},
	{"with a unit behind a blank", 429, NOW, NULL, "Retry-After: 30 s", "ignore"},
	{"with a parameter", 429, NOW, NULL, "Retry-After: 30; comment=x", "ignore"},
	{"two words", 429, NOW, NULL, "Retry-After: 3 0", "ignore"},
	{"a date in lower case", 429, NOW, NULL, "Retry-After: tue, 14 nov 2023 22:13:50 gmt",
	 "ignore"},
	{"date wrong weekday", 429, NOW, NULL, "Retry-After: Mon, 14 Nov 2023 22:13:50 GMT",
	 "use wait 30"},
	{"date leap second", 429, NOW, NULL, "Retry-After: Tue, 14 Nov 2023 22:13:60 GMT",
	 "use wait 40"},
	{"date second 61", 429, NOW, NULL, "Retry-After: Tue, 14 Nov 2023 22:13:61 GMT", "ignore"},
	{"date hour 24", 429, NOW, NULL, "Retry-After: Tue, 14 Nov 2023 24:00:00 GMT", "ignore"},
	{"a date that is none", 429, NOW, NULL, "Retry-After: Wed, 29 Feb 2023 22:13:50 GMT",
	 "ignore"},
	{"date one-digit day", 429, NOW, NULL, "Retry-After: Tue, 4 Nov 2023 22:13:50 GMT",
	 "ignore"},
	{"RFC 850 with a short name of a day", 429, NOW, NULL,
	 "Retry-After: Tue, 14-Nov-23 22:13:50 GMT", "ignore"},
	{"asctime one digit", 503, 784111747, NULL,
	 "Date: Sun Nov  6 08:49:07 1994\n"
	 "Retry-After: Sun Nov  6 08:49:37 1994",
	 "use wait 30"},
	{"a date beside a Date as RFC 850 has it", 503, 784112000, NULL,
	 "Date: Sunday, 06-Nov-94 08:49:07 GMT\n"
	 "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT",
	 "use wait 30"},
	{"rfc850 past century", 503, NOW, NULL, "Retry-After: Sunday, 06-Nov-94 08:49:37 GMT",
	 "floor wait 0"},
	{"rfc850 less than 50 years ahead", 429, NOW, NULL,
	 "Retry-After: Tuesday, 14-Nov-73 22:13:10 GMT", "cap wait 1577923190"},
	{"rfc850 more than 50 years ahead", 429, NOW, NULL,
	 "Retry-After: Tuesday, 14-Nov-73 22:13:50 GMT", "floor wait 0"},
	{"rfc850 in December, 50 years", 429, NOW, NULL,
	 "Retry-After: Sunday, 31-Dec-73 00:00:00 GMT", "floor wait 0"},
	{"rfc850 across the century", 429, 4102444770, NULL,
	 "Date: Fri, 31 Dec 2099 23:59:30 GMT\n"
	 "Retry-After: Friday, 01-Jan-00 00:00:00 GMT",
	 "use wait 30"},
	{"a date by the server's clock, not by ours", 429, 1700000500, NULL,
	 "Date: Tue, 14 Nov 2023 22:13:20 GMT\n"
	 "Retry-After: Tue, 14 Nov 2023 22:13:50 GMT",
	 "use wait 30"},
	{"date equal to Date", 429, NOW, NULL,
	 "Date: Tue, 14 Nov 2023 22:13:20 GMT\n"
	 "Retry-After: Tue, 14 Nov 2023 22:13:20 GMT",
	 "floor wait 0"},
	{"twice the same", 429, NOW, NULL,
	 "Retry-After: 30\n"
	 "Retry-After: 30",
	 "use wait 30"},
	{"two lines, joined", 429, NOW, NULL, "Retry-After: 10, 20", "use wait 20"},
	{"joined 3 digits twice", 429, NOW, NULL, "Retry-After: 120, 120", "use wait 120"},
	{"two lines, a number and a date", 429, NOW, NULL,
	 "Retry-After: 5\n"
	 "Retry-After: Tue, 14 Nov 2023 22:14:20 GMT",
	 "use wait 60"},
	{"0 and 30", 429, NOW, NULL,
	 "Retry-After: 0\n"
	 "Retry-After: 30",
	 "use wait 30"},
	{"-1 and 7", 429, NOW, NULL,
	 "Retry-After: -1\n"
	 "Retry-After: 7",
	 "use wait 7"},
	{"in digits of another script", 429, NOW, NULL, "Retry-After: \331\243\331\240", "ignore"},
	{"between tabs", 429, NOW, NULL, "Retry-After:\t45\t", "use wait 45"},
	{"in upper case", 429, NOW, NULL, "RETRY-AFTER: 45", "use wait 45"},
	{"minus zero point", 429, NOW, NULL, "Retry-After: -0.0", "ignore"},
	{"below 0 beside a quota", 429, NOW, NULL,
	 "Retry-After: -1\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Reset: 30",
	 "use; left 0 reset 30"},
	{"0 beside a quota", 429, NOW, NULL,
	 "Retry-After: 0\n"
	 "X-RateLimit-Limit: 9\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Reset: 30",
	 "floor wait 0; limit 9 left 0 reset 30"},
	{"infinity", 429, NOW, NULL, "Retry-After: Infinity", "ignore"},
	{"-inf", 429, NOW, NULL, "Retry-After: -inf", "ignore"},
	{"underscore", 429, NOW, NULL, "Retry-After: 1_0", "ignore"},
	{"0 ms", 429, NOW, NULL, "retry-after-ms: 0", "floor wait 0"},
	{"ms fraction", 429, NOW, NULL, "retry-after-ms: 1500.5", "use wait 1.5005"},
	{"ms negative, seconds good", 429, NOW, NULL,
	 "retry-after-ms: -1\n"
	 "retry-after: 5",
	 "use wait 5"},
	{"in milliseconds, by another name", 429, NOW, NULL,
	 "x-ms-retry-after-ms: 12\n"
	 "Retry-After: 1",
	 "use wait 0.012"},
	{"ms 26 digits", 429, NOW, NULL, "retry-after-ms: 99999999999999999999999999",
	 "cap wait 10000000000"},
	{"beside a reset that is later", 429, NOW, NULL,
	 "Retry-After: 30\n"
	 "X-RateLimit-Limit: 10\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Reset: 60",
	 "use wait 30; limit 10 left 0 reset 60"},
	{"goes before what remains", 429, NOW, NULL,
	 "Retry-After: 60\n"
	 "X-RateLimit-Limit: 10\n"
	 "X-RateLimit-Remaining: 9\n"
	 "X-RateLimit-Reset: 5",
	 "use wait 60; limit 10 left 9 reset 5"},
	{"two dates joined", 429, NOW, NULL,
	 "Retry-After: Tue, 14 Nov 2023 22:13:50 GMT, Tue, 14 Nov 2023 22:14:20 GMT",
	 "use wait 60"},
	{"30, -5", 429, NOW, NULL, "Retry-After: 30, -5", "use wait 30"},
	{"-1, -5", 429, NOW, NULL, "Retry-After: -1, -5", "ignore"},
	{"rfc850 joined", 429, NOW, NULL, "Retry-After: Tuesday, 14-Nov-23 22:13:50 GMT, 5",
	 "use wait 30"},
	{"asctime joined", 429, NOW, NULL, "Retry-After: Tue Nov 14 22:13:50 2023, 5",
	 "use wait 30"},
	{"rfc850 new year 2000", 429, 946684800, NULL,
	 "Date: Sat, 01 Jan 2000 00:00:00 GMT\n"
	 "Retry-After: Saturday, 01-Jan-00 00:00:30 GMT",
	 "use wait 30"},
	{"rfc850 31 dec 99 seen at 2000", 429, 946684800, NULL,
	 "Date: Sat, 01 Jan 2000 00:00:00 GMT\n"
	 "Retry-After: Friday, 31-Dec-99 23:59:00 GMT",
	 "floor wait 0"},
	{"retry-after seconds not moved by Date", 429, 1700007200, NULL,
	 "Date: Tue, 14 Nov 2023 22:13:20 GMT\n"
	 "Retry-After: 42",
	 "use wait 42"},
	{"retry-after ms in a word", 429, NOW, NULL, "Retry-After: 500ms", "ignore"},
};

/* statuses */
static const struct row statuses[] = {
	{"bare 400", 400, NOW, NULL, "Content-Type: text/plain", "ignore"},
	{"bare 529", 529, NOW, NULL, "Content-Type: text/plain", "ignore"},
	{"413 with quota", 413, NOW, NULL,
	 "X-RateLimit-Limit: 10\n"
	 "X-RateLimit-Remaining: 4\n"
	 "X-RateLimit-Reset: 3",
	 "do_not_retry; limit 10 left 4 reset 3"},
	{"403 github primary", 403, NOW, NULL,
	 "x-ratelimit-limit: 60\n"
	 "x-ratelimit-remaining: 0\n"
	 "x-ratelimit-used: 60\n"
	 "x-ratelimit-reset: 1700001800\n"
	 "x-ratelimit-resource: core",
	 "use; limit 60 left 0 used 60 reset 1800 of core"},
	{"403 github secondary, quota left", 403, NOW, NULL,
	 "retry-after: 60\n"
	 "x-ratelimit-limit: 5000\n"
	 "x-ratelimit-remaining: 4990\n"
	 "x-ratelimit-used: 10\n"
	 "x-ratelimit-reset: 1700001800\n"
	 "x-ratelimit-resource: core",
	 "use wait 60; limit 5000 left 4990 used 10 reset 1800 of core"},
	{"503 quota left", 503, NOW, NULL,
	 "X-RateLimit-Limit: 10\n"
	 "X-RateLimit-Remaining: 4\n"
	 "X-RateLimit-Reset: 3",
	 "use; limit 10 left 4 reset 3"},
	{"429 remaining > 0", 429, NOW, NULL,
	 "X-RateLimit-Limit: 10\n"
	 "X-RateLimit-Remaining: 4\n"
	 "X-RateLimit-Reset: 3",
	 "use; limit 10 left 4 reset 3"},
	{"301 used up", 301, NOW, NULL,
	 "X-RateLimit-Limit: 10\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Reset: 3",
	 "use; limit 10 left 0 reset 3"},
	{"403 with quota left and no Retry-After", 403, NOW, NULL,
	 "X-RateLimit-Limit: 60\n"
	 "X-RateLimit-Remaining: 59\n"
	 "X-RateLimit-Reset: 1700000600",
	 "use; limit 60 left 59 reset 600"},
	{"402 with quota", 402, NOW, NULL,
	 "X-RateLimit-Limit: 60\n"
	 "X-RateLimit-Remaining: 59\n"
	 "X-RateLimit-Reset: 1700000600",
	 "use; limit 60 left 59 reset 600"},
	{"x-should-retry true", 500, NOW, NULL, "x-should-retry: true", "ignore"},
	{"x-should-retry false on 429 with wait", 429, NOW, NULL,
	 "x-should-retry: false\n"
	 "retry-after: 5",
	 "do_not_retry wait 5"},
	{"429 nothing but a past reset", 429, NOW, NULL,
	 "X-RateLimit-Limit: 60\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Reset: 1699999990",
	 "floor; limit 60 left 0 reset 0"},
	{"429 remaining 0 alone", 429, NOW, NULL, "X-RateLimit-Remaining: 0", "use; left 0"},
};

/* resets: units, dates, durations */
static const struct row resets[] = {
	{"epoch .5", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1700000000.5",
	 "use; left 8 reset 0.5"},
	{"epoch .000", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1700000060.000",
	 "use; left 8 reset 60"},
	{"a second past", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1699999999",
	 "floor; left 8 reset 0"},
	{"this second", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1700000000",
	 "floor; left 8 reset 0"},
	{"86400", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 86400",
	 "use; left 8 reset 86400"},
	{"a year", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 31536000",
	 "use; left 8 reset 31536000"},
	{"0.25", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 0.25",
	 "use; left 8 reset 0.25"},
	{"0.0", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 0.0",
	 "floor; left 8 reset 0"},
	{"007", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 007",
	 "use; left 8 reset 7"},
	{"ms", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1700000000250",
	 "use; left 8 reset 0.25"},
	{"ms past", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1699999999000",
	 "floor; left 8 reset 0"},
	{"us", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1700000001500000",
	 "use; left 8 reset 1.5"},
	{"lower iso", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-11-14t22:14:20z",
	 "use; left 8 reset 60"},
	{"iso nano", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-11-14T22:14:20.123456789Z",
	 "use; left 8 reset 60.123457"},
	{"iso blank", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-11-14 22:14:20Z",
	 "use; left 8 reset 60"},
	{"iso -08", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-11-14T14:14:20-08:00",
	 "use; left 8 reset 60"},
	{"iso +0530", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-11-15T03:44:20+05:30",
	 "use; left 8 reset 60"},
	{"iso past", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-11-14T22:13:19Z",
	 "floor; left 8 reset 0"},
	{"iso leap second", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-11-14T22:13:60Z",
	 "use; left 8 reset 40"},
	{"iso feb 30", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-02-30T00:00:00Z",
	 "ignore; left 8"},
	{"iso month 13", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-13-01T00:00:00Z",
	 "ignore; left 8"},
	{"iso date alone", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-11-15",
	 "ignore; left 8"},
	{"iso zone 24", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-11-14T22:14:20+24:00",
	 "ignore; left 8"},
	{"rfc850", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: Tuesday, 14-Nov-23 22:14:20 GMT",
	 "use; left 8 reset 60"},
	{"asctime", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: Tue Nov 14 22:14:20 2023",
	 "use; left 8 reset 60"},
	{"http date past", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: Tue, 14 Nov 2023 22:13:00 GMT",
	 "floor; left 8 reset 0"},
	{"1h", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1h",
	 "use; left 8 reset 3600"},
	{"1m30s", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1m30s",
	 "use; left 8 reset 90"},
	{"6ms", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 6ms",
	 "use; left 8 reset 0.006"},
	{"1h2m3.5s", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1h2m3.5s",
	 "use; left 8 reset 3723.5"},
	{"500us", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 500us",
	 "use; left 8 reset 0.0005"},
	{"micro sign", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 250\302\265s",
	 "use; left 8 reset 0.00025"},
	{"1.5h", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1.5h",
	 "use; left 8 reset 5400"},
	{"0s", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 0s",
	 "floor; left 8 reset 0"},
	{"1000000ns", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1000000ns",
	 "use; left 8 reset 0.001"},
	{"-1s", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: -1s",
	 "ignore; left 8"},
	{"1d", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1d",
	 "ignore; left 8"},
	{"1m 30s", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1m 30s",
	 "ignore; left 8"},
	{"30S", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 30S",
	 "ignore; left 8"},
	{"unit alone", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: m",
	 "ignore; left 8"},
	{"no unit at the end", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1m30",
	 "ignore; left 8"},
	{"60 seconds", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 60 seconds",
	 "ignore; left 8"},
	{"+60", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: +60",
	 "ignore; left 8"},
	{"1e3", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1e3",
	 "ignore; left 8"},
	{"0x3c", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 0x3c",
	 "ignore; left 8"},
	{"quotes", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: \"60\"",
	 "ignore; left 8"},
	{"inf", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: inf",
	 "ignore; left 8"},
	{"2 lines", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 30\n"
	 "X-RateLimit-Reset: 1700000060",
	 "use; left 8 reset 60"},
	{"at 1 000 000 100", 200, 1000000100, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1000000160",
	 "use; left 8 reset 60"},
	{"date over clock", 200, 1699997000, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1700000060\n"
	 "Date: Tue, 14 Nov 2023 22:13:20 GMT",
	 "use; left 8 reset 60"},
	{"date ahead of clock", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1700000060\n"
	 "Date: Tue, 14 Nov 2023 22:14:20 GMT",
	 "floor; left 8 reset 0"},
	{"malformed Date", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1700000060\n"
	 "Date: 1700000000",
	 "use; left 8 reset 60"},
	{"twin after", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 99\n"
	 "X-RateLimit-Reset-After: 1.5",
	 "use; left 8 reset 1.5"},
	{"twin seconds", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1700000099\n"
	 "X-RateLimit-ResetSeconds: 42",
	 "use; left 8 reset 42"},
	{"a twin: 0", 429, NOW, NULL, "X-RateLimit-Reset-After: 0", "floor; reset 0"},
	{"alone", 429, NOW, NULL, "X-RateLimit-Reset: 30", "use; reset 30"},
	{"a time 22 hours past", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1699920000",
	 "floor; left 8 reset 0"},
	{"a time by the IETF's name", 200, NOW, NULL,
	 "RateLimit-Limit: 10\n"
	 "RateLimit-Remaining: 8\n"
	 "RateLimit-Reset: 1700000030",
	 "use; limit 10 left 8 reset 30"},
	{"a time, a date and a wait that agree", 429, NOW, NULL,
	 "RateLimit-Limit: 10\n"
	 "RateLimit-Name: x\n"
	 "RateLimit-Observed: 11\n"
	 "RateLimit-Remaining: 0\n"
	 "RateLimit-Reset: 1700000030\n"
	 "RateLimit-ResetTime: Tue, 14 Nov 2023 22:13:50 GMT\n"
	 "Retry-After: 30",
	 "use wait 30; limit 10 left 0 used 11 reset 30 of x"},
	{"a clock of 1000 s, reset of a little past", 200, 1000, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 995",
	 "floor; left 8 reset 0"},
	{"a clock of 1000 s, RateLimit", 200, 1000, NULL,
	 "RateLimit-Limit: 100\n"
	 "RateLimit-Remaining: 10\n"
	 "RateLimit-Reset: 1030",
	 "use; limit 100 left 10 reset 30"},
	{"http date joined twice", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: Tue, 14 Nov 2023 22:14:20 GMT, Tue, 14 Nov 2023 22:14:20 GMT",
	 "use; left 8 reset 60"},
	{"iso joined twice", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-11-14T22:14:20Z, 2023-11-14T22:14:20Z",
	 "use; left 8 reset 60"},
	{"suffix", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1700000060abc",
	 "ignore; left 8"},
	{"GMT", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1700000060 GMT",
	 "ignore; left 8"},
	{"thousands", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1,700,000,060",
	 "ignore; left 8"},
	{"zone +01", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-11-14T23:14:20+01",
	 "use; left 8 reset 60"},
	{"zone +0100", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-11-14T23:14:20+0100",
	 "use; left 8 reset 60"},
	{"zone -00:00", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-11-14T22:14:20-00:00",
	 "use; left 8 reset 60"},
	{"no zone", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-11-14T22:14:20",
	 "use; left 8 reset 60"},
	{"in year 5138", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 99999999999",
	 "cap; left 8 reset 10000000000"},
	{"2^63", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 9223372036854775807",
	 "cap; left 8 reset 10000000000"},
	{"date header twice", 200, 1700000099, NULL,
	 "Date: Tue, 14 Nov 2023 22:13:20 GMT\n"
	 "Date: Tue, 14 Nov 2023 22:13:20 GMT\n"
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1700000060",
	 "use; left 8 reset 60"},
	{"date is rfc850", 200, 1700000099, NULL,
	 "Date: Tuesday, 14-Nov-23 22:13:20 GMT\n"
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 1700000060",
	 "use; left 8 reset 60"},
	{"ms reset by Date", 429, 1700007200, NULL,
	 "Date: Tue, 14 Nov 2023 22:13:20 GMT\n"
	 "X-RateLimit-Limit: 20\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Reset: 1700000042000",
	 "use; limit 20 left 0 reset 42"},
	{"delta is not moved by Date", 429, 1700007200, NULL,
	 "Date: Tue, 14 Nov 2023 22:13:20 GMT\n"
	 "X-RateLimit-Limit: 20\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Reset: 42",
	 "use; limit 20 left 0 reset 42"},
	{"reset-after not moved by Date", 429, 1700007200, NULL,
	 "Date: Tue, 14 Nov 2023 22:13:20 GMT\n"
	 "X-RateLimit-Reset: 1700000042.5\n"
	 "X-RateLimit-Reset-After: 42.5",
	 "use; reset 42.5"},
	{"iso lower month", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 8\n"
	 "X-RateLimit-Reset: 2023-11-14T22:14:20.5",
	 "use; left 8 reset 60.5"},
};

/* counts: limits, what remains, what was used */
static const struct row counts[] = {
	{"remaining 3.5", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 3.5\n"
	 "X-RateLimit-Reset: 30",
	 "use; limit 100 left 3.5 reset 30"},
	{"remaining 3.0", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 3.0\n"
	 "X-RateLimit-Reset: 30",
	 "use; limit 100 left 3 reset 30"},
	{"remaining -0", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: -0\n"
	 "X-RateLimit-Reset: 30",
	 "use; limit 100 left 0 reset 30"},
	{"remaining 100 of 100", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 100\n"
	 "X-RateLimit-Reset: 30",
	 "use; limit 100 left 100 reset 30"},
	{"remaining 101 of 100", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 101\n"
	 "X-RateLimit-Reset: 30",
	 "cap; limit 100 left 100 reset 30"},
	{"remaining 2^64-1", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 18446744073709551615\n"
	 "X-RateLimit-Reset: 30",
	 "cap; limit 100 left 100 reset 30"},
	{"remaining hex", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 0x10\n"
	 "X-RateLimit-Reset: 30",
	 "ignore; limit 100 reset 30"},
	{"remaining exp", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 1e1\n"
	 "X-RateLimit-Reset: 30",
	 "ignore; limit 100 reset 30"},
	{"remaining plus", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: +5\n"
	 "X-RateLimit-Reset: 30",
	 "ignore; limit 100 reset 30"},
	{"remaining 5.", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 5.\n"
	 "X-RateLimit-Reset: 30",
	 "ignore; limit 100 reset 30"},
	{"remaining .5", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: .5\n"
	 "X-RateLimit-Reset: 30",
	 "ignore; limit 100 reset 30"},
	{"remaining empty", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: \n"
	 "X-RateLimit-Reset: 30",
	 "ignore; limit 100 reset 30"},
	{"remaining words", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: none\n"
	 "X-RateLimit-Reset: 30",
	 "ignore; limit 100 reset 30"},
	{"remaining nan", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: NaN\n"
	 "X-RateLimit-Reset: 30",
	 "ignore; limit 100 reset 30"},
	{"remaining thousand", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 1,000\n"
	 "X-RateLimit-Reset: 30",
	 "ignore; limit 100 reset 30"},
	{"remaining quotes", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: \"5\"\n"
	 "X-RateLimit-Reset: 30",
	 "ignore; limit 100 reset 30"},
	{"remaining slash", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 5/100\n"
	 "X-RateLimit-Reset: 30",
	 "ignore; limit 100 reset 30"},
	{"remaining space", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 5 0\n"
	 "X-RateLimit-Reset: 30",
	 "ignore; limit 100 reset 30"},
	{"remaining unit", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 5req\n"
	 "X-RateLimit-Reset: 30",
	 "ignore; limit 100 reset 30"},
	{"remaining percent", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 5%\n"
	 "X-RateLimit-Reset: 30",
	 "ignore; limit 100 reset 30"},
	{"remaining with tabs", 200, NOW, NULL,
	 "X-RateLimit-Limit:\t100 \n"
	 "X-RateLimit-Remaining:\t 5\t\n"
	 "X-RateLimit-Reset: \t30",
	 "use; limit 100 left 5 reset 30"},
	{"limit 2^64", 200, NOW, NULL,
	 "X-RateLimit-Limit: 18446744073709551616\n"
	 "X-RateLimit-Remaining: 5\n"
	 "X-RateLimit-Reset: 30",
	 "cap; left 5 reset 30"},
	{"limit twice, one smaller", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Limit: 60\n"
	 "X-RateLimit-Remaining: 5\n"
	 "X-RateLimit-Reset: 30",
	 "use; limit 60 left 5 reset 30"},
	{"names in upper and lower case", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 80\n"
	 "x-ratelimit-remaining: 5\n"
	 "X-RATELIMIT-RESET: 30\n"
	 "X-RateLimit-LIMIT: 100",
	 "use; limit 100 left 5 reset 30"},
	{"X- and plain names disagree", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 80\n"
	 "RateLimit-Remaining: 5\n"
	 "X-RateLimit-Reset: 30\n"
	 "RateLimit-Reset: 30",
	 "use; limit 100 left 5 reset 30"},
	{"limit alone", 200, NOW, NULL, "X-RateLimit-Limit: 100", "use; limit 100"},
	{"remaining alone", 200, NOW, NULL, "X-RateLimit-Remaining: 100", "use; left 100"},
	{"limit 0 alone 200", 200, NOW, NULL, "X-RateLimit-Limit: 0", "use; limit 0"},
	{"-1 reset epoch", 200, NOW, NULL,
	 "X-RateLimit-Limit: -1\n"
	 "X-RateLimit-Remaining: -1\n"
	 "X-RateLimit-Reset: 1700000030",
	 "ignore"},
	{"spring fine", 200, NOW, NULL,
	 "X-RateLimit-Remaining: 19\n"
	 "X-RateLimit-Burst-Capacity: 20\n"
	 "X-RateLimit-Replenish-Rate: 10\n"
	 "X-RateLimit-Requested-Tokens: 1",
	 "use; left 19 rate 10 burst 20"},
	{"vendor look-alikes", 200, NOW, NULL,
	 "acme-RateLimit-Limit: 10\n"
	 "X-Acme-RateLimit-Remaining: 0\n"
	 "acme-Retry-After: 5\n"
	 "XRateLimit-Limit: 3",
	 "ignore"},
	{"limit -5 alone", 200, NOW, NULL, "X-RateLimit-Limit: -5", "ignore"},
	{"limit -5 with the rest", 200, NOW, NULL,
	 "X-RateLimit-Limit: -5\n"
	 "X-RateLimit-Remaining: 4\n"
	 "X-RateLimit-Reset: 9",
	 "ignore; left 4 reset 9"},
	{"limit -1 remaining 0", 200, NOW, NULL,
	 "X-RateLimit-Limit: -1\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Reset: 9",
	 "use; left 0 reset 9"},
	{"limit 0 remaining -3", 200, NOW, NULL,
	 "X-RateLimit-Limit: 0\n"
	 "X-RateLimit-Remaining: -3\n"
	 "X-RateLimit-Reset: 9",
	 "use; limit 0 left 0 reset 9"},
	{"remaining -1 of 100", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: -1\n"
	 "X-RateLimit-Reset: 9",
	 "use; limit 100 left 0 reset 9"},
	{"IETF remaining negative of 10", 429, NOW, NULL,
	 "RateLimit-Limit: 10\n"
	 "RateLimit-Remaining: -2\n"
	 "RateLimit-Reset: 9",
	 "use; limit 10 left 0 reset 9"},
	{"remaining -2^63", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: -9223372036854775808\n"
	 "X-RateLimit-Reset: 9",
	 "use; limit 100 left 0 reset 9"},
	{"remaining 26 digits below 0", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: -99999999999999999999999999\n"
	 "X-RateLimit-Reset: 9",
	 "use; limit 100 left 0 reset 9"},
	{"global TRUE", 429, NOW, NULL,
	 "Retry-After: 2\n"
	 "X-RateLimit-Global: TRUE",
	 "use wait 2 everywhere"},
	{"used negative", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 5\n"
	 "X-RateLimit-Reset: 9\n"
	 "X-RateLimit-Used: -1",
	 "use; limit 100 left 5 reset 9"},
	{"used above limit", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Reset: 9\n"
	 "X-RateLimit-Used: 250",
	 "use; limit 100 left 0 used 250 reset 9"},
	{"unlimited beside a limit", 200, NOW, NULL,
	 "X-RateLimit-Limit-Requests: -1\n"
	 "X-RateLimit-Remaining-Requests: -1\n"
	 "X-RateLimit-Limit-Tokens: 10\n"
	 "X-RateLimit-Remaining-Tokens: 3\n"
	 "X-RateLimit-Reset-Tokens: 4",
	 "use; tokens: limit 10 left 3 reset 4"},
	{"utf-8 resource", 200, NOW, NULL,
	 "RateLimit-Remaining: 5\n"
	 "RateLimit-Name: caf\303\251",
	 "use; left 5 of caf\303\251"},
	{"x-rate names", 200, NOW, NULL,
	 "X-Rate-Limit-Limit: 10\n"
	 "X-Rate-Limit-Remaining: 4\n"
	 "X-Rate-Limit-Reset: 60",
	 "use; limit 10 left 4 reset 60"},
	{"rate names", 200, NOW, NULL,
	 "Rate-Limit-Limit: 10\n"
	 "Rate-Limit-Remaining: 4\n"
	 "Rate-Limit-Reset: 60",
	 "use; limit 10 left 4 reset 60"},
	{"used malformed, no reset", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 50\n"
	 "X-RateLimit-Used: many",
	 "use; limit 100 left 50"},
	{"used -1, no reset", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 50\n"
	 "X-RateLimit-Used: -1",
	 "use; limit 100 left 50"},
	{"used malformed alone", 200, NOW, NULL, "X-RateLimit-Used: many", "ignore"},
	{"commas alone", 200, NOW, NULL,
	 "X-RateLimit-Limit: ,\n"
	 "X-RateLimit-Remaining: , ,\n"
	 "X-RateLimit-Reset: ,,",
	 "ignore"},
	{"share malformed beside quota", 200, NOW, NULL,
	 "RateLimit-Limit: 1200\n"
	 "RateLimit-Remaining: 120\n"
	 "x-ms-throttle-limit-percentage: high",
	 "use; limit 1200 left 120"},
	{"rate malformed beside burst", 200, NOW, NULL,
	 "X-RateLimit-Burst-Capacity: 20\n"
	 "X-RateLimit-Replenish-Rate: fast",
	 "ignore; burst 20"},
	{"nbsp", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100\n"
	 "X-RateLimit-Remaining: 5\302\240\n"
	 "X-RateLimit-Reset: 9",
	 "ignore; limit 100 reset 9"},
};

/* lists: drafts -03 to -06, and services by their names */
static const struct row lists[] = {
	{"-03: OWS", 200, NOW, NULL,
	 "RateLimit-Limit: 10 ,10;w=1 ,\t50;w=60\n"
	 "RateLimit-Remaining: 5\n"
	 "RateLimit-Reset: 1",
	 "use; limit 10 left 5 window 1 reset 1; policy 10 in 1; policy 50 in 60"},
	{"-03: params with blanks", 200, NOW, NULL,
	 "RateLimit-Limit: 10, 10; w=1; comment=\"a, b;w=9\"\n"
	 "RateLimit-Remaining: 5\n"
	 "RateLimit-Reset: 1",
	 "use; limit 10 left 5 window 1 reset 1"},
	{"-03: one size, two windows", 200, NOW, NULL,
	 "RateLimit-Limit: 100, 100;w=60, 100;w=3600\n"
	 "RateLimit-Remaining: 5\n"
	 "RateLimit-Reset: 1",
	 "use; limit 100 left 5 window 60 reset 1; policy 100 in 60; policy 100 in 3600"},
	{"-03: list on lines", 200, NOW, NULL,
	 "RateLimit-Limit: 5000\n"
	 "RateLimit-Limit: 1000;w=3600, 5000;w=86400\n"
	 "RateLimit-Remaining: 100\n"
	 "RateLimit-Reset: 36000",
	 "use; limit 5000 left 100 window 86400 reset 36000; policy 1000 in 3600; policy 5000 in "
	 "86400"},
	{"-03: list on three lines", 200, NOW, NULL,
	 "RateLimit-Limit: 10\n"
	 "RateLimit-Limit: 10;w=1\n"
	 "RateLimit-Limit: 5;w=60\n"
	 "RateLimit-Remaining: 5\n"
	 "RateLimit-Reset: 1",
	 "use; limit 10 left 5 window 1 reset 1; policy 10 in 1; policy 5 in 60"},
	{"-03: unknown parameters", 200, NOW, NULL,
	 "RateLimit-Limit: 10, 10;w=1;burst=1000;policy=\"leaky bucket\"\n"
	 "RateLimit-Remaining: 5\n"
	 "RateLimit-Reset: 1",
	 "use; limit 10 left 5 window 1 reset 1"},
	{"-03: reset negative", 200, NOW, NULL,
	 "RateLimit-Limit: 10\n"
	 "RateLimit-Remaining: 5\n"
	 "RateLimit-Reset: -1",
	 "ignore; limit 10 left 5"},
	{"-03: reset 0", 200, NOW, NULL,
	 "RateLimit-Limit: 10\n"
	 "RateLimit-Remaining: 5\n"
	 "RateLimit-Reset: 0",
	 "floor; limit 10 left 5 reset 0"},
	{"-03: remaining above", 200, NOW, NULL,
	 "RateLimit-Limit: 10\n"
	 "RateLimit-Remaining: 50\n"
	 "RateLimit-Reset: 4",
	 "cap; limit 10 left 10 reset 4"},
	{"06", 200, NOW, NULL,
	 "RateLimit-Limit: 100\n"
	 "RateLimit-Policy: 100;w=60\n"
	 "RateLimit-Remaining: 50\n"
	 "RateLimit-Reset: 30",
	 "use; limit 100 left 50 window 60 reset 30; policy 100 in 60"},
	{"-06: policies on lines", 200, NOW, NULL,
	 "RateLimit-Limit: 10\n"
	 "RateLimit-Policy: 10;w=1\n"
	 "RateLimit-Policy: 1000;w=3600;comment=\"a, b\"\n"
	 "RateLimit-Remaining: 5\n"
	 "RateLimit-Reset: 1",
	 "use; limit 10 left 5 window 1 reset 1; policy 10 in 1; policy 1000 in 3600"},
	{"-06: policy that is no SF", 200, NOW, NULL,
	 "RateLimit-Limit: 10\n"
	 "RateLimit-Policy: 10;w=1;comment=a b\n"
	 "RateLimit-Remaining: 5\n"
	 "RateLimit-Reset: 1",
	 "use; limit 10 left 5 reset 1"},
	{"docker two windows", 200, NOW, NULL,
	 "ratelimit-limit: 100;w=60, 1000;w=3600\n"
	 "ratelimit-remaining: 5",
	 "use; limit 100 left 5 window 60; policy 100 in 60; policy 1000 in 3600"},
	{"brave month", 200, NOW, NULL,
	 "X-RateLimit-Limit: 20, 15000\n"
	 "X-RateLimit-Policy: 20;w=1, 15000;w=2592000\n"
	 "X-RateLimit-Remaining: 19, 14999\n"
	 "X-RateLimit-Reset: 1, 1200000",
	 "use; 1: limit 20 left 19 window 1 reset 1; 2: limit 15000 left 14999 window 2592000 "
	 "reset 1200000"},
	{"openai joined", 200, NOW, NULL,
	 "x-ratelimit-limit-requests: 60, 60\n"
	 "x-ratelimit-remaining-requests: 59, 58\n"
	 "x-ratelimit-reset-requests: 1s, 2s",
	 "use; requests: limit 60 left 58 reset 2"},
	{"envoy line twice", 200, NOW, NULL,
	 "x-ratelimit-limit: 100, 100;w=60\n"
	 "x-ratelimit-limit: 100, 100;w=60\n"
	 "x-ratelimit-remaining: 9\n"
	 "x-ratelimit-remaining: 9\n"
	 "x-ratelimit-reset: 3\n"
	 "x-ratelimit-reset: 3",
	 "use; limit 100 left 9 window 60 reset 3"},
	{"envoy joined", 200, NOW, NULL,
	 "x-ratelimit-limit: 100, 100;w=60, 100, 100;w=60\n"
	 "x-ratelimit-remaining: 9, 9\n"
	 "x-ratelimit-reset: 3, 3",
	 "use; limit 100 left 9 window 60 reset 3"},
	{"-06: a policy alone", 200, NOW, NULL, "RateLimit-Policy: 100;w=60",
	 "use; policy 100 in 60"},
	{"-03: with Age", 200, NOW, NULL,
	 "Age: 3\n"
	 "RateLimit-Limit: 100\n"
	 "RateLimit-Remaining: 4\n"
	 "RateLimit-Reset: 5",
	 "ignore"},
	{"limit with a comma at its end", 200, NOW, NULL,
	 "X-RateLimit-Limit: 100,\n"
	 "X-RateLimit-Remaining: 50\n"
	 "X-RateLimit-Reset: 9",
	 "use; limit 100 left 50 reset 9"},
	{"-03: empty members", 200, NOW, NULL,
	 "RateLimit-Limit: 10, ,10;w=1,, 50;w=60,\n"
	 "RateLimit-Remaining: ,5\n"
	 "RateLimit-Reset: 1,",
	 "use; limit 10 left 5 window 1 reset 1; policy 10 in 1; policy 50 in 60"},
	{"epoch lists", 200, NOW, NULL,
	 "X-RateLimit-Limit: 60, 1000\n"
	 "X-RateLimit-Remaining: 59, 999\n"
	 "X-RateLimit-Reset: 1700000060, 1700003600",
	 "use; 1: limit 60 left 59 reset 60; 2: limit 1000 left 999 reset 3600"},
	{"window 10s by name", 200, NOW, NULL,
	 "x-ratelimit-limit-10s: 5\n"
	 "x-ratelimit-remaining-10s: 3",
	 "use; 10s: limit 5 left 3 window 10"},
	{"joined dates of two limits", 200, NOW, NULL,
	 "X-RateLimit-Limit: 5, 50\n"
	 "X-RateLimit-Remaining: 4, 40\n"
	 "X-RateLimit-Reset: Tue, 14 Nov 2023 22:14:20 GMT, Tue, 14 Nov 2023 23:13:20 GMT",
	 "use; 1: limit 5 left 4 reset 60; 2: limit 50 left 40 reset 3600"},
	{"policy text of old kind with quotes", 200, NOW, NULL,
	 "RateLimit-Limit: 100\n"
	 "RateLimit-Policy: \"100;w=60\"\n"
	 "RateLimit-Remaining: 50\n"
	 "RateLimit-Reset: 30",
	 "use; limit 100 left 50 reset 30"},
};

/* draft -07: a dictionary */
static const struct row dictionaries[] = {
	{"missing reset", 200, NOW, NULL, "RateLimit: limit=100, remaining=50",
	 "use; limit 100 left 50"},
	{"limit alone", 200, NOW, NULL, "RateLimit: limit=100", "use; limit 100"},
	{"remaining and reset", 200, NOW, NULL, "RateLimit: remaining=50, reset=5",
	 "use; left 50 reset 5"},
	{"order", 200, NOW, NULL, "RateLimit: reset=5,remaining=50,limit=100",
	 "use; limit 100 left 50 reset 5"},
	{"duplicate key: the last counts", 200, NOW, NULL,
	 "RateLimit: limit=100, remaining=50, remaining=60, reset=5",
	 "use; limit 100 left 60 reset 5"},
	{"duplicate key: the first is no number", 200, NOW, NULL,
	 "RateLimit: limit=100, remaining=\"x\", remaining=60, reset=5",
	 "use; limit 100 left 60 reset 5"},
	{"duplicate key: the last is no number", 200, NOW, NULL,
	 "RateLimit: limit=100, remaining=60, remaining=\"x\", reset=5", "ignore"},
	{"on lines", 200, NOW, NULL,
	 "RateLimit: limit=100, remaining=50\n"
	 "RateLimit: reset=5",
	 "use; limit 100 left 50 reset 5"},
	{"unknown keys", 200, NOW, NULL,
	 "RateLimit: limit=100, remaining=50, reset=5, scope=\"user\", on, list=(1 2)",
	 "use; limit 100 left 50 reset 5"},
	{"parameters", 200, NOW, NULL, "RateLimit: limit=100;w=60, remaining=50;x, reset=5;y=?0",
	 "use; limit 100 left 50 reset 5"},
	{"boolean", 200, NOW, NULL, "RateLimit: limit, remaining=50, reset=5", "ignore"},
	{"decimal", 200, NOW, NULL, "RateLimit: limit=100, remaining=50.0, reset=5", "ignore"},
	{"upper key", 200, NOW, NULL, "RateLimit: Limit=100, Remaining=50, Reset=5", "ignore"},
	{"trailing comma", 200, NOW, NULL, "RateLimit: limit=100, remaining=50, reset=5,",
	 "ignore"},
	{"blank at =", 200, NOW, NULL, "RateLimit: limit = 100, remaining=50", "ignore"},
	{"reset 0", 200, NOW, NULL, "RateLimit: limit=100, remaining=50, reset=0",
	 "floor; limit 100 left 50 reset 0"},
	{"remaining above", 200, NOW, NULL, "RateLimit: limit=100, remaining=150, reset=5",
	 "cap; limit 100 left 100 reset 5"},
	{"policies by number", 200, NOW, NULL,
	 "RateLimit: limit=100, remaining=50, reset=5\n"
	 "RateLimit-Policy: 100;w=60, 10000;w=86400",
	 "use; limit 100 left 50 window 60 reset 5; policy 100 in 60; policy 10000 in 86400"},
	{"in quotes", 200, NOW, NULL, "RateLimit: limit=\"100\", remaining=\"50\", reset=\"5\"",
	 "ignore"},
	{"semicolons", 200, NOW, NULL, "RateLimit: limit=100; remaining=50; reset=5",
	 "use; limit 100"},
	{"three lines", 200, NOW, NULL,
	 "RateLimit: limit=100\n"
	 "RateLimit: remaining=50\n"
	 "RateLimit: reset=5",
	 "use; limit 100 left 50 reset 5"},
	{"tab OWS", 200, NOW, NULL, "RateLimit: limit=100\t,\tremaining=50 , reset=5",
	 "use; limit 100 left 50 reset 5"},
	{"negative reset", 200, NOW, NULL, "RateLimit: limit=100, remaining=50, reset=-5",
	 "ignore"},
	{"16 digits", 200, NOW, NULL, "RateLimit: limit=100, remaining=1234567890123456, reset=5",
	 "ignore"},
	{"with Age", 200, NOW, NULL,
	 "Age: 3\n"
	 "RateLimit: limit=100, remaining=50, reset=5",
	 "ignore"},
};

/* drafts from -08 on: items */
static const struct row items[] = {
	{"two of two", 200, NOW, NULL,
	 "RateLimit: \"burst\";r=50;t=30, \"daily\";r=900;t=4000\n"
	 "RateLimit-Policy: \"burst\";q=100;w=60, \"daily\";q=1000;w=86400",
	 "use; burst: limit 100 left 50 window 60 reset 30; daily: limit 1000 left 900 window "
	 "86400 reset 4000"},
	{"no OWS", 200, NOW, NULL, "RateLimit: \"burst\";r=50;t=30,\"daily\";r=900;t=4000",
	 "use; burst: left 50 reset 30; daily: left 900 reset 4000"},
	{"tabs", 200, NOW, NULL, "RateLimit: \"burst\";r=50;t=30\t,\t\"daily\";r=900;t=4000",
	 "use; burst: left 50 reset 30; daily: left 900 reset 4000"},
	{"blanks after ;", 200, NOW, NULL, "RateLimit: \"a\";  r=50; t=30",
	 "use; left 50 reset 30 of a"},
	{"blank before ;", 200, NOW, NULL, "RateLimit: \"a\" ;r=50;t=30", "ignore"},
	{"tab after ;", 200, NOW, NULL, "RateLimit: \"a\";\tr=50;t=30", "ignore"},
	{"blank at =", 200, NOW, NULL, "RateLimit: \"a\";r= 50;t=30", "ignore"},
	{"trailing comma", 200, NOW, NULL, "RateLimit: \"a\";r=50;t=30,", "ignore"},
	{"two commas", 200, NOW, NULL, "RateLimit: \"a\";r=50,,\"b\";r=5", "ignore"},
	{"upper key", 200, NOW, NULL, "RateLimit: \"a\";R=50;t=30", "ignore"},
	{"duplicate parameter", 200, NOW, NULL, "RateLimit: \"a\";r=50;t=30;r=5",
	 "use; left 5 reset 30 of a"},
	{"duplicate parameter, the first no number", 200, NOW, NULL,
	 "RateLimit: \"a\";r=x;t=30;r=5", "use; left 5 reset 30 of a"},
	{"name alone", 200, NOW, NULL, "RateLimit: \"a\"", "ignore"},
	{"t alone 0", 200, NOW, NULL, "RateLimit: \"a\";r=5;t=0", "floor; left 5 reset 0 of a"},
	{"r 0", 429, NOW, NULL, "RateLimit: \"a\";r=0;t=9", "use; left 0 reset 9 of a"},
	{"leading zeros", 200, NOW, NULL, "RateLimit: \"a\";r=050;t=030",
	 "use; left 50 reset 30 of a"},
	{"-0", 200, NOW, NULL, "RateLimit: \"a\";r=-0;t=30", "use; left 0 reset 30 of a"},
	{"15 digits", 200, NOW, NULL, "RateLimit: \"a\";r=999999999999999;t=30",
	 "use; left 999999999999999 reset 30 of a"},
	{"r as date", 200, NOW, NULL, "RateLimit: \"a\";r=@1700000050;t=30", "ignore"},
	{"r as boolean", 200, NOW, NULL, "RateLimit: \"a\";r=?1;t=30", "ignore"},
	{"r as string", 200, NOW, NULL, "RateLimit: \"a\";r=\"50\";t=30", "ignore"},
	{"r as bytes", 200, NOW, NULL, "RateLimit: \"a\";r=:NTA=:;t=30", "ignore"},
	{"r as token", 200, NOW, NULL, "RateLimit: \"a\";r=fifty;t=30", "ignore"},
	{"r as decimal", 200, NOW, NULL, "RateLimit: \"a\";r=50.0;t=30", "ignore"},
	{"r as display", 200, NOW, NULL, "RateLimit: \"a\";r=%\"50\";t=30", "ignore"},
	{"r as 16 digits", 200, NOW, NULL, "RateLimit: \"a\";r=1000000000000000;t=30", "ignore"},
	{"r as sign", 200, NOW, NULL, "RateLimit: \"a\";r=+50;t=30", "ignore"},
	{"r bare", 200, NOW, NULL, "RateLimit: \"a\";r;t=30", "ignore"},
	{"t -1", 200, NOW, NULL, "RateLimit: \"a\";r=5;t=-1", "ignore"},
	{"t decimal", 200, NOW, NULL, "RateLimit: \"a\";r=5;t=1.5", "ignore"},
	{"all types as comments", 200, NOW, NULL,
	 "RateLimit: "
	 "\"a\";r=5;t=3;b;c=?0;d=@1659578233;e=%\"f%c3%bc\";f=1.5;g=tok/en;h=:AA==:;*i=\"x\"",
	 "use; left 5 reset 3 of a"},
	{"inner list", 200, NOW, NULL, "RateLimit: (\"a\" \"b\");r=5;t=3", "ignore"},
	{"token with marks", 200, NOW, NULL, "RateLimit: api/v1:read;r=5;t=3",
	 "use; left 5 reset 3 of api/v1:read"},
	{"non-ascii name", 200, NOW, NULL, "RateLimit: \"\303\244\";r=5;t=3", "ignore"},
	{"bad escape", 200, NOW, NULL, "RateLimit: \"a\\b\";r=5;t=3", "ignore"},
	{"backslash", 200, NOW, NULL, "RateLimit: \"a\\\\b\";r=5;t=3",
	 "use; left 5 reset 3 of a\\b"},
	{"a key that is no base64", 200, NOW, NULL, "RateLimit: \"a\";r=5;t=3;pk=:%%%:", "ignore"},
	{"pk no bytes", 200, NOW, NULL, "RateLimit: \"a\";r=5;t=3;pk=\"k\"", "ignore"},
	{"pk empty", 200, NOW, NULL, "RateLimit: \"a\";r=5;t=3;pk=::", "use; left 5 reset 3 of a"},
	{"keys tell limits apart", 200, NOW, NULL,
	 "RateLimit: \"u\";r=7;t=2;pk=:YQ==:, \"u\";r=3;t=4;pk=:Yg==:",
	 "use; u: left 7 reset 2 key a; u: left 3 reset 4 key b"},
	{"unit", 200, NOW, NULL,
	 "RateLimit: \"a\";r=5;t=3\n"
	 "RateLimit-Policy: \"a\";q=10;w=60;qu=\"content-bytes\"",
	 "use; limit 10 left 5 window 60 reset 3 of a in content-bytes"},
	{"unit requests", 200, NOW, NULL,
	 "RateLimit: \"a\";r=5;t=3\n"
	 "RateLimit-Policy: \"a\";q=10;w=60;qu=\"requests\"",
	 "use; limit 10 left 5 window 60 reset 3 of a in requests"},
	{"policy before the limit", 200, NOW, NULL,
	 "RateLimit-Policy: \"a\";q=10;w=60\n"
	 "RateLimit: \"a\";r=5;t=3",
	 "use; limit 10 left 5 window 60 reset 3 of a"},
	{"policy no q", 200, NOW, NULL,
	 "RateLimit-Policy: \"a\";w=60\n"
	 "RateLimit: \"a\";r=5;t=3",
	 "use; left 5 reset 3 of a"},
	{"policy q -1", 200, NOW, NULL,
	 "RateLimit-Policy: \"a\";q=-1;w=60\n"
	 "RateLimit: \"a\";r=5;t=3",
	 "use; left 5 reset 3 of a"},
	{"policy q 0", 200, NOW, NULL,
	 "RateLimit-Policy: \"a\";q=0;w=60\n"
	 "RateLimit: \"a\";r=0;t=3",
	 "use; limit 0 left 0 window 60 reset 3 of a"},
	{"policy of another name", 200, NOW, NULL,
	 "RateLimit-Policy: \"b\";q=10;w=60\n"
	 "RateLimit: \"a\";r=5;t=3",
	 "use; b: limit 10 window 60; a: left 5 reset 3"},
	{"names differ by case", 200, NOW, NULL,
	 "RateLimit-Policy: \"A\";q=10;w=60\n"
	 "RateLimit: \"a\";r=5;t=3",
	 "use; A: limit 10 window 60; a: left 5 reset 3"},
	{"r above q", 200, NOW, NULL,
	 "RateLimit-Policy: \"a\";q=10;w=60\n"
	 "RateLimit: \"a\";r=50;t=60",
	 "cap; limit 10 left 10 window 60 reset 60 of a"},
	{"full at the window", 200, NOW, NULL,
	 "RateLimit-Policy: \"a\";q=10;w=60\n"
	 "RateLimit: \"a\";r=10;t=60",
	 "use; limit 10 left 10 window 60 reset 60 of a"},
	{"old policy numbers", 200, NOW, NULL,
	 "RateLimit-Policy: 10;w=60\n"
	 "RateLimit: \"a\";r=5;t=3",
	 "use; left 5 reset 3 of a; policy 10 in 60"},
	{"with the old fields", 200, NOW, NULL,
	 "RateLimit-Policy: \"a\";q=10;w=60\n"
	 "RateLimit-Limit: 10\n"
	 "RateLimit-Remaining: 5\n"
	 "RateLimit-Reset: 3",
	 "use; limit 10 left 5 window 60 reset 3 of a"},
	{"with X- fields", 200, NOW, NULL,
	 "RateLimit: \"a\";r=5;t=3\n"
	 "X-RateLimit-Limit: 10\n"
	 "X-RateLimit-Remaining: 5\n"
	 "X-RateLimit-Reset: 3",
	 "use; limit 10 left 5 reset 3 of a"},
	{"Retry-After first", 429, NOW, NULL,
	 "RateLimit: \"a\";r=5;t=3\n"
	 "Retry-After: 60",
	 "use wait 60; left 5 reset 3 of a"},
	{"malformed with Retry-After", 429, NOW, NULL,
	 "RateLimit: \"a;r=5\n"
	 "Retry-After: 60",
	 "use wait 60"},
	{"lines, one malformed", 200, NOW, NULL,
	 "RateLimit: \"a\";r=5;t=3\n"
	 "RateLimit: \"b;r=1",
	 "ignore"},
	{"mixed list and dictionary lines", 200, NOW, NULL,
	 "RateLimit: \"a\";r=5;t=3\n"
	 "RateLimit: limit=10, remaining=3",
	 "ignore"},
	{"item bad, another good", 200, NOW, NULL, "RateLimit: \"a\";r=-5;t=3, \"b\";r=5;t=3",
	 "use; left 5 reset 3 of b"},
	{"string with non-ascii comment", 200, NOW, NULL, "RateLimit: \"a\";r=5;t=3;c=\"\303\251\"",
	 "ignore"},
	{"name empty", 200, NOW, NULL, "RateLimit: \"\";r=5;t=3", "ignore"},
	{"key star", 200, NOW, NULL, "RateLimit: \"a\";r=5;t=3;*x=1;a-b_c.d*=2",
	 "use; left 5 reset 3 of a"},
	{"key begins with digit", 200, NOW, NULL, "RateLimit: \"a\";r=5;t=3;1x=1", "ignore"},
	{"t 15 digits", 200, NOW, NULL, "RateLimit: \"a\";r=5;t=999999999999999",
	 "cap; left 5 reset 10000000000 of a"},
	{"w string", 200, NOW, NULL,
	 "RateLimit-Policy: \"a\";q=10;w=\"60\"\n"
	 "RateLimit: \"a\";r=5;t=3",
	 "use; left 5 reset 3 of a"},
	{"qu token", 200, NOW, NULL,
	 "RateLimit-Policy: \"a\";q=10;w=60;qu=requests\n"
	 "RateLimit: \"a\";r=5;t=3",
	 "use; left 5 reset 3 of a"},
	{"two policies of one name, first counts", 200, NOW, NULL,
	 "RateLimit-Policy: \"a\";q=10;w=60, \"a\";q=1000;w=3600\n"
	 "RateLimit: \"a\";r=5;t=3",
	 "use; limit 10 left 5 window 60 reset 3 of a"},
	{"concurrency", 200, NOW, NULL,
	 "RateLimit-Policy: \"c\";q=10;qu=\"concurrent-requests\"\n"
	 "RateLimit: \"c\";r=0",
	 "use; limit 10 left 0 of c in concurrent-requests"},
	{"policy key, two", 200, NOW, NULL,
	 "RateLimit-Policy: \"u\";q=100;w=60;pk=:YQ==:\n"
	 "RateLimit: \"u\";r=7;t=2;pk=:YQ==:",
	 "use; limit 100 left 7 window 60 reset 2 of u key a"},
};

/* Age */
static const struct row ages[] = {
	{"1", 200, NOW, NULL,
	 "Age: 1\n"
	 "RateLimit: \"a\";r=5;t=3",
	 "ignore"},
	{"list", 200, NOW, NULL,
	 "Age: 60, 0\n"
	 "RateLimit: \"a\";r=5;t=3",
	 "ignore"},
	{"list that begins with 0", 200, NOW, NULL,
	 "Age: 0, 60\n"
	 "RateLimit: \"a\";r=5;t=3",
	 "use; left 5 reset 3 of a"},
	{"overflow", 200, NOW, NULL,
	 "Age: 99999999999999999999\n"
	 "RateLimit: \"a\";r=5;t=3",
	 "ignore"},
	{"negative", 200, NOW, NULL,
	 "Age: -5\n"
	 "RateLimit: \"a\";r=5;t=3",
	 "use; left 5 reset 3 of a"},
	{"empty", 200, NOW, NULL,
	 "Age:\n"
	 "RateLimit: \"a\";r=5;t=3",
	 "use; left 5 reset 3 of a"},
	{"000", 200, NOW, NULL,
	 "Age: 000\n"
	 "RateLimit: \"a\";r=5;t=3",
	 "use; left 5 reset 3 of a"},
};

/* profiles, and units that they fix */
static const struct row profiles[] = {
	{"kucoin ms twin", 429, NOW, "kucoin", "gw-ratelimit-reset: 90000", "use; reset 90"},
	{"ietf is delta", 200, NOW, "ietf",
	 "RateLimit-Remaining: 5\n"
	 "RateLimit-Reset: 1700000030",
	 "use; left 5 reset 1700000030"},
	{"openai seconds", 200, NOW, "openai",
	 "x-ratelimit-remaining-requests: 5\n"
	 "x-ratelimit-reset-requests: 30",
	 "use; requests: left 5 reset 30"},
	{"github past", 200, NOW, "github",
	 "x-ratelimit-remaining: 5\n"
	 "x-ratelimit-reset: 1600000000",
	 "floor; left 5 reset 0"},
	{"github small", 200, NOW, "github",
	 "x-ratelimit-remaining: 5\n"
	 "x-ratelimit-reset: 60",
	 "floor; left 5 reset 0"},
	{"reddit large", 200, NOW, "reddit",
	 "x-ratelimit-remaining: 5\n"
	 "x-ratelimit-reset: 1700000060",
	 "use; left 5 reset 1700000060"},
	{"linear s", 200, NOW, "linear",
	 "X-RateLimit-Requests-Remaining: 5\n"
	 "X-RateLimit-Requests-Reset: 1700000060000",
	 "use; requests: left 5 reset 60"},
};

/* services */
static const struct row services[] = {
	{"shopify 39/40", 200, NOW, NULL, "X-Shopify-Shop-Api-Call-Limit: 39/40",
	 "use; limit 40 left 1 used 39"},
	{"shopify 0/40", 200, NOW, NULL, "X-Shopify-Shop-Api-Call-Limit: 0/40",
	 "use; limit 40 left 40 used 0"},
	{"shopify 40/40 429", 429, NOW, NULL,
	 "X-Shopify-Shop-Api-Call-Limit: 40/40\n"
	 "Retry-After: 2.0",
	 "use wait 2; limit 40 left 0 used 40"},
	{"shopify blanks", 200, NOW, NULL, "X-Shopify-Shop-Api-Call-Limit: 39 / 40",
	 "use; limit 40 left 1 used 39"},
	{"shopify 39/", 200, NOW, NULL, "X-Shopify-Shop-Api-Call-Limit: 39/", "ignore"},
	{"shopify /40", 200, NOW, NULL, "X-Shopify-Shop-Api-Call-Limit: /40", "ignore"},
	{"shopify 39/40/2", 200, NOW, NULL, "X-Shopify-Shop-Api-Call-Limit: 39/40/2", "ignore"},
	{"shopify 39:40", 200, NOW, NULL, "X-Shopify-Shop-Api-Call-Limit: 39:40", "ignore"},
	{"shopify -1/40", 200, NOW, NULL, "X-Shopify-Shop-Api-Call-Limit: -1/40", "ignore"},
	{"shopify nan/40", 200, NOW, NULL, "X-Shopify-Shop-Api-Call-Limit: nan/40", "ignore"},
	{"discord user", 429, NOW, NULL,
	 "Retry-After: 1\n"
	 "X-RateLimit-Limit: 5\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Reset: 1700000000.470\n"
	 "X-RateLimit-Reset-After: 0.47\n"
	 "X-RateLimit-Bucket: b1\n"
	 "X-RateLimit-Scope: user",
	 "use wait 1; limit 5 left 0 reset 0.47 of b1"},
	{"linear complexity", 200, NOW, NULL,
	 "X-RateLimit-Requests-Limit: 1500\n"
	 "X-RateLimit-Requests-Remaining: 1499\n"
	 "X-RateLimit-Requests-Reset: 1700003600000\n"
	 "X-Complexity: 7\n"
	 "X-RateLimit-Complexity-Limit: 250000\n"
	 "X-RateLimit-Complexity-Remaining: 249993\n"
	 "X-RateLimit-Complexity-Reset: 1700003600000",
	 "use; requests: limit 1500 left 1499 reset 3600; complexity: limit 250000 left 249993 "
	 "reset 3600"},
	{"docker 429", 429, NOW, NULL,
	 "ratelimit-limit: 100;w=21600\n"
	 "ratelimit-remaining: 0;w=21600\n"
	 "docker-ratelimit-source: 203.0.113.9",
	 "use; limit 100 left 0 window 21600"},
	{"zendesk account alone", 200, NOW, NULL,
	 "x-rate-limit: 400\n"
	 "x-rate-limit-remaining: 399",
	 "use; limit 400 left 399"},
	{"binance", 200, NOW, NULL,
	 "X-MBX-USED-WEIGHT: 12\n"
	 "X-MBX-USED-WEIGHT-1M: 12\n"
	 "X-MBX-ORDER-COUNT-1D: 4",
	 "use; weight: used 12; weight-1m: used 12 window 60; order-count-1d: used 4 window 86400"},
	{"salesforce 403", 403, NOW, NULL, "Sforce-Limit-Info: api-usage=100001/100000",
	 "use; api-usage: limit 100000 left 0 used 100001"},
	{"etsy day used up", 429, NOW, NULL,
	 "x-limit-per-second: 10\n"
	 "x-remaining-this-second: 10\n"
	 "x-limit-per-day: 10000\n"
	 "x-remaining-today: 0\n"
	 "retry-after: 5000",
	 "cap wait 5000; second: limit 10 left 10 window 1; day: limit 10000 left 0 window 86400"},
	{"kong year", 200, NOW, NULL,
	 "X-RateLimit-Limit-Hour: 10\n"
	 "X-RateLimit-Remaining-Hour: 9\n"
	 "X-RateLimit-Limit-Day: 100\n"
	 "X-RateLimit-Remaining-Day: 99\n"
	 "X-RateLimit-Limit-Year: 1000\n"
	 "X-RateLimit-Remaining-Year: 999",
	 "use; hour: limit 10 left 9 window 3600; day: limit 100 left 99 window 86400; year: limit "
	 "1000 left 999"},
	{"sp-api zero point", 200, NOW, NULL, "x-amzn-RateLimit-Limit: abc", "ignore"},
	{"meta minutes", 429, NOW, NULL,
	 "X-Business-Use-Case-Usage: "
	 "{\"1\":[{\"type\":\"ads_management\",\"call_count\":95,\"total_cputime\":100,\"total_"
	 "time\":31,\"estimated_time_to_regain_access\":3}]}",
	 "use; ads_management: share 1 reset 180"},
	{"graph above", 429, NOW, NULL,
	 "Retry-After: 10\n"
	 "x-ms-throttle-limit-percentage: 1.8",
	 "use wait 10; share 1.8"},
	{"akamai past", 429, NOW, NULL,
	 "Date: Tue, 14 Nov 2023 22:13:20 GMT\n"
	 "X-RateLimit-Limit: 60\n"
	 "X-RateLimit-Remaining: 0\n"
	 "X-RateLimit-Next: 2023-11-14T22:13:19.5Z",
	 "use; limit 60 left 0"},
	{"unified 7d opus", 429, NOW, NULL,
	 "anthropic-ratelimit-unified-status: rejected\n"
	 "anthropic-ratelimit-unified-7d-status: rejected\n"
	 "anthropic-ratelimit-unified-7d-reset: 1700100000\n"
	 "anthropic-ratelimit-unified-7d-utilization: 1.02\n"
	 "retry-after: 100000",
	 "cap wait 100000; unified-7d: share 1.02 window 604800 reset 100000"},
	{"iqmetrix twin disagrees", 429, NOW, NULL,
	 "X-RateLimit-Reset: 2023-11-14T23:13:20.0000000Z\n"
	 "X-RateLimit-ResetSeconds: 59",
	 "use; reset 59"},
	{"meta app", 200, NOW, NULL,
	 "x-app-usage: {\"call_count\":100,\"total_cputime\":25,\"total_time\":30}",
	 "use; app: share 1"},
	{"meta broken JSON", 200, NOW, NULL, "x-app-usage: {\"call_count\":100,", "ignore"},
	{"mistral by size", 200, NOW, NULL,
	 "ratelimitbysize-limit: 500000\n"
	 "ratelimitbysize-remaining: 499000\n"
	 "ratelimitbysize-reset: 31\n"
	 "ratelimitbysize-query-cost: 100",
	 "use; limit 500000 left 499000 reset 31"},
	{"binance malformed", 200, NOW, NULL, "X-MBX-USED-WEIGHT-1M: x",
	 "ignore; weight-1m: window 60"},
	{"binance bad beside good", 200, NOW, NULL,
	 "X-MBX-USED-WEIGHT-1M: x\n"
	 "X-MBX-ORDER-COUNT-1D: 4",
	 "ignore; weight-1m: window 60; order-count-1d: used 4 window 86400"},
	{"meta two types", 200, NOW, NULL,
	 "X-Business-Use-Case-Usage: "
	 "{\"1\":[{\"type\":\"ads_insights\",\"call_count\":42,\"total_cputime\":17,\"total_time\":"
	 "31,\"estimated_time_to_regain_access\":0},{\"type\":\"pages\",\"call_count\":7}]}",
	 "use; ads_insights: share 0.42; pages: share 0.07"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void check(const struct row *rows, size_t count)
{
	size_t wrong = 0;

	for (size_t i = 0; i < count; i++)
		wrong += !fields_text_check(rows[i].name, rows[i].headers, rows[i].status,
					    rows[i].captured_at, rows[i].profile, rows[i].verdict);
	assert_int_equal(wrong, 0);
}

static void test_retry_after(void **state)
{
	(void)state;
	check(retry_after, COUNT(retry_after));
}

static void test_statuses(void **state)
{
	(void)state;
	check(statuses, COUNT(statuses));
}

static void test_resets(void **state)
{
	(void)state;
	check(resets, COUNT(resets));
}

static void test_counts(void **state)
{
	(void)state;
	check(counts, COUNT(counts));
}

static void test_lists(void **state)
{
	(void)state;
	check(lists, COUNT(lists));
}

static void test_dictionaries(void **state)
{
	(void)state;
	check(dictionaries, COUNT(dictionaries));
}

static void test_items(void **state)
{
	(void)state;
	check(items, COUNT(items));
}

static void test_ages(void **state)
{
	(void)state;
	check(ages, COUNT(ages));
}

static void test_profiles(void **state)
{
	(void)state;
	check(profiles, COUNT(profiles));
}

static void test_services(void **state)
{
	(void)state;
	check(services, COUNT(services));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_retry_after), cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_resets),	    cmocka_unit_test(test_counts),
		cmocka_unit_test(test_lists),	    cmocka_unit_test(test_dictionaries),
		cmocka_unit_test(test_items),	    cmocka_unit_test(test_ages),
		cmocka_unit_test(test_profiles),    cmocka_unit_test(test_services),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
