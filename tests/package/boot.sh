#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# boot.sh - systemd, as the first process of namespaces of its own, on a root of its own; in it
# the packages are installed and the service lives under the unit's restrictions: see booted.sh.
if [ -z "${PRIVATE:-}" ]; then
	. "$(dirname "$0")/stage.sh"
	systemd=/lib/systemd/systemd
	[ -x $systemd ] || skip "systemd is not there"
	# a control group of its own to be the root of; the second version, as systemd needs it
	groups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	[ -n "$groups" ] || skip "control groups (version 2) are not mounted"
	group=$groups/weir-test-$$
	home=$groups$(sed -n 's/^0:://p' /proc/self/cgroup)
	mkdir "$group" 2>/dev/null || skip "no control group can be made in $groups"
	LOGS=$(mktemp -d)
	export LOGS
	leave()
	{
		echo $$ >"$home/cgroup.procs"
		rm -rf "$LOGS"
		find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null
	}
	script=$0
	echo $$ >"$group/cgroup.procs"
	trap leave EXIT
	trap 'exit 1' HUP INT TERM
	status=0
	(enter --cgroup && exit "$entered") || status=$?
	[ $status -ne 77 ] || exit 77
	result=$(cat "$LOGS/result" 2>/dev/null || echo none)
	[ "$result" = 0 ] || sed 's/^/    /' "$LOGS"/*.log >&2 || true
	sed -n 's/^said: //p' "$LOGS/booted.log" 2>/dev/null || true
	[ "$result" != none ] || fail "systemd did not come to the test"
	[ "$result" = 0 ] || fail "the test ended with $result"
	exit 0
fi
. "$(dirname "$0")/root.sh"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mkdir "$root/run/weir-test/logs"
mount --bind "$LOGS" "$root/run/weir-test/logs"
: >"$LOGS/console.log"
: >"$root/dev/console"
mount --bind "$LOGS/console.log" "$root/dev/console"
# nothing but what the test wants
rm -rf "$root"/etc/systemd/system/*.wants "$root/etc/fstab"
: >"$root/etc/machine-id"
cat >"$root/etc/systemd/system/weir-test.target" <<'END'
[Unit]
Requires=weir-test.service
END
cat >"$root/etc/systemd/system/weir-test.service" <<'END'
[Unit]
Requires=basic.target
After=basic.target
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'sh /run/weir-test/booted.sh; echo $? >/run/weir-test/logs/result'
TimeoutStartSec=150
END
# what would reach beyond the namespaces is dropped for good
exec setpriv --bounding-set=-sys_module,-sys_boot,-sys_time,-sys_rawio,-syslog,-mac_admin,-mac_override \
	chroot "$root" env -i container=weir-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	/lib/systemd/systemd --system --unit=weir-test.target --log-target=console \
	--show-status=no
