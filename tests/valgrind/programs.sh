#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# programs.sh WEIRD WEIRCTL MEMCHECK... - the life of an instance with weird and every weirctl under
# valgrind: start, draw, change, reload, look, stop. No error, nothing lost.
set -eu

weird=$1 weirctl=$2
shift 2
stage=$(mktemp -d)
weird_pid=

leave()
{
	[ -z "$weird_pid" ] || kill "$weird_pid" 2>/dev/null || true
	rm -rf "$stage"
}
trap leave EXIT
trap 'exit 1' HUP INT TERM

fail()
{
	echo "fault: $*" >&2
	[ ! -s "$stage/weird.log" ] || sed 's/^/weird: /' "$stage/weird.log" >&2
	exit 1
}

export WEIR_NAME="valgrind-$$" WEIR_SHM_DIR="$stage"
unset WEIR_SOCKET
runs=0

# ends STATUS ARGUMENTS...: weirctl, which ends so; what it says is shown only when it does not.
ends()
{
	wanted=$1
	shift
	status=0
	$memcheck "$weirctl" "$@" >"$stage/out" 2>&1 || status=$?
	[ "$status" -eq "$wanted" ] || fail "weirctl $* ended with $status, not $wanted:
$(cat "$stage/out")"
	runs=$((runs + 1))
}

# The words of the command line have no blanks but between them.
memcheck="$*"
cat >"$stage/weir.ini" <<'END'
[endpoint api.example.com]
rate = 5000/h
burst = 100
[endpoint api.example.com/v1/*]
rate = 10/s
burst = 5
max_wait = 30s
[default]
rate = 10/s
END
$memcheck "$weird" --check -c "$stage/weir.ini" >"$stage/out" 2>&1 ||
	fail "weird --check: $(cat "$stage/out")"
$memcheck "$weird" -c "$stage/weir.ini" 2>"$stage/weird.log" &
weird_pid=$!
tries=0
until grep -q ready "$stage/weird.log"; do
	kill -0 "$weird_pid" 2>/dev/null || fail "weird did not start"
	tries=$((tries + 1))
	[ "$tries" -lt 1200 ] || fail "weird does not become ready"
	sleep 0.05
done

ends 0 acquire api.example.com
ends 0 acquire api.example.com -n 99
ends 1 acquire api.example.com -n 50
ends 0 acquire other.example.com --wait 2s
ends 0 run api.example.com/v1/x -- true
ends 0 list
ends 0 list --json
ends 0 show api.example.com
ends 0 show api.example.com --json
ends 0 members
ends 0 set other.example.com rate=20/s burst=40
ends 0 set api.example.com rate=6000/h --keep level
ends 0 close api.example.com --for 1min
ends 1 acquire api.example.com
ends 0 open api.example.com
ends 0 reset api.example.com
printf '[endpoint new.example.com]\nrate = 1/s\n' >>"$stage/weir.ini"
ends 0 reload
ends 0 acquire new.example.com
echo '[endpoint broken' >>"$stage/weir.ini"
ends 2 reload
ends 0 check
ends 2 show
ends 2 no-such-command

kill -TERM "$weird_pid"
status=0
wait "$weird_pid" || status=$?
weird_pid=
[ "$status" -eq 0 ] || fail "weird ended with $status"
! grep '^==' "$stage/weird.log" >&2 || fail "valgrind speaks of weird"
ends 0 list
echo "weird and $runs runs of weirctl without an error"
