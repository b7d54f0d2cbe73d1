#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# test_permits.sh WEIRD WEIRCTL - weirctl permits, run --permit, set and show, with a weird: who holds
# what, signals, exit statuses, weirctl killed, max_hold, limits that change, tables that must wait.
set -eu

weird=$1 weirctl=$2
stage=$(mktemp -d)
daemon=
trap '[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true; rm -rf "$stage"' EXIT
trap 'exit 1' HUP INT TERM

fail()
{
	echo "fault: $*" >&2
	[ ! -f "$stage/log" ] || cat "$stage/log" >&2
	exit 1
}

same()
{
	[ "$2" = "$3" ] || fail "$1: '$2', not '$3'"
}

# until what [argument...]: it becomes true within half a minute.
until_true()
{
	tries=0
	while ! "$@" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ "$tries" -lt 600 ] || fail "never: $*"
		sleep 0.05
	done
}

config()
{
	cat >"$stage/weir.ini" <<END
[weir]
shm_dir = $stage
socket = $stage/socket
permits = $1
[endpoint job]
rate = 100/s
burst = 100
concurrency = 3
max_hold = ${2:-unlimited}
END
}

ctl()
{
	"$weirctl" --shm-dir "$stage" --socket "$stage/socket" "$@"
}

holds()
{
	[ "$(ctl permits job --json | sed -n 's/^ *"held": \([0-9]*\),*/\1/p')" = "$1" ]
}

# The only child of a process, once it has become the command.
child_of()
{
	child=$(cut -d' ' -f1 "/proc/$1/task/$1/children")
	[ "$(cat "/proc/$child/comm")" = sleep ] && echo "$child"
}

# A process is gone, or waits to be collected.
is_gone()
{
	! grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status" 2>/dev/null
}

config 16
"$weird" -c "$stage/weir.ini" >"$stage/log" 2>&1 &
daemon=$!
until_true ctl list

# the command's status, and what is wrong with it
status=0
ctl run job --permit -- sh -c 'exit 7' || status=$?
same 'the status of the command' "$status" 7
status=0
ctl run job --permit -- /nowhere/at/all 2>"$stage/out" || status=$?
same 'the status without a command' "$status" 127
status=0
ctl run job --permit -- "$stage/weir.ini" 2>"$stage/out" || status=$?
same 'the status of what is no program' "$status" 126
status=0
ctl run job --keep-running -- true 2>"$stage/out" || status=$?
same 'the status of --keep-running alone' "$status" 2
until_true holds 0

# who holds one; a signal goes to the command, and its status comes back
"$weirctl" --shm-dir "$stage" run job --permit -- sleep 60 &
runner=$!
until_true holds 1
ctl permits job >"$stage/out"
grep -q "^limit *3\$" "$stage/out" || fail "no limit in: $(cat "$stage/out")"
grep -q "^free *2\$" "$stage/out" || fail "no free permits in: $(cat "$stage/out")"
grep -q " $runner *weirctl " "$stage/out" || fail "no holder in: $(cat "$stage/out")"
ctl permits job --json | grep -q '"program": "weirctl"' || fail 'no holder in the JSON'
ctl show job | grep -q '^permits *2 of 3 free' || fail 'show says nothing of permits'
ctl list >"$stage/out"
grep -q '^ENDPOINT .* HELD/LIMIT *PWAIT *STATE$' "$stage/out" || fail "list: $(cat "$stage/out")"
grep -q '^job .* 1/3 *0 *open$' "$stage/out" || fail "no permits in: $(cat "$stage/out")"
grep -q '^\* .* - *- ' "$stage/out" || fail "permits of [default] in: $(cat "$stage/out")"
for what in 'list' 'top -n 1 --every 50ms'; do
	ctl $what --json >"$stage/out"
	for fact in '"concurrency": *3' '"permits_held": *1' '"permits_free": *2' \
		'"permits_waiting": *0'; do
		grep -q "$fact" "$stage/out" || fail "no $fact in $what: $(cat "$stage/out")"
	done
done
ctl top -b -n 1 --every 50ms >"$stage/out"
grep -q '^job .* 1/3 *0 *open$' "$stage/out" || fail "no permits in: $(cat "$stage/out")"
kill -TERM "$runner"
status=0
wait "$runner" || status=$?
same 'the status of a command that was ended' "$status" 143
until_true holds 0

# weirctl is killed: its permit comes back, and the command gets SIGTERM
"$weirctl" --shm-dir "$stage" run job --permit -- sleep 60 &
runner=$!
until_true holds 1
until_true child_of "$runner"
command=$(child_of "$runner")
kill -KILL "$runner"
wait "$runner" 2>/dev/null || true
until_true holds 0
until_true is_gone "$command"

# or goes on, if it was told to
"$weirctl" --shm-dir "$stage" run job --permit --keep-running -- sleep 60 &
runner=$!
until_true child_of "$runner"
command=$(child_of "$runner")
kill -KILL "$runner"
wait "$runner" 2>/dev/null || true
until_true holds 0
! is_gone "$command" || fail 'the command did not go on'
kill "$command"

# the limit changes live; who finds none free is refused, and runs nothing
ctl set job concurrency=1 | grep -q 'concurrency 3 -> 1' || fail 'set says nothing'
"$weirctl" --shm-dir "$stage" run job --permit -- sleep 60 &
runner=$!
until_true holds 1
status=0
ctl run job --permit --wait 50ms -- touch "$stage/ran" 2>"$stage/out" || status=$?
same 'the status of a refusal' "$status" 1
[ ! -e "$stage/ran" ] || fail 'a refused command was run'
grep -q 'no permit was free within 0.05 s' "$stage/out" || fail "it says: $(cat "$stage/out")"
status=0
ctl set '*' concurrency=1 2>"$stage/out" || status=$?
same 'the status of a limit for [default]' "$status" 2
grep -q 'a rule of its own' "$stage/out" || fail "it says: $(cat "$stage/out")"

# somebody in line for one is counted
"$weirctl" --shm-dir "$stage" run job --permit --wait 60s -- true &
other=$!
until_true sh -c "'$weirctl' --shm-dir '$stage' list | grep -q '^job .* 1/1 *1 *open'"
kill -TERM "$other"
wait "$other" || true

# a larger table waits until nobody holds a permit
config 64
status=0
ctl reload >"$stage/out" 2>&1 || status=$?
[ "$status" -ne 0 ] || fail 'the tables were enlarged under a holder'
grep -q 'permits are held' "$stage/out" || fail "reload says: $(cat "$stage/out")"
holds 1 || fail 'the holder lost its permit by it'
kill -TERM "$runner"
wait "$runner" || true
until_true holds 0
ctl reload >"$stage/out" 2>&1 || fail "reload says: $(cat "$stage/out")"

ctl permits job | grep -q '^max hold *unlimited$' || fail 'permits says nothing of max hold'
ctl show job | grep -q 'max hold unlimited$' || fail 'show says nothing of max hold'

# held for longer than it may be: taken away, and said in the log and by weirctl
config 64 200ms
ctl reload >/dev/null
"$weirctl" --shm-dir "$stage" run job --permit -- sleep 60 2>"$stage/out" &
runner=$!
until_true grep -q 'a permit of job was taken away from member' "$stage/log"
until_true holds 0
kill -TERM "$runner"
wait "$runner" || true
grep -q 'longer than max_hold' "$stage/out" || fail "weirctl says: $(cat "$stage/out")"

ctl check >/dev/null || fail 'the segment is not sound'
kill "$daemon"
wait "$daemon" || true
daemon=
echo 'permits, as weirctl and weird have them'
