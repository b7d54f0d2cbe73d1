/* SPDX-License-Identifier: Apache-2.0
 *
 * polite_crawler [--private] URL... - fetches many pages at once, and from no host faster than its
 * limit allows, whoever else on this machine is at it. Hosts without a rule have that of [default];
 * a server that asks to come back later is obeyed, one that fails is left alone for a while.
 */
#include "attach.h"

#include <stdlib.h>

#include <uv.h>
#include <weir-http.h>

static const char rules[] = "[default]\n"
			    "rate = 2/s\n"
			    "burst = 1\n";

static size_t forget(char *bytes, size_t one, size_t count, void *context)
{
	(void)bytes;
	(void)context;
	return one * count;
}

static void on_page(CURL *easy, CURLcode code, const struct weir_http_result *result, void *context)
{
	const char *url = context;

	if (code == CURLE_OK)
		printf("%s: %d, by %s\n", url, result->status,
		       result->waited_ns ? "turn" : "the first burst");
	else
		printf("%s: %s\n", url, curl_easy_strerror(code));
	curl_easy_cleanup(easy);
}

static void crawl(struct weir_http *http, char **urls)
{
	for (; *urls; urls++) {
		struct weir_http_request request = {
			.size = sizeof(request),
			.url = *urls,
			.redirects = 5,
			.flags = WEIR_HTTP_CROSS_ORIGIN,
			.write = forget,
			.context = *urls,
		};
		CURL *easy = curl_easy_init();

		if (!easy || weir_http_start(http, easy, &request, on_page, *urls, NULL) < 0)
			curl_easy_cleanup(easy);
	}
}

int main(int argc, char **argv)
{
	struct weir *weir = attach(take_private(&argc, argv), rules, WEIR_CLOCK_BEST);
	uv_loop_t *loop = uv_default_loop();
	struct weir_http *http = NULL;

	if (!weir || weir_http_open(&http, weir, NULL) < 0 || weir_http_attach(http, loop) < 0) {
		weir_http_close(http);
		weir_close(weir);
		return 2;
	}
	crawl(http, argv + 1);
	uv_run(loop, UV_RUN_DEFAULT);
	weir_http_detach(http, NULL, NULL);
	uv_run(loop, UV_RUN_DEFAULT);
	uv_loop_close(loop);
	weir_http_close(http);
	weir_close(weir);
	return 0;
}
