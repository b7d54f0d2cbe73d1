/* SPDX-License-Identifier: Apache-2.0
 *
 * driver.c - runs a fuzz target as an ordinary test: over its corpus, then over mutations of it.
 *
 * A build with WEIR_LIBFUZZER has libFuzzer's main instead, which is guided by coverage. This one
 * is blind, but needs no other compiler and does the same in every run: the seed is printed and
 * can be given. An input that breaks the target is left in the working folder.
 *
 * Usage: fuzz_X CORPUS [EXECUTIONS [SEED]]
 */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define INPUT_BYTES 4096
#define INPUTS_MAX 512
#define EXECUTIONS 50000
#define SEED 0x9e3779b97f4a7c15ull
#define MUTATIONS_MOST 6

struct input {
	size_t bytes;
	uint8_t at[INPUT_BYTES];
};

static struct input *corpus[INPUTS_MAX];
static size_t corpus_size;
static uint64_t random_state;
static const struct input *running;
static const char *program;

static uint64_t random_word(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545f4914f6cdd1dull;
}

static size_t random_below(size_t bound)
{
	return bound ? random_word() % bound : 0;
}

/* Keeps what was running for whoever looks into it. */
static void keep_input(int number)
{
	FILE *file = fopen("fuzz-failure", "we");

	signal(number, SIG_DFL);
	if (file && running) {
		fwrite(running->at, 1, running->bytes, file);
		fclose(file);
	}
	fprintf(stderr, "%s: signal %d; the input of %zu bytes is in ./fuzz-failure\n", program,
		number, running ? running->bytes : 0);
	raise(number);
}

static void execute(const struct input *input)
{
	/* a copy of exactly its size, so that a read beyond it is seen by sanitizers */
	uint8_t *copy = malloc(input->bytes ? input->bytes : 1);

	if (!copy)
		abort();
	memcpy(copy, input->at, input->bytes);
	running = input;
	LLVMFuzzerTestOneInput(copy, input->bytes);
	running = NULL;
	free(copy);
}

static void corpus_add(const char *path)
{
	struct stat found;
	FILE *file;

	if (stat(path, &found) < 0 || !S_ISREG(found.st_mode) || corpus_size == INPUTS_MAX)
		return;
	file = fopen(path, "re");
	corpus[corpus_size] = calloc(1, sizeof(**corpus));
	if (!file || !corpus[corpus_size])
		abort();
	corpus[corpus_size]->bytes = fread(corpus[corpus_size]->at, 1, INPUT_BYTES, file);
	corpus_size++;
	fclose(file);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void corpus_read(const char *folder)
{
	struct dirent **entries;
	int count = scandir(folder, &entries, NULL, by_name);

	for (int i = 0; i < count; i++) {
		char path[1024];

		snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
		corpus_add(path);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

/* Makes room for `bytes` at `at`, as far as there is any. */
static size_t open_gap(struct input *input, size_t at, size_t bytes)
{
	size_t behind = at < input->bytes ? input->bytes - at : 0;

	if (bytes > INPUT_BYTES - input->bytes)
		bytes = INPUT_BYTES - input->bytes;
	memmove(input->at + at + bytes, input->at + at, behind);
	input->bytes += bytes;
	return bytes;
}

static void splice(struct input *input, size_t at)
{
	const struct input *other = corpus[random_below(corpus_size)];
	size_t from = random_below(other->bytes);
	size_t bytes = open_gap(input, at, random_below(other->bytes - from + 1));

	memcpy(input->at + at, other->at + from, bytes);
}

static void mutate(struct input *input)
{
	static const char favourites[] = "\0\n\r =:;,.*[]/-+\"%#0919AZaz~\177\200\377";
	size_t at = random_below(input->bytes + 1);
	size_t rest = input->bytes - at;

	switch (random_below(6)) {
	case 0:
		if (rest)
			input->at[at] ^= (uint8_t)(1u << random_below(8));
		break;
	case 1:
		if (rest)
			input->at[at] = (uint8_t)random_word();
		break;
	case 2:
		if (open_gap(input, at, 1))
			input->at[at] = (uint8_t)favourites[random_below(sizeof(favourites))];
		break;
	case 3:
		rest = random_below(rest < 16 ? rest + 1 : 16);
		memmove(input->at + at, input->at + at + rest, input->bytes - at - rest);
		input->bytes -= rest;
		break;
	case 4:
		input->bytes = at;
		break;
	default:
		splice(input, at);
	}
}

static void run_mutations(uint64_t executions)
{
	static struct input input;

	for (uint64_t i = 0; i < executions; i++) {
		input = *corpus[random_below(corpus_size)];
		for (size_t times = 1 + random_below(MUTATIONS_MOST); times > 0; times--)
			mutate(&input);
		execute(&input);
	}
}

int main(int argc, char **argv)
{
	uint64_t executions = argc > 2 ? strtoull(argv[2], NULL, 0) : EXECUTIONS;
	uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 0) : SEED;

	program = argv[0];
	random_state = seed | 1;
	if (argc > 1)
		corpus_read(argv[1]);
	if (corpus_size == 0) {
		fprintf(stderr, "usage: %s CORPUS [EXECUTIONS [SEED]]: the folder has no files\n",
			argv[0]);
		return 2;
	}
	signal(SIGABRT, keep_input);
	signal(SIGSEGV, keep_input);
	for (size_t i = 0; i < corpus_size; i++)
		execute(corpus[i]);
	run_mutations(executions);
	printf("%zu inputs of the corpus and %llu mutations executed (seed %#llx)\n", corpus_size,
	       (unsigned long long)executions, (unsigned long long)seed);
	for (size_t i = 0; i < corpus_size; i++)
		free(corpus[i]);
	return 0;
}
