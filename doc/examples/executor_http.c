/* SPDX-License-Identifier: Apache-2.0
 *
 * executor_http [--private] URL... - fetches pages in threads of libuv's pool, each by the HTTP
 * client, and tells of them in the order in which they were given. Two limits meet: the client
 * waits for its turn at the host of a page, and heeds what the host answers; the executor's own
 * endpoint says how many fetches may be under way at once, over all programs of this kind.
 */
#include "attach.h"

#include <stdlib.h>

#include <weir-http.h>
#include <weir-uv.h>

static const char rules[] = "[default]\n"
			    "rate = 50/s\n"
			    "burst = 1\n"
			    "[endpoint fetches]\n"
			    "rate = unlimited\n"
			    "concurrency = 2\n";

static struct weir_http *http;
static size_t page_count;

struct page {
	const char *url;
	CURLcode code;
	int status;
};

static size_t forget(char *bytes, size_t one, size_t count, void *context)
{
	(void)bytes;
	(void)context;
	return one * count;
}

/* In a thread of the pool, with a permit of `fetches` for as long as it takes. */
static int fetch(void *data)
{
	struct page *page = data;
	struct weir_http_request request = {
		.size = sizeof(request),
		.url = page->url,
		.timeout_ns = 60 * WEIR_SECOND,
		.write = forget,
	};
	struct weir_http_result result = {.size = sizeof(result)};
	CURL *easy = curl_easy_init();

	page->code = easy ? weir_http_perform(http, easy, &request, &result) : CURLE_OUT_OF_MEMORY;
	page->status = result.status;
	curl_easy_cleanup(easy);
	return (int)page->code;
}

static void on_page(struct weir_executor *executor, const struct weir_result *result)
{
	const struct page *page = result->data;

	if (result->verdict != WEIR_ADMIT)
		printf("%s: not fetched\n", page->url);
	else if (page->code != CURLE_OK)
		printf("%s: %s\n", page->url, curl_easy_strerror(page->code));
	else
		printf("%s: %d\n", page->url, page->status);
	if (result->index + 1 == page_count)
		weir_executor_shutdown(executor, WEIR_FOREVER, NULL);
}

/* Returns the pages, or NULL; nothing is to be told of then. */
static struct page *submit(struct weir_executor *executor, struct weir_endpoint *fetches,
			   char **urls)
{
	const struct weir_task task = {
		.endpoint = fetches, .cost = 1, .work = fetch, .done = on_page};
	struct page *pages = calloc(page_count, sizeof(*pages));
	void **data = calloc(page_count, sizeof(*data));

	for (size_t i = 0; pages && data && i < page_count; i++) {
		pages[i].url = urls[i];
		data[i] = &pages[i];
	}
	if (!pages || !data || weir_executor_map(executor, &task, data, page_count) < 0)
		weir_executor_shutdown(executor, WEIR_FOREVER, NULL);
	free(data);
	return pages;
}

/* Until all of it has been told of. */
static int run(struct weir *weir, struct weir_endpoint *fetches, char **urls)
{
	uv_loop_t *loop = uv_default_loop();
	struct weir_executor *executor;
	struct weir_uv *uv;

	if (weir_uv_open(&uv, loop) < 0 || weir_executor_open(&executor, uv, weir, NULL) < 0)
		return 2;

	struct page *pages = submit(executor, fetches, urls);

	uv_run(loop, UV_RUN_DEFAULT);
	weir_executor_close(executor);
	weir_uv_close(uv, NULL, NULL);
	uv_run(loop, UV_RUN_DEFAULT);
	uv_loop_close(loop);
	free(pages);
	return 0;
}

int main(int argc, char **argv)
{
	struct weir *weir = attach(take_private(&argc, argv), rules, WEIR_CLOCK_BEST);
	struct weir_endpoint *fetches;
	int status;

	if (argc < 2 || !weir || weir_endpoint(weir, "fetches", &fetches) < 0) {
		weir_close(weir);
		return 2;
	}
	curl_global_init(CURL_GLOBAL_DEFAULT); /* before there are threads */
	page_count = (size_t)argc - 1;
	status = weir_http_open(&http, weir, NULL) < 0 ? 2 : run(weir, fetches, argv + 1);
	weir_http_close(http);
	weir_endpoint_close(fetches);
	weir_close(weir);
	curl_global_cleanup();
	return status;
}
