#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# nginx.sh BIN - weir against a limiter that nobody here wrote: Debian's nginx on loopback with
# limit_req 20 r/s, burst=5 nodelay. Five shells run curl, first as they like, then through
# "weirctl run". The witness is nginx's own log.
#
# Which burst weir may have. nginx lets 6 pass at once (the first, and burst=5 more) and then one
# every 50 ms, by the time of their arrival. weir decides when a request *leaves*; it arrives after
# the fork, the exec and the connect of curl, which do not always take the same time. If they vary
# by J, then within any time T at most B + 20/s * (T + J) arrive, B being weir's burst, and nginx
# takes 6 + 20/s * T (less the millisecond its clock ticks in). So none is refused as long as
#
#	B + 20/s * J < 6		B = 5: J < 50 ms, B = 3: J < 150 ms, B = 1: J < 250 ms
#
# The other side's burst is what absorbs the jitter; whoever spends it on a burst of his own has
# none left. A burst of 1 costs no throughput, since who waits has his place in line, and the line
# moves at 20/s. (Besides, callers that have one request under way at a time cannot bunch up by
# more than their number: five of them and B = 1 stay within 6 even if the machine stands still
# for a second.) So: burst = 1 here.
bin=$1
. "$(dirname "$0")/stage.sh"
rate=20
allowance=6 # what nginx lets pass at once
shells=5
free_s=4
limited_s=12
needs nginx curl

nginx_config()
{
	nginx_frame 1 <<END
	log_format witness '\$msec \$status \$uri';
	access_log $dir/access.log witness;
	limit_req_zone \$binary_remote_addr zone=api:1m rate=${rate}r/s;
	server {
		listen 127.0.0.1:$1;
		root $dir/www;
		location = /resource {
			limit_req zone=api burst=$((allowance - 1)) nodelay;
		}
	}
END
}

# ---- the shells

# get [COMMAND...]: one request, after what COMMAND says; prints the status.
get()
{
	"$@" curl -s --noproxy '*' --max-time 10 -o /dev/null -w '%{http_code}\n' \
		"http://127.0.0.1:$port/resource" || echo "ended with $?"
}

# requests SECONDS [COMMAND...]: one shell's loop.
requests()
{
	end=$(($(date +%s) + $1))
	shift
	while [ "$(date +%s)" -lt "$end" ]; do
		get "$@"
	done
}

# phase NAME SECONDS [COMMAND...]: all shells; statuses go to NAME.status, nginx's view to NAME.log.
phase()
{
	name=$1
	shift
	pids=
	: >"$dir/access.log"
	for shell in $(seq $shells); do
		requests "$@" >"$dir/$name.$shell" &
		pids="$pids $!"
	done
	for pid in $pids; do
		wait "$pid"
	done
	cat "$dir/$name".[0-9]* >"$dir/$name.status"
	cp "$dir/access.log" "$dir/$name.log"
}

# count NAME STATUS
count()
{
	grep -c "^$2\$" "$dir/$1.status" || true
}

# witness NAME: "PASSED REFUSED SECONDS ALLOWED" as nginx saw them; SECONDS from the first to the
# last that passed, ALLOWED what nginx lets pass at most in that time.
witness()
{
	awk -v rate=$rate -v burst=$allowance '
		$2 == 200 { if (!passed++) first = $1; last = $1 }
		$2 == 429 { refused++ }
		END {
			printf "%d %d %.3f %.2f\n", passed, refused, last - first,
				burst + rate * (last - first)
		}' "$dir/$1.log"
}

start_server nginx
start_weird resource <<END
[endpoint resource]
rate = $rate/s
burst = 1
END

phase free $free_s
set -- $(witness free)
echo "without weir: $1 of $(($1 + $2)) requests passed in $3 s, $2 were answered 429"
[ "$2" -ge 20 ] || fail "the shells did not even exceed the limit: nothing is shown"
[ "$(count free 429)" -eq "$2" ] || fail "nginx and the shells count different refusals"
holds "$1 <= $4 + 1" || fail "nginx let more pass than $4: this is not the limiter it should be"

# limited: through weir. What nginx says must hold in every attempt. What share was used also hangs
# on whether the machine lets five shells start two programs each 20 times a second.
limited()
{
	sleep 1 # until nginx has forgotten
	phase limited $limited_s "$bin/weirctl" run resource --wait 5s --
	set -- $(witness limited)
	share=$(awk "BEGIN { printf \"%.1f\", 100 * $1 / $4 }")
	echo "with weir:    $1 of $(($1 + $2)) requests passed in $3 s, $2 were answered 429"
	echo "nginx allows at most $4 in that time; $share % of it was used"
	[ "$2" -eq 0 ] || fail "with weir $2 requests were answered 429"
	[ "$(wc -l <"$dir/limited.status")" -eq "$1" ] ||
		fail "not every answer was a 200: $(sort "$dir/limited.status" | uniq -c | tr '\n' ' ')"
	[ "$(count limited 200)" -eq "$1" ] || fail "nginx and the shells count different successes"
	holds "$3 >= 0.9 * ($limited_s - 1)" || fail "requests passed for $3 s only, of $limited_s s"
	holds "$share >= 95"
}

for attempt in 1 2 3; do
	! limited || exit 0
	echo "attempt $attempt: less than 95 % of what nginx allows was used"
done
fail "less than 95 % of what nginx allows was used, three times"
