/* SPDX-License-Identifier: Apache-2.0
 *
 * Any words as weirctl's command line, one a line: understood, with every operand kept; or one
 * sentence says what is wrong.
 */
#include "fuzz.h"

#include "options.h"

#define WORDS_MAX 32

static void check_taken(const struct arguments *out, int count)
{
	FUZZ_CHECK(out->operand_count <= count);
	FUZZ_CHECK(out->operands[out->operand_count] == NULL);
	for (int i = 0; i < out->operand_count; i++)
		FUZZ_CHECK(out->operands[i] != NULL);
	for (int i = 0; i < OPTION_COUNT; i++)
		FUZZ_CHECK(!out->values[i] || option_specs[i].argument || !*out->values[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size);
	char *words[WORDS_MAX + 1];
	int count = 0;
	unsigned allowed = size ? OPTIONS_GLOBAL | (unsigned)data[0] << 6 : OPTIONS_GLOBAL;
	int operands_first = size > 1 && data[1] & 1 ? 1 : OPTIONS_ANYWHERE;
	struct arguments out = {.operand_count = 0};
	char wrong[OPTIONS_WRONG_BYTES] = "";

	for (char *at = text, *word; count < WORDS_MAX && (word = strsep(&at, "\n"));)
		words[count++] = word;
	words[count] = NULL;
	if (options_parse(&out, count, words, allowed, operands_first, wrong))
		check_taken(&out, count);
	else
		FUZZ_CHECK(*wrong && memchr(wrong, 0, sizeof(wrong)));
	free(text);
	return 0;
}
