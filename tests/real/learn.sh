#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# learn.sh BIN nginx|haproxy - weir finds the speed of a limiter that nobody here wrote, from its
# answers alone. The rule allows ten times as much. Four shells run curl through "weirctl run" and
# hand each answer to "weirctl observe". nginx says 429 and no more; HAProxy says Retry-After.
#
# In the first seconds they are refused, and learn. Then the learned speed holds: few refusals, and
# what passes is what the server allows. How much of it is used hangs on a machine that starts a
# dozen programs for each second of the limit; the witness is the server's own log.
bin=$1
server=$2
. "$(dirname "$0")/stage.sh"
rate=10      # what the server allows a second
shells=4
learn_s=12
hold_s=15
needs "$server" curl

# ---- the servers

nginx_config()
{
	nginx_frame 1 <<END
	access_log off;
	limit_req_zone \$binary_remote_addr zone=api:1m rate=${rate}r/s;
	server {
		listen 127.0.0.1:$1;
		root $dir/www;
		location = /resource {
			limit_req zone=api burst=5 nodelay;
		}
	}
END
}

# A sliding count over 5 s of what passed.
haproxy_config()
{
	cat <<END
global
	maxconn 256
defaults
	mode http
	timeout connect 5s
	timeout client 10s
	timeout server 10s
backend passed
	stick-table type string len 8 size 16 expire 60s store gpc0,gpc0_rate(5s)
frontend api
	bind 127.0.0.1:$1
	http-request return status 200 content-type text/plain string "$dir" if { path /ready }
	http-request track-sc0 str(all) table passed
	http-request return status 429 content-type text/plain string slower hdr Retry-After 1 if { sc0_gpc0_rate(passed) ge $((rate * 5)) }
	http-request sc-inc-gpc0(0)
	http-request return status 200 content-type text/plain string fine
END
}

run_haproxy()
{
	exec haproxy -db -q -f "$dir/server.conf"
}

# ---- the shells

# requests SHELL SECONDS: asks, draws and tells; prints the statuses.
requests()
{
	end=$(($(date +%s) + $2))
	while [ "$(date +%s)" -lt "$end" ]; do
		"$bin/weirctl" run resource --wait 20s -- curl -s --noproxy '*' --max-time 10 \
			-o /dev/null -D "$dir/head.$1" -w '%{http_code}\n' \
			"http://127.0.0.1:$port/resource" || echo "ended with $?"
		"$bin/weirctl" observe resource - <"$dir/head.$1" >/dev/null
	done
}

# phase NAME SECONDS: all shells; prints "PASSED REFUSED OTHERS SECONDS".
phase()
{
	pids=
	begin=$(date +%s%N)
	for shell in $(seq $shells); do
		requests "$shell" "$2" >"$dir/$1.$shell" 2>>"$dir/error.log" &
		pids="$pids $!"
	done
	for pid in $pids; do
		wait "$pid" || fail "a shell ended with $?"
	done
	cat "$dir/$1".[0-9]* | awk -v ns=$(($(date +%s%N) - begin)) '
		$1 == 200 { passed++ }
		$1 == 429 { refused++ }
		$1 != 200 && $1 != 429 { others++ }
		END { printf "%d %d %d %.3f\n", passed, refused, others, ns / 1e9 }'
}

start_server "$server"
start_weird resource <<END
[endpoint resource]
rate = $((rate * 10))/s
burst = 2
adaptive = headers
END

set -- $(phase learn $learn_s)
echo "learning from $server: $1 passed, $2 were answered 429, in $4 s"
[ "$3" -eq 0 ] || fail "$3 requests came to something else"
[ "$2" -ge 1 ] || fail "nobody was refused: nothing is shown"
"$bin/weirctl" show resource | sed -n 's/^\(learned\|state\)/  &/p'
learned=$("$bin/weirctl" show resource --json |
	sed -n 's/.*"learned_rate_per_s": *\([0-9.]*\).*/\1/p')

# What must hold in every attempt is that few are refused; how much is used also hangs on the machine.
hold()
{
	set -- $(phase hold $hold_s)
	allowed=$(awk "BEGIN { print $rate * $4 + 10 }")
	share=$(awk "BEGIN { printf \"%.1f\", 100 * $1 / ($rate * $4) }")
	echo "then:                  $1 passed, $2 were answered 429, in $4 s: $share % of $rate/s"
	[ "$3" -eq 0 ] || fail "$3 requests came to something else"
	holds "$1 <= $allowed + 50" || fail "$server let more pass than $allowed"
	holds "$2 <= 0.1 * ($1 + $2)" || return 1
	holds "$share >= 70"
}

[ -n "$learned" ] || fail "nothing was learned"
for attempt in 1 2 3; do
	! hold || exit 0
	echo "attempt $attempt: the learned speed does not hold yet, or less than 70 % was used"
done
fail "the learned speed does not hold"
