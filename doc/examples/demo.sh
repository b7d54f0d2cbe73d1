#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# demo.sh BIN - several processes share one limit, while its rate is halved, one of them is killed,
# and the daemon is killed and started again. The last line holds what was granted against what
# was allowed; the exit status says the same. BIN is where weird and weirctl are.
#
# Everything happens in a folder of its own, and is gone afterwards.
set -eu

bin=$(CDPATH='' cd -- "${1:?usage: demo.sh BIN}" && pwd)
workers=4
seconds=11

for program in weird weirctl; do
	[ -x "$bin/$program" ] || {
		echo "demo: there is no $bin/$program" >&2
		exit 2
	}
done

dir=$(mktemp -d)
weird_pid=
load_pid=
export WEIR_NAME=demo WEIR_SHM_DIR="$dir"
unset WEIR_SOCKET

clean_up()
{
	{
		# load ends its workers itself
		[ -z "$load_pid" ] || kill -TERM "$load_pid" || true
		[ -z "$weird_pid" ] || kill -KILL "$weird_pid" || true
		wait || true
	} 2>/dev/null
	rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' HUP INT TERM

say()
{
	printf '\n== %s\n' "$*"
}

give_up()
{
	echo "demo: $*" >&2
	[ ! -s "$dir/weird.log" ] || sed 's/^/weird: /' "$dir/weird.log" >&2
	exit 2
}

# What is run, and its output.
show()
{
	printf '$ weirctl %s\n' "$*"
	"$bin/weirctl" "$@"
}

weird_answers()
{
	"$bin/weirctl" list 2>/dev/null | grep -q 'weird is running' && [ -S "$dir/weir.demo.sock" ]
}

start_weird()
{
	"$bin/weird" -c "$dir/weir.ini" 2>>"$dir/weird.log" &
	weird_pid=$!
	tries=0
	until weird_answers; do
		kill -0 "$weird_pid" 2>/dev/null || give_up "weird did not start"
		tries=$((tries + 1))
		[ "$tries" -lt 100 ] || give_up "weird did not answer"
		sleep 0.1
	done
}

# Prints the lines of load as they come; its last two are kept for the end.
watch_load()
{
	while IFS= read -r line; do
		case $line in
		granted\ * | calls\ *) printf '%s\n' "$line" >>"$dir/verdict" ;;
		*) printf '%s\n' "$line" ;;
		esac
	done
}

# Waits until weirctl members lists so many living workers.
await_workers()
{
	tries=0
	until [ "$("$bin/weirctl" members | grep -c ' yes$')" -ge "$1" ]; do
		kill -0 "$load_pid" 2>/dev/null || give_up "load ended early"
		tries=$((tries + 1))
		[ "$tries" -lt 100 ] || give_up "the workers did not come"
		sleep 0.1
	done
}

cat >"$dir/weir.ini" <<END
[weir]
name = demo

[endpoint api.example.com]
rate = 100/s
burst = 20
END

say "weird keeps one rule: 100 tokens a second, 20 at once."
start_weird
show list

say "$workers processes draw from it as fast as they are let, for $seconds seconds."
mkfifo "$dir/lines"
"$bin/weirctl" load api.example.com -P "$workers" --for "${seconds}s" >"$dir/lines" 2>&1 &
load_pid=$!
watch_load <"$dir/lines" &
watch_pid=$!
await_workers "$workers"
show members
sleep 2

say "The rate is halved while they run. Nobody is restarted; nobody gets a token more."
show set api.example.com rate=50/s
sleep 2

victim=$("$bin/weirctl" members | awk '/ yes$/ { pid = $2 } END { print pid }')
say "One of the workers is killed (kill -9 $victim). Nothing is to be repaired."
kill -KILL "$victim"
sleep 1

say "The daemon is killed (kill -9 $weird_pid). The limit holds without it, and can be looked at."
{
	kill -KILL "$weird_pid"
	wait "$weird_pid" || true
} 2>/dev/null
weird_pid=
show list
sleep 1

say "weird is started again. It takes over what is there: level, counts, and the rate as it was set."
start_weird
show show api.example.com
sed -n 's/.*\(adopted .*\)/weird: \1/p' "$dir/weird.log"

say "The workers go on until their time is up."
status=0
wait "$load_pid" || status=$?
load_pid=
wait "$watch_pid" || true

say "What was granted, against what the rule allowed: 20 at the beginning, and what it minted."
cat "$dir/verdict"
exit "$status"
