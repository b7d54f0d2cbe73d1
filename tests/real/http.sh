#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# http.sh BIN nginx|haproxy configured|learned - four weir-fetch of 64 transfers each, at once,
# against a limiter that nobody here wrote: nginx with limit_req, which says 429 and no more, or
# HAProxy, which says Retry-After as well. The witness is the server's own log.
#
# Configured, the rule says what the server allows: no request is refused, and 97 % of that is used.
# nginx lets a few more pass at once than its rate (burst, nodelay), since requests that weir let go
# in time may arrive together: where the machine stands still for a moment, those that came up in it
# do. HAProxy counts over ten seconds, of which weir is given 97.5 %.
#
# Learned, the rule allows ten times as much. In the first window they are refused, and learn; of
# what is asked after that, at most 2 % are.
bin=$1
server=$2
mode=$3
. "$(dirname "$0")/stage.sh"
rate=60      # what the server allows a second
allowance=24 # what nginx lets pass at once
processes=4
transfers=64
window_s=10 # HAProxy's; and so long nginx may take to be learned
unset http_proxy HTTP_PROXY ALL_PROXY all_proxy
needs "$server" curl

# ---- the servers

nginx_config()
{
	nginx_frame 1 <<END
	log_format witness '\$msec \$status';
	access_log $dir/witness.log witness;
	keepalive_requests 1000000;
	limit_req_zone \$binary_remote_addr zone=api:1m rate=${rate}r/s;
	server {
		listen 127.0.0.1:$1 backlog=1024;
		root $dir/www;
		location = /ready {
			access_log off;
		}
		location / {
			limit_req zone=api burst=$((allowance - 1)) nodelay;
			rewrite ^ /resource break;
		}
	}
END
}

haproxy_config()
{
	cat <<END
global
	maxconn 4000
	log stdout format raw local0
defaults
	mode http
	timeout connect 5s
	timeout client 60s
	timeout server 60s
	option http-keep-alive
frontend api
	bind 127.0.0.1:$1 backlog 1024
	http-request set-log-level silent if { path /ready }
	http-request return status 200 content-type text/plain string "$dir" if { path /ready }
	log global
	log-format "%Ts.%ms %ST"
	stick-table type ip size 1k expire 60s store http_req_rate(${window_s}s)
	http-request track-sc0 src
	acl over sc_http_req_rate(0) gt $((rate * window_s))
	http-request return status 429 hdr Retry-After 1 if over
	http-request return status 200 content-type text/plain string fine
END
}

run_haproxy()
{
	exec haproxy -db -f "$dir/server.conf" >>"$dir/witness.log"
}

# ---- the rule

case $mode-$server in
learned-*) rule="rate = $((rate * 10))/s
adaptive = headers" files=350 ;;
*-nginx) rule="rate = $rate/s" files=300 ;;
*) rule="rate = $((rate * 975))/1000s" files=300 ;;
esac

start_server "$server"
start_weird api <<END
[endpoint api]
$rule
burst = 1
END

# ---- four at once

fetch()
{
	for file in $(seq $files); do
		echo "http://127.0.0.1:$port/$1-$file"
	done | "$bin/weir-fetch" -P $transfers -o "$dir/files.$1" --endpoint api --json \
		--retries 20 -q - >"$dir/fetch.out.$1" 2>>"$dir/error.log"
}

pids=
for process in $(seq $processes); do
	fetch "$process" &
	pids="$pids $!"
done
for pid in $pids; do
	wait "$pid" || fail "a weir-fetch ended with $?"
done

# field NAME: of all summaries, added up
field()
{
	sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$dir"/fetch.out.* |
		awk '{ sum += $1 } END { print sum + 0 }'
}

all=$((processes * files))
fetched=$(field fetched)
[ "$fetched" -eq "$all" ] || fail "$fetched of $all files were fetched"

# "PASSED REFUSED SECONDS SHARE" of what came after so many seconds
witnessed()
{
	grep -E '^[0-9.]+ [0-9]+$' "$dir/witness.log" |
		awk -v rate=$rate -v after="$1" -v more="$2" '
	!first { first = $1 }
	$1 < first + after { next }
	!from { from = $1 }
	{ to = $1 }
	$2 == 200 { passed++ }
	$2 == 429 { refused++ }
	END {
		printf "%d %d %.2f %.1f\n", passed, refused, to - from,
			100 * passed / (rate * (to - from) + more)
	}'
}

case $mode in
configured)
	set -- $(witnessed 0 $([ "$server" = nginx ] && echo $allowance || echo 0))
	echo "$server: $1 passed in $3 s, $2 were refused; $4 % of what it allows"
	[ "$2" -eq 0 ] || fail "$2 requests were refused"
	holds "$4 >= 97" || fail "only $4 % of what the server allows was used"
	;;
learned)
	set -- $(witnessed 0 0)
	echo "$server, learned: $1 passed in $3 s, $2 were refused"
	[ "$2" -ge 1 ] || fail "nobody was refused: nothing is shown"
	set -- $(witnessed $window_s 0)
	echo "after the first $window_s s: $1 passed in $3 s, $2 were refused; $4 % of what it allows"
	"$bin/weirctl" show api | sed -n 's/^\(learned\|state\)/  &/p'
	holds "$2 <= 0.02 * ($1 + $2)" || fail "more than 2 % were refused"
	;;
esac
