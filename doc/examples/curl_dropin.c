/* SPDX-License-Identifier: Apache-2.0
 *
 * curl_dropin [--private] URL - a program that used curl_easy_perform(), and what changes: one
 * handle at its start, the URL handed over with the call, and a way to forget what it got of an
 * answer that is not the last one. All that it set on the easy handle stays as it was.
 */
#include "attach.h"

#include <weir-http.h>

static const char rules[] = "[default]\n"
			    "rate = 10/s\n";

/* As it was: the program's own callback, and its own file. */
static size_t save(char *bytes, size_t one, size_t count, void *file)
{
	return fwrite(bytes, one, count, file);
}

/* New: the answer that is in the file was "come back later". */
static int forget(CURL *easy, void *file)
{
	(void)easy;
	rewind(file);
	return ferror(file);
}

/* was: curl_easy_setopt(easy, CURLOPT_URL, url); code = curl_easy_perform(easy); */
static CURLcode fetch(struct weir_http *http, CURL *easy, const char *url, FILE *file)
{
	struct weir_http_request request = {
		.size = sizeof(request),
		.url = url,
		.restart = forget,
		.context = file,
	};

	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, save);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, file);
	return weir_http_perform(http, easy, &request, NULL);
}

int main(int argc, char **argv)
{
	struct weir *weir = attach(take_private(&argc, argv), rules, WEIR_CLOCK_BEST);
	struct weir_http *http;
	CURLcode code = CURLE_FAILED_INIT;

	if (argc < 2 || !weir || weir_http_open(&http, weir, NULL) < 0) {
		weir_close(weir);
		return 2;
	}

	CURL *easy = curl_easy_init();
	FILE *file = tmpfile();

	if (easy && file)
		code = fetch(http, easy, argv[1], file);
	printf("%s, %ld bytes\n", curl_easy_strerror(code), file ? ftell(file) : 0);
	if (file)
		fclose(file);
	curl_easy_cleanup(easy);
	weir_http_close(http);
	weir_close(weir);
	return code != CURLE_OK;
}
