/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include <weir.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define PARALLEL_MAX 1024
#define RETRIES_MAX 1000
#define SECONDS_MAX 31536000 /* a year */

enum option_id {
	OPTION_PARALLEL,
	OPTION_FOLDER,
	OPTION_ENDPOINT,
	OPTION_CLASS,
	OPTION_RETRIES,
	OPTION_WAIT,
	OPTION_STALL,
	OPTION_MANIFEST,
	OPTION_HEADER,
	OPTION_CA_FILE,
	OPTION_NAME,
	OPTION_SHM_DIR,
	OPTION_JSON,
	OPTION_QUIET,
	OPTION_COMPLETION,
	OPTION_HELP,
	OPTION_VERSION,
};

static const struct {
	char letter;	      /* 0: none */
	const char *name;     /* without the dashes */
	const char *argument; /* what its value is called; NULL: it takes none */
	const char *help;
} specs[] = {
	[OPTION_PARALLEL] = {'P', "parallel", "N", "requests at once; 8"},
	[OPTION_FOLDER] = {'o', "output", "DIR", "where the files go; the present folder"},
	[OPTION_ENDPOINT] = {0, "endpoint", "NAME", "the limit, whatever the URLs match"},
	[OPTION_CLASS] = {0, "class", "CLASS", "of the requests, such as background"},
	[OPTION_RETRIES] = {0, "retries", "N", "of one file; 4"},
	[OPTION_WAIT] = {0, "wait", "SECONDS", "for the turn of a request, at most; for ever"},
	[OPTION_STALL] = {0, "stall", "SECONDS", "without a byte that end a transfer; 60"},
	[OPTION_MANIFEST] = {0, "manifest", "FILE", "of sums; DIR/weir-fetch.sha256"},
	[OPTION_HEADER] = {'H', "header", "LINE", "a field of every request; several are allowed"},
	[OPTION_CA_FILE] = {0, "cacert", "FILE", "who is trusted with TLS; the system's"},
	[OPTION_NAME] = {'N', "name", "INSTANCE", "of weird; $WEIR_NAME, or default"},
	[OPTION_SHM_DIR] = {0, "shm-dir", "DIR", "where its objects are"},
	[OPTION_JSON] = {0, "json", NULL, "the summary as JSON"},
	[OPTION_QUIET] = {'q', "quiet", NULL, "neither progress nor a line for each file"},
	[OPTION_COMPLETION] = {0, "completion", "SHELL", "print a script for bash or zsh"},
	[OPTION_HELP] = {'h', "help", NULL, "this text"},
	[OPTION_VERSION] = {'V', "version", NULL, "the version"},
};

static bool read_count(const char *text, uint32_t least, uint32_t most, uint32_t *out)
{
	char *end;

	errno = 0;
	unsigned long value = strtoul(text, &end, 10);

	if (errno || end == text || *end || text[0] == '-' || value < least || value > most)
		return false;
	*out = (uint32_t)value;
	return true;
}

static bool read_seconds(const char *text, uint64_t *ns)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= 0) || value > SECONDS_MAX)
		return false;
	/* 0 is no time at all, and not for ever */
	*ns = (uint64_t)(value * 1e9) + (value == 0);
	return true;
}

/* The sentence for a value that is not one. */
static bool not_a(const char *name, const char *value, const char *right, char *wrong)
{
	snprintf(wrong, OPTIONS_WRONG_BYTES, "--%s: '%.60s' is not %s", name, value, right);
	return false;
}

static bool take_number(struct options *out, enum option_id id, const char *value, char *wrong)
{
	switch (id) {
	case OPTION_PARALLEL:
		return read_count(value, 1, PARALLEL_MAX, &out->parallel) ||
		       not_a(specs[id].name, value, "1 to 1024", wrong);
	case OPTION_RETRIES:
		return read_count(value, 0, RETRIES_MAX, &out->retries) ||
		       not_a(specs[id].name, value, "0 to 1000", wrong);
	case OPTION_STALL:
		return read_count(value, 1, SECONDS_MAX, &out->stall_s) ||
		       not_a(specs[id].name, value, "a number of seconds above 0", wrong);
	default:
		return read_seconds(value, &out->wait_ns) ||
		       not_a(specs[id].name, value, "a number of seconds", wrong);
	}
}

static bool take_header(struct options *out, const char *value, char *wrong)
{
	if (out->header_count == OPTIONS_HEADERS)
		return not_a("header", value, "one of the first 32", wrong);
	if (!strchr(value, ':') || strpbrk(value, "\r\n"))
		return not_a("header", value, "NAME: VALUE", wrong);
	out->headers[out->header_count++] = value;
	return true;
}

static bool take(struct options *out, enum option_id id, const char *value, char *wrong)
{
	const char **texts[ARRAY_SIZE(specs)] = {
		[OPTION_FOLDER] = &out->folder,	   [OPTION_ENDPOINT] = &out->endpoint,
		[OPTION_CLASS] = &out->class_name, [OPTION_MANIFEST] = &out->manifest,
		[OPTION_CA_FILE] = &out->ca_file,  [OPTION_NAME] = &out->instance,
		[OPTION_SHM_DIR] = &out->shm_dir,  [OPTION_COMPLETION] = &out->completion,
	};
	bool *flags[ARRAY_SIZE(specs)] = {
		[OPTION_JSON] = &out->json,
		[OPTION_QUIET] = &out->quiet,
		[OPTION_HELP] = &out->help,
		[OPTION_VERSION] = &out->version,
	};

	if (id == OPTION_HEADER)
		return take_header(out, value, wrong);
	if (texts[id])
		*texts[id] = value;
	else if (flags[id])
		*flags[id] = true;
	else
		return take_number(out, id, value, wrong);
	return true;
}

/* The table as getopt_long() wants it; an option's value is its place in the table. */
static void table_for_getopt(struct option longs[ARRAY_SIZE(specs) + 1], char *letters)
{
	*letters++ = ':';
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		longs[i] = (struct option){
			.name = specs[i].name,
			.has_arg = specs[i].argument ? required_argument : no_argument,
			.val = 256 + (int)i,
		};
		if (!specs[i].letter)
			continue;
		*letters++ = specs[i].letter;
		if (specs[i].argument)
			*letters++ = ':';
	}
	longs[ARRAY_SIZE(specs)] = (struct option){.name = NULL};
	*letters = '\0';
}

static size_t index_of(int found)
{
	if (found >= 256)
		return (size_t)found - 256;
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++)
		if (specs[i].letter == found)
			return i;
	return ARRAY_SIZE(specs);
}

bool options_read(struct options *out, int argc, char **argv, char wrong[OPTIONS_WRONG_BYTES])
{
	struct option longs[ARRAY_SIZE(specs) + 1];
	char letters[3 * ARRAY_SIZE(specs) + 2];
	int found;

	*out = (struct options){.folder = ".", .parallel = 8, .retries = 4, .stall_s = 60};
	table_for_getopt(longs, letters);
	optind = 1;
	while ((found = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		size_t index = index_of(found);

		if (found == ':' || index == ARRAY_SIZE(specs)) {
			snprintf(wrong, OPTIONS_WRONG_BYTES,
				 found == ':' ? "%.60s needs a value" : "%.60s is no option",
				 argv[optind - 1]);
			return false;
		}
		if (!take(out, (enum option_id)index, optarg, wrong))
			return false;
	}
	out->urls = argv + optind;
	if (!out->urls[0] && !out->help && !out->version && !out->completion) {
		snprintf(wrong, OPTIONS_WRONG_BYTES, "no URL; - reads them from standard input");
		return false;
	}
	return true;
}

void options_usage(FILE *to)
{
	fprintf(to, "usage: weir-fetch [OPTION...] URL... | -\n"
		    "\n"
		    "Downloads under the limits that weir shares between the processes of a host.\n"
		    "What is there already is kept; what broke off is resumed.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		char left[40];

		snprintf(left, sizeof(left), "%s%c%s--%s%s%s", specs[i].letter ? "-" : " ",
			 specs[i].letter ? specs[i].letter : ' ', specs[i].letter ? ", " : "  ",
			 specs[i].name, specs[i].argument ? " " : "",
			 specs[i].argument ? specs[i].argument : "");
		fprintf(to, "  %-26s %s\n", left, specs[i].help);
	}
}

/* ---- completion ---- */

static bool is_folder(size_t i)
{
	return specs[i].argument && strcmp(specs[i].argument, "DIR") == 0;
}

static bool is_file(size_t i)
{
	return specs[i].argument && strcmp(specs[i].argument, "FILE") == 0;
}

/* The option names of those whose value is of that kind, as a case label of the shell. */
static void label(FILE *to, bool (*is_kind)(size_t i))
{
	const char *between = "";

	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		if (!is_kind(i))
			continue;
		fprintf(to, "%s--%s", between, specs[i].name);
		if (specs[i].letter)
			fprintf(to, " | -%c", specs[i].letter);
		between = " | ";
	}
}

static void complete_bash(FILE *to)
{
	fprintf(to,
		"# bash completion of weir-fetch, as printed by `weir-fetch --completion bash`\n"
		"_weir_fetch()\n"
		"{\n"
		"\tlocal word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
		"\tCOMPREPLY=()\n"
		"\tcase $before in\n\t");
	label(to, is_folder);
	fprintf(to, ")\n\t\tmapfile -t COMPREPLY < <(compgen -d -- \"$word\") ;;\n\t");
	label(to, is_file);
	fprintf(to, ")\n\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;\n"
		    "\t--endpoint)\n"
		    "\t\tmapfile -t COMPREPLY < <(compgen -W \"$(weirctl list --names "
		    "2>/dev/null)\" -- \"$word\") ;;\n"
		    "\t--completion)\n"
		    "\t\tmapfile -t COMPREPLY < <(compgen -W 'bash zsh' -- \"$word\") ;;\n"
		    "\t*)\n"
		    "\t\t[[ $word != -* ]] || mapfile -t COMPREPLY < <(compgen -W '");
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++)
		fprintf(to, "%s--%s", i ? " " : "", specs[i].name);
	fprintf(to, "' -- \"$word\") ;;\n"
		    "\tesac\n"
		    "}\n"
		    "complete -F _weir_fetch weir-fetch\n");
}

static void complete_zsh(FILE *to)
{
	fprintf(to, "#compdef weir-fetch\n"
		    "# zsh completion of weir-fetch, as printed by `weir-fetch --completion zsh`\n"
		    "_arguments -s \\\n");
	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		const char *value = is_folder(i)	     ? ":folder:_files -/"
				    : is_file(i)	     ? ":file:_files"
				    : i == OPTION_COMPLETION ? ":shell:(bash zsh)"
				    : i == OPTION_ENDPOINT
					    ? ":endpoint:($(weirctl list --names 2>/dev/null))"
				    : specs[i].argument ? ":value: "
							: "";

		if (specs[i].letter)
			fprintf(to, "\t'-%c[%s]%s' \\\n", specs[i].letter, specs[i].help, value);
		fprintf(to, "\t'%s--%s[%s]%s' \\\n", i == OPTION_HEADER ? "*" : "", specs[i].name,
			specs[i].help, value);
	}
	fprintf(to, "\t'*:URL:_urls'\n");
}

bool options_complete(const char *shell, FILE *to)
{
	if (strcmp(shell, "bash") == 0)
		complete_bash(to);
	else if (strcmp(shell, "zsh") == 0)
		complete_zsh(to);
	else
		return false;
	return true;
}
