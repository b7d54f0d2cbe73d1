/* SPDX-License-Identifier: Apache-2.0
 *
 * uv_crew.c - begins files, hears of their ends, and begins others.
 */
#include "uv_crew.h"

#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "target.h"

#define STARTED_MAX 1024      /* files that are begun, in line or on their way */
#define DESCRIPTORS_BESIDE 32 /* what else is open */
#define REDIRECTS 10
#define DRAW_MS 200
#define CONNECT_S 30

/* The run, while it lasts. */
struct run {
	struct crew *crew;
	struct weir_http *http;
	uv_loop_t uv;
	uv_signal_t interrupt;
	uv_signal_t terminate;
	uv_timer_t draw;
	struct curl_slist *headers; /* that the user gave */
	void *names;		    /* a tree of search.h: taken in this run */
	size_t next;		    /* of the URLs */
	unsigned started;
	unsigned started_most;
	bool starts; /* start_more() is at it */
	bool stops;
};

/* One file. */
struct file {
	struct run *run;
	const char *url;
	CURL *easy;
	struct curl_slist *headers;
	struct target target;
	uv_timer_t rest;   /* a server that is left alone for a while */
	uint32_t restarts; /* after that, or after a range that was none */
	bool begun;	   /* its answer was looked at */
	bool discards;	   /* its body is no part of the file */
	bool was_resumed;
	int fault; /* -errno of writing, or -EPROTO */
};

static void start_more(struct run *run);
static void run_end(struct run *run);

/* ---- what is asked for ---- */

static bool add_header(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer = curl_slist_append(*list, line);

	if (longer)
		*list = longer;
	return longer != NULL;
}

/* The fields of a request that goes on where the part ends, if that is still the same version. */
static int set_range(struct file *file)
{
	char line[TARGET_VALIDATOR_BYTES + 16];
	char range[32];

	curl_slist_free_all(file->headers);
	file->headers = NULL;
	for (struct curl_slist *at = file->run->headers; at; at = at->next)
		if (!add_header(&file->headers, at->data))
			return -ENOMEM;
	if (file->target.have && file->target.validator[0]) {
		snprintf(line, sizeof(line), "If-Range: %s", file->target.validator);
		if (!add_header(&file->headers, line))
			return -ENOMEM;
		snprintf(range, sizeof(range), "%" PRIu64 "-", file->target.have);
		curl_easy_setopt(file->easy, CURLOPT_RANGE, range);
	} else {
		curl_easy_setopt(file->easy, CURLOPT_RANGE, NULL);
	}
	curl_easy_setopt(file->easy, CURLOPT_HTTPHEADER, file->headers);
	file->begun = file->discards = file->was_resumed = false;
	return 0;
}

static int on_restart(CURL *easy, void *context)
{
	struct file *file = context;

	(void)easy;
	return file->fault ? file->fault : set_range(file);
}

/* ---- what comes ---- */

static const char *field(const struct file *file, const char *name)
{
	struct curl_header *found;

	return curl_easy_header(file->easy, name, 0, CURLH_HEADER, -1, &found) == CURLHE_OK
		       ? found->value
		       : NULL;
}

/* What tells this version of the file from another; NULL: nothing does for certain. */
static const char *validator(const struct file *file)
{
	const char *etag = field(file, "ETag");
	const char *found = etag && strncmp(etag, "W/", 2) != 0 ? etag
			    : etag				? NULL
								: field(file, "Last-Modified");

	return found && strlen(found) < TARGET_VALIDATOR_BYTES ? found : NULL;
}

static bool range_begins(const struct file *file, uint64_t at)
{
	const char *range = field(file, "Content-Range");
	uint64_t from;

	return range && sscanf(range, "bytes %" SCNu64 "-", &from) == 1 && from == at;
}

/* An answer's fields are there: does its body go on, begin anew, or is it no part of the file? */
static void look_at_answer(struct file *file)
{
	long status = 0;

	file->begun = true;
	curl_easy_getinfo(file->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status == 206) {
		file->was_resumed = true;
		if (!range_begins(file, file->target.have))
			file->fault = -EPROTO;
	} else if (status == 200) {
		file->fault = target_restart(&file->target, file->url, validator(file));
	} else {
		file->discards = true;
	}
}

static size_t on_body(char *bytes, size_t one, size_t count, void *context)
{
	struct file *file = context;

	if (!file->begun)
		look_at_answer(file);
	if (file->discards)
		return one * count;
	if (!file->fault)
		file->fault = target_add(&file->target, bytes, one * count);
	if (file->fault)
		return 0;
	file->run->crew->report->bytes += one * count;
	return one * count;
}

/* ---- how it ends ---- */

static void file_free(struct file *file)
{
	target_leave(&file->target);
	if (file->easy)
		curl_easy_cleanup(file->easy);
	curl_slist_free_all(file->headers);
	free(file);
}

static void file_ended(struct file *file)
{
	struct run *run = file->run;

	file_free(file);
	run->started--;
	start_more(run);
}

static void file_failed(struct file *file, const char *why)
{
	struct report *report = file->run->crew->report;

	report->failed++;
	report_line(report, "failed   %s: %s", file->url, why);
	file_ended(file);
}

static void file_finished(struct file *file)
{
	struct crew *crew = file->run->crew;
	uint64_t bytes = file->target.have;
	char sum[SHA256_HEX];
	int status = target_finish(&file->target, sum);

	if (status == 0)
		status = manifest_add(crew->manifest, file->url, file->target.name, bytes, sum);
	if (status < 0) {
		crew->fault = status;
		file_failed(file, strerror(-status));
		return;
	}
	crew->report->fetched++;
	crew->report->resumed += file->was_resumed;
	report_line(crew->report, "fetched  %s to %s, %" PRIu64 " bytes%s", file->url,
		    file->target.name, bytes, file->was_resumed ? ", resumed" : "");
	file_ended(file);
}

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void why_failed(const struct file *file, CURLcode code,
		       const struct weir_http_result *result, char *out, size_t bytes)
{
	switch ((enum weir_http_outcome)result->outcome) {
	case WEIR_HTTP_ANSWERED:
		if (result->retry_ns)
			snprintf(out, bytes, "status %d, and to come back in %.0f s",
				 result->status, (double)result->retry_ns / 1e9);
		else if (is_redirect(result->status))
			snprintf(out, bytes, "status %d, a redirect that is not followed%s",
				 result->status,
				 result->hops >= REDIRECTS ? ": there were too many before it"
							   : "");
		else
			snprintf(out, bytes, "status %d", result->status);
		break;
	case WEIR_HTTP_FAILED:
		snprintf(out, bytes, "%s",
			 file->fault == -EPROTO ? "the server sent another range than was asked for"
			 : file->fault		? strerror(-file->fault)
						: curl_easy_strerror(code));
		break;
	case WEIR_HTTP_REFUSED:
		if (result->wait_ns == WEIR_NEVER)
			snprintf(out, bytes, "its turn did not come in time");
		else
			snprintf(out, bytes, "its turn would come in %.1f s",
				 (double)result->wait_ns / 1e9);
		break;
	case WEIR_HTTP_BROKEN:
		snprintf(out, bytes, "too much has failed there; left alone for %.1f s",
			 (double)result->wait_ns / 1e9);
		break;
	case WEIR_HTTP_CANCELLED:
		snprintf(out, bytes, "interrupted");
		break;
	case WEIR_HTTP_FAULT:
		snprintf(out, bytes, "%s", weir_strerror(result->fault));
		break;
	}
}

static void file_go(struct file *file);

static void on_rest_closed(uv_handle_t *handle)
{
	struct file *file = handle->data;

	if (file->run->stops)
		file_failed(file, "interrupted");
	else
		file_go(file);
}

static void on_rested(uv_timer_t *timer)
{
	uv_close((uv_handle_t *)timer, on_rest_closed);
}

/* Begins once more, later: its server is left alone for now. */
static bool rests(struct file *file, const struct weir_http_result *result)
{
	struct run *run = file->run;

	if (result->outcome != WEIR_HTTP_BROKEN || run->stops ||
	    file->restarts++ >= run->crew->options->retries)
		return false;
	uv_timer_init(&run->uv, &file->rest);
	file->rest.data = file;
	uv_timer_start(&file->rest, on_rested, result->wait_ns / WEIR_MILLISECOND + 1, 0);
	return true;
}

/* There is no such range: all of it is there already, or the part is of no use. */
static bool mends_range(struct file *file)
{
	const char *range = field(file, "Content-Range");
	uint64_t whole;

	if (range && sscanf(range, "bytes */%" SCNu64, &whole) == 1 && whole == file->target.have) {
		file->was_resumed = true;
		file_finished(file);
		return true;
	}
	if (file->restarts++ || target_restart(&file->target, file->url, NULL) < 0)
		return false;
	file_go(file);
	return true;
}

static void on_done(CURL *easy, CURLcode code, const struct weir_http_result *result, void *context)
{
	struct file *file = context;
	char why[200];

	(void)easy;
	report_result(file->run->crew->report, result);
	if (code == CURLE_OK && result->outcome == WEIR_HTTP_ANSWERED && !file->fault) {
		/* one without a body */
		if (!file->begun)
			look_at_answer(file);
		if (!file->discards && !file->fault) {
			file_finished(file);
			return;
		}
		if (result->status == 416 && file->target.have && mends_range(file))
			return;
	}
	if (rests(file, result))
		return;
	/* what a server says of another file is no beginning of this one */
	why_failed(file, code, result, why, sizeof(why));
	if (file->fault && file->fault != -EPROTO)
		file->run->crew->fault = file->fault;
	file_failed(file, why);
}

/* ---- how it begins ---- */

static void set_handle(struct file *file)
{
	const struct options *options = file->run->crew->options;
	CURL *easy = file->easy;

	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)options->stall_s);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "weir-fetch/" WEIR_VERSION);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	if (options->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, options->ca_file);
}

static void file_go(struct file *file)
{
	struct run *run = file->run;
	const struct options *options = run->crew->options;
	const struct weir_http_request request = {
		.size = sizeof(request),
		.url = file->url,
		.endpoint = options->endpoint,
		.class_name = options->class_name,
		/* fields that the user gave are for the host that he gave them for */
		.flags = run->headers ? 0 : WEIR_HTTP_CROSS_ORIGIN,
		.redirects = REDIRECTS,
		.timeout_ns = options->wait_ns,
		.write = on_body,
		.restart = on_restart,
		.context = file,
	};
	int status = set_range(file);

	file->fault = 0;
	if (status == 0)
		status = weir_http_start(run->http, file->easy, &request, on_done, file, NULL);
	if (status < 0)
		file_failed(file, run->stops ? "interrupted" : strerror(-status));
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Enters a name; false: it is taken in this run, or there is no memory for it. */
static bool take_name(struct run *run, const char *name)
{
	char *copy = strdup(name);
	char **node = copy ? tsearch(copy, &run->names, compare_names) : NULL;

	if (!node || *node != copy) {
		free(copy);
		return false;
	}
	return true;
}

/* Whether there is a file of that name that did not come from the URL. */
static bool is_foreign(const struct crew *crew, const char *name, const char *url)
{
	const struct manifest_entry *entry = manifest_of_file(crew->manifest, name);
	struct stat there;

	if (entry)
		return strcmp(entry->url, url) != 0;
	return fstatat(crew->folder_fd, name, &there, AT_SYMLINK_NOFOLLOW) == 0;
}

static void choose_name(struct run *run, const char *url, char name[TARGET_NAME_BYTES])
{
	const struct manifest_entry *entry = manifest_of_url(run->crew->manifest, url);

	if (entry && strlen(entry->file) < TARGET_NAME_BYTES && !strchr(entry->file, '/')) {
		strcpy(name, entry->file);
		(void)take_name(run, name);
		return;
	}
	target_name(url, name);
	if (!is_foreign(run->crew, name, url) && take_name(run, name))
		return;
	target_other_name(url, name);
	(void)take_name(run, name);
}

/* Whether the manifest has it, and it is there as long as it was. */
static bool is_kept(const struct crew *crew, const char *url)
{
	const struct manifest_entry *entry = manifest_of_url(crew->manifest, url);
	struct stat there;

	return entry && fstatat(crew->folder_fd, entry->file, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(there.st_mode) && (uint64_t)there.st_size == entry->bytes;
}

/* What is wrong with it, or NULL. A scheme may be missing, as for curl: then it is http. */
static const char *url_fault(const char *url)
{
	const char *scheme_end = strstr(url, "://");
	size_t scheme = scheme_end ? (size_t)(scheme_end - url) : 0;

	for (const char *at = url; *at; at++)
		if ((unsigned char)*at <= ' ' || *at == 0x7f)
			return "that is no URL";
	if (!url[0])
		return "that is no URL";
	if (scheme_end && scheme == strcspn(url, "/?#:") &&
	    !(scheme == 4 && strncasecmp(url, "http", 4) == 0) &&
	    !(scheme == 5 && strncasecmp(url, "https", 5) == 0))
		return "only URLs of http and https are fetched";
	return NULL;
}

static void file_begin(struct run *run, const char *url)
{
	struct crew *crew = run->crew;
	struct file *file = calloc(1, sizeof(*file));
	char name[TARGET_NAME_BYTES];
	int status;

	if (!file) {
		crew->report->failed++;
		return;
	}
	run->started++;
	file->run = run;
	file->url = url;
	file->target.fd = -1;
	if (url_fault(url)) {
		file_failed(file, url_fault(url));
		return;
	}
	choose_name(run, url, name);
	status = target_open(&file->target, crew->folder_fd, name, url);
	file->easy = status == 0 ? curl_easy_init() : NULL;
	if (!file->easy) {
		file_failed(file, status == -EBUSY ? "another process is fetching it"
				  : status	   ? strerror(-status)
						   : "out of memory");
		return;
	}
	set_handle(file);
	file_go(file);
}

static void start_more(struct run *run)
{
	struct crew *crew = run->crew;

	/* one that ends at once comes here again, and leaves it to the loop */
	if (run->starts)
		return;
	run->starts = true;
	while (!run->stops && run->started < run->started_most && run->next < crew->url_count) {
		const char *url = crew->urls[run->next++];

		if (!is_kept(crew, url)) {
			file_begin(run, url);
			continue;
		}
		crew->report->kept++;
		report_line(crew->report, "kept     %s", url);
	}
	run->starts = false;
	if (run->started == 0 && (run->stops || run->next == crew->url_count))
		run_end(run);
}

/* ---- the run ---- */

/*
 * How many files may be begun: each has its part open, each connection a socket, and two more while
 * a name is looked up. The limit of descriptors is raised as far as it may be.
 */
static unsigned started_most(rlim_t connections)
{
	const rlim_t beside = DESCRIPTORS_BESIDE + 3 * connections;
	const rlim_t wanted = STARTED_MAX + beside;
	struct rlimit limit;
	rlim_t room;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1;
	if (limit.rlim_cur < wanted) {
		struct rlimit raised = limit;

		raised.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			limit = raised;
	}
	room = limit.rlim_cur / 5;
	if (limit.rlim_cur > beside && limit.rlim_cur - beside > room)
		room = limit.rlim_cur - beside;
	return room > STARTED_MAX ? STARTED_MAX : room > 0 ? (unsigned)room : 1;
}

static void run_end(struct run *run)
{
	if (uv_is_closing((uv_handle_t *)&run->draw))
		return;
	run->stops = true;
	weir_http_detach(run->http, NULL, NULL);
	uv_close((uv_handle_t *)&run->draw, NULL);
	uv_close((uv_handle_t *)&run->interrupt, NULL);
	uv_close((uv_handle_t *)&run->terminate, NULL);
}

/* Files whose server is left alone would rest on. */
static void stop_resting(uv_handle_t *handle, void *context)
{
	struct run *run = context;

	if (handle->type == UV_TIMER && ((uv_timer_t *)handle)->timer_cb == on_rested &&
	    handle != (uv_handle_t *)&run->draw && !uv_is_closing(handle))
		uv_close(handle, on_rest_closed);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct run *run = handle->data;

	run->crew->signal = number;
	run->crew->report->interrupted = true;
	run->stops = true;
	/* the second one ends it at once */
	uv_signal_stop(&run->interrupt);
	uv_signal_stop(&run->terminate);
	weir_http_detach(run->http, NULL, NULL);
	uv_walk(&run->uv, stop_resting, run);
	start_more(run);
}

static void on_draw(uv_timer_t *timer)
{
	struct run *run = timer->data;

	report_draw(run->crew->report);
}

static int run_open(struct run *run)
{
	const struct options *options = run->crew->options;
	const struct weir_http_settings settings = {
		.size = sizeof(settings),
		.connections = options->parallel,
		.tries = options->retries + 1,
		/* who asks for retries gets them: the breaker keeps them from a server that is gone
		 */
		.budget_percent = 100,
	};
	int status;

	for (unsigned i = 0; i < options->header_count; i++)
		if (!add_header(&run->headers, options->headers[i]))
			return -ENOMEM;
	status = weir_http_open(&run->http, run->crew->weir, &settings);
	if (status < 0)
		return status;
	status = uv_loop_init(&run->uv);
	if (status < 0)
		return status;
	return weir_http_attach(run->http, &run->uv);
}

static void run_close(struct run *run)
{
	weir_http_close(run->http);
	curl_slist_free_all(run->headers);
	tdestroy(run->names, free);
}

int crew_run(struct crew *crew)
{
	struct run run = {
		.crew = crew,
		.started_most = started_most(crew->options->parallel),
	};
	int status = run_open(&run);

	if (status == 0) {
		uv_signal_init(&run.uv, &run.interrupt);
		uv_signal_init(&run.uv, &run.terminate);
		uv_timer_init(&run.uv, &run.draw);
		run.interrupt.data = run.terminate.data = run.draw.data = &run;
		uv_signal_start(&run.interrupt, on_signal, SIGINT);
		uv_signal_start(&run.terminate, on_signal, SIGTERM);
		uv_timer_start(&run.draw, on_draw, 0, DRAW_MS);
		crew->report->files = crew->url_count;
		start_more(&run);
		uv_run(&run.uv, UV_RUN_DEFAULT);
		uv_loop_close(&run.uv);
		report_erase(crew->report);
	}
	run_close(&run);
	return status;
}
