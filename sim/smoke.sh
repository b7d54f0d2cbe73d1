#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# smoke.sh WEIR_SIM - a short run meets its targets with several seeds, is the same when it is run
# again, and its JSON has the promised shape.
set -eu

sim=$1
out=$(mktemp)
again=$(mktemp)
trap 'rm -f "$out" "$again"' EXIT
faults=0

fault()
{
	echo "fault: $*" >&2
	faults=$((faults + 1))
}

"$sim" --fast --seeds 3 --json >"$out" || fault "exit status $?: a target is missed"
"$sim" --scenario fixed/shared --seeds 3 --json >"$again" || :
grep -qxF "$(grep -F '"scenario":"fixed/shared"' "$again")" "$out" ||
	fault "the same seeds give other figures"
! grep -qiE 'nan|inf' "$out" || fault "a figure that is no number"

for name in $("$sim" --fast --list); do
	line=$(grep -F "{\"scenario\":\"$name\"," "$out") || {
		fault "no line for $name"
		continue
	}
	case $name in
	servers/*) pilots='weir fixed unlimited' ;;
	*) pilots='weir fixed backoff reference' ;;
	esac
	for pilot in $pilots; do
		case $line in
		*"\"$pilot\":{\"used\":"*) ;;
		*) fault "$name has no figures of $pilot" ;;
		esac
	done
	case $line in
	*'"runs":3,"target":"'*'"verdict":"met"'*) ;;
	*) fault "$name: $line" ;;
	esac
done

"$sim" --scenario fixed/whole | grep -q '^fixed/whole .* target 97 %, at most 0.1 %: met$' ||
	fault "the table has no such row"
"$sim" --scenario fixed/whole --json >"$again"
"$sim" --scenario fixed/whole --seed 2 --json | cmp -s - "$again" && fault "the seed makes no difference"
"$sim" --scenario fixed/whole --trace | grep -q 'what is left, spread until it is renewed' ||
	fault "the trace says no cause"
"$sim" --scenario servers/fall | grep -q '^servers/fall  .* target 90 % at 2 x: met$' ||
	fault "the table has no such row of servers"
"$sim" --scenario servers/fall --json >"$again"
"$sim" --scenario servers/fall --seed 2 --json | cmp -s - "$again" &&
	fault "the seed makes no difference to servers"
"$sim" --scenario servers/fall --trace | grep -q 'x its base: calls queue upstream' ||
	fault "the trace of servers says no cause"
"$sim" --fast --scenario servers --seeds 2 >/dev/null || fault "a target of servers is missed"
for wrong in '--scenario no-such' '--seed x' '--seed -1' '--seeds 0' '--seeds 65' '--seeds x' \
	'--no-such' 'argument'; do
	status=0
	# shellcheck disable=SC2086 # words
	"$sim" $wrong >/dev/null 2>&1 || status=$?
	[ "$status" -eq 2 ] || fault "$wrong: exit status $status, not 2"
done

[ "$faults" -eq 0 ] || {
	cat "$out" >&2
	exit 1
}
echo "targets met: $(grep -c '"verdict":"met"' "$out")"
