/* SPDX-License-Identifier: Apache-2.0
 *
 * Two lines, as a request's URL and a server's Location: the names that either stands for are names
 * that weir takes.
 */
#include "fuzz.h"

#include "name.h"
#include "names.h"

static void check_candidates(const char *url)
{
	struct name_candidates found;

	FUZZ_CHECK(name_bytes(url) <= strlen(url));
	if (name_candidates("GET", url, &found) < 0)
		return;
	for (int i = 0; i < NAME_CANDIDATES; i++)
		FUZZ_CHECK(memchr(found.texts[i], '\0', sizeof(found.texts[i])) &&
			   (!found.texts[i][0] || names_valid(found.texts[i])));
	/* the least specific is the host, with which the one before begins */
	FUZZ_CHECK(strncmp(found.texts[1], found.texts[2], strlen(found.texts[2])) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *url = fuzz_text(data, size);
	char *location = strchr(url, '\n');
	char *joined;

	if (location)
		*location++ = '\0';
	check_candidates(url);
	joined = name_join(url, location ? location : "");
	if (joined) {
		check_candidates(joined);
		(void)name_same_origin(url, joined);
	}
	free(joined);
	free(url);
	return 0;
}
