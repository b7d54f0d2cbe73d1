#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# manual.sh WEIR_SIM PAGE - weir-sim(1) against the program: its options, the kinds of scenarios,
# the members of its JSON, and nothing that is not there.
set -eu

sim=$1
page=$2
faults=0

# same WHAT A B: two lists of words, in any order.
same()
{
	[ "$(echo "$2" | tr -s ' ' '\n' | sort -u)" = "$(echo "$3" | tr -s ' ' '\n' | sort -u)" ] && return
	echo "fault: $1: the program has $2, the page $3" >&2
	faults=$((faults + 1))
}

# quoted: every word that the page has in quotation marks.
quoted()
{
	sed -n 's/^\.\(It \)\{0,1\}Ql //p' "$page" | tr -d ','
}

options=$("$sim" --help | sed -n 's/^  --\([a-z-]*\).*/\1/p')
same 'options in the synopsis' "$options" \
	"$(sed -n 's/^\.Op Fl -\([a-z-]*\).*/\1/p' "$page")"
same 'options' "$options help" \
	"$(sed -n 's/^\.It Fl \(h , Fl \)\{0,1\}-\([a-z-]*\).*/\2/p' "$page")"

same 'kinds of scenarios' "$("$sim" --list | sed 's,/.*,/,')" \
	"$(sed -n 's/^\.It Pa //p' "$page")"
for word in $(sed -n 's/^\.It Ql //p' "$page" | tr -d ','); do
	"$sim" --list | grep -q "/$word" || {
		echo "fault: no scenario is called $word" >&2
		faults=$((faults + 1))
	}
done

objects=$("$sim" --scenario fixed/1-worker --json; "$sim" --scenario servers/few --json)
pilots=$(sed -n 's/^\.It Cm //p' "$page")
same 'controllers' "$(echo "$objects" | grep -o '"[a-z]*":{' | tr -d '":{')" "$pilots"
for member in $(echo "$objects" | grep -o '"[a-z]*":' | tr -d '":'); do
	case " $(echo "$pilots" | tr '\n' ' ')$(quoted | tr '\n' ' ')" in
	*" $member "*) ;;
	*)
		echo "fault: the page has no member $member" >&2
		faults=$((faults + 1))
		;;
	esac
done
[ "$faults" -eq 0 ]
