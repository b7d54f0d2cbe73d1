# SPDX-License-Identifier: Apache-2.0
#
# stage.sh - what the scripts of this folder share: a folder of their own, an instance of weird, a
# server on loopback that misbehaves on request. All goes away at the end.
set -eu

: "${BIN:?run this by ctest -L fetch}" "${SOURCE:?}"
PATH=$PATH:/usr/sbin:/sbin
stage=$(mktemp -d)
weird_pid=
serve_pid=
others=
# proxies are none of this test's business
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy

leave()
{
	exec 7>&- || true
	for pid in $weird_pid $serve_pid $others; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$stage"
}
trap leave EXIT
trap 'exit 1' HUP INT TERM

fail()
{
	echo "fault: $*" >&2
	for log in "$stage/weird.log" "$stage/err" "$stage/out"; do
		[ ! -s "$log" ] || sed "s|^|$(basename "$log"): |" "$log" | tail -n 20 >&2
	done
	exit 1
}

# same WHAT EXPECTED ACTUAL
same()
{
	[ "$2" = "$3" ] || fail "$1
expected: $2
actual:   $3"
}

holds()
{
	awk "BEGIN { exit !($1) }"
}

# start_weird: with the rules in $stage/weir.ini
start_weird()
{
	export WEIR_NAME="fetch-$$" WEIR_SHM_DIR="$stage" WEIR_SOCKET="$stage/control"
	: >"$stage/weird.log"
	"$BIN/weird" -c "$stage/weir.ini" 2>>"$stage/weird.log" 7>&- &
	weird_pid=$!
	tries=0
	until grep -q ready "$stage/weird.log"; do
		kill -0 "$weird_pid" 2>/dev/null || fail "weird did not start"
		tries=$((tries + 1))
		[ "$tries" -lt 200 ] || fail "weird does not become ready"
		sleep 0.05
	done
}

# start_serve: the port goes to $port; what was asked goes to $stage/served by end_serve.
start_serve()
{
	mkfifo "$stage/fifo"
	"$BIN/http_serve" <"$stage/fifo" >"$stage/served" &
	serve_pid=$!
	exec 7>"$stage/fifo"
	tries=0
	until [ -s "$stage/served" ]; do
		tries=$((tries + 1))
		[ "$tries" -lt 200 ] || fail "the server does not start"
		sleep 0.05
	done
	port=$(head -n 1 "$stage/served")
	url=http://127.0.0.1:$port
}

end_serve()
{
	exec 7>&-
	wait "$serve_pid" || true
	serve_pid=
	rm "$stage/fifo"
}

# fetch STATUS ARGUMENT...: into $stage/files; its summary is $stage/out.
fetch()
{
	wanted=$1
	shift
	status=0
	"$BIN/weir-fetch" -o "$stage/files" "$@" >"$stage/out" 2>"$stage/err" || status=$?
	[ "$status" -eq "$wanted" ] || fail "weir-fetch $* ended with $status, not $wanted"
}

# field NAME: of the summary, which is JSON
field()
{
	sed -n "s/.*\"$1\":\([^,}]*\).*/\1/p" "$stage/out"
}

sums_hold()
{
	(cd "$stage/files" && sha256sum --quiet --check weir-fetch.sha256) ||
		fail "the manifest does not hold"
}
