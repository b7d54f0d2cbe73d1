/* SPDX-License-Identifier: Apache-2.0
 *
 * llm_client [--private] URL TIMES - asks a language model under two limits at once: requests per
 * minute and tokens per minute. How many tokens a call takes is estimated before it, and read from
 * the answer after it ("total_tokens": N); what was not used goes back, what was used beyond is a
 * debt that later calls wait for.
 */
#include "attach.h"

#include <stdlib.h>
#include <string.h>

#include <weir-http.h>

#define ESTIMATE 2000

static const char rules[] = "[endpoint llm/requests]\n"
			    "rate = 600/min\n"
			    "burst = 10\n"
			    "[endpoint llm/tokens]\n"
			    "rate = 60K/min\n"
			    "burst = 8K\n";

/* The answer, as far as it is looked at. */
struct answer {
	char text[4096];
	size_t bytes;
};

static size_t keep(char *bytes, size_t one, size_t count, void *context)
{
	struct answer *answer = context;
	size_t room = sizeof(answer->text) - 1 - answer->bytes;
	size_t used = one * count < room ? one * count : room;

	memcpy(answer->text + answer->bytes, bytes, used);
	answer->bytes += used;
	answer->text[answer->bytes] = '\0';
	return one * count;
}

/* Of charge 0, the request itself, the cost is known. */
static double tokens_used(CURL *easy, size_t charge, void *context)
{
	const struct answer *answer = context;
	const char *found = strstr(answer->text, "\"total_tokens\":");

	(void)easy;
	return charge == 1 && found ? strtod(found + strlen("\"total_tokens\":"), NULL) : -1;
}

static int ask(struct weir_http *http, CURL *easy, const char *url)
{
	const struct weir_http_charge tokens = {.endpoint = "llm/tokens", .cost = ESTIMATE};
	struct answer answer = {.bytes = 0};
	struct weir_http_request request = {
		.size = sizeof(request),
		.url = url,
		.method = "POST",
		.endpoint = "llm/requests",
		.charges = &tokens,
		.charge_count = 1,
		.timeout_ns = 60 * WEIR_SECOND,
		.write = keep,
		.measure = tokens_used,
		.context = &answer,
	};
	struct weir_http_result result = {.size = sizeof(result)};
	CURLcode code;

	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "{\"prompt\": \"hello\"}");
	code = weir_http_perform(http, easy, &request, &result);
	if (code != CURLE_OK) {
		printf("not answered: %s\n", curl_easy_strerror(code));
		return 1;
	}
	printf("%d, %.0f tokens\n", result.status, tokens_used(easy, 1, &answer));
	return 0;
}

int main(int argc, char **argv)
{
	struct weir *weir = attach(take_private(&argc, argv), rules, WEIR_CLOCK_BEST);
	struct weir_level left = {.size = sizeof(left)};
	struct weir_endpoint *tokens;
	struct weir_http *http;
	int failed = 0;

	if (argc < 3 || !weir || weir_http_open(&http, weir, NULL) < 0) {
		weir_close(weir);
		return 2;
	}

	CURL *easy = curl_easy_init();

	for (int i = 0; i < atoi(argv[2]); i++)
		failed |= ask(http, easy, argv[1]);
	if (weir_endpoint(weir, "llm/tokens", &tokens) == 0) {
		weir_peek(tokens, &left);
		printf("tokens left: %s\n", left.level < 0 ? "a debt" : "some");
		weir_endpoint_close(tokens);
	}
	curl_easy_cleanup(easy);
	weir_http_close(http);
	weir_close(weir);
	return failed;
}
