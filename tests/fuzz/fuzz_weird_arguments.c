/* SPDX-License-Identifier: Apache-2.0
 *
 * Any words as weird's command line, one a line: a mode it has, and strings that are among the
 * words.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <unistd.h>

#include "options.h"

#define WORDS_MAX 32

static bool points_into(const char *at, const char *text, size_t size)
{
	return !at || (at >= text && at <= text + size);
}

/* What it says of the words goes to standard error, where a fuzzer reports. */
static void parse_quietly(struct options *options, int count, char **words)
{
	int kept = dup(STDERR_FILENO);
	int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

	FUZZ_CHECK(kept >= 0 && nowhere >= 0);
	dup2(nowhere, STDERR_FILENO);
	options_parse(options, count, words);
	dup2(kept, STDERR_FILENO);
	close(nowhere);
	close(kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	char program[] = "weird";
	char *words[WORDS_MAX + 2] = {program};
	struct options options;
	int count = 1;

	for (char *at = text, *word; count <= WORDS_MAX && (word = strsep(&at, "\n"));)
		words[count++] = word;
	optind = 0; /* getopt begins anew */
	parse_quietly(&options, count, words);
	FUZZ_CHECK(options.mode <= OPTIONS_WRONG);
	FUZZ_CHECK(points_into(options.config, text, size));
	FUZZ_CHECK(points_into(options.name, text, size));
	free(text);
	return 0;
}
