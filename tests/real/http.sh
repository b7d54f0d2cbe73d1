#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# http.sh BIN SERVER - four weir-fetch of 64 transfers each, at once, against a limiter that nobody
# here wrote: nginx with limit_req, or HAProxy, which answers 429 with Retry-After. No request is
# refused, and 97 % of what the server allows is used.
#
# nginx lets a few more pass at once than its rate (burst, nodelay), since requests that weir let go
# in time may arrive together: where the machine stands still for a moment, those that came up in it
# do. HAProxy counts over ten seconds, of which weir is given 97.5 %. The witness is the server's log.
set -eu

bin=$1 server=$2
rate=60
allowance=24 # what nginx lets pass at once
processes=4
transfers=64
PATH=$PATH:/usr/sbin:/sbin
unset http_proxy HTTP_PROXY ALL_PROXY all_proxy

files=300

for program in nginx $server; do
	command -v $program >/dev/null 2>&1 || {
		echo "skipped: $program is not installed; ./bootstrap packages test installs it"
		exit 77
	}
done

# Memory, if there is a file system of it: the segment, the logs and the files.
dir=$(mktemp -d /dev/shm/weir-real-XXXXXX 2>/dev/null || mktemp -d)
pids=

clean_up()
{
	for pid in $pids; do
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
	for log in weird.log error.log haproxy.log fetch.err.1; do
		[ ! -s "$dir/$log" ] || sed "s/^/$log: /" "$dir/$log" | tail -n 10 >&2
	done
	exit 1
}

holds()
{
	awk "BEGIN { exit !($1) }"
}

# until COMMAND...: tries it for some seconds
until_holds()
{
	for _ in $(seq 60); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	return 1
}

# ---- the servers: nginx serves, and limits, or HAProxy before it does

mkdir "$dir/www"
echo "this is the resource" >"$dir/www/resource"
port=$((10000 + ($$ * 17) % 20000))
front=$port

zone= limits=
if [ "$server" = nginx ]; then
	zone="limit_req_zone \$binary_remote_addr zone=api:1m rate=${rate}r/s;
	limit_req_status 429;
	limit_req_log_level info;"
	limits="limit_req zone=api burst=$((allowance - 1)) nodelay;"
else
	front=$((port + 1))
fi
cat >"$dir/nginx.conf" <<END
daemon off;
$([ "$(id -u)" -ne 0 ] || echo 'user root;')
worker_processes 1;
pid $dir/nginx.pid;
error_log $dir/error.log error;
events {
	worker_connections 2048;
}
http {
	log_format witness '\$msec \$status';
	access_log $dir/access.log witness;
	client_body_temp_path $dir/body;
	proxy_temp_path $dir/proxy;
	fastcgi_temp_path $dir/fastcgi;
	uwsgi_temp_path $dir/uwsgi;
	scgi_temp_path $dir/scgi;
	keepalive_requests 1000000;
	$zone
	server {
		listen 127.0.0.1:$port backlog=1024;
		root $dir/www;
		location / {
			$limits
			rewrite ^ /resource break;
		}
	}
}
END
nginx -e "$dir/error.log" -p "$dir/" -c "$dir/nginx.conf" 2>>"$dir/error.log" &
pids="$pids $!"
until_holds grep -q . "$dir/nginx.pid" || fail "nginx does not start"

if [ "$server" = haproxy ]; then
	cat >"$dir/haproxy.cfg" <<END
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
	bind 127.0.0.1:$front backlog 1024
	log global
	log-format "%Ts.%ms %ST"
	stick-table type ip size 1k expire 60s store http_req_rate(10s)
	http-request track-sc0 src
	acl over sc_http_req_rate(0) gt $((rate * 10))
	http-request return status 429 hdr Retry-After 1 if over
	default_backend nginx
backend nginx
	server one 127.0.0.1:$port maxconn 1000
END
	haproxy -db -f "$dir/haproxy.cfg" >"$dir/haproxy.log" 2>&1 &
	pids="$pids $!"
	sleep 1
fi

# ---- weird

case $server in
nginx) rule="rate = $rate/s" ;;
*) rule="rate = $((rate * 975))/1000s" ;;
esac
WEIR_NAME=real-$$ WEIR_SHM_DIR=$dir WEIR_SOCKET=$dir/control
export WEIR_NAME WEIR_SHM_DIR WEIR_SOCKET
cat >"$dir/weir.ini" <<END
[weir]
name = $WEIR_NAME
shm_dir = $WEIR_SHM_DIR
socket = $WEIR_SOCKET

[endpoint api]
$rule
burst = 1
END
"$bin/weird" -c "$dir/weir.ini" >"$dir/weird.log" 2>&1 &
pids="$pids $!"
until_holds "$bin/weirctl" show api || fail "weird does not become ready"

# ---- four at once

from=$(date +%s.%N)
fetchers=
for process in $(seq $processes); do
	for file in $(seq $files); do echo "http://127.0.0.1:$front/$process-$file"; done \
		>"$dir/urls.$process"
	"$bin/weir-fetch" -P $transfers -o "$dir/files.$process" --endpoint api --json --retries 20 -q \
		- <"$dir/urls.$process" >"$dir/fetch.out.$process" 2>"$dir/fetch.err.$process" &
	fetchers="$fetchers $!"
done
for pid in $fetchers; do
	wait "$pid" || fail "a weir-fetch ended with $?"
done
to=$(date +%s.%N)

# field NAME: of all summaries, added up
field()
{
	sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$dir"/fetch.out.* | awk '{ sum += $1 } END { print sum + 0 }'
}

# "TIME STATUS" of every request
case $server in
nginx) witness=$dir/access.log ;;
*) witness=$dir/haproxy.log ;;
esac

all=$((processes * files))
fetched=$(field fetched)
refused=$(field refused)
[ "$fetched" -eq "$all" ] || fail "$fetched of $all files were fetched"
seconds=$(awk "BEGIN { printf \"%.2f\", $to - $from }")
share=$(awk -v rate=$rate -v burst=$allowance -v server="$server" '
	$2 == 200 { if (!passed++) first = $1; last = $1 }
	END {
		allowed = rate * (last - first) + (server == "nginx" ? burst : 0)
		printf "%.1f", 100 * passed / allowed
	}' "$witness")
echo "$server: $fetched passed in $seconds s, $refused were refused; $share % of what it allows"
[ "$refused" -eq 0 ] || fail "$refused requests were refused"
holds "$share >= 97" || fail "only $share % of what the server allows was used"
