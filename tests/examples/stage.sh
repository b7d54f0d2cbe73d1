# SPDX-License-Identifier: Apache-2.0
#
# stage.sh - what the scripts of this folder share: a folder of their own that goes away with all
# they started, and a way to fail. They find their surroundings in the environment: CMakeLists.txt.
set -eu

: "${SOURCE:?run this by ctest -L examples}" "${BUILD:?}" "${BIN:?}"
stage=$(mktemp -d)
weird_pid=

stop_weird()
{
	[ -z "$weird_pid" ] || {
		kill "$weird_pid" && wait "$weird_pid"
	} 2>/dev/null || true
	weird_pid=
}

leave()
{
	stop_weird
	rm -rf "$stage"
}
trap leave EXIT
trap 'exit 1' HUP INT TERM

fail()
{
	echo "fault: $*" >&2
	[ ! -s "$stage/weird.log" ] || sed 's/^/weird: /' "$stage/weird.log" >&2
	exit 1
}

# start_weird FILE: an instance that nobody else uses, for this script and what it runs.
start_weird()
{
	export WEIR_NAME="examples-$$" WEIR_SHM_DIR="$stage"
	unset WEIR_SOCKET
	: >"$stage/weird.log"
	"$BIN/weird" -c "$1" 2>>"$stage/weird.log" &
	weird_pid=$!
	tries=0
	until grep -q ready "$stage/weird.log"; do
		kill -0 "$weird_pid" 2>/dev/null || fail "weird did not start"
		tries=$((tries + 1))
		[ "$tries" -lt 200 ] || fail "weird does not become ready"
		sleep 0.05
	done
}

# same WHAT EXPECTED ACTUAL
same()
{
	[ "$2" = "$3" ] || fail "$1
expected:
$2
actual:
$3"
}
