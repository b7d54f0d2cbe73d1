/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <getopt.h>
#include <stddef.h>
#include <stdio.h>

const char options_help[] =
	"Usage: weird [OPTION]...\n"
	"Keeps the rules of one weir instance: one rate limit for all processes of a host.\n"
	"\n"
	"  -c, --config FILE  the configuration; default: /etc/weir/weir.ini for root, else\n"
	"                     $XDG_CONFIG_HOME/weir/weir.ini or ~/.config/weir/weir.ini;\n"
	"                     without the default file, [default] is 10/s\n"
	"  -N, --name NAME    the instance; beats WEIR_NAME and the file's `name =`\n"
	"      --check        read the configuration, say what is wrong with it or what would\n"
	"                     run, and leave\n"
	"      --remove       run as usual, and at the stop take the segment away; without it\n"
	"                     a stop leaves the segment, with all levels, for the next start\n"
	"  -v, --verbose      log members that come and go, and more\n"
	"  -q, --quiet        log warnings and errors only\n"
	"      --help         this text\n"
	"      --version      the version\n"
	"\n"
	"weird stays in the foreground and logs to standard error. SIGHUP reads the\n"
	"configuration again and applies the difference; SIGTERM and SIGINT stop.\n"
	"Environment: WEIR_NAME, WEIR_SHM_DIR, WEIR_SOCKET, XDG_RUNTIME_DIR.\n"
	"Exit status: 0 stopped, 1 runtime, 2 usage, 3 configuration. See weird(8).\n";

enum {
	OPTION_CHECK = 256,
	OPTION_REMOVE,
	OPTION_HELP,
	OPTION_VERSION,
};

static const struct option long_options[] = {
	{"config", required_argument, NULL, 'c'},
	{"name", required_argument, NULL, 'N'},
	{"check", no_argument, NULL, OPTION_CHECK},
	{"remove", no_argument, NULL, OPTION_REMOVE},
	{"verbose", no_argument, NULL, 'v'},
	{"quiet", no_argument, NULL, 'q'},
	{"help", no_argument, NULL, OPTION_HELP},
	{"version", no_argument, NULL, OPTION_VERSION},
	{NULL, 0, NULL, 0},
};

static void set_log(struct options *options, enum log_level level)
{
	options->log_given = true;
	options->log = level;
}

static void take(struct options *options, int option)
{
	switch (option) {
	case 'c':
		options->config = optarg;
		return;
	case 'N':
		options->name = optarg;
		return;
	case 'v':
		set_log(options, LOG_DEBUG);
		return;
	case 'q':
		set_log(options, LOG_WARNING);
		return;
	case OPTION_CHECK:
		options->mode = OPTIONS_CHECK;
		return;
	case OPTION_REMOVE:
		options->remove = true;
		return;
	case OPTION_HELP:
		options->mode = OPTIONS_HELP;
		return;
	case OPTION_VERSION:
		options->mode = OPTIONS_VERSION;
		return;
	default:
		options->mode = OPTIONS_WRONG;
		return;
	}
}

void options_parse(struct options *out, int count, char **arguments)
{
	struct options options = {.mode = OPTIONS_RUN, .log = LOG_INFO};
	int option;

	while (options.mode != OPTIONS_WRONG &&
	       (option = getopt_long(count, arguments, "c:N:vq", long_options, NULL)) >= 0)
		take(&options, option);
	if (options.mode != OPTIONS_WRONG && optind < count) {
		fprintf(stderr, "%s: unexpected argument '%s'\n", arguments[0], arguments[optind]);
		options.mode = OPTIONS_WRONG;
	}
	*out = options;
}
