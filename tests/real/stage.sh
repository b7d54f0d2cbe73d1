# SPDX-License-Identifier: Apache-2.0
#
# stage.sh - what the tests with other people's servers share: a folder, a server on loopback that is
# certainly ours, a weird with rules of its own, and the end of all of them. Sourced, with $bin set.
# shellcheck shell=sh
set -eu
PATH=$PATH:/usr/sbin:/sbin

# needs PROGRAM...: skips the test without them.
needs()
{
	for program in "$@"; do
		command -v "$program" >/dev/null 2>&1 || {
			echo "skipped: $program is not installed; ./bootstrap packages test installs it"
			exit 77
		}
	done
}

# Memory, if there is a file system of it: the segment and the logs.
dir=$(mktemp -d /dev/shm/weir-real-XXXXXX 2>/dev/null || mktemp -d)
server_pid=
weird_pid=

# end PID: and wait for it.
end()
{
	kill "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}

clean_up()
{
	for pid in $weird_pid $server_pid; do
		end "$pid"
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

holds()
{
	awk "BEGIN { exit !($1) }"
}

# ---- a server: NAME_config PORT prints its configuration, run_NAME becomes it

mkdir "$dir/www"
echo "$dir" >"$dir/www/ready"
echo "this is the resource" >"$dir/www/resource"

# nginx_frame WORKERS: its configuration, with what comes on standard input as its http block.
nginx_frame()
{
	# Workers of a root's nginx would be somebody who cannot read this folder.
	[ "$(id -u)" -ne 0 ] || echo "user root;"
	cat <<END
daemon off;
worker_processes $1;
pid $dir/nginx.pid;
error_log $dir/error.log error;
events {
	worker_connections 256;
}
http {
	client_body_temp_path $dir/body;
	proxy_temp_path $dir/proxy;
	fastcgi_temp_path $dir/fastcgi;
	uwsgi_temp_path $dir/uwsgi;
	scgi_temp_path $dir/scgi;
	limit_req_status 429;
	limit_req_log_level info;
END
	cat
	echo "}"
}

run_nginx()
{
	exec nginx -e "$dir/error.log" -p "$dir/" -c "$dir/server.conf"
}

# server_ready PORT: whether our own server answers there; it says this folder's name.
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

# start_server NAME: sets $port.
start_server()
{
	for try in 1 2 3 4 5 6 7 8; do
		port=$((10000 + ($$ * 17 + try * 3571) % 20000))
		"$1_config" $port >"$dir/server.conf"
		"run_$1" 2>>"$dir/error.log" >&2 &
		server_pid=$!
		! server_ready $port || return 0
		stop_server
	done
	fail "$1 does not start on any of 8 ports"
}

stop_server()
{
	[ -z "$server_pid" ] || end "$server_pid"
	server_pid=
}

# start_weird NAME: with the rules that come on standard input; ready when NAME can be shown.
start_weird()
{
	WEIR_NAME=real-$$
	WEIR_SHM_DIR=$dir
	WEIR_SOCKET=$dir/control.sock
	export WEIR_NAME WEIR_SHM_DIR WEIR_SOCKET
	{
		printf '[weir]\nname = %s\nshm_dir = %s\nsocket = %s\n\n' \
			"$WEIR_NAME" "$WEIR_SHM_DIR" "$WEIR_SOCKET"
		cat
	} >"$dir/weir.ini"
	"$bin/weird" -c "$dir/weir.ini" >"$dir/weird.log" 2>&1 &
	weird_pid=$!
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		! "$bin/weirctl" show "$1" >/dev/null 2>&1 || return 0
		kill -0 "$weird_pid" 2>/dev/null || fail "weird has ended"
		sleep 0.1
	done
	fail "weird does not become ready"
}
