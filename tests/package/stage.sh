# SPDX-License-Identifier: Apache-2.0
#
# stage.sh - what the scripts of this folder share. Their surroundings come from CMakeLists.txt;
# DEBS is the folder of the packages, by default where build.sh puts them.
set -eu

: "${SOURCE:?run this by ctest -L package}" "${STAGE:?}" "${LIBRARIES:?}"
DEBS=${DEBS:-$STAGE/debs}
PATH=$PATH:/usr/sbin:/sbin

fail()
{
	echo "fault: $*" >&2
	exit 1
}

skip()
{
	echo "skipped: $*"
	exit 77
}

packages='weird weirctl'
for library in $LIBRARIES; do
	packages="$packages lib${library}0 lib$library-dev"
done
case " $LIBRARIES " in
*' weir-http '*) packages="$packages weir-fetch" ;;
esac

# same WHAT EXPECTED ACTUAL
same()
{
	[ "$2" = "$3" ] || fail "$1
expected:
$2
actual:
$3"
}

for tool in dpkg-deb dpkg-shlibdeps file gzip; do
	command -v "$tool" >/dev/null || skip "$tool is not there (not a Debian system?)"
done

# enter SCRIPT: runs it as the first process of namespaces of its own, in which nothing that is
# mounted, listens or runs is seen from outside; $private is a folder for its files. Not for
# others than root: the users that files of a package belong to would not exist.
enter()
{
	[ "$(id -u)" -eq 0 ] || skip "only root can install packages into a root of their own"
	unshare --mount --pid --ipc --uts --net --fork --kill-child true 2>/dev/null ||
		skip "namespaces are not permitted here"
	private=$(mktemp -d)
	trap 'rm -rf "$private"' EXIT
	trap 'exit 1' HUP INT TERM
	entered=0
	DEBS=$DEBS PRIVATE=$private timeout -k 10 200 unshare --mount --pid --ipc --uts --net \
		"$@" --fork --kill-child --propagation private sh "$script" || entered=$?
}
