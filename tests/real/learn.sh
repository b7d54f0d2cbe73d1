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
set -eu

bin=$1
server=$2
rate=10      # what the server allows a second
shells=4
learn_s=12
hold_s=15
PATH=$PATH:/usr/sbin:/sbin

for program in "$server" curl; do
	command -v "$program" >/dev/null 2>&1 || {
		echo "skipped: $program is not installed; ./bootstrap packages test installs it"
		exit 77
	}
done

dir=$(mktemp -d /dev/shm/weir-learn-XXXXXX 2>/dev/null || mktemp -d)
server_pid=
weird_pid=

clean_up()
{
	for pid in $weird_pid $server_pid; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

fail()
{
	echo "fault: $*" >&2
	for log in weird.log error.log; do
		[ ! -s "$dir/$log" ] || sed "s/^/$log: /" "$dir/$log" | tail -n 20 >&2
	done
	exit 1
}

# ---- the servers

mkdir "$dir/www"
echo "$dir" >"$dir/www/ready"
echo "this is the resource" >"$dir/www/resource"

nginx_config()
{
	# Workers of a root's nginx would be somebody who cannot read this folder.
	[ "$(id -u)" -ne 0 ] || echo "user root;"
	cat <<END
daemon off;
worker_processes 1;
pid $dir/nginx.pid;
error_log $dir/error.log error;
events {
	worker_connections 256;
}
http {
	access_log off;
	client_body_temp_path $dir/body;
	proxy_temp_path $dir/proxy;
	fastcgi_temp_path $dir/fastcgi;
	uwsgi_temp_path $dir/uwsgi;
	scgi_temp_path $dir/scgi;
	limit_req_zone \$binary_remote_addr zone=api:1m rate=${rate}r/s;
	limit_req_status 429;
	limit_req_log_level info;
	server {
		listen 127.0.0.1:$1;
		root $dir/www;
		location = /resource {
			limit_req zone=api burst=5 nodelay;
		}
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

run_server()
{
	case $server in
	nginx) exec nginx -e "$dir/error.log" -p "$dir/" -c "$dir/server.conf" ;;
	haproxy) exec haproxy -db -q -f "$dir/server.conf" ;;
	esac
}

# Whether our own server answers there: it says this folder's name.
server_ready()
{
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		kill -0 "$server_pid" 2>/dev/null || return 1
		[ "$(curl -s --noproxy '*' --max-time 2 "http://127.0.0.1:$1/ready")" != "$dir" ] ||
			return 0
		sleep 0.1
	done
	return 1
}

start_server()
{
	for try in 1 2 3 4 5 6 7 8; do
		port=$((10000 + ($$ * 19 + try * 3571) % 20000))
		"${server}_config" $port >"$dir/server.conf"
		run_server 2>>"$dir/error.log" >&2 &
		server_pid=$!
		! server_ready $port || return 0
		kill "$server_pid" 2>/dev/null || true
		wait "$server_pid" 2>/dev/null || true
		server_pid=
	done
	fail "$server does not start on any of 8 ports"
}

# ---- weird

start_weird()
{
	WEIR_NAME=learn-$$
	WEIR_SHM_DIR=$dir
	WEIR_SOCKET=$dir/control.sock
	export WEIR_NAME WEIR_SHM_DIR WEIR_SOCKET
	cat >"$dir/weir.ini" <<END
[weir]
name = $WEIR_NAME
shm_dir = $WEIR_SHM_DIR
socket = $WEIR_SOCKET

[endpoint resource]
rate = $((rate * 10))/s
burst = 2
adaptive = headers
END
	"$bin/weird" -c "$dir/weir.ini" >"$dir/weird.log" 2>&1 &
	weird_pid=$!
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		! "$bin/weirctl" show resource >/dev/null 2>&1 || return 0
		kill -0 "$weird_pid" 2>/dev/null || fail "weird has ended"
		sleep 0.1
	done
	fail "weird does not become ready"
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

holds()
{
	awk "BEGIN { exit !($1) }"
}

start_server
start_weird

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
