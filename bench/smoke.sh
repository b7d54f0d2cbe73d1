#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# smoke.sh WEIR_BENCH - the benchmark runs and its JSON has the promised shape. No times here:
# what they ought to be is the benchmark's to say, on a quiet machine.
set -eu

bench=$1
out=$(mktemp)
trap 'rm -f "$out"' EXIT
faults=0

fault()
{
	echo "fault: $*" >&2
	faults=$((faults + 1))
}

# The number of a key in a line: "12.5", or nothing where it is null or missing.
number()
{
	printf '%s\n' "$1" | sed -n 's/.*"'"$2"'":\([-0-9.e+]*\)[,}].*/\1/p'
}

positive()
{
	awk -v value="$1" 'BEGIN { exit !(value + 0 > 0) }'
}

"$bench" --json --quick >"$out" || fault "exit status $?"

head -n 1 "$out" | grep -q '^{"machine":{"cpu":' || fault "the first line is not the machine's facts"
! grep -qiE 'nan|inf[^o]' "$out" || fault "a figure that is no number"
cpus=$(sed -n 's/.*"cpus":"\([0-9]*\)".*/\1/p' "$out")

for name in floor/rdtsc floor/clock_gettime floor/cas floor/rdtsc+cas floor/refuse weir/admit weir/refuse \
	weir/admit-own-bucket peer/mutex peer/fcntl peer/redis peer/redis-pipelined; do
	for processes in 1 2; do
		line=$(grep -F "{\"name\":\"$name\",\"processes\":$processes," "$out") ||
			fault "no row $name for $processes"
		for key in ns_per_op mops ratio to; do
			case $line in
			*"\"$key\":"*) ;;
			*) fault "$name for $processes has no $key" ;;
			esac
		done
		case $name,$line in
		floor/r*'"note":"not on this machine'* | peer/redis*'"note":'*'apt-get install'*)
			echo "not measured: $name for $processes"
			continue
			;;
		*)
			if [ "$processes" -gt "$cpus" ]; then
				echo "not measured on $cpus CPU: $name for $processes"
				continue
			fi
			;;
		esac
		for key in ns_per_op mops; do
			positive "$(number "$line" $key)" ||
				fault "$name for $processes: $key is not above 0: $line"
		done
	done
done

for name in floor/log-lines weir/log-simulate floor/field-lines weir/fields-github \
	weir/fields-openai floor/send weir/observe; do
	line=$(grep -F "{\"name\":\"$name\",\"processes\":1," "$out") || fault "no row $name"
	positive "$(number "$line" ns_per_op)" || fault "$name: $line"
done
for name in peer/uv_queue_work weir/executor weir/executor-limited; do
	line=$(grep -F "{\"name\":\"$name\",\"processes\":1," "$out") || fault "no row $name"
	positive "$(number "$line" ns_per_op)" || fault "$name: $line"
done
# Tables of keys: what may be left out, and why, is said by name.
for name in floor/miss weir/key weir/key-batch weir/key-zipf weir/key-zipf-batch peer/tree \
	peer/tree-zipf peer/redis-keys peer/nginx-keys floor/miss-10M weir/key-10M weir/key-10M-batch; do
	line=$(grep -F "{\"name\":\"$name\",\"processes\":1," "$out") || fault "no row $name"
	case $line in
	*'"note":"not by --quick'* | *'"note":'*'apt-get install'*) echo "not measured: $name" ;;
	*) positive "$(number "$line" ns_per_op)" || fault "$name: $line" ;;
	esac
done
for name in weir/key-bytes peer/tree-bytes peer/redis-key-bytes peer/nginx-key-bytes; do
	line=$(grep -F "{\"name\":\"$name\"," "$out") || fault "no row $name"
	case $line in
	*'"note":'*'apt-get install'*) echo "not measured: $name" ;;
	*) positive "$(number "$line" value)" || fault "$name: $line" ;;
	esac
done
# Counts, not times: they hold on a busy machine as well.
for name in weir/key-bytes weir/key-evictions; do
	grep -F "{\"name\":\"$name\"," "$out" | grep -q '"verdict":"met"' || fault "$name: not met"
done

line=$(grep -F '{"name":"weir/executor-task",' "$out") || fault "no row weir/executor-task"
positive "$(number "$line" bytes)" || fault "weir/executor-task: $line"
[ "$(number "$line" bytes)" -lt 256 ] || fault "a queued task: 256 bytes or more"
line=$(grep -F '{"name":"weir/attach","processes":1,' "$out") || fault "no row weir/attach"
positive "$(number "$line" ns_per_op)" || fault "weir/attach: $line"
line=$(grep -F '{"name":"weir/segment",' "$out") || fault "no row weir/segment"
positive "$(number "$line" bytes)" || fault "weir/segment: $line"
[ "$(number "$line" bytes)" -lt 2097152 ] || fault "1,024 endpoints and 256 members: 2 MiB or more"

"$bench" --quick floor/cas | grep -q '^floor/cas  *1 ' || fault "the table has no row floor/cas"
if "$bench" --quick no-such-row >/dev/null 2>&1; then
	fault "a filter that matches nothing is no fault"
fi

[ "$faults" -eq 0 ] || {
	cat "$out" >&2
	exit 1
}
echo "all rows are there: $(grep -c '"name"' "$out")"
