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
set -eu

bin=$1
rate=20
allowance=6 # what nginx lets pass at once
shells=5
free_s=4
limited_s=12
PATH=$PATH:/usr/sbin:/sbin

for program in nginx curl; do
	command -v $program >/dev/null 2>&1 || {
		echo "skipped: $program is not installed; ./bootstrap packages test installs it"
		exit 77
	}
done

# Memory, if there is a file system of it: the segment and the logs.
dir=$(mktemp -d /dev/shm/weir-real-XXXXXX 2>/dev/null || mktemp -d)
nginx_pid=
weird_pid=

clean_up()
{
	for pid in $weird_pid $nginx_pid; do
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

# ---- nginx

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
	log_format witness '\$msec \$status \$uri';
	access_log $dir/access.log witness;
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
			limit_req zone=api burst=$((allowance - 1)) nodelay;
		}
	}
}
END
}

# Whether our own nginx answers there: the file holds this folder's name.
nginx_ready()
{
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		kill -0 "$nginx_pid" 2>/dev/null || return 1
		[ "$(curl -s --noproxy '*' --max-time 2 "http://127.0.0.1:$1/ready")" != "$dir" ] ||
			return 0
		sleep 0.1
	done
	return 1
}

start_nginx()
{
	for try in 1 2 3 4 5 6 7 8; do
		port=$((10000 + ($$ * 17 + try * 3571) % 20000))
		nginx_config $port >"$dir/nginx.conf"
		nginx -e "$dir/error.log" -p "$dir/" -c "$dir/nginx.conf" 2>>"$dir/error.log" &
		nginx_pid=$!
		! nginx_ready $port || return 0
		kill "$nginx_pid" 2>/dev/null || true
		wait "$nginx_pid" 2>/dev/null || true
		nginx_pid=
	done
	fail "nginx does not start on any of 8 ports"
}

# ---- weird

start_weird()
{
	WEIR_NAME=real-$$
	WEIR_SHM_DIR=$dir
	WEIR_SOCKET=$dir/control
	export WEIR_NAME WEIR_SHM_DIR WEIR_SOCKET
	cat >"$dir/weir.ini" <<END
[weir]
name = $WEIR_NAME
shm_dir = $WEIR_SHM_DIR
socket = $WEIR_SOCKET

[endpoint resource]
rate = $rate/s
burst = 1
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

holds()
{
	awk "BEGIN { exit !($1) }"
}

start_nginx
start_weird

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
