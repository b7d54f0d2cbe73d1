/* SPDX-License-Identifier: Apache-2.0
 *
 * completion bash|zsh - prints a script that completes command lines of weirctl.
 *
 * What there is to complete comes from the tables that the usage text comes from: commands and
 * options by their names, operands by the words of the synopsis, values by what the option calls
 * its argument or by the list of its words. Names of endpoints are asked of weirctl itself, when
 * they are needed, of the instance that the line speaks of.
 */
#include "ctl.h"

#include <stdio.h>
#include <string.h>

#define WORDS_BYTES 1024

/* ---- what the tables say ---- */

/* The operands of a command, by its synopsis. */
struct operands {
	bool is_name; /* the first one is the name of an endpoint */
	bool are_files;
	char words[WORDS_BYTES]; /* what the others may be, a blank between them */
};

static void add_word(struct operands *operands, const char *word, size_t length)
{
	size_t used = strlen(operands->words);

	snprintf(operands->words + used, sizeof(operands->words) - used, "%s%.*s", used ? " " : "",
		 (int)length, word);
}

/* One word of a synopsis: NAME, [key=VALUE], one|another. */
static void read_word(struct operands *operands, const char *word, size_t length)
{
	const char *equals = memchr(word, '=', length);

	if (length == 4 && !memcmp(word, "NAME", 4))
		operands->is_name = true;
	else if (length == 6 && !memcmp(word, "LOG...", 6))
		operands->are_files = true;
	else if (equals && word[0] == '[')
		add_word(operands, word + 1, (size_t)(equals - word));
	else if (memchr(word, '|', length))
		for (size_t from = 0, to; from < length; from = to + 1) {
			to = from + strcspn(word + from, "| ");
			add_word(operands, word + from, to - from);
		}
}

static struct operands operands_of(const struct command *command)
{
	struct operands operands = {.is_name = false};
	const char *at = command->synopsis;

	while (*at) {
		size_t length = strcspn(at, " ");

		/* an option, with the name of its value */
		if (!strncmp(at, "[-", 2))
			length = strcspn(at, "]") + 1;
		else
			read_word(&operands, at, length);
		at += length;
		at += strspn(at, " ");
	}
	return operands;
}

/* What an option's value is; "words ..." of a list, "" for an option that takes none. */
static const char *value_kind(const struct option_spec *spec, char out[WORDS_BYTES])
{
	const char *argument = spec->argument ? spec->argument : "";

	if (option_words(spec->id))
		snprintf(out, WORDS_BYTES, "words %s", option_words(spec->id));
	else
		snprintf(out, WORDS_BYTES, "%s",
			 !argument[0]		     ? ""
			 : spec->id == OPTION_NAME   ? "instance"
			 : !strcmp(argument, "DIR")  ? "folder"
			 : !strcmp(argument, "PATH") ? "file"
			 : !strcmp(argument, "FILE") ? "file"
						     : "text");
	return out;
}

/* Who draws asks for a name; to all others a pattern is a name as well. */
static bool draws(const struct command *command)
{
	return (command->options & OPTION_BIT(OPTION_COST)) != 0;
}

/* ---- bash ---- */

static const char bash_head[] =
	"# bash completion of weirctl, as printed by `weirctl completion bash`\n"
	"\n"
	"# Cuts the line before the cursor into `words` as bash does, without quotes and\n"
	"# backslashes; the last one is what is being completed, `open` the quote it is in.\n"
	"__weirctl_cut()\n"
	"{\n"
	"\tlocal line=${COMP_LINE:0:COMP_POINT} word= begun= char i\n"
	"\twords=() open=\n"
	"\tfor ((i = 0; i < ${#line}; i++)); do\n"
	"\t\tchar=${line:i:1}\n"
	"\t\tcase $open$char in\n"
	"\t\t\"''\" | '\"\"') open= ;;\n"
	"\t\t\"'\"?) word+=$char ;;\n"
	"\t\t'\\' | '\"\\') i=$((i + 1)) word+=${line:i:1} begun=1 ;;\n"
	"\t\t'\"'?) word+=$char ;;\n"
	"\t\t\\' | \\\") open=$char begun=1 ;;\n"
	"\t\t' ' | $'\\t' | $'\\n')\n"
	"\t\t\t[[ -z $begun ]] || words+=(\"$word\")\n"
	"\t\t\tword= begun= ;;\n"
	"\t\t*) word+=$char begun=1 ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\twords+=(\"$word\")\n"
	"}\n"
	"\n"
	"# Offers, of the lines of standard input, those that begin with what is typed, behind "
	"$1.\n"
	"__weirctl_offer()\n"
	"{\n"
	"\tlocal typed=${words[-1]} breaks= char item count\n"
	"\t# readline completes what stands behind the last of these, outside of quotes\n"
	"\tfor char in : = @; do\n"
	"\t\t[[ $COMP_WORDBREAKS != *$char* ]] || breaks+=$char\n"
	"\tdone\n"
	"\twhile IFS= read -r item; do\n"
	"\t\titem=$1$item\n"
	"\t\t[[ $item == \"$typed\"* ]] || continue\n"
	"\t\t[[ $item != *= ]] || compopt -o nospace 2>/dev/null\n"
	"\t\tif [[ -z $open ]]; then\n"
	"\t\t\tprintf -v item %q \"$item\"\n"
	"\t\t\tcount=${typed//[!$breaks]/}\n"
	"\t\t\t[[ $breaks ]] || count=\n"
	"\t\t\tfor ((count = ${#count}; count > 0; count--)); do\n"
	"\t\t\t\titem=${item#*[$breaks]}\n"
	"\t\t\tdone\n"
	"\t\tfi\n"
	"\t\tCOMPREPLY+=(\"$item\")\n"
	"\tdone\n"
	"}\n"
	"\n"
	"# Names of endpoints, of the instance that the line speaks of.\n"
	"__weirctl_names()\n"
	"{\n"
	"\tlocal program=${words[0]/#\\~\\//$HOME/}\n"
	"\ttype -P \"$program\" >/dev/null || program=weirctl\n"
	"\t\"$program\" \"${place[@]}\" list --names 2>/dev/null\n"
	"}\n"
	"\n"
	"# Names of instances that are there.\n"
	"__weirctl_instances()\n"
	"{\n"
	"\tlocal folder object\n"
	"\tfor folder in \"${WEIR_SHM_DIR-}\" \"${XDG_RUNTIME_DIR:-/run/user/$UID}/weir\" "
	"/dev/shm; "
	"do\n"
	"\t\tfor object in \"$folder\"/weir.*.rules; do\n"
	"\t\t\tobject=${object##*/weir.}\n"
	"\t\t\t[[ $object == '*.rules' ]] || echo \"${object%.rules}\"\n"
	"\t\tdone\n"
	"\tdone\n"
	"}\n"
	"\n"
	"# Offers values of the kind $1, behind $2.\n"
	"__weirctl_values()\n"
	"{\n"
	"\tlocal typed=${words[-1]#\"$2\"}\n"
	"\tcase $1 in\n"
	"\tinstance) __weirctl_offer \"$2\" < <(__weirctl_instances) ;;\n"
	"\tfolder | file)\n"
	"\t\tcompopt -o filenames 2>/dev/null\n"
	"\t\tmapfile -t COMPREPLY < <(\n"
	"\t\t\tif [[ $1 == folder ]]; then compgen -d -- \"$typed\"; else compgen -f -- "
	"\"$typed\"; fi\n"
	"\t\t) ;;\n"
	"\twords*) __weirctl_offer \"$2\" < <(printf '%s\\n' ${1#words}) ;;\n"
	"\tesac\n"
	"}\n"
	"\n";

static const char bash_tail[] =
	"\n"
	"# Remembers what says which instance is meant.\n"
	"__weirctl_given()\n"
	"{\n"
	"\tcase $1 in\n"
	"\t-N | --name | --shm-dir) place+=(\"$1\" \"$2\") ;;\n"
	"\tesac\n"
	"}\n"
	"\n"
	"# Reads the words before the one that is being completed.\n"
	"__weirctl_read()\n"
	"{\n"
	"\tlocal i word\n"
	"\tfor ((i = 1; i < ${#words[@]} - 1; i++)); do\n"
	"\t\tword=${words[i]}\n"
	"\t\tif [[ $option ]]; then\n"
	"\t\t\t__weirctl_given \"$option\" \"$word\"\n"
	"\t\t\toption=\n"
	"\t\telif [[ -z $ended && $word == -- ]]; then\n"
	"\t\t\tended=1\n"
	"\t\telif [[ -z $ended && $word == --*=* ]]; then\n"
	"\t\t\t__weirctl_given \"${word%%=*}\" \"${word#*=}\"\n"
	"\t\telif [[ -z $ended && $word == -?* ]]; then\n"
	"\t\t\tif [[ $(__weirctl_kind \"$command\" \"$word\") ]]; then\n"
	"\t\t\t\toption=$word\n"
	"\t\t\telif [[ $word == -N* ]]; then\n"
	"\t\t\t\t__weirctl_given -N \"${word#-N}\"\n"
	"\t\t\tfi\n"
	"\t\telif [[ -z $command ]]; then\n"
	"\t\t\tcommand=$word\n"
	"\t\telse\n"
	"\t\t\t((operands++))\n"
	"\t\t\t# what follows is somebody else's\n"
	"\t\t\t[[ $operands -lt 2 || $(__weirctl_operand \"$command\" 1) != command ]] || ended=1\n"
	"\t\tfi\n"
	"\tdone\n"
	"}\n"
	"\n"
	"__weirctl_complete_operand()\n"
	"{\n"
	"\tlocal kind\n"
	"\tkind=$(__weirctl_operand \"$command\" \"$operands\")\n"
	"\tcase $kind in\n"
	"\tname) __weirctl_offer '' < <(__weirctl_names) ;;\n"
	"\tname-to-draw) __weirctl_offer '' < <(__weirctl_names | grep -vF '*') ;;\n"
	"\tcommand)\n"
	"\t\tif [[ $operands -eq 1 ]]; then\n"
	"\t\t\tmapfile -t COMPREPLY < <(compgen -c -- \"${words[-1]}\")\n"
	"\t\telse\n"
	"\t\t\tcompopt -o filenames 2>/dev/null\n"
	"\t\t\tmapfile -t COMPREPLY < <(compgen -f -- \"${words[-1]}\")\n"
	"\t\tfi ;;\n"
	"\tfile | words*) __weirctl_values \"$kind\" '' ;;\n"
	"\tesac\n"
	"}\n"
	"\n"
	"_weirctl()\n"
	"{\n"
	"\tlocal words open place=() command= option= ended= operands=0 IFS=$' \\t\\n' typed\n"
	"\tCOMPREPLY=()\n"
	"\t__weirctl_cut\n"
	"\t__weirctl_read\n"
	"\ttyped=${words[-1]}\n"
	"\tif [[ $option ]]; then\n"
	"\t\t__weirctl_values \"$(__weirctl_kind \"$command\" \"$option\")\" ''\n"
	"\telif [[ -z $ended && $typed == --*=* ]]; then\n"
	"\t\t__weirctl_values \"$(__weirctl_kind \"$command\" \"${typed%%=*}\")\" "
	"\"${typed%%=*}=\"\n"
	"\telif [[ -z $ended && $typed == -* ]]; then\n"
	"\t\t__weirctl_offer '' < <(__weirctl_options \"$command\")\n"
	"\telif [[ -z $command ]]; then\n"
	"\t\t__weirctl_offer '' < <(__weirctl_commands)\n"
	"\telse\n"
	"\t\t__weirctl_complete_operand\n"
	"\tfi\n"
	"}\n"
	"\n"
	"complete -F _weirctl weirctl\n";

static void print_option_words(uint64_t options)
{
	printf("\tprintf '%%s\\n'");
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const struct option_spec *spec = &option_specs[i];

		if (!(options & OPTION_BIT(spec->id)))
			continue;
		printf(" --%s", spec->name);
		if (spec->letter)
			printf(" -%c", spec->letter);
	}
}

static void print_bash_options(void)
{
	printf("__weirctl_options()\n{\n");
	print_option_words(OPTIONS_GLOBAL);
	printf("\n\tcase $1 in\n");
	for (const struct command *command = commands; command->name; command++) {
		if (!command->options)
			continue;
		printf("\t%s)", command->name);
		print_option_words(command->options);
		printf(" ;;\n");
	}
	printf("\tesac\n}\n\n");
}

/* COMMAND OPTION: the kind of its value. */
static void print_bash_kinds(const char *command, uint64_t options)
{
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const struct option_spec *spec = &option_specs[i];
		char kind[WORDS_BYTES];

		if (!(options & OPTION_BIT(spec->id)) || !value_kind(spec, kind)[0])
			continue;
		printf("\t%s:--%s", command, spec->name);
		if (spec->letter)
			printf(" | %s:-%c", command, spec->letter);
		printf(") echo '%s' ;;\n", kind);
	}
}

static void print_bash_operands(void)
{
	printf("# What the operand of command $1 is that has $2 before it.\n"
	       "__weirctl_operand()\n{\n\tcase $1:$2 in\n");
	for (const struct command *command = commands; command->name; command++) {
		struct operands operands = operands_of(command);

		if (operands.are_files)
			printf("\t%s:*) echo file ;;\n", command->name);
		if (operands.is_name)
			printf("\t%s:0) echo name%s ;;\n", command->name,
			       draws(command) ? "-to-draw" : "");
		if (command->command_follows)
			printf("\t%s:*) echo command ;;\n", command->name);
		else if (operands.words[0])
			printf("\t%s:%s) echo 'words %s' ;;\n", command->name,
			       operands.is_name ? "*" : "0", operands.words);
	}
	printf("\thelp:0) echo \"words $(echo $(__weirctl_commands))\" ;;\n\tesac\n}\n");
}

static void print_bash(void)
{
	fputs(bash_head, stdout);
	printf("__weirctl_commands()\n{\n\tprintf '%%s\\n'");
	for (const struct command *command = commands; command->name; command++)
		printf(" %s", command->name);
	printf(" help\n}\n\n# The options of command $1.\n");
	print_bash_options();
	printf("# What the value of option $2 of command $1 is; nothing if it takes none.\n"
	       "__weirctl_kind()\n{\n\tcase $1:$2 in\n");
	print_bash_kinds("*", OPTIONS_GLOBAL);
	for (const struct command *command = commands; command->name; command++)
		print_bash_kinds(command->name, command->options);
	printf("\tesac\n}\n\n");
	print_bash_operands();
	fputs(bash_tail, stdout);
}

/* ---- zsh ---- */

static const char zsh_head[] =
	"#compdef weirctl\n"
	"# zsh completion of weirctl, as printed by `weirctl completion zsh`\n"
	"\n"
	"# Names of endpoints, of the instance that the line speaks of; $1 names what to leave "
	"out.\n"
	"_weirctl_names()\n"
	"{\n"
	"\tlocal -a place names\n"
	"\tlocal -i i\n"
	"\tlocal word\n"
	"\tfor ((i = 2; i < $#_weirctl_line; i++)); do\n"
	"\t\tword=$_weirctl_line[i]\n"
	"\t\tcase $word in\n"
	"\t\t(--) break ;;\n"
	"\t\t(-N|--name|--shm-dir) place+=($word ${(Q)_weirctl_line[++i]}) ;;\n"
	"\t\t(-N*|--name=*|--shm-dir=*) place+=(${(Q)word}) ;;\n"
	"\t\tesac\n"
	"\tdone\n"
	"\tnames=(${(f)\"$(_call_program names $_weirctl_line[1] ${(q)place} list --names)\"})\n"
	"\t[[ $1 != draw ]] || names=(${names:#*\\**})\n"
	"\t_wanted names expl 'endpoint' compadd -a names\n"
	"}\n"
	"\n"
	"_weirctl_instances()\n"
	"{\n"
	"\tlocal -a objects\n"
	"\tobjects=({${WEIR_SHM_DIR-},${XDG_RUNTIME_DIR:-/run/user/$UID}/weir,/dev/shm}/"
	"weir.*.rules(N))\n"
	"\tobjects=(${${objects##*/weir.}%.rules})\n"
	"\t_wanted instances expl 'instance' compadd -a objects\n"
	"}\n"
	"\n"
	"# KEY= words, behind which a value is to be typed.\n"
	"_weirctl_keys()\n"
	"{\n"
	"\t_wanted settings expl 'setting' compadd -S '' -- $@\n"
	"}\n"
	"\n"
	"# Somebody else's command line, which may begin with --.\n"
	"_weirctl_command()\n"
	"{\n"
	"\tif [[ $words[1] == -- ]]; then\n"
	"\t\tshift words\n"
	"\t\t((CURRENT--))\n"
	"\tfi\n"
	"\t_normal\n"
	"}\n"
	"\n";

static const char zsh_tail[] = "\n"
			       "_weirctl()\n"
			       "{\n"
			       "\tlocal curcontext=$curcontext state state_descr line expl\n"
			       "\tlocal -A opt_args\n"
			       "\tlocal -a _weirctl_line global specs\n"
			       "\t_weirctl_line=(\"${words[@]}\")\n"
			       "\t_weirctl_specs ''\n"
			       "\t_arguments -C -s $global '1:command:_weirctl_commands' "
			       "'*::argument:->arguments' && return\n"
			       "\t[[ $state == arguments ]] || return 1\n"
			       "\t_weirctl_specs $words[1]\n"
			       "\t_arguments -s -S $global $specs\n"
			       "}\n"
			       "\n"
			       "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n"
			       "\t_weirctl \"$@\"\n"
			       "else\n"
			       "\tcompdef _weirctl weirctl\n"
			       "fi\n";

/* Within single quotes, where brackets and colons would mean something. */
static void print_zsh_text(const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			printf("'\\'");
		else if (strchr("[]:\\", *text))
			putchar('\\');
		putchar(*text);
	}
}

static void print_zsh_action(const struct option_spec *spec)
{
	char kind[WORDS_BYTES];

	value_kind(spec, kind);
	if (!kind[0])
		return;
	printf(":%s:", spec->argument);
	if (option_words(spec->id))
		printf("(%s)", option_words(spec->id));
	else if (!strcmp(kind, "instance"))
		printf("_weirctl_instances");
	else if (!strcmp(kind, "folder"))
		printf("_directories");
	else if (!strcmp(kind, "file"))
		printf("_files");
	else
		putchar(' ');
}

/* '(-N --name)'{-N+,--name=}'[help]:NAME:action' */
static void print_zsh_option(const struct option_spec *spec)
{
	bool takes = spec->argument != NULL;

	printf("\t\t");
	if (spec->letter)
		printf("'(-%c --%s)'{-%c%s,--%s%s}'[", spec->letter, spec->name, spec->letter,
		       takes ? "+" : "", spec->name, takes ? "=" : "");
	else
		printf("'--%s%s[", spec->name, takes ? "=" : "");
	print_zsh_text(spec->help);
	putchar(']');
	print_zsh_action(spec);
	printf("'\n");
}

static void print_zsh_options(uint64_t options)
{
	for (size_t i = 0; i < OPTION_COUNT; i++)
		if (options & OPTION_BIT(option_specs[i].id))
			print_zsh_option(&option_specs[i]);
}

static void print_zsh_operands(const struct command *command)
{
	struct operands operands = operands_of(command);

	if (operands.are_files)
		printf("\t\t'*:log:_files'\n");
	if (operands.is_name)
		printf("\t\t'1:endpoint:_weirctl_names%s'\n", draws(command) ? " draw" : "");
	if (command->command_follows)
		printf("\t\t'*:::command:_weirctl_command'\n");
	else if (operands.words[0] && operands.is_name)
		printf("\t\t'*:setting:_weirctl_keys %s'\n", operands.words);
	else if (operands.words[0])
		printf("\t\t'1:argument:(%s)'\n", operands.words);
}

static void print_zsh_commands(void)
{
	printf("_weirctl_commands()\n{\n\tlocal -a commands\n\tcommands=(\n");
	for (const struct command *command = commands; command->name; command++) {
		printf("\t\t'%s:", command->name);
		print_zsh_text(command->help);
		printf("'\n");
	}
	printf("\t\t'help:what a command does'\n\t)\n"
	       "\t_describe -t commands 'command' commands\n}\n\n");
}

static void print_zsh(void)
{
	fputs(zsh_head, stdout);
	print_zsh_commands();
	printf("# The options of all commands in `global`, what else command $1 takes in `specs`.\n"
	       "_weirctl_specs()\n{\n\tglobal=(\n");
	print_zsh_options(OPTIONS_GLOBAL);
	printf("\t)\n\tspecs=()\n\tcase $1 in\n");
	for (const struct command *command = commands; command->name; command++) {
		printf("\t(%s) specs=(\n", command->name);
		print_zsh_options(command->options);
		print_zsh_operands(command);
		printf("\t) ;;\n");
	}
	printf("\t(help) specs=('1:command:_weirctl_commands') ;;\n\tesac\n}\n");
	fputs(zsh_tail, stdout);
}

enum ctl_exit command_completion(struct ctl *ctl)
{
	const char *shell = ctl->args.operands[0];

	if (!strcmp(shell, "bash"))
		print_bash();
	else if (!strcmp(shell, "zsh"))
		print_zsh();
	else
		return ctl_misuse(ctl, "`%.80s`: bash or zsh", shell);
	return CTL_DONE;
}
