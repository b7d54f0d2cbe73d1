#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run.sh - the examples do what they say: by themselves, on an instance of weird, without one.
. "$(dirname "$0")/stage.sh"

examples=${EXAMPLES:-$BIN/examples}

# ends STATUS COMMAND...: its standard output, once it has ended so.
ends()
{
	wanted=$1
	shift
	status=0
	"$@" >"$stage/out" 2>"$stage/err" || status=$?
	[ "$status" -eq "$wanted" ] || fail "$* ended with $status, not $wanted
$(cat "$stage/out" "$stage/err")"
	cat "$stage/out"
}

waits='api.example.com: called
api.example.com: called
api.example.com: called
api.example.com: called
api.example.com: called
slow.example.com: called
slow.example.com: not called, its turn would be in 60 minutes'

# Some calls, and not more than the limit allowed meanwhile.
check_prefork()
{
	out=$(ends 0 "$examples/prefork" "$@")
	echo "$out" | grep -Eq \
		'^4 workers were granted [1-9][0-9]* calls in [0-9.]+ s, of [0-9.]+ allowed$' ||
		fail "prefork: $out"
	echo "$out" | awk '{ exit !($5 <= $11) }' || fail "prefork: $out"
}

# Whatever the scheduler does, three workers make ten calls each, two at a time at most.
check_prefork_permits()
{
	out=$(ends 0 "$examples/prefork_permits" "$@")
	echo "$out" | grep -Eq '^30 calls, never more than [12] at a time, 2 permits free$' ||
		fail "prefork_permits: $out"
}

squares=$(i=0; while [ $i -lt 12 ]; do echo "$i squared is $((i * i))"; i=$((i + 1)); done
	echo 'stopped: 12 done, 1 cancelled')

check_executor_prefork()
{
	out=$(ends 0 "$examples/executor_prefork" "$@")
	echo "$out" | grep -Eq \
		'^3 workers made [1-9][0-9]* calls in [0-9.]+ s, of [0-9.]+ allowed$' ||
		fail "executor_prefork: $out"
	echo "$out" | awk '{ exit !($4 <= $9) }' || fail "executor_prefork: $out"
}

# by themselves
same acquire 'api.example.com: admitted, 9 tokens left' "$(ends 0 "$examples/acquire" --private)"
same wait "$waits" "$(ends 0 "$examples/wait" --private)"
check_prefork --private
check_prefork_permits --private
same executor "$squares" "$(ends 0 "$examples/executor" --private)"
check_executor_prefork --private
same llm_budget 'a short answer: reserved 3000, used 1200, left 6800
a failed call: reserved 2000, used 0, left 6800
a long answer: reserved 2000, used 9000, left -2200
one too many: not asked, the budget has room for it in 3.2 s' \
	"$(ends 0 "$examples/llm_budget" --private)"
same several 'call of  4: admitted
nightly: 6 items
nightly: 4 items later, the rest is for users
call of  8: admitted
call of  8: refused by the limit of the API for 0.6 s
call of  1: admitted
call of  1: refused by the limit of the user for 1.0 s' "$(ends 0 "$examples/several" --private)"
same observe '200: 2 left
200: 1 left
200: 0 left
429: closed for 30 s
not asked: closed for 29.1 s
429: closed for 30 s' "$(ends 0 "$examples/observe" --private)"
policy='RateLimit-Policy: "client/*";q=3;w=60'
same respond "HTTP/1.1 200 OK
$policy
RateLimit: \"client/*\";r=2;t=60

HTTP/1.1 200 OK
$policy
RateLimit: \"client/*\";r=1;t=50

HTTP/1.1 200 OK
$policy
RateLimit: \"client/*\";r=0;t=40

HTTP/1.1 429 Too Many Requests
$policy
RateLimit: \"client/*\";r=0;t=30
Retry-After: 30

HTTP/1.1 429 Too Many Requests
$policy
RateLimit: \"client/*\";r=0;t=5
Retry-After: 5

HTTP/1.1 200 OK
$policy
RateLimit: \"client/*\";r=2;t=60" "$(ends 0 "$examples/respond" --private)"
same simulate 'second  1: 14 of 20 admitted
second  2: 10 of 20 admitted
second  3: 10 of 20 admitted
second  4: 10 of 20 admitted
second  5: 10 of 20 admitted
the rate is halved; what was used stays used
second  6:  5 of 20 admitted
second  7:  5 of 20 admitted
second  8:  5 of 20 admitted
second  9:  5 of 20 admitted
second 10:  5 of 20 admitted
caller 1: waits 0.000 s
caller 2: waits 0.000 s
caller 3: waits 0.000 s
caller 4: waits 0.000 s
caller 5: waits 0.000 s
caller 6: waits 0.200 s
caller 7: waits 0.400 s
caller 8: waits 0.600 s' "$(ends 0 "$examples/simulate")"

# without an instance
export WEIR_NAME=absent WEIR_SHM_DIR="$stage"
for example in acquire wait prefork prefork_permits llm_budget observe respond several \
	executor executor_prefork; do
	same "$example without an instance" '' "$(ends 2 "$examples/$example")"
	grep -q 'no such instance' "$stage/err" || fail "$example says: $(cat "$stage/err")"
	grep -q -- '--private' "$stage/err" || fail "$example says: $(cat "$stage/err")"
done

# on an instance
cat >"$stage/weir.ini" <<'END'
[endpoint api.example.com]
rate = 50/s
burst = 5
[endpoint two.example.com]
rate = 500/s
burst = 5
concurrency = 2
[endpoint backup]
rate = 1000/min
burst = 1000
concurrency = 1
[endpoint slow.example.com]
rate = 1/h
burst = 1
[endpoint llm.example.com/tokens]
rate = 60/min
burst = 8K
[endpoint once.example.com]
rate = 1/d
[endpoint pages.example.com]
rate = 1/h
burst = 20
class nightly = leave 50 %
[endpoint user/*]
rate = 1/h
burst = 3
END
start_weird "$stage/weir.ini"
same acquire 'once.example.com: admitted, 0 tokens left' \
	"$(ends 0 "$examples/acquire" once.example.com)"
out=$(ends 1 "$examples/acquire" once.example.com)
echo "$out" | grep -Eq '^once.example.com: refused, try again in 86[34][0-9]{2}\.[0-9]{3} s$' ||
	fail "acquire: $out"
same wait "$waits" "$(ends 0 "$examples/wait")"
check_prefork
same executor "$squares" "$(ends 0 "$examples/executor")"
check_executor_prefork
check_prefork_permits

# a job from cron: its own status, and 75 where another one runs
cron=$SOURCE/doc/examples/cron.sh
export WEIRCTL="$BIN/weirctl"
same 'a job' 'done' "$(ends 0 "$cron" echo 'done')"
same 'a job that fails' '' "$(ends 1 "$cron" false)"
same 'a job that fails otherwise' '' "$(ends 7 "$cron" sh -c 'exit 7')"
"$cron" sh -c "echo >\"$stage/runs\"; exec sleep 60" &
job=$!
for try in $(seq 200); do
	[ ! -s "$stage/runs" ] || break
	sleep 0.05
done
[ -s "$stage/runs" ] || fail "the job was not started, at try $try"
export PATIENCE=0s
same 'a job beside it' '' "$(ends 75 "$cron" echo 'not now')"
unset PATIENCE
kill "$("$BIN/weirctl" permits backup --json | sed -n 's/^ *"pid": \([0-9]*\),*/\1/p')"
wait "$job" || true
same 'a job after it' 'done' "$(ends 0 "$cron" echo 'done')"
out=$(ends 0 "$examples/llm_budget" | sed 's/, left .*//; s/, the budget .*//')
same llm_budget 'a short answer: reserved 3000, used 1200
a failed call: reserved 2000, used 0
a long answer: reserved 2000, used 9000
one too many: not asked' "$out"
out=$(ends 0 "$examples/several" | sed 's/ for [0-9.]* s$//')
same several 'call of  4: admitted
nightly: 6 items
nightly: 4 items later, the rest is for users
call of  8: admitted
call of  8: refused by the limit of the API
call of  1: admitted
call of  1: refused by the limit of the user' "$out"
echo "the examples run by themselves and on an instance, and say so when there is none"
