#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# test_manual.sh WEIRCTL PAGE - weirctl(1) against the program: every command with its synopsis,
# every option, and nothing of the kind that the program does not have.
set -eu

weirctl=$1
page=$2
faults=0

fail()
{
	echo "$*" >&2
	faults=$((faults + 1))
}

# The page as plain words: the macros that stand for options, arguments and optional parts go.
words()
{
	sed -e 's/\\-/-/g' -e 's/\\&//g' "$page"
}

commands=$("$weirctl" --help | sed -n 's/^  \([a-z][a-z]*\)  *[a-z].*/\1/p')
[ "$(echo "$commands" | wc -w)" -ge 12 ] || fail "--help lists too few commands: $commands"
for command in $commands; do
	words | grep -q "^\.It Cm $command\>" || fail "the page has no command $command"
	options=$("$weirctl" help "$command" | sed -n 's/^  .*--\([a-z-]*\).*/\1/p')
	for option in $options; do
		words | grep -q "Fl -$option\>" || fail "the page has no option --$option"
	done
done

documented=$(words | sed -n 's/^\.It Cm \([a-z]*\).*/\1/p' | sort -u)
for command in $documented; do
	case " $(echo "$commands" | tr '\n' ' ') help " in
	*" $command "*) ;;
	*) fail "the page has a command that weirctl does not: $command" ;;
	esac
done

all=$(for command in $commands; do
	"$weirctl" help "$command" | sed -n 's/^  .*--\([a-z-]*\).*/\1/p'
done | sort -u)
for option in $(words | grep -o 'Fl -[a-z-]*' | sed 's/Fl -//' | sort -u); do
	echo "$all" | grep -qx -e "$option" || fail "the page has an option that weirctl does not: --$option"
done
for variable in WEIR_NAME WEIR_SHM_DIR WEIR_SOCKET XDG_RUNTIME_DIR; do
	words | grep -q "^\.It Ev $variable" || fail "the page does not name $variable"
done

[ "$faults" -eq 0 ]
