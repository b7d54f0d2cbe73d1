/* SPDX-License-Identifier: Apache-2.0
 *
 * weir-fetch - downloads under the limits of weir. Exit status: 0 all is there, 1 something is
 * missing, 2 it could not begin; 128 and the signal's number when one ended it.
 */
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <curl/curl.h>
#include <weir.h>

#include "uv_crew.h"

#define MANIFEST_NAME "weir-fetch.sha256"

enum {
	EXIT_ALL = 0,
	EXIT_SOME = 1,
	EXIT_CANNOT = 2,
	EXIT_BY_SIGNAL = 128,
};

static int cannot(const char *what, const char *why)
{
	fprintf(stderr, "weir-fetch: %s: %s\n", what, why);
	return EXIT_CANNOT;
}

/* ---- the URLs ---- */

struct list {
	char **items;
	size_t count;
	size_t room;
	void *known; /* a tree of search.h: the items */
};

static int compare_items(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* One that is there already is the same file. */
static bool list_add(struct list *list, const char *item)
{
	if (tfind(item, &list->known, compare_items))
		return true;
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 64;
		char **items = realloc(list->items, room * sizeof(char *));

		if (!items)
			return false;
		list->items = items;
		list->room = room;
	}
	list->items[list->count] = strdup(item);
	return list->items[list->count] &&
	       tsearch(list->items[list->count++], &list->known, compare_items);
}

/* The items are the list's. */
static void keep_item(void *item)
{
	(void)item;
}

static void list_free(struct list *list)
{
	tdestroy(list->known, keep_item);
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
}

/* One a line; blank lines and those that begin with # say nothing. */
static bool list_read(struct list *list, FILE *from)
{
	char *line = NULL;
	size_t room = 0;
	bool good = true;

	while (good && getline(&line, &room, from) >= 0) {
		char *url = line + strspn(line, " \t\r");

		url[strcspn(url, " \t\r\n")] = '\0';
		if (url[0] && url[0] != '#')
			good = list_add(list, url);
	}
	free(line);
	return good && !ferror(from);
}

static bool list_of(struct list *list, char **urls)
{
	bool good = true;

	for (; *urls && good; urls++)
		good = strcmp(*urls, "-") == 0 ? list_read(list, stdin) : list_add(list, *urls);
	return good;
}

/* ---- the run ---- */

static int run(const struct options *options, struct crew *crew)
{
	struct weir_options attach = WEIR_OPTIONS_INIT;
	int status;

	attach.name = options->instance;
	attach.shm_dir = options->shm_dir;
	status = weir_open(&crew->weir, &attach);
	if (status < 0)
		return cannot("weir", weir_strerror(status));
	status = crew_run(crew);
	if (status == 0) {
		report_limits(crew->report, crew->weir);
		status = report_summary(crew->report, options->json, stdout);
	}
	weir_close(crew->weir);
	if (status < 0)
		return cannot("weir-fetch", weir_strerror(status));
	if (crew->signal)
		return EXIT_BY_SIGNAL + crew->signal;
	return crew->report->failed ? EXIT_SOME : EXIT_ALL;
}

static int run_in_folder(const struct options *options, struct list *urls)
{
	struct manifest manifest = {.fd = -1};
	struct report report;
	struct crew crew = {
		.options = options,
		.manifest = &manifest,
		.report = &report,
		.urls = urls->items,
		.url_count = urls->count,
	};
	char path[4096];
	int status;

	if (mkdir(options->folder, 0777) < 0 && errno != EEXIST)
		return cannot(options->folder, strerror(errno));
	crew.folder_fd = open(options->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (crew.folder_fd < 0)
		return cannot(options->folder, strerror(errno));
	snprintf(path, sizeof(path), "%s/%s", options->folder, MANIFEST_NAME);
	report_begin(&report, options->quiet, isatty(STDERR_FILENO));
	status = manifest_open(&manifest, options->manifest ? options->manifest : path);
	status = status < 0
			 ? cannot(options->manifest ? options->manifest : path, strerror(-status))
			 : run(options, &crew);
	manifest_close(&manifest);
	close(crew.folder_fd);
	return status;
}

int main(int argc, char **argv)
{
	char wrong[OPTIONS_WRONG_BYTES];
	struct options options;
	struct list urls = {.count = 0};
	int status;

	if (!options_read(&options, argc, argv, wrong)) {
		fprintf(stderr, "weir-fetch: %s\nTry 'weir-fetch --help'.\n", wrong);
		return EXIT_CANNOT;
	}
	if (options.help) {
		options_usage(stdout);
		return EXIT_ALL;
	}
	if (options.version) {
		printf("weir-fetch %s\n", weir_version());
		return EXIT_ALL;
	}
	if (options.completion)
		return options_complete(options.completion, stdout)
			       ? EXIT_ALL
			       : cannot(options.completion, "no such shell: bash or zsh");
	curl_global_init(CURL_GLOBAL_DEFAULT);
	status = list_of(&urls, options.urls) ? run_in_folder(&options, &urls)
					      : cannot("standard input", strerror(errno));
	list_free(&urls);
	curl_global_cleanup();
	return status;
}
