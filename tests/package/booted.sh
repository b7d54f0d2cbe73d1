# SPDX-License-Identifier: Apache-2.0
#
# booted.sh - in a root of its own under systemd: the package starts the service, which works
# within the unit's restrictions, reloads, comes back after kill -9 without losing a level, is
# restarted by an upgrade, and is gone after a purge.
exec >/run/weir-test/logs/booted.log 2>&1
set -eux
cd /run/weir-test
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

explain()
{
	[ $? -eq 0 ] || {
		set +e
		systemctl status --no-pager -l weird
		journalctl -q --no-pager -b | tail -n 40
	}
}
trap explain EXIT

# `! command` alone does not end the script
not()
{
	if "$@"; then
		return 1
	fi
}

# until_true COMMAND...: for ten seconds
until_true()
{
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ "$tries" -lt 200 ]
		sleep 0.05
	done
}

main_pid()
{
	systemctl show -P MainPID weird
}

replaced()
{
	[ "$(main_pid)" != "$1" ] && [ "$(main_pid)" != 0 ] && systemctl -q is-active weird
}


dpkg -i --no-triggers ./*.deb
systemctl -q is-active weird
systemctl -q is-enabled weird
first=$(main_pid)
weirctl acquire api.example.com
weirctl set slow.example.com rate=1/h burst=100
weirctl acquire slow.example.com -n 60
[ "$(stat -c '%a %U:%G' /dev/shm/weir.default.state)" = '660 root:weir' ]
# killed: systemd starts another, which adopts the segment
kill -9 "$first"
until_true replaced "$first"
until_true weirctl set api.example.com rate=20/s
not weirctl acquire slow.example.com -n 41
weirctl acquire slow.example.com -n 10

# a reload, by systemd; faults leave what runs
printf '[endpoint new.example.com]\nrate = 3/s\n' >>/etc/weir/weir.ini
systemctl reload weird
until_true sh -c 'weirctl show new.example.com | grep -q 3/s'

# an upgrade
second=$(main_pid)
dpkg -i --no-triggers --force-confdef ./*.deb
replaced "$second"
not weirctl acquire slow.example.com -n 31
weirctl show new.example.com | grep -q 3/s

# nothing was refused to it that it wanted
journalctl -q --no-pager -u weird >journal
not grep -i 'denied\|not permitted\|status=31/SYS' journal
systemctl show -P NRestarts weird

# a stop leaves the limits, a purge takes them away
dpkg --no-triggers --remove weird
not systemctl -q is-active weird
weirctl acquire slow.example.com -n 1
# shellcheck disable=SC2046 # a list of names
dpkg --no-triggers --purge $(for package in ./*.deb; do dpkg-deb -f "$package" Package; done)
[ -z "$(find /dev/shm /run/weir /etc/weir -name '*weir*' 2>/dev/null)" ]
not systemctl cat weird
echo "said: started, killed, reloaded, upgraded and purged under systemd \
$(systemctl --version | sed -n 's/^systemd \([0-9]*\).*/\1/p')"
