/* SPDX-License-Identifier: Apache-2.0
 *
 * weirctl - the operator's hand: looks at an instance, changes its limits, draws from them.
 */
#include "ctl.h"

#include <locale.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "access_log.h"
#include "weir.h"

#define DRAW_OPTIONS (OPTION_BIT(OPTION_COST) | OPTION_BIT(OPTION_WAIT) | OPTION_BIT(OPTION_CLASS))
#define TOP_OPTIONS                                                                                \
	(OPTION_BIT(OPTION_BATCH) | OPTION_BIT(OPTION_REFRESHES) | OPTION_BIT(OPTION_EVERY) |      \
	 OPTION_BIT(OPTION_SORT) | OPTION_BIT(OPTION_FILTER) | OPTION_BIT(OPTION_NO_COLOR))
#define SIMULATE_OPTIONS                                                                           \
	(OPTION_BIT(OPTION_RATE) | OPTION_BIT(OPTION_BURST) | OPTION_BIT(OPTION_WINDOW) |          \
	 OPTION_BIT(OPTION_KEY) | OPTION_BIT(OPTION_TIME) | OPTION_BIT(OPTION_COST_FIELD) |        \
	 OPTION_BIT(OPTION_FOLD) | OPTION_BIT(OPTION_SLACK) | OPTION_BIT(OPTION_AT_ONCE) |         \
	 OPTION_BIT(OPTION_KEYS) | OPTION_BIT(OPTION_SWEEP) | OPTION_BIT(OPTION_PLOT))
#define ANY INT_MAX

const struct command commands[] = {
	{"list", "[--names]", "every limit: rate, burst, level, counts, state", NULL,
	 OPTION_BIT(OPTION_NAMES), 0, 0, false, command_list},
	{"top", "[-b] [-n COUNT] [--every D] [--sort KEY] [--filter TEXT]",
	 "what passes right now, drawn again and again",
	 "Keys: q quits, space pauses, s sorts by the next key, / filters, h says what there is.\n"
	 "With -b, or when it does not draw on a terminal, it prints lines; with --json an object\n"
	 "each time. The first comes after one D, since rates are of the time between two looks.",
	 TOP_OPTIONS, 0, 0, false, command_top},
	{"show", "NAME [KEY] [--fields]",
	 "which rule a name falls under and why, and how it stands",
	 "NAME may also be the text of a pattern, or '*' for the rule of [default]. Behind the\n"
	 "pattern of an [each] may stand the key that one asks about.",
	 OPTION_BIT(OPTION_FIELDS), 1, 2, false, command_show},
	{"keys", "NAME", "the keys of a rule: the most refused, how many there are, and room",
	 "NAME is the pattern of an [each]. Counts go back to when the segment was made; that of "
	 "a\n"
	 "key is exact to within what it was when the key came on the list.",
	 0, 1, 1, false, command_keys},
	{"set",
	 "NAME [rate=R] [burst=B] [initial=I] [max_wait=D] [window=W] [shadow=yes|no] "
	 "[shadow_rate=R] [shadow_burst=B] [concurrency=N] [max_hold=D] ['class NAME=VALUE']... "
	 "[--keep WHAT]",
	 "change a limit, in force at every worker's next call",
	 "The values are those of weir.ini: rate=5000/h burst=100 'window=1h first'\n"
	 "'class batch=leave 20 %'.\n"
	 "What is not given stays. A name without a rule of its own gets one; '*' is [default].\n"
	 "--keep says what becomes of the level: what was used stays used, the level stays, its\n"
	 "share of the burst stays, or it is reset to full.",
	 OPTION_BIT(OPTION_KEEP), 1, ANY, false, command_set},
	{"reset", "NAME [KEY]", "fill a bucket; who waits in line takes a new place",
	 "NAME and KEY are as for show. The pattern of an [each] alone fills all its keys; who\n"
	 "waits in the line of a key keeps the place.",
	 0, 1, 2, false, command_reset},
	{"close", "NAME [--for D]", "close an endpoint for everybody; it opens empty",
	 "Without --for it stays closed until it is opened.", OPTION_BIT(OPTION_FOR), 1, 1, false,
	 command_close},
	{"open", "NAME", "open an endpoint that was closed", NULL, 0, 1, 1, false, command_open},
	{"adapt", "NAME off|on", "freeze the speed that was learned, or learn it anew",
	 "Of a rule that is adaptive: off keeps the speed as it is, on begins with the rule's own.",
	 0, 2, 2, false, command_adapt},
	{"observe", "NAME [--status N] [--latency D] [HEADER]... [-]",
	 "tell of a response, which may close or slow the endpoint",
	 "A HEADER is 'Retry-After: 30'; - reads them from standard input, as curl -D - writes\n"
	 "them, with the status line if there is one. In force for all processes at once.",
	 OPTION_BIT(OPTION_STATUS) | OPTION_BIT(OPTION_LATENCY), 1, ANY, false, command_observe},
	{"reload", "", "have weird read its configuration again", NULL, 0, 0, 0, false,
	 command_reload},
	{"members", "", "who is attached", NULL, 0, 0, 0, false, command_members},
	{"permits", "NAME", "how many calls may be under way, and who has a permit", NULL, 0, 1, 1,
	 false, command_permits},
	{"check", "", "audit the segment; exit status 1 if anything is wrong", NULL, 0, 0, 0, false,
	 command_check},
	{"acquire", "NAME [-n COST] [--wait D] [--class NAME] [--fields]",
	 "take tokens; exit status 0 admitted, 1 refused",
	 "Without --wait it does not wait. Refused, it prints how long to wait.",
	 DRAW_OPTIONS | OPTION_BIT(OPTION_FIELDS), 1, 1, false, command_acquire},
	{"run",
	 "NAME [-n COST] [--wait D] [--class NAME] [--permit] [--keep-running] -- COMMAND...",
	 "take tokens, then run a command",
	 "Without --wait it waits for its turn without bound. Refused: exit status 1, and the\n"
	 "command is not run. Otherwise the exit status is the command's. With --permit it takes\n"
	 "a permit as well, holds it while the command runs, and passes signals on; when weirctl\n"
	 "itself is killed, the command gets SIGTERM.",
	 DRAW_OPTIONS | OPTION_BIT(OPTION_PERMIT) | OPTION_BIT(OPTION_KEEP_RUNNING), 2, ANY, true,
	 command_run},
	{"load", "NAME [-P N] [-n COST] [--for D] [--no-queue] [--class NAME]",
	 "let processes draw; hold what was granted against what is allowed",
	 "N processes (4) draw as fast as they are let, for D (10s). Prints rates each second\n"
	 "and a verdict; exit status 1 if more was granted than the limit allows.",
	 OPTION_BIT(OPTION_WORKERS) | OPTION_BIT(OPTION_COST) | OPTION_BIT(OPTION_FOR) |
		 OPTION_BIT(OPTION_NO_QUEUE) | OPTION_BIT(OPTION_CLASS),
	 1, 1, false, command_load},
	{"simulate", "--rate R [--burst B] [--key FIELD] [--sweep WHAT] [--plot FILE] LOG...",
	 "what a limit would have made of the requests in access logs",
	 "LOG is an access log of the common or combined format, or of JSON lines; gzip is "
	 "undone,\n"
	 "- is standard input, and several are read as one, by their times. FIELD is a column's\n"
	 "number, the path of a member of JSON, or one of\n" LOG_COLUMNS ".",
	 SIMULATE_OPTIONS, 1, ANY, false, command_simulate},
	{"fields",
	 "[--status N] [--time EPOCH] [--profile P] [field.limit=NAME] [field.remaining=NAME] "
	 "[field.reset=NAME]...",
	 "say what the fields of an HTTP response mean; they come from standard input",
	 "The head of a response, as curl -i prints it: a status line or none, then NAME: VALUE a\n"
	 "line, up to an empty line. Which fields have a meaning, and which, is in "
	 "weir-fields(7);\n"
	 "without --profile all names that are known count, and units are told from the values.\n"
	 "Mappings are those of weir.ini: field.remaining=X-Foo-Left 'field.reset=X-Foo-Reset "
	 "epoch_ms'.",
	 OPTION_BIT(OPTION_STATUS) | OPTION_BIT(OPTION_CAPTURED) | OPTION_BIT(OPTION_PROFILE), 0,
	 ANY, false, command_fields},
	{"completion", "bash|zsh", "print a script that completes command lines of weirctl",
	 "bash: source <(weirctl completion bash)\n"
	 "zsh:  source <(weirctl completion zsh), after compinit; or as a file _weirctl in $fpath",
	 0, 1, 1, false, command_completion},
	{NULL, NULL, NULL, NULL, 0, 0, 0, false, NULL},
};

static const struct command *find_command(const char *name)
{
	for (const struct command *command = commands; command->name; command++)
		if (!strcmp(command->name, name))
			return command;
	return NULL;
}

/* ---- help ---- */

static void print_options(FILE *out, uint64_t options)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const struct option_spec *spec = &option_specs[i];
		char text[64];

		if (!(options & OPTION_BIT(spec->id)))
			continue;
		snprintf(text, sizeof(text), "%c%c%c --%s%s%s", spec->letter ? '-' : ' ',
			 spec->letter ? spec->letter : ' ', spec->letter ? ',' : ' ', spec->name,
			 spec->argument ? " " : "", spec->argument ? spec->argument : "");
		fprintf(out, "  %-24s %s\n", text, spec->help);
	}
}

static void print_usage(FILE *out)
{
	fprintf(out, "Usage: weirctl [OPTION]... COMMAND [ARGUMENT]...\n"
		     "Looks at a weir instance, changes its limits, draws from them.\n\n");
	for (const struct command *command = commands; command->name; command++)
		fprintf(out, "  %-10s %s\n", command->name, command->help);
	fprintf(out, "\nOptions of every command:\n");
	print_options(out, OPTIONS_GLOBAL);
	fprintf(out,
		"\nReading works while weird is not running. `weirctl help COMMAND` says more.\n"
		"Exit status: 0 done, 1 refused or findings, 2 cannot. See weirctl(1).\n");
}

static void print_command(FILE *out, const struct command *command)
{
	fprintf(out, "Usage: weirctl %s%s%s\n%s\n", command->name, command->synopsis[0] ? " " : "",
		command->synopsis, command->help);
	if (command->details)
		fprintf(out, "\n%s\n", command->details);
	fputc('\n', out);
	print_options(out, command->options | OPTIONS_GLOBAL);
}

static enum ctl_exit print_help(int topics, char **topic)
{
	const struct command *command;

	if (topics == 0) {
		print_usage(stdout);
		return CTL_DONE;
	}
	command = find_command(topic[0]);
	if (!command)
		return ctl_complain("no command `%.80s` (see: weirctl help)", topic[0]);
	print_command(stdout, command);
	return CTL_DONE;
}

static void print_version(void)
{
	printf("weirctl %s\n", weir_version());
}

/* ---- start ---- */

static const char *environment(const char *variable)
{
	const char *value = getenv(variable);

	return value && value[0] ? value : NULL;
}

static const char *given(const struct ctl *ctl, enum option_id id, const char *variable)
{
	return ctl->args.values[id] ? ctl->args.values[id] : environment(variable);
}

static bool find_place(struct ctl *ctl)
{
	const struct place_hints hints = {
		.name = given(ctl, OPTION_NAME, "WEIR_NAME"),
		.shm_dir = given(ctl, OPTION_SHM_DIR, "WEIR_SHM_DIR"),
		.socket = given(ctl, OPTION_SOCKET, "WEIR_SOCKET"),
		.runtime_dir = environment("XDG_RUNTIME_DIR"),
		.uid = (uint32_t)geteuid(),
	};
	int status = place_resolve(&ctl->place, &hints, PLACE_TO_ATTACH);

	if (status == WEIR_ENAME)
		ctl_complain("`%.80s` is no instance's name: 1 to %d bytes, not beginning with a "
			     "dot, without / and blanks",
			     hints.name ? hints.name : "", WEIR_INSTANCE_MAX);
	else if (status < 0)
		ctl_complain("the folder or socket of the instance: %s", weir_strerror(status));
	return status == 0;
}

static bool operands_fit(const struct ctl *ctl)
{
	const struct command *command = ctl->command;

	if (ctl->args.operand_count < command->operands_min) {
		ctl_misuse(ctl, "something is missing: weirctl %s %s", command->name,
			   command->synopsis);
		return false;
	}
	if (ctl->args.operand_count > command->operands_max) {
		ctl_misuse(ctl, "`%.80s` is too much: weirctl %s %s",
			   ctl->args.operands[command->operands_max], command->name,
			   command->synopsis);
		return false;
	}
	return true;
}

static enum ctl_exit run_command(struct ctl *ctl, int argc, char **argv)
{
	char wrong[OPTIONS_WRONG_BYTES];

	if (!options_parse(&ctl->args, argc, argv, OPTIONS_GLOBAL | ctl->command->options,
			   ctl->command->command_follows ? 1 : OPTIONS_ANYWHERE, wrong))
		return ctl_misuse(ctl, "%s", wrong);
	if (ctl->args.values[OPTION_HELP]) {
		print_command(stdout, ctl->command);
		return CTL_DONE;
	}
	if (ctl->args.values[OPTION_VERSION]) {
		print_version();
		return CTL_DONE;
	}
	if (!operands_fit(ctl) || !find_place(ctl))
		return CTL_CANNOT;
	ctl->json = ctl->args.values[OPTION_JSON] != NULL;
	return ctl->command->run(ctl);
}

static enum ctl_exit run(int argc, char **argv)
{
	struct ctl ctl = {.command = NULL};
	char wrong[OPTIONS_WRONG_BYTES];

	if (!options_parse(&ctl.args, argc, argv, OPTIONS_GLOBAL, 0, wrong))
		return ctl_complain("%s (see: weirctl help)", wrong);
	if (ctl.args.values[OPTION_VERSION]) {
		print_version();
		return CTL_DONE;
	}
	if (ctl.args.values[OPTION_HELP])
		return print_help(0, NULL);
	if (ctl.args.operand_count == 0) {
		print_usage(stderr);
		return CTL_CANNOT;
	}
	if (!strcmp(ctl.args.operands[0], "help"))
		return print_help(ctl.args.operand_count - 1, ctl.args.operands + 1);
	ctl.command = find_command(ctl.args.operands[0]);
	if (!ctl.command)
		return ctl_complain("no command `%.80s` (see: weirctl help)", ctl.args.operands[0]);
	return run_command(&ctl, ctl.args.operand_count - 1, ctl.args.operands + 1);
}

int main(int argc, char **argv)
{
	/* how wide characters are; nothing else of the locale is wanted */
	setlocale(LC_CTYPE, "");

	enum ctl_exit status = run(argc > 0 ? argc - 1 : 0, argv + (argc > 0));

	/* what could not be printed was not done */
	if ((fflush(stdout) != 0 || ferror(stdout)) && status != CTL_CANNOT)
		status = ctl_complain("cannot write to standard output");
	return (int)status;
}
