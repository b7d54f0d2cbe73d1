/* SPDX-License-Identifier: Apache-2.0 */
#include "name.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

/* As curl_easy_perform() is lenient: a URL without a scheme is one of http. */
#define READ_FLAGS (CURLU_DEFAULT_SCHEME | CURLU_GUESS_SCHEME | CURLU_URLENCODE)

static CURLU *url_read(const char *url)
{
	CURLU *parts = curl_url();

	if (parts && curl_url_set(parts, CURLUPART_URL, url, READ_FLAGS) != CURLUE_OK) {
		curl_url_cleanup(parts);
		parts = NULL;
	}
	return parts;
}

static char *part(CURLU *parts, CURLUPart which, unsigned flags)
{
	char *text = NULL;

	return curl_url_get(parts, which, &text, flags) == CURLUE_OK ? text : NULL;
}

/* Cuts what is too long: patterns that end in `*` match it all the same. */
static void put(char out[WEIR_NAME_MAX + 1], const char *one, const char *two, const char *three)
{
	size_t used = strlen(one);

	if (used > WEIR_NAME_MAX)
		used = WEIR_NAME_MAX;
	memmove(out, one, used);
	for (; *two && used < WEIR_NAME_MAX; two++)
		out[used++] = *two;
	for (; *three && used < WEIR_NAME_MAX; three++)
		out[used++] = *three;
	out[used] = '\0';
}

static void lower(char *text)
{
	for (; *text; text++)
		*text = (char)tolower((unsigned char)*text);
}

int name_candidates(const char *method, const char *url, struct name_candidates *out)
{
	CURLU *parts = url_read(url);
	char *host = parts ? part(parts, CURLUPART_HOST, 0) : NULL;
	char *port = parts ? part(parts, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT) : NULL;
	char *path = parts ? part(parts, CURLUPART_PATH, 0) : NULL;
	int status = host && host[0] ? 0 : WEIR_EVALUE;

	if (status == 0) {
		char *name = out->texts[2];
		size_t length = strlen(host);

		lower(host);
		/* the root of names may be written out: example.com. */
		if (length > 1 && host[length - 1] == '.')
			host[length - 1] = '\0';
		put(name, host, port ? ":" : "", port ? port : "");
		put(out->texts[1], name, path ? path : "/", "");
		put(out->texts[0], method, " ", out->texts[1]);
	}
	curl_free(path);
	curl_free(port);
	curl_free(host);
	curl_url_cleanup(parts);
	return status;
}

size_t name_bytes(const char *url)
{
	return strcspn(url, "?#");
}

char *name_join(const char *base, const char *location)
{
	CURLU *parts = url_read(base);
	char *text = NULL;
	char *copy = NULL;

	if (parts && curl_url_set(parts, CURLUPART_URL, location, CURLU_URLENCODE) == CURLUE_OK)
		text = part(parts, CURLUPART_URL, 0);
	if (text)
		copy = strdup(text);
	curl_free(text);
	curl_url_cleanup(parts);
	return copy;
}

static bool same_part(CURLU *one, CURLU *other, CURLUPart which)
{
	char *a = part(one, which, CURLU_DEFAULT_PORT);
	char *b = part(other, which, CURLU_DEFAULT_PORT);
	bool same = a && b && curl_strequal(a, b);

	curl_free(a);
	curl_free(b);
	return same;
}

bool name_same_origin(const char *one, const char *other)
{
	CURLU *a = url_read(one);
	CURLU *b = url_read(other);
	bool same = a && b && same_part(a, b, CURLUPART_SCHEME) &&
		    same_part(a, b, CURLUPART_HOST) && same_part(a, b, CURLUPART_PORT);

	curl_url_cleanup(a);
	curl_url_cleanup(b);
	return same;
}
